//! The daemon: whether it answers, what waits for it, and what went wrong.

use super::Line;
use crate::cli::daemon::{ask_status, queued, waiting};
use crate::config::Config;

/// Nothing where there is no remote: nothing else needs a daemon.
pub(super) fn check(config: &Config) -> Vec<Line> {
    if !config.has_remote() {
        return Vec::new();
    }
    let log = "`kache daemon log` says more".to_owned();
    let status = match ask_status(config) {
        Ok(Some(status)) => status,
        Ok(None) if queued(config) == 0 => {
            return vec![Line::Fine("daemon: none runs, a build starts one".to_owned())];
        }
        Ok(None) => {
            let remedy = "`kache daemon start` uploads them".to_owned();
            return vec![Line::Finding(waiting(queued(config)), remedy)];
        }
        Err(error) => {
            let remedy = "`kache daemon restart`, or end it by its process number".to_owned();
            return vec![Line::Finding(format!("{error:#}"), remedy)];
        }
    };
    let waiting = waiting(status.uploads_queued);
    let mut lines = vec![Line::Fine(format!("daemon: process {}, {waiting}", status.pid))];
    if status.remote.is_empty() {
        let text = "the daemon uses no remote: its configuration is another".to_owned();
        lines.push(Line::Finding(text, "`kache daemon restart`".to_owned()));
    }
    if status.resting {
        let text = format!("the daemon leaves the remote alone: {}", status.last_error);
        lines.push(Line::Finding(text, log));
    }
    lines
}
