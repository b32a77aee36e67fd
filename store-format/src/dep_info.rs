//! Dep-info, told by the names in the manifest of the compilation that wrote it.
//!
//! The compiler writes the list of its sources once for each output and once more for themselves, and
//! the manifest names each of them already. What is kept is the outputs, where each source stands in
//! the manifest, and whatever follows. Only what comes back to the byte is kept like this.

use std::collections::HashMap;

use crate::wire::{Reader, WireError, Writer};
use crate::{FormatError, InputKind, Manifest, Root, RootedPath};

/// Most bytes of a text that is kept like this.
pub const DEP_INFO_BYTES_MAX: usize = 1 << 20;

/// What stands for a root in the rules of a makefile. There, paths with spaces are escaped.
pub fn makefile_marker(root: Root) -> [u8; 3] {
    // 'A' is the first root.
    [0, b'@' + root as u8, 0]
}

/// The short form of a text with the roots replaced; `None` if it would not come back.
pub fn shorten(text: &[u8], manifest: &Manifest) -> Option<Vec<u8>> {
    let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
    for (place, input) in manifest.inputs.iter().enumerate() {
        if input.kind == InputKind::File {
            for (form, relative) in [(0, false), (1, true)] {
                known.extend(word(&input.name, relative).map(|word| (word, place * 2 + form + 1)));
            }
        }
    }
    let mut rest = text;
    let mut outputs: Vec<&[u8]> = Vec::new();
    let mut words: &[u8] = &[];
    while let Some(line) = rest.split(|byte| *byte == b'\n').next()
        && let Some(colon) = line.windows(2).position(|pair| pair == b": ")
        && !line.starts_with(b"#")
    {
        outputs.push(&line[..colon]);
        words = &line[colon + 2..];
        rest = rest.get(line.len() + 2..)?;
    }
    let words = split_words(words);
    let rules: usize = words.iter().map(|word| word.len() + 2).sum();
    let mut writer = Writer::new();
    writer.count(outputs.len());
    for output in outputs {
        writer.bytes(output);
    }
    writer.count(words.len());
    for word in words {
        if let Some(number) = known.get(word) {
            writer.count(*number);
        } else {
            writer.count(0);
            writer.bytes(word);
        }
    }
    writer.raw(rest.get(rules..)?);
    let short = writer.finish();
    (lengthen(&short, manifest).as_deref() == Ok(text)).then_some(short)
}

/// The text that a short form stands for, with the roots replaced.
pub fn lengthen(short: &[u8], manifest: &Manifest) -> Result<Vec<u8>, FormatError> {
    let mut reader = Reader::new(short);
    let count = reader.count(DEP_INFO_BYTES_MAX, 1)?;
    let mut outputs = Vec::with_capacity(count);
    for _ in 0..count {
        outputs.push(reader.bytes(usize::MAX)?);
    }
    let mut list = Vec::new();
    let mut rules = Vec::new();
    for _ in 0..reader.count(DEP_INFO_BYTES_MAX, 1)? {
        let start = list.len();
        list.push(b' ');
        match usize::try_from(reader.varint()?).map_err(|_| WireError::Limit)?.checked_sub(1) {
            None => list.extend_from_slice(reader.bytes(usize::MAX)?),
            Some(number) => {
                let input = manifest.inputs.get(number / 2).ok_or(WireError::Limit)?;
                append_word(&mut list, &input.name, number % 2 == 1).ok_or(FormatError::Name)?;
            }
        }
        rules.extend_from_slice(&list[start + 1..]);
        rules.extend_from_slice(b":\n");
        if rules.len() > DEP_INFO_BYTES_MAX {
            return Err(WireError::Limit.into());
        }
    }
    let names: usize = outputs.iter().map(|output| output.len()).sum();
    let tail = reader.raw(reader.remaining())?;
    let length = names + outputs.len() * (list.len() + 3) + rules.len() + tail.len();
    if length > DEP_INFO_BYTES_MAX {
        return Err(WireError::Limit.into());
    }
    let mut text = Vec::with_capacity(length);
    for output in outputs {
        text.extend_from_slice(output);
        text.push(b':');
        text.extend_from_slice(&list);
        text.extend_from_slice(b"\n\n");
    }
    text.extend_from_slice(&rules);
    text.extend_from_slice(tail);
    Ok(text)
}

/// How a rule names a file: absolutely, or relative to the working directory.
fn word(name: &RootedPath, relative: bool) -> Option<Vec<u8>> {
    let mut word = Vec::new();
    append_word(&mut word, name, relative)?;
    Some(word)
}

fn append_word(word: &mut Vec<u8>, name: &RootedPath, relative: bool) -> Option<()> {
    match (name.root, relative) {
        (Some(Root::Workspace), true) | (None, false) => {}
        (Some(root), false) => {
            word.extend(makefile_marker(root));
            word.push(b'/');
        }
        _ => return None,
    }
    if name.path.contains(&b' ') {
        word.extend(name.path.split(|byte| *byte == b' ').collect::<Vec<_>>().join(&b"\\ "[..]));
    } else {
        word.extend_from_slice(&name.path);
    }
    Some(())
}

/// Words between spaces, of which those behind a backslash are part of a word.
fn split_words(list: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    let mut start = 0;
    for (at, byte) in list.iter().enumerate() {
        if *byte == b' ' && (at == 0 || list[at - 1] != b'\\') {
            words.push(&list[start..at]);
            start = at + 1;
        }
    }
    if !list.is_empty() {
        words.push(&list[start..]);
    }
    words
}
