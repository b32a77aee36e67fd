//! The configuration: environment over file over default.
//!
//! The file is `KACHE_CONFIG`, else the nearest `.kache.toml` upward from the working directory,
//! else `$XDG_CONFIG_HOME/kache/config.toml`. Invariants: reading it never fails (a wrong value is
//! a [`ConfigWarning`], and the default holds; commands refuse to run on one); without a file it
//! costs a few failed `open` calls and no parser runs.

mod file;
mod settings;
mod suggest;
pub mod value;

pub use file::user_file;
pub use settings::{Field, Raw, SETTINGS, Setting};
pub use suggest::nearest;
pub use value::{LinkMode, RemoteKind, Verify};

use crate::env;
use crate::inputs::{finish, frame};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Every setting's value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent setting of the user")]
pub struct Config {
    pub cache_dir: PathBuf,
    pub max_size_bytes: u64,
    pub cache_executables: bool,
    pub clean_incremental: bool,
    pub link_mode: LinkMode,
    pub compression_level: u64,
    pub s3_concurrency: u64,
    pub daemon_idle_timeout_secs: u64,
    pub exclude: Vec<String>,
    pub bypass_crates: Vec<String>,
    pub extra_inputs: Vec<String>,
    pub key_salt: Option<String>,
    pub verify_restores: Verify,
    pub verify_compiles: Verify,
    pub gc_max_age_hours: u64,
    pub local_only: bool,
    pub remote_readonly: bool,
    pub prefetch_enabled: bool,
    pub prefetch_max_bytes: u64,
    pub prefetch_deadline_secs: u64,
    pub remote: Remote,
    /// Pass everything through. Also set when there is no directory for a store.
    pub disabled: bool,
    pub socket_path: Option<PathBuf>,
    pub path_normalize: bool,
}

/// Where results are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    pub kind: RemoteKind,
    pub path: Option<PathBuf>,
    pub bucket: Option<String>,
    pub endpoint: Option<String>,
    pub region: String,
    pub prefix: String,
    pub profile: Option<String>,
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    pub signing_key_file: Option<PathBuf>,
}

impl Remote {
    /// Stands for where results are shared: the same however that is reached.
    pub fn place(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"kache remote\0");
        frame(&mut hasher, format!("{:?}", self.kind).as_bytes());
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        frame(&mut hasher, path.as_os_str().as_encoded_bytes());
        frame(&mut hasher, self.bucket.as_deref().unwrap_or_default().as_bytes());
        frame(&mut hasher, self.endpoint.as_deref().unwrap_or_default().as_bytes());
        frame(&mut hasher, self.prefix.trim_matches('/').as_bytes());
        let digest = finish(&hasher).to_string();
        digest[..32].to_owned()
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("kind", &self.kind)
            .field("path", &self.path)
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Default for Config {
    /// The defaults, with an empty `cache_dir`: that one depends on the user.
    fn default() -> Self {
        Self {
            cache_dir: PathBuf::new(),
            max_size_bytes: 50_000_000_000,
            cache_executables: cfg!(target_os = "linux"),
            clean_incremental: false,
            link_mode: LinkMode::Auto,
            compression_level: 3,
            s3_concurrency: 16,
            daemon_idle_timeout_secs: 600,
            exclude: Vec::new(),
            bypass_crates: Vec::new(),
            extra_inputs: Vec::new(),
            key_salt: None,
            verify_restores: Verify::Off,
            verify_compiles: Verify::Off,
            gc_max_age_hours: 0,
            local_only: false,
            remote_readonly: false,
            prefetch_enabled: true,
            prefetch_max_bytes: 2 << 30,
            prefetch_deadline_secs: 300,
            remote: Remote {
                kind: RemoteKind::S3,
                path: None,
                bucket: None,
                endpoint: None,
                region: "us-east-1".into(),
                prefix: "artifacts".into(),
                profile: None,
                access_key: None,
                secret_key: None,
                signing_key_file: None,
            },
            disabled: false,
            socket_path: None,
            path_normalize: true,
        }
    }
}

impl Config {
    /// The configuration of a wrapper call. The warnings are for the commands to show.
    ///
    /// The compiler's working directory says little (for a dependency it is the package in Cargo's
    /// registry), so a `.kache.toml` is searched from the one that Cargo itself was started in.
    pub fn load() -> (Self, Vec<ConfigWarning>) {
        let loaded = Loaded::read(&env::value, build_directory().as_deref());
        (loaded.config, loaded.warnings)
    }

