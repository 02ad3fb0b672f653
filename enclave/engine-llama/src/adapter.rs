//! A LoRA adapter that a process computes all its answers with.
//!
//! The library adds `scale × alpha / rank × B·A` to what each matrix that the adapter names gives; the base's weights stay as they are in
//! memory. One process, one adapter: no other tenant's answers are computed beside it.

use std::path::PathBuf;

use hanzo_engine_process::gguf::{self, Accepted};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};

use crate::error::LlamaError;
use crate::model_dir;

/// Which adapter, and how strong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lora {
    /// LoRA in GGUF.
    pub file: PathBuf,
    /// What its product is multiplied by, in millionths.
    pub scale_micros: u32,
}

/// An adapter that the library took for its model.
pub(crate) struct Adapter {
    lora: LlamaLoraAdapter,
    scale: f32,
}

/// Of the base's architecture, in encodings that nothing is lost in.
const ACCEPTED: Accepted = Accepted {
    architectures: model_dir::ACCEPTED.architectures,
    types: &[(0, 1, 4), (1, 1, 2), (30, 1, 2)], // F32, F16, BF16
};

impl Lora {
    /// Checks the file, then lets the library read it.
    ///
    /// # Errors
    /// [`LlamaError::Gguf`] before the library sees any of it; [`LlamaError::Adapter`] for what does not fit this model.
    pub(crate) fn load(&self, model: &mut LlamaModel) -> Result<Adapter, LlamaError> {
        let wrong = |what: &str| LlamaError::Adapter {
            path: self.file.clone(),
            what: what.into(),
        };
        let header = gguf::read(&self.file, &ACCEPTED)?;
        let is_half = |name: &str| name.ends_with(".lora_a") || name.ends_with(".lora_b");
        if header.tensors.is_empty() || !header.tensors.iter().all(|tensor| is_half(&tensor.name)) {
            return Err(wrong("expected pairs of NAME.lora_a and NAME.lora_b alone"));
        }
        let lora = model.lora_adapter_init(&self.file);
        let lora =
            lora.map_err(|_| wrong("the library does not put it on this model; was it made for another base?"))?;
        Ok(Adapter {
            lora,
            scale: self.scale_micros as f32 / 1e6,
        })
    }
}

impl Adapter {
    /// Puts it on everything that `context` computes. False if the library would not.
    pub(crate) fn put_on(&mut self, context: &mut LlamaContext<'_>) -> bool {
        context.lora_adapter_set(&mut self.lora, self.scale).is_ok()
    }
}
