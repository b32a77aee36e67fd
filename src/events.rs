//! The log of what each invocation did.
//!
//! `<cache>/events` is appended to, one frame by one `write` in append mode, so that processes never
//! wait for each other and a torn frame costs no more than itself. Above a limit it is renamed to
//! `events.1`, which replaces the one before: the log is bounded by twice the limit. Only what is
//! not a hit looks at the size.

use crate::fs::LEAD_BYTES;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use store_format::{Event, EventOutcome, EventView, Events};

/// Name of the log in the cache directory.
pub const LOG_NAME: &str = "events";
/// Name of the part that was renamed last.
pub const ROTATED_NAME: &str = "events.1";
/// Size above which the log is renamed: well above 100,000 events.
const BYTES_MAX: u64 = 48 << 20;
/// Bytes that are read at a time.
const CHUNK_BYTES: u64 = 1 << 20;
/// No event is written longer than this after its start: bound of a search by time.
const LASTING_MAX: Duration = Duration::from_hours(6);

/// The log could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}: {source}", path = path.display())]
pub struct EventsError {
    operation: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// Appends an event to the log of a cache directory.
pub fn append(cache_dir: &Path, event: &Event) -> Result<(), EventsError> {
    append_bounded(cache_dir, event, BYTES_MAX)
}

fn append_bounded(cache_dir: &Path, event: &Event, bytes_max: u64) -> Result<(), EventsError> {
    let path = cache_dir.join(LOG_NAME);
    let failed = |operation| {
        let path = path.clone();
        move |source| EventsError { operation, path, source }
    };
    let mut file = match open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(cache_dir).map_err(failed("create the directory of"))?;
            open(&path)
        }
        opened => opened,
    }
    .map_err(failed("open"))?;
    // A write cut short leaves a torn frame, which readers skip: repeating the rest could land
    // behind another process's frame.
    let frame = event.encode_frame();
    let written = file.write(&frame).map_err(failed("append to"))?;
    if written < frame.len() {
        return Err(failed("append to")(ErrorKind::WriteZero.into()));
    }
    if !is_hit(event.outcome) {
        rotate(&path, &file, bytes_max).map_err(failed("rotate"))?;
    }
    Ok(())
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Whether an invocation was served by the cache.
pub fn is_hit(outcome: EventOutcome) -> bool {
    matches!(outcome, EventOutcome::LocalHit | EventOutcome::PrefetchHit | EventOutcome::RemoteHit)
}

/// Renames the log once it has grown too large, unless another process just did.
fn rotate(path: &Path, file: &File, bytes_max: u64) -> std::io::Result<()> {
    let ours = file.metadata()?;
    if ours.len() <= bytes_max {
        return Ok(());
    }
    match std::fs::metadata(path) {
        Ok(current) if current.ino() == ours.ino() && current.dev() == ours.dev() => {
            ignore_absence(std::fs::rename(path, path.with_file_name(ROTATED_NAME)))
        }
        other => ignore_absence(other.map(drop)),
    }
}

