//! What wrappers, commands and the daemon say to each other through its socket.
//!
//! A message is a head (magic, version, length) and a payload whose first byte is its kind. The
//! reader takes the head first and knows from it how many bytes follow: no more than
//! [`MESSAGE_BYTES_MAX`], and of a request no more than [`REQUEST_BYTES_MAX`].

use crate::wire::{Reader, WireError, Writer};
use crate::{ActionKey, Digest, FormatError, ManifestList, UnitKey};

/// Version of all messages.
pub const MESSAGE_VERSION: u8 = 2;
/// First four bytes of every message.
pub const MESSAGE_MAGIC: [u8; 4] = *b"\xF5kDm";
/// Bytes in front of the payload: magic, version, length.
pub const MESSAGE_HEAD_BYTES: usize = 4 + 1 + 4;
/// Most bytes in the payload of a request.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Most bytes in the payload of an answer.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Most bytes in the path of a build's directory.
pub const DIRECTORY_BYTES_MAX: usize = 4096;
/// Most bytes of a command line; the rest is left out.
pub const COMMAND_LINE_BYTES_MAX: usize = 32 << 10;
/// Most bytes in a text of a status.
pub const STATUS_TEXT_BYTES_MAX: usize = 1024;

const _: () = assert!(
    DIRECTORY_BYTES_MAX + COMMAND_LINE_BYTES_MAX + 1024 < REQUEST_BYTES_MAX,
    "a build fits into a request"
);

/// The build that a wrapper is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOf {
    /// Of the remote's configuration and of the variables that its credentials may come from.
    pub configuration: Digest,
    /// What tells its compiler from others.
    pub compiler: Digest,
    pub cargo_pid: u32,
    /// Where Cargo was started.
    pub directory: Vec<u8>,
    /// Cargo's arguments, each followed by a zero byte.
    pub command_line: Vec<u8>,
}

/// What the daemon is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What a wrapper says first. It is answered by [`Answer::Unavailable`] if the daemon cannot
    /// serve this build, else not at all.
    Build(BuildOf),
    /// Answered by [`Answer::Manifests`], [`Answer::Absent`] or [`Answer::Unavailable`].
    Manifests(UnitKey),
    /// Answered by [`Answer::Stored`], [`Answer::Absent`] or [`Answer::Unavailable`].
    Result(ActionKey),
    /// There is something in the queue of uploads. Not answered.
    Uploads,
    Status,
    /// Answered by [`Answer::Stopped`] when the daemon is about to end.
    Stop,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Manifests(ManifestList),
    /// The remote does not have it.
    Absent,
    /// Nothing can be said now.
    Unavailable,
    /// The result is in the store.
    Stored,
    Status(Box<Status>),
    Stopped {
        uploads_left: u64,
    },
    /// It takes a moment: the answer proper follows.
    Waiting,
}

/// What a daemon is and what it has done since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// kache's version.
    pub version: String,
    /// The remote, without secrets.
    pub remote: String,
    /// What went wrong last; empty if nothing did.
    pub last_error: String,
    pub pid: u32,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Processes of Cargo that are being served.
    pub builds: u64,
    pub downloads_active: u64,
    pub uploads_active: u64,
    pub uploads_queued: u64,
    pub downloads: u64,
    pub downloaded_bytes: u64,
    /// Of the downloads, those that nobody had asked for yet.
    pub prefetched: u64,
    pub uploads: u64,
    pub uploaded_bytes: u64,
    pub requests: u64,
    pub failures: u64,
    /// Whether the remote is left alone for a while after failures.
    pub resting: bool,
}

/// How many bytes follow a head.
pub fn payload_bytes(head: &[u8; MESSAGE_HEAD_BYTES]) -> Result<usize, FormatError> {
    let mut reader = Reader::new(head);
    if reader.array()? != MESSAGE_MAGIC {
        return Err(FormatError::Magic);
    }
    let version = reader.u8()?;
    if version != MESSAGE_VERSION {
        return Err(FormatError::Version { found: version.into() });
    }
    let length = usize::try_from(reader.u32()?).map_err(|_| WireError::Limit)?;
    if length > MESSAGE_BYTES_MAX {
        return Err(WireError::Limit.into());
    }
    Ok(length)
}

fn message(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut payload = Writer::new();
    write(&mut payload);
    let payload = payload.finish();
    let mut writer = Writer::with_capacity(MESSAGE_HEAD_BYTES + payload.len());
    writer.raw(&MESSAGE_MAGIC);
    writer.u8(MESSAGE_VERSION);
    // What is longer than any reader accepts need not be told how long.
    writer.u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    writer.raw(&payload);
    writer.finish()
}

