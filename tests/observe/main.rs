//! The observer on real processes: compilers, macros, linkers, shells, and programs made for it.
#![cfg(target_os = "linux")]

mod compilations;
mod processes;
mod space;
mod table;
