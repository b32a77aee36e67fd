//! The cap holds while builds put ten times as much into the store, and nobody calls for it: 50 MB
//! under 500 MB, and 2 GB under 20 GB with `KACHE_TEST_FAULTS=full`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::random::{is_full, turn};
use crate::scene::Scene;
use crate::support::TestSpace;
use crate::support::cargo::Build;

/// Compilations, as many bytes to each, are ten times the cap.
const UNITS: u64 = 1000;
const WORKERS: u64 = 3;

fn cap_bytes() -> u64 {
    if is_full() { 2_000_000_000 } else { 50_000_000 }
}

/// A compiler whose outputs no two compilations share.
const COMPILER: &str = "while [ $# -gt 0 ]; do [ \"$1\" = --out-dir ] && out=$2; \
                        [ \"$1\" = --crate-name ] && name=$2; shift; done\n\
                        head -c \"$OUTPUT_BYTES\" /dev/urandom > \"$out/lib$name.rlib\"\n\
                        echo \"$name\" > \"$out/lib$name.rmeta\"\n";

fn compile(space: &TestSpace, number: u64) -> Build {
    let name = format!("u{number}");
    space.write(format!("{name}/src/lib.rs"), "pub fn nothing() {}\n");
    std::fs::create_dir_all(space.path(format!("{name}/out"))).expect("a directory");
    let arguments = ["--crate-name", &name, "--crate-type", "lib", "src/lib.rs"];
    let rest = ["--emit=metadata,link", "--out-dir", "out"];
    let run = space.rustc(&name, arguments.into_iter().chain(rest));
    let run = run.variable("OUTPUT_BYTES", (10 * cap_bytes() / UNITS).to_string());
    let build = run.variable("KACHE_MAX_SIZE", cap_bytes().to_string()).succeed();
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
    let (next, most) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= UNITS {
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
        10 * cap_bytes() / 1_000_000,
        cap_bytes() / 1_000_000,
        most / 1_000_000,
        last / 1_000_000
    );
    let cap = cap_bytes();
    assert!(most <= cap / 100 * 105, "{most} bytes above a cap of {cap}");
    assert!(last >= cap / 2, "only what is too much goes: {last} bytes are left");
    assert!(scene.is_sound("after the workload"));
}
