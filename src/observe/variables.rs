//! Environment variables that cannot change an output, with the reasons; and the programs that
//! hold the whole environment but look single variables up.

use std::path::Path;

use super::libraries;

/// Names that are noise whoever looks them up.
const NOISE: &[(&str, &[&str])] = &[
    ("replaced by the content and place of each program that was found through it", &["PATH"]),
    ("says how many jobs run at a time", &["CARGO_MAKEFLAGS", "NUM_JOBS", "CARGO_BUILD_JOBS"]),
    (
        "describes the terminal, or how text on it looks",
        &[
            "TERM",
            "COLORTERM",
            "COLUMNS",
            "LINES",
            "NO_COLOR",
            "CLICOLOR",
            "CLICOLOR_FORCE",
            "FORCE_COLOR",
            "TERM_PROGRAM",
            "TERM_PROGRAM_VERSION",
            "TERM_SESSION_ID",
            "LS_COLORS",
            "TERMCAP",
            "TERMINFO",
            "WINDOWID",
            "VTE_VERSION",
            "TMUX",
            "TMUX_PANE",
            "STY",
            "CARGO_TERM_COLOR",
            "CARGO_TERM_PROGRESS_WHEN",
            "CARGO_TERM_PROGRESS_WIDTH",
            "CARGO_TERM_VERBOSE",
            "CARGO_TERM_QUIET",
            "CARGO_TERM_HYPERLINKS",
            "CARGO_TERM_UNICODE",
            "GCC_COLORS",
        ],
    ),
    (
        "says what is logged, or what a crash shows",
        &[
            "RUST_LOG",
            "RUST_LOG_STYLE",
            "RUST_BACKTRACE",
            "RUST_LIB_BACKTRACE",
            "CARGO_LOG",
            "RUSTC_LOG",
            "RUSTC_LOG_COLOR",
        ],
    ),
    (
        "says where temporary files go; what is left of them has a path, which is an input",
        &["TMPDIR", "TMP", "TEMP", "TEMPDIR"],
    ),
    (
        "names how the compiler is called, not what it does; the programs that run are inputs",
        &["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER", "RUST_RECURSION_COUNT"],
    ),
];

/// A login session or a shell: noise where a program looks that up, which shows and asks by it; not where
/// a macro or a build script does so by name, whatever it wants with it.
const SESSION: &[&str] = &[
    "_",
    "SHLVL",
    "OLDPWD",
    "PWD",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "XDG_SESSION_ID",
    "XDG_SESSION_TYPE",
    "XDG_SESSION_CLASS",
    "XDG_SEAT",
    "XDG_VTNR",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "MANAGERPID",
    "MAIL",
    "HISTFILE",
    "HISTSIZE",
    "PS1",
    "PROMPT_COMMAND",
];

/// Beginnings of names that are noise whoever looks them up: kache's own.
const NOISE_PREFIXES: &[&str] = &["KACHE_"];

/// Names that are noise where the compiler itself, the linker that comes with it, or the library
/// that they share looks them up.
const COMPILER_NOISE: &[(&str, &[&str])] = &[
    ("keeps the system from showing a dialog after a crash", &["CI"]),
    ("tunes the allocator", &["MALLOC_CONF", "_RJEM_MALLOC_CONF"]),
    ("bounds the stack: the compiler succeeds with the same output, or fails", &["RUST_MIN_STACK"]),
    (
        "says what is logged, or what a crash shows",
        &[
            "RUSTC_LOG_ENTRY_EXIT",
            "RUSTC_LOG_THREAD_IDS",
            "RUSTC_LOG_BACKTRACE",
            "RUSTC_LOG_WRAPTREE",
            "RUSTC_LOG_LINES",
            "RUSTC_LOG_FORMAT_JSON",
            "RUSTC_LOG_OUTPUT_TARGET",
            "RUSTC_CTFE_BACKTRACE",
            "RUSTC_ICE",
        ],
    ),
];

