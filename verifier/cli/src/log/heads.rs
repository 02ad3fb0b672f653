//! Heads of a log of receipts, and which witnesses cosigned them.

use hanzo_log::{AuthenticCheckpoint, Cosigned, LogVerifier, SignedCheckpoint, WitnessKey};
use serde_json::{Value, json};

use super::source::LogSource;
use crate::args::HeadArgs;
use crate::error::CliError;
use crate::{time, trust};

/// A head that the log signed, and who cosigned it.
pub(crate) struct SeenHead {
    pub(crate) head: AuthenticCheckpoint,
    pub(crate) cosigned: Vec<Cosigned>,
    named: usize,
}

impl HeadArgs {
    /// Whether any of it was given.
    pub(crate) fn is_given(&self) -> bool {
        self.checkpoint.is_some() || !self.witnesses.is_empty() || self.quorum.is_some() || self.token_file.is_some()
    }

    /// The witnesses that were named, each once: one key under two names is one witness.
    pub(super) fn keys(&self) -> Result<Vec<WitnessKey>, CliError> {
        let mut keys: Vec<WitnessKey> = Vec::new();
        for text in &self.witnesses {
            let key = WitnessKey::parse(text).map_err(|e| CliError::Usage {
                option: "--witness",
                expected: "NAME+ID+KEY of a witness with Ed25519 cosignatures",
                got: format!("{text} ({e})"),
            })?;
            if keys
                .iter()
                .any(|k| k.name() == key.name() || k.public_key() == key.public_key())
            {
                return Err(CliError::Usage {
                    option: "--witness",
                    expected: "each witness once: another name and another key",
                    got: text.clone(),
                });
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// The head to judge by: the one that was given, else the one that the log shows.
    ///
    /// # Errors
    /// A head that the log did not sign; [`CliError::Witnesses`].
    pub(crate) fn head(&self, source: Option<&LogSource>, log: &LogVerifier) -> Result<Option<SeenHead>, CliError> {
        match (&self.checkpoint, source) {
            (Some(path), _) => self
                .seen(&trust::read(path)?, &path.display().to_string(), log)
                .map(Some),
            (None, Some(source)) => self.seen(&source.checkpoint()?, source.name(), log).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The head to judge by, unread.
    pub(crate) fn note(&self, source: &LogSource) -> Result<Vec<u8>, CliError> {
        match &self.checkpoint {
            Some(path) => trust::read(path),
            None => source.checkpoint(),
        }
    }

    /// Checks a head: the log's signatures, then the witnesses'.
    pub(crate) fn seen(&self, note: &[u8], from: &str, log: &LogVerifier) -> Result<SeenHead, CliError> {
        let witnesses = self.keys()?;
        let failed = |source| CliError::LogFile {
            path: from.into(),
            source,
        };
        let signed = SignedCheckpoint::parse(note).map_err(failed)?;
        let head = signed.verify(log).map_err(failed)?;
        let cosigned = signed.cosignatures(&witnesses).map_err(failed)?;
        let named = witnesses.len();
        let needed = self.quorum.unwrap_or(named);
        if cosigned.len() < needed {
            let signed = |w: &&WitnessKey| cosigned.iter().any(|c| c.witness == w.name());
            let missing: Vec<&str> = witnesses.iter().filter(|w| !signed(w)).map(WitnessKey::name).collect();
            return Err(CliError::Witnesses {
                got: cosigned.len(),
                named,
                needed,
                size: head.size(),
                missing: match missing.as_slice() {
                    [] => "--quorum asks for more than are named".into(),
                    names => format!("without {}", names.join(", ")),
                },
            });
        }
        Ok(SeenHead { head, cosigned, named })
    }
}

impl SeenHead {
    /// For people.
    pub(crate) fn witnesses(&self) -> String {
        if self.cosigned.is_empty() {
            return "0: nothing is claimed about what others are shown; a split view cannot be told from this".into();
        }
        let all: Vec<String> = self
            .cosigned
            .iter()
            .map(|c| format!("{} at {}", c.witness, time::show(c.time.0)))
            .collect();
        format!("{} of {}: {}", all.len(), self.named, all.join(", "))
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let head = self.head.checkpoint();
        json!({
            "origin": head.origin,
            "size": head.size,
            "root": head.root,
            "witnesses": self.cosigned.len(),
            "cosigned": self.cosigned.iter().map(|c| json!({"witness": c.witness, "time": c.time.0})).collect::<Vec<_>>(),
        })
    }
}
