//! Answers that are not what was hoped for, the way to them, and how often they are asked for.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hanzo_attestation::snp::Product;
use hanzo_collateral::{BaseUrl, CollateralError, Fetcher, FetcherConfig, Pace, ProxyChoice, Roots, Sources};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::clock::VirtualClock;
use crate::server::{Reply, Server, ok, status};
use crate::snp::{Guest, NOW, config};

const S: Duration = Duration::from_secs(1);

/// Asks for AMD's list with these answers prepared. Returns the outcome, the waits and the number of requests.
async fn ask(
    replies: impl Into<Vec<Reply>>,
    edit: impl FnOnce(&mut FetcherConfig),
) -> (Result<Vec<u8>, CollateralError>, Vec<Duration>, usize) {
    let (server, guest) = (Server::start().await, Guest::new(Product::Genoa));
    server.on(&guest.crl_path(), replies);
    let mut config = config(&server, &guest.processor);
    edit(&mut config);
    let clock = VirtualClock::new();
    let fetcher = Fetcher::with_clock(config, None, clock.clone());
    let outcome = fetcher.crl(Product::Genoa, NOW).await.map(|item| item.bytes);
    (outcome, clock.waits(), server.seen().len())
}

fn crl() -> Vec<u8> {
    Guest::new(Product::Genoa).processor.crl_der(NOW)
}

#[tokio::test]
async fn a_failing_service_is_asked_again_with_growing_waits() {
    let crl = crl();
    let (outcome, waits, requests) = ask([status(500), status(503), status(502), ok(crl.clone())], |_| {}).await;
    assert_eq!(outcome.unwrap(), crl);
    assert_eq!((waits, requests), (vec![S, 2 * S, 4 * S], 4));

    let (outcome, waits, requests) = ask([status(500)], |_| {}).await;
    let refused = outcome.unwrap_err();
    assert!(
        matches!(
            refused,
            CollateralError::Status {
                status: 500,
                attempts: 5,
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(refused.code(), "collateral.status");
    assert_eq!((waits.len(), requests), (4, 5));
}

#[tokio::test]
async fn a_service_that_names_a_wait_is_given_it() {
    let crl = crl();
    for value in ["9", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let busy = status(429).header("retry-after", value);
        let (outcome, waits, _) = ask([busy, ok(crl.clone())], |_| {}).await;
        assert_eq!(outcome.unwrap(), crl);
        assert_eq!(waits.iter().sum::<Duration>(), 9 * S, "{value}: {waits:?}");
    }
    // Longer than anybody should wait for a list.
    let (outcome, waits, requests) = ask([status(429).header("retry-after", "3600")], |_| {}).await;
    let refused = outcome.unwrap_err();
    assert_eq!(refused.code(), "collateral.rate_limited");
    assert!(
        refused.to_string().contains("3599 s") || refused.to_string().contains("3600 s"),
        "{refused}"
    );
    assert!(waits.iter().sum::<Duration>() < 120 * S);
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn final_answers_are_not_asked_for_twice() {
    for (reply, code) in [
        (status(404), "collateral.not_found"),
        (status(400), "collateral.status"),
        (status(403), "collateral.status"),
        (
            status(302).header("location", "https://elsewhere.invalid/"),
            "collateral.status",
        ),
        (status(204), "collateral.status"),
        (ok(vec![0x30; (256 << 10) + 1]), "collateral.too_large"),
        (ok("not a list"), "snp.crl.malformed"),
    ] {
        let (outcome, waits, requests) = ask([reply], |_| {}).await;
        assert_eq!(outcome.unwrap_err().code(), code);
        assert_eq!((waits.len(), requests), (0, 1), "{code}");
    }
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let crl = crl();
    let half = Reply {
        cut_short: crl.len() - 100,
        ..ok(&crl[..100])
    };
    let (outcome, _, requests) = ask([half.clone(), ok(crl.clone())], |_| {}).await;
    assert_eq!((outcome.unwrap(), requests), (crl, 2));
    let (outcome, _, _) = ask([half], |_| {}).await;
    assert_eq!(outcome.unwrap_err().code(), "collateral.unreachable");
}

#[tokio::test]
async fn a_slow_service_is_given_up_in_time() {
    let slow = Reply {
        slow: 20 * S,
        ..ok(crl())
    };
    let start = Instant::now();
    let (outcome, _, requests) = ask([slow], |config| {
        config.http.attempt_timeout = Duration::from_millis(50);
        config.http.pace.attempts = 2;
    })
    .await;
    let refused = outcome.unwrap_err();
    assert_eq!((refused.code(), requests), ("collateral.unreachable", 2));
    assert!(refused.to_string().contains("timed out"), "{refused}");
    assert!(start.elapsed() < 5 * S);
}

#[tokio::test]
async fn nobody_at_the_address_is_said_so() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (outcome, waits, _) = ask([], |config| {
        config.sources.kds = BaseUrl::new("KDS", &format!("http://{gone}")).unwrap();
    })
    .await;
    let refused = outcome.unwrap_err();
    assert_eq!(refused.code(), "collateral.unreachable");
    assert!(refused.to_string().contains("5 attempts"), "{refused}");
    assert_eq!(waits.len(), 4);
}

/// A forward proxy that writes down what it is asked for and serves one connection after another.
async fn proxy() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = relay(stream, &log).await;
        }
    });
    (address, seen)
}

