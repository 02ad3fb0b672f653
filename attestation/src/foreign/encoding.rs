//! The encodings of bytes that other projects use, each read strictly: one spelling per byte string.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;

use super::{ForeignError, ForeignFormat};

/// Reads fields of one format, so that errors name it.
#[derive(Clone, Copy)]
pub(super) struct Fields(pub(super) ForeignFormat);

impl Fields {
    fn wrong(self, field: &'static str, expected: &'static str) -> ForeignError {
        ForeignError::Field {
            format: self.0,
            field,
            expected,
        }
    }

    /// Standard base64 with padding.
    pub(super) fn base64(self, field: &'static str, text: &str) -> Result<Vec<u8>, ForeignError> {
        STANDARD
            .decode(text)
            .map_err(|_| self.wrong(field, "standard base64 with padding"))
    }

    /// URL-safe base64 with padding.
    pub(super) fn base64url(self, field: &'static str, text: &str) -> Result<Vec<u8>, ForeignError> {
        URL_SAFE
            .decode(text)
            .map_err(|_| self.wrong(field, "URL-safe base64 with padding"))
    }

    /// Hexadecimal of either case, without `0x`.
    pub(super) fn hex(self, field: &'static str, text: &str) -> Result<Vec<u8>, ForeignError> {
        hex::decode(text).map_err(|_| self.wrong(field, "hexadecimal digits"))
    }

    /// Lower-case hexadecimal of `N` bytes.
    pub(super) fn lower_hex<const N: usize>(self, field: &'static str, text: &str) -> Result<[u8; N], ForeignError> {
        let wrong = || self.wrong(field, "lower-case hexadecimal of the field's length");
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong());
        }
        self.exact(field, hex::decode(text).map_err(|_| wrong())?)
    }

    /// Exactly `N` bytes.
    pub(super) fn exact<const N: usize>(self, field: &'static str, bytes: Vec<u8>) -> Result<[u8; N], ForeignError> {
        bytes
            .try_into()
            .map_err(|_| self.wrong(field, "bytes of the field's length"))
    }

    /// A certificate in PEM, as DER: one block and nothing beside it.
    pub(super) fn pem_certificate(self, field: &'static str, text: &str) -> Result<Vec<u8>, ForeignError> {
        pem_blocks(text)
            .and_then(|mut blocks| blocks.pop().filter(|_| blocks.is_empty()))
            .ok_or_else(|| self.wrong(field, "one certificate in PEM"))
    }

    /// Certificates in PEM, as DER.
    pub(super) fn pem_certificates(self, field: &'static str, text: &str) -> Result<Vec<Vec<u8>>, ForeignError> {
        pem_blocks(text)
            .filter(|blocks| !blocks.is_empty())
            .ok_or_else(|| self.wrong(field, "certificates in PEM"))
    }
}

/// Most certificates read out of one PEM text.
const PEM_BLOCKS_MAX: usize = 16;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates of a PEM text; `None` for anything but certificates and white space.
pub(super) fn pem_blocks(text: &str) -> Option<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if out.len() == PEM_BLOCKS_MAX {
            return None;
        }
        let (body, after) = rest.strip_prefix(BEGIN)?.split_once(END)?;
        let body: String = body.split_ascii_whitespace().collect();
        out.push(STANDARD.decode(body).ok()?);
        rest = after.trim_start();
    }
    Some(out)
}

/// Bytes that stand as a list of numbers or as text whose encoding the format's version decides.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum TextOrNumbers {
    Text(String),
    Numbers(Vec<u8>),
}
