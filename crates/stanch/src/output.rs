//! What people and programs read: stdout is data, stderr is talk.

use std::{
    fmt::{self, Display, Write as _},
    io::{self, Write as _},
    process::ExitCode,
};

use serde::Serialize;
use serde_json::Value;
use stanch_hub::{changes, leaves, line, shown};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Fixed, or nothing to do.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Refused by a guard.
    Refused = 3,
    /// Waiting, for an approval or a time.
    Waiting = 4,
}

impl Exit {
    /// The worse of two ends, for commands that do several things.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        const WORST_FIRST: [Exit; 5] = [
            Exit::Usage,
            Exit::Failed,
            Exit::Refused,
            Exit::Waiting,
            Exit::Done,
        ];
        let rank = |exit| WORST_FIRST.iter().position(|other| *other == exit);
        if rank(other) < rank(self) {
            other
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command does not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong, with all its causes.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of the work itself.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
            hint: None,
        }
    }

    /// A mistake in how the command was called or configured.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::failed(message)
        }
    }

    /// A failure with the chain of its causes.
    pub fn of(error: &dyn std::error::Error) -> Self {
        Self::failed(stanch_types::chain(error))
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what to do about it, if that is known.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }

    /// Prints it for people.
    pub fn print(&self) {
        let color = Color::of(&io::stderr());
        say(format_args!("{} {}", color.red("error:"), self.message));
        if let Some(hint) = &self.hint {
            say(format_args!("{} {hint}", color.cyan("hint:")));
        }
    }
}

impl From<stanch_ledger::LedgerError> for Failure {
    fn from(error: stanch_ledger::LedgerError) -> Self {
        Self::of(&error).maybe_hint(error.hint())
    }
}

impl From<stanch_hub::RequestError> for Failure {
    fn from(error: stanch_hub::RequestError) -> Self {
        Self::from(&error)
    }
}

impl From<&stanch_hub::RequestError> for Failure {
    fn from(error: &stanch_hub::RequestError) -> Self {
        let exit = match error {
            stanch_hub::RequestError::WhichRole { .. } => Exit::Usage,
            _ if error.is_refusal() => Exit::Refused,
            _ => Exit::Failed,
        };
        Self {
            exit,
            ..Self::of(error).maybe_hint(error.hint())
        }
    }
}

impl From<stanch_models::LookupError> for Failure {
    fn from(error: stanch_models::LookupError) -> Self {
        let hint = error
            .hint()
            .unwrap_or_else(|| "`stanch api list` shows what there is".to_owned());
        Self::usage(stanch_types::chain(&error)).hint(hint)
    }
}

impl From<stanch_types::CallError> for Failure {
    fn from(error: stanch_types::CallError) -> Self {
        Self::of(&error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::of(&error)
    }
}

/// Colours, which only ever repeat what the words say.
#[derive(Debug, Clone, Copy)]
pub struct Color(bool);

impl Color {
    /// On if this is a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn of(stream: &impl io::IsTerminal) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self(wanted && stream.is_terminal())
    }

    /// For what goes to standard output.
    pub fn out() -> Self {
        Self::of(&io::stdout())
    }

    /// True if there are colours.
    pub const fn is_on(self) -> bool {
        self.0
    }

    fn paint(self, code: u8, text: impl Display) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }

    pub fn bold(self, text: impl Display) -> String {
        self.paint(1, text)
    }

    pub fn dim(self, text: impl Display) -> String {
        self.paint(2, text)
    }

    pub fn red(self, text: impl Display) -> String {
        self.paint(31, text)
    }

    pub fn green(self, text: impl Display) -> String {
        self.paint(32, text)
    }

    pub fn yellow(self, text: impl Display) -> String {
        self.paint(33, text)
    }

    pub fn cyan(self, text: impl Display) -> String {
        self.paint(36, text)
    }
}

/// Talks to the person at the terminal.
pub fn say(text: impl Display) {
    // There is nobody to tell if standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints data. A reader that has seen enough (`| head`) is no failure.
pub fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(text),
        Err(error) => Err(Failure::of(&error)),
    }
}

/// The object with one more member.
pub fn with(mut object: Value, name: &str, member: impl Into<Value>) -> Value {
    if let Value::Object(members) = &mut object {
        members.insert(name.to_owned(), member.into());
    }
    object
}

/// Text from strangers, made harmless for a terminal.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A text of several lines as one.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Left-aligned columns, two blanks between them.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self {
            rows: vec![headings.map(str::to_owned).into()],
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| clean(&cell)).into());
    }

    /// The table; its headings are bold.
    pub fn render(&self, color: Color) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.rows.first().map_or(0, Vec::len))
            .map(width)
            .collect();
        let mut lines = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            let line = line.trim_end();
            lines.push(if index == 0 {
                color.bold(line)
            } else {
                line.to_owned()
            });
        }
        lines.join("\n")
    }
}

/// The lines that turn one state of a resource into another: `~` changed, `-` gone, `+` new.
pub struct Diff<'a> {
    /// The state before.
    pub before: &'a Value,
    /// The state after.
    pub after: &'a Value,
    /// What the lines start with.
    pub indent: &'a str,
    /// How they are coloured.
    pub color: Color,
}

impl Display for Diff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = changes(self.before, self.after);
        let lines = changes.iter().map(|change| {
            let line = line(change);
            match (&change.was, &change.is) {
                (Some(_), Some(_)) => self.color.yellow(line),
                (Some(_), None) => self.color.red(line),
                (None, _) => self.color.green(line),
            }
        });
        let lines: Vec<String> = lines.collect();
        for (index, line) in lines.iter().enumerate() {
            let end = if index + 1 == lines.len() { "" } else { "\n" };
            write!(f, "{}{line}{end}", self.indent)?;
        }
        Ok(())
    }
}

/// The lines of a state.
pub fn state_lines(state: &Value, indent: &str) -> String {
    let lines: Vec<String> = leaves(state)
        .iter()
        .map(|(path, value)| format!("{indent}{path}: {}", shown(value)))
        .collect();
    lines.join("\n")
}

/// JSON, each line indented.
pub fn indented(value: &Value, indent: &str) -> String {
    let text = format!("{value:#}");
    let lines: Vec<String> = text.lines().map(|line| format!("{indent}{line}")).collect();
    lines.join("\n")
}
