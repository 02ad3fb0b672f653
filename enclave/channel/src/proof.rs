//! Both ends of a channel proof.
//!
//! # Layout
//! `info` = JCS of `{"ekm","keyset_digest","purpose":"hanzo.channel.v1"}`. The client runs HPKE SetupBaseS to the
//! keyset's channel key and sends `enc`; the guest answers HPKE.Export("proof", 32). No signature, no hardware call.

use hanzo_attestation::Digest384;
use hanzo_attestation::channel::{PROOF_EXPORTER_CONTEXT, ProofRequest, ProofResponse, proof_info};
use hanzo_attestation::keyset::{KemKey, Keyset};
use hanzo_pqc::hpke::{self, KemSuite, PrivateKey, PublicKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::accept::Exporter;
use crate::error::ChannelError;

/// Length of an X-Wing encapsulation in bytes.
pub const ENC_BYTES: usize = 1120;
/// Length of a proof in bytes.
pub const PROOF_BYTES: usize = 32;
const REQUEST_START: &[u8] = br#"{"enc":""#;
const RESPONSE_START: &[u8] = br#"{"proof":""#;
const DOCUMENT_END: &[u8] = br#""}"#;
/// Length of a proof request as it is written, in bytes.
pub const REQUEST_BYTES: usize = REQUEST_START.len() + 2 * ENC_BYTES + DOCUMENT_END.len();
/// Length of its answer as it is written, in bytes.
pub const RESPONSE_BYTES: usize = RESPONSE_START.len() + 2 * PROOF_BYTES + DOCUMENT_END.len();
/// What no digit's value has in common with any.
const NO_DIGIT: u8 = 0x80;

/// The guest's channel key: answers proofs, does nothing else.
pub struct ChannelKey(PrivateKey);

impl ChannelKey {
    /// Makes the key out of a secret seed.
    ///
    /// # Errors
    /// [`ChannelError::ChannelKey`] if the KEM refuses the seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, ChannelError> {
        match PrivateKey::from_seed(KemSuite::Xwing, seed) {
            Ok(key) => Ok(Self(key)),
            Err(_) => Err(ChannelError::ChannelKey),
        }
    }

    /// As it stands in the keyset.
    pub fn public(&self) -> KemKey {
        KemKey {
            public_key: self.0.public_key().to_hex(),
            suite: KemSuite::Xwing.name().to_owned(),
        }
    }

    /// Answers `request` for the connection whose exporter secret is `exporter`.
    ///
    /// # Errors
    /// [`ChannelError::ProofRequest`], [`ChannelError::Encapsulation`].
    pub fn answer(
        &self,
        request: &ProofRequest,
        exporter: &Exporter,
        keyset_digest: &Digest384,
    ) -> Result<ProofResponse, ChannelError> {
        let proof = self.proof(request.enc.as_bytes(), exporter, keyset_digest)?;
        Ok(ProofResponse {
            proof: hex::encode(proof.as_slice()),
        })
    }

    /// [`Self::answer`] to a request as it is written, with the answer as it is written: the format has one spelling.
    ///
    /// # Errors
    /// As [`Self::answer`]; [`ChannelError::ProofRequest`] for every other spelling too.
    pub fn answer_document(
        &self,
        document: &[u8],
        exporter: &Exporter,
        keyset_digest: &Digest384,
    ) -> Result<Vec<u8>, ChannelError> {
        let digits = document
            .strip_prefix(REQUEST_START)
            .and_then(|rest| rest.strip_suffix(DOCUMENT_END))
            .ok_or(malformed(document.len()))?;
        let proof = self.proof(digits, exporter, keyset_digest)?;
        let digits = Zeroizing::new(hex::encode(proof.as_slice()));
        Ok([RESPONSE_START, digits.as_bytes(), DOCUMENT_END].concat())
    }

    fn proof(
        &self,
        digits: &[u8],
        exporter: &Exporter,
        keyset_digest: &Digest384,
    ) -> Result<Zeroizing<Vec<u8>>, ChannelError> {
        let enc = enc_bytes(digits)?;
        let info = Zeroizing::new(proof_info(exporter.bytes(), keyset_digest));
        hpke::export_recipient(&self.0, &enc, &info, PROOF_EXPORTER_CONTEXT, PROOF_BYTES)
            .map_err(|_| ChannelError::Encapsulation)
    }
}

