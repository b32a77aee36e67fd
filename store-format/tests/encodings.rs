//! Values survive their encoding; anything else is an error, never a panic.

use store_format::wire::{Reader, WireError, Writer};
use store_format::{
    ActionKey, Digest, Event, EventOutcome, Events, FormatError, Input, InputKind, Manifest,
    ManifestList, NodeKind, Output, OutputRole, ResultRecord, Root, RootedPath, Snapshot,
    SnapshotPart, ToolchainFile, ToolchainRecord, UnitKey,
};

fn input(kind: InputKind, root: Option<Root>, path: &str) -> Input {
    Input { kind, name: RootedPath { root, path: path.into() } }
}

fn manifest() -> Manifest {
    Manifest {
        inputs: vec![
            input(InputKind::File, Some(Root::Workspace), "src/lib.rs"),
            input(InputKind::File, Some(Root::Workspace), "src/lib/parse.rs"),
            input(InputKind::Variable, None, "CARGO_PKG_VERSION"),
            input(InputKind::AllVariables, None, ""),
            input(InputKind::DependencyMetadata, Some(Root::Build), "libserde-0123456789abcdef"),
        ],
    }
}

fn output(name: &str, inline: Option<&str>) -> Output {
    Output {
        name: name.into(),
        node: NodeKind::File,
        role: OutputRole::Shared,
        mode: 0o100_644,
        blob: Digest([7; 32]),
        size_bytes: 123_456,
        blob_mtime_ns: -1,
        inline: inline.map(Into::into),
    }
}

fn result() -> ResultRecord {
    ResultRecord {
        action: ActionKey(Digest([1; 32])),
        unit: UnitKey(Digest([2; 32])),
        crate_name: b"serde".to_vec(),
        outputs: vec![
            output("libserde-0123456789abcdef.rlib", None),
            output("a/b.d", Some("x: y")),
        ],
        stdout: vec![],
        stderr: b"warning".to_vec(),
        exit_status: 101,
        cost_us: 1_234_567,
        boot: [3; 16],
        fetched: false,
        created_s: 1_800_000_000,
    }
}

fn event() -> Event {
    Event {
        started_ms: 1_800_000_000_000,
        outcome: EventOutcome::Miss,
        crate_name: "serde".into(),
        unit: Some(UnitKey(Digest([2; 32]))),
        explanation: vec!["src/lib.rs: old -> new".into()],
        ..Event::default()
    }
}

#[test]
fn a_manifest_survives_its_encoding() {
    let mut sorted = manifest();
    sorted.inputs.sort();
    assert_eq!(Manifest::decode(&manifest().encode()), Ok(sorted));
}

#[test]
fn equal_sets_of_inputs_have_equal_bytes() {
    let mut shuffled = manifest();
    shuffled.inputs.reverse();
    shuffled.inputs.push(shuffled.inputs[2].clone());
    assert_eq!(shuffled.encode(), manifest().encode());
}

#[test]
fn a_manifest_out_of_order_is_an_error() {
    let mut writer = Writer::new();
    writer.u8(1);
    writer.count(2);
    for name in [b"b", b"a"] {
        writer.u8(InputKind::File as u8);
        writer.count(0);
        writer.bytes(name);
    }
    assert_eq!(Manifest::decode(&writer.finish()), Err(FormatError::Order));
}

/// Each entry repeats the name before it and adds a byte: a few bytes that claim a large total.
#[test]
fn front_coding_cannot_be_made_to_allocate_without_bound() {
    let mut writer = Writer::new();
    writer.u8(1);
    writer.count(40_000);
    for shared in 0..40_000 {
        writer.u8(InputKind::File as u8);
        writer.count(shared);
        writer.bytes(b"x");
    }
    assert_eq!(Manifest::decode(&writer.finish()), Err(WireError::Limit.into()));
}

#[test]
fn a_manifest_list_keeps_the_eight_most_recently_used() {
    let named =
        |name: u32| Manifest { inputs: vec![input(InputKind::Variable, None, &name.to_string())] };
    let mut list = ManifestList::default();
    for name in 0..10 {
        list.promote(named(name));
    }
    list.promote(named(5));
    let expected: Vec<Manifest> = [5, 9, 8, 7, 6, 4, 3, 2].map(named).to_vec();
    assert_eq!(list.manifests(), expected);
    assert_eq!(ManifestList::decode(&list.encode()), Ok(list));
}

#[test]
fn a_result_survives_its_encoding() {
    assert_eq!(ResultRecord::decode(&result().encode()), Ok(result()));
}

#[test]
fn a_result_whose_output_leaves_its_directory_is_an_error() {
    for name in ["", "/etc/passwd", "..", "a/../b", "a//b", ".", "a/", "a\0b"] {
        let mut record = result();
        record.outputs[0].name = name.into();
        assert_eq!(ResultRecord::decode(&record.encode()), Err(FormatError::Name), "{name:?}");
    }
}

