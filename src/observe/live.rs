//! The log while processes write it.
//!
//! Invariants: a record is looked at once it is complete, and once only; whoever waits for what a process
//! does next has had all records of what it did before.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::layout::{HEAP_BYTES, HEAP_OFFSET, WORD_HEAP_USED};
use super::log::{Record, word};

/// Bytes that are read at a time; more than the longest record has.
const WINDOW_BYTES: usize = 64 << 10;

/// How far a log has been looked through.
#[derive(Debug, Default)]
pub(super) struct Looked(Cell<usize>);

impl Looked {
    /// Whether any of the records that are new is one that `is_meant`. All of them are looked at.
    pub(super) fn look(&self, log: &File, is_meant: impl Fn(&Record) -> bool) -> io::Result<bool> {
        let mut used = [0; 8];
        log.read_exact_at(&mut used, WORD_HEAP_USED as u64 * 8)?;
        let used = word(&used, 0).and_then(|used| usize::try_from(used).ok());
        let used = used.map_or(HEAP_BYTES, |used| used.min(HEAP_BYTES));
        let mut has_come = false;
        while self.0.get() < used {
            let length = WINDOW_BYTES.min(used - self.0.get());
            // A head is stored last, but what is read at once is not read in order: where the first
            // reading has it, the second has all that was stored before.
            let heads = self.read(log, length)?;
            let records = self.read(log, length)?;
            let mut end = 0;
            while let Some(record) = Record::at(&records, end)
                && word(&heads, end) == word(&records, end)
            {
                has_come |= is_meant(&record);
                end = record.end;
            }
            if end == 0 {
                // It is being written, or nobody will ever complete it.
                break;
            }
            self.0.update(|looked| looked + end);
        }
        Ok(has_come)
    }

    fn read(&self, log: &File, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        log.read_exact_at(&mut bytes, (HEAP_OFFSET + self.0.get()) as u64)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{MISSING, READ, RECORD_HEADER_BYTES};
    use super::super::native;
    use super::*;

    const TEXT: &[u8] = b"/kache-package/outer/src/lib.rs";

    /// Writes a record but for its head, which is returned, as a writer does.
    fn begin(log: &File, kind: u8, text: &[u8], used: &mut u64) -> (u64, u64) {
        let at = HEAP_OFFSET as u64 + *used;
        let length = (RECORD_HEADER_BYTES + text.len()) as u64;
        *used += length.next_multiple_of(8);
        log.write_all_at(&native(*used), WORD_HEAP_USED as u64 * 8).unwrap();
        log.write_all_at(text, at + RECORD_HEADER_BYTES as u64).unwrap();
        (at, u64::from(kind) << 32 | length)
    }

    fn complete(log: &File, (at, head): (u64, u64)) {
        log.write_all_at(&native(head), at).unwrap();
    }

    #[test]
    fn a_record_is_looked_at_once_and_when_it_is_complete() {
        let log = tempfile::tempfile().unwrap();
        log.set_len(super::super::layout::LOG_BYTES as u64).unwrap();
        let looked = Looked::default();
        let look = || looked.look(&log, |record| (record.kind, record.text) == (MISSING, TEXT));
        let mut used = 0;
        assert!(!look().unwrap());

        // More than is read at a time, one of them across the border.
        for _ in 0..3 * WINDOW_BYTES / RECORD_HEADER_BYTES / 2 {
            complete(&log, begin(&log, READ, TEXT, &mut used));
        }
        let first = begin(&log, MISSING, TEXT, &mut used);
        let second = begin(&log, MISSING, TEXT, &mut used);
        complete(&log, second);
        assert!(!look().unwrap(), "the first one may be anything");
        complete(&log, first);
        assert!(look().unwrap());
        assert!(!look().unwrap(), "both were looked at");
        complete(&log, begin(&log, MISSING, TEXT, &mut used));
        assert!(look().unwrap());
    }
}
