//! Oblivious HTTP (RFC 9458): one request and one answer, each sealed whole.
//!
//! # Layout
//! Request: `key_id` (1), KEM (2), KDF (2), AEAD (2), `enc` (Nenc), ciphertext. `info` is the label, a zero byte and those
//! seven bytes. Answer: response nonce (max(Nn, Nk)), ciphertext.

use hanzo_pqc::aead::TAG_LEN;
use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::{MessageContext, MessageKem, MessageKey, setup_recipient, setup_sender};
use zeroize::Zeroizing;

use crate::config::{KDF_HKDF_SHA256, KeyConfig};
use crate::error::SealedError;
use crate::response::{Exported, entropy_len};

/// Media type of a sealed request.
pub const REQUEST_MEDIA_TYPE: &str = "message/ohttp-req";
/// Media type of a sealed answer.
pub const RESPONSE_MEDIA_TYPE: &str = "message/ohttp-res";
/// Where a gateway hands out its keys and takes requests (RFC 9540).
pub const GATEWAY_PATH: &str = "/.well-known/ohttp-gateway";
/// Problem type of RFC 9458 section 5.3: the key is not one of ours, or the message does not open with it.
pub const KEY_PROBLEM: &str = "https://iana.org/assignments/http-problem-types#ohttp-key";

/// Length of what stands before `enc`.
pub const HEADER_LEN: usize = 7;

pub(crate) const REQUEST_LABEL: &[u8] = b"message/bhttp request";
const RESPONSE_LABEL: &[u8] = b"message/bhttp response";

/// The seven bytes before `enc`: which key, which suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Key identifier.
    pub key_id: u8,
    /// KEM.
    pub kem: MessageKem,
    /// AEAD.
    pub aead: Gcm,
}

impl Header {
    /// Reads it.
    ///
    /// # Errors
    /// [`SealedError::Suite`] for numbers off the closed list.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, SealedError> {
        let [key_id, k0, k1, d0, d1, a0, a1] = *bytes;
        let suite = |what, got| SealedError::Suite { what, got };
        let (kem, kdf, aead) = (
            u16::from_be_bytes([k0, k1]),
            u16::from_be_bytes([d0, d1]),
            u16::from_be_bytes([a0, a1]),
        );
        if kdf != KDF_HKDF_SHA256 {
            return Err(suite("KDF", kdf));
        }
        Ok(Self {
            key_id,
            kem: MessageKem::from_id(kem).ok_or(suite("KEM", kem))?,
            aead: Gcm::from_id(aead).ok_or(suite("AEAD", aead))?,
        })
    }

    /// Writes it.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let [k0, k1] = self.kem.id().to_be_bytes();
        let [d0, d1] = KDF_HKDF_SHA256.to_be_bytes();
        let [a0, a1] = self.aead.id().to_be_bytes();
        [self.key_id, k0, k1, d0, d1, a0, a1]
    }

    /// Checks that `config` is the key this message names, and offers its suite.
    ///
    /// # Errors
    /// [`SealedError::KeyId`], [`SealedError::Suite`].
    pub fn check(&self, config: &KeyConfig) -> Result<(), SealedError> {
        if self.key_id != config.key_id() {
            return Err(SealedError::KeyId);
        }
        if self.kem != config.kem() {
            return Err(SealedError::Suite {
                what: "KEM",
                got: self.kem.id(),
            });
        }
        if !config.aeads().contains(&self.aead) {
            return Err(SealedError::Suite {
                what: "AEAD",
                got: self.aead.id(),
            });
        }
        Ok(())
    }

    pub(crate) fn info(&self, label: &[u8]) -> Vec<u8> {
        [label, &[0], self.encode().as_slice()].concat()
    }

    pub(crate) fn of(config: &KeyConfig, aead: Gcm) -> Result<Self, SealedError> {
        let header = Self {
            key_id: config.key_id(),
            kem: config.kem(),
            aead,
        };
        header.check(config)?;
        Ok(header)
    }
}

