//! Why collateral could not be had.

use std::io;
use std::path::PathBuf;

use hanzo_attestation::AttestationError;
use hanzo_attestation::evidence::Class;
use hanzo_attestation::jcs::JcsError;

/// Why collateral could not be had. Texts name the service, what was expected and what came.
#[derive(Debug, thiserror::Error)]
pub enum CollateralError {
    /// A base URL that cannot be used.
    #[error("{service} URL: expected http:// or https://, a host and a path alone, got {got:?}")]
    BaseUrl {
        /// Whose.
        service: &'static str,
        /// What was given; without it if it may hold a password.
        got: String,
    },
    /// TLS cannot be set up.
    #[error("TLS roots: {detail}")]
    Roots {
        /// What is wrong.
        detail: String,
    },
    /// The proxy's address.
    #[error("proxy: expected http://host:port, got another address")]
    Proxy,
    /// Nobody answered.
    #[error("{url}: no answer after {attempts} attempts: {detail}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// How often.
        attempts: u32,
        /// The last failure.
        detail: String,
    },
    /// An answer, and not the one that was wanted.
    #[error("{url}: HTTP status {status} after {attempts} attempts, expected 200")]
    Status {
        /// What was asked for.
        url: String,
        /// What came.
        status: u16,
        /// How often it was asked for.
        attempts: u32,
    },
    /// The vendor has none.
    #[error("{what}: the service has none (HTTP 404): {url}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// Where.
        url: String,
    },
    /// The service wants to be left alone (HTTP 429 or 503), or this client leaves it alone, longer than may be waited.
    #[error("{host}: may not be asked for another {wait_s} s, and at most {limit_s} s may be waited for it")]
    RateLimited {
        /// Whose.
        host: String,
        /// What it asks for.
        wait_s: u64,
        /// How much time was left.
        limit_s: u64,
    },
    /// Longer than the format's bound.
    #[error("{url}: more than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The bound.
        limit: usize,
    },
    /// Not of the form that the vendor documents.
    #[error("{what}: {field}: expected {expected}, got something else")]
    Answer {
        /// Which item.
        what: String,
        /// Which header or member.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It came, and it is not what it should be; it was not kept.
    #[error("{what} from {origin}: {source}")]
    Refused {
        /// Which item.
        what: String,
        /// A URL, or the cache.
        origin: String,
        /// Why it was refused.
        source: Box<AttestationError>,
    },
    /// It came, and it is another item than the one that was asked for; it was not kept.
    #[error("{what} from {origin}: {detail}")]
    WrongItem {
        /// Which item.
        what: String,
        /// A URL, or the cache.
        origin: String,
        /// What does not fit.
        detail: &'static str,
    },
    /// Offline, and not in the cache.
    #[error("{what}: not in the cache, and --offline says not to fetch it")]
    Offline {
        /// Which item.
        what: String,
    },
    /// Offline, and what is in the cache cannot be used.
    #[error("{what}: the copy in the cache cannot be used: {unfit}; --offline says not to fetch another")]
    OfflineUnusable {
        /// Which item.
        what: String,
        /// Why.
        unfit: Unfit,
    },
    /// No service gives it out.
    #[error("{what}: {detail}")]
    NotFetchable {
        /// Which item.
        what: &'static str,
        /// Why not.
        detail: &'static str,
    },
    /// The file system said no.
    #[error("cache: cannot {action} {path}: {source}", path = path.display())]
    Cache {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others could change what is kept.
    #[error("cache: {path}: mode is {got:04o}, expected 0700: run `chmod 700 {path}` after checking who could write to it", path = path.display())]
    CacheMode {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        got: u32,
    },
    /// The system's random source failed.
    #[error("no random bytes for an OCSP nonce")]
    Random,
    /// What was given is no bundle and no evidence.
    #[error(
        "evidence: expected a bundle, a cpu member of one, an SNP report (1184 bytes) or a TDX quote (version 4 or 5), got {got}"
    )]
    Input {
        /// What it looks like.
        got: &'static str,
    },
    /// A bundle or evidence document that is not of the format.
    #[error(transparent)]
    Document(#[from] JcsError),
    /// The evidence itself is malformed or not authentic.
    #[error(transparent)]
    Evidence(Box<AttestationError>),
}

