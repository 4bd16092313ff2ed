//! What the demo prints: coloured and wrapped in a terminal, plain without one.

mod layout;

use layout::{hang, pretty, shortened, token_lines, wrap};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};

/// Lines are no longer than this, also where nobody tells how wide the screen is.
const TEXT_WIDTH: usize = 100;
/// From this width on two tokens stand side by side.
const SIDE_BY_SIDE_WIDTH: usize = 100;
/// Two tokens side by side take no more than this.
const WIDEST: usize = 140;
/// Between the two.
const GAP: &str = " | ";
const INDENT: &str = "   ";

/// How a piece of text looks in a terminal (SGR parameters).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Loud,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Loud => "1;33",
        }
    }
}

/// Where the story is printed.
pub struct Screen {
    out: Box<dyn Write + Send>,
    colour: bool,
    /// Columns of the terminal; none without one.
    columns: Option<usize>,
    /// True while a line of progress may stand on stderr.
    progress: bool,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("colour", &self.colour).field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// A token as it is shown: a title, and claims that were decoded and not changed.
#[derive(Debug, Clone)]
pub(super) struct TokenView {
    pub(super) title: String,
    /// What kind of token it is, from its header.
    pub(super) kind: String,
    pub(super) claims: Map<String, Value>,
}

impl Screen {
    /// Standard output. Colours only in a terminal and while `NO_COLOR` is unset or empty (no-color.org); progress only
    /// where both outputs are terminals.
    pub fn stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 0);
        let columns = terminal.then(|| size.map_or(80, |size| usize::from(size.ws_col)));
        let progress = terminal && std::io::stderr().is_terminal();
        Self { out: Box::new(std::io::stdout()), colour, columns, progress }
    }

    #[cfg(test)]
    fn into(out: Box<dyn Write + Send>, colour: bool, columns: Option<usize>) -> Self {
        Self { out, colour, columns, progress: false }
    }

    fn width(&self) -> usize {
        self.columns.unwrap_or(TEXT_WIDTH).clamp(40, TEXT_WIDTH)
    }

    /// A line as it is. A closed pipe (`| head`) is not an error.
    pub fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    fn styled(&self, look: Look, text: &str) -> String {
        if self.colour && look != Look::Plain && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", look.code())
        } else {
            text.to_owned()
        }
    }

    /// A line in one look.
    pub(super) fn loud(&mut self, look: Look, text: &str) {
        let text = self.styled(look, text);
        self.line(&text);
    }

    /// Wrapped text behind a mark; further lines are indented as far.
    fn block(&mut self, mark: &str, look: Look, text: &str) {
        let indent = mark.chars().count();
        for (index, line) in wrap(text, self.width().saturating_sub(indent)).iter().enumerate() {
            let line = self.styled(look, line);
            let mark = if index == 0 { mark.to_owned() } else { " ".repeat(indent) };
            self.line(&format!("{mark}{line}"));
        }
    }

    /// The heading of a step.
    pub(super) fn step(&mut self, number: usize, title: &str) {
        self.line("");
        self.loud(Look::Bold, &format!("{number}. {title}"));
        self.line("");
    }

    /// A paragraph.
    pub(super) fn say(&mut self, text: &str) {
        self.block(INDENT, Look::Plain, text);
    }

    /// A request: method and address, then what it carries.
    pub(super) fn request(&mut self, method: &str, url: &str, carries: &[(&str, &str)]) {
        let url = url.split_once('?').map_or(url, |(path, _)| path);
        let mut text = format!("{method} {url}");
        for (name, value) in carries {
            // A header's name stands before its value, a parameter's before an equals sign.
            let between = if name.contains(':') { ' ' } else { '=' };
            let _ = write!(text, " {name}{between}{}", shortened(value));
        }
        self.block("   > ", Look::Dim, &text);
    }

    /// An answer, in words.
    pub(super) fn answer(&mut self, status: u16, text: &str) {
        let look = if status < 400 { Look::Good } else { Look::Bad };
        self.block("   < ", look, &format!("{status} {text}"));
    }

    /// What a step shows.
    pub(super) fn point(&mut self, text: &str) {
        self.block("   = ", Look::Bold, text);
    }

    /// A command, and what it prints.
    pub(super) fn command(&mut self, command: &str, output: &str) {
        self.block("   $ ", Look::Dim, command);
        let width = self.width().saturating_sub(5);
        for line in output.lines().flat_map(|line| hang(line, width)) {
            self.line(format!("     {line}").trim_end());
        }
    }

    /// Addresses, each under what it leads to, on a line of its own.
    pub(super) fn links(&mut self, links: &[(&str, &str)]) {
        for (what, url) in links {
            self.line(&format!("{INDENT}{what}:"));
            let url = self.styled(Look::Bold, url);
            self.line(&format!("{INDENT}  {url}"));
        }
    }

    /// Rows of names and what they are, aligned.
    pub(super) fn list(&mut self, rows: &[(&str, &str, &str)]) {
        let widest = |pick: fn(&(&str, &str, &str)) -> usize| rows.iter().map(pick).max().unwrap_or(0);
        let first = widest(|row| row.0.chars().count());
        let second = widest(|row| row.1.chars().count());
        for (name, value, what) in rows {
            let (name, value) = (format!("{name:<first$}"), format!("{value:<second$}"));
            let (value, what) = (self.styled(Look::Bold, &value), self.styled(Look::Dim, what));
            self.line(format!("{INDENT}{name}  {value}  {what}").trim_end());
        }
    }

    /// JSON, indented.
    pub(super) fn json(&mut self, value: &Value) {
        for line in pretty(value) {
            self.line(&format!("     {line}"));
        }
    }

    /// Two tokens: side by side where the terminal is wide enough, else one below the other.
    pub(super) fn tokens(&mut self, left: &TokenView, right: &TokenView) {
        self.line("");
        match self.columns {
            Some(columns) if columns >= SIDE_BY_SIDE_WIDTH => self.side_by_side(left, right, columns),
            Some(_) | None => self.stacked(left, right),
        }
    }

    fn side_by_side(&mut self, left: &TokenView, right: &TokenView, columns: usize) {
        let width = columns.min(WIDEST).saturating_sub(INDENT.len() + GAP.len()) / 2;
        let (left, right) = (token_lines(left, width), token_lines(right, width));
        let nothing = (String::new(), Look::Plain);
        for row in 0..left.len().max(right.len()) {
            let (left, look_left) = left.get(row).unwrap_or(&nothing);
            let (right, look_right) = right.get(row).unwrap_or(&nothing);
            let left = self.styled(*look_left, &format!("{left:<width$}"));
            let (gap, right) = (self.styled(Look::Dim, GAP), self.styled(*look_right, right));
            self.line(format!("{INDENT}{left}{gap}{right}").trim_end());
        }
        self.line("");
    }

    fn stacked(&mut self, left: &TokenView, right: &TokenView) {
        let width = self.width().saturating_sub(INDENT.len());
        for token in [left, right] {
            for (text, look) in token_lines(token, width) {
                let text = self.styled(look, &text);
                self.line(&format!("{INDENT}{text}"));
            }
            self.line("");
        }
    }

    /// Takes away a line of progress.
    pub fn clear(&self) {
        self.progress("");
    }

    /// Says on stderr what takes a moment; the next call replaces it, an empty text takes it away.
    pub(super) fn progress(&self, text: &str) {
        if self.progress {
            let mut stderr = std::io::stderr().lock();
            let dots = if text.is_empty() { "" } else { " ..." };
            let _ = write!(stderr, "\r\x1b[K{text}{dots}").and_then(|()| stderr.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn printed(colour: bool, columns: Option<usize>, print: impl FnOnce(&mut Screen)) -> String {
        let paper = Paper::default();
        print(&mut Screen::into(Box::new(paper.clone()), colour, columns));
        String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
    }

    fn view(title: &str, claims: &Value) -> TokenView {
        TokenView { title: title.to_owned(), kind: "typ JWT".to_owned(), claims: claims.as_object().unwrap().clone() }
    }

    #[test]
    fn without_a_terminal_there_is_no_escape_sequence() {
        let print = |screen: &mut Screen| {
            screen.step(1, "Alice signs in");
            screen.answer(400, "consent_required");
            screen.point("No token.");
        };
        assert!(!printed(false, None, print).contains('\x1b'));
        assert!(printed(true, Some(80), print).contains("\x1b[31m400 consent_required\x1b[0m"));
    }

    #[test]
    fn two_tokens_stand_side_by_side_from_a_hundred_columns_on() {
        let left = view("ID token", &json!({ "sub": "alice", "aud": "assistant" }));
        let right = view("Delegation token", &json!({ "sub": "alice", "act": { "sub": "assistant" } }));
        let wide = printed(false, Some(100), |screen| screen.tokens(&left, &right));
        assert!(wide.lines().any(|line| line.contains("ID token") && line.contains("Delegation token")), "{wide}");
        assert!(wide.lines().all(|line| line.chars().count() <= 100), "{wide}");
        for columns in [Some(99), None] {
            let stacked = printed(false, columns, |screen| screen.tokens(&left, &right));
            assert!(!stacked.lines().any(|line| line.contains("ID token") && line.contains("Delegation")), "{stacked}");
        }
    }

    #[test]
    fn secrets_and_tokens_are_shown_by_their_first_characters() {
        let text = printed(false, None, |screen| {
            let token = "eyJhbGciOiJFUzI1NiJ9".repeat(5);
            screen.request(
                "POST",
                "http://127.0.0.1:1/token?x=y",
                &[("subject_token", &token), ("code", "code_abcdefghijklmnopqrstuv")],
            );
        });
        assert_eq!(text, "   > POST http://127.0.0.1:1/token subject_token=eyJhbGciOi... code=code_abcde...\n");
    }
}
