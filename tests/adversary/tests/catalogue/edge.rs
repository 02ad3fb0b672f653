//! A host, or strangers before it, that attack the proxy and the guest's listeners with connections. What counts: the attacker
//! is cut, and meanwhile a healthy client is answered.

use std::net::SocketAddr;
use std::time::Duration;

use hanzo_attestation::channel::PROOF_PATH;
use hanzo_tests_adversary::attack::{Attack, Host, Running, Saw, run_all};
use hanzo_tests_adversary::door::{ask_attested, ask_sealed};
use hanzo_tests_adversary::impostor::connect;
use hanzo_tests_adversary::set::Set;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::results;

/// What becomes of a connection that says this and then waits.
async fn says(at: SocketAddr, bytes: &[u8], wait: Duration) -> Saw {
    let Ok(mut stream) = TcpStream::connect(at).await else {
        return Saw::refused("unreachable", "nobody took the connection");
    };
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(wait, stream.read_to_end(&mut answer)).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    match (read, answer.first()) {
        (_, Some(21)) => Saw::refused("tls.alert", format!("alert {:?}", answer.get(5..7))),
        (_, Some(b'H')) => Saw::refused(
            format!("status {}", text.split(' ').nth(1).unwrap_or_default()),
            "an answer",
        ),
        (Ok(Err(error)), _) => Saw::refused("reset", error.to_string()),
        (Ok(Ok(_)), None) => Saw::refused("closed", "without a word"),
        (Err(_), None) => Saw::refused("no answer", "it is left to wait"),
        _ => Saw::Whole(text),
    }
}

/// Many connections that say this and wait, while a healthy client asks.
fn many<'a>(
    set: &'a Set,
    host: Host,
    at: SocketAddr,
    count: usize,
    bytes: &'static [u8],
    wait: Duration,
) -> Running<'a> {
    Box::pin(async move {
        if host == Host::Honest {
            return ask_attested(&set.door.attested(), "healthy").await;
        }
        let crowd: Vec<_> = (0..count).map(|_| tokio::spawn(says(at, bytes, wait))).collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (tls, sealed) = (set.door.attested(), set.door.sealed());
        let healthy = tokio::join!(ask_attested(&tls, "healthy"), ask_sealed(&sealed, "healthy"));
        assert_eq!(
            (healthy.0.code(), healthy.1.code()),
            ("answered", "answered"),
            "{healthy:?}"
        );
        let mut last = Saw::refused("none", "");
        for one in crowd {
            last = one.await.unwrap();
            assert_ne!(last.code(), "answered");
        }
        last
    })
}

const SLOW: &str = "slowloris";
const LIES: &str = "PROXY-header lies";
const SHORT: Duration = Duration::from_millis(600);
const LONG: Duration = Duration::from_secs(4);
const HALF_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

macro_rules! attacks {
    ($($name:literal, $host:literal, $after:expr, $expect:expr, $run:expr;)*) => {
        &[$(Attack { name: $name, host: $host, after: $after, expect: $expect, run: $run },)*]
    };
}

