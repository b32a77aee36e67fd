//! The store keeps to its cap without a daemon, and what it evicts is only compiled again.

use std::process::Command;

use crate::support::sample::SAMPLE_OUTPUT;
use crate::support::toolchain::kache;
use crate::support::{TestSpace, disk};

/// Bytes on the disk below the store's blobs.
fn blob_bytes(space: &TestSpace) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let blobs = space.cache().join("blobs");
    disk::files(&blobs).iter().map(|path| path.metadata().unwrap().blocks() * 512).sum()
}

fn gc(space: &TestSpace, cap_bytes: u64) -> String {
    let output = Command::new(kache())
        .arg("gc")
        .env("KACHE_CACHE_DIR", space.cache())
        .env("KACHE_MAX_SIZE", cap_bytes.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_gc_evicts_is_compiled_again_and_the_rest_is_not() {
    let space = TestSpace::new();
    space.sample("a");
    let cold = space.build("a").compiled_sorted().len();
    space.remove("a/target");
    let before = blob_bytes(&space);
    let told = gc(&space, before - 1);
    let after = blob_bytes(&space);
    assert!(after <= before / 10 * 9 && after > 0, "{before} to {after}: {told}");

    let again = space.build("a");
    let compiled = again.compiled_sorted().len();
    assert!(compiled > 0 && compiled < cold, "{compiled} of {cold}");
    assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT);
    space.remove("a/target");
    space.build("a").assert_compiled(&[], "everything is in the store again");
}

#[test]
fn within_the_cap_gc_removes_nothing() {
    let space = TestSpace::new();
    space.sample("a");
    space.build("a");
    let before = blob_bytes(&space);
    gc(&space, before);
    assert_eq!(blob_bytes(&space), before);
}
