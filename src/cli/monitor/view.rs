//! The dashboard on the screen: a headline, tabs, the table of the tab, and the keys.

use super::model::{Model, Tab, rate};
use crate::cli::report::outcome_name;
use crate::cli::summary::by_count;
use crate::cli::{human, times};
use crate::events::is_hit;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Gauge, Paragraph, Row, Sparkline, Table, Tabs};
use std::time::Duration;
use store_format::EventOutcome;

const KEYS: &str = "q quit   ←→ or 1–6 tabs   ↑↓ scroll";

/// Draws everything. Without colour, what stands out is bold or reversed.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, now_ms: u64, color: bool) {
    let areas = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .split(frame.area());
    headline(frame, areas[0], model, color);
    let titles = Tab::ALL.map(|tab| title(tab, model));
    let tabs = Tabs::new(titles)
        .select(model.tab as usize)
        .highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::new().borders(Borders::BOTTOM));
    frame.render_widget(tabs, areas[1]);
    let table = match model.tab {
        Tab::Builds => builds(model, now_ms, color),
        Tab::Projects => projects(model, now_ms),
        Tab::Calls => calls(model, color),
        Tab::Store => store(model),
        Tab::Transfers => transfers(model),
        Tab::Passed => passed(model),
    };
    frame.render_widget(table, areas[2]);
    if model.tab == Tab::Transfers {
        rates(frame, areas[2], model, color);
    }
    frame.render_widget(Line::styled(KEYS, Style::new().add_modifier(Modifier::DIM)), areas[3]);
}

fn headline(frame: &mut Frame<'_>, area: Rect, model: &Model, color: bool) {
    let summary = &model.summary;
    let areas =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).split(area);
    let percent = (summary.hits() * 100).checked_div(summary.lookups()).unwrap_or(0).min(100);
    let label = format!(
        "{} of {} hit ({})",
        human::count(summary.hits()),
        human::count(summary.lookups()),
        human::share(summary.hits(), summary.lookups()),
    );
    let gauge = Gauge::default()
        .block(Block::bordered().title("Hits"))
        .gauge_style(foreground(Color::Green, color))
        .percent(u16::try_from(percent).unwrap_or(0))
        .label(label);
    frame.render_widget(gauge, areas[0]);
    let line = Line::from(vec![
        Span::styled(time(summary.saved_us()), Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(" saved, store "),
        Span::raw(human::size(model.store.allocated_bytes)),
        Span::raw(format!(" of {}", human::size(model.max_size_bytes))),
    ]);
    frame.render_widget(Paragraph::new(line).block(Block::bordered().title("kache")), areas[1]);
}

fn builds(model: &Model, now_ms: u64, color: bool) -> Table<'static> {
    let rows = model.builds.iter().rev().skip(model.scroll).map(|build| {
        let summary = &build.summary;
        let running = build.is_running(now_ms);
        let ended_ms = if running { now_ms } else { build.ended_ms };
        let state = if running { "running".to_owned() } else { ago(now_ms, build.ended_ms) };
        let row = Row::new([
            state,
            human::time(Duration::from_millis(ended_ms.saturating_sub(build.started_ms))),
            human::count(summary.hits()),
            human::count(summary.misses + summary.dups),
            human::count(summary.skipped + summary.errors),
            time(summary.saved_us()),
            build.workspace.clone(),
        ]);
        if running { row.style(foreground(Color::Yellow, color)) } else { row }
    });
    let widths = [10, 9, 7, 7, 9, 9].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Min(10)]);
    Table::new(rows, widths).header(header([
        "ended",
        "time",
        "hits",
        "misses",
        "unstored",
        "saved",
        "workspace",
    ]))
}

fn projects(model: &Model, now_ms: u64) -> Table<'static> {
    let rows: Vec<Row<'static>> = model
        .projects()
        .into_iter()
        .skip(model.scroll)
        .map(|(workspace, project)| {
            Row::new([
                ago(now_ms, project.last_ms),
                human::count(project.builds),
                human::share(project.hits, project.lookups),
                time(project.saved_us),
                workspace.to_owned(),
            ])
        })
        .collect();
    let widths = [10, 7, 8, 9].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Min(10)]);
    Table::new(rows, widths).header(header(["last", "builds", "hits", "saved", "workspace"]))
}

