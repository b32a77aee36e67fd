//! One action from its key to its end: what compilations and build-script runs have in common.
//!
//! Lookup, restore and replay on a hit; on a miss, waiting for an equal action that is being done
//! elsewhere. Making the key before, and doing the action, is up to `wrap.rs` and `script.rs`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::exit;
use std::time::{Duration, Instant};

use store_format::slot::ProcessId;
use store_format::{
    ActionKey, Digest, EventOutcome, Input, Manifest, ManifestList, ResultRecord, UnitKey,
};

use crate::account::Account;
use crate::client::Call;
use crate::config::Config;
use crate::index::wait::{Waited, is_stopped, wait};
use crate::index::{Claim, ClaimGuard, Kind};
use crate::inputs::Inputs;
use crate::jobs::Lent;
use crate::key::{UnitComponents, action_key, claim_key};
use crate::outcome::Reason;
use crate::publish;
use crate::replay::Streams;
use crate::roots::Roots;
use crate::store::restore::{Options, Tree, restore};
use crate::store::{Store, current_boot};

/// How long an equal action in another process is waited for.
const WAIT_MAX: Duration = Duration::from_mins(10);
/// How often it is looked whether somebody has suspended that process.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How often an action is claimed: each time another process may have been faster.
const CLAIMS_MAX: usize = 3;

/// What is known of an action before the store is asked for its result.
#[derive(Debug)]
pub struct Session {
    pub config: Config,
    pub store: Store,
    pub working_directory: PathBuf,
    pub roots: Roots,
    pub components: UnitComponents,
    pub unit: UnitKey,
    /// Where the outputs go, and what of an earlier action may stay there.
    pub tree: Tree,
    /// The inputs that are certain before anything is observed: actions that differ in them do
    /// not wait for each other.
    pub certain: Vec<Input>,
    /// What stays the same when the sources, flags or dependencies of this crate change.
    pub name: Digest,
    /// The compiler: it tells the builds of different toolchains apart.
    pub program: OsString,
    /// The result of a hit that is to be verified by doing the action all the same.
    pub expected: Option<ResultRecord>,
    pub account: Account,
}

/// What a lookup found.
#[derive(Debug)]
pub enum Lookup {
    /// Everything is in place, replayed and reported.
    Hit,
    Nothing(Reason),
}

/// What to do after the store was asked.
#[derive(Debug)]
pub enum Turn {
    /// Do the action; the claim tells others to wait for it.
    Act(Reason, Option<Claimed>),
    /// Something inside kache is broken: do the action without it.
    GiveUp,
}

/// How a result came to be in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It was there.
    Store,
    /// This call had it fetched.
    Demanded,
}

/// What asking the remote brought.
#[derive(Default)]
struct Elsewhere {
    /// Whether everything is in place, replayed and reported.
    in_place: bool,
    /// The place among Cargo's processes, if it was lent meanwhile: to be taken back.
    lent: Option<Lent>,
}

/// A claim on an action, held until it is dropped.
pub type Claimed = ClaimGuard;

impl Session {
    /// Ends the process if the action's result is there, becomes available while an equal action
    /// elsewhere is waited for, or is in the remote.
    pub fn seek(&mut self) -> Turn {
        let mut reason = match self.guarded_lookup() {
            Some(Lookup::Hit) => exit(0),
            Some(Lookup::Nothing(reason)) => reason,
            None => return Turn::GiveUp,
        };
        let key = self.claim_key();
        let mut has_asked = false;
        for _ in 0..CLAIMS_MAX {
            let claimed = match self.store.index.claim(&key) {
                Claim::Owned(guard) => Some(guard),
                Claim::Busy(owner) => {
                    let lent = Lent::new();
                    let waited = wait_for_owner(owner);
                    drop(lent);
                    if waited == Waited::TimedOut {
                        break;
                    }
                    None
                }
                Claim::Unavailable => break,
            };
            // Who had the claim until now may have published since the last look.
            reason = match self.guarded_lookup() {
                Some(Lookup::Hit) => {
                    drop(claimed);
                    exit(0)
                }
                Some(Lookup::Nothing(reason)) => reason,
                None => return Turn::GiveUp,
            };
            if claimed.is_none() {
                continue;
            }
            if has_asked {
                return Turn::Act(reason, claimed);
            }
            // Others wait meanwhile.
            let Elsewhere { in_place, lent } = self.seek_elsewhere();
            has_asked = true;
            if !in_place && lent.is_none() {
                return Turn::Act(reason, claimed);
            }
            // Cargo may have others run for long now: whoever waits for this action does not wait
            // for that, and what came too late may be there after it.
            drop(claimed);
            drop(lent);
            if in_place {
                exit(0)
            }
        }
        if !has_asked && self.seek_elsewhere().in_place {
            exit(0)
        }
        Turn::Act(reason, None)
    }

    fn seek_elsewhere(&mut self) -> Elsewhere {
        if !self.config.has_remote() || self.expected.is_some() {
            return Elsewhere::default();
        }
        catch_unwind(AssertUnwindSafe(|| self.fetch())).unwrap_or_default()
    }

