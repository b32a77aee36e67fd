# kache built from this checkout, for `callPackage`.
{
  lib,
  rustPlatform,
}:
let
  manifest = (lib.importTOML ../Cargo.toml).package;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  # What Cargo needs and no more, so that a change of documentation rebuilds nothing.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.lock
      ../Cargo.toml
      ../build.rs
      ../src
      ../store-format
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  # kache never builds itself. Empty, not unset: that also overrides `build.rustc-wrapper`.
  env.RUSTC_WRAPPER = "";

  # The tests under tests/ drive real builds, which fetch and write outside of the sandbox.
  cargoTestFlags = [
    "--workspace"
    "--lib"
  ];

  meta = {
    inherit (manifest) description;
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    mainProgram = "kache";
    platforms = lib.platforms.linux ++ lib.platforms.darwin;
  };
}