fn calls(model: &Model, color: bool) -> Table<'static> {
    let rows = model.recent.iter().rev().skip(model.scroll).map(|event| {
        let style = match event.outcome {
            outcome if is_hit(outcome) => foreground(Color::Green, color),
            EventOutcome::Miss | EventOutcome::Dup => foreground(Color::Yellow, color),
            EventOutcome::Error => foreground(Color::Red, color).add_modifier(Modifier::BOLD),
            _ => Style::new().add_modifier(Modifier::DIM),
        };
        Row::new([
            times::timestamp(event.started_ms)[11..19].to_owned(),
            outcome_name(event.outcome).replace('_', " "),
            time(event.elapsed_us.into()),
            human::size(event.size_bytes),
            event.kind.clone(),
            event.crate_name.clone(),
            event.reason.clone(),
        ])
        .style(style)
    });
    let widths = [8, 12, 8, 8, 12].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1), Constraint::Fill(1)]);
    Table::new(rows, widths)
        .header(header(["UTC", "result", "time", "size", "kind", "crate", "reason"]))
}

fn store(model: &Model) -> Table<'static> {
    let (summary, store) = (&model.summary, &model.store);
    let rows = [
        ("directory", model.cache_dir.display().to_string()),
        ("size", human::size(store.allocated_bytes)),
        ("limit", human::size(model.max_size_bytes)),
        ("full", human::share(store.allocated_bytes, model.max_size_bytes)),
        ("results", human::count(store.results)),
        ("files", human::count(store.blobs)),
        ("restored", human::size(summary.restored_bytes)),
        ("without a copy", human::size(summary.linked_bytes)),
        ("stored", human::size(summary.stored_bytes)),
        ("from the remote", human::count(summary.remote_hits + summary.prefetch_hits)),
    ];
    named(rows.into_iter().skip(model.scroll))
}

fn transfers(model: &Model) -> Table<'static> {
    let nothing = ("Remote", "none is configured: the store is this machine's alone".to_owned());
    let rows = if model.daemon.is_empty() { vec![nothing] } else { model.daemon.clone() };
    named(rows.into_iter().skip(model.scroll))
}

