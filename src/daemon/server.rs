//! One connection, from its first word to its last.

use std::future::Future;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use store_format::message::{
    Answer, BuildOf, MESSAGE_HEAD_BYTES, REQUEST_BYTES_MAX, Request, payload_bytes,
};
use store_format::{ActionKey, FormatError, UnitKey};

use crate::client::{self, BUDGET};

use super::builds::Build;
use super::transfers::{Fetched, Purpose};
use super::{Daemon, read_whole};

/// Whoever says nothing for this long has nothing to say.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// What takes longer is worth telling, so that other wrappers run meanwhile.
const AT_ONCE: Duration = Duration::from_millis(1);
/// With more connections than this, no more wrappers are invited.
const WAITING_MAX: usize = 64;

/// Serves a connection until its other end is closed, or says something wrong.
pub(super) fn serve(daemon: &Arc<Daemon>, stream: UnixStream) {
    if !client::is_own_peer(&stream) {
        crate::log::warn!("another user knocked");
        return;
    }
    let mut connection = Connection { daemon, stream, build: None };
    if let Err(error) = connection.converse() {
        crate::log::debug!("a connection broke off: {error}");
    }
}

struct Connection<'a> {
    daemon: &'a Arc<Daemon>,
    stream: UnixStream,
    build: Option<Arc<Build>>,
}

impl Connection<'_> {
    fn converse(&mut self) -> std::io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(SILENCE_MAX))?;
        self.stream.set_write_timeout(Some(BUDGET))?;
        while let Some(request) = self.next()? {
            let ends = request == Request::Stop;
            let answer = self.answer(request);
            let told = answer.map_or(Ok(()), |answer| self.stream.write_all(&answer.encode()));
            // It ends whether or not who asked for that is still there.
            if ends {
                self.daemon.wake();
            }
            told?;
        }
        Ok(())
    }

    /// `None` if nothing more is asked for.
    fn next(&mut self) -> std::io::Result<Option<Request>> {
        let mut head = [0; MESSAGE_HEAD_BYTES];
        if read_whole(&mut self.stream, &mut head)?.is_none() {
            return Ok(None);
        }
        let length = payload_bytes(&head).map_err(|error| {
            if let FormatError::Version { found } = error {
                self.make_way(&format!("version {found} of the messages"), None);
            }
            std::io::Error::other(error)
        })?;
        if length > REQUEST_BYTES_MAX {
            return Err(std::io::Error::other("a request is too long"));
        }
        let mut payload = vec![0; length];
        if length > 0 && read_whole(&mut self.stream, &mut payload)?.is_none() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Request::decode(&payload).map(Some).map_err(std::io::Error::other)
    }

    fn answer(&mut self, request: Request) -> Option<Answer> {
        match request {
            Request::Build(of) => {
                self.build = self.admit(of);
                self.build.is_none().then_some(Answer::Unavailable)
            }
            Request::Manifests(unit) => Some(self.manifests(unit)),
            Request::Result(action) => Some(self.result(action)),
            Request::Uploads => {
                self.daemon.uploads.poke();
                None
            }
            Request::Status => Some(Answer::Status(Box::new(self.daemon.status()))),
            Request::Stop => Some(Answer::Stopped { uploads_left: self.daemon.stop() }),
        }
    }

    /// The build of a wrapper, unless another daemon has to serve it.
    fn admit(&self, of: BuildOf) -> Option<Arc<Build>> {
        let daemon = self.daemon;
        if daemon.is_ending() {
            return None;
        }
        if of.configuration == daemon.configuration {
            return daemon.builds.of(of, &daemon.runtime);
        }
        self.make_way("another configuration", Some(of.cargo_pid));
        None
    }

    /// Lets a daemon that can serve the caller take this one's place, as soon as no other Cargo is served.
    fn make_way(&self, for_what: &str, cargo_pid: Option<u32>) {
        if self.daemon.builds.serves_another(cargo_pid) {
            crate::log::info!("a build with {for_what} has to do without");
        } else {
            crate::log::info!("makes way for {for_what}");
            self.daemon.make_way();
        }
    }

    fn manifests(&mut self, unit: UnitKey) -> Answer {
        let Some(build) = self.build.clone() else { return Answer::Unavailable };
        if build.is_given_up() {
            return Answer::Unavailable;
        }
        let (began, expected) = (Instant::now(), Arc::clone(&build));
        let transfers = Arc::clone(&self.daemon.transfers);
        let answer = self.within_budget(async move {
            match expected.manifests(unit).await {
                Some(list) => Answer::Manifests(list),
                None => match transfers.manifests(unit).await {
                    Ok(Some(list)) => Answer::Manifests(list),
                    Ok(None) => Answer::Absent,
                    Err(()) => Answer::Unavailable,
                },
            }
        });
        if !matches!(answer, Answer::Manifests(_)) {
            build.waited(began.elapsed(), None);
        }
        answer
    }

    fn result(&mut self, action: ActionKey) -> Answer {
        let Some(build) = self.build.clone() else { return Answer::Unavailable };
        let began = Instant::now();
        let transfers = Arc::clone(&self.daemon.transfers);
        let answer = self.within_budget(async move {
            match transfers.fetch(action, Purpose::Demand).await {
                Fetched::Stored => Answer::Stored,
                Fetched::Absent => Answer::Absent,
                Fetched::Unavailable => Answer::Unavailable,
            }
        });
        let saved = (answer == Answer::Stored).then(|| self.daemon.builds.cost(action));
        build.waited(began.elapsed(), saved);
        answer
    }

    /// Has the runtime do something, and waits no longer than the wrapper does. It is not broken off
    /// then: whoever asks next may find it done.
    fn within_budget(&mut self, work: impl Future<Output = Answer> + Send + 'static) -> Answer {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.daemon.runtime.spawn(async move {
            // Whoever waited may be gone.
            drop(sender.send(work.await));
        });
        if let Ok(answer) = receiver.recv_timeout(AT_ONCE) {
            return answer;
        }
        if self.daemon.connections.load(Ordering::Relaxed) <= WAITING_MAX
            && let Err(error) = self.stream.write_all(&Answer::Waiting.encode())
        {
            crate::log::debug!("nobody waits: {error}");
        }
        receiver.recv_timeout(BUDGET).unwrap_or(Answer::Unavailable)
    }
}
