//! A web page in the user's browser, and other programs that are not the user's.

use hanzo_client::connect::{self, ConnectOptions};
use hanzo_tests_adversary::appliance::Appliance;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::engine;
use crate::wire::CANARY;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_a_foreign_host_or_origin_gets_nothing() {
    let appliance = Appliance::start(engine::command()).await;
    let client = appliance.client(appliance.guest_at);
    let listener = connect::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(connect::serve(
        listener,
        client,
        ConnectOptions::default(),
        std::future::pending(),
    ));
    let own = format!("127.0.0.1:{}", at.port());
    let body = format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"echo {CANARY}"}}]}}"#);
    let post = |host: &str, more: &str| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n{more}content-type: application/json\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for (what, request) in [
        ("rebound name", post("evil.example", "")),
        (
            "rebound name, own port",
            post(&format!("evil.example:{}", at.port()), ""),
        ),
        ("no host", post("", "")),
        ("foreign origin", post(&own, "origin: https://evil.example\r\n")),
        ("null origin", post(&own, "origin: null\r\n")),
    ] {
        let answer = exchange(at, &request).await;
        let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        assert!([400, 403, 421].contains(&status), "{what}: {answer}");
        assert!(
            !answer.contains(CANARY) && !answer.to_lowercase().contains("access-control-allow-origin"),
            "{what}: {answer}"
        );
    }
    assert_eq!(appliance.prompts(), 0);
    let answer = exchange(at, &post(&own, "")).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains(CANARY),
        "the user's own program: {answer}"
    );
    assert_eq!(appliance.prompts(), 1);
}

async fn exchange(at: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
