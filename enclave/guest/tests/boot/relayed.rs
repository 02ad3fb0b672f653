//! The client of sealed messages, and a relay between it and the guest that does what it likes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hanzo_attestation::UnixTime;
use hanzo_client::{ChannelRequest, ClientError, SealedClient, SealedConfig};
use hanzo_sealed::ohttp::{GATEWAY_PATH, KEY_PROBLEM};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::sealed::{clear_address, guest};
use crate::served::context;
use crate::world::{Running, World};

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Honest,
    /// Leaves out that many bytes at the end of an answer, and ends it as HTTP should.
    Cut(usize),
    /// Changes one byte of an answer, counted from its end.
    Flip(usize),
    /// Says that the key is unknown.
    UnknownKey,
    /// Answers in clear.
    Clear,
    /// Notes how long requests and answers are, as anybody on the path could.
    Measure,
    /// Hands the message over, and says that the key is unknown.
    Forged,
}

pub struct Relay {
    upstream: Mutex<SocketAddr>,
    mode: Mutex<Mode>,
    /// Method and path of every request, and all that passed.
    seen: Mutex<Vec<String>>,
    passed: Mutex<Vec<u8>>,
    /// The length of each request and the bytes of its answer, for messages that were measured.
    pub measured: Mutex<Vec<(usize, Vec<u8>)>>,
}