/// Exports what the answer will be sealed under.
pub(crate) fn export(context: &MessageContext, label: &[u8], gcm: Gcm, enc: Vec<u8>) -> Result<Exported, SealedError> {
    let secret = context.export(label, entropy_len(gcm)).map_err(SealedError::Backend)?;
    Ok(Exported { gcm, secret, enc })
}

/// What a client keeps until the answer comes.
pub struct ResponseOpener(Exported);

/// What a gateway keeps until it has an answer.
pub struct ResponseSealer(Exported);

/// Seals a binary HTTP request.
///
/// # Errors
/// [`SealedError::Suite`] if the key does not offer `aead`; [`SealedError::Backend`].
pub fn seal_request(config: &KeyConfig, aead: Gcm, request: &[u8]) -> Result<(Vec<u8>, ResponseOpener), SealedError> {
    let header = Header::of(config, aead)?;
    let (enc, context) =
        setup_sender(config.public_key(), aead, &header.info(REQUEST_LABEL)).map_err(SealedError::Backend)?;
    seal_with(header, enc, context, request)
}

fn seal_with(
    header: Header,
    enc: Vec<u8>,
    mut context: MessageContext,
    request: &[u8],
) -> Result<(Vec<u8>, ResponseOpener), SealedError> {
    let mut ciphertext = Vec::with_capacity(request.len() + TAG_LEN);
    ciphertext.extend_from_slice(request);
    context
        .seal_in_place(b"", &mut ciphertext)
        .map_err(SealedError::Backend)?;
    let sealed = [header.encode().as_slice(), &enc, &ciphertext].concat();
    let exported = export(&context, RESPONSE_LABEL, header.aead, enc)?;
    Ok((sealed, ResponseOpener(exported)))
}

/// Splits a sealed request into header, `enc` and ciphertext.
///
/// # Errors
/// [`SealedError::Suite`], [`SealedError::Truncated`].
pub fn split_request(sealed: &[u8]) -> Result<(Header, &[u8], &[u8]), SealedError> {
    let cut = SealedError::Truncated { what: "sealed request" };
    let (header, rest) = sealed.split_first_chunk::<HEADER_LEN>().ok_or(cut.clone())?;
    let header = Header::parse(header)?;
    let (enc, ciphertext) = rest.split_at_checked(header.kem.enc_len()).ok_or(cut)?;
    Ok((header, enc, ciphertext))
}

/// Opens a sealed request with the key of `config`.
///
/// # Establishes
/// Somebody who knew the public key sealed exactly this. Not who, and not when: accept each `enc` once.
///
/// # Errors
/// [`SealedError::KeyId`], [`SealedError::Suite`], [`SealedError::Truncated`], [`SealedError::Open`].
pub fn open_request(
    config: &KeyConfig,
    key: &MessageKey,
    sealed: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, ResponseSealer), SealedError> {
    let (header, enc, ciphertext) = split_request(sealed)?;
    header.check(config)?;
    let mut context = setup_recipient(key, header.aead, enc, &header.info(REQUEST_LABEL))
        .map_err(SealedError::opening("sealed request"))?;
    let mut request = Zeroizing::new(ciphertext.to_vec());
    context
        .open_in_place(b"", &mut request)
        .map_err(SealedError::opening("sealed request"))?;
    let exported = export(&context, RESPONSE_LABEL, header.aead, enc.to_vec())?;
    Ok((request, ResponseSealer(exported)))
}

impl ResponseSealer {
    /// Seals the answer.
    ///
    /// # Errors
    /// [`SealedError::Backend`].
    pub fn seal(self, response: &[u8]) -> Result<Vec<u8>, SealedError> {
        let nonce = self.0.fresh_nonce()?;
        self.seal_with(nonce, response)
    }

