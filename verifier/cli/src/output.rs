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
}

impl Output {
    pub(crate) fn text(text: String) -> Self {
        Self {
            json: json!({ "text": text }),
            text,
        }
    }
}

/// Text for people; control characters, which evidence and guests could smuggle into a terminal, are replaced.
pub fn shown(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

pub(crate) fn print(outcome: Result<Output, CliError>, as_json: bool) -> ExitCode {
    match outcome {
        Ok(output) => {
            let text = if as_json { pretty(&output.json) } else { output.text };
            to_stdout(&text);
            ExitCode::SUCCESS
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
    serde_json::to_string_pretty(value).unwrap_or_default()
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
            "failures": evidence.map(|v| v.failures()).unwrap_or_default(),
        },
        "verdict": view,
    })
}
