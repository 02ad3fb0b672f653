//! What a command prints and exits with.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::error::ToolError;

/// A command that did what was asked.
#[derive(Debug)]
pub struct Done {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
}

/// Prints an outcome: text to stdout, or one JSON document; errors of the text form to stderr.
pub fn print(outcome: Result<Done, ToolError>, as_json: bool) -> ExitCode {
    match outcome {
        Ok(done) => {
            let text = match as_json {
                true => format!("{}\n", done.json),
                false => done.text,
            };
            let mut out = std::io::stdout().lock();
            // A reader that went away (`| head`) is no failure.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let (code, exit) = (error.code(), error.exit_code());
            if as_json {
                let document = json!({"error": {"code": code, "message": error.to_string()}, "exit_code": exit});
                let _ = writeln!(std::io::stdout(), "{document}");
            }
            let _ = writeln!(std::io::stderr(), "hanzo model: {error} [{code}]");
            ExitCode::from(exit)
        }
    }
}

/// Bytes for people: `91.7 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        unit = next;
        if value < 1000.0 {
            break;
        }
        if next != "TB" {
            value /= 1000.0;
        }
    }
    match unit {
        "B" => format!("{count} B"),
        _ => format!("{value:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_units() {
        for (count, text) in [
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (91_700_000, "91.7 MB"),
            (2_500_000_000_000_000, "2500.0 TB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