    fn seal_with(self, nonce: Vec<u8>, response: &[u8]) -> Result<Vec<u8>, SealedError> {
        let sealed = self.0.keys(&nonce)?.seal(b"", response)?;
        Ok([nonce, sealed].concat())
    }
}

impl ResponseOpener {
    /// Opens the answer.
    ///
    /// # Establishes
    /// Whoever opened the request sealed exactly this as its answer.
    ///
    /// # Errors
    /// [`SealedError::Truncated`], [`SealedError::Open`].
    pub fn open(self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealedError> {
        let (nonce, ciphertext) = sealed
            .split_at_checked(entropy_len(self.0.gcm))
            .ok_or(SealedError::Truncated { what: "sealed answer" })?;
        self.0.keys(nonce)?.open(b"", ciphertext.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// RFC 9458 appendix A. In base mode the recipient's context seals as the sender's did, so the published `enc` gives
    /// the published request without anybody's ephemeral key.
    #[test]
    fn appendix_a_is_reproduced_byte_for_byte_and_a_changed_byte_is_refused() {
        let secret = unhex("3c168975674b2fa8e465970b79c8dcf09f1c741626480bd4c6162fc5b6a98e1a");
        let published =
            unhex("01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003");
        let enc = unhex("4b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b472");
        let request = unhex("00034745540568747470730b6578616d706c652e636f6d012f");
        let sealed_request = unhex(
            "010020000100014b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b4726374e469135906992e1268c594d2a10c695d858c40a026e7965e7d86b83dd440b2c0185204b4d63525",
        );
        let nonce = unhex("c789e7151fcba46158ca84b04464910d");
        let sealed_response = unhex("c789e7151fcba46158ca84b04464910d86f9013e404feea014e7be4a441f234f857fbd");

        let key = MessageKey::from_seed(MessageKem::X25519, &secret.try_into().unwrap()).unwrap();
        let config = KeyConfig::parse(&published).unwrap();
        assert_eq!(config.public_key(), key.public_key());
        assert_eq!((config.key_id(), config.aeads()), (1, [Gcm::Aes128].as_slice()));

        let header = Header::of(&config, Gcm::Aes128).unwrap();
        let info = header.info(REQUEST_LABEL);
        assert_eq!(
            hex::encode(&info),
            "6d6573736167652f626874747020726571756573740001002000010001"
        );
        let context = setup_recipient(&key, Gcm::Aes128, &enc, &info).unwrap();
        assert_eq!(
            hex::encode(context.export(RESPONSE_LABEL, 16).unwrap().as_slice()),
            "62d87a6ba569ee81014c2641f52bea36"
        );
        let (sealed, opener) = seal_with(header, enc, context, &request).unwrap();
        assert_eq!(sealed, sealed_request);

        let (opened, sealer) = open_request(&config, &key, &sealed_request).unwrap();
        assert_eq!(opened.as_slice(), request);
        let made = sealer.seal_with(nonce, &unhex("0140c8")).unwrap();
        assert_eq!(made, sealed_response);
        assert_eq!(opener.open(&sealed_response).unwrap().as_slice(), unhex("0140c8"));

        // Every single byte counts. Bit 255 of a point is masked by X25519 itself, but `enc` is in the KEM's context.
        for at in 0..sealed_request.len() {
            let mut changed = sealed_request.clone();
            changed[at] ^= 0x80;
            let code = open_request(&config, &key, &changed).err().unwrap().code();
            let expected = match at {
                0 => "sealed.key_id",
                1..7 => "sealed.suite",
                _ => "sealed.open",
            };
            assert_eq!(code, expected, "byte {at}");
        }
        for at in 0..sealed_response.len() {
            let mut changed = sealed_response.clone();
            changed[at] ^= 1;
            let (_, sealer) = open_request(&config, &key, &sealed_request).unwrap();
            assert_eq!(
                ResponseOpener(sealer.0).open(&changed).unwrap_err().code(),
                "sealed.open"
            );
        }
    }
}
