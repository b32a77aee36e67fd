//! Disks of their own: the power cut, disks that are full or read-only, inodes with as many links as
//! they can have, and reflinks, on ext4, XFS and btrfs.
//!
//! These tests need root, loop devices, `mkfs.ext4`, `mkfs.xfs` and `mkfs.btrfs`. Without them they say
//! that they are skipped, unless `KACHE_TEST_DISKS` is set, as `.ci/run` does: then they fail.
//!
//! The disk that loses its power is an image on an XFS that is an image itself. A reflink copy of it
//! has, as of one moment, what had been written to the disk by then, and no more; what was in memory
//! only is not in it. The machine after the cut has another name for its boot.

use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::random::{Random, is_full, turn};
use crate::scene::{Scene, name};
use crate::support::disk::{files_with, inode};
use crate::support::succeed;

/// The smallest XFS has 300 MB; images have holes.
const DISK_BYTES: u64 = 400 << 20;
const CRATES: usize = 6;

/// What makes a file system, and how it is mounted: what is written reaches the disk within a second
/// where that can be had.
const SYSTEMS: [(&str, &[&str], &str); 3] = [
    ("ext4", &["mkfs.ext4", "-q", "-F"], "loop,commit=1"),
    ("xfs", &["mkfs.xfs", "-q", "-f"], "loop"),
    ("btrfs", &["mkfs.btrfs", "-q", "-f"], "loop,commit=1"),
];

fn can_run() -> bool {
    let mut missing: Vec<&str> = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root");
    }
    if !Path::new("/dev/loop-control").exists() {
        missing.push("loop devices");
    }
    for (_, make, _) in SYSTEMS {
        let mut command = Command::new(make[0]);
        let found = command.arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            missing.push(make[0]);
        }
    }
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("KACHE_TEST_DISKS").is_none(), "not there: {missing:?}");
    let line = format!("tests/faults/disks.rs: skipped, not there: {missing:?}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("a line can be written");
    false
}

/// A directory for images, removed when dropped, after what is mounted in it.
struct Shelf(PathBuf);

impl Shelf {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("kache-disks-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for images");
        Self(path)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

/// A file system in a file, mounted as long as this lives.
struct Disk {
    image: PathBuf,
    place: PathBuf,
    options: &'static str,
}

impl Disk {
    fn make(system: &str, directory: &Path, bytes: u64) -> Self {
        let found = SYSTEMS.iter().find(|(name, ..)| *name == system);
        let (_, make, options) = found.expect("a system of the table");
        let image = directory.join(format!("{system}.img"));
        let file = std::fs::File::create(&image).expect("an image");
        file.set_len(bytes).expect("an image may have holes");
        succeed(Command::new(make[0]).args(&make[1..]).arg(&image));
        let place = directory.join(format!("{system}.mounted"));
        std::fs::create_dir_all(&place).expect("a place to mount at");
        Self::mount(image, place, options)
    }

    fn mount(image: PathBuf, place: PathBuf, options: &'static str) -> Self {
        succeed(Command::new("mount").args(["-o", options]).arg(&image).arg(&place));
        Self { image, place, options }
    }

    /// Keeps what is on the disk at this moment.
    fn cut_power(&self) {
        let mut copy = Command::new("cp");
        succeed(copy.arg("--reflink=always").arg(&self.image).arg(self.after()));
    }

    /// The disk as it was found when the power was cut.
    fn with_power_back(self) -> Self {
        let (image, place, options) = (self.image.clone(), self.place.clone(), self.options);
        let after = self.after();
        drop(self);
        std::fs::rename(&after, &image).expect("one image takes the place of the other");
        Self::mount(image, place, options)
    }

