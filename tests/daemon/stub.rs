//! A server that misbehaves: on its own, or between a client and a sound one.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How it misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Takes connections and never says a word.
    BlackHole,
    /// Answers every request so.
    Status(u16),
    /// Passes on a byte now and then.
    Trickle,
    /// Passes on this many bytes of each connection, and ends it as if all was said.
    Truncate(usize),
    /// The same, and ends it by a reset.
    Reset(usize),
    /// Passes everything on, with a bit turned here and there behind the first bytes.
    Corrupt(usize),
    /// Passes everything on once this many connections have been opened.
    Together(usize),
    /// Passes everything on.
    None,
}

/// A port that nobody listens at.
pub(crate) fn refused() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

#[derive(Debug)]
pub(crate) struct Stub {
    pub(crate) port: u16,
    fault: Arc<Mutex<Fault>>,
    /// Dropped to end what trickles.
    _stop: Sender<()>,
}

impl Stub {
    /// A stub in front of the sound server at `upstream`.
    pub(crate) fn start(fault: Fault, upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let fault = Arc::new(Mutex::new(fault));
        let (stop, stopped) = channel();
        let stopped = Arc::new(Mutex::new(stopped));
        let shared = Arc::clone(&fault);
        std::thread::spawn(move || {
            let opened = Arc::new((Mutex::new(0), Condvar::new()));
            for client in listener.incoming().flatten() {
                let fault = *shared.lock().expect("not poisoned");
                let (stopped, opened) = (Arc::clone(&stopped), Arc::clone(&opened));
                *opened.0.lock().expect("not poisoned") += 1;
                opened.1.notify_all();
                std::thread::spawn(move || {
                    if let Fault::Together(count) = fault {
                        let few = |opened: &mut usize| *opened < count;
                        let guard = opened.0.lock().expect("not poisoned");
                        drop(opened.1.wait_while(guard, few).expect("not poisoned"));
                    }
                    // What a client that has gone makes of it does not matter.
                    drop(misbehave(client, fault, upstream, &stopped));
                });
            }
        });
        Self { port, fault, _stop: stop }
    }

    /// Behaves otherwise towards later connections.
    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().expect("not poisoned") = fault;
    }
}

fn misbehave(
    mut client: TcpStream,
    fault: Fault,
    upstream: u16,
    stopped: &Mutex<Receiver<()>>,
) -> std::io::Result<()> {
    match fault {
        Fault::BlackHole => {
            let mut ignored = [0; 4096];
            while client.read(&mut ignored)? > 0 {}
            return Ok(());
        }
        Fault::Status(code) => return answer_all(client, code),
        _ => {}
    }
    let server = TcpStream::connect(("127.0.0.1", upstream))?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
    pass_back(server, client, fault, stopped)
}

/// Answers each request, whatever it is; connections end with their answer.
fn answer_all(mut client: TcpStream, code: u16) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte)? > 0 {
        head.push(byte[0]);
    }
    let body = "<Error><Code>Fault</Code><Message>as asked for</Message></Error>";
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {code} Fault\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    client.shutdown(Shutdown::Write)?;
    // What is still sent is read, for unread bytes would turn the end into a reset.
    std::io::copy(&mut client, &mut std::io::sink()).map(drop)
}

fn pass_back(
    mut server: TcpStream,
    mut client: TcpStream,
    fault: Fault,
    stopped: &Mutex<Receiver<()>>,
) -> std::io::Result<()> {
    let mut passed = 0;
    let mut buffer = [0; 4096];
    loop {
        let count = server.read(&mut buffer)?;
        if count == 0 {
            return client.shutdown(Shutdown::Both);
        }
        let bytes = &mut buffer[..count];
        match fault {
            Fault::Trickle => {
                for byte in bytes.chunks(1) {
                    client.write_all(byte)?;
                    let pause = stopped.lock().expect("not poisoned");
                    if pause.recv_timeout(Duration::from_millis(100)).is_ok() {
                        return Ok(());
                    }
                }
            }
            Fault::Truncate(limit) | Fault::Reset(limit) if passed + count > limit => {
                client.write_all(&bytes[..limit.saturating_sub(passed)])?;
                if matches!(fault, Fault::Reset(_)) {
                    let linger = Some(Duration::ZERO);
                    rustix::net::sockopt::set_socket_linger(&client, linger)?;
                    return Ok(());
                }
                return client.shutdown(Shutdown::Both);
            }
            Fault::Corrupt(first) => {
                for (place, byte) in bytes.iter_mut().enumerate() {
                    let place = passed + place;
                    if place >= first && place % 97 == 0 {
                        *byte ^= 1;
                    }
                }
                client.write_all(bytes)?;
            }
            _ => client.write_all(bytes)?,
        }
        passed += count;
    }
}
