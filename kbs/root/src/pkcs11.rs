//! The root under an AES-256 key that never leaves a PKCS #11 token.
//!
//! # Layout
//! `{"ciphertext","header":{"commitment","format":"hanzo.root-pkcs11.v1","iv","key","token"}}`: CKM_AES_GCM with a 96-bit IV
//! and a 128-bit tag, AAD = JCS of the header. The key is a token object, sensitive and not extractable; it is checked to
//! be so each time.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use hanzo_attestation::jcs;
use hanzo_pqc::{aead, random};
use hanzo_vault::Root;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::document::{Document, bytes, committed, some_bytes};
use crate::{RootError, RootProvider, SecretSource, Surroundings};

/// A module is initialised once per process and its login state is the process's: one at a time.
static TOKEN: Mutex<()> = Mutex::new(());

const TAG_BITS: u64 = 128;

pub(crate) struct Pkcs11Root {
    pub(crate) module: PathBuf,
    pub(crate) token: String,
    pub(crate) key: String,
    pub(crate) pin: SecretSource,
    pub(crate) path: PathBuf,
    pub(crate) surroundings: Surroundings,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blob {
    ciphertext: String,
    header: Header,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    commitment: String,
    format: String,
    iv: String,
    key: String,
    token: String,
}

impl Document for Blob {
    const WHAT: &'static str = "root under a token's key";
    const FORMAT: &'static str = "hanzo.root-pkcs11.v1";

    fn format(&self) -> &str {
        &self.header.format
    }
}

fn token(what: &'static str) -> impl Fn(Error) -> RootError {
    move |e| RootError::Token {
        what,
        detail: e.to_string(),
    }
}

impl Pkcs11Root {
    /// The one token of the configured label.
    fn slot(&self) -> Result<(Pkcs11, Slot), RootError> {
        if !self.module.is_absolute() {
            return Err(RootError::Shape {
                what: "PKCS #11 module",
                path: self.module.clone(),
                expected: "an absolute path",
                got: "a relative one".into(),
            });
        }
        let context = Pkcs11::new(&self.module).map_err(token("open module"))?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(e) => return Err(token("initialise module")(e)),
        }
        let mut found = Vec::new();
        for slot in context
            .get_slots_with_initialized_token()
            .map_err(token("list slots"))?
        {
            let info = context.get_token_info(slot).map_err(token("read token"))?;
            if info.label().trim_end() == self.token {
                found.push(slot);
            }
        }
        match found.as_slice() {
            [slot] => Ok((context, *slot)),
            _ => Err(RootError::Token {
                what: "find token",
                detail: format!("expected one token with label {}, found {}", self.token, found.len()),
            }),
        }
    }

    /// A logged-in session with that token.
    fn session(&self) -> Result<Session, RootError> {
        let pin = self.pin.read("token PIN", &self.surroundings)?;
        let pin = std::str::from_utf8(&pin).map_err(|_| RootError::Source {
            what: "token PIN".into(),
            detail: "it is not UTF-8 text".into(),
        })?;
        let (context, slot) = self.slot()?;
        let session = context.open_rw_session(slot).map_err(token("open session"))?;
        match session.login(UserType::User, Some(&AuthPin::new(pin.into()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(e @ Error::Pkcs11(RvError::PinIncorrect | RvError::PinLocked | RvError::PinLenRange, _)) => {
                Err(RootError::Pin { detail: e.to_string() })
            }
            Err(e) => Err(token("log in")(e)),
        }
    }

    fn refuse_key(&self, detail: impl Into<String>) -> RootError {
        RootError::TokenKey {
            label: self.key.clone(),
            detail: detail.into(),
        }
    }

    /// The key of the configured label, checked; `None` if there is none.
    fn find(&self, session: &Session) -> Result<Option<ObjectHandle>, RootError> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(self.key.clone().into_bytes()),
        ];
        let keys = session.find_objects(&template).map_err(token("find key"))?;
        let key = match keys.as_slice() {
            [] => return Ok(None),
            [key] => *key,
            several => return Err(self.refuse_key(format!("{} keys have this label", several.len()))),
        };
        let asked = [
            AttributeType::KeyType,
            AttributeType::ValueLen,
            AttributeType::Sensitive,
            AttributeType::Extractable,
        ];
        let got = session.get_attributes(key, &asked).map_err(token("read key"))?;
        for wanted in [
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
        ] {
            if !got.contains(&wanted) {
                return Err(self.refuse_key(format!(
                    "expected AES-256, sensitive and not extractable; it lacks {wanted:?}: let `init` make one under another label"
                )));
            }
        }
        Ok(Some(key))
    }

