//! Payloads of records. The first byte says which; what decodes survives another round.

use store_format::object::OBJECT_HEAD_BYTES;
use store_format::{
    BuildList, Manifest, ManifestList, ObjectHead, ResultRecord, Snapshot, ToolchainRecord,
};

pub fn run(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 7 {
        0 => {
            if let Ok(value) = Manifest::decode(bytes) {
                assert!(value.inputs.is_sorted_by(|a, b| a < b));
                assert_eq!(Manifest::decode(&value.encode()), Ok(value));
            }
        }
        1 => {
            if let Ok(value) = ManifestList::decode(bytes) {
                assert_eq!(ManifestList::decode(&value.encode()), Ok(value));
            }
        }
        2 => {
            if let Ok(value) = ResultRecord::decode(bytes) {
                assert_eq!(value.encode(), bytes);
                for output in &value.outputs {
                    assert!(stays_inside(&output.name));
                }
            }
        }
        3 => {
            if let Ok(value) = ToolchainRecord::decode(bytes) {
                assert_eq!(value.encode(), bytes);
            }
        }
        4 => {
            if let Ok(value) = Snapshot::decode(bytes) {
                assert_eq!(value.encode(), bytes);
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

/// As the standard library sees it.
fn stays_inside(name: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name));
    path.components().count() > 0
        && path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
}
