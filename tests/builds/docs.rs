//! The pages of `docs/`: their commands run as they are printed, their configurations are read by
//! what they are for, and everything that they name exists.
//!
//! Each runner, image or checkout of a page is a directory of the space; what a service carries from
//! one run to the next is carried as an archive.

use super::server::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use super::support::{TestSpace, disk::files, sample::SAMPLE_UNITS, succeed};
use kache::config::SETTINGS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use yaml_rust2::{Yaml, YamlLoader};

const PAGES: [&str; 7] = [
    "README.md",
    "docker.md",
    "github-actions.md",
    "gitlab.md",
    "nixos.md",
    "s3.md",
    "worktrees.md",
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn page(name: &str) -> String {
    fs::read_to_string(directory().join(name)).unwrap()
}

/// The blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    let blocks = page.split(&start).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or(rest).to_owned()).collect()
}

fn block(name: &str, language: &str) -> String {
    let [block] = blocks(&page(name), language).try_into().expect("one block of the language");
    block
}

fn yaml(name: &str) -> Yaml {
    YamlLoader::load_from_str(&block(name, "yaml")).unwrap().remove(0)
}

fn text(yaml: &Yaml) -> &str {
    yaml.as_str().unwrap_or_else(|| panic!("a text, not {yaml:?}"))
}

fn pairs(yaml: &Yaml) -> Vec<(String, String)> {
    let entries = yaml.as_hash().into_iter().flatten();
    entries.map(|(name, value)| (text(name).to_owned(), text(value).to_owned())).collect()
}

/// A machine that pages speak of: a home of its own, kache installed, nothing else known of it.
struct Machine<'a> {
    space: &'a TestSpace,
    home: PathBuf,
    variables: Vec<(String, String)>,
}

impl<'a> Machine<'a> {
    fn new(space: &'a TestSpace, name: &str) -> Self {
        let home = space.path(name);
        fs::create_dir_all(&home).unwrap();
        Self { space, home, variables: Vec::new() }
    }

    fn set(&mut self, variables: Vec<(String, String)>) {
        self.variables.extend(variables);
    }

    /// Runs a script in a directory, and returns the names of the units that were compiled.
    fn run(&self, directory: &Path, script: &str) -> Vec<String> {
        let log = self.space.path("witness/log");
        let seen = fs::read(&log).unwrap_or_default().len();
        let model = self.space.cargo("", ["build"]).command();
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).current_dir(directory).env_clear();
        shell.envs(model.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env_remove("RUSTC_WRAPPER").env_remove("KACHE_CACHE_DIR").env("HOME", &self.home);
        let kache = Path::new(env!("CARGO_BIN_EXE_kache")).parent().unwrap();
        let path = model.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path);
        shell.env("PATH", format!("{}:{}", kache.display(), path.unwrap().display()));
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        succeed(&mut shell);
        let log = fs::read(&log).unwrap_or_default().split_off(seen);
        compiled(&String::from_utf8_lossy(&log))
    }
}

/// Names of the crates that the compiler built, from the witness' log.
fn compiled(log: &str) -> Vec<String> {
    let name = |line: &str| {
        let mut arguments = line.split('\u{1f}').skip_while(|argument| *argument != "--crate-name");
        arguments.nth(1).filter(|name| *name != "___").map(str::to_owned)
    };
    log.lines().filter_map(name).collect()
}

/// What a service keeps: the paths packed on one machine and unpacked at another place.
fn carry(from: &Path, to: &Path, paths: &[String]) {
    let archive = to.with_extension("tar");
    let kept = paths.iter().filter(|path| from.join(path).exists());
    succeed(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(from).args(kept));
    fs::create_dir_all(to).unwrap();
    succeed(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(to));
}

