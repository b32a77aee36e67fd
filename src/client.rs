//! The wrapper's side of the daemon: asking it, telling it, and starting it.
//!
//! Invariants: without a remote nothing here is reached; a call is bounded by [`BUDGET`] as a whole,
//! whatever the daemon, the network or a peer at the socket does; after a call that waited in vain,
//! every wrapper leaves the daemon alone for [`REST`], which costs each of them one `stat`, and then
//! only one tries again.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use store_format::message::{Answer, BuildOf, MESSAGE_HEAD_BYTES, Request, payload_bytes};
use store_format::{ActionKey, Digest, ManifestList, UnitKey};

use crate::config::{Config, build_directory};
use crate::index::wait::scope;
use crate::inputs::{finish, frame};
use crate::jobs::Lent;
use crate::queue::{Entry, Queue};
use crate::store::Store;
use crate::toolchain::{examine_ahead, presumed};
use crate::{env, fs};

/// How long one call waits for the daemon, all answers together.
pub const BUDGET: Duration = Duration::from_secs(3);
/// A call that waited longer than this and got nothing has the others leave the daemon alone.
const VAIN_WAIT: Duration = Duration::from_secs(1);
/// For how long they do.
const REST: Duration = Duration::from_mins(1);
/// A daemon that ends right after its start is not started again before this time has passed.
const START_PAUSE: Duration = Duration::from_secs(5);
/// Longest path that any system takes as the name of a socket.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// Where the daemon of a cache directory lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Only its owner may enter it.
    pub directory: PathBuf,
    pub socket: PathBuf,
}

impl Place {
    pub fn of(config: &Config) -> Self {
        let directory = config.cache_dir.join("daemon");
        let wanted = config.socket_path.clone().unwrap_or_else(|| directory.join("sock"));
        Self { directory, socket: short_enough(wanted) }
    }

    /// Locked by the one daemon that runs.
    pub fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// What a build says that had a daemon started and does not wait for it: a [`Request::Build`].
    fn word(&self) -> PathBuf {
        self.directory.join("word")
    }

    /// Its age says whether wrappers leave the daemon alone.
    fn resting(&self) -> PathBuf {
        self.directory.join("resting")
    }
}

/// The path, or where it would be too long for a socket one that stands for it.
fn short_enough(path: PathBuf) -> PathBuf {
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return path;
    }
    let digest = Digest(*blake3::hash(path.as_os_str().as_bytes()).as_bytes()).to_string();
    let user = rustix::process::getuid().as_raw();
    PathBuf::from(format!("/tmp/kache-{user}/{}.sock", &digest[..32]))
}

/// What the daemon's answers depend on: a daemon of another configuration makes way, and so does one of
/// another release.
pub fn configuration(config: &Config) -> Digest {
    let remote = &config.remote;
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"kache daemon configuration\0");
    frame(&mut hasher, env!("CARGO_PKG_VERSION").as_bytes());
    // The daemon is told a Cargo by its number, which is another one's in another container.
    frame(&mut hasher, &scope().to_le_bytes());
    let shown = format!(
        "{:?}",
        (
            (config.local_only, config.remote_readonly, remote.kind, &remote.path),
            (&remote.bucket, &remote.endpoint, &remote.region, &remote.prefix, &remote.profile),
            (&remote.access_key, &remote.secret_key, &remote.signing_key_file),
            (config.compression_level, config.s3_concurrency, config.daemon_idle_timeout_secs),
            (config.prefetch_enabled, config.prefetch_max_bytes, config.prefetch_deadline_secs),
            &config.key_salt,
        )
    );
    frame(&mut hasher, shown.as_bytes());
    // Its content is read when the daemon begins.
    let key = remote.signing_key_file.as_deref().and_then(|file| fs::stat(file).ok());
    let key = key.map(|stat| (stat.inode, stat.size_bytes, stat.mtime_ns));
    frame(&mut hasher, format!("{key:?}").as_bytes());
    let mut access: Vec<_> =
        std::env::vars_os().filter(|(name, _)| env::decides_access(name)).collect();
    access.push((env::HOME.into(), std::env::var_os(env::HOME).unwrap_or_default()));
    access.sort();
    for (name, value) in access {
        frame(&mut hasher, name.as_bytes());
        frame(&mut hasher, value.as_bytes());
    }
    finish(&hasher)
}