pub const ATTACKS: &[Attack<Set>] = attacks! {
    "connections that say nothing", "opens a hundred and says nothing", SLOW, &["reset", "closed"], |s, h| many(s, h, s.proxy_at.tls, 100, b"", LONG);
    "handshakes that never go on", "begins sixty handshakes and says no more", SLOW, &["reset", "closed"], |s, h| many(s, h, s.proxy_at.tls, 60, HALF_HELLO, LONG);
    "requests whose headers never end", "begins sixty requests to the clear listener", SLOW, &["no answer"],
        |s, h| many(s, h, s.proxy_at.clear, 60, b"POST /.well-known/ohttp-gateway HTTP/1.1\r\nhost: g\r\nx: ", SHORT);
    "messages whose bodies never come", "announces sixteen sealed messages and sends none of them", SLOW, &["no answer"], |s, h| {
        const HEAD: &[u8] = b"POST /.well-known/ohttp-gateway HTTP/1.1\r\nhost: g\r\ncontent-type: message/ohttp-chunked-req\r\ncontent-length: 5000\r\n\r\n";
        many(s, h, s.proxy_at.clear, 16, HEAD, SHORT)
    };
    "messages without end", "sends sealed messages that go on and on", "endless frames", &["status 400", "status 413", "reset", "closed", "no answer"], |s, h| {
        const NOISE: &[u8] = &[b'x'; 3 << 20];
        if h == Host::Honest {
            return many(s, h, s.proxy_at.clear, 1, b"", SHORT);
        }
        Box::pin(async move {
            let head = b"POST /.well-known/ohttp-gateway HTTP/1.1\r\nhost: g\r\ncontent-type: message/ohttp-req\r\ncontent-length: 999999999\r\n\r\n";
            says(s.proxy_at.clear, &[head.as_slice(), NOISE].concat(), LONG).await
        })
    };
    "a storm of resets", "opens and resets three hundred connections", "RST storms", &["reset"], |s, h| Box::pin(async move {
        if h == Host::Honest {
            return ask_attested(&s.door.attested(), "calm").await;
        }
        let storm = tokio::spawn({
            let at = s.proxy_at.tls;
            async move {
                for _ in 0..300 {
                    let Ok(mut stream) = TcpStream::connect(at).await else { continue };
                    let _ = stream.write_all(HALF_HELLO).await;
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
            }
        });
        let saw = ask_attested(&s.door.attested(), "stormy").await;
        assert_eq!(saw.code(), "answered", "{saw:?}");
        storm.await.unwrap();
        Saw::refused("reset", "the host's own; the healthy client was answered")
    });
    "a PROXY header from a peer that is not listed", "says that it speaks for somebody else", LIES, &["tls.alert", "closed", "reset"],
        |s, h| many(s, h, s.proxy_at.tls, 5, b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", LONG);
    "no PROXY header from a peer that is listed", "leaves the header out", LIES, &["reset", "closed"], |s, h| many(s, h, s.proxy_at.headed, 5, HALF_HELLO, LONG);
    "a PROXY header that lies about its family", "calls an IPv4 address an IPv6 one", LIES, &["reset", "closed"],
        |s, h| many(s, h, s.proxy_at.headed, 5, b"PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n", LONG);
    "a PROXY header without end", "sends a header of a thousand bytes", LIES, &["reset", "closed"], |s, h| {
        const HEADER: &[u8] = &[b'P'; 1_000];
        many(s, h, s.proxy_at.headed, 5, HEADER, LONG)
    };
    "a PROXY header of version 2 that is too long", "announces 65,535 bytes of addresses", LIES, &["reset", "closed"], |s, h| {
        const HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff";
        many(s, h, s.proxy_at.headed, 5, HEADER, LONG)
    };
    "HTTP where TLS is expected", "asks the attested port in clear", "downgrade", &["tls.alert", "closed", "reset"],
        |s, h| many(s, h, s.proxy_at.tls, 5, b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 0\r\n\r\n", LONG);
    "a ClientHello of sixteen kilobytes", "sends a hello that fills a record and is none", "oversized frames", &["tls.alert", "closed", "reset"], |s, h| {
        const HELLO: &[u8] = &{
            let mut hello = [0x41; 16_389];
            (hello[0], hello[1], hello[2], hello[3], hello[4], hello[5]) = (22, 3, 1, 0x40, 0, 1);
            hello
        };
        many(s, h, s.proxy_at.tls, 5, HELLO, LONG)
    };
    "proofs without end", "asks for seventeen proofs on one connection", "endless frames", &["status 429"], |s, h| Box::pin(async move {
        if h == Host::Honest {
            return ask_attested(&s.door.attested(), "proven").await;
        }
        let mut tls = connect(s.guest_at[0]).await.unwrap();
        let body = format!("{{\"enc\":\"{}\"}}", "00".repeat(1120));
        let request = format!("POST {PROOF_PATH} HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (mut text, mut buffer) = (String::new(), vec![0; 65_536]);
        for _ in 0..17 {
            tls.write_all(request.as_bytes()).await.unwrap();
            let n = tls.read(&mut buffer).await.unwrap();
            text = String::from_utf8_lossy(&buffer[..n]).into_owned();
        }
        Saw::refused(format!("status {}", text.split(' ').nth(1).unwrap_or_default()), "the seventeenth")
    });
};

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_edge_are_cut_and_healthy_clients_answered() {
    let set = Set::start().await;
    run_all(&set, &[("edge", ATTACKS)], results()).await;
}
