//! `hanzo chain`: a chain of validators on this machine, and everything one asks a node or hands to it.
//!
//! Nothing that a node says is believed where it counts: with a genesis at hand, `tx`, `claim` and `prove` check the light proof
//! before they say that something is final.
//!
//! What it never does: take a passphrase from a command line or the environment, send a key anywhere, sign for another network
//! than the genesis names.
#![forbid(unsafe_code)]

mod appraise;
mod args;
mod boot;
mod claim;
mod error;
mod evidence_claims;
mod files;
mod genesis;
mod init;
mod key;
mod node;
mod note;
mod output;
mod prove;
mod run;
mod show;
mod spread;
mod tx;
mod wallet;

use std::process::ExitCode;

use zeroize::Zeroizing;

pub use args::ChainCommand;
pub use error::ChainError;
pub use node::NodeClient;
pub use output::Output;

/// A simulated processor for the validators of a development network.
pub struct Simulator {
    /// Its keys, which every validator of the network reads.
    pub material: Zeroizing<Vec<u8>>,
    /// Its root certificate, DER.
    pub root: Vec<u8>,
    /// An appraisal policy that takes evidence of simulated validators, TOML.
    pub policy: String,
}

/// Makes a simulated processor, once for a development network: this crate has no simulator of its own.
pub type MakeProcessor = fn() -> Result<Simulator, String>;

/// Does what the command says, and prints the outcome: text, or one JSON document.
pub fn run(command: ChainCommand, as_json: bool, processor: MakeProcessor) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hanzo chain: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(perform(command, as_json, processor));
    // What still reads from a stopped validator is not waited for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    output::print(outcome, as_json)
}

/// Does what the command says.
///
/// # Errors
/// [`ChainError`].
pub async fn perform(command: ChainCommand, as_json: bool, processor: MakeProcessor) -> Result<Output, ChainError> {
    match command {
        ChainCommand::Init(args) => init::init(&args, processor),
        ChainCommand::Genesis(args) => genesis::genesis(&args),
        ChainCommand::Run(args) => run::run(&args, as_json).await,
        ChainCommand::Status(args) => show::status(&args).await,
        ChainCommand::Validators(args) => show::validators(&args).await,
        ChainCommand::Supply(args) => show::supply(&args).await,
        ChainCommand::Blocks(args) => show::blocks(&args).await,
        ChainCommand::Account(args) => show::account(&args).await,
        ChainCommand::Tx(args) => tx::tx(&args).await,
        ChainCommand::Prove(args) => prove::prove(&args).await,
        ChainCommand::Endorse(args) => boot::endorse(&args).await,
        ChainCommand::EndorseKey(args) => key::endorse(&args).await,
        ChainCommand::Note(args) => note::note(&args).await,
        ChainCommand::Claim(args) => match &args.kind {
            Some(kind) => evidence_claims::claim(&args, kind).await,
            None => claim::claim(&args).await,
        },
    }
}
