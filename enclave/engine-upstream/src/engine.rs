//! The server as an engine.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use hanzo_engine_process::{Abilities, Ask, Engine, GenerateError, Generation, Prompt, Turns};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::breach::Breach;
use crate::dialect::Dialect;
use crate::events::Events;
use crate::http::{Bounds, Client};

const PAUSE: Duration = Duration::from_millis(50);

/// What is known of a server.
#[derive(Debug, Clone)]
pub struct UpstreamOptions {
    /// Where it listens.
    pub socket: PathBuf,
    /// Which server it is.
    pub dialect: Dialect,
    /// Tokens of prompt and answer together.
    pub context_tokens: usize,
    /// Answers at a time.
    pub streams: usize,
    /// Callers who may wait behind them.
    pub queue: usize,
    /// How much is read, and how long for.
    pub bounds: Bounds,
}

/// A server that is ready.
pub struct Upstream {
    client: Client,
    dialect: Dialect,
    context_tokens: usize,
    turns: Turns,
}

impl Upstream {
    /// Waits until the server's `/health` says 200, for ever if it never does: whoever starts engines bounds that.
    pub async fn ready(options: UpstreamOptions) -> Self {
        let client = Client {
            socket: options.socket,
            bounds: options.bounds,
        };
        while !client.is_ready().await {
            tokio::time::sleep(PAUSE).await;
        }
        Self {
            client,
            dialect: options.dialect,
            context_tokens: options.context_tokens,
            turns: Turns::new(options.streams, options.queue),
        }
    }
}

impl Engine for Upstream {
    fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            raw_prompts: true,
            ..Abilities::CHATS
        }
    }

    async fn tokenize(&self, prompt: &Prompt) -> Result<Vec<u32>, GenerateError> {
        Ok(self.dialect.ids(&self.client, prompt).await?)
    }

    async fn generate(&self, prompt: &Prompt, ask: Ask) -> Result<Generation, GenerateError> {
        let lacked = [
            (ask.schema.is_some(), "json_schema"),
            (ask.logprobs.is_some(), "logprobs"),
        ];
        if let Some((_, member)) = lacked.into_iter().find(|(asked, _)| *asked) {
            return Err(GenerateError::Lacks { member });
        }
        let sampling = ask.sampling;
        sampling.validate()?;
        let ids = self.tokenize(prompt).await?;
        if ids.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        let room = self.context_tokens.saturating_sub(ids.len());
        if room == 0 {
            return Err(GenerateError::ContextLength {
                prompt_tokens: ids.len(),
                context_tokens: self.context_tokens,
            });
        }
        let max_tokens = sampling.max_tokens.min(room);
        let turn = self.turns.turn().await?;
        let body = self.dialect.request(&ids, &sampling, max_tokens, &salt()?);
        let bounds = self.client.bounds;
        let (first, ends) = (Instant::now() + bounds.first, Instant::now() + bounds.total);
        let open = self
            .client
            .open("/v1/completions", body, "text/event-stream", first.min(ends))
            .await?;
        let events = Events::new(open, bounds, max_tokens, first, ends);
        let (out, tokens) = mpsc::unbounded_channel();
        let prompt_tokens = ids.len();
        let gone = out.clone();
        let answer = Answer::new(ids, max_tokens, self.dialect.states_ids(), sampling.stop, out);
        tokio::spawn(async move {
            // Whoever leaves closes the connection to the server with it.
            tokio::select! {
                () = answer.follow(events) => (),
                () = gone.closed() => (),
            }
            drop(turn);
        });
        Ok(Generation::new(prompt_tokens, tokens))
    }
}

/// What keeps a server's cache of prompts from being shared: 256 fresh bits for each request.
fn salt() -> Result<String, Breach> {
    let mut bytes = [0u8; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|_| Breach::Gone)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
