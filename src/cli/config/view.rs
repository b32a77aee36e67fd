//! The editor on the screen: the file, the settings, what is known of the one under the cursor, and
//! the keys.

use super::model::{Editor, InputLine, Mode};
use crate::config::{Origin, SETTINGS};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Table, TableState, Wrap};

const BROWSE_KEYS: &str = "↑↓ choose   Enter change   d remove from the file   s save   q quit";
const EDIT_KEYS: &str = "Enter accept   Esc leave it as it was   empty removes it from the file";
const QUIT_KEYS: &str = "Save the changes? y save   n discard   Esc back";

/// Draws everything. Without colour, what stands out is bold or reversed.
pub(super) fn draw(frame: &mut Frame<'_>, editor: &Editor<'_>, color: bool) {
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(7),
        Constraint::Length(1),
    ])
    .split(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let state = if editor.is_changed() { " (not saved)" } else { "" };
    let title = Line::from(vec![
        Span::styled("kache config  ", bold),
        Span::raw(editor.path().display().to_string()),
        Span::styled(state, foreground(Color::Yellow, color).add_modifier(Modifier::BOLD)),
    ]);
    frame.render_widget(title, areas[0]);
    settings(frame, areas[1], editor, color);
    details(frame, areas[2], editor, color);
    let dim = Style::new().add_modifier(Modifier::DIM);
    let line = match &editor.mode {
        Mode::Browse if editor.message.is_empty() => Line::styled(BROWSE_KEYS, dim),
        Mode::Browse => Line::styled(editor.message.clone(), bold),
        Mode::Edit(_) => Line::styled(EDIT_KEYS, dim),
        Mode::Quit => Line::styled(QUIT_KEYS, bold),
    };
    frame.render_widget(line, areas[3]);
}

fn settings(frame: &mut Frame<'_>, area: Rect, editor: &Editor<'_>, color: bool) {
    let rows = SETTINGS.iter().enumerate().map(|(index, setting)| {
        let shown = editor.shown(index);
        let shown = if shown.is_empty() { "–".to_owned() } else { shown };
        let origin = match editor.warning(index) {
            Some(_) => "wrong, see below".to_owned(),
            None => editor.origin(index),
        };
        let style = if editor.warning(index).is_some() {
            foreground(Color::Red, color).add_modifier(Modifier::BOLD)
        } else if editor.is_default(index) {
            Style::new()
        } else {
            foreground(Color::Green, color).add_modifier(Modifier::BOLD)
        };
        Row::new([setting.name().to_owned(), shown, origin]).style(style)
    });
    let widths = [Constraint::Length(25), Constraint::Fill(3), Constraint::Fill(2)];
    let header = Row::new(["setting", "value", "set by"]);
    let table = Table::new(rows, widths)
        .header(header.style(Style::new().add_modifier(Modifier::DIM)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(editor.selected);
    frame.render_stateful_widget(table, area, &mut state);
}

fn details(frame: &mut Frame<'_>, area: Rect, editor: &Editor<'_>, color: bool) {
    let setting = editor.setting();
    let block = Block::bordered().title(setting.name());
    let red = foreground(Color::Red, color).add_modifier(Modifier::BOLD);
    let mut lines = Vec::new();
    if let Mode::Edit(line) = &editor.mode {
        lines.push(input(line, usize::from(area.width).saturating_sub(4)));
        if let Some(problem) = editor.problem() {
            lines.push(Line::styled(problem, red));
        }
    }
    lines.push(Line::raw(setting.documentation));
    lines.push(Line::raw(format!("{}; default: {}", setting.field.expected(), setting.default)));
    if let Some(warning) = editor.warning(editor.selected) {
        let place = match &warning.origin {
            Origin::File { line, .. } => format!("line {line}"),
            _ => warning.key.clone(),
        };
        lines.push(Line::styled(format!("{place} {}", warning.problem), red));
    }
    match setting.variable {
        Some(name) if editor.is_overridden() => lines.push(Line::styled(
            format!("{name} is set, and stronger than the file"),
            foreground(Color::Yellow, color),
        )),
        Some(name) => lines.push(Line::raw(format!("in the environment: {name}"))),
        None => {}
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }).block(block), area);
}

/// What is being typed, with the cursor reversed; of a long line, the part around the cursor.
fn input(line: &InputLine, width: usize) -> Line<'static> {
    let (before, after) = line.text.split_at(line.cursor);
    let hidden = before.chars().count().saturating_sub(width.saturating_sub(1));
    let before: String = before.chars().skip(hidden).collect();
    let mut rest = after.chars();
    let under = rest.next().unwrap_or(' ').to_string();
    Line::from(vec![
        Span::raw(before),
        Span::styled(under, Style::new().add_modifier(Modifier::REVERSED)),
        Span::raw(rest.take(width).collect::<String>()),
    ])
}

fn foreground(wanted: Color, color: bool) -> Style {
    if color { Style::new().fg(wanted) } else { Style::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Cell;
    use std::ffi::OsString;

    fn screen(editor: &Editor<'_>) -> String {
        let mut terminal = Terminal::new(TestBackend::new(78, 15)).unwrap();
        terminal.draw(|frame| draw(frame, editor, true)).unwrap();
        let cells = terminal.backend().buffer().content.chunks(78);
        let rows = cells.map(|row| row.iter().map(Cell::symbol).collect::<String>());
        rows.map(|row| row.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_value_is_shown_with_what_set_it() {
        let space = tempfile::tempdir().unwrap();
        let file = space.path().join("kache.toml");
        let text = "[cache]\nlocal_max_size = \"1.5TB\"\nclean_incremental = 3\n";
        std::fs::write(&file, text).unwrap();
        let variable = |name: &str| match name {
            "KACHE_CACHE_DIR" => Some(OsString::from("/cache")),
            _ => None,
        };
        let mut editor = Editor::open(&file, &variable).unwrap();
        let path = editor.path().display().to_string();
        let shown = |editor: &Editor<'_>| screen(editor).replacen(&path, "[FILE]", 1);
        let expected = "\
kache config  [FILE]
setting                   value                           set by
local_store               /cache                          KACHE_CACHE_DIR
local_max_size            1.5TB                           line 2
cache_executables         true                            default
clean_incremental         false                           wrong, see below
link_mode                 auto                            default
┌local_store─────────────────────────────────────────────────────────────────┐
│directory of the local store                                                │
│an absolute path; default: platform cache directory + `kache`               │
│KACHE_CACHE_DIR is set, and stronger than the file                          │
│                                                                            │
│                                                                            │
└────────────────────────────────────────────────────────────────────────────┘
↑↓ choose   Enter change   d remove from the file   s save   q quit";
        assert_eq!(shown(&editor), expected);
        editor.move_by(3);
        let details = shown(&editor);
        assert!(details.contains("line 3 is `3`, expected true or false"), "{details}");
        editor.move_by(-2);
        editor.change();
        let typing = shown(&editor);
        assert!(typing.contains("│1.5TB "), "{typing}");
    }
}
