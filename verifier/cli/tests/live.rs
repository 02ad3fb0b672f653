//! The binary against a running guest: verify, connect, and the receipt afterwards.

#[path = "../../client/tests/channel/gateway.rs"]
#[allow(dead_code, reason = "the client's tests use more of it")]
mod gateway;
#[path = "../../client/tests/channel/guest.rs"]
#[allow(dead_code, reason = "the client's tests use more of it")]
mod guest;
#[path = "../../client/tests/channel/relay.rs"]
mod relay;

use std::path::Path;
use std::process::Stdio;

use gateway::Gateway;
use guest::{Guest, Knobs, Network, PROMPT, chat, context};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

fn hanzo_verify(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hanzo-verify"));
    command
        .args(line.split_whitespace())
        .current_dir(dir)
        .env("XDG_STATE_HOME", dir.join("state"))
        .kill_on_drop(true);
    command
}

async fn run(dir: &Path, line: &str) -> (i32, String) {
    let output = hanzo_verify(dir, line).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn trust(dir: &Path) {
    let context = context();
    std::fs::write(dir.join("policy.toml"), context.policy.to_toml().unwrap()).unwrap();
    std::fs::write(dir.join("ark.der"), &context.anchors.simulator_arks()[0]).unwrap();
}

const TRUST: &str = "--policy policy.toml --simulator-root ark.der";

#[tokio::test(flavor = "multi_thread")]
async fn a_running_guest_is_verified_and_its_saved_bundle_again_offline() {
    let dir = tempfile::tempdir().unwrap();
    trust(dir.path());
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let (at, dir) = (network.at, dir.path());
    let (code, text) = run(dir, &format!("verify https://{at} {TRUST} --save bundle.json --json")).await;
    assert_eq!(code, 0, "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&document["channel"], &document["verdict"]["tier"]),
        (&"proven".into(), &2.into())
    );
    let challenge = document["challenge"].as_str().unwrap();
    let (code, text) = run(dir, &format!("verify bundle.json {TRUST} --challenge {challenge}")).await;
    assert_eq!(code, 0, "{text}");

    let impostor = Guest::with(
        1,
        1,
        Knobs {
            debug: true,
            ..Knobs::default()
        },
    )
    .into();
    network.divert(&impostor);
    let (code, text) = run(dir, &format!("verify https://{at} {TRUST}")).await;
    assert!(
        code == 40 && text.contains("snp.debug") && text.contains("nothing was sent"),
        "{text}"
    );
    let (code, text) = run(dir, &format!("connect --to {at} {TRUST} --listen 127.0.0.1:0")).await;
    assert!(code == 40 && text.contains("snp.debug"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_serves_until_it_is_told_to_stop_and_the_receipt_stays() {
    let dir = tempfile::tempdir().unwrap();
    trust(dir.path());
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let (to, dir) = (network.at, dir.path());
    let mut child = hanzo_verify(dir, &format!("connect --to {to} {TRUST} --listen 127.0.0.1:0 --json"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let greeting: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    let at = greeting["listening"].as_str().unwrap();
    let at = at.strip_prefix("http://").and_then(|a| a.strip_suffix("/v1")).unwrap();
    let mut local = TcpStream::connect(at).await.unwrap();
    let body = chat(false).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut local, request.as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut local, &mut answer)
        .await
        .unwrap();
    assert!(
        answer.contains("Paris") && answer.contains("hanzo-receipt-status: verified"),
        "{answer}"
    );
    assert!(guest.heard().contains(PROMPT));

    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").arg(pid).status().await.unwrap().success());
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    drop(network);
    std::fs::write(dir.join("request"), body).unwrap();
    let (code, text) = run(dir, &format!("receipt {} --request request", "07".repeat(16))).await;
    assert!(
        code == 0 && text.contains("SIMULATED") && text.contains("request opened and equal"),
        "{text}"
    );
    std::fs::write(dir.join("request"), "another").unwrap();
    let (code, text) = run(dir, &format!("receipt {} --request request", "07".repeat(16))).await;
    assert!(code == 30 && text.contains("receipt.commitment.request"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_seals_through_a_relay_and_status_tells_of_it_with_the_verdict_s_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    trust(dir.path());
    let guest = Guest::boot(1);
    let (gateway, relay) = (Gateway::to(&guest).await, Gateway::to(&guest).await);
    let (to, through, dir) = (gateway.at, relay.at, dir.path());
    let line = format!(
        "connect --to {to} --sealed --relay http://{through}/ohttp --padding 512 {TRUST} --listen 127.0.0.1:0 --json"
    );
    let mut child = hanzo_verify(dir, &line).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let greeting: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    let at = greeting["status"].as_str().unwrap();
    let at = at.strip_prefix("http://").and_then(|a| a.strip_suffix('/')).unwrap();
    let mut local = TcpStream::connect(at).await.unwrap();
    let body = chat(false).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut local, request.as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut local, &mut answer)
        .await
        .unwrap();
    assert!(
        answer.contains("Paris") && answer.contains("hanzo-receipt-status: verified"),
        "{answer}"
    );
    assert_eq!((relay.count("POST /ohttp"), gateway.count("POST")), (2, 0));
    let lengths: Vec<_> = relay.asked.lock().unwrap().iter().map(|(_, n)| n - 1144).collect();
    assert!(lengths.iter().all(|n| n % 512 == 0), "{lengths:?}");

    let (code, text) = run(dir, &format!("status --at {at}")).await;
    assert_eq!(code, 0, "{text}");
    for said in [
        "ACCEPTED: tier 2",
        "SIMULATED",
        "sealed messages",
        "1 verified, 0 wrong, 0 missing",
        "padding      512",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let (code, text) = run(dir, &format!("status --at {at} --json")).await;
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &document["channel"]), (0, &"sealed".into()));
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").arg(pid).status().await.unwrap().success());
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    let (code, text) = run(dir, &format!("status --at {at}")).await;
    assert!(code == 1 && text.contains("status.unreachable"), "{text}");

    // A relay without --sealed, and a mode that is none.
    for bad in ["--relay http://127.0.0.1:1/", "--padding 1024"] {
        let (code, _) = run(dir, &format!("connect --to {to} {TRUST} {bad}")).await;
        assert_eq!(code, 1, "{bad}");
    }
}
