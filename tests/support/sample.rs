//! Small projects that real builds are made of.

use super::TestSpace;

impl TestSpace {
    /// Writes a package of the given manifest lines (after name, version and edition) and files. At
    /// the top of the space it is a workspace of its own.
    pub(crate) fn package(&self, at: &str, manifest: &str, files: &[(&str, &str)]) {
        let name = at.rsplit('/').next().unwrap_or(at);
        let head =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        let tail = if at.contains('/') { "" } else { "\n[workspace]\n" };
        self.write(format!("{at}/Cargo.toml"), format!("{head}{manifest}{tail}"));
        for (path, content) in files {
            self.write(format!("{at}/{path}"), content);
        }
    }

    /// Writes a crate that every project of the space can depend on as if it came from a registry.
    pub(crate) fn vendor(&self, name: &str, manifest: &str, files: &[(&str, &str)]) {
        self.package(&format!("vendored/{name}"), manifest, files);
        let checksum = "0".repeat(64);
        self.write(
            format!("vendored/{name}/.cargo-checksum.json"),
            format!(r#"{{"files":{{}},"package":"{checksum}"}}"#),
        );
    }

    /// Writes a workspace with what real ones have: a registry crate, a procedural macro, a build
    /// script whose generated code is included, nested modules, a library with a program, unit and
    /// integration tests and an example.
    ///
    /// The program prints [`SAMPLE_OUTPUT`].
    pub(crate) fn sample(&self, at: &str) {
        self.vendor("pebble", "", &[("src/lib.rs", "pub fn weight() -> u32 { 7 }\n")]);
        self.write(
            format!("{at}/Cargo.toml"),
            "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"base\", \"derive\", \"native\"]\n",
        );
        self.package(
            &format!("{at}/base"),
            "[dependencies]\npebble = \"0.1\"\n",
            &[
                ("src/lib.rs", "pub mod outer;\npub fn sum() -> u32 { outer::inner::two() + pebble::weight() }\n"),
                ("src/outer/mod.rs", "pub mod inner;\n"),
                ("src/outer/inner.rs", "pub fn two() -> u32 { 2 }\n"),
            ],
        );
        self.package(
            &format!("{at}/derive"),
            "[lib]\nproc-macro = true\n",
            &[("src/lib.rs", DERIVE)],
        );
        self.package(
            &format!("{at}/native"),
            "",
            &[("build.rs", NATIVE_BUILD), ("src/lib.rs", NATIVE)],
        );
        self.package(
            &format!("{at}/app"),
            "[dependencies]\nbase = { path = \"../base\" }\nderive = { path = \"../derive\" }\n\
             native = { path = \"../native\" }\n",
            &[
                ("src/lib.rs", APP_LIBRARY),
                ("src/main.rs", "fn main() { println!(\"{}\", app::line()); }\n"),
                (
                    "tests/whole.rs",
                    "#[test]\nfn line_is_whole() { assert_eq!(app::line(), \"Stone 9 42\"); }\n",
                ),
                ("examples/show.rs", "fn main() { println!(\"{}\", app::line()); }\n"),
            ],
        );
    }
}

/// What the program of the sample workspace prints.
pub(crate) const SAMPLE_OUTPUT: &str = "Stone 9 42\n";

/// Units that a real compiler builds for `cargo build` of the sample workspace.
pub(crate) const SAMPLE_UNITS: [&str; 7] =
    ["app", "app(bin)", "base", "build_script_build", "derive", "native", "pebble"];

const DERIVE: &str = r#"
use proc_macro::TokenStream;

#[proc_macro_derive(Named)]
pub fn named(item: TokenStream) -> TokenStream {
    let words: Vec<String> = item.into_iter().map(|tree| tree.to_string()).collect();
    let name = &words[words.iter().position(|word| word == "struct").unwrap() + 1];
    format!("impl {name} {{ pub fn name() -> &'static str {{ \"{name}\" }} }}").parse().unwrap()
}
"#;

const NATIVE_BUILD: &str = r#"
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/answer.rs"), "pub const ANSWER: u32 = 42;\n").unwrap();
}
"#;

const NATIVE: &str = "include!(concat!(env!(\"OUT_DIR\"), \"/answer.rs\"));\n";

const APP_LIBRARY: &str = r#"
#[derive(derive::Named)]
pub struct Stone;

pub fn line() -> String {
    format!("{} {} {}", Stone::name(), base::sum(), native::ANSWER)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_stone_has_a_name() {
        assert_eq!(super::Stone::name(), "Stone");
    }
}
"#;