impl Relay {
    pub async fn start(upstream: SocketAddr) -> (Arc<Self>, SocketAddr) {
        let relay = Arc::new(Self {
            upstream: Mutex::new(upstream),
            mode: Mutex::new(Mode::Honest),
            seen: Mutex::default(),
            passed: Mutex::default(),
            measured: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let routes = Router::new().fallback(carry).with_state(relay.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (relay, at)
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn count(&self, what: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|s| s.starts_with(what)).count()
    }
}

async fn carry(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    relay.seen.lock().unwrap().push(format!("{} {}", head.method, head.uri));
    relay.passed.lock().unwrap().extend_from_slice(&body);
    let mode = *relay.mode.lock().unwrap();
    let is_message = head.uri.path() == GATEWAY_PATH;
    let asked = body.len();
    if is_message && mode == Mode::UnknownKey {
        return unknown_key();
    }
    if is_message && mode == Mode::Clear {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        return (kind, r#"{"choices":[{"message":{"content":"Lyon"}}]}"#).into_response();
    }
    let upstream = *relay.upstream.lock().unwrap();
    let stream = TcpStream::connect(upstream).await.unwrap();
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(driver);
    let mut onwards = hyper::Request::new(Full::new(body));
    *onwards.method_mut() = head.method;
    *onwards.uri_mut() = head.uri;
    onwards
        .headers_mut()
        .insert(header::HOST, HeaderValue::from_static("guest"));
    if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
        onwards.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    let (head, body) = sender.send_request(onwards).await.unwrap().into_parts();
    if !is_message || mode == Mode::Honest {
        return Response::from_parts(head, Body::new(body));
    }
    let mut body = body.collect().await.unwrap().to_bytes().to_vec();
    let len = body.len();
    match mode {
        Mode::Cut(bytes) => body.truncate(len - bytes),
        Mode::Flip(at) => body[len - at] ^= 1,
        Mode::Measure => relay.measured.lock().unwrap().push((asked, body.clone())),
        Mode::Forged => return unknown_key(),
        _ => {}
    }
    let mut answer = Response::new(Body::from(body));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, head.headers[header::CONTENT_TYPE].clone());
    answer
}

fn unknown_key() -> Response {
    let body = format!(r#"{{"type":"{KEY_PROBLEM}","keys":"use mine"}}"#);
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::BAD_REQUEST, kind, body).into_response()
}

fn client(world: &World, guest: &Running, relay: SocketAddr) -> SealedClient {
    let now = UnixTime(guest.ready.keyset.issued_at + 5);
    SealedClient::new(SealedConfig {
        clock: Arc::new(move || now),
        ..SealedConfig::new(relay.into(), context(world))
    })
    .unwrap()
}

fn question(is_stream: bool) -> ChannelRequest {
    let text = format!(
        r#"{{"model":"tiny","stream":{is_stream},"messages":[{{"role":"user","content":"Capital of France?"}}]}}"#
    );
    ChannelRequest::post_json("/v1/chat/completions", Bytes::from(text))
}

async fn ask(client: &SealedClient, is_stream: bool) -> Result<String, ClientError> {
    let answer = client.send(question(is_stream)).await?;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_carries_questions_it_cannot_read_and_can_only_stop_answers() {
    let (world, guest) = guest(false).await;
    let (relay, at) = Relay::start(clear_address(&guest)).await;
    let client = client(&world, &guest, at);
    assert!(ask(&client, false).await.unwrap().contains("Paris"));
    let streamed = ask(&client, true).await.unwrap();
    assert!(streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
    assert!(streamed.contains(r#""transport":"ohttp+x-wing""#), "{streamed}");
    let passed = String::from_utf8_lossy(&relay.passed.lock().unwrap()).into_owned();
    assert!(!passed.contains("Capital") && !passed.contains("hanzo-owner"));
    assert_eq!(relay.count("GET /.well-known/hanzo/attestation"), 1);

    // One byte less of the last part does not open; a part less is a message without its end.
    for (cut, code) in [
        (1, "sealed.open"),
        (18, "sealed.truncated"),
        (19, "sealed.truncated"),
        (60, "sealed.truncated"),
    ] {
        relay.set(Mode::Cut(cut));
        for is_stream in [false, true] {
            let error = ask(&client, is_stream).await.unwrap_err();
            assert_eq!(error.code(), code, "{cut}: {error}");
        }
    }
    for at in [1, 30, 100] {
        relay.set(Mode::Flip(at));
        let code = ask(&client, true).await.unwrap_err().code();
        assert!(
            ["sealed.open", "sealed.truncated", "sealed.too_long"].contains(&code),
            "{at}: {code}"
        );
    }
    relay.set(Mode::Clear);
    assert_eq!(ask(&client, false).await.unwrap_err().code(), "sealed.answer");
    relay.set(Mode::Honest);
    assert!(ask(&client, false).await.unwrap().contains("Paris"));
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_key_error_the_key_comes_of_a_verified_keyset_or_nothing_is_sent() {
    let (world, first) = guest(false).await;
    let (relay, at) = Relay::start(clear_address(&first)).await;
    let client = client(&world, &first, at);
    assert!(ask(&client, false).await.unwrap().contains("Paris"));

    // A relay that lies: nothing is sealed anew, also where it may be asked twice, for the keyset is the same.
    let before = relay.count("POST");
    for mode in [Mode::UnknownKey, Mode::Forged] {
        relay.set(mode);
        let error = ask(&client, false).await.unwrap_err();
        assert_eq!(error.code(), "sealed.key", "{error}");
        let error = client.send(question(false).repeatable()).await.err().unwrap();
        assert_eq!(error.code(), "sealed.key", "{error}");
    }
    assert_eq!(relay.count("POST"), before + 4);

    // A guest that started again: its keyset is another, and whoever asks again is answered with that.
    relay.set(Mode::Honest);
    assert!(ask(&client, false).await.unwrap().contains("Paris"));
    let old = first.ready.keyset_digest;
    first.stop().await.unwrap();
    let second = world.boot().await;
    assert_ne!(second.ready.keyset_digest, old);
    *relay.upstream.lock().unwrap() = clear_address(&second);
    assert_eq!(ask(&client, false).await.unwrap_err().code(), "sealed.key");
    assert!(ask(&client, false).await.unwrap().contains("Paris"));
    assert_eq!(
        client.verdict().await.unwrap().keyset_digest(),
        &second.ready.keyset_digest
    );
    // The gateway's own key list was never asked for.
    assert_eq!(relay.count(&format!("GET {GATEWAY_PATH}")), 0);
    second.stop().await.unwrap();
}
