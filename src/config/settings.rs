//! The table of settings: the one place that says which there are, where each is set, and what it
//! means. The loader, `kache config`, the documentation and the Nix module are held to it.

use super::value::{LinkMode, RemoteKind, Verify, parse_size};
use super::{Config, value};
use crate::env;
use std::path::PathBuf;

/// One thing that can be configured.
#[derive(Debug)]
pub struct Setting {
    /// Its name below `[cache]`, dotted; `None` where only the environment sets it.
    pub key: Option<&'static str>,
    pub variable: Option<&'static str>,
    /// The default as the documentation states it.
    pub default: &'static str,
    pub documentation: &'static str,
    pub field: Field,
}

/// What a setting holds and where a [`Config`] keeps it.
#[derive(Clone, Copy, Debug)]
pub enum Field {
    Flag(fn(&mut Config) -> &mut bool),
    Size(fn(&mut Config) -> &mut u64),
    Integer {
        min: u64,
        max: u64,
        at: fn(&mut Config) -> &mut u64,
    },
    Word(fn(&mut Config) -> &mut String),
    Text(fn(&mut Config) -> &mut Option<String>),
    /// Like [`Field::Text`], and never shown.
    Secret(fn(&mut Config) -> &mut Option<String>),
    /// Absolute once it is read; in a file it may start with `~/` or be relative to the file.
    Directory(fn(&mut Config) -> &mut PathBuf),
    /// Like [`Field::Directory`], and may be unset.
    Path(fn(&mut Config) -> &mut Option<PathBuf>),
    List(fn(&mut Config) -> &mut Vec<String>),
    LinkMode(fn(&mut Config) -> &mut LinkMode),
    Verify(fn(&mut Config) -> &mut Verify),
    Remote(fn(&mut Config) -> &mut RemoteKind),
}

/// A value before it is known whether the setting takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<String>),
    /// A kind of value that no setting takes; its name in TOML.
    Other(&'static str),
}

impl Setting {
    /// The name that messages use: the key, else the variable.
    pub fn name(&self) -> &'static str {
        self.key.or(self.variable).unwrap_or_default()
    }

    /// Puts a value into `config`; an error says what is accepted.
    ///
    /// `from_text` is true for sources where everything is text (the environment, arguments).
    pub fn set(&self, config: &mut Config, raw: &Raw, from_text: bool) -> Result<(), String> {
        let expected = || self.field.expected();
        match self.field {
            Field::Flag(at) => *at(config) = flag(raw, from_text).ok_or_else(expected)?,
            Field::Size(at) => *at(config) = size(raw).ok_or_else(expected)?,
            Field::Integer { min, max, at } => {
                let number = integer(raw, from_text).filter(|n| (min..=max).contains(n));
                *at(config) = number.ok_or_else(expected)?;
            }
            Field::Word(at) => text(raw).ok_or_else(expected)?.clone_into(at(config)),
            Field::Text(at) | Field::Secret(at) => {
                *at(config) = Some(text(raw).ok_or_else(expected)?.to_owned());
            }
            Field::Directory(at) => *at(config) = path(raw).ok_or_else(expected)?,
            Field::Path(at) => *at(config) = Some(path(raw).ok_or_else(expected)?),
            Field::List(at) => *at(config) = list(raw, from_text).ok_or_else(expected)?,
            Field::LinkMode(at) => {
                *at(config) = text(raw).and_then(LinkMode::from_name).ok_or_else(expected)?;
            }
            Field::Verify(at) => {
                *at(config) = text(raw).and_then(Verify::from_name).ok_or_else(expected)?;
            }
            Field::Remote(at) => {
                *at(config) = text(raw).and_then(RemoteKind::from_name).ok_or_else(expected)?;
            }
        }
        Ok(())
    }

    /// The value as `kache config` prints it; empty where nothing is set.
    pub fn shown(&self, config: &Config) -> String {
        let mut config = config.clone();
        match self.field {
            Field::Flag(at) => at(&mut config).to_string(),
            Field::Size(at) | Field::Integer { at, .. } => at(&mut config).to_string(),
            Field::Word(at) => at(&mut config).clone(),
            Field::Text(at) => at(&mut config).clone().unwrap_or_default(),
            Field::Secret(at) => {
                at(&mut config).as_ref().map(|_| "(set)".into()).unwrap_or_default()
            }
            Field::Directory(at) => at(&mut config).display().to_string(),
            Field::Path(at) => {
                at(&mut config).as_ref().map(|path| path.display().to_string()).unwrap_or_default()
            }
            Field::List(at) => at(&mut config).join(", "),
            Field::LinkMode(at) => at(&mut config).name().to_owned(),
            Field::Verify(at) => at(&mut config).name().to_owned(),
            Field::Remote(at) => at(&mut config).name().to_owned(),
        }
    }
}

impl Field {
    /// Whether the value names a place in the file system.
    pub fn is_path(self) -> bool {
        matches!(self, Self::Directory(_) | Self::Path(_))
    }

