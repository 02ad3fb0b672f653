//! Cosignatures: a witness says that it saw this head, and that it extends every head of the log that it saw before.
//!
//! # Layout
//! A signature line of the note. Its bytes after the key id: time (Unix seconds, u64 big endian), then an Ed25519 signature over
//! `cosignature/v1 0x0A time <decimal> 0x0A <note text>`. Key id: first four bytes of `SHA-256(name 0x0A 0x04 public key)`.
//!
//! # Spec
//! C2SP tlog-cosignature, type 0x04.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::UnixTime;
use hanzo_pqc::sign::WitnessVerifyingKey;

use crate::checkpoint::SignedCheckpoint;
use crate::key::key_id;
use crate::note::{NoteLine, SIGNATURES_MAX};
use crate::{LogError, SIZE_MAX};

/// Ed25519 cosignatures.
const KIND: u8 = 0x04;

/// A witness's name and public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    key: WitnessVerifyingKey,
    id: [u8; 4],
}

/// A witness that signed a head, and when by its own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// Its name.
    pub witness: String,
    /// Its clock.
    pub time: UnixTime,
}

impl WitnessKey {
    /// Of that name and key.
    ///
    /// # Errors
    /// [`LogError::WitnessKey`].
    pub fn new(name: &str, public_key: &[u8]) -> Result<Self, LogError> {
        let refuse = |what| LogError::WitnessKey { what };
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        if !(1..=128).contains(&name.len()) || !name.chars().all(plain) {
            return Err(refuse("name: expected 1 to 128 bytes without spaces and +"));
        }
        let key = WitnessVerifyingKey::from_bytes(public_key)
            .map_err(|_| refuse("expected 32 bytes of a sound Ed25519 key"))?;
        Ok(Self {
            name: name.to_owned(),
            id: key_id(name, &[KIND], key.as_bytes()),
            key,
        })
    }

    /// Reads a key as witnesses publish it: `<name>+<key id, 8 hex digits>+<base64 of 0x04 and the key>`.
    ///
    /// # Errors
    /// [`LogError::WitnessKey`].
    pub fn parse(text: &str) -> Result<Self, LogError> {
        let refuse = |what| LogError::WitnessKey { what };
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refuse("expected NAME+8 HEX DIGITS+BASE64"));
        };
        let bytes = STANDARD.decode(key).map_err(|_| refuse("key: not base64"))?;
        let key = match bytes.split_first() {
            Some((&KIND, key)) => Self::new(name, key)?,
            _ => return Err(refuse("key: expected type 0x04, Ed25519 cosignatures")),
        };
        match hex::encode(key.id) == id {
            true => Ok(key),
            false => Err(refuse("key id: not that of this name and key")),
        }
    }

    /// As [`WitnessKey::parse`] reads it.
    pub fn to_text(&self) -> String {
        let bytes = [&[KIND], self.key.as_bytes().as_slice()].concat();
        format!("{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(bytes))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its Ed25519 public key. What a witness signs does not name it: one key under two names is one witness.
    pub fn public_key(&self) -> &[u8] {
        self.key.as_bytes()
    }
}

/// What a witness signs about a note's text.
fn message(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

impl SignedCheckpoint {
    /// What a witness signs about this head at that time.
    pub fn cosigned_bytes(&self, time: UnixTime) -> Vec<u8> {
        message(time.0, &self.note().text)
    }

    /// The head with one more signature line: that of a witness.
    pub fn with_cosignature(mut self, witness: &WitnessKey, time: UnixTime, signature: &[u8]) -> Self {
        let bytes = [time.0.to_be_bytes().as_slice(), signature].concat();
        self.note_mut().push(&witness.name, witness.id, bytes);
        self
    }

    /// The head with `witness`'s signature out of these lines, as it answers them, in place of an earlier one of its own.
    ///
    /// # Errors
    /// [`LogError::Note`] for lines that are none; [`LogError::Cosignature`] if none of them is this witness's over this head.
    pub fn cosigned_by(mut self, witness: &WitnessKey, lines: &str) -> Result<Self, LogError> {
        let refuse = |what| LogError::Cosignature {
            witness: witness.name.clone(),
            what,
        };
        let mut own = None;
        for line in lines.lines() {
            let line = NoteLine::parse(line)?;
            if line.name == witness.name && line.key_id == witness.id {
                own = Some(line);
            }
        }
        let own = own.ok_or_else(|| refuse("its answer has no signature under this name and key"))?;
        let is_there = |line: &NoteLine| line.name == witness.name && line.key_id == witness.id;
        let note = self.note_mut();
        note.signatures.retain(|line| !is_there(line));
        if note.signatures.len() >= SIGNATURES_MAX {
            return Err(refuse("the note is full: 16 signatures"));
        }
        note.signatures.push(own);
        self.cosignatures(std::slice::from_ref(witness))?;
        Ok(self)
    }

    /// Which of these witnesses signed this head. Lines of others are passed over; one under a known witness's name and key that
    /// does not verify is an error, never an absence.
    ///
    /// # Establishes
    /// Each of them saw this head, and says that it extends all that it saw of this log. With as many of them as the
    /// reader requires, a log that shows others another story has to deceive one of these.
    ///
    /// # Errors
    /// [`LogError::Cosignature`].
    pub fn cosignatures(&self, witnesses: &[WitnessKey]) -> Result<Vec<Cosigned>, LogError> {
        let (mut found, mut counted): (Vec<Cosigned>, _) = (Vec::new(), BTreeSet::new());
        for witness in witnesses {
            let refuse = |what| LogError::Cosignature {
                witness: witness.name.clone(),
                what,
            };
            // What is signed names no witness: one key is one, whatever it is called.
            if found.iter().any(|c| c.witness == witness.name) || counted.contains(witness.key.as_bytes()) {
                continue;
            }
            let note = self.note();
            let mut lines = note
                .signatures
                .iter()
                .filter(|line| line.name == witness.name && line.key_id == witness.id);
            let Some(line) = lines.next() else { continue };
            if lines.next().is_some() {
                return Err(refuse("it stands there twice"));
            }
            let (time, signature) = line
                .signature
                .split_first_chunk::<8>()
                .ok_or_else(|| refuse("expected a time and a signature"))?;
            let time = u64::from_be_bytes(*time);
            if time > SIZE_MAX {
                return Err(refuse("its time is out of range"));
            }
            witness
                .key
                .verify(&message(time, &note.text), signature)
                .map_err(|_| refuse("does not verify"))?;
            counted.insert(*witness.key.as_bytes());
            found.push(Cosigned {
                witness: witness.name.clone(),
                time: UnixTime(time),
            });
        }
        Ok(found)
    }
}
