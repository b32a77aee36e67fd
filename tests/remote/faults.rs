//! A server that misbehaves at the socket: what the network broke is tried again, what was answered is
//! not, and neither leaves anything in the store.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kache::config::RemoteKind;
use kache::remote::RemoteError;
use store_format::OutputRole;

use crate::objects::Pair;
use crate::server::{ACCESS_KEY, BUCKET, SECRET_KEY};

/// From here on an answer trickles, until the other end closes the connection.
const TRICKLE: &[u8] = b"\0trickle\0";

/// Answers each connection with the next of some texts, the last one again and again, and closes it.
struct Stub {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Stub {
    fn start(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let place = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
                answer(connection.unwrap(), &answers[place]);
            }
        });
        Self { port, connections }
    }
}

/// Whoever asked may have gone away meanwhile.
fn answer(mut connection: TcpStream, text: &[u8]) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte).is_ok_and(|n| n == 1) {
        request.push(byte[0]);
    }
    let slow = memchr::memmem::find(text, TRICKLE);
    connection.write_all(&text[..slow.unwrap_or(text.len())]).ok();
    if let Some(place) = slow {
        connection.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        for byte in text[place + TRICKLE.len()..].chunks(1) {
            if connection.read(&mut [0]).is_ok() || connection.write_all(byte).is_err() {
                return;
            }
        }
    }
}

fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
}

/// An object of which so many bytes arrive.
fn part(object: &[u8], bytes: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", object.len());
    [head.as_bytes(), &object[..bytes]].concat()
}

/// An object that is said to be so much longer, of which so many bytes arrive at once and the others
/// one by one.
fn promised(object: &[u8], bytes: usize, more: u64) -> Vec<u8> {
    let promised = object.len() as u64 + more;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {promised}\r\n\r\n");
    [head.as_bytes(), &object[..bytes], TRICKLE, &object[bytes..]].concat()
}

/// Two machines and an object, whose server has yet to be chosen.
fn stored() -> (Pair, Vec<u8>) {
    let pair = Pair::new();
    let mut noise = vec![0; 1 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    pair.push(&[("libstone.rlib", OutputRole::Shared, 0o644, &noise)]);
    let object = fs::read(Pair::object_below(&pair.path("shared"))).unwrap();
    (pair, object)
}

fn served_by(pair: &mut Pair, answers: Vec<Vec<u8>>) -> Stub {
    let stub = Stub::start(answers);
    let remote = &mut pair.config.remote;
    remote.kind = RemoteKind::S3;
    remote.bucket = Some(BUCKET.into());
    remote.endpoint = Some(format!("http://127.0.0.1:{}", stub.port));
    remote.access_key = Some(ACCESS_KEY.into());
    remote.secret_key = Some(SECRET_KEY.into());
    stub
}

#[test]
fn what_the_network_broke_is_tried_again() {
    let (mut pair, object) = stored();
    let whole = part(&object, object.len());
    for trouble in [
        vec![part(&object, 0), part(&object, 700_000)],
        vec![b"HTTP/1.1 2".to_vec()],
        vec![Vec::new()],
        vec![status("503 Slow Down"), status("500 Oops")],
        vec![status("429 Too Many Requests")],
    ] {
        let count = trouble.len();
        let stub = served_by(&mut pair, [trouble, vec![whole.clone()]].concat());
        assert!(pair.pull().unwrap().is_some());
        assert_eq!(stub.connections.load(Ordering::SeqCst), count + 1);
        pair.forget();
    }
}

#[test]
fn a_network_that_stays_broken_is_named_and_leaves_nothing() {
    let (mut pair, object) = stored();
    for trouble in [part(&object, 700_000), Vec::new(), status("503 Slow Down")] {
        let stub = served_by(&mut pair, vec![trouble]);
        let error = pair.pull().unwrap_err();
        assert!(matches!(error, RemoteError::Unreachable { .. }), "{error}");
        assert!(!error.is_definite());
        let attempts = stub.connections.load(Ordering::SeqCst);
        assert!((2..=9).contains(&attempts), "{attempts} attempts");
        assert_eq!(pair.blobs(), [""; 0]);
    }
}

#[test]
fn an_answer_is_not_asked_for_again() {
    let (mut pair, object) = stored();
    let stub = served_by(&mut pair, vec![status("403 Forbidden")]);
    let error = pair.pull().unwrap_err();
    assert!(error.is_definite(), "{error}");
    assert_eq!(stub.connections.load(Ordering::SeqCst), 1);
    let stub = served_by(&mut pair, vec![status("404 Not Found")]);
    assert_eq!(pair.pull().unwrap(), None);
    assert_eq!(stub.connections.load(Ordering::SeqCst), 1);
    let short = &object[..700_000];
    let stub = served_by(&mut pair, vec![part(short, short.len())]);
    let error = pair.pull().unwrap_err();
    assert!(matches!(error, RemoteError::Damaged { .. }), "it arrived whole as it is: {error}");
    assert_eq!(stub.connections.load(Ordering::SeqCst), 1);
    assert_eq!(pair.blobs(), [""; 0]);
}

/// A transfer's time used to be measured by the length that the server claims.
#[test]
fn a_promise_of_a_very_long_object_holds_no_transfer_for_long() {
    let (mut pair, object) = stored();
    let petabyte = 1 << 50;
    let trouble = promised(&object, 700_000, petabyte);
    let stub = served_by(&mut pair, vec![trouble, part(&object, object.len())]);
    let began = Instant::now();
    assert!(pair.pull().unwrap().is_some(), "the second attempt");
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    assert_eq!(stub.connections.load(Ordering::SeqCst), 2);
}
