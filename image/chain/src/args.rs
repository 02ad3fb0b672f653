//! The command line of `hanzo chain`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hanzo_attestation::Digest256;

use crate::ChainError;
use crate::node::NodeArgs;
use crate::wallet::{Account, WalletArgs};

const FIRST_STEPS: &str = "First steps:\n  \
hanzo chain init hanzo-chain\n  \
hanzo chain run hanzo-chain                 (another terminal goes on)\n  \
hanzo chain status\n  \
hanzo up --ask \"What is the capital of France?\"     (prints a receipt's id)\n  \
hanzo chain claim RECEIPT --wallet hanzo-chain/miner.wallet --customer-wallet hanzo-chain/customer.wallet \\\n    \
--passphrase-file hanzo-chain/passphrase --out reward.proof\n  \
hanzo-verify receipt-reward RECEIPT_FILE reward.proof --genesis hanzo-chain/genesis.bin\n\n\
Passphrases are asked for, or are the first line of a file; never an argument.\n\
Exit codes: 0 done; 1 a file, a node or a validator failed; 2 usage; 10 malformed; 20 a signature, wallet or proof does not hold; 30 not final in time; \
40 the chain's rules refuse.";

/// A chain of validators on this machine, and everything one asks a node or hands to it.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = FIRST_STEPS)]
pub enum ChainCommand {
    /// Make the folders of a development network's validators
    Init(InitArgs),
    /// Put the genesis together out of the validators' candidates
    Genesis(GenesisArgs),
    /// Start the validators of a folder, and the chain if it has not begun
    #[command(
        after_help = "Examples:\n  hanzo chain run hanzo-chain\n  hanzo chain run hanzo-chain --validator-program ./hanzo-validator-simulated"
    )]
    Run(RunArgs),
    /// How the chain and its validators stand
    #[command(
        after_help = "Examples:\n  hanzo chain status\n  hanzo chain status --node 127.0.0.1:27200\n  hanzo --json chain status --dir ./net"
    )]
    Status(StatusArgs),
    /// Who votes in an epoch
    Validators(ValidatorsArgs),
    /// Where all the money is
    Supply(StatusArgs),
    /// The newest blocks
    Blocks(BlocksArgs),
    /// What an account has
    Account(AccountArgs),
    /// Build, sign and hand in a transaction, and wait until it is final
    #[command(after_help = "Examples:\n  \
hanzo chain tx --wallet a.wallet transfer 0x5b0c…e1 1000\n  \
hanzo chain tx --wallet a.wallet --passphrase-file pass voucher 0x5b0c…e1 50000 --blocks 10000\n  \
hanzo chain tx --wallet a.wallet --write-to signed.tx transfer 0x5b0c…e1 1000\n  \
hanzo chain tx submit signed.tx\n  \
hanzo chain tx --wallet validator.wallet register key.json --bond 1000000 --endorsement one.json --endorsement two.json\n  \
hanzo chain tx --wallet validator.wallet rotate key.json --endorsement one.json --endorsement two.json")]
    Tx(TxArgs),
    /// Write a light proof, as `hanzo-verify finality|account|receipt-reward` reads it
    #[command(after_help = "Examples:\n  \
hanzo chain prove block --out block.proof\n  \
hanzo chain prove account 0x5b0c…e1 --out account.proof\n  \
hanzo chain prove transaction 77aa…01 --out reward.proof")]
    Prove(ProveArgs),
    /// As a registrar: verify a boot's evidence and endorse that a miner earns with it
    #[command(after_help = "Example:\n  \
hanzo chain endorse 0011…ff --miner 0x5b0c…e1 --incarnation 1 --wallet registrar.bin --out endorsement.json\n\n\
The bundle is the one that was kept when the boot was verified (--state); it is verified again, as of that day, by --policy or the policy of that day.")]
    Endorse(EndorseArgs),
    /// As a registrar: verify the evidence of a validator's consensus key and endorse it
    #[command(after_help = "Examples:\n  \
