//! The repository polices itself: what holds for every file, read from the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The only files that may contain unsafe code; the recorder's own directory counts as its file.
const UNSAFE: [&str; 5] = [
    "src/index/map.rs",
    "src/fs/uring.rs",
    "src/observe/shim.rs",
    "src/observe/shim/",
    "src/launcher/program.rs",
];

/// Top-level modules that the wrapper never reaches.
const BESIDE_THE_WRAPPER: [&str; 4] = ["cli", "daemon", "remote", "main"];

/// What the wrapper must never load: frameworks that cost time or size, and the modules above it.
const NOT_IN_THE_WRAPPER: [&str; 12] = [
    "tokio",
    "clap",
    "clap_complete",
    "serde",
    "serde_json",
    "anyhow",
    "tracing",
    "regex",
    "aws_sdk_s3",
    "crate::cli",
    "crate::daemon",
    "crate::remote",
];

const CODE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Commands that the README shows, each run by a stage of `.ci/run` or by a test.
const README_COMMANDS: [&str; 2] = ["cargo run --release -- demo", "cargo test --workspace"];

/// Licences under which a dependency may come; any one of an expression's alternatives will do.
const LICENCES: [&str; 11] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "CC0-1.0",
    "MIT-0",
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One source file: its name relative to the repository and its text.
struct Source {
    name: String,
    text: String,
}

impl Source {
    /// Lines of code with their numbers: no blank lines, no comments, and nothing from the test
    /// module at the file's end on.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines
            .take_while(|(_, line)| *line != "#[cfg(test)]" && !line.starts_with("#[cfg(all(test"))
            .filter(|(_, line)| {
                let line = line.trim_start();
                !line.is_empty() && !line.starts_with("//")
            })
    }

    /// The top-level module that the file belongs to.
    fn module(&self) -> &str {
        let inner = self.name.strip_prefix("src/").unwrap_or(&self.name);
        inner.split(['/', '.']).next().unwrap_or(inner)
    }

    fn is_test(&self) -> bool {
        self.name.contains("tests/") || self.name.ends_with("/tests.rs")
    }
}

/// Every Rust file below the given directories (and files) of the repository.
fn sources(places: &[&str]) -> Vec<Source> {
    let mut left: Vec<PathBuf> = places.iter().map(|place| repository().join(place)).collect();
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory of the repository can be listed");
            left.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(repository()).expect("the file is in the repository");
            let text = fs::read_to_string(&path).expect("a source file is text");
            found.push(Source { name: name.display().to_string(), text });
        }
    }
    assert!(!found.is_empty(), "{places:?} hold sources");
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

const PROGRAM: [&str; 3] = ["src", "store-format/src", "build.rs"];
const EVERYTHING: [&str; 6] = ["src", "store-format", "build.rs", "tests", "benches", "fuzz"];

fn existing<'a>(places: &[&'a str]) -> Vec<&'a str> {
    places.iter().copied().filter(|place| repository().join(place).exists()).collect()
}

/// Whether the word stands in the line with nothing of a name around it.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(part_of_name) && !line[at + word.len()..].starts_with(part_of_name)
    })
}

/// Fails with all findings at once.
fn check(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n{}", findings.join("\n"));
}

#[test]
fn the_wrappers_layers_name_no_framework_and_nothing_above_them() {
    let mut findings = Vec::new();
    for source in sources(&["src"]) {
        if BESIDE_THE_WRAPPER.contains(&source.module()) || source.is_test() {
            continue;
        }
        for (number, line) in source.code() {
            for name in NOT_IN_THE_WRAPPER.iter().filter(|name| has_word(line, name)) {
                let uses = line.contains(&format!("{name}::")) || line.contains("use ");
                if uses {
                    findings.push(format!("{}:{number}: {name}", source.name));
                }
            }
        }
    }
    check("the wrapper is std, rustix, blake3, memmap2 and little else", &findings);
}

