//! A host that carries sealed messages and reads the HTTP around them: it can change, keep, repeat and swap requests and
//! answers, or answer by itself.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Status.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Answered {
    /// One of the host's own.
    pub fn own(status: u16, media_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(media_type));
        Self {
            status,
            headers,
            body: body.into(),
        }
    }
}

/// What the host does with a request.
pub enum First {
    /// Sends this on.
    Send(Asked),
    /// Answers by itself.
    Answer(Answered),
}

/// On requests.
pub type OnRequest = Arc<dyn Fn(Asked) -> First + Send + Sync>;
/// On answers.
pub type OnAnswer = Arc<dyn Fn(&Asked, Answered) -> Answered + Send + Sync>;

#[derive(Clone, Default)]
struct Script {
    request: Option<OnRequest>,
    answer: Option<OnAnswer>,
}

#[derive(Default)]
struct Shared {
    script: Script,
    target: Option<SocketAddr>,
    kept: Vec<(Asked, Answered)>,
}

/// A running relay; stops when dropped.
pub struct Relay {
    /// Where clients connect.
    pub at: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Starts one before `target`.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared {
            target: Some(target),
            ..Shared::default()
        }));
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        let service = service_fn(move |request| carry(request, shared.clone()));
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
            }
        });
        Ok(Self { at, shared, task })
    }

    /// Carries from now on.
    pub fn carry(&self) {
        self.shared.lock().unwrap().script = Script::default();
    }

    /// Does this to requests from now on, and carries answers.
    pub fn on_request(&self, act: impl Fn(Asked) -> First + Send + Sync + 'static) {
        self.shared.lock().unwrap().script = Script {
            request: Some(Arc::new(act)),
            answer: None,
        };
    }

    /// Does this to answers from now on, and carries requests.
    pub fn on_answer(&self, act: impl Fn(&Asked, Answered) -> Answered + Send + Sync + 'static) {
        self.shared.lock().unwrap().script = Script {
            request: None,
            answer: Some(Arc::new(act)),
        };
    }

    /// Leads somewhere else from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.lock().unwrap().target = Some(target);
    }

    /// Every request with the guest's own answer.
    pub fn kept(&self) -> Vec<(Asked, Answered)> {
        self.shared.lock().unwrap().kept.clone()
    }

    /// The last exchange of a sealed message.
    pub fn last_message(&self) -> (Asked, Answered) {
        let kept = self.kept();
        let mut messages = kept.into_iter().filter(|(asked, _)| asked.method == Method::POST);
        messages.next_back().expect("a message passed")
    }
}

async fn carry(request: Request<Incoming>, shared: Arc<Mutex<Shared>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut asked = Asked {
        method: head.method,
        path: head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        headers: head.headers,
        body: body.collect().await.map(|b| b.to_bytes().to_vec()).unwrap_or_default(),
    };
    let (script, target) = {
        let shared = shared.lock().unwrap();
        (shared.script.clone(), shared.target.expect("a target"))
    };
    if let Some(act) = &script.request {
        match act(asked) {
            First::Send(changed) => asked = changed,
            First::Answer(answer) => return Ok(respond(answer)),
        }
    }
    let Ok(answered) = send(target, &asked).await else {
        return Ok(respond(Answered::own(502, "text/plain", "")));
    };
    shared.lock().unwrap().kept.push((asked.clone(), answered.clone()));
    Ok(respond(match &script.answer {
        Some(act) => act(&asked, answered),
        None => answered,
    }))
}

fn respond(answered: Answered) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answered.body)));
    *response.status_mut() = StatusCode::from_u16(answered.status).unwrap();
    *response.headers_mut() = answered.headers;
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().remove(TRANSFER_ENCODING);
    response
}

/// Sends a request as it is, and reads the whole answer. An answer that breaks off is an error.
pub async fn send(target: SocketAddr, asked: &Asked) -> io::Result<Answered> {
    let stream = TcpStream::connect(target).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut request = Request::new(Full::new(Bytes::from(asked.body.clone())));
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = asked.path.parse().map_err(io::Error::other)?;
    *request.headers_mut() = asked.headers.clone();
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, HeaderName::from_static("connection")] {
        request.headers_mut().remove(name);
    }
    request
        .headers_mut()
        .entry("host")
        .or_insert(HeaderValue::from_static("guest"));
    let (head, body) = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?
        .into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
    Ok(Answered {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}
