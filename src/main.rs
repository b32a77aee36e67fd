//! The executable: a compiler wrapper, a build-script launcher or a command line.

fn main() {}