hanzo chain endorse-key key.json --wallet registrar.bin --policy policy.toml --out one.json\n  \
hanzo chain endorse-key key.json --wallet 0/registrar.bin --dir net        (policy and simulator as net/chain.toml says)\n\n\
A validator writes key.json at the boot that drew the key. What the endorsements are for: `hanzo chain tx register` and `hanzo chain tx rotate`.")]
    EndorseKey(EndorseKeyArgs),
    /// As a customer: sign for work that has no receipt, in a file that the miner claims with
    #[command(after_help = "Examples:\n  \
hanzo chain note --wallet me.wallet --out delivery.json delivery 0x5b0c…e1 --seq 0 --chunk-root 77aa…01 --bytes 4194304 --fee 500\n  \
hanzo chain note --wallet me.wallet --out note.json lease 99ab…10 --seconds 60")]
    Note(NoteArgs),
    /// Turn work into a reward. Without a kind, the receipt of an answer: register its boot if need be, have the customer pay, wait, write the proof
    #[command(
        after_help = "Examples:\n  \
hanzo chain claim RECEIPT --wallet miner.wallet --customer-wallet customer.wallet --fee 10000 --out reward.proof\n  \
hanzo chain claim RECEIPT --wallet miner.wallet --customer-wallet customer.wallet --voucher 99ab…10 --cumulative 20000\n  \
hanzo chain claim RECEIPT --wallet miner.wallet --customer-wallet customer.wallet --endorsement one.json --endorsement two.json\n  \
hanzo chain claim --wallet me.wallet data-sharing delivery.json\n  \
hanzo chain claim --wallet miner.wallet compute note.json --heartbeat heartbeat.json\n  \
hanzo chain claim --wallet miner.wallet hosting residency.json\n  \
hanzo chain claim --wallet me.wallet model-registration 0011…ff\n\n\
Notes are what customers sign (`hanzo chain note`); heartbeats and proofs of residency are what boots sign, in the JSON that enclave/chain/SPEC.md describes.",
        subcommand_negates_reqs = true
    )]
    Claim(ClaimArgs),
}

/// `init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// The folder; it must not exist
    #[arg(value_name = "DIR", default_value = "hanzo-chain")]
    pub dir: PathBuf,
    /// How many validators: 4 to 15, 17, 18, 20, 21, …
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub validators: usize,
    /// Number of the network; never that of the main network, which takes no simulated evidence
    #[arg(long, default_value_t = hanzo_ledger::TESTNET, value_name = "NUMBER")]
    pub network: u64,
    /// Blocks of an epoch: short, so that a restarted validator soon votes again
    #[arg(long, default_value_t = 40, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(4..=100_000))]
    pub epoch_blocks: u64,
    /// Links listen on this port and those after it, RPC 100 ports further on
    #[arg(long, default_value_t = 27_100, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    pub base_port: u16,
    /// Take evidence of this TPM too, at tier 1 (SHA-256 of its attestation key, as `hanzo-image tpm` prints it); again for more. Its image's
    /// registers go into policy.toml (`hanzo-image policy`), the validator into each validator.toml ([[peer]]); then SIGHUP
    #[arg(long = "tpm-key", value_name = "DIGEST", value_parser = key)]
    pub tpm_keys: Vec<Digest256>,
}

fn key(text: &str) -> Result<Digest256, String> {
    Digest256::from_hex(text).ok_or_else(|| format!("expected 64 lower-case hex digits, got {} characters", text.len()))
}

/// `genesis`.
#[derive(Debug, Clone, Args)]
pub struct GenesisArgs {
    /// The folder, with a `candidate.json` in each validator's
    #[arg(value_name = "DIR", default_value = "hanzo-chain")]
    pub dir: PathBuf,
}

/// `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The folder, as `init` made it
    #[arg(value_name = "DIR", default_value = "hanzo-chain")]
    pub dir: PathBuf,
    /// The validators' program [default: hanzo-validator-simulated beside this one]
    #[arg(long, value_name = "PATH")]
    pub validator_program: Option<PathBuf>,
    /// Seconds for the first final block
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub within: u64,
}

/// `status` and `supply`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// `validators`.
#[derive(Debug, Clone, Args)]
pub struct ValidatorsArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Which epoch [default: this one]
    #[arg(long, value_name = "N")]
    pub epoch: Option<u64>,
}

