//! Results on other machines, through S3 or a directory that they share.
//!
//! Invariants:
//! - Nothing that comes from a remote is trusted: what it says of itself is checked before it is
//!   used (`object`), and a blob gets its name only after its digest is known to be right (`result`).
//! - A result is uploaded before the manifests that lead to it. No correctness rests on what a server
//!   does with two writers of one object: a lost update is a later miss.
//! - Every request has a deadline, and is tried again only where that can help.
//!
//! Work on the store is done on threads of its own kind; the runtime's never wait for a disk.

mod backend;
pub mod build;
mod damaged;
mod error;
mod filesystem;
mod object;
mod result;
mod s3;
mod within;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use store_format::{
    ActionKey, BuildList, Digest, Kind, ManifestList, ObjectKind, ResultRecord, UnitKey,
};
use tokio::sync::Semaphore;

use crate::config::{Config, RemoteKind};
use crate::store::Store;
use backend::{Backend, Body, Content};
use damaged::Damaged;
use error::ReadError;
pub use error::{Damage, LocalError, RemoteError, unless_damaged};
use filesystem::Directory;
use object::Sealer;
use s3::Bucket;

/// Directory of the layout that this program knows.
const LAYOUT: &str = "v1";
/// Directory of the store where objects and blobs are files that have no name yet.
const WORKSHOP: &str = "transfers";
/// No transfer takes so long that its file is this old.
const LEFT_BEHIND_NS: i64 = 24 * 3600 * 1_000_000_000;
/// How often a transfer that the network broke off is begun.
const ATTEMPTS_MAX: u32 = 3;
/// The longest pause before the second attempt; it doubles for each further one.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// A remote; cheap to clone.
#[derive(Clone, Debug)]
pub struct Remote {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    backend: Backend,
    sealer: Sealer,
    writable: bool,
    level: i32,
    /// Transfers at a time.
    permits: Semaphore,
    /// Where objects are made before they are uploaded, see [`WORKSHOP`].
    workshop: PathBuf,
    damaged: Arc<Damaged>,
}

/// What a transfer moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Bytes of objects as they are stored.
    pub wire_bytes: u64,
    /// Bytes of blobs.
    pub bytes: u64,
    pub requests: u32,
    /// The result was where it was to go already.
    pub was_there: bool,
}

