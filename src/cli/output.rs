//! How commands print: data on stdout, one line of error on stderr.

use serde::Serialize;
use std::io::Write;

/// Prints text and a line end. A closed pipe (`| head`) is not an error.
pub(super) fn text(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints a value as indented JSON.
pub(super) fn json(value: &impl Serialize) {
    text(&serde_json::to_string_pretty(value).expect("what commands print has only text keys"));
}

/// Prints a line on stderr: a warning, or progress.
pub(super) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Prints the one line of a failed command.
pub(super) fn error(line: &str) {
    note(&format!("procura: {line}"));
}

/// A table with aligned columns; the first row is the head.
pub(super) fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        text(cells.join("  ").trim_end());
    }
}

/// True if stderr is a terminal whose owner has not asked for plain text (`NO_COLOR`).
pub(super) fn colours() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