/// `blocks`.
#[derive(Debug, Clone, Args)]
pub struct BlocksArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// The first of them [default: the newest]
    #[arg(long, value_name = "HEIGHT")]
    pub from: Option<u64>,
    /// How many
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=50))]
    pub count: u64,
}

/// `account`.
#[derive(Debug, Clone, Args)]
pub struct AccountArgs {
    /// 0x and 64 lower-case hex digits
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// `tx`.
#[derive(Debug, Clone, Args)]
pub struct TxArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// The sender's wallet file
    #[arg(long, value_name = "FILE")]
    pub wallet: Option<PathBuf>,
    /// A file whose first line is its passphrase; asked for on the terminal without it
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Base units for the treasury [default: the least]
    #[arg(long, value_name = "UNITS")]
    pub fee: Option<u128>,
    /// The sender's number [default: the next]
    #[arg(long, value_name = "N")]
    pub nonce: Option<u64>,
    /// Write the signed transaction to this file instead of handing it in
    #[arg(long, value_name = "FILE")]
    pub write_to: Option<PathBuf>,
    /// Seconds to wait until it is final; 0: do not wait
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub wait: u64,
    /// What is asked for.
    #[command(subcommand)]
    pub action: TxCommand,
}

/// What a transaction asks for.
#[derive(Debug, Clone, Subcommand)]
pub enum TxCommand {
    /// Pay somebody
    Transfer {
        /// Whom
        to: String,
        /// Base units
        amount: u128,
    },
    /// Set money aside for a miner; prints the voucher's id
    Voucher {
        /// The miner
        miner: String,
        /// Base units
        amount: u128,
        /// It pays in so many blocks from now on
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        blocks: u64,
    },
    /// Get the rest of a voucher back
    CloseVoucher {
        /// Its id
        id: String,
    },
    /// Rent GPUs of a boot; prints the lease's id
    Lease {
        /// Digest of the boot's keyset
        keyset: String,
        /// How many GPUs
        #[arg(long)]
        gpus: u16,
        /// Base units for one GPU and second
        #[arg(long)]
        price: u128,
        /// Most seconds, paid in advance
        #[arg(long)]
        seconds: u64,
        /// It pays in so many blocks from now on
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        blocks: u64,
    },
    /// Get the rest of a lease's money back
    CloseLease {
        /// Its id
        id: String,
    },
    /// Register a model by its weights root, against a deposit
    RegisterModel {
        /// Weights root
        root: String,
        /// SHA-256 of its licence text
        #[arg(long)]
        licence: String,
        /// Bytes of all files
        #[arg(long)]
        bytes: u64,
        /// Leaves under the root
        #[arg(long)]
        leaves: u64,
    },
    /// Take a model back, and its deposit
    RetireModel {
        /// Weights root
        root: String,
    },
    /// Ask for the reward of a registered model that customers use
    ClaimRegistration {
        /// Weights root
        root: String,
    },
    /// Put money at stake
    Bond {
        /// Base units
        amount: u128,
    },
    /// Begin to take it back
    Unbond {
        /// Base units
        amount: u128,
    },
    /// Take it back
    Withdraw,
    /// Validate no more, and begin to take the stake back
    Leave,
    /// Become a validator with the consensus key of a `key.json`, which registrars endorsed
    Register {
        /// What the validator's boot wrote
        key: PathBuf,
        /// Base units to put at stake with it
        #[arg(long, default_value_t = 0, value_name = "UNITS")]
        bond: u128,
        /// A registrar's endorsement (`hanzo chain endorse-key`). As many as the genesis wants
        #[arg(long = "endorsement", value_name = "FILE")]
        endorsements: Vec<PathBuf>,
    },
    /// Give the validator of this wallet the consensus key of a `key.json`, which registrars endorsed
    Rotate {
        /// What the validator's boot wrote
        key: PathBuf,
        /// A registrar's endorsement (`hanzo chain endorse-key`). As many as the genesis wants
        #[arg(long = "endorsement", value_name = "FILE")]
        endorsements: Vec<PathBuf>,
    },
    /// Hand in a transaction that was signed before
    Submit {
        /// Its file: canonical bytes
        file: PathBuf,
    },
}

