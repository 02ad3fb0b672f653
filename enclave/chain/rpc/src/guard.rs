//! Who may ask: programs that name this server by its own names, and its own page; not pages of other sites.
//!
//! A page that rebinds its host name to 127.0.0.1 still sends its own name in `Host`; a page of another site sends its own in `Origin`.

use std::net::SocketAddr;

use axum::http::{HeaderMap, Method, StatusCode, header};

/// The names that a server answers to.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    hosts: Vec<String>,
}

/// Why a request was turned away before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) text: &'static str,
}

const FOREIGN_HOST: Refusal = Refusal {
    status: StatusCode::MISDIRECTED_REQUEST,
    code: "rpc.foreign_host",
    text: "Host: expected this server's own address (or localhost) with its port, or a name of its configuration's rpc_hosts",
};
const FOREIGN_ORIGIN: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "rpc.foreign_origin",
    text: "Origin: expected none or this server's own: pages of other sites get nothing here",
};
const MEDIA: Refusal = Refusal {
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    code: "rpc.media_type",
    text: "Content-Type: expected application/json",
};

impl Guard {
    pub(crate) fn new(listens: SocketAddr, extra: &[String]) -> Self {
        let port = listens.port();
        let mut hosts = vec![listens.to_string()];
        if listens.ip().is_loopback() {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(|name| format!("{name}:{port}")));
        }
        hosts.extend(extra.iter().map(|host| host.to_ascii_lowercase()));
        Self { hosts }
    }

    pub(crate) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(one), None) => one.to_str().map_err(|_| FOREIGN_HOST)?,
            _ => return Err(FOREIGN_HOST),
        };
        if !self.is_ours(host) {
            return Err(FOREIGN_HOST);
        }
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().ok().and_then(|o| o.strip_prefix("http://"));
            if !origin.is_some_and(|host| self.is_ours(host)) {
                return Err(FOREIGN_ORIGIN);
            }
        }
        for site in headers.get_all("sec-fetch-site") {
            if !matches!(site.as_bytes(), b"same-origin" | b"none") {
                return Err(FOREIGN_ORIGIN);
            }
        }
        // What a form of another page cannot send.
        let json = headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .and_then(|kind| kind.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        if method == Method::POST && !json {
            return Err(MEDIA);
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn check(listens: &str, method: Method, headers: &[(&'static str, &'static str)]) -> Result<(), Refusal> {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        Guard::new(listens.parse().unwrap(), &["node.example:9000".into()]).check(&method, &all)
    }

    #[test]
    fn own_names_and_the_own_page_pass_and_their_nearest_others_do_not() {
        let json = ("content-type", "application/json");
        for host in ["127.0.0.1:9000", "LocalHost:9000", "[::1]:9000", "node.example:9000"] {
            assert_eq!(
                check("127.0.0.1:9000", Method::POST, &[("host", host), json]),
                Ok(()),
                "{host}"
            );
        }
        for host in [
            "localhost",
            "localhost:9001",
            "evil.example:9000",
            "127.0.0.1.evil.example:9000",
        ] {
            let refused = check("127.0.0.1:9000", Method::GET, &[("host", host)]);
            assert_eq!(refused, Err(FOREIGN_HOST), "{host}");
        }
        assert_eq!(check("127.0.0.1:9000", Method::GET, &[]), Err(FOREIGN_HOST));
        // Behind another address the loopback names are nobody's.
        let ours = [("host", "localhost:9000")];
        assert_eq!(check("10.0.0.1:9000", Method::GET, &ours), Err(FOREIGN_HOST));
        let host = ("host", "localhost:9000");
        let own = [
            host,
            ("origin", "http://localhost:9000"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(check("127.0.0.1:9000", Method::GET, &own), Ok(()));
        for foreign in [
            ("origin", "null"),
            ("origin", "http://localhost:9001"),
            ("sec-fetch-site", "cross-site"),
        ] {
            assert_eq!(
                check("127.0.0.1:9000", Method::GET, &[host, foreign]),
                Err(FOREIGN_ORIGIN)
            );
        }
        assert_eq!(check("127.0.0.1:9000", Method::POST, &[host]), Err(MEDIA));
        assert_eq!(
            check("127.0.0.1:9000", Method::POST, &[host, ("content-type", "text/plain")]),
            Err(MEDIA)
        );
    }
}
