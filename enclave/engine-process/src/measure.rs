//! A whole answer with its times, in process: the other side of an end-to-end benchmark.

use std::time::{Duration, Instant};

use crate::chat::{Ask, Engine, Finish, Message, Prompt, Token};
use crate::error::GenerateError;
use crate::sampling::Sampling;

/// A whole answer with its times.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The ids, end token included.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// From the call to the first token.
    pub time_to_first_token: Duration,
    /// From the first token to the last.
    pub decode_time: Duration,
}

impl Answer {
    /// Tokens a second after the first.
    pub fn tokens_per_second(&self) -> f64 {
        (self.ids.len().saturating_sub(1)) as f64 / self.decode_time.as_secs_f64().max(1e-9)
    }
}

/// Answers `messages` whole and takes the times.
///
/// # Errors
/// As [`Engine::generate`], or the first error of the answer.
pub async fn measure<E: Engine>(
    engine: &E,
    messages: &[Message],
    sampling: Sampling,
    on_token: &mut (dyn FnMut(&Token) + Send),
) -> Result<Answer, GenerateError> {
    let start = Instant::now();
    let prompt = Prompt::chat(messages.to_vec());
    let ask = Ask {
        sampling,
        ..Ask::default()
    };
    let mut generation = engine.generate(&prompt, ask).await?;
    let (mut text, mut ids, mut first) = (String::new(), Vec::new(), None);
    while let Some(token) = generation.next().await {
        let token = token?;
        let first = *first.get_or_insert_with(Instant::now);
        on_token(&token);
        text.push_str(&token.text);
        ids.push(token.id);
        if let Some(finish) = token.finish {
            return Ok(Answer {
                text,
                ids,
                finish,
                prompt_tokens: generation.prompt_tokens,
                time_to_first_token: first - start,
                decode_time: first.elapsed(),
            });
        }
    }
    Err(GenerateError::EndedEarly)
}
