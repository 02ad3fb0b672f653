//! What a command prints and exits with.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::error::CliError;
use crate::render;

/// A command that did what was asked.
#[derive(Debug)]
pub struct Output {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
    /// What the program exits with: 0 unless what was shown is a refusal.
    pub exit_code: u8,
}

impl Output {
    pub(crate) fn text(text: String) -> Self {
        Self {
            json: json!({ "text": text }),
            text,
            exit_code: 0,
        }
    }
}

/// Text for people; what evidence and guests could steer a terminal with, or turn the order of its text, is replaced.
pub fn shown(text: &str) -> String {
    let safe = |c| c == '\n' || c == '\t' || !steers(c);
    text.chars().map(|c| if safe(c) { c } else { '\u{fffd}' }).collect()
}

/// Control characters (C0, DEL, C1) and the directional ones of Unicode (UAX 9).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(crate) fn print(outcome: Result<Output, CliError>, as_json: bool) -> ExitCode {
    match outcome {
        Ok(output) => {
            let text = if as_json { pretty(&output.json) } else { output.text };
            to_stdout(&text);
            ExitCode::from(output.exit_code)
        }
        Err(e) => {
            if as_json {
                to_stdout(&pretty(&error_json(&e)));
            } else {
                let _ = std::io::stderr().write_all(shown(&render::error(&e)).as_bytes());
            }
            ExitCode::from(e.exit_code())
        }
    }
}

pub(crate) fn to_stdout(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

fn pretty(value: &Value) -> String {
    escaped(&serde_json::to_string_pretty(value).unwrap_or_default())
}

pub(crate) fn one_line(value: &Value) -> String {
    escaped(&value.to_string())
}

/// JSON needs no escapes above U+001F; terminals do.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && steers(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

pub(crate) fn error_json(e: &CliError) -> Value {
    let evidence = e.evidence();
    let view = match evidence {
        Some(hanzo_verifier::VerifyError::Refused(refusal)) => Some(refusal.view()),
        _ => None,
    };
    json!({
        "accepted": false,
        "exit_code": e.exit_code(),
        "error": {
            "code": e.code(),
            "message": e.to_string(),
            "help": e.help(),
            "entry": e.entry(),
            "failures": evidence.map(|v| v.failures()).unwrap_or_default(),
        },
        "verdict": view,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shown_steers_a_terminal_and_json_says_the_same_in_escapes() {
        let hostile = "a\u{1b}[31m\u{9b}31m\u{7f}\u{202e}b\u{2066}";
        let text = shown(hostile);
        assert_eq!(text, "a\u{fffd}[31m\u{fffd}31m\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(shown("größer\n\tif"), "größer\n\tif");
        let value = json!({ "text": hostile, "more": "größer\n" });
        let json = pretty(&value);
        assert!(json.chars().all(|c| c == '\n' || !steers(c)), "{json}");
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
    }
}
