//! What an engine is to the protocol: a prompt in, tokens out.

use serde_json::Value as Json;
use tokio::sync::mpsc::UnboundedReceiver;
use zeroize::Zeroize as _;

use crate::error::GenerateError;
use crate::logprobs::Logprob;
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
    /// What a function gave back.
    Tool,
}

impl Role {
    /// As OpenAI writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
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
    /// Calls that the model made with it.
    #[serde(default)]
    pub tool_calls: Vec<ToolCall>,
    /// Of [`Role::Tool`]: which call this answers.
    #[serde(default)]
    pub tool_call_id: Option<String>,
}

impl Message {
    /// Text alone.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }

    /// Whether it says anything of tools.
    pub fn uses_tools(&self) -> bool {
        self.role == Role::Tool || !self.tool_calls.is_empty() || self.tool_call_id.is_some()
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.content.zeroize();
    }
}

/// A call that an earlier answer made, as OpenAI writes it.
#[derive(Clone, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// Its id.
    pub id: String,
    /// `function`.
    pub r#type: String,
    /// What was called.
    pub function: CalledFunction,
}

/// What was called, with what.
#[derive(Clone, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct CalledFunction {
    /// The function.
    pub name: String,
    /// A JSON object, as text. Zeroed when dropped.
    pub arguments: String,
}

impl Drop for CalledFunction {
    fn drop(&mut self) {
        self.arguments.zeroize();
    }
}

/// What an answer is made from, or a vector. Texts, messages and ids are zeroed when dropped; tools are not.
pub enum Prompt {
    /// Through the model's chat template.
    Chat {
        /// What was said so far.
        messages: Vec<Message>,
        /// OpenAI's tool objects, for the template.
        tools: Vec<Json>,
    },
    /// A text as it is, with what the model's tokenizer puts around one.
    Text(String),
    /// Tokens as they are.
    Tokens(Vec<u32>),
}

impl Prompt {
    /// A chat without tools.
    pub fn chat(messages: Vec<Message>) -> Self {
        Self::Chat {
            messages,
            tools: Vec::new(),
        }
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        match self {
            Self::Chat { .. } => (),
            Self::Text(text) => text.zeroize(),
            Self::Tokens(ids) => ids.zeroize(),
        }
    }
}

/// What is asked of an answer.
#[derive(Clone, Default, PartialEq)]
pub struct Ask {
    /// How tokens are chosen, and when the answer ends.
    pub sampling: Sampling,
    /// A JSON schema: the answer is one document that it allows.
    pub schema: Option<Json>,
    /// Each token's log probability, with those of so many others.
    pub logprobs: Option<usize>,
}

/// What an engine does beside chats of text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Chats; an engine with a model of embeddings alone does none.
    pub chats: bool,
    /// Tools in the template, and messages that speak of them.
    pub tools: bool,
    /// Answers kept to a schema.
    pub schemas: bool,
    /// Log probabilities.
    pub logprobs: bool,
    /// Prompts that are no chat.
    pub raw_prompts: bool,
    /// Vectors.
    pub embeddings: bool,
}

impl Abilities {
    /// Chats and nothing else.
    pub const CHATS: Self = Self {
        chats: true,
        tools: false,
        schemas: false,
        logprobs: false,
        raw_prompts: false,
        embeddings: false,
    };
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
#[derive(Clone, PartialEq)]
pub struct Token {
    /// The token's id.
    pub id: u32,
    /// Text that became certain with it.
    pub text: String,
    /// Set on the last token.
    pub finish: Option<Finish>,
    /// The stop text that ended the answer.
    pub stop: Option<String>,
    /// Where they were asked for; an end token has none.
    pub logprob: Option<Logprob>,
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

/// A loaded model behind the protocol. What its abilities leave out is refused before it is asked.
pub trait Engine: Send + Sync + 'static {
    /// Tokens the context holds, prompt and answer together.
    fn context_tokens(&self) -> usize;

    /// What it does.
    fn abilities(&self) -> Abilities {
        Abilities::CHATS
    }

    /// Ids of `prompt`: the very ids that [`Engine::generate`] and [`Engine::embed`] compute with, whether they get the prompt or, where
    /// there are no tools, these ids. A chat ends where the assistant speaks.
    ///
    /// # Errors
    /// [`GenerateError::Template`] when the template refuses the messages, [`GenerateError::Refused`] when the library cannot
    /// tokenise the text, or it is too long to try.
    fn tokenize(&self, prompt: &Prompt) -> impl Future<Output = Result<Vec<u32>, GenerateError>> + Send;

    /// Begins an answer to `prompt`.
    ///
    /// # Errors
    /// Template, context length, parameters out of range, a schema that cannot be kept, or too many waiting.
    fn generate(&self, prompt: &Prompt, ask: Ask) -> impl Future<Output = Result<Generation, GenerateError>> + Send;

    /// The vector of each input, and the tokens of all.
    ///
    /// # Errors
    /// [`GenerateError::Unsupported`] where the model has none; an input that does not fit; too many waiting.
    fn embed(&self, _inputs: &[Prompt]) -> impl Future<Output = Result<(Vec<Vec<f32>>, usize), GenerateError>> + Send {
        std::future::ready(Err(GenerateError::Unsupported { what: "embeddings" }))
    }
}
