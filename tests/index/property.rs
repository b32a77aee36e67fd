//! Any sequence of operations has the results that it has on a map.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::AtomicU64;

use kache::index::table::{Expected, Memory, PublishError, Seen, Table};
use kache::index::{Index, Kind, swap};
use proptest::prelude::*;
use store_format::Digest;
use store_format::header::CONTROL_WORDS;

use crate::space::{Space, key};

#[derive(Clone, Debug)]
enum Operation {
    Put(Kind, u64, Vec<u8>),
    Append(Kind, u64, u8),
    Remove(Kind, u64),
    Get(Kind, u64),
    CompactWithout(u64),
    Reopen,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(&Kind::ALL[..])
}

fn operations(keys: u64) -> impl Strategy<Value = Operation> {
    let payloads = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 4000..9000),
    ];
    prop_oneof![
        8 => (kinds(), 0..keys, payloads).prop_map(|(kind, key, p)| Operation::Put(kind, key, p)),
        4 => (kinds(), 0..keys, any::<u8>()).prop_map(|(k, key, b)| Operation::Append(k, key, b)),
        3 => (kinds(), 0..keys).prop_map(|(kind, key)| Operation::Remove(kind, key)),
        4 => (kinds(), 0..keys).prop_map(|(kind, key)| Operation::Get(kind, key)),
        1 => (0..keys).prop_map(Operation::CompactWithout),
        1 => Just(Operation::Reopen),
    ]
}

type Model = HashMap<(Kind, Digest), Vec<u8>>;

fn appended(before: Option<Vec<u8>>, byte: u8) -> Vec<u8> {
    let mut payload = before.unwrap_or_default();
    payload.push(byte);
    payload
}

