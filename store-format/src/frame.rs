//! How a record lies in the heap: a head of six words, then the payload, padded to a word.

use crate::slot::Kind;
use crate::{Digest, FormatError};

/// Words in front of the payload: description, checksum, key (four).
pub const FRAME_HEAD_WORDS: usize = 6;
/// Most bytes in a payload.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// The highest 24 bits of every description.
pub const FRAME_MAGIC: u64 = 0xCA_C4_E5;

/// Where they begin.
pub const FRAME_MAGIC_SHIFT: u32 = 40;
const KIND_SHIFT: u32 = 32;
const KIND_BYTE: usize = KIND_SHIFT as usize / 8;

/// The description and key of a record, as read: what the checksum says is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub kind: Kind,
    pub key: Digest,
    pub payload_bytes: usize,
    checksum: u64,
}

impl FrameHead {
    /// `None` for a payload that is too long.
    pub fn new(kind: Kind, key: &Digest, payload: &[u8]) -> Option<Self> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return None;
        }
        let mut head = Self { kind, key: *key, payload_bytes: payload.len(), checksum: 0 };
        head.checksum = head.sum_of(payload);
        Some(head)
    }

    /// Words of the whole record.
    pub fn words(&self) -> usize {
        FRAME_HEAD_WORDS + self.payload_bytes.div_ceil(8)
    }

    pub fn encode(&self) -> [u64; FRAME_HEAD_WORDS] {
        let key = self.key.0.as_chunks::<8>().0;
        let mut words = [self.description(), self.checksum, 0, 0, 0, 0];
        for (word, bytes) in words[2..].iter_mut().zip(key) {
            *word = u64::from_le_bytes(*bytes);
        }
        words
    }

    #[inline]
    pub fn decode(words: &[u64; FRAME_HEAD_WORDS]) -> Result<Self, FormatError> {
        let description = words[0];
        if description >> FRAME_MAGIC_SHIFT != FRAME_MAGIC {
            return Err(FormatError::Magic);
        }
        let kind_number = description.to_le_bytes()[KIND_BYTE];
        let kind = Kind::from_number(kind_number)
            .ok_or(FormatError::Tag { what: "kind of record", value: kind_number.into() })?;
        let payload_bytes = (description & 0xffff_ffff) as usize;
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(FormatError::Wire(crate::wire::WireError::Limit));
        }
        let mut key = [0; 32];
        for (bytes, word) in key.as_chunks_mut::<8>().0.iter_mut().zip(&words[2..]) {
            *bytes = word.to_le_bytes();
        }
        Ok(Self { kind, key: Digest(key), payload_bytes, checksum: words[1] })
    }

    /// Whether this is the head of exactly this payload.
    pub fn covers(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes && self.checksum == self.sum_of(payload)
    }

    /// Whether the record's checksum is that of the words that have passed.
    #[inline]
    pub fn agrees(&self, sum: FrameSum) -> bool {
        self.checksum == sum.finish()
    }

    /// The checksum, before any word of the payload.
    #[inline]
    pub fn sum(&self) -> FrameSum {
        FrameSum::new(self.description(), &self.key)
    }

    fn description(&self) -> u64 {
        FRAME_MAGIC << FRAME_MAGIC_SHIFT
            | (self.kind as u64) << KIND_SHIFT
            | self.payload_bytes as u64
    }

    fn sum_of(&self, payload: &[u8]) -> u64 {
        let mut sum = self.sum();
        let (stripes, rest) = payload.as_chunks::<STRIPE_BYTES>();
        for stripe in stripes {
            sum.add(&stripe_words(stripe));
        }
        if !rest.is_empty() {
            let mut last = [0; STRIPE_BYTES];
            last[..rest.len()].copy_from_slice(rest);
            sum.add(&stripe_words(&last));
        }
        sum.finish()
    }
}

/// Words that are checked at once.
pub const STRIPE_WORDS: usize = 8;
const STRIPE_BYTES: usize = STRIPE_WORDS * 8;
const LANES: usize = STRIPE_WORDS / 2;

/// The first digits of the fractional part of pi.
const LANE_KEYS: [u64; LANES] =
    [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344, 0xA409_3822_299F_31D0, 0x082E_FA98_EC4E_6C89];

