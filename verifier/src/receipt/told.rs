//! What an answer told its reader of its own usage, held against what was signed.

use serde_json::Value;

use super::{Outcome, ReceiptError, VerifiedReceipt};

/// Token counts in an answer's body, where it has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ToldUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer.
    pub completion_tokens: Option<u64>,
}

impl ToldUsage {
    /// Reads the counts out of a JSON answer or a stream of events, of any dialect that guests speak; the last ones count.
    pub fn of(response: &[u8]) -> Self {
        let mut told = Self::default();
        match serde_json::from_slice::<Value>(response) {
            Ok(document) => told.take(&document),
            Err(_) => {
                for line in response.split(|b| *b == b'\n') {
                    let event = line
                        .strip_prefix(b"data: ")
                        .and_then(|l| serde_json::from_slice::<Value>(l).ok());
                    if let Some(event) = event {
                        told.take(&event);
                    }
                }
            }
        }
        told
    }

    fn take(&mut self, document: &Value) {
        // Of chats, completions and embeddings; of a stream of messages; of a stream of responses.
        for place in ["/usage", "/message/usage", "/response/usage"] {
            let Some(usage) = document.pointer(place) else { continue };
            let count = |names: [&str; 2]| names.iter().find_map(|name| usage.get(name).and_then(Value::as_u64));
            self.prompt_tokens = count(["prompt_tokens", "input_tokens"]).or(self.prompt_tokens);
            self.completion_tokens = count(["completion_tokens", "output_tokens"]).or(self.completion_tokens);
        }
    }
}

impl VerifiedReceipt {
    /// Checks that the counts that the answer itself names are those that were signed. An answer that names none passes, and so
    /// do completion tokens of one that did not end, which named what there was by then.
    ///
    /// # Errors
    /// `receipt.usage`.
    pub fn check_usage(&self, response: &[u8]) -> Result<(), ReceiptError> {
        let (told, receipt) = (ToldUsage::of(response), self.receipt());
        let ended = receipt.outcome == Outcome::Complete;
        for (field, told, signed) in [
            ("prompt_tokens", told.prompt_tokens, receipt.prompt_tokens),
            (
                "completion_tokens",
                told.completion_tokens.filter(|_| ended),
                receipt.completion_tokens,
            ),
        ] {
            if let Some(told) = told.filter(|told| *told != signed) {
                return Err(ReceiptError::Usage { field, told, signed });
            }
        }
        Ok(())
    }
}