    fn open_blob(
        &self,
        session: &Session,
        key: ObjectHandle,
        (iv, aad): (&mut [u8], &[u8]),
        sealed: &[u8],
        commitment: &str,
    ) -> Result<Root, RootError> {
        let params = GcmParams::new(iv, aad, TAG_BITS.into()).map_err(token("AES-GCM"))?;
        let opened = session
            .decrypt(&Mechanism::AesGcm(params), key, sealed)
            .map(Zeroizing::new)
            .map_err(|_| RootError::TokenOpen {
                path: self.path.clone(),
            })?;
        committed(&self.path, &opened, commitment)
    }

    fn find_or_make(&self, session: &Session) -> Result<ObjectHandle, RootError> {
        if let Some(key) = self.find(session)? {
            return Ok(key);
        }
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::ValueLen(32.into()),
            Attribute::Label(self.key.clone().into_bytes()),
        ];
        session
            .generate_key(&Mechanism::AesKeyGen, &template)
            .map_err(token("make key"))?;
        self.find(session)?
            .ok_or_else(|| self.refuse_key("the token made it and does not show it"))
    }
}

impl RootProvider for Pkcs11Root {
    fn kind(&self) -> &'static str {
        "pkcs11"
    }

    fn load(&self) -> Result<Root, RootError> {
        let blob = Blob::read(&self.path)?;
        if (&blob.header.key, &blob.header.token) != (&self.key, &self.token) {
            return Err(RootError::TokenOpen {
                path: self.path.clone(),
            });
        }
        let mut iv: [u8; aead::NONCE_LEN] = bytes(&self.path, "iv", &blob.header.iv)?;
        let sealed = some_bytes(&self.path, "ciphertext", &blob.ciphertext, Root::LEN + aead::TAG_LEN)?;
        let aad = jcs::to_vec(Blob::WHAT, &blob.header)?;
        let _one = TOKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let session = self.session()?;
        let key = self
            .find(&session)?
            .ok_or_else(|| self.refuse_key("the token has no key of this label"))?;
        self.open_blob(&session, key, (&mut iv, &aad), &sealed, &blob.header.commitment)
    }

    fn reachable(&self) -> Result<(), RootError> {
        Blob::read(&self.path)?;
        let _one = TOKEN.lock().unwrap_or_else(PoisonError::into_inner);
        self.slot().map(drop)
    }

    fn keep(&self, root: &Root) -> Result<(), RootError> {
        if self.path.exists() {
            return Err(RootError::Exists {
                path: self.path.clone(),
            });
        }
        let mut iv = [0; aead::NONCE_LEN];
        random::fill(&mut iv)?;
        let header = Header {
            commitment: hex::encode(root.commitment()?),
            format: Blob::FORMAT.into(),
            iv: hex::encode(iv),
            key: self.key.clone(),
            token: self.token.clone(),
        };
        let aad = jcs::to_vec(Blob::WHAT, &header)?;
        let _one = TOKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let session = self.session()?;
        let key = self.find_or_make(&session)?;
        let params = GcmParams::new(&mut iv, &aad, TAG_BITS.into()).map_err(token("AES-GCM"))?;
        let sealed = session
            .encrypt(&Mechanism::AesGcm(params), key, root.expose())
            .map_err(token("wrap root"))?;
        self.open_blob(&session, key, (&mut iv, &aad), &sealed, &header.commitment)?;
        let blob = Blob {
            ciphertext: hex::encode(sealed),
            header,
        };
        blob.write_new(&self.path)
    }
}
