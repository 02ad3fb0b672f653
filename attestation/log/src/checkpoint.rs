//! Checkpoints: how large a log is and what its root is, signed by the log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::Digest256;
use hanzo_pqc::sign::NoteSignature;

use crate::key::{LogVerifier, Origin};
use crate::note::{Note, NoteLine};
use crate::{LogError, SIZE_MAX};

/// A log's size and root.
///
/// # Layout
/// Three lines, each ending in a newline: origin; size in decimal; root in base64. Extension lines are refused: none is
/// known.
///
/// # Spec
/// C2SP tlog-checkpoint, "Note text".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: Origin,
    /// How many entries.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: Digest256,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, LogError> {
        let refuse = |what| LogError::Checkpoint { what };
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(refuse("expected origin, size and root, a line each"));
        };
        if lines.next().is_some() {
            return Err(refuse("extension lines: none is known"));
        }
        let origin = Origin::new(origin).map_err(|_| refuse("origin: not a log's name"))?;
        let number = size
            .parse::<u64>()
            .ok()
            .filter(|n| *n <= SIZE_MAX && n.to_string() == size);
        let size = number.ok_or(refuse("size: expected a decimal number below 2^53, no leading zeroes"))?;
        let bytes = STANDARD.decode(root).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
        let root = Digest256(bytes.ok_or(refuse("root: expected 32 bytes in base64"))?);
        if size == 0 && root != crate::tree::root(&[]) {
            return Err(refuse("root: not that of an empty log"));
        }
        Ok(Self { origin, size, root })
    }
}

/// A checkpoint with signatures under it, of which none is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Reads a signed note whose text is a checkpoint.
    ///
    /// # Errors
    /// [`LogError::NoteTooLarge`], [`LogError::Note`], [`LogError::Checkpoint`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        let note = Note::parse(bytes)?;
        let checkpoint = Checkpoint::parse(&note.text)?;
        Ok(Self { checkpoint, note })
    }

    /// Puts the log's two signatures under a checkpoint.
    ///
    /// # Errors
    /// [`LogError::Origin`] if the checkpoint is another log's.
    pub fn assemble(checkpoint: Checkpoint, log: &LogVerifier, signature: &NoteSignature) -> Result<Self, LogError> {
        check_origin(&checkpoint, log)?;
        let note = Note {
            text: checkpoint.text(),
            signatures: lines_of(log, signature),
        };
        Ok(Self { checkpoint, note })
    }

    pub(crate) fn note(&self) -> &Note {
        &self.note
    }

    pub(crate) fn note_mut(&mut self) -> &mut Note {
        &mut self.note
    }

    /// What it claims.
    pub fn claimed(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note.
    pub fn to_text(&self) -> String {
        self.note.to_text()
    }

    /// Checks both signatures. Signatures of others (witnesses) are passed over, as C2SP asks.
    ///
    /// # Establishes
    /// The holder of the log's keys vouched for this size and root.
    ///
    /// # Does not establish
    /// That it showed everybody the same: that takes comparing checkpoints, or witnesses.
    ///
    /// # Errors
    /// [`LogError::Origin`], [`LogError::Unsigned`], [`LogError::Signature`]; [`LogError::Note`] if one of the keys signed
    /// twice.
    pub fn verify(&self, log: &LogVerifier) -> Result<AuthenticCheckpoint, LogError> {
        check_origin(&self.checkpoint, log)?;
        verify_note(&self.note, log)?;
        Ok(AuthenticCheckpoint(self.checkpoint.clone()))
    }
}

pub(crate) fn check_origin(checkpoint: &Checkpoint, log: &LogVerifier) -> Result<(), LogError> {
    match checkpoint.origin == log.origin {
        true => Ok(()),
        false => Err(LogError::Origin {
            expected: log.origin.to_string(),
        }),
    }
}

/// The two lines that the log signs with.
pub(crate) fn lines_of(log: &LogVerifier, signature: &NoteSignature) -> Vec<NoteLine> {
    let line = |key_id: [u8; 4], signature: &[u8]| NoteLine {
        name: log.origin.as_str().to_owned(),
        key_id,
        signature: signature.to_vec(),
    };
    vec![
        line(log.ed25519_id, signature.ed25519()),
        line(log.ml_dsa_id, signature.ml_dsa()),
    ]
}

/// Both of the log's signatures over a note's text.
pub(crate) fn verify_note(note: &Note, log: &LogVerifier) -> Result<(), LogError> {
    let ed25519 = one(note, "Ed25519", log, log.ed25519_id)?;
    let ml_dsa = one(note, "ML-DSA", log, log.ml_dsa_id)?;
    let signature = NoteSignature::from_parts(ml_dsa, ed25519).map_err(LogError::Signature)?;
    log.keys
        .verify_note(&note.text, &signature)
        .map_err(LogError::Signature)
}

fn one<'n>(note: &'n Note, algorithm: &'static str, log: &LogVerifier, key_id: [u8; 4]) -> Result<&'n [u8], LogError> {
    let ours = |line: &&NoteLine| line.name == log.origin.as_str() && line.key_id == key_id;
    let mut found = note.signatures.iter().filter(ours);
    let line = found.next().ok_or_else(|| LogError::Unsigned {
        origin: log.origin.to_string(),
        algorithm,
    })?;
    match found.next() {
        None => Ok(&line.signature),
        Some(_) => Err(LogError::Note {
            what: "one key signed twice",
        }),
    }
}

/// A checkpoint whose two signatures verified.
///
/// ```compile_fail,E0423
/// fn forge(checkpoint: hanzo_log::Checkpoint) -> hanzo_log::AuthenticCheckpoint {
///     hanzo_log::AuthenticCheckpoint(checkpoint)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticCheckpoint(pub(crate) Checkpoint);

impl AuthenticCheckpoint {
    /// What the log vouched for.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.0
    }

    /// How many entries.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// The root over them.
    pub fn root(&self) -> Digest256 {
        self.0.root
    }
}
