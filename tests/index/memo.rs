//! The memo.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kache::memo::{FileIdentity, Memo};

use crate::space::{Space, key};

fn identity(inode: u64) -> FileIdentity {
    FileIdentity { device: 1, inode, size_bytes: 2, mtime_ns: 3, ctime_ns: 4 }
}

/// A file that was last changed long ago.
fn remember(memo: &Memo, inode: u64) {
    memo.insert_seen(&identity(inode), &key(inode), SystemTime::now());
}

#[test]
fn a_digest_is_found_by_exactly_its_identity_and_by_other_processes() {
    let space = Space::new();
    let memo = Memo::open(space.path()).expect("a memo");
    remember(&memo, 1);
    let other = Memo::open(space.path()).expect("a memo");
    assert_eq!(other.probe(&identity(1)), Some(key(1)));
    let variants: [fn(&mut FileIdentity); 5] = [
        |other| other.device += 1,
        |other| other.inode += 1,
        |other| other.size_bytes += 1,
        |other| other.mtime_ns += 1,
        |other| other.ctime_ns += 1,
    ];
    for vary in variants {
        let mut varied = identity(1);
        vary(&mut varied);
        assert_eq!(other.probe(&varied), None, "{varied:?}");
    }
}

#[test]
fn a_file_that_may_change_again_unnoticed_is_not_remembered() {
    let space = Space::new();
    let memo = Memo::open(space.path()).expect("a memo");
    let seen = UNIX_EPOCH + Duration::from_millis(1_000_000_500);
    let ages = [(0, false), (19, false), (20, true), (1000, true)];
    // Some file systems know whole seconds only, or every other one: those may stand for a later time.
    let whole_seconds = [(500, false), (1500, false), (2500, true)];
    for (age_ms, remembered) in ages.into_iter().chain(whole_seconds) {
        let changed = seen - Duration::from_millis(age_ms);
        let changed_ns = changed.duration_since(UNIX_EPOCH).expect("later").as_nanos();
        let mut file = identity(age_ms);
        file.ctime_ns = i64::try_from(changed_ns).expect("in range");
        memo.insert_seen(&file, &key(age_ms), seen);
        assert_eq!(memo.probe(&file).is_some(), remembered, "{age_ms}");
    }
    let mut future = identity(9);
    future.mtime_ns = i64::MAX;
    memo.insert_seen(&future, &key(9), SystemTime::now());
    assert_eq!(memo.probe(&future), None);
}

#[test]
fn the_newest_entries_stay_when_it_overflows() {
    let space = Space::new();
    let memo = Memo::open(space.path()).expect("a memo");
    for inode in 0..200_000 {
        remember(&memo, inode);
    }
    let found = |inodes: std::ops::Range<u64>| {
        inodes.filter(|inode| memo.probe(&identity(*inode)) == Some(key(*inode))).count()
    };
    assert!(found(199_000..200_000) > 990);
    assert!(found(0..1000) < 50);
}

#[test]
fn a_torn_entry_is_absent() {
    let space = Space::new();
    let memo = Memo::open(space.path()).expect("a memo");
    remember(&memo, 1);
    let path = space.path().join("memo");
    let whole = std::fs::read(&path).expect("bytes");
    let entry = whole.windows(32).position(|bytes| bytes == key(1).0).expect("there") - 16;
    for word in 0..8 {
        let mut torn = whole.clone();
        torn[entry + word * 8] ^= 0x10;
        std::fs::write(&path, &torn).expect("written");
        assert_eq!(memo.probe(&identity(1)), None, "word {word}");
    }
    std::fs::write(&path, &whole).expect("written");
    assert_eq!(memo.probe(&identity(1)), Some(key(1)));
}

/// Two writers of different digests for identities of one set: whatever a reader finds was
/// inserted for exactly that identity.
#[test]
fn concurrent_writers_never_make_a_false_entry() {
    let space = Space::new();
    let memo = Memo::open(space.path()).expect("a memo");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = |start: u64| {
            let memo = &memo;
            move || {
                for round in 0..40_000 {
                    let inode = start + round % 3;
                    remember(memo, inode);
                }
            }
        };
        let writers = [scope.spawn(writer(0)), scope.spawn(writer(1))];
        let reader = scope.spawn(|| {
            let mut found = 0;
            while !done.load(Ordering::Relaxed) {
                for inode in 0..4 {
                    if let Some(digest) = memo.probe(&identity(inode)) {
                        assert_eq!(digest, key(inode));
                        found += 1;
                    }
                }
            }
            found
        });
        for writer in writers {
            writer.join().expect("wrote");
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().expect("read") > 0);
    });
}

#[test]
fn a_damaged_memo_is_set_aside() {
    let space = Space::new();
    drop(Memo::open(space.path()).expect("a memo"));
    let path = space.path().join("memo");
    std::fs::write(&path, b"something else").expect("written");
    let memo = Memo::open(space.path()).expect("a memo");
    remember(&memo, 1);
    assert_eq!(memo.probe(&identity(1)), Some(key(1)));
    assert_eq!(space.names(), ["memo", "memo.damaged-1", "memo.lock"]);
}
