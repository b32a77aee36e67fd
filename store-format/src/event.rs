//! The event log: what each invocation did, one framed event after the other.
//!
//! A frame is a magic word, the payload's length, its checksum and the payload. Writers append
//! whole frames; a reader that meets anything else looks for the next magic word, so that a torn
//! frame costs no more than itself.

use crate::wire::{Reader, WireError, Writer};
use crate::{ActionKey, FormatError, UnitKey, checksum};

/// Version of the encoding of events.
pub const EVENT_VERSION: u8 = 1;
/// First four bytes of every frame.
pub const EVENT_MAGIC: [u8; 4] = *b"\xF5kEv";
/// Bytes of a frame in front of its payload: magic, length, checksum.
pub const EVENT_HEAD_BYTES: usize = 4 + 4 + 8;
/// Most bytes in the payload of an event.
pub const EVENT_PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Most bytes in one of its texts.
pub const EVENT_TEXT_BYTES_MAX: usize = 4096;
/// Most lines of explanation.
pub const EVENT_LINES_MAX: usize = 12;

const TEXTS: usize = 7;
/// An upper bound of what an event without explanation takes.
const _: () = assert!(TEXTS * (EVENT_TEXT_BYTES_MAX + 2) + 256 < EVENT_PAYLOAD_BYTES_MAX);

/// How an invocation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventOutcome {
    LocalHit = 1,
    PrefetchHit = 2,
    RemoteHit = 3,
    Miss = 4,
    /// A new key whose outputs were known already.
    Dup = 5,
    Error = 6,
    #[default]
    Skipped = 7,
    Passthrough = 8,
}

impl EventOutcome {
    /// Every outcome, in the order of its number, from 1.
    pub const ALL: [Self; 8] = [
        Self::LocalHit,
        Self::PrefetchHit,
        Self::RemoteHit,
        Self::Miss,
        Self::Dup,
        Self::Error,
        Self::Skipped,
        Self::Passthrough,
    ];
}

/// What one invocation did. Texts are cut at [`EVENT_TEXT_BYTES_MAX`] bytes and explanations at
/// [`EVENT_LINES_MAX`] lines when written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since 1970.
    pub started_ms: u64,
    pub elapsed_us: u32,
    pub key_us: u32,
    pub lookup_us: u32,
    pub restore_us: u32,
    /// Of the original compilation on a hit: the time saved.
    pub compile_us: u32,
    pub store_us: u32,
    pub outcome: EventOutcome,
    /// For anything but a hit.
    pub reason: String,
    pub crate_name: String,
    pub crate_version: String,
    /// `lib`, `bin`, `proc-macro`, `build-script-run` …
    pub kind: String,
    /// Path of the workspace.
    pub workspace: String,
    pub profile: String,
    pub target: String,
    pub action: Option<ActionKey>,
    pub unit: Option<UnitKey>,
    /// Of the outputs.
    pub size_bytes: u64,
    /// Restored without a copy.
    pub linked_bytes: u64,
    /// The parent.
    pub cargo_pid: u32,
    pub pid: u32,
    pub compiler_runs: u32,
    /// What differed, old and new.
    pub explanation: Vec<String>,
}

impl Event {
    /// The event as one frame, to be appended by a single write.
    pub fn encode_frame(&self) -> Vec<u8> {
        self.view().encode_frame()
    }

    /// Takes one frame off the front of `reader`.
    pub fn decode_frame(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        EventView::decode_frame(reader).map(|view| view.to_event())
    }

    /// The same event for who takes those that are read in place.
    pub fn view(&self) -> EventView<'_> {
        EventView {
            started_ms: self.started_ms,
            elapsed_us: self.elapsed_us,
            key_us: self.key_us,
            lookup_us: self.lookup_us,
            restore_us: self.restore_us,
            compile_us: self.compile_us,
            store_us: self.store_us,
            outcome: self.outcome,
            reason: &self.reason,
            crate_name: &self.crate_name,
            crate_version: &self.crate_version,
            kind: &self.kind,
            workspace: &self.workspace,
            profile: &self.profile,
            target: &self.target,
            action: self.action,
            unit: self.unit,
            size_bytes: self.size_bytes,
            linked_bytes: self.linked_bytes,
            cargo_pid: self.cargo_pid,
            pid: self.pid,
            compiler_runs: self.compiler_runs,
            explanation: self.explanation.iter().map(String::as_str).collect(),
        }
    }
}

