//! A short run of the fuzz targets, without a fuzzer: the committed corpus, and what a seeded
//! generator makes of it.

use std::path::Path;

#[path = "../fuzz/src/text.rs"]
pub mod text;

const CHANGES_PER_FILE: u64 = 300;

/// A small generator (splitmix64), so that every run sees the same bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

fn changed(original: &[u8], random: &mut Random) -> Vec<u8> {
    const PIECES: &[&[u8]] =
        &[b"\n", b"\0", b"/", b"=", b"\\ ", b"\\", b" ", b":", b"-", b"@", b"\0A\0"];
    let mut bytes = original.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let until = (at + random.below(9)).min(bytes.len());
        let piece = match random.below(3) {
            0 => Vec::new(),
            1 => PIECES[random.below(PIECES.len())].to_vec(),
            _ => {
                let from = random.below(original.len());
                original[from..(from + random.below(20)).min(original.len())].to_vec()
            }
        };
        bytes.splice(at..until, piece);
    }
    bytes
}

fn smoke(corpus: &str, target: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let mut paths = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>();
    paths.sort();
    assert!(!paths.is_empty(), "{}", directory.display());
    let mut random = Random(0x006b_6163_6865);
    for path in paths {
        let original = std::fs::read(&path).unwrap();
        target(&original);
        for _ in 0..CHANGES_PER_FILE {
            target(&changed(&original, &mut random));
        }
    }
}

#[test]
fn calls_of_any_words_are_understood_or_passed_on() {
    smoke("argv", text::argv);
}

#[test]
fn dep_info_of_any_bytes_comes_back_from_its_template() {
    smoke("dep_info", text::dep_info);
}

#[test]
fn reports_of_linkers_are_whole_or_unusable() {
    smoke("link_report", text::link_report);
}

#[test]
fn any_text_comes_back_from_its_template() {
    smoke("template", text::template);
}
