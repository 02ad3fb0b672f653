//! What can go wrong, with a stable code and an exit code each.

use std::path::PathBuf;

use hanzo_chain_rpc::client::CallError;
use hanzo_chain_types::LightError;
use hanzo_client::StateError;
use hanzo_ledger::GenesisError;
use hanzo_signer::SignerError;
use hanzo_signer::wallet::WalletError;
use hanzo_verifier::VerifyError;
use hanzo_verifier::receipt::ReceiptError;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A file or folder.
    #[error("{what} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that is too long.
    #[error("{path}: longer than {max} bytes: is this the right file?", path = path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
        /// Most bytes.
        max: usize,
    },
    /// A file that is not what it should be.
    #[error("{path}: expected {expected}, got {got}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is accepted.
        expected: &'static str,
        /// What is there.
        got: String,
    },
    /// A value on the command line.
    #[error("{option}: expected {expected}, got {got}")]
    Usage {
        /// Which.
        option: &'static str,
        /// What is accepted.
        expected: String,
        /// What was given.
        got: String,
    },
    /// No terminal, no file.
    #[error("no passphrase: {0}; name a file with --passphrase-file where there is no terminal")]
    Terminal(std::io::Error),
    /// A node that cannot be asked.
    #[error("node {at}: {what}: is it running? `hanzo chain run` starts a chain; --node names another node")]
    Unreachable {
        /// Where.
        at: String,
        /// How it failed.
        what: String,
    },
    /// A node's answer.
    #[error("node {at}: {source}")]
    Node {
        /// Where.
        at: String,
        /// What it said.
        source: CallError,
    },
    /// A genesis.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// Folders of one network with different geneses.
    #[error(
        "the folders of this network have different geneses: {}: a network has one. Put the one whose chain runs into the place of the others, or make a new network with `hanzo chain init`",
        listed(each)
    )]
    Geneses {
        /// The first digits of each one's digest, and its files.
        each: Vec<(String, Vec<PathBuf>)>,
    },
    /// A genesis is there already, and it is not what would be made now.
    #[error(
        "genesis {name} ({}) is not of {}: a genesis that some validators have is the network's. Put that file back as it was, or start `hanzo chain run`, which puts the genesis aside where its keys are gone",
        paths(at),
        paths(others)
    )]
    OtherGenesis {
        /// The first digits of its digest.
        name: String,
        /// Its files.
        at: Vec<PathBuf>,
        /// The files that make another one.
        others: Vec<PathBuf>,
    },
    /// Candidates.
    #[error("{path}: {text}", path = path.display())]
    Candidate {
        /// Which file, or the folder of all.
        path: PathBuf,
        /// What is wrong.
        text: String,
        /// Its code.
        code: &'static str,
    },
    /// A validator's evidence.
    #[error("{path}: the evidence of {validator}: {why}: it gets no vote; start that validator again on a machine that the policy takes", path = path.display())]
    Appraisal {
        /// Which file.
        path: PathBuf,
        /// Whose.
        validator: String,
        /// What is wrong.
        why: String,
        /// Its code.
        code: &'static str,
    },
    /// A wallet.
    #[error("{path}: {source}", path = path.display())]
    Wallet {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: WalletError,
    },
    /// A signer.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A proof that does not hold.
    #[error("the node's proof does not hold: {0}: ask another node, and report this one")]
    Light(#[from] LightError),
    /// A receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// Kept receipts and bundles.
    #[error(transparent)]
    State(#[from] StateError),
    /// Evidence.
    #[error("the boot's evidence: {0}")]
    Evidence(#[from] VerifyError),
    /// Something of a receipt, a boot or a network that does not go together.
    #[error("{what}: expected {expected}, got {got}")]
    Mismatch {
        /// What.
        what: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// Too few registrars.
    #[error(
        "boot {keyset}: expected the endorsements of {need} registrars, got {got}: let each of them run `hanzo chain endorse` and give their files with --endorsement, or name a development network's folder with --dir"
    )]
    Endorsements {
        /// Which boot.
        keyset: String,
        /// The genesis' threshold.
        need: usize,
        /// How many there are.
        got: usize,
    },
    /// Too few registrars for a consensus key.
    #[error(
        "key of {validator}: expected the endorsements of {need} registrars, got {got}: let each of them run `hanzo chain endorse-key` and give their files with --endorsement"
    )]
    Words {
        /// Whose.
        validator: String,
        /// The genesis' threshold.
        need: usize,
        /// How many there are.
        got: usize,
    },
    /// The chain cannot go on.
    #[error(
        "{gone} of {all} validators left no key when they ended (stopped.key): they were killed, or still run. Their consensus keys are gone, and with more than {faults} gone no block is final again: stop what still runs with SIGTERM and try again, or make a new network with `hanzo chain init`"
    )]
    KeysGone {
        /// Validators without a key.
        gone: usize,
        /// Validators.
        all: usize,
        /// So many may be faulty.
        faults: usize,
    },
    /// It did not come into a block.
    #[error(
        "transaction {id}: not final after {seconds} s: ask for it with `hanzo chain prove transaction {id}`; it expires by itself"
    )]
    NotFinal {
        /// Which.
        id: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A validator that ended, or never was ready.
    #[error("validator {which}: {what}; its log: {log}", log = log.display())]
    Validator {
        /// Which, from 0.
        which: usize,
        /// What happened.
        what: String,
        /// Where it wrote.
        log: PathBuf,
    },
    /// A program that is not there.
    #[error(
        "{path}: no such program: build it with `cargo build --manifest-path enclave/chain/validator/Cargo.toml`, or name it with --validator-program", path = path.display()
    )]
    NoProgram {
        /// Where it was looked for.
        path: PathBuf,
    },
}

