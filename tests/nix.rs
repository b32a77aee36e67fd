//! What Nix users get, looked at without nixpkgs' packages: `nix/eval` evaluates the module and the flake;
//! here the results meet kache's own table of settings, systemd and Cargo.
//!
//! These tests need `nix-instantiate` and `systemd-analyze`. Without them they say that they are
//! skipped, unless `KACHE_TEST_NIX` is set: then they fail. Where `KACHE_TEST_NIXPKGS` names a directory
//! with nixpkgs' `lib`, that one is used instead of the stand-in of `nix/eval`.

use kache::config::{Field, Loaded, Raw, SETTINGS, Setting};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Settings that the module writes without declaring a type for them.
const UNTYPED: &[&str] = &[
    "bypass_crates",
    "exclude",
    "extra_inputs",
    "gc_max_age_hours",
    "key_salt",
    "link_mode",
    "local_only",
    "prefetch_deadline_secs",
    "prefetch_enabled",
    "prefetch_max_bytes",
    "remote.path",
    "remote.signing_key_file",
    "remote_readonly",
    "verify_compiles",
    "verify_restores",
];

/// What nixpkgs' hooks do with files that are there.
const INSTALLERS: &str =
    r#"installShellCompletion() { wc -l "$@"; }; installManPage() { wc -l "$@"; }"#;

/// Whether the tests can run here. Printed past the capture of the test harness.
fn can_run(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !is_installed(program)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("KACHE_TEST_NIX").is_none(), "not installed: {missing:?}");
    let line = format!("tests/nix.rs: skipped, not installed: {missing:?}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// A directory that stands for the built package.
fn package() -> TempDir {
    let package = tempfile::tempdir().unwrap();
    std::fs::create_dir(package.path().join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kache"), package.path().join("bin/kache"))
        .unwrap();
    package
}

/// What `nix/eval` finds out.
fn evaluate(package: &Path) -> Value {
    nix("nix/eval", &[("package", package.to_str().unwrap())])
}

/// What a file evaluates to, with a scratch directory in the place of Nix's own ones.
fn nix(file: &str, arguments: &[(&str, &str)]) -> Value {
    let nixpkgs = std::env::var("KACHE_TEST_NIXPKGS").ok();
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let output = Command::new("nix-instantiate")
        .args(["--eval", "--strict", "--json", "--show-trace"])
        .args(arguments.iter().flat_map(|(name, value)| ["--argstr", name, value]))
        .args(nixpkgs.iter().flat_map(|path| ["--argstr", "nixpkgs", path]))
        .arg(Path::new(ROOT).join(file))
        .env("NIX_STORE_DIR", at("store"))
        .env("NIX_STATE_DIR", at("state"))
        .env("NIX_LOG_DIR", at("log"))
        .env("NIX_CONF_DIR", at("conf"))
        .env("NIX_CONFIG", "build-users-group =")
        .env("HOME", scratch.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn members(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value))
}

#[test]
fn the_module_keeps_what_it_promises_on_both_systems() {
    if can_run(&["nix-instantiate"]) {
        let facts = evaluate(package().path());
        assert_eq!(texts(&facts["broken"]), [""; 0]);
        assert!(texts(&facts["held"]).len() > 60, "{:#}", facts["held"]);
    }
}

#[test]
fn every_typed_option_is_a_setting_and_every_setting_is_typed_or_listed() {
    if can_run(&["nix-instantiate"]) {
        let facts = evaluate(package().path());
        let typed = texts(&facts["typedOptions"]).into_iter().map(|name| &name["cache.".len()..]);
        let known: BTreeSet<_> = SETTINGS.iter().filter_map(|setting| setting.key).collect();
        assert_eq!(typed.chain(UNTYPED.iter().copied()).collect::<BTreeSet<_>>(), known);
        assert_eq!(texts(&facts["typedOptions"]).len() + UNTYPED.len(), known.len());
    }
}

#[test]
fn numbers_and_flags_have_the_ranges_that_kache_accepts() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    for row in evaluate(package().path())["typed"].as_array().unwrap() {
        let setting = setting(row["path"].as_str().unwrap());
        if !matches!(setting.field, Field::Flag(_) | Field::Integer { .. }) {
            continue;
        }
        for (values, accepted) in [(&row["good"], true), (&row["bad"], false)] {
            for value in values.as_array().unwrap() {
                let mut config = kache::config::Config::default();
                let set = setting.set(&mut config, &raw(value), false);
                assert_eq!(set.is_ok(), accepted, "{} = {value}", setting.name());
            }
        }
    }
}

fn setting(path: &str) -> &'static Setting {
    let key = path.strip_prefix("cache.");
    SETTINGS.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("{path}"))
}

