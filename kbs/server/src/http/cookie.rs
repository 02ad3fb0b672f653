//! The session cookie.

use axum::http::{HeaderMap, header};
use hanzo_kbs_protocol::COOKIE_NAME;

/// Whether the connection is this broker's own TLS, so that the cookie may say `Secure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Plain HTTP: on loopback, or behind a TLS front that adds `Secure`.
    Plain,
    /// TLS.
    Tls,
}

/// `Set-Cookie`.
pub(super) fn set(value: &str, ttl_s: u64, transport: Transport) -> String {
    let secure = match transport {
        Transport::Plain => "",
        Transport::Tls => "; Secure",
    };
    format!("{COOKIE_NAME}={value}; Max-Age={ttl_s}; Path=/; HttpOnly; SameSite=Strict{secure}")
}

/// The cookie's value, if the request has exactly one.
pub(super) fn get(headers: &HeaderMap) -> Option<&str> {
    let mut found = None;
    for value in headers.get_all(header::COOKIE) {
        for pair in value.to_str().ok()?.split(';') {
            if let Some((name, value)) = pair.trim().split_once('=')
                && name == COOKIE_NAME
            {
                if found.is_some() {
                    return None;
                }
                found = Some(value);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_is_read_and_nothing_else() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, text.parse().unwrap());
            get(&headers).map(str::to_owned)
        };
        let good = format!("{COOKIE_NAME}=0a0a");
        assert_eq!(read(&good).as_deref(), Some("0a0a"));
        assert_eq!(read(&format!("other=1; {good}")).as_deref(), Some("0a0a"));
        assert_eq!(read(&format!("{good}; {good}")), None);
        assert_eq!(read(&good.to_uppercase()), None);
    }

    #[test]
    fn only_tls_says_secure() {
        assert!(set("a", 60, Transport::Tls).ends_with("; SameSite=Strict; Secure"));
        assert!(set("a", 60, Transport::Plain).ends_with("; SameSite=Strict"));
    }
}
