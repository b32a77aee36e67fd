//! What is known of a compiler: the identities of the files that make it up, and their digest.

use crate::wire::{Reader, WireError, Writer};
use crate::{Digest, FormatError};

/// Version of the encoding of toolchains.
pub const TOOLCHAIN_VERSION: u8 = 3;
/// Most files of one toolchain.
pub const TOOLCHAIN_FILES_MAX: usize = 65_536;
/// Most bytes in the path of one.
pub const TOOLCHAIN_PATH_BYTES_MAX: usize = 4096;
/// Most bytes of all paths together, when decoded.
pub const TOOLCHAIN_PATHS_BYTES_MAX: usize = 16 << 20;

const FILE_BYTES_MIN: usize = 7;

/// One file of a toolchain, and its identity when the digest was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolchainFile {
    pub path: Vec<u8>,
    pub device: u64,
    pub inode: u64,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
}

/// The digest of a toolchain, true as long as every file has the identity given here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolchainRecord {
    pub files: Vec<ToolchainFile>,
    pub digest: Digest,
    /// What the compiler says its sysroot is.
    pub sysroot: Vec<u8>,
    /// The commit that the compiler says it was made from; empty if it says none.
    pub commit: Vec<u8>,
}

impl ToolchainRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(TOOLCHAIN_VERSION);
        writer.digest(&self.digest);
        writer.bytes(&self.sysroot);
        writer.bytes(&self.commit);
        writer.count(self.files.len());
        let mut before = &ToolchainFile::default();
        for file in &self.files {
            let shared = before.path.iter().zip(&file.path).take_while(|(a, b)| a == b).count();
            writer.count(shared);
            writer.bytes(&file.path[shared..]);
            writer.varint(file.device);
            writer.varint(file.inode);
            writer.varint(file.size_bytes);
            writer.signed(file.mtime_ns.wrapping_sub(before.mtime_ns));
            writer.signed(file.ctime_ns.wrapping_sub(before.ctime_ns));
            before = file;
        }
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != TOOLCHAIN_VERSION {
            return Err(FormatError::Version { found: version.into() });
        }
        let digest = reader.digest()?;
        let sysroot = reader.bytes(TOOLCHAIN_PATH_BYTES_MAX)?.to_vec();
        let commit = reader.bytes(TOOLCHAIN_PATH_BYTES_MAX)?.to_vec();
        let count = reader.count(TOOLCHAIN_FILES_MAX, FILE_BYTES_MIN)?;
        let mut files: Vec<ToolchainFile> = Vec::with_capacity(count);
        let first = ToolchainFile::default();
        let mut paths_bytes = 0;
        for _ in 0..count {
            let before = files.last().unwrap_or(&first);
            let shared = usize::try_from(reader.varint()?).map_err(|_| WireError::Limit)?;
            let shared = before.path.get(..shared).ok_or(WireError::Limit)?;
            let path = [shared, reader.bytes(TOOLCHAIN_PATH_BYTES_MAX)?].concat();
            paths_bytes += path.len();
            if path.len() > TOOLCHAIN_PATH_BYTES_MAX || paths_bytes > TOOLCHAIN_PATHS_BYTES_MAX {
                return Err(WireError::Limit.into());
            }
            let file = ToolchainFile {
                path,
                device: reader.varint()?,
                inode: reader.varint()?,
                size_bytes: reader.varint()?,
                mtime_ns: before.mtime_ns.wrapping_add(reader.signed()?),
                ctime_ns: before.ctime_ns.wrapping_add(reader.signed()?),
            };
            files.push(file);
        }
        reader.end()?;
        Ok(Self { files, digest, sysroot, commit })
    }
}
