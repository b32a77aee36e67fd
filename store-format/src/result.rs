//! Results as bytes.

use crate::wire::{Reader, WireError, Writer};
use crate::{ActionKey, FormatError, NodeKind, Output, OutputRole, ResultRecord, UnitKey};

/// Version of the encoding of results.
pub const RESULT_VERSION: u8 = 2;
/// Most outputs of one action.
pub const OUTPUTS_MAX: usize = 65_536;
/// Most bytes in the name of an output.
pub const OUTPUT_NAME_BYTES_MAX: usize = 4096;

const NODE_MASK: u8 = 0x03;
const ROLE_SHIFT: u32 = 2;
const ROLE_MASK: u8 = 0x03;
const INLINE: u8 = 0x10;
const UNUSED: u8 = 0xe0;
const FETCHED: u8 = 0x02;
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
        let fetched = if self.fetched { FETCHED } else { 0 };
        writer.u8(u8::from(self.durable) | fetched);
        writer.varint(self.created_s);
        writer.finish()
    }

    /// Output names come out as relative paths of normal components.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != RESULT_VERSION {
            return Err(FormatError::Version { found: version.into() });
        }
        let action = ActionKey(reader.digest()?);
        let unit = UnitKey(reader.digest()?);
        let crate_name = reader.bytes(OUTPUT_NAME_BYTES_MAX)?.to_vec();
        let count = reader.count(OUTPUTS_MAX, OUTPUT_BYTES_MIN)?;
        let mut outputs = Vec::with_capacity(count);
        for _ in 0..count {
            outputs.push(decode_output(&mut reader)?);
        }
        let stdout = reader.bytes(usize::MAX)?.to_vec();
        let stderr = reader.bytes(usize::MAX)?.to_vec();
        let exit_status = reader.u8()?;
        let cost_us = reader.varint()?;
        let boot = reader.array()?;
        let state = reader.u8()?;
        let record = Self {
            action,
            unit,
            crate_name,
            outputs,
            stdout,
            stderr,
            exit_status,
            cost_us,
            boot,
            durable: decode_bool(state & !FETCHED)?,
            fetched: state & FETCHED != 0,
            created_s: reader.varint()?,
        };
        reader.end()?;
        Ok(record)
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

fn decode_output(reader: &mut Reader<'_>) -> Result<Output, FormatError> {
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
    Ok(Output {
        name: name.to_vec(),
        node,
        role,
        mode: reader.varint_u32()?,
        blob: reader.digest()?,
        size_bytes: reader.varint()?,
        blob_mtime_ns: reader.signed()?,
        inline: if tag & INLINE == 0 { None } else { Some(reader.bytes(usize::MAX)?.to_vec()) },
    })
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
