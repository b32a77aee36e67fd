//! The report as one page that needs nothing else: no font, no other address, and no script but for
//! a filter, without which everything is shown.

mod calls;

use super::build::{Build, outcome_class, outcome_name};
use super::{Ranked, Report, joined, time};
use crate::cli::summary::Summary;
use crate::cli::{human, no_build, times};
use std::collections::HashSet;
use std::fmt::Write;
use store_format::Event;

/// Width of a timeline in its own units.
const WIDTH: u64 = 1000;
const LANE_HEIGHT: usize = 14;
/// Width of one character of a label.
const LETTER_WIDTH: u64 = 6;
const CLASSES: [&str; 5] = ["hit", "miss", "error", "skipped", "passthrough"];

pub(super) fn render(report: &Report) -> String {
    let title = format!("kache report {}", times::timestamp(report.generated_ms));
    let mut body = format!("<h1>{title}</h1>\n");
    body += &tiles(report);
    body += &list("Suggestions", report.suggestions.iter().map(|text| escaped(text)));
    body += "<h2>Timeline</h2>\n";
    body += &key();
    let builds = || report.builds.iter().rev().take(report.top);
    for build in builds() {
        body += &timeline(build, &report.events);
    }
    if report.builds.is_empty() {
        body.extend(["<p>", no_build(report.since_hours.is_some()), "</p>\n"]);
    }
    body += &ranking("Most expensive misses", &report.top_misses);
    body += &ranking("Most valuable hits", &report.top_hits);
    let bypass = report.bypass();
    let bypass = bypass.iter().map(|(reason, count)| format!("{}: {count}", escaped(reason)));
    body += &list("Not cached", bypass.take(report.top));
    let errors = report.errors().take(report.top);
    body += &list(
        "Errors",
        errors.map(|event| escaped(&format!("{}: {}", event.crate_name, event.reason))),
    );
    body += &calls::table(report, builds());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        include_str!("page.css")
    )
}

fn tiles(report: &Report) -> String {
    let summary = &report.summary;
    let of = |part: u64, whole: u64| format!("{} of {}", human::count(part), human::count(whole));
    let tiles = [
        ("hit rate", human::share(summary.hits(), summary.lookups())),
        ("hits", of(summary.hits(), summary.lookups())),
        ("time saved", time(summary.saved_us())),
        ("spent on misses", time(summary.misses_compile_us)),
        ("not cached", human::count(summary.skipped + summary.errors + summary.passthroughs)),
        ("restored", human::size(summary.restored_bytes)),
        ("without a copy", human::share(summary.linked_bytes, summary.restored_bytes)),
        ("store", human::size(report.inventory.allocated_bytes)),
    ];
    let tile =
        |(name, value): (&str, String)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    format!("<dl>\n{}</dl>\n", tiles.map(tile).concat())
}

fn key() -> String {
    let entry = |class| format!("<span style=\"background:var(--{class})\"></span>{class}");
    let keys = CLASSES.map(entry).concat();
    format!("<p class=\"key\">{keys}<span class=\"chain\"></span>critical path</p>\n")
}

/// A build: what it was, and a bar for each call of the compiler.
fn timeline(build: &Build, events: &[Event]) -> String {
    let summary = Summary::of(build.of(events));
    let duration_ms = (build.ended_ms - build.started_ms).max(1);
    let (lanes, lane_count) = build.lanes(events);
    let height = lane_count * LANE_HEIGHT + 4;
    let mut svg = format!(
        "<h3>{} <span class=\"faint\">{}</span></h3>\n<p>{}, {}, {}, {} saved</p>\n\
         <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"timeline\">\n",
        escaped(if build.workspace.is_empty() { "build" } else { &build.workspace }),
        times::timestamp(build.started_ms),
        time(duration_ms * 1000),
        human::plural(summary.hits(), "hit", "hits"),
        human::plural(summary.all_misses(), "miss", "misses"),
        time(summary.saved_us()),
    );
    let path = build.critical_path(events);
    let on_path: HashSet<usize> = path.iter().copied().collect();
    // Of narrow bars that would cover each other, one of each colour is drawn: this bounds the page
    // whatever the number of calls.
    let mut covered: HashSet<(usize, u64, &str)> = HashSet::new();
    for ((event, lane), place) in build.of(events).zip(lanes).zip(&build.events) {
        let (x, width) = extent(event, build.started_ms, duration_ms);
        if width == 1 && !covered.insert((lane, x, outcome_class(event.outcome))) {
            continue;
        }
        svg += &bar(event, (x, width), lane, on_path.contains(place));
    }
    svg += "</svg>\n";
    svg + &critical(&path, events)
}

