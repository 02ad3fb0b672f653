//! A guest whose broker of keys is reached by name, with everything between in the host's hands.
//!
//! ```text
//! guest -> tap -> hanzo-egress -> a server with a certificate -> broker
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::attack::{Field, Saw};
use crate::canary::ANSWER;
use crate::role::{Part, Role};
use crate::set::free_address;
use crate::site::Site;
use crate::tap::Tap;

/// Whom the configuration names.
pub const NAME: &str = "kbs.example.org";
/// Another name of the same authority, which the operator lists too.
pub const OTHER: &str = "other.example.org";
/// At this port.
pub const PORT: u16 = 8443;
/// What must not pass in clear.
const SAID: [&str; 3] = ["/kbs/v0/", "kbs-session-id", "tee-pubkey"];

/// Who issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            root,
        }
    }
}

/// A server with a certificate, which leads on in clear.
#[derive(Clone, Copy)]
pub struct Front<'a> {
    /// For whom it is.
    pub name: &'a str,
    /// First and last year.
    pub years: [i32; 2],
    /// Key exchange.
    pub group: &'static dyn SupportedKxGroup,
}

impl Default for Front<'_> {
    fn default() -> Self {
        Self {
            name: NAME,
            years: [2020, 2100],
            group: aws_lc_rs::kx_group::X25519MLKEM768,
        }
    }
}

impl Front<'_> {
    /// Starts it before `target`.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start(self, authority: &Authority, target: SocketAddr) -> io::Result<SocketAddr> {
        let mut params = CertificateParams::new(vec![self.name.to_owned()]).map_err(io::Error::other)?;
        [params.not_before, params.not_after] = self.years.map(|year| rcgen::date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let leaf = params.signed_by(&key, &authority.issuer).map_err(io::Error::other)?;
        let provider = CryptoProvider {
            kx_groups: vec![self.group],
            ..aws_lc_rs::default_provider()
        };
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .map_err(io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(stream).await else {
                        return;
                    };
                    if let Ok(mut on) = TcpStream::connect(target).await {
                        let _ = tokio::io::copy_bidirectional(&mut tls, &mut on).await;
                    }
                });
            }
        });
        Ok(at)
    }
}

/// The field.
pub struct Outside {
    /// Guest, broker and their files.
    pub site: Site,
    /// Between guest and the host's broker of connections.
    pub tap: Tap,
    /// Whose root the configuration lists.
    pub authority: Authority,
    _host: Part,
}

impl Outside {
    /// Starts a healthy one. `engine` is the command that starts the guest's engine.
    pub async fn start(engine: Vec<String>) -> Self {
        let authority = Authority::default();
        let root = base64::engine::general_purpose::STANDARD.encode(&authority.root);
        let entry = format!("[[egress]]\nname = \"{NAME}\"\nport = {PORT}\nuse = \"kbs\"\nroots = [\"{root}\"]\n");
        let site = Site::naming(engine, &entry).await;
        let good = Front::default().start(&authority, site.broker.at).await.unwrap();
        let other = Front {
            name: OTHER,
            ..Front::default()
        };
        let other = other.start(&authority, site.broker.at).await.unwrap();
        let (tap, host) = Self::host(&site, &[(NAME, good), (OTHER, other)]).await;
        Self {
            site,
            tap,
            authority,
            _host: host,
        }
    }

    async fn host(site: &Site, allowed: &[(&str, SocketAddr)]) -> (Tap, Part) {
        let at = free_address();
        let allowed: String = allowed
            .iter()
            .map(|(name, to)| format!("[[allow]]\nname = \"{name}\"\nport = {PORT}\naddress = \"{to}\"\n"))
            .collect();
        let path = site.dir.path().join("egress.toml");
        std::fs::write(&path, format!("version = 1\n{allowed}[[listen]]\naddress = \"{at}\"\n")).unwrap();
        let mut host = Part::start(site.dir.path(), "egress", &Role::Egress(path));
        host.ready().await.unwrap_or_else(|(_, log)| panic!("no broker: {log}"));
        (Tap::start(at).await.unwrap(), host)
    }

    /// Boots the guest through the tap: `Whole` if it serves. It is stopped again.
    pub async fn boot(&self) -> Saw {
        match self.site.tries(self.tap.at).await {
            Ok(()) => Saw::Whole(ANSWER.into()),
            Err(error) => Saw::refused(error.code(), error.to_string()),
        }
    }
}

impl Field for Outside {
    fn is_right(&self, answer: &str) -> bool {
        answer == ANSWER
    }

    fn leaks(&self) -> Vec<String> {
        let seen = self.tap.seen();
        let has = |hay: &[u8], word: &str| hay.windows(word.len()).any(|w| w == word.as_bytes());
        let passed = |word: &&&str| seen.iter().any(|s| has(&s.to_guest, word) || has(&s.to_client, word));
        SAID.iter().filter(passed).map(|word| (*word).to_owned()).collect()
    }
}
