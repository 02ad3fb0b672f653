//! The relay's TLS to its gateway: messages go to whoever has the gateway's certificate, and to nobody else.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanzo_relay::config::Config;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{NamedGroup, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

const PATH: &str = "/.well-known/ohttp-gateway";
const NAME: &str = "gateway.example.org";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// For a name, from the first day of one year to that of another.
    fn server(&self, name: &str, years: [i32; 2], group: &'static dyn SupportedKxGroup) -> ServerConfig {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        [params.not_before, params.not_after] = years.map(|year| rcgen::date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let provider = CryptoProvider {
            kx_groups: vec![group],
            ..aws_lc_rs::default_provider()
        };
        ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap()
    }
}

const HYBRID: &dyn SupportedKxGroup = aws_lc_rs::kx_group::X25519MLKEM768;
const YEARS: [i32; 2] = [2020, 2100];

/// Whoever answers in the gateway's place.
struct Place {
    at: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// What came out of TLS.
    told: Arc<Mutex<Vec<u8>>>,
    group: Arc<Mutex<Option<NamedGroup>>>,
}

impl Place {
    /// Echoes the bodies of requests over TLS.
    async fn with(config: ServerConfig) -> Self {
        let (listener, place) = Self::bound().await;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (connections, told, group) = (place.connections.clone(), place.told.clone(), place.group.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, told, group) = (acceptor.clone(), told.clone(), group.clone());
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(stream).await else {
                        return;
                    };
                    *group.lock().unwrap() = tls.get_ref().1.negotiated_key_exchange_group().map(|g| g.name());
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(n @ 1..) = tls.read(&mut buffer).await {
                        told.lock().unwrap().extend_from_slice(&buffer[..n]);
                        let answer =
                            b"HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-res\r\ncontent-length: 6\r\n\r\nsealed";
                        if tls.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        place
    }

    /// Answers the first bytes of a connection with these.
    async fn saying(answer: Vec<u8>) -> Self {
        let (listener, place) = Self::bound().await;
        let (connections, told) = (place.connections.clone(), place.told.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (answer, told) = (answer.clone(), told.clone());
                tokio::spawn(async move {
                    let mut all = vec![0; 64 * 1024];
                    let n = stream.read(&mut all).await.unwrap_or(0);
                    let _ = stream.write_all(&answer).await;
                    all.truncate(n);
                    let _ = stream.read_to_end(&mut all).await;
                    told.lock().unwrap().extend_from_slice(&all);
                });
            }
        });
        place
    }

    async fn bound() -> (TcpListener, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Self {
            at: listener.local_addr().unwrap(),
            connections: Arc::default(),
            told: Arc::default(),
            group: Arc::default(),
        };
        (listener, place)
    }
}

struct Relay {
    at: SocketAddr,
    _stop: oneshot::Sender<()>,
}

fn config(gateway: SocketAddr, roots: &Path) -> Config {
    let text = format!(
        "version = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n[gateway]\naddress = \"{gateway}\"\nconnect_s = 2\n\
         tls = {{ name = \"{NAME}\", roots = \"{}\" }}\n",
        roots.display()
    );
    Config::parse(&text).unwrap()
}

async fn relay(gateway: SocketAddr, roots: &Path) -> Relay {
    let config = config(gateway, roots);
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, bound) = oneshot::channel();
    tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        let told = |at: &[SocketAddr]| ready.send(at[0]).expect("somebody waits");
        hanzo_relay::serve(config, stopped, told).await.unwrap();
    });
    Relay {
        at: bound.await.unwrap(),
        _stop: stop,
    }
}

/// Posts a message: the status and all that came.
async fn post(relay: &Relay) -> (String, String) {
    let mut stream = TcpStream::connect(relay.at).await.unwrap();
    let body = "sealed-for-the-gateway";
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\ncontent-type: message/ohttp-req\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = String::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut all));
    let _ = read.await.expect("an answer in time");
    (all.split(' ').nth(1).unwrap_or("-").to_owned(), all)
}

