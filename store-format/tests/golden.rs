//! Each encoding writes the bytes of its file in `golden/`, and reads them back. A change of one of
//! the files is a change of the format, and needs another version. `KACHE_BLESS=1` writes them.

use std::fmt::Debug;
use std::path::Path;

use store_format::frame::FrameHead;
use store_format::header::{IndexHeader, MemoHeader};
use store_format::memo::{IdentityHash, MemoEntry};
use store_format::message::{Answer, BuildOf, MESSAGE_HEAD_BYTES, Request, Status, payload_bytes};
use store_format::object::OBJECT_HEAD_BYTES;
use store_format::slot::{ClaimWord, KeyHash, Slot};
use store_format::snapshot::{Snapshot, SnapshotPart};
use store_format::wire::Reader;
use store_format::{
    ActionKey, BuildAction, BuildList, Digest, Event, EventOutcome, FormatError, Inline, Input,
    InputKind, Kind, Manifest, ManifestList, NodeKind, ObjectHead, ObjectKind, Output, OutputRole,
    ResultRecord, Root, RootedPath, ToolchainFile, ToolchainRecord, UnitKey, slot::ProcessId,
};

fn check<T: PartialEq + Debug>(
    name: &str,
    value: &T,
    written: &[u8],
    read: impl Fn(&[u8]) -> Result<T, FormatError>,
) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("KACHE_BLESS").is_some() {
        std::fs::write(&path, written).expect("written");
    }
    let golden = std::fs::read(&path).expect("a golden file");
    assert!(written == golden, "{name}: other bytes are written");
    assert_eq!(read(&golden).as_ref(), Ok(value), "{name}");
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut reader = Reader::new(bytes);
    std::array::from_fn(|_| reader.u64().expect("a word"))
}

fn digest(first: u8) -> Digest {
    Digest(std::array::from_fn(|place| first.wrapping_add(u8::try_from(place).expect("below 32"))))
}

fn manifest() -> Manifest {
    let input =
        |kind, root, path: &str| Input { kind, name: RootedPath { root, path: path.into() } };
    let mut inputs = vec![
        input(InputKind::File, Some(Root::Workspace), "src/lib.rs"),
        input(InputKind::File, Some(Root::Workspace), "src/lib/deep/down.rs"),
        input(InputKind::File, Some(Root::CargoHome), "registry/src/index/a-1.0.0/src/lib.rs"),
        input(InputKind::File, None, "/usr/lib/crt1.o"),
        input(InputKind::Listing, Some(Root::Package), "migrations"),
        input(InputKind::Presence, Some(Root::Home), ".config"),
        input(InputKind::Variable, None, "CARGO_PKG_VERSION"),
        input(InputKind::AllVariables, None, ""),
        input(InputKind::Program, None, "cc"),
        input(InputKind::DependencyMetadata, Some(Root::Build), "deps/liba-0123456789abcdef"),
        input(InputKind::DependencyLibrary, Some(Root::Build), "deps/libb-fedcba9876543210"),
        input(InputKind::RootLocation, Some(Root::Sysroot), ""),
        input(InputKind::LinkTarget, Some(Root::Workspace), "current"),
        input(InputKind::Machine, None, "kernel"),
    ];
    inputs.sort();
    Manifest { inputs }
}

fn result() -> ResultRecord {
    let output = |name: &str, node, role, inline: Option<&str>| Output {
        name: name.into(),
        node,
        role,
        mode: 0o644,
        blob: digest(1),
        size_bytes: 4_000_000,
        blob_mtime_ns: 1_000_000_000,
        inline: inline.map(|text| Inline::Text(text.into())),
    };
    let without_blob = |name: &str, node, inline| Output {
        blob: Digest([0; 32]),
        blob_mtime_ns: 0,
        ..output(name, node, OutputRole::Private, inline)
    };
    let text = Output {
        role: OutputRole::Text,
        ..without_blob("serde-0123456789abcdef.txt", NodeKind::File, Some("a: b\n"))
    };
    let dep_info = Output {
        name: b"serde-0123456789abcdef.d".into(),
        inline: Some(Inline::DepInfo(b"\x01\x01a\x01\x03".into())),
        ..text.clone()
    };
    ResultRecord {
        action: ActionKey(digest(2)),
        unit: UnitKey(digest(3)),
        crate_name: b"serde".to_vec(),
        outputs: vec![
            output("libserde-0123456789abcdef.rlib", NodeKind::File, OutputRole::Shared, None),
            output("libserde-0123456789abcdef.rmeta", NodeKind::File, OutputRole::Private, None),
            text,
            dep_info,
            without_blob("out/generated", NodeKind::Directory, None),
            without_blob("out/link", NodeKind::Symlink, Some("generated")),
        ],
        stdout: b"out".to_vec(),
        stderr: b"{\"reason\":\"\x001\x00/src\"}".to_vec(),
        exit_status: 101,
        cost_us: 1_234_567,
        boot: std::array::from_fn(|place| u8::try_from(place).expect("below 16")),
        fetched: false,
        created_s: 1_800_000_000,
    }
}

