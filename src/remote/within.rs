//! Where the content of one file lies within another: a library contains its metadata, which the
//! compiler writes to a file of its own as well.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use memchr::memmem::Finder;

/// A place is looked for by its first bytes. Shorter files are not worth it.
pub(super) const START_BYTES: usize = 512;
/// How many places that begin alike are compared to the end.
const PLACES_MAX: usize = 8;
/// Bytes that are looked through at a time.
const WINDOW_BYTES: usize = 256 << 10;

/// From which byte on `whole` goes on like all of `part`.
pub(super) fn place_within(whole: &File, part: &File, part_bytes: u64) -> io::Result<Option<u64>> {
    if part_bytes < START_BYTES as u64 {
        return Ok(None);
    }
    let mut start = [0; START_BYTES];
    part.read_exact_at(&mut start, 0)?;
    let finder = Finder::new(&start);
    let mut places_left = PLACES_MAX;
    let mut window = vec![0; WINDOW_BYTES];
    let mut from = 0;
    loop {
        let filled = fill(whole, &mut window, from)?;
        for place in finder.find_iter(&window[..filled]) {
            let place = from + place as u64;
            if goes_on(whole, place, part, part_bytes)? {
                return Ok(Some(place));
            }
            places_left -= 1;
            if places_left == 0 {
                return Ok(None);
            }
        }
        if filled < window.len() {
            return Ok(None);
        }
        from += (filled - (START_BYTES - 1)) as u64;
    }
}

fn goes_on(whole: &File, place: u64, part: &File, part_bytes: u64) -> io::Result<bool> {
    let (mut one, mut other) = (vec![0; WINDOW_BYTES], vec![0; WINDOW_BYTES]);
    let mut compared = 0;
    while compared < part_bytes {
        let filled = fill(part, &mut one, compared)?;
        if filled == 0 || fill(whole, &mut other[..filled], place + compared)? != filled {
            return Ok(false);
        }
        if one[..filled] != other[..filled] {
            return Ok(false);
        }
        compared += filled as u64;
    }
    Ok(true)
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], from + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Bytes that do not repeat.
    fn noise(seed: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn place(whole: &[u8], part: &[u8]) -> Option<u64> {
        let file = |content: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content).unwrap();
            file
        };
        place_within(&file(whole), &file(part), part.len() as u64).unwrap()
    }

    #[test]
    fn a_part_is_found_wherever_it_begins() {
        let part = noise(1, 700_000);
        for before in [0, 1, WINDOW_BYTES - 100, WINDOW_BYTES, 3 * WINDOW_BYTES + 7] {
            let whole = [noise(2, before), part.clone(), noise(3, 5000)].concat();
            assert_eq!(place(&whole, &part), Some(before as u64));
        }
        assert_eq!(place(&part, &part), Some(0));
    }

    #[test]
    fn what_only_begins_or_ends_alike_is_not_found() {
        let part = noise(1, 10_000);
        let mut other = part.clone();
        other[9_999] ^= 1;
        assert_eq!(place(&other, &part), None);
        assert_eq!(place(&part[..9_999], &part), None);
        assert_eq!(place(&[other, part.clone()].concat(), &part), Some(10_000));
        assert_eq!(place(&part, &part[..START_BYTES - 1]), None, "too short to be looked for");
        assert_eq!(place(&vec![0; 1 << 20], &[vec![0; 600], vec![1]].concat()), None);
    }
}
