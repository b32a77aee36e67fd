//! Results between the store and their objects: the record, then each blob as a frame of its own, or
//! as the place where it lies in the first.
//!
//! Blobs are streamed. A blob gets its name only after its size and digest are known to be right,
//! and the result is published only after all of its blobs.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use store_format::object::{PART_FRAME_BYTES, PART_FRAME_HEAD, part_frame};
use store_format::{ActionKey, Digest, Kind, ObjectKind, Output, ResultRecord};

use super::WORKSHOP;
use super::error::{Damage, LocalError, ReadError};
use super::object::{Sealer, compressed, compressor, decompressing};
use super::within::place_within;
use crate::fs;
use crate::store::ingest::adopt;
use crate::store::{Store, current_boot};
use crate::times;

/// Bytes that are moved at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes that are read at a time: little enough for the allocator to have them at hand.
const READ_BYTES: usize = 64 << 10;

thread_local! {
    /// For what is moved: the same memory for each blob.
    static CHUNK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

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
    let mut first = None;
    for output in largest_first(record) {
        let blob = File::open(store.blob_path(&output.blob))?;
        let place = match &first {
            Some(first) => place_within(first, &blob, output.size_bytes)?,
            None => None,
        };
        let (size_bytes, digest) = if let Some(place) = place {
            out.write_all(&part_frame(place))?;
            copy(&blob, |_| Ok(()))?
        } else {
            let mut frame = compressor(&mut out, level)?;
            frame.set_pledged_src_size(Some(output.size_bytes))?;
            let copied = copy(&blob, |chunk| frame.write_all(chunk))?;
            frame.finish()?;
            copied
        };
        if (size_bytes, digest) != (output.size_bytes, output.blob) {
            return Err(LocalError::Blob(output.blob));
        }
        first.get_or_insert(blob);
    }
    out.flush()?;
    Ok(())
}

/// The order of the blobs in an object.
fn largest_first(record: &ResultRecord) -> Vec<&Output> {
    let mut blobs = record.blobs();
    blobs.sort_by_key(|output| Reverse(output.size_bytes));
    blobs
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
    CHUNK.with_borrow_mut(|buffer| {
        buffer.resize(fs::LEAD_BYTES + CHUNK_BYTES, 0);
        let chunk = &mut buffer[fs::LEAD_BYTES..];
        loop {
            let count = from.read(chunk)?;
            if count == 0 {
                return Ok((size_bytes, Digest(*hasher.finalize().as_bytes())));
            }
            size_bytes += count as u64;
            hasher.update(&chunk[..count]);
            each(&chunk[..count])?;
        }
    })
}

/// Reads the object of a result into the store, and publishes it there. Returns the bytes of its
/// blobs.
pub(super) fn unpack(
    from: impl Read,
    sealer: &Sealer,
    store: &Store,
    action: &ActionKey,
) -> Result<u64, ReadError> {
    let mut input = BufReader::with_capacity(READ_BYTES, from);
    let payload = sealer.open(&mut input, ObjectKind::Result, &action.0)?;
    let mut record = ResultRecord::decode(*action, &payload)?;
    let blobs: Vec<Output> = largest_first(&record).into_iter().cloned().collect();
    let first = blobs.first().map(|output| output.blob);
    let mut bytes = 0;
    for mut blob in blobs {
        receive(&mut input, store, first.filter(|first| *first != blob.blob), &mut blob)?;
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
    let result = ResultRecord {
        boot: current_boot(),
        fetched: true,
        // It is here from now on, however old it is where it was made.
        created_s: times::now_ms() / 1000,
        ..record
    };
    let put = store.index.put(Kind::Result, &action.0, &result.encode());
    put.map_err(LocalError::from)?;
    Ok(bytes)
}

/// Reads one blob into the store. It may be part of the first one, which is there.
fn receive(
    input: &mut impl BufRead,
    store: &Store,
    first: Option<Digest>,
    output: &mut Output,
) -> Result<(), ReadError> {
    let workshop = store.directory.join(WORKSHOP);
    fs::create_directories(&workshop).map_err(LocalError::from)?;
    let temporary = Temporary { path: &fs::temporary_name(&workshop.join("blob")) };
    let file = OpenOptions::new().write(true).create_new(true).open(temporary.path);
    let mut file = file.map_err(LocalError::from)?;
    let mut magic = [0; 4];
    input.read_exact(&mut magic).map_err(|_| Damage::Compression)?;
    let mut frame = magic.chain(input);
    if let Some(first) = first.filter(|_| PART_FRAME_HEAD.starts_with(&magic)) {
        let mut part = [0; PART_FRAME_BYTES];
        frame.read_exact(&mut part).map_err(|_| Damage::Length)?;
        let (head, place) = part.split_at(PART_FRAME_HEAD.len());
        let place = u64::from_le_bytes(place.try_into().map_err(|_| Damage::Length)?);
        if head != PART_FRAME_HEAD {
            return Err(Damage::Compression.into());
        }
        let mut whole = File::open(store.blob_path(&first)).map_err(LocalError::from)?;
        whole.seek(SeekFrom::Start(place)).map_err(|_| Damage::Length)?;
        write_exactly(whole.take(output.size_bytes), output, &mut file)?;
    } else {
        decompressing(frame, |decoder| {
            write_exactly(decoder.take(output.size_bytes.saturating_add(1)), output, &mut file)
        })?;
    }
    drop(file);
    adopt(store, temporary.path, output).map_err(LocalError::from)?;
    Ok(())
}

/// Writes what can be read, which has to be exactly what the output says.
fn write_exactly(from: impl Read, output: &Output, file: &mut File) -> Result<(), ReadError> {
    let mut written = Ok(());
    let copied = copy(from, |chunk| {
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
