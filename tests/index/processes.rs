//! Several processes and one index. The processes are this test program again, told by a variable
//! to be one of the roles below.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use kache::index::wait::look_now_and_then;
use kache::index::{Claim, Entry, Index, Kind, ProcessId, Waited, wait};

use crate::space::{Space, key};

const ROLE: &str = "KACHE_TEST_INDEX_ROLE";

/// A process in a role; killed when dropped.
struct Process {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(space: &Space, role: &str, argument: u64) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--exact", "processes::a_process_in_a_role", "--nocapture"])
            .env(ROLE, format!("{role} {argument} {}", space.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, output }
    }

    /// The next number that it reports; `None` when it has ended.
    fn report(&mut self) -> Option<u64> {
        self.output.find_map(|line| line.ok()?.strip_prefix("report ")?.parse().ok())
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
    }

    fn finish(mut self) -> Vec<u64> {
        let reports = std::iter::from_fn(|| self.report()).collect();
        assert!(self.child.wait().expect("ended").success());
        reports
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn report(number: u64) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "report {number}").expect("reported");
    output.flush().expect("reported");
}

/// Not a test of anything unless the variable says what to be.
#[test]
fn a_process_in_a_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut words = role.splitn(3, ' ');
    let name = words.next().expect("a role");
    let argument: u64 = words.next().expect("an argument").parse().expect("a number");
    let directory = Path::new(words.next().expect("a directory"));
    match name {
        "put" => put_many(directory, argument),
        "append" => append_many(directory, argument),
        "compact" => compact_often(directory, argument),
        "claim" => claim_and_hold(directory),
        other => panic!("{other}"),
    }
}

const PUT_COUNT: u64 = 12_000;

/// A payload that says which key it belongs to, over and over.
fn payload(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(1 + usize::try_from(number % 40).expect("small"))
}

/// Puts the keys from `first` on, and reports each hundredth that is in.
fn put_many(directory: &Path, first: u64) {
    let index = Index::open(directory).expect("an index");
    for number in first..first + PUT_COUNT {
        index.put(Kind::Result, &key(number), &payload(number)).expect("put");
        if number % 100 == 99 {
            report(number);
        }
    }
}

const APPEND_COUNT: u64 = 300;

/// Adds numbers to the list under one key.
fn append_many(directory: &Path, first: u64) {
    let index = Index::open(directory).expect("an index");
    let mut number = first;
    while number < first + APPEND_COUNT {
        let appended = index.update(Kind::Latest, &key(0), |before| {
            let mut list = before.unwrap_or_default();
            list.extend(number.to_le_bytes());
            Some(list)
        });
        // Contention is an error that says that nothing was done.
        if appended.is_ok() {
            number += 1;
        }
    }
}

/// Compacts so many times, and reports each time it is about to.
fn compact_often(directory: &Path, count: u64) {
    let index = Index::open(directory).expect("an index");
    for number in 0..count {
        report(number);
        // Another process may be at it.
        let _busy = index.compact(|_, _, _| true);
    }
}

fn claim_and_hold(directory: &Path) {
    let index = Index::open(directory).expect("an index");
    let Claim::Owned(guard) = index.claim(&key(1)) else { panic!("not owned") };
    report(1);
    // Ends with the other end of the pipe.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("told");
    drop(guard);
}

fn assert_put(index: &Index, number: u64) {
    assert_eq!(index.get(Kind::Result, &key(number)), Some(payload(number)), "{number}");
}

#[test]
fn processes_that_put_while_it_grows_lose_nothing() {
    let space = Space::new();
    let writers: Vec<Process> =
        (0..4).map(|number| Process::start(&space, "put", number * 1_000_000)).collect();
    for writer in writers {
        assert_eq!(writer.finish().len() as u64, PUT_COUNT / 100);
    }
    let index = space.index();
    assert!(index.usage().generation > 1, "{:?}", index.usage());
    for number in (0..4).flat_map(|writer| (0..PUT_COUNT).map(move |n| writer * 1_000_000 + n)) {
        assert_put(&index, number);
    }
    assert_eq!(index.entries().count() as u64, 4 * PUT_COUNT);
}