#[test]
fn a_toolchain_survives_its_encoding() {
    let record = ToolchainRecord {
        files: vec![ToolchainFile {
            path: b"/usr/bin/rustc".to_vec(),
            device: u64::MAX,
            inode: 5,
            size_bytes: 6,
            mtime_ns: i64::MIN,
            ctime_ns: i64::MAX,
        }],
        digest: Digest([9; 32]),
        sysroot: b"/usr".to_vec(),
    };
    assert_eq!(ToolchainRecord::decode(&record.encode()), Ok(record));
}

#[test]
fn a_snapshot_survives_its_encoding() {
    let part =
        |label: &[u8], value: &[u8]| SnapshotPart { label: label.to_vec(), value: value.to_vec() };
    let snapshot = Snapshot { parts: vec![part(b"argument", b"--test"), part(b"", b"\0\xff")] };
    assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
}

#[test]
fn an_event_survives_its_frame() {
    let frame = event().encode_frame();
    let mut reader = Reader::new(&frame);
    assert_eq!(Event::decode_frame(&mut reader), Ok(event()));
    assert_eq!(reader.remaining(), 0);
}

#[test]
fn an_event_with_too_much_text_is_cut_and_not_lost() {
    let long = "é".repeat(5000);
    let large = Event {
        reason: format!("x{long}"),
        workspace: long.clone(),
        explanation: vec![long; 100],
        ..event()
    };
    let frame = large.encode_frame();
    let read = Events::new(&frame).next().expect("the frame is whole");
    assert!(large.reason.starts_with(read.reason));
    assert!(read.reason.len() > 4000);
    assert_eq!(read.explanation.len(), 12);
}

#[test]
fn a_torn_event_costs_no_more_than_itself() {
    let frame = event().encode_frame();
    let mut log = frame.clone();
    log.extend_from_slice(&frame[..frame.len() / 2]);
    log.extend_from_slice(&frame);
    log.extend_from_slice(b"noise");
    log.extend_from_slice(&frame);
    let mut events = Events::new(&log);
    assert_eq!(events.by_ref().count(), 3);
    assert_eq!(events.position(), log.len());
    assert_eq!(events.skipped_bytes(), frame.len() / 2 + 5);
}

#[test]
fn an_event_that_is_still_being_written_is_waited_for() {
    let frame = event().encode_frame();
    let mut log = frame.clone();
    for end in 1..frame.len() {
        log.truncate(frame.len());
        log.extend_from_slice(&frame[..end]);
        let mut events = Events::new(&log);
        assert_eq!(events.by_ref().count(), 1);
        assert_eq!((events.position(), events.skipped_bytes()), (frame.len(), 0), "{end}");
    }
}

#[test]
fn every_truncation_of_a_value_is_an_error() {
    let values = [manifest().encode(), result().encode(), event().encode_frame()];
    for (which, bytes) in values.iter().enumerate() {
        for end in 0..bytes.len() {
            let cut = &bytes[..end];
            let failed = match which {
                0 => Manifest::decode(cut).is_err(),
                1 => ResultRecord::decode(cut).is_err(),
                _ => Event::decode_frame(&mut Reader::new(cut)).is_err(),
            };
            assert!(failed, "{which} cut at {end}");
        }
    }
}

/// A library with 24 modules, 12 dependencies and four variables.
#[test]
fn a_result_with_forty_inputs_takes_less_than_a_kilobyte() {
    let mut manifest = Manifest::default();
    let modules = ["lexer", "parser/expression", "parser/statement", "emit", "error", "util/span"];
    for directory in ["src", "src/backend", "src/frontend", "src/driver"] {
        for module in modules {
            let path = format!("{directory}/{module}.rs");
            manifest.inputs.push(input(InputKind::File, Some(Root::Workspace), &path));
        }
    }
    let crates = [
        "serde",
        "serde_json",
        "regex",
        "regex_automata",
        "memchr",
        "log",
        "once_cell",
        "bitflags",
        "indexmap",
        "hashbrown",
        "unicode_width",
        "thiserror",
    ];
    for (number, name) in crates.iter().enumerate() {
        let path = format!(
            "debug/deps/lib{name}-{:016x}",
            0x0123_4567_89ab_cdef_u64 * (number as u64 + 1)
        );
        manifest.inputs.push(input(InputKind::DependencyMetadata, Some(Root::Build), &path));
    }
    for name in ["CARGO_PKG_VERSION", "CARGO_PKG_NAME", "CARGO_PKG_AUTHORS", "PROFILE"] {
        manifest.inputs.push(input(InputKind::Variable, None, name));
    }
    assert_eq!(manifest.inputs.len(), 40);
    let mut record = result();
    record.stderr = vec![];
    record.outputs.truncate(1);
    record.outputs.push(output("libserde-0123456789abcdef.rmeta", None));
    record.outputs.push(output("serde-0123456789abcdef.d", None));
    let bytes = manifest.encode().len() + record.encode().len();
    assert!(bytes < 1024, "{bytes} bytes");
}
