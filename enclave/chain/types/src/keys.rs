//! The keys of one boot of a validator, and the statement that its evidence signs.

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Digest256, Digest384, Nonce};
use hanzo_ledger::{Address, Canonical, DecodeError, Fixed, Network, PublicKey, Reader, key_digest};

const VERSION: u8 = 1;
/// Length of an X-Wing public key in bytes.
pub const CHANNEL_KEY_BYTES: usize = 1216;
/// Length of [`ValidatorKeys`] in bytes.
pub const VALIDATOR_KEYS_BYTES: usize = 1 + 41 + 32 + 8 + 1952 + CHANNEL_KEY_BYTES;

/// The public keys of one boot of a validator: what its attestation evidence proves.
///
/// # Layout
/// Version 1, network 41, validator 32, incarnation 8, consensus key 1952, channel key 1216. Big endian.
///
/// # Spec
/// DESIGN section 4, "Statement": purpose `hanzo.validator.v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorKeys {
    /// On which chain. Before there is a genesis its digest is zeros.
    pub network: Network,
    /// The validator's account.
    pub validator: Address,
    /// Of the consensus key.
    pub incarnation: u64,
    /// Signs its votes: ML-DSA-65.
    pub consensus: PublicKey,
    /// X-Wing: its links prove themselves with it. Zeros in a candidate, which has no links.
    pub channel: Fixed<CHANNEL_KEY_BYTES>,
}

impl Canonical for ValidatorKeys {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.network.write(out);
        self.validator.write(out);
        self.incarnation.write(out);
        self.consensus.write(out);
        self.channel.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        match u8::read(from, "ValidatorKeys.version")? {
            VERSION => Ok(Self {
                network: Canonical::read(from, "ValidatorKeys.network")?,
                validator: Canonical::read(from, "ValidatorKeys.validator")?,
                incarnation: Canonical::read(from, "ValidatorKeys.incarnation")?,
                consensus: Canonical::read(from, "ValidatorKeys.consensus")?,
                channel: Canonical::read(from, "ValidatorKeys.channel")?,
            }),
            got => Err(DecodeError::Tag {
                what: "ValidatorKeys.version",
                expected: "1",
                got,
            }),
        }
    }
}

impl ValidatorKeys {
    /// SHA-384 of the canonical bytes.
    pub fn digest(&self) -> Digest384 {
        Digest384::of(&self.to_bytes())
    }

    /// What names its consensus key, as ledger and signer digest keys.
    pub fn key_digest(&self) -> Digest256 {
        key_digest(&self.consensus)
    }

    /// SHA-256 over network 41, validator 32 and incarnation 8.
    pub fn nonce(&self) -> Nonce {
        let mut bytes = self.network.to_bytes();
        self.validator.write(&mut bytes);
        self.incarnation.write(&mut bytes);
        Nonce(Digest256::of(&bytes).0)
    }

    /// What the security processor signs.
    pub fn statement(&self) -> Statement {
        Statement::for_validator(self.digest(), self.nonce())
    }

    /// REPORT_DATA of its evidence.
    ///
    /// # Errors
    /// [`JcsError`]: never for values of this type.
    pub fn report_data(&self) -> Result<[u8; 64], JcsError> {
        self.statement().report_data()
    }

    /// What evidence of this kind signs: REPORT_DATA of SNP and TDX, 64 bytes; qualifying data of a TPM's quote, a paravisor's too, 32.
    ///
    /// # Errors
    /// As [`Self::report_data`].
    pub fn signed_in(&self, evidence: &CpuEvidence) -> Result<Vec<u8>, JcsError> {
        let request = self.statement().request()?;
        Ok(match evidence {
            CpuEvidence::Snp(_) | CpuEvidence::Tdx(_) => request.report_data().to_vec(),
            CpuEvidence::Tpm(_) | CpuEvidence::AzSnpVtpm(_) | CpuEvidence::AzTdxVtpm(_) => {
                request.qualifying_data().to_vec()
            }
        })
    }
}
