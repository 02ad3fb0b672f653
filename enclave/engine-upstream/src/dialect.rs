//! What each server calls the same things.

use hanzo_engine_process::{Message, Prompt, Sampling};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value as Json, json};

use crate::breach::Breach;
use crate::http::Client;

/// The name that a server is asked for by: vLLM needs `--served-model-name model`.
const MODEL: &str = "model";

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// llama.cpp's `llama-server`: ids by `/apply-template` and `/tokenize`.
    LlamaServer,
    /// vLLM: ids by `/tokenize`; answers carry the ids of their tokens.
    Vllm,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rendered {
    prompt: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LlamaIds {
    tokens: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VllmIds {
    tokens: Vec<u32>,
    count: usize,
    #[serde(rename = "max_model_len")]
    _max_model_len: IgnoredAny,
    #[serde(default, rename = "token_strs")]
    _token_strs: IgnoredAny,
}

impl Dialect {
    /// Ids of `prompt` by the server's tokenizer and template.
    ///
    /// # Errors
    /// [`Breach`].
    pub(crate) async fn ids(self, client: &Client, prompt: &Prompt) -> Result<Vec<u32>, Breach> {
        match (self, prompt) {
            (_, Prompt::Tokens(ids)) => Ok(ids.clone()),
            (Self::LlamaServer, Prompt::Text(text)) => llama_ids(client, text, true).await,
            (Self::LlamaServer, Prompt::Chat { messages, .. }) => {
                let body = json!({"messages": said(messages), "add_generation_prompt": true});
                let rendered: Rendered = ask(client, "/apply-template", &body).await?;
                // As llama-server's own chats: the tokenizer puts its beginning token before a rendered prompt.
                llama_ids(client, &rendered.prompt, true).await
            }
            (Self::Vllm, Prompt::Text(text)) => {
                vllm_ids(
                    client,
                    &json!({"model": MODEL, "prompt": text, "add_special_tokens": true}),
                )
                .await
            }
            (Self::Vllm, Prompt::Chat { messages, .. }) => {
                let body = json!({
                    "model": MODEL, "messages": said(messages), "add_generation_prompt": true, "add_special_tokens": false,
                });
                vllm_ids(client, &body).await
            }
        }
    }

    /// The body that asks for an answer to `ids`. Every default of the server's that would change the choice of tokens is set, and
    /// nothing that another request left behind is used.
    pub(crate) fn request(self, ids: &[u32], sampling: &Sampling, max_tokens: usize, salt: &str) -> Vec<u8> {
        let mut body = json!({
            "model": MODEL, "prompt": ids, "max_tokens": max_tokens, "stream": true,
            "stream_options": {"include_usage": true}, "temperature": sampling.temperature, "top_p": sampling.top_p,
            "min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        });
        // Both take a seed of 31 bits.
        if let Some(seed) = sampling.seed {
            body["seed"] = json!(seed & 0x7fff_ffff);
        }
        match self {
            Self::LlamaServer => {
                body["top_k"] = json!(0);
                body["repeat_penalty"] = json!(1.0);
                body["cache_prompt"] = json!(false);
            }
            Self::Vllm => {
                body["top_k"] = json!(-1);
                body["repetition_penalty"] = json!(1.0);
                body["cache_salt"] = json!(salt);
                body["return_token_ids"] = json!(true);
                body["n"] = json!(1);
            }
        }
        body.to_string().into_bytes()
    }

    /// Whether an answer states the ids of its tokens.
    pub(crate) fn states_ids(self) -> bool {
        self == Self::Vllm
    }
}

fn said(messages: &[Message]) -> Vec<Json> {
    let one = |message: &Message| json!({"role": message.role.name(), "content": message.content});
    messages.iter().map(one).collect()
}

async fn llama_ids(client: &Client, text: &str, add_special: bool) -> Result<Vec<u32>, Breach> {
    let body = json!({"content": text, "add_special": add_special, "parse_special": true});
    ask::<LlamaIds>(client, "/tokenize", &body).await.map(|ids| ids.tokens)
}

async fn vllm_ids(client: &Client, body: &Json) -> Result<Vec<u32>, Breach> {
    let ids: VllmIds = ask(client, "/tokenize", body).await?;
    if ids.count != ids.tokens.len() {
        return Err(Breach::Counts("`count` is not the number of ids"));
    }
    Ok(ids.tokens)
}

async fn ask<T: DeserializeOwned>(client: &Client, path: &'static str, body: &Json) -> Result<T, Breach> {
    let bytes = client.document(path, body.to_string().into_bytes()).await?;
    serde_json::from_slice(&bytes).map_err(|_| Breach::Shape("a document with other members"))
}
