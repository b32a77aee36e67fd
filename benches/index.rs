//! What the index and the memo cost, in nanoseconds for each operation.
//!
//! `cargo bench --bench index [-- DIRECTORY]`. Each line names a floor: the same bytes copied and
//! checked without a table, or the bare system calls. The table holds as many records as a large
//! project's cache, and is asked in an order that no cache line foresees.

#![expect(clippy::print_stdout, reason = "a benchmark reports there")]

#[path = "measure/run.rs"]
mod run;

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use kache::index::{Index, Kind};
use kache::memo::{FileIdentity, Memo};
use run::Run;
use store_format::Digest;
use store_format::frame::FrameHead;

const RECORDS: u64 = 20_000;
/// Operations of a round: few enough to be done before another process takes its turn.
const ROUND: u64 = 1000;
const ROUNDS: usize = 101;

fn main() {
    let Some(run) = Run::begin() else { return };
    let base = run.words().first().map_or(env!("CARGO_TARGET_TMPDIR"), |word| word);
    let space = tempfile::tempdir_in(base).expect("a directory to measure in");
    println!("nanoseconds, least of {ROUNDS} rounds of {ROUND}; {RECORDS} records");
    for bytes in [64, 256, 1024] {
        records(&run, &space.path().join(bytes.to_string()), bytes);
    }
    memo(&run, space.path());
    opening(&run, space.path());
}

fn key(number: u64) -> Digest {
    Digest(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// The least of the rounds' means, for an operation that is given other numbers each round: what
/// else the machine does can only add to it.
fn measure(operation: impl Fn(u64)) -> f64 {
    let mut least = f64::INFINITY;
    for round in 0..ROUNDS as u64 {
        let start = Instant::now();
        for number in round * ROUND..(round + 1) * ROUND {
            operation(number * 7919 % RECORDS);
        }
        least = least.min(start.elapsed().as_secs_f64());
    }
    least * 1e9 / f64::from(u32::try_from(ROUND).expect("few"))
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("few")
}

fn report(run: &Run, what: &str, floor: f64, cost: f64) {
    println!("{what:<44} {cost:>8.0}   floor {floor:>8.0}");
    run.note(what, Duration::from_secs_f64(cost / 1e9));
}

fn records(run: &Run, directory: &Path, bytes: usize) {
    let index = Index::open(directory).expect("an index");
    let keys: Vec<Digest> = (0..2 * RECORDS).map(key).collect();
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(bytes).collect();
    for key in &keys[..place(RECORDS)] {
        index.put(Kind::Result, key, &payload).expect("put");
    }
    let floor = measure(|_| {
        let copy = black_box(&payload).clone();
        black_box(FrameHead::new(Kind::Result, &keys[0], &copy));
    });
    let found = measure(|number| {
        assert!(black_box(index.get(Kind::Result, &keys[place(number)])).is_some());
    });
    report(run, &format!("lookup, {bytes} bytes"), floor, found);
    let missed = measure(|number| {
        let absent = &keys[place(RECORDS + number)];
        assert!(black_box(index.get(Kind::Result, absent)).is_none());
    });
    report(run, &format!("lookup of what is absent, {bytes} bytes"), 0.0, missed);
    // Always at the end of the heap, where pages are touched for the first time.
    let published = measure(|number| {
        index.put(Kind::Result, &keys[place(number)], black_box(&payload)).expect("put");
    });
    report(run, &format!("publication, {bytes} bytes"), floor, published);
}

fn memo(run: &Run, directory: &Path) {
    let memo = Memo::open(directory).expect("a memo");
    let identity =
        |inode| FileIdentity { device: 1, inode, size_bytes: 1000, mtime_ns: 1, ctime_ns: 1 };
    let (digest, seen) = (key(0), SystemTime::now());
    for inode in 0..RECORDS {
        memo.insert_seen(&identity(inode), &digest, seen);
    }
    let floor = measure(|inode| {
        black_box(blake3::hash(black_box([inode; 5]).map(u64::to_le_bytes).as_flattened()));
    });
    let found = Cell::new(0);
    let probed = measure(|inode| {
        found.set(found.get() + usize::from(memo.probe(&identity(inode)).is_some()));
    });
    assert!(found.get() > ROUNDS * place(ROUND) / 2);
    report(run, "memo probe", floor, probed);
    let inserted = measure(|inode| memo.insert_seen(&identity(inode), &digest, seen));
    report(run, "memo insertion", floor, inserted);
}

fn opening(run: &Run, directory: &Path) {
    drop((Index::open(directory).expect("an index"), Memo::open(directory).expect("a memo")));
    let path = directory.join("index");
    let floor = measure(|_| {
        let file = std::fs::File::open(&path).expect("the index");
        black_box(file.metadata().expect("its status").len());
    });
    let opened = measure(|_| {
        black_box((Index::open(directory), Memo::open(directory)).0.expect("an index"));
    });
    report(run, "index and memo, opened, first touched, closed", 2.0 * floor, opened);
}
