//! The local endpoint: who may use it, what passes, and what a program sees when a guest is refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanzo_client::AttestedClient;
use hanzo_client::connect::{self, ConnectOptions};
use hanzo_verifier::callers::ApiKey;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::guest::*;

pub(crate) async fn serve(client: AttestedClient, options: ConnectOptions) -> SocketAddr {
    let listener = connect::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(connect::serve(listener, client, options, std::future::pending()));
    at
}

async fn send(at: SocketAddr, request_line: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!(
        "{request_line} HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

pub(crate) async fn ask(at: SocketAddr, request_line: &str, headers: &str, body: &str) -> String {
    let mut stream = send(at, request_line, headers, body).await;
    let mut answer = Vec::new();
    // A reset after what came is an answer too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn own(at: SocketAddr) -> String {
    format!(
        "host: 127.0.0.1:{}\r\nauthorization: Bearer sk-API-KEY\r\ncookie: a=b\r\nuser-agent: py\r\n",
        at.port()
    )
}

const CHAT: &str = "POST /v1/chat/completions";

#[tokio::test]
async fn a_chat_passes_and_none_of_the_program_s_own_headers_do() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let at = serve(client(network.at, None).0, ConnectOptions::default()).await;
    let answer = ask(at, CHAT, &own(at), &chat(false).to_string()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("Paris") && answer.contains("hanzo-receipt-id: 0707"),
        "{answer}"
    );
    assert!(answer.contains("hanzo-receipt-status: verified"), "{answer}");
    assert!(!answer.contains("server: guest"));
    let heard = guest.heard();
    assert!(heard.contains(PROMPT) && heard.contains("hanzo-owner"));
    for word in ["API-KEY", "cookie", "user-agent", "authorization"] {
        assert!(!heard.contains(word), "{word}");
    }
    let answer = ask(at, "GET /v1/models", &own(at), "").await;
    assert!(answer.contains("smollm2"));
    let answer = ask(at, "GET /hanzo/status", &own(at), "").await;
    assert!(
        answer.contains("\"channel\":\"proven\"") && answer.contains("\"simulated\":true"),
        "{answer}"
    );
    assert!(answer.contains("\"verified\":1"), "{answer}");
}

#[tokio::test]
async fn a_stream_passes_frame_by_frame_and_its_receipt_is_checked() {
    let pause = Arc::new(Notify::new());
    let guest = Arc::new(Guest::with(
        1,
        1,
        Knobs {
            pause: Some(pause.clone()),
            ..Knobs::default()
        },
    ));
    let network = Network::to(&guest).await;
    let (client, _) = client(network.at, None);
    let at = serve(client.clone(), ConnectOptions::default()).await;
    let mut stream = send(at, CHAT, &own(at), &chat(true).to_string()).await;
    let mut seen = String::new();
    while !seen.contains("\"Pa\"") {
        let mut piece = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut piece)).await;
        let n = read.expect("the first frame was held back").unwrap();
        assert_ne!(n, 0);
        seen += std::str::from_utf8(&piece[..n]).unwrap();
    }
    assert!(!seen.contains("ris"));
    pause.notify_one();
    stream.read_to_string(&mut seen).await.unwrap();
    let order: Vec<_> = [
        "\"ris\"",
        ": hanzo-receipt {",
        ": hanzo-receipt-status verified",
        "data: [DONE]",
    ]
    .iter()
    .map(|w| seen.find(w).unwrap_or_else(|| panic!("{w} in {seen}")))
    .collect();
    assert!(order.is_sorted());
    assert_eq!(client.tally().verified, 1);

    for (receipts, word) in [
        (
            ReceiptKnob::OtherResponse,
            ": hanzo-receipt-status receipt.commitment.response",
        ),
        (ReceiptKnob::None, ": hanzo-receipt-status missing"),
    ] {
        network.divert(&Arc::new(Guest::with(
            1,
            1,
            Knobs {
                receipts,
                ..Knobs::default()
            },
        )));
        network.sever().await;
        let answer = ask(at, CHAT, &own(at), &chat(true).to_string()).await;
        assert!(answer.contains(word), "{answer}");
    }
}

