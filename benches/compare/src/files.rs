//! What it costs to put a file in its place, beside the bare system calls.

use std::path::Path;
use std::time::Instant;

use crate::fs::{
    LinkMode, clone_or_link_new, link_or_copy_new, place_private, place_shared, read_in_windows,
};

const SIZES: [usize; 3] = [10_000, 1_000_000, 30_000_000];
const ROUNDS: usize = 15;

/// The least time of the rounds, in microseconds.
fn least(mut operation: impl FnMut(usize)) -> f64 {
    let times = (0..ROUNDS).map(|round| {
        let begun = Instant::now();
        operation(round);
        begun.elapsed().as_secs_f64() * 1e6
    });
    times.fold(f64::INFINITY, f64::min)
}

pub(crate) fn compare(space: &Path) {
    println!("\nmicroseconds for a file; ratio to the bare call");
    let directory = space.join("files");
    std::fs::create_dir_all(&directory).expect("a directory");
    for size in SIZES {
        let blob = directory.join(format!("blob{size}"));
        std::fs::write(&blob, vec![7; size]).expect("a blob");
        let to = |what: &str, round: usize| directory.join(format!("{what}-{size}-{round}"));
        let link = least(|round| std::fs::hard_link(&blob, to("link", round)).expect("linked"));
        let copy = least(|round| {
            std::fs::copy(&blob, to("copy", round)).expect("copied");
        });
        let shown = |what: &str, cost: f64, bare: (&str, f64)| {
            println!(
                "{size:>9} bytes  {what:<28} {cost:>8.1}   {} {:>8.1} ({:.2})",
                bare.0,
                bare.1,
                cost / bare.1
            );
        };
        let shared = least(|round| {
            place_shared(&blob, &to("shared", round), LinkMode::Hardlink, 0o644).expect("placed");
        });
        shown("restore, hardlink", shared, ("link", link));
        let private = least(|round| {
            place_private(&blob, &to("private", round), LinkMode::Copy, 0o644).expect("placed");
        });
        shown("restore, copy", private, ("cp", copy));
        let reflink = least(|round| {
            place_private(&blob, &to("reflink", round), LinkMode::Clone, 0o644).expect("placed");
        });
        shown("restore, reflink if possible", reflink, ("cp", copy));
        let ingested = least(|round| {
            link_or_copy_new(&blob, &to("ingested", round)).expect("linked");
        });
        shown("ingest, shared", ingested, ("link", link));
        let lent = least(|round| {
            clone_or_link_new(&blob, &to("lent", round)).expect("linked");
        });
        shown("ingest, private", lent, ("link", link));
        let read = least(|_| drop(std::fs::read(&blob).expect("read")));
        let hashed = least(|_| {
            let mut hasher = blake3::Hasher::new();
            read_in_windows(&blob, 1 << 20, |bytes| {
                hasher.update(bytes);
                0
            })
            .expect("read");
            std::hint::black_box(hasher.finalize());
        });
        shown("hash", hashed, ("read", read));
    }
}