fn raw(value: &Value) -> Raw {
    match value {
        Value::Bool(flag) => Raw::Flag(*flag),
        Value::String(text) => Raw::Text(text.clone()),
        Value::Number(number) => number.as_i64().map_or(Raw::Other("float"), Raw::Integer),
        _ => Raw::Other("something else"),
    }
}

#[test]
fn kache_reads_what_the_module_writes_without_a_warning() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let facts = evaluate(package().path());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, toml(&facts["full"])).unwrap();
    let variables = |name: &str| match name {
        "KACHE_CONFIG" => Some(OsString::from(&file)),
        "HOME" => Some(directory.path().into()),
        _ => None,
    };
    let loaded = Loaded::read(&variables, None);
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.remote.bucket.as_deref(), Some("builds"));
    let from_file =
        loaded.origins.iter().filter(|o| matches!(o, kache::config::Origin::File { .. }));
    assert_eq!(from_file.count(), texts(&facts["typedOptions"]).len());

    let list = Command::new(env!("CARGO_BIN_EXE_kache"))
        .args(["config", "list"])
        .env_clear()
        .envs([("KACHE_CONFIG", file.as_path()), ("HOME", directory.path())])
        .output()
        .unwrap();
    assert!(list.status.success());
    assert_eq!(String::from_utf8_lossy(&list.stderr), "");
    assert!(String::from_utf8_lossy(&list.stdout).contains("https://s3.example.org"));
}

/// The document that nixpkgs' `formats.toml` makes of these values.
fn toml(values: &Value) -> String {
    fn table(path: &str, values: &Value, document: &mut String) {
        for (name, value) in members(values).filter(|(_, value)| !value.is_object()) {
            // Texts, numbers and flags without control characters are the same in JSON and TOML.
            writeln!(document, "{name} = {value}").unwrap();
        }
        for (name, value) in members(values).filter(|(_, value)| value.is_object()) {
            let inner = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            writeln!(document, "[{inner}]").unwrap();
            table(&inner, value, document);
        }
    }
    let mut document = String::new();
    table("", values, &mut document);
    document
}

#[test]
fn systemd_accepts_the_unit() {
    if can_run(&["nix-instantiate", "systemd-analyze"]) {
        let package = package();
        let unit = unit(&evaluate(package.path())["unit"]);
        let output = verify(&unit);
        assert!(output.status.success(), "{unit}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{unit}");
        let flawed = unit.replace("Restart=on-failure", "Restart=on-whim");
        assert_ne!(verify(&flawed).stderr, b"", "a wrong value goes unnoticed");
    }
}

fn verify(unit: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kache.service");
    std::fs::write(&file, unit).unwrap();
    Command::new("systemd-analyze")
        .args(["verify", "--user", "--man=no"])
        .arg(file)
        .env("XDG_RUNTIME_DIR", directory.path())
        .output()
        .unwrap()
}

/// The unit file that NixOS makes of a service's options.
fn unit(service: &Value) -> String {
    let mut unit = String::from("[Unit]\n");
    writeln!(unit, "Description={}", service["description"].as_str().unwrap()).unwrap();
    writeln!(unit, "X-Restart-Triggers={}", texts(&service["restartTriggers"]).join(" ")).unwrap();
    writeln!(unit, "\n[Service]").unwrap();
    for (name, value) in members(&service["environment"]) {
        writeln!(unit, "Environment=\"{name}={}\"", value.as_str().unwrap()).unwrap();
    }
    for (name, value) in members(&service["serviceConfig"]) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(unit, "{name}={value}").unwrap();
    }
    writeln!(unit, "\n[Install]\nWantedBy={}", texts(&service["wantedBy"]).join(" ")).unwrap();
    unit
}

#[test]
fn the_agent_has_only_keys_that_launchd_documents() {
    if can_run(&["nix-instantiate"]) {
        let documented = BTreeSet::from([
            "EnvironmentVariables",
            "KeepAlive",
            "Label",
            "ProgramArguments",
            "RunAtLoad",
            "ThrottleInterval",
        ]);
        let agent = &evaluate(package().path())["agent"];
        assert_eq!(members(agent).map(|(key, _)| key).collect::<BTreeSet<_>>(), documented);
        assert!(agent["ProgramArguments"][0].as_str().unwrap().starts_with('/'));
    }
}