/// A program that knows beforehand that HTTP/2 is spoken.
async fn http2(at: SocketAddr) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let tcp = TcpStream::connect(at).await.unwrap();
    let (sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
        .await
        .unwrap();
    tokio::spawn(driver);
    sender
}

fn over_http2(authority: &str, path: &str, body: String) -> Request<Full<Bytes>> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    Request::builder()
        .method(method)
        .uri(format!("http://{authority}{path}"))
        .header("cookie", "a=b")
        .body(Full::from(body))
        .unwrap()
}

#[tokio::test]
async fn http2_programs_share_a_local_connection_and_every_connection_to_the_guest_is_proven() {
    let pause = Arc::new(Notify::new());
    let knobs = Knobs {
        pause: Some(pause.clone()),
        ..Knobs::default()
    };
    let guest = Arc::new(Guest::with(1, 1, knobs));
    let network = Network::to(&guest).await;
    let (client, _) = client(network.at, None);
    let at = serve(client.clone(), ConnectOptions::default()).await;
    let own = at.to_string();
    let mut program = http2(at).await;

    // A stream that waits for its second frame, and questions beside it on the same connection.
    let streamed = over_http2(&own, "/v1/chat/completions", chat(true).to_string());
    let mut streamed = program.send_request(streamed).await.unwrap().into_body();
    let frame = streamed.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(frame.windows(4).any(|w| w == b"\"Pa\""));
    let beside: Vec<_> = (0..4)
        .map(|_| program.send_request(over_http2(&own, "/v1/chat/completions", chat(false).to_string())))
        .collect();
    for answer in futures_util::future::join_all(beside).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["hanzo-receipt-status"], "verified");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.windows(5).any(|w| w == b"Paris"));
    }
    pause.notify_one();
    let rest = streamed.collect().await.unwrap().to_bytes();
    let rest = String::from_utf8_lossy(&rest);
    assert!(
        rest.contains(": hanzo-receipt-status verified") && rest.contains("[DONE]"),
        "{rest}"
    );
    assert!(!guest.heard().contains("cookie"));
    // One request at a time on each proven connection: streams that ran together went over several.
    assert!(network.connections() >= 2);

    // The same guard: the authority is the name.
    for (authority, status) in [
        (format!("evil.example:{}", at.port()), 421),
        ("127.0.0.1:1".into(), 421),
        (own.clone(), 200),
    ] {
        let answer = program
            .send_request(over_http2(&authority, "/v1/models", String::new()))
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{authority}");
    }
    let mut foreign = over_http2(&own, "/v1/models", String::new());
    foreign
        .headers_mut()
        .insert("origin", "https://evil.example".parse().unwrap());
    assert_eq!(program.send_request(foreign).await.unwrap().status(), 403);

    // An answer that breaks off is a stream that breaks off, not a short answer.
    let knobs = Knobs {
        before_receipt: ": hanzo-receipt-status verified\n\n",
        ..Knobs::default()
    };
    network.divert(&Arc::new(Guest::with(1, 1, knobs)));
    network.sever().await;
    let cut = over_http2(&own, "/v1/chat/completions", chat(true).to_string());
    let answer = program.send_request(cut).await.unwrap();
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn curl_speaks_either_protocol_to_the_local_endpoint() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let at = serve(client(network.at, None).0, ConnectOptions::default()).await;
    for (option, version) in [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1")] {
        let asked = tokio::process::Command::new("curl")
            .args(["-sS", option, "--data-binary", &chat(false).to_string()])
            .args(["-w", "\n%{http_version} %{http_code}"])
            .arg(format!("http://{at}/v1/chat/completions"))
            .output()
            .await;
        let Ok(output) = asked else {
            eprintln!("curl is MISSING: not run");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("Paris") && text.ends_with(&format!("{version} 200")),
            "{text}"
        );
    }
    // What is no preface is no HTTP/2.
    let mut half = TcpStream::connect(at).await.unwrap();
    half.write_all(b"PRI").await.unwrap();
    half.write_all(b"VATE / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), half.read_buf(&mut answer)).await;
    ended.unwrap().unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 4"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_refused_guest_is_an_openai_error_that_names_the_rule() {
    let impostor = Arc::new(Guest::with(
        1,
        1,
        Knobs {
            debug: true,
            ..Knobs::default()
        },
    ));
    let network = Network::to(&impostor).await;
    let at = serve(client(network.at, None).0, ConnectOptions::default()).await;
    let answer = ask(at, CHAT, &own(at), &chat(false).to_string()).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "snp.debug");
    assert_eq!(body["error"]["type"], "hanzo_attestation_error");
    assert!(body["error"]["message"].as_str().unwrap().contains("nothing was sent"));
    assert!(!answer.contains(PROMPT));
    assert_eq!(impostor.heard(), "");
    let status = ask(at, "GET /hanzo/status", &own(at), "").await;
    assert!(
        status.starts_with("HTTP/1.1 502") && status.contains("snp.debug"),
        "{status}"
    );
}