    /// The values that there are, where they are few.
    pub fn choices(self) -> &'static [&'static str] {
        match self {
            Self::Flag(_) => &["true", "false"],
            Self::LinkMode(_) => LinkMode::NAMES,
            Self::Verify(_) => Verify::NAMES,
            Self::Remote(_) => RemoteKind::NAMES,
            _ => &[],
        }
    }

    /// What is accepted, for messages.
    pub fn expected(self) -> String {
        match self {
            Self::Flag(_) => "true or false".into(),
            Self::Size(_) => value::SIZE_FORM.into(),
            Self::Integer { min: 0, max: u64::MAX, .. } => "a whole number".into(),
            Self::Integer { min, max: u64::MAX, .. } => format!("a whole number, {min} or more"),
            Self::Integer { min, max, .. } => format!("a whole number from {min} to {max}"),
            Self::Word(_) | Self::Text(_) | Self::Secret(_) => "a text".into(),
            Self::Directory(_) | Self::Path(_) => "an absolute path".into(),
            Self::List(_) => "a list of texts".into(),
            Self::LinkMode(_) => one_of(LinkMode::NAMES),
            Self::Verify(_) => one_of(Verify::NAMES),
            Self::Remote(_) => one_of(RemoteKind::NAMES),
        }
    }
}

fn one_of(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn text(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Text(text) => Some(text),
        _ => None,
    }
}

