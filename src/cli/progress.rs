//! What goes on, in a line on the terminal, and nothing anywhere else.

use super::output::Console;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// How often the line is drawn while nothing is said.
const TICK: Duration = Duration::from_millis(120);

/// The line; it goes with this.
#[derive(Debug)]
pub(super) struct Progress {
    shown: ProgressBar,
}

impl Progress {
    pub(super) fn new(console: &Console) -> Self {
        let progress = Self::hidden();
        if console.shows_progress() {
            progress.shown.set_draw_target(ProgressDrawTarget::stderr());
            progress.shown.enable_steady_tick(TICK);
        }
        progress
    }

    /// For who is not watched.
    pub(super) fn hidden() -> Self {
        let shown = ProgressBar::hidden();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            shown.set_style(style);
        }
        Self { shown }
    }

    /// What goes on from now.
    pub(super) fn say(&self, text: impl Into<String>) {
        self.shown.set_message(text.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shown.finish_and_clear();
    }
}
