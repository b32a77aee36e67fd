//! Any bytes are a value or an error; any value survives its encoding.

use proptest::prelude::*;
use store_format::dep_info::{self, DEP_INFO_BYTES_MAX};
use store_format::frame::{FRAME_HEAD_WORDS, FrameHead};
use store_format::header::{HEADER_FIXED_WORDS, IndexHeader, MemoHeader};
use store_format::memo::MemoEntry;
use store_format::message::{Answer, MESSAGE_HEAD_BYTES, Request, payload_bytes};
use store_format::object::{OBJECT_HEAD_BYTES, ObjectHead};
use store_format::snapshot::Snapshot;
use store_format::wire::{Reader, Writer};
use store_format::{
    ActionKey, BuildList, Digest, Event, Events, Input, InputKind, Kind, Manifest, ManifestList,
    ResultRecord, Root, RootedPath, ToolchainRecord, UnitKey, checksum,
};

fn names() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        "(src|target/debug/deps)/lib[a-c]{1,3}(-[0-9a-f]{16})?".prop_map(String::into_bytes),
    ]
}

fn inputs() -> impl Strategy<Value = Input> {
    let kinds = prop::sample::select(&InputKind::ALL[..]);
    let roots = prop::option::of(prop::sample::select(&Root::ALL[..]));
    (kinds, roots, names())
        .prop_map(|(kind, root, path)| Input { kind, name: RootedPath { root, path } })
}

const ACTION: ActionKey = ActionKey(Digest([1; 32]));
/// What two empty streams are packed to.
const PACKED_EMPTY_BYTES: usize = 3;

fn result(stderr: &[u8]) -> ResultRecord {
    ResultRecord {
        action: ACTION,
        unit: UnitKey(Digest([2; 32])),
        crate_name: b"a".to_vec(),
        outputs: Vec::new(),
        stdout: Vec::new(),
        stderr: stderr.to_vec(),
        exit_status: 0,
        cost_us: 1,
        boot: [3; 16],
        fetched: false,
        created_s: 4,
    }
}

/// Pieces that are packed in each of the ways that there are, and next to each other.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..70),
        "[0-9a-f]{0,70}".prop_map(String::into_bytes),
        "(cargo:rustc-cfg=|artifact|emit|CARGO_CFG_UNIX)".prop_map(String::into_bytes),
        (any::<u8>(), 0..10_000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

/// Lines of dep-info, in any order.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    "(# env-dep:A=b|[ab]{0,2}:|[ab/]{1,3}: (src/[a-c]\\.rs|a\\\\ b| )?|)\n{0,2}"
        .prop_map(String::into_bytes)
}

fn edited(mut bytes: Vec<u8>, edits: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (place, value) in edits {
        let place = place.index(bytes.len());
        bytes[place] = *value;
    }
    bytes
}

fn golden(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    std::fs::read(path).expect("a golden file")
}

/// Decodes as everything there is. What decodes survives another round.
fn decode_all(bytes: &[u8]) {
    if let Ok(value) = ManifestList::decode(bytes) {
        assert_eq!(ManifestList::decode(&value.encode()), Ok(value));
    }
    if let Ok(value) = ResultRecord::decode(ACTION, bytes) {
        assert_eq!(ResultRecord::decode(ACTION, &value.encode()), Ok(value));
    }
    if let Ok(value) = ToolchainRecord::decode(bytes) {
        assert_eq!(ToolchainRecord::decode(&value.encode()), Ok(value));
    }
    if let Ok(value) = Snapshot::decode(bytes) {
        assert_eq!(Snapshot::decode(&value.encode()), Ok(value));
    }
    if let Ok(value) = Request::decode(bytes) {
        assert_eq!(value.encode()[MESSAGE_HEAD_BYTES..], *bytes);
    }
    if let Ok(value) = Answer::decode(bytes) {
        assert_eq!(Answer::decode(&value.encode()[MESSAGE_HEAD_BYTES..]), Ok(value));
    }
    if let Ok(value) = BuildList::decode(bytes) {
        assert_eq!(BuildList::decode(&value.encode()), Ok(value));
    }
    if let Some((head, _)) = bytes.split_first_chunk::<OBJECT_HEAD_BYTES>()
        && let Ok(value) = ObjectHead::decode(head)
    {
        assert_eq!(value.encode(), head);
    }
    let mut events = Events::new(bytes);
    let lengths: usize = events.by_ref().map(|event| event.encode_frame().len()).sum();
    assert_eq!(lengths + events.skipped_bytes(), events.position());
}

