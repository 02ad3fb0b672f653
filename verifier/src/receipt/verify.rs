//! Offline verification against a keyset.

use hanzo_attestation::keyset::{CountedBy, Keyset};
use hanzo_attestation::{Digest256, Digest384, UnixTime};
use hanzo_pqc::sign::{Signature, SignatureSuite, VerifyingKeys};
use hanzo_pqc::{Domain, PqcError, SignatureHalf};

use super::{DisclosedReceipt, Receipt, ReceiptError, Salt, SignedReceipt, Transport, Work, commitment};

/// Most answers, or vectors, of one request.
const ANSWERS_MAX: u64 = 4096;

/// Of an Ed25519 signature: 64 bytes.
const ED25519_HEX_LEN: usize = 128;

/// How far a receipt's time may lie outside the keyset's life, in seconds: an answer may end after the keyset did.
const TIME_SLACK_S: u64 = 3600;

/// A receipt that both keys of one keyset signed. Only the functions of this module make one:
/// ```compile_fail
/// use hanzo_verifier::receipt::{Receipt, VerifiedReceipt};
/// fn forge(receipt: Receipt) -> VerifiedReceipt {
///     VerifiedReceipt { digest: receipt.digest().unwrap(), receipt }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt {
    receipt: Receipt,
    digest: Digest384,
}

/// Reads and verifies a [`SignedReceipt`] document.
///
/// # Establishes
/// Both receipt keys of `keyset` signed it, and model, tier, `simulated` and time agree with that keyset. With a keyset out of
/// verified evidence: that guest said so.
///
/// # Does not establish
/// That the keyset is genuine (verify its bundle), that the answer is right, or that no other receipt is missing.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify_receipt(bytes: &[u8], keyset: &Keyset) -> Result<VerifiedReceipt, ReceiptError> {
    verify_signed(&SignedReceipt::from_bytes(bytes)?, keyset)
}

/// Reads and verifies a [`DisclosedReceipt`] document; its salts come back to open the commitments with.
///
/// # Errors
/// As [`verify_receipt`].
pub fn verify_disclosed(bytes: &[u8], keyset: &Keyset) -> Result<(VerifiedReceipt, super::Salts), ReceiptError> {
    let disclosed = DisclosedReceipt::from_bytes(bytes)?;
    let verified = verify_signed(&disclosed.without_salts(), keyset)?;
    Ok((verified, disclosed.salts))
}

/// Verifies a receipt that is already parsed.
///
/// # Errors
/// As [`verify_receipt`].
pub fn verify_signed(signed: &SignedReceipt, keyset: &Keyset) -> Result<VerifiedReceipt, ReceiptError> {
    let receipt = &signed.receipt;
    check_values(receipt)?;
    let expected = keyset.digest()?;
    if receipt.keyset_digest != expected {
        return Err(ReceiptError::Keyset {
            expected,
            got: receipt.keyset_digest,
        });
    }
    check_signatures(signed, keyset)?;
    check_keyset(receipt, keyset)?;
    Ok(VerifiedReceipt {
        digest: receipt.digest()?,
        receipt: receipt.clone(),
    })
}

fn check_values(receipt: &Receipt) -> Result<(), ReceiptError> {
    let limit = 1_u64 << 53;
    let s = &receipt.sampling;
    let answers = receipt.work.map_or(1, |work| work.answers);
    let rules = [
        ("version", receipt.version == 1, "1", receipt.version.to_string()),
        ("tier", receipt.tier <= 4, "0 to 4", receipt.tier.to_string()),
        (
            "transport",
            Transport::from_word(&receipt.transport).is_some(),
            "tls1.3+x25519mlkem768, ohttp+x-wing, ohttp+x25519 or ehbp+x25519",
            "another word".into(),
        ),
        (
            "time_source",
            matches!(receipt.time_source.as_str(), "host" | "securetsc"),
            "host or securetsc",
            "another word".into(),
        ),
        (
            "sampling.temperature_micros",
            s.temperature_micros <= 2_000_000,
            "0 to 2000000",
            s.temperature_micros.to_string(),
        ),
        (
            "sampling.top_p_micros",
            (1..=1_000_000).contains(&s.top_p_micros),
            "1 to 1000000",
            s.top_p_micros.to_string(),
        ),
        (
            "completion_tokens",
            receipt.completion_tokens <= s.max_tokens.saturating_mul(answers),
            "at most sampling.max_tokens, times work.answers where that is there",
            receipt.completion_tokens.to_string(),
        ),
        (
            "work",
            receipt.work != Some(Work::PLAIN),
            "nothing for one answer to one chat",
            "that".into(),
        ),
        (
            "work.answers",
            (1..=ANSWERS_MAX).contains(&answers),
            "1 to 4096",
            answers.to_string(),
        ),
    ];
    for (field, good, expected, got) in rules {
        if !good {
            return Err(ReceiptError::Value { field, expected, got });
        }
    }
    for (field, value) in [
        ("seq", receipt.seq),
        ("time", receipt.time),
        ("prompt_tokens", receipt.prompt_tokens),
        ("sampling.max_tokens", s.max_tokens),
        ("sampling.seed", s.seed.unwrap_or(0)),
    ] {
        if value >= limit {
            return Err(ReceiptError::Value {
                field,
                expected: "less than 2^53",
                got: value.to_string(),
            });
        }
    }
    Ok(())
}

