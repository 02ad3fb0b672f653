//! The session cookie.

use axum::http::{HeaderMap, header};
use hanzo_kbs_protocol::COOKIE_NAME;

use crate::sessions::SessionId;

/// `Set-Cookie`. `Secure` is left to a TLS front: the broker itself speaks plain HTTP, on loopback by default, and nothing
/// that this cookie names leaves unwrapped.
pub(super) fn set(id: &SessionId, ttl_s: u64) -> String {
    format!(
        "{COOKIE_NAME}={}; Max-Age={ttl_s}; Path=/; HttpOnly; SameSite=Strict",
        hex::encode(id)
    )
}

/// The session that the request names, if exactly one.
pub(super) fn get(headers: &HeaderMap) -> Option<SessionId> {
    let mut found = None;
    for value in headers.get_all(header::COOKIE) {
        for pair in value.to_str().ok()?.split(';') {
            if let Some((name, value)) = pair.trim().split_once('=')
                && name == COOKIE_NAME
            {
                if found.is_some() {
                    return None;
                }
                found = Some(parse(value)?);
            }
        }
    }
    found
}

fn parse(text: &str) -> Option<SessionId> {
    if text.len() != 32 || text.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).ok()?;
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_well_formed_cookie_is_read_and_nothing_else() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, text.parse().unwrap());
            get(&headers)
        };
        let good = format!("{COOKIE_NAME}={}", "0a".repeat(16));
        assert_eq!(read(&good), Some([10; 16]));
        assert_eq!(read(&format!("other=1; {good}")), Some([10; 16]));
        assert_eq!(read(&format!("{good}; {good}")), None);
        assert_eq!(read(&good.to_uppercase()), None);
        assert_eq!(read(&good[..good.len() - 2]), None);
    }
}
