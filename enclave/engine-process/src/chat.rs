//! What an engine is to the protocol: messages in, tokens out.

use tokio::sync::mpsc::UnboundedReceiver;
use zeroize::Zeroize as _;

use crate::error::GenerateError;
use crate::sampling::Sampling;

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// As OpenAI writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a chat; text alone. Zeroed when dropped.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Drop for Message {
    fn drop(&mut self) {
        self.content.zeroize();
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model's end token, or a stop string.
    Stop,
    /// `max_tokens`, or the end of the context.
    Length,
}

impl Finish {
    /// As OpenAI writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// One token of an answer. Its text may be empty: an end token, half a character, a possible stop string.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The token's id.
    pub id: u32,
    /// Text that became certain with it.
    pub text: String,
    /// Set on the last token.
    pub finish: Option<Finish>,
}

/// An answer in the making. Dropping it cancels the computation at the next token.
pub struct Generation {
    /// Tokens of the prompt, template included.
    pub prompt_tokens: usize,
    tokens: UnboundedReceiver<Result<Token, GenerateError>>,
}

impl Generation {
    /// An answer that arrives through `tokens`: one message a token, the last with its `finish` set, or an error.
    pub fn new(prompt_tokens: usize, tokens: UnboundedReceiver<Result<Token, GenerateError>>) -> Self {
        Self { prompt_tokens, tokens }
    }

    /// The next token; `None` after the last one or an error.
    pub async fn next(&mut self) -> Option<Result<Token, GenerateError>> {
        self.tokens.recv().await
    }
}

/// A loaded model behind the protocol.
pub trait Engine: Send + Sync + 'static {
    /// Tokens the context holds, prompt and answer together.
    fn context_tokens(&self) -> usize;

    /// Ids of `messages` under the model's chat template, ending where the assistant speaks: the very ids that
    /// [`Engine::chat`] computes with.
    ///
    /// # Errors
    /// [`GenerateError::Template`] when the template refuses them.
    fn tokenize_messages(&self, messages: &[Message]) -> impl Future<Output = Result<Vec<u32>, GenerateError>> + Send;

    /// Ids of plain text, without template or added special tokens.
    ///
    /// # Errors
    /// [`GenerateError::Refused`] when the library cannot tokenise it.
    fn tokenize_text(&self, text: String) -> impl Future<Output = Result<Vec<u32>, GenerateError>> + Send;

    /// Begins an answer to `messages`.
    ///
    /// # Errors
    /// Template, context length, parameters out of range, or too many waiting.
    fn chat(
        &self,
        messages: &[Message],
        sampling: Sampling,
    ) -> impl Future<Output = Result<Generation, GenerateError>> + Send;
}
