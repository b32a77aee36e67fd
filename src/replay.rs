//! Replays the recorded streams of a compilation.

use std::io::{self, Write};

use store_format::ResultRecord;

use crate::roots::Roots;

/// The streams of a result, written for this place.
#[derive(Debug)]
pub struct Streams {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Streams {
    /// `None` when a stream names a root that is not known here.
    pub fn of(result: &ResultRecord, roots: &Roots) -> Option<Self> {
        Some(Self { stdout: roots.expand(&result.stdout)?, stderr: roots.expand(&result.stderr)? })
    }

    /// Writes both streams. A reader that has gone away needs none of it.
    pub fn write(&self) {
        for (bytes, to) in [
            (&self.stdout, &mut io::stdout().lock() as &mut dyn Write),
            (&self.stderr, &mut io::stderr().lock()),
        ] {
            if !bytes.is_empty() {
                drop(to.write_all(bytes).and_then(|()| to.flush()));
            }
        }
    }
}