/// An [`Event`] read in place: for who looks at many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventView<'a> {
    pub started_ms: u64,
    pub elapsed_us: u32,
    pub key_us: u32,
    pub lookup_us: u32,
    pub restore_us: u32,
    pub compile_us: u32,
    pub store_us: u32,
    pub outcome: EventOutcome,
    pub reason: &'a str,
    pub crate_name: &'a str,
    pub crate_version: &'a str,
    pub kind: &'a str,
    pub workspace: &'a str,
    pub profile: &'a str,
    pub target: &'a str,
    pub action: Option<ActionKey>,
    pub unit: Option<UnitKey>,
    pub size_bytes: u64,
    pub linked_bytes: u64,
    pub cargo_pid: u32,
    pub pid: u32,
    pub compiler_runs: u32,
    pub explanation: Vec<&'a str>,
}

impl<'a> EventView<'a> {
    /// The event as one frame, to be appended by a single write.
    pub fn encode_frame(&self) -> Vec<u8> {
        let mut lines = self.explanation.len().min(EVENT_LINES_MAX);
        let mut payload = self.encode(lines);
        while payload.len() > EVENT_PAYLOAD_BYTES_MAX && lines > 0 {
            lines -= 1;
            payload = self.encode(lines);
        }
        let mut writer = Writer::with_capacity(EVENT_HEAD_BYTES + payload.len());
        writer.raw(&EVENT_MAGIC);
        writer.u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        writer.u64(checksum(&payload));
        writer.raw(&payload);
        writer.finish()
    }

    fn encode(&self, lines: usize) -> Vec<u8> {
        let mut writer = Writer::with_capacity(512);
        writer.u8(EVENT_VERSION);
        writer.u8(self.outcome as u8);
        writer.varint(self.started_ms);
        for number in self.small_numbers() {
            writer.varint(number.into());
        }
        writer.varint(self.size_bytes);
        writer.varint(self.linked_bytes);
        for text in self.texts() {
            writer.bytes(cut(text));
        }
        for digest in [self.action.map(|key| key.0), self.unit.map(|key| key.0)] {
            writer.u8(digest.is_some().into());
            if let Some(digest) = digest {
                writer.digest(&digest);
            }
        }
        writer.count(lines);
        for line in &self.explanation[..lines] {
            writer.bytes(cut(line));
        }
        writer.finish()
    }

    fn small_numbers(&self) -> [u32; 9] {
        [
            self.elapsed_us,
            self.key_us,
            self.lookup_us,
            self.restore_us,
            self.compile_us,
            self.store_us,
            self.cargo_pid,
            self.pid,
            self.compiler_runs,
        ]
    }

    fn texts(&self) -> [&'a str; TEXTS] {
        [
            self.reason,
            self.crate_name,
            self.crate_version,
            self.kind,
            self.workspace,
            self.profile,
            self.target,
        ]
    }

