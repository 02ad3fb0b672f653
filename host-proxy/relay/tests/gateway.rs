//! A relay between clients that tell who they are and a gateway that writes down all it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanzo_relay::config::Config;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// What the gateway does with a request.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// Answers with the body it got.
    Echo,
    /// Answers piece by piece, as the test hands them out.
    Stream,
    /// Begins an answer and closes.
    Cut,
    /// Reads the request and closes.
    Vanish,
    /// Reads the request and says nothing.
    Silent,
    /// Sends clients elsewhere, and tells them apart.
    Redirect,
    /// Answers and names a cookie.
    Cookie,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    /// Heads, with the bodies' lengths.
    requests: Vec<(String, usize)>,
    /// All bytes.
    bytes: Vec<u8>,
}

struct Gateway {
    at: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    seen: Arc<Mutex<Seen>>,
    /// Pieces of streams; dropping it ends them in order.
    pieces: Mutex<Option<mpsc::UnboundedSender<String>>>,
}

impl Gateway {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (send, receive) = mpsc::unbounded_channel();
        let gateway = Arc::new(Self {
            at: listener.local_addr().unwrap(),
            mode: Arc::new(Mutex::new(Mode::Echo)),
            seen: Arc::default(),
            pieces: Mutex::new(Some(send)),
        });
        let receive = Arc::new(tokio::sync::Mutex::new(receive));
        let (mode, seen) = (gateway.mode.clone(), gateway.seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.lock().unwrap().connections += 1;
                let _ = tokio::spawn(answer(stream, mode.clone(), seen.clone(), receive.clone()));
            }
        });
        gateway
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn requests(&self) -> Vec<(String, usize)> {
        self.seen.lock().unwrap().requests.clone()
    }
}

async fn answer(
    stream: TcpStream,
    mode: Arc<Mutex<Mode>>,
    seen: Arc<Mutex<Seen>>,
    pieces: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|l| l.split_once(": "));
            lines
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.to_owned())
        };
        let mut body = Vec::new();
        if let Some(length) = field("content-length") {
            body.resize(length.parse().unwrap(), 0);
            stream.read_exact(&mut body).await?;
        } else if field("transfer-encoding").is_some() {
            loop {
                let mut size = String::new();
                stream.read_line(&mut size).await?;
                let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
                let mut piece = vec![0; size + 2];
                stream.read_exact(&mut piece).await?;
                if size == 0 {
                    break;
                }
                body.extend_from_slice(&piece[..size]);
            }
        }
        {
            let mut seen = seen.lock().unwrap();
            seen.bytes.extend_from_slice(head.as_bytes());
            seen.bytes.extend_from_slice(&body);
            seen.requests.push((head, body.len()));
        }
        let is = *mode.lock().unwrap();
        let stream = stream.get_mut();
        match is {
            Mode::Echo | Mode::Cookie => {
                let cookie = if is == Mode::Cookie {
                    "set-cookie: who=you\r\nx-who: you\r\n"
                } else {
                    ""
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-res\r\n{cookie}content-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(&[head.as_bytes(), &body].concat()).await?;
            }
            Mode::Stream => {
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-chunked-res\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                let mut pieces = pieces.lock().await;
                while let Some(piece) = pieces.recv().await {
                    stream
                        .write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())
                        .await?;
                }
                stream.write_all(b"0\r\n\r\n").await?;
            }
            Mode::Cut => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
                    .await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
                return Ok(());
            }
            Mode::Vanish => return Ok(()),
            Mode::Silent => tokio::time::sleep(Duration::from_secs(30)).await,
            Mode::Redirect => {
                stream
                    .write_all(b"HTTP/1.1 307 X\r\nlocation: https://who.example/1\r\ncontent-length: 0\r\n\r\n")
                    .await?;
            }
        }
    }
}

/// A relay, and how to stop it.
struct Relay {
    at: SocketAddr,
    _stop: oneshot::Sender<()>,
}

async fn relay(gateway: &Gateway, more: &str) -> Relay {
    relay_at(gateway, more, "").await
}

