//! A few small crates, compiled one by one through kache, and what has to come out of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use kache::index::{Index, Kind};

use crate::support::cargo::{Build, Cargo};
use crate::support::disk;
use crate::support::toolchain::Toolchain;
use crate::support::{TestSpace, succeed};

/// Names below the output directory with contents. Modes and times are kache's to choose.
pub(crate) type Outputs = BTreeMap<PathBuf, Vec<u8>>;

/// What a compilation shows to whoever asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    outputs: Outputs,
}

/// The crates, and the two ways in which each may come out: as the compiler alone makes it, and as
/// kache has it made, with paths remapped.
pub(crate) struct Scene {
    pub(crate) space: TestSpace,
    store: PathBuf,
    /// Below which the crates' output directories lie.
    outputs: PathBuf,
    /// What every call is run by.
    launcher: Vec<String>,
    expected: BTreeMap<String, [Shown; 2]>,
}

impl Scene {
    /// A space with so many crates, none of which is in the store.
    pub(crate) fn new(crates: usize) -> Self {
        Self::around(TestSpace::new()).with(crates)
    }

    /// No crates but what the space has of its own.
    pub(crate) fn around(space: TestSpace) -> Self {
        let (store, outputs) = (space.cache(), space.path(""));
        Self { store, outputs, launcher: Vec::new(), space, expected: BTreeMap::new() }
    }

    /// So many crates whose outputs, and the store, lie in another place.
    pub(crate) fn at(place: &Path, crates: usize) -> Self {
        let mut scene = Self::around(TestSpace::new());
        scene.outputs = place.join("outputs");
        scene.use_store(&place.join("cache"));
        scene.with(crates)
    }

    /// So many crates, compiled by a toolchain that other scenes have too: they share results.
    pub(crate) fn by(toolchain: &Toolchain, crates: usize) -> Self {
        let mut scene = Self::around(TestSpace::new());
        scene.space.use_toolchain(toolchain.clone());
        scene.with(crates)
    }

    /// Has every later call run by another program.
    pub(crate) fn launch_by(&mut self, launcher: &[&str]) {
        self.launcher = launcher.iter().map(|&word| word.to_owned()).collect();
    }

    /// Uses the store of another scene from now on.
    pub(crate) fn share_store(&mut self, other: &Self) {
        self.use_store(&other.store);
    }

    pub(crate) fn use_store(&mut self, store: &Path) {
        store.clone_into(&mut self.store);
        let store = store.to_str().expect("the space has a plain name");
        self.space.set_variable("KACHE_CACHE_DIR", store);
    }

    fn with(self, crates: usize) -> Self {
        let mut scene = self;
        for number in 0..crates {
            let name = name(number);
            let at = |file: &str| format!("{name}/src/{file}");
            let filler = "/// Some text, so that the file takes more than the records about it.\n";
            scene.space.write(
                at("lib.rs"),
                format!("mod inner;\n{filler}pub fn two() -> u32 {{ inner::one() + {number} }}\nfn unused() {{}}\n"),
            );
            scene.space.write(at("inner.rs"), "pub fn one() -> u32 { 1 }\n");
            let alone = scene.shown(&name, "out", |run| run.plain().quiet());
            let remapped = scene.shown(&name, "out", |run| run);
            assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
            assert!(alone.stderr.starts_with(b"warning: function `unused`"));
            assert_eq!(alone.outputs.len(), 3, "{:?}", alone.outputs.keys());
            assert_eq!(
                (alone.status, &alone.stdout, &alone.stderr),
                (remapped.status, &remapped.stdout, &remapped.stderr)
            );
            scene.expected.insert(name, [alone, remapped]);
        }
        if scene.store.exists() {
            std::fs::remove_dir_all(&scene.store).expect("the store can be removed");
        }
        scene
    }