    /// Has the daemon fetch the action's result, and puts it in place, replays and reports it.
    fn fetch(&mut self) -> Elsewhere {
        let Some(mut call) = Call::begin(&self.config, &self.store, &self.program) else {
            return Elsewhere::default();
        };
        let manifests = call.manifests(self.unit).unwrap_or_default();
        let mut inputs =
            Inputs::new(&self.roots, &self.store.memo, &self.working_directory).keeping();
        let mut asked = HashSet::new();
        let fetched = manifests.manifests().iter().find_map(|manifest| {
            let action = action_key(self.unit, manifest, &mut inputs)?;
            (asked.insert(action) && call.fetch(action)).then_some((manifest, action))
        });
        let lent = call.end(fetched.is_some());
        drop(inputs);
        self.account.looked_up();
        let Some((manifest, action)) = fetched else {
            // What comes later than that is found by them.
            if lent.is_some() && !asked.is_empty() {
                manifests.manifests().iter().for_each(|manifest| self.publish_manifest(manifest));
            }
            return Elsewhere { in_place: false, lent };
        };
        // The next call finds it in the store.
        self.publish_manifest(manifest);
        let stored = find_result(&self.store, action);
        // It is too little work to wait for a token before it.
        let placed =
            stored.and_then(|stored| self.put_in_place(stored, manifest, Origin::Demanded));
        Elsewhere { in_place: placed.is_some(), lent }
    }

    fn publish_manifest(&self, manifest: &Manifest) {
        if let Err(error) = publish::publish_manifest(&self.store, self.unit, manifest) {
            crate::log::warn!("a result that was fetched will be asked for again: {error}");
        }
    }

    fn guarded_lookup(&mut self) -> Option<Lookup> {
        catch_unwind(AssertUnwindSafe(|| self.lookup())).ok()
    }

    /// Looks for a result of exactly this action, and restores, replays and reports it.
    fn lookup(&mut self) -> Lookup {
        let manifests = self.manifests();
        if manifests.is_empty() {
            return Lookup::Nothing(Reason::FirstBuild);
        }
        let mut inputs = Inputs::new(&self.roots, &self.store.memo, &self.working_directory);
        if manifests.len() > 1 {
            inputs = inputs.keeping();
        }
        let found = manifests.iter().find_map(|manifest| {
            let action = action_key(self.unit, manifest, &mut inputs)?;
            Some((find_result(&self.store, action)?, manifest))
        });
        drop(inputs);
        self.account.looked_up();
        let Some((stored, manifest)) = found else {
            return Lookup::Nothing(Reason::InputsDiffer);
        };
        if self.config.verify_compiles.applies(&stored.result.action.0) {
            self.expected = Some(stored.result);
            return Lookup::Nothing(Reason::Verifying);
        }
        match self.put_in_place(stored, manifest, Origin::Store) {
            Some(()) => Lookup::Hit,
            None => Lookup::Nothing(Reason::BlobUnusable),
        }
    }

    fn manifests(&self) -> Vec<Manifest> {
        self.store
            .index
            .get(Kind::Manifests, &self.unit.0)
            .and_then(|record| ManifestList::decode(&record).ok())
            .map(ManifestList::into_manifests)
            .unwrap_or_default()
    }

    /// Restores a result and replays its streams; `None` if that cannot be done.
    fn put_in_place(&mut self, stored: Stored, manifest: &Manifest, origin: Origin) -> Option<()> {
        let Stored { mut result, is_durable } = stored;
        let streams = Streams::of(&result, &self.roots)?;
        let from_earlier_boot = !is_durable && result.boot != current_boot();
        let options = Options {
            link_mode: self.config.link_mode,
            verify: from_earlier_boot || self.config.verify_restores.applies(&result.action.0),
        };
        let restored =
            restore(&self.store, &self.roots, &self.tree, manifest, &mut result, options);
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) => {
                crate::log::warn!("{}: {error}", String::from_utf8_lossy(&result.crate_name));
                return None;
            }
        };
        streams.write();
        let outcome = match origin {
            Origin::Demanded => EventOutcome::RemoteHit,
            Origin::Store if result.fetched => EventOutcome::PrefetchHit,
            Origin::Store => EventOutcome::LocalHit,
        };
        self.account.hit(&self.store, &result, restored, outcome);
        if from_earlier_boot || result.fetched {
            publish::confirm(&self.store, &result);
        }
        Some(())
    }

    fn claim_key(&self) -> Digest {
        let mut inputs = Inputs::new(&self.roots, &self.store.memo, &self.working_directory);
        let values: Vec<Digest> =
            self.certain.iter().filter_map(|input| inputs.value(input)).collect();
        claim_key(self.unit, &values)
    }
}

/// A result as it was found in the store.
struct Stored {
    result: ResultRecord,
    is_durable: bool,
}

fn find_result(store: &Store, action: ActionKey) -> Option<Stored> {
    let found = store.index.find(Kind::Result, &action.0)?;
    let result = ResultRecord::decode(action, &found.payload).ok()?;
    Some(Stored { result, is_durable: found.is_durable })
}

/// Waits for the end of a process, as long as that can be expected.
fn wait_for_owner(owner: ProcessId) -> Waited {
    let began = Instant::now();
    while began.elapsed() < WAIT_MAX {
        if wait(owner, LOOK_INTERVAL) == Waited::Gone {
            return Waited::Gone;
        }
        if is_stopped(owner) {
            break;
        }
    }
    Waited::TimedOut
}
