//! The workspace that a command is about, as the remote knows it.

use super::UsageError;
use crate::config::Config;
use crate::remote::build::{
    all_builds, identity, list_of_workspace, named_identity, project_identity,
};
use crate::remote::{LocalError, Remote, RemoteError};
use crate::store::Store;
use crate::toolchain::{ToolchainError, presumed};
use crate::{env, fs};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use store_format::{BuildList, Digest};

/// How far back builds of the workspace are looked for.
const RECENT_MS: u64 = 7 * 24 * 3600 * 1000;

/// Which builds are meant.
#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// A manifest or lockfile of the workspace; the current directory's by default.
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// A name for the builds, in place of their lockfile and toolchain.
    #[arg(long, value_name = "KEY")]
    manifest_key: Option<String>,
    /// What the name belongs to.
    #[arg(long, value_name = "NAMESPACE", requires = "manifest_key")]
    namespace: Option<String>,
}

/// A workspace and its name in the remote.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) root: PathBuf,
    pub(super) identity: Digest,
    /// What it has in common with itself under another lockfile; `None` where a name was given.
    project: Option<Digest>,
}

impl Workspace {
    pub(super) fn find(selection: &Selection, config: &Config, store: &Store) -> Result<Self> {
        let start = match &selection.manifest_path {
            Some(path) => {
                let path = path.canonicalize().with_context(|| path.display().to_string())?;
                if path.is_dir() { path } else { path.parent().unwrap_or(&path).to_owned() }
            }
            None => std::env::current_dir().context("find the current directory")?,
        };
        let root = start.ancestors().find(|directory| directory.join("Cargo.lock").exists());
        let namespace = selection.namespace.as_deref().unwrap_or_default();
        let named = selection.manifest_key.as_ref().map(|key| named_identity(key, namespace));
        let (identity, project) = match (named, root) {
            (Some(identity), _) => (identity, None),
            (None, Some(root)) => {
                let lockfile = fs::read(&root.join("Cargo.lock"))?;
                let compiler = compiler(store, root)?;
                let key_salt = config.key_salt.as_deref();
                let project = project_identity(&lockfile, &compiler.0, key_salt);
                (identity(&lockfile, &compiler.0, key_salt), project)
            }
            (None, None) => {
                let message = format!("there is no Cargo.lock in {} or above", start.display());
                let hint = "`--manifest-path` names the workspace; `cargo generate-lockfile` makes \
                            its lockfile";
                return Err(UsageError::new(message).hint(hint).into());
            }
        };
        Ok(Self { root: root.unwrap_or(&start).to_owned(), identity, project })
    }

    /// The lists of its builds elsewhere; where nobody built it with this lockfile, those of its builds
    /// with another one.
    pub(super) async fn lists(&self, remote: &Remote) -> Result<Vec<BuildList>, RemoteError> {
        let mut lists = remote.builds(&self.identity).await?;
        if let (Some(project), true) = (&self.project, lists.is_empty()) {
            lists = remote.builds(project).await?;
        }
        Ok(lists.into_iter().map(|(_, list)| list).collect())
    }

    /// Says what all its builds used.
    pub(super) async fn put_list(
        &self,
        remote: &Remote,
        list: &BuildList,
    ) -> Result<(), RemoteError> {
        let identities = self.project.into_iter().chain([self.identity]);
        remote.put_build(identities, &all_builds(), list).await
    }

    /// What builds of the workspace used of late.
    pub(super) fn used(&self, store: &Store) -> Result<BuildList, LocalError> {
        list_of_workspace(store, &self.root, since_ms())
    }
}

/// Since when builds count, in milliseconds since 1970.
pub(super) fn since_ms() -> u64 {
    super::times::now_ms().saturating_sub(RECENT_MS)
}

/// The compiler that Cargo would call in a directory. A rustup proxy is asked which one it stands for.
fn compiler(store: &Store, directory: &Path) -> Result<Digest> {
    let program = env::value(env::RUSTC).unwrap_or_else(|| "rustc".into());
    let found = match presumed(store, &program) {
        Err(ToolchainError::Proxy(proxy)) => {
            let mut command = Command::new(&proxy);
            let output = command.args(["--print", "sysroot"]).current_dir(directory).output();
            let output = output.with_context(|| format!("run {}", proxy.display()))?;
            let sysroot = OsString::from_vec(output.stdout.trim_ascii_end().to_vec());
            presumed(store, Path::new(&sysroot).join("bin/rustc").as_os_str())
        }
        found => found,
    };
    found.context("find the compiler")
}

/// The configured remote, or an error that is the user's to correct.
pub(super) async fn remote(config: &Config) -> Result<Remote> {
    match Remote::open(config).await {
        Err(RemoteError::NotConfigured) if config.local_only => {
            Err(UsageError::new("`local_only` is set: the remote is not used").into())
        }
        Err(RemoteError::NotConfigured) => {
            let none = "`kache config set remote.bucket NAME` configures one";
            let (problem, remedy) = config.gap().unwrap_or(("no remote is configured", none));
            Err(UsageError::new(problem).hint(remedy).into())
        }
        Err(RemoteError::Configuration(problem)) => Err(UsageError::new(problem).into()),
        opened => Ok(opened?),
    }
}

/// What transfers run on.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("start the runtime")
}
