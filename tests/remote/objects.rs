//! One result, from one store to another, and everything that can be wrong with it on the way.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kache::config::{Config, RemoteKind};
use kache::inputs::is_shared_mtime;
use kache::remote::build::{identity, selection};
use kache::remote::{Remote, RemoteError, adopt_manifests};
use kache::store::{Store, current_boot};
use store_format::{
    ActionKey, BuildAction, BuildList, Digest, Input, InputKind, Kind, Manifest, ManifestList,
    NodeKind, Output, OutputRole, ResultRecord, RootedPath, UnitKey,
};

use crate::support::disk::files;

/// Two machines and what they share.
pub(crate) struct Pair {
    space: tempfile::TempDir,
    here: Arc<Store>,
    there: Arc<Store>,
    pub(crate) config: Config,
}

/// Name, role, mode and content of an output.
type Content<'a> = (&'a str, OutputRole, u32, &'a [u8]);

const UNIT: UnitKey = UnitKey(Digest([1; 32]));
pub(crate) const ACTION: ActionKey = ActionKey(Digest([2; 32]));

pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Pair {
    pub(crate) fn new() -> Self {
        let space = tempfile::tempdir().unwrap();
        let mut config = Config { cache_dir: space.path().join("here"), ..Config::default() };
        config.remote.kind = RemoteKind::Filesystem;
        config.remote.path = Some(space.path().join("shared"));
        let store = |name: &str| Arc::new(Store::open(&space.path().join(name)).unwrap());
        let (here, there) = (store("here"), store("there"));
        Self { space, here, there, config }
    }

    pub(crate) async fn remote(&self) -> Remote {
        Remote::open(&self.config).await.unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.space.path().join(name)
    }

    /// Puts a result into the first store.
    fn store(&self, contents: &[Content]) {
        let output = |(name, role, mode, content): &Content| {
            let blob = digest(content);
            let path = self.here.blob_path(&blob);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            Output {
                name: name.as_bytes().to_vec(),
                node: NodeKind::File,
                role: *role,
                mode: *mode,
                blob,
                size_bytes: content.len() as u64,
                blob_mtime_ns: 5,
                inline: None,
            }
        };
        let record = ResultRecord { outputs: contents.iter().map(output).collect(), ..record() };
        self.here.index.put(Kind::Result, &ACTION.0, &record.encode()).unwrap();
        let list = manifests("a").encode();
        self.here.index.put(Kind::Manifests, &UNIT.0, &list).unwrap();
    }

    /// Puts a result into the first store and uploads it.
    pub(crate) fn push(&self, contents: &[Content]) {
        self.store(contents);
        let push = async { self.remote().await.push(&self.here, &UNIT, &ACTION).await };
        runtime().block_on(push).unwrap();
    }

    /// Uploads a result after the one that is there could not be used.
    pub(crate) fn replace(&self, contents: &[Content]) {
        self.store(contents);
        runtime().block_on(async {
            let remote = self.remote().await;
            remote.pull(&self.there, &ACTION).await.unwrap_err();
            remote.push(&self.here, &UNIT, &ACTION).await.unwrap();
        });
    }

    /// Removes what was pulled.
    pub(crate) fn forget(&self) {
        self.there.index.remove(Kind::Result, &ACTION.0);
    }

    /// Names of all files among the blobs of the second store.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let directory = self.path("there/blobs");
        let found = if directory.exists() { files(&directory) } else { Vec::new() };
        found.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn pull(&self) -> Result<Option<ResultRecord>, RemoteError> {
        let pulled =
            runtime().block_on(async { self.remote().await.pull(&self.there, &ACTION).await });
        let stored = self.there.index.get(Kind::Result, &ACTION.0);
        let stored = stored.map(|record| ResultRecord::decode(ACTION, &record).unwrap());
        match pulled {
            Ok(transferred) => {
                assert_eq!(transferred.is_some(), stored.is_some());
                Ok(stored)
            }
            Err(error) => {
                assert_eq!(stored, None, "{error}");
                Err(error)
            }
        }
    }

    fn object(&self) -> PathBuf {
        Self::object_below(&self.path("shared"))
    }

    pub(crate) fn object_below(remote: &Path) -> PathBuf {
        remote.join("artifacts/v1/results").join(ACTION.0.to_string())
    }
}

pub(crate) fn record() -> ResultRecord {
    ResultRecord {
        action: ACTION,
        unit: UNIT,
        crate_name: b"stone".to_vec(),
        outputs: Vec::new(),
        stdout: Vec::new(),
        stderr: b"warning: soft".to_vec(),
        exit_status: 0,
        cost_us: 1234,
        boot: [3; 16],
        fetched: false,
        created_s: 99,
    }
}

fn manifests(name: &str) -> ManifestList {
    let name = RootedPath { root: None, path: name.into() };
    let mut list = ManifestList::default();
    list.promote(Manifest { inputs: vec![Input { kind: InputKind::File, name }] });
    list
}

