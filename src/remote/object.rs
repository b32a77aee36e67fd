//! Objects: compressed payloads behind a sealed head.
//!
//! Invariants: nothing is allocated for what an object merely claims; a payload is decoded only
//! once its seal is known to be right, for the key that was asked for.

use std::cell::RefCell;
use std::fmt;
use std::io::{BufRead, Read, Write};
use std::path::Path;

use store_format::frame::PAYLOAD_BYTES_MAX;
use store_format::object::{
    BUILD_BYTES_MAX, OBJECT_HEAD_BYTES, OBJECT_PAYLOAD_BYTES_MAX, WINDOW_LOG_MAX,
};
use store_format::{Digest, ObjectHead, ObjectKind};
use zstd::stream::read::Decoder;
use zstd::zstd_safe::DParameter::WindowLogMax;
use zstd::zstd_safe::{DCtx, ResetDirective};

use super::RemoteError;
use super::error::Damage;

const SIGNING_CONTEXT: &str = "kache remote signing key 1";
/// The first level of compression whose windows are larger than what readers take.
const LEVEL_OF_LARGE_WINDOWS: i32 = 20;

/// Seals objects and checks seals; with a key, it signs and takes signed objects only.
#[derive(Clone)]
pub(super) struct Sealer {
    key: Option<[u8; 32]>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.key.is_some() { "Sealer(signing)" } else { "Sealer" })
    }
}

impl Sealer {
    /// The key is made of the content of `key_file`.
    pub(super) fn load(key_file: Option<&Path>) -> Result<Self, RemoteError> {
        let Some(path) = key_file else { return Ok(Self { key: None }) };
        let wrong = |problem: &dyn fmt::Display| {
            RemoteError::Configuration(format!("signing key {}: {problem}", path.display()))
        };
        let content = std::fs::read(path).map_err(|error| wrong(&error))?;
        if content.is_empty() {
            return Err(wrong(&"the file is empty"));
        }
        Ok(Self { key: Some(blake3::derive_key(SIGNING_CONTEXT, &content)) })
    }

    /// Head and payload of an object.
    pub(super) fn seal(&self, kind: ObjectKind, key: &Digest, payload: &[u8]) -> Vec<u8> {
        let none = Digest([0; 32]);
        let signature = self.key.map(|_| none);
        let mut head =
            ObjectHead { kind, key: *key, payload_bytes: payload.len(), seal: none, signature };
        head.seal = seal_of(&head, payload);
        head.signature = self.signature(&head.seal);
        let mut bytes = head.encode();
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Reads head and payload, and returns the payload decompressed.
    pub(super) fn open(
        &self,
        input: &mut impl Read,
        kind: ObjectKind,
        key: &Digest,
    ) -> Result<Vec<u8>, Damage> {
        let mut head = [0; OBJECT_HEAD_BYTES];
        input.read_exact(&mut head).map_err(|_| Damage::Length)?;
        let head = ObjectHead::decode(&head)?;
        if (head.kind, head.key) != (kind, *key) {
            return Err(Damage::Misplaced);
        }
        let mut payload = Vec::new();
        let announced = head.payload_bytes.min(OBJECT_PAYLOAD_BYTES_MAX);
        let taken = input.take(announced as u64).read_to_end(&mut payload);
        if taken.map_err(|_| Damage::Length)? != head.payload_bytes {
            return Err(Damage::Length);
        }
        if !is_same(&head.seal, &seal_of(&head, &payload)) {
            return Err(Damage::Seal);
        }
        if let Some(ours) = self.signature(&head.seal) {
            let theirs = head.signature.ok_or(Damage::Unsigned)?;
            if !is_same(&theirs, &ours) {
                return Err(Damage::Signature);
            }
        }
        let bytes_max = match kind {
            ObjectKind::Manifests | ObjectKind::Result => PAYLOAD_BYTES_MAX,
            ObjectKind::Build => BUILD_BYTES_MAX,
        };
        decompressed(&payload, bytes_max)
    }

    fn signature(&self, seal: &Digest) -> Option<Digest> {
        Some(Digest(*blake3::keyed_hash(self.key.as_ref()?, &seal.0).as_bytes()))
    }
}

fn seal_of(head: &ObjectHead, payload: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head.sealed_part());
    hasher.update(payload);
    Digest(*hasher.finalize().as_bytes())
}

/// In a time that does not depend on where they differ.
fn is_same(one: &Digest, other: &Digest) -> bool {
    blake3::Hash::from(one.0) == blake3::Hash::from(other.0)
}

/// Writes one frame.
pub(super) fn compressor<W: Write>(
    to: W,
    level: i32,
) -> std::io::Result<zstd::stream::write::Encoder<'static, W>> {
    let mut encoder = zstd::stream::write::Encoder::new(to, level)?;
    if level >= LEVEL_OF_LARGE_WINDOWS {
        encoder.window_log(WINDOW_LOG_MAX)?;
    }
    Ok(encoder)
}

thread_local! {
    /// Who decompresses one frame decompresses more: a new window would come from the kernel page by page.
    static CONTEXT: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// Has `read` read one frame, and nothing behind it.
pub(super) fn decompressing<T, E>(
    from: impl BufRead,
    read: impl FnOnce(&mut dyn Read) -> Result<T, E>,
) -> Result<T, E>
where
    E: From<Damage>,
{
    CONTEXT.with_borrow_mut(|context| {
        let ready = context.reset(ResetDirective::SessionAndParameters);
        let ready = ready.and_then(|_| context.set_parameter(WindowLogMax(WINDOW_LOG_MAX)));
        ready.map_err(|_| Damage::Compression)?;
        read(&mut Decoder::with_context(from, context).single_frame())
    })
}

/// A payload as it is stored.
pub(super) fn compressed(bytes: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    let mut encoder = compressor(Vec::new(), level)?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn decompressed(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Damage> {
    let mut rest = payload;
    let mut bytes = Vec::new();
    decompressing(&mut rest, |decoder| {
        let mut bounded = decoder.take(bytes_max as u64 + 1);
        bounded.read_to_end(&mut bytes).map_err(|_| Damage::Compression)
    })?;
    if bytes.len() > bytes_max || !rest.is_empty() {
        return Err(Damage::Length);
    }
    Ok(bytes)
}
