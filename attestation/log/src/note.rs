//! C2SP signed notes, read strictly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::LogError;

/// Longest note in bytes: a checkpoint under 16 signatures of up to 5 kB each.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;
/// Most signatures under a note.
pub const SIGNATURES_MAX: usize = 16;

const DASH: &str = "\u{2014} ";

/// A note taken apart; nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// Ends in a newline.
    pub(crate) text: String,
    pub(crate) signatures: Vec<NoteLine>,
}

/// A signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoteLine {
    pub(crate) name: String,
    pub(crate) key_id: [u8; 4],
    pub(crate) signature: Vec<u8>,
}

impl Note {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        let refuse = |what| LogError::Note { what };
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(LogError::NoteTooLarge {
                limit: NOTE_BYTES_MAX,
                got: bytes.len(),
            });
        }
        let note = std::str::from_utf8(bytes).map_err(|_| refuse("not UTF-8"))?;
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(refuse("a control character"));
        }
        let (text, lines) = note
            .rsplit_once("\n\n")
            .ok_or(refuse("no blank line between text and signatures"))?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or(refuse("the last signature line does not end in a newline"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == SIGNATURES_MAX {
                return Err(refuse("more than 16 signatures"));
            }
            signatures.push(NoteLine::parse(line)?);
        }
        Ok(Self {
            text: format!("{text}\n"),
            signatures,
        })
    }

    pub(crate) fn push(&mut self, name: &str, key_id: [u8; 4], signature: Vec<u8>) {
        self.signatures.push(NoteLine {
            name: name.to_owned(),
            key_id,
            signature,
        });
    }

    pub(crate) fn to_text(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for line in &self.signatures {
            let mut bytes = line.key_id.to_vec();
            bytes.extend_from_slice(&line.signature);
            note.push_str(&format!("{DASH}{} {}\n", line.name, STANDARD.encode(bytes)));
        }
        note
    }
}

impl NoteLine {
    pub(crate) fn parse(line: &str) -> Result<Self, LogError> {
        let refuse = || LogError::Note {
            what: "a signature line is not \u{2014} NAME BASE64",
        };
        let (name, encoded) = line
            .strip_prefix(DASH)
            .and_then(|l| l.split_once(' '))
            .ok_or_else(refuse)?;
        if name.is_empty() || name.contains('+') || name.contains(char::is_whitespace) {
            return Err(refuse());
        }
        // The engine takes one spelling: padded, no stray bits.
        let bytes = STANDARD.decode(encoded).map_err(|_| refuse())?;
        let (key_id, signature) = bytes.split_first_chunk::<4>().ok_or_else(refuse)?;
        if signature.is_empty() {
            return Err(refuse());
        }
        Ok(Self {
            name: name.to_owned(),
            key_id: *key_id,
            signature: signature.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, VerificationAlgorithm};

    use super::*;
    use crate::key_id;

    /// Note and key of the documentation of golang.org/x/mod/sumdb/note.
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const KEY: &str = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn a_published_note_is_read_written_and_verified() {
        let note = Note::parse(NOTE.as_bytes()).unwrap();
        assert_eq!(note.to_text(), NOTE);
        let key = STANDARD.decode(KEY).unwrap();
        let (kind, public) = key.split_at(1);
        let [line] = note.signatures.as_slice() else {
            panic!("one signature")
        };
        assert_eq!(
            (line.name.as_str(), line.key_id),
            ("PeterNeumann", [0xc7, 0x4f, 0x20, 0xa3])
        );
        assert_eq!(key_id(&line.name, kind, public), line.key_id);
        ED25519
            .verify_sig(public, note.text.as_bytes(), &line.signature)
            .unwrap();
        ED25519
            .verify_sig(public, &note.text.as_bytes()[1..], &line.signature)
            .unwrap_err();
    }

    #[test]
    fn every_other_spelling_of_a_note_is_refused() {
        for (from, to) in [
            ("\n\n", "\n"),
            ("\u{2014} Peter", "- Peter"),
            ("PeterNeumann ", "PeterNeumann  "),
            ("PeterNeumann", "Peter+Neumann"),
            ("PeterNeumann", ""),
            ("JnAM=\n", "JnAM="),
            ("JnAM=\n", "JnAM\n"),
            ("JnAM=\n", "JnAN=\n"),
            ("JnAM=\n", "JnAM=\n\n"),
            ("JnAM=\n", "JnAM=\nmore\n"),
            ("your", "\ryour"),
        ] {
            let bad = NOTE.replacen(from, to, 1);
            assert_eq!(
                Note::parse(bad.as_bytes()).unwrap_err().code(),
                "log.note.malformed",
                "{from:?} {to:?}"
            );
        }
        let line = &NOTE[NOTE.find('\u{2014}').unwrap()..];
        let many = |n: usize| format!("text\n\n{}", line.repeat(n));
        assert_eq!(
            Note::parse(many(SIGNATURES_MAX).as_bytes()).unwrap().signatures.len(),
            SIGNATURES_MAX
        );
        assert!(Note::parse(many(SIGNATURES_MAX + 1).as_bytes()).is_err());
        let long = vec![b' '; NOTE_BYTES_MAX + 1];
        assert_eq!(Note::parse(&long).unwrap_err().code(), "log.note.too_large");
    }
}
