# kache built from this checkout, for `callPackage`.
{
  installShellFiles,
  lib,
  rustPlatform,
  stdenv,
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
      ../benches # Cargo looks for the ones that the manifest names
      ../build.rs
      ../src
      ../store-format
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  # kache never builds itself. Empty, not unset: that also overrides `build.rustc-wrapper`.
  env.RUSTC_WRAPPER = "";

  nativeBuildInputs = [ installShellFiles ];
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    for shell in bash fish zsh; do
      $out/bin/kache completions $shell >kache.$shell
    done
    installShellCompletion kache.{bash,fish,zsh}
    $out/bin/kache man manual
    installManPage manual/*
  '';

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
