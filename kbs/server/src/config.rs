//! The broker's configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_root::RootConfig;
use hanzo_store_postgres::is_postgres_url;
use serde::{Deserialize, Serialize};

use crate::admin::AdminKey;
use crate::{CocoConfig, KbsError};

const CONFIG_BYTES_MAX: u64 = 256 * 1024;

/// Configuration of a broker: TOML, unknown keys refused. Relative paths start at the file's own directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KbsConfig {
    /// Format version: 1.
    pub version: u32,
    /// Where to listen. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The store: a SQLCipher file, or `postgresql://...` (hanzo-store-postgres says which URLs).
    pub store: PathBuf,
    /// Where the newest audit head is kept, so that an older store is noticed. Best on another disk than the store.
    pub head_file: PathBuf,
    /// Further places that remember the newest decision. The store must agree with every one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fences: Vec<FenceConfig>,
    /// How long a guest has from its challenge to its last key, in seconds: 1 to 600.
    pub session_ttl_s: u64,
    /// Most attested sessions at a time: 1 to 65,536. A session that has not attested takes no place.
    pub sessions_max: usize,
    /// Written out where guests and owners speak plain HTTP. Either this or `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_http: Option<PlainHttp>,
    /// ARK-signed revocation lists (DER). A changed file counts from the next decision on.
    #[serde(default)]
    pub crl_files: Vec<PathBuf>,
    /// A cache directory as `hanzo-verify fetch` keeps one: lists, TDX collateral, RIMs, OCSP answers,
    /// and VCEK certificates for evidence that came without them. Changes count from
    /// the next decision on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collateral_dir: Option<PathBuf>,
    /// ARK certificates (DER) of simulators. What chains to them is simulated, for ever.
    #[serde(default)]
    pub simulator_roots: Vec<PathBuf>,
    /// Root certificates (DER) of TDX simulators; as above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub simulator_tdx_roots: Vec<PathBuf>,
    /// Roots (DER) for the certificates of TPMs' attestation keys. There is none built in: evidence of a TPM alone counts for
    /// tier 1, and for whoever pins its vendor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tpm_roots: Vec<PathBuf>,
    /// Attestation keys of TPMs themselves: SHA-256 of the SubjectPublicKeyInfo. For evidence without certificates, as CoCo's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tpm_keys: Vec<Digest256>,
    /// Root certificates (DER) of GPU simulators; as above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub simulator_gpu_roots: Vec<PathBuf>,
    /// Root certificates (DER) of RIM simulators; as above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub simulator_rim_roots: Vec<PathBuf>,
    /// Where the root key comes from. The store's key and everything else is derived from it or stands under it.
    pub root: RootConfig,
    /// TLS of the broker's own. Either this or `plain_http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// What one peer, and all together, may ask for.
    #[serde(default)]
    pub limits: Limits,
    /// Whether a second admin must approve what widens a key's policy. Only `false`, written out, lets one admin do it
    /// alone.
    #[serde(default = "yes")]
    pub four_eyes: bool,
    /// Who may put and change keys.
    #[serde(default)]
    pub admin_keys: Vec<AdminKey>,
    /// What is CoCo's alone.
    #[serde(default)]
    pub coco: CocoConfig,
    /// Where this was read from, and is read again on SIGHUP.
    #[serde(skip)]
    pub source: Option<PathBuf>,
}

/// Why plain HTTP is acceptable here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlainHttp {
    /// Nobody but this machine can connect.
    Loopback,
    /// A front that terminates TLS stands before the broker, and nobody else reaches this address.
    BehindATlsFront,
}

/// TLS of the broker's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The chain, PEM, the broker's own certificate first. Read again on SIGHUP.
    pub certificate_file: PathBuf,
    /// Its private key, PEM (PKCS #8, SEC 1 or PKCS #1), mode 0600 or 0400.
    pub key_file: PathBuf,
    /// Certificates, PEM, of who issues client certificates to admins. With it, admin requests are taken from connections
    /// with such a certificate alone; their signatures are checked besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_client_ca: Option<PathBuf>,
}

/// Whose address a connection's limits are counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerAddress {
    /// The connection's own.
    Connection,
    /// The last one in `X-Forwarded-For`, which the TLS front wrote. It limits and authorises nothing.
    Forwarded,
}

/// Bounds. A peer is an IPv4 address or an IPv6 /64. Rates are requests per second; bursts are four seconds' worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Whose address counts.
    pub peer_address: PeerAddress,
    /// Challenges a second and peer: 1 to 1,000,000.
    pub auth_per_s: u32,
    /// Attestations a second and peer.
    pub attest_per_s: u32,
    /// Keys asked for a second and peer.
    pub release_per_s: u32,
    /// Admin requests a second and peer.
    pub admin_per_s: u32,
    /// Open connections: 8 to 65,536.
    pub connections_max: usize,
    /// Open connections of one peer.
    pub connections_per_peer: usize,
    /// Seconds for the head of a request, and for which a connection may idle: 1 to 300.
    pub header_timeout_s: u64,
    /// Seconds for the body of a request: 1 to 300.
    pub body_timeout_s: u64,
    /// Bytes of evidence of all attested sessions together.
    pub sessions_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peer_address: PeerAddress::Connection,
            auth_per_s: 200,
            attest_per_s: 100,
            release_per_s: 400,
            admin_per_s: 400,
            connections_max: 1024,
            connections_per_peer: 512,
            header_timeout_s: 10,
            body_timeout_s: 10,
            sessions_bytes_max: 256 << 20,
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), String> {
        for (name, got, range) in [
            ("auth_per_s", u64::from(self.auth_per_s), 1..=1_000_000),
            ("attest_per_s", u64::from(self.attest_per_s), 1..=1_000_000),
            ("release_per_s", u64::from(self.release_per_s), 1..=1_000_000),
            ("admin_per_s", u64::from(self.admin_per_s), 1..=1_000_000),
            ("connections_max", self.connections_max as u64, 8..=65_536),
            ("connections_per_peer", self.connections_per_peer as u64, 1..=65_536),
            ("header_timeout_s", self.header_timeout_s, 1..=300),
            ("body_timeout_s", self.body_timeout_s, 1..=300),
            ("sessions_bytes_max", self.sessions_bytes_max as u64, 1 << 20..=1 << 40),
        ] {
            if !range.contains(&got) {
                let (from, to) = (range.start(), range.end());
                return Err(format!("limits.{name}: expected {from} to {to}, got {got}"));
            }
        }
        Ok(())
    }
}

