//! A software TDX platform: mints real-format quotes and collateral under a root of its own.
//!
//! The key hierarchy is Intel's: root, PCK CA, PCK certificate with the SGX extension; TCB signing certificate; two lists;
//! a quoting enclave's report that binds an attestation key. Everything is a specification with public fields, so that a
//! test changes one thing and signs again.
//!
//! ```
//! use hanzo_attestation::{Anchors, Collateral, RawEvidence, UnixTime};
//! use hanzo_simulated_tee::{CollateralSpec, QuoteFormat, SimulatedTdx, TdSpec};
//!
//! let now = UnixTime(1_756_684_800);
//! let platform = SimulatedTdx::for_tests();
//! let evidence = platform.evidence(&TdSpec::new(QuoteFormat::V5Td15), &[7; 64], &CollateralSpec::new(now));
//! let anchors = Anchors::vendor().with_simulator_tdx_root(platform.root_der().to_vec());
//! let authentic = RawEvidence::Tdx(evidence).parse()?.authenticate(&anchors, &Collateral::default(), now)?;
//! assert!(authentic.is_simulated());
//! # Ok::<(), hanzo_attestation::AttestationError>(())
//! ```

mod authority;
mod collateral;
mod quote;

use hanzo_attestation::bundle::{Base64, TdxCollateral, TdxEvidence};
use zeroize::Zeroizing;

use crate::certificate::{NOT_AFTER, NOT_BEFORE, issuing_distribution_point};
use authority::{TdxIssuer, TdxKey, TdxSubject};

pub use collateral::{CollateralSpec, DocumentSigner, IsvLevelSpec, ModuleSpec, RevokedCertificate, TcbLevelSpec};
pub use quote::{QeSpec, QuoteFormat, TdSpec};

const ROOT_NAME: &str = "Simulated SGX Root CA";
const PCK_CA_NAME: &str = "Simulated SGX PCK Platform CA";
const TCB_SIGNING_NAME: &str = "Simulated SGX TCB Signing";
const PCK_NAME: &str = "Simulated SGX PCK Certificate";
const PCK_SERIAL: [u8; 2] = [0x50, 1];
const PCK_CA_SERIAL: [u8; 2] = [0x50, 2];
const TCB_SIGNING_SERIAL: [u8; 2] = [0x50, 3];

/// What the PCK certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members of the SGX extension in Intel's spelling")]
pub struct PckSpec {
    pub ppid: [u8; 16],
    pub fmspc: [u8; 6],
    pub pce_id: [u8; 2],
    pub cpu_svn: [u8; 16],
    pub pce_svn: u16,
    pub dynamic_platform: bool,
    pub cached_keys: bool,
    pub smt_enabled: bool,
    /// notBefore and notAfter of the certificate.
    pub validity: (u64, u64),
    /// notBefore and notAfter of its issuer's.
    pub ca_validity: (u64, u64),
}

impl Default for PckSpec {
    fn default() -> Self {
        Self {
            ppid: [0x99; 16],
            fmspc: [0x51, 0x80, 0x6f, 0, 0, 0],
            pce_id: [0; 2],
            cpu_svn: [2; 16],
            pce_svn: 11,
            dynamic_platform: false,
            cached_keys: false,
            smt_enabled: true,
            validity: (NOT_BEFORE, NOT_AFTER),
            ca_validity: (NOT_BEFORE, NOT_AFTER),
        }
    }
}

/// A simulated platform with its vendor. Its keys protect nothing from whoever runs it.
pub struct SimulatedTdx {
    seed: Zeroizing<[u8; 32]>,
    root: TdxKey,
    pck_ca: TdxKey,
    tcb_signing: TdxKey,
    pck: TdxKey,
    attestation: TdxKey,
    root_der: Vec<u8>,
    pck_ca_der: Vec<u8>,
    tcb_signing_der: Vec<u8>,
    pck_der: Vec<u8>,
}

impl SimulatedTdx {
    /// TEST ONLY: the platform of a public seed.
    pub fn for_tests() -> Self {
        Self::from_seed(b"hanzo simulated tdx: TEST ONLY !", &PckSpec::default())
    }

    /// Derives all keys from `seed`. Keys are the same for the same seed; signatures are not, so certificates differ in
    /// their bytes.
    pub fn from_seed(seed: &[u8; 32], pck: &PckSpec) -> Self {
        let key = |what: &str| TdxKey::derive(seed, &[what.as_bytes()]);
        let (root, pck_ca, tcb_signing) = (key("root"), key("pck-ca"), key("tcb-signing"));
        let always = (NOT_BEFORE, NOT_AFTER);
        let by_root = |name, key, serial: &[u8], validity, extensions| {
            let issuer = TdxIssuer {
                name: ROOT_NAME,
                key: &root,
            };
            authority::issue(
                &issuer,
                &TdxSubject {
                    name,
                    key,
                    serial,
                    validity,
                    extensions,
                },
            )
        };
        let root_der = by_root(ROOT_NAME, &root, &[0x50, 0], always, authority::authority_extensions(1));
        let pck_ca_der = by_root(
            PCK_CA_NAME,
            &pck_ca,
            &PCK_CA_SERIAL,
            pck.ca_validity,
            authority::authority_extensions(0),
        );
        let tcb_signing_der = by_root(
            TCB_SIGNING_NAME,
            &tcb_signing,
            &TCB_SIGNING_SERIAL,
            always,
            authority::signer_extensions(),
        );
        let mut platform = Self {
            pck: key("pck"),
            attestation: key("attestation"),
            seed: Zeroizing::new(*seed),
            root,
            pck_ca,
            tcb_signing,
            root_der,
            pck_ca_der,
            tcb_signing_der,
            pck_der: Vec::new(),
        };
        platform.pck_der = platform.issue_pck(pck);
        platform
    }