fn paths(all: &[PathBuf]) -> String {
    let all: Vec<_> = all.iter().map(|path| path.display().to_string()).collect();
    all.join(", ")
}

fn listed(each: &[(String, Vec<PathBuf>)]) -> String {
    let each: Vec<_> = each
        .iter()
        .map(|(name, at)| format!("{name} in {}", paths(at)))
        .collect();
    each.join("; ")
}

impl ChainError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    /// Stable dotted code.
    pub fn code(&self) -> &str {
        match self {
            Self::Io { .. } => "chain.io",
            Self::TooLong { .. } => "chain.file.too_long",
            Self::File { .. } => "chain.file",
            Self::Usage { .. } => "chain.usage",
            Self::Terminal(_) => "chain.terminal",
            Self::Unreachable { .. } => "chain.node.unreachable",
            Self::Node { source, .. } => source.code(),
            Self::Genesis(e) => e.code(),
            Self::Geneses { .. } => "chain.genesis.differs",
            Self::OtherGenesis { .. } => "chain.genesis.other",
            Self::Candidate { code, .. } | Self::Appraisal { code, .. } => code,
            Self::Wallet { source, .. } => source.code(),
            Self::Signer(e) => e.code(),
            Self::Light(e) => e.code(),
            Self::Receipt(e) => e.code(),
            Self::State(e) => e.code(),
            Self::Evidence(e) => e.code(),
            Self::Mismatch { .. } => "chain.mismatch",
            Self::Endorsements { .. } | Self::Words { .. } => "chain.endorsements",
            Self::NotFinal { .. } => "chain.not_final",
            Self::Validator { .. } => "chain.validator",
            Self::KeysGone { .. } => "chain.keys_gone",
            Self::NoProgram { .. } => "chain.no_program",
        }
    }

    /// Exit code of the program.
    pub fn exit(&self) -> u8 {
        match self {
            Self::Io { .. } | Self::Terminal(_) | Self::Unreachable { .. } => 1,
            Self::Validator { .. }
            | Self::KeysGone { .. }
            | Self::NoProgram { .. }
            | Self::State(_)
            | Self::Signer(_) => 1,
            Self::Usage { .. } => 2,
            Self::TooLong { .. } | Self::File { .. } | Self::Candidate { .. } | Self::Genesis(_) => 10,
            Self::Geneses { .. } | Self::OtherGenesis { .. } => 10,
            Self::Wallet {
                source: WalletError::File { .. },
                ..
            } => 10,
            Self::Wallet { .. } | Self::Light(_) | Self::Receipt(_) | Self::Appraisal { .. } => 20,
            Self::Evidence(e) => e.exit_code(),
            Self::NotFinal { .. } => 30,
            Self::Node { .. } | Self::Mismatch { .. } | Self::Endorsements { .. } | Self::Words { .. } => 40,
        }
    }
}
