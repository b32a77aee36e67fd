//! What is known of a compiler: the identities of the files that make it up, and their digest.

use crate::wire::{Reader, Writer};
use crate::{Digest, FormatError};

/// Version of the encoding of toolchains.
pub const TOOLCHAIN_VERSION: u8 = 1;
/// Most files of one toolchain.
pub const TOOLCHAIN_FILES_MAX: usize = 65_536;
/// Most bytes in the path of one.
pub const TOOLCHAIN_PATH_BYTES_MAX: usize = 4096;

const FILE_BYTES_MIN: usize = 6;

/// One file of a toolchain, and its identity when the digest was made.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl ToolchainRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(TOOLCHAIN_VERSION);
        writer.digest(&self.digest);
        writer.bytes(&self.sysroot);
        writer.count(self.files.len());
        for file in &self.files {
            writer.bytes(&file.path);
            writer.varint(file.device);
            writer.varint(file.inode);
            writer.varint(file.size_bytes);
            writer.signed(file.mtime_ns);
            writer.signed(file.ctime_ns);
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
        let count = reader.count(TOOLCHAIN_FILES_MAX, FILE_BYTES_MIN)?;
        let mut files = Vec::with_capacity(count);
        for _ in 0..count {
            files.push(ToolchainFile {
                path: reader.bytes(TOOLCHAIN_PATH_BYTES_MAX)?.to_vec(),
                device: reader.varint()?,
                inode: reader.varint()?,
                size_bytes: reader.varint()?,
                mtime_ns: reader.signed()?,
                ctime_ns: reader.signed()?,
            });
        }
        reader.end()?;
        Ok(Self { files, digest, sysroot })
    }
}
