//! Compact JWS (RFC 7515) with the three algorithms that count: ES256, ES384 (RFC 7518) and ML-DSA-65 (RFC 9964).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{EAR_BYTES_MAX, EarError};

/// A signature algorithm. `none`, MACs, RSA and EdDSA have no member here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// FIPS 204, pure, empty context.
    MlDsa65,
}

impl EarAlgorithm {
    const ALL: [Self; 3] = [Self::Es256, Self::Es384, Self::MlDsa65];

    /// The word in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::MlDsa65 => "ML-DSA-65",
        }
    }

    /// Length of a signature in bytes.
    pub fn signature_bytes(self) -> usize {
        match self {
            Self::Es256 => 64,
            Self::Es384 => 96,
            Self::MlDsa65 => 3309,
        }
    }
}

/// A token taken apart; nothing about it is known.
pub(super) struct Parts {
    pub(super) algorithm: EarAlgorithm,
    /// What the signature covers.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Parts {
    pub(super) fn parse(token: &[u8]) -> Result<Self, EarError> {
        if token.len() > EAR_BYTES_MAX {
            return Err(EarError::TooLarge {
                got: token.len(),
                most: EAR_BYTES_MAX,
            });
        }
        let mut parts = token.split(|b| *b == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(EarError::Form);
        };
        let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| EarError::Form);
        let algorithm = algorithm(&decode(header)?)?;
        let signature = decode(signature)?;
        if signature.len() != algorithm.signature_bytes() {
            return Err(EarError::Signature);
        }
        Ok(Self {
            algorithm,
            signed: [header, b".", payload].concat(),
            signature,
            payload: decode(payload)?,
        })
    }
}

/// The header's algorithm. Keys and addresses of keys in the header are read by nobody.
fn algorithm(header: &[u8]) -> Result<EarAlgorithm, EarError> {
    let shape = |detail: String| EarError::Shape { part: "header", detail };
    let header = hanzo_attestation::foreign::json_without_duplicates(header).map_err(shape)?;
    let Value::Object(header) = header else {
        return Err(shape("expected an object".into()));
    };
    for member in ["crit", "b64"] {
        if header.contains_key(member) {
            return Err(EarError::Extension { member });
        }
    }
    let alg = header
        .get("alg")
        .and_then(Value::as_str)
        .ok_or_else(|| shape("alg: expected text".into()))?;
    EarAlgorithm::ALL
        .into_iter()
        .find(|known| known.name() == alg)
        .ok_or(EarError::Algorithm)
}

/// Writes a token over `payload` with the caller's signer.
pub(super) fn write<E: From<EarError>>(
    payload: &[u8],
    algorithm: EarAlgorithm,
    kid: Option<&str>,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    let header = match kid {
        Some(kid) => json!({"alg": algorithm.name(), "kid": kid, "typ": "JWT"}),
        None => json!({"alg": algorithm.name(), "typ": "JWT"}),
    };
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(payload));
    let signature = sign(signed.as_bytes())?;
    if signature.len() != algorithm.signature_bytes() {
        return Err(EarError::SignatureLength {
            alg: algorithm.name(),
            expected: algorithm.signature_bytes(),
            got: signature.len(),
        }
        .into());
    }
    Ok(format!("{signed}.{}", encode(&signature)))
}
