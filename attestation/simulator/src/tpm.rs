//! A simulated TPM with an attestation key, and its vendor's authority.
//!
//! Root and intermediate are names on P-384 keys, the attestation key is P-256 or RSA-2048. Its quotes count only for
//! callers who pin the root or the key, as with any TPM.

mod hcl;
mod key;

use aws_lc_rs::digest::{SHA256, digest};
use hanzo_attestation::bundle::{Base64, Pcr, TpmEvidence, TpmQuote};
use hanzo_attestation::{Digest256, Digest384};

use crate::authority::{Authority, ca_extensions};
use crate::certificate::{NOT_AFTER, NOT_BEFORE, Subject, extension};
use crate::encode::{SEQUENCE, nest, oid, tlv};
use crate::eventlog::LogBuilder;
use crate::processor::SimulatorError;
use key::AkKey;

pub use hcl::{hcl_report, td_report, var_data};
pub use key::AkKind;

/// The seed behind [`SimulatedTpm::for_tests`]. TEST ONLY.
const TEST_SEED: &[u8; 32] = b"hanzo simulated tpm: TEST ONLY !";

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign.
const AK_ATTRIBUTES: u32 = 0x0005_0072;

/// How a TPM is made. [`TpmSpec::new`] is healthy; tests make it sick.
#[derive(Debug, Clone)]
pub struct TpmSpec {
    /// Tells TPMs of one vendor apart.
    pub name: String,
    /// P-256 unless changed.
    pub ak: AkKind,
    /// First and last second of the AK's certificate.
    pub ak_validity: (u64, u64),
    /// First and last second of the intermediate's certificate.
    pub intermediate_validity: (u64, u64),
    /// False makes the intermediate one that may not issue.
    pub intermediate_is_ca: bool,
    /// extKeyUsage of the AK's certificate; tcg-kp-AIKCertificate unless changed.
    pub purpose: Option<Vec<u32>>,
}

impl TpmSpec {
    /// A healthy TPM.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ak: AkKind::P256,
            ak_validity: (NOT_BEFORE, NOT_AFTER),
            intermediate_validity: (NOT_BEFORE, NOT_AFTER),
            intermediate_is_ca: true,
            purpose: Some(vec![2, 23, 133, 8, 3]),
        }
    }
}

/// A TPM with its registers.
pub struct SimulatedTpm {
    ak: AkKey,
    certificates: [Vec<u8>; 2],
    root_der: Vec<u8>,
    pcrs: [[u8; 32]; 24],
    pcrs_sha384: Option<[[u8; 48]; 24]>,
    event_log: Option<Vec<u8>>,
}

impl SimulatedTpm {
    /// The TPM of a fixed, public seed, with a P-256 key. TEST ONLY.
    ///
    /// # Panics
    /// Never for this seed.
    pub fn for_tests() -> Self {
        Self::from_seed(TEST_SEED, &TpmSpec::new("test")).expect("a P-256 key derives from any seed")
    }

    /// Derives vendor and TPM. The keys are the same for the same seed and name; signatures are not.
    ///
    /// # Errors
    /// [`SimulatorError::KeyGeneration`].
    ///
    /// # Panics
    /// If the operating system has no randomness for signatures.
    pub fn from_seed(seed: &[u8; 32], spec: &TpmSpec) -> Result<Self, SimulatorError> {
        let root = Authority::derive(seed, "tpm-root", "TPM-Root-Simulated");
        let intermediate = Authority::derive(seed, "tpm-intermediate", "TPM-CA-Simulated");
        let ak = AkKey::derive(seed, &spec.name, spec.ak)?;
        let root_der = root.issue(&Subject {
            common_name: &root.common_name,
            serial: &[1],
            validity: (NOT_BEFORE, NOT_AFTER),
            spki: root.spki(),
            extensions: ca_extensions(Some(1)),
        });
        let intermediate_der = root.issue(&Subject {
            common_name: &intermediate.common_name,
            serial: &[2],
            validity: spec.intermediate_validity,
            spki: intermediate.spki(),
            extensions: if spec.intermediate_is_ca {
                ca_extensions(Some(0))
            } else {
                usage()
            },
        });
        let mut extensions = usage();
        if let Some(arcs) = &spec.purpose {
            extensions.push(extension(&[2, 5, 29, 37], false, &nest(SEQUENCE, &[&oid(arcs)])));
        }
        let ak_der = intermediate.issue(&Subject {
            common_name: &spec.name,
            serial: &[3],
            validity: spec.ak_validity,
            spki: ak.spki(),
            extensions,
        });
        let (pcrs, event_log) = (LogBuilder::tcg().pcrs(), None);
        Ok(Self {
            ak,
            certificates: [ak_der, intermediate_der],
            root_der,
            pcrs,
            pcrs_sha384: None,
            event_log,
        })
    }

