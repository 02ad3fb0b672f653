//! Vectors of texts, checked: as many as there were texts, in their order, of one length, every number finite.

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::{EngineClient, EngineError, refusal, whole};
use crate::request::Prompt;

/// Longest vector.
const DIMENSIONS_MAX: usize = 65_536;
/// Bytes of one answer beyond its numbers.
const FRAME_BYTES: usize = 1 << 20;
/// Most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// One vector for each input.
pub(crate) struct Vectors(pub(crate) Vec<Vec<f32>>);

impl EngineClient {
    /// Embeds `inputs`, which take `prompt_tokens` together.
    pub(crate) async fn embed(&self, inputs: &[Prompt], prompt_tokens: u64) -> Result<Vectors, EngineError> {
        #[derive(Serialize)]
        struct Ask<'a> {
            input: &'a [Prompt],
        }
        let body = serde_json::to_vec(&Ask { input: inputs }).map_err(|_| EngineError::Failed)?;
        let (response, _connection) = self.send(Method::POST, "/v1/embeddings", body).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal::read(response, &[]).await);
        }
        // A number takes at most 24 characters and its comma.
        let most = inputs.len().saturating_mul(DIMENSIONS_MAX).saturating_mul(25);
        let body = whole(response, most.saturating_add(FRAME_BYTES).min(ANSWER_BYTES_MAX)).await?;
        check(&body, inputs.len(), prompt_tokens)
    }
}

fn check(body: &[u8], inputs: usize, prompt_tokens: u64) -> Result<Vectors, EngineError> {
    #[derive(Deserialize)]
    struct Said {
        data: Vec<One>,
        usage: Usage,
    }
    #[derive(Deserialize)]
    struct One {
        index: usize,
        embedding: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct Usage {
        prompt_tokens: u64,
    }
    let breach = |what| Err(EngineError::Protocol { what });
    let Ok(said) = serde_json::from_slice::<Said>(body) else {
        return breach("embeddings that are not of their shape");
    };
    if said.data.len() != inputs || said.data.iter().enumerate().any(|(i, one)| one.index != i) {
        return breach("embeddings of other inputs");
    }
    let length = said.data.first().map_or(0, |one| one.embedding.len());
    let sound = |one: &One| one.embedding.len() == length && one.embedding.iter().all(|n| n.is_finite());
    if !(1..=DIMENSIONS_MAX).contains(&length) || !said.data.iter().all(sound) {
        return breach("embeddings of another length, or not finite");
    }
    if said.usage.prompt_tokens != prompt_tokens {
        return breach("prompt_tokens that differ from /tokenize");
    }
    Ok(Vectors(said.data.into_iter().map(|one| one.embedding).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_taken_and_every_breach_is_named() {
        let good = r#"{"object":"list","data":[{"index":0,"embedding":[0.5,-1]},{"index":1,"embedding":[0,2e-3]}],"usage":{"prompt_tokens":5}}"#;
        assert_eq!(check(good.as_bytes(), 2, 5).ok().unwrap().0, [[0.5, -1.0], [0.0, 2e-3]]);
        for (from, to, what) in [
            ("\"index\":1", "\"index\":0", "embeddings of other inputs"),
            (",2e-3", "", "embeddings of another length, or not finite"),
            ("2e-3", "2e39", "embeddings that are not of their shape"),
            ("2e-3", "null", "embeddings that are not of their shape"),
            ("_tokens\":5", "_tokens\":6", "prompt_tokens that differ from /tokenize"),
        ] {
            let bad = good.replacen(from, to, 1);
            let got = check(bad.as_bytes(), 2, 5).err();
            assert_eq!(got, Some(EngineError::Protocol { what }), "{bad}");
        }
        assert!(check(good.as_bytes(), 1, 5).is_err());
    }
}
