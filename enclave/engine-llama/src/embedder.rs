//! The thread that makes vectors: one input at a time, whole, from nothing but its own tokens.

use std::sync::mpsc::Receiver;

use hanzo_engine_process::{GenerateError, Turn};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::adapter::Adapter;
use crate::load::{library, vector_params};

/// Inputs to make vectors of.
pub(crate) struct Inputs {
    pub ids: Vec<Zeroizing<Vec<u32>>>,
    /// Closed when nobody listens any more.
    pub out: oneshot::Sender<Result<Vec<Vec<f32>>, GenerateError>>,
    pub turn: Turn,
}

pub(crate) struct Embedder<'model> {
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
}

impl Embedder<'_> {
    /// Computes until no more inputs can come. Says through `ready` whether it could begin.
    pub(crate) fn run(
        (model, mut adapter): (&LlamaModel, Option<Adapter>),
        (input_tokens, threads): (usize, usize),
        jobs: Receiver<Inputs>,
        ready: oneshot::Sender<bool>,
    ) {
        let params = vector_params(input_tokens, threads);
        let context = params.and_then(|params| library(|library| model.new_context(library, params))?.ok());
        let context = context.and_then(|mut context| {
            let is_on = adapter.as_mut().is_none_or(|adapter| adapter.put_on(&mut context));
            is_on.then_some(context)
        });
        let Some(context) = context else {
            let _ = ready.send(false);
            return;
        };
        let mut embedder = Embedder {
            context,
            batch: LlamaBatch::new(input_tokens, 1),
        };
        // From here on texts come, and the library says nothing.
        library(|library| library.void_logs());
        let _ = ready.send(true);
        while let Ok(Inputs { ids, out, turn }) = jobs.recv() {
            let mut vectors = Vec::with_capacity(ids.len());
            for input in &ids {
                if out.is_closed() {
                    break;
                }
                match embedder.vector(input) {
                    Some(vector) => vectors.push(vector),
                    None => break,
                }
            }
            let whole = match vectors.len() == ids.len() {
                true => Ok(vectors),
                false => Err(GenerateError::ModelFailed),
            };
            let _ = out.send(whole);
            drop(turn);
        }
    }

    /// A vector of length 1. What was computed is cleared before the next.
    fn vector(&mut self, ids: &[u32]) -> Option<Vec<f32>> {
        self.batch.clear();
        for (at, id) in ids.iter().enumerate() {
            let id = LlamaToken(i32::try_from(*id).ok()?);
            self.batch.add(id, i32::try_from(at).ok()?, &[0], true).ok()?;
        }
        let computed = self.context.decode(&mut self.batch).is_ok();
        let vector = match computed {
            true => self.context.embeddings_seq_ith(0).ok().and_then(unit),
            false => None,
        };
        self.context.clear_kv_cache();
        vector
    }
}

/// `vector` stretched to length 1; `None` where that cannot be.
fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|n| f64::from(*n) * f64::from(*n)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    Some(vector.iter().map(|n| (f64::from(*n) / length) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one_or_are_none() {
        assert_eq!(unit(&[3.0, -4.0]), Some(vec![0.6, -0.8]));
        assert_eq!(unit(&[0.0, 0.0]), None);
        assert_eq!(unit(&[f32::NAN, 1.0]), None);
    }
}
