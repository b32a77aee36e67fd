//! Clocks that step back, a store that is copied while it is in use, and another version of kache
//! that uses it too.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use kache::index::{Entry, Index, Kind};

use crate::random::{is_full, turn};
use crate::scene::{Scene, name};
use crate::support::succeed;

const CRATES: usize = 3;

fn stored() -> Scene {
    let scene = Scene::new(CRATES);
    for number in 0..CRATES {
        assert!(scene.check(&name(number), "at first", |run| run), "a compiler runs");
    }
    scene
}

/// Gives files a time that is still to come, as all have that were written before the clock was
/// set back.
fn date_ahead(scene: &Scene, directory: &str) {
    let mut touch = Command::new("find");
    touch.arg(scene.space.path(directory)).args(["-type", "f", "-exec"]);
    succeed(touch.args(["touch", "-d", "2099-01-01T00:00:00Z", "{}", "+"]));
}

#[test]
fn files_from_before_the_clock_was_set_back_are_told_apart() {
    let scene = Scene::new(CRATES);
    let source = format!("{}/src/inner.rs", name(0));
    date_ahead(&scene, &format!("{}/src", name(0)));
    assert!(scene.check(&name(0), "dated ahead", |run| run));
    scene.check_hit(&name(0), "dated ahead");
    let before = scene.space.read(&source);
    // As long as before, and of the same time.
    scene.space.write(&source, before.replace('1', "7"));
    date_ahead(&scene, &format!("{}/src", name(0)));
    scene.clear(&name(0), "out");
    let changed = scene.run(&name(0), "out").succeed();
    assert!(!changed.compiled.is_empty(), "another content is another compilation");
    scene.space.write(&source, before);
    scene.check_hit(&name(0), "as before");
    // The store's own files, too.
    date_ahead(&scene, "cache");
    scene.check(&name(0), "with a store dated ahead", |run| run);
    scene.gc(1 << 40).run();
    scene.check_hit(&name(0), "with a store dated ahead");
    assert!(scene.is_sound("with a store dated ahead"));
}

#[test]
fn a_store_that_is_copied_while_builds_use_it_is_a_store() {
    let _turn = turn();
    let mut scene = stored();
    let store = scene.store().to_owned();
    let mut writer = Scene::new(CRATES);
    writer.share_store(&scene);
    let copy = scene.space.path("copy");
    scene.use_store(&copy);
    let copies = if is_full() { 100 } else { 5 };
    let (stop, mut hits) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0_usize.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                if number % 8 == 7 {
                    drop(writer.gc(writer.blob_bytes() - 1).run());
                }
                writer.check(&name(number % CRATES), "beside the copy", |run| run);
            }
        });
        for number in 0..copies {
            let what = format!("copy {number}");
            scene.space.remove("copy");
            // What is removed meanwhile it says it cannot copy.
            let ended = Command::new("cp").arg("-a").arg(&store).arg(&copy).output();
            ended.expect("cp can be started");
            scene.is_sound(&what);
            for number in 0..CRATES {
                hits += usize::from(!scene.check(&name(number), &what, |run| run));
                scene.check_hit(&name(number), &what);
            }
            assert!(scene.is_sound(&what), "{what} stays sound");
        }
        stop.store(true, Ordering::Relaxed);
    });
    scene.use_store(&store);
    assert!(scene.is_sound("the original"));
    println!("{copies} copies, {hits} of {} results in them; no wrong byte", copies * CRATES);
    assert!(hits > 0, "what was copied whole is there");
}

#[test]
fn results_of_another_version_are_neither_used_nor_in_the_way() {
    let scene = stored();
    let index = Index::open(scene.store()).expect("an index");
    let change_all = |version: u8| {
        let mut changed = 0;
        for Entry { kind, key, mut payload, .. } in index.entries() {
            if matches!(kind, Kind::Result | Kind::Manifests) {
                payload[0] = version;
                index.put(kind, &key, &payload).expect("put");
                changed += 1;
            }
        }
        assert_eq!(changed, 2 * CRATES);
    };
    for version in [0, 1, u8::MAX] {
        change_all(version);
        for number in 0..CRATES {
            let what = format!("beside version {version}");
            assert!(scene.check(&name(number), &what, |run| run), "{what}: a compiler runs");
            scene.check_hit(&name(number), &what);
        }
        scene.gc(1 << 40).run();
        for number in 0..CRATES {
            scene.check_hit(&name(number), "after a collection");
        }
        assert!(scene.is_sound("beside another version"));
    }
}
