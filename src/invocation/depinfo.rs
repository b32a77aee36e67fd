//! Dep-info: the `.d` file that the compiler writes beside its outputs.
//!
//! Rules of make, `output: file file …`, an empty rule for each file, then comments that carry
//! more: `# env-dep:NAME=VALUE` (or `# env-dep:NAME` for an unset variable) and
//! `# checksum:ALGORITHM=DIGEST file_len:BYTES path`. In a rule, a space in the path of a file that
//! is read is written `\ `, one in the path of an output is not. In `env-dep`, newline, carriage
//! return and backslash are `\n`, `\r` and `\\`.

use std::collections::BTreeSet;

use crate::roots::Roots;

/// What a dep-info file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DepInfo {
    /// Every file that a rule names as read, sorted, once; as the compiler wrote the path.
    pub files: BTreeSet<Vec<u8>>,
    /// Variables that were read by `env!` and `option_env!`; `None` for one that was unset.
    pub variables: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Why a dep-info file cannot be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepInfoError {
    #[error("line {line} of the dep-info is no rule")]
    NoRule { line: usize },
    #[error("line {line} of the dep-info has a malformed escape")]
    Escape { line: usize },
}

const VARIABLE: &[u8] = b"# env-dep:";

/// Parses the content of a `.d` file.
pub fn parse(text: &[u8]) -> Result<DepInfo, DepInfoError> {
    let mut found = DepInfo::default();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let number = index + 1;
        if let Some(variable) = line.strip_prefix(VARIABLE) {
            let parsed = parse_variable(variable);
            found.variables.push(parsed.ok_or(DepInfoError::Escape { line: number })?);
        } else if !line.is_empty() && !line.starts_with(b"#") {
            let files = rule_files(line).ok_or(DepInfoError::NoRule { line: number })?;
            split_files(files, &mut found.files);
        }
    }
    Ok(found)
}

/// The part of a rule after its colon: after the first one that ends the line or precedes a
/// space, so that a colon within a path is none.
fn rule_files(line: &[u8]) -> Option<&[u8]> {
    let mut colons = line.iter().enumerate().filter(|&(_, &byte)| byte == b':');
    let (colon, _) = colons.find(|&(at, _)| matches!(line.get(at + 1), None | Some(b' ')))?;
    (colon > 0).then(|| &line[colon + 1..])
}

fn split_files(list: &[u8], files: &mut BTreeSet<Vec<u8>>) {
    let mut file = Vec::new();
    for &byte in list {
        if byte == b' ' && file.last() == Some(&b'\\') {
            file.pop();
            file.push(b' ');
        } else if byte != b' ' {
            file.push(byte);
        } else if !file.is_empty() {
            files.insert(std::mem::take(&mut file));
        }
    }
    if !file.is_empty() {
        files.insert(file);
    }
}

fn parse_variable(text: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    match text.iter().position(|&byte| byte == b'=') {
        None => Some((unescape(text)?, None)),
        Some(equals) => Some((unescape(&text[..equals])?, Some(unescape(&text[equals + 1..])?))),
    }
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b'\\' => b'\\',
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(plain)
}

/// The text with roots replaced by markers: read files in the form that make reads, outputs and
/// comments plainly, as the compiler writes them. [`Roots::expand`] is the way back, here or
/// elsewhere.
pub fn template(text: &[u8], roots: &Roots) -> Vec<u8> {
    let mut templated = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let plain = if line.starts_with(b"#") { line.len() } else { output_bytes(line) };
        templated.extend(roots.template(&line[..plain]));
        templated.extend(roots.template_makefile(&line[plain..]));
    }
    templated
}

/// Bytes of a rule up to its files; 0 for an empty rule, which names a file that is read.
fn output_bytes(line: &[u8]) -> usize {
    line.windows(2).position(|pair| pair == b": ").map_or(0, |colon| colon + 1)
}