#[test]
fn the_worktrees_page_does_what_it_says() {
    let space = TestSpace::new();
    space.sample("project");
    let machine = Machine::new(&space, "home");
    let project = space.path("project");
    machine.run(
        &project,
        "git init -q && git add -A && git -c user.name=x -c user.email=x@x commit -qm x",
    );
    let page = page("worktrees.md");
    let script = blocks(&page, "sh").concat();
    assert_eq!(script.matches("cargo build").count(), 2);
    assert_eq!(machine.run(&project, &script).len(), SAMPLE_UNITS.len());
    assert!(space.path("feature/target/debug/app").exists());

    let config = &blocks(&page, "toml")[0];
    space.write("wrapped/.cargo/config.toml", config);
    space.copy_tree("project/.", "wrapped");
    space.remove("wrapped/target");
    assert_eq!(machine.run(&space.path("wrapped"), "cargo build"), [""; 0]);
}

#[test]
fn the_github_page_carries_the_store_from_one_runner_to_the_next() {
    let space = TestSpace::new();
    let workflow = yaml("github-actions.md");
    let steps = workflow["jobs"]["test"]["steps"].as_vec().unwrap();
    let cache = steps.iter().find(|step| step["uses"].as_str() == Some("actions/cache@v4"));
    let paths: Vec<String> = text(&cache.unwrap()["with"]["path"])
        .lines()
        .map(|path| path.strip_prefix("~/").unwrap().to_owned())
        .collect();

    let runner = |name: &str| {
        let checkout = format!("{name}/work");
        space.sample(&checkout);
        let mut compiled = Vec::new();
        for step in steps.iter().filter(|step| !step["run"].is_badvalue()) {
            let mut machine = Machine::new(&space, name);
            machine.set(pairs(&workflow["env"]));
            machine.set(pairs(&step["env"]));
            compiled.extend(machine.run(&space.path(&checkout), text(&step["run"])));
        }
        compiled
    };
    assert!(!runner("first").is_empty());
    carry(&space.path("first"), &space.path("second"), &paths);
    assert_eq!(runner("second"), [""; 0]);
}

#[test]
fn the_page_about_s3_shares_what_one_runner_built_with_the_next() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let workflow = yaml("s3.md");
    let steps = workflow["jobs"]["test"]["steps"].as_vec().unwrap();
    let known = |(name, value): (String, String)| {
        let value = match name.as_str() {
            "KACHE_S3_BUCKET" => BUCKET.to_owned(),
            "KACHE_S3_ACCESS_KEY" => ACCESS_KEY.to_owned(),
            "KACHE_S3_SECRET_KEY" => SECRET_KEY.to_owned(),
            _ => value,
        };
        (name, value)
    };
    let runner = |name: &str, is_pull_request: bool| {
        let checkout = format!("{name}/work");
        space.sample(&checkout);
        space.cargo(&checkout, ["generate-lockfile"]).succeed();
        let mut compiled = Vec::new();
        let skipped = |step: &Yaml| is_pull_request && !step["if"].is_badvalue();
        for step in steps.iter().filter(|step| !step["run"].is_badvalue() && !skipped(step)) {
            let mut machine = Machine::new(&space, name);
            machine.set(pairs(&workflow["env"]).into_iter().map(known).collect());
            machine.set(pairs(&step["env"]));
            machine.set(vec![("KACHE_S3_ENDPOINT".to_owned(), server.endpoint())]);
            compiled.extend(machine.run(&space.path(&checkout), text(&step["run"])));
        }
        compiled
    };
    assert!(!runner("first", false).is_empty());
    server.take_requests();
    let objects = files(&server.objects);
    assert_eq!(runner("second", true), [""; 0]);
    assert_eq!(files(&server.objects), objects);
    let requests = server.take_requests();
    assert!(requests.iter().all(|request| request.starts_with("GET ")), "{requests:?}");
}