fn ignore_absence(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The events that started since `since_ms` (milliseconds since 1970), in the order of the log. No
/// log is no event.
pub fn read(cache_dir: &Path, since_ms: u64) -> Result<Vec<Event>, EventsError> {
    read_wanted(cache_dir, since_ms, |_| true)
}

/// Those of the events that [`read`] returns that are wanted. They are asked for in no particular
/// order.
pub fn read_wanted(
    cache_dir: &Path,
    since_ms: u64,
    mut wanted: impl FnMut(&EventView<'_>) -> bool,
) -> Result<Vec<Event>, EventsError> {
    let mut newest_first = Vec::new();
    walk(cache_dir, since_ms, &mut |events| {
        let kept = events.filter(&mut wanted).map(|event| event.to_event());
        newest_first.push(kept.collect::<Vec<_>>());
    })?;
    Ok(newest_first.into_iter().rev().flatten().collect())
}

/// Shows each of the events that [`read`] returns, in no particular order and without keeping them.
pub fn visit(
    cache_dir: &Path,
    since_ms: u64,
    mut each: impl FnMut(&EventView<'_>),
) -> Result<(), EventsError> {
    walk(cache_dir, since_ms, &mut |events| events.for_each(|event| each(&event)))
}

/// Takes the events of one chunk of the log.
type OnChunk<'a> = dyn for<'c> FnMut(&mut dyn Iterator<Item = EventView<'c>>) + 'a;

fn owned(events: &mut dyn Iterator<Item = EventView<'_>>) -> Vec<Event> {
    events.map(|event| event.to_event()).collect()
}

fn walk(cache_dir: &Path, since_ms: u64, on_chunk: &mut OnChunk<'_>) -> Result<(), EventsError> {
    for name in [LOG_NAME, ROTATED_NAME] {
        let path = cache_dir.join(name);
        let Some((mut file, end)) = open_to_read(&path)? else { continue };
        let reached = walk_backwards(&mut file, end, since_ms, on_chunk)
            .map_err(|source| EventsError { operation: "read", path, source })?;
        if reached {
            break;
        }
    }
    Ok(())
}

/// A part of the log and its length, if it is there.
fn open_to_read(path: &Path) -> Result<Option<(File, u64)>, EventsError> {
    let opened = File::open(path).and_then(|file| {
        let length = file.metadata()?.len();
        Ok((file, length))
    });
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(EventsError { operation: "open", path: path.to_owned(), source }),
    }
}

/// Reads a file chunk by chunk from `end` backwards; true once everything before is too old.
fn walk_backwards(
    file: &mut File,
    mut end: u64,
    since_ms: u64,
    on_chunk: &mut OnChunk<'_>,
) -> std::io::Result<bool> {
    let lasting_ms = u64::try_from(LASTING_MAX.as_millis()).unwrap_or(u64::MAX);
    let mut buffer = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES);
        let length = usize::try_from(end - start).map_err(std::io::Error::other)?;
        buffer.resize(LEAD_BYTES + length, 0);
        let bytes = &mut buffer[LEAD_BYTES..];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(bytes)?;
        let mut frames = Events::new(bytes);
        let first = frames.next();
        // A chunk begins anywhere: what stands before its first whole frame is the end of a frame
        // that the next chunk has in whole.
        let before_first = if first.is_some() { frames.skipped_bytes() as u64 } else { 0 };
        let mut newest_ms = None;
        let mut events = first
            .into_iter()
            .chain(frames)
            .inspect(|event| newest_ms = newest_ms.max(Some(event.started_ms)))
            .filter(|event| event.started_ms >= since_ms);
        on_chunk(&mut events);
        if newest_ms.is_some_and(|newest_ms| newest_ms.saturating_add(lasting_ms) < since_ms) {
            return Ok(true);
        }
        end = if start == 0 { 0 } else { start + before_first };
    }
    Ok(false)
}

/// Reads what is appended to the log from now on.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// Where the next frame begins.
    offset: u64,
}

impl Follower {
    /// The events since `since_ms`, and what follows them without a gap.
    pub fn since(cache_dir: &Path, since_ms: u64) -> Result<(Vec<Event>, Self), EventsError> {
        let path = cache_dir.join(LOG_NAME);
        let opened = open_to_read(&path)?;
        let offset = opened.as_ref().map_or(0, |(_, length)| *length);
        let file = opened.map(|(file, _)| file);
        let mut newest_first = Vec::new();
        let on_chunk: &mut OnChunk<'_> = &mut |events| newest_first.push(owned(events));
        let read = |source| EventsError { operation: "read", path: path.clone(), source };
        let reached = match &file {
            Some(file) => {
                let mut file = file.try_clone().map_err(read)?;
                walk_backwards(&mut file, offset, since_ms, on_chunk).map_err(read)?
            }
            None => false,
        };
        let rotated = cache_dir.join(ROTATED_NAME);
        if !reached && let Some((mut file, end)) = open_to_read(&rotated)? {
            walk_backwards(&mut file, end, since_ms, on_chunk).map_err(read)?;
        }
        let events = newest_first.into_iter().rev().flatten().collect();
        Ok((events, Self { path, file, offset }))
    }