#[test]
fn no_update_of_several_processes_is_lost() {
    let space = Space::new();
    let writers: Vec<Process> =
        (0..3).map(|number| Process::start(&space, "append", number * 1000)).collect();
    for writer in writers {
        writer.finish();
    }
    let list = space.index().get(Kind::Latest, &key(0)).expect("there");
    let mut numbers: Vec<u64> = list.as_chunks().0.iter().map(|n| u64::from_le_bytes(*n)).collect();
    numbers.sort_unstable();
    let expected: Vec<u64> = (0..3).flat_map(|n| n * 1000..n * 1000 + APPEND_COUNT).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn processes_that_begin_at_once_use_one_file() {
    let space = Space::new();
    let writers: Vec<Process> =
        (0..6).map(|number| Process::start(&space, "put", number * 1_000_000)).collect();
    let index = space.index();
    for mut writer in writers {
        let last = writer.report().expect("a report");
        assert_put(&index, last);
    }
    assert!(!space.names().iter().any(|name| name.contains("damaged")), "{:?}", space.names());
}

fn assert_put_up_to(index: &Index, last: u64) {
    for number in last - 99..=last {
        assert_put(index, number);
    }
}

fn assert_all_whole(index: &Index) {
    for Entry { kind, key: found, payload, .. } in index.entries() {
        assert_eq!(kind, Kind::Result);
        let number = u64::from_le_bytes(*payload.first_chunk().expect("a number"));
        assert_eq!((found, payload), (key(number), self::payload(number)));
    }
}

/// While the file is being replaced all the time, writers are killed at whatever they are doing:
/// what they reported to be in is in, and whatever is there is whole.
#[test]
fn killed_writers_leave_complete_entries_or_none() {
    let space = Space::new();
    let compactor = Process::start(&space, "compact", 20);
    let mut reported = Vec::new();
    for round in 0..5 {
        let mut writers =
            [0, 1].map(|which| Process::start(&space, "put", (round * 2 + which) * 1_000_000));
        for writer in &mut writers {
            for _ in 0..=round {
                reported.push(writer.report().expect("a report"));
            }
        }
        for writer in &mut writers {
            writer.kill();
        }
    }
    compactor.finish();
    let index = space.index();
    for last in reported {
        assert_put_up_to(&index, last);
    }
    assert_all_whole(&index);
}

/// What was published while a process that was then killed replaced the file may be missing; all
/// that was there before and all that comes after is there.
#[test]
fn a_killed_replacement_of_the_file_does_no_lasting_harm() {
    let space = Space::new();
    let index = space.index();
    for round in 0..8 {
        let mut compactor = Process::start(&space, "compact", u64::MAX);
        for _ in 0..=round % 4 {
            compactor.report().expect("a report");
        }
        let during = round * 1000 + 500;
        index.put(Kind::Result, &key(during), &payload(during)).expect("put");
        compactor.kill();
        compactor.child.wait().expect("reaped");
        let after = round * 1000;
        index.put(Kind::Result, &key(after), &payload(after)).expect("put");
        let other = space.index();
        for round in 0..=round {
            assert_put(&index, round * 1000);
            assert_put(&other, round * 1000);
        }
        assert_all_whole(&other);
        assert!(!other.recovered());
    }
    index.compact(|_, _, _| true).expect("compacted");
    assert_eq!(space.names(), ["index", "index.lock"]);
}

fn owner(index: &Index) -> Option<ProcessId> {
    match index.claim(&key(1)) {
        Claim::Busy(owner) => Some(owner),
        Claim::Owned(_) => None,
        Claim::Unavailable => panic!("neither"),
    }
}

/// With the system's help, and without.
const WAYS: [fn(ProcessId, Duration) -> Waited; 2] = [wait, look_now_and_then];

/// A claim that a process has, and who that is.
fn held() -> (Space, Process, Index, ProcessId) {
    let space = Space::new();
    let mut holder = Process::start(&space, "claim", 0);
    assert_eq!(holder.report(), Some(1));
    let index = space.index();
    let owner = owner(&index).expect("busy");
    (space, holder, index, owner)
}

/// The owner is not reaped when the claim is looked at again: it is gone all the same.
#[test]
fn the_claim_of_a_killed_process_is_waited_for_and_taken_over() {
    for wait in WAYS {
        let (_space, mut holder, index, owner_seen) = held();
        assert_eq!(owner_seen.pid, holder.child.id());
        let (began, bound) = (Instant::now(), Duration::from_millis(5));
        assert_eq!(wait(owner_seen, bound), Waited::TimedOut);
        assert!(began.elapsed() >= bound, "it was waited for");
        holder.kill();
        assert_eq!(wait(owner_seen, Duration::from_mins(1)), Waited::Gone);
        assert_eq!(owner(&index), None);
    }
}

#[test]
fn a_claim_given_back_is_free_and_its_process_gone() {
    for wait in WAYS {
        let (_space, mut holder, index, owner_seen) = held();
        drop(holder.child.stdin.take());
        assert_eq!(wait(owner_seen, Duration::from_mins(1)), Waited::Gone);
        assert_eq!(owner(&index), None);
    }
}

/// A process number that was used again is not the owner.
#[test]
fn a_later_process_with_the_number_is_not_waited_for() {
    for wait in WAYS {
        let (_space, _holder, _index, mut other) = held();
        other.start ^= 1;
        assert_eq!(wait(other, Duration::from_mins(1)), Waited::Gone);
    }
}