#[test]
fn the_flake_offers_package_overlay_modules_checks_and_shell() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let flake = &evaluate(package().path())["flake"];
    let module = Path::new(ROOT).join("nix/module.nix");
    for modules in ["nixosModules", "darwinModules"] {
        for name in ["default", "kache"] {
            assert_eq!(flake[modules][name].as_str(), module.to_str(), "{modules}.{name}");
        }
    }
    assert!(flake["overlay"].as_str().unwrap().contains("-kache-"));
    // The stand-in for nixpkgs knows one more system than kache, and lacks one that kache knows.
    let systems = ["aarch64-darwin", "aarch64-linux", "x86_64-linux"];
    for (output, names) in [
        ("packages", &["default", "kache"][..]),
        ("checks", &["configuration", "module", "package"]),
        ("devShells", &["default"]),
    ] {
        assert_eq!(members(&flake[output]).map(|(system, _)| system).collect::<Vec<_>>(), systems);
        for (system, found) in members(&flake[output]) {
            assert_eq!(texts(found), names, "{output}.{system}");
        }
    }
}

#[test]
fn the_package_is_this_version_and_never_builds_through_itself() {
    if can_run(&["nix-instantiate"]) {
        let package = &evaluate(package().path())["package"];
        assert_eq!(package["pname"], "kache");
        assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(package["env"]["RUSTC_WRAPPER"], "");
        assert_eq!(package["lockFile"], format!("{ROOT}/Cargo.lock"));
    }
}

#[test]
fn the_package_can_make_its_completions_and_its_manual() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let directory = package();
    let package = &evaluate(directory.path())["package"];
    let install = package["postInstall"].as_str().unwrap().replace("$out", "$1");
    let output = Command::new("bash")
        .args(["-euc", &format!("{INSTALLERS}\n{install}"), "sh"])
        .arg(directory.path())
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    for shell in ["bash", "fish", "zsh"] {
        let script = directory.path().join(format!("kache.{shell}"));
        assert!(std::fs::read_to_string(script).unwrap().contains("kache"), "{shell}");
    }
    for page in ["kache.1", "kache-config-set.1"] {
        let page = directory.path().join("manual").join(page);
        assert!(std::fs::read_to_string(page).unwrap().contains(".SH SYNOPSIS"));
    }
}

#[test]
fn the_package_has_every_file_that_its_build_reads() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let package = &evaluate(package().path())["package"];
    let copy = tempfile::tempdir().unwrap();
    let sources: Vec<_> = texts(&package["source"]).into_iter().map(PathBuf::from).collect();
    for source in &sources {
        let status = Command::new("cp").arg("-r").arg(source).arg(copy.path()).status();
        assert!(status.unwrap().success());
    }
    // To compile the smallest package, Cargo checks the targets of all.
    let check = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--locked", "--package", "store-format"])
        .current_dir(copy.path())
        .env_remove("RUSTC_WRAPPER")
        .env("CARGO_TARGET_DIR", copy.path().join("target"))
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    for source in &sources {
        for file in rust_files(source) {
            for included in included_files(&file) {
                let path = file.parent().unwrap().join(&included).canonicalize().unwrap();
                let has = sources.iter().any(|source| path.starts_with(source));
                assert!(has, "{} includes {included}", file.display());
            }
        }
    }
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap();
        return entries.flat_map(|entry| rust_files(&entry.unwrap().path())).collect();
    }
    path.extension().filter(|e| *e == "rs").map(|_| path.to_owned()).into_iter().collect()
}

/// Literal operands of `include_str!` and `include_bytes!`.
fn included_files(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let operands = ["include_str!(\"", "include_bytes!(\""].into_iter().flat_map(|macro_call| {
        text.split(macro_call).skip(1).map(|rest| rest.split('"').next().unwrap_or("").to_owned())
    });
    operands.collect()
}

#[test]
fn the_page_about_nix_shows_a_configuration_that_works_and_every_option() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/nixos.md")).unwrap();
    let block = page.split("```nix\n").nth(1).unwrap().split("```").next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (platform, modules) in [("nixos", "nixosModules"), ("darwin", "darwinModules")] {
        let file = directory.path().join(format!("{platform}.nix"));
        std::fs::write(&file, block.replace("kache.nixosModules", &format!("kache.{modules}")))
            .unwrap();
        let arguments = [("file", file.to_str().unwrap()), ("platform", platform)];
        let defined = nix("nix/eval/page.nix", &arguments);
        assert_eq!(texts(&defined["variables"]), ["KACHE_CONFIG", "RUSTC_WRAPPER"]);
        assert_eq!(defined["settings"], "100GB");
    }
    let facts = evaluate(package().path());
    let described = page.lines().filter_map(|line| line.strip_prefix("| `services.kache."));
    let described: BTreeSet<_> = described.filter_map(|row| row.split('`').next()).collect();
    assert_eq!(described, texts(&facts["options"]).into_iter().collect());
}
