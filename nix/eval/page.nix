# What the configuration in a file defines, such as the one of docs/nixos.md, on one of the systems.
{
  file,
  platform,
  nixpkgs ? null,
}:
let
  pkgs = import ./pkgs.nix { inherit nixpkgs; };
  inherit (pkgs) lib;
  inherit
    (lib.evalModules {
      modules = [
        (import ./platforms.nix { inherit lib; }).${platform}
        (import file)
      ];
      specialArgs = {
        inherit pkgs;
        kache.${if platform == "nixos" then "nixosModules" else "darwinModules"}.default = ../module.nix;
      };
    })
    config
    ;
in
{
  variables = builtins.attrNames config.environment.variables;
  settings = config.services.kache.settings.cache.local_max_size;
}
