//! The table of calls, and the script that filters it.

use super::super::build::{Build, outcome_class, outcome_name};
use super::super::{Report, time};
use super::escaped;
use crate::cli::{human, times};
use std::cmp::Reverse;
use store_format::Event;

/// Rows of the table: enough to look for something, few enough for any browser.
const ROWS_MAX: usize = 1000;

/// The calls of these builds that took longest.
pub(super) fn table<'a>(report: &Report, builds: impl Iterator<Item = &'a Build>) -> String {
    let mut calls: Vec<&Event> = builds.flat_map(|build| build.of(&report.events)).collect();
    if calls.is_empty() {
        return String::new();
    }
    calls.sort_by_key(|event| Reverse(event.elapsed_us));
    let note = match calls.len() {
        count if count > ROWS_MAX => format!(
            "<p>The {} that took longest, of {}.</p>\n",
            human::count(ROWS_MAX as u64),
            human::count(count as u64)
        ),
        _ => String::new(),
    };
    let rows: String = calls.into_iter().take(ROWS_MAX).map(row).collect();
    format!(
        "<h2>Calls</h2>\n{note}<p><input id=\"filter\" type=\"search\" hidden \
         placeholder=\"Filter by crate, kind, result or reason\" aria-label=\"filter\"> \
         <span id=\"shown\"></span></p>\n<div class=\"scroll\"><table id=\"calls\">\n\
         <thead><tr><th>crate</th><th>kind</th><th>result</th><th class=\"right\">time</th>\
         <th class=\"right\">size</th><th>started</th><th>reason</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n<script>\n{}</script>\n",
        include_str!("../page.js")
    )
}

fn row(event: &Event) -> String {
    let class = outcome_class(event.outcome);
    format!(
        "<tr><td><code>{} {}</code></td><td>{}</td>\
         <td><span class=\"dot\" style=\"background:var(--{class})\"></span>{}</td>\
         <td class=\"right\">{}</td><td class=\"right\">{}</td><td>{}</td><td>{}</td></tr>\n",
        escaped(&event.crate_name),
        escaped(&event.crate_version),
        escaped(&event.kind),
        outcome_name(event.outcome).replace('_', " "),
        time(event.elapsed_us.into()),
        human::size(event.size_bytes),
        &times::timestamp(event.started_ms)[11..19],
        escaped(&event.reason),
    )
}