    /// The same vendor's platform with another PCK certificate.
    pub fn with_pck(mut self, pck: &PckSpec) -> Self {
        self.pck_der = self.issue_pck(pck);
        self
    }

    /// The same names over other keys: what a forger of this vendor would make.
    pub fn with_other_keys(&self) -> Self {
        let mut seed = *self.seed;
        seed[0] ^= 1;
        Self::from_seed(&seed, &PckSpec::default())
    }

    fn issue_pck(&self, pck: &PckSpec) -> Vec<u8> {
        let mut extensions = authority::signer_extensions();
        extensions.push(authority::sgx_extension(pck));
        authority::issue(
            &self.pck_ca_issuer(),
            &TdxSubject {
                name: PCK_NAME,
                key: &self.pck,
                serial: &PCK_SERIAL,
                validity: pck.validity,
                extensions,
            },
        )
    }

    fn pck_ca_issuer(&self) -> TdxIssuer<'_> {
        TdxIssuer {
            name: PCK_CA_NAME,
            key: &self.pck_ca,
        }
    }

    /// The root certificate, DER.
    pub fn root_der(&self) -> &[u8] {
        &self.root_der
    }

    /// PCK certificate, PCK CA and root, PEM.
    pub fn pck_chain(&self) -> String {
        authority::pem(&[&self.pck_der, &self.pck_ca_der, &self.root_der])
    }

    /// The quote that a healthy enclave makes.
    pub fn quote(&self, td: &TdSpec, report_data: &[u8; 64]) -> Vec<u8> {
        self.quote_by(td, report_data, &QeSpec::default())
    }

    /// The quote that this enclave makes.
    pub fn quote_by(&self, td: &TdSpec, report_data: &[u8; 64], qe: &QeSpec) -> Vec<u8> {
        self.sign_quote(&td.signed(report_data), qe)
    }

    /// A quote over any header and body.
    pub fn sign_quote(&self, header_and_body: &[u8], qe: &QeSpec) -> Vec<u8> {
        quote::assemble(header_and_body, qe, &self.attestation, &self.pck, &self.pck_chain())
    }

    /// Quote and collateral.
    pub fn evidence(&self, td: &TdSpec, report_data: &[u8; 64], collateral: &CollateralSpec) -> TdxEvidence {
        TdxEvidence {
            collateral: Some(self.collateral(collateral)),
            event_log: None,
            quote: Base64(self.quote(td, report_data)),
        }
    }

    /// Collateral as the vendor's service gives it.
    pub fn collateral(&self, spec: &CollateralSpec) -> TdxCollateral {
        let (mut by_root, mut by_ca) = (Vec::new(), Vec::new());
        for revoked in &spec.revoked {
            match revoked {
                RevokedCertificate::Pck => by_ca.push(PCK_SERIAL.to_vec()),
                RevokedCertificate::PckCa => by_root.push(PCK_CA_SERIAL.to_vec()),
                RevokedCertificate::TcbSigning => by_root.push(TCB_SIGNING_SERIAL.to_vec()),
            }
        }
        let root = TdxIssuer {
            name: ROOT_NAME,
            key: &self.root,
        };
        let chain = match spec.signer {
            DocumentSigner::TcbSigning => authority::pem(&[&self.tcb_signing_der, &self.root_der]),
            DocumentSigner::PckCa => authority::pem(&[&self.pck_ca_der, &self.root_der]),
            DocumentSigner::BelowPckCa => {
                let signer = authority::issue(
                    &self.pck_ca_issuer(),
                    &TdxSubject {
                        name: TCB_SIGNING_NAME,
                        key: &self.tcb_signing,
                        serial: &TCB_SIGNING_SERIAL,
                        validity: (NOT_BEFORE, NOT_AFTER),
                        extensions: authority::signer_extensions(),
                    },
                );
                authority::pem(&[&signer, &self.pck_ca_der])
            }
        };
        let part = if spec.lists_are_partial {
            issuing_distribution_point()
        } else {
            Vec::new()
        };
        let by_ca = authority::revoke(&self.pck_ca_issuer(), spec.pck_crl_window, &by_ca, &part);
        let by_root = authority::revoke(&root, spec.root_crl_window, &by_root, &part);
        let mut collateral = TdxCollateral {
            pck_crl: Base64(by_ca),
            pck_crl_issuer_chain: authority::pem(&[&self.pck_ca_der, &self.root_der]),
            qe_identity: spec.qe_identity(),
            qe_identity_issuer_chain: chain.clone(),
            qe_identity_signature: Base64(Vec::new()),
            root_ca_crl: Base64(by_root),
            tcb_info: spec.tcb_info(),
            tcb_info_issuer_chain: chain,
            tcb_info_signature: Base64(Vec::new()),
        };
        self.sign_documents(&mut collateral, spec.signer);
        collateral
    }

    /// Signs TCB info and QE identity again, after their text was changed.
    pub fn sign_documents(&self, collateral: &mut TdxCollateral, signer: DocumentSigner) {
        let key = match signer {
            DocumentSigner::TcbSigning | DocumentSigner::BelowPckCa => &self.tcb_signing,
            DocumentSigner::PckCa => &self.pck_ca,
        };
        collateral.tcb_info_signature = Base64(key.sign(collateral.tcb_info.as_bytes()).to_vec());
        collateral.qe_identity_signature = Base64(key.sign(collateral.qe_identity.as_bytes()).to_vec());
    }
}