#[test]
fn files_hold_one_subject() {
    let mut findings = Vec::new();
    for source in sources(&existing(&EVERYTHING)) {
        let lines = source.code().count();
        // Cases in a row are one subject however many they are.
        if lines > CODE_LINES_MAX && !source.is_test() {
            findings.push(format!("{}: {lines} lines of code", source.name));
        }
    }
    check(&format!("a file has at most {CODE_LINES_MAX} lines of code"), &findings);
}

#[test]
fn functions_fit_on_a_screen() {
    let mut findings = Vec::new();
    for source in sources(&existing(&EVERYTHING)) {
        let mut open: Vec<(usize, usize, String)> = Vec::new();
        for (number, line) in source.code() {
            let indent = line.len() - line.trim_start().len();
            if has_word(line, "fn") && !line.trim_end().ends_with([';', '}']) {
                open.push((indent, number, line.trim().to_owned()));
            }
            if line.trim() == "}" && open.last().is_some_and(|(start, ..)| *start == indent) {
                let (_, first, head) = open.pop().expect("a function is open");
                let lines = number - first + 1;
                if lines > FUNCTION_LINES_MAX {
                    findings.push(format!("{}:{first}: {lines} lines: {head}", source.name));
                }
            }
        }
    }
    check(&format!("a function has at most {FUNCTION_LINES_MAX} lines"), &findings);
}