/// A place outside the store that remembers its newest decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub enum FenceConfig {
    /// A file, on another disk or machine than the store.
    File {
        /// Where.
        path: PathBuf,
    },
    /// The non-volatile memory of a TPM 2.0, through tpm2-tools.
    TpmNv {
        /// How the programs reach it, for example `device:/dev/tpmrm0`.
        tcti: String,
        /// The first of three neighbouring indices: 0x01000000 to 0x01fffffd. Nobody else may use them.
        index: u32,
    },
}

impl KbsConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`KbsError::Config`].
    pub fn load(path: &Path) -> Result<Self, KbsError> {
        let fail = |detail: String| KbsError::Config {
            path: path.to_owned(),
            detail,
        };
        let size = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
        if size > CONFIG_BYTES_MAX {
            return Err(fail(format!("{size} bytes, at most {CONFIG_BYTES_MAX} are accepted")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        let mut config: Self = toml::from_str(&text).map_err(|e| fail(e.to_string().trim_end().to_owned()))?;
        config.check().map_err(fail)?;
        let base = path.parent().unwrap_or(Path::new("."));
        for file in config.files() {
            *file = base.join(&*file);
        }
        config.root.rebase(base);
        for fence in &mut config.fences {
            if let FenceConfig::File { path } = fence {
                *path = base.join(&*path);
            }
        }
        config.source = Some(path.to_owned());
        Ok(config)
    }

    /// The URL of the store, if it is not a file.
    pub(crate) fn postgres_url(&self) -> Option<&str> {
        self.store.to_str().filter(|store| is_postgres_url(store))
    }

    /// Every path.
    fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let tls = self.tls.iter_mut().flat_map(|tls| {
            [&mut tls.certificate_file, &mut tls.key_file]
                .into_iter()
                .chain(&mut tls.admin_client_ca)
        });
        let store = Some(&mut self.store).filter(|store| !store.to_str().is_some_and(is_postgres_url));
        store
            .into_iter()
            .chain([&mut self.head_file])
            .chain(&mut self.crl_files)
            .chain(&mut self.coco.resource_policy)
            .chain(&mut self.collateral_dir)
            .chain(&mut self.simulator_roots)
            .chain(&mut self.simulator_tdx_roots)
            .chain(&mut self.tpm_roots)
            .chain(&mut self.simulator_gpu_roots)
            .chain(&mut self.simulator_rim_roots)
            .chain(tls)
    }

    /// Checks the ranges; what is wrong, if something is.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.version != 1 {
            return Err(format!("version: expected 1, got {}", self.version));
        }
        if !(1..=600).contains(&self.session_ttl_s) {
            return Err(format!("session_ttl_s: expected 1 to 600, got {}", self.session_ttl_s));
        }
        if !(1..=65_536).contains(&self.sessions_max) {
            return Err(format!("sessions_max: expected 1 to 65536, got {}", self.sessions_max));
        }
        for (n, fence) in self.fences.iter().enumerate() {
            if let FenceConfig::TpmNv { index, .. } = fence
                && !(0x0100_0000..=0x01ff_fffd).contains(index)
            {
                return Err(format!(
                    "fences[{n}].index: expected 0x01000000 to 0x01fffffd, got {index:#010x}"
                ));
            }
        }
        self.limits.check()?;
        self.check_transport()?;
        crate::admin::check_admins(&self.admin_keys, self.four_eyes)?;
        self.coco.check(&self.admin_keys)?;
        Ok(())
    }

    fn check_transport(&self) -> Result<(), String> {
        let forwarded = self.limits.peer_address == PeerAddress::Forwarded;
        match (&self.tls, self.plain_http) {
            (Some(_), Some(_)) => Err("tls and plain_http: one of them, got both".into()),
            (None, None) => Err(
                "tls or plain_http: one of them must be there: plain_http = \"loopback\", plain_http = \"behind-a-tls-front\", or a [tls] table".into(),
            ),
            (None, Some(PlainHttp::Loopback)) if !self.listen.ip().is_loopback() => Err(format!(
                "plain_http: expected \"behind-a-tls-front\" for {}, which is no loopback address, got \"loopback\"; or use [tls]",
                self.listen.ip()
            )),
            (tls, plain) if forwarded && (tls.is_some() || plain != Some(PlainHttp::BehindATlsFront)) => Err(
                "limits.peer_address: \"forwarded\" believes a front, and plain_http does not say that there is one".into(),
            ),
            _ => Ok(()),
        }
    }
}

/// Four eyes unless the configuration says otherwise.
fn yes() -> bool {
    true
}
