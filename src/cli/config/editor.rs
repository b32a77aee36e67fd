//! `kache config` alone: an editor in the terminal.

use super::super::UsageError;
use super::super::output::Console;
use super::super::signals::{Signals, on_terminal, pressed};
use super::model::{Editor, Mode};
use super::{target_file, view};
use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::io::IsTerminal;
use std::process::ExitCode;

/// Settings that a page key moves by.
const PAGE: isize = 10;

pub(super) fn run(console: &Console) -> Result<ExitCode> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(UsageError::new("the editor needs a terminal")
            .hint("`kache config list`, `get` and `set` do without")
            .into());
    }
    let mut editor = Editor::open(&target_file()?, &crate::env::value)?;
    on_terminal(|terminal, signals| edit(terminal, &mut editor, console.has_color(), signals))?;
    Ok(ExitCode::SUCCESS)
}

fn edit(
    terminal: &mut DefaultTerminal,
    editor: &mut Editor<'_>,
    color: bool,
    signals: &Signals,
) -> Result<()> {
    while !signals.came() {
        terminal.draw(|frame| view::draw(frame, editor, color)).context("draw")?;
        if pressed()?.is_some_and(|key| handle(key, editor)) {
            return Ok(());
        }
    }
    Ok(())
}

/// Does what a key asks for; true is the end.
fn handle(key: KeyEvent, editor: &mut Editor<'_>) -> bool {
    let interrupted =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    match &editor.mode {
        Mode::Browse => return interrupted && editor.quit() || browse(key.code, editor),
        Mode::Edit(_) if interrupted => editor.mode = Mode::Browse,
        Mode::Edit(_) => type_key(key.code, editor),
        Mode::Quit => return interrupted || answer(key.code, editor),
    }
    false
}

fn browse(key: KeyCode, editor: &mut Editor<'_>) -> bool {
    editor.message.clear();
    match key {
        KeyCode::Char('q') | KeyCode::Esc => return editor.quit(),
        KeyCode::Char('s') => editor.save(),
        KeyCode::Down | KeyCode::Char('j') => editor.move_by(1),
        KeyCode::Up | KeyCode::Char('k') => editor.move_by(-1),
        KeyCode::PageDown => editor.move_by(PAGE),
        KeyCode::PageUp => editor.move_by(-PAGE),
        KeyCode::Home => editor.move_by(isize::MIN),
        KeyCode::End => editor.move_by(isize::MAX),
        KeyCode::Enter | KeyCode::Char(' ') => editor.change(),
        KeyCode::Char('d') | KeyCode::Delete => editor.remove(),
        _ => {}
    }
    false
}

fn type_key(key: KeyCode, editor: &mut Editor<'_>) {
    let Mode::Edit(line) = &mut editor.mode else { return };
    match key {
        KeyCode::Esc => editor.mode = Mode::Browse,
        KeyCode::Enter => editor.accept(),
        KeyCode::Char(character) => line.insert(character),
        KeyCode::Backspace => line.erase(),
        KeyCode::Delete => line.erase_next(),
        KeyCode::Left => line.move_back(),
        KeyCode::Right => line.move_on(),
        KeyCode::Home => line.cursor = 0,
        KeyCode::End => line.cursor = line.text.len(),
        _ => {}
    }
}

/// Whether to save before the end.
fn answer(key: KeyCode, editor: &mut Editor<'_>) -> bool {
    match key {
        KeyCode::Char('y') | KeyCode::Enter => {
            editor.save();
            return !editor.is_changed();
        }
        KeyCode::Char('n') => return true,
        KeyCode::Esc => editor.mode = Mode::Browse,
        _ => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SETTINGS;
    use std::ffi::OsString;
    use std::path::Path;

    const TEXT: &str = "# mine\n[cache]\n# how much\nlocal_max_size = \"20GB\" # enough\n";

    fn variable(name: &str) -> Option<OsString> {
        match name {
            "HOME" => Some("/home/user".into()),
            "KACHE_LINK_MODE" => Some("copy".into()),
            _ => None,
        }
    }

    fn editor(file: &Path) -> Editor<'static> {
        std::fs::write(file, TEXT).unwrap();
        Editor::open(file, &variable).unwrap()
    }

    fn press(editor: &mut Editor<'_>, keys: impl IntoIterator<Item = KeyCode>) -> bool {
        keys.into_iter().fold(false, |_, key| handle(KeyEvent::from(key), editor))
    }

    fn typed(text: &str) -> Vec<KeyCode> {
        text.chars().map(KeyCode::Char).chain([KeyCode::Enter]).collect()
    }

    /// Moves to a setting from wherever the cursor is.
    fn go(editor: &mut Editor<'_>, name: &str) {
        let place = SETTINGS.iter().position(|setting| setting.name() == name).unwrap();
        press(editor, [KeyCode::Home]);
        press(editor, vec![KeyCode::Down; place]);
    }

    #[test]
    fn a_value_is_typed_and_saved_with_the_comments_kept() {
        let space = tempfile::tempdir().unwrap();
        let file = space.path().join("config.toml");
        let mut editor = editor(&file);
        go(&mut editor, "local_max_size");
        press(&mut editor, [KeyCode::Enter, KeyCode::Backspace, KeyCode::Backspace]);
        press(&mut editor, [KeyCode::Char('G'), KeyCode::Char('X'), KeyCode::Enter]);
        assert!(matches!(editor.mode, Mode::Edit(_)), "a wrong value is not accepted");
        assert!(editor.problem().unwrap().contains("expected a size"), "{:?}", editor.problem());
        press(&mut editor, [KeyCode::Backspace, KeyCode::Char('B'), KeyCode::Enter]);
        go(&mut editor, "exclude");
        press(&mut editor, [KeyCode::Enter]);
        press(&mut editor, typed("a/**, b"));
        go(&mut editor, "local_only");
        press(&mut editor, [KeyCode::Char(' ')]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), TEXT, "nothing is written before 's'");
        assert!(!press(&mut editor, [KeyCode::Char('s')]));
        let expected = "# mine\n[cache]\n# how much\nlocal_max_size = \"20GB\" # enough\n\
             exclude = [\"a/**\", \"b\"]\nlocal_only = true\n";
        assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
        assert!(press(&mut editor, [KeyCode::Char('q')]), "nothing is left to be saved");
    }

    #[test]
    fn leaving_with_changes_asks() {
        let space = tempfile::tempdir().unwrap();
        let file = space.path().join("config.toml");
        let mut editor = editor(&file);
        go(&mut editor, "local_max_size");
        press(&mut editor, [KeyCode::Char('d')]);
        assert!(!press(&mut editor, [KeyCode::Char('q')]));
        assert!(!press(&mut editor, [KeyCode::Esc]), "back to the list");
        assert!(press(&mut editor, [KeyCode::Char('q'), KeyCode::Char('n')]));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), TEXT);
        assert!(press(&mut editor, [KeyCode::Esc, KeyCode::Char('q'), KeyCode::Char('y')]));
        assert!(!std::fs::read_to_string(&file).unwrap().contains("local_max_size"));
    }

    #[test]
    fn what_the_environment_alone_sets_cannot_be_changed_here() {
        let space = tempfile::tempdir().unwrap();
        let mut editor = editor(&space.path().join("config.toml"));
        go(&mut editor, "KACHE_DISABLED");
        press(&mut editor, [KeyCode::Enter]);
        assert!(matches!(editor.mode, Mode::Browse));
        assert!(editor.message.contains("environment only"), "{}", editor.message);
    }
}