    fn after(&self) -> PathBuf {
        self.image.with_extension("after")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmount = |how: &[&str]| {
            let status = Command::new("umount").args(how).arg(&self.place).status();
            status.is_ok_and(|status| status.success())
        };
        // A loop device may let go of its image some time after what was in it is unmounted.
        assert!(
            unmount(&[]) || unmount(&["--lazy"]) || std::thread::panicking(),
            "{} can be unmounted",
            self.place.display()
        );
    }
}

fn sync(place: &Path) {
    succeed(Command::new("sync").arg("-f").arg(place));
}

/// A build, or now and then what goes on beside it.
fn work(scene: &Scene, random: &mut Random, crates: Range<usize>, may_evict: bool) {
    match random.below(8) {
        0 if may_evict => drop(scene.gc(scene.blob_bytes() / 4 * 3).run()),
        0 | 1 => drop(scene.gc(1 << 40).run()),
        2 => sync(scene.store()),
        _ => {
            let name = name(crates.start + random.below(crates.len()));
            scene.check(&name, "before the power cut", |run| run);
        }
    }
}

/// A machine that has booted again: the wrapper sees another name of the boot.
fn boot(scene: &mut Scene, directory: &Path, number: usize) {
    let named = directory.join(format!("boot{number}"));
    std::fs::write(&named, format!("{number:08x}-0000-4000-8000-000000000000\n")).expect("a name");
    let script = format!(
        "mount --bind '{}' /proc/sys/kernel/random/boot_id && exec \"$@\"",
        named.display()
    );
    scene.launch_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
}

/// Work in two threads, and a power cut in the middle of it.
fn work_until_cut(scene: &Scene, disk: &Disk, random: &mut Random, may_evict: bool) {
    let stop = AtomicBool::new(false);
    let mut other = Random::numbered(random.next());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                work(scene, &mut other, 0..CRATES / 2, may_evict);
            }
        });
        for _ in 0..random.below(10) {
            work(scene, random, CRATES / 2..CRATES, may_evict);
        }
        disk.cut_power();
        stop.store(true, Ordering::Relaxed);
    });
}

fn cut_power_on(system: &str) {
    if !can_run() {
        return;
    }
    let _turn = turn();
    let cuts = if is_full() { 40 } else { 4 };
    let shelf = Shelf::new(system);
    let outer = Disk::make("xfs", &shelf.0, 4 * DISK_BYTES);
    let inner = outer.place.join(system);
    std::fs::create_dir(&inner).expect("a directory for the image");
    let mut disk = Disk::make(system, &inner, DISK_BYTES);
    let mut scene = Scene::at(&disk.place, CRATES);
    let mut random = Random::new();
    let (mut outlasted, mut durable, mut repaired) = (0, 0, 0);
    for number in 0..cuts {
        boot(&mut scene, &shelf.0, 2 * number);
        // What a collection has made durable has to be there afterwards.
        let promised = number % 2 == 1;
        if promised {
            for number in 0..CRATES {
                scene.check(&name(number), "before the power cut", |run| run);
            }
            scene.make_durable();
        }
        work_until_cut(&scene, &disk, &mut random, !promised);
        disk = disk.with_power_back();
        boot(&mut scene, &shelf.0, 2 * number + 1);
        let what = format!("{system}, after power cut {number}");
        repaired += usize::from(!scene.is_sound(&what));
        for number in 0..CRATES {
            let hit = !scene.check(&name(number), &what, |run| run);
            outlasted += usize::from(hit);
            durable += usize::from(promised);
            let reason =
                || scene.space.cargo("", ["why-miss", &name(number)]).by_kache().run().text();
            assert!(hit || !promised, "{what}: {} was durable; {}", name(number), reason());
            scene.check_hit(&name(number), &what);
        }
        assert!(scene.is_sound(&what), "{what}: it stays sound");
    }
    println!(
        "{system}: {cuts} power cuts; {outlasted} of {} results outlasted them, with all {durable} \
         that were durable; {repaired} stores repaired; no wrong byte, no failed call",
        cuts * CRATES
    );
}

#[test]
fn a_power_cut_on_ext4() {
    cut_power_on("ext4");
}

#[test]
fn a_power_cut_on_xfs() {
    cut_power_on("xfs");
}

#[test]
fn a_power_cut_on_btrfs() {
    cut_power_on("btrfs");
}

/// Crates of a store on such a disk, all of them stored.
fn stored_on(system: &str, shelf: &Shelf, bytes: u64) -> (Disk, Scene) {
    let disk = Disk::make(system, &shelf.0, bytes);
    let scene = Scene::at(&disk.place, CRATES);
    for number in 0..CRATES {
        assert!(scene.check(&name(number), system, |run| run), "{system}: a compiler runs");
    }
    (disk, scene)
}

/// Fills a disk to the last block: what is allocated late makes room once more.
fn fill(place: &Path) -> Vec<PathBuf> {
    let mut fillers = Vec::new();
    for number in 0..4 {
        let filler = place.join(format!("filler{number}"));
        let Ok(mut file) = std::fs::File::create(&filler) else { break };
        fillers.push(filler);
        let mut step = vec![7; 1 << 20];
        while step.len() >= 4096 {
            if file.write_all(&step).is_err() {
                step.truncate(step.len() / 2);
            }
        }
        // It may not be able to, and has then said so.
        drop(file.sync_all());
    }
    fillers
}

