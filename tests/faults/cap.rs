//! The cap holds while builds put ten times as much into the store, and nobody calls for it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::random::turn;
use crate::scene::Scene;
use crate::support::TestSpace;
use crate::support::cargo::Build;

const CAP_BYTES: u64 = 50_000_000;
const OUTPUT_BYTES: u64 = 500_000;
const WORKERS: u64 = 3;

/// A compiler whose outputs no two compilations share.
const COMPILER: &str = "while [ $# -gt 0 ]; do [ \"$1\" = --out-dir ] && out=$2; \
                        [ \"$1\" = --crate-name ] && name=$2; shift; done\n\
                        head -c 500000 /dev/urandom > \"$out/lib$name.rlib\"\n\
                        echo \"$name\" > \"$out/lib$name.rmeta\"\n";

fn compile(space: &TestSpace, number: u64) -> Build {
    let name = format!("u{number}");
    space.write(format!("{name}/src/lib.rs"), "pub fn nothing() {}\n");
    std::fs::create_dir_all(space.path(format!("{name}/out"))).expect("a directory");
    let arguments = ["--crate-name", &name, "--crate-type", "lib", "src/lib.rs"];
    let rest = ["--emit=metadata,link", "--out-dir", "out"];
    let run = space.rustc(&name, arguments.into_iter().chain(rest));
    let build = run.variable("KACHE_MAX_SIZE", CAP_BYTES.to_string()).succeed();
    // Else every target directory would hold what the store has let go.
    space.remove(&name);
    build
}

#[test]
fn the_cap_holds_within_a_twentieth_through_ten_times_as_much() {
    let _turn = turn();
    let mut space = TestSpace::new();
    space.script_compiler(COMPILER);
    let scene = Scene::around(space);
    let units = 10 * CAP_BYTES / OUTPUT_BYTES;
    let (next, most) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= units {
                        break;
                    }
                    compile(&scene.space, number);
                    most.fetch_max(scene.blob_bytes(), Ordering::Relaxed);
                }
            });
        }
    });
    let (most, last) = (most.into_inner(), scene.blob_bytes());
    println!(
        "{} MB put into a store of {} MB: at most {} MB at once, {} MB at the end",
        units * OUTPUT_BYTES / 1_000_000,
        CAP_BYTES / 1_000_000,
        most / 1_000_000,
        last / 1_000_000
    );
    assert!(most <= CAP_BYTES / 100 * 105, "{most} bytes above a cap of {CAP_BYTES}");
    assert!(last >= CAP_BYTES / 2, "only what is too much goes: {last} bytes are left");
    assert!(scene.is_sound("after the workload"));
}
