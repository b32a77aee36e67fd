//! What a linker for Apple's systems tells of itself, asked by `-dependency_info`: the files that it
//! read, and the paths where it found none.
//!
//! The report is a sequence of records: a byte that says of which kind, a text, and NUL. The first one
//! holds the linker's version. Relative to which directory a path is, nobody tells; LLVM's linker
//! names the members of archives without their archives. What is not understood makes a report
//! unusable as a whole.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Access;

/// Far more than a link of a thousand libraries tells.
pub const REPORT_BYTES_MAX: usize = 16 << 20;

/// The kinds of records.
const VERSION: u8 = 0x00;
const INPUT: u8 = 0x10;
const NOT_FOUND: u8 = 0x11;
const OUTPUT: u8 = 0x40;

/// What a linker did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// How the linker calls itself.
    pub linker: String,
    /// In the order of the report.
    pub accesses: Vec<Access>,
}

/// Why a report is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it is longer than {REPORT_BYTES_MAX} bytes")]
    TooLong,
    #[error("it does not begin with the linker's version")]
    NoVersion,
    #[error("a record is of the unknown kind {0:#04x}")]
    UnknownKind(u8),
    #[error("a record does not end")]
    NoEnd,
    #[error("a path is not absolute")]
    RelativePath,
}

/// Reads a report.
pub fn parse(bytes: &[u8]) -> Result<LinkReport, Unusable> {
    if bytes.len() > REPORT_BYTES_MAX {
        return Err(Unusable::TooLong);
    }
    let version = Record::first(bytes)?.filter(|record| record.kind == VERSION);
    let version = version.ok_or(Unusable::NoVersion)?;
    let mut accesses = Vec::new();
    let mut rest = version.rest;
    while let Some(record) = Record::first(rest)? {
        let access = match record.kind {
            INPUT => Access::Read,
            NOT_FOUND => Access::Missing,
            OUTPUT => Access::Wrote,
            unknown => return Err(Unusable::UnknownKind(unknown)),
        };
        let path = Path::new(OsStr::from_bytes(record.text));
        if !path.is_absolute() {
            return Err(Unusable::RelativePath);
        }
        // Without empty and `.` components, as observed paths are.
        accesses.push(access(path.components().collect()));
        rest = record.rest;
    }
    let linker = String::from_utf8_lossy(version.text).trim().to_owned();
    Ok(LinkReport { linker, accesses })
}

struct Record<'a> {
    kind: u8,
    text: &'a [u8],
    /// What comes behind it.
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record that `bytes` begin with; `None` where there are no bytes.
    fn first(bytes: &'a [u8]) -> Result<Option<Self>, Unusable> {
        let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
        let end = memchr::memchr(0, rest).ok_or(Unusable::NoEnd)?;
        Ok(Some(Self { kind: *kind, text: &rest[..end], rest: &rest[end + 1..] }))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of LLVM's linker 14, for two objects, a library of stubs that was found in the second
    /// directory, and an output.
    pub(in crate::observe) const REAL: &[u8] = b"\x00Debian LLD 14.0.6\0\
        \x10/tmp/linktest/MacOSX.sdk/usr/lib/libSystem.tbd\0\
        \x10/tmp/linktest/a.o\0\
        \x10/tmp/linktest/b.o\0\
        \x11/tmp/linktest/empty/libSystem.a\0\
        \x11/tmp/linktest/empty/libSystem.dylib\0\
        \x11/tmp/linktest/empty/libSystem.tbd\0\
        \x40/tmp/linktest/out\0";
    /// The same with an archive in place of the second object.
    const WITH_ARCHIVE: &[u8] = b"\x00Debian LLD 14.0.6\0\
        \x10/tmp/linktest/MacOSX.sdk/usr/lib/libSystem.tbd\0\
        \x10/tmp/linktest/a.o\0\
        \x10/tmp/linktest/libb.a\0\
        \x10b.o\0\
        \x11/tmp/linktest/MacOSX.sdk/tmp/linktest/libb.a\0\
        \x11/tmp/linktest/empty/libSystem.a\0\
        \x11/tmp/linktest/empty/libSystem.dylib\0\
        \x11/tmp/linktest/empty/libSystem.tbd\0\
        \x40/tmp/linktest/out\0";

    #[test]
    fn a_report_of_llvms_linker_is_read() {
        let report = parse(REAL).unwrap();
        assert_eq!(report.linker, "Debian LLD 14.0.6");
        let told: Vec<String> = report.accesses.iter().map(ToString::to_string).collect();
        let expected = [
            "read /tmp/linktest/MacOSX.sdk/usr/lib/libSystem.tbd",
            "read /tmp/linktest/a.o",
            "read /tmp/linktest/b.o",
            "missing /tmp/linktest/empty/libSystem.a",
            "missing /tmp/linktest/empty/libSystem.dylib",
            "missing /tmp/linktest/empty/libSystem.tbd",
            "wrote /tmp/linktest/out",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_member_that_is_named_without_its_archive_makes_a_report_unusable() {
        assert_eq!(parse(WITH_ARCHIVE), Err(Unusable::RelativePath));
    }

    #[test]
    fn a_report_that_ends_within_a_record_is_unusable_and_damage_is_never_a_crash() {
        // The first record's kind is zero as well.
        let is_end = |end: usize| end > 1 && REAL[end - 1] == 0;
        for end in 0..REAL.len() {
            let expected = match end {
                0 => Some(Unusable::NoVersion),
                end if is_end(end) => None,
                _ => Some(Unusable::NoEnd),
            };
            assert_eq!(parse(&REAL[..end]).err(), expected, "cut at {end}");
        }
        let whole = parse(REAL).unwrap();
        for at in 0..REAL.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = REAL.to_vec();
                damaged[at] ^= flip;
                if let Ok(report) = parse(&damaged) {
                    assert_ne!(report, whole, "at {at}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_understood_makes_a_report_unusable() {
        let check = |bytes: &[u8], expected| assert_eq!(parse(bytes).err(), expected, "{bytes:?}");
        check(b"\0ld\n\0", None);
        check(b"\x10/a\0", Some(Unusable::NoVersion));
        check(b"\0ld\0\0ld\0", Some(Unusable::UnknownKind(0)));
        check(b"\0ld\0\x12/a\0", Some(Unusable::UnknownKind(0x12)));
        check(b"\0ld\0\x10\0", Some(Unusable::RelativePath));
        check(b"\0ld\0\x11a\0", Some(Unusable::RelativePath));
        check(b"\0ld\0\x10/a", Some(Unusable::NoEnd));
        check(&vec![0; REPORT_BYTES_MAX + 1], Some(Unusable::TooLong));
    }
}
