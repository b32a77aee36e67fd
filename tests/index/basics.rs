//! One process, one index.

use std::os::unix::fs::FileExt as _;

use kache::index::{Claim, IndexError, Kind, Position};

use crate::space::{Space, key};

#[test]
fn what_is_put_is_got_under_its_kind_and_key_alone() {
    let space = Space::new();
    let index = space.index();
    index.put(Kind::Result, &key(1), b"one").expect("put");
    assert_eq!(index.get(Kind::Result, &key(1)).as_deref(), Some(&b"one"[..]));
    assert_eq!(index.get(Kind::Manifests, &key(1)), None);
    assert_eq!(index.get(Kind::Result, &key(2)), None);
}

#[test]
fn the_last_put_counts_and_survives_reopening() {
    let space = Space::new();
    let index = space.index();
    index.put(Kind::Result, &key(1), b"one").expect("put");
    index.put(Kind::Result, &key(1), b"another").expect("put");
    assert_eq!(space.index().get(Kind::Result, &key(1)).as_deref(), Some(&b"another"[..]));
    assert_eq!(space.names(), ["index"]);
}

#[test]
fn a_removed_record_is_absent_and_can_be_put_again() {
    let space = Space::new();
    let index = space.index();
    assert!(!index.remove(Kind::Result, &key(1)));
    index.put(Kind::Result, &key(1), b"one").expect("put");
    assert!(index.remove(Kind::Result, &key(1)));
    assert!(!index.remove(Kind::Result, &key(1)));
    assert_eq!(index.get(Kind::Result, &key(1)), None);
    index.put(Kind::Result, &key(1), b"two").expect("put");
    assert_eq!(index.get(Kind::Result, &key(1)).as_deref(), Some(&b"two"[..]));
    assert_eq!(index.usage().slots_used, 1);
}

#[test]
fn an_update_sees_what_is_there_and_may_leave_it() {
    let space = Space::new();
    let index = space.index();
    let append = |before: Option<Vec<u8>>| {
        let mut value = before.unwrap_or_default();
        value.push(value.len().to_le_bytes()[0]);
        Some(value)
    };
    for _ in 0..3 {
        assert!(index.update(Kind::Latest, &key(1), append).expect("updated"));
    }
    assert!(!index.update(Kind::Latest, &key(1), |_| None).expect("left"));
    assert_eq!(index.get(Kind::Latest, &key(1)), Some(vec![0, 1, 2]));
}

#[test]
fn payloads_of_every_length_come_back_whole() {
    let space = Space::new();
    let index = space.index();
    let payload: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for length in (0..70).chain([4096, 1 << 20, 3_000_000]) {
        index.put(Kind::Result, &key(length as u64), &payload[..length]).expect("put");
    }
    for length in (0..70).chain([4096, 1 << 20, 3_000_000]) {
        let got = index.get(Kind::Result, &key(length as u64)).expect("there");
        assert!(got == payload[..length], "{length}");
    }
}

#[test]
fn a_payload_over_the_limit_is_refused() {
    let space = Space::new();
    let payload = vec![0; (16 << 20) + 1];
    let refused = space.index().put(Kind::Result, &key(1), &payload);
    assert!(matches!(refused, Err(IndexError::TooLarge { .. })), "{refused:?}");
}

#[test]
fn it_grows_and_other_mappings_follow() {
    let space = Space::new();
    let (writer, reader) = (space.index(), space.index());
    let count = 60_000;
    for number in 0..count {
        writer.put(Kind::Result, &key(number), &number.to_le_bytes()).expect("put");
    }
    assert!(writer.usage().generation > 1);
    for number in 0..count {
        let got = reader.get(Kind::Result, &key(number));
        assert_eq!(got.as_deref(), Some(&number.to_le_bytes()[..]));
    }
    assert_eq!(reader.usage(), writer.usage());
    assert_eq!(reader.entries().count() as u64, count);
}

#[test]
fn what_is_durable_stays_so_until_it_is_replaced() {
    let space = Space::new();
    let index = space.index();
    let is_durable = |number| index.find(Kind::Result, &key(number)).expect("there").is_durable;
    for number in 0..3 {
        index.put(Kind::Result, &key(number), &[7; 1000]).expect("put");
    }
    let positions: Vec<Position> = index.entries().map(|entry| entry.position).collect();
    assert!(!is_durable(0) && !is_durable(1) && !is_durable(2));
    assert!(index.mark_durable(positions[0]) && index.mark_durable(positions[1]));
    assert!(!index.mark_durable(positions[0]), "its slot has changed since");
    index.compact(|_, _, _| true).expect("compacted");
    assert!(!index.mark_durable(positions[2]), "it is another file");
    let durable: Vec<bool> = (0..3).map(is_durable).collect();
    assert_eq!(durable.iter().filter(|durable| **durable).count(), 2);
    for number in 0..3 {
        index.put(Kind::Result, &key(number), &[8; 1000]).expect("put");
        assert!(!is_durable(number), "what took its place is not on the disk");
    }
}

