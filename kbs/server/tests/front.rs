//! What stands before the handlers: rates, times, places, transport, reload, health, and the end.

#[path = "support/harness.rs"]
mod harness;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hanzo_kbs::config::{Limits, PeerAddress, PlainHttp};
use hanzo_kbs::{KbsConfig, StoreMode};
use hanzo_kbs_protocol::{ATTEST_PATH, AUTH_PATH};
use harness::{Broker, Guest, connect_from, http, policy};

const KEY: &str = "hanzo/dek/smollm2";

fn limited(change: impl FnOnce(&mut Limits)) -> Broker {
    Broker::start(StoreMode::Simulated, true, |c| change(&mut c.limits))
}

/// Sends bytes as they are and reads until the broker closes; how long that took.
fn raw(address: SocketAddr, pieces: &[&[u8]], pause: Duration) -> (String, Duration) {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            break;
        }
        std::thread::sleep(pause);
    }
    let mut bytes = Vec::new();
    if let Err(e) = stream.read_to_end(&mut bytes) {
        assert_ne!(e.kind(), ErrorKind::WouldBlock, "the broker holds the connection open");
    }
    (String::from_utf8_lossy(&bytes).into_owned(), started.elapsed())
}

#[test]
fn a_peer_over_its_rate_is_told_when_to_come_back() {
    let broker = limited(|l| l.auth_per_s = 1);
    let auth = || http(broker.address, "POST", AUTH_PATH, "", &Guest::new().session.auth_body());
    for _ in 0..4 {
        assert_eq!(auth().status, 200, "the burst");
    }
    let head = format!("POST {AUTH_PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let (said, _) = raw(broker.address, &[head.as_bytes()], Duration::ZERO);
    assert!(said.starts_with("HTTP/1.1 429 "), "{said}");
    assert!(said.to_lowercase().contains("\r\nretry-after: "), "{said}");
    assert!(said.contains("\"kbs.rate\""), "{said}");
    // The other routes have buckets of their own, and who asks for health is not counted.
    let other = http(broker.address, "POST", ATTEST_PATH, "", b"{}");
    assert_eq!(other.error(), (401, "kbs.session.unknown".into()));
    assert_eq!(http(broker.address, "GET", "/healthz", "", b"").status, 200);
    let metrics = http(broker.address, "GET", "/metrics", "", b"").text();
    assert!(
        metrics.contains("hanzo_kbs_limited_total{route=\"auth\"} 1\n"),
        "{metrics}"
    );
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(auth().status, 200);
}

#[test]
fn behind_a_front_the_forwarded_address_is_the_peer() {
    let broker = Broker::start(StoreMode::Simulated, true, |c| {
        c.plain_http = Some(PlainHttp::BehindATlsFront);
        c.limits.peer_address = PeerAddress::Forwarded;
        c.limits.auth_per_s = 1;
    });
    let body = String::from_utf8(Guest::new().session.auth_body()).unwrap();
    let auth = |forwarded: &str| {
        let request = format!(
            "POST {AUTH_PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: {forwarded}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        raw(broker.address, &[request.as_bytes()], Duration::ZERO).0[9..12].to_owned()
    };
    for _ in 0..4 {
        assert_eq!(auth("192.0.2.1"), "200");
    }
    assert_eq!(auth("192.0.2.1"), "429");
    // What the client itself wrote comes before what the front wrote, and counts for nothing.
    assert_eq!(auth("192.0.2.9, 192.0.2.1"), "429");
    assert_eq!(auth("192.0.2.2"), "200");
}

#[test]
fn slow_heads_slow_bodies_and_idle_connections_end() {
    let broker = limited(|l| (l.header_timeout_s, l.body_timeout_s) = (1, 1));
    let within = |took: Duration| assert!(took < Duration::from_secs(8), "{took:?}");
    let (_, took) = raw(
        broker.address,
        &[b"POST /kbs/v0/auth HT", b"TP/1.1\r\nHost:"],
        Duration::from_millis(300),
    );
    within(took);
    let head = format!("POST {AUTH_PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{{");
    let (said, took) = raw(broker.address, &[head.as_bytes()], Duration::ZERO);
    within(took);
    assert!(
        said.starts_with("HTTP/1.1 408 ") && said.contains("kbs.body.slow"),
        "{said}"
    );
    let (said, took) = raw(broker.address, &[], Duration::ZERO);
    within(took);
    assert_eq!(said, "");
    let (said, took) = raw(
        broker.address,
        &[b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"],
        Duration::ZERO,
    );
    within(took);
    assert!(said.ends_with("ok\n"), "then idle: {said}");
}

#[test]
fn strangers_who_hold_every_connection_give_way() {
    let broker = limited(|l| (l.connections_max, l.connections_per_peer) = (8, 8));
    broker.put(KEY, 1, &policy()).unwrap();
    const STRANGER: [u8; 4] = [127, 0, 0, 66];
    let _held: Vec<_> = (0..8).map(|_| connect_from(STRANGER, broker.address)).collect();
    std::thread::sleep(Duration::from_millis(100));
    // One peer has its bound and gets no ninth.
    let mut ninth = connect_from(STRANGER, broker.address);
    ninth.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(ninth.read(&mut [0; 1]).unwrap_or(0), 0);
    let guest = Guest::new().attested(broker.address);
    assert_eq!(guest.ask(broker.address, KEY).status, 200);
}

#[test]
fn a_configuration_says_how_it_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kbs.toml");
    let example = include_str!("../kbs.example.toml");
    let load = |from: &str, to: &str| {
        assert!(example.contains(from), "{from}");
        fs::write(&path, example.replacen(from, to, 1)).unwrap();
        KbsConfig::load(&path)
            .map(drop)
            .map_err(|e| format!("{e} [{}]", e.code()))
    };
    let plain = "\nplain_http = \"loopback\"\n";
    assert_eq!(load(plain, plain), Ok(()));
    for (from, to, says) in [
        (plain, "\n", "tls or plain_http"),
        (plain, "\nplain_http = \"yes\"\n", "unknown variant"),
        ("127.0.0.1:8090", "0.0.0.0:8090", "no loopback address"),
        (
            "auth_per_s = 200",
            "auth_per_s = 0",
            "limits.auth_per_s: expected 1 to 1000000, got 0",
        ),
        (
            "auth_per_s = 200",
            "auth_per_second = 200",
            "unknown field `auth_per_second`",
        ),
        (
            "connections_max = 1024",
            "connections_max = 7",
            "limits.connections_max",
        ),
        (
            "header_timeout_s = 10",
            "header_timeout_s = 301",
            "limits.header_timeout_s",
        ),
        (
            "peer_address = \"connection\"",
            "peer_address = \"forwarded\"",
            "limits.peer_address",
        ),
        (
            "[limits]",
            "[tls]\ncertificate_file = \"a\"\nkey_file = \"b\"\n[limits]",
            "one of them, got both",
        ),
        (
            "[limits]",
            "[tls]\ncertificate = \"a\"\n[limits]",
            "unknown field `certificate`",
        ),
        (
            "version = 1",
            "version = 1\nlisten_on = \"a\"",
            "unknown field `listen_on`",
        ),
        ("session_ttl_s = 60", "", "missing field `session_ttl_s`"),
        (
            "session_ttl_s = 60",
            "session_ttl_s = 601",
            "session_ttl_s: expected 1 to 600",
        ),
        (
            "sessions_max = 4096",
            "sessions_max = 0",
            "sessions_max: expected 1 to 65536",
        ),
    ] {
        let said = load(from, to).unwrap_err();
        assert!(said.contains(says) && said.contains("[kbs.config]"), "{to}: {said}");
    }
    fs::write(
        &path,
        example
            .replace("127.0.0.1:8090", "0.0.0.0:8090")
            .replace("\"loopback\"", "\"behind-a-tls-front\""),
    )
    .unwrap();
    KbsConfig::load(&path).unwrap();
}

#[test]
fn evidence_of_another_kind_than_the_session_was_opened_for_is_refused() {
    let broker = Broker::simulated();
    let attest = |tee: &str| {
        let mut guest = Guest::new();
        let body = format!(r#"{{"version":"0.4.0","tee":"{tee}","extra-params":""}}"#);
        let challenge = http(broker.address, "POST", AUTH_PATH, "", body.as_bytes());
        guest.cookie = challenge.cookie.clone().unwrap();
        let spec = guest.spec.clone();
        let made = guest.session.attest_body(&challenge.body, |request| {
            let launched = hanzo_simulated_tee::SimulatedProcessor::for_tests().launch(spec);
            let evidence = launched.evidence(request.report_data());
            Ok::<_, std::convert::Infallible>(hanzo_attestation::bundle::CpuEvidence::Snp(evidence))
        });
        guest.attest = made.unwrap();
        guest.send_attest(broker.address)
    };
    assert_eq!(attest("snp").status, 200);
    assert_eq!(attest("tdx").error(), (400, "kbs.session.tee".into()));
}