#[test]
fn unsafe_code_stays_in_its_files() {
    let keyword = concat!("un", "safe");
    let mut findings = Vec::new();
    for source in sources(&PROGRAM) {
        if UNSAFE.iter().any(|allowed| source.name.starts_with(allowed)) {
            continue;
        }
        for (number, line) in source.code() {
            // Text inside of a literal is no code.
            if has_word(line.split('"').next().unwrap_or(line), keyword) {
                findings.push(format!("{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    check("unsafe code is in the mapping, the ring and the recorder alone", &findings);
}

#[test]
fn nothing_is_left_to_be_done() {
    let words = [
        concat!("todo", "!("),
        concat!("dbg", "!("),
        concat!("unimplement", "ed!("),
        concat!("#[ig", "nore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("thread::sl", "eep"),
    ];
    let mut findings = Vec::new();
    for source in sources(&existing(&EVERYTHING)) {
        for (index, line) in source.text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                findings.push(format!("{}:{}: {word}", source.name, index + 1));
            }
        }
    }
    check("what is on main is finished, and nothing sleeps", &findings);
}

#[test]
fn every_file_says_what_it_is() {
    let mut findings = Vec::new();
    for source in sources(&existing(&EVERYTHING)) {
        // A fuzz target is named after the parser that it feeds, and does nothing else.
        let is_trivial =
            source.code().count() <= 1 || source.name.starts_with("fuzz/fuzz_targets/");
        if !is_trivial && !source.text.lines().any(|line| line.starts_with("//! ")) {
            findings.push(source.name);
        }
    }
    check("a file opens with what it is and what it keeps true", &findings);
}

#[test]
fn lint_exceptions_give_their_reason() {
    let allow = concat!("#[all", "ow(");
    let inner = concat!("#![all", "ow(");
    let mut findings = Vec::new();
    for source in sources(&PROGRAM) {
        // The recorder is compiled alone and as a part of kache; what one expects, the other lacks.
        if source.name.starts_with("src/observe/shim") {
            continue;
        }
        for (number, line) in source.code() {
            let exception = line.trim_start();
            if exception.starts_with(allow) || exception.starts_with(inner) {
                findings.push(format!("{}:{number}: {exception}", source.name));
            }
        }
    }
    check(
        "exceptions are expectations with a reason, so that they end with their cause",
        &findings,
    );
}

#[test]
fn variables_of_kache_are_named_in_one_file_and_documented() {
    let mut findings = Vec::new();
    for source in sources(&["src"]) {
        // What kache tells its own recorder is nobody's to set.
        let is_recorder = source.name.starts_with("src/observe/");
        if source.name == "src/env.rs" || is_recorder || source.is_test() {
            continue;
        }
        for (number, line) in source.code() {
            // A message may speak of a variable; a literal that is just its name reads it.
            let names = line.split('"').skip(1).step_by(2);
            let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            for name in names.filter(|text| text.starts_with("KACHE_") && text.chars().all(is_name))
            {
                findings.push(format!("{}:{number}: {name}", source.name));
            }
        }
    }
    let readme = read("README.md");
    for name in variables() {
        if !readme.contains(&format!("`{name}`")) {
            findings.push(format!("README.md: {name} is not documented"));
        }
    }
    check("src/env.rs names every variable, the README documents it", &findings);
}

/// The variables that `src/env.rs` declares as kache's own.
fn variables() -> Vec<String> {
    let text = read("src/env.rs");
    let literals = text.lines().filter(|line| line.starts_with("pub const"));
    let names: Vec<String> = literals
        .filter_map(|line| line.split('"').nth(1))
        .filter(|name| name.starts_with("KACHE_"))
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 10, "src/env.rs declares variables");
    names
}

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn commands_of_the_readme_are_run_by_the_checks() {
    let readme = read("README.md");
    let mut shown = Vec::new();
    for block in readme.split("```sh\n").skip(1) {
        let block = block.split("```").next().expect("a block ends");
        shown.extend(block.lines().filter(|line| !line.is_empty() && !line.starts_with('#')));
    }
    for command in README_COMMANDS {
        assert!(shown.contains(&command), "the README shows `{command}`");
        assert!(read(".ci/run").contains(command), ".ci/run runs `{command}`");
    }
    let known = |line: &&str| README_COMMANDS.contains(line) || USERS_COMMANDS.contains(line);
    let unknown: Vec<String> =
        shown.iter().filter(|l| !known(l)).map(|l| (*l).to_owned()).collect();
    check("a command of the README is one that is tried", &unknown);
}

/// Commands of the README that need a user's own project; the integration tests run each of them in
/// a project of theirs.
const USERS_COMMANDS: [&str; 3] =
    ["cargo install --path .", "kache cargo build", "export RUSTC_WRAPPER=kache"];

#[test]
fn commits_leave_no_file_that_is_too_large() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(repository()).output();
    // A source archive has no history to ask, and nothing to commit either.
    let Ok(output) = listed else { return };
    let names = String::from_utf8(output.stdout).expect("names in the repository are text");
    let mut findings = Vec::new();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        let bytes = fs::metadata(repository().join(name)).map_or(0, |metadata| metadata.len());
        if bytes > 256 * 1024 {
            findings.push(format!("{name}: {bytes} bytes"));
        }
    }
    check("what is committed is source", &findings);
}

#[test]
fn dependencies_have_licences_that_allow_their_use() {
    // Of other systems' dependencies Cargo has fetched none.
    let told = Command::new("rustc").arg("-vV").output().expect("rustc can be run");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.expect("rustc names its host");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", host])
        .current_dir(repository())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    assert!(packages.len() > 5, "cargo lists the dependencies");
    let mut findings = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence) {
            findings.push(format!("{} {}: {licence}", package["name"], package["version"]));
        }
    }
    check("every dependency may be used and passed on", &findings);
}

/// Whether a licence expression can be met: one of its alternatives consists of allowed licences.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let met = |part: &str| part.split(" AND ").all(|name| LICENCES.contains(&name.trim()));
    // Precedence matters only where alternatives are nested; then every part has to hold alone.
    if expression.contains(" AND ") && expression.contains(" OR ") {
        let mut parts = expression.split(" AND ");
        return parts.all(|part| part.split(" OR ").any(|name| LICENCES.contains(&name.trim())));
    }
    expression.split(" OR ").any(met)
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("MIT OR Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0", false),
        ("none", false),
    ] {
        assert_eq!(is_allowed(expression), expected, "{expression}");
    }
}

#[test]
fn both_lists_of_licences_are_one() {
    let text = read("deny.toml");
    let list = text.split("allow = [").nth(1).and_then(|rest| rest.split(']').next());
    let listed: Vec<&str> =
        list.expect("deny.toml lists licences").split('"').skip(1).step_by(2).collect();
    assert_eq!(listed, LICENCES);
}