/// A ServerHello of TLS 1.2 (RFC 5246, section 7.4.1.3): no extension says otherwise.
fn hello_of_1_2() -> Vec<u8> {
    let hello = [&[3, 3][..], &[7; 32], &[0, 0xc0, 0x2b, 0]].concat();
    let len = u8::try_from(hello.len()).unwrap();
    [&[22, 3, 3, 0, len + 4, 2, 0, 0, len], &hello[..]].concat()
}

#[tokio::test]
async fn whoever_has_no_certificate_for_the_gateway_is_told_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    let (ours, foreign) = (Authority::new(), Authority::new());
    std::fs::write(&roots, &ours.pem).unwrap();

    let gateway = Place::with(ours.server(NAME, YEARS, HYBRID)).await;
    let honest = relay(gateway.at, &roots).await;
    let (status, answer) = post(&honest).await;
    assert!(status == "200" && answer.contains("\r\nsealed\r\n"), "{answer}");
    assert_eq!(post(&honest).await.0, "200");
    assert_eq!(
        gateway.connections.load(Ordering::SeqCst),
        1,
        "handshakes are not made for each message"
    );
    assert_eq!(
        *gateway.group.lock().unwrap(),
        Some(NamedGroup::X25519MLKEM768),
        "the hybrid is preferred"
    );

    // A gateway without the hybrid is talked to: what passes is sealed for it anyway.
    let classical = Place::with(ours.server(NAME, YEARS, aws_lc_rs::kx_group::X25519)).await;
    assert_eq!(post(&relay(classical.at, &roots).await).await.0, "200");

    for (what, place) in [
        (
            "another name",
            Place::with(ours.server("other.example.org", YEARS, HYBRID)).await,
        ),
        (
            "a name above",
            Place::with(ours.server("example.org", YEARS, HYBRID)).await,
        ),
        (
            "an unknown root",
            Place::with(foreign.server(NAME, YEARS, HYBRID)).await,
        ),
        (
            "an ended certificate",
            Place::with(ours.server(NAME, [2020, 2021], HYBRID)).await,
        ),
        (
            "a certificate of the future",
            Place::with(ours.server(NAME, [2099, 2100], HYBRID)).await,
        ),
        ("TLS 1.2", Place::saying(hello_of_1_2()).await),
        (
            "no TLS",
            Place::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()).await,
        ),
    ] {
        let relay = relay(place.at, &roots).await;
        let (status, answer) = post(&relay).await;
        assert_eq!(status, "502", "{what}: {answer}");
        assert!(answer.contains("\"code\":\"relay.gateway_tls\""), "{what}: {answer}");
        assert_eq!(
            place.connections.load(Ordering::SeqCst),
            1,
            "{what}: it is not tried again"
        );
        let told = place.told.lock().unwrap();
        let has = |word: &str| told.windows(word.len()).any(|w| w == word.as_bytes());
        assert!(
            !has("sealed-for-the-gateway") && !has(PATH),
            "{what}: it was told something"
        );
    }
    // Nobody there is another code.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (status, answer) = post(&relay(gone, &roots).await).await;
    assert!(
        status == "502" && answer.contains("\"code\":\"relay.gateway\""),
        "{answer}"
    );
}

#[tokio::test]
async fn roots_that_are_none_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    let gateway = "127.0.0.1:1".parse().unwrap();
    let start = async || {
        let started = hanzo_relay::serve(config(gateway, &roots), async {}, |_| {});
        started.await.err().map(|error| error.code())
    };
    assert_eq!(start().await, Some("relay.config.read"));
    for bad in ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&roots, bad).unwrap();
        assert_eq!(start().await, Some("relay.config.certificate"), "{bad:?}");
    }
    std::fs::write(&roots, Authority::new().pem).unwrap();
    assert_eq!(start().await, None);
}
