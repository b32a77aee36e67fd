//! What processes can learn of the machine that they run on: by asking the kernel, and by reading
//! what it shows as files.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A fact that is an input of who asks for it. The names are those of inputs, and of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fact {
    /// Name, release and version of the kernel, and the kind of machine.
    Kernel,
    /// Model, features and caches of the processor.
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
                Some(parts.map(CStr::to_bytes_with_nul).concat())
            }
            Self::Processor => {
                let text = crate::fs::read(Path::new("/proc/cpuinfo")).ok()?;
                processor(&text, Path::new("/sys/devices/system/cpu/cpu0/cache"))
            }
        }
    }
}

/// What decides which code suits the processor: what the kernel says of the first one, and its caches, which
/// compilers tune code for. They have a directory of their own.
fn processor(text: &[u8], caches: &Path) -> Option<Vec<u8>> {
    const CACHES_MAX: usize = 8;
    const SAID: [&str; 4] = ["type", "size", "coherency_line_size", "ways_of_associativity"];
    let first = text.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let names: [&[u8]; 6] = [b"model", b"flags", b"cpu family", b"cache", b"Features", b"CPU "];
    let lines = first.filter(|line| names.iter().any(|name| line.starts_with(name)));
    let mut told = lines.collect::<Vec<_>>().join(&b'\n');
    if told.is_empty() {
        return None;
    }
    for cache in 0..CACHES_MAX {
        let directory = caches.join(format!("index{cache}"));
        let said = SAID.iter().filter_map(|name| crate::fs::read(&directory.join(name)).ok());
        let before = told.len();
        said.for_each(|text| told.extend(text));
        if told.len() == before {
            break;
        }
    }
    Some(told)
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

/// Directories that say nothing themselves.
const DIRECTORIES: &[&str] = &["/dev", "/proc", "/proc/sys", "/proc/sys/kernel", "/sys"];

/// Files that are state, and trees of them.
const STATE: &[&str] = &[
    "/dev/console",
    "/dev/fd",
    "/dev/full",
    "/dev/log",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/stderr",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
    "/proc/cgroups",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/mounts",
    "/proc/net",
    "/proc/pressure",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/fs",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/overflowgid",
    "/proc/sys/kernel/overflowuid",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/random",
    "/proc/sys/kernel/seccomp",
    "/proc/sys/kernel/threads-max",
    "/proc/sys/net",
    "/proc/sys/vm",
    "/proc/uptime",
    "/proc/vmstat",
    "/sys/block",
    // How many there are decides how much is done at a time.
    "/sys/devices/system/cpu/kernel_max",
    "/sys/devices/system/cpu/offline",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/possible",
    "/sys/devices/system/cpu/present",
    "/sys/devices/system/node",
    "/sys/fs",
    "/sys/kernel/mm",
    "/sys/kernel/security",
    "/sys/module/apparmor",
];

const FACTS: &[(&str, Fact)] = &[
    ("/proc/cpuinfo", Fact::Processor),
    ("/proc/sys/kernel/osrelease", Fact::Kernel),
    ("/proc/sys/kernel/ostype", Fact::Kernel),
    ("/proc/sys/kernel/version", Fact::Kernel),
    ("/proc/version", Fact::Kernel),
    ("/sys/devices/system/cpu", Fact::Processor),
];

/// Sorts a flat, absolute path. Directories such as `/dev/shm` hold ordinary files.
pub(super) fn place(path: &Path) -> Place {
    if !["/dev", "/proc", "/sys"].iter().any(|tree| path.starts_with(tree)) {
        return Place::Ordinary;
    }
    let is_state = DIRECTORIES.iter().any(|directory| path == Path::new(directory))
        || STATE.iter().any(|tree| path.starts_with(tree));
    if is_state {
        return Place::State;
    }
    if let Some((_, fact)) = FACTS.iter().find(|(tree, _)| path.starts_with(tree)) {
        return Place::Fact(*fact);
    }
    let names: Vec<&[u8]> =
        path.components().skip(1).map(|name| name.as_os_str().as_bytes()).collect();
    match names[..] {
        // Behind the descriptors of another process are its files; this process's own are known.
        [b"proc", process, b"fd", _, ..] if is_number(process) => Place::Opaque,
        [b"dev", name] if name.starts_with(b"tty") => Place::State,
        [b"dev", ..] => Place::Ordinary,
        [b"proc", process, ref rest @ ..] if is_process(process) => of_process(rest),
        _ => Place::Opaque,
    }
}

fn is_process(name: &[u8]) -> bool {
    matches!(name, b"self" | b"thread-self") || is_number(name)
}

fn is_number(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_digit)
}

/// Whether the environment of a process can be read there.
pub(super) fn is_environment(path: &Path) -> bool {
    path.starts_with("/proc") && path.file_name() == Some(OsStr::new("environ"))
}

/// Behind `root` and `cwd` are other files, under names that mean something else for each process.
fn of_process(names: &[&[u8]]) -> Place {
    match names {
        [b"task", _, rest @ ..] => of_process(rest),
        [b"root" | b"cwd", _, ..] => Place::Opaque,
        _ => Place::State,
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

    #[test]
    fn the_caches_are_of_the_processor_and_how_fast_it_runs_now_is_not() {
        let space = tempfile::tempdir().expect("a directory can be made");
        let told = |size: &str, speed: &str, last_level: &str| {
            let first = space.path().join("index0");
            std::fs::create_dir_all(&first).expect("a directory can be made");
            std::fs::write(first.join("size"), last_level).expect("a file can be written");
            let text =
                format!("model\t: 1\ncache size\t: {size}\ncpu MHz\t: {speed}\n\nmodel\t: 2\n");
            processor(text.as_bytes(), space.path()).expect("it has a model")
        };
        let one = told("512 KB", "1", "32K\n");
        assert_eq!(told("512 KB", "2", "32K\n"), one);
        assert_ne!(told("1024 KB", "1", "32K\n"), one);
        assert_ne!(told("512 KB", "1", "48K\n"), one);
    }
}
