//! The local endpoint: who may use it, what passes, and what a program sees when a guest is refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hanzo_client::AttestedClient;
use hanzo_client::connect::{self, ConnectOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::guest::*;

async fn serve(client: AttestedClient, options: ConnectOptions) -> SocketAddr {
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

async fn ask(at: SocketAddr, request_line: &str, headers: &str, body: &str) -> String {
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