/// The checksum of a record, taken while its words are copied: it detects torn, stale and damaged
/// ones, and is no defence against an adversary.
#[derive(Clone, Copy, Debug)]
pub struct FrameSum {
    lanes: [u64; LANES],
    description: u64,
}

impl FrameSum {
    #[inline]
    fn new(description: u64, key: &Digest) -> Self {
        let mut lanes = LANE_KEYS;
        for (lane, bytes) in lanes.iter_mut().zip(key.0.as_chunks().0) {
            *lane ^= u64::from_le_bytes(*bytes);
        }
        Self { lanes, description }
    }

    /// The next words of the payload; zeros behind its end.
    #[inline]
    pub fn add(&mut self, words: &[u64; STRIPE_WORDS]) {
        let pairs = words.as_chunks::<2>().0;
        for ((lane, key), [first, second]) in self.lanes.iter_mut().zip(LANE_KEYS).zip(pairs) {
            *lane = fold(*lane ^ first, key ^ second);
        }
    }

    #[inline]
    fn finish(self) -> u64 {
        let [a, b, c, d] = self.lanes;
        fold(fold(a ^ self.description, b) ^ LANE_KEYS[0], fold(c, d) ^ LANE_KEYS[1])
    }
}

/// Both halves of the product.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    low(product) ^ low(product >> 64)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
fn low(product: u128) -> u64 {
    product as u64
}

fn stripe_words(bytes: &[u8; STRIPE_BYTES]) -> [u64; STRIPE_WORDS] {
    let mut words = [0; STRIPE_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(payload: &[u8]) -> FrameHead {
        FrameHead::new(Kind::Result, &Digest([7; 32]), payload).expect("short")
    }

    /// What tearing leaves: words and lines that are lost, exchanged, or another record's.
    #[test]
    fn no_damage_of_a_record_goes_unnoticed() {
        let payload: Vec<u8> = (0..500_u32).map(|place| (place * place).to_le_bytes()[0]).collect();
        let head = head(&payload);
        let check = |damage: &dyn Fn(&mut Vec<u8>)| {
            let mut damaged = payload.clone();
            damage(&mut damaged);
            assert_eq!(head.covers(&damaged), damaged == payload);
        };
        for bit in 0..payload.len() * 8 {
            check(&|bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        }
        for first in 0..payload.len() / 8 {
            check(&|bytes| bytes[first * 8..].fill(0));
            check(&|bytes| bytes[first * 8..][..8].fill(0));
            for second in 0..first {
                let exchange = |bytes: &mut Vec<u8>| {
                    for byte in 0..8 {
                        bytes.swap(first * 8 + byte, second * 8 + byte);
                    }
                };
                check(&exchange);
            }
        }
    }

    #[test]
    fn the_checksum_covers_description_and_key() {
        let sound = head(b"payload");
        let of = |kind, key| FrameHead::new(kind, &Digest(key), b"payload").expect("short");
        let mut other = [7; 32];
        for byte in 0..32 {
            other[byte] ^= 1;
            assert_ne!(of(Kind::Result, other).checksum, sound.checksum);
            other[byte] ^= 1;
        }
        assert_ne!(of(Kind::Latest, other).checksum, sound.checksum);
        assert_ne!(head(b"payload\0").checksum, sound.checksum);
        assert_eq!(of(Kind::Result, other), sound);
    }

    /// Records of all lengths and of counted contents, whose checksums agree by chance only.
    #[test]
    fn no_two_checksums_of_many_are_equal_in_half_of_their_bits() {
        let mut halves = std::collections::HashMap::new();
        for number in 0..20_000_u32 {
            let mut payload = vec![0; 4 + number as usize % 200];
            payload[..4].copy_from_slice(&number.to_le_bytes());
            let sum = head(&payload).checksum;
            for half in [(0, sum >> 32), (1, sum & 0xffff_ffff)] {
                *halves.entry(half).or_insert(0) += 1;
            }
        }
        // Of 2 · 10^8 pairs each has one chance in 2^32.
        assert!(halves.values().filter(|count| **count > 1).count() < 4);
    }
}