async fn relay(mut client: TcpStream, log: &std::sync::Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let line = text.lines().next().unwrap_or_default().to_owned();
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    log.lock().unwrap().push(line.clone());
    if line.starts_with("CONNECT ") {
        let mut upstream = TcpStream::connect(target.as_str()).await?;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
        return Ok(());
    }
    // http://host:port/path -> /path
    let rest = target.trim_start_matches("http://");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut upstream = TcpStream::connect(host).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    upstream.write_all(request.as_bytes()).await?;
    tokio::io::copy(&mut upstream, &mut client).await?;
    client.shutdown().await
}

#[tokio::test]
async fn a_forward_proxy_is_used_when_it_is_named() {
    let (address, seen) = proxy().await;
    let crl = crl();
    let (outcome, _, requests) = ask([ok(crl.clone())], |config| {
        config.http.proxy = ProxyChoice::Through(address);
    })
    .await;
    assert_eq!((outcome.unwrap(), requests), (crl, 1));
    let seen = seen.lock().unwrap().clone();
    assert!(seen[0].starts_with("GET http://127.0.0.1:"), "{seen:?}");

    let (outcome, ..) = ask([], |config| {
        config.http.proxy = ProxyChoice::Through("no proxy at all".into());
    })
    .await;
    assert_eq!(outcome.unwrap_err().code(), "collateral.proxy");
}

/// A TLS server for `localhost` that answers every request with `body`; its certificate in PEM.
async fn tls_server(body: Vec<u8>) -> (u16, String) {
    use std::sync::Arc;
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (pem, certificate) = (key.cert.pem(), key.cert.der().clone());
    let private = rustls_pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, pem)
}

#[tokio::test]
async fn https_goes_through_connect_and_only_to_a_host_that_the_roots_vouch_for() {
    let crl = crl();
    let (port, pem) = tls_server(crl.clone()).await;
    let (address, seen) = proxy().await;
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("ca.pem");
    std::fs::write(&roots, pem).unwrap();
    let https = |roots: Roots| {
        let address = address.clone();
        ask([], move |config: &mut FetcherConfig| {
            config.sources.kds = BaseUrl::new("KDS", &format!("https://localhost:{port}/kds")).unwrap();
            config.http.proxy = ProxyChoice::Through(address);
            config.http.roots = roots;
            config.http.pace.attempts = 1;
        })
    };
    let (outcome, ..) = https(Roots::File(roots)).await;
    assert_eq!(outcome.unwrap(), crl);
    assert_eq!(seen.lock().unwrap()[0], format!("CONNECT localhost:{port} HTTP/1.1"));

    let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let path = dir.path().join("other.pem");
    std::fs::write(&path, other.cert.pem()).unwrap();
    let refused = https(Roots::File(path)).await.0.unwrap_err();
    assert_eq!(refused.code(), "collateral.unreachable");
    assert!(refused.to_string().contains("certificate"), "{refused}");

    for (name, content) in [("empty.pem", Some("")), ("absent.pem", None)] {
        let path: PathBuf = dir.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let refused = https(Roots::File(path)).await.0.unwrap_err();
        assert_eq!(refused.code(), "collateral.tls_roots", "{refused}");
    }
}

#[test]
fn the_default_limits_are_finite() {
    let pace = Pace::default();
    assert!(pace.attempts <= 5 && pace.total <= 120 * S && pace.burst <= 8);
    assert!(Sources::default().kds.to_string().starts_with("https://"));
}
