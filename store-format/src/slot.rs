//! The atomic words of the index: slots of the table, and claims.

use crate::Digest;

pub const OFFSET_BITS: u32 = 36;
const REMOVED: u64 = 1 << OFFSET_BITS;
const DURABLE: u64 = 1 << (OFFSET_BITS + 1);
const KIND_SHIFT: u32 = OFFSET_BITS + 2;
const KIND_BITS: u32 = 6;
const TAG_SHIFT: u32 = KIND_SHIFT + KIND_BITS;
pub const TAG_BITS: u32 = 64 - TAG_SHIFT;

const _: () = assert!(TAG_BITS == 20);

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// By unit key: a list of manifests.
    Manifests = 1,
    /// By action key: a result.
    Result = 2,
    /// By the digest of a compiler's path: a toolchain.
    Toolchain = 3,
    /// By the digest of a unit's name: what it was built from last.
    Latest = 4,
}

impl Kind {
    /// Every kind, in the order of its number, from 1.
    pub const ALL: [Self; 4] = [Self::Manifests, Self::Result, Self::Toolchain, Self::Latest];

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

const _: () = assert!(Kind::ALL.len() < 1 << KIND_BITS);

/// Where a key belongs in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    pub fn new(kind: Kind, key: &Digest) -> Self {
        Self(mix(key.prefix() ^ (kind as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// The slot at which probing begins, in a table of a power of two of slots.
    pub fn first_slot(self, slots: usize) -> usize {
        usize::try_from(self.0 & (slots as u64 - 1)).unwrap_or(0)
    }

    fn tag(self) -> u64 {
        self.0 >> (64 - TAG_BITS)
    }
}

fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    hash ^ (hash >> 32)
}

/// A word of the table: zero is empty, anything else belongs to one key for the lifetime of the
/// file, from the highest bit: tag (20), kind (6), durable (1), removed (1), offset of the record in
/// the heap, in words (36).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u64);

impl Slot {
    /// `offset` in words from the start of the heap, below 2^36.
    pub fn new(hash: KeyHash, kind: Kind, offset: u64) -> Self {
        debug_assert!(offset < 1 << OFFSET_BITS);
        Self(hash.tag() << TAG_SHIFT | (kind as u64) << KIND_SHIFT | offset)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn is_removed(self) -> bool {
        self.0 & REMOVED != 0
    }

    #[must_use]
    pub fn removed(self) -> Self {
        Self(self.0 | REMOVED)
    }

    /// Whether a power cut leaves the record and all that it names.
    pub fn is_durable(self) -> bool {
        self.0 & DURABLE != 0
    }

    #[must_use]
    pub fn durable(self) -> Self {
        Self(self.0 | DURABLE)
    }

    pub fn offset(self) -> u64 {
        self.0 & ((1 << OFFSET_BITS) - 1)
    }

    /// `None` for a kind that this version does not know.
    pub fn kind(self) -> Option<Kind> {
        u8::try_from(low_u32(self.0 >> KIND_SHIFT, KIND_BITS)).ok().and_then(Kind::from_number)
    }

    /// Whether the slot may belong to a key of this kind and hash.
    pub fn may_hold(self, hash: KeyHash, kind: Kind) -> bool {
        let expected = Self::new(hash, kind, 0).0;
        self.0 & !((1 << KIND_SHIFT) - 1) == expected
    }
}

/// A process by its number and the lowest bits of the time it started, so that another process
/// with its number is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    pub pid: u32,
    /// The lowest 26 bits, in the unit of the system; 0 where it is not to be had.
    pub start: u32,
}

const START_BITS: u32 = 26;
const PID_BITS: u32 = 22;
const CLAIM_TAG_SHIFT: u32 = START_BITS + PID_BITS;

/// A word of the claims region: zero is free, else from the highest bit: tag (16), process (22),
/// start time (26).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimWord(pub u64);

impl ClaimWord {
    /// The claim of a process on a key, and its place among `claims` words. Keys are told apart
    /// by `scope` as well: process numbers mean something within one scope only.
    pub fn new(key: &Digest, scope: u64, process: ProcessId, claims: usize) -> (usize, Self) {
        let hash = mix(key.prefix() ^ mix(scope));
        let place = usize::try_from(hash & (claims as u64 - 1)).unwrap_or(0);
        let start = u64::from(process.start) & ((1 << START_BITS) - 1);
        let pid = u64::from(process.pid) & ((1 << PID_BITS) - 1);
        let tag = hash >> CLAIM_TAG_SHIFT;
        (place, Self(tag << CLAIM_TAG_SHIFT | pid << START_BITS | start))
    }

    pub fn process(self) -> ProcessId {
        ProcessId {
            pid: low_u32(self.0 >> START_BITS, PID_BITS),
            start: low_u32(self.0, START_BITS),
        }
    }

    /// Whether both are claims on the same key.
    pub fn same_key(self, other: Self) -> bool {
        self.0 >> CLAIM_TAG_SHIFT == other.0 >> CLAIM_TAG_SHIFT
    }
}

impl ProcessId {
    pub fn new(pid: u32, start: u64) -> Self {
        Self { pid, start: low_u32(start, START_BITS) }
    }
}

/// The lowest bits of a word, at most 32.
fn low_u32(word: u64, bits: u32) -> u32 {
    let [a, b, c, d, ..] = (word & ((1 << bits) - 1)).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
