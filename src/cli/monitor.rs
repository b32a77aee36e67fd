//! `kache monitor`: a live dashboard in the terminal.
//!
//! The event log is followed, the index is read again when calls have changed it, and the daemon is
//! asked what it does; nothing is written and no build waits for it.

mod model;
mod view;

use super::inventory::Inventory;
use super::output::Console;
use super::signals::{Signals, on_terminal, pressed};
use super::{Since, UsageError, configuration, daemon, times};
use crate::config::Config;
use crate::events::Follower;
use anyhow::{Context, Result};
use model::{Model, Tab};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often the daemon is asked.
const DAEMON_INTERVAL: Duration = Duration::from_secs(1);
/// How often the store is looked at while builds use it, and while none does.
const STORE_INTERVAL: Duration = Duration::from_secs(5);
const STORE_INTERVAL_IDLE: Duration = Duration::from_mins(1);
/// What is shown when no time is given.
const DEFAULT_HOURS: u64 = 24;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache monitor --since 7d")]
pub(super) struct Options {
    #[command(flatten)]
    since: Since,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    if !std::io::stdout().is_terminal() {
        return Err(UsageError::new("the dashboard needs a terminal")
            .hint("`kache stats` and `kache report` print the same numbers")
            .into());
    }
    let config = configuration(console)?.config;
    let since_ms = match options.since.since {
        Some(_) => options.since.start_ms(),
        None => times::now_ms().saturating_sub(DEFAULT_HOURS * 3_600_000),
    };
    let (events, follower) =
        Follower::since(&config.cache_dir, since_ms).context("read the event log")?;
    let mut model = Model::new(config.cache_dir.clone(), config.max_size_bytes);
    model.extend(events);
    on_terminal(|terminal, signals| {
        follow(terminal, &mut model, follower, &config, console, signals)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what goes on until a key or a signal ends it.
fn follow(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    mut follower: Follower,
    config: &Config,
    console: &Console,
    signals: &Signals,
) -> Result<()> {
    let (mut store, mut daemon) = (Clock::default(), Clock::default());
    let mut used = true;
    while !signals.came() {
        let events = follower.poll().context("read the event log")?;
        used |= !events.is_empty();
        model.extend(events);
        if store.is_due(if used { STORE_INTERVAL } else { STORE_INTERVAL_IDLE }) {
            model.store = Inventory::read(&config.cache_dir)?;
            used = false;
        }
        if config.has_remote() && daemon.is_due(DAEMON_INTERVAL) {
            // One that does not answer is as good as none.
            let status = daemon::ask_status(config).ok().flatten();
            model.daemon = daemon::rows(config, status.as_ref());
            model.transfers.note(status);
        }
        let now_ms = times::now_ms();
        let color = console.has_color();
        terminal.draw(|frame| view::draw(frame, model, now_ms, color)).context("draw")?;
        if pressed()?.is_some_and(|key| handle(key, model)) {
            return Ok(());
        }
    }
    Ok(())
}

/// When something was done last.
#[derive(Debug, Default)]
struct Clock(Option<Instant>);

impl Clock {
    /// Whether it is time to do it again; if so, it counts as done.
    fn is_due(&mut self, interval: Duration) -> bool {
        let is_due = self.0.is_none_or(|done| done.elapsed() >= interval);
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}

/// Does what a key asks for; true is the end.
fn handle(key: KeyEvent, model: &mut Model) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => model.select(model.tab.next()),
        KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => model.select(model.tab.previous()),
        KeyCode::Char(digit @ '1'..='6') => {
            let place = digit as usize - '1' as usize;
            model.select(Tab::ALL[place]);
        }
        KeyCode::Down | KeyCode::Char('j') => model.scroll = model.scroll.saturating_add(1),
        KeyCode::Up | KeyCode::Char('k') => model.scroll = model.scroll.saturating_sub(1),
        KeyCode::PageDown => model.scroll = model.scroll.saturating_add(10),
        KeyCode::PageUp => model.scroll = model.scroll.saturating_sub(10),
        KeyCode::Home => model.scroll = 0,
        _ => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_move_between_tabs_and_lines_and_end_it() {
        let mut model = Model::new("/cache".into(), 1);
        let mut press = |code| (handle(KeyEvent::from(code), &mut model), model.tab, model.scroll);
        assert_eq!(press(KeyCode::Tab), (false, Tab::Projects, 0));
        assert_eq!(press(KeyCode::Down), (false, Tab::Projects, 1));
        assert_eq!(press(KeyCode::Char('6')), (false, Tab::Passed, 0));
        assert_eq!(press(KeyCode::Right), (false, Tab::Builds, 0));
        assert_eq!(press(KeyCode::Up), (false, Tab::Builds, 0));
        assert_eq!(press(KeyCode::BackTab), (false, Tab::Passed, 0));
        assert!(press(KeyCode::Char('q')).0);
    }
}