fn malformed(got: usize) -> ChannelError {
    ChannelError::ProofRequest {
        expected: ENC_BYTES,
        got,
    }
}

fn enc_bytes(digits: &[u8]) -> Result<[u8; ENC_BYTES], ChannelError> {
    if digits.len() != 2 * ENC_BYTES {
        return Err(malformed(digits.len()));
    }
    // Of every connection: without a branch, so that the compiler takes many digits at a time.
    let value = |c: u8| match (c.wrapping_sub(b'0'), c.wrapping_sub(b'a')) {
        (digit, _) if digit < 10 => digit,
        (_, letter) if letter < 6 => letter + 10,
        _ => NO_DIGIT,
    };
    let mut bytes = [0; ENC_BYTES];
    let mut seen = 0;
    let (pairs, _) = digits.as_chunks::<2>();
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (value(*high), value(*low));
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    if seen & NO_DIGIT == 0 {
        Ok(bytes)
    } else {
        Err(malformed(digits.len()))
    }
}

/// A client's open question to one connection.
pub struct PendingProof(Zeroizing<Vec<u8>>);

impl PendingProof {
    /// Asks the peer of the connection with `exporter` whether it is the guest of a *verified* `keyset`.
    ///
    /// # Errors
    /// [`ChannelError::ChannelKey`] if the keyset's channel key is none.
    pub fn ask(keyset: &Keyset, exporter: &Exporter) -> Result<(ProofRequest, Self), ChannelError> {
        let digest = keyset.digest().map_err(|_| ChannelError::ChannelKey)?;
        Self::ask_key(&keyset.channel_key, &digest, exporter)
    }

