//! Signed requests: HTTP Message Signatures (RFC 9421) over method, path, query and the body's digest (RFC 9530), for one guest at
//! one time, once.
//!
//! # Layout
//! Of RFC 9421 one form is taken. `content-digest: sha-256=:…:`, of the body's bytes, of no bytes where there is no body.
//! `hanzo-keyset`: the digest of the guest's keyset, so that no other guest and no later boot takes the request. One or two
//! signatures, as many as the caller has keys, each over exactly these components in this order:
//!
//! ```text
//! signature-input: ed25519=("@method" "@path" "@query" "content-digest" "hanzo-keyset");created=1800000000;
//!     nonce="…";keyid="acme";alg="ed25519";tag="hanzo-request", ml-dsa-65=(…);…;alg="ml-dsa-65";…
//! signature: ed25519=:…:, ml-dsa-65=:…:
//! ```
//! (without line breaks.) Parameters are all there, each once, in any order; labels are free. `created`, `nonce` and `keyid` are the
//! same in both. The keys sign the signature base of RFC 9421 section 2.5 as it is, ML-DSA-65 with the empty context (FIPS 204);
//! its name is in no registry yet. They sign nothing else.
//!
//! # Establishes
//! Whoever has the caller's keys signed this method, path, query, digest and keyset at `created`.
//!
//! # Does not establish
//! That it comes once: the guest remembers nonces. Anything about other headers: the channel carries them.

mod error;
mod keys;
mod parse;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::name::Name;

pub use error::RequestError;
pub use keys::RequestKeys;
pub(crate) use parse::Input;

/// The components, as every signature names them.
pub(crate) const COMPONENTS: &str = r#"("@method" "@path" "@query" "content-digest" "hanzo-keyset")"#;
/// What such a signature is for.
pub(crate) const TAG: &str = "hanzo-request";
/// Longest `signature-input` and `signature` in bytes: two signatures of RFC 9421, one of 3,309 bytes.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// An algorithm of request signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestAlgorithm {
    /// RFC 8032; RFC 9421 section 3.3.6.
    Ed25519,
    /// FIPS 204, pure, empty context.
    MlDsa65,
}

impl RequestAlgorithm {
    /// The word in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::MlDsa65 => "ml-dsa-65",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Ed25519, Self::MlDsa65]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// `POST`.
    pub method: &'a str,
    /// Absolute, as it is sent: `/v1/chat/completions`.
    pub path: &'a str,
    /// What follows `?`.
    pub query: Option<&'a str>,
    /// The value of `content-digest`.
    pub content_digest: &'a str,
    /// The value of `hanzo-keyset`: lower-case hex.
    pub keyset: &'a str,
}

impl RequestLine<'_> {
    /// The signature base (RFC 9421 section 2.5).
    pub(crate) fn base(&self, params: &str) -> Vec<u8> {
        let Self {
            method,
            path,
            query,
            content_digest,
            keyset,
        } = self;
        let query = query.unwrap_or_default();
        format!(
            "\"@method\": {method}\n\"@path\": {path}\n\"@query\": ?{query}\n\"content-digest\": {content_digest}\n\
             \"hanzo-keyset\": {keyset}\n\"@signature-params\": {params}"
        )
        .into_bytes()
    }
}

impl RequestLine<'_> {
    /// Values of `signature-input` and `signature` of a request of caller `id`, one signature by each of `algorithms`, made by the
    /// caller's signer. The nonce is 16 fresh random bytes.
    ///
    /// # Errors
    /// The signer's.
    pub fn sign<E>(
        &self,
        id: &Name,
        created: u64,
        nonce: [u8; 16],
        algorithms: &[RequestAlgorithm],
        mut sign: impl FnMut(RequestAlgorithm, &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<(String, String), E> {
        let nonce = hex::encode(nonce);
        let (mut inputs, mut signatures) = (Vec::new(), Vec::new());
        for algorithm in algorithms {
            let alg = algorithm.name();
            let params =
                format!("{COMPONENTS};created={created};nonce=\"{nonce}\";keyid=\"{id}\";alg=\"{alg}\";tag=\"{TAG}\"");
            let signature = sign(*algorithm, &self.base(&params))?;
            inputs.push(format!("{alg}={params}"));
            signatures.push(format!("{alg}=:{}:", STANDARD.encode(signature)));
        }
        Ok((inputs.join(", "), signatures.join(", ")))
    }
}

/// `content-digest` of a body (RFC 9530).
pub fn content_digest(body: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, body);
    format!("sha-256=:{}:", STANDARD.encode(digest))
}

/// A request's signatures, read and not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSignature {
    inputs: Vec<(Input, Vec<u8>)>,
}

impl RequestSignature {
    /// Reads `signature-input` and `signature`.
    ///
    /// # Errors
    /// [`RequestError::Form`].
    pub fn parse(signature_input: &[u8], signature: &[u8]) -> Result<Self, RequestError> {
        if signature_input.len() > HEADER_BYTES_MAX || signature.len() > HEADER_BYTES_MAX {
            return Err(RequestError::Form {
                what: "at most 8192 bytes in signature-input and in signature",
            });
        }
        let inputs = parse::inputs(signature_input)?;
        let mut signatures = parse::signatures(signature)?;
        let paired = inputs.into_iter().map(|input| {
            let at = signatures.iter().position(|(label, _)| *label == input.label);
            let at = at.ok_or(RequestError::Form {
                what: "the same labels in signature-input and signature",
            })?;
            Ok((input, signatures.swap_remove(at).1))
        });
        let inputs = paired.collect::<Result<Vec<_>, RequestError>>()?;
        match signatures.is_empty() {
            true => Ok(Self { inputs }),
            false => Err(RequestError::Form {
                what: "the same labels in signature-input and signature",
            }),
        }
    }

    fn first(&self) -> Option<&Input> {
        self.inputs.first().map(|(input, _)| input)
    }

    /// Whose request it says it is: the `id` of a caller.
    pub fn keyid(&self) -> &str {
        self.first().map_or("", |input| &input.keyid)
    }

    /// When it says it was signed, Unix seconds.
    pub fn created(&self) -> u64 {
        self.first().map_or(0, |input| input.created)
    }

    /// What makes it another request than every other: 16 to 64 characters.
    pub fn nonce(&self) -> &str {
        self.first().map_or("", |input| &input.nonce)
    }

    /// Checks one signature of each of the caller's keys, and that there is no other.
    ///
    /// # Errors
    /// [`RequestError::Keys`], [`RequestError::Signature`].
    pub fn verify(&self, keys: &RequestKeys, line: &RequestLine<'_>) -> Result<(), RequestError> {
        let mut shown: Vec<_> = self.inputs.iter().map(|(input, _)| input.algorithm).collect();
        let mut wanted = keys.algorithms();
        let order = |one: &RequestAlgorithm| one.name();
        (shown.sort_by_key(order), wanted.sort_by_key(order));
        if shown != wanted {
            return Err(RequestError::Keys);
        }
        for (input, signature) in &self.inputs {
            if !keys.verifies(input.algorithm, &line.base(&input.params), signature) {
                return Err(RequestError::Signature {
                    alg: input.algorithm.name(),
                });
            }
        }
        Ok(())
    }
}
