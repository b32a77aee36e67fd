# What module.nix promises, as sentences that are true or not. The same file is evaluated with the
# real `lib.evalModules` by checks.nix and with the stand-in by tests/nix.rs.
{
  lib,
  pkgs,
  package,
}:
let
  inherit (builtins)
    all
    attrNames
    concatLists
    filter
    foldl'
    listToAttrs
    tryEval
    ;

  # A generated file that still knows what it was made of.
  transparent = pkgs // {
    formats = pkgs.formats // {
      toml =
        arguments:
        let
          format = pkgs.formats.toml arguments;
        in
        format
        // {
          generate = name: contents: format.generate name contents // { inherit contents; };
        };
    };
  };

  platforms = import ./platforms.nix { inherit lib; };

  evaluate =
    platform: modules:
    lib.evalModules {
      modules = [
        platforms.${platform}
        ../module.nix
      ]
      ++ modules;
      specialArgs.pkgs = transparent;
    };

  configure = platform: kache: (evaluate platform [ { services.kache = kache; } ]).config;
  enabled =
    platform: kache:
    configure platform (
      {
        enable = true;
        inherit package;
      }
      // kache
    );

  source = config: config.environment.etc."kache/config.toml".source;
  written = settings: (source (enabled "nixos" { inherit settings; })).contents;
  # Whether all that such a configuration defines can be evaluated. (toJSON forces everything but what
  # derivations are made of.)
  evaluates =
    kache: platform:
    let
      config = enabled platform kache;
      everything = [
        config
        (source config).contents
      ];
    in
    (tryEval (builtins.toJSON everything)).success;
  accepts = kache: all (evaluates kache) (attrNames platforms);
  rejects = kache: all (platform: !evaluates kache platform) (attrNames platforms);

  nest = path: value: foldl' (inner: name: { ${name} = inner; }) value (reverse path);
  reverse = foldl' (back: element: [ element ] ++ back) [ ];
  join = builtins.concatStringsSep ".";

  # Every typed setting: the values that it takes and the ones that it does not.
  text = {
    good = [
      "x"
      ""
    ];
    bad = [
      1
      true
      [ "x" ]
      { }
    ];
  };
  boolean = {
    good = [
      true
      false
    ];
    bad = [
      "true"
      1
      [ ]
    ];
  };
  number = good: bad: {
    inherit good;
    bad = bad ++ [
      "3"
      3.5
      true
    ];
  };
  typed = {
    cache_executables = boolean;
    clean_incremental = boolean;
    compression_level = number [ 1 3 22 ] [ 0 23 (-1) ];
    daemon_idle_timeout_secs = number [ 0 600 ] [ (-1) ];
    local_max_size = text;
    local_store = text;
    s3_concurrency = number [ 1 64 ] [ 0 (-1) ];
  };
  typedRemote = {
    bucket = text;
    endpoint = text;
    prefix = text;
    profile = text;
    region = text;
    type = text;
  };
  rows = settingsBelow [ "cache" ] typed ++ settingsBelow [ "cache" "remote" ] typedRemote;
  settingsBelow =
    path: table:
    map (name: {
      path = path ++ [ name ];
      inherit (table.${name}) good bad;
    }) (attrNames table);

  # The options that the module declares below `settings`, by their paths.
  declared =
    path: options:
    concatLists (
      map (
        name:
        let
          inner = path ++ [ name ];
        in
        if builtins.substring 0 1 name == "_" then
          [ ]
        else if options.${name}._type or null == "option" then
          [ (join inner) ]
        else
          declared inner options.${name}
      ) (attrNames options)
    );
  options = (evaluate "nixos" [ ]).options.services.kache;
  typedOptions = declared [ ] (options.settings.type.getSubOptions [ ]);

  full = {
    cache = {
      cache_executables = true;
      clean_incremental = false;
      compression_level = 3;
      daemon_idle_timeout_secs = 600;
      local_max_size = "50GB";
      local_store = "/var/cache/kache";
      s3_concurrency = 16;
      remote = {
        type = "s3";
        bucket = "builds";
        endpoint = "https://s3.example.org";
        region = "us-east-1";
        prefix = "artifacts";
        profile = "default";
      };
    };
  };

  executable = "${package}/bin/kache";
  daemonEnvironment = {
    KACHE_CONFIG = "/etc/kache/config.toml";
    KACHE_LOG = "kache=info";
  };
  withDaemon = platform: enabled platform { daemon.enable = true; };
  unit = (withDaemon "nixos").systemd.user.services.kache;
  agent = (withDaemon "darwin").launchd.user.agents.kache.serviceConfig;
  withoutNulls =
    value:
    if builtins.isAttrs value then
      listToAttrs (
        map (name: {
          inherit name;
          value = withoutNulls value.${name};
        }) (filter (name: value.${name} != null) (attrNames value))
      )
    else
      value;

  onEach =
    platform:
    let
      off = configure platform { };
      on = enabled platform { };
      inherit (on) environment;
    in
    {
      "on ${platform}, nothing is defined unless it is enabled" =
        off.environment.systemPackages == [ ]
        && off.environment.etc == { }
        && off.environment.variables == { }
        && (off.systemd.user.services or { }) == { }
        && (off.launchd.user.agents or { }) == { };
      "on ${platform}, nothing is defined for a daemon alone" =
        let
          config = configure platform {
            daemon.enable = true;
            inherit package;
          };
        in
        (config.systemd.user.services or { }) == { } && (config.launchd.user.agents or { }) == { };
      "on ${platform}, enabling installs the package" =
        map toString environment.systemPackages == [ (toString package) ];
      "on ${platform}, enabling writes the file and names it" =
        attrNames environment.etc == [ "kache/config.toml" ]
        && environment.variables == {
          KACHE_CONFIG = "/etc/kache/config.toml";
          RUSTC_WRAPPER = executable;
        };
      "on ${platform}, the wrapper can be left out" =
        (enabled platform { rustcWrapper = false; }).environment.variables == {
          KACHE_CONFIG = "/etc/kache/config.toml";
        };
      "on ${platform}, no daemon runs unless asked for" =
        (on.systemd.user.services or { }) == { } && (on.launchd.user.agents or { }) == { };
      "on ${platform}, what others define is kept" =
        let
          config =
            (evaluate platform [
              {
                services.kache = {
                  enable = true;
                  inherit package;
                };
              }
              {
                environment.variables.EDITOR = "vi";
                services.kache.settings.cache.local_max_size = "1GB";
              }
              { services.kache.settings.cache.remote.bucket = "builds"; }
            ]).config;
        in
        attrNames config.environment.variables == [
          "EDITOR"
          "KACHE_CONFIG"
          "RUSTC_WRAPPER"
        ]
        && (source config).contents == {
          cache = {
            local_max_size = "1GB";
            remote.bucket = "builds";
          };
        };
      "on ${platform}, the package is built from this checkout by default" =
        let
          kache = (configure platform { }).services.kache.package;
        in
        lib.isDerivation kache && toString kache == toString (pkgs.callPackage ../package.nix { });
    };

  eachSetting = row: {
    "${join row.path} is not written unless it is set" = written (nest row.path null) == { };
    "${join row.path} is written as it is set" = all (
      value:
      let
        settings = nest row.path value;
      in
      accepts { inherit settings; } && written settings == settings
    ) row.good;
    "${join row.path} refuses what it cannot be" = all (
      value: rejects { settings = nest row.path value; }
    ) row.bad;
  };

  defaults =
    let
      kache = (configure "nixos" { }).services.kache;
    in
    {
      "it is disabled, without a daemon, and wraps rustc by default" =
        !kache.enable && !kache.daemon.enable && kache.rustcWrapper && kache.daemon.logLevel == "kache=info";
      "nothing is written by default" = written { } == { };
      "every typed setting is null by default" = all (
        row: foldl' (table: name: table.${name}) kache.settings row.path == null
      ) rows;
      "the typed settings are those of the table" =
        typedOptions == builtins.sort builtins.lessThan (map (row: join row.path) rows);
    };

  freeform = {
    "all typed settings together are written as they are" =
      accepts {
        daemon.enable = true;
        settings = full;
      }
      && written full == full;
    "unknown settings are kept, wherever they stand" =
      let
        settings = {
          top = 1;
          telemetry.nested.level = "x";
          cache = {
            link_mode = "hardlink";
            exclude = [
              "a/**"
              "b"
            ];
            ratio = 0.5;
            remote = {
              path_style = true;
              bucket = "builds";
            };
            tables = [
              { name = "x"; }
              { }
            ];
            empty = { };
          };
        };
      in
      written settings == settings;
    "nulls are dropped at every depth" =
      written {
        gone = null;
        cache = {
          gone = null;
          local_store = null;
          remote = {
            gone = null;
            bucket = null;
          };
          tables = [
            null
            {
              kept = 1;
              gone = null;
              deep.deeper.gone = null;
            }
            [
              null
              2
            ]
          ];
          deep.deeper = {
            kept = false;
            gone = null;
          };
        };
      } == {
        cache = {
          tables = [
            { kept = 1; }
            [ 2 ]
          ];
          deep.deeper.kept = false;
        };
      };
    "a table that holds only nulls is not written" = written { cache.extra.inner.gone = null; } == { };
    "what TOML cannot hold is refused" = all (value: rejects { settings.cache.extra = value; }) [
      (x: x)
      [ (x: x) ]
      { deep = [ (x: x) ]; }
    ];
    "a table where a value belongs is refused, and the other way round" =
      rejects { settings.cache.local_store.x = 1; } && rejects { settings.cache.remote = "s3"; };
    "settings that are no table are refused" = rejects { settings = [ ]; } && rejects { settings = 3; };
  };

  strictness = {
    "misspelt options are refused" = all rejects [
      { enabled = true; }
      { rustWrapper = true; }
      { packages = package; }
      { setting.cache = { }; }
      { daemon.enabled = true; }
      { daemon.loglevel = "x"; }
      { daemon.settings = { }; }
    ];
    "wrong types of options are refused" = all rejects [
      { enable = "yes"; }
      { rustcWrapper = 1; }
      { rustcWrapper = null; }
      { package = "kache"; }
      { package = { }; }
      { daemon.enable = "yes"; }
      { daemon.logLevel = null; }
      {
        daemon = {
          enable = true;
          logLevel = 1;
        };
      }
      { daemon = true; }
    ];
  };

  daemon = {
    "the unit runs the daemon as documented" =
      unit.wantedBy == [ "default.target" ]
      && unit.environment == daemonEnvironment
      && unit.serviceConfig == {
        Type = "simple";
        ExecStart = "${executable} daemon run";
        Restart = "on-failure";
        RestartSec = 5;
      };
    "the unit restarts when the configuration changes" =
      map toString unit.restartTriggers == [ (toString (source (withDaemon "nixos"))) ];
    "the agent runs the daemon as documented" =
      withoutNulls agent == {
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
    "the daemon logs as told" =
      let
        loud = {
          daemon = {
            enable = true;
            logLevel = "kache=debug,h2=warn";
          };
        };
      in
      (enabled "nixos" loud).systemd.user.services.kache.environment.KACHE_LOG == "kache=debug,h2=warn"
      &&
        (enabled "darwin" loud).launchd.user.agents.kache.serviceConfig.EnvironmentVariables.KACHE_LOG
        == "kache=debug,h2=warn";
  };

  properties = foldl' (sum: more: sum // more) { } (
    [
      (onEach "nixos")
      (onEach "darwin")
      defaults
      freeform
      strictness
      daemon
    ]
    ++ map eachSetting rows
  );
in
{
  inherit typedOptions unit full;
  options = declared [ ] options;
  typed = map (row: row // { path = join row.path; }) rows;
  agent = withoutNulls agent;
  held = filter (name: properties.${name}) (attrNames properties);
  broken = filter (name: !properties.${name}) (attrNames properties);
}