/// Rows of a name and a value.
fn named(rows: impl Iterator<Item = (&'static str, String)>) -> Table<'static> {
    let rows = rows.map(|(name, value)| Row::new([name.to_lowercase(), value]));
    Table::new(rows, [Constraint::Length(16), Constraint::Min(10)])
}

/// Below the rows of the tab: what has come and gone, second by second, newest on the right.
fn rates(frame: &mut Frame<'_>, area: Rect, model: &Model, color: bool) {
    let rows = u16::try_from(model.daemon.len()).unwrap_or(u16::MAX);
    if rows == 0 {
        return;
    }
    let [_, below] =
        Layout::vertical([Constraint::Length(rows + 1), Constraint::Min(0)]).areas(area);
    let halves = Layout::horizontal([Constraint::Percentage(50); 2]).areas::<2>(below);
    let transfers = &model.transfers;
    for (area, (name, seconds)) in
        halves.into_iter().zip([("↓", &transfers.downloaded), ("↑", &transfers.uploaded)])
    {
        let block = Block::bordered().title(format!("{name} {}/s", human::size(rate(seconds))));
        let width = usize::from(block.inner(area).width);
        let shown = seconds.iter().skip(seconds.len().saturating_sub(width));
        let padding = std::iter::repeat_n(&0, width.saturating_sub(seconds.len()));
        let chart = Sparkline::default()
            .block(block)
            .style(foreground(Color::Cyan, color))
            .data(padding.chain(shown));
        frame.render_widget(chart, area);
    }
}

/// The title of a tab, and what goes on behind it.
fn title(tab: Tab, model: &Model) -> String {
    match (tab, model.transfers.active()) {
        (Tab::Transfers, (down @ 1.., 0)) => format!("{} ↓{down}", tab.title()),
        (Tab::Transfers, (0, up @ 1..)) => format!("{} ↑{up}", tab.title()),
        (Tab::Transfers, (down @ 1.., up @ 1..)) => format!("{} ↓{down} ↑{up}", tab.title()),
        _ => tab.title().to_owned(),
    }
}

fn passed(model: &Model) -> Table<'static> {
    let summary = &model.summary;
    let listed = by_count(&summary.pass_reasons).into_iter().map(|line| ("passed through", line));
    let skipped = by_count(&summary.skip_reasons).into_iter().map(|line| ("not stored", line));
    let questions = ("passed through", ("questions to the compiler", summary.probes));
    let rows: Vec<Row<'static>> = listed
        .chain(skipped)
        .chain([questions])
        .skip(model.scroll)
        .map(|(what, (reason, count))| {
            Row::new([human::count(count), what.to_owned(), reason.to_owned()])
        })
        .collect();
    Table::new(rows, [Constraint::Length(8), Constraint::Length(16), Constraint::Min(10)])
        .header(header(["calls", "", "reason"]))
}

fn header<const COUNT: usize>(names: [&'static str; COUNT]) -> Row<'static> {
    Row::new(names).style(Style::new().add_modifier(Modifier::DIM))
}

fn foreground(wanted: Color, color: bool) -> Style {
    if color { Style::new().fg(wanted) } else { Style::new() }
}

fn time(micros: u64) -> String {
    human::time(Duration::from_micros(micros))
}

fn ago(now_ms: u64, then_ms: u64) -> String {
    human::age(Duration::from_millis(now_ms.saturating_sub(then_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use store_format::Event;

    fn screen(model: &Model) -> String {
        let mut terminal = Terminal::new(TestBackend::new(76, 12)).unwrap();
        terminal.draw(|frame| draw(frame, model, 120_000, true)).unwrap();
        let buffer = terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let rows = buffer.content.chunks(width).map(|row| {
            row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
        });
        rows.collect::<Vec<_>>().join("\n")
    }

    fn model() -> Model {
        let mut model = Model::new("/cache".into(), 50_000_000_000);
        let event = |outcome, started_ms, crate_name: &str, workspace: &str, reason: &str| Event {
            outcome,
            started_ms,
            cargo_pid: 7,
            elapsed_us: 20_000,
            compile_us: 900_000,
            size_bytes: 1_500_000,
            crate_name: crate_name.to_owned(),
            kind: "lib".to_owned(),
            workspace: workspace.to_owned(),
            reason: reason.to_owned(),
            ..Event::default()
        };
        model.extend(vec![
            event(EventOutcome::Passthrough, 999, "", "", "not-a-compile|version"),
            event(EventOutcome::LocalHit, 1_000, "serde", "/h/registry/src/serde-1.0", ""),
            event(EventOutcome::Miss, 1_100, "app", "/work/app", "inputs differ"),
            event(EventOutcome::Skipped, 1_200, "app", "/work/app", "compiler failed"),
        ]);
        model
    }

    #[test]
    fn builds_are_listed_with_their_workspace_not_a_dependency() {
        let expected = "\
┌Hits────────────────────────────────┐┌kache───────────────────────────────┐
│█████████1 of 2 hit (50.0%)         ││880 ms saved, store 0 B of 50.0 GB  │
└────────────────────────────────────┘└────────────────────────────────────┘
 1 Builds │ 2 Projects │ 3 Calls │ 4 Store │ 5 Transfers │ 6 Not cached
────────────────────────────────────────────────────────────────────────────
ended      time      hits    misses  unstored  saved     workspace
1m         220 ms    1       1       1         880 ms    /work/app




q quit   ←→ or 1–6 tabs   ↑↓ scroll";
        assert_eq!(screen(&model()), expected);
    }

    #[test]
    fn every_tab_draws_and_scrolls_past_its_end() {
        let mut model = model();
        for (tab, text) in [
            (Tab::Builds, "/work/app"),
            (Tab::Projects, "/work/app"),
            (Tab::Calls, "inputs diff"),
            (Tab::Store, "50.0 GB"),
            (Tab::Transfers, "none is configured"),
            (Tab::Passed, "questions to the compiler"),
        ] {
            model.select(tab);
            assert!(screen(&model).contains(text), "{tab:?}\n{}", screen(&model));
            model.scroll = usize::MAX;
            assert!(!screen(&model).lines().skip(5).any(|line| line.contains(text)), "{tab:?}");
        }
    }
}