#[test]
fn the_gitlab_page_carries_the_store_from_one_runner_to_the_next() {
    let space = TestSpace::new();
    let job = &yaml("gitlab.md")["test"];
    let paths: Vec<String> =
        job["cache"]["paths"].as_vec().unwrap().iter().map(text).map(str::to_owned).collect();
    let script: Vec<_> = job["script"].as_vec().unwrap().iter().map(text).collect();

    let runner = |name: &str| {
        space.sample(name);
        let project = space.path(name);
        let mut machine = Machine::new(&space, "home");
        let expand = |value: String| value.replace("$CI_PROJECT_DIR", project.to_str().unwrap());
        let variables = pairs(&job["variables"]).into_iter();
        machine.set(variables.map(|(name, value)| (name, expand(value))).collect());
        machine.run(&project, &script.join("\n"))
    };
    assert!(!runner("first").is_empty());
    carry(&space.path("first"), &space.path("second"), &paths);
    assert_eq!(runner("second"), [""; 0]);
    assert!(!space.path("home/.cache/kache").exists(), "the store is in the project");
}

#[test]
fn the_docker_page_builds_a_second_image_from_the_mount() {
    let space = TestSpace::new();
    let file = block("docker.md", "dockerfile").replace("\\\n", " ");
    let after = |keyword: &'static str| -> Vec<&str> {
        file.lines().filter_map(|line| line.strip_prefix(keyword)).collect()
    };
    let variables: Vec<_> =
        after("ENV ").into_iter().filter_map(|pair| pair.split_once('=')).collect();
    let runs = after("RUN ");
    let build = runs.last().unwrap();
    let (mounts, command): (Vec<_>, Vec<_>) =
        build.split_whitespace().partition(|word| word.starts_with("--mount="));
    let store = variables.iter().find(|(name, _)| *name == "KACHE_CACHE_DIR").unwrap().1;
    assert!(mounts.iter().any(|mount| mount.ends_with(&format!("target={store}"))), "{mounts:?}");

    let image = |name: &str| {
        space.sample(name);
        let mut machine = Machine::new(&space, "home");
        let below = |path: &str| format!("{}{path}", space.path("mounts").display());
        machine.set(variables.iter().map(|(n, path)| ((*n).to_owned(), below(path))).collect());
        machine.run(&space.path(name), &command.join(" "))
    };
    assert!(!image("first").is_empty());
    assert_eq!(image("second"), [""; 0]);
    assert!(space.path("second/target/release/app").exists());
}

#[test]
fn every_page_is_listed_and_every_link_leads_somewhere() {
    let found = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name());
    let found: BTreeSet<_> = found.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(found, PAGES.map(str::to_owned).into());
    let index = page("README.md");
    for name in &PAGES[1..] {
        assert!(index.contains(&format!("({name})")), "{name} is not in the index");
    }
    for link in PAGES.iter().flat_map(|name| links(&page(name))) {
        assert!(directory().join(&link).exists(), "{link}");
    }
}

fn links(page: &str) -> Vec<String> {
    let targets = page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or(rest));
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

#[test]
fn the_pages_name_only_variables_keys_and_commands_that_exist() {
    let variables: BTreeSet<_> = SETTINGS.iter().filter_map(|setting| setting.variable).collect();
    for (name, page) in PAGES.map(|name| (name, page(name))) {
        let in_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        for word in page.split(|c: char| !in_name(c)) {
            let known = variables.contains(word) || matches!(word, "KACHE_CONFIG" | "KACHE_LOG");
            assert!(!word.starts_with("KACHE_") || known, "{name}: {word}");
        }
        for start in ["`kache ", "\nkache ", "- kache ", "  kache "] {
            for rest in page.split(start).skip(1) {
                let ends = |c: char| !(c.is_ascii_lowercase() || c == '-');
                let command = rest.split(ends).next().unwrap_or("");
                let mut help = Command::new(env!("CARGO_BIN_EXE_kache"));
                let help = help.args([command, "--help"]).output().unwrap();
                assert!(help.status.success(), "{name}: kache {command}");
            }
        }
    }
}