fn flag(raw: &Raw, from_text: bool) -> Option<bool> {
    match raw {
        Raw::Flag(flag) => Some(*flag),
        Raw::Text(text) if from_text => match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Some(true),
            "0" | "false" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn integer(raw: &Raw, from_text: bool) -> Option<u64> {
    match raw {
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Text(text) if from_text => text.parse().ok(),
        _ => None,
    }
}

fn size(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Text(text) => parse_size(text),
        _ => None,
    }
}

fn path(raw: &Raw) -> Option<PathBuf> {
    text(raw).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn list(raw: &Raw, from_text: bool) -> Option<Vec<String>> {
    match raw {
        Raw::List(items) => Some(items.clone()),
        Raw::Text(text) if from_text && text.trim_start().starts_with('[') => array(text),
        Raw::Text(text) if from_text => Some(
            text.split(',').map(|item| item.trim().to_owned()).filter(|i| !i.is_empty()).collect(),
        ),
        _ => None,
    }
}

/// A list as it is written in a file.
fn array(text: &str) -> Option<Vec<String>> {
    let items = text.parse::<toml_edit::Value>().ok()?;
    items.as_array()?.iter().map(|item| Some(item.as_str()?.to_owned())).collect()
}

const fn setting(
    key: &'static str,
    variable: Option<&'static str>,
    default: &'static str,
    field: Field,
    documentation: &'static str,
) -> Setting {
    Setting { key: Some(key), variable, default, documentation, field }
}

const fn environment_only(
    variable: &'static str,
    default: &'static str,
    field: Field,
    documentation: &'static str,
) -> Setting {
    Setting { key: None, variable: Some(variable), default, documentation, field }
}

/// Every setting, in the order of the documentation.
pub static SETTINGS: &[Setting] = &[
    setting(
        "local_store",
        Some(env::CACHE_DIR),
        "platform cache directory + `kache`",
        Field::Directory(|c| &mut c.cache_dir),
        "directory of the local store",
    ),
    setting(
        "local_max_size",
        Some(env::MAX_SIZE),
        "50GB",
        Field::Size(|c| &mut c.max_size_bytes),
        "size that eviction keeps the local store below",
    ),
    setting(
        "cache_executables",
        Some(env::CACHE_EXECUTABLES),
        "true on Linux, false elsewhere",
        Field::Flag(|c| &mut c.cache_executables),
        "cache binaries and test executables (build scripts and proc-macros always are)",
    ),
    setting(
        "clean_incremental",
        Some(env::CLEAN_INCREMENTAL),
        "false",
        Field::Flag(|c| &mut c.clean_incremental),
        "remove a unit's incremental data once its result is cached",
    ),
    setting(
        "link_mode",
        Some(env::LINK_MODE),
        "auto",
        Field::LinkMode(|c| &mut c.link_mode),
        "how files of the store reach a target directory",
    ),
    setting(
        "compression_level",
        Some(env::COMPRESSION_LEVEL),
        "3",
        Field::Integer { min: 1, max: 22, at: |c| &mut c.compression_level },
        "zstd level of what is uploaded",
    ),
    setting(
        "s3_concurrency",
        Some(env::S3_CONCURRENCY),
        "16",
        Field::Integer { min: 1, max: u64::MAX, at: |c| &mut c.s3_concurrency },
        "transfers at a time",
    ),
    setting(
        "daemon_idle_timeout_secs",
        Some(env::DAEMON_IDLE_TIMEOUT),
        "600",
        Field::Integer { min: 0, max: u64::MAX, at: |c| &mut c.daemon_idle_timeout_secs },
        "seconds without a request after which the daemon ends; 0 is never",
    ),
    setting(
        "exclude",
        None,
        "[]",
        Field::List(|c| &mut c.exclude),
        "globs of source files whose crates are never cached",
    ),
    setting(
        "bypass_crates",
        None,
        "[]",
        Field::List(|c| &mut c.bypass_crates),
        "names of crates that are never cached",
    ),
    setting(
        "extra_inputs",
        None,
        "[]",
        Field::List(|c| &mut c.extra_inputs),
        "globs whose contents enter every key of the workspace",
    ),
    setting(
        "key_salt",
        Some(env::KEY_SALT),
        "none",
        Field::Text(|c| &mut c.key_salt),
        "text that enters every key",
    ),
    setting(
        "verify_restores",
        Some(env::VERIFY_RESTORES),
        "off",
        Field::Verify(|c| &mut c.verify_restores),
        "check the digests of what is restored",
    ),
    setting(
        "verify_compiles",
        Some(env::VERIFY_COMPILES),
        "off",
        Field::Verify(|c| &mut c.verify_compiles),
        "on a hit also compile, and compare, but for incremental libraries, which always differ",
    ),
    setting(
        "gc_max_age_hours",
        Some(env::GC_MAX_AGE_HOURS),
        "0",
        Field::Integer { min: 0, max: u64::MAX, at: |c| &mut c.gc_max_age_hours },
        "hours without use after which a result is removed; 0 is never",
    ),
    setting(
        "local_only",
        Some(env::LOCAL_ONLY),
        "false",
        Field::Flag(|c| &mut c.local_only),
        "never use the remote",
    ),
    setting(
        "remote_readonly",
        Some(env::REMOTE_READONLY),
        "false",
        Field::Flag(|c| &mut c.remote_readonly),
        "download, and never upload",
    ),
    setting(
        "prefetch_enabled",
        Some(env::PREFETCH_ENABLED),
        "true",
        Field::Flag(|c| &mut c.prefetch_enabled),
        "fetch what a build is about to need when it starts",
    ),
    setting(
        "prefetch_max_bytes",
        Some(env::PREFETCH_MAX_BYTES),
        "2GiB",
        Field::Size(|c| &mut c.prefetch_max_bytes),
        "most that is prefetched for a build",
    ),
    setting(
        "prefetch_deadline_secs",
        Some(env::PREFETCH_DEADLINE_SECS),
        "300",
        Field::Integer { min: 0, max: u64::MAX, at: |c| &mut c.prefetch_deadline_secs },
        "seconds after which prefetching for a build ends",
    ),
    setting(
        "remote.type",
        None,
        "s3",
        Field::Remote(|c| &mut c.remote.kind),
        "kind of the remote store",
    ),
    setting(
        "remote.path",
        None,
        "none",
        Field::Path(|c| &mut c.remote.path),
        "directory of a remote of the type filesystem",
    ),
    setting(
        "remote.bucket",
        Some(env::S3_BUCKET),
        "none",
        Field::Text(|c| &mut c.remote.bucket),
        "bucket; without one there is no remote",
    ),
    setting(
        "remote.endpoint",
        Some(env::S3_ENDPOINT),
        "AWS",
        Field::Text(|c| &mut c.remote.endpoint),
        "address of an S3 server other than AWS",
    ),
    setting(
        "remote.region",
        Some(env::S3_REGION),
        "us-east-1",
        Field::Word(|c| &mut c.remote.region),
        "region of the bucket",
    ),
    setting(
        "remote.prefix",
        Some(env::S3_PREFIX),
        "artifacts",
        Field::Word(|c| &mut c.remote.prefix),
        "what the names of all objects start with",
    ),
    setting(
        "remote.profile",
        Some(env::S3_PROFILE),
        "default chain",
        Field::Text(|c| &mut c.remote.profile),
        "profile of the AWS configuration that has the credentials",
    ),
    environment_only(
        env::S3_ACCESS_KEY,
        "none",
        Field::Text(|c| &mut c.remote.access_key),
        "access key, over the credential chain",
    ),
    environment_only(
        env::S3_SECRET_KEY,
        "none",
        Field::Secret(|c| &mut c.remote.secret_key),
        "secret key that belongs to the access key",
    ),
    setting(
        "remote.signing_key_file",
        Some(env::REMOTE_SIGNING_KEY_FILE),
        "none",
        Field::Path(|c| &mut c.remote.signing_key_file),
        "file of the key that signs and checks results in the remote",
    ),
    environment_only(
        env::DISABLED,
        "false",
        Field::Flag(|c| &mut c.disabled),
        "pass every call through to the compiler",
    ),
    environment_only(
        env::SOCKET_PATH,
        "`daemon/sock` in the store",
        Field::Path(|c| &mut c.socket_path),
        "the daemon's socket",
    ),
    environment_only(
        env::PATH_NORMALIZE,
        "true",
        Field::Flag(|c| &mut c.path_normalize),
        "remap paths, so that results are valid in any checkout",
    ),
];
