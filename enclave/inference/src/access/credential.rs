//! What a request shows of its caller: `authorization: Bearer …` as OpenAI's clients send it, `x-api-key` as Anthropic's do.

use axum::http::{HeaderMap, header};
use hanzo_attestation::Digest384;
use hanzo_verifier::callers::ApiKey;

use crate::error::ApiError;

/// The hash of the key that a request shows. The work is the same for a key that is none: then it is a hash that no table holds.
pub(super) fn key_hash(headers: &HeaderMap) -> Result<Digest384, ApiError> {
    let bearer = headers.get_all(header::AUTHORIZATION).iter().map(|value| {
        let text = value.as_bytes();
        match text.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => &[],
        }
    });
    let plain = headers.get_all("x-api-key").iter().map(|value| value.as_bytes());
    let mut shown = bearer.chain(plain);
    let first = shown.next().ok_or(ApiError::KeyMissing)?;
    // Clients of both kinds in one program send the same key twice; two keys are nobody's.
    let is_one = shown.all(|other| other == first);
    let key = ApiKey::parse(first).filter(|_| is_one);
    Ok(match key {
        Some(key) => key.hash(),
        None => Digest384::of(first.get(..75).unwrap_or(first)),
    })
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
            key_hash(&headers).map(|hash| hash == key.hash()).map_err(|e| e.code())
        };
        let plain = HeaderValue::from_str(&text).unwrap();
        for shown in [
            &[("authorization", bearer(&text))][..],
            &[("x-api-key", plain.clone())],
            &[("authorization", bearer(&text)), ("x-api-key", plain.clone())],
            &[(
                "authorization",
                HeaderValue::from_str(&format!("bearer {}", text.as_str())).unwrap(),
            )],
        ] {
            assert_eq!(read(shown), Ok(true));
        }
        for shown in [
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
            assert_eq!(read(shown), Ok(false));
        }
        assert_eq!(read(&[]), Err("invalid_api_key"));
    }
}
