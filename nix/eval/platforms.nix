# The options of NixOS and of nix-darwin that kache's module defines, with their types there. What a
# platform does not have is not declared, so that a definition of it is an error.
{ lib }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  optional = type: option (types.nullOr type) null;
  set = type: option (types.attrsOf type) { };
  record = options: types.submodule { inherit options; };

  environment = {
    systemPackages = option (types.listOf types.package) [ ];
    variables = set types.str;
    etc = set (record {
      source = mkOption { type = types.path; };
    });
  };

  # systemd.unit(5), systemd.service(5), as NixOS turns them into a file.
  service = record {
    description = option types.str "";
    wantedBy = option (types.listOf types.str) [ ];
    environment = set types.str;
    restartTriggers = option (types.listOf types.unspecified) [ ];
    serviceConfig = set (
      types.oneOf [
        types.bool
        types.int
        types.str
      ]
    );
  };

  # launchd.plist(5).
  agent = record {
    serviceConfig = option (record {
      Label = mkOption { type = types.str; };
      ProgramArguments = optional (types.listOf types.str);
      EnvironmentVariables = optional (types.attrsOf types.str);
      RunAtLoad = optional types.bool;
      KeepAlive = optional (
        types.either types.bool (record {
          SuccessfulExit = optional types.bool;
          Crashed = optional types.bool;
        })
      );
      ThrottleInterval = optional types.int;
    }) { };
  };
in
{
  nixos.options = {
    inherit environment;
    systemd.user.services = set service;
  };
  darwin.options = {
    inherit environment;
    launchd.user.agents = set agent;
  };
}
