//! The table under every interleaving of a few threads, and what the memory model lets them see.
//!
//! This is the code that runs on the mapped file, over words of the model checker. It takes no
//! special build: `cargo test --test index_model`. `LOOM_MAX_PREEMPTIONS` sets how often a thread
//! may be interrupted where it does not wait; without it, the bound is given beside each model.

use std::io;
use std::sync::atomic::Ordering;

use kache::index::swap;
use kache::index::table::{
    ClaimAttempt, Expected, Memory, PublishError, Published, Seen, Table, Word,
};
use kache::index::{Kind, ProcessId};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;
use store_format::Digest;
use store_format::header::{CONTROL_WORDS, control};
use store_format::slot::Slot;

const KIND: Kind = Kind::Result;

#[derive(Debug)]
struct ModelWord(loom::sync::atomic::AtomicU64);

impl Word for ModelWord {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, order)
    }

    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, success, failure)
    }

    fn fence() {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }
}

struct ModelMemory {
    control: Vec<ModelWord>,
    claims: Vec<ModelWord>,
    slots: Vec<ModelWord>,
    heap: Vec<ModelWord>,
}

fn words(count: usize) -> Vec<ModelWord> {
    (0..count).map(|_| ModelWord(loom::sync::atomic::AtomicU64::new(0))).collect()
}

impl Memory for ModelMemory {
    type Word = ModelWord;

    fn control(&self) -> &[ModelWord] {
        &self.control
    }

    fn claims(&self) -> &[ModelWord] {
        &self.claims
    }

    fn slots(&self) -> &[ModelWord] {
        &self.slots
    }

    fn heap(&self) -> &[ModelWord] {
        &self.heap
    }

    fn refresh(&self) {}

    fn extend(&self, _words: u64) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn heap_words_max(&self) -> u64 {
        self.heap.len() as u64
    }
}

type Model = Arc<Table<ModelMemory>>;

/// Two slots, so that every pair of keys meets, and room for `records` small records.
fn table(records: usize) -> Model {
    Arc::new(Table::new(ModelMemory {
        control: words(CONTROL_WORDS),
        claims: words(1),
        slots: words(2),
        heap: words(records * 7),
    }))
}

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

fn key(number: u8) -> Digest {
    Digest([number; 32])
}

fn publish(table: &Model, number: u8, payload: &[u8]) -> Published {
    table.publish(KIND, &key(number), payload, Expected::Anything).expect("published")
}

/// The slot's new word.
fn put(table: &Model, number: u8, payload: &[u8]) -> u64 {
    publish(table, number, payload).word
}

fn live(table: &Model, number: u8) -> Option<Vec<u8>> {
    match table.lookup(KIND, &key(number)) {
        Seen::Live(_, payload) => Some(payload),
        Seen::Vacant | Seen::Dead(_) => None,
    }
}

/// A record that its slot announces before it is complete would be seen as damaged.
#[test]
fn a_reader_sees_nothing_or_the_whole_record() {
    explore(6, || {
        let table = table(3);
        put(&table, 1, b"old");
        let writer = thread::spawn({
            let table = table.clone();
            move || {
                put(&table, 2, b"two");
                put(&table, 1, b"new");
            }
        });
        match table.lookup(KIND, &key(1)) {
            Seen::Live(_, payload) => assert!(payload == b"old" || payload == b"new"),
            incomplete => panic!("{incomplete:?}"),
        }
        assert!(live(&table, 2).is_none_or(|payload| payload == b"two"));
        writer.join().unwrap();
        assert_eq!(live(&table, 1).as_deref(), Some(&b"new"[..]));
    });
}

#[test]
fn two_publishers_of_a_key_meet_at_one_slot() {
    explore(6, || {
        let table = table(2);
        let other = thread::spawn({
            let table = table.clone();
            move || put(&table, 1, b"other")
        });
        put(&table, 1, b"mine");
        other.join().unwrap();
        assert_eq!(table.slots_used(), 1);
        let records = (0..2).filter_map(|place| table.record_in(place).1).count();
        assert_eq!(records, 1);
        assert!(live(&table, 1).is_some());
    });
}

#[test]
fn two_keys_never_share_a_slot() {
    explore(6, || {
        let table = table(2);
        let other = thread::spawn({
            let table = table.clone();
            move || put(&table, 2, b"two")
        });
        put(&table, 1, b"one");
        other.join().unwrap();
        assert_eq!(live(&table, 1).as_deref(), Some(&b"one"[..]));
        assert_eq!(live(&table, 2).as_deref(), Some(&b"two"[..]));
    });
}

