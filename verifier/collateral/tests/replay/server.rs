//! A server on loopback: a table of answers, and every request written down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use axum::routing::any;
use hanzo_collateral::{BaseUrl, IntelSource, Sources};

/// One answer.
#[derive(Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Claims this many bytes more than it sends, then hangs up.
    pub cut_short: usize,
    pub slow: Duration,
}

pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
    Reply {
        status: 200,
        body: body.into(),
        ..Reply::default()
    }
}

pub fn status(status: u16) -> Reply {
    Reply {
        status,
        ..Reply::default()
    }
}

impl Reply {
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Answers a POST by what it says.
type Responder = Arc<dyn Fn(&[u8]) -> Reply + Send + Sync>;

#[derive(Default)]
struct Table {
    responders: HashMap<String, Responder>,
    /// Answers by method, path and query; the last of several is repeated.
    replies: HashMap<String, Vec<Reply>>,
    seen: Vec<(String, HeaderMap, Bytes)>,
}

#[derive(Clone, Default)]
pub struct Server {
    table: Arc<Mutex<Table>>,
    address: String,
}

impl Server {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            ..Self::default()
        };
        let app = axum::Router::new().fallback(any(answer)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// All services at this server.
    pub fn sources(&self) -> Sources {
        let at = |path: &str| BaseUrl::new("test", &format!("{}{path}", self.address)).unwrap();
        Sources {
            kds: at("/kds"),
            intel: IntelSource::Pcs {
                api: at("/pcs"),
                root_crl: at("/IntelSGXRootCA.der"),
            },
            rim: at("/rims"),
            ocsp: at("/ocsp"),
        }
    }

    /// Answers `GET /path?query` (or `POST ...`) in this order; the last answer is repeated.
    pub fn on(&self, request: &str, replies: impl Into<Vec<Reply>>) {
        self.table
            .lock()
            .unwrap()
            .replies
            .insert(request.into(), replies.into());
    }

    /// Answers `POST path` by what is posted.
    pub fn on_post(&self, path: &str, responder: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) {
        let mut table = self.table.lock().unwrap();
        table.responders.insert(format!("POST {path}"), Arc::new(responder));
    }

    /// Method, path and query of every request so far.
    pub fn seen(&self) -> Vec<String> {
        self.table.lock().unwrap().seen.iter().map(|s| s.0.clone()).collect()
    }

    pub fn bodies(&self) -> Vec<(HeaderMap, Bytes)> {
        let table = self.table.lock().unwrap();
        table.seen.iter().map(|(_, h, b)| (h.clone(), b.clone())).collect()
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response<Body> {
    let target = request.uri().path_and_query().unwrap().as_str();
    let name = format!("{} {target}", request.method());
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let reply = {
        let mut table = server.table.lock().unwrap();
        table.seen.push((name.clone(), parts.headers, body.clone()));
        let responder = table.responders.get(&name).cloned();
        match table.replies.get_mut(&name) {
            None => responder.map_or_else(|| status(404), |r| r(&body)),
            Some(left) if left.len() > 1 => left.remove(0),
            Some(left) => left[0].clone(),
        }
    };
    tokio::time::sleep(reply.slow).await;
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    if reply.cut_short > 0 {
        response = response.header("content-length", reply.body.len() + reply.cut_short);
        let chunks = futures_util::stream::iter([Ok(Bytes::from(reply.body)), Err(std::io::Error::other("hung up"))]);
        return response.body(Body::from_stream(chunks)).unwrap();
    }
    response.body(Body::from(reply.body)).unwrap()
}
