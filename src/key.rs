//! The key: one table of components, in the order in which they are hashed.
//!
//! The unit key holds what is known before any input is read. The action key adds a manifest and
//! the value of every input that it names. `why-miss` reads the same components that are hashed.

use std::os::unix::ffi::OsStringExt;

use store_format::{ActionKey, Digest, Manifest, UnitKey};

use crate::config::{Config, workspace_directory};
use crate::extra;
use crate::inputs::{Inputs, finish, frame};
use crate::memo::Memo;

/// Changes whenever the meaning of a component does: older keys are then never found again.
const KEY_VERSION: u32 = 5;

/// One component of a unit key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The version of this table.
    Version,
    /// `key_salt` of the configuration.
    Salt,
    /// Content of the compiler, its libraries and the sysroot.
    Toolchain,
    /// Content of a build script's executable.
    Script,
    /// One argument, with the roots replaced.
    Argument,
    /// A variable that decides what the compiler accepts, whether or not it was seen to be read.
    Variable,
    /// Names and contents of the files that `extra_inputs` of the configuration names.
    ExtraInputs,
    /// The host's processor, for code that is made for it.
    HostCpu,
    /// Whether paths are remapped, and so whether outputs may name the place of this build.
    PathNormalization,
    /// What outputs call the directory of a package outside of the workspace.
    SourceName,
}

impl Component {
    /// How `why-miss` names the component.
    pub fn label(self) -> &'static str {
        match self {
            Self::Version => "key version",
            Self::Salt => "key_salt",
            Self::Toolchain => "toolchain",
            Self::Script => "build script",
            Self::Argument => "argument",
            Self::Variable => "variable",
            Self::ExtraInputs => "extra_inputs",
            Self::HostCpu => "host processor",
            Self::PathNormalization => "path normalization",
            Self::SourceName => "name of the package's directory",
        }
    }
}

/// The components of one unit, collected to be hashed and explained.
#[derive(Clone, Debug, Default)]
pub struct UnitComponents {
    parts: Vec<Part>,
}

/// A mark where results are valid in any checkout, else the place for which they are.
fn place(config: &Config) -> Vec<u8> {
    if config.path_normalize {
        return vec![1];
    }
    let mut place = crate::env::current_directory().into_os_string().into_vec();
    if let Some(out_dir) = std::env::var_os("OUT_DIR") {
        place.push(0);
        place.extend(out_dir.into_vec());
    }
    place
}

/// One component: its kind, its name where there are several of the kind, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub component: Component,
    pub name: String,
    pub value: Vec<u8>,
}

impl UnitComponents {
    /// The components that every action has.
    pub fn common(config: &Config, memo: &Memo) -> Self {
        let mut components = Self::default();
        components.add(Component::Version, KEY_VERSION.to_le_bytes().to_vec());
        components.add(Component::Salt, config.key_salt.clone().unwrap_or_default().into_bytes());
        components.add(Component::PathNormalization, place(config));
        if !config.extra_inputs.is_empty() {
            components.add(Component::ExtraInputs, extra_inputs(config, memo));
        }
        components
    }

    /// Whether the files of `extra_inputs` are what they were.
    pub fn has_extra_inputs_of_now(&self, config: &Config, memo: &Memo) -> bool {
        let is_extra = |part: &&Part| part.component == Component::ExtraInputs;
        let known = self.parts.iter().find(is_extra);
        known.is_none_or(|known| extra_inputs(config, memo) == known.value)
    }

    pub fn add(&mut self, component: Component, value: Vec<u8>) {
        self.add_named(component, String::new(), value);
    }

    pub fn add_named(&mut self, component: Component, name: String, value: Vec<u8>) {
        self.parts.push(Part { component, name, value });
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub fn key(&self) -> UnitKey {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"kache unit key\0");
        for part in &self.parts {
            frame(&mut hasher, part.component.label().as_bytes());
            frame(&mut hasher, part.name.as_bytes());
            frame(&mut hasher, &part.value);
        }
        UnitKey(finish(&hasher))
    }
}

fn extra_inputs(config: &Config, memo: &Memo) -> Vec<u8> {
    let base = workspace_directory().unwrap_or_default();
    extra::digest(&config.extra_inputs, &base, memo)
}

/// The action key, or `None` if an input has no value now.
pub fn action_key(unit: UnitKey, manifest: &Manifest, inputs: &mut Inputs) -> Option<ActionKey> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"kache action key\0");
    hasher.update(&unit.0.0);
    for input in &manifest.inputs {
        hasher.update(&[input.kind as u8, input.name.root.map_or(0, |root| root as u8)]);
        frame(&mut hasher, &input.name.path);
        hasher.update(&inputs.value(input)?.0);
    }
    Some(ActionKey(finish(&hasher)))
}

/// The digest that compilations in flight are claimed by: the unit, and those inputs that are
/// certain before anything was observed.
pub fn claim_key(unit: UnitKey, certain: &[Digest]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"kache claim\0");
    hasher.update(&unit.0.0);
    for value in certain {
        hasher.update(&value.0);
    }
    finish(&hasher)
}
