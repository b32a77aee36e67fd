//! The store keeps to its cap without a daemon, and what it evicts is only compiled again.

use std::process::{Command, Stdio};

use crate::support::sample::SAMPLE_OUTPUT;
use crate::support::toolchain::kache;
use crate::support::{TestSpace, disk, succeed};

/// Bytes on the disk below the store's blobs.
fn blob_bytes(space: &TestSpace) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let blobs = space.cache().join("blobs");
    disk::files(&blobs).iter().map(|path| path.metadata().unwrap().blocks() * 512).sum()
}

fn gc_command(space: &TestSpace, cap_bytes: u64) -> Command {
    let mut command = Command::new(kache());
    command.arg("gc").env("KACHE_CACHE_DIR", space.cache());
    command.env("KACHE_MAX_SIZE", cap_bytes.to_string());
    command
}

fn gc(space: &TestSpace, cap_bytes: u64) -> String {
    let output = gc_command(space, cap_bytes).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A build may have started that one in the background, for a limit of its own.
#[test]
fn gc_waits_for_another_one_that_is_at_it() {
    let space = TestSpace::new();
    space.sample("a");
    space.build("a");
    let before = blob_bytes(&space);
    let lock = kache::fs::lock(&space.cache().join("gc.lock")).unwrap();
    let mut waiting = gc_command(&space, before - 1).stdout(Stdio::null()).spawn().unwrap();
    for _ in 0..10 {
        succeed(Command::new(kache()).arg("--version"));
        assert_eq!(waiting.try_wait().unwrap(), None, "it has given up");
    }
    drop(lock);
    assert!(waiting.wait().unwrap().success());
    assert!(blob_bytes(&space) < before);
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
