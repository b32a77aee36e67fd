//! Manifests as bytes: names sorted and front-coded.
//!
//! One entry is a tag byte (kind, root, whether the module's other place is looked at as well), the
//! number of bytes shared with the name before it, and the rest of the name.

use std::collections::HashSet;

use crate::pack::{pack, unpack};
use crate::wire::{Reader, WireError, Writer};
use crate::{FormatError, Input, InputKind, Manifest, Root, RootedPath, checksum};

/// Version of the encoding of lists of manifests.
pub const MANIFEST_VERSION: u8 = 2;
/// Most inputs in one manifest, but for those that others imply.
pub const INPUTS_MAX: usize = 65_536;
/// Most bytes in one input's name.
pub const NAME_BYTES_MAX: usize = 65_536;
/// Most bytes of all names of a manifest together, when decoded.
pub const NAMES_BYTES_MAX: usize = 16 << 20;
/// Most manifests in a list.
pub const MANIFESTS_MAX: usize = 8;

const KIND_MASK: u8 = 0x0f;
const ROOT_SHIFT: u32 = 4;
const ROOT_MASK: u8 = 0x07;
const WITH_OTHER_PLACE: u8 = 0x80;
/// Tag, shared length, rest length.
const ENTRY_BYTES_MIN: usize = 3;

const _: () = assert!(InputKind::ALL.len() <= KIND_MASK as usize);
const _: () = assert!(Root::ALL.len() <= ROOT_MASK as usize);

impl InputKind {
    /// Every kind, in the order of its number, from 1.
    pub const ALL: [Self; 11] = [
        Self::File,
        Self::Listing,
        Self::Presence,
        Self::Variable,
        Self::AllVariables,
        Self::Program,
        Self::DependencyMetadata,
        Self::DependencyLibrary,
        Self::RootLocation,
        Self::LinkTarget,
        Self::Machine,
    ];

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

impl Root {
    /// Every root, in the order of its number, from 1.
    pub const ALL: [Self; 6] =
        [Self::Workspace, Self::Package, Self::Build, Self::CargoHome, Self::Sysroot, Self::Home];

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

impl Manifest {
    /// Tells manifests of different inputs apart, in whatever order they are listed.
    pub fn checksum(&self) -> u64 {
        let mut writer = Writer::new();
        self.write(&mut writer);
        checksum(&writer.finish())
    }

