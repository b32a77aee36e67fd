//! What every object of a remote begins with: what it is, whose it is, a seal over both and the
//! payload, and a signature. Whoever reads an object knows which one was asked for; another one is not taken for it.

use crate::wire::{Reader, WireError, Writer};
use crate::{Digest, FormatError};

/// Version of the objects: of their head, and of how payload and blobs follow it.
pub const OBJECT_VERSION: u8 = 2;
/// First bytes of every object.
pub const OBJECT_MAGIC: [u8; 8] = *b"kacheobj";
/// Bytes in front of the payload.
pub const OBJECT_HEAD_BYTES: usize = 112;
/// Most bytes of a payload as it is stored.
pub const OBJECT_PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// Most bytes of the list of a build, when decompressed.
pub const BUILD_BYTES_MAX: usize = 64 << 20;
/// Frames are written with windows of at most 2 to this power, and larger ones are not read.
pub const WINDOW_LOG_MAX: u32 = 23;

/// What stands in a blob's place whose content is part of the first one's: a frame that readers of
/// zstd skip, with the place of its first byte.
pub const PART_FRAME_BYTES: usize = 16;
/// First bytes of such a frame: zstd's for one to be skipped, and the length of what follows.
pub const PART_FRAME_HEAD: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 8, 0, 0, 0];

/// The frame for a part that begins there.
pub fn part_frame(place: u64) -> [u8; PART_FRAME_BYTES] {
    let mut frame = [0; PART_FRAME_BYTES];
    frame[..8].copy_from_slice(&PART_FRAME_HEAD);
    frame[8..].copy_from_slice(&place.to_le_bytes());
    frame
}

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ObjectKind {
    /// A unit's list of manifests; the key is the unit's.
    Manifests = 1,
    /// A result with its blobs; the key is the action's.
    Result = 2,
    /// What a build used; the key is made of its identity and selection.
    Build = 3,
}

impl ObjectKind {
    /// Every kind, in the order of its number, from 1.
    pub const ALL: [Self; 3] = [Self::Manifests, Self::Result, Self::Build];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// The head of an object as read: whether seal and signature are the right ones is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    pub kind: ObjectKind,
    pub key: Digest,
    pub payload_bytes: usize,
    /// Digest of what is in front of it and of the payload.
    pub seal: Digest,
    /// Keyed digest of the seal.
    pub signature: Option<Digest>,
}

impl ObjectHead {
    /// What the seal covers in front of the payload.
    pub fn sealed_part(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(OBJECT_HEAD_BYTES);
        writer.raw(&OBJECT_MAGIC);
        writer.u8(OBJECT_VERSION);
        writer.u8(self.kind as u8);
        writer.u8(self.signature.is_some().into());
        writer.u8(0);
        // Lengths are checked when they are read; a longer payload has no seal that fits.
        writer.u32(u32::try_from(self.payload_bytes).unwrap_or(u32::MAX));
        writer.digest(&self.key);
        writer.finish()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.sealed_part();
        bytes.extend_from_slice(&self.seal.0);
        bytes.extend_from_slice(&self.signature.map_or([0; 32], |signature| signature.0));
        bytes
    }

    pub fn decode(bytes: &[u8; OBJECT_HEAD_BYTES]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != OBJECT_MAGIC {
            return Err(FormatError::Magic);
        }
        let version = reader.u8()?;
        if version != OBJECT_VERSION {
            return Err(FormatError::Version { found: version.into() });
        }
        let number = reader.u8()?;
        let kind = ObjectKind::from_number(number)
            .ok_or(FormatError::Tag { what: "kind of object", value: number.into() })?;
        let signed = crate::result::decode_bool(reader.u8()?)?;
        if reader.u8()? != 0 {
            return Err(WireError::Limit.into());
        }
        let payload_bytes = reader.u32()? as usize;
        if payload_bytes > OBJECT_PAYLOAD_BYTES_MAX {
            return Err(WireError::Limit.into());
        }
        let key = reader.digest()?;
        let seal = reader.digest()?;
        let signature = reader.digest()?;
        if !signed && signature.0 != [0; 32] {
            return Err(WireError::Limit.into());
        }
        Ok(Self { kind, key, payload_bytes, seal, signature: signed.then_some(signature) })
    }
}
