//! What of a call's arguments enters the unit key, and in which form.
//!
//! Invariant: everything takes part literally, with the literal text of roots replaced by their
//! markers, except what [`NORMALIZED`] lists. Order is kept: of `-L`, of features, of `--cfg`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::argv::Word;
use super::{Invocation, codegen_pair, split_at_equals};
use crate::roots::Roots;

/// One component of the key that an argument makes: `name` for explanations (`-C opt-level`),
/// `value` normalized. Both are part of the key; whoever hashes them frames each by its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPart {
    pub name: String,
    pub value: Vec<u8>,
}

/// How an option is normalized beyond its roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Takes no part.
    Drop,
    /// An absolute path takes no part.
    DropAbsolute,
    /// Takes part without its value.
    Presence,
    /// Only the last component of an absolute path takes part.
    FileName,
    /// What of an absolute path is below the output directory takes part, for each output kind's path in
    /// the list. With any other path the output directory takes part as well.
    EmittedNames,
    /// `.rlib` and `.rmeta` are one.
    CrateExtension,
}

/// One deviation from the literal argument, and why it is sound.
#[derive(Clone, Copy, Debug)]
pub struct Normalization {
    /// The option, with the setting's name for `-C`.
    pub option: &'static str,
    pub treatment: Treatment,
    pub reason: &'static str,
}

/// Every deviation from the literal arguments.
pub const NORMALIZED: &[Normalization] = &[
    Normalization {
        option: "--out-dir",
        treatment: Treatment::DropAbsolute,
        reason: "only says where outputs go; their names come from other arguments, and a path \
                 that gets into an output is found there by the scan for roots, unless it is \
                 relative",
    },
    Normalization {
        option: "-o",
        treatment: Treatment::FileName,
        reason: "the directory only says where the output goes; the name is the output's",
    },
    Normalization {
        option: "--emit",
        treatment: Treatment::EmittedNames,
        reason: "an output's name is what its place is called from the output directory",
    },
    Normalization {
        option: "-C incremental",
        treatment: Treatment::Presence,
        reason: "the directory holds the compiler's own cache; that one is in use changes how \
                 code is split into objects",
    },
    Normalization {
        option: "--color",
        treatment: Treatment::Drop,
        reason: "differs between terminals and logs of one build; Cargo asks for JSON, where it \
                 has no effect",
    },
    Normalization {
        option: "--diagnostic-width",
        treatment: Treatment::Drop,
        reason: "follows the terminal's width, and only wraps the text of diagnostics",
    },
    Normalization {
        option: "--extern",
        treatment: Treatment::CrateExtension,
        reason: "whether Cargo names the library or its metadata depends on pipelining; either \
                 one's content is an input of its own",
    },
];

fn treatment(name: &str) -> Option<Treatment> {
    NORMALIZED.iter().find(|entry| entry.option == name).map(|entry| entry.treatment)
}

impl Invocation {
    /// The arguments as components of the unit key, in order, the source last.
    ///
    /// The program takes part by its file name alone: what it is enters the key by content.
    pub fn normalized<'a>(&'a self, roots: &'a Roots) -> impl Iterator<Item = KeyPart> + 'a {
        let program = [Some(&self.program), self.wrapped.as_ref()].into_iter().flatten();
        let program = program.map(|program| KeyPart {
            name: "program".to_owned(),
            value: file_name(program.as_bytes()).to_vec(),
        });
        let places = Places { roots, invocation: self };
        let options = self.words.iter().filter_map(move |word| part(word, &places));
        let source = KeyPart {
            name: "source".to_owned(),
            value: roots.template_path(self.source.as_os_str().as_bytes()),
        };
        program.chain(options).chain([source])
    }
}

/// What paths in arguments are seen from.
struct Places<'a> {
    roots: &'a Roots,
    invocation: &'a Invocation,
}

fn part(word: &Word, places: &Places) -> Option<KeyPart> {
    match word {
        Word::Free(_) => None,
        Word::Flag(flag) => {
            Some(KeyPart { name: "flag".to_owned(), value: places.roots.template(flag.as_bytes()) })
        }
        Word::Valued(name @ ("-C" | "-Z"), value) => setting(name, value, places),
        Word::Valued(name, value) => valued((*name).to_owned(), value.as_bytes(), places),
    }
}

/// A setting is one component, under its own name; one with `=` differs from one without.
fn setting(option: &str, value: &OsStr, places: &Places) -> Option<KeyPart> {
    let (name, value) = codegen_pair(value);
    let name = format!("{option} {name}");
    match value {
        Some(value) => valued(name + "=", value, places),
        None => valued(name, b"", places),
    }
}

fn valued(name: String, value: &[u8], places: &Places) -> Option<KeyPart> {
    let roots = places.roots;
    let is_absolute = value.starts_with(b"/");
    let value = match treatment(name.trim_end_matches('=')) {
        Some(Treatment::Drop) => return None,
        Some(Treatment::DropAbsolute) if is_absolute => return None,
        Some(Treatment::Presence) => Vec::new(),
        Some(Treatment::FileName) if is_absolute => file_name(value).to_vec(),
        Some(Treatment::EmittedNames) => places.emitted_names(value),
        Some(Treatment::CrateExtension) => {
            let stem = value.strip_suffix(b".rlib").or_else(|| value.strip_suffix(b".rmeta"));
            roots.template(stem.unwrap_or(value))
        }
        Some(Treatment::DropAbsolute | Treatment::FileName) | None => roots.template(value),
    };
    Some(KeyPart { name, value })
}

impl Places<'_> {
    fn emitted_names(&self, list: &[u8]) -> Vec<u8> {
        let items = list.split(|&byte| byte == b',').map(|item| match split_at_equals(item) {
            (kind, Some(path)) => [kind, b"=", &self.emitted_name(path)].concat(),
            (kind, None) => kind.to_vec(),
        });
        items.collect::<Vec<_>>().join(&b',')
    }

    /// Messages and dep-info name a relative path as it is, and links may lead one that does not look so
    /// into the output directory.
    fn emitted_name(&self, path: &[u8]) -> Vec<u8> {
        let outputs = self.roots.absolute(&self.invocation.output_directory());
        if let Ok(inside) = Path::new(OsStr::from_bytes(path)).strip_prefix(&outputs) {
            return inside.as_os_str().as_bytes().to_vec();
        }
        let outputs = self.roots.template_path(outputs.as_os_str().as_bytes());
        [&self.roots.template(path), &b" from "[..], &outputs].concat()
    }
}

fn file_name(path: &[u8]) -> &[u8] {
    Path::new(OsStr::from_bytes(path)).file_name().map_or(path, OsStrExt::as_bytes)
}