fn increment(table: &Model) {
    loop {
        let seen = table.lookup(KIND, &key(1));
        let before = match &seen {
            Seen::Live(_, payload) => payload[0],
            Seen::Vacant | Seen::Dead(_) => 0,
        };
        match table.publish(KIND, &key(1), &[before + 1], seen.expected()) {
            Ok(_) => return,
            Err(PublishError::Conflict) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn no_update_of_two_is_lost() {
    explore(6, || {
        let table = table(4);
        let other = thread::spawn({
            let table = table.clone();
            move || increment(&table)
        });
        increment(&table);
        other.join().unwrap();
        assert_eq!(live(&table, 1), Some(vec![2]));
    });
}

#[test]
fn a_removal_leaves_what_was_published_after_it() {
    explore(6, || {
        let table = table(2);
        put(&table, 1, b"first");
        let remover = thread::spawn({
            let table = table.clone();
            move || table.remove(KIND, &key(1))
        });
        let second = put(&table, 1, b"second");
        assert!(remover.join().unwrap());
        match table.lookup(KIND, &key(1)) {
            // Removed was the first, then, or the second.
            Seen::Live(word, payload) => {
                assert_eq!((word, &payload[..]), (second, &b"second"[..]));
            }
            Seen::Dead(word) => assert_ne!(word, second),
            Seen::Vacant => panic!("a slot was given up"),
        }
        assert_eq!(table.slots_used(), 1);
    });
}

/// Else a record that was published after the disk was synced would be taken for one that it has.
#[test]
fn a_mark_never_comes_to_lie_on_another_record() {
    explore(6, || {
        let table = table(2);
        let first = publish(&table, 1, b"first");
        let syncing = thread::spawn({
            let table = table.clone();
            move || table.mark_durable(first.place, first.word)
        });
        let second = put(&table, 1, b"second");
        let marked = syncing.join().unwrap();
        assert!(marked.is_none_or(|word| Slot(word).is_durable()));
        assert!(!Slot(second).is_durable());
        match table.lookup(KIND, &key(1)) {
            Seen::Live(word, payload) => {
                assert_eq!((word, &payload[..]), (second, &b"second"[..]));
            }
            seen => panic!("{seen:?}"),
        }
    });
}

fn count_under_a_claim(table: &Model, pid: u32, count: &UnsafeCell<u32>) -> bool {
    match table.claim(&key(1), 0, ProcessId { pid, start: 7 }, |_| true) {
        ClaimAttempt::Owned(place, word) => {
            // The model checker refuses two accesses that are not ordered.
            count.with_mut(|_| {});
            table.release(place, word);
            true
        }
        ClaimAttempt::Busy(owner) => {
            assert_ne!(owner.pid, pid);
            false
        }
        ClaimAttempt::Unavailable => panic!("the key is the same"),
    }
}

#[test]
fn a_claim_is_held_by_one_at_a_time() {
    explore(6, || {
        let table = table(0);
        let work = Arc::new(UnsafeCell::new(0));
        let other = thread::spawn({
            let (table, work) = (table.clone(), work.clone());
            move || count_under_a_claim(&table, 1, &work)
        });
        let mine = count_under_a_claim(&table, 2, &work);
        let others = other.join().unwrap();
        assert!(mine || others);
        assert!(count_under_a_claim(&table, 3, &work));
    });
}

fn take_over(table: &Model, gone: ProcessId, pid: u32) -> bool {
    let attempt = table.claim(&key(1), 0, ProcessId { pid, start: 7 }, |owner| owner != gone);
    matches!(attempt, ClaimAttempt::Owned(..))
}

/// Both find an owner that is gone; one of them takes over, and its claim is not undone by the
/// late return of the owner's.
#[test]
fn the_claim_of_a_process_that_is_gone_is_taken_over_once() {
    explore(6, || {
        let table = table(0);
        let gone = ProcessId { pid: 9, start: 7 };
        let ClaimAttempt::Owned(place, word) = table.claim(&key(1), 0, gone, |_| true) else {
            panic!("not owned")
        };
        let other = thread::spawn({
            let table = table.clone();
            move || take_over(&table, gone, 1)
        });
        let mine = take_over(&table, gone, 2);
        table.release(place, word);
        assert!(mine != other.join().unwrap());
    });
}

/// The old table, its successor, and whether that is in its place.
#[derive(Clone)]
struct Swap {
    old: Model,
    new: Model,
    renamed: Arc<AtomicBool>,
}

impl Swap {
    fn new(records: usize) -> Self {
        let renamed = Arc::new(AtomicBool::new(false));
        Self { old: table(records), new: table(2 * records), renamed }
    }

    /// As `Index::put` does it.
    fn put(&self, number: u8, payload: &[u8]) {
        let replaced = || self.renamed.load(Ordering::Relaxed);
        if (self.old.is_superseded() && replaced())
            || (publish(&self.old, number, payload).superseded && replaced())
        {
            put(&self.new, number, payload);
        }
    }

    /// As `Index::swap` does it.
    fn run(&self) {
        self.old.supersede();
        let copied = swap::copy(&self.old, &self.new, &mut |_, _, _| true).expect("copied");
        self.renamed.store(true, Ordering::Relaxed);
        swap::copy_late(&self.old, &copied, &self.new);
    }
}

#[test]
fn a_publication_is_not_lost_to_a_swap() {
    explore(6, || {
        let swap = Swap::new(1);
        let publisher = thread::spawn({
            let swap = swap.clone();
            move || swap.put(1, b"new")
        });
        swap.run();
        publisher.join().unwrap();
        assert_eq!(live(&swap.new, 1).as_deref(), Some(&b"new"[..]));
    });
}

#[test]
fn an_update_is_not_undone_by_a_swap() {
    explore(6, || {
        let swap = Swap::new(2);
        put(&swap.old, 1, b"old");
        let publisher = thread::spawn({
            let swap = swap.clone();
            move || swap.put(1, b"new")
        });
        swap.run();
        publisher.join().unwrap();
        assert_eq!(live(&swap.new, 1).as_deref(), Some(&b"new"[..]));
        assert_eq!(swap.new.slots_used(), 1);
    });
}

#[test]
fn a_heap_that_is_full_refuses_and_stays_sound() {
    explore(6, || {
        let table = table(1);
        let other = thread::spawn({
            let table = table.clone();
            move || table.publish(KIND, &key(1), b"x", Expected::Anything).is_ok()
        });
        let mine = table.publish(KIND, &key(2), b"x", Expected::Anything).is_ok();
        let others = other.join().unwrap();
        assert!(mine != others);
        assert_eq!(live(&table, 1).is_some(), others);
        assert_eq!(live(&table, 2).is_some(), mine);
        assert!(table.memory().control[control::SLOTS_USED].load(Ordering::Relaxed) == 1);
    });
}