    /// The compiler's call for a crate.
    pub(crate) fn run(&self, name: &str, out: &str) -> Cargo<'_> {
        let arguments = ["--crate-name", name, "--edition=2024", "--crate-type", "lib"];
        let out = self.outputs.join(name).join(out);
        let out = out.to_str().expect("the space has a plain name");
        let rest = ["src/lib.rs", "--emit=dep-info,metadata,link", "--out-dir", out];
        let run = self.space.rustc(name, arguments.into_iter().chain(rest));
        run.launched_by(&self.launcher)
    }

    fn shown(&self, name: &str, out: &str, how: impl Fn(Cargo<'_>) -> Cargo<'_>) -> Shown {
        let build = self.build(name, out, how);
        self.seen(name, out, &build)
    }

    /// Compiles a crate into an empty directory.
    fn build(&self, name: &str, out: &str, how: impl Fn(Cargo<'_>) -> Cargo<'_>) -> Build {
        self.clear(name, out);
        how(self.run(name, out)).run()
    }

    pub(crate) fn clear(&self, name: &str, out: &str) {
        let directory = self.outputs.join(name).join(out);
        if directory.exists() {
            std::fs::remove_dir_all(&directory).expect("outputs can be removed");
        }
        std::fs::create_dir_all(directory).expect("a directory for outputs");
    }

    fn seen(&self, name: &str, out: &str, build: &Build) -> Shown {
        let directory = self.outputs.join(name).join(out);
        let mut outputs = Outputs::new();
        for path in disk::files(&directory) {
            let inside = path.strip_prefix(&directory).expect("it lies below").to_owned();
            // What a failed restore left behind under a temporary name nobody reads, nor what is left
            // of a compiler that was killed for another one to run: a directory that it works in.
            let is_temporary = inside.extension().is_some_and(|extension| extension == "kache-tmp")
                || inside
                    .parent()
                    .is_some_and(|at| at.as_os_str().as_encoded_bytes().starts_with(b"rmeta"));
            if !is_temporary {
                outputs.insert(inside, std::fs::read(&path).expect("an output can be read"));
            }
        }
        let (stdout, stderr) = (build.stdout.clone(), build.stderr.clone());
        Shown { status: build.status, stdout, stderr, outputs }
    }

    /// Compiles a crate, and checks that nobody could tell it from the compiler's own work. Returns
    /// whether a compiler ran.
    #[track_caller]
    pub(crate) fn check(
        &self,
        name: &str,
        what: &str,
        how: impl Fn(Cargo<'_>) -> Cargo<'_>,
    ) -> bool {
        let build = self.build(name, "out", how);
        self.check_shown(name, "out", &build, what);
        !build.compiled.is_empty()
    }

    #[track_caller]
    pub(crate) fn check_shown(&self, name: &str, out: &str, build: &Build, what: &str) {
        let shown = self.seen(name, out, build);
        let differences = |expected: &Shown| {
            let names: Vec<_> = expected.outputs.keys().chain(shown.outputs.keys()).collect();
            let differs = |path: &&PathBuf| {
                expected.outputs.get(path.as_path()) != shown.outputs.get(path.as_path())
            };
            names.into_iter().filter(differs).cloned().collect::<Vec<_>>()
        };
        let [alone, remapped] = &self.expected[name];
        assert!(
            shown == *alone || shown == *remapped,
            "{what}: {name} comes out differently: {}\ndiffers from the compiler's in {:?}, from \
             kache's in {:?}\n{}",
            shown.status,
            differences(alone),
            differences(remapped),
            String::from_utf8_lossy(&shown.stderr),
        );
    }

    /// As [`Scene::check`], with the outputs on another disk: on the store's own, the compiler alone
    /// might fail as well.
    #[track_caller]
    pub(crate) fn check_elsewhere(&self, name: &str, what: &str) {
        let there = self.space.path("elsewhere");
        let elsewhere = there.to_str().expect("the space has a plain name");
        let alone = self.shown(name, elsewhere, |run| run.plain().quiet());
        let with = self.shown(name, elsewhere, |run| run);
        assert_eq!((&with.status, &with.stdout), (&alone.status, &alone.stdout), "{what}");
        assert_eq!(with.stderr, alone.stderr, "{what}");
        let names = |shown: &Shown| shown.outputs.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&with), names(&alone), "{what}");
        let [_, remapped] = &self.expected[name];
        for (path, content) in &with.outputs {
            // What is no text does not depend on where it is written.
            let is_text = path.extension().is_some_and(|extension| extension == "d");
            let expected = [&alone, remapped].map(|shown| &shown.outputs[path]);
            assert!(
                expected.contains(&content) || is_text && *content == alone.outputs[path],
                "{what}: {}",
                path.display()
            );
        }
    }

    /// Where the outputs of a crate are.
    pub(crate) fn outputs_of(&self, name: &str) -> PathBuf {
        self.outputs.join(name).join("out")
    }

    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// Compiles a crate that has to come from the store.
    #[track_caller]
    pub(crate) fn check_hit(&self, name: &str, what: &str) {
        assert!(!self.check(name, what, |run| run), "{what}: {name} is a hit");
    }

    /// Whether the store verifies with all contents; repairs it if not. Fails if that does not
    /// mend it.
    #[track_caller]
    pub(crate) fn is_sound(&self, what: &str) -> bool {
        let sound = |options: &[&str]| {
            let run = self.space.cargo("", [&["doctor", "--checksums"], options].concat());
            let text = run.by_kache().quiet().launched_by(&self.launcher).run().text();
            (text.contains("verified with their contents"), text)
        };
        if sound(&[]).0 {
            return true;
        }
        sound(&["--repair"]);
        let (mended, text) = sound(&[]);
        assert!(mended, "{what}: the store is not mended:\n{text}");
        false
    }

    /// Keeps the store as it is, under another name.
    pub(crate) fn keep_store(&self, name: &str) {
        self.copy_store("cache", name);
    }

    /// Puts a kept store into the place of the present one.
    pub(crate) fn restore_store(&self, name: &str) {
        self.copy_store(name, "cache");
    }

    fn copy_store(&self, from: &str, to: &str) {
        self.space.remove(to);
        let mut copy = Command::new("cp");
        copy.args(["-a", "--sparse=always"]).arg(self.space.path(from)).arg(self.space.path(to));
        succeed(&mut copy);
    }

    /// A garbage collection of the store as wrappers start it.
    pub(crate) fn gc(&self, cap_bytes: u64) -> Cargo<'_> {
        let cap = cap_bytes.to_string();
        let store = self.store.to_str().expect("the space has a plain name");
        let arguments = ["gc", "--background", "--max-size", &cap, "--store", store];
        self.space.cargo("", arguments).by_kache().quiet().launched_by(&self.launcher)
    }

    /// Has everything that is in the store outlast a power cut.
    #[track_caller]
    pub(crate) fn make_durable(&self) {
        let collection = self.space.cargo("", ["gc"]).by_kache().quiet();
        let text = collection.launched_by(&self.launcher).succeed().text();
        assert!(text.contains("The store takes"), "{text}");
        let index = Index::open(&self.store).expect("an index");
        let mut results = index.entries().filter(|entry| entry.kind == Kind::Result);
        assert!(results.all(|entry| entry.position.is_durable()), "a result is not durable");
    }

    /// Bytes that the blobs take on the disk.
    pub(crate) fn blob_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        let blobs = disk::files(&self.store.join("blobs"));
        // A garbage collection may be at it.
        let sizes = blobs.iter().filter_map(|path| Some(path.metadata().ok()?.blocks() * 512));
        sizes.sum()
    }
}

pub(crate) fn name(number: usize) -> String {
    format!("c{number}")
}