    pub fn to_event(&self) -> Event {
        Event {
            started_ms: self.started_ms,
            elapsed_us: self.elapsed_us,
            key_us: self.key_us,
            lookup_us: self.lookup_us,
            restore_us: self.restore_us,
            compile_us: self.compile_us,
            store_us: self.store_us,
            outcome: self.outcome,
            reason: self.reason.to_owned(),
            crate_name: self.crate_name.to_owned(),
            crate_version: self.crate_version.to_owned(),
            kind: self.kind.to_owned(),
            workspace: self.workspace.to_owned(),
            profile: self.profile.to_owned(),
            target: self.target.to_owned(),
            action: self.action,
            unit: self.unit,
            size_bytes: self.size_bytes,
            linked_bytes: self.linked_bytes,
            cargo_pid: self.cargo_pid,
            pid: self.pid,
            compiler_runs: self.compiler_runs,
            explanation: self.explanation.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    /// Takes one frame off the front of `reader`.
    pub fn decode_frame(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        if reader.array()? != EVENT_MAGIC {
            return Err(FormatError::Magic);
        }
        let length = reader.u32()? as usize;
        if length > EVENT_PAYLOAD_BYTES_MAX {
            return Err(WireError::Limit.into());
        }
        let expected = reader.u64()?;
        let payload = reader.raw(length)?;
        if checksum(payload) != expected {
            return Err(FormatError::Checksum);
        }
        Self::decode(payload)
    }

    fn decode(payload: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(payload);
        let version = reader.u8()?;
        if version != EVENT_VERSION {
            return Err(FormatError::Version { found: version.into() });
        }
        let number = reader.u8()?;
        let outcome = usize::from(number)
            .checked_sub(1)
            .and_then(|position| EventOutcome::ALL.get(position).copied())
            .ok_or(FormatError::Tag { what: "outcome", value: number.into() })?;
        let event = Self {
            outcome,
            started_ms: reader.varint()?,
            elapsed_us: reader.varint_u32()?,
            key_us: reader.varint_u32()?,
            lookup_us: reader.varint_u32()?,
            restore_us: reader.varint_u32()?,
            compile_us: reader.varint_u32()?,
            store_us: reader.varint_u32()?,
            cargo_pid: reader.varint_u32()?,
            pid: reader.varint_u32()?,
            compiler_runs: reader.varint_u32()?,
            size_bytes: reader.varint()?,
            linked_bytes: reader.varint()?,
            reason: text(&mut reader)?,
            crate_name: text(&mut reader)?,
            crate_version: text(&mut reader)?,
            kind: text(&mut reader)?,
            workspace: text(&mut reader)?,
            profile: text(&mut reader)?,
            target: text(&mut reader)?,
            action: optional_digest(&mut reader)?.map(ActionKey),
            unit: optional_digest(&mut reader)?.map(UnitKey),
            explanation: lines(&mut reader)?,
        };
        reader.end()?;
        Ok(event)
    }
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, FormatError> {
    let bytes = reader.bytes(EVENT_TEXT_BYTES_MAX)?;
    if bytes.is_empty() {
        return Ok("");
    }
    std::str::from_utf8(bytes).map_err(|_| FormatError::Name)
}

fn lines<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>, FormatError> {
    let count = reader.count(EVENT_LINES_MAX, 1)?;
    (0..count).map(|_| text(reader)).collect()
}

fn optional_digest(reader: &mut Reader<'_>) -> Result<Option<crate::Digest>, FormatError> {
    let present = crate::result::decode_bool(reader.u8()?)?;
    Ok(if present { Some(reader.digest()?) } else { None })
}

/// The longest prefix within the limit that ends between characters.
fn cut(text: &str) -> &[u8] {
    let mut end = text.len().min(EVENT_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text.as_bytes()[..end]
}

/// The events in a piece of the log, skipping what is damaged.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    bytes: &'a [u8],
    position: usize,
    skipped_bytes: usize,
}

impl<'a> Events<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, skipped_bytes: 0 }
    }

    /// Where the next frame begins: once the iteration has ended, whatever follows may be a frame
    /// that is not complete yet.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes belonged to no event.
    pub fn skipped_bytes(&self) -> usize {
        self.skipped_bytes
    }

    fn skip_to_next_magic(&mut self) {
        let rest = &self.bytes[self.position + 1..];
        let distance = rest
            .windows(EVENT_MAGIC.len())
            .position(|window| window == EVENT_MAGIC)
            .unwrap_or_else(|| rest.len() - partial_magic_bytes(rest));
        self.position += 1 + distance;
        self.skipped_bytes += 1 + distance;
    }
}

/// How many bytes at the end may be the beginning of a magic word.
fn partial_magic_bytes(bytes: &[u8]) -> usize {
    (1..EVENT_MAGIC.len()).rev().find(|count| bytes.ends_with(&EVENT_MAGIC[..*count])).unwrap_or(0)
}

impl<'a> Iterator for Events<'a> {
    type Item = EventView<'a>;

    fn next(&mut self) -> Option<EventView<'a>> {
        while self.position < self.bytes.len() {
            let rest = &self.bytes[self.position..];
            let mut reader = Reader::new(rest);
            match EventView::decode_frame(&mut reader) {
                Ok(event) => {
                    self.position += rest.len() - reader.remaining();
                    return Some(event);
                }
                Err(FormatError::Wire(WireError::Truncated)) if is_unfinished(rest) => return None,
                Err(_) => self.skip_to_next_magic(),
            }
        }
        None
    }
}

/// Whether the bytes may become a frame when more are appended: no other frame begins in them.
fn is_unfinished(rest: &[u8]) -> bool {
    let seen = rest.len().min(EVENT_MAGIC.len());
    rest[..seen] == EVENT_MAGIC[..seen] && !rest[seen..].windows(seen).any(|w| w == EVENT_MAGIC)
}
