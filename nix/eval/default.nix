# What tests/nix.rs looks at, evaluated without nixpkgs' packages: the module's properties, with the directory
# `package` in the place of the built package, and the flake's outputs.
{
  package,
  nixpkgs ? null,
}:
let
  pkgs = import ./pkgs.nix { inherit nixpkgs; };
  inherit (pkgs) lib;

  outputs = (import ../../flake.nix).outputs {
    self = outputs;
    nixpkgs = {
      inherit lib;
      legacyPackages = lib.genAttrs [
        "aarch64-linux"
        "x86_64-linux"
        "aarch64-darwin"
        "riscv64-linux"
      ] (_: pkgs);
    };
  };
  namesOf = lib.mapAttrs (_: system: builtins.attrNames (lib.mapAttrs (_: toString) system));
in
import ./properties.nix {
  inherit lib pkgs;
  package = {
    type = "derivation";
    name = "kache";
    outPath = package;
  };
}
// {
  flake = {
    packages = namesOf outputs.packages;
    checks = namesOf outputs.checks;
    devShells = namesOf outputs.devShells;
    overlay = toString (outputs.overlays.default pkgs { }).kache;
    nixosModules = lib.mapAttrs (_: toString) outputs.nixosModules;
    darwinModules = lib.mapAttrs (_: toString) outputs.darwinModules;
  };
  package = {
    inherit (outputs.packages.x86_64-linux.kache)
      pname
      version
      env
      postInstall
      ;
    source = map toString outputs.packages.x86_64-linux.kache.src.fileset;
    lockFile = toString outputs.packages.x86_64-linux.kache.cargoLock.lockFile;
  };
}
