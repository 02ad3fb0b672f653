//! Canonical JSON (RFC 8785), read strictly: the bytes received must be the bytes this crate would write.
//!
//! That one rule refuses duplicate keys, other member orders, white space, other number spellings and escapes, and
//! trailing bytes. Unknown and repeated members are refused by the types themselves (`deny_unknown_fields`).

mod ordered;

use serde::{Serialize, de::DeserializeOwned};

/// Most values of one document of evidence. Each may take some hundred times its own length in memory, and a document of
/// the largest size could otherwise hold a million.
pub const VALUES_MAX: usize = 32_768;

/// Why a document was refused. `what` names the format.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum JcsError {
    /// Longer than the format's bound; nothing was parsed.
    #[error("{what}: {got} bytes, at most {limit} are accepted")]
    TooLarge {
        /// The format.
        what: &'static str,
        /// Its bound in bytes.
        limit: usize,
        /// What came.
        got: usize,
    },
    /// Not JSON, or not of the format's shape.
    #[error("{what}: {detail}")]
    Shape {
        /// The format.
        what: &'static str,
        /// Which member, line and column; never input bytes.
        detail: String,
    },
    /// Valid JSON that is not in canonical form.
    #[error("{what}: not canonical JSON (RFC 8785): differs from the canonical form at byte {at}")]
    NotCanonical {
        /// The format.
        what: &'static str,
        /// Offset of the first byte that differs.
        at: usize,
    },
}

/// Writes `value` in canonical form.
///
/// # Errors
/// [`JcsError::Shape`] if the value has no JSON form (a non-finite float, a map key that is no string).
pub fn to_vec<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, JcsError> {
    if let Some(canonical) = ordered::write(value) {
        return Ok(canonical);
    }
    serde_json_canonicalizer::to_vec(value).map_err(|e| JcsError::Shape {
        what,
        detail: e.to_string(),
    })
}

/// Reads a canonical document of at most `limit` bytes.
///
/// # Errors
/// [`JcsError`]; see the module's text for what is refused.
pub fn from_slice<T: DeserializeOwned + Serialize>(
    what: &'static str,
    bytes: &[u8],
    limit: usize,
) -> Result<T, JcsError> {
    if bytes.len() > limit {
        return Err(JcsError::TooLarge {
            what,
            limit,
            got: bytes.len(),
        });
    }
    let value: T = serde_json::from_slice(bytes).map_err(|e| JcsError::Shape {
        what,
        detail: describe(&e),
    })?;
    let canonical = to_vec(what, &value)?;
    if canonical != bytes {
        let at = canonical
            .iter()
            .zip(bytes)
            .position(|(a, b)| a != b)
            .unwrap_or(canonical.len().min(bytes.len()));
        return Err(JcsError::NotCanonical { what, at });
    }
    Ok(value)
}

/// As [`from_slice`], for documents from anybody: of at most [`VALUES_MAX`] values, which are counted before any is kept.
///
/// # Errors
/// [`JcsError`].
pub fn from_slice_bounded<T: DeserializeOwned + Serialize>(
    what: &'static str,
    bytes: &[u8],
    limit: usize,
) -> Result<T, JcsError> {
    if bytes.len() <= limit {
        check_values(what, bytes)?;
    }
    from_slice(what, bytes, limit)
}

/// Counts what begins or follows a value, outside strings.
fn check_values(what: &'static str, bytes: &[u8]) -> Result<(), JcsError> {
    if bytes.len() <= VALUES_MAX {
        return Ok(());
    }
    let (mut values, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values = values.saturating_add(1),
            _ => {}
        }
    }
    if values > VALUES_MAX {
        let detail = format!("{values} values, at most {VALUES_MAX} are accepted");
        return Err(JcsError::Shape { what, detail });
    }
    Ok(())
}