/// The build that this call is a part of, whose compiler is `program`.
fn this_build(config: &Config, store: &Store, program: &OsStr) -> Option<BuildOf> {
    let cargo_pid = std::os::unix::process::parent_id();
    let directory = build_directory()?.into_os_string().into_encoded_bytes();
    let command_line = fs::read(Path::new(&format!("/proc/{cargo_pid}/cmdline")));
    Some(BuildOf {
        configuration: configuration(config),
        compiler: presumed(store, program).ok()?,
        cargo_pid,
        directory,
        // Where the system does not tell, a build has the default profile.
        command_line: command_line.unwrap_or_default(),
    })
}

/// One call's conversation with the daemon.
#[derive(Debug)]
pub struct Call {
    connection: Connection,
    place: Place,
    began: Instant,
    /// Whether other wrappers leave the daemon alone until this one has tried.
    on_trial: bool,
    /// This process's place among Cargo's, from the first answer that is waited for.
    lent: Option<Lent>,
}

impl Call {
    /// Reaches the daemon, or starts one for the calls to come. `None`: do without it.
    pub fn begin(config: &Config, store: &Store, program: &OsStr) -> Option<Self> {
        let place = Place::of(config);
        let trial = may_try(&place)?;
        let resting = place.resting();
        let on_trial = trial && fs::touch(&resting).is_ok();
        match Self::reach(config, store, program, place) {
            Ok(call) => Some(Self { on_trial, ..call }),
            Err(told) => {
                if on_trial && told == Told::Nobody {
                    // It was about a daemon that is gone.
                    drop(fs::remove_if_present(&resting));
                }
                None
            }
        }
    }

    fn reach(config: &Config, store: &Store, program: &OsStr, place: Place) -> Result<Self, Told> {
        let began = Instant::now();
        let connection = match Connection::open(&place.socket, began + BUDGET) {
            Ok(connection) => connection,
            Err(error) => {
                if is_nobody(&error) {
                    start_detached(config, &place);
                    return Err(Told::Nobody);
                }
                // Who is not to be spoken to has no part in how the daemon of others is.
                if error.kind() != io::ErrorKind::PermissionDenied {
                    rest(&place);
                }
                return Err(Told::Done);
            }
        };
        let mut call = Self { connection, place, began, on_trial: false, lent: None };
        let build = this_build(config, store, program).ok_or(Told::Done)?;
        call.connection.tell(&Request::Build(build)).map_err(|_| Told::Done)?;
        Ok(call)
    }

    /// What the remote knows of a unit.
    pub fn manifests(&mut self, unit: UnitKey) -> Option<ManifestList> {
        match self.ask(&Request::Manifests(unit)) {
            Ok(Answer::Manifests(list)) => Some(list),
            _ => None,
        }
    }

    /// Has the daemon fetch a result; whether it is in the store now.
    pub fn fetch(&mut self, action: ActionKey) -> bool {
        matches!(self.ask(&Request::Result(action)), Ok(Answer::Stored))
    }

    fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        let mut answer = self.connection.ask(request)?;
        if answer == Answer::Waiting {
            self.lent = self.lent.take().or_else(Lent::new);
            answer = self.connection.hear()?;
        }
        Ok(answer)
    }

    /// Ends the conversation. If it was long and brought nothing, others do not begin one. What this
    /// process has lent is to be taken back before it works or ends.
    pub fn end(self, brought: bool) -> Option<Lent> {
        if !brought && self.began.elapsed() > VAIN_WAIT {
            rest(&self.place);
        } else if self.on_trial {
            // Another wrapper may have been faster.
            drop(fs::remove_if_present(&self.place.resting()));
        }
        self.lent
    }
}

