//! The table of the index: what is done to its words, wherever they lie.
//!
//! Invariants:
//! - A slot that is not empty belongs to one key for the lifetime of the file. It changes from
//!   empty once, and from then on between records of its key, and removed.
//! - The slots in front of a key's slot, in its probe sequence, are never empty. So two publishers
//!   of a key meet at the same slot, and a key is never in two.
//! - A record is complete before a slot points to it, and never changes; its words are never
//!   reserved twice, and a slot's marks are never taken from it. So a slot's word never repeats, and
//!   a compare-exchange from it means what it says.
//! - Nothing that is read is trusted: a record counts when its description, key and checksum agree.
//! - No lock. A process that dies leaves a slot as it was, or as it wanted it, and at worst words
//!   of the heap that nothing points to.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use store_format::frame::{FRAME_HEAD_WORDS, FrameHead, PAYLOAD_BYTES_MAX, STRIPE_WORDS};
use store_format::header::control;
use store_format::slot::{ClaimWord, KeyHash, Kind, ProcessId, Slot};
use store_format::{Digest, header};

/// Words in front of the heap's end at which one publisher makes it longer, so that not all of them come
/// to the end together and wait for each other in the kernel.
const AHEAD_WORDS: u64 = (384 << 10) / header::WORD_BYTES as u64;

/// Longest probe sequence.
pub const PROBES_MAX: usize = 1024;

/// An atomic word; what the table needs of one.
pub trait Word {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64>;
    /// A sequentially consistent fence among all words of this type.
    fn fence();
}

impl Word for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.compare_exchange(current, new, success, failure)
    }

    fn fence() {
        std::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Where the words of one generation lie.
pub trait Memory {
    type Word: Word;

    /// The words that [`control`] names.
    fn control(&self) -> &[Self::Word];
    fn claims(&self) -> &[Self::Word];
    /// A power of two of them.
    fn slots(&self) -> &[Self::Word];
    /// The words of the heap that are there; more may come with [`Memory::refresh`].
    fn heap(&self) -> &[Self::Word];
    /// Notices what other processes have added to the heap.
    fn refresh(&self);
    /// Has the processor begin to load a record of the heap. Its lines then come from memory at the same
    /// time, and not the payload's after the head's.
    fn fetch(&self, _offset: u64) {}
    /// Makes the heap at least `words` long, so that storing to it cannot fail.
    fn extend(&self, words: u64) -> io::Result<()>;
    /// Words that the heap may come to.
    fn heap_words_max(&self) -> u64;
}

/// What a lookup saw of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// No slot belongs to it.
    Vacant,
    /// Its slot's word; what it points to is removed or damaged.
    Dead(u64),
    /// Its slot's word, and the payload.
    Live(u64, Vec<u8>),
}

/// What a publisher expects the slot of its key to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Anything,
    Vacant,
    Word(u64),
}

impl Expected {
    fn is_met_by(self, word: u64) -> bool {
        match self {
            Self::Anything => true,
            Self::Vacant => word == 0,
            Self::Word(expected) => word == expected,
        }
    }
}

impl Seen {
    pub fn expected(&self) -> Expected {
        match self {
            Self::Vacant => Expected::Vacant,
            Self::Dead(word) | Self::Live(word, _) => Expected::Word(*word),
        }
    }
}

/// A publication that took place.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The slot.
    pub place: usize,
    /// Its new word.
    pub word: u64,
    /// A successor is being made, or has been: once it is in its place, the publication has to be
    /// repeated there, or may not be seen.
    pub superseded: bool,
}

/// Why a publication did not take place.
#[derive(Debug)]
pub enum PublishError {
    /// No slot or no room in the heap: it is time for a new generation.
    Full,
    TooLarge,
    /// The slot does not hold what was expected.
    Conflict,
    /// The file could not be made longer.
    Io(io::Error),
}

/// How an attempt at a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimAttempt {
    /// The word to give back, and its place.
    Owned(usize, ClaimWord),
    Busy(ProcessId),
    /// The word is taken for another key.
    Unavailable,
}

/// The operations on one generation.
pub struct Table<M>(M);

impl<M> fmt::Debug for Table<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

impl<M: Memory> Table<M> {
    pub fn new(memory: M) -> Self {
        Self(memory)
    }

    pub fn memory(&self) -> &M {
        &self.0
    }

    fn control(&self, word: usize) -> &M::Word {
        &self.0.control()[word]
    }

    pub fn slots_used(&self) -> u64 {
        self.control(control::SLOTS_USED).load(Ordering::Relaxed)
    }

    pub fn heap_used_words(&self) -> u64 {
        self.control(control::HEAP_NEXT).load(Ordering::Relaxed)
    }