async fn relay_at(gateway: &Gateway, more: &str, tls: &str) -> Relay {
    let text = format!(
        "version = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n{tls}\n[gateway]\naddress = \"{}\"\nconnect_s = 2\n[limits]\n{more}\n",
        gateway.at
    );
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, bound) = oneshot::channel();
    tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        hanzo_relay::serve(config, stopped, |at| {
            ready.send(at[0]).ok();
        })
        .await
        .unwrap();
    });
    Relay {
        at: bound.await.expect("the relay starts"),
        _stop: stop,
    }
}

const PATH: &str = "/.well-known/ohttp-gateway";

/// Sends bytes and reads until the connection is closed or nothing has come for a while.
async fn say(at: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    let quiet = Duration::from_millis(700);
    while let Ok(Ok(n)) = tokio::time::timeout(quiet, stream.read(&mut piece)).await {
        if n == 0 {
            break;
        }
        all.extend_from_slice(&piece[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn post(kind: &str, extra: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: relay\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n{extra}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("-")
}

#[tokio::test]
async fn a_gateway_is_told_the_message_and_nothing_about_who_sent_it() {
    let gateway = Gateway::start().await;
    let relay = relay(&gateway, "").await;
    let tells = "forwarded: for=203.0.113.7\r\nx-forwarded-for: 203.0.113.7\r\nvia: 1.1 203.0.113.7\r\nuser-agent: 203.0.113.7\r\n\
                 cookie: who=203.0.113.7\r\nauthorization: Bearer 203.0.113.7\r\naccept-language: 203.0.113.7\r\nx-real-ip: 203.0.113.7\r\n\
                 referer: http://203.0.113.7/\r\norigin: http://203.0.113.7\r\n";
    let answer = say(relay.at, &post("message/ohttp-req", tells, "sealed-one")).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("content-type: message/ohttp-res"),
        "{answer}"
    );
    assert!(answer.contains("sealed-one"), "{answer}");
    // In pieces, with a trailer that tells.
    let mut chunked = format!(
        "POST {PATH} HTTP/1.1\r\nhost: relay\r\ncontent-type: MESSAGE/ohttp-chunked-req\r\ntransfer-encoding: chunked\r\ntrailer: x-who\r\n{tells}\r\n"
    );
    chunked.push_str("6\r\nsealed\r\n4\r\n-two\r\n0\r\nx-who: 203.0.113.7\r\n\r\n");
    assert!(say(relay.at, chunked.as_bytes()).await.contains("sealed-two"));
    for asked in [
        PATH.to_owned(),
        format!("/.well-known/hanzo/attestation?challenge={}", "0a".repeat(32)),
    ] {
        let get = format!("GET {asked} HTTP/1.1\r\nhost: relay\r\n{tells}\r\n");
        let answer = say(relay.at, get.as_bytes()).await;
        assert!(
            status(&answer) == "200" && answer.contains("cache-control: no-store"),
            "{answer}"
        );
    }
    gateway.set(Mode::Cookie);
    let answer = say(relay.at, &post("message/ohttp-req", "", "x")).await;
    assert!(
        status(&answer) == "200" && !answer.contains("you"),
        "clients are not told apart either: {answer}"
    );

    let seen = gateway.seen.lock().unwrap();
    let all = String::from_utf8_lossy(&seen.bytes).into_owned();
    assert!(!all.contains("203.0.113.7") && !all.contains("127.0.0.1"), "{all}");
    for (head, _) in &seen.requests {
        for line in head.lines().skip(1).filter(|l| !l.is_empty()) {
            let name = line.split(':').next().unwrap().to_ascii_lowercase();
            let may = ["host", "content-type", "content-length", "transfer-encoding"];
            assert!(may.contains(&name.as_str()), "{head}");
        }
    }
    assert_eq!(
        (seen.requests.len(), seen.connections),
        (5, 1),
        "five clients, one connection"
    );
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_reaches_nobody() {
    let gateway = Gateway::start().await;
    let relay = relay(&gateway, "request_bytes_max = 1024\nstall_s = 0.3\nhead_s = 0.3").await;
    let long = "x".repeat(1025);
    let whole = "x".repeat(1024);
    let request = |line: &str| format!("{line} HTTP/1.1\r\nhost: relay\r\n\r\n").into_bytes();
    assert_eq!(
        status(&say(relay.at, &post("message/ohttp-req", "", &whole)).await),
        "200"
    );
    assert_eq!(gateway.requests().len(), 1);
    for (bytes, wanted, code) in [
        (post("application/json", "", "{}"), "415", "relay.media_type"),
        (post("message/ohttp-req; a=b", "", "x"), "415", "relay.media_type"),
        (
            post("message/ohttp-req", "content-encoding: gzip\r\n", "x"),
            "415",
            "relay.media_type",
        ),
        (post("message/ohttp-req", "", &long), "413", "relay.too_long"),
        (request(&format!("DELETE {PATH}")), "405", "relay.method"),
        (request("POST /.well-known/hanzo/attestation"), "405", "relay.method"),
        (request(&format!("GET {PATH}?who=me")), "404", "relay.path"),
        (request("GET /v1/models"), "404", "relay.path"),
        (
            request("GET /.well-known/hanzo/attestation?challenge=1"),
            "404",
            "relay.path",
        ),
    ] {
        let answer = say(relay.at, &bytes).await;
        assert!(
            status(&answer) == wanted && answer.contains(code),
            "{wanted} {code}: {answer}"
        );
    }
    assert_eq!(gateway.requests().len(), 1, "none of it reached the gateway");
    let allow = say(relay.at, &request(&format!("PUT {PATH}"))).await;
    assert!(allow.to_ascii_lowercase().contains("allow: get, post"), "{allow}");
    // Lengths that show only on the way, and a client that stops in the middle: the gateway never sees an end.
    let open = format!(
        "POST {PATH} HTTP/1.1\r\nhost: relay\r\ncontent-type: message/ohttp-chunked-req\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let too_long = format!("{open}401\r\n{long}\r\n0\r\n\r\n");
    let answer = say(relay.at, too_long.as_bytes()).await;
    assert!(
        status(&answer) == "413" && answer.contains("relay.too_long"),
        "{answer}"
    );
    let answer = say(relay.at, format!("{open}3\r\nabc\r\n").as_bytes()).await;
    assert!(status(&answer) == "408" && answer.contains("relay.slow"), "{answer}");
    // A head that never ends, and two lengths.
    assert!(["-", "408"].contains(&status(&say(relay.at, b"POST / HTTP/1.1\r\nhost").await)));
    let twice = post("message/ohttp-req", "content-length: 5\r\n", "x");
    assert_eq!(status(&say(relay.at, &twice).await), "400");
    assert_eq!(gateway.requests().len(), 1);
}

#[tokio::test]
async fn answers_stream_and_what_the_gateway_cut_has_no_end() {
    let gateway = Gateway::start().await;
    let relay = relay(&gateway, "answer_s = 0.5\nanswer_bytes_max = 1024").await;
    gateway.set(Mode::Stream);
    let pieces = gateway.pieces.lock().unwrap().take().unwrap();
    let mut stream = TcpStream::connect(relay.at).await.unwrap();
    stream
        .write_all(&post("message/ohttp-chunked-req", "", "question"))
        .await
        .unwrap();
    let mut got = String::new();
    let mut buffer = [0; 1024];
    for part in ["first", "second"] {
        pieces.send(part.to_owned()).unwrap();
        while !got.contains(part) {
            let n = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await;
            let n = n.expect("the piece comes before the end").unwrap();
            assert!(n > 0, "{got}");
            got.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        assert!(!got.ends_with("0\r\n\r\n"));
    }
    drop(pieces);
    while !got.ends_with("0\r\n\r\n") {
        let n = stream.read(&mut buffer).await.unwrap();
        got.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    // Cut, silent, gone, elsewhere.
    gateway.set(Mode::Cut);
    let answer = say(relay.at, &post("message/ohttp-req", "", "x")).await;
    assert!(
        answer.contains("abc") && !answer.ends_with("0\r\n\r\n"),
        "no end: {answer}"
    );
    gateway.set(Mode::Silent);
    let answer = say(relay.at, &post("message/ohttp-req", "", "x")).await;
    assert!(
        status(&answer) == "504" && answer.contains("relay.gateway_slow"),
        "{answer}"
    );
    gateway.set(Mode::Redirect);
    let answer = say(relay.at, &post("message/ohttp-req", "", "x")).await;
    assert!(status(&answer) == "502" && !answer.contains("who.example"), "{answer}");
    gateway.set(Mode::Vanish);
    let before = gateway.requests().len();
    let answer = say(relay.at, &post("message/ohttp-req", "", "x")).await;
    assert!(status(&answer) == "502" && answer.contains("relay.gateway"), "{answer}");
    assert_eq!(gateway.requests().len(), before + 1, "a message is never sent twice");
    // Longer than an answer may be.
    gateway.set(Mode::Echo);
    let long = "x".repeat(1025);
    let answer = say(relay.at, &post("message/ohttp-req", "", &long)).await;
    assert!(
        !answer.ends_with("0\r\n\r\n") && !answer.contains(&long),
        "cut: {answer}"
    );
}

#[tokio::test]
async fn requests_over_the_limit_are_told_so_and_a_client_that_goes_makes_room() {
    let gateway = Gateway::start().await;
    let relay = relay(&gateway, "requests_max = 1").await;
    gateway.set(Mode::Silent);
    let mut first = TcpStream::connect(relay.at).await.unwrap();
    first.write_all(&post("message/ohttp-req", "", "x")).await.unwrap();
    while gateway.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = say(relay.at, &post("message/ohttp-req", "", "y")).await;
    assert!(status(&answer) == "503" && answer.contains("relay.busy"), "{answer}");
    drop(first);
    gateway.set(Mode::Echo);
    for _ in 0..100 {
        if status(&say(relay.at, &post("message/ohttp-req", "connection: close\r\n", "z")).await) == "200" {
            return;
        }
    }
    panic!("the place was never given back");
}

/// HTTP/2 with and without TLS.
mod two {
    use super::*;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use hyper::client::conn::http2;
    use hyper::{Request, StatusCode};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use rustls::{ClientConfig, RootCertStore};
    use rustls_pki_types::ServerName;
    use tokio_rustls::TlsConnector;

    async fn exchange<S>(stream: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(driver);
        let ask = |kind: &str, body: &str| {
            Request::post(format!("https://relay.test{PATH}"))
                .header("content-type", kind)
                .header("user-agent", "203.0.113.7")
                .body(Full::new(Bytes::from(body.to_owned())))
                .unwrap()
        };
        let answer = sender.send_request(ask("message/ohttp-req", "sealed")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "sealed");
        let refused = sender.send_request(ask("text/plain", "sealed")).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }

    #[tokio::test]
    async fn both_versions_are_spoken_in_clear_and_over_tls() {
        let gateway = Gateway::start().await;
        let clear = relay(&gateway, "").await;
        exchange(TcpStream::connect(clear.at).await.unwrap()).await;

        let dir = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(vec!["relay.test".to_owned()]).unwrap();
        std::fs::write(dir.path().join("c.pem"), own.cert.pem()).unwrap();
        std::fs::write(dir.path().join("k.pem"), own.signing_key.serialize_pem()).unwrap();
        let files = format!(
            "tls = {{ certificate = \"{0}/c.pem\", key = \"{0}/k.pem\" }}",
            dir.path().display()
        );
        let relay = relay_at(&gateway, "", &files).await;
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = || ServerName::try_from("relay.test").unwrap();
        for (alpn, is_two) in [(b"h2".as_slice(), true), (b"http/1.1", false)] {
            let mut config = config.clone();
            config.alpn_protocols = vec![alpn.to_vec()];
            let stream = TcpStream::connect(relay.at).await.unwrap();
            let mut stream = TlsConnector::from(Arc::new(config))
                .connect(name(), stream)
                .await
                .unwrap();
            let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
            match is_two {
                true => exchange(stream).await,
                false => {
                    stream
                        .write_all(&post("message/ohttp-req", "connection: close\r\n", "sealed-h1"))
                        .await
                        .unwrap();
                    let mut all = String::new();
                    let _ = stream.read_to_string(&mut all).await;
                    assert!(status(&all) == "200" && all.contains("sealed-h1"), "{all}");
                }
            }
        }
        let all = String::from_utf8_lossy(&gateway.seen.lock().unwrap().bytes).into_owned();
        assert!(!all.contains("203.0.113.7"), "{all}");
    }
}