/// `None` while the daemon is to be left alone; else whether it was until now.
fn may_try(place: &Place) -> Option<bool> {
    let Ok(stat) = fs::stat(&place.resting()) else { return Some(false) };
    if age(stat.mtime_ns).is_some_and(|age| age < REST) { None } else { Some(true) }
}

/// `None` for a time to come: the clock was set back.
fn age(mtime_ns: i64) -> Option<Duration> {
    let written = UNIX_EPOCH + Duration::from_nanos(u64::try_from(mtime_ns).ok()?);
    SystemTime::now().duration_since(written).ok()
}

fn rest(place: &Place) {
    let resting = place.resting();
    let noted = fs::touch(&resting).or_else(|_| fs::write_new(&resting, b"", 0o600));
    if let Err(error) = noted {
        crate::log::warn!("the daemon does not answer: {error}");
    }
}

/// Nobody listens at the socket.
pub fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Tells the daemon that Cargo begins a build: what it is about to need can be fetched. If nobody
/// listens yet, word is left for the daemon that is being started.
pub fn build_begins(config: &Config, program: &OsStr) {
    if !config.has_remote() || !config.prefetch_enabled {
        return;
    }
    let Ok(store) = Store::open(&config.cache_dir) else { return };
    if tell(config, &store, program, None) == Told::Nobody
        && let Some(build) = this_build(config, &store, program)
    {
        let place = Place::of(config);
        if let Err(error) = fs::write_new(&place.word(), &Request::Build(build).encode(), 0o600) {
            crate::log::debug!("a build is not announced: {error}");
        }
        // A daemon that listens by now may have looked for the word before.
        if tell(config, &store, program, None) == Told::Done {
            take_word(&place);
        }
    }
    examine_ahead(&store, program);
}

/// The build that had a daemon started which has begun to listen.
pub fn take_word(place: &Place) -> Option<BuildOf> {
    let word = fs::read(&place.word()).ok()?;
    if let Err(error) = fs::remove_if_present(&place.word()) {
        crate::log::warn!("{error}");
    }
    match Request::decode(word.get(MESSAGE_HEAD_BYTES..)?) {
        Ok(Request::Build(build)) => Some(build),
        _ => None,
    }
}

/// Puts a result that was stored just now into the queue of uploads.
pub fn queue_upload(config: &Config, store: &Store, program: &OsStr, result: Entry) {
    if let Err(error) = Queue::of(config).add(result) {
        crate::log::warn!("not queued for upload: {error}");
        return;
    }
    tell(config, store, program, Some(&Request::Uploads));
}

/// Names the build to the daemon, and says something that is not answered. What it does not hear now
/// it finds out later.
fn tell(config: &Config, store: &Store, program: &OsStr, request: Option<&Request>) -> Told {
    let place = Place::of(config);
    if may_try(&place).is_none() {
        return Told::Done;
    }
    let mut call = match Call::reach(config, store, program, place) {
        Ok(call) => call,
        Err(told) => return told,
    };
    if let Some(Err(error)) = request.map(|request| call.connection.tell(request)) {
        crate::log::debug!("the daemon was not told: {error}");
    }
    Told::Done
}

/// What became of telling the daemon something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It heard it, or is to be left alone.
    Done,
    /// One is being started.
    Nobody,
}

/// A connection to the daemon, with a time at which it is given up.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    deadline: Instant,
}

