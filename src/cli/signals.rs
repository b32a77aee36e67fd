//! Ends that come from outside, for commands that have something to put back first.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The signal that was to end this process; none as long as it is 0.
#[derive(Debug)]
pub(super) struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// From now on they only say so.
    pub(super) fn take() -> Result<Self> {
        let came = Arc::new(AtomicUsize::new(0));
        for number in [SIGHUP, SIGINT, SIGTERM] {
            let value = number.cast_unsigned() as usize;
            signal_hook::flag::register_usize(number, Arc::clone(&came), value)
                .context("take signals")?;
        }
        Ok(Self(came))
    }

    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Ends this process as the signal that came would have.
    pub(super) fn obey(&self) -> Result<()> {
        match i32::try_from(self.0.load(Ordering::Relaxed)) {
            Ok(number @ 1..) => {
                signal_hook::low_level::emulate_default_handler(number).context("end by a signal")
            }
            _ => Ok(()),
        }
    }
}
