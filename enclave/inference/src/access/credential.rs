//! What a request shows of its caller: `authorization: Bearer …` as OpenAI's clients send it, `x-api-key` as Anthropic's do. What
//! has the form of a token, three parts with points between, is one; all else is a key or none.

use axum::http::{HeaderMap, header};
use hanzo_attestation::Digest384;
use hanzo_verifier::callers::{ApiKey, is_token};

use crate::error::ApiError;

/// What came.
#[derive(PartialEq, Eq)]
pub(super) enum Shown<'a> {
    /// The hash of a key. The work is the same for a key that is none: then it is a hash that no table holds.
    Key(Digest384),
    /// What may be a token.
    Token(&'a [u8]),
}

/// The bytes of the key or token, wherever it stands.
pub(super) fn all(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get_all(header::AUTHORIZATION).iter().map(|value| {
        let text = value.as_bytes();
        match text.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => &[],
        }
    });
    bearer.chain(headers.get_all("x-api-key").iter().map(|value| value.as_bytes()))
}

/// Reads it.
pub(super) fn shown(headers: &HeaderMap) -> Result<Shown<'_>, ApiError> {
    let mut all = all(headers);
    let first = all.next().ok_or(ApiError::KeyMissing)?;
    // Clients of both kinds in one program send the same key twice; two keys are nobody's.
    let is_one = all.all(|other| other == first);
    if is_one && is_token(first) {
        return Ok(Shown::Token(first));
    }
    let key = ApiKey::parse(first).filter(|_| is_one);
    Ok(Shown::Key(match key {
        Some(key) => key.hash(),
        None => Digest384::of(first.get(..75).unwrap_or(first)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn one_key_is_read_from_either_header_and_two_are_none() {
        let key = ApiKey::draw(|out| {
            out.fill(7);
            Ok(())
        })
        .unwrap();
        let other = ApiKey::draw(|out| {
            out.fill(8);
            Ok(())
        })
        .unwrap();
        let text = key.text();
        let bearer = |text: &str| HeaderValue::from_str(&format!("Bearer {text}")).unwrap();
        let read = |pairs: &[(&'static str, HeaderValue)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.clone());
            }
            shown(&headers)
                .map(|shown| shown == Shown::Key(key.hash()))
                .map_err(|e| e.code())
        };
        let plain = HeaderValue::from_str(&text).unwrap();
        for pairs in [
            &[("authorization", bearer(&text))][..],
            &[("x-api-key", plain.clone())],
            &[("authorization", bearer(&text)), ("x-api-key", plain.clone())],
            &[(
                "authorization",
                HeaderValue::from_str(&format!("bearer {}", text.as_str())).unwrap(),
            )],
        ] {
            assert_eq!(read(pairs), Ok(true));
        }
        for pairs in [
            &[("authorization", plain.clone())][..],
            &[("authorization", bearer(&other.text()))],
            &[
                ("authorization", bearer(&text)),
                ("x-api-key", HeaderValue::from_str(&other.text()).unwrap()),
            ],
            &[("authorization", bearer(""))],
            &[("x-api-key", HeaderValue::from_static(""))],
            &[("authorization", bearer(&format!("{} ", text.as_str())))],
        ] {
            assert_eq!(read(pairs), Ok(false));
        }
        assert_eq!(read(&[]), Err("invalid_api_key"));
        let mut headers = HeaderMap::new();
        headers.append("authorization", bearer("a.b.c"));
        assert!(shown(&headers).is_ok_and(|shown| shown == Shown::Token(b"a.b.c")));
        headers.append("x-api-key", HeaderValue::from_static("a.b.d"));
        assert!(
            shown(&headers).is_ok_and(|shown| matches!(shown, Shown::Key(_))),
            "two are none"
        );
    }
}
