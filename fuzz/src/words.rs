//! Headers, heads of records, slots, claims and entries of the memo, from any words. With the
//! checksum set right, whatever else is there, decoding gives back what encoding takes.

use store_format::Kind;
use store_format::frame::{FRAME_HEAD_WORDS, FrameHead, PAYLOAD_BYTES_MAX};
use store_format::header::{HEADER_FIXED_WORDS, IndexHeader, MemoHeader};
use store_format::memo::{MEMO_ENTRY_WORDS, MemoEntry};
use store_format::slot::{ClaimWord, Slot};

pub fn run(bytes: &[u8]) {
    let words: Vec<u64> =
        bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    if let Some(head) = words.first_chunk::<FRAME_HEAD_WORDS>() {
        record(head, &bytes[FRAME_HEAD_WORDS * 8..]);
    }
    if let Some(words) = words.first_chunk::<HEADER_FIXED_WORDS>() {
        headers(*words);
    }
    if let Some(words) = words.first_chunk::<MEMO_ENTRY_WORDS>() {
        entry(*words);
    }
    for word in words {
        let slot = Slot(word);
        assert_eq!(slot.removed().offset(), slot.offset());
        assert_eq!(slot.removed().kind(), slot.kind());
        let process = ClaimWord(word).process();
        assert!(process.pid < 1 << 22 && process.start < 1 << 26);
    }
}

fn record(words: &[u64; FRAME_HEAD_WORDS], payload: &[u8]) {
    let Ok(head) = FrameHead::decode(words) else { return };
    assert_eq!(head.encode(), *words);
    assert!(head.payload_bytes <= PAYLOAD_BYTES_MAX);
    if let Some(payload) = payload.get(..head.payload_bytes) {
        let sound = FrameHead::new(head.kind, &head.key, payload).expect("within the limit");
        assert!(sound.covers(payload));
        assert_eq!(head.covers(payload), head == sound);
    }
}

fn headers(mut words: [u64; HEADER_FIXED_WORDS]) {
    let before = IndexHeader::decode(&words);
    let bytes: Vec<u8> = words[..5].iter().flat_map(|word| word.to_le_bytes()).collect();
    let sum = store_format::checksum(&bytes);
    assert!(before.is_err() || words[5] == sum);
    words[5] = sum;
    if let Ok(header) = IndexHeader::decode(&words) {
        assert_eq!(header.encode(), words);
        assert!(header.file_bytes_max() < 1 << 40);
        assert!(header.slots().is_power_of_two());
    }
    if MemoHeader::decode(&words).is_ok() {
        assert_eq!(MemoHeader::encode(), words);
    }
}

fn entry(mut words: [u64; MEMO_ENTRY_WORDS]) {
    let bytes: Vec<u8> = words[..7].iter().flat_map(|word| word.to_le_bytes()).collect();
    let sum = store_format::checksum(&bytes);
    assert_eq!(MemoEntry::decode(&words).is_some(), words[7] == sum);
    words[7] = sum;
    let entry = MemoEntry::decode(&words).expect("the checksum is right");
    assert_eq!(entry.encode(), words);
}

/// Every kind has its number, and no other number is one.
const _: () = assert!(Kind::ALL.len() < 127);
