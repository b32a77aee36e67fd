//! What a user may write, and what comes of it.

use super::*;
use std::collections::HashMap;

struct Case {
    variables: HashMap<&'static str, OsString>,
    directory: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        let variables = HashMap::from([("HOME", home.into_os_string())]);
        Self { variables, directory }
    }

    fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn read(&self) -> Loaded {
        let lookup = |name: &str| self.variables.get(name).cloned();
        Loaded::read(&lookup, Some(&self.directory.path().join("a/b")))
    }

    fn messages(&self) -> Vec<String> {
        let directory = format!("{}/", self.directory.path().display());
        let warnings = self.read().warnings;
        warnings.iter().map(|w| w.to_string().replace(&directory, "")).collect()
    }
}

#[test]
fn without_file_and_variables_everything_is_the_documented_default() {
    let case = Case::new();
    let loaded = case.read();
    assert_eq!(loaded.warnings, []);
    assert!(loaded.origins.iter().all(|origin| *origin == Origin::Default));
    for setting in SETTINGS {
        let mut changed = loaded.config.clone();
        let raw = Raw::Text(setting.default.to_owned());
        let is_value = !matches!(setting.default, "none" | "[]" | "AWS" | "default chain")
            && !setting.default.contains(' ');
        if is_value {
            setting.set(&mut changed, &raw, true).unwrap();
            assert_eq!(changed, loaded.config, "{}", setting.name());
        }
    }
}

#[test]
fn the_default_store_is_below_the_home_directory_unless_xdg_says_otherwise() {
    let home = Case::new();
    let cache = if cfg!(target_os = "macos") { "Library/Caches/kache" } else { ".cache/kache" };
    assert_eq!(home.read().config.cache_dir, home.directory.path().join("home").join(cache));
    let xdg = Case::new().variable("XDG_CACHE_HOME", "/var/xdg");
    assert_eq!(xdg.read().config.cache_dir, Path::new("/var/xdg/kache"));
    let relative = Case::new().variable("XDG_CACHE_HOME", "xdg");
    assert!(relative.read().config.cache_dir.is_absolute());
}

#[test]
fn the_environment_is_stronger_than_the_file() {
    let case = Case::new()
        .file("a/.kache.toml", "[cache]\nlocal_max_size = \"1GB\"\nkey_salt = \"file\"\n")
        .variable("KACHE_MAX_SIZE", "2GiB");
    let loaded = case.read();
    assert_eq!(loaded.config.max_size_bytes, 2 << 30);
    assert_eq!(loaded.config.key_salt.as_deref(), Some("file"));
    let origin = |name| {
        &loaded.origins[SETTINGS.iter().position(|setting| setting.key == Some(name)).unwrap()]
    };
    assert_eq!(*origin("local_max_size"), Origin::Environment);
    let path = case.directory.path().join("a/.kache.toml");
    assert_eq!(*origin("key_salt"), Origin::File { path, line: 3 });
}

#[test]
fn the_nearest_file_upward_is_read_and_then_the_one_of_the_user() {
    let text = |salt: &str| format!("[cache]\nkey_salt = \"{salt}\"\n");
    let salt = |case: &Case| case.read().config.key_salt;
    let case = Case::new().file("home/.config/kache/config.toml", &text("user"));
    assert_eq!(salt(&case).as_deref(), Some("user"));
    let case = case.file(".kache.toml", &text("far"));
    assert_eq!(salt(&case).as_deref(), Some("far"));
    let case = case.file("a/b/.kache.toml", &text("near"));
    assert_eq!(salt(&case).as_deref(), Some("near"));
    let case = case.file("other.toml", &text("named"));
    let named = case.directory.path().join("other.toml").to_str().unwrap().to_owned();
    let case = case.variable("KACHE_CONFIG", &named);
    assert_eq!(salt(&case).as_deref(), Some("named"));
    // Whatever directory a compiler works in.
    let case = case.variable("KACHE_CONFIG", "../../other.toml");
    assert_eq!(salt(&case).as_deref(), Some("named"));
}

#[test]
fn every_key_of_a_file_is_read() {
    let case = Case::new().file(
        "a/.kache.toml",
        r#"
[cache]
local_store = "store"
local_max_size = 1000
cache_executables = false
link_mode = "copy"
compression_level = 22
exclude = ["vendor/**"]
verify_restores = "sampled"
[cache.remote]
type = "filesystem"
path = "/mnt/shared"
bucket = "b"
"#,
    );
    let loaded = case.read();
    assert_eq!(case.messages(), Vec::<String>::new());
    let config = loaded.config;
    assert_eq!(config.cache_dir, case.directory.path().join("a/store"));
    assert_eq!(config.max_size_bytes, 1000);
    assert!(!config.cache_executables);
    assert_eq!(config.link_mode, LinkMode::Copy);
    assert_eq!(config.compression_level, 22);
    assert_eq!(config.exclude, ["vendor/**"]);
    assert_eq!(config.verify_restores, Verify::Sampled);
    assert_eq!(config.remote.kind, RemoteKind::Filesystem);
    assert_eq!(config.remote.path.as_deref(), Some(Path::new("/mnt/shared")));
    assert!(config.has_remote());
}

