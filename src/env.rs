//! Every environment variable that kache itself reads, by name.
//!
//! Invariant: no other file names a variable of kache or reads one of these through `std::env`.
//! Variables that a compilation reads are inputs and are valued where inputs are.
//! An empty value means the same as an absent variable.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The configuration file to use in place of any that would be found.
pub const CONFIG: &str = "KACHE_CONFIG";
/// `1`: pass every call through to the compiler.
pub const DISABLED: &str = "KACHE_DISABLED";
/// What to log: `level` or `target=level`, separated by commas.
pub const LOG: &str = "KACHE_LOG";
/// Where to log; standard error when it is not set.
pub const LOG_FILE: &str = "KACHE_LOG_FILE";
/// The daemon's socket.
pub const SOCKET_PATH: &str = "KACHE_SOCKET_PATH";
/// `0`: paths are not remapped, and keys are valid on this machine and in this checkout only.
pub const PATH_NORMALIZE: &str = "KACHE_PATH_NORMALIZE";
/// Files from which on a batch of them is read through `io_uring`: 0 is always, a large number never.
pub const URING_FILES_MIN: &str = "KACHE_URING_FILES_MIN";
pub const CACHE_DIR: &str = "KACHE_CACHE_DIR";
pub const MAX_SIZE: &str = "KACHE_MAX_SIZE";
pub const CACHE_EXECUTABLES: &str = "KACHE_CACHE_EXECUTABLES";
pub const CLEAN_INCREMENTAL: &str = "KACHE_CLEAN_INCREMENTAL";
pub const LINK_MODE: &str = "KACHE_LINK_MODE";
pub const COMPRESSION_LEVEL: &str = "KACHE_COMPRESSION_LEVEL";
pub const S3_CONCURRENCY: &str = "KACHE_S3_CONCURRENCY";
pub const DAEMON_IDLE_TIMEOUT: &str = "KACHE_DAEMON_IDLE_TIMEOUT";
pub const KEY_SALT: &str = "KACHE_KEY_SALT";
pub const VERIFY_RESTORES: &str = "KACHE_VERIFY_RESTORES";
pub const VERIFY_COMPILES: &str = "KACHE_VERIFY_COMPILES";
pub const GC_MAX_AGE_HOURS: &str = "KACHE_GC_MAX_AGE_HOURS";
pub const LOCAL_ONLY: &str = "KACHE_LOCAL_ONLY";
pub const REMOTE_READONLY: &str = "KACHE_REMOTE_READONLY";
pub const PREFETCH_ENABLED: &str = "KACHE_PREFETCH_ENABLED";
pub const PREFETCH_MAX_BYTES: &str = "KACHE_PREFETCH_MAX_BYTES";
pub const PREFETCH_DEADLINE_SECS: &str = "KACHE_PREFETCH_DEADLINE_SECS";
pub const S3_BUCKET: &str = "KACHE_S3_BUCKET";
pub const S3_ENDPOINT: &str = "KACHE_S3_ENDPOINT";
pub const S3_REGION: &str = "KACHE_S3_REGION";
pub const S3_PREFIX: &str = "KACHE_S3_PREFIX";
pub const S3_PROFILE: &str = "KACHE_S3_PROFILE";
pub const S3_ACCESS_KEY: &str = "KACHE_S3_ACCESS_KEY";
pub const S3_SECRET_KEY: &str = "KACHE_S3_SECRET_KEY";
pub const REMOTE_SIGNING_KEY_FILE: &str = "KACHE_REMOTE_SIGNING_KEY_FILE";

/// Variables of other programs that kache obeys.
pub const HOME: &str = "HOME";
pub const NO_COLOR: &str = "NO_COLOR";
pub const PATH: &str = "PATH";
pub const RUSTC: &str = "RUSTC";
pub const RUSTC_WRAPPER: &str = "RUSTC_WRAPPER";
pub const CARGO_BUILD_RUSTC_WRAPPER: &str = "CARGO_BUILD_RUSTC_WRAPPER";
pub const CARGO: &str = "CARGO";
pub const CARGO_HOME: &str = "CARGO_HOME";
pub const TERM: &str = "TERM";
/// The file that becomes the summary of a GitHub job.
pub const GITHUB_STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// The shell's idea of its working directory, which Cargo leaves alone.
pub const PWD: &str = "PWD";

/// Whether a variable is one of kache.
pub fn is_own(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"KACHE_")
}

/// Whether a variable is passed on to a daemon that is started by a build. Nothing else of the build's
/// environment reaches it, for it serves others as well.
pub fn reaches_daemon(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    is_own(name)
        || bytes == b"HOME"
        || bytes.starts_with(b"XDG_")
        || ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|known| name == *known)
        || decides_access(name)
}

/// Whether a variable decides how the remote is reached, and as whom. Where certificates are is not
/// among them: Cargo sets that for its own use.
pub fn decides_access(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"AWS_")
        || is_proxy(name)
        || name.eq_ignore_ascii_case("NO_PROXY")
}

/// Whether connections may go through a proxy.
pub fn names_proxy() -> bool {
    std::env::vars_os().any(|(name, value)| is_proxy(&name) && !value.is_empty())
}

fn is_proxy(name: &OsStr) -> bool {
    let upper = name.as_encoded_bytes().to_ascii_uppercase();
    [&b"HTTP_PROXY"[..], b"HTTPS_PROXY", b"ALL_PROXY"].contains(&&upper[..])
}

/// The value of a variable, unless it is absent or empty.
pub fn value(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The home directory of the user: `HOME`, else what the system's user database says.
pub fn home() -> Option<PathBuf> {
    value(HOME).map(PathBuf::from).or_else(home_in_database).filter(|home| home.is_absolute())
}

/// The C library would load others to ask more than this file, which a static executable cannot do.
#[cfg(target_os = "linux")]
fn home_in_database() -> Option<PathBuf> {
    let database = crate::fs::read("/etc/passwd".as_ref()).ok()?;
    home_of(rustix::process::getuid().as_raw(), &database)
}

#[cfg(not(target_os = "linux"))]
fn home_in_database() -> Option<PathBuf> {
    std::env::home_dir()
}

/// The home directory of a user: the sixth field of the line whose third is the number.
#[cfg(target_os = "linux")]
fn home_of(user: u32, database: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;

    let number = user.to_string();
    let mut lines = database.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let is_theirs = fields.get(2) == Some(&number.as_bytes());
        let home = fields.get(5).filter(|home| is_theirs && !home.is_empty())?;
        Some(PathBuf::from(OsStr::from_bytes(home)))
    })
}

/// The working directory; empty if it is gone.
pub fn current_directory() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_a_user_is_in_the_line_with_the_number() {
        let database = b"root:x:0:0:root:/root:/bin/sh\nbroken:1000\n\nnone:x:7:7:::\n\
            one:x:1000:100:One, of many:/home/one:/bin/sh\ntwo:x:1000:1:::/bin/sh\nlast:x:100:1::/l:";
        for (user, home) in [(0, Some("/root")), (1000, Some("/home/one")), (100, Some("/l"))] {
            assert_eq!(home_of(user, database), home.map(PathBuf::from), "{user}");
        }
        for user in [1, 7, 10] {
            assert_eq!(home_of(user, database), None, "{user}");
        }
    }
}
