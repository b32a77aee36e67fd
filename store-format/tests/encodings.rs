//! Values survive their encoding; anything else is an error, never a panic.

use store_format::manifest::MANIFEST_VERSION;
use store_format::wire::{Reader, WireError, Writer};
use store_format::{
    ActionKey, Digest, Event, EventOutcome, Events, FormatError, Inline, Input, InputKind,
    Manifest, ManifestList, NodeKind, Output, OutputRole, ResultRecord, Root, RootedPath, Snapshot,
    SnapshotPart, ToolchainFile, ToolchainRecord, UnitKey, dep_info,
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

fn output(name: &str) -> Output {
    Output {
        name: name.into(),
        node: NodeKind::File,
        role: OutputRole::Shared,
        mode: 0o100_644,
        blob: Digest([7; 32]),
        size_bytes: 123_456,
        blob_mtime_ns: -1,
        inline: None,
    }
}

fn text(name: &str, content: &str) -> Output {
    let inline = Some(Inline::Text(content.into()));
    Output { blob: Digest([0; 32]), blob_mtime_ns: 0, inline, ..output(name) }
}

/// The list of this manifest alone.
fn list(manifest: Manifest) -> ManifestList {
    let mut list = ManifestList::default();
    list.promote(manifest);
    list
}

/// A list of this plain content: literals alone are a packed form as well.
fn list_of(plain: &[u8]) -> Result<ManifestList, FormatError> {
    let mut writer = Writer::new();
    writer.u8(MANIFEST_VERSION);
    for some in plain.chunks(32) {
        writer.u8(u8::try_from(some.len() - 1).expect("short"));
        writer.raw(some);
    }
    ManifestList::decode(&writer.finish())
}

fn read_result(bytes: &[u8]) -> Result<ResultRecord, FormatError> {
    ResultRecord::decode(ActionKey(Digest([1; 32])), bytes)
}

fn result() -> ResultRecord {
    ResultRecord {
        action: ActionKey(Digest([1; 32])),
        unit: UnitKey(Digest([2; 32])),
        crate_name: b"serde".to_vec(),
        outputs: vec![output("libserde-0123456789abcdef.rlib"), text("a/b.d", "x: y")],
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
    assert_eq!(ManifestList::decode(&list(manifest()).encode()), Ok(list(sorted)));
}

#[test]
fn equal_sets_of_inputs_have_equal_bytes() {
    let mut shuffled = manifest();
    shuffled.inputs.reverse();
    shuffled.inputs.push(shuffled.inputs[2].clone());
    assert_eq!(shuffled.checksum(), manifest().checksum());
    assert_eq!(list(shuffled).encode(), list(manifest()).encode());
}

#[test]
fn a_manifest_out_of_order_is_an_error() {
    let mut writer = Writer::new();
    writer.count(1);
    writer.count(2);
    for name in [b"b", b"a"] {
        writer.u8(InputKind::File as u8);
        writer.count(0);
        writer.bytes(name);
    }
    assert_eq!(list_of(&writer.finish()), Err(FormatError::Order));
}

/// Each entry repeats the name before it and adds a byte: a few bytes that claim a large total.
#[test]
fn front_coding_cannot_be_made_to_allocate_without_bound() {
    let mut writer = Writer::new();
    writer.count(1);
    writer.count(40_000);
    for shared in 0..40_000 {
        writer.u8(InputKind::File as u8);
        writer.count(shared);
        writer.bytes(b"x");
    }
    assert_eq!(list_of(&writer.finish()), Err(WireError::Limit.into()));
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
    assert_eq!(read_result(&result().encode()), Ok(result()));
}

#[test]
fn a_result_whose_output_leaves_its_directory_is_an_error() {
    for name in ["", "/etc/passwd", "..", "a/../b", "a//b", ".", "a/", "a\0b"] {
        let mut record = result();
        record.outputs[0].name = name.into();
        assert_eq!(read_result(&record.encode()), Err(FormatError::Name), "{name:?}");
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
        commit: Vec::new(),
    };
    assert_eq!(ToolchainRecord::decode(&record.encode()), Ok(record));
}

#[test]
fn a_snapshot_survives_its_encoding() {
    let part =
        |label: &[u8], value: &[u8]| SnapshotPart { label: label.to_vec(), value: value.to_vec() };
    let snapshot = Snapshot {
        unit: UnitKey(Digest([1; 32])),
        manifest: u64::MAX,
        parts: vec![part(b"argument", b"--test"), part(b"", b"\x01\xff")],
        digests: vec![[0; 4], [255; 4]],
        texts: vec![Vec::new(), b"unset".to_vec()],
    };
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
    let values = [list(manifest()).encode(), result().encode(), event().encode_frame()];
    for (which, bytes) in values.iter().enumerate() {
        for end in 0..bytes.len() {
            let cut = &bytes[..end];
            let failed = match which {
                0 => ManifestList::decode(cut).is_err(),
                1 => read_result(cut).is_err(),
                _ => Event::decode_frame(&mut Reader::new(cut)).is_err(),
            };
            assert!(failed, "{which} cut at {end}");
        }
    }
}

/// A library with 24 modules, 12 dependencies and four variables: what is kept of it under three keys.
#[test]
fn a_result_with_sixty_inputs_takes_less_than_a_kilobyte() {
    let mut manifest = Manifest::default();
    let modules = ["lexer", "parser/expression", "parser/statement", "emit", "error", "util/span"];
    for directory in ["src", "src/backend", "src/frontend", "src/driver"] {
        for module in modules {
            let path = format!("{directory}/{module}.rs");
            manifest.inputs.push(input(InputKind::File, Some(Root::Workspace), &path));
            let other = format!("{directory}/{module}/mod.rs");
            manifest.inputs.push(input(InputKind::Presence, Some(Root::Workspace), &other));
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
    assert_eq!(manifest.inputs.len(), 64);
    manifest.inputs.sort();
    let sources = manifest.inputs[..24].iter().map(|input| format!(" \0A\0/{}", name_of(input)));
    let sources = sources.collect::<Vec<_>>().concat();
    let stem = "serde-0123456789abcdef";
    let outputs = [format!("{stem}.d"), format!("lib{stem}.rmeta"), format!("lib{stem}.rlib")];
    let rules = outputs.iter().map(|name| format!("\x003\0/debug/deps/{name}:{sources}\n\n"));
    let mut dep_info = rules.collect::<Vec<_>>().concat();
    for source in sources.split(' ').skip(1) {
        dep_info.extend([source, ":\n"]);
    }
    let short = dep_info::shorten(dep_info.as_bytes(), &manifest).expect("it comes back");
    assert_eq!(dep_info::lengthen(&short, &manifest).as_deref(), Ok(dep_info.as_bytes()));
    let mut record = result();
    record.stderr = outputs.iter().flat_map(|name| artifact(name)).collect();
    record.outputs = outputs.iter().map(|name| output(name)).collect();
    let inline = Some(Inline::DepInfo(short));
    record.outputs[0] = Output { inline, ..text(&outputs[0], "") };
    let snapshot = Snapshot {
        unit: record.unit,
        manifest: manifest.checksum(),
        parts: vec![SnapshotPart { label: b"argument --cfg".into(), value: b"a".into() }],
        digests: (0..60).map(|number| if number < 36 { [number; 4] } else { [7; 4] }).collect(),
        texts: vec![b"unset".to_vec(); 4],
    };
    let bytes = list(manifest).encode().len() + record.encode().len() + snapshot.encode().len();
    assert!(bytes < 1024, "{bytes} bytes");
}

fn name_of(input: &Input) -> &str {
    str::from_utf8(&input.name.path).expect("text")
}

/// What the compiler says of an output.
fn artifact(name: &str) -> Vec<u8> {
    let path = format!("\x003\0/debug/deps/{name}");
    format!("{{\"$message_type\":\"artifact\",\"artifact\":\"{path}\",\"emit\":\"link\"}}\n").into()
}

#[test]
fn variables_that_build_scripts_read_take_a_few_bytes() {
    let names = ["TARGET_ABI", "TARGET_ARCH", "TARGET_ENDIAN", "TARGET_ENV", "TARGET_FAMILY"];
    let variable = |name| input(InputKind::Variable, None, &format!("CARGO_CFG_{name}"));
    assert!(list(Manifest { inputs: names.map(variable).to_vec() }).encode().len() <= 8);
}

#[test]
fn the_other_place_of_a_module_comes_back_and_takes_no_place() {
    let modules = ["a.rs", "a/mod.rs", "mod.rs", "a/mod/mod.rs", "a/mod.rsx", ".rs", "/mod.rs"];
    let files = modules.map(|name| input(InputKind::File, Some(Root::Package), name));
    let others = ["a.rs", "a/mod.rs", "a/mod/mod.rs", "b.rs", "mod/mod.rs", "/mod.rs", ".rs"];
    let others = others.map(|name| input(InputKind::Presence, Some(Root::Package), name));
    let mut both = Manifest { inputs: [files, others].concat() };
    both.inputs.sort();
    assert_eq!(ManifestList::decode(&list(both.clone()).encode()), Ok(list(both.clone())));
    let of_modules = |kinds: &[(InputKind, &str)]| {
        let names = ["lexer", "parser", "emit", "error", "span"].iter();
        let inputs = names.flat_map(|name| {
            let of_kind = |(kind, end): &(_, &str)| input(*kind, None, &format!("/{name}{end}"));
            kinds.iter().map(of_kind).collect::<Vec<_>>()
        });
        list(Manifest { inputs: inputs.collect() }).encode().len()
    };
    let file = (InputKind::File, ".rs");
    assert_eq!(of_modules(&[file, (InputKind::Presence, "/mod.rs")]), of_modules(&[file]));
}

/// A text of dep-info is as long as its outputs times its sources.
#[test]
fn dep_info_cannot_be_made_to_allocate_without_bound() {
    let manifest =
        Manifest { inputs: vec![input(InputKind::File, Some(Root::Workspace), "src/lib.rs")] };
    let mut writer = Writer::new();
    writer.count(2000);
    writer.raw(&[0; 2000]);
    writer.count(2000);
    writer.raw(&[1; 2000]);
    let lengthened = dep_info::lengthen(&writer.finish(), &manifest);
    assert_eq!(lengthened, Err(WireError::Limit.into()));
}