/// Why an item is not used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unfit {
    /// It does not hold.
    #[error(transparent)]
    NotAuthentic(Box<AttestationError>),
    /// It is not the one that was asked for.
    #[error("{0}")]
    WrongItem(&'static str),
}

impl From<AttestationError> for CollateralError {
    fn from(e: AttestationError) -> Self {
        Self::Evidence(Box::new(e))
    }
}

impl From<AttestationError> for Unfit {
    fn from(e: AttestationError) -> Self {
        Self::NotAuthentic(Box::new(e))
    }
}

impl Unfit {
    pub(crate) fn of(self, what: String, origin: String) -> CollateralError {
        match self {
            Self::NotAuthentic(source) => CollateralError::Refused { what, origin, source },
            Self::WrongItem(detail) => CollateralError::WrongItem { what, origin, detail },
        }
    }
}

impl CollateralError {
    /// True if a certificate does not hold under the intermediate that was tried.
    pub(crate) fn asks_for_another_intermediate(&self) -> bool {
        match self {
            Self::Refused { source, .. }
            | Self::OfflineUnusable {
                unfit: Unfit::NotAuthentic(source),
                ..
            } => source.code() == "snp.chain.vek",
            _ => false,
        }
    }

    /// Stable dotted code. Of what was refused: the code of the check that refused it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BaseUrl { .. } => "collateral.url",
            Self::Roots { .. } => "collateral.tls_roots",
            Self::Proxy => "collateral.proxy",
            Self::Unreachable { .. } => "collateral.unreachable",
            Self::Status { .. } => "collateral.status",
            Self::NotFound { .. } => "collateral.not_found",
            Self::RateLimited { .. } => "collateral.rate_limited",
            Self::TooLarge { .. } => "collateral.too_large",
            Self::Answer { .. } => "collateral.answer",
            Self::Refused { source, .. } => source.code(),
            Self::WrongItem { .. } => "collateral.wrong_item",
            Self::Offline { .. } => "collateral.offline",
            Self::OfflineUnusable { .. } => "collateral.offline_unusable",
            Self::NotFetchable { .. } => "collateral.not_fetchable",
            Self::Cache { .. } => "cache.io",
            Self::CacheMode { .. } => "cache.mode",
            Self::Random => "collateral.random",
            Self::Input { .. } => "staple.input",
            Self::Document(_) => "document.malformed",
            Self::Evidence(e) => e.code(),
        }
    }

    /// Whose fault, where it is that of evidence or of a served item; `None` for the network, the file system and usage.
    pub fn class(&self) -> Option<Class> {
        match self {
            // Whatever is wrong with it: the vendor did not say this.
            Self::Refused { .. } | Self::WrongItem { .. } => Some(Class::NotAuthentic),
            Self::Evidence(e) => Some(e.class()),
            Self::Input { .. } | Self::Document(_) => Some(Class::Malformed),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::BaseUrl { .. } => "give the service's address as in the examples of --help",
            Self::Roots { .. } => "install the system's CA certificates, or name a PEM file with --ca or SSL_CERT_FILE",
            Self::Proxy => "check HTTPS_PROXY and --proxy",
            Self::Unreachable { .. } => "check the network and HTTPS_PROXY; what is in the cache works with --offline",
            Self::Status { .. } | Self::TooLarge { .. } | Self::Answer { .. } => {
                "check that the address is that service's; a proxy on the way may answer in its place"
            }
            Self::NotFound { .. } => {
                "the vendor has published none for this chip, firmware or version; was firmware updated just now?"
            }
            Self::RateLimited { .. } => "try later; what was fetched so far is in the cache",
            Self::Refused { .. } | Self::WrongItem { .. } => {
                "what was served is not the vendor's, or not current; nothing of it was kept"
            }
            Self::Offline { .. } | Self::OfflineUnusable { .. } => "run once without --offline, with the same --cache",
            Self::NotFetchable { .. } => "ask whoever runs the guest for it",
            Self::Cache { .. } => "another directory can be given with --cache",
            Self::CacheMode { .. } => "only the owner may write to the cache",
            Self::Random => "the operating system has no randomness",
            Self::Input { .. } | Self::Document(_) => "save the bytes as they came",
            Self::Evidence(_) => "the evidence itself does not hold: no collateral can mend it",
        }
    }
}
