//! Text made short: what it has in common with itself and with a dictionary is said once.
//!
//! A sequence of operations, each begun by a byte: literal bytes; hexadecimal digits, two a byte; or
//! a copy of bytes that came before, of which the last were the dictionary's. No operation makes more
//! than [`COPY_BYTES_MAX`] bytes, so that what is unpacked is in proportion to what is packed.

use crate::dictionary::DICTIONARY;
use crate::digest::{digit, nibble};
use crate::wire::{Reader, WireError, Writer};

/// Most bytes that are unpacked from one payload.
pub const UNPACKED_BYTES_MAX: usize = 64 << 20;
/// Most bytes that one operation can make. The shortest ones take two bytes.
const COPY_BYTES_MAX: usize = LONG_COPY + 255;
/// Most literal bytes of one operation.
const LITERALS_MAX: usize = 32;
/// From here on, hexadecimal digits.
const DIGITS: u8 = 0x20;
/// Most pairs of them in one operation.
const PAIRS_MAX: usize = 32;
/// Fewer are literals.
const PAIRS_MIN: usize = 3;
/// From here on, copies: three bits of length and five of distance.
const COPY: u8 = 0x40;
const COPY_MIN: usize = 3;
/// A copy of this length or more says by how much in a byte.
const LONG_COPY: usize = COPY_MIN + 5;
const HIGH_BITS: u32 = 5;
/// In place of a distance: it is further, and follows as a varint.
const FAR: usize = (1 << (HIGH_BITS + 8)) - 1;

const _: () = assert!(COPY as usize + (5 << HIGH_BITS | FAR >> 8) == 0xff);
const _: () = assert!(DIGITS as usize == LITERALS_MAX);
const _: () = assert!(COPY as usize == LITERALS_MAX + PAIRS_MAX);

/// What was packed at the end of a payload.
pub(crate) fn unpack(mut reader: Reader<'_>) -> Result<Vec<u8>, WireError> {
    let mut plain = Vec::with_capacity(reader.remaining() * 4);
    while reader.remaining() > 0 {
        let operation = reader.u8()?;
        match operation {
            ..DIGITS => plain.extend_from_slice(reader.raw(usize::from(operation) + 1)?),
            DIGITS..COPY => {
                for byte in reader.raw(usize::from(operation - DIGITS) + 1)? {
                    plain.extend([digit(byte >> 4), digit(byte & 0x0f)]);
                }
            }
            COPY.. => {
                let low = usize::from(reader.u8()?);
                let high = usize::from(operation - COPY);
                let mut distance = (high << 8 | low) & FAR;
                if distance == FAR {
                    let further = usize::try_from(reader.varint()?);
                    distance =
                        further.ok().and_then(|by| by.checked_add(FAR)).ok_or(WireError::Limit)?;
                }
                let mut length = COPY_MIN + (high >> HIGH_BITS);
                if length == LONG_COPY {
                    length += usize::from(reader.u8()?);
                }
                copy(&mut plain, distance + 1, length)?;
            }
        }
        if plain.len() > UNPACKED_BYTES_MAX {
            return Err(WireError::Limit);
        }
    }
    Ok(plain)
}

/// Appends bytes from that far before the end, where the dictionary precedes everything.
fn copy(plain: &mut Vec<u8>, distance: usize, mut length: usize) -> Result<(), WireError> {
    if distance > plain.len() {
        let start = (DICTIONARY.len() + plain.len()).checked_sub(distance);
        let known = &DICTIONARY.as_bytes()[start.ok_or(WireError::Limit)?..];
        let known = &known[..length.min(known.len())];
        plain.extend_from_slice(known);
        length -= known.len();
    }
    if length > 0 {
        // What is appended repeats what was there, so that from here on there is ever more of it.
        let start = plain.len() - distance;
        while length > 0 {
            let end = plain.len().min(start + length);
            plain.extend_from_within(start..end);
            length -= end - start;
        }
    }
    Ok(())
}

/// Packs at the end of a payload.
pub(crate) fn pack(writer: &mut Writer, plain: &[u8]) {
    let text = [DICTIONARY.as_bytes(), plain].concat();
    let mut search = Search::new(&text);
    let mut at = DICTIONARY.len();
    let mut literals = at;
    while at < text.len() {
        let pairs = pairs_at(&text[at..]);
        let found = search.longest(at).filter(|found| found.length >= pairs * 2);
        let length = if let Some(found) = found {
            write_literals(writer, &text[literals..at]);
            write_copy(writer, found);
            found.length
        } else if pairs > 0 {
            write_literals(writer, &text[literals..at]);
            write_digits(writer, &text[at..at + pairs * 2]);
            pairs * 2
        } else {
            at += 1;
            continue;
        };
        at += length;
        literals = at;
    }
    write_literals(writer, &text[literals..]);
}

#[derive(Clone, Copy)]
struct Found {
    distance: usize,
    length: usize,
}

impl Found {
    /// Bytes that a copy saves.
    fn saved(self) -> usize {
        let far = if self.distance > FAR { 3 } else { 0 };
        self.length.saturating_sub(2 + usize::from(self.length >= LONG_COPY) + far)
    }
}

/// Finds what a text repeats: chains of the places that begin with the same three bytes.
struct Search<'a> {
    text: &'a [u8],
    /// The places before this one are in their chains.
    indexed: usize,
    /// The last place of each chain, and for each place the one before; each one more than it is.
    last: Vec<u32>,
    before: Vec<u32>,
}

/// Places of a chain that are looked at.
const PLACES_MAX: usize = 64;
const CHAINS_LOG2: u32 = 12;

