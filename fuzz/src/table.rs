//! Operations on a table, against a map; and damage in between, after which whatever is found is
//! something that was published under that key.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use kache::index::table::{Expected, Memory, PublishError, Seen, Table};
use kache::index::{Kind, swap};
use store_format::Digest;
use store_format::header::CONTROL_WORDS;

const SLOTS: usize = 16;
const HEAP: usize = 600;
const KEYS: u8 = 24;

struct Words {
    control: Vec<AtomicU64>,
    slots: Vec<AtomicU64>,
    heap: Vec<AtomicU64>,
}

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
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

fn table() -> Table<Words> {
    Table::new(Words { control: words(CONTROL_WORDS), slots: words(SLOTS), heap: words(HEAP) })
}

/// Keys whose hashes have nothing in common, and kinds in turn.
fn key(number: u8) -> (Kind, Digest) {
    let number = number % KEYS;
    let mut bytes = [0; 32];
    bytes[..8]
        .copy_from_slice(&u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    bytes[31] = number;
    (Kind::ALL[usize::from(number) % Kind::ALL.len()], Digest(bytes))
}

#[derive(Default)]
struct Model {
    now: HashMap<u8, Vec<u8>>,
    ever: HashMap<u8, HashSet<Vec<u8>>>,
    damaged: bool,
}

impl Model {
    fn put(&mut self, number: u8, payload: &[u8]) {
        let number = number % KEYS;
        self.now.insert(number, payload.to_vec());
        self.ever.entry(number).or_default().insert(payload.to_vec());
    }

    fn check(&self, number: u8, found: Option<&Vec<u8>>) {
        let number = number % KEYS;
        if self.damaged {
            let known = self.ever.get(&number);
            assert!(found.is_none_or(|payload| known.is_some_and(|known| known.contains(payload))));
        } else {
            assert_eq!(found, self.now.get(&number));
        }
    }
}

fn get(table: &Table<Words>, number: u8) -> Option<Vec<u8>> {
    let (kind, key) = key(number);
    match table.lookup(kind, &key) {
        Seen::Live(_, payload) => Some(payload),
        Seen::Dead(_) | Seen::Vacant => None,
    }
}

pub fn run(bytes: &[u8]) {
    let mut table = table();
    let mut model = Model::default();
    let mut rest = bytes;
    while let [operation, number, argument, after @ ..] = rest {
        rest = after;
        match operation % 6 {
            0 | 1 => put(&table, &mut model, *number, *argument),
            2 => update(&table, &mut model, *number, *argument),
            3 => {
                let (kind, key) = key(*number);
                let removed = table.remove(kind, &key);
                let known = model.now.remove(&(number % KEYS)).is_some();
                assert!(model.damaged || removed == known);
            }
            4 => table = swapped(&table, &mut model),
            _ if after.len() >= 8 => {
                damage(&table, *number, *argument, after.first_chunk().expect("eight bytes"));
                model.damaged = true;
            }
            _ => {}
        }
        for number in 0..KEYS {
            model.check(number, get(&table, number).as_ref());
        }
    }
}

fn put(table: &Table<Words>, model: &mut Model, number: u8, argument: u8) {
    let (kind, key) = key(number);
    let payload = vec![argument; usize::from(argument % 40)];
    match table.publish(kind, &key, &payload, Expected::Anything) {
        Ok(_) => model.put(number, &payload),
        Err(PublishError::Full) => {}
        Err(error) => panic!("{error:?}"),
    }
}

fn update(table: &Table<Words>, model: &mut Model, number: u8, argument: u8) {
    let (kind, key) = key(number);
    let seen = table.lookup(kind, &key);
    let expected = seen.expected();
    let mut payload = if let Seen::Live(_, payload) = seen { payload } else { Vec::new() };
    payload.push(argument);
    match table.publish(kind, &key, &payload, expected) {
        Ok(_) => model.put(number, &payload),
        Err(PublishError::Full) => {}
        // A damaged slot in front, or one that other damage made a key's own.
        Err(PublishError::Conflict) => assert!(model.damaged),
        Err(error) => panic!("{error:?}"),
    }
}

/// Half of the keys make it to the next generation.
fn swapped(old: &Table<Words>, model: &mut Model) -> Table<Words> {
    let new = table();
    let keep = |key: &Digest| key.0[31].is_multiple_of(2);
    match swap::copy(old, &new, &mut |_, key, _| keep(key)) {
        Ok(copied) => swap::copy_late(old, &copied, &new),
        // Damage can make more of a heap than there was.
        Err(error) => assert!(model.damaged, "{error:?}"),
    }
    model.now.retain(|number, _| number % 2 == 0);
    new
}

fn damage(table: &Table<Words>, place: u8, region: u8, value: &[u8; 8]) {
    let memory = table.memory();
    let words = match region % 3 {
        0 => &memory.slots,
        1 => &memory.heap,
        _ => &memory.control,
    };
    let word = &words[(usize::from(region / 3) * 256 + usize::from(place)) % words.len()];
    word.store(u64::from_le_bytes(*value), Ordering::Relaxed);
}