    /// As [`Self::ask`], for keys that are *verified* and whose digest the evidence signed: a keyset's or a validator's.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn ask_key(
        key: &KemKey,
        digest: &Digest384,
        exporter: &Exporter,
    ) -> Result<(ProofRequest, Self), ChannelError> {
        if key.suite != KemSuite::Xwing.name() {
            return Err(ChannelError::ChannelKey);
        }
        let key = PublicKey::from_hex(KemSuite::Xwing, &key.public_key).map_err(|_| ChannelError::ChannelKey)?;
        let info = Zeroizing::new(proof_info(exporter.bytes(), digest));
        let (enc, expected) = hpke::export_sender(&key, &info, PROOF_EXPORTER_CONTEXT, PROOF_BYTES)
            .map_err(|_| ChannelError::ChannelKey)?;
        Ok((ProofRequest { enc: hex::encode(enc) }, Self(expected)))
    }

    /// Compares the answer in constant time.
    ///
    /// # Establishes
    /// This very connection ends where the keyset's channel key is.
    ///
    /// # Errors
    /// [`ChannelError::ProofMismatch`].
    pub fn check(self, response: &ProofResponse) -> Result<(), ChannelError> {
        let expected = Zeroizing::new(hex::encode(self.0.as_slice()));
        if bool::from(expected.as_bytes().ct_eq(response.proof.as_bytes())) {
            Ok(())
        } else {
            Err(ChannelError::ProofMismatch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanzo_attestation::Digest256;
    use hanzo_attestation::keyset::SignerKeys;
    use hanzo_attestation::name::Name;

    fn keyset(key: &ChannelKey, not_after: u64) -> Keyset {
        Keyset {
            capability_digest: Digest384([0; 48]),
            channel_key: key.public(),
            config_digest: Digest256([0; 32]),
            image: Name::new("0.1.0").unwrap(),
            issued_at: 0,
            models: vec![],
            not_after,
            ohttp_keys: vec![],
            policy_digest: Digest384([0; 48]),
            receipt_keys: SignerKeys {
                ed25519: String::new(),
                ml_dsa: String::new(),
                suite: "ml-dsa-65".into(),
            },
            log: None,
            signer_keys: vec![],
            simulated: true,
            tier: 2,
            time: "host".into(),
            tls_spki_sha256: Digest256([0; 32]),
            version: 1,
        }
    }

    #[test]
    fn a_proof_holds_for_its_own_connection_keyset_and_key_alone() {
        let key = ChannelKey::from_seed(&[1; 32]).unwrap();
        let ours = keyset(&key, 10);
        let digest = ours.digest().unwrap();
        let here = Exporter::for_tests(1);

        let (request, pending) = PendingProof::ask(&ours, &here).unwrap();
        let good = key.answer(&request, &here, &digest).unwrap();
        let request = hanzo_attestation::jcs::to_vec("proof", &request).unwrap();
        let written = key.answer_document(&request, &here, &digest).unwrap();
        assert_eq!(
            written,
            hanzo_attestation::jcs::to_vec("proof", &good).unwrap(),
            "either way the same bytes"
        );
        assert_eq!((request.len(), written.len()), (REQUEST_BYTES, RESPONSE_BYTES));
        pending.check(&good).unwrap();

        let mismatch = |pending: PendingProof, answer: ProofResponse, why: &str| {
            assert_eq!(
                pending.check(&answer).unwrap_err().code(),
                "channel.proof_mismatch",
                "{why}"
            );
        };
        let (request, pending) = PendingProof::ask(&ours, &here).unwrap();
        let elsewhere = key.answer(&request, &Exporter::for_tests(2), &digest).unwrap();
        mismatch(pending, elsewhere, "the guest sees another connection: somebody relays");

        let (_, pending) = PendingProof::ask(&ours, &here).unwrap();
        mismatch(pending, good.clone(), "an older answer on the same connection");

        let (request, pending) = PendingProof::ask(&ours, &here).unwrap();
        let other_keyset = keyset(&key, 11).digest().unwrap();
        mismatch(
            pending,
            key.answer(&request, &here, &other_keyset).unwrap(),
            "another keyset",
        );

        let (request, pending) = PendingProof::ask(&ours, &here).unwrap();
        let other_key = ChannelKey::from_seed(&[2; 32]).unwrap();
        mismatch(
            pending,
            other_key.answer(&request, &here, &digest).unwrap(),
            "another guest's key",
        );

        for cut in ["", &good.proof[2..], &good.proof.to_uppercase()] {
            let (_, pending) = PendingProof::ask(&ours, &here).unwrap();
            mismatch(pending, ProofResponse { proof: cut.into() }, "not the format");
        }
    }

    #[test]
    fn malformed_requests_and_keys_are_refused_by_name() {
        let key = ChannelKey::from_seed(&[1; 32]).unwrap();
        let here = Exporter::for_tests(1);
        for enc in [
            String::new(),
            "00".repeat(ENC_BYTES - 1),
            "00".repeat(ENC_BYTES + 1),
            "0A".repeat(ENC_BYTES),
        ] {
            let error = key
                .answer(&ProofRequest { enc }, &here, &Digest384([0; 48]))
                .err()
                .unwrap();
            assert_eq!(error.code(), "channel.proof_request");
        }
        let good = format!(r#"{{"enc":"{}"}}"#, "00".repeat(ENC_BYTES));
        assert_eq!(good.len(), REQUEST_BYTES);
        for document in [
            String::new(),
            good.replace(':', ": "),
            good.replace("00\"}", "0A\"}"),
            good.replace("00\"}", "\"}"),
            format!("{good} "),
        ] {
            let error = key
                .answer_document(document.as_bytes(), &here, &Digest384([0; 48]))
                .err()
                .unwrap();
            assert_eq!(error.code(), "channel.proof_request", "{document:.20}");
        }
        let mut broken = keyset(&key, 10);
        broken.channel_key.suite = "mlkem1024-p384".into();
        assert_eq!(PendingProof::ask(&broken, &here).err().unwrap().code(), "channel.key");
        broken.channel_key = KemKey {
            public_key: "00".into(),
            suite: "x-wing".into(),
        };
        assert_eq!(PendingProof::ask(&broken, &here).err().unwrap().code(), "channel.key");
    }
}
