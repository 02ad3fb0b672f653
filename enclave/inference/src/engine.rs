//! The client side of the engine protocol: HTTP/1.1 over a Unix socket to a process that is not believed.

mod answer;
mod embeddings;
mod error;
mod lines;
mod refusal;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::request::{Message, Prompt};
pub(crate) use answer::{Answer, Finish, Piece, Step, TokenLogprob, Usage};
pub(crate) use embeddings::Vectors;
pub use error::EngineError;

/// A local socket answers at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Bodies that are read whole: token lists (one number a token) and errors.
const TOKENIZE_BYTES_MAX: usize = 16 << 20;
const ERROR_BYTES_MAX: usize = 16 << 10;
/// hyper's buffer for one head or one read.
const BUFFER_BYTES: usize = 64 << 10;

/// One engine.
pub(crate) struct EngineClient {
    socket: PathBuf,
}

/// A request for one answer as the engine gets it.
#[derive(Serialize)]
pub(crate) struct Generate<'a> {
    #[serde(flatten)]
    pub(crate) prompt: On<'a>,
    pub(crate) max_tokens: u64,
    pub(crate) temperature: f64,
    pub(crate) top_p: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) stop: &'a [String],
    pub(crate) stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tools: Vec<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) json_schema: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) top_logprobs: Option<u8>,
}

/// What `/tokenize` said.
pub(crate) struct Counted {
    pub(crate) count: u64,
    /// What may be asked in the prompt's place.
    pub(crate) ids: Option<Prompt>,
}

/// What an answer is made from.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum On<'a> {
    /// A chat, through the template.
    Messages(&'a [Message]),
    /// A text or tokens, as they are.
    Prompt(&'a Prompt),
}

impl<'a> On<'a> {
    pub(crate) fn of(prompt: &'a Prompt) -> Self {
        match prompt {
            Prompt::Chat(messages) => Self::Messages(messages),
            other => Self::Prompt(other),
        }
    }
}

impl Generate<'_> {
    /// Members that an engine may lack.
    fn extras(&self) -> Vec<&'static str> {
        [
            (!self.tools.is_empty(), "tools"),
            (self.json_schema.is_some(), "json_schema"),
            (self.logprobs.is_some(), "logprobs"),
        ]
        .into_iter()
        .filter_map(|(there, name)| there.then_some(name))
        .collect()
    }
}

/// Ends the connection when the answer is dropped: that is what cancels the engine's work.
pub(crate) struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl EngineClient {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(Response<Incoming>, Connection), EngineError> {
        let stream = timeout(CONNECT_TIMEOUT, UnixStream::connect(&self.socket))
            .await
            .map_err(|_| EngineError::Unavailable)?
            .map_err(|_| EngineError::Unavailable)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|_| EngineError::Unavailable)?;
        let connection = Connection(tokio::spawn(async move { drop(connection.await) }));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "engine")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| EngineError::Failed)?;
        let response = sender.send_request(request).await.map_err(|e| {
            if e.is_parse() {
                EngineError::Protocol {
                    what: "the response head",
                }
            } else {
                EngineError::Failed
            }
        })?;
        Ok((response, connection))
    }

    /// Whether the engine takes requests.
    pub(crate) async fn ready(&self) -> Result<(), EngineError> {
        #[derive(Deserialize)]
        struct Health {
            status: String,
        }
        let ask = async {
            let (response, _connection) = self.send(Method::GET, "/health", Vec::new()).await?;
            let status = response.status();
            let body = whole(response, ERROR_BYTES_MAX).await?;
            match serde_json::from_slice::<Health>(&body) {
                Ok(health) if status == StatusCode::OK && health.status == "ready" => Ok(()),
                Ok(health) if health.status == "loading" => Err(EngineError::Loading),
                _ => Err(EngineError::Protocol { what: "/health" }),
            }
        };
        timeout(HEALTH_TIMEOUT, ask)
            .await
            .unwrap_or(Err(EngineError::Unavailable))
    }

    /// How many tokens a prompt takes, template and tools included; and its ids, where the engine says that it answers them as it would
    /// the prompt, so that it need not make them again.
    pub(crate) async fn count_tokens(&self, prompt: &Prompt, tools: &[&Value]) -> Result<Counted, EngineError> {
        #[derive(Serialize)]
        struct Ask<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            messages: Option<&'a [Message]>,
            #[serde(skip_serializing_if = "Option::is_none")]
            text: Option<&'a str>,
            #[serde(skip_serializing_if = "<[&Value]>::is_empty")]
            tools: &'a [&'a Value],
        }
        #[derive(Deserialize)]
        struct Tokens {
            count: u64,
            tokens: Vec<u32>,
            #[serde(default)]
            reusable: bool,
        }
        let what = "/tokenize";
        let (messages, text) = match prompt {
            Prompt::Chat(messages) => (Some(messages.as_slice()), None),
            Prompt::Text(text) => (None, Some(text.as_str())),
            Prompt::Tokens(ids) => {
                return Ok(Counted {
                    count: ids.len() as u64,
                    ids: None,
                });
            }
        };
        let ask = Ask { messages, text, tools };
        let body = serde_json::to_vec(&ask).map_err(|_| EngineError::Failed)?;
        let (response, _connection) = self.send(Method::POST, "/tokenize", body).await?;
        if response.status() != StatusCode::OK {
            let extras: &[&'static str] = if tools.is_empty() { &[] } else { &["tools"] };
            return Err(refusal::read(response, extras).await);
        }
        let body = whole(response, TOKENIZE_BYTES_MAX).await?;
        let tokens: Tokens = serde_json::from_slice(&body).map_err(|_| EngineError::Protocol { what })?;
        if tokens.count != tokens.tokens.len() as u64 {
            return Err(EngineError::Protocol { what });
        }
        match tokens.count {
            // As an engine that refuses it: a caller may send nothing, or what the template makes nothing of.
            0 => Err(EngineError::Template),
            count => Ok(Counted {
                count,
                ids: (tokens.reusable && tools.is_empty()).then_some(Prompt::Tokens(tokens.tokens)),
            }),
        }
    }

    /// Starts an answer. `prompt_tokens` is what [`EngineClient::count_tokens`] said.
    pub(crate) async fn generate(&self, ask: &Generate<'_>, prompt_tokens: u64) -> Result<Answer, EngineError> {
        let body = serde_json::to_vec(ask).map_err(|_| EngineError::Failed)?;
        let path = match ask.prompt {
            On::Messages(_) => "/v1/chat/completions",
            On::Prompt(_) => "/v1/completions",
        };
        let (response, connection) = self.send(Method::POST, path, body).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal::read(response, &ask.extras()).await);
        }
        let is_sse = response
            .headers()
            .get(hyper::header::CONTENT_TYPE)
            .is_some_and(|v| v.as_bytes().starts_with(b"text/event-stream"));
        if !is_sse {
            return Err(EngineError::Protocol { what: "content-type" });
        }
        let expected = answer::Expected {
            prompt_tokens,
            max_tokens: ask.max_tokens,
            logprobs: ask.logprobs.map(|_| usize::from(ask.top_logprobs.unwrap_or(0))),
            stops: ask.stop.to_vec(),
        };
        Ok(Answer::new(response.into_body(), connection, expected))
    }
}

async fn whole(response: Response<Incoming>, limit: usize) -> Result<Bytes, EngineError> {
    let body = Limited::new(response.into_body(), limit).collect().await;
    body.map(|b| b.to_bytes())
        .map_err(|_| EngineError::Protocol { what: "body" })
}