    /// Whether a crate is never cached. Packages' names are understood as well.
    pub fn bypasses(&self, crate_name: &str) -> bool {
        self.bypass_crates.iter().any(|name| name.replace('-', "_") == crate_name)
    }

    /// The file that [`Config::load`] reads, if there is one.
    pub fn file() -> Option<PathBuf> {
        Loaded::read(&env::value, build_directory().as_deref()).file
    }

    /// Whether there is a remote to use.
    pub fn has_remote(&self) -> bool {
        !self.local_only
            && match self.remote.kind {
                RemoteKind::S3 => self.remote.bucket.as_ref().is_some_and(|name| !name.is_empty()),
                RemoteKind::Filesystem => self.remote.path.is_some(),
            }
    }

    /// What keeps the remote from being one, and what to do about it.
    pub fn gap(&self) -> Option<(&'static str, &'static str)> {
        let remote = &self.remote;
        match remote.kind {
            RemoteKind::Filesystem if remote.path.is_none() => Some((
                "`remote.type` is `filesystem`, and `remote.path` is not set",
                "`kache config set remote.path DIRECTORY`",
            )),
            RemoteKind::S3 if remote.bucket.is_none() && remote.path.is_some() => Some((
                "`remote.path` is set, and `remote.type` is not `filesystem`",
                "`kache config set remote.type filesystem`",
            )),
            RemoteKind::S3 if remote.bucket.as_deref() == Some("") => {
                Some(("`remote.bucket` is empty", "`kache config set remote.bucket NAME`"))
            }
            RemoteKind::S3 if remote.access_key.is_some() != remote.secret_key.is_some() => Some((
                "one of the access key and the secret key is set without the other: neither is used",
                "set both, or none",
            )),
            _ => None,
        }
    }

    /// The remote as people know it, and where it is, without anything that is secret.
    pub fn remote_place(&self) -> String {
        let remote = &self.remote;
        match remote.kind {
            RemoteKind::Filesystem => self.remote_name(),
            RemoteKind::S3 => {
                let endpoint = remote.endpoint.as_deref().unwrap_or(&remote.region);
                format!("{} at {endpoint}", self.remote_name())
            }
        }
    }

    /// The remote as people know it, without anything that is secret; empty if there is none.
    pub fn remote_name(&self) -> String {
        let remote = &self.remote;
        match (remote.kind, &remote.bucket, &remote.path) {
            _ if !self.has_remote() => String::new(),
            (RemoteKind::S3, Some(bucket), _) => format!("s3://{bucket}/{}", remote.prefix),
            (_, _, Some(path)) => path.display().to_string(),
            _ => String::new(),
        }
    }

    /// Whether what is stored here is to be uploaded.
    pub fn uploads(&self) -> bool {
        self.has_remote() && !self.remote_readonly
    }
}

/// The directory that relative globs of the configuration start from: the nearest one, upward from
/// where Cargo was started, that has a `.kache.toml` or a lockfile.
pub fn workspace_directory() -> Option<PathBuf> {
    let start = build_directory()?;
    let is_workspace = |directory: &&Path| {
        [".kache.toml", "Cargo.lock"].iter().any(|name| directory.join(name).exists())
    };
    Some(start.ancestors().find(is_workspace).unwrap_or(&start).to_owned())
}

/// The working directory of the process that started this one, else the shell's.
pub fn build_directory() -> Option<PathBuf> {
    if cfg!(target_os = "linux") {
        let link = format!("/proc/{}/cwd", std::os::unix::process::parent_id());
        if let Ok(directory) = std::fs::read_link(link) {
            return Some(directory);
        }
    }
    let shell = env::value(env::PWD).map(PathBuf::from).filter(|path| path.is_absolute());
    shell.or_else(|| std::env::current_dir().ok())
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    Environment,
    File { path: PathBuf, line: u32 },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment => f.write_str("environment"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// Something wrong in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    pub origin: Origin,
    /// The key, or the variable where the environment is wrong.
    pub key: String,
    pub problem: String,
    pub remedy: Option<String>,
    /// Whether commands refuse to run on it.
    pub fatal: bool,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.key.as_str()) {
            (Origin::File { .. }, "") => write!(f, "{}: {}", self.origin, self.problem)?,
            (Origin::File { .. }, key) => write!(f, "{}: `{key}` {}", self.origin, self.problem)?,
            (_, key) => write!(f, "{key} {}", self.problem)?,
        }
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// A configuration and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<ConfigWarning>,
    /// The file that was read, or that `KACHE_CONFIG` names.
    pub file: Option<PathBuf>,
    /// Where each of [`SETTINGS`] came from, in the same order.
    pub origins: Vec<Origin>,
}

impl Loaded {
    /// The configuration of a command run in the current directory.
    pub fn for_command() -> Self {
        Self::read(&env::value, std::env::current_dir().ok().as_deref())
    }