impl<'a> Search<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, indexed: 0, last: vec![0; 1 << CHAINS_LOG2], before: vec![0; text.len()] }
    }

    fn chain(&self, place: usize) -> Option<usize> {
        let &[a, b, c] = self.text.get(place..)?.first_chunk()?;
        let mixed = u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9E37_79B1);
        Some((mixed >> (u32::BITS - CHAINS_LOG2)) as usize)
    }

    /// The copy that saves most at `place`.
    fn longest(&mut self, place: usize) -> Option<Found> {
        for indexed in self.indexed..place {
            if let (Some(chain), Ok(number)) = (self.chain(indexed), u32::try_from(indexed + 1)) {
                self.before[indexed] = std::mem::replace(&mut self.last[chain], number);
            }
        }
        self.indexed = place;
        let rest = &self.text[place..];
        let rest = &rest[..rest.len().min(COPY_BYTES_MAX)];
        let mut next = self.last[self.chain(place)?];
        let mut best = Found { distance: 0, length: 0 };
        for _ in 0..PLACES_MAX {
            let Some(earlier) = (next as usize).checked_sub(1) else { break };
            let same = self.text[earlier..].iter().zip(rest).take_while(|(a, b)| a == b).count();
            let found = Found { distance: place - earlier, length: same };
            if found.saved() > best.saved() {
                best = found;
            }
            next = self.before[earlier];
        }
        (best.saved() > 0).then_some(best)
    }
}

/// Pairs of lower-case hexadecimal digits at the beginning of a text, if it is worth it.
fn pairs_at(text: &[u8]) -> usize {
    let is_digit = |byte: &&u8| nibble(**byte).is_some();
    let pairs = text.iter().take(PAIRS_MAX * 2).take_while(is_digit).count() / 2;
    if pairs < PAIRS_MIN { 0 } else { pairs }
}

fn write_literals(writer: &mut Writer, literals: &[u8]) {
    for some in literals.chunks(LITERALS_MAX) {
        writer.u8(byte(some.len() - 1));
        writer.raw(some);
    }
}

fn write_digits(writer: &mut Writer, digits: &[u8]) {
    writer.u8(DIGITS + byte(digits.len() / 2 - 1));
    for [high, low] in digits.as_chunks().0 {
        writer.u8(nibble(*high).unwrap_or(0) << 4 | nibble(*low).unwrap_or(0));
    }
}

fn write_copy(writer: &mut Writer, found: Found) {
    let length = found.length.min(LONG_COPY);
    let distance = found.distance - 1;
    let near = distance.min(FAR);
    writer.u8(COPY + byte((length - COPY_MIN) << HIGH_BITS | near >> 8));
    writer.u8(byte(near & 0xff));
    if near == FAR {
        writer.count(distance - FAR);
    }
    if length == LONG_COPY {
        writer.u8(byte(found.length - LONG_COPY));
    }
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).expect("the limits keep it within a byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new();
        pack(&mut writer, plain);
        writer.finish()
    }

    fn check(plain: &[u8], packed_bytes_max: usize) {
        let packed = packed(plain);
        assert_eq!(unpack(Reader::new(&packed)).as_deref(), Ok(plain));
        assert!(packed.len() <= packed_bytes_max, "{} bytes", packed.len());
    }

    #[test]
    fn what_is_in_the_dictionary_takes_three_bytes() {
        check(b"diagnostic-rendered-ansi,artifacts,future-incompat", 3);
    }

    #[test]
    fn digits_take_half_of_their_place() {
        check(b"-0123456789abcdef.rmeta", 15);
    }

    #[test]
    fn a_run_of_one_byte_takes_three_bytes_for_each_long_copy() {
        check(&[b'~'; 2 + COPY_BYTES_MAX * 4], 2 + 2 + 3 * 4);
    }

    #[test]
    fn nothing_is_made_longer_by_more_than_a_byte_in_32() {
        let noise: Vec<u8> = (0..4096_u32).map(|n| ((n * n * 97) >> 7).to_le_bytes()[0]).collect();
        check(&noise, noise.len() + noise.len() / LITERALS_MAX);
        check(b"", 0);
    }

    #[test]
    fn a_text_is_found_again_beyond_the_reach_of_a_near_copy() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17) ^ 0x55;
            state.to_le_bytes()[3]
        })
        .take(20_000)
        .collect();
        check(&[&noise[..], &noise].concat(), noise.len() + noise.len() / 32 + 1000);
    }

    #[test]
    fn what_a_payload_is_unpacked_to_has_a_limit() {
        let mut packed = vec![0, b'~'];
        for _ in 0..=UNPACKED_BYTES_MAX / COPY_BYTES_MAX {
            packed.extend([0xe0, 0, 0xff]);
        }
        assert_eq!(unpack(Reader::new(&packed)), Err(WireError::Limit));
    }

    #[test]
    fn a_copy_from_before_the_dictionary_is_an_error() {
        let first = DICTIONARY.len() - 1;
        let [low, high] = u16::try_from(first).expect("13 bits").to_le_bytes();
        let whole = [COPY + high, low];
        let start = &DICTIONARY.as_bytes()[..COPY_MIN];
        assert_eq!(unpack(Reader::new(&whole)).as_deref(), Ok(start));
        let [low, high] = u16::try_from(first + 1).expect("13 bits").to_le_bytes();
        assert_eq!(unpack(Reader::new(&[COPY + high, low])), Err(WireError::Limit));
        let far = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0];
        assert_eq!(unpack(Reader::new(&far)), Err(WireError::Limit));
    }
}
