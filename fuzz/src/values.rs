//! Payloads of records. The first byte says which; what decodes survives another round.

use store_format::object::OBJECT_HEAD_BYTES;
use store_format::{
    ActionKey, BuildList, Digest, Input, InputKind, Manifest, ManifestList, ObjectHead,
    ResultRecord, Root, RootedPath, Snapshot, ToolchainRecord, dep_info,
};

const ACTION: ActionKey = ActionKey(Digest([1; 32]));

pub fn run(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 7 {
        0 => dep_info(bytes),
        1 => {
            if let Ok(value) = ManifestList::decode(bytes) {
                for manifest in value.manifests() {
                    assert!(manifest.inputs.is_sorted_by(|a, b| a < b));
                }
                assert_eq!(ManifestList::decode(&value.encode()), Ok(value));
            }
        }
        2 => {
            if let Ok(value) = ResultRecord::decode(ACTION, bytes) {
                assert_eq!(ResultRecord::decode(ACTION, &value.encode()).as_ref(), Ok(&value));
                for output in &value.outputs {
                    assert!(stays_inside(&output.name));
                }
            }
        }
        3 => {
            if let Ok(value) = ToolchainRecord::decode(bytes) {
                assert_eq!(ToolchainRecord::decode(&value.encode()), Ok(value));
            }
        }
        4 => {
            if let Ok(value) = Snapshot::decode(bytes) {
                assert_eq!(Snapshot::decode(&value.encode()), Ok(value));
            }
        }
        5 => {
            if let Ok(value) = BuildList::decode(bytes) {
                assert_eq!(BuildList::decode(&value.encode()), Ok(value));
            }
        }
        _ => {
            if let Some((head, _)) = bytes.split_first_chunk::<OBJECT_HEAD_BYTES>()
                && let Ok(value) = ObjectHead::decode(head)
            {
                assert_eq!(value.encode(), head);
            }
        }
    }
}

/// As a short form, and as a text that may have one.
fn dep_info(bytes: &[u8]) {
    let name = RootedPath { root: Some(Root::Workspace), path: b"src/lib.rs".to_vec() };
    let manifest = Manifest { inputs: vec![Input { kind: InputKind::File, name }] };
    if let Ok(text) = dep_info::lengthen(bytes, &manifest) {
        assert!(text.len() <= dep_info::DEP_INFO_BYTES_MAX);
    }
    if let Some(short) = dep_info::shorten(bytes, &manifest) {
        assert_eq!(dep_info::lengthen(&short, &manifest).as_deref(), Ok(bytes));
    }
}

/// As the standard library sees it.
fn stays_inside(name: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name));
    path.components().count() > 0
        && path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
}
