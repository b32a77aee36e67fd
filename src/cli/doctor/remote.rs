//! Whether the remote can be used: a real round trip.

use super::Line;
use crate::cli::human;
use crate::cli::workspace::runtime;
use crate::config::{Config, RemoteKind};
use crate::remote::{Remote, RemoteError};
use std::time::{Duration, Instant};

/// How long a remote may take before it is of no use to builds.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(20);

pub(super) fn check(config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some((problem, remedy)) = config.gap().filter(|_| !config.local_only) {
        lines.push(Line::Finding(problem.to_owned(), remedy.to_owned()));
    }
    lines.extend(config.has_remote().then(|| tried(config)));
    lines
}

fn tried(config: &Config) -> Line {
    let started = Instant::now();
    let what = config.remote_place();
    match runtime().map(|runtime| runtime.block_on(round_trip(config))) {
        Ok(Ok(())) => {
            let way = if config.remote_readonly { "read" } else { "written, read and removed" };
            let time = human::time(started.elapsed());
            Line::Fine(format!("remote {what}: {way} in {time}"))
        }
        Ok(Err(error)) => {
            let remedy = match &error {
                RemoteError::Unreachable { .. } => "check endpoint and network; builds go on",
                _ if config.remote.kind == RemoteKind::Filesystem => {
                    "check that the directory is there and may be written, and its disk; builds go on"
                }
                _ => "check bucket, credentials and permissions; builds go on",
            };
            Line::Finding(format!("remote {what}: {error}"), remedy.to_owned())
        }
        Err(error) => Line::Finding(error.to_string(), "builds go on".to_owned()),
    }
}

async fn round_trip(config: &Config) -> Result<(), RemoteError> {
    let trip = async { Remote::open(config).await?.check().await };
    match tokio::time::timeout(ROUND_TRIP_MAX, trip).await {
        Ok(ended) => ended,
        Err(_) => Err(RemoteError::Unreachable {
            operation: "check",
            name: "the remote".to_owned(),
            reason: format!("no answer within {}", human::time(ROUND_TRIP_MAX)),
        }),
    }
}