impl Remote {
    /// Fails if no remote is configured or the configuration is wrong; makes no request.
    pub async fn open(config: &Config) -> Result<Self, RemoteError> {
        if !config.has_remote() {
            return Err(RemoteError::NotConfigured);
        }
        let prefix = match config.remote.prefix.trim_matches('/') {
            "" => LAYOUT.to_owned(),
            prefix => format!("{prefix}/{LAYOUT}"),
        };
        let settings = &config.remote;
        let backend = match (settings.kind, &settings.path, &settings.bucket) {
            (RemoteKind::Filesystem, Some(path), _) => {
                Backend::Filesystem(Directory { root: path.join(prefix) })
            }
            (RemoteKind::S3, _, Some(bucket)) => {
                Backend::S3(Bucket::open(settings, bucket, &prefix).await)
            }
            _ => return Err(RemoteError::NotConfigured),
        };
        let workshop = config.cache_dir.join(WORKSHOP);
        sweep(&workshop, crate::fs::clock_ns());
        let permits = usize::try_from(config.s3_concurrency).unwrap_or(Semaphore::MAX_PERMITS);
        let inner = Inner {
            backend,
            sealer: Sealer::load(config.remote.signing_key_file.as_deref())?,
            writable: !config.remote_readonly,
            level: i32::try_from(config.compression_level).unwrap_or(i32::MAX),
            permits: Semaphore::new(permits.min(Semaphore::MAX_PERMITS)),
            workshop,
            damaged: Arc::new(Damaged::of(config)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether anything may be uploaded.
    pub fn is_writable(&self) -> bool {
        self.inner.writable
    }

    /// The manifests of a unit.
    pub async fn manifests(&self, unit: &UnitKey) -> Result<Option<ManifestList>, RemoteError> {
        let _permit = self.inner.permits.acquire().await;
        self.find_manifests(unit).await
    }

    async fn find_manifests(&self, unit: &UnitKey) -> Result<Option<ManifestList>, RemoteError> {
        let name = manifests_name(unit);
        let payload = self.payload(&name, ObjectKind::Manifests, unit.0).await?;
        payload.map(|payload| decoded(&name, ManifestList::decode(&payload))).transpose()
    }

    /// Downloads, verifies and publishes a result in the store; `None` if it is definitely absent.
    pub async fn pull(
        &self,
        store: &Arc<Store>,
        action: &ActionKey,
    ) -> Result<Option<Transferred>, RemoteError> {
        let _permit = self.inner.permits.acquire().await;
        let (action, store, sealer) = (*action, Arc::clone(store), self.inner.sealer.clone());
        let unpack = move |body: &mut Body| {
            let bytes = result::unpack(&mut *body, &sealer, &store, &action)?;
            let wire_bytes = body.read_bytes();
            Ok(Transferred { wire_bytes, bytes, requests: 1, was_there: false })
        };
        let pulled = self.fetch(&result_name(&action), unpack).await;
        if let Err(RemoteError::Damaged { name, .. }) = &pulled {
            let damaged = Arc::clone(&self.inner.damaged);
            blocking(name, move || damaged.insert(action)).await?;
        }
        pulled
    }

    /// Whether a result is there, and not known to be damaged.
    pub async fn has(&self, action: &ActionKey) -> Result<bool, RemoteError> {
        let _permit = self.inner.permits.acquire().await;
        self.has_sound(action).await
    }

    async fn has_sound(&self, action: &ActionKey) -> Result<bool, RemoteError> {
        let damaged = self.inner.damaged.contains(action);
        Ok(!damaged && self.inner.backend.exists(&result_name(action)).await?)
    }

    /// Uploads a result, unless it is there, and merges the unit's manifests with what is there.
    pub async fn push(
        &self,
        store: &Arc<Store>,
        unit: &UnitKey,
        action: &ActionKey,
    ) -> Result<Transferred, RemoteError> {
        self.check_writable()?;
        let _permit = self.inner.permits.acquire().await;
        let name = result_name(action);
        let known = self.has_sound(action).await?;
        let mut transferred =
            Transferred { requests: 1, was_there: known, ..Transferred::default() };
        if !known {
            let (remote, store, action) = (self.clone(), Arc::clone(store), *action);
            let (packed, bytes) = blocking(&name, move || remote.pack(&store, &action)).await??;
            let wire_bytes = packed.as_file().metadata().map_err(LocalError::from)?.len();
            let content = Content::File(packed.path().to_owned());
            self.inner.backend.put(&name, content).await?;
            let damaged = Arc::clone(&self.inner.damaged);
            blocking(&name, move || damaged.remove(action)).await?;
            transferred = Transferred { wire_bytes, bytes, requests: 2, was_there: false };
        }
        let merged = self.push_manifests(store, unit).await?;
        transferred.wire_bytes += merged.wire_bytes;
        transferred.requests += merged.requests;
        Ok(transferred)
    }

    /// What a build used.
    pub async fn build(
        &self,
        identity: &Digest,
        selection: &Digest,
    ) -> Result<Option<BuildList>, RemoteError> {
        let _permit = self.inner.permits.acquire().await;
        let key = build_key(identity, selection);
        let name = build_name(identity, selection);
        let payload = self.payload(&name, ObjectKind::Build, key).await?;
        payload.map(|payload| decoded(&name, BuildList::decode(&payload))).transpose()
    }

    /// What the builds of an identity used, with their selections. Damaged lists are left out.
    pub async fn builds(&self, identity: &Digest) -> Result<Vec<(Digest, BuildList)>, RemoteError> {
        let prefix = format!("builds/{identity}/");
        let mut lists = Vec::new();
        for (selection, _) in self.list(&prefix).await? {
            match self.build(identity, &selection).await {
                Err(RemoteError::Damaged { name, damage }) => {
                    crate::log::warn!("{name}: {damage}");
                }
                list => lists.extend(list?.map(|list| (selection, list))),
            }
        }
        Ok(lists)
    }

    /// Says what a build used, under each of its identities.
    pub async fn put_build(
        &self,
        identities: impl IntoIterator<Item = Digest>,
        selection: &Digest,
        list: &BuildList,
    ) -> Result<(), RemoteError> {
        self.check_writable()?;
        let _permit = self.inner.permits.acquire().await;
        for identity in identities {
            let key = build_key(&identity, selection);
            let object = self.object(ObjectKind::Build, &key, &list.encode())?;
            let name = build_name(&identity, selection);
            self.inner.backend.put(&name, Content::Bytes(object)).await?;
        }
        Ok(())
    }

    /// Every result that is there, with the bytes of its object.
    pub async fn results(&self) -> Result<Vec<(ActionKey, u64)>, RemoteError> {
        let found = self.list("results/").await?;
        Ok(found.into_iter().map(|(key, bytes)| (ActionKey(key), bytes)).collect())
    }

    /// The objects below a prefix whose names are digests, with their sizes.
    async fn list(&self, prefix: &str) -> Result<Vec<(Digest, u64)>, RemoteError> {
        let _permit = self.inner.permits.acquire().await;
        let mut found = self.inner.backend.list(prefix).await?;
        found.sort();
        let key = |name: &str| Digest::from_hex(name.strip_prefix(prefix)?);
        Ok(found.iter().filter_map(|(name, bytes)| Some((key(name)?, *bytes))).collect())
    }

    /// Makes a round trip: with leave to write an object is written, read and removed, without it an
    /// object is asked for that is not there.
    pub async fn check(&self) -> Result<(), RemoteError> {
        let key = Digest(*blake3::hash(&random().to_le_bytes()).as_bytes());
        let name = format!("trials/{key}");
        if !self.inner.writable {
            return self.inner.backend.get(&name).await.map(drop);
        }
        let object = self.object(ObjectKind::Build, &key, &BuildList::default().encode())?;
        self.inner.backend.put(&name, Content::Bytes(object)).await?;
        let read = self.payload(&name, ObjectKind::Build, key).await;
        let removed = self.inner.backend.remove(&name).await;
        if read?.is_none() {
            return Err(RemoteError::Refused {
                operation: "get",
                name,
                reason: "an object that was written is not there".to_owned(),
            });
        }
        removed
    }

    fn check_writable(&self) -> Result<(), RemoteError> {
        if self.inner.writable { Ok(()) } else { Err(RemoteError::ReadOnly) }
    }

    async fn push_manifests(
        &self,
        store: &Store,
        unit: &UnitKey,
    ) -> Result<Transferred, RemoteError> {
        let ours = store.index.get(Kind::Manifests, &unit.0);
        let Some(ours) = ours.and_then(|record| ManifestList::decode(&record).ok()) else {
            return Ok(Transferred::default());
        };
        let theirs = unless_damaged(self.find_manifests(unit).await)?.unwrap_or_default();
        if ours.manifests().iter().all(|manifest| theirs.manifests().contains(manifest)) {
            return Ok(Transferred { requests: 1, ..Transferred::default() });
        }
        let mut merged = ours;
        merged.extend(&theirs);
        let object = self.object(ObjectKind::Manifests, &unit.0, &merged.encode())?;
        let wire_bytes = object.len() as u64;
        self.inner.backend.put(&manifests_name(unit), Content::Bytes(object)).await?;
        Ok(Transferred { wire_bytes, requests: 2, ..Transferred::default() })
    }

    /// The object of a result in a file, and how many bytes its blobs have.
    fn pack(
        &self,
        store: &Store,
        action: &ActionKey,
    ) -> Result<(tempfile::NamedTempFile, u64), RemoteError> {
        let record = store.index.get(Kind::Result, &action.0);
        let record = record.and_then(|record| ResultRecord::decode(*action, &record).ok());
        let record = record.ok_or(RemoteError::NotStored(*action))?;
        let workshop = &self.inner.workshop;
        crate::fs::create_directories(workshop).map_err(LocalError::from)?;
        let file = tempfile::NamedTempFile::new_in(workshop).map_err(LocalError::from)?;
        result::pack(store, &self.inner.sealer, self.inner.level, &record, file.as_file())?;
        Ok((file, record.blobs().iter().map(|output| output.size_bytes).sum()))
    }

    /// A small object around a payload.
    fn object(
        &self,
        kind: ObjectKind,
        key: &Digest,
        payload: &[u8],
    ) -> Result<Vec<u8>, RemoteError> {
        let payload = object::compressed(payload, self.inner.level).map_err(LocalError::from)?;
        Ok(self.inner.sealer.seal(kind, key, &payload))
    }

    /// The payload of an object that has nothing else.
    async fn payload(
        &self,
        name: &str,
        kind: ObjectKind,
        key: Digest,
    ) -> Result<Option<Vec<u8>>, RemoteError> {
        let sealer = self.inner.sealer.clone();
        let read = move |body: &mut Body| Ok(sealer.open(body, kind, &key)?);
        self.fetch(name, read).await
    }

    /// Has `read` make something of an object. A transfer that breaks off is begun anew.
    async fn fetch<T: Send + 'static>(
        &self,
        name: &str,
        read: impl Fn(&mut Body) -> Result<T, ReadError> + Clone + Send + 'static,
    ) -> Result<Option<T>, RemoteError> {
        let mut pause_max = PAUSE_MAX;
        for _ in 1..ATTEMPTS_MAX {
            match self.fetch_once(name, read.clone()).await {
                Err(error) if !error.is_definite() => crate::log::debug!("{error}; once more"),
                done => return done,
            }
            let part = f64::from(random().to_le_bytes()[0]) / 255.0;
            tokio::time::sleep(pause_max.mul_f64(part)).await;
            pause_max *= 2;
        }
        self.fetch_once(name, read).await
    }

    async fn fetch_once<T: Send + 'static>(
        &self,
        name: &str,
        read: impl Fn(&mut Body) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<Option<T>, RemoteError> {
        let Some(mut body) = self.inner.backend.get(name).await? else { return Ok(None) };
        let reading = blocking(name, move || (read(&mut body), body.failure()));
        match reading.await? {
            (Ok(value), _) => Ok(Some(value)),
            (Err(ReadError::Damaged(_)), Some(reason)) => Err(unreachable("get", name, reason)),
            (Err(error), _) => Err(error.of(name)),
        }
    }
}

/// Puts a unit's manifests behind those that the store knows of it.
pub fn adopt_manifests(
    store: &Store,
    unit: &UnitKey,
    manifests: &ManifestList,
) -> Result<(), LocalError> {
    store.index.update(Kind::Manifests, &unit.0, |known| {
        let known = known.and_then(|record| ManifestList::decode(&record).ok());
        let mut list = known.clone().unwrap_or_default();
        list.extend(manifests);
        (known.as_ref() != Some(&list)).then(|| list.encode())
    })?;
    Ok(())
}

/// Removes what killed processes left of their transfers. How old it is, its `ctime` says: a shared
/// blob has its modification time, long past, before its name.
fn sweep(workshop: &Path, now_ns: i64) {
    for name in crate::fs::list_names_if_present(workshop).unwrap_or_default() {
        let path = workshop.join(name);
        let is_old = |stat: crate::fs::Stat| now_ns.saturating_sub(stat.ctime_ns) > LEFT_BEHIND_NS;
        if crate::fs::lstat(&path).is_ok_and(is_old)
            && let Err(error) = crate::fs::remove_if_present(&path)
        {
            crate::log::warn!("{error}");
        }
    }
}

fn manifests_name(unit: &UnitKey) -> String {
    format!("manifests/{}", unit.0)
}

fn result_name(action: &ActionKey) -> String {
    format!("results/{}", action.0)
}

fn build_name(identity: &Digest, selection: &Digest) -> String {
    format!("builds/{identity}/{selection}")
}

fn build_key(identity: &Digest, selection: &Digest) -> Digest {
    Digest(*blake3::hash(&[identity.0, selection.0].concat()).as_bytes())
}

fn decoded<T>(name: &str, value: Result<T, store_format::FormatError>) -> Result<T, RemoteError> {
    value.map_err(|error| ReadError::from(error).of(name))
}

fn unreachable(operation: &'static str, name: &str, reason: String) -> RemoteError {
    RemoteError::Unreachable { operation, name: name.to_owned(), reason }
}

/// Does work on files away from the runtime's own threads.
async fn blocking<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RemoteError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| unreachable("transfer", name, error.to_string()))
}

/// As random as the standard library's hash tables.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_transfers_left_is_removed_a_day_later() {
        let workshop = tempfile::tempdir().unwrap();
        let file = workshop.path().join("blob");
        std::fs::write(&file, "one of another process").unwrap();
        let now_ns = crate::fs::clock_ns();
        // As that of a library that is about to get its name.
        crate::fs::set_mtime(&file, 1_000_000_000_000_000_000).unwrap();
        sweep(workshop.path(), now_ns);
        assert!(file.exists());
        sweep(workshop.path(), now_ns + LEFT_BEHIND_NS + 1_000_000_000);
        assert!(!file.exists());
    }

    /// The daemon runs them on tasks of their own.
    #[test]
    fn transfers_can_be_spawned() {
        fn spawned<T: Send>(_: impl Fn(Remote, Arc<Store>, Digest) -> T) {}
        spawned(|remote, store, key| async move {
            let (unit, action) = (UnitKey(key), ActionKey(key));
            drop(remote.manifests(&unit).await);
            drop(remote.pull(&store, &action).await);
            drop(remote.push(&store, &unit, &action).await);
            drop(remote.builds(&key).await);
            drop(remote.put_build([key], &key, &BuildList::default()).await);
        });
    }
}
