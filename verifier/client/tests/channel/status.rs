//! The status of the local endpoint, as people and programs get it, and who else asks for it.

use std::net::SocketAddr;
use std::sync::Arc;

use hanzo_client::Client;
use hanzo_client::connect::{self, ConnectOptions, read_status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::*;
use crate::guest::*;

async fn serve(client: impl Into<Client>, options: ConnectOptions) -> SocketAddr {
    let listener = connect::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(connect::serve(listener, client.into(), options, std::future::pending()));
    at
}

async fn ask(at: SocketAddr, line: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let length = body.len();
    let request = format!("{line} HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn own(at: SocketAddr) -> String {
    format!("host: 127.0.0.1:{}\r\n", at.port())
}

#[tokio::test]
async fn chats_pass_by_sealed_messages_and_the_status_tells_of_them() {
    let guest = Guest::boot(1);
    let gateway = Gateway::to(&guest).await;
    let at = serve(sealed_client(gateway.at), ConnectOptions::default()).await;
    let answer = ask(at, "POST /v1/chat/completions", &own(at), &chat(false).to_string()).await;
    assert!(
        answer.contains("Paris") && answer.contains("hanzo-receipt-status: verified"),
        "{answer}"
    );
    let streamed = ask(at, "POST /v1/chat/completions", &own(at), &chat(true).to_string()).await;
    assert!(streamed.contains(": hanzo-receipt-status verified"), "{streamed}");
    let status = read_status(at, None).await.unwrap();
    assert_eq!(
        (&status["channel"], &status["padding"]),
        (&"sealed".into(), &"off".into())
    );
    assert_eq!(status["endpoint"], gateway.at.to_string());
    assert_eq!(status["receipts"]["verified"], 2);
    assert_eq!(status["verdict"]["tier"], 2);
    assert!(status["evidence_age_s"].is_u64() && status["error"].is_null());
    assert!(!status.to_string().contains(PROMPT));
}

#[tokio::test]
async fn the_page_shows_what_was_verified_and_loads_and_runs_nothing() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let at = serve(client(network.at, None).0, ConnectOptions::default()).await;
    ask(at, "POST /v1/chat/completions", &own(at), &chat(false).to_string()).await;
    let page = ask(at, "GET /", &own(at), "").await;
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for line in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; style-src 'self';",
        "x-frame-options: DENY",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "cross-origin-resource-policy: same-origin",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    let keyset = &guest.keyset;
    for said in [
        "Simulated".to_owned(),
        "tier<br>CpuTee".to_owned(),
        keyset.image.to_string(),
        keyset.models[0].weights_root.to_string(),
        keyset.config_digest.to_string(),
        "AMD EPYC Genoa".to_owned(),
        "no GPU is attested".to_owned(),
        "<b>1</b><span>receipts verified".to_owned(),
        network.at.to_string(),
    ] {
        assert!(body.contains(&said), "{said}: {body}");
    }
    for never in [
        "<script",
        "http-equiv=\"Content",
        "onclick",
        "src=",
        PROMPT,
        "hanzo-owner",
    ] {
        assert!(!body.contains(never), "{never}");
    }
    let links: Vec<_> = body
        .match_indices("href=\"")
        .map(|(i, _)| &body[i + 6..i + 12])
        .collect();
    assert_eq!(links, ["/hanzo", "/hanzo"]);
    let style = ask(at, "GET /hanzo/status.css", &own(at), "").await;
    assert!(style.contains("content-type: text/css") && style.contains("prefers-color-scheme: dark"));
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[tokio::test]
async fn a_refused_guest_is_shown_with_the_rule_and_no_receipts_are_made_up() {
    let knobs = Knobs {
        debug: true,
        ..Knobs::default()
    };
    let network = Network::to(&Arc::new(Guest::with(1, 1, knobs))).await;
    let at = serve(client(network.at, None).0, ConnectOptions::default()).await;
    let page = ask(at, "GET /", &own(at), "").await;
    assert!(page.starts_with("HTTP/1.1 502") && page.contains("Refused"), "{page}");
    assert!(
        page.contains("<code>snp.debug</code>") && page.contains("Nothing is sent"),
        "{page}"
    );
    let status = read_status(at, None).await.unwrap();
    assert_eq!(
        (&status["error"]["code"], &status["error"]["exit_code"]),
        (&"snp.debug".into(), &40.into())
    );
    assert!(status["verdict"].is_null());
}

#[tokio::test]
async fn the_status_answers_its_own_names_by_get_alone_and_with_the_token_if_there_is_one() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let options = ConnectOptions {
        token: Some("0123456789abcdef".to_owned().into()),
        ..ConnectOptions::default()
    };
    let at = serve(client(network.at, None).0, options).await;
    let bearer = format!("{}authorization: Bearer 0123456789abcdef\r\n", own(at));
    for path in ["/", "/hanzo/status", "/hanzo/status.css"] {
        let good = ask(at, &format!("GET {path}"), &bearer, "").await;
        assert!(good.starts_with("HTTP/1.1 200"), "{path}: {good}");
        // A page of another site that had its name point here (DNS rebinding) says its own name.
        let foreign = bearer.replace("127.0.0.1", "rebound.example");
        for (method, headers, status, code) in [
            ("GET", foreign.as_str(), "421", "connect.foreign_host"),
            ("GET", "", "421", "connect.foreign_host"),
            ("GET", &own(at), "401", "connect.token"),
            ("POST", &bearer, "405", "connect.method"),
            ("DELETE", &bearer, "405", "connect.method"),
            ("OPTIONS", &bearer, "405", "connect.method"),
        ] {
            let answer = ask(at, &format!("{method} {path}"), headers, "").await;
            let named = answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(code);
            // HTTP/1.1 without a Host is refused by the server itself.
            assert!(
                named || (headers.is_empty() && answer.starts_with("HTTP/1.1 4")),
                "{method} {path}: {answer}"
            );
            assert!(
                !answer.contains("weights_root") && !answer.contains("Weights"),
                "{answer}"
            );
        }
    }
    assert_eq!(read_status(at, None).await.unwrap_err().code(), "status.denied");
    read_status(at, Some("0123456789abcdef")).await.unwrap();
    let nobody = connect::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let nowhere = nobody.local_addr().unwrap();
    drop(nobody);
    assert_eq!(
        read_status(nowhere, None).await.unwrap_err().code(),
        "status.unreachable"
    );
}

#[tokio::test]
async fn a_program_may_ask_for_a_tier_and_is_not_passed_over() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let at = serve(client(network.at, None).0, ConnectOptions::default()).await;
    for (wish, status, code) in [
        ("hanzo-min-tier: 2\r\n", "200", "Paris"),
        ("hanzo-min-tier: 3\r\n", "502", "request.tier"),
        ("hanzo-min-tier: 5\r\n", "400", "connect.min_tier"),
        ("hanzo-min-tier: GpuCc\r\n", "400", "connect.min_tier"),
        ("hanzo-min-tier: 2\r\nhanzo-min-tier: 1\r\n", "400", "connect.min_tier"),
    ] {
        let headers = own(at) + wish;
        let answer = ask(at, "POST /v1/chat/completions", &headers, &chat(false).to_string()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(code),
            "{wish}: {answer}"
        );
    }
    assert_eq!(guest.heard().matches(PROMPT).count(), 1);
    assert!(!guest.heard().contains("min-tier"), "the wish stays here");
}
