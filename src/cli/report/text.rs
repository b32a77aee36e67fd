//! The report for a terminal.

use super::{Ranked, Report, time};
use crate::cli::output::{Console, Style, Table};
use crate::cli::summary::Summary;
use crate::cli::{human, no_build, times};
use store_format::Event;

/// `terminal`: whether colour may be used where the console allows it.
pub(super) fn render(report: &Report, console: &Console, terminal: bool) -> String {
    let paint = |style, text: &str| {
        if terminal { console.paint(style, text) } else { text.to_owned() }
    };
    if report.events.is_empty() {
        return format!("{}\n", no_build(report.since_hours.is_some()));
    }
    let summary = &report.summary;
    let mut sections = vec![overview(summary)];
    let mut section = |title: &str, body: String| {
        if !body.is_empty() {
            sections.push(format!("{}\n{body}", paint(Style::Heading, title)));
        }
    };
    section("Builds", builds(report));
    section("Most expensive misses", ranking(&report.top_misses, true));
    section("Most valuable hits", ranking(&report.top_hits, false));
    section("Not cached", bypass(report));
    section("Errors", errors(report));
    let suggestions = report.suggestions.iter().map(|text| format!("  {text}\n"));
    section("Suggestions", suggestions.collect());
    sections.join("\n")
}

fn overview(summary: &Summary) -> String {
    format!(
        "{} of {} compilations hit ({}), {} saved\n",
        human::count(summary.hits()),
        human::count(summary.lookups()),
        human::share(summary.hits(), summary.lookups()),
        time(summary.saved_us()),
    )
}

fn builds(report: &Report) -> String {
    if report.builds.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[false, true, true, true, true, false]);
    table.row(["started", "time", "hits", "misses", "saved", "workspace"]);
    for build in report.builds.iter().rev().take(report.top) {
        let summary = Summary::of(build.of(&report.events));
        table.row([
            times::timestamp(build.started_ms),
            time((build.ended_ms - build.started_ms) * 1000),
            human::count(summary.hits()),
            human::count(summary.all_misses()),
            time(summary.saved_us()),
            build.workspace.clone(),
        ]);
    }
    let more = report.builds.len().saturating_sub(report.top) as u64;
    let rest = match more {
        0 => String::new(),
        _ => format!("  and {}\n", human::plural(more, "more build", "more builds")),
    };
    table.render(2) + &rest
}

fn ranking(ranked: &[Ranked], misses: bool) -> String {
    let mut table = Table::new(&[false, false, true, true, true, false]);
    for line in ranked {
        let reason = if misses { line.reason.clone() } else { String::new() };
        table.row([
            line.crate_name.clone(),
            line.kind.clone(),
            format!("{}×", human::count(line.count)),
            time(line.compile_us),
            human::size(line.size_bytes),
            reason,
        ]);
    }
    table.render(2)
}

fn bypass(report: &Report) -> String {
    let mut table = Table::new(&[true]);
    for (reason, count) in report.bypass().into_iter().take(report.top) {
        table.row([human::count(count), reason.to_owned()]);
    }
    table.render(2)
}

fn errors(report: &Report) -> String {
    let line = |event: &Event| format!("  {}: {}\n", event.crate_name, event.reason);
    report.errors().take(report.top).map(line).collect()
}
