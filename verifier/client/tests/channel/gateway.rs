//! The miniature guest's way in for sealed messages, and strangers on the way to it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hanzo_attestation::Nonce;
use hanzo_attestation::channel::ATTESTATION_PATH;
use hanzo_client::{SealedClient, SealedConfig};
use hanzo_sealed::bhttp::{Field, RequestHead, ResponseHead, decode, encode_response};
use hanzo_sealed::chunked::{self, RequestOpener};
use hanzo_sealed::ohttp::{HEADER_LEN, Header, KEY_PROBLEM};
use hanzo_sealed::padding::{PADDING_HEADER, Padding, fill};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::guest::{Guest, context, now};

/// What the path does with what it carries.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub enum Path {
    #[default]
    Honest,
    /// Hands the message over, and says that its key is unknown.
    ForgesKeyProblem,
}

/// A guest that takes sealed messages in clear, at any path.
pub struct Gateway {
    pub at: SocketAddr,
    pub guest: Mutex<Arc<Guest>>,
    /// Who takes over once a key problem was forged.
    pub next: Mutex<Option<Arc<Guest>>>,
    pub path: Mutex<Path>,
    /// Method and path of everything that came, and how long its body was.
    pub asked: Mutex<Vec<(String, usize)>>,
}

impl Gateway {
    pub async fn to(guest: &Arc<Guest>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = Arc::new(Self {
            at: listener.local_addr().unwrap(),
            guest: Mutex::new(guest.clone()),
            next: Mutex::default(),
            path: Mutex::default(),
            asked: Mutex::default(),
        });
        let serving = gateway.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let gateway = serving.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request| {
                        let gateway = gateway.clone();
                        async move { Ok::<_, std::convert::Infallible>(gateway.answer(request).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(tcp), answer)
                        .await;
                });
            }
        });
        gateway
    }

    pub fn count(&self, what: &str) -> usize {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|(line, _)| line.starts_with(what))
            .count()
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let line = format!("{} {}", head.method, head.uri.path());
        self.asked.lock().unwrap().push((line, body.len()));
        let guest = self.guest.lock().unwrap().clone();
        if head.uri.path() == ATTESTATION_PATH {
            let challenge = head.uri.query().and_then(|q| q.strip_prefix("challenge=")).unwrap();
            return Response::new(guest.bundle(Nonce::from_hex(challenge).unwrap()).into());
        }
        let opened = open(&guest, &body);
        let forges = *self.path.lock().unwrap() == Path::ForgesKeyProblem;
        let Some((request, answer)) = opened else {
            return key_problem();
        };
        let sealed = serve(&guest, request, answer).await;
        if !forges {
            return sealed;
        }
        if let Some(next) = self.next.lock().unwrap().take() {
            *self.guest.lock().unwrap() = next;
        }
        key_problem()
    }
}

type Inside = (hanzo_sealed::bhttp::Whole<RequestHead>, chunked::ResponseSealer);

fn open(guest: &Guest, body: &[u8]) -> Option<Inside> {
    let header = Header::parse(body.first_chunk::<HEADER_LEN>()?).ok()?;
    let (enc, rest) = body[HEADER_LEN..].split_at_checked(header.kem.enc_len())?;
    let (mut opener, answer) = RequestOpener::begin(&guest.message_config, &guest.message_key, header, enc).ok()?;
    opener.push(rest);
    let mut message = Vec::new();
    while let Some(part) = opener.next_part().ok()? {
        message.extend_from_slice(&part.bytes);
    }
    message.extend_from_slice(&opener.end().ok()?.bytes);
    Some((decode(&message).ok()?, answer))
}

async fn serve(
    guest: &Arc<Guest>,
    request: hanzo_sealed::bhttp::Whole<RequestHead>,
    answer: chunked::ResponseSealer,
) -> Response<Full<Bytes>> {
    guest.hear(
        &request.head.method,
        &request.head.path,
        &format!("{:?}", request.head.fields),
        &request.content,
    );
    let method = request.head.method.parse().unwrap();
    let asked = request.head.fields.iter().find(|f| f.name == PADDING_HEADER);
    let padding: Padding = asked.map_or(Padding::Off, |f| {
        std::str::from_utf8(&f.value).unwrap().parse().unwrap()
    });
    let (head, body) = guest
        .serve(&method, &request.head.path, request.content.into())
        .into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut fields: Vec<Field> = head
        .headers
        .iter()
        .map(|(name, value)| Field::new(name.as_str(), value.as_bytes()))
        .collect();
    if asked.is_some() && !guest.knobs.ignores_padding {
        fields.push(Field::new(PADDING_HEADER, padding.name()));
    }
    let head = ResponseHead {
        status: head.status.as_u16(),
        fields,
    };
    let mut message = encode_response(&head, &body);
    fill(padding, 0, &mut message);
    let (mut sealed, parts) = answer.begin().unwrap();
    sealed.extend(parts.last(&message).unwrap());
    let mut answer = Response::new(Full::from(sealed));
    let kind = chunked::RESPONSE_MEDIA_TYPE.parse().unwrap();
    answer.headers_mut().insert("content-type", kind);
    answer
}

fn key_problem() -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(format!(r#"{{"type":"{KEY_PROBLEM}"}}"#)));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer
}

/// A proxy that tunnels wherever it is asked to, and notes where.
pub async fn tunnel() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let noted = noted.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tcp.read_u8().await.unwrap());
                }
                let line = String::from_utf8(head).unwrap();
                let to = line.split(' ').nth(1).unwrap().to_owned();
                noted.lock().unwrap().push(to.clone());
                let mut far = TcpStream::connect(to).await.unwrap();
                tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut tcp, &mut far).await;
            });
        }
    });
    (at, asked)
}

pub fn config(gateway: SocketAddr) -> SealedConfig {
    let at = now();
    SealedConfig {
        clock: Arc::new(move || hanzo_attestation::UnixTime(at)),
        ..SealedConfig::new(gateway.into(), context())
    }
}

pub fn sealed_client(gateway: SocketAddr) -> SealedClient {
    SealedClient::new(config(gateway)).unwrap()
}