impl Connection {
    pub fn open(socket: &Path, deadline: Instant) -> io::Result<Self> {
        let stream = connect(socket)?;
        if !is_own_peer(&stream) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self { stream, deadline })
    }

    /// Says something that is not answered.
    pub fn tell(&mut self, request: &Request) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(&request.encode())
    }

    pub fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        self.tell(request)?;
        self.hear()
    }

    fn hear(&mut self) -> io::Result<Answer> {
        let mut head = [0; MESSAGE_HEAD_BYTES];
        self.read(&mut head)?;
        let mut payload = vec![0; payload_bytes(&head).map_err(io::Error::other)?];
        self.read(&mut payload)?;
        Answer::decode(&payload).map_err(io::Error::other)
    }

    /// Waits until the daemon has ended: its process keeps the other end for as long as it lasts.
    pub fn outlast(mut self) -> io::Result<()> {
        match self.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            read => read,
        }
    }

    /// Fills the buffer, however slowly it comes, as long as there is time.
    fn read(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// Connects without waiting: a daemon that hangs lets its queue of connections fill up.
#[cfg(target_os = "linux")]
fn connect(socket: &Path) -> io::Result<UnixStream> {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let descriptor = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&descriptor, &SocketAddrUnix::new(socket)?)?;
    let stream = UnixStream::from(descriptor);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

#[cfg(not(target_os = "linux"))]
fn connect(socket: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(socket)
}

/// Whether the other end belongs to this user. Where the system does not tell, the directory that
/// only its owner may enter says it.
pub fn is_own_peer(stream: &UnixStream) -> bool {
    #[cfg(target_os = "linux")]
    return rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid == rustix::process::getuid());
    #[cfg(not(target_os = "linux"))]
    return stream.peer_addr().is_ok();
}

/// Makes the daemon's directory, which only its owner may enter.
pub fn make_directory(place: &Place) -> Result<(), fs::FsError> {
    fs::create_directories(&place.directory)?;
    fs::set_mode(&place.directory, 0o700)
}

/// Starts a daemon and does not wait for it. The lock that one daemon at a time has is taken here
/// and inherited by the daemon as its standard input, so that of many wrappers one starts it.
fn start_detached(config: &Config, place: &Place) {
    let lock = place.lock();
    if fs::stat(&lock).is_ok_and(|stat| age(stat.mtime_ns).is_some_and(|age| age < START_PAUSE)) {
        return;
    }
    let started = start(config, place, Stdio::null());
    if let Err(error) = started {
        crate::log::warn!("no daemon: {error}");
    }
}

/// Starts a daemon whose standard output is `ready`, which it writes a line to and closes once it
/// listens. `None`: there is one already.
pub fn start(
    config: &Config,
    place: &Place,
    ready: Stdio,
) -> io::Result<Option<std::process::Child>> {
    make_directory(place).map_err(io::Error::other)?;
    let Some(lock) = fs::try_lock(&place.lock()).map_err(io::Error::other)? else {
        return Ok(None);
    };
    fs::touch(&place.lock()).map_err(io::Error::other)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["daemon", "run", "--detach"])
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| env::reaches_daemon(name)))
        .env(env::CACHE_DIR, &config.cache_dir)
        .current_dir("/")
        .stdin(Stdio::from(lock.into_file()))
        .stdout(ready)
        .stderr(Stdio::null());
    // The file that holds here may be the project's, which is not found from elsewhere.
    if let Some(file) = Config::file().and_then(|file| std::path::absolute(file).ok()) {
        command.env(env::CONFIG, file);
    }
    command.spawn().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_a_name_that_every_system_takes() {
        let config = Config { cache_dir: "/home/u/.cache/kache".into(), ..Config::default() };
        assert_eq!(Place::of(&config).socket, Path::new("/home/u/.cache/kache/daemon/sock"));
        let deep = |last: &str| Config {
            cache_dir: format!("/{}/{last}", "deep/".repeat(40)).into(),
            ..Config::default()
        };
        let (one, other) = (Place::of(&deep("a")).socket, Place::of(&deep("b")).socket);
        assert!(one.as_os_str().len() <= SOCKET_PATH_BYTES_MAX, "{one:?}");
        assert_ne!(one, other);
    }

    #[test]
    fn another_remote_or_key_is_another_configuration() {
        let config = Config::default();
        let mut other = config.clone();
        assert_eq!(configuration(&config), configuration(&other));
        other.remote.secret_key = Some("x".into());
        assert_ne!(configuration(&config), configuration(&other));
        let key = tempfile::NamedTempFile::new().unwrap();
        other.remote.signing_key_file = Some(key.path().to_owned());
        let before = configuration(&other);
        std::fs::write(key.path(), "a key").unwrap();
        assert_ne!(configuration(&other), before, "a daemon reads it once");
    }
}
