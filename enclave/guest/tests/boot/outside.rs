//! What is outside: an authority, servers with certificates of its, the host's broker before them, and a wire that keeps what passes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use hanzo_egress::config::Config;
use hanzo_guest::ListenAddress;
use hanzo_proxy::Address;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

pub const NAME: &str = "kbs.example.org";
pub const PORT: u16 = 8443;

/// Who issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

/// A certificate and its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    /// Both in PEM.
    pub pem: [String; 2],
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            root,
        }
    }

    /// For a name, from the first day of one year to that of another.
    pub fn issue_for(&self, name: &str, years: [i32; 2]) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        [params.not_before, params.not_after] = years.map(|year| rcgen::date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![leaf.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            pem: [leaf.pem(), key.serialize_pem()],
        }
    }

    pub fn issue(&self) -> Identity {
        self.issue_for(NAME, [2020, 2100])
    }

    /// An entry of a configuration.
    pub fn entry(&self, name: &str, port: u16) -> String {
        let root = base64::engine::general_purpose::STANDARD.encode(&self.root);
        format!("[[egress]]\nname = \"{name}\"\nport = {port}\nuse = \"kbs\"\nroots = [\"{root}\"]\n")
    }
}

/// Ends TLS of 1.3 over one group, and leads on in clear, as a front before a key broker does.
pub async fn front(identity: Identity, group: &'static dyn SupportedKxGroup, target: SocketAddr) -> SocketAddr {
    let provider = CryptoProvider {
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    };
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else {
                    return;
                };
                let mut on = TcpStream::connect(target).await.unwrap();
                let _ = copy_bidirectional(&mut tls, &mut on).await;
            });
        }
    });
    at
}

/// Answers every connection with these bytes and nothing more; or, empty, says nothing.
pub async fn saying(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(bytes).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    at
}

/// The host's broker; stops when dropped.
pub struct HostBroker {
    at: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl HostBroker {
    /// One whose list leads these names, at [`PORT`], to these addresses.
    pub async fn start(allowed: &[(&str, SocketAddr)]) -> Self {
        let allowed: String = allowed
            .iter()
            .map(|(name, at)| format!("[[allow]]\nname = \"{name}\"\nport = {PORT}\naddress = \"{at}\"\n"))
            .collect();
        let allowed = if allowed.is_empty() {
            "allow = []\n".into()
        } else {
            allowed
        };
        let config = format!("version = 1\n{allowed}[[listen]]\naddress = \"127.0.0.1:0\"\n");
        let config = Config::parse(&config).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, bound) = oneshot::channel();
        tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            let told = |at: &[Address]| ready.send(at[0]).expect("somebody waits");
            hanzo_egress::serve(config, stopped, told).await.unwrap();
        });
        let Address::Tcp(at) = bound.await.unwrap() else {
            panic!("TCP")
        };
        Self { at, _stop: stop }
    }

    pub fn address(&self) -> Option<ListenAddress> {
        Some(self.at.into())
    }
}

/// A wire before an address, that keeps every byte of both ways.
pub struct Wire {
    pub at: SocketAddr,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = kept.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let to = TcpStream::connect(target).await.unwrap();
                let ((a, b), (c, d)) = (from.into_split(), to.into_split());
                for (mut read, mut write) in [(a, d), (c, b)] {
                    let keep = keep.clone();
                    tokio::spawn(async move {
                        let mut buffer = vec![0; 16 * 1024];
                        while let Ok(n @ 1..) = read.read(&mut buffer).await {
                            keep.lock().unwrap().extend_from_slice(&buffer[..n]);
                            if write.write_all(&buffer[..n]).await.is_err() {
                                break;
                            }
                        }
                    });
                }
            }
        });
        Self { at, kept }
    }

    pub fn saw(&self, needle: &str) -> bool {
        let kept = self.kept.lock().unwrap();
        kept.windows(needle.len()).any(|w| w == needle.as_bytes())
    }
}