    /// Takes the registers that a log leads to, and hands the log out with evidence.
    pub fn booted(mut self, log: &LogBuilder) -> Self {
        self.pcrs = log.pcrs();
        self.pcrs_sha384 = log.pcrs_sha384();
        self.event_log = Some(log.bytes().to_vec());
        self
    }

    /// The vendor's root certificate (DER): what `Anchors::with_tpm_root` takes.
    pub fn root_der(&self) -> &[u8] {
        &self.root_der
    }

    /// Certificates of the AK (DER): its own and the intermediate's.
    pub fn ak_certificates(&self) -> &[Vec<u8>; 2] {
        &self.certificates
    }

    /// SubjectPublicKeyInfo (DER) of the AK: its SHA-256 is what `Anchors::with_tpm_ak` takes.
    pub fn ak_public(&self) -> Vec<u8> {
        self.ak.spki()
    }

    /// TPM2B_PUBLIC of the AK.
    pub fn tpm2b_public(&self) -> Vec<u8> {
        self.tpm2b_public_with(AK_ATTRIBUTES)
    }

    /// TPM2B_PUBLIC of a key with other attributes.
    pub fn tpm2b_public_with(&self, attributes: u32) -> Vec<u8> {
        let public = self.ak.tpmt_public(attributes);
        [&(public.len() as u16).to_be_bytes(), public.as_slice()].concat()
    }

    /// The registers of the SHA-256 bank.
    pub fn pcrs(&self) -> &[[u8; 32]; 24] {
        &self.pcrs
    }

    /// The registers of the SHA-384 bank, if the TPM has one: after a boot whose log has it.
    pub fn pcrs_sha384(&self) -> Option<&[[u8; 48]; 24]> {
        self.pcrs_sha384.as_ref()
    }

    /// Extends a register of the SHA-256 bank.
    ///
    /// # Panics
    /// If there is no such register.
    pub fn extend(&mut self, index: u8, measured: &[u8; 32]) {
        let value = &mut self.pcrs[usize::from(index)];
        let extended = digest(&SHA256, &[value.as_slice(), measured].concat());
        value.copy_from_slice(extended.as_ref());
    }

    /// TPMS_ATTEST of a quote over registers of the SHA-256 bank.
    pub fn attest(&self, selected: &[u8], qualifying_data: &[u8]) -> Vec<u8> {
        self.attest_banks(selected, &[], qualifying_data)
    }

    /// TPMS_ATTEST of a quote over registers of both banks; an empty second selection is not there.
    fn attest_banks(&self, selected: &[u8], selected_sha384: &[u8], qualifying_data: &[u8]) -> Vec<u8> {
        let sha256 = listed(selected, &self.pcrs).flat_map(|(_, value)| value);
        let sha384 = self.pcrs_sha384.iter().flat_map(|all| listed(selected_sha384, all));
        let values: Vec<u8> = sha256.chain(sha384.flat_map(|(_, value)| value)).collect();
        let mut out = vec![0xff, b'T', b'C', b'G', 0x80, 0x18];
        let name = digest(&SHA256, &self.ak.tpmt_public(AK_ATTRIBUTES));
        out.extend([0, 34, 0, 0x0b]);
        out.extend(name.as_ref());
        out.extend((qualifying_data.len() as u16).to_be_bytes());
        out.extend(qualifying_data);
        out.extend(1_000_u64.to_be_bytes());
        out.extend(7_u32.to_be_bytes());
        out.extend(2_u32.to_be_bytes());
        out.push(1);
        out.extend(0x2020_0312_0012_0003_u64.to_be_bytes());
        let second = (!selected_sha384.is_empty()).then_some((0x0c, selected_sha384));
        out.extend([0, 0, 0, 1 + u8::from(second.is_some())]);
        for (bank, selected) in std::iter::once((0x0b, selected)).chain(second) {
            out.extend([0, bank, 3]);
            out.extend(bitmap(selected));
        }
        out.extend([0, 32]);
        out.extend(digest(&SHA256, &values).as_ref());
        out
    }