fn apply(operation: Operation, space: &Space, index: &mut Index, model: &mut Model) {
    match operation {
        Operation::Put(kind, number, payload) => {
            index.put(kind, &key(number), &payload).expect("put");
            model.insert((kind, key(number)), payload);
        }
        Operation::Append(kind, number, byte) => {
            let change = |before| Some(appended(before, byte));
            assert!(index.update(kind, &key(number), change).expect("updated"));
            let entry = model.entry((kind, key(number))).or_default();
            entry.push(byte);
        }
        Operation::Remove(kind, number) => {
            let removed = model.remove(&(kind, key(number))).is_some();
            assert_eq!(index.remove(kind, &key(number)), removed);
        }
        Operation::Get(kind, number) => {
            assert_eq!(index.get(kind, &key(number)).as_ref(), model.get(&(kind, key(number))));
        }
        Operation::CompactWithout(number) => {
            index.compact(|_, kept, _| *kept != key(number)).expect("compacted");
            model.retain(|(_, kept), _| *kept != key(number));
        }
        Operation::Reopen => *index = space.index(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    /// Two values for one file, used in turn: what one does, the other sees.
    #[test]
    fn an_index_is_a_map(sequence in prop::collection::vec((operations(12), any::<bool>()), 0..60)) {
        let space = Space::new();
        let mut indexes = [space.index(), space.index()];
        let mut model = Model::new();
        for (operation, which) in sequence {
            apply(operation, &space, &mut indexes[usize::from(which)], &mut model);
        }
        for index in &indexes {
            let entries: Model =
                index.entries().map(|entry| ((entry.kind, entry.key), entry.payload)).collect();
            prop_assert_eq!(&entries, &model);
        }
    }
}

/// What a power cut may leave of a file that was never written through: some pages, and zeros.
fn lose_pages(space: &Space, lost: &[prop::sample::Index]) {
    const PAGE_BYTES: usize = 4096;
    let path = space.path().join("index");
    let mut bytes = std::fs::read(&path).expect("bytes");
    for lost in lost {
        let page = lost.index(bytes.len() / PAGE_BYTES);
        bytes[page * PAGE_BYTES..][..PAGE_BYTES].fill(0);
    }
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, bytes).expect("written");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn pages_lost_in_a_power_cut_cost_their_records_alone(
        lost in prop::collection::vec(any::<prop::sample::Index>(), 1..40)
    ) {
        const KEYS: u64 = 3000;
        let payload = |number: u64, round: u8| [&number.to_le_bytes()[..], &[round; 100]].concat();
        let space = Space::new();
        let index = space.index();
        for (number, round) in (0..KEYS).map(|n| (n, 0)).chain((0..KEYS / 2).map(|n| (n, 1))) {
            index.put(Kind::Result, &key(number), &payload(number, round)).expect("put");
        }
        drop(index);
        lose_pages(&space, &lost);
        let index = space.index();
        let right = |number, found: &Option<Vec<u8>>| {
            let last = u8::from(number < KEYS / 2);
            found.is_none() || (0..=last).any(|round| *found == Some(payload(number, round)))
        };
        let found: Vec<_> = (0..KEYS).map(|n| index.get(Kind::Result, &key(n))).collect();
        prop_assert!(found.iter().zip(0..).all(|(found, number)| right(number, found)));
        // A page holds 512 slots, or 27 records and two that reach into it.
        let missing = found.iter().filter(|found| found.is_none()).count();
        prop_assert!(missing <= lost.len() * 60, "{} missing for {} pages", missing, lost.len());
        for number in 0..KEYS {
            index.put(Kind::Result, &key(number), &payload(number, 2)).expect("put");
            prop_assert_eq!(index.get(Kind::Result, &key(number)), Some(payload(number, 2)));
        }
    }
}

struct Words {
    control: Vec<AtomicU64>,
    slots: Vec<AtomicU64>,
    heap: Vec<AtomicU64>,
}

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn small_table(slots: usize, heap: usize) -> Table<Words> {
    Table::new(Words { control: words(CONTROL_WORDS), slots: words(slots), heap: words(heap) })
}

impl Memory for Words {
    type Word = AtomicU64;

    fn control(&self) -> &[AtomicU64] {
        &self.control
    }

    fn claims(&self) -> &[AtomicU64] {
        &[]
    }

    fn slots(&self) -> &[AtomicU64] {
        &self.slots
    }

    fn heap(&self) -> &[AtomicU64] {
        &self.heap
    }

    fn refresh(&self) {}

    fn extend(&self, _words: u64) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    /// More than there is space for.
    fn heap_words_max(&self) -> u64 {
        1 << 20
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Eight slots, so that probe sequences wrap and fill: what does not fit is refused, and what
    /// was accepted stays.
    #[test]
    fn a_full_table_refuses_and_loses_nothing(
        sequence in prop::collection::vec((0..24_u64, any::<Option<u8>>()), 0..120)
    ) {
        let table = small_table(8, 512);
        let mut model: HashMap<u64, u8> = HashMap::new();
        for (number, value) in sequence {
            if let Some(value) = value {
                match table.publish(Kind::Result, &key(number), &[value], Expected::Anything) {
                    Ok(_) => drop(model.insert(number, value)),
                    Err(PublishError::Full | PublishError::Io(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            } else {
                let removed = model.remove(&number).is_some();
                prop_assert_eq!(table.remove(Kind::Result, &key(number)), removed);
            }
            for number in 0..24 {
                let expected = model.get(&number).map(|value| vec![*value]);
                let seen = table.lookup(Kind::Result, &key(number));
                let seen = if let Seen::Live(_, payload) = seen { Some(payload) } else { None };
                prop_assert_eq!(seen, expected);
            }
        }
        let larger = small_table(64, 512);
        swap::copy(&table, &larger, &mut |_, _, _| true).expect("copied");
        prop_assert_eq!(larger.slots_used(), model.len() as u64);
    }

    /// Whatever the words of a table are, no operation panics, and what is got was verified.
    #[test]
    fn a_table_of_any_words_is_only_a_miss(
        slots in prop::collection::vec(any::<u64>(), 8),
        heap in prop::collection::vec(any::<u64>(), 64),
        offset in 0..64_u64,
    ) {
        let hash = store_format::slot::KeyHash::new(Kind::Result, &key(1));
        let pointing = store_format::slot::Slot::new(hash, Kind::Result, offset).0;
        let table = small_table(8, 64);
        for (word, value) in table.memory().slots.iter().zip(&slots) {
            word.store(*value | pointing, std::sync::atomic::Ordering::Relaxed);
        }
        for (word, value) in table.memory().heap.iter().zip(&heap) {
            word.store(*value, std::sync::atomic::Ordering::Relaxed);
        }
        prop_assert!(!matches!(table.lookup(Kind::Result, &key(1)), Seen::Live(..)));
        prop_assert!(!table.remove(Kind::Result, &key(1)));
        prop_assert!((0..8).all(|place| table.record_in(place).1.is_none()));
        let refused = table.publish(Kind::Result, &key(1), b"x", Expected::Anything);
        prop_assert!(matches!(refused, Err(PublishError::Full | PublishError::Io(_))));
    }
}

#[test]
fn what_is_not_expected_takes_no_words() {
    let table = small_table(8, 64);
    let put = |number, expected| table.publish(Kind::Result, &key(number), b"a value", expected);
    let published = put(1, Expected::Vacant).expect("published");
    let used = table.heap_used_words();
    for (number, expected) in
        [(1, Expected::Vacant), (1, Expected::Word(1)), (2, Expected::Word(published.word))]
    {
        assert!(matches!(put(number, expected), Err(PublishError::Conflict)));
    }
    assert_eq!(table.heap_used_words(), used);
    assert!(put(1, Expected::Word(published.word)).is_ok());
}

#[test]
fn a_full_disk_is_an_error_and_takes_no_words() {
    let table = small_table(8, 20);
    let put = |number, bytes: usize| {
        table.publish(Kind::Result, &key(number), &vec![1; bytes], Expected::Anything)
    };
    assert!(put(1, 64).is_ok());
    for _ in 0..3 {
        assert!(matches!(put(2, 64), Err(PublishError::Io(_))));
    }
    assert!(matches!(table.lookup(Kind::Result, &key(2)), Seen::Vacant));
    assert_eq!(table.heap_used_words(), 14);
    assert!(put(2, 0).is_ok());
    assert!(matches!(table.lookup(Kind::Result, &key(1)), Seen::Live(..)));
}
