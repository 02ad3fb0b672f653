//! Logs in text: `-----BEGIN LOG-----`, base64 in lines, `-----END LOG-----`, anything around them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::EventLogError;
use super::log::LOG_BYTES_MAX;

const BEGIN: &str = "-----BEGIN LOG-----";
const END: &str = "-----END LOG-----";

/// The binary log of a text that holds exactly one.
///
/// # Errors
/// [`EventLogError::Text`]; [`EventLogError::Length`].
pub fn binary_of(text: &str) -> Result<Vec<u8>, EventLogError> {
    let wrong = |detail| EventLogError::Text { detail };
    if text.len() > LOG_BYTES_MAX.saturating_mul(2) {
        return Err(EventLogError::Length { got: text.len() });
    }
    let expected_one = "expected one BEGIN LOG and one END LOG line";
    let (_, rest) = text.split_once(BEGIN).ok_or(wrong(expected_one))?;
    let (body, rest) = rest.split_once(END).ok_or(wrong(expected_one))?;
    if rest.contains(BEGIN) || rest.contains(END) || body.contains(BEGIN) {
        return Err(wrong(expected_one));
    }
    let compact: String = body.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD
        .decode(compact)
        .map_err(|_| wrong("expected standard base64 with padding between them"))
}

/// Writes a log in the form that [`binary_of`] reads.
pub fn log_block(log: &[u8]) -> String {
    let body = STANDARD.encode(log);
    let mut text = String::from(BEGIN);
    for (i, c) in body.chars().enumerate() {
        if i % 64 == 0 {
            text.push('\n');
        }
        text.push(c);
    }
    text.push('\n');
    text.push_str(END);
    text.push('\n');
    text
}