#[test]
fn a_disk_that_is_full_lets_builds_go_on() {
    for (system, ..) in SYSTEMS {
        if !can_run() {
            return;
        }
        let _turn = turn();
        let shelf = Shelf::new(&format!("full-{system}"));
        let (disk, scene) = stored_on(system, &shelf, DISK_BYTES);
        // One is to be stored while there is no room for it. What is on the disk already cannot be
        // written elsewhere any more.
        let purge = ["purge", "--crate-name", "c0"];
        scene.space.cargo("", purge).by_kache().quiet().succeed();
        sync(&disk.place);
        let fillers = fill(&disk.place);
        for number in 0..CRATES {
            scene.check_elsewhere(&name(number), &format!("{system}, full"));
        }
        drop(scene.gc(1).run());
        for number in 0..CRATES {
            scene.check_elsewhere(&name(number), &format!("{system}, full, collected"));
        }
        for filler in fillers {
            std::fs::remove_file(&filler).expect("the filler can be removed");
        }
        for number in 0..CRATES {
            scene.check(&name(number), system, |run| run);
            scene.check_hit(&name(number), system);
        }
        assert!(scene.is_sound(system));
        println!("{system}: full, {} calls, none failed", 2 * CRATES);
    }
}

#[test]
fn a_store_that_is_read_only_lets_builds_go_on() {
    if !can_run() {
        return;
    }
    let _turn = turn();
    let shelf = Shelf::new("read-only");
    let (disk, scene) = stored_on("ext4", &shelf, DISK_BYTES);
    let remount = |how: &str| {
        let options = format!("remount,{how}");
        succeed(Command::new("mount").args(["-o", &options]).arg(&disk.place));
    };
    remount("ro");
    for number in 0..CRATES {
        scene.check_elsewhere(&name(number), "read-only");
    }
    remount("rw");
    for number in 0..CRATES {
        scene.check_hit(&name(number), "writable again");
    }
}

#[test]
fn an_inode_with_as_many_links_as_it_can_have_is_copied() {
    if !can_run() {
        return;
    }
    let _turn = turn();
    let shelf = Shelf::new("links");
    let (disk, scene) = stored_on("ext4", &shelf, DISK_BYTES);
    let directory = disk.place.join("links");
    std::fs::create_dir(&directory).expect("a directory for links");
    let library = || files_with(&scene.outputs_of(&name(0)), &["rlib"]).remove(0);
    let first = directory.join("0");
    std::fs::hard_link(library(), &first).expect("one more link");
    scene.clear(&name(0), "out");
    let mut links = 1_u64;
    while std::fs::hard_link(&first, directory.join(links.to_string())).is_ok() {
        links += 1;
    }
    let most = first.metadata().expect("the library").nlink();
    assert!(most >= 60_000, "{most} links are the limit of ext4");
    scene.check_hit(&name(0), "at the limit of links");
    assert_ne!(inode(&library()), inode(&first), "no link was left to be had");
    assert!(scene.is_sound("at the limit of links"));
    println!("ext4: {most} links to one inode, and a hit");
}

#[test]
fn reflinks_share_blocks_and_no_inode() {
    for system in ["xfs", "btrfs"] {
        if !can_run() {
            return;
        }
        let _turn = turn();
        let shelf = Shelf::new(&format!("reflinks-{system}"));
        let (_disk, mut scene) = stored_on(system, &shelf, DISK_BYTES);
        scene.space.set_variable("KACHE_LINK_MODE", "clone");
        for number in 0..CRATES {
            scene.check_hit(&name(number), system);
            let outputs = files_with(&scene.outputs_of(&name(number)), &["rlib", "rmeta"]);
            assert_eq!(outputs.len(), 2);
            for output in outputs {
                assert_eq!(output.metadata().expect("an output").nlink(), 1, "{system}");
                // Its map of extents says so for each.
                let map = succeed(Command::new("filefrag").arg("-v").arg(&output));
                let map = String::from_utf8_lossy(&map.stdout).into_owned();
                assert!(map.contains("shared"), "{system}: {}\n{map}", output.display());
            }
        }
        println!("{system}: {CRATES} hits by reflink");
    }
}
