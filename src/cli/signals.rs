//! Ends that come from outside, for commands that have something to put back first: the terminal, above
//! all.

use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{Event, KeyEvent, KeyEventKind, poll, read};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a signal may take to be noticed while nobody presses a key.
const TICK: Duration = Duration::from_millis(250);

/// Has `show` use the whole terminal, and gives that back however it ends.
pub(super) fn on_terminal(
    show: impl FnOnce(&mut DefaultTerminal, &Signals) -> Result<()>,
) -> Result<()> {
    let signals = Signals::take()?;
    let mut terminal = ratatui::try_init().context("set the terminal up")?;
    let result = show(&mut terminal, &signals);
    ratatui::try_restore().context("restore the terminal")?;
    // It shows the cursor again.
    drop(terminal);
    signals.obey()?;
    result
}

/// A key, if one is pressed within a moment.
pub(super) fn pressed() -> Result<Option<KeyEvent>> {
    if !poll(TICK).context("wait for a key")? {
        return Ok(None);
    }
    Ok(match read().context("read a key")? {
        Event::Key(key) if key.kind == KeyEventKind::Press => Some(key),
        _ => None,
    })
}

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