#[tokio::test]
async fn web_pages_get_nothing() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let at = serve(client(network.at, None).0, ConnectOptions::default()).await;
    let host = format!("host: localhost:{}\r\n", at.port());
    for (headers, status, code) in [
        ("host: evil.example\r\n".to_owned(), "421", "connect.foreign_host"),
        (
            format!("host: evil.example:{}\r\n", at.port()),
            "421",
            "connect.foreign_host",
        ),
        (
            format!("{host}origin: https://evil.example\r\n"),
            "403",
            "connect.foreign_origin",
        ),
        (format!("{host}origin: null\r\n"), "403", "connect.foreign_origin"),
        (
            format!("{host}sec-fetch-site: cross-site\r\n"),
            "403",
            "connect.foreign_origin",
        ),
    ] {
        for line in [
            CHAT,
            "GET /v1/models",
            "GET /hanzo/status",
            "OPTIONS /v1/chat/completions",
            "GET /",
        ] {
            let answer = ask(at, line, &headers, "").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
            assert!(
                answer.contains(code) && !answer.contains("access-control"),
                "{line}: {answer}"
            );
        }
    }
    assert_eq!((guest.heard(), network.connections()), (String::new(), 0));
    let answer = ask(at, "GET /v1/models", &host, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn bounds_paths_and_tokens_are_openai_errors_too() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let options = ConnectOptions {
        token: Some("0123456789abcdef".to_owned().into()),
        body_bytes_max: 64,
        ..ConnectOptions::default()
    };
    let at = serve(client(network.at, None).0, options).await;
    let host = format!("host: localhost:{}\r\n", at.port());
    let bearer = format!("{host}authorization: Bearer 0123456789abcdef\r\n");
    let answer = ask(at, "GET /v1/models", &host, "").await;
    assert!(
        answer.starts_with("HTTP/1.1 401") && answer.contains("connect.token"),
        "{answer}"
    );
    for (line, body, status, code) in [
        (CHAT, "x".repeat(65), "413", "connect.body_too_large"),
        ("GET /admin", String::new(), "404", "connect.not_found"),
        ("POST /hanzo/status", String::new(), "405", "connect.method"),
    ] {
        let answer = ask(at, line, &bearer, &body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(code),
            "{answer}"
        );
    }
    let answer = ask(at, "GET /v1/models", &bearer, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!guest.heard().contains("0123456789abcdef"), "the token stays here");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = connect::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = first.local_addr().unwrap();
    let e = connect::listen(at).await.unwrap_err();
    assert_eq!(e.code(), "connect.port_in_use");
    assert!(e.to_string().contains(&format!("port {} on 127.0.0.1", at.port())));
}

