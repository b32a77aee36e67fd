//! A cache, a place for sources, and a command to observe.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kache::invocation::{Parsed, parse};
use kache::observe::rules::{self, Context, Found, Uncacheable};
use kache::observe::{Access, Observation, Observer};
use kache::roots::Roots;
use store_format::{InputKind, Root};

pub(crate) struct TestSpace {
    directory: tempfile::TempDir,
    sysroot: PathBuf,
}

impl TestSpace {
    /// Not below a directory for temporary files, where some things are not looked at.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["cache", "out"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let compiler = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let told = Command::new(compiler).args(["--print", "sysroot"]).output().unwrap();
        let sysroot = PathBuf::from(String::from_utf8(told.stdout).unwrap().trim());
        Self { directory, sysroot }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn observer(&self) -> Observer {
        Observer::prepare(&self.path("cache")).unwrap()
    }

    /// Runs a command under observation, in the space's directory.
    pub(crate) fn observe(&self, command: &mut Command) -> (Output, Observation) {
        let observer = self.observer();
        command.current_dir(self.path(""));
        observer.attach(command);
        let output = command.output().unwrap();
        (output, observer.finish())
    }

    /// Runs a shell script under observation.
    pub(crate) fn shell(&self, script: &str) -> (String, Observation) {
        let (output, observation) = self.observe(Command::new("/bin/sh").args(["-c", script]));
        assert!(output.status.success(), "{output:?}");
        (String::from_utf8(output.stdout).unwrap(), observation)
    }

    /// Compiles a C program.
    pub(crate) fn c_program(&self, name: &str, text: &str, options: &[&str]) -> PathBuf {
        let source = self.write(&format!("{name}.c"), text);
        let path = self.path(name);
        let compiled = Command::new("cc").args(options).arg(source).arg("-o").arg(&path).output();
        let compiled = compiled.unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        path
    }

    fn compiler(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// A compilation under observation.
    pub(crate) fn compile(&self, arguments: &[&str]) -> Compilation {
        self.compile_with(arguments, &[])
    }

    pub(crate) fn compile_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Compilation {
        let mut command = Command::new(self.compiler());
        let name = Path::new(arguments[0]).file_stem().unwrap();
        command.args(arguments).args(["--edition=2021", "--out-dir", "out", "--crate-name"]);
        command.arg(name);
        command.envs(environment.iter().copied());
        let (output, observation) = self.observe(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let call: Vec<OsString> =
            [command.get_program()].into_iter().chain(command.get_args()).map(Into::into).collect();
        let Parsed::Compile(invocation) = parse(&call, |_| None) else { panic!("{call:?}") };
        let directory = self.path("");
        let mut roots = Roots::derive(&invocation, &directory, |name| std::env::var_os(name));
        roots.set(Root::Sysroot, &self.sysroot);
        let installed = self.sysroot.join("lib/rustlib").read_dir().unwrap().flatten();
        let targets: Vec<OsString> = installed.map(|entry| entry.file_name()).collect();
        let context = Context {
            roots: &roots,
            sysroot: &self.sysroot,
            targets,
            cache_directory: &self.path("cache"),
            invocation: &invocation,
            working_directory: &directory,
        };
        let sorted = rules::inputs(&observation, &context);
        Compilation { observation, sorted, roots }
    }
}

/// A compilation that was observed.
pub(crate) struct Compilation {
    pub(crate) observation: Observation,
    pub(crate) sorted: Result<Found, Uncacheable>,
    roots: Roots,
}

impl Compilation {
    fn inputs(&self) -> &Found {
        self.sorted.as_ref().unwrap()
    }

    /// The inputs of a kind, as paths here (or as names).
    pub(crate) fn of_kind(&self, kind: InputKind) -> Vec<PathBuf> {
        let inputs = self.inputs().inputs.iter().filter(|input| input.kind == kind);
        inputs.map(|input| self.roots.resolve(&input.name).unwrap()).collect()
    }

    pub(crate) fn has(&self, kind: InputKind, path: impl AsRef<Path>) -> bool {
        self.of_kind(kind).iter().any(|input| input == path.as_ref())
    }

    pub(crate) fn outputs(&self) -> &[PathBuf] {
        &self.inputs().outputs
    }
}

/// Whether something happened.
pub(crate) fn happened(observation: &Observation, access: &Access) -> bool {
    observation.events.contains(access)
}

pub(crate) fn looked_up(observation: &Observation, variable: &str) -> bool {
    observation.events.iter().any(
        |access| matches!(access, Access::Variable { name, .. } if name == OsStr::new(variable)),
    )
}
