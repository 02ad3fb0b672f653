//! The way in: a guest's own three requests go straight to their handlers, everything else through the router.
//!
//! A router matches the path, clones and boxes the handlers and hands them what they need through maps. For the requests that
//! are nearly all of a broker's load that would be some hundredths of what they cost.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Method, Request};
use axum::response::Response;
use axum::{Extension, Router};
use hanzo_kbs_protocol::{ATTEST_PATH, AUTH_PATH};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::{AppState, router};
use crate::admission::{Connection, Gate, route_of};

const RESOURCE_PREFIX: &str = "/kbs/v0/resource/";

/// All endpoints.
pub(crate) struct Front {
    router: Router,
    state: AppState,
    gate: Gate,
}

/// What a guest asks for.
#[derive(Debug, PartialEq, Eq)]
enum Guests {
    Auth,
    Attest,
    Resource(String, String, String),
}

impl Guests {
    /// `None` for everything that the router has more to say about: another method, a path that is spelled in another way.
    fn of(method: &Method, path: &str) -> Option<Self> {
        match (method, path) {
            (&Method::POST, AUTH_PATH) => Some(Self::Auth),
            (&Method::POST, ATTEST_PATH) => Some(Self::Attest),
            (&Method::GET, path) => {
                let name = path.strip_prefix(RESOURCE_PREFIX)?;
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
                let mut parts = name.bytes().all(is_plain).then(|| name.split('/'))?;
                let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
                let resource = Self::Resource(part()?, part()?, part()?);
                parts.next().is_none().then_some(resource)
            }
            _ => None,
        }
    }
}

impl Front {
    pub(crate) fn new(state: AppState) -> Self {
        Self {
            gate: Gate {
                admission: state.admission.clone(),
                metrics: state.broker.metrics.clone(),
            },
            router: router(state.clone()),
            state,
        }
    }

    /// The answer to a request.
    pub(crate) async fn answer(&self, connection: Connection, mut request: Request<Incoming>) -> Response {
        let asked = Guests::of(request.method(), request.uri().path());
        let route = route_of(request.method(), request.uri().path());
        let (Some(asked), (Some(route), body_bytes_max)) = (asked, route) else {
            request.extensions_mut().insert(connection);
            let Ok(response) = self.router.clone().oneshot(request.map(Body::new)).await;
            return response;
        };
        let admitted = match self.gate.pass((route, body_bytes_max), &connection, request).await {
            Ok(admitted) => admitted,
            Err(response) => return response,
        };
        let (state, connection) = (State(self.state.clone()), Extension(connection));
        let (headers, body) = (admitted.parts.headers, Ok(admitted.body));
        let response = match asked {
            Guests::Auth => super::auth(state, connection, headers, body).await,
            Guests::Attest => super::attest(state, connection, headers, body).await,
            Guests::Resource(repository, kind, tag) => {
                super::resource(state, connection, headers, Path((repository, kind, tag))).await
            }
        };
        self.gate.took(route, admitted.started);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_own_requests_are_known_and_every_other_spelling_is_the_routers() {
        let parts = |a: &str, b: &str, c: &str| Guests::Resource(a.into(), b.into(), c.into());
        let get = |path| Guests::of(&Method::GET, path);
        assert_eq!(Guests::of(&Method::POST, AUTH_PATH), Some(Guests::Auth));
        assert_eq!(Guests::of(&Method::POST, ATTEST_PATH), Some(Guests::Attest));
        assert_eq!(get("/kbs/v0/resource/a/b.c/d-1"), Some(parts("a", "b.c", "d-1")));
        for other in [
            AUTH_PATH,
            ATTEST_PATH,
            "/kbs/v0/resource/a/b",
            "/kbs/v0/resource/a/b/",
            "/kbs/v0/resource/a//c",
            "/kbs/v0/resource/a/b/c/d",
            "/kbs/v0/resource/a/b/%63",
            "/kbs/v0/resource/a/b/c+",
            "/kbs/v0/resource",
            "/metrics",
        ] {
            assert_eq!(get(other), None, "{other}");
        }
        assert_eq!(Guests::of(&Method::HEAD, "/kbs/v0/resource/a/b/c"), None);
        assert_eq!(Guests::of(&Method::POST, "/kbs/v0/resource/a/b/c"), None);
        assert_eq!(Guests::of(&Method::PUT, AUTH_PATH), None);
    }
}