/// serde_json's message names the member and the place. It quotes input in `invalid value` texts, which are cut, and in
/// the names of unknown members and variants, which stay only while they are short and plain.
pub(crate) fn describe(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let at = format!("at line {} column {}", e.line(), e.column());
    let text = match text.find(": string \"") {
        Some(cut) => format!("{} {at}", &text[..cut]),
        None => text,
    };
    for quoting in ["unknown field `", "unknown variant `"] {
        let Some(rest) = text.strip_prefix(quoting) else {
            continue;
        };
        // The last end: a name may hold one too.
        let end = rest.rfind("`, expected").or_else(|| rest.rfind("`, there are no"));
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let is_plain = |name: &str| name.len() <= 64 && name.bytes().all(plain);
        if !end.and_then(|end| rest.get(..end)).is_some_and(is_plain) {
            let what = quoting.trim_end_matches(" `");
            return format!("{what} with a name that is long or strange {at}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        a: u64,
        b: String,
    }

    #[test]
    fn a_document_of_too_many_values_is_refused_before_any_is_kept() {
        let list = |n: usize| format!("[{}0]", "0,".repeat(n - 2)).into_bytes();
        from_slice_bounded::<Vec<u8>>("list", &list(VALUES_MAX + 1), 1 << 20).unwrap();
        let refused = from_slice_bounded::<Vec<u8>>("list", &list(VALUES_MAX + 2), 1 << 20).unwrap_err();
        assert!(refused.to_string().contains("values, at most 32768"), "{refused}");
        // What stands inside a string is no value, whatever is escaped there.
        let text = format!("[{:?}]", "\\\",[{".repeat(VALUES_MAX)).into_bytes();
        from_slice_bounded::<Vec<String>>("list", &text, 1 << 20).unwrap();
    }

    #[test]
    fn canonical_bytes_are_read_and_every_other_spelling_is_refused() {
        let good = br#"{"a":1,"b":"x"}"#;
        assert_eq!(
            from_slice::<Pair>("pair", good, 64).unwrap(),
            Pair { a: 1, b: "x".into() }
        );
        for (bad, why) in [
            (&br#"{"b":"x","a":1}"#[..], "order"),
            (br#"{"a":1, "b":"x"}"#, "space"),
            (br#"{"a":1,"b":"\u0078"}"#, "escape"),
        ] {
            assert!(
                matches!(from_slice::<Pair>("pair", bad, 64), Err(JcsError::NotCanonical { .. })),
                "{why}"
            );
        }
        for (bad, why) in [
            (&br#"{"a":1,"a":1,"b":"x"}"#[..], "duplicate"),
            (br#"{"a":1,"b":"x","c":0}"#, "unknown"),
            (br#"{"a":1,"b":"x"}x"#, "trailing"),
            (br#"{"a":1.0,"b":"x"}"#, "float"),
            (br#"{"a":1}"#, "missing"),
        ] {
            assert!(
                matches!(from_slice::<Pair>("pair", bad, 64), Err(JcsError::Shape { .. })),
                "{why}"
            );
        }
        let named = |name: &str| {
            let document = format!("{{\"a\":1,\"b\":\"x\",\"{name}\":0}}");
            from_slice::<Pair>("pair", document.as_bytes(), 4096)
                .unwrap_err()
                .to_string()
        };
        assert!(
            named("colour").contains("unknown field `colour`"),
            "{}",
            named("colour")
        );
        for hostile in [
            "\\u001b[31m",
            "a\\nACCEPTED: tier 4",
            "a`b",
            "\u{202e}",
            &"x".repeat(65),
        ] {
            let text = named(hostile);
            assert!(
                text.contains("unknown field with a name that is long or strange"),
                "{text}"
            );
            assert!(text.len() < 120 && !text.contains("ACCEPTED"), "{text}");
        }
        assert_eq!(
            from_slice::<Pair>("pair", good, 4),
            Err(JcsError::TooLarge {
                what: "pair",
                limit: 4,
                got: 15
            })
        );
    }
}