#[test]
fn a_wrong_value_names_its_place_and_what_is_accepted_and_the_default_holds() {
    let case = Case::new()
        .file(
            "a/.kache.toml",
            "[cache]\nlocal_max_size = \"lots\"\nlink_mode = 3\n\ncompression_level = 23\n\
             exclude = [1]\nremote = 1\ncache_executables = \"yes\"\n",
        )
        .variable("KACHE_S3_CONCURRENCY", "0")
        .variable("KACHE_CACHE_DIR", "relative");
    assert_eq!(
        case.messages(),
        [
            "a/.kache.toml:2: `local_max_size` is `\"lots\"`, expected a size such as 50GB, \
             50GiB or a number of bytes",
            "a/.kache.toml:3: `link_mode` is `3`, expected auto, clone, hardlink or copy",
            "a/.kache.toml:5: `compression_level` is `23`, expected a whole number from 1 to 22",
            "a/.kache.toml:6: `exclude` is `[1]`, expected a list of texts",
            "a/.kache.toml:7: `remote` is a table, [cache.remote]",
            "a/.kache.toml:8: `cache_executables` is `\"yes\"`, expected true or false",
            "KACHE_CACHE_DIR is `relative`, expected an absolute path",
            "KACHE_S3_CONCURRENCY is `0`, expected a whole number, 1 or more",
        ]
    );
    let config = case.read().config;
    assert_eq!(config.max_size_bytes, Config::default().max_size_bytes);
    assert_eq!(config.s3_concurrency, 16);
    assert!(config.cache_dir.is_absolute() && !config.disabled);
}

#[test]
fn an_unknown_key_is_a_warning_with_the_nearest_known_one() {
    let case = Case::new().file(
        "a/.kache.toml",
        "top = 1\n[cache]\nlocal_max_sise = 1\n[cache.remote]\nbuket = \"b\"\nzap = 1\nlink_mode = 1\n[chace]\n",
    );
    assert_eq!(
        case.messages(),
        [
            "a/.kache.toml:1: `top` is not a known key; all settings are below [cache]",
            "a/.kache.toml:3: `local_max_sise` is not a known key; did you mean `local_max_size`?",
            "a/.kache.toml:5: `remote.buket` is not a known key; did you mean `remote.bucket`?",
            "a/.kache.toml:6: `remote.zap` is not a known key",
            "a/.kache.toml:7: `remote.link_mode` is not a known key; `link_mode` belongs to [cache]",
            "a/.kache.toml:8: `chace` is not a known key; all settings are below [cache]",
        ]
    );
    assert!(case.read().warnings.iter().all(|warning| !warning.fatal));
}

#[test]
fn text_that_is_not_toml_and_a_missing_named_file_are_errors() {
    let case = Case::new().file("a/.kache.toml", "[cache]\n\nkey = = 1\n");
    let loaded = case.read();
    assert!(case.messages()[0].starts_with("a/.kache.toml:3: is not TOML: "), "{loaded:?}");
    assert!(loaded.warnings[0].fatal);
    let case = Case::new().variable("KACHE_CONFIG", "/nowhere/config.toml");
    let message = &case.messages()[0];
    assert!(message.starts_with("/nowhere/config.toml:1: cannot be read: "), "{message}");
}

#[test]
fn secrets_are_not_shown() {
    let case = Case::new().variable("KACHE_S3_SECRET_KEY", "hunter2");
    let config = case.read().config;
    assert_eq!(config.remote.secret_key.as_deref(), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(SETTINGS.iter().all(|setting| !setting.shown(&config).contains("hunter2")));
}

#[test]
fn keys_and_variables_are_declared_once() {
    let mut names: Vec<_> = SETTINGS.iter().flat_map(|s| [s.key, s.variable]).flatten().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn a_bucket_is_another_one_elsewhere_and_the_same_with_other_keys() {
    let with = |set: fn(&mut Remote)| {
        let mut config = Config::default();
        set(&mut config.remote);
        config.remote.place()
    };
    let own = with(|_| {});
    assert_ne!(with(|remote| remote.bucket = Some("b".into())), own);
    assert_ne!(with(|remote| remote.endpoint = Some("http://s3".into())), own);
    assert_ne!(with(|remote| remote.path = Some("/p".into())), own);
    assert_ne!(with(|remote| remote.prefix.push('p')), own);
    assert_eq!(with(|remote| remote.secret_key = Some("x".into())), own);
    assert_eq!(with(|remote| remote.prefix.push('/')), own);
}
