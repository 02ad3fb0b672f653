//! The clients of the bench: connections one after the other, or requests one after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hanzo_attestation::channel::{PROOF_PATH, ProofResponse};
use hanzo_attestation::jcs;
use hanzo_attestation::keyset::Keyset;
use hanzo_channel::proof::{REQUEST_BYTES, RESPONSE_BYTES};
use hanzo_channel::{Exporter, PendingProof};
use hanzo_client::FirstFlight;
use hanzo_pqc::gcm::Gcm;
use hanzo_sealed::bhttp::{RequestHead, ResponseHead, Whole, decode, encode_request};
use hanzo_sealed::config::KeyConfig;
use hanzo_sealed::ohttp;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::guest_client;

const MODELS: &str = "/v1/models";

/// Whom the clients talk to.
pub struct Target {
    pub plain: SocketAddr,
    pub plain_http: SocketAddr,
    pub attested: SocketAddr,
    pub sealed: SocketAddr,
    pub keyset: Keyset,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub enum Case {
    PlainConnection,
    PlainConnectionAndRequest,
    AttestedConnection,
    RequestOverTls,
    SealedRequest,
}

impl Case {
    pub const ALL: [Case; 5] = [
        Case::PlainConnection,
        Case::PlainConnectionAndRequest,
        Case::AttestedConnection,
        Case::RequestOverTls,
        Case::SealedRequest,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Case::PlainConnection => "a plain rustls connection",
            Case::PlainConnectionAndRequest => "a plain rustls connection, one request",
            Case::AttestedConnection => "an attested connection, with its proof",
            Case::RequestOverTls => "a request over an attested connection",
            Case::SealedRequest => "a sealed OHTTP request (X-Wing)",
        }
    }
}

/// `each` of a case, one after the other; how long each took.
pub fn run(target: &Target, case: Case, each: usize) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let tls = guest_client::config();
        match case {
            Case::PlainConnection => {
                let mut times = Vec::with_capacity(each);
                for _ in 0..each {
                    let started = Instant::now();
                    let mut stream = connect(&tls, target.plain).await;
                    times.push(started.elapsed());
                    close(&mut stream).await;
                }
                times
            }
            Case::PlainConnectionAndRequest => {
                let mut times = Vec::with_capacity(each);
                let body = vec![b'0'; REQUEST_BYTES];
                for _ in 0..each {
                    let started = Instant::now();
                    let mut stream = connect_to_ask(&tls, target.plain_http).await;
                    let answer = post(&mut stream, "/", &body).await;
                    assert_eq!(answer.len(), RESPONSE_BYTES);
                    times.push(started.elapsed());
                    close(&mut stream).await;
                }
                times
            }
            Case::AttestedConnection => {
                let mut times = Vec::with_capacity(each);
                for _ in 0..each {
                    let started = Instant::now();
                    let mut stream = connect_to_ask(&tls, target.attested).await;
                    prove(&mut stream, &target.keyset).await;
                    times.push(started.elapsed());
                    close(&mut stream).await;
                }
                times
            }
            Case::RequestOverTls => {
                let mut stream = connect_to_ask(&tls, target.attested).await;
                prove(&mut stream, &target.keyset).await;
                let mut sender = http(stream).await;
                let mut times = Vec::with_capacity(each);
                for _ in 0..each {
                    let started = Instant::now();
                    let request = Request::get(MODELS).header("host", "guest").body(Full::default());
                    send(&mut sender, request.expect("a request")).await;
                    times.push(started.elapsed());
                }
                times
            }
            Case::SealedRequest => {
                let stream = TcpStream::connect(target.sealed).await.expect("a connection");
                stream.set_nodelay(true).expect("an option");
                let mut sender = http(stream).await;
                let key = target.keyset.ohttp_keys.iter();
                let key = key.clone().find(|k| k.protocol == "ohttp" && k.kem == "x-wing");
                let key = KeyConfig::from_keyset(key.expect("a key for messages")).expect("a key");
                let mut times = Vec::with_capacity(each);
                for _ in 0..each {
                    let started = Instant::now();
                    sealed(&mut sender, &key).await;
                    times.push(started.elapsed());
                }
                times
            }
        }
    })
}

async fn sealed(sender: &mut SendRequest<Full<Bytes>>, key: &KeyConfig) {
    let head = RequestHead {
        method: "GET".into(),
        scheme: "https".into(),
        authority: "guest".into(),
        path: MODELS.into(),
        fields: vec![],
    };
    let (message, opener) =
        ohttp::seal_request(key, Gcm::Aes256, &encode_request(&head, b"")).expect("a sealed message");
    let request = Request::post(ohttp::GATEWAY_PATH)
        .header("host", "relay")
        .header("content-type", ohttp::REQUEST_MEDIA_TYPE)
        .body(Full::new(Bytes::from(message)));
    let answer = send(sender, request.expect("a request")).await;
    let opened = opener.open(&answer).expect("an answer");
    let answer: Whole<ResponseHead> = decode(&opened).expect("an answer");
    assert_eq!(answer.head.status, 200);
}

async fn send(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Bytes {
    sender.ready().await.expect("a connection");
    let answer = sender.send_request(request).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().collect().await.expect("a body").to_bytes()
}

async fn http<S>(stream: S) -> SendRequest<Full<Bytes>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP");
    tokio::spawn(driver);
    sender
}

async fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// As any client of rustls does: its part of the handshake leaves when it is over.
async fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> TlsStream<TcpStream> {
    let name = ServerName::IpAddress(address.ip().into());
    TlsConnector::from(config.clone())
        .connect(name, tcp(address).await)
        .await
        .expect("a handshake")
}

/// As this project's client does, which always asks something next: the end of its handshake leaves with that.
async fn connect_to_ask(config: &Arc<ClientConfig>, address: SocketAddr) -> TlsStream<FirstFlight<TcpStream>> {
    let name = ServerName::IpAddress(address.ip().into());
    let mut stream = TlsConnector::from(config.clone())
        .connect(name, FirstFlight::new(tcp(address).await))
        .await
        .expect("a handshake");
    stream.get_mut().0.shaken();
    stream
}

/// Asks for the proof of this connection and checks it.
async fn prove<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<S>, keyset: &Keyset) {
    let exporter = Exporter::of_client(stream.get_ref().1).expect("a secret");
    let (request, pending) = PendingProof::ask(keyset, &exporter).expect("a question");
    let body = jcs::to_vec("channel proof", &request).expect("a body");
    let answer = post(stream, PROOF_PATH, &body).await;
    let response: ProofResponse = jcs::from_slice("channel proof", &answer, 4096).expect("a proof");
    pending.check(&response).expect("this connection's proof");
}

/// One request on a connection, and the body of its answer.
async fn post<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<S>, path: &str, body: &[u8]) -> Vec<u8> {
    let mut message = format!(
        "POST {path} HTTP/1.1\r\nhost: guest\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    message.extend_from_slice(body);
    stream.write_all(&message).await.expect("sent");
    let mut answer = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut answer).await.expect("an answer"), 0);
        let Some(at) = answer.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&answer[..at]).expect("text");
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
        let length: usize = length.and_then(|l| l.parse().ok()).expect("a length");
        if answer.len() >= at + 4 + length {
            return answer.split_off(at + 4);
        }
    }
}

/// Says goodbye and waits until the server has gone too.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<S>) {
    let _ = stream.shutdown().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}
