//! Texts with the roots replaced by markers, and the way back.

use memchr::memmem;
use store_format::Root;
use store_format::dep_info::makefile_marker;

use super::{Form, ROOTS, Roots};

impl Roots {
    /// The text with each literal root replaced by its marker: NUL, digit, NUL; NUL, letter, NUL
    /// for a path as make writes it. A NUL of the text itself becomes NUL `0` NUL.
    pub fn template(&self, text: &[u8]) -> Vec<u8> {
        self.template_as(text, Form::Plain)
    }

    /// As [`Roots::template`], for the rules of a makefile, where paths with spaces are escaped.
    pub fn template_makefile(&self, text: &[u8]) -> Vec<u8> {
        self.template_as(text, Form::Makefile)
    }

    /// As [`Roots::template`], for one path; a relative one is one of the working directory.
    pub fn template_path(&self, path: &[u8]) -> Vec<u8> {
        let rooted = self.relativize(path);
        let Some(root) = rooted.root else { return self.template(&rooted.path) };
        let mut templated = marker(root, Form::Plain).to_vec();
        if !rooted.path.is_empty() {
            templated.push(b'/');
            templated.extend_from_slice(&rooted.path);
        }
        templated
    }

    fn template_as(&self, text: &[u8], form: Form) -> Vec<u8> {
        let mut templated = Vec::with_capacity(text.len());
        let mut copied = 0;
        let mut at = 0;
        // A root begins with a slash; nothing else can begin a replacement.
        while let Some(step) = memchr::memchr2(b'/', 0, &text[at..]) {
            at += step;
            let replacement =
                if text[at] == 0 { Some((LITERAL_NUL, 1)) } else { self.root_at(text, at, form) };
            match replacement {
                Some((marker, length)) => {
                    templated.extend_from_slice(&text[copied..at]);
                    templated.extend_from_slice(&marker);
                    at += length;
                    copied = at;
                }
                None => at += 1,
            }
        }
        templated.extend_from_slice(&text[copied..]);
        templated
    }

    fn root_at(&self, text: &[u8], at: usize, form: Form) -> Option<([u8; 3], usize)> {
        if !begins_path(&text[..at]) {
            return None;
        }
        self.places.iter().find_map(|place| {
            let forms: &[Form] = match form {
                Form::Plain => &[Form::Plain, Form::Makefile],
                Form::Makefile => &[Form::Makefile],
            };
            forms.iter().find_map(|&form| {
                let path = place.text(form);
                let after = text[at..].strip_prefix(path)?;
                ends_path(after).then(|| (marker(place.root, form), path.len()))
            })
        })
    }

    /// The text that a template stands for here; `None` if a root in it is unknown here or it is
    /// no template.
    pub fn expand(&self, template: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some(at) = memchr::memchr(0, rest) {
            text.extend_from_slice(&rest[..at]);
            let [0, tag, 0, after @ ..] = &rest[at..] else { return None };
            if *tag == b'0' {
                text.push(0);
            } else {
                let (root, form) = marked(*tag)?;
                text.extend_from_slice(self.bytes(root, form)?);
            }
            rest = after;
        }
        text.extend_from_slice(rest);
        Some(text)
    }
}

/// A template as it is shown, with what each root is called in place of its marker.
pub fn named(template: &[u8], name: impl Fn(Root) -> &'static str) -> Vec<u8> {
    let mut text = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = memchr::memchr(0, rest) {
        text.extend_from_slice(&rest[..at]);
        let (tag, after) = match &rest[at..] {
            [0, tag, 0, after @ ..] => (Some(*tag), after),
            _ => (None, &rest[at + 1..]),
        };
        match tag.and_then(marked) {
            Some((root, _)) => text.extend_from_slice(name(root).as_bytes()),
            None => text.push(0),
        }
        rest = after;
    }
    text.extend_from_slice(rest);
    text
}

/// Whether a text names a path, or one below it.
pub fn names(text: &[u8], path: &[u8]) -> bool {
    memmem::find_iter(text, path)
        .any(|at| begins_path(&text[..at]) && ends_path(&text[at + path.len()..]))
}

const LITERAL_NUL: [u8; 3] = [0, b'0', 0];

fn marker(root: Root, form: Form) -> [u8; 3] {
    match form {
        Form::Plain => [0, b'0' + root as u8, 0],
        Form::Makefile => makefile_marker(root),
    }
}

fn marked(tag: u8) -> Option<(Root, Form)> {
    let forms = [Form::Plain, Form::Makefile];
    let mut all = ROOTS.into_iter().flat_map(|root| forms.map(|form| (root, form)));
    all.find(|&(root, form)| marker(root, form)[1] == tag)
}

/// Whether a byte belongs to the same path component as the one before it.
fn continues_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"_-.+~@%#$".contains(&byte)
}

/// Whether an absolute path can begin after these bytes.
fn begins_path(before: &[u8]) -> bool {
    match before {
        // Also: an URL, the escapes of JSON strings.
        [] | [.., b':', b'/', b'/'] | [.., b'\\', b'n' | b'r' | b't'] => true,
        // An attached value: `-L/…`, `-T/…`.
        [b'-', letter] if letter.is_ascii_alphabetic() => true,
        [.., earlier, b'-', letter] if letter.is_ascii_alphabetic() => {
            !continues_name(*earlier) && *earlier != b'/'
        }
        // The end of a terminal's colour sequence.
        [rest @ .., b'm'] => {
            let digits = |&&byte: &&u8| byte.is_ascii_digit() || byte == b';';
            let length = rest.iter().rev().take_while(digits).count();
            rest[..rest.len() - length].last() == Some(&b'[')
        }
        [.., last] => !continues_name(*last) && *last != b'/',
    }
}

/// Whether a path can end before these bytes, or go on with another component.
pub(super) fn ends_path(after: &[u8]) -> bool {
    match after {
        [] => true,
        [b'\\', b' ', ..] => false,
        [next, ..] => !continues_name(*next),
    }
}
