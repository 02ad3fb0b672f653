//! What a model is, read from its own files as hostile input, and what its publisher signed about it.
//!
//! * [`inspect`] reads GGUF headers and safetensors directories: architecture, context, encodings, tokenizer, template, memory.
//!   No tensor is read. Every length is held against the file before anything of that size is allocated.
//! * [`ModelManifest`] says the same in a few lines, with licence, engine and minimum tier; [`SignedModel`] carries it under a
//!   quorum of keys (the sets and rules of release manifests); [`VerifiedModel`] holds it against a model and a guest.
//!
//! * [`AdapterFacts`] reads an adapter: LoRA or a delta, and the root of the base that it goes on.
//!
//! Formats, and what `tokenizer_sha256` means for each engine: `enclave/model/SPEC.md`.
//!
//! Never: a tensor's bytes; a number of a file that was not bounded; text of a file that could steer a terminal; a manifest
//! that counts without a quorum.
//!
//! ```no_run
//! # fn main() -> Result<(), hanzo_model::ModelFileError> {
//! let facts = hanzo_model::inspect("model.gguf".as_ref())?;
//! println!("{} with {} tensors", facts.architecture, facts.tensors);
//! # Ok(())
//! # }
//! ```
//!
//! Specs: ggml `docs/gguf.md` (versions 2 and 3); safetensors format (huggingface/safetensors README); RFC 8785.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )
)]

mod adapter;
mod encoding;
mod error;
mod facts;
mod gguf;
mod inspect;
mod manifest;
mod safetensors;
mod signed;
mod tensor;

pub use adapter::{
    ADAPTER_BYTES_MAX, ADAPTER_FILE, ADAPTER_TYPE, Adapter, AdapterError, AdapterFacts, AdapterKind, DELTA_FILE,
    LORA_FILE, SCALE_ONE_MICROS,
};
pub use error::ModelFileError;
pub use facts::{EncodingShare, Format, ModelFacts, WORKING_BYTES};
pub use inspect::{CHAT_TEMPLATES, GGUF_FILE, TOKENIZER_FILE, inspect};
pub use manifest::{LIFETIME_S_MAX, MANIFEST_BYTES_MAX, MANIFEST_TYPE, ManifestError, ModelManifest, Publication};
pub use signed::{SIGNED_BYTES_MAX, SIGNED_TYPE, SignError, SignedModel, Subject, VerifiedModel, sign};
pub use tensor::{TensorPlace, tensors};
