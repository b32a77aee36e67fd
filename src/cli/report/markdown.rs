//! The report as Markdown, for pages of continuous integration and merge requests.

use super::build::Build;
use super::{Ranked, Report, joined, time};
use crate::cli::summary::Summary;
use crate::cli::{human, times};

pub(super) fn render(report: &Report) -> String {
    let summary = &report.summary;
    let mut sections = vec![format!(
        "## kache: {} hits\n\n| hits | misses | not cached | time saved | restored | store |\n\
         |---:|---:|---:|---:|---:|---:|\n| {} of {} | {} | {} | {} | {} | {} of {} |\n",
        human::share(summary.hits(), summary.lookups()),
        human::count(summary.hits()),
        human::count(summary.lookups()),
        human::count(summary.all_misses()),
        human::count(summary.skipped + summary.errors + summary.passthroughs),
        time(summary.saved_us()),
        human::size(summary.restored_bytes),
        human::size(report.inventory.allocated_bytes),
        human::size(report.config.max_size_bytes),
    )];
    sections.extend(builds(report));
    sections.extend(ranking("Most expensive misses", &report.top_misses));
    sections.extend(ranking("Most valuable hits", &report.top_hits));
    sections.extend(bypass(report));
    sections.extend(bullets("Suggestions", report.suggestions.iter().cloned()));
    let errors = report.errors().take(report.top);
    sections.extend(bullets(
        "Errors",
        errors.map(|event| format!("{}: {}", code(&event.crate_name), escaped(&event.reason))),
    ));
    sections.join("\n")
}

fn builds(report: &Report) -> Option<String> {
    let row = |build: &Build| {
        let summary = Summary::of(build.of(&report.events));
        format!(
            "| {} | {} | {} | {} | {} | {} |",
            times::timestamp(build.started_ms),
            time((build.ended_ms - build.started_ms) * 1000),
            human::count(summary.hits()),
            human::count(summary.all_misses()),
            time(summary.saved_us()),
            code(&build.workspace),
        )
    };
    let rows = joined(report.builds.iter().rev().take(report.top).map(row));
    let head =
        "| started | time | hits | misses | saved | workspace |\n|---|---:|---:|---:|---:|---|\n";
    (!rows.is_empty()).then(|| folded("Builds", &format!("{head}{rows}")))
}

fn ranking(title: &str, ranked: &[Ranked]) -> Option<String> {
    let row = |line: &Ranked| {
        format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            code(&line.crate_name),
            line.kind,
            human::count(line.count),
            time(line.compile_us),
            human::size(line.size_bytes),
            escaped(&line.reason),
        )
    };
    let rows: String = ranked.iter().map(row).collect();
    let head =
        "| crate | kind | times | compile time | size | reason |\n|---|---|---:|---:|---:|---|\n";
    (!rows.is_empty()).then(|| folded(title, &format!("{head}{rows}")))
}

fn bypass(report: &Report) -> Option<String> {
    let row = |(reason, count): (&str, u64)| format!("| {} | {count} |\n", escaped(reason));
    let rows: String = report.bypass().into_iter().take(report.top).map(row).collect();
    (!rows.is_empty())
        .then(|| folded("Not cached", &format!("| reason | calls |\n|---|---:|\n{rows}")))
}

fn bullets(title: &str, lines: impl Iterator<Item = String>) -> Option<String> {
    let lines = joined(lines.map(|line| format!("- {line}")));
    (!lines.is_empty()).then(|| format!("### {title}\n\n{lines}"))
}

fn folded(title: &str, body: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{body}\n</details>\n")
}

/// Text that can end neither a cell nor the line.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => escaped.push(' '),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => escaped.extend(['\\', character]),
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Text as code; what would end it is replaced.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('|', "\\|").replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_cell() {
        assert_eq!(escaped("a|b\n<script>&"), "a\\|b &lt;script&gt;&amp;");
        assert_eq!(code("a`|b"), "`a'\\|b`");
    }
}
