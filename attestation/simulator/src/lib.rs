//! A software "secure processor": mints real-format SEV-SNP evidence under roots of its own.
//!
//! It gives **no protection from the host**. Whatever it makes chains to a root that is not AMD's, so
//! `hanzo-attestation` authenticates it only for callers that supply that root, and marks every result simulated.
//! Evidence from here goes through the very code that real evidence goes through: 1184-byte reports, RSA-4096 ARK and
//! ASK certificates with RSA-PSS, P-384 VCEK and VLEK certificates with AMD's extensions, an ARK-signed CRL.
//!
//! Everything derives from one 32-byte seed, which is random per installation. The fixed seed behind
//! [`SimulatedProcessor::for_tests`] is public: TEST ONLY.
//!
//! This crate is linked by the appliance's demonstration mode, tests and benches, and by no production binary; the
//! text of [`DOMAIN`] in a binary tells.
//!
//! ```
//! use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, RawEvidence, UnixTime};
//! use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
//!
//! let processor = SimulatedProcessor::for_tests();
//! let guest = processor.launch(LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32])));
//! let evidence = guest.evidence(&[7; 64]);
//! let anchors = Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec());
//! let now = UnixTime(1_756_684_800);
//! let authentic = RawEvidence::Snp(evidence).parse()?.authenticate(&anchors, &Collateral::default(), now)?;
//! assert!(authentic.is_simulated());
//! # Ok::<(), hanzo_attestation::AttestationError>(())
//! ```
#![forbid(unsafe_code)]

mod authority;
mod certificate;
mod encode;
mod eventlog;
mod guest;
mod keys;
mod nvidia;
mod ocsp;
mod processor;
mod rim;
mod tdx;
mod tpm;

pub use eventlog::LogBuilder;
pub use guest::{LaunchSpec, SimulatedGuest, simulated_measurement};
pub use nvidia::{DeviceSpec, SimulatedDevice, SimulatedNvidia};
pub use ocsp::{OcspHash, OcspSigner, OcspSpec, OcspStatus};
pub use processor::{SimulatedProcessor, SimulatorError};
pub use rim::{RimResource, RimSpec, SimulatedRimIssuer};
pub use tdx::{
    CollateralSpec, DocumentSigner, IsvLevelSpec, ModuleSpec, PckSpec, QeSpec, QuoteFormat, RevokedCertificate,
    SimulatedTdx, TcbLevelSpec, TdSpec,
};
pub use tpm::{AkKind, SimulatedTpm, TpmSpec, hcl_report, td_report, var_data};

/// Domain of every derivation here, and the mark by which a binary with a simulator in it is told.
pub const DOMAIN: &str = "hanzo/simulated-tee/v1";
