# kache as a service, for NixOS and nix-darwin alike. Which of them evaluates this file is read from
# the options that exist: `systemd` (NixOS) or `launchd` (nix-darwin).
#
# Invariants, held by tests/nix.rs:
# - every typed option below `settings` is a key that kache reads, under the same name;
# - an option that nobody set leaves no trace in the file, so kache's own default applies;
# - nothing is defined below `systemd` or `launchd` where that option does not exist.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib)
    literalExpression
    mkIf
    mkMerge
    mkOption
    optionalAttrs
    types
    ;

  cfg = config.services.kache;
  executable = "${cfg.package}/bin/kache";
  toml = pkgs.formats.toml { };

  # TOML has no null; here it means "not set", wherever it stands.
  tomlValue =
    types.nullOr (
      types.oneOf [
        types.bool
        types.int
        types.float
        types.str
        types.path
        (types.attrsOf tomlValue)
        (types.listOf tomlValue)
      ]
    )
    // {
      description = "TOML value or null";
    };

  isTable = value: builtins.isAttrs value && !(value ? outPath);

  # Without nulls, and without the tables that held nothing else. A table written as empty stays.
  dropNulls =
    value:
    if isTable value then
      builtins.listToAttrs (
        builtins.concatMap (
          name:
          let
            before = value.${name};
            after = dropNulls before;
          in
          if before == null || (after == { } && before != { }) then
            [ ]
          else
            [
              {
                inherit name;
                value = after;
              }
            ]
        ) (builtins.attrNames value)
      )
    else if builtins.isList value then
      map dropNulls (builtins.filter (element: element != null) value)
    else
      value;

  configFile = toml.generate "kache-config.toml" (dropNulls cfg.settings);
  configPath = "/etc/kache/config.toml";

  daemonEnvironment = {
    KACHE_CONFIG = configPath;
    KACHE_LOG = cfg.daemon.logLevel;
  };

  setting =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };

  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
in
{
  options.services.kache = {
    enable = flag false "Whether to install kache, a build cache for Rust, and its configuration.";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The kache package.";
    };

    rustcWrapper = flag true ''
      Whether to set `RUSTC_WRAPPER` for the whole system, so that every Cargo build goes through kache.
    '';

    daemon = {
      enable = flag false ''
        Whether to run the daemon for each user: transfers to and from the remote store, prefetch and
        eviction in the background. Local caching works without it.
      '';

      logLevel = mkOption {
        type = types.str;
        default = "kache=info";
        example = "kache=debug";
        description = "What the daemon logs, as a filter (`KACHE_LOG`).";
      };
    };

    settings = mkOption {
      default = { };
      example = literalExpression ''
        {
          cache = {
            local_max_size = "100GB";
            remote = {
              bucket = "builds";
              endpoint = "https://s3.example.org";
            };
          };
        }
      '';
      description = ''
        Contents of `${configPath}`. Settings that are not listed here are written as they are; a null
        is left out, at any depth.
      '';
      type = types.submodule {
        freeformType = types.attrsOf tomlValue;
        options.cache = {
          local_store = setting types.str "Directory of the local store.";
          local_max_size = setting types.str "Size that the local store is kept under, such as `50GB`.";
          cache_executables = setting types.bool "Whether to cache programs and test executables too.";
          clean_incremental = setting types.bool ''
            Whether incremental-compilation directories that kache makes redundant are removed.
          '';
          compression_level = setting (types.ints.between 1 22) "Zstandard level of what is uploaded.";
          s3_concurrency = setting types.ints.positive "Number of transfers at a time.";
          daemon_idle_timeout_secs = setting types.ints.unsigned ''
            Seconds without work after which the daemon ends; 0 for never.
          '';
          remote = {
            type = setting types.str "Kind of remote store: `s3` or `filesystem`.";
            bucket = setting types.str "Name of the bucket.";
            endpoint = setting types.str "URL of the service, where it is not AWS.";
            region = setting types.str "Region of the bucket.";
            prefix = setting types.str "Prefix of every object's key.";
            profile = setting types.str "Profile of the AWS configuration to take credentials from.";
          };
        };
      };
    };
  };

  config = mkIf cfg.enable (mkMerge [
    {
      environment.systemPackages = [ cfg.package ];
      environment.etc."kache/config.toml".source = configFile;
      environment.variables.KACHE_CONFIG = configPath;
    }

    (mkIf cfg.rustcWrapper { environment.variables.RUSTC_WRAPPER = executable; })

    (optionalAttrs (options ? systemd) {
      systemd.user.services.kache = mkIf cfg.daemon.enable {
        description = "kache build cache daemon";
        wantedBy = [ "default.target" ];
        environment = daemonEnvironment;
        # The path of the configuration never changes; its contents do.
        restartTriggers = [ configFile ];
        serviceConfig = {
          Type = "simple";
          ExecStart = "${executable} daemon run";
          Restart = "on-failure";
          RestartSec = 5;
        };
      };
    })

    (optionalAttrs (options ? launchd) {
      launchd.user.agents.kache = mkIf cfg.daemon.enable {
        serviceConfig = {
          Label = "ninja.kunobi.kache";
          ProgramArguments = [
            executable
            "daemon"
            "run"
          ];
          EnvironmentVariables = daemonEnvironment;
          RunAtLoad = true;
          KeepAlive.SuccessfulExit = false;
          ThrottleInterval = 5;
        };
      };
    })
  ]);
}