    /// Equal sets of inputs give equal bytes, in whatever order they are listed.
    fn write(&self, writer: &mut Writer) {
        let mut inputs: Vec<&Input> = self.inputs.iter().collect();
        inputs.sort_unstable();
        inputs.dedup();
        let of_module = |input: &&Input| {
            other_place(input).filter(|other| inputs.binary_search(&other).is_ok())
        };
        let others: HashSet<Input> = inputs.iter().filter_map(of_module).collect();
        writer.count(inputs.len() - others.len());
        let mut before: &[u8] = &[];
        for input in inputs {
            if !others.contains(input) {
                let implies = other_place(input).is_some_and(|other| others.contains(&other));
                write_input(writer, input, implies, before);
                before = &input.name.path;
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let count = reader.count(INPUTS_MAX, ENTRY_BYTES_MIN)?;
        let mut inputs: Vec<Input> = Vec::with_capacity(count);
        let mut others = Vec::new();
        let mut names_bytes = 0;
        for _ in 0..count {
            let before = inputs.last();
            let (input, implies) =
                read_input(reader, before.map_or(&[], |input| &input.name.path))?;
            if before.is_some_and(|before| *before >= input) {
                return Err(FormatError::Order);
            }
            names_bytes += input.name.path.len();
            if implies {
                let other = other_place(&input).ok_or(FormatError::Name)?;
                names_bytes += other.name.path.len();
                others.push(other);
            }
            if names_bytes > NAMES_BYTES_MAX {
                return Err(WireError::Limit.into());
            }
            inputs.push(input);
        }
        if !others.is_empty() {
            let start = inputs.partition_point(|input| input.kind < InputKind::Presence);
            let end = inputs.partition_point(|input| input.kind <= InputKind::Presence);
            others.extend(inputs.drain(start..end));
            others.sort_unstable();
            others.dedup();
            inputs.splice(start..start, others);
        }
        Ok(Self { inputs })
    }
}

/// Where else the compiler looks for the module in a file, to complain of two: `a.rs` may be `a/mod.rs`.
fn other_place(input: &Input) -> Option<Input> {
    if input.kind != InputKind::File {
        return None;
    }
    let stem = input.name.path.strip_suffix(b".rs")?;
    let path = match stem.strip_suffix(b"/mod") {
        Some(directory) => [directory, b".rs"].concat(),
        None => [stem, b"/mod.rs"].concat(),
    };
    let name = RootedPath { root: input.name.root, path };
    Some(Input { kind: InputKind::Presence, name })
}

fn check_version(found: u8) -> Result<(), FormatError> {
    if found == MANIFEST_VERSION {
        Ok(())
    } else {
        Err(FormatError::Version { found: found.into() })
    }
}

fn write_input(writer: &mut Writer, input: &Input, implies: bool, before: &[u8]) {
    let name = &input.name.path[..];
    let shared = match input.kind {
        // Many manifests have the same variables in a row, which makes for one copy.
        InputKind::Variable => 0,
        _ => before.iter().zip(name).take_while(|(a, b)| a == b).count(),
    };
    let root = input.name.root.map_or(0, |root| root as u8);
    let implies = if implies { WITH_OTHER_PLACE } else { 0 };
    writer.u8(input.kind as u8 | root << ROOT_SHIFT | implies);
    writer.count(shared);
    writer.bytes(&name[shared..]);
}

/// An input, and whether it implies another one.
fn read_input(reader: &mut Reader<'_>, before: &[u8]) -> Result<(Input, bool), FormatError> {
    let tag = reader.u8()?;
    let kind_number = tag & KIND_MASK;
    let kind = InputKind::from_number(kind_number)
        .ok_or(FormatError::Tag { what: "kind of input", value: kind_number.into() })?;
    let root = match tag >> ROOT_SHIFT & ROOT_MASK {
        0 => None,
        number => Some(
            Root::from_number(number)
                .ok_or(FormatError::Tag { what: "root", value: number.into() })?,
        ),
    };
    let shared = usize::try_from(reader.varint()?).map_err(|_| WireError::Limit)?;
    let shared = before.get(..shared).ok_or(WireError::Limit)?;
    let rest = reader.bytes(NAME_BYTES_MAX - shared.len().min(NAME_BYTES_MAX))?;
    let mut path = Vec::with_capacity(shared.len() + rest.len());
    path.extend_from_slice(shared);
    path.extend_from_slice(rest);
    Ok((Input { kind, name: RootedPath { root, path } }, tag & WITH_OTHER_PLACE != 0))
}

/// The manifests of a unit key, most recently used first; at most [`MANIFESTS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestList {
    manifests: Vec<Manifest>,
}

impl ManifestList {
    /// Most recently used first.
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// Puts a manifest in front; an equal one that is there moves, and the last one falls out of a
    /// full list.
    pub fn promote(&mut self, manifest: Manifest) {
        self.manifests.retain(|known| *known != manifest);
        self.manifests.insert(0, manifest);
        self.manifests.truncate(MANIFESTS_MAX);
    }

    /// Puts the manifests of another list behind these, as far as there is room.
    pub fn extend(&mut self, other: &Self) {
        for manifest in &other.manifests {
            if self.manifests.len() < MANIFESTS_MAX && !self.manifests.contains(manifest) {
                self.manifests.push(manifest.clone());
            }
        }
    }

    /// Bytes that the inputs take in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let inputs = self.manifests.iter().flat_map(|manifest| &manifest.inputs);
        inputs.map(|input| size_of::<Input>() + input.name.path.len()).sum()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut plain = Writer::new();
        plain.count(self.manifests.len());
        for manifest in &self.manifests {
            manifest.write(&mut plain);
        }
        let mut writer = Writer::new();
        writer.u8(MANIFEST_VERSION);
        pack(&mut writer, &plain.finish());
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut packed = Reader::new(bytes);
        check_version(packed.u8()?)?;
        let plain = unpack(packed)?;
        let mut reader = Reader::new(&plain);
        let count = reader.count(MANIFESTS_MAX, 1)?;
        let mut manifests = Vec::with_capacity(count);
        for _ in 0..count {
            manifests.push(Manifest::read(&mut reader)?);
        }
        reader.end()?;
        Ok(Self { manifests })
    }

    /// The manifests, for who needs nothing else.
    pub fn into_manifests(self) -> Vec<Manifest> {
        self.manifests
    }
}