    /// An estimate: what was replaced or removed.
    pub fn heap_dead_words(&self) -> u64 {
        self.control(control::HEAP_DEAD).load(Ordering::Relaxed)
    }

    /// What blobs take on the disk, as far as it was counted.
    pub fn stored_bytes(&self) -> u64 {
        self.control(control::STORED_BYTES).load(Ordering::Relaxed)
    }

    /// Counts what was stored, or, modulo 2^64, what went; returns the sum.
    pub fn add_stored_bytes(&self, bytes: u64) -> u64 {
        let before = self.control(control::STORED_BYTES).fetch_add(bytes, Ordering::Relaxed);
        before.wrapping_add(bytes)
    }

    pub fn is_superseded(&self) -> bool {
        self.control(control::SUPERSEDED).load(Ordering::Acquire) != 0
    }

    /// Says that a successor is being made. From here on, each publication either is seen by
    /// whoever called this, or learns of it.
    pub fn supersede(&self) {
        self.control(control::SUPERSEDED).store(1, Ordering::Release);
        // Pairs with the fence in `published`: of a slot's new word and this mark, at least one is
        // seen by the other side.
        M::Word::fence();
    }

    /// Says that no successor is being made after all.
    pub fn reinstate(&self) {
        self.control(control::SUPERSEDED).store(0, Ordering::Release);
    }

    pub fn lookup(&self, kind: Kind, key: &Digest) -> Seen {
        let hash = KeyHash::new(kind, key);
        for place in self.probes(hash) {
            // Pairs with the release in `publish`: the record's words come with the slot's.
            let word = self.0.slots()[place].load(Ordering::Acquire);
            let slot = Slot(word);
            if slot.is_empty() {
                return Seen::Vacant;
            }
            if !slot.may_hold(hash, kind) {
                continue;
            }
            self.0.fetch(slot.offset());
            let Some(head) = self.head_at(slot.offset()) else { continue };
            if head.key != *key || head.kind != kind {
                continue;
            }
            return match self.payload_at(slot.offset(), &head) {
                Some(payload) if !slot.is_removed() => Seen::Live(word, payload),
                _ => Seen::Dead(word),
            };
        }
        Seen::Vacant
    }

    /// Appends a record and makes the slot of its key point to it.
    pub fn publish(
        &self,
        kind: Kind,
        key: &Digest,
        payload: &[u8],
        expected: Expected,
    ) -> Result<Published, PublishError> {
        let head = FrameHead::new(kind, key, payload).ok_or(PublishError::TooLarge)?;
        let hash = KeyHash::new(kind, key);
        let mut appended = None;
        loop {
            // First of all: what it waits for in memory comes while the record is written.
            let (place, seen) = self.place_of(hash, kind, key).ok_or(PublishError::Full)?;
            if !expected.is_met_by(seen) {
                return Err(PublishError::Conflict);
            }
            let offset = match appended {
                Some(offset) => offset,
                None => *appended.insert(self.append(&head, payload)?),
            };
            let word = Slot::new(hash, kind, offset).0;
            // Release: the record's words are visible to whoever acquires this one.
            let cell = &self.0.slots()[place];
            if cell.compare_exchange(seen, word, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(self.published(Slot(seen), place, word));
            }
        }
    }

    /// The slot of a key, or the one that it may take, and its word.
    fn place_of(&self, hash: KeyHash, kind: Kind, key: &Digest) -> Option<(usize, u64)> {
        self.probes(hash)
            .map(|place| (place, self.0.slots()[place].load(Ordering::Acquire)))
            .find(|(_, word)| *word == 0 || self.belongs_to(Slot(*word), hash, kind, key))
    }

    fn published(&self, before: Slot, place: usize, word: u64) -> Published {
        if before.is_empty() {
            self.control(control::SLOTS_USED).fetch_add(1, Ordering::Relaxed);
        } else {
            self.count_dead(before);
        }
        // Pairs with the fences in `supersede` and `swap::copy_late`.
        M::Word::fence();
        Published { place, word, superseded: self.is_superseded() }
    }

    /// Whether a record was there to remove.
    pub fn remove(&self, kind: Kind, key: &Digest) -> bool {
        let hash = KeyHash::new(kind, key);
        for place in self.probes(hash) {
            let cell = &self.0.slots()[place];
            let mut seen = cell.load(Ordering::Acquire);
            if seen == 0 {
                return false;
            }
            while self.belongs_to(Slot(seen), hash, kind, key) {
                if Slot(seen).is_removed() {
                    return false;
                }
                let word = Slot(seen).removed().0;
                match cell.compare_exchange(seen, word, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => {
                        self.count_dead(Slot(seen));
                        M::Word::fence();
                        return true;
                    }
                    Err(now) => seen = now,
                }
            }
        }
        false
    }

