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
                index.entries().map(|(kind, key, payload)| ((kind, key), payload)).collect();
            prop_assert_eq!(&entries, &model);
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

    fn heap_words_max(&self) -> u64 {
        self.heap.len() as u64
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
                    Err(PublishError::Full) => {}
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
        prop_assert!(matches!(refused, Err(PublishError::Full)));
    }
}