#[test]
fn the_readme_lists_every_setting_as_the_program_knows_it() {
    let row = |setting: &kache::config::Setting| {
        let quoted = |name: Option<&str>| name.map_or("–".to_owned(), |name| format!("`{name}`"));
        format!(
            "| {} | {} | {} | {} |",
            quoted(setting.key),
            quoted(setting.variable),
            setting.default.replace('|', "\\|"),
            setting.documentation.replace('|', "\\|")
        )
    };
    let expected: Vec<String> = kache::config::SETTINGS.iter().map(row).collect();
    let readme = read("README.md");
    let table = readme.split("|---|---|---|---|\n").nth(1).expect("the README has a table");
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows == expected, "the table of settings has to be:\n{}", expected.join("\n"));
}

/// Between the two lines of the README that the table of ratios stands between.
fn table_of_ratios(readme: &str) -> Vec<&str> {
    let begin = "<!-- benches/table: begin -->\n";
    let table = readme.split(begin).nth(1).and_then(|rest| rest.split("<!-- benches/table").next());
    table.expect("the README has a place for the table").lines().collect()
}

#[test]
fn the_table_of_ratios_is_as_the_benches_make_it() {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", kache, beside, ratio, ""] = cells[..] else { return false };
        !kache.is_empty() && !beside.is_empty() && ratio.parse::<f64>().is_ok()
    };
    let readme = read("README.md");
    let table = table_of_ratios(&readme);
    assert_eq!(table[..2], ["| kache | beside | ratio |", "|---|---|---:|"]);
    let wrong: Vec<String> =
        table[2..].iter().filter(|l| !row(l)).map(|l| (*l).to_owned()).collect();
    check("a row of the table says what is beside what, and their ratio", &wrong);

    let space = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(space.path().join("benches")).expect("a directory");
    fs::copy(repository().join("benches/table"), space.path().join("benches/table")).expect("copy");
    let measured = "warm 1.2 s\n| a hit | the compiler | 0.02 |\n| a | title | ratio |\n";
    fs::write(space.path().join("measured"), measured).expect("a file");
    fs::write(space.path().join("README.md"), &readme).expect("a file");
    let write = || {
        let mut command = Command::new("benches/table");
        command.args(["--write", "measured"]).current_dir(space.path()).output().expect("bash")
    };
    let output = write();
    assert!(output.status.success(), "{output:?}");
    let written = fs::read_to_string(space.path().join("README.md")).expect("text");
    assert_eq!(table_of_ratios(&written)[2..], ["| a hit | the compiler | 0.02 |"]);
    let around = |text: &str| {
        let (before, rest) = text.split_once("<!-- benches/table: begin -->").expect("checked");
        let (_, after) = rest.split_once("<!-- benches/table: end -->").expect("checked");
        (before.to_owned(), after.to_owned())
    };
    assert!(around(&written) == around(&readme), "nothing else of the README changes");

    let without_end = readme.replace("<!-- benches/table: end -->\n", "");
    fs::write(space.path().join("README.md"), &without_end).expect("a file");
    assert_eq!(write().status.code(), Some(2), "a README with no place for it stays as it is");
    assert_eq!(fs::read_to_string(space.path().join("README.md")).expect("text"), without_end);
}

#[test]
fn releases_are_packed_under_the_names_that_binstall_expects() {
    let (manifest, script) = (read("Cargo.toml"), read(".ci/archive"));
    let told = |key: &str| {
        let value = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
        let value = value.expect("Cargo.toml tells binstall").trim_end_matches('"');
        value.replace("{ version }", "$version").replace("{ target }", "$target")
    };
    let name = script.lines().find_map(|line| line.strip_prefix("name="));
    let name = name.expect("the script names what it packs");
    assert!(told("pkg-url").ends_with(&format!("/{name}.tar.gz")), "{}", told("pkg-url"));
    assert_eq!(told("bin-dir"), format!("{name}/{{ bin }}{{ binary-ext }}"));
    assert!(script.contains("-czf \"$space/$name.tar.gz\" \"$name\""), "the name is used");
}
