//! From the compiler's argument words to options: the grammar, and nothing about meaning.
//!
//! The grammar is rustc's own: short options may be clustered (`-gO`), their values attached or
//! separate (`-Cx=y`, `-C x=y`), long ones joined or separate (`--emit=x`, `--emit x`), and
//! `@file` stands for the lines of a file, one level deep. Long spellings of short options come
//! out as the short one, so that equal calls are equal.
//!
//! Invariant: every word of the call comes out in exactly one [`Word`], in order.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::PassReason;

/// One option or free word of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A word that belongs to no option: the source.
    Free(OsString),
    /// An option without a value, as `--test` or `-g`, or an unknown one.
    Flag(OsString),
    /// An option and its value.
    Valued(&'static str, OsString),
}

/// Short options that take a value.
const SHORT_VALUED: &[&str] = &["-L", "-l", "-A", "-W", "-D", "-F", "-C", "-Z", "-o"];
/// Short options that take none.
const SHORT_FLAGS: &[&str] = &["-h", "-V", "-v", "-g", "-O"];

/// Long options that take a value, and the name under which they come out.
const LONG_VALUED: &[(&str, &str)] = &[
    ("--allow", "-A"),
    ("--cap-lints", "--cap-lints"),
    ("--cfg", "--cfg"),
    ("--check-cfg", "--check-cfg"),
    ("--codegen", "-C"),
    ("--color", "--color"),
    ("--crate-name", "--crate-name"),
    ("--crate-type", "--crate-type"),
    ("--deny", "-D"),
    ("--diagnostic-width", "--diagnostic-width"),
    ("--edition", "--edition"),
    ("--emit", "--emit"),
    ("--env-set", "--env-set"),
    ("--error-format", "--error-format"),
    ("--explain", "--explain"),
    ("--extern", "--extern"),
    ("--forbid", "-F"),
    ("--force-warn", "--force-warn"),
    ("--json", "--json"),
    ("--out-dir", "--out-dir"),
    ("--print", "--print"),
    ("--remap-path-prefix", "--remap-path-prefix"),
    ("--remap-path-scope", "--remap-path-scope"),
    ("--sysroot", "--sysroot"),
    ("--target", "--target"),
    ("--warn", "-W"),
];

/// Long options that take no value, and the name under which they come out.
const LONG_FLAGS: &[(&str, &str)] =
    &[("--help", "-h"), ("--test", "--test"), ("--verbose", "-v"), ("--version", "-V")];

/// Replaces every `@file` by the lines of that file, as the compiler does: one level deep.
pub fn expand(
    arguments: &[OsString],
    mut read_response_file: impl FnMut(&OsStr) -> Option<Vec<u8>>,
) -> Result<Vec<OsString>, PassReason> {
    let mut expanded = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let Some(name) = argument.as_bytes().strip_prefix(b"@") else {
            expanded.push(argument.clone());
            continue;
        };
        if name.starts_with(b"shell:") {
            return Err(PassReason::ResponseFile);
        }
        let content = read_response_file(OsStr::from_bytes(name));
        let content = content.and_then(|bytes| String::from_utf8(bytes).ok());
        let content = content.ok_or(PassReason::ResponseFile)?;
        expanded.extend(content.lines().map(OsString::from));
    }
    Ok(expanded)
}

/// Splits expanded arguments (without the program) into words.
pub fn words(arguments: &[OsString]) -> Result<Vec<Word>, PassReason> {
    let mut words = Vec::with_capacity(arguments.len());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let bytes = argument.as_bytes();
        if bytes == b"--" {
            words.extend(rest.by_ref().cloned().map(Word::Free));
        } else if bytes.starts_with(b"--") {
            words.push(long(argument, &mut rest)?);
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            short(&bytes[1..], &mut rest, &mut words)?;
        } else {
            words.push(Word::Free(argument.clone()));
        }
    }
    Ok(words)
}

type Rest<'a> = std::slice::Iter<'a, OsString>;

fn long(argument: &OsString, rest: &mut Rest<'_>) -> Result<Word, PassReason> {
    let bytes = argument.as_bytes();
    let equals = bytes.iter().position(|&byte| byte == b'=');
    let name = &bytes[..equals.unwrap_or(bytes.len())];
    let find = |table: &[(&str, &'static str)]| {
        table.iter().find(|(long, _)| long.as_bytes() == name).map(|&(_, canonical)| canonical)
    };
    if let Some(canonical) = find(LONG_VALUED) {
        let value = match equals {
            Some(equals) => os(&bytes[equals + 1..]),
            None => rest.next().cloned().ok_or(PassReason::Unparsable)?,
        };
        return Ok(Word::Valued(canonical, value));
    }
    match (find(LONG_FLAGS), equals) {
        (Some(canonical), None) => Ok(Word::Flag(canonical.into())),
        (Some(_), Some(_)) => Err(PassReason::Unparsable),
        // Unknown. Should it take its value from the next word, that one is left over as a
        // second source, and the call is passed on unparsed.
        (None, _) => Ok(Word::Flag(argument.clone())),
    }
}

fn short(cluster: &[u8], rest: &mut Rest<'_>, words: &mut Vec<Word>) -> Result<(), PassReason> {
    for (index, &letter) in cluster.iter().enumerate() {
        let find = |table: &[&'static str]| {
            table.iter().copied().find(|option| option.as_bytes()[1] == letter)
        };
        if let Some(flag) = find(SHORT_FLAGS) {
            words.push(Word::Flag(flag.into()));
            continue;
        }
        let option = find(SHORT_VALUED).ok_or(PassReason::Unparsable)?;
        let attached = &cluster[index + 1..];
        let value = if attached.is_empty() {
            rest.next().cloned().ok_or(PassReason::Unparsable)?
        } else {
            os(attached)
        };
        words.push(Word::Valued(option, value));
        break;
    }
    Ok(())
}

/// Bytes of an argument as an argument of its own.
pub(super) fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}