    /// Reads everything; `variable` is the environment, `directory` where the search starts.
    pub fn read(variable: &dyn Fn(&str) -> Option<OsString>, directory: Option<&Path>) -> Self {
        let mut warnings = Vec::new();
        let found = file::find(variable, directory, &mut warnings);
        Self::resolve(variable, found, warnings)
    }

    /// The configuration with `text` as the file.
    pub fn with_file(
        variable: &dyn Fn(&str) -> Option<OsString>,
        path: PathBuf,
        text: String,
    ) -> Self {
        Self::resolve(variable, Some(file::Found { path, text }), Vec::new())
    }

    fn resolve(
        variable: &dyn Fn(&str) -> Option<OsString>,
        found: Option<file::Found>,
        warnings: Vec<ConfigWarning>,
    ) -> Self {
        let mut loaded = Self {
            config: Config::default(),
            warnings,
            file: None,
            origins: vec![Origin::Default; SETTINGS.len()],
        };
        if let Some(found) = found {
            file::apply(&found, &mut loaded);
            loaded.file = Some(found.path);
        }
        for (setting, origin) in SETTINGS.iter().zip(&mut loaded.origins) {
            let Some(name) = setting.variable else { continue };
            let Some(value) = variable(name) else { continue };
            match apply_variable(setting, value, &mut loaded.config) {
                Ok(()) => *origin = Origin::Environment,
                Err(problem) => loaded.warnings.push(ConfigWarning {
                    origin: Origin::Environment,
                    key: name.to_owned(),
                    problem,
                    remedy: None,
                    fatal: true,
                }),
            }
        }
        if loaded.config.cache_dir.as_os_str().is_empty() {
            loaded.choose_cache_dir(variable);
        }
        loaded
    }

    fn choose_cache_dir(&mut self, variable: &dyn Fn(&str) -> Option<OsString>) {
        if let Some(directory) = default_cache_dir(variable) {
            self.config.cache_dir = directory;
            return;
        }
        self.config.disabled = true;
        self.warnings.push(ConfigWarning {
            origin: Origin::Default,
            key: env::CACHE_DIR.to_owned(),
            problem: "is not set and there is no home directory for a store".to_owned(),
            remedy: Some("set it to an absolute path".to_owned()),
            fatal: true,
        });
    }
}

fn apply_variable(setting: &Setting, value: OsString, config: &mut Config) -> Result<(), String> {
    // Paths need not be Unicode; everything else has to be.
    if setting.field.is_path() {
        let path = PathBuf::from(value);
        if !path.is_absolute() {
            return Err(format!("is `{}`, expected {}", path.display(), setting.field.expected()));
        }
        match setting.field {
            Field::Directory(at) => *at(config) = path,
            Field::Path(at) => *at(config) = Some(path),
            _ => {}
        }
        return Ok(());
    }
    let text = value.to_string_lossy().into_owned();
    let shown = if matches!(setting.field, Field::Secret(_)) { "…" } else { &text }.to_owned();
    setting
        .set(config, &Raw::Text(text), true)
        .map_err(|expected| format!("is `{shown}`, expected {expected}"))
}

fn default_cache_dir(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    if let Some(directory) = variable(env::XDG_CACHE_HOME).map(PathBuf::from).and_then(absolute) {
        return Some(directory.join("kache"));
    }
    let below_home = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    Some(file::home(variable)?.join(below_home).join("kache"))
}

#[cfg(test)]
mod tests;
