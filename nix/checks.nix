# The flake's checks: the package builds, the module keeps its promises under the real `lib`, and the
# kache that was built reads the configuration that the module writes without a warning.
{ pkgs, package }:
let
  module = import ./eval/properties.nix {
    inherit (pkgs) lib;
    inherit pkgs package;
  };
  configuration = (pkgs.formats.toml { }).generate "kache-config.toml" module.full;
  lines = builtins.concatStringsSep "\n";
in
{
  inherit package;

  module =
    if module.broken == [ ] then
      pkgs.writeText "kache-module-properties" (lines module.held)
    else
      throw "The module does not keep what it promises:\n${lines module.broken}";

  configuration = pkgs.runCommand "kache-configuration" { } ''
    export HOME=$TMPDIR KACHE_CONFIG=${configuration}
    ${package}/bin/kache config list >$out 2>warnings
    cat warnings >&2
    test ! -s warnings
  '';
}
