//! SPEC.md says what the code does: the numbers of its tables are those of the constants.

use std::collections::BTreeMap;

use store_format::{
    build, dep_info, frame, header, manifest, memo, message, object, pack, result, slot, snapshot,
    toolchain,
};

const SPEC: &str = include_str!("../SPEC.md");

/// Rows of the form "| `NAME` | value |".
fn documented() -> BTreeMap<&'static str, u64> {
    let row = |line: &'static str| {
        let (name, value) = line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ")?;
        Some((name, value.parse().ok()?))
    };
    let rows: Vec<_> = SPEC.lines().filter_map(row).collect();
    let numbers: BTreeMap<_, _> = rows.iter().copied().collect();
    assert_eq!(numbers.len(), rows.len(), "a name is there twice");
    numbers
}

macro_rules! numbers {
    ($($module:ident :: { $($name:ident),* $(,)? }),* $(,)?) => {
        BTreeMap::from([$($((stringify!($name), $module::$name as u64)),*),*])
    };
}

mod event {
    pub(crate) use store_format::{
        EVENT_HEAD_BYTES, EVENT_LINES_MAX, EVENT_PAYLOAD_BYTES_MAX, EVENT_TEXT_BYTES_MAX,
        EVENT_VERSION,
    };
}

#[test]
#[expect(clippy::cast_lossless, reason = "the constants are of several types")]
fn the_numbers_of_the_specification_are_those_of_the_code() {
    let numbers = numbers! {
        header::{
            INDEX_VERSION, HEADER_WORDS, HEADER_FIXED_WORDS, CONTROL_WORD, CONTROL_WORDS,
            CLAIMS_WORDS, SLOTS_WORD, SLOTS_LOG2_MIN, SLOTS_LOG2_MAX, MEMO_VERSION,
        },
        slot::{ OFFSET_BITS, TAG_BITS },
        frame::{ FRAME_HEAD_WORDS, FRAME_MAGIC, PAYLOAD_BYTES_MAX, STRIPE_WORDS },
        manifest::{ MANIFEST_VERSION, INPUTS_MAX, NAME_BYTES_MAX, NAMES_BYTES_MAX, MANIFESTS_MAX },
        result::{ RESULT_VERSION, OUTPUTS_MAX, OUTPUT_NAME_BYTES_MAX },
        toolchain::{ TOOLCHAIN_VERSION, TOOLCHAIN_FILES_MAX, TOOLCHAIN_PATH_BYTES_MAX, TOOLCHAIN_PATHS_BYTES_MAX },
        dep_info::{ DEP_INFO_BYTES_MAX },
        pack::{ UNPACKED_BYTES_MAX },
        snapshot::{
            SNAPSHOT_VERSION, SNAPSHOT_PARTS_MAX, SNAPSHOT_TEXT_BYTES_MAX, SNAPSHOT_DIGEST_BYTES,
        },
        memo::{ MEMO_SETS, MEMO_WAYS, MEMO_ENTRY_WORDS, MEMO_SEQUENCE_WORD },
        message::{
            MESSAGE_VERSION, MESSAGE_HEAD_BYTES, REQUEST_BYTES_MAX, MESSAGE_BYTES_MAX,
            DIRECTORY_BYTES_MAX, COMMAND_LINE_BYTES_MAX, STATUS_TEXT_BYTES_MAX,
        },
        object::{
            OBJECT_VERSION, OBJECT_HEAD_BYTES, OBJECT_PAYLOAD_BYTES_MAX, BUILD_BYTES_MAX,
            WINDOW_LOG_MAX, PART_FRAME_BYTES,
        },
        build::{ BUILD_VERSION, BUILD_ACTIONS_MAX, BUILD_MEMORY_BYTES_MAX },
        event::{
            EVENT_VERSION, EVENT_HEAD_BYTES, EVENT_PAYLOAD_BYTES_MAX, EVENT_TEXT_BYTES_MAX,
            EVENT_LINES_MAX,
        },
    };
    assert_eq!(documented(), numbers);
}

#[test]
fn the_words_of_the_header_are_where_the_specification_says() {
    use store_format::header::control;
    let places = [
        (control::SUPERSEDED, "superseded"),
        (control::HEAP_NEXT, "heap: words reserved"),
        (control::SLOTS_USED, "table: slots not empty"),
        (control::HEAP_DEAD, "heap: words under records replaced"),
    ];
    for (word, meaning) in places {
        let row = format!("| {} | {meaning}", header::CONTROL_WORD + word);
        assert!(SPEC.contains(&row), "{row}");
    }
}

#[test]
fn the_kinds_of_the_specification_are_those_of_the_code() {
    for kind in slot::Kind::ALL {
        let row = format!("| {} {} |", kind as u8, format!("{kind:?}").to_lowercase());
        assert!(SPEC.contains(&row), "{row}");
    }
}

#[test]
fn the_kinds_of_objects_of_the_specification_are_those_of_the_code() {
    for kind in object::ObjectKind::ALL {
        let row = format!("| {} {} |", kind as u8, format!("{kind:?}").to_lowercase());
        assert!(SPEC.contains(&row), "{row}");
    }
}
