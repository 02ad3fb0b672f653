//! Field lines: names and values that mean one thing to every reader.

use super::{FIELDS_MAX, SECTION_BYTES_MAX};
use crate::error::SealedError;
use crate::varint;

/// One field line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// In lower case.
    pub name: String,
    /// Without white space around it.
    pub value: Vec<u8>,
}

impl Field {
    /// A field line.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// Fields of one connection, which have no place in a message (RFC 9292 section 3.6), and `te`, which asks for one of them.
const OF_CONNECTIONS: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];
/// Fields that two readers could take differently if they came twice.
const ONCE: [&str; 3] = ["content-length", "content-type", "host"];

pub(super) fn wrong(what: &'static str, expected: &'static str) -> SealedError {
    SealedError::Bhttp { what, expected }
}

pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn check(name: &[u8], value: &[u8], before: &[Field]) -> Result<Field, SealedError> {
    let is_name = !name.is_empty() && name.iter().all(|b| is_token(*b) && !b.is_ascii_uppercase());
    let name = match std::str::from_utf8(name) {
        Ok(name) if is_name => name,
        _ => return Err(wrong("field name", "a token in lower case, no pseudo-field")),
    };
    if OF_CONNECTIONS.contains(&name) {
        return Err(wrong("field", "no field of a connection"));
    }
    if ONCE.contains(&name) && before.iter().any(|f| f.name == name) {
        return Err(wrong("field", "host, content-type and content-length once at most"));
    }
    let edge = |b: Option<&u8>| b.is_some_and(|b| matches!(b, b' ' | b'\t'));
    let inside = value.iter().all(|b| !matches!(b, 0..=8 | 10..=31 | 127));
    if !inside || edge(value.first()) || edge(value.last()) {
        return Err(wrong(
            "field value",
            "no control characters and no white space around it",
        ));
    }
    Ok(Field::new(name, value))
}

/// A text after its length: what it is and how many bytes were used; `None` if the bytes end before it does.
pub(super) fn text<'a>(
    bytes: &'a [u8],
    limit: usize,
    what: &'static str,
) -> Result<Option<(&'a [u8], usize)>, SealedError> {
    let Some((len, used)) = varint::read(bytes) else {
        return Ok(None);
    };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > limit {
        return Err(SealedError::TooLong { what, limit });
    }
    Ok(bytes.get(used..used + len).map(|text| (text, used + len)))
}

fn one_line(bytes: &[u8], fields: &mut Vec<Field>) -> Result<Option<usize>, SealedError> {
    let Some((name, used)) = text(bytes, SECTION_BYTES_MAX, "field name")? else {
        return Ok(None);
    };
    let rest = bytes.get(used..).unwrap_or_default();
    let Some((value, more)) = text(rest, SECTION_BYTES_MAX, "field value")? else {
        return Ok(None);
    };
    if fields.len() >= FIELDS_MAX {
        return Err(SealedError::TooLong {
            what: "fields of a section",
            limit: FIELDS_MAX,
        });
    }
    fields.push(check(name, value, fields)?);
    Ok(Some(used + more))
}

/// A section after its length, whole.
pub(super) fn known_section(bytes: &[u8]) -> Result<Option<(Vec<Field>, usize)>, SealedError> {
    let Some((mut section, used)) = text(bytes, SECTION_BYTES_MAX, "section")? else {
        return Ok(None);
    };
    let mut fields = Vec::new();
    while !section.is_empty() {
        let line = one_line(section, &mut fields)?.ok_or(wrong("section", "whole field lines"))?;
        section = section.get(line..).unwrap_or_default();
    }
    Ok(Some((fields, used)))
}

/// A section that a name of length 0 ends.
pub(super) fn open_section(bytes: &[u8]) -> Result<Option<(Vec<Field>, usize)>, SealedError> {
    let (mut fields, mut at) = (Vec::new(), 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match varint::read(rest) {
            None => return Ok(None),
            Some((0, used)) => return Ok(Some((fields, at + used))),
            Some(_) => match one_line(rest, &mut fields)? {
                None => return Ok(None),
                Some(used) => at += used,
            },
        }
        if at > SECTION_BYTES_MAX {
            return Err(SealedError::TooLong {
                what: "section",
                limit: SECTION_BYTES_MAX,
            });
        }
    }
}

/// `content-length`, if it is there.
pub(super) fn content_length(fields: &[Field]) -> Result<Option<u64>, SealedError> {
    let Some(field) = fields.iter().find(|f| f.name == "content-length") else {
        return Ok(None);
    };
    let digits = !field.value.is_empty() && field.value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(&field.value)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or(wrong("content-length", "decimal digits"))
}
