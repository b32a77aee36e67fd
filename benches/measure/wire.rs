//! A wire with delay and rate in front of a server on loopback.
//!
//! Bytes arrive one way's delay after they have passed the wire, which all connections share in turns. A
//! new connection takes a round trip first, and begins slowly, as TCP does: it may have ten segments on
//! their way, and each that has been acknowledged makes room for another one. Loss is not there.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What is passed on at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// What a connection may have on its way at first, and what it fills a segment with.
const WINDOW_BYTES: usize = 10 * SEGMENT_BYTES;
const SEGMENT_BYTES: usize = 1460;

/// How fast a wire is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// One way.
    pub(crate) delay: Duration,
    pub(crate) bits_per_second: u64,
    /// A connection has no more waiting for the wire than passes in this time: the others have their
    /// turns.
    queued_max: Duration,
}

impl Pace {
    pub(crate) const GIGABIT: Self = Self {
        delay: Duration::from_millis(15),
        bits_per_second: 1_000_000_000,
        queued_max: Duration::from_millis(2),
    };

    /// All of it takes so many times as long.
    pub(crate) const fn slowed(self, times: u32) -> Self {
        Self {
            delay: self.delay.saturating_mul(times),
            bits_per_second: self.bits_per_second / times as u64,
            queued_max: self.queued_max.saturating_mul(times),
        }
    }

    /// How long so many bytes take.
    pub(crate) fn passing(self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes * 8 * 1_000_000_000 / self.bits_per_second)
    }
}

/// A wire that lasts as long as the process.
#[derive(Debug)]
pub(crate) struct Wire {
    port: u16,
    down: Arc<Way>,
}

/// One direction.
#[derive(Debug)]
struct Way {
    pace: Pace,
    bytes: AtomicU64,
    /// When all that was sent so far has passed.
    free: Mutex<Instant>,
}

impl Wire {
    pub(crate) fn to(server_port: u16, pace: Pace) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (up, down) = (Arc::new(Way::new(pace)), Arc::new(Way::new(pace)));
        let answers = Arc::clone(&down);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port));
                let server = server.expect("the server listens");
                for end in [&client, &server] {
                    end.set_nodelay(true).expect("an option of every socket");
                }
                let known = Instant::now() + 2 * pace.delay;
                up.connect(&client, &server, known);
                answers.connect(&server, &client, known);
            }
        });
        Self { port, down }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Bytes that have come from the server since the last call.
    pub(crate) fn take_bytes(&self) -> u64 {
        self.down.bytes.swap(0, Ordering::Relaxed)
    }
}

/// Waits until no more than this is left of the time to that moment.
fn wait(moment: Instant, left_max: Duration) {
    while let Some(time) = moment.checked_duration_since(Instant::now())
        && time > left_max
    {
        thread::park_timeout(time.saturating_sub(left_max));
    }
}

impl Way {
    fn new(pace: Pace) -> Self {
        Self { pace, bytes: AtomicU64::new(0), free: Mutex::new(Instant::now()) }
    }

    /// Passes on what one end says to the other; nothing leaves before the connection is `known`.
    fn connect(self: &Arc<Self>, from: &TcpStream, to: &TcpStream, known: Instant) {
        let mut from = from.try_clone().expect("a descriptor");
        let mut to = to.try_clone().expect("a descriptor");
        let (sender, chunks) = channel::<(Instant, Vec<u8>)>();
        let way = Arc::clone(self);
        thread::spawn(move || {
            let mut buffer = vec![0; CHUNK_BYTES];
            let mut window = Window::new();
            while let Ok(count) = from.read(&mut buffer[..window.room().min(CHUNK_BYTES)])
                && count > 0
            {
                let passed = way.pass(count as u64, known);
                window.send(count, passed + 2 * way.pace.delay);
                if sender.send((passed + way.pace.delay, buffer[..count].to_vec())).is_err() {
                    break;
                }
                wait(passed, way.pace.queued_max);
            }
        });
        thread::spawn(move || {
            for (arrives, chunk) in chunks {
                wait(arrives, Duration::ZERO);
                if to.write_all(&chunk).is_err() {
                    return;
                }
            }
            // The other end may be gone already.
            drop(to.shutdown(Shutdown::Write));
        });
    }

    /// When bytes that are sent now have passed.
    fn pass(&self, bytes: u64, known: Instant) -> Instant {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut free = self.free.lock().expect("no thread panics with it");
        *free = (*free).max(Instant::now()).max(known) + self.pace.passing(bytes);
        *free
    }
}

/// What one end of a connection may have on its way. It grows by what has been acknowledged, as before
/// the first loss.
#[derive(Debug)]
struct Window {
    bytes: usize,
    on_the_way: usize,
    /// What is on its way, and when it will be known to have arrived.
    sent: VecDeque<(Instant, usize)>,
}

impl Window {
    const fn new() -> Self {
        Self { bytes: WINDOW_BYTES, on_the_way: 0, sent: VecDeque::new() }
    }

    /// How much may be sent, after waiting until it is at least a segment.
    fn room(&mut self) -> usize {
        while let Some((acknowledged, count)) = self.sent.front().copied()
            && (acknowledged <= Instant::now() || self.left() < SEGMENT_BYTES)
        {
            wait(acknowledged, Duration::ZERO);
            self.sent.pop_front();
            self.on_the_way -= count;
            self.bytes += count;
        }
        self.left()
    }

    const fn left(&self) -> usize {
        self.bytes.saturating_sub(self.on_the_way)
    }

    fn send(&mut self, count: usize, acknowledged: Instant) {
        self.on_the_way += count;
        self.sent.push_back((acknowledged, count));
    }
}
