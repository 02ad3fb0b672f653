//! A host between guest and key broker: it reads all that passes, and changes, redirects or withholds it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Changes bytes on their way.
pub type Change = Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;

/// What the host does. Nothing by default.
#[derive(Clone, Default)]
pub struct Meddling {
    /// To the challenge, before the guest sees it.
    pub challenge: Option<Change>,
    /// To the evidence, before the broker sees it.
    pub attest: Option<Change>,
    /// Asks for the second key when the guest asks for the first.
    pub redirect: Option<(&'static str, &'static str)>,
    /// To the answer with the key.
    pub key: Option<Change>,
    /// Done before a request goes on whose path holds the word.
    pub before: Option<(&'static str, Arc<dyn Fn() + Send + Sync>)>,
    /// Answers every request for a key with what passed for it in an earlier boot.
    pub replay: Vec<Passed>,
}

/// One exchange that passed.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Path of the request.
    pub path: String,
    /// Its body, as the guest sent it.
    pub asked: Vec<u8>,
    /// HTTP status of the broker's answer.
    pub status: StatusCode,
    /// The broker's answer, unchanged.
    pub answered: Vec<u8>,
}

/// A running host.
pub struct Doorman {
    /// Where guests think the broker is.
    pub at: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    broker: SocketAddr,
    meddling: Meddling,
    passed: Vec<Passed>,
}

impl Drop for Doorman {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Doorman {
    /// Stands before `broker`.
    pub async fn start(broker: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared {
            broker,
            meddling: Meddling::default(),
            passed: Vec::new(),
        }));
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        let service = service_fn(move |request| answer(request, shared.clone()));
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
            }
        });
        Ok(Self { at, shared, task })
    }

    /// Leads to another broker from now on.
    pub fn lead_to(&self, broker: SocketAddr) {
        self.shared.lock().unwrap().broker = broker;
    }

    /// Meddles like this from now on, and forgets what passed.
    pub fn meddle(&self, meddling: Meddling) -> Vec<Passed> {
        let mut shared = self.shared.lock().unwrap();
        shared.meddling = meddling;
        std::mem::take(&mut shared.passed)
    }

    /// What passed since.
    pub fn passed(&self) -> Vec<Passed> {
        self.shared.lock().unwrap().passed.clone()
    }

    /// How many keys the broker gave out since.
    pub fn keys_given(&self) -> usize {
        let given = |p: &&Passed| p.path.contains("/resource/") && p.status == StatusCode::OK;
        self.passed().iter().filter(given).count()
    }
}

fn change(bytes: Vec<u8>, change: &Option<Change>) -> Vec<u8> {
    match change {
        Some(change) => change(bytes),
        None => bytes,
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Mutex<Shared>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let asked = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default().to_vec();
    let (broker, meddling) = {
        let shared = shared.lock().unwrap();
        (shared.broker, shared.meddling.clone())
    };
    let path = parts.uri.path().to_owned();
    if let Some((word, act)) = &meddling.before
        && path.contains(word)
    {
        act();
    }
    let attest = path.ends_with("/attest");
    let sent = if attest {
        change(asked.clone(), &meddling.attest)
    } else {
        asked.clone()
    };
    let mut to = Request::new(Full::new(Bytes::from(sent)));
    *to.method_mut() = parts.method;
    *to.headers_mut() = parts.headers;
    to.headers_mut().remove(hyper::header::CONTENT_LENGTH);
    let target = match meddling.redirect {
        Some((from, other)) => path.replace(from, other),
        None => path.clone(),
    };
    *to.uri_mut() = target.parse().unwrap();
    let Ok(response) = ask(broker, to).await else {
        let mut failed = Response::new(Full::new(Bytes::new()));
        *failed.status_mut() = StatusCode::BAD_GATEWAY;
        return Ok(failed);
    };
    let (mut head, answered) = response.into_parts();
    shared.lock().unwrap().passed.push(Passed {
        path: path.clone(),
        asked,
        status: head.status,
        answered: answered.to_vec(),
    });
    let mut out = answered.to_vec();
    if path.ends_with("/auth") {
        out = change(out, &meddling.challenge);
    } else if !attest {
        if let Some(old) = meddling.replay.iter().find(|p| p.path == path) {
            head.status = old.status;
            out = old.answered.clone();
        }
        out = change(out, &meddling.key);
    }
    head.headers.remove(hyper::header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, Full::new(Bytes::from(out))))
}

async fn ask(broker: SocketAddr, request: Request<Full<Bytes>>) -> io::Result<Response<Bytes>> {
    let stream = TcpStream::connect(broker).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let (head, body) = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?
        .into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Response::from_parts(head, body))
}