    /// TPMT_SIGNATURE over anything at all: what a key without `restricted` would do.
    ///
    /// # Panics
    /// If the operating system has no randomness for the signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.ak.sign(message)
    }

    /// A quote over `selected` registers.
    ///
    /// # Panics
    /// As [`SimulatedTpm::sign`].
    pub fn quote(&self, selected: &[u8], qualifying_data: &[u8]) -> TpmQuote {
        self.quote_edited(selected, qualifying_data, |_| {})
    }

    /// As [`SimulatedTpm::quote`], with TPMS_ATTEST changed *before* it is signed.
    ///
    /// # Panics
    /// As [`SimulatedTpm::sign`].
    pub fn quote_edited(&self, selected: &[u8], qualifying_data: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> TpmQuote {
        self.quote_banks(selected, &[], qualifying_data, edit)
    }

    /// As [`SimulatedTpm::quote_edited`], over `selected_sha384` of the SHA-384 bank too.
    ///
    /// # Panics
    /// As [`SimulatedTpm::sign`]; if the TPM has no such bank and one of its registers is selected.
    pub fn quote_banks(
        &self,
        selected: &[u8],
        selected_sha384: &[u8],
        qualifying_data: &[u8],
        edit: impl FnOnce(&mut Vec<u8>),
    ) -> TpmQuote {
        assert!(
            selected_sha384.is_empty() || self.pcrs_sha384.is_some(),
            "a SHA-384 bank"
        );
        let mut message = self.attest_banks(selected, selected_sha384, qualifying_data);
        edit(&mut message);
        let sha384 = self.pcrs_sha384.iter().flat_map(|all| listed(selected_sha384, all));
        TpmQuote {
            pcrs: listed(selected, &self.pcrs)
                .map(|(index, value)| Pcr {
                    index,
                    value: Digest256(value),
                })
                .collect(),
            pcrs_sha384: sha384
                .map(|(index, value)| Pcr {
                    index,
                    value: Digest384(value),
                })
                .collect(),
            signature: Base64(self.sign(&message)),
            message: Base64(message),
        }
    }

    /// A quote over all registers of every bank, with certificates and log.
    ///
    /// # Panics
    /// As [`SimulatedTpm::sign`].
    pub fn evidence(&self, qualifying_data: &[u8]) -> TpmEvidence {
        TpmEvidence {
            ak_certificates: self.certificates.iter().cloned().map(Base64).collect(),
            ak_public: Base64(self.ak_public()),
            event_log: self.event_log.clone().map(Base64),
            quote: match self.pcrs_sha384 {
                Some(_) => self.quote_banks(&ALL, &ALL, qualifying_data, |_| {}),
                None => self.quote(&ALL, qualifying_data),
            },
        }
    }
}

/// The selected registers, ascending.
fn listed<'a, const N: usize>(selected: &'a [u8], all: &'a [[u8; N]; 24]) -> impl Iterator<Item = (u8, [u8; N])> + 'a {
    (0..)
        .zip(all)
        .filter(|(i, _)| selected.contains(i))
        .map(|(i, value)| (i, *value))
}

fn bitmap(selected: &[u8]) -> [u8; 3] {
    let mut bitmap = [0; 3];
    for index in selected {
        bitmap[usize::from(index / 8)] |= 1 << (index % 8);
    }
    bitmap
}

/// Every register.
const ALL: [u8; 24] = {
    let mut all = [0; 24];
    let mut i = 0;
    while i < 24 {
        all[i] = i as u8;
        i += 1;
    }
    all
};

/// basicConstraints without cA; keyUsage digitalSignature.
fn usage() -> Vec<Vec<u8>> {
    vec![
        extension(&[2, 5, 29, 19], true, &tlv(SEQUENCE, &[])),
        extension(&[2, 5, 29, 15], true, &[0x03, 0x02, 0x07, 0x80]),
    ]
}