    /// Says that a power cut leaves what the record of a slot names. Returns the slot's new word,
    /// unless it has changed since it was `word`.
    pub fn mark_durable(&self, place: usize, word: u64) -> Option<u64> {
        let marked = Slot(word).durable().0;
        let cell = self.0.slots().get(place)?;
        // Relaxed: nothing is published by it.
        let changed = cell.compare_exchange(word, marked, Ordering::Relaxed, Ordering::Relaxed);
        changed.is_ok().then_some(marked)
    }

    /// The places of the slots of these kinds, in the order of their records: so a whole index is
    /// read from its beginning to its end.
    pub fn places_by_offset(&self, kinds: &[Kind]) -> Vec<usize> {
        let slots = self.0.slots().iter().enumerate();
        let words = slots.map(|(place, word)| (Slot(word.load(Ordering::Relaxed)), place));
        let mut places: Vec<(u64, usize)> = words
            .filter(|(slot, _)| !slot.is_empty())
            .filter(|(slot, _)| slot.kind().is_some_and(|kind| kinds.contains(&kind)))
            .map(|(slot, place)| (slot.offset(), place))
            .collect();
        places.sort_unstable();
        places.into_iter().map(|(_, place)| place).collect()
    }

    /// How many records of a kind there are.
    pub fn count_of(&self, kind: Kind) -> usize {
        let slots = self.0.slots().iter().map(|word| Slot(word.load(Ordering::Relaxed)));
        let live = slots.filter(|slot| !slot.is_empty() && !slot.is_removed());
        live.filter(|slot| slot.kind() == Some(kind)).count()
    }

    /// Words of the record that a slot points to, unless it is removed.
    pub fn live_words_in(&self, place: usize) -> Option<usize> {
        let slot = Slot(self.0.slots()[place].load(Ordering::Acquire));
        let is_live = !slot.is_empty() && !slot.is_removed();
        is_live.then(|| self.head_at(slot.offset())).flatten().map(|head| head.words())
    }

    /// The word of a slot, and the record that it points to, if there is a sound one.
    pub fn record_in(&self, place: usize) -> (u64, Option<(Kind, Digest, Vec<u8>)>) {
        let word = self.0.slots()[place].load(Ordering::Acquire);
        let slot = Slot(word);
        if slot.is_empty() || slot.is_removed() {
            return (word, None);
        }
        let record = self.record_at(slot.offset());
        (word, record.filter(|(kind, key, _)| slot.may_hold(KeyHash::new(*kind, key), *kind)))
    }

    /// A record of the heap, if there is a sound one.
    pub fn record_at(&self, offset: u64) -> Option<(Kind, Digest, Vec<u8>)> {
        let head = self.head_at(offset)?;
        Some((head.kind, head.key, self.payload_at(offset, &head)?))
    }

    fn probes(&self, hash: KeyHash) -> impl Iterator<Item = usize> + use<M> {
        let slots = self.0.slots().len();
        let first = hash.first_slot(slots);
        (0..slots.min(PROBES_MAX)).map(move |step| (first + step) & (slots - 1))
    }

    /// By the key alone: a slot whose record is damaged can still be published to.
    fn belongs_to(&self, slot: Slot, hash: KeyHash, kind: Kind, key: &Digest) -> bool {
        slot.may_hold(hash, kind)
            && self.head_at(slot.offset()).is_some_and(|head| head.key == *key && head.kind == kind)
    }

    fn append(&self, head: &FrameHead, payload: &[u8]) -> Result<u64, PublishError> {
        let words = head.words() as u64;
        let next = self.control(control::HEAP_NEXT);
        let limit = self.0.heap_words_max();
        if next.load(Ordering::Relaxed).saturating_add(words) > limit {
            return Err(PublishError::Full);
        }
        // Relaxed: the words themselves are published by the slot. The sum can exceed the limit by
        // no more than a record for each process that gets here at once.
        let offset = next.fetch_add(words, Ordering::Relaxed);
        let end = offset.checked_add(words).filter(|end| *end <= limit);
        let end = end.ok_or(PublishError::Full)?;
        let there = self.0.heap().len() as u64;
        if there < end {
            if let Err(error) = self.0.extend(end) {
                self.unreserve(offset, end);
                return Err(PublishError::Io(error));
            }
        } else if (offset..end).contains(&there.saturating_sub(AHEAD_WORDS)) {
            // One record lies there. What fails now is tried again where it is needed.
            let _not_yet = self.0.extend(there + 1);
        }
        let start = usize::try_from(offset).map_err(|_| PublishError::Full)?;
        let Some(target) = self.0.heap().get(start..start + head.words()) else {
            return Err(PublishError::Full);
        };
        write_record(target, head, payload);
        Ok(offset)
    }