#[test]
fn a_list_of_manifests_is_written_and_read_as_ever() {
    let mut list = ManifestList::default();
    list.promote(manifest());
    list.promote(Manifest::default());
    let mut with_modules = manifest();
    for (kind, path) in
        [(InputKind::Presence, "src/lib/deep/down/mod.rs"), (InputKind::Presence, "src/other.rs")]
    {
        let name = RootedPath { root: Some(Root::Workspace), path: path.into() };
        with_modules.inputs.push(Input { kind, name });
    }
    with_modules.inputs.sort();
    list.promote(with_modules);
    check("manifests", &list, &list.encode(), ManifestList::decode);
}

fn read_result(bytes: &[u8]) -> Result<ResultRecord, FormatError> {
    ResultRecord::decode(ActionKey(digest(2)), bytes)
}

#[test]
fn a_result_is_written_and_read_as_ever() {
    check("result", &result(), &result().encode(), read_result);
}

#[test]
fn a_result_from_a_remote_is_written_and_read_as_ever() {
    let result = ResultRecord { fetched: true, outputs: Vec::new(), ..result() };
    check("result-fetched", &result, &result.encode(), read_result);
}

#[test]
fn the_list_of_a_build_is_written_and_read_as_ever() {
    let mut manifests = ManifestList::default();
    manifests.promote(manifest());
    let action = |number, manifests, size_bytes| BuildAction {
        unit: UnitKey(digest(number)),
        action: ActionKey(digest(number + 1)),
        manifests,
        size_bytes,
        cost_us: 1_500_000,
    };
    let actions = vec![action(11, manifests, 1 << 40), action(13, ManifestList::default(), 0)];
    let list = BuildList { actions };
    check("build", &list, &list.encode(), BuildList::decode);
}

#[test]
fn heads_of_objects_are_written_and_read_as_ever() {
    let head = |signature| ObjectHead {
        kind: ObjectKind::Result,
        key: digest(15),
        payload_bytes: 0x0123_4567,
        seal: digest(16),
        signature,
    };
    let read = |bytes: &[u8]| {
        let bytes: &[u8; OBJECT_HEAD_BYTES] = bytes.try_into().expect("a head");
        ObjectHead::decode(bytes)
    };
    for (name, signature) in [("object", None), ("object-signed", Some(digest(17)))] {
        check(name, &head(signature), &head(signature).encode(), read);
    }
}

#[test]
fn a_toolchain_is_written_and_read_as_ever() {
    let file = |path: &str, inode| ToolchainFile {
        path: path.into(),
        device: 0x801,
        inode,
        size_bytes: 150_000_000,
        mtime_ns: 1_700_000_000_123_456_789,
        ctime_ns: -1,
    };
    let record = ToolchainRecord {
        files: vec![file("/opt/bin/rustc", 1), file("/opt/lib/librustc_driver.so", 1 << 40)],
        digest: digest(3),
        sysroot: b"/opt".to_vec(),
        commit: b"58cf8f9c".to_vec(),
    };
    check("toolchain", &record, &record.encode(), ToolchainRecord::decode);
}

#[test]
fn a_snapshot_is_written_and_read_as_ever() {
    let part = |label: &str, value: &str| SnapshotPart { label: label.into(), value: value.into() };
    let snapshot = Snapshot {
        unit: UnitKey(digest(18)),
        manifest: 0x0123_4567_89ab_cdef,
        parts: vec![part("argument --cfg", "a"), part("toolchain", "01234567")],
        digests: vec![[1, 2, 3, 4], [5, 6, 7, 8]],
        texts: vec![b"unset".to_vec(), b"1.2.3".to_vec()],
    };
    check("snapshot", &snapshot, &snapshot.encode(), Snapshot::decode);
}

#[test]
fn an_event_is_written_and_read_as_ever() {
    let event = Event {
        started_ms: 1_800_000_000_000,
        elapsed_us: 1,
        key_us: 2,
        lookup_us: 3,
        restore_us: 4,
        compile_us: 5,
        store_us: u32::MAX,
        outcome: EventOutcome::Dup,
        reason: "reason".into(),
        crate_name: "serde".into(),
        crate_version: "1.0.0".into(),
        kind: "lib".into(),
        workspace: "/work/é".into(),
        profile: "dev".into(),
        target: "x86_64-unknown-linux-gnu".into(),
        action: Some(ActionKey(digest(4))),
        unit: Some(UnitKey(digest(5))),
        size_bytes: 6,
        linked_bytes: 7,
        cargo_pid: 8,
        pid: 9,
        compiler_runs: 10,
        explanation: vec!["a: 1 -> 2".into(), String::new()],
    };
    check("event", &event, &event.encode_frame(), |bytes| {
        Event::decode_frame(&mut Reader::new(bytes))
    });
}