/// `prove`.
#[derive(Debug, Clone, Args)]
pub struct ProveArgs {
    /// What is shown.
    #[command(subcommand)]
    pub what: ProveCommand,
    /// Where to write the proof
    #[arg(long, value_name = "FILE", global = true, default_value = "chain.proof")]
    pub out: PathBuf,
    /// The newest epoch whose validator set the reader knows [default: what the genesis names, 1]
    #[arg(long, value_name = "N", global = true)]
    pub from_epoch: Option<u64>,
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// What a light proof shows.
#[derive(Debug, Clone, Subcommand)]
pub enum ProveCommand {
    /// That a block is final
    Block {
        /// Which [default: the newest]
        #[arg(long)]
        height: Option<u64>,
    },
    /// What an account has in the newest final state
    Account {
        /// 0x and 64 lower-case hex digits
        address: String,
    },
    /// That a transaction stands in a final block; of a claim: what its receipt earned
    Transaction {
        /// Its id
        id: String,
    },
}

/// Where evidence of a boot is.
#[derive(Debug, Clone, Args)]
pub struct KeptArgs {
    /// Where bundles and receipts are kept [default: $XDG_STATE_HOME/hanzo or ~/.local/state/hanzo]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Judge the boot's evidence by this policy instead of the one that was kept with it
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// `endorse`.
#[derive(Debug, Clone, Args)]
pub struct EndorseArgs {
    /// Digest of the boot's keyset, 96 hex digits: a receipt names it
    #[arg(value_name = "KEYSET")]
    pub keyset: String,
    /// Account that earns with it
    #[arg(long, value_name = "ADDRESS")]
    pub miner: String,
    /// Which boot of the miner: above its last
    #[arg(long, value_name = "N")]
    pub incarnation: u64,
    /// The registrar's.
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// The evidence.
    #[command(flatten)]
    pub kept: KeptArgs,
    /// Which network.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where to write the endorsement
    #[arg(long, value_name = "FILE", default_value = "endorsement.json")]
    pub out: PathBuf,
}

/// `endorse-key`.
#[derive(Debug, Clone, Args)]
pub struct EndorseKeyArgs {
    /// What the validator's boot wrote: key.json
    #[arg(value_name = "KEY_FILE")]
    pub key: PathBuf,
    /// The registrar's.
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// Appraisal policy for the evidence [default: that of --dir's chain.toml]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// With --policy: a TPM's attestation key that counts (SHA-256); again for more
    #[arg(long = "tpm-key", requires = "policy", value_name = "DIGEST", value_parser = key)]
    pub tpm_keys: Vec<Digest256>,
    /// Root certificate (DER) of a simulator, whose evidence counts where the genesis says so
    #[arg(long, value_name = "FILE", requires = "policy")]
    pub simulator_root: Option<PathBuf>,
    /// Which network.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where to write the endorsement
    #[arg(long, value_name = "FILE", default_value = "key-endorsement.json")]
    pub out: PathBuf,
}

/// `note`.
#[derive(Debug, Clone, Args)]
pub struct NoteArgs {
    /// Who signs.
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// Which network.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where to write the note
    #[arg(long, value_name = "FILE", default_value = "note.json")]
    pub out: PathBuf,
    /// What is signed.
    #[command(subcommand)]
    pub kind: NoteKind,
}

/// What a customer signs.
#[derive(Debug, Clone, Subcommand)]
pub enum NoteKind {
    /// "I have got this": bytes that somebody gave, and what they are worth
    Delivery {
        /// Account that gave
        provider: String,
        /// The signer's number for deliveries of this provider, each once
        #[arg(long, value_name = "N")]
        seq: u64,
        /// Root over the chunks, 64 hex digits
        #[arg(long, value_name = "DIGEST")]
        chunk_root: String,
        /// How many bytes
        #[arg(long, value_name = "N")]
        bytes: u64,
        /// Base units that the signer pays
        #[arg(long, value_name = "UNITS")]
        fee: u128,
    },
    /// "So many seconds of this lease were mine"
    Lease {
        /// The lease's id
        lease: String,
        /// Seconds in all, from its first on
        #[arg(long, value_name = "N")]
        seconds: u64,
    },
}

/// What is claimed for, other than an answer.
#[derive(Debug, Clone, Subcommand)]
pub enum ClaimKind {
    /// Bytes that a recipient signed for
    DataSharing {
        /// The recipient's note (`hanzo chain note delivery`)
        note: PathBuf,
    },
    /// GPU-seconds of the last epoch of a lease
    Compute {
        /// The lessee's note (`hanzo chain note lease`)
        note: PathBuf,
        /// What the boot signed over the epoch's beacon
        #[arg(long, value_name = "FILE")]
        heartbeat: PathBuf,
    },
    /// A model that lay in a boot's memory through the last epoch
    Hosting {
        /// What the boot signed over the epoch's beacon and the leaf that it asks for
        residency: PathBuf,
    },
    /// A registered model that customers use, once
    ModelRegistration {
        /// Weights root
        root: String,
    },
}

impl ClaimKind {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DataSharing { .. } => "data-sharing",
            Self::Compute { .. } => "compute",
            Self::Hosting { .. } => "hosting",
            Self::ModelRegistration { .. } => "model-registration",
        }
    }
}

