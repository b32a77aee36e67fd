//! What a build used: enough to fetch all of it before the build asks.

use std::collections::HashSet;

use crate::wire::{Reader, WireError, Writer};
use crate::{ActionKey, FormatError, ManifestList, UnitKey};

/// Version of the encoding of the lists of builds.
pub const BUILD_VERSION: u8 = 1;
/// Most actions of one build.
pub const BUILD_ACTIONS_MAX: usize = 65_536;
/// Most bytes that the manifests of one build take in memory: far fewer can stand for them.
pub const BUILD_MEMORY_BYTES_MAX: usize = 256 << 20;
/// Unit, action, an empty list of manifests with its length, size, cost.
const ACTION_BYTES_MIN: usize = 32 + 32 + 3 + 1 + 1;

/// One action of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildAction {
    pub unit: UnitKey,
    pub action: ActionKey,
    /// What leads from the unit to the action.
    pub manifests: ManifestList,
    /// Bytes of the outputs.
    pub size_bytes: u64,
    /// Wall time of the compiler, microseconds.
    pub cost_us: u64,
}

/// The actions of a build, each after those that it depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildList {
    pub actions: Vec<BuildAction>,
}

impl BuildList {
    /// This list with what `earlier` knows of units that this one does not have.
    #[must_use]
    pub fn merged_with(mut self, earlier: Self) -> Self {
        let units: HashSet<UnitKey> = self.actions.iter().map(|action| action.unit).collect();
        let others = earlier.actions.into_iter().filter(|action| !units.contains(&action.unit));
        self.actions.extend(others);
        self.actions.truncate(BUILD_ACTIONS_MAX);
        self
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(BUILD_VERSION);
        writer.count(self.actions.len());
        for action in &self.actions {
            writer.digest(&action.unit.0);
            writer.digest(&action.action.0);
            writer.bytes(&action.manifests.encode());
            writer.varint(action.size_bytes);
            writer.varint(action.cost_us);
        }
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != BUILD_VERSION {
            return Err(FormatError::Version { found: version.into() });
        }
        let count = reader.count(BUILD_ACTIONS_MAX, ACTION_BYTES_MIN)?;
        let mut actions = Vec::with_capacity(count);
        let mut memory_bytes: usize = 0;
        for _ in 0..count {
            let action = BuildAction {
                unit: UnitKey(reader.digest()?),
                action: ActionKey(reader.digest()?),
                manifests: ManifestList::decode(reader.bytes(usize::MAX)?)?,
                size_bytes: reader.varint()?,
                cost_us: reader.varint()?,
            };
            memory_bytes = memory_bytes.saturating_add(action.manifests.memory_bytes());
            if memory_bytes > BUILD_MEMORY_BYTES_MAX {
                return Err(WireError::Limit.into());
            }
            actions.push(action);
        }
        reader.end()?;
        Ok(Self { actions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::INPUTS_MAX;
    use crate::{Input, InputKind, Manifest, RootedPath};

    /// Names of one or two bytes take as much memory as those of sixty.
    #[test]
    fn a_short_list_does_not_fill_the_memory() {
        let names = (0..INPUTS_MAX).map(|number| number.to_be_bytes()[6..].to_vec());
        let input = |path| Input { kind: InputKind::File, name: RootedPath { root: None, path } };
        let mut manifests = ManifestList::default();
        manifests.promote(Manifest { inputs: names.map(input).collect() });
        let count = BUILD_MEMORY_BYTES_MAX / manifests.memory_bytes();
        let manifests = manifests.encode();
        let list = |count| {
            let mut writer = Writer::new();
            writer.u8(BUILD_VERSION);
            writer.count(count);
            for _ in 0..count {
                writer.raw(&[0; 64]);
                writer.bytes(&manifests);
                writer.raw(&[0; 2]);
            }
            writer.finish()
        };
        assert_eq!(BuildList::decode(&list(1)).expect("it fits").actions.len(), 1);
        assert_eq!(BuildList::decode(&list(count + 1)), Err(WireError::Limit.into()));
    }
}
