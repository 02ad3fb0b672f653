//! Who may talk to the local endpoint: programs on this machine that name it by its own names, not web pages.
//!
//! A page that rebinds its host name to 127.0.0.1 still sends its own name in `Host`; a page on another site sends its
//! own in `Origin`. Both are refused before anything else is looked at.

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Version, header};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Which names and which token the endpoint answers to.
pub(crate) struct Guard {
    /// `name:port`, lower case; without the port too if it is 80.
    hosts: Vec<String>,
    token: Option<Zeroizing<String>>,
}

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `Host` is missing, repeated or not one of ours.
    ForeignHost,
    /// `Origin` (or `Sec-Fetch-Site`) shows a page of another site.
    ForeignOrigin,
    /// A token is required and was not given.
    Token,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::ForeignHost => "connect.foreign_host",
            Self::ForeignOrigin => "connect.foreign_origin",
            Self::Token => "connect.token",
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::ForeignHost => {
                "Host: expected this endpoint's own name (localhost, 127.0.0.1 or [::1] with its port); add another with --host"
            }
            Self::ForeignOrigin => {
                "Origin: expected none or this endpoint's own: web pages of other sites get nothing here"
            }
            Self::Token => "Authorization: expected `Bearer` and the token of the file that --token-file names",
        }
    }
}

impl Guard {
    /// Whether programs have to show a token of this endpoint's own.
    pub(crate) fn asks_for_token(&self) -> bool {
        self.token.is_some()
    }

    pub(crate) fn new(port: u16, extra_hosts: &[String], token: Option<Zeroizing<String>>) -> Self {
        let names = ["localhost", "127.0.0.1", "[::1]"];
        let mut hosts: Vec<String> = names.iter().map(|n| format!("{n}:{port}")).collect();
        if port == 80 {
            hosts.extend(names.map(str::to_owned));
        }
        hosts.extend(extra_hosts.iter().map(|h| h.to_ascii_lowercase()));
        Self { hosts, token }
    }

    pub(crate) fn check(&self, parts: &Parts) -> Result<(), Refusal> {
        let absolute = parts.uri.authority().map(|a| a.as_str());
        // HTTP/2 names the host in `:authority`, which stands in the URI; `host` may be there besides.
        let host = match absolute {
            Some(named) if parts.version == Version::HTTP_2 && !parts.headers.contains_key(header::HOST) => named,
            _ => only(&parts.headers, header::HOST).ok_or(Refusal::ForeignHost)?,
        };
        if !self.is_ours(host) || absolute.is_some_and(|a| !self.is_ours(a)) {
            return Err(Refusal::ForeignHost);
        }
        for origin in parts.headers.get_all(header::ORIGIN) {
            let ours = origin
                .to_str()
                .ok()
                .and_then(|o| o.strip_prefix("http://"))
                .is_some_and(|h| self.is_ours(h));
            if !ours {
                return Err(Refusal::ForeignOrigin);
            }
        }
        for site in parts.headers.get_all("sec-fetch-site") {
            if !matches!(site.as_bytes(), b"same-origin" | b"none") {
                return Err(Refusal::ForeignOrigin);
            }
        }
        match &self.token {
            Some(token) if !bears(&parts.headers, token) => Err(Refusal::Token),
            _ => Ok(()),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        self.hosts.iter().any(|h| h.eq_ignore_ascii_case(host))
    }
}

fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(one), None) => one.to_str().ok(),
        _ => None,
    }
}

fn bears(headers: &HeaderMap, token: &str) -> bool {
    only(headers, header::AUTHORIZATION)
        .and_then(|v| v.split_once(' '))
        .is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("bearer") && bool::from(given.as_bytes().ct_eq(token.as_bytes()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn check(guard: &Guard, uri: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn own_names_pass_and_every_other_host_is_refused() {
        let guard = Guard::new(8080, &["box.lan:8080".into()], None);
        for host in [
            "localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "LocalHost:8080",
            "box.lan:8080",
        ] {
            assert_eq!(check(&guard, "/v1/models", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example:8080",
            "localhost",
            "localhost:8081",
            "127.0.0.1.evil.example:8080",
            "127.1:8080",
            "",
        ] {
            assert_eq!(
                check(&guard, "/v1/models", &[("host", host)]),
                Err(Refusal::ForeignHost),
                "{host}"
            );
        }
        assert_eq!(check(&guard, "/", &[]), Err(Refusal::ForeignHost));
        let twice = [("host", "localhost:8080"), ("host", "localhost:8080")];
        assert_eq!(check(&guard, "/", &twice), Err(Refusal::ForeignHost));
        let absolute = "http://evil.example/v1/models";
        assert_eq!(check(&guard, absolute, &twice[..1]), Err(Refusal::ForeignHost));
    }

    #[test]
    fn http2_names_the_host_in_its_authority_and_nothing_else_may_name_another() {
        let guard = Guard::new(8080, &[], None);
        let check = |version, uri: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(uri).version(version);
            for host in hosts {
                request = request.header("host", *host);
            }
            guard.check(&request.body(()).unwrap().into_parts().0)
        };
        let (ours, foreign) = ("http://localhost:8080/v1/models", "http://evil.example:8080/v1/models");
        assert_eq!(check(Version::HTTP_2, ours, &[]), Ok(()));
        assert_eq!(check(Version::HTTP_2, ours, &["127.0.0.1:8080"]), Ok(()));
        for (version, uri, hosts) in [
            (Version::HTTP_11, ours, &[][..]),
            (Version::HTTP_2, foreign, &[]),
            (Version::HTTP_2, foreign, &["localhost:8080"]),
            (Version::HTTP_2, ours, &["evil.example:8080"]),
            (Version::HTTP_2, ours, &["localhost:8080", "localhost:8080"]),
            (Version::HTTP_2, "/v1/models", &[]),
        ] {
            assert_eq!(
                check(version, uri, hosts),
                Err(Refusal::ForeignHost),
                "{version:?} {uri} {hosts:?}"
            );
        }
    }

    #[test]
    fn any_foreign_origin_is_refused() {
        let guard = Guard::new(8080, &[], None);
        let host = ("host", "localhost:8080");
        assert_eq!(check(&guard, "/", &[host, ("origin", "http://localhost:8080")]), Ok(()));
        for origin in [
            "null",
            "https://localhost:8080",
            "http://evil.example",
            "http://localhost:8081",
            "",
        ] {
            assert_eq!(
                check(&guard, "/", &[host, ("origin", origin)]),
                Err(Refusal::ForeignOrigin),
                "{origin}"
            );
        }
        assert_eq!(check(&guard, "/", &[host, ("sec-fetch-site", "none")]), Ok(()));
        let cross = check(&guard, "/", &[host, ("sec-fetch-site", "cross-site")]);
        assert_eq!(cross, Err(Refusal::ForeignOrigin));
    }

    #[test]
    fn a_required_token_must_be_borne_exactly() {
        let guard = Guard::new(8080, &[], Some(Zeroizing::new("secret".into())));
        let host = ("host", "localhost:8080");
        assert_eq!(check(&guard, "/", &[host, ("authorization", "Bearer secret")]), Ok(()));
        for wrong in ["Bearer secre", "Bearer secrets", "secret", "Basic secret", "Bearer "] {
            assert_eq!(
                check(&guard, "/", &[host, ("authorization", wrong)]),
                Err(Refusal::Token)
            );
        }
        assert_eq!(check(&guard, "/", &[host]), Err(Refusal::Token));
    }
}
