//! What a command prints.

use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::ChainError;

/// Text for people, and the same as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
}

impl Output {
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        let text = text.into();
        Self { text, json }
    }
}

/// Writes to standard output; a reader that went away (`| head`) is no reason to stop.
pub(crate) fn out(text: &str) {
    let mut to = io::stdout().lock();
    let _ = to.write_all(text.as_bytes());
    let _ = to.flush();
}

pub(crate) fn print(outcome: Result<Output, ChainError>, as_json: bool) -> ExitCode {
    match outcome {
        Ok(output) => {
            match as_json {
                true => out(&format!("{}\n", output.json)),
                false => out(&plain(&output.text)),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let (code, text) = (error.code(), plain(&error.to_string()));
            if as_json {
                out(&format!("{}\n", json!({"error": {"code": code, "message": text}})));
            }
            eprintln!("hanzo chain: {text} [{code}]");
            ExitCode::from(error.exit())
        }
    }
}

/// Without what a terminal would obey: a node's words are in there.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c })
        .collect()
}

/// Columns under each other; the first line is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The first and last digits of a long name.
pub(crate) fn short(name: &str) -> String {
    match (name.get(..10), name.get(name.len().saturating_sub(4)..)) {
        (Some(first), Some(last)) if name.len() > 18 => format!("{first}…{last}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_what_a_node_says_moves_no_cursor() {
        let rows = [vec!["a".into(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(table(&rows), "a    bb\nccc  d\n");
        assert_eq!(plain("\u{1b}[2Jx\ny"), "\u{fffd}[2Jx\ny");
        assert_eq!(short("0x00112233445566778899aabb"), "0x00112233…aabb");
    }
}