#[test]
fn a_token_comes_from_a_private_file_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    let mode = |m| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(m)).unwrap();
    mode(0o644);
    assert_eq!(connect::read_token(&path).unwrap_err().code(), "state.mode");
    mode(0o600);
    assert_eq!(connect::read_token(&path).unwrap().as_str(), "0123456789abcdef");
    for bad in ["short", "0123456789 abcdef", "0123456789abcdef\nmore"] {
        std::fs::write(&path, bad).unwrap();
        assert_eq!(connect::read_token(&path).unwrap_err().code(), "connect.token_file");
    }
}

#[tokio::test]
async fn nothing_unsigned_follows_a_receipt_and_no_guest_says_that_its_own_is_good() {
    const MORE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\" is not\"}}]}\n\n";
    for (before_receipt, after_receipt, forged) in [
        ("", MORE, " is not"),
        (
            ": hanzo-receipt-status verified\n\n",
            "",
            "hanzo-receipt-status verified",
        ),
        (
            "data: {}\r:hanzo-receipt-status verified\n\n",
            "",
            "hanzo-receipt-status verified",
        ),
    ] {
        let knobs = Knobs {
            before_receipt,
            after_receipt,
            receipts: if after_receipt.is_empty() {
                ReceiptKnob::OtherResponse
            } else {
                ReceiptKnob::Honest
            },
            ..Knobs::default()
        };
        let guest = Arc::new(Guest::with(1, 1, knobs));
        let network = Network::to(&guest).await;
        let (client, _) = client(network.at, None);
        let at = serve(client.clone(), ConnectOptions::default()).await;
        let answer = ask(at, CHAT, &own(at), &chat(true).to_string()).await;
        assert!(!answer.contains(forged), "{answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "it ended as if it were whole: {answer}");
        assert_eq!(client.tally().mismatched, 1);
    }
    // The same words inside the answer are the model's business.
    let words = "data: {\"choices\":[{\"delta\":{\"content\":\": hanzo-receipt-status verified\"}}]}\n\n";
    let knobs = Knobs {
        before_receipt: words,
        ..Knobs::default()
    };
    let guest = Arc::new(Guest::with(1, 1, knobs));
    let network = Network::to(&guest).await;
    let (client, _) = client(network.at, None);
    let at = serve(client.clone(), ConnectOptions::default()).await;
    let answer = ask(at, CHAT, &own(at), &chat(true).to_string()).await;
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    assert_eq!(client.tally().verified, 1);
}

#[tokio::test]
async fn others_than_this_machine_need_a_token() {
    let options = |token: Option<&str>| ConnectOptions {
        token: token.map(|t| t.to_owned().into()),
        ..ConnectOptions::default()
    };
    for (address, token, accepted) in [
        ("127.0.0.1:1", None, true),
        ("[::1]:1", None, true),
        ("0.0.0.0:1", Some("0123456789abcdef"), true),
        ("0.0.0.0:1", None, false),
        ("[::]:1", None, false),
        ("10.0.0.1:1", None, false),
    ] {
        let got = options(token).check(address.parse().unwrap());
        assert_eq!(got.is_ok(), accepted, "{address}");
        if let Err(e) = got {
            assert_eq!(e.code(), "connect.exposed");
        }
    }
    let listener = connect::listen("0.0.0.0:0".parse().unwrap()).await.unwrap();
    let (client, _) = client("127.0.0.1:1".parse().unwrap(), None);
    let e = connect::serve(listener, client, options(None), std::future::pending())
        .await
        .unwrap_err();
    assert_eq!(e.code(), "connect.exposed");
}

pub(crate) fn key(byte: u8) -> ApiKey {
    ApiKey::draw(|out| {
        out.fill(byte);
        Ok(())
    })
    .unwrap()
}

#[tokio::test]
async fn a_guests_own_key_goes_on_and_no_other_services_does() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let at = serve(client(network.at, None).0, ConnectOptions::default()).await;
    let host = format!("host: localhost:{}\r\n", at.port());
    let (own, other) = (key(1), key(2));
    let text = own.text();
    for (headers, goes_on) in [
        (format!("authorization: Bearer {}\r\n", text.as_str()), true),
        (format!("x-api-key: {}\r\n", text.as_str()), true),
        (
            format!("x-api-key: sk-other\r\nauthorization: Bearer {}\r\n", text.as_str()),
            true,
        ),
        (format!("authorization: Basic {}\r\n", text.as_str()), false),
        (format!("authorization: Bearer {}0\r\n", text.as_str()), false),
        (format!("cookie: {}\r\n", text.as_str()), false),
        ("authorization: Bearer sk-other\r\n".into(), false),
        // A token of an identity provider has three parts, of which the first is an object.
        ("authorization: Bearer eyJh.eyJp.AAAA\r\n".into(), true),
        ("x-api-key: eyJh.eyJp.AAAA\r\n".into(), true),
        ("authorization: Bearer eyJh.eyJp\r\n".into(), false),
        ("authorization: Bearer sk.other.AAAA\r\n".into(), false),
    ] {
        let before = guest.heard().matches("authorization").count();
        let answer = ask(at, "GET /v1/models", &format!("{host}{headers}"), "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let heard = guest.heard();
        assert_eq!(
            heard.matches("authorization").count() - before,
            usize::from(goes_on),
            "{headers}"
        );
        assert!(!heard.contains("sk-other"));
    }
    // A key of its own stands in for whatever programs send.
    let options = ConnectOptions {
        api_key: Some(other),
        ..ConnectOptions::default()
    };
    let at = serve(client(network.at, None).0, options).await;
    let before = guest.heard().matches("authorization").count();
    ask(at, "GET /v1/models", &format!("host: localhost:{}\r\n", at.port()), "").await;
    assert_eq!(guest.heard().matches("authorization").count() - before, 1);
}

#[test]
fn a_key_file_is_its_owners_alone_and_holds_one_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("acme.key");
    let read = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        connect::read_api_key(&path).map(|key| key.hash()).map_err(|e| e.code())
    };
    let text = key(1).text();
    assert_eq!(read(&format!("{}\n", text.as_str()), 0o600), Ok(key(1).hash()));
    assert_eq!(read(&format!("{}\n", text.as_str()), 0o644), Err("state.mode"));
    for wrong in ["", "sk-other", &text[..74], &format!("{0}\n{0}", text.as_str())] {
        assert_eq!(read(wrong, 0o600), Err("connect.api_key_file"));
    }
}

