//! `hanzo model`: what operators and publishers do with models, without any engine library.
//!
//! * `inspect`, `list`: what models are, read as hostile input, and what memory they need.
//! * `seal`: a model directory into a pack; its data key into a running broker, or into a file of mode 0600 when that is asked for.
//! * `verify`: a directory or a pack against a weights root and a signed manifest.
//! * `manifest`: draft, sign offline, assemble.
//! * `adapter`: a LoRA adapter with the root of its base, as a directory to seal.
//! * `delta`: what fine-tuning changed, as a small artefact on a base model; and what base and delta give.
//!
//! `hanzo model` embeds it (and adds `pull`); `hanzo-model` is the same as a small program. Results are files that appear whole or not
//! at all. Exit codes: 0 done, 1 usage or I/O, 10 malformed, 20 not authentic, 30 stale, 40 refused.
//!
//! Never: a data key in an argument, a log or an output; a pack whose key is nowhere.
#![forbid(unsafe_code)]

mod adapter;
mod delta;
mod error;
mod files;
mod inspect;
mod list;
mod manifest;
mod output;
mod progress;
mod seal;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

pub use adapter::AdapterArgs;
pub use delta::DeltaCommand;
pub use error::ToolError;
pub use inspect::InspectArgs;
pub use list::ListArgs;
pub use manifest::ManifestCommand;
pub use output::{Done, print};
pub use seal::SealArgs;
pub use verify::VerifyArgs;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Seal a model directory into a pack, and hand its data key to a broker
    Seal(Box<SealArgs>),
    /// Models of a folder
    List(ListArgs),
    /// What a GGUF file or a model directory says of itself, and the memory it needs
    Inspect(InspectArgs),
    /// Check a model directory or a pack against a weights root or a signed manifest
    Verify(Box<VerifyArgs>),
    /// Signed manifests of models
    #[command(subcommand)]
    Manifest(ManifestCommand),
    /// Fine-tunes as deltas on a base model
    #[command(subcommand)]
    Delta(DeltaCommand),
    /// A LoRA adapter, in GGUF, and the base it goes on, as a directory to seal
    Adapter(AdapterArgs),
}

/// Does it.
///
/// # Errors
/// [`ToolError`].
pub fn run(command: ModelCommand) -> Result<Done, ToolError> {
    match command {
        ModelCommand::Seal(args) => seal::run(*args),
        ModelCommand::List(args) => list::run(&args),
        ModelCommand::Inspect(args) => inspect::run(&args),
        ModelCommand::Verify(args) => verify::run(&args),
        ModelCommand::Manifest(command) => manifest::run(command),
        ModelCommand::Delta(command) => delta::run(&command),
        ModelCommand::Adapter(args) => adapter::run(&args),
    }
}

/// Does it and prints the outcome.
pub fn main_with(command: ModelCommand, as_json: bool) -> ExitCode {
    print(run(command), as_json)
}