/// The jobserver, and options for make: noise unless make runs.
const MAKE_NOISE: &[&str] = &["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "GNUMAKEFLAGS"];

/// The locale: noise where compilers and their like ask for it, which diagnose in the user's language
/// and write the same (see [`is_language`]).
const LOCALE: &[&str] = &[
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NUMERIC",
    "LC_TIME",
    "LOCPATH",
];

/// Programs that hold the environment to pass it on, and look single variables up by name. The
/// sources of all of them read it in no other way.
const BY_NAME: &[&str] = &[
    // Compiler drivers, and what they run. The drivers pass the environment to their parts.
    "cc",
    "c++",
    "cpp",
    "gcc",
    "g++",
    "clang",
    "clang++",
    "cc1",
    "cc1plus",
    "collect2",
    "lto-wrapper",
    "lto1",
    "as",
    // Linkers: they take the variable in for their plugins and for child processes.
    "ld",
    "ld.bfd",
    "ld.gold",
    "ld.lld",
    "lld",
    "rust-lld",
    "wasm-ld",
    "mold",
    "wild",
    "gold",
    // Archives and object files.
    "ar",
    "ranlib",
    "nm",
    "strip",
    "objcopy",
    "objdump",
    "llvm-ar",
    "llvm-ranlib",
    // Plugins of those, which start compilers for link-time optimization.
    "liblto_plugin.so",
    "LLVMgold.so",
    // What those programs share: it starts parts of the compiler.
    "libbfd",
    "libctf",
    "libctf-nobfd",
    "libcc1",
    // It has a function that overwrites the variables with a process's title.
    "libbsd",
    // What bindgen loads and runs: LLVM's libraries hold the environment to start programs with it.
    "libclang",
    "libLLVM",
    "llvm-config",
    "rustfmt",
    // Git passes it on to what it runs, with settings of its own.
    "git",
    // The proxy in front of the toolchain: it runs the compiler with the same environment.
    "rustup",
];

/// What the input is called that stands for all variables which [`is_of_compilers`].
pub const OF_COMPILERS: &[u8] = b"compilers";

/// Words of the names of variables that tell the crate `cc` what to run, how, and for what. The locale is
/// none of them: compilers that it runs ask for that themselves.
const COMPILERS_WORDS: &[&str] = &[
    "AR", "AS", "CC", "CL", "CXX", "CPP", "LD", "NM", "ML", "VS", "EM", "OUT", "LIB", "LIBPATH",
    "CPATH", "ARCH", "CPU", "ABI", "OS", "HOST", "BUILD", "DEBUG", "OPT", "PROFILE", "PREFIX",
    "DIR", "ROOT", "HOME", "RC", "EPOCH", "DATE", "STATIC",
];

/// Parts of such words, wherever they are.
const COMPILERS_PARTS: &[&str] = &[
    "FLAGS",
    "CARGO",
    "RUST",
    "TARGET",
    "TRIPLE",
    "SDK",
    "NDK",
    "SYSROOT",
    "TOOL",
    "COMPIL",
    "CROSS",
    "CLANG",
    "GCC",
    "CXX",
    "LLVM",
    "NVCC",
    "CUDA",
    "INCLUDE",
    "LIBRARY",
    "STDLIB",
    "DEVELOPER",
    "DEPLOYMENT",
    "EMCC",
    "WASI",
    "WASM",
    "MUSL",
    "ZIG",
    "LINK",
    "RANLIB",
    "STRIP",
    "ASM",
    "ARM64",
    "MSVC",
    "WINDOWS",
    "VSCMD",
    "VSLANG",
    "VCINSTALL",
    "OPTIONS",
    "CONFIG",
    "APPLE",
    "MACOS",
    "IPHONE",
    "XCODE",
    "ANDROID",
    "PAUTH",
    "JOBS",
    "MAKE",
];

/// Beginnings of names that CI systems give to what each of their runs has anew. Those of `BUILD_` are
/// Jenkins's and Azure's: `cc` looks none up that begins so.
const OF_CI: &[&str] = &[
    "GITHUB_",
    "RUNNER_",
    "ACTIONS_",
    "CI_",
    "GITLAB_",
    "BUILDKITE_",
    "CIRCLE_",
    "JENKINS_",
    "TRAVIS_",
    "DRONE_",
    "TEAMCITY_",
    "BITBUCKET_",
    "AGENT_",
    "SYSTEM_",
    "BUILD_",
    "HUDSON_",
    "CODEBUILD_",
    "CIRRUS_",
    "APPVEYOR_",
    "BAMBOO_",
    "BITRISE_",
    "CF_",
    "CM_",
    "HARNESS_",
    "KOKORO_",
    "SD_",
    "SEMAPHORE_",
];

/// Where Cargo puts what it builds: made of such words, and for Cargo alone.
const OF_CARGO: &[&str] = &["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_BUILD_BUILD_DIR"];

/// Whether the crate `cc` may look a variable up in its copy of the environment: not only those that its
/// sources name (version 1.11), but all whose names are made of such words, with or without a target.
pub fn is_of_compilers(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_uppercase();
    if OF_CI.iter().any(|start| name.starts_with(start)) || OF_CARGO.contains(&&*name) {
        return false;
    }
    let mut words = name.split(|letter: char| !letter.is_alphanumeric());
    words.any(|word| COMPILERS_WORDS.contains(&word))
        || COMPILERS_PARTS.iter().any(|part| name.contains(part))
}

fn is_in(table: &[(&str, &[&str])], name: &[u8]) -> bool {
    table.iter().any(|(_, names)| names.iter().any(|noise| noise.as_bytes() == name))
}

/// Whether a variable cannot change an output unless somebody wants just that one.
pub fn is_noise_variable(name: &[u8]) -> bool {
    is_in(NOISE, name)
        || is_of_session(name)
        || NOISE_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// Whether a variable tells of the session or the shell.
pub(super) fn is_of_session(name: &[u8]) -> bool {
    SESSION.iter().any(|known| known.as_bytes() == name)
}

/// Whether a variable that the compiler itself looks up cannot change an output.
pub(super) fn is_compiler_noise(name: &[u8]) -> bool {
    is_in(COMPILER_NOISE, name)
}

/// Whether a variable cannot change an output where make does not run.
pub(super) fn is_make_noise(name: &[u8]) -> bool {
    MAKE_NOISE.iter().any(|noise| noise.as_bytes() == name)
}

/// Whether a variable decides only in which language `executable` diagnoses.
pub(super) fn is_language(name: &[u8], executable: &Path) -> bool {
    LOCALE.iter().any(|known| known.as_bytes() == name) && only_diagnoses(executable)
}

/// Whether `executable` does nothing else with the locale than to diagnose in its language.
pub(super) fn only_diagnoses(executable: &Path) -> bool {
    const OTHERS: [&[u8]; 4] = [b"cmake", b"ninja", b"pkg-config", b"pkgconf"];
    looks_up_by_name(executable) || OTHERS.contains(&plain_name(executable))
}

/// Whether an executable is a kind of make.
pub(super) fn is_make(path: &Path) -> bool {
    matches!(plain_name(path), b"make" | b"gmake" | b"mingw32-make")
}

/// Whether an executable is known to look variables up by name alone.
pub(super) fn looks_up_by_name(executable: &Path) -> bool {
    let name = plain_name(executable);
    // A library's version stands behind its ending as well as before it.
    let is_library = |name: &&[u8]| name.starts_with(b"lib");
    let stem = libraries::file_name(executable).split(|byte| *byte == b'.').next();
    let library = stem.filter(is_library).map(without_version);
    BY_NAME.iter().any(|known| known.as_bytes() == name || Some(known.as_bytes()) == library)
}

/// A program's name without the target in front and the version behind.
pub fn plain_name(path: &Path) -> &[u8] {
    let name = without_version(libraries::file_name(path));
    // A target has two parts at least; `llvm-ar` and `clang-format` are names.
    let mut dashes = name.iter().enumerate().rev().filter(|(_, byte)| **byte == b'-');
    match (dashes.next(), dashes.next()) {
        (Some((at, _)), Some(_)) => &name[at + 1..],
        _ => name,
    }
}

/// Whether a library is known to look variables up by name alone, or to be where all others find them.
pub(super) fn is_plain_library(library: &Path) -> bool {
    // Its hash is of letters, too.
    let is_compiler = libraries::file_name(library).starts_with(b"librustc_driver-");
    looks_up_by_name(library) || is_compiler || libraries::has_runtime_name(library)
}

fn without_version(name: &[u8]) -> &[u8] {
    let is_version = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    };
    match name.iter().rposition(|byte| *byte == b'-') {
        Some(at) if is_version(&name[at + 1..]) => &name[..at],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_with_target_and_version() {
        for name in ["cc", "x86_64-linux-gnu-gcc-12", "clang-14", "g++", "x86_64-linux-gnu-ld.bfd"]
        {
            assert!(looks_up_by_name(Path::new("/usr/bin").join(name).as_path()), "{name}");
        }
        for name in
            ["libclang.so.1", "libclang-14.so.14.0.6", "libLLVM.so", "llvm-config-14", "git"]
                .into_iter()
                .chain(["libbfd-2.40-system.so", "libctf-nobfd.so.0"])
        {
            assert!(looks_up_by_name(Path::new("/usr/lib").join(name).as_path()), "{name}");
        }
        for name in [
            "libc.so.6",
            "libpython3.so",
            "git-lfs",
            "sh",
            "python3",
            "clang-format",
            "my-cc-wrapper",
            "cc-wrapper",
            "",
            "-",
        ] {
            assert!(!looks_up_by_name(Path::new("/usr/bin").join(name).as_path()), "{name}");
        }
    }

    #[test]
    fn the_locale_is_noise_for_who_only_diagnoses_in_it() {
        for name in ["cc", "x86_64-linux-gnu-ld", "pkg-config", "cmake"] {
            assert!(is_language(b"LC_ALL", Path::new(name)), "{name}");
        }
        assert!(!is_language(b"LC_ALL", Path::new("/usr/bin/sed")));
        assert!(!is_language(b"CFLAGS", Path::new("cc")));
    }

    /// All that the sources of version 1.11 look up in the copy, except what is noise.
    #[test]
    fn what_the_crate_cc_looks_up_is_of_compilers() {
        let names = "TARGET HOST OUT_DIR OPT_LEVEL DEBUG CARGO_CFG_TARGET_OS CARGO_ENCODED_RUSTFLAGS \
            CARGO_MANIFEST_DIR RUSTC RUSTC_LINKER SDKROOT LIB INCLUDE CL ML IPHONEOS_DEPLOYMENT_TARGET \
            ZERO_AR_DATE ZIG_LIB_DIR ZIG_LIBC WASM_MUSL_SYSROOT WASI_SYSROOT WASI_SDK_PATH VSLANG \
            VSCMD_VER VCINSTALLDIR TOOLCHAINS SOURCE_DATE_EPOCH RC_DEBUG_PREFIX_MAP RC_DEBUG_OPTIONS \
            RANLIBFLAGS RANLIB PAUTHTEST_SYSROOT PAUTHTEST_RESOURCE_DIR OBJC_INCLUDE_PATH NVCC \
            OBJCPLUS_INCLUDE_PATH NVCC_PREPEND_FLAGS NVCC_CCBIN LIBPATH GCC_EXEC_PREFIX EM_PORTS \
            EXTERNAL_INCLUDE EM_LLVM_ROOT EM_CONFIG EM_COMPILER_WRAPPER EM_CLANG_ADD_VERSION EM_CACHE \
            EMCC_LOCAL_PORTS EMCC_CFLAGS DEVELOPER_DIR C_INCLUDE_PATH CXXSTDLIB_STATIC CXXSTDLIB \
            CXXFLAGS CXX CROSS_COMPILE CRATE_CC_NO_DEFAULTS CPLUS_INCLUDE_PATH CPATH COMPILER_PATH \
            CLANG_NO_DEFAULT_CONFIG CFLAGS CC_SHELL_ESCAPED_FLAGS CC_FORCE_DISABLE CCC_OVERRIDE_OPTIONS \
            CC_ENABLE_DEBUG_OUTPUT CC_KNOWN_WRAPPER_CUSTOM CC CARGO_TRIM_PATHS_SCOPE ARFLAGS AR \
            CFLAGS_x86_64-unknown-linux-gnu CFLAGS_x86_64_unknown_linux_gnu HOST_CC TARGET_CFLAGS \
            AR_aarch64_apple_darwin CXX_x86_64-pc-windows-msvc";
        for name in names.split_whitespace() {
            assert!(is_of_compilers(name.as_bytes()), "{name}");
        }
        let others = "GITHUB_RUN_ID GITHUB_PATH CI_COMMIT_SHA USER LOGNAME FLAVOUR CARGO_TARGET_DIR \
            CARGO_BUILD_TARGET_DIR LANG LANGUAGE LC_ALL LC_CTYPE LC_MEASUREMENT BUILD_NUMBER BUILD_URL \
            BUILD_ID BUILD_TAG BUILD_BUILDID BUILD_SOURCESDIRECTORY CODEBUILD_BUILD_ID CIRRUS_BUILD_ID \
            APPVEYOR_BUILD_ID BITRISE_BUILD_NUMBER bamboo_build_working_directory CF_BUILD_ID \
            CM_BUILD_DIR HUDSON_HOME SD_BUILD_ID KOKORO_BUILD_ID HARNESS_BUILD_ID SEMAPHORE_JOB_ID";
        for name in others.split_whitespace() {
            assert!(!is_of_compilers(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_are_noise_as_a_whole() {
        assert!(is_noise_variable(b"PATH") && is_noise_variable(b"KACHE_LOG"));
        assert!(!is_noise_variable(b"PATHS") && !is_noise_variable(b"XKACHE_LOG"));
        assert!(!is_noise_variable(b"CI") && is_compiler_noise(b"CI"));
    }
}
