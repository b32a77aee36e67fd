//! Results as bytes.

use crate::wire::{Reader, WireError, Writer};
use crate::{ActionKey, Digest, FormatError, NodeKind, Output, OutputRole, ResultRecord, UnitKey};

/// Version of the encoding of results.
pub const RESULT_VERSION: u8 = 3;
/// Most outputs of one action.
pub const OUTPUTS_MAX: usize = 65_536;
/// Most bytes in the name of an output.
pub const OUTPUT_NAME_BYTES_MAX: usize = 4096;

const NODE_MASK: u8 = 0x03;
const ROLE_SHIFT: u32 = 2;
const ROLE_MASK: u8 = 0x03;
const INLINE: u8 = 0x10;
const UNUSED: u8 = 0xe0;
/// Name length and one byte of name, tag, mode, blob, size, time.
const OUTPUT_BYTES_MIN: usize = 2 + 1 + 1 + 32 + 1 + 1;

impl ResultRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128 + self.outputs.len() * 96 + self.stderr.len());
        writer.u8(RESULT_VERSION);
        writer.digest(&self.action.0);
        writer.digest(&self.unit.0);
        writer.bytes(&self.crate_name);
        writer.count(self.outputs.len());
        for output in &self.outputs {
            encode_output(&mut writer, output);
        }
        writer.bytes(&self.stdout);
        writer.bytes(&self.stderr);
        writer.u8(self.exit_status);
        writer.varint(self.cost_us);
        writer.raw(&self.boot);
        writer.u8(u8::from(self.fetched));
        writer.varint(self.created_s);
        writer.finish()
    }

    /// Output names come out as relative paths of normal components.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut outputs = Vec::new();
        let view = ResultView::decode(bytes, |output| outputs.push(output.to_output()))?;
        Ok(Self {
            action: view.action,
            unit: view.unit,
            crate_name: view.crate_name.to_vec(),
            outputs,
            stdout: view.stdout.to_vec(),
            stderr: view.stderr.to_vec(),
            exit_status: view.exit_status,
            cost_us: view.cost_us,
            boot: view.boot,
            fetched: view.fetched,
            created_s: view.created_s,
        })
    }
}

/// A [`ResultRecord`] but for its outputs, read in place: for who looks at many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultView<'a> {
    pub action: ActionKey,
    pub unit: UnitKey,
    pub crate_name: &'a [u8],
    pub stdout: &'a [u8],
    pub stderr: &'a [u8],
    pub exit_status: u8,
    pub cost_us: u64,
    pub boot: [u8; 16],
    pub fetched: bool,
    pub created_s: u64,
}

/// An [`Output`], read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputView<'a> {
    pub name: &'a [u8],
    pub node: NodeKind,
    pub role: OutputRole,
    pub mode: u32,
    pub blob: Digest,
    pub size_bytes: u64,
    pub blob_mtime_ns: i64,
    pub inline: Option<&'a [u8]>,
}

impl<'a> ResultView<'a> {
    /// Shows each output to `on_output`; the record is sound only if no error comes after.
    pub fn decode(
        bytes: &'a [u8],
        mut on_output: impl FnMut(OutputView<'a>),
    ) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != RESULT_VERSION {
            return Err(FormatError::Version { found: version.into() });
        }
        let action = ActionKey(reader.digest()?);
        let unit = UnitKey(reader.digest()?);
        let crate_name = reader.bytes(OUTPUT_NAME_BYTES_MAX)?;
        for _ in 0..reader.count(OUTPUTS_MAX, OUTPUT_BYTES_MIN)? {
            on_output(OutputView::decode(&mut reader)?);
        }
        let stdout = reader.bytes(usize::MAX)?;
        let stderr = reader.bytes(usize::MAX)?;
        let exit_status = reader.u8()?;
        let cost_us = reader.varint()?;
        let boot = reader.array()?;
        let view = Self {
            action,
            unit,
            crate_name,
            stdout,
            stderr,
            exit_status,
            cost_us,
            boot,
            fetched: decode_bool(reader.u8()?)?,
            created_s: reader.varint()?,
        };
        reader.end()?;
        Ok(view)
    }
}

fn encode_output(writer: &mut Writer, output: &Output) {
    writer.bytes(&output.name);
    let inline = if output.inline.is_some() { INLINE } else { 0 };
    writer.u8(output.node as u8 | (output.role as u8) << ROLE_SHIFT | inline);
    writer.varint(output.mode.into());
    writer.digest(&output.blob);
    writer.varint(output.size_bytes);
    writer.signed(output.blob_mtime_ns);
    if let Some(content) = &output.inline {
        writer.bytes(content);
    }
}

impl<'a> OutputView<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let name = reader.bytes(OUTPUT_NAME_BYTES_MAX)?;
        if !is_relative_and_normal(name) {
            return Err(FormatError::Name);
        }
        let tag = reader.u8()?;
        if tag & UNUSED != 0 {
            return Err(FormatError::Tag { what: "kind of output", value: tag.into() });
        }
        let node = match tag & NODE_MASK {
            1 => NodeKind::File,
            2 => NodeKind::Directory,
            3 => NodeKind::Symlink,
            value => return Err(FormatError::Tag { what: "node", value: value.into() }),
        };
        let role = match tag >> ROLE_SHIFT & ROLE_MASK {
            1 => OutputRole::Shared,
            2 => OutputRole::Private,
            3 => OutputRole::Text,
            value => return Err(FormatError::Tag { what: "role", value: value.into() }),
        };
        Ok(Self {
            name,
            node,
            role,
            mode: reader.varint_u32()?,
            blob: reader.digest()?,
            size_bytes: reader.varint()?,
            blob_mtime_ns: reader.signed()?,
            inline: if tag & INLINE == 0 { None } else { Some(reader.bytes(usize::MAX)?) },
        })
    }

    fn to_output(self) -> Output {
        Output {
            name: self.name.to_vec(),
            node: self.node,
            role: self.role,
            mode: self.mode,
            blob: self.blob,
            size_bytes: self.size_bytes,
            blob_mtime_ns: self.blob_mtime_ns,
            inline: self.inline.map(<[u8]>::to_vec),
        }
    }
}

pub(crate) fn decode_bool(byte: u8) -> Result<bool, WireError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::Limit),
    }
}

/// Whether a name stays inside the directory that it is joined to.
fn is_relative_and_normal(name: &[u8]) -> bool {
    !name.contains(&0)
        && name.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}