/// The calls of the critical path that took longest, in their order.
fn critical(path: &[usize], events: &[Event]) -> String {
    const SHOWN_MAX: usize = 6;
    let total_us = path.iter().map(|place| u64::from(events[*place].elapsed_us)).sum();
    let mut longest: Vec<usize> = path.to_vec();
    longest.sort_by_key(|place| std::cmp::Reverse(events[*place].elapsed_us));
    longest.truncate(SHOWN_MAX);
    longest.sort_unstable();
    let name = |place: &usize| {
        let event = &events[*place];
        format!("<code>{}</code> {}", escaped(&event.crate_name), time(event.elapsed_us.into()))
    };
    let names: Vec<_> = longest.iter().map(name).collect();
    format!(
        "<p>Critical path: {} in {}, most of it in {}.</p>\n",
        time(total_us),
        human::plural(path.len() as u64, "call", "calls"),
        names.join(", ")
    )
}

/// Where a call's bar begins, and its width.
fn extent(event: &Event, started_ms: u64, duration_ms: u64) -> (u64, u64) {
    let x = (event.started_ms - started_ms) * WIDTH / duration_ms;
    (x, (u64::from(event.elapsed_us) * WIDTH / duration_ms / 1000).max(1))
}

fn bar(event: &Event, (x, width): (u64, u64), lane: usize, critical: bool) -> String {
    let y = lane * LANE_HEIGHT + 2;
    let mut class = outcome_class(event.outcome).to_owned();
    if critical {
        class += " chain";
    }
    let name = if event.crate_name.is_empty() { &event.reason } else { &event.crate_name };
    let mut title = format!(
        "{name} {} {}: {}, {}",
        event.crate_version,
        event.kind,
        outcome_name(event.outcome),
        time(event.elapsed_us.into()),
    );
    for line in std::iter::once(&event.reason).chain(&event.explanation).filter(|l| !l.is_empty()) {
        title.push('\n');
        title += line;
    }
    let mut bar = format!(
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" rx=\"2\">\
         <title>{}</title></rect>\n",
        LANE_HEIGHT - 2,
        escaped(&title),
    );
    let letters = usize::try_from(width / LETTER_WIDTH).unwrap_or(0);
    if letters > 3 {
        let label: String = name.chars().take(letters).collect();
        let (x, y) = (x + 3, y + LANE_HEIGHT - 5);
        // Writing to a string cannot fail.
        writeln!(bar, "<text x=\"{x}\" y=\"{y}\">{}</text>", escaped(&label)).unwrap_or_default();
    }
    bar
}

fn ranking(title: &str, ranked: &[Ranked]) -> String {
    if ranked.is_empty() {
        return String::new();
    }
    let row = |line: &Ranked| {
        format!(
            "<tr><td><code>{}</code></td><td>{}</td><td class=\"right\">{}</td>\
             <td class=\"right\">{}</td><td class=\"right\">{}</td><td>{}</td></tr>\n",
            escaped(&line.crate_name),
            escaped(&line.kind),
            human::count(line.count),
            time(line.compile_us),
            human::size(line.size_bytes),
            escaped(&line.reason),
        )
    };
    format!(
        "<h2>{title}</h2>\n<div class=\"scroll\"><table>\n<tr><th>crate</th><th>kind</th>\
         <th class=\"right\">times</th><th class=\"right\">compile time</th>\
         <th class=\"right\">size</th><th>reason</th></tr>\n{}</table></div>\n",
        ranked.iter().map(row).collect::<String>()
    )
}

/// Lines that are escaped already.
fn list(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines = joined(lines.map(|line| format!("<li>{line}</li>")));
    if lines.is_empty() { lines } else { format!("<h2>{title}</h2>\n<ul>\n{lines}</ul>\n") }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use store_format::EventOutcome;

    #[test]
    fn a_hundred_thousand_calls_make_a_page_of_bounded_size() {
        let event = |number: u64| Event {
            started_ms: number,
            elapsed_us: 1_500,
            crate_name: format!("crate_{number}"),
            outcome: match number {
                500 => EventOutcome::Error,
                hit if hit % 2 == 0 => EventOutcome::LocalHit,
                _ => EventOutcome::Miss,
            },
            ..Event::default()
        };
        let events: Vec<_> = (0..100_000).map(event).collect();
        let build = &super::super::build::group(&events)[0];
        let drawn = timeline(build, &events);
        assert!(drawn.len() < 1_000_000, "{} bytes", drawn.len());
        assert_eq!(drawn.matches("class=\"error").count(), 1, "no colour is hidden by another");
    }

    #[test]
    fn names_cannot_become_markup() {
        let event = Event {
            crate_name: "<script>\"x\"".to_owned(),
            elapsed_us: 1_000_000,
            outcome: EventOutcome::Miss,
            ..Event::default()
        };
        let bar = bar(&event, extent(&event, 0, 1000), 0, false);
        assert!(bar.contains("&lt;script&gt;&quot;x&quot;") && !bar.contains("<script>"), "{bar}");
        assert!(bar.contains("width=\"1000\"") && bar.contains("<text"), "{bar}");
    }
}
