//! What processes can learn of the machine that they run on: by asking the kernel, and by reading
//! what it shows as files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// A fact that is an input of who asks for it. The names are those of inputs, and of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fact {
    /// Name, release and version of the kernel, and the kind of machine.
    Kernel,
    /// Model and features of the processor.
    Processor,
}

impl Fact {
    const ALL: [Self; 2] = [Self::Kernel, Self::Processor];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Processor => "processor",
        }
    }

    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|fact| fact.name().as_bytes() == name)
    }

    /// What the machine says now; `None` where it does not tell.
    pub fn told(self) -> Option<Vec<u8>> {
        match self {
            Self::Kernel => {
                let kernel = rustix::system::uname();
                let parts =
                    [kernel.sysname(), kernel.release(), kernel.version(), kernel.machine()];
                Some(parts.map(|part| part.to_bytes_with_nul()).concat())
            }
            Self::Processor => processor(),
        }
    }
}

/// What decides which code suits the processor.
fn processor() -> Option<Vec<u8>> {
    let text = crate::fs::read(Path::new("/proc/cpuinfo")).ok()?;
    let first = text.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let names: [&[u8]; 5] = [b"model", b"flags", b"cpu family", b"Features", b"CPU "];
    let lines = first.filter(|line| names.iter().any(|name| line.starts_with(name)));
    let told = lines.collect::<Vec<_>>().join(&b'\n');
    (!told.is_empty()).then_some(told)
}

/// What a place in a file system says of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is no place of the kernel's.
    Ordinary,
    /// State that no output can depend on and stay true, or the process's own.
    State,
    Fact(Fact),
    /// Something else: what is read there is an input whose changes cannot be noticed.
    Opaque,
}

/// Sorts a flat, absolute path.
pub(super) fn place(path: &Path) -> Place {
    let Ok(inside) = path.strip_prefix("/") else { return Place::Ordinary };
    let names: Vec<&[u8]> =
        inside.components().map(Component::as_os_str).map(OsStr::as_bytes).collect();
    match names[..] {
        [b"dev", ref rest @ ..] => device(rest),
        [b"proc", ref rest @ ..] => process(rest),
        [b"sys", ref rest @ ..] => system(rest),
        _ => Place::Ordinary,
    }
}

/// Directories such as `/dev/shm` hold ordinary files.
fn device(names: &[&[u8]]) -> Place {
    match names {
        [] => Place::State,
        [b"fd" | b"pts", ..] => Place::State,
        [
            b"null" | b"zero" | b"full" | b"random" | b"urandom" | b"console" | b"ptmx" | b"log"
            | b"stdin" | b"stdout" | b"stderr",
        ] => Place::State,
        [name] if name.starts_with(b"tty") => Place::State,
        _ => Place::Ordinary,
    }
}

fn process(names: &[&[u8]]) -> Place {
    match names {
        [b"cpuinfo"] => Place::Fact(Fact::Processor),
        [b"version"] | [b"sys", b"kernel", b"osrelease" | b"ostype" | b"version"] => {
            Place::Fact(Fact::Kernel)
        }
        [] | [b"sys"] | [b"sys", b"vm" | b"fs" | b"net", ..] => Place::State,
        [b"sys", b"kernel"]
        | [
            b"sys",
            b"kernel",
            b"cap_last_cap" | b"hostname" | b"ngroups_max" | b"overflowuid" | b"overflowgid"
            | b"pid_max" | b"random" | b"seccomp" | b"threads-max",
            ..,
        ] => Place::State,
        [
            b"cgroups" | b"filesystems" | b"loadavg" | b"meminfo" | b"mounts" | b"net"
            | b"pressure" | b"stat" | b"swaps" | b"uptime" | b"vmstat",
            ..,
        ] => Place::State,
        [process, rest @ ..] if is_process(process) => of_process(rest),
        _ => Place::Opaque,
    }
}

fn is_process(name: &[u8]) -> bool {
    matches!(name, b"self" | b"thread-self") || name.iter().all(u8::is_ascii_digit)
}

/// Behind `root` and `cwd` are other files, under names that mean something else for each process.
fn of_process(names: &[&[u8]]) -> Place {
    match names {
        [b"task", _, rest @ ..] => of_process(rest),
        [b"root" | b"cwd", _, ..] => Place::Opaque,
        _ => Place::State,
    }
}

fn system(names: &[&[u8]]) -> Place {
    match names {
        [] | [b"fs" | b"block", ..] => Place::State,
        [b"kernel", b"mm" | b"security", ..] | [b"module", b"apparmor", ..] => Place::State,
        // How many there are decides how much is done at a time.
        [b"devices", b"system", b"node", ..]
        | [
            b"devices",
            b"system",
            b"cpu",
            b"online" | b"offline" | b"possible" | b"present" | b"kernel_max",
        ] => Place::State,
        [b"devices", b"system", b"cpu", ..] => Place::Fact(Fact::Processor),
        _ => Place::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_every_fact() {
        for fact in Fact::ALL {
            assert!(fact.told().is_some_and(|told| told.len() > 8), "{fact:?}");
            assert_eq!(Fact::from_name(fact.name().as_bytes()), Some(fact));
        }
        assert_eq!(Fact::from_name(b"weather"), None);
    }
}