/// An event's frame with the checksum set right.
fn sealed(mut payload: Vec<u8>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.raw(&store_format::EVENT_MAGIC);
    writer.u32(u32::try_from(payload.len()).expect("short"));
    writer.u64(checksum(&payload));
    writer.raw(&std::mem::take(&mut payload));
    writer.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_manifest_of_any_inputs_survives(inputs in prop::collection::vec(inputs(), 0..60)) {
        let mut sorted = inputs.clone();
        sorted.sort();
        sorted.dedup();
        let mut list = ManifestList::default();
        list.promote(Manifest { inputs });
        let read = ManifestList::decode(&list.encode());
        let manifests = read.map(ManifestList::into_manifests);
        prop_assert_eq!(manifests, Ok(vec![Manifest { inputs: sorted }]));
    }

    #[test]
    fn texts_of_any_kind_survive(texts in prop::collection::vec(texts(), 0..40)) {
        let result = result(&texts.concat());
        prop_assert_eq!(ResultRecord::decode(ACTION, &result.encode()), Ok(result));
    }

    #[test]
    fn any_operations_of_packed_texts_are_a_value_or_an_error(
        operations in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = result(b"").encode();
        bytes.truncate(bytes.len() - PACKED_EMPTY_BYTES);
        bytes.extend(operations);
        decode_all(&bytes);
    }

    #[test]
    fn dep_info_comes_back_or_stays_as_it_is(
        inputs in prop::collection::vec(inputs(), 0..10),
        lines in prop::collection::vec(lines(), 0..8),
    ) {
        let manifest = Manifest { inputs };
        let text = lines.concat();
        if let Some(short) = dep_info::shorten(&text, &manifest) {
            prop_assert_eq!(dep_info::lengthen(&short, &manifest), Ok(text));
        }
    }

    #[test]
    fn any_short_form_of_dep_info_is_a_text_or_an_error(
        inputs in prop::collection::vec(inputs(), 0..10),
        short in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        if let Ok(text) = dep_info::lengthen(&short, &Manifest { inputs }) {
            prop_assert!(text.len() <= DEP_INFO_BYTES_MAX);
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode_all(&bytes);
        decode_all(&[&[1], &bytes[..]].concat());
    }

    #[test]
    fn edited_values_are_values_or_errors(
        name in prop::sample::select(&["manifests", "result", "toolchain", "snapshot", "event", "build", "object"][..]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        decode_all(&edited(golden(name), &edits));
        for messages in ["requests", "answers"] {
            let mut bytes = &edited(golden(messages), &edits)[..];
            while let Some((head, rest)) = bytes.split_first_chunk::<MESSAGE_HEAD_BYTES>()
                && let Ok(length) = payload_bytes(head)
                && let Some((payload, after)) = rest.split_at_checked(length)
            {
                decode_all(payload);
                bytes = after;
            }
        }
        let payload = golden("event").split_off(16);
        let frame = sealed(edited(payload, &edits));
        if let Ok(event) = Event::decode_frame(&mut Reader::new(&frame)) {
            prop_assert_eq!(event.encode_frame(), frame);
        }
    }

    #[test]
    fn any_words_are_a_head_or_an_error(words in any::<[u64; FRAME_HEAD_WORDS]>(), kind in any::<u8>()) {
        let mut words = words;
        if let Ok(head) = FrameHead::decode(&words) {
            prop_assert_eq!(head.encode(), words);
        }
        words[0] = 0xCA_C4_E5 << 40 | u64::from(kind) << 32 | words[0] & 0xff_ffff;
        match FrameHead::decode(&words) {
            Ok(head) => prop_assert_eq!(head.encode(), words),
            Err(_) => prop_assert!(Kind::from_number(kind).is_none()),
        }
        let entry = [words[0], words[1], words[2], words[3], words[4], words[5], 0, 0];
        prop_assert_eq!(MemoEntry::decode(&entry), None);
        let fixed: [u64; HEADER_FIXED_WORDS] = words;
        prop_assert!(IndexHeader::decode(&fixed).is_err() && MemoHeader::decode(&fixed).is_err());
    }

    #[test]
    fn numbers_survive(unsigned in any::<u64>(), signed in any::<i64>(), shift in 0..64_u32) {
        let mut writer = Writer::new();
        writer.varint(unsigned >> shift);
        writer.signed(signed >> shift);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.varint(), Ok(unsigned >> shift));
        prop_assert_eq!(reader.signed(), Ok(signed >> shift));
        prop_assert_eq!(reader.end(), Ok(()));
    }
}
