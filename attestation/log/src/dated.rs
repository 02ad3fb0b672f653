//! Checkpoints that say when they were signed: heads of logs whose readers must know how old a head is.
//!
//! # Layout
//! A checkpoint with one extension line, `time <Unix seconds, decimal>`, under the same two signatures. A head without that
//! line is no dated one, and a head with it is no plain one: neither passes as the other.
//!
//! # Spec
//! C2SP tlog-checkpoint, "Note text": extension lines.

use hanzo_attestation::UnixTime;
use hanzo_pqc::sign::NoteSignature;

use crate::checkpoint::{AuthenticCheckpoint, Checkpoint, check_origin, lines_of, verify_note};
use crate::key::LogVerifier;
use crate::note::Note;
use crate::{LogError, SIZE_MAX};

/// A log's size and root, and when its signer's clock said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatedCheckpoint {
    /// Size and root.
    pub checkpoint: Checkpoint,
    /// The signer's clock.
    pub time: UnixTime,
}

impl DatedCheckpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}time {}\n", self.checkpoint.text(), self.time.0)
    }

    fn parse(text: &str) -> Result<Self, LogError> {
        let refuse = |what| LogError::Checkpoint { what };
        let (head, last) = text
            .strip_suffix('\n')
            .and_then(|text| text.rsplit_once('\n'))
            .ok_or(refuse("expected origin, size, root and time, a line each"))?;
        let digits = last
            .strip_prefix("time ")
            .ok_or(refuse("expected time and Unix seconds in the fourth line"))?;
        let time = digits
            .parse::<u64>()
            .ok()
            .filter(|n| *n <= SIZE_MAX && n.to_string() == digits)
            .ok_or(refuse("time: expected a decimal number below 2^53, no leading zeroes"))?;
        Ok(Self {
            checkpoint: Checkpoint::parse(&format!("{head}\n"))?,
            time: UnixTime(time),
        })
    }
}

/// A dated checkpoint with signatures under it, of which none is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDatedCheckpoint {
    dated: DatedCheckpoint,
    note: Note,
}

impl SignedDatedCheckpoint {
    /// Reads a signed note whose text is a dated checkpoint.
    ///
    /// # Errors
    /// [`LogError::NoteTooLarge`], [`LogError::Note`], [`LogError::Checkpoint`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        let note = Note::parse(bytes)?;
        let dated = DatedCheckpoint::parse(&note.text)?;
        Ok(Self { dated, note })
    }

    /// Puts the log's two signatures under a dated checkpoint.
    ///
    /// # Errors
    /// [`LogError::Origin`] if the checkpoint is another log's.
    pub fn assemble(dated: DatedCheckpoint, log: &LogVerifier, signature: &NoteSignature) -> Result<Self, LogError> {
        check_origin(&dated.checkpoint, log)?;
        let note = Note {
            text: dated.text(),
            signatures: lines_of(log, signature),
        };
        Ok(Self { dated, note })
    }

    /// What it claims.
    pub fn claimed(&self) -> &DatedCheckpoint {
        &self.dated
    }

    /// The note.
    pub fn to_text(&self) -> String {
        self.note.to_text()
    }

    /// Checks both signatures; those of others (witnesses) are passed over, as C2SP asks.
    ///
    /// # Establishes
    /// The holder of the log's keys vouched for this size and root, and says that it was then.
    ///
    /// # Does not establish
    /// That its clock was right, or that it showed everybody the same.
    ///
    /// # Errors
    /// As [`crate::SignedCheckpoint::verify`].
    pub fn verify(&self, log: &LogVerifier) -> Result<AuthenticDatedCheckpoint, LogError> {
        check_origin(&self.dated.checkpoint, log)?;
        verify_note(&self.note, log)?;
        Ok(AuthenticDatedCheckpoint {
            checkpoint: AuthenticCheckpoint(self.dated.checkpoint.clone()),
            time: self.dated.time,
        })
    }
}

/// A dated checkpoint whose two signatures verified.
///
/// ```compile_fail,E0451
/// fn newer(old: hanzo_log::AuthenticDatedCheckpoint) -> hanzo_log::AuthenticDatedCheckpoint {
///     hanzo_log::AuthenticDatedCheckpoint { time: hanzo_attestation::UnixTime(u64::MAX), ..old }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticDatedCheckpoint {
    checkpoint: AuthenticCheckpoint,
    time: UnixTime,
}

impl AuthenticDatedCheckpoint {
    /// Size and root.
    pub fn checkpoint(&self) -> &AuthenticCheckpoint {
        &self.checkpoint
    }

    /// When the log signed it, by its own clock.
    pub fn time(&self) -> UnixTime {
        self.time
    }
}