    /// Gives words back if nobody has reserved any behind them.
    fn unreserve(&self, offset: u64, end: u64) {
        let next = self.control(control::HEAP_NEXT);
        // Where it fails the words are lost until the next generation.
        let _lost = next.compare_exchange(end, offset, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn head_at(&self, offset: u64) -> Option<FrameHead> {
        let words = self.heap_at(offset, FRAME_HEAD_WORDS)?;
        let mut head = [0; FRAME_HEAD_WORDS];
        for (value, word) in head.iter_mut().zip(words) {
            *value = word.load(Ordering::Relaxed);
        }
        FrameHead::decode(&head).ok()
    }

    #[expect(clippy::slow_vector_initialization, reason = "calloc of glibc passes its cache by")]
    fn payload_at(&self, offset: u64, head: &FrameHead) -> Option<Vec<u8>> {
        debug_assert!(head.payload_bytes <= PAYLOAD_BYTES_MAX);
        let words = &self.heap_at(offset, head.words())?[FRAME_HEAD_WORDS..];
        let bytes = words.len() * header::WORD_BYTES;
        let mut payload = Vec::with_capacity(bytes);
        payload.resize(bytes, 0);
        let (stripes, rest) = words.as_chunks::<STRIPE_WORDS>();
        let (bytes, rest_bytes) = payload.as_chunks_mut::<{ STRIPE_WORDS * header::WORD_BYTES }>();
        let mut sum = head.sum();
        for (bytes, words) in bytes.iter_mut().zip(stripes) {
            sum.add(&copy_words(bytes, words));
        }
        if !rest.is_empty() {
            sum.add(&copy_words(rest_bytes, rest));
        }
        payload.truncate(head.payload_bytes);
        head.agrees(sum).then_some(payload)
    }

    fn heap_at(&self, offset: u64, words: usize) -> Option<&[M::Word]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(words)?;
        if self.0.heap().len() < end {
            self.0.refresh();
        }
        self.0.heap().get(start..end)
    }

    fn count_dead(&self, slot: Slot) {
        if let Some(head) = self.head_at(slot.offset()).filter(|_| !slot.is_removed()) {
            let words = head.words() as u64;
            self.control(control::HEAP_DEAD).fetch_add(words, Ordering::Relaxed);
        }
    }

    /// Claims a key for a process; `is_alive` is asked about the owner of a word that is taken.
    pub fn claim(
        &self,
        key: &Digest,
        scope: u64,
        process: ProcessId,
        is_alive: impl Fn(ProcessId) -> bool,
    ) -> ClaimAttempt {
        let (place, mine) = ClaimWord::new(key, scope, process, self.0.claims().len());
        let cell = &self.0.claims()[place];
        let mut seen = cell.load(Ordering::Acquire);
        loop {
            let owner = ClaimWord(seen).process();
            if seen != 0 && owner == process {
                return ClaimAttempt::Unavailable;
            }
            if seen != 0 && is_alive(owner) {
                return if ClaimWord(seen).same_key(mine) {
                    ClaimAttempt::Busy(owner)
                } else {
                    ClaimAttempt::Unavailable
                };
            }
            // Acquire: what the owner before published is seen by the one after.
            match cell.compare_exchange(seen, mine.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return ClaimAttempt::Owned(place, mine),
                Err(now) => seen = now,
            }
        }
    }

    pub fn release(&self, place: usize, mine: ClaimWord) {
        let cell = &self.0.claims()[place];
        // Fails when another process took the claim over: then it is no longer ours to give back.
        let _taken_over = cell.compare_exchange(mine.0, 0, Ordering::Release, Ordering::Relaxed);
    }
}

/// Copies words of the heap, at most a stripe, and returns them, with zeros behind.
fn copy_words<W: Word>(bytes: &mut [u8], words: &[W]) -> [u64; STRIPE_WORDS] {
    let mut values = [0; STRIPE_WORDS];
    let bytes = bytes.as_chunks_mut().0;
    for ((value, bytes), word) in values.iter_mut().zip(bytes).zip(words) {
        *value = word.load(Ordering::Relaxed);
        *bytes = value.to_le_bytes();
    }
    values
}

fn write_record<W: Word>(target: &[W], head: &FrameHead, payload: &[u8]) {
    let (head_words, payload_words) = target.split_at(FRAME_HEAD_WORDS);
    for (word, value) in head_words.iter().zip(head.encode()) {
        word.store(value, Ordering::Relaxed);
    }
    let (whole, rest) = payload.as_chunks::<{ header::WORD_BYTES }>();
    for (word, bytes) in payload_words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; header::WORD_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        payload_words[whole.len()].store(u64::from_le_bytes(last), Ordering::Relaxed);
    }
}