    /// What was appended since the last call.
    pub fn poll(&mut self) -> Result<Vec<Event>, EventsError> {
        // Looked up before the rest of the old part is read: what was written before the renaming
        // is in it.
        let current = open_to_read(&self.path)?;
        let mut events = self.read_on()?;
        let inode = |file: &File| file.metadata().ok().map(|metadata| metadata.ino());
        let known = self.file.as_ref().and_then(inode);
        if let Some((file, _)) = current.filter(|(file, _)| inode(file) != known) {
            self.file = Some(file);
            self.offset = 0;
            events.extend(self.read_on()?);
        }
        Ok(events)
    }

    fn read_on(&mut self) -> Result<Vec<Event>, EventsError> {
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(|source| EventsError { operation: "read", path: self.path.clone(), source })?;
        let mut frames = Events::new(&bytes);
        let events = owned(&mut frames);
        self.offset += frames.position() as u64;
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> Event {
        let name = format!("crate_{number}");
        Event { started_ms: number, crate_name: name, ..Event::default() }
    }

    fn numbers(cache: &Path, since_ms: u64) -> Vec<u64> {
        read(cache, since_ms).unwrap().iter().map(|event| event.started_ms).collect()
    }

    #[test]
    fn events_are_read_in_the_order_in_which_they_were_written() {
        let space = tempfile::tempdir().unwrap();
        let cache = space.path().join("not/there/yet");
        assert_eq!(read(&cache, 0).unwrap(), []);
        for number in 0..100 {
            append(&cache, &event(number)).unwrap();
        }
        assert_eq!(numbers(&cache, 0), (0..100).collect::<Vec<_>>());
        assert_eq!(numbers(&cache, 90), (90..100).collect::<Vec<_>>());
        assert_eq!(read(&cache, 99).unwrap(), [event(99)]);
    }

    #[test]
    fn a_log_longer_than_a_chunk_is_read_whole_and_once() {
        let space = tempfile::tempdir().unwrap();
        let count = 20_000;
        let mut bytes = Vec::new();
        for number in 0..count {
            let workspace = "w".repeat(400 + usize::try_from(number % 7).unwrap());
            bytes.extend(Event { workspace, ..event(number) }.encode_frame());
        }
        assert!(bytes.len() as u64 > 2 * CHUNK_BYTES);
        std::fs::write(space.path().join(LOG_NAME), bytes).unwrap();
        assert_eq!(numbers(space.path(), 0), (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn reading_stops_at_a_chunk_that_is_too_old() {
        let space = tempfile::tempdir().unwrap();
        let since_ms = 10 * u64::try_from(LASTING_MAX.as_millis()).unwrap();
        let mut bytes = event(1).encode_frame();
        bytes.resize(bytes.len() + usize::try_from(2 * CHUNK_BYTES).unwrap(), 0);
        bytes.extend(event(2).encode_frame());
        std::fs::write(space.path().join(LOG_NAME), &bytes).unwrap();
        let mut chunks = 0;
        let mut file = File::open(space.path().join(LOG_NAME)).unwrap();
        let on_chunk: &mut OnChunk<'_> = &mut |events| chunks += 1 + events.count();
        assert!(walk_backwards(&mut file, bytes.len() as u64, since_ms, on_chunk).unwrap());
        assert_eq!(chunks, 1, "one chunk, without an event that is new enough");
        assert_eq!(numbers(space.path(), 0), [1, 2]);
    }

    #[test]
    fn damage_costs_no_more_than_the_frames_it_hits() {
        let space = tempfile::tempdir().unwrap();
        let frames: Vec<_> = (0..10).map(|number| event(number).encode_frame()).collect();
        let length = frames[0].len();
        let mut bytes = frames.concat();
        bytes[3 * length + 20] ^= 1;
        bytes.drain(7 * length + 5..8 * length);
        bytes.extend(&frames[0][..length - 1]);
        std::fs::write(space.path().join(LOG_NAME), bytes).unwrap();
        assert_eq!(numbers(space.path(), 0), [0, 1, 2, 4, 5, 6, 8, 9]);
        append(space.path(), &event(11)).unwrap();
        assert_eq!(numbers(space.path(), 0).last(), Some(&11));
    }

    #[test]
    fn the_log_is_bounded_and_hits_do_not_look_at_its_size() {
        let space = tempfile::tempdir().unwrap();
        let size = |name| space.path().join(name).metadata().map_or(0, |metadata| metadata.len());
        for number in 0..100 {
            let outcome = EventOutcome::LocalHit;
            append_bounded(space.path(), &Event { outcome, ..event(number) }, 500).unwrap();
        }
        assert!(size(LOG_NAME) > 3_000 && size(ROTATED_NAME) == 0);
        append_bounded(space.path(), &event(100), 500).unwrap();
        assert!(size(LOG_NAME) == 0 && size(ROTATED_NAME) > 3_000);
        append_bounded(space.path(), &event(101), 500).unwrap();
        assert_eq!(numbers(space.path(), 0).len(), 102, "both parts are read");
        for number in 102..200 {
            append_bounded(space.path(), &event(number), 500).unwrap();
        }
        assert!(size(LOG_NAME) + size(ROTATED_NAME) < 1_500);
        assert_eq!(numbers(space.path(), 0).last(), Some(&199));
    }

    #[test]
    fn events_appended_at_once_are_all_there() {
        let space = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let cache = space.path();
                scope.spawn(move || {
                    for number in 0..200 {
                        append(cache, &event(writer * 1_000 + number)).unwrap();
                    }
                });
            }
        });
        let mut seen = numbers(space.path(), 0);
        seen.sort_unstable();
        let all = (0..8).flat_map(|writer| (0..200).map(move |n| writer * 1_000 + n));
        assert_eq!(seen, all.collect::<Vec<_>>());
    }

    #[test]
    fn a_follower_sees_every_event_once_across_rotations() {
        let space = tempfile::tempdir().unwrap();
        for number in 0..10 {
            append(space.path(), &event(number)).unwrap();
        }
        let (before, mut follower) = Follower::since(space.path(), 5).unwrap();
        assert_eq!(before.len(), 5);
        assert_eq!(follower.poll().unwrap(), []);
        let mut seen = Vec::new();
        for number in 10..200 {
            append_bounded(space.path(), &event(number), 500).unwrap();
            if number % 3 == 0 {
                seen.extend(follower.poll().unwrap());
            }
        }
        seen.extend(follower.poll().unwrap());
        let numbers: Vec<_> = seen.iter().map(|event| event.started_ms).collect();
        assert_eq!(numbers, (10..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_follower_waits_for_the_rest_of_a_frame_and_for_the_log_itself() {
        let space = tempfile::tempdir().unwrap();
        let (before, mut follower) = Follower::since(space.path(), 0).unwrap();
        assert_eq!(before, []);
        let frame = event(1).encode_frame();
        let (start, rest) = frame.split_at(frame.len() / 2);
        let log = space.path().join(LOG_NAME);
        std::fs::write(&log, start).unwrap();
        assert_eq!(follower.poll().unwrap(), []);
        OpenOptions::new().append(true).open(&log).unwrap().write_all(rest).unwrap();
        assert_eq!(follower.poll().unwrap(), [event(1)]);
    }
}