#[test]
fn compaction_keeps_what_is_wanted_and_frees_the_rest() {
    let space = Space::new();
    let index = space.index();
    for number in 0..100 {
        index.put(Kind::Result, &key(number), &[0; 1000]).expect("put");
        index.put(Kind::Result, &key(number), &[1; 1000]).expect("put");
    }
    let before = index.usage();
    assert!(before.heap_dead_bytes > 100_000);
    index.compact(|_, kept, _| *kept != key(7)).expect("compacted");
    let after = index.usage();
    assert_eq!((after.slots_used, after.heap_dead_bytes), (99, 0));
    assert!(after.heap_used_bytes * 2 < before.heap_used_bytes + 1000);
    assert_eq!(index.get(Kind::Result, &key(7)), None);
    assert_eq!(index.get(Kind::Result, &key(8)), Some(vec![1; 1000]));
    assert_eq!(space.names(), ["index", "index.lock"]);
}

#[test]
fn a_damaged_foreign_or_newer_file_is_set_aside() {
    let whole = {
        let space = Space::new();
        space.index();
        std::fs::read(space.path().join("index")).expect("bytes")
    };
    let damages: [fn(&mut Vec<u8>); 5] = [
        |bytes| bytes.clear(),
        |bytes| bytes.truncate(5000),
        |bytes| bytes[0] ^= 1,
        |bytes| bytes[8] += 1,
        |bytes| bytes[24] ^= 1,
    ];
    for damage in damages {
        let space = Space::new();
        let mut bytes = whole.clone();
        damage(&mut bytes);
        std::fs::write(space.path().join("index"), bytes).expect("written");
        let index = space.index();
        assert!(index.recovered());
        index.put(Kind::Result, &key(1), b"one").expect("put");
        assert!(!space.index().recovered());
        assert_eq!(space.names(), ["index", "index.damaged-1", "index.lock"]);
    }
}

fn damage(space: &Space, damage: impl Fn(&mut Vec<u8>)) {
    let path = space.path().join("index");
    let mut bytes = std::fs::read(&path).expect("bytes");
    damage(&mut bytes);
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, bytes).expect("written");
}

/// Each key twice, so that the first record is out of date.
fn fill(space: &Space, keys: u64) {
    let index = space.index();
    for (number, value) in (0..keys).map(|n| (n, 0)).chain((0..keys).map(|n| (n, 1))) {
        let payload = vec![value; 1 + usize::try_from(number % 100).expect("small")];
        index.put(Kind::Result, &key(number), &payload).expect("put");
    }
}

#[test]
fn what_is_sound_in_a_damaged_file_is_saved() {
    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes[..4096].fill(0),
        |bytes| bytes[40] ^= 1,
        // Header, claims and table.
        |bytes| bytes[..36_864 + (8 << 16)].fill(0xA5),
    ];
    for harm in damages {
        let space = Space::new();
        fill(&space, 1000);
        damage(&space, harm);
        let index = space.index();
        assert!(index.recovered());
        for number in 0..1000 {
            let payload = index.get(Kind::Result, &key(number)).expect("saved");
            let expected = vec![1; 1 + usize::try_from(number % 100).expect("small")];
            assert_eq!(payload, expected, "{number}");
        }
        assert_eq!(space.names(), ["index", "index.damaged-1", "index.lock"]);
    }
}

#[test]
fn of_a_file_cut_short_the_rest_is_saved() {
    let space = Space::new();
    fill(&space, 1000);
    damage(&space, |bytes| {
        bytes[0] = 0;
        bytes.truncate(36_864 + (8 << 16) + 30_000);
    });
    let index = space.index();
    let saved = index.entries().count();
    assert!((250..500).contains(&saved), "{saved}");
    assert!(index.entries().all(|entry| entry.payload.iter().all(|value| *value == 0)));
}

/// What another version means by a record is not known.
#[test]
fn nothing_is_taken_over_from_another_version() {
    let space = Space::new();
    fill(&space, 10);
    damage(&space, |bytes| {
        bytes[8] += 1;
        let sum = store_format::checksum(&bytes[..40]);
        bytes[40..48].copy_from_slice(&sum.to_le_bytes());
    });
    let index = space.index();
    assert!(index.recovered());
    assert_eq!(index.entries().count(), 0);
}

#[test]
fn a_damaged_record_is_absent_and_can_be_put_again() {
    let space = Space::new();
    let index = space.index();
    index.put(Kind::Result, &key(1), b"a payload to damage").expect("put");
    let path = space.path().join("index");
    let bytes = std::fs::read(&path).expect("bytes");
    let place = bytes.windows(19).position(|window| window == b"a payload to damage");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opened");
    file.write_all_at(b"X", place.expect("there") as u64).expect("damaged");
    assert_eq!(index.get(Kind::Result, &key(1)), None);
    index.put(Kind::Result, &key(1), b"sound").expect("put");
    assert_eq!(index.get(Kind::Result, &key(1)).as_deref(), Some(&b"sound"[..]));
    assert_eq!(index.usage().slots_used, 1);
}

#[test]
fn a_claim_is_had_once_and_given_back() {
    let space = Space::new();
    let index = space.index();
    let Claim::Owned(guard) = index.claim(&key(1)) else { panic!("not owned") };
    // This very process is never waited for.
    assert!(matches!(index.claim(&key(1)), Claim::Unavailable));
    drop(guard);
    assert!(matches!(index.claim(&key(1)), Claim::Owned(_)));
}