#[test]
fn a_result_arrives_as_if_it_had_been_made_here() {
    let pair = Pair::new();
    let large = vec![7; 3 << 20];
    pair.push(&[
        ("libstone.rlib", OutputRole::Shared, 0o644, &large),
        ("stone", OutputRole::Private, 0o755, b"program"),
        ("twin", OutputRole::Private, 0o755, b"program"),
    ]);
    assert!(fs::metadata(pair.object()).unwrap().len() < 10_000, "objects are compressed");
    let result = pair.pull().unwrap().expect("it is there");
    assert_eq!((result.boot, result.fetched), (current_boot(), true));
    assert!(result.created_s > record().created_s, "it has the age that it has here");
    assert_eq!((result.stderr.as_slice(), result.cost_us), (&b"warning: soft"[..], 1234));
    for (output, mode) in result.outputs.iter().zip([0o444, 0o755, 0o755]) {
        let blob = pair.there.blob_path(&output.blob);
        let metadata = fs::metadata(&blob).unwrap();
        assert_eq!(digest(&fs::read(&blob).unwrap()), output.blob);
        assert_eq!(metadata.mode() & 0o7777, mode);
        assert_eq!(metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(), output.blob_mtime_ns);
        assert_eq!(is_shared_mtime(output.blob_mtime_ns), output.role == OutputRole::Shared);
        let beside = fs::read_dir(blob.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "nothing temporary stays");
    }
    for transfers in ["here/transfers", "there/transfers"] {
        assert_eq!(fs::read_dir(pair.path(transfers)).unwrap().count(), 0);
    }
}

#[test]
fn what_a_library_contains_travels_once() {
    let pair = Pair::new();
    let mut noise = vec![0; 300_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let metadata = &noise[1_234..200_000];
    pair.push(&[
        ("libstone.rmeta", OutputRole::Private, 0o644, metadata),
        ("libstone.rlib", OutputRole::Shared, 0o644, &noise),
        ("apart", OutputRole::Private, 0o644, &metadata.repeat(2)[7..100_000]),
    ]);
    let bytes = fs::metadata(pair.object()).unwrap().len();
    assert!((300_000..302_000).contains(&bytes), "{bytes}");
    let result = pair.pull().unwrap().expect("it is there");
    let content = |output: &Output| fs::read(pair.there.blob_path(&output.blob)).unwrap();
    assert!(result.outputs.iter().all(|output| digest(&content(output)) == output.blob));
    assert_eq!(pair.blobs().len(), 3);
}

#[test]
fn what_is_not_there_is_absent() {
    assert_eq!(Pair::new().pull().unwrap(), None);
}

#[test]
fn manifests_of_two_machines_are_merged() {
    let pair = Pair::new();
    pair.push(&[]);
    let there = manifests("b");
    pair.there.index.put(Kind::Manifests, &UNIT.0, &there.encode()).unwrap();
    pair.there.index.put(Kind::Result, &ACTION.0, &record().encode()).unwrap();
    let push = |store| {
        runtime().block_on(async { pair.remote().await.push(store, &UNIT, &ACTION).await }).unwrap()
    };
    assert_eq!(push(&pair.there).requests, 3, "the result is known, the manifests are not");
    assert_eq!(push(&pair.there).requests, 2, "both are known");
    let merged = runtime().block_on(async { pair.remote().await.manifests(&UNIT).await });
    let merged = merged.unwrap().unwrap();
    let mut expected = there;
    expected.extend(&manifests("a"));
    assert_eq!(merged, expected);
    adopt_manifests(&pair.here, &UNIT, &merged).unwrap();
    let adopted = pair.here.index.get(Kind::Manifests, &UNIT.0).unwrap();
    assert_eq!(ManifestList::decode(&adopted).unwrap().manifests().len(), 2);
}

#[test]
fn lists_of_builds_are_found_by_what_was_built() {
    let pair = Pair::new();
    let action = |unit| BuildAction {
        unit: UnitKey(Digest([unit; 32])),
        action: ACTION,
        manifests: manifests("a"),
        size_bytes: 10,
        cost_us: 20,
    };
    let one = BuildList { actions: vec![action(1), action(2)] };
    let two = BuildList { actions: vec![action(2), action(3)] };
    let ours = identity(b"lock", b"rustc", None);
    let theirs = identity(b"lock", b"rustc", Some("salt"));
    let (dev, release) = (selection("dev", ""), selection("release", ""));
    runtime().block_on(async {
        let remote = pair.remote().await;
        remote.put_build([ours], &dev, &one).await.unwrap();
        remote.put_build([ours], &release, &two).await.unwrap();
        assert_eq!(remote.build(&ours, &dev).await.unwrap(), Some(one.clone()));
        assert_eq!(remote.builds(&ours).await.unwrap().len(), 2);
        assert_eq!(remote.builds(&theirs).await.unwrap(), []);
        assert_eq!(remote.build(&theirs, &dev).await.unwrap(), None);
    });
    let units = |list: BuildList| list.actions.iter().map(|a| a.unit.0.0[0]).collect::<Vec<_>>();
    assert_eq!(units(two.merged_with(one)), [2, 3, 1]);
}
