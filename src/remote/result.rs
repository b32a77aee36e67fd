//! Results between the store and their objects: the record, then each blob as a frame of its own.
//!
//! Blobs are streamed. A blob gets its name only after its size and digest are known to be right,
//! and the result is published only after all of its blobs.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use store_format::{ActionKey, Digest, Kind, ObjectKind, Output, ResultRecord};

use super::WORKSHOP;
use super::error::{Damage, LocalError, ReadError};
use super::object::{Sealer, compressed, compressor, decompressor};
use crate::fs;
use crate::store::ingest::adopt;
use crate::store::{Store, current_boot};

/// Bytes that are moved at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Writes the object of a result. A blob that is damaged is not passed on.
pub(super) fn pack(
    store: &Store,
    sealer: &Sealer,
    level: i32,
    record: &ResultRecord,
    to: &File,
) -> Result<(), LocalError> {
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, to);
    let payload = compressed(&without_place(record).encode(), level)?;
    out.write_all(&sealer.seal(ObjectKind::Result, &record.action.0, &payload))?;
    for output in record.blobs() {
        let blob = File::open(store.blob_path(&output.blob))?;
        let mut frame = compressor(&mut out, level)?;
        frame.set_pledged_src_size(Some(output.size_bytes))?;
        let (size_bytes, digest) = copy(blob, |chunk| frame.write_all(chunk))?;
        if (size_bytes, digest) != (output.size_bytes, output.blob) {
            return Err(LocalError::Blob(output.blob));
        }
        frame.finish()?;
    }
    out.flush()?;
    Ok(())
}

/// The record without what it says of the machine that made it.
fn without_place(record: &ResultRecord) -> ResultRecord {
    let mut record = ResultRecord { boot: [0; 16], fetched: false, ..record.clone() };
    for output in &mut record.outputs {
        output.blob_mtime_ns = 0;
    }
    record
}

/// Passes all that can be read to `each`; returns how much it was, and its digest.
fn copy(
    mut from: impl Read,
    mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<(u64, Digest)> {
    let mut hasher = blake3::Hasher::new();
    let mut size_bytes = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            return Ok((size_bytes, Digest(*hasher.finalize().as_bytes())));
        }
        size_bytes += count as u64;
        hasher.update(&chunk[..count]);
        each(&chunk[..count])?;
    }
}

/// Reads the object of a result into the store, and publishes it there. Returns the bytes of its
/// blobs.
pub(super) fn unpack(
    from: impl Read,
    sealer: &Sealer,
    store: &Store,
    action: &ActionKey,
) -> Result<u64, ReadError> {
    let mut input = BufReader::with_capacity(CHUNK_BYTES, from);
    let payload = sealer.open(&mut input, ObjectKind::Result, &action.0)?;
    let mut record = ResultRecord::decode(*action, &payload)?;
    let blobs: Vec<Output> = record.blobs().into_iter().cloned().collect();
    let mut bytes = 0;
    for mut blob in blobs {
        receive(&mut input, store, &mut blob)?;
        bytes += blob.size_bytes;
        let same = record.outputs.iter_mut().filter(|output| output.blob == blob.blob);
        for output in same.filter(|output| output.has_blob()) {
            output.blob_mtime_ns = blob.blob_mtime_ns;
            if output.size_bytes != blob.size_bytes {
                return Err(Damage::Length.into());
            }
        }
    }
    if !input.fill_buf().map_err(|_| Damage::Length)?.is_empty() {
        return Err(Damage::Length.into());
    }
    let result = ResultRecord { boot: current_boot(), fetched: true, ..record };
    let put = store.index.put(Kind::Result, &action.0, &result.encode());
    put.map_err(LocalError::from)?;
    Ok(bytes)
}

/// Reads one blob into the store.
fn receive(input: &mut impl BufRead, store: &Store, output: &mut Output) -> Result<(), ReadError> {
    let workshop = store.directory.join(WORKSHOP);
    fs::create_directories(&workshop).map_err(LocalError::from)?;
    let temporary = Temporary { path: &fs::temporary_name(&workshop.join("blob")) };
    let file = OpenOptions::new().write(true).create_new(true).open(temporary.path);
    let mut file = file.map_err(LocalError::from)?;
    decompress(input, output, &mut file)?;
    drop(file);
    adopt(store, temporary.path, output).map_err(LocalError::from)?;
    Ok(())
}

/// Decompresses one frame, which has to hold exactly what the output says.
fn decompress(input: &mut impl BufRead, output: &Output, file: &mut File) -> Result<(), ReadError> {
    let decoder = decompressor(input).map_err(|_| Damage::Compression)?;
    let bounded = decoder.take(output.size_bytes.saturating_add(1));
    let mut written = Ok(());
    let copied = copy(bounded, |chunk| {
        written = file.write_all(chunk);
        // Which of the two failed is told by `written`.
        if written.is_ok() { Ok(()) } else { Err(std::io::ErrorKind::WriteZero.into()) }
    });
    written.map_err(LocalError::from)?;
    let (size_bytes, digest) = copied.map_err(|_| Damage::Compression)?;
    if size_bytes != output.size_bytes {
        return Err(Damage::Length.into());
    }
    if digest != output.blob {
        return Err(Damage::Content(output.blob).into());
    }
    Ok(())
}

/// A file that goes when nobody has given it another name.
struct Temporary<'a> {
    path: &'a Path,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // What stays is told by its name, and is nobody's blob.
        drop(fs::remove_if_present(self.path));
    }
}