fn check_signatures(signed: &SignedReceipt, keyset: &Keyset) -> Result<(), ReceiptError> {
    let keys = &keyset.receipt_keys;
    let suite = SignatureSuite::from_name(&keys.suite).ok_or(ReceiptError::Keys("unknown suite"))?;
    let keys = VerifyingKeys::from_hex(suite, &keys.ml_dsa, &keys.ed25519)
        .map_err(|_| ReceiptError::Keys("not keys of their suite in lower-case hex"))?;
    let pair = &signed.signature;
    let (field, half) = match pair.ed25519.len() == ED25519_HEX_LEN {
        true => ("signature.ml_dsa", &pair.ml_dsa),
        false => ("signature.ed25519", &pair.ed25519),
    };
    let malformed = |_| ReceiptError::Value {
        field,
        expected: "both signatures of the keyset's suite in lower-case hex",
        got: match half.len() {
            0 => "none".into(),
            n => format!("{n} characters"),
        },
    };
    let signature = Signature::from_hex(&pair.ml_dsa, &pair.ed25519).map_err(malformed)?;
    let message = signed.receipt.canonical()?;
    keys.verify(Domain::Receipt, &message, &signature).map_err(|e| match e {
        PqcError::Signature { half, .. } => match half {
            SignatureHalf::MlDsa => ReceiptError::MlDsa,
            SignatureHalf::Ed25519 => ReceiptError::Ed25519,
            SignatureHalf::Both => ReceiptError::BothSignatures,
        },
        other => malformed(other),
    })
}

/// In which members a receipt contradicts the keyset.
pub(super) fn contradictions(receipt: &Receipt, keyset: &Keyset) -> Vec<ReceiptError> {
    let Some(model) = keyset.models.iter().find(|m| m.name == receipt.model) else {
        return vec![ReceiptError::Contradiction {
            field: "model",
            expected: "another list of models".into(),
            got: receipt.model.to_string(),
        }];
    };
    let root = |root: Option<Digest256>| root.map_or_else(|| "none".to_owned(), |root| root.to_string());
    [
        ("base_root", root(model.base_root), root(receipt.base_root)),
        (
            "counted_by",
            CountedBy::word(model.counted_by).to_owned(),
            CountedBy::word(receipt.counted_by).to_owned(),
        ),
        (
            "weights_root",
            model.weights_root.to_string(),
            receipt.weights_root.to_string(),
        ),
        (
            "tokenizer_sha256",
            model.tokenizer_sha256.to_string(),
            receipt.tokenizer_sha256.to_string(),
        ),
        (
            "chat_template_sha256",
            model.chat_template_sha256.to_string(),
            receipt.chat_template_sha256.to_string(),
        ),
        ("tier", keyset.tier.to_string(), receipt.tier.to_string()),
        ("simulated", keyset.simulated.to_string(), receipt.simulated.to_string()),
        ("time_source", keyset.time.clone(), receipt.time_source.clone()),
    ]
    .into_iter()
    .filter(|(_, expected, got)| expected != got)
    .map(|(field, expected, got)| ReceiptError::Contradiction { field, expected, got })
    .collect()
}

fn check_keyset(receipt: &Receipt, keyset: &Keyset) -> Result<(), ReceiptError> {
    if let Some(first) = contradictions(receipt, keyset).into_iter().next() {
        return Err(first);
    }
    let last = keyset.not_after.saturating_add(TIME_SLACK_S);
    if !(keyset.issued_at..=last).contains(&receipt.time) {
        return Err(ReceiptError::Time {
            time: UnixTime(receipt.time),
            issued_at: keyset.issued_at,
            not_after: keyset.not_after,
        });
    }
    if receipt.seq == 0 && receipt.prev != receipt.keyset_digest {
        return Err(ReceiptError::Chain {
            field: "prev",
            expected: receipt.keyset_digest.to_string(),
            got: receipt.prev.to_string(),
        });
    }
    Ok(())
}

impl VerifiedReceipt {
    /// What it says.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// SHA-384 of its canonical bytes.
    pub fn digest(&self) -> Digest384 {
        self.digest
    }

    /// Checks that `bytes` is the request it was given for.
    ///
    /// # Errors
    /// `receipt.commitment.request`.
    pub fn check_request(&self, salt: &Salt, bytes: &[u8]) -> Result<(), ReceiptError> {
        opens("request", self.receipt.request_commitment, salt, bytes)
    }

    /// Checks that `bytes` is the response it was given for (SSE: all bytes before the receipt frame).
    ///
    /// # Errors
    /// `receipt.commitment.response`.
    pub fn check_response(&self, salt: &Salt, bytes: &[u8]) -> Result<(), ReceiptError> {
        opens("response", self.receipt.response_commitment, salt, bytes)
    }

    /// Checks that this receipt comes right after `before` in the log of one boot.
    ///
    /// # Errors
    /// `receipt.chain`, `receipt.keyset`.
    pub fn follows(&self, before: &VerifiedReceipt) -> Result<(), ReceiptError> {
        if self.receipt.keyset_digest != before.receipt.keyset_digest {
            return Err(ReceiptError::Keyset {
                expected: before.receipt.keyset_digest,
                got: self.receipt.keyset_digest,
            });
        }
        let seq = before.receipt.seq + 1;
        for (field, expected, got) in [
            ("seq", seq.to_string(), self.receipt.seq.to_string()),
            ("prev", before.digest.to_string(), self.receipt.prev.to_string()),
        ] {
            if expected != got {
                return Err(ReceiptError::Chain { field, expected, got });
            }
        }
        Ok(())
    }
}

fn opens(which: &'static str, committed: Digest384, salt: &Salt, bytes: &[u8]) -> Result<(), ReceiptError> {
    if commitment(salt, bytes) == committed {
        Ok(())
    } else {
        Err(ReceiptError::Commitment { which })
    }
}