/// The payloads of messages that follow each other.
fn payloads(mut bytes: &[u8]) -> Result<Vec<&[u8]>, FormatError> {
    let mut payloads = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<MESSAGE_HEAD_BYTES>() {
        let (payload, after) = rest.split_at(payload_bytes(head)?);
        payloads.push(payload);
        bytes = after;
    }
    Ok(payloads)
}

#[test]
fn requests_are_written_and_read_as_ever() {
    let build = BuildOf {
        configuration: digest(1),
        compiler: digest(2),
        cargo_pid: 4711,
        directory: b"/work/a".into(),
        command_line: b"cargo\0build\0--release\0".into(),
    };
    let requests = vec![
        Request::Build(build),
        Request::Manifests(UnitKey(digest(3))),
        Request::Result(ActionKey(digest(4))),
        Request::Uploads,
        Request::Status,
        Request::Stop,
    ];
    let written: Vec<u8> = requests.iter().flat_map(Request::encode).collect();
    check("requests", &requests, &written, |bytes| {
        payloads(bytes)?.into_iter().map(Request::decode).collect()
    });
}

#[test]
fn answers_are_written_and_read_as_ever() {
    let mut list = ManifestList::default();
    list.promote(manifest());
    let status = Status {
        version: "1.2.3".into(),
        remote: "s3://bucket/prefix".into(),
        last_error: "é".into(),
        pid: 1,
        started_ms: 2,
        builds: 3,
        downloads_active: 4,
        uploads_active: 5,
        uploads_queued: 6,
        downloads: 7,
        downloaded_bytes: 8,
        prefetched: 9,
        uploads: 10,
        uploaded_bytes: 11,
        requests: 12,
        failures: 13,
        resting: true,
    };
    let answers = vec![
        Answer::Manifests(list),
        Answer::Absent,
        Answer::Unavailable,
        Answer::Stored,
        Answer::Status(Box::new(status)),
        Answer::Stopped { uploads_left: 1000 },
        Answer::Waiting,
    ];
    let written: Vec<u8> = answers.iter().flat_map(Answer::encode).collect();
    check("answers", &answers, &written, |bytes| {
        payloads(bytes)?.into_iter().map(Answer::decode).collect()
    });
}

#[test]
fn a_header_is_written_and_read_as_ever() {
    let header = IndexHeader { slots_log2: 17, heap_words_max: 1 << 26, generation: 3 };
    check("index-header", &header, &bytes(&header.encode()), |bytes| {
        IndexHeader::decode(&words(bytes))
    });
    check("memo-header", &MemoHeader, &bytes(&MemoHeader::encode()), |bytes| {
        MemoHeader::decode(&words(bytes))
    });
}

/// A record with its padding, the slot that points to it, that slot removed, and a claim.
#[test]
fn a_record_and_its_words_are_written_and_read_as_ever() {
    let payload = b"eleven byte";
    let head = FrameHead::new(Kind::Result, &digest(6), payload).expect("short");
    let mut record = bytes(&head.encode());
    record.extend_from_slice(payload);
    record.resize(head.words() * 8, 0);
    check("record", &head, &record, |bytes| {
        let head = FrameHead::decode(&words(bytes))?;
        let payload = &bytes[48..48 + head.payload_bytes];
        if head.covers(payload) { Ok(head) } else { Err(FormatError::Checksum) }
    });
    let hash = KeyHash::new(Kind::Result, &digest(6));
    let slot = Slot::new(hash, Kind::Result, 0x9_8765_4321);
    let process = ProcessId::new(4_194_303, 0x1_2345_6789);
    let (place, claim) = ClaimWord::new(&digest(7), 4_026_531_836, process, 4096);
    let [live, removed, durable] = [slot, slot.removed(), slot.durable()].map(|slot| slot.0);
    let golden = [hash.first_slot(1 << 16) as u64, live, removed, durable, place as u64, claim.0];
    check("words", &golden, &bytes(&golden), |bytes| Ok(words(bytes)));
    assert_eq!((slot.offset(), slot.kind()), (0x9_8765_4321, Some(Kind::Result)));
    assert!(slot.removed().is_removed() && slot.removed().may_hold(hash, Kind::Result));
    assert!(slot.durable().is_durable() && slot.durable().may_hold(hash, Kind::Result));
    assert!(!slot.durable().is_removed() && !slot.removed().is_durable());
    assert_eq!(claim.process(), process);
}

#[test]
fn an_entry_of_the_memo_is_written_and_read_as_ever() {
    let entry = MemoEntry {
        identity: IdentityHash([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]),
        digest: digest(8),
        sequence: 9,
    };
    check("memo-entry", &entry, &bytes(&entry.encode()), |bytes| {
        MemoEntry::decode(&words(bytes)).ok_or(FormatError::Checksum)
    });
}
