{
  description = "kache, a build cache for Rust";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      # Those of the supported systems that this nixpkgs still knows.
      systems = builtins.filter (system: nixpkgs.legacyPackages ? ${system}) [
        "aarch64-darwin"
        "aarch64-linux"
        "x86_64-darwin"
        "x86_64-linux"
      ];
      forEachSystem =
        outputsOf:
        nixpkgs.lib.genAttrs systems (
          system: outputsOf nixpkgs.legacyPackages.${system} self.packages.${system}.kache
        );
      modules = {
        default = ./nix/module.nix;
        kache = ./nix/module.nix;
      };
    in
    {
      packages = nixpkgs.lib.genAttrs systems (
        system:
        let
          kache = nixpkgs.legacyPackages.${system}.callPackage ./nix/package.nix { };
        in
        {
          inherit kache;
          default = kache;
        }
      );

      overlays.default = final: _previous: { kache = final.callPackage ./nix/package.nix { }; };

      nixosModules = modules;
      darwinModules = modules;

      checks = forEachSystem (pkgs: package: import ./nix/checks.nix { inherit pkgs package; });

      devShells = forEachSystem (
        pkgs: package: {
          default = pkgs.mkShell {
            inputsFrom = [ package ];
            packages = [
              pkgs.clippy
              pkgs.nix
              pkgs.rust-analyzer
              pkgs.rustfmt
            ];
          };
        }
      );
    };
}
