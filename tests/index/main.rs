//! The index and the memo as their users see them: in one process and in several.

mod basics;
mod memo;
mod processes;
mod property;
mod space;
