//! Results as bytes: what is asked of many results at a time, then the packed texts of what is
//! restored.

use crate::pack::{pack, unpack};
use crate::wire::{Reader, WireError, Writer};
use crate::{
    ActionKey, Digest, FormatError, Inline, NodeKind, Output, OutputRole, ResultRecord, UnitKey,
};

/// Version of the encoding of results.
pub const RESULT_VERSION: u8 = 4;
/// Most outputs of one action.
pub const OUTPUTS_MAX: usize = 65_536;
/// Most bytes in the name of an output.
pub const OUTPUT_NAME_BYTES_MAX: usize = 4096;

const NODE_MASK: u8 = 0x03;
const ROLE_SHIFT: u32 = 2;
const ROLE_MASK: u8 = 0x03;
const TEXT: u8 = 0x10;
const DEP_INFO: u8 = 0x20;
/// Tag, mode, size.
const OUTPUT_BYTES_MIN: usize = 3;

impl ResultRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(512);
        writer.u8(RESULT_VERSION);
        writer.digest(&self.unit.0);
        writer.bytes(&self.crate_name);
        writer.u8(self.exit_status);
        writer.varint(self.cost_us);
        writer.raw(&self.boot);
        writer.u8(u8::from(self.fetched));
        writer.varint(self.created_s);
        writer.count(self.outputs.len());
        let mut texts = Writer::with_capacity(1024);
        for output in &self.outputs {
            encode_output(&mut writer, &mut texts, output);
        }
        texts.bytes(&self.stdout);
        texts.bytes(&self.stderr);
        pack(&mut writer, &texts.finish());
        writer.finish()
    }

    /// The result of an action. Output names come out as relative paths of normal components.
    pub fn decode(action: ActionKey, bytes: &[u8]) -> Result<Self, FormatError> {
        let mut outputs = Vec::new();
        let (view, texts) = ResultView::split(bytes, |output| outputs.push(output))?;
        let texts = unpack(texts)?;
        let mut reader = Reader::new(&texts);
        let outputs = outputs.into_iter().map(|output| output.read(&mut reader));
        let outputs = outputs.collect::<Result<_, _>>()?;
        let (stdout, stderr) = (reader.bytes(usize::MAX)?, reader.bytes(usize::MAX)?);
        let record = Self {
            action,
            unit: view.unit,
            crate_name: view.crate_name.to_vec(),
            outputs,
            stdout: stdout.to_vec(),
            stderr: stderr.to_vec(),
            exit_status: view.exit_status,
            cost_us: view.cost_us,
            boot: view.boot,
            fetched: view.fetched,
            created_s: view.created_s,
        };
        reader.end()?;
        Ok(record)
    }
}

/// A [`ResultRecord`] but for outputs and texts, read in place: for who looks at many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultView<'a> {
    pub unit: UnitKey,
    pub crate_name: &'a [u8],
    pub exit_status: u8,
    pub cost_us: u64,
    pub boot: [u8; 16],
    pub fetched: bool,
    pub created_s: u64,
}

/// An [`Output`] but for its name and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputView {
    pub node: NodeKind,
    pub role: OutputRole,
    pub mode: u32,
    pub size_bytes: u64,
    /// Where the content is, unless it is in the record itself.
    pub blob: Option<BlobView>,
    content: Content,
}

/// The blob of an output, and when it was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobView {
    pub digest: Digest,
    pub mtime_ns: i64,
}

/// What of an output is among the texts besides its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Nothing,
    Text,
    DepInfo,
}

impl<'a> ResultView<'a> {
    /// Shows each output to `on_output`; the record is sound only if no error comes after.
    pub fn decode(bytes: &'a [u8], on_output: impl FnMut(OutputView)) -> Result<Self, FormatError> {
        Ok(Self::split(bytes, on_output)?.0)
    }

    fn split(
        bytes: &'a [u8],
        mut on_output: impl FnMut(OutputView),
    ) -> Result<(Self, Reader<'a>), FormatError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != RESULT_VERSION {
            return Err(FormatError::Version { found: version.into() });
        }
        let view = Self {
            unit: UnitKey(reader.digest()?),
            crate_name: reader.bytes(OUTPUT_NAME_BYTES_MAX)?,
            exit_status: reader.u8()?,
            cost_us: reader.varint()?,
            boot: reader.array()?,
            fetched: decode_bool(reader.u8()?)?,
            created_s: reader.varint()?,
        };
        for _ in 0..reader.count(OUTPUTS_MAX, OUTPUT_BYTES_MIN)? {
            on_output(OutputView::decode(&mut reader)?);
        }
        Ok((view, reader))
    }
}

fn encode_output(writer: &mut Writer, texts: &mut Writer, output: &Output) {
    let content = match &output.inline {
        None => 0,
        Some(Inline::Text(_)) => TEXT,
        Some(Inline::DepInfo(_)) => DEP_INFO,
    };
    writer.u8(output.node as u8 | (output.role as u8) << ROLE_SHIFT | content);
    writer.varint(output.mode.into());
    writer.varint(output.size_bytes);
    if output.has_blob() {
        writer.digest(&output.blob);
        writer.signed(output.blob_mtime_ns);
    }
    texts.bytes(&output.name);
    if let Some(Inline::Text(bytes) | Inline::DepInfo(bytes)) = &output.inline {
        texts.bytes(bytes);
    }
}

impl OutputView {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let tag = reader.u8()?;
        let content = match tag & !(NODE_MASK | ROLE_MASK << ROLE_SHIFT) {
            0 => Content::Nothing,
            TEXT => Content::Text,
            DEP_INFO => Content::DepInfo,
            _ => return Err(FormatError::Tag { what: "kind of output", value: tag.into() }),
        };
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
        let (mode, size_bytes) = (reader.varint_u32()?, reader.varint()?);
        let has_blob = node == NodeKind::File && content == Content::Nothing;
        let blob = if has_blob {
            Some(BlobView { digest: reader.digest()?, mtime_ns: reader.signed()? })
        } else {
            None
        };
        Ok(Self { node, role, mode, size_bytes, blob, content })
    }

    /// The output with what the texts say of it.
    fn read(self, texts: &mut Reader<'_>) -> Result<Output, FormatError> {
        let name = texts.bytes(OUTPUT_NAME_BYTES_MAX)?;
        if !is_relative_and_normal(name) {
            return Err(FormatError::Name);
        }
        let mut content = || texts.bytes(usize::MAX).map(<[u8]>::to_vec);
        let inline = match self.content {
            Content::Nothing => None,
            Content::Text => Some(Inline::Text(content()?)),
            Content::DepInfo => Some(Inline::DepInfo(content()?)),
        };
        Ok(Output {
            name: name.to_vec(),
            node: self.node,
            role: self.role,
            mode: self.mode,
            blob: self.blob.map_or(Digest([0; 32]), |blob| blob.digest),
            size_bytes: self.size_bytes,
            blob_mtime_ns: self.blob.map_or(0, |blob| blob.mtime_ns),
            inline,
        })
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