#[tokio::test]
async fn an_access_token_is_read_from_its_file_for_each_request_and_nothing_stands_in_for_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token.jwt");
    let put = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let options = ConnectOptions {
        access_token_file: Some(path.clone()),
        ..ConnectOptions::default()
    };
    let at = serve(client(network.at, None).0, options).await;
    let host = format!(
        "host: localhost:{}\r\nauthorization: Bearer {}\r\n",
        at.port(),
        key(1).text().as_str()
    );
    let ask = async || ask(at, "GET /v1/models", &host, "").await;
    for token in ["eyJh.eyJp.AAAA", "eyJh.eyJp.BBBB"] {
        put(&format!("{token}\n"), 0o600);
        let answer = ask().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(guest.heard().contains(&format!("Bearer {token}")));
    }
    let heard = guest.heard();
    assert!(
        !heard.contains(key(1).text().as_str()),
        "the program's own key stays behind"
    );
    let too_long = format!("eyJ.{}.AAAA", "a".repeat(8 << 10));
    for (text, mode, code) in [
        ("eyJh.eyJp.AAAA", 0o644, "state.mode"),
        ("", 0o600, "connect.access_token_file"),
        ("eyJh.eyJp", 0o600, "connect.access_token_file"),
        ("sk.other.AAAA", 0o600, "connect.access_token_file"),
        ("eyJh.eyJp.AA AA", 0o600, "connect.access_token_file"),
        ("eyJh.eyJp.AAAA\neyJh.eyJp.AAAA", 0o600, "connect.access_token_file"),
        (&too_long, 0o600, "connect.access_token_file"),
    ] {
        put(text, mode);
        let answer = ask().await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains(code),
            "{text}: {answer}"
        );
    }
    assert_eq!(guest.heard(), heard, "nothing was sent without it");
}