/// `claim`.
#[derive(Debug, Clone, Args)]
pub struct ClaimArgs {
    /// What is claimed for, if it is no answer.
    #[command(subcommand)]
    pub kind: Option<ClaimKind>,
    /// A receipt's id (32 hex digits) out of the state folder, or a receipt file
    #[arg(value_name = "ID|FILE", required = true)]
    pub receipt: Option<String>,
    /// The miner's wallet file (`hanzo-wallet new FILE` makes one)
    #[arg(long, value_name = "FILE", global = true)]
    pub wallet: Option<PathBuf>,
    /// A file whose first line is its passphrase; asked for on the terminal without it
    #[arg(long, value_name = "FILE", global = true)]
    pub passphrase_file: Option<PathBuf>,
    /// The customer's wallet file: it signs that the answer is worth the fee
    #[arg(long, value_name = "FILE", required = true)]
    pub customer_wallet: Option<PathBuf>,
    /// A file whose first line is its passphrase [default: that of --passphrase-file]
    #[arg(long, value_name = "FILE")]
    pub customer_passphrase_file: Option<PathBuf>,
    /// Base units that the customer pays
    #[arg(long, default_value_t = 10_000, value_name = "UNITS")]
    pub fee: u128,
    /// Pay out of this voucher instead of the customer's account
    #[arg(long, value_name = "ID", requires = "cumulative")]
    pub voucher: Option<String>,
    /// The most that the voucher may have paid in all, this claim included
    #[arg(long, value_name = "UNITS", requires = "voucher")]
    pub cumulative: Option<u128>,
    /// A registrar's endorsement of the boot (`hanzo chain endorse`). May be repeated
    #[arg(long = "endorsement", value_name = "FILE")]
    pub endorsements: Vec<PathBuf>,
    /// The evidence.
    #[command(flatten)]
    pub kept: KeptArgs,
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where to write the proof of the reward
    #[arg(long, value_name = "FILE", default_value = "reward.proof", global = true)]
    pub out: PathBuf,
    /// Seconds to wait for each transaction
    #[arg(long, default_value_t = 60, value_name = "SECONDS", global = true, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait: u64,
}

impl ClaimArgs {
    /// The miner's account.
    pub(crate) fn wallet(&self) -> Result<Account, ChainError> {
        let path = named("--wallet", "the miner's wallet file", self.wallet.as_deref())?;
        Account::open(path, self.passphrase_file.as_deref())
    }
}

/// What may be missing for one kind of claim and not for another.
pub(crate) fn named<'a, T: ?Sized>(
    option: &'static str,
    expected: &'static str,
    given: Option<&'a T>,
) -> Result<&'a T, ChainError> {
    given.ok_or_else(|| ChainError::Usage {
        option,
        expected: expected.into(),
        got: "none".into(),
    })
}
