//! A few small crates, compiled one by one through kache, and what has to come out of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use crate::support::cargo::{Build, Cargo};
use crate::support::disk;
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
    expected: BTreeMap<String, [Shown; 2]>,
}

impl Scene {
    /// A space with so many crates, none of which is in the store.
    pub(crate) fn new(crates: usize) -> Self {
        Self::of(TestSpace::new(), crates)
    }

    /// No crates but what the space has of its own.
    pub(crate) fn around(space: TestSpace) -> Self {
        Self { store: space.cache(), space, expected: BTreeMap::new() }
    }

    /// Uses the store of another scene from now on.
    pub(crate) fn share_store(&mut self, other: &Self) {
        self.store.clone_from(&other.store);
        let store = self.store.to_str().expect("the space has a plain name");
        self.space.set_variable("KACHE_CACHE_DIR", store);
    }

    pub(crate) fn of(space: TestSpace, crates: usize) -> Self {
        let mut scene = Self::around(space);
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
        scene.space.remove("cache");
        scene
    }

    /// The compiler's call for a crate.
    pub(crate) fn run(&self, name: &str, out: &str) -> Cargo<'_> {
        let arguments = ["--crate-name", name, "--edition=2024", "--crate-type", "lib"];
        let out = self.space.path(name).join(out);
        let out = out.to_str().expect("the space has a plain name");
        let rest = ["src/lib.rs", "--emit=dep-info,metadata,link", "--out-dir", out];
        self.space.rustc(name, arguments.into_iter().chain(rest))
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
        self.space.remove(format!("{name}/{out}"));
        let directory = self.space.path(format!("{name}/{out}"));
        std::fs::create_dir(directory).expect("a directory for outputs");
    }

    fn seen(&self, name: &str, out: &str, build: &Build) -> Shown {
        let directory = self.space.path(name).join(out);
        let mut outputs = Outputs::new();
        for path in disk::files(&directory) {
            let inside = path.strip_prefix(&directory).expect("it lies below").to_owned();
            // What a failed restore left behind under a temporary name nobody reads.
            if inside.extension().is_none_or(|extension| extension != "kache-tmp") {
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
            let text = run.by_kache().quiet().run().text();
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
        self.space.cargo("", arguments).by_kache().quiet()
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