impl Request {
    /// The whole message, with its head. Texts are cut at their limits.
    pub fn encode(&self) -> Vec<u8> {
        message(|writer| match self {
            Self::Build(build) => {
                writer.u8(1);
                writer.digest(&build.configuration);
                writer.digest(&build.compiler);
                writer.varint(build.cargo_pid.into());
                writer.bytes(cut(&build.directory, DIRECTORY_BYTES_MAX));
                writer.bytes(cut(&build.command_line, COMMAND_LINE_BYTES_MAX));
            }
            Self::Manifests(unit) => {
                writer.u8(2);
                writer.digest(&unit.0);
            }
            Self::Result(action) => {
                writer.u8(3);
                writer.digest(&action.0);
            }
            Self::Uploads => writer.u8(4),
            Self::Status => writer.u8(5),
            Self::Stop => writer.u8(6),
        })
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, FormatError> {
        if payload.len() > REQUEST_BYTES_MAX {
            return Err(WireError::Limit.into());
        }
        let mut reader = Reader::new(payload);
        let request = match reader.u8()? {
            1 => Self::Build(BuildOf {
                configuration: reader.digest()?,
                compiler: reader.digest()?,
                cargo_pid: reader.varint_u32()?,
                directory: reader.bytes(DIRECTORY_BYTES_MAX)?.to_vec(),
                command_line: reader.bytes(COMMAND_LINE_BYTES_MAX)?.to_vec(),
            }),
            2 => Self::Manifests(UnitKey(reader.digest()?)),
            3 => Self::Result(ActionKey(reader.digest()?)),
            4 => Self::Uploads,
            5 => Self::Status,
            6 => Self::Stop,
            value => return Err(FormatError::Tag { what: "request", value: value.into() }),
        };
        reader.end()?;
        Ok(request)
    }
}

impl Answer {
    /// The whole message, with its head.
    pub fn encode(&self) -> Vec<u8> {
        message(|writer| match self {
            Self::Manifests(list) => {
                writer.u8(1);
                writer.raw(&list.encode());
            }
            Self::Absent => writer.u8(2),
            Self::Unavailable => writer.u8(3),
            Self::Stored => writer.u8(4),
            Self::Status(status) => {
                writer.u8(5);
                status.encode(writer);
            }
            Self::Stopped { uploads_left } => {
                writer.u8(6);
                writer.varint(*uploads_left);
            }
            Self::Waiting => writer.u8(7),
        })
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(payload);
        let answer = match reader.u8()? {
            1 => {
                let list = reader.raw(reader.remaining())?;
                Self::Manifests(ManifestList::decode(list)?)
            }
            2 => Self::Absent,
            3 => Self::Unavailable,
            4 => Self::Stored,
            5 => Self::Status(Box::new(Status::decode(&mut reader)?)),
            6 => Self::Stopped { uploads_left: reader.varint()? },
            7 => Self::Waiting,
            value => return Err(FormatError::Tag { what: "answer", value: value.into() }),
        };
        reader.end()?;
        Ok(answer)
    }
}

impl Status {
    fn encode(&self, writer: &mut Writer) {
        for text in [&self.version, &self.remote, &self.last_error] {
            let shown: String = text.chars().filter(|c| !c.is_control()).collect();
            let end = shown.floor_char_boundary(STATUS_TEXT_BYTES_MAX);
            writer.bytes(&shown.as_bytes()[..end]);
        }
        writer.varint(self.pid.into());
        for number in [
            self.started_ms,
            self.builds,
            self.downloads_active,
            self.uploads_active,
            self.uploads_queued,
            self.downloads,
            self.downloaded_bytes,
            self.prefetched,
            self.uploads,
            self.uploaded_bytes,
            self.requests,
            self.failures,
        ] {
            writer.varint(number);
        }
        writer.u8(self.resting.into());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            version: text(reader)?,
            remote: text(reader)?,
            last_error: text(reader)?,
            pid: reader.varint_u32()?,
            started_ms: reader.varint()?,
            builds: reader.varint()?,
            downloads_active: reader.varint()?,
            uploads_active: reader.varint()?,
            uploads_queued: reader.varint()?,
            downloads: reader.varint()?,
            downloaded_bytes: reader.varint()?,
            prefetched: reader.varint()?,
            uploads: reader.varint()?,
            uploaded_bytes: reader.varint()?,
            requests: reader.varint()?,
            failures: reader.varint()?,
            resting: crate::result::decode_bool(reader.u8()?)?,
        })
    }
}

/// A text that a terminal shows as it is.
fn text(reader: &mut Reader<'_>) -> Result<String, FormatError> {
    let text = str::from_utf8(reader.bytes(STATUS_TEXT_BYTES_MAX)?);
    let text = text.map_err(|_| FormatError::Name)?;
    if text.contains(char::is_control) { Err(FormatError::Name) } else { Ok(text.to_owned()) }
}

fn cut(bytes: &[u8], bytes_max: usize) -> &[u8] {
    &bytes[..bytes.len().min(bytes_max)]
}
