//! Manifests as bytes: names sorted and front-coded, hash suffixes packed.
//!
//! One entry is a tag byte (kind, root, whether packed), the number of bytes shared with the name
//! before it, the rest of the name, and for packed names the eight bytes whose hexadecimal digits
//! end it (`libserde-0123456789abcdef`).

use crate::digest::nibble;
use crate::wire::{Reader, WireError, Writer};
use crate::{FormatError, Input, InputKind, Manifest, Root, RootedPath};

/// Version of the encoding of manifests and of lists of them.
pub const MANIFEST_VERSION: u8 = 1;
/// Most inputs in one manifest.
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
const PACKED: u8 = 0x80;
const PACKED_DIGITS: usize = 16;
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
    /// Equal sets of inputs give equal bytes, in whatever order they are listed.
    pub fn encode(&self) -> Vec<u8> {
        let mut inputs: Vec<&Input> = self.inputs.iter().collect();
        inputs.sort_unstable();
        inputs.dedup();
        let mut writer = Writer::with_capacity(64 + inputs.len() * 24);
        writer.u8(MANIFEST_VERSION);
        writer.count(inputs.len());
        let mut before: &[u8] = &[];
        for input in inputs {
            encode_input(&mut writer, input, before);
            before = &input.name.path;
        }
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        check_version(reader.u8()?)?;
        let count = reader.count(INPUTS_MAX, ENTRY_BYTES_MIN)?;
        let mut inputs: Vec<Input> = Vec::with_capacity(count);
        let mut names_bytes = 0;
        for _ in 0..count {
            let before = inputs.last();
            let input = decode_input(&mut reader, before.map_or(&[], |input| &input.name.path))?;
            if before.is_some_and(|before| *before >= input) {
                return Err(FormatError::Order);
            }
            names_bytes += input.name.path.len();
            if names_bytes > NAMES_BYTES_MAX {
                return Err(WireError::Limit.into());
            }
            inputs.push(input);
        }
        reader.end()?;
        Ok(Self { inputs })
    }
}

fn check_version(found: u8) -> Result<(), FormatError> {
    if found == MANIFEST_VERSION {
        Ok(())
    } else {
        Err(FormatError::Version { found: found.into() })
    }
}

fn encode_input(writer: &mut Writer, input: &Input, before: &[u8]) {
    let name = &input.name.path[..];
    let packed = packable(name);
    let coded = name.len() - if packed.is_some() { PACKED_DIGITS } else { 0 };
    let shared = before.iter().zip(&name[..coded]).take_while(|(a, b)| a == b).count();
    let root = input.name.root.map_or(0, |root| root as u8);
    writer.u8(input.kind as u8 | root << ROOT_SHIFT | if packed.is_some() { PACKED } else { 0 });
    writer.count(shared);
    writer.bytes(&name[shared..coded]);
    if let Some(packed) = packed {
        writer.raw(&packed);
    }
}

fn decode_input(reader: &mut Reader<'_>, before: &[u8]) -> Result<Input, FormatError> {
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
    let mut path = Vec::with_capacity(shared.len() + rest.len() + PACKED_DIGITS);
    path.extend_from_slice(shared);
    path.extend_from_slice(rest);
    if tag & PACKED != 0 {
        for byte in reader.array::<{ PACKED_DIGITS / 2 }>()? {
            path.extend([digit(byte >> 4), digit(byte & 0x0f)]);
        }
    }
    if path.len() > NAME_BYTES_MAX {
        return Err(WireError::Limit.into());
    }
    Ok(Input { kind, name: RootedPath { root, path } })
}

/// The bytes whose lower-case hexadecimal digits end the name behind a dash, if such do.
fn packable(name: &[u8]) -> Option<[u8; PACKED_DIGITS / 2]> {
    let (stem, digits) = name.split_last_chunk::<PACKED_DIGITS>()?;
    if stem.last() != Some(&b'-') {
        return None;
    }
    let mut packed = [0; PACKED_DIGITS / 2];
    for (byte, [high, low]) in packed.iter_mut().zip(digits.as_chunks().0) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(packed)
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
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

    /// Bytes of all names together.
    pub(crate) fn names_bytes(&self) -> usize {
        let inputs = self.manifests.iter().flat_map(|manifest| &manifest.inputs);
        inputs.map(|input| input.name.path.len()).sum()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(MANIFEST_VERSION);
        writer.count(self.manifests.len());
        for manifest in &self.manifests {
            writer.bytes(&manifest.encode());
        }
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        check_version(reader.u8()?)?;
        let count = reader.count(MANIFESTS_MAX, 1)?;
        let mut manifests = Vec::with_capacity(count);
        for _ in 0..count {
            manifests.push(Manifest::decode(reader.bytes(usize::MAX)?)?);
        }
        reader.end()?;
        Ok(Self { manifests })
    }
}
