# A stand-in for the part of nixpkgs that nix/ uses; nothing is ever built. Its `lib` is the real one if
# `nixpkgs` names a directory that has it (but for file sets, in those before 23.11), and else lib.nix.
{ nixpkgs }:
let
  standIn = import ./lib.nix;
  lib =
    if nixpkgs == null then standIn else { inherit (standIn) fileset; } // import (nixpkgs + "/lib");
  derivation = name: attributes: attributes // {
    type = "derivation";
    inherit name;
    outPath = "/nix/store/00000000000000000000000000000000-${name}";
  };
  pkgs = {
    inherit lib;
    installShellFiles = derivation "install-shell-files" { };
    stdenv = {
      buildPlatform.canExecute = _: true;
      hostPlatform.system = "x86_64-linux";
    };
    formats.toml = { }: { generate = name: _value: derivation name { }; };
    rustPlatform.buildRustPackage = attributes: derivation "${attributes.pname}-${attributes.version}" attributes;
    mkShell = derivation "shell";
    clippy = derivation "clippy" { };
    nix = derivation "nix" { };
    rust-analyzer = derivation "rust-analyzer" { };
    rustfmt = derivation "rustfmt" { };
    runCommand = name: environment: script: derivation name (environment // { inherit script; });
    writeText = name: text: derivation name { inherit text; };
    callPackage =
      file: overrides:
      let
        function = import file;
      in
      function (builtins.mapAttrs (name: _: pkgs.${name}) (builtins.functionArgs function) // overrides);
  };
in
pkgs
