//! Sampling members that several shapes share.

use serde_json::Value;

use super::INTEGER_MAX;
use super::fields::{Fields, invalid, kind};
use crate::error::ApiError;

/// One million: temperature and top_p are carried in millionths.
const MICROS: f64 = 1_000_000.0;
const STOPS_MAX: usize = 4;
const STOP_BYTES_MAX: usize = 256;

pub(super) const COUNT: &str = "a whole number from 1 to 2^53 - 1";

/// What the engine is told is what the receipt says: both are made from the rounded value.
fn micros(value: f64) -> u64 {
    (value * MICROS).round() as u64
}

/// `temperature`, 0 to `most`; 1 if absent.
pub(super) fn temperature(fields: &mut Fields, most: f64) -> Result<u64, ApiError> {
    let expected = if most > 1.5 {
        "a number from 0 to 2"
    } else {
        "a number from 0 to 1"
    };
    let value = fields.number("temperature", expected, 0.0, most)?;
    Ok(micros(value.unwrap_or(1.0)))
}

/// `top_p`; 1 if absent.
pub(super) fn top_p(fields: &mut Fields) -> Result<u64, ApiError> {
    let value = fields.number("top_p", "a number above 0, at most 1", 1e-6, 1.0)?;
    Ok(micros(value.unwrap_or(1.0)))
}

pub(super) fn seed(fields: &mut Fields) -> Result<Option<u64>, ApiError> {
    fields.integer("seed", "a whole number from 0 to 2^53 - 1", 0, INTEGER_MAX)
}

pub(super) fn count(fields: &mut Fields, name: &str) -> Result<Option<u64>, ApiError> {
    fields.integer(name, COUNT, 1, INTEGER_MAX)
}

/// Texts that end an answer: one or a list.
pub(super) fn stops(fields: &mut Fields, name: &str) -> Result<Vec<String>, ApiError> {
    let path = fields.path(name);
    let wrong = |got: String| {
        invalid(
            path.clone(),
            "a text or a list of at most 4 texts of 1 to 256 bytes",
            got,
        )
    };
    let stops = match fields.take(name) {
        None => return Ok(Vec::new()),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) if many.len() <= STOPS_MAX => many
            .into_iter()
            .map(|v| match v {
                Value::String(text) => Ok(text),
                other => Err(wrong(format!("a list with {}", kind(&other)))),
            })
            .collect::<Result<_, _>>()?,
        Some(Value::Array(many)) => return Err(wrong(format!("a list of {}", many.len()))),
        Some(other) => return Err(wrong(kind(&other).into())),
    };
    match stops.iter().find(|s| s.is_empty() || s.len() > STOP_BYTES_MAX) {
        Some(bad) => Err(wrong(format!("a text of {} bytes", bad.len()))),
        None => Ok(stops),
    }
}

/// `stream_options` of chats and completions: whether counts are wanted.
pub(super) fn include_usage(fields: &mut Fields, stream: bool) -> Result<bool, ApiError> {
    let Some(mut options) = fields.object("stream_options")? else {
        return Ok(false);
    };
    if !stream {
        return Err(invalid("stream_options", "nothing unless stream is true", "an object"));
    }
    let include = options.boolean("include_usage")?.unwrap_or(false);
    options.boolean("include_obfuscation")?;
    options.refuse_the_rest()?;
    Ok(include)
}
