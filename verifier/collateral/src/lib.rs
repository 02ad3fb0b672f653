//! Fetches, checks and keeps what vendors say about their hardware.
//!
//! Certificates, revocation lists, Intel's TCB info, NVIDIA's reference manifests and OCSP answers are public and change
//! over time. This crate gets them, so that [`staple()`] can add them to a bundle and verification is offline. It is the only
//! crate of the verifier that dials vendors. [`Witness`] asks witnesses of logs for their signatures, over the same way.
//!
//! # Nothing fetched is believed
//! Every item is verified by the functions that verify evidence before it is kept, again when it leaves the cache, and again
//! by whoever verifies the stapled evidence. Freshness is what the vendor signed (nextUpdate); HTTP dates decide nothing.
//! TLS hides which chips are asked about and authenticates no content.
//!
//! # TLS
//! TLS 1.2 or 1.3 by rustls over aws-lc, given to the HTTP client explicitly. The roots are this machine's CA bundle, read as a
//! file (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or where distributions keep it), or a PEM file of the caller's: a list compiled in
//! would age with the binary and would leave out the private authorities of corporate proxies and caching services. Nothing
//! is loaded at run time, so a static binary can do it; without any roots, what the cache holds still serves.
//!
//! # Services
//! | Item | Address | Answer |
//! |---|---|---|
//! | VCEK, Milan and Genoa | `https://kdsintf.amd.com/vcek/v1/{Milan,Genoa}/<chip id, 128 hex>?blSPL=&teeSPL=&snpSPL=&ucodeSPL=` | DER |
//! | VCEK, Turin | `https://kdsintf.amd.com/vcek/v1/Turin/<chip id, 16 hex>?fmcSPL=&blSPL=&teeSPL=&snpSPL=&ucodeSPL=` | DER |
//! | ASK, ASVK | `https://kdsintf.amd.com/{vcek,vlek}/v1/<product>/cert_chain` | PEM, intermediate and root |
//! | AMD CRL | `https://kdsintf.amd.com/vcek/v1/<product>/crl` | DER |
//! | PCK CRL | `https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca={processor,platform}&encoding=der` | DER; chain in `SGX-PCK-CRL-Issuer-Chain` |
//! | Intel root CRL | `https://certificates.trustedservices.intel.com/IntelSGXRootCA.der`; of a PCCS `/sgx/certification/v4/rootcacrl` | DER; of a PCCS hex |
//! | TCB info | `https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=<12 hex>` | JSON; chain in `TCB-Info-Issuer-Chain` |
//! | TD_QE identity | `https://api.trustedservices.intel.com/tdx/certification/v4/qe/identity` | JSON; chain in `SGX-Enclave-Identity-Issuer-Chain` |
//! | RIM | `https://rim.attestation.nvidia.com/v1/rim/<id>` | JSON with base64 |
//! | OCSP | POST to `https://ocsp.ndis.nvidia.com` | DER (RFC 6960) |
//!
//! Another address can be given for each ([`Sources`]).
//!
//! # Not covered
//! VLEK certificates (AMD gives them to cloud providers alone) and PCK certificates (a quote carries them). Tests replay
//! recorded and generated answers from a local server; the vendors' servers themselves are not part of any test.
//!
//! # Specifications
//! AMD 57230 (VCEK and KDS interface); Intel PCS API version 4; RFC 5280, 6960, 9654; NVIDIA RIM service as its attestation
//! SDK uses it.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod amd;
mod check;
pub mod clock;
mod error;
mod fetcher;
mod http;
pub mod intel;
mod key;
mod needs;
pub mod nvidia;
mod pace;
mod sources;
mod staple;
mod store;
mod witness;

pub use error::{CollateralError, Unfit};
pub use fetcher::{Event, Fetcher, FetcherConfig, Item, Mode, Origin, Watcher};
pub use http::{HttpConfig, ProxyChoice, Roots};
pub use key::{Key, NotAKey, PckCa, RIM_ID_BYTES_MAX};
pub use pace::Pace;
pub use sources::{BaseUrl, IntelSource, Sources};
pub use staple::{Missing, Stapled, What, staple};
pub use store::{ITEM_BYTES_MAX, Store};
pub use witness::{Witness, WitnessAnswer};
