//! Where commands write: data to standard output, everything else to standard error.

use super::Arguments;
use crate::config::nearest;
use crate::env;
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::io::{BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};
use std::process::ExitCode;

/// What a command may assume about where its output goes.
#[derive(Debug)]
pub(super) struct Console {
    quiet: bool,
    color_stdout: bool,
    color_stderr: bool,
}

/// Standard output, for commands that have more to do than to fill it: whoever read it may have seen
/// enough, and what is left is for nobody.
#[derive(Debug)]
pub(super) struct Data {
    stdout: StdoutLock<'static>,
}

impl Write for Data {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        unless_closed(self.stdout.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        unless_closed(self.stdout.flush(), ())
    }
}

fn unless_closed<T>(done: std::io::Result<T>, otherwise: T) -> std::io::Result<T> {
    match done {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(otherwise),
        done => done,
    }
}

/// A part of the output that stands out where colour is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    Heading,
    Good,
    Bad,
    Caution,
    Faint,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Heading => "1",
            Self::Good => "32",
            Self::Bad => "1;31",
            Self::Caution => "33",
            Self::Faint => "2",
        }
    }
}

impl Console {
    pub(super) fn new(quiet: bool) -> Self {
        let allowed = env::value(env::NO_COLOR).is_none()
            && env::value(env::TERM).is_none_or(|terminal| terminal != "dumb");
        Self {
            quiet,
            color_stdout: allowed && std::io::stdout().is_terminal(),
            color_stderr: allowed && std::io::stderr().is_terminal(),
        }
    }

    /// Standard output, buffered. The caller flushes it.
    #[expect(clippy::unused_self, reason = "output goes through the console")]
    pub(super) fn data(&self) -> BufWriter<Data> {
        BufWriter::new(Data { stdout: std::io::stdout().lock() })
    }

    /// Whether standard error is a terminal that can show how something goes on.
    pub(super) fn shows_progress(&self) -> bool {
        let is_dumb = env::value(env::TERM).is_some_and(|terminal| terminal == "dumb");
        !self.quiet && !is_dumb && std::io::stderr().is_terminal()
    }

    /// Whether standard output may have colour.
    pub(super) fn has_color(&self) -> bool {
        self.color_stdout
    }

    /// Text for standard output.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        painted(self.color_stdout, style, text)
    }

    /// A line about what is going on. Not with `--quiet`.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.say(Style::Faint, "note", text);
        }
    }

    pub(super) fn warning(&self, text: &str) {
        if !self.quiet {
            self.say(Style::Caution, "warning", text);
        }
    }

    pub(super) fn error(&self, text: &str) {
        self.say(Style::Bad, "error", text);
    }

    pub(super) fn hint(&self, text: &str) {
        self.say(Style::Good, "hint", text);
    }

    /// Names what was probably meant, if anything known is near.
    pub(super) fn suggest<'a>(&self, name: &str, known: impl IntoIterator<Item = &'a String>) {
        if let Some(known) = nearest(name, known.into_iter().map(String::as_str)) {
            self.hint(&format!("did you mean `{known}`?"));
        }
    }

    fn say(&self, style: Style, label: &str, text: &str) {
        let line = format!("{}: {text}\n", painted(self.color_stderr, style, label));
        // Nobody is left to tell when standard error is gone.
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
}

fn painted(color: bool, style: Style, text: &str) -> String {
    if color { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
}

/// `kache` alone.
pub(super) fn help(console: &Console) -> Result<ExitCode> {
    let mut command = Arguments::command();
    let help = command.render_help();
    let text = if console.color_stdout { help.ansi().to_string() } else { help.to_string() };
    let mut out = console.data();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write the help")?;
    Ok(ExitCode::SUCCESS)
}

/// Columns padded to their widest cell; the first is left-aligned, numbers are right-aligned.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table whose columns are right-aligned where `right` says so.
    pub(super) fn new(right: &[bool]) -> Self {
        Self { rows: Vec::new(), right: right.to_vec() }
    }

    pub(super) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    pub(super) fn render(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| visible(cell)).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (column, cell) in row.iter().enumerate() {
                let padding = " ".repeat(widths[column] - visible(cell));
                let right = self.right.get(column).copied().unwrap_or(false);
                let (before, after) =
                    if right { (padding.as_str(), "") } else { ("", padding.as_str()) };
                line.extend([before, cell, after, "  "]);
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// Characters that take a place on a terminal: all but colour sequences.
fn visible(cell: &str) -> usize {
    let mut count = 0;
    let mut in_sequence = false;
    for character in cell.chars() {
        match (in_sequence, character) {
            (false, '\x1b') => in_sequence = true,
            (false, _) => count += 1,
            (true, 'm') => in_sequence = false,
            (true, _) => {}
        }
    }
    count
}
