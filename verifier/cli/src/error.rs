//! Why a command failed, with its exit code.

use std::io;
use std::path::PathBuf;

use hanzo_attestation::evidence::Class;
use hanzo_attestation::jcs::JcsError;
use hanzo_chain_types::{FinalityError, LightError};
use hanzo_client::connect::{ConnectError, StatusError};
use hanzo_client::{ClientError, StateError};
use hanzo_collateral::{CollateralError, Missing};
use hanzo_ledger::GenesisError;
use hanzo_log::LogError;
use hanzo_log::audit::AuditError;
use hanzo_policy::PolicyError;
use hanzo_pqc::PqcError;
use hanzo_verifier::VerifyError;
use hanzo_verifier::aci::AciError;
use hanzo_verifier::callers::CallersError;
use hanzo_verifier::order::OrderError;
use hanzo_verifier::receipt::{ReceiptAuditError, ReceiptError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// An option that cannot be used.
    #[error("{option}: expected {expected}, got {got:?}")]
    Usage {
        /// Which.
        option: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// Evidence that has the marks of no format.
    #[error("{path}: expected evidence in a known format, got {bytes} bytes with the marks of none", path = path.display())]
    Unrecognised {
        /// Which file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The file system said no.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Larger than anything this command reads.
    #[error("{path}: more than {limit} bytes", path = path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// There is no directory for state.
    #[error("state: neither --state nor XDG_STATE_HOME nor HOME says where bundles and receipts are")]
    NoState,
    /// The policy file.
    #[error("{path}: {source}", path = path.display())]
    Policy {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: PolicyError,
    },
    /// A document that is none of ours.
    #[error(transparent)]
    Document(#[from] JcsError),
    /// Evidence was refused.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The guest or the channel to it was refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The local endpoint.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The status of a local endpoint.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The receipt was refused.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// Another project's receipt was refused.
    #[error(transparent)]
    Aci(#[from] AciError),
    /// The receipt was changed after it was signed, and this is known of the change.
    #[error("{source}; {found}")]
    Altered {
        /// What does not verify.
        source: ReceiptError,
        /// What differs, or where else to look.
        found: String,
    },
    /// Two receipts that both keys of one keyset signed have one number.
    #[error(
        "receipt: seq: {seq} of keyset {keyset} is receipt {first} as well, and both are signed: that guest forked its log; keep both, they prove it"
    )]
    Forked {
        /// The number.
        seq: u64,
        /// Of which keyset.
        keyset: String,
        /// The other receipt.
        first: String,
    },
    /// A log's key, or an earlier head.
    #[error("{path}: {source}", path = path.display())]
    LogFile {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: LogError,
    },
    /// An audit log that is not whole.
    #[error("{path}: {source}{compared}", path = path.display(), compared = compared(*first_difference))]
    Log {
        /// The log.
        path: PathBuf,
        /// The first thing that is wrong.
        source: AuditError,
        /// The first entry that is another than in the earlier export, if there was one to compare with.
        first_difference: Option<u64>,
    },
    /// A table of callers.
    #[error(transparent)]
    Callers(#[from] CallersError),
    /// An order of an administrator.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A secret key that others may read.
    #[error("{path}: mode {mode:04o} lets others read a secret key: chmod 600 it, and draw another if somebody may have", path = path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that is no secret key.
    #[error("{path}: expected {expected}, got something else", path = path.display())]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// What is accepted.
        expected: &'static str,
    },
    /// Keys could not be drawn or derived.
    #[error(transparent)]
    Crypto(PqcError),
    /// A log of receipts that is not whole.
    #[error("{log}: {source}")]
    ReceiptLog {
        /// Which log: folder or address.
        log: String,
        /// The first thing that is wrong.
        source: ReceiptAuditError,
    },
    /// A tile that the log should have.
    #[error("{log}: {path} is missing: its head says that it is there")]
    NoTile {
        /// Which log.
        log: String,
        /// Which tile, or the head itself.
        path: String,
    },
    /// A receipt that is not in the log.
    #[error("{log}: the receipt is not among the {size} leaves that the head counts")]
    NotLogged {
        /// Which log.
        log: String,
        /// The head's size.
        size: u64,
    },
    /// Too few witnesses signed a head.
    #[error(
        "witnesses: {got} of {named} signed the head of {size}, {needed} must: {missing}: whether others are shown the same log is open"
    )]
    Witnesses {
        /// How many signed.
        got: usize,
        /// How many were named.
        named: usize,
        /// How many must.
        needed: usize,
        /// The head's size.
        size: u64,
        /// Those that did not.
        missing: String,
    },
    /// A witness that did not sign.
    #[error("witness {url}: {what}")]
    Cosign {
        /// Where it is.
        url: String,
        /// Why not.
        what: String,
        /// True if it saw what cannot be of one log with this.
        is_split: bool,
    },
    /// A proof of the AI chain.
    #[error("{path}: {source}", path = path.display())]
    Chain {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: LightError,
    },
    /// A genesis of the AI chain.
    #[error("{path}: {source}", path = path.display())]
    Genesis {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: GenesisError,
    },
    /// JSON in place of a file of the AI chain.
    #[error("{path}: expected the bytes, or JSON {{\"{name}\": \"lower-case hex\"}} and no other member", path = path.display())]
    ChainFile {
        /// Which file.
        path: PathBuf,
        /// The one member.
        name: &'static str,
    },
    /// Less than was asked for.
    #[error("account: balance: expected at least {expected} base units, got {got} after block {height}")]
    Balance {
        /// Asked for.
        expected: u128,
        /// There.
        got: u128,
        /// At which block.
        height: u64,
    },
    /// Nothing could be stapled.
    #[error(transparent)]
    Collateral(#[from] CollateralError),
    /// Something could not be had. There is at least one.
    #[error("{}", .0.iter().map(|m| format!("{}: {}", m.part, m.error)).collect::<Vec<_>>().join("; "))]
    Incomplete(Vec<Missing>),
}

impl CliError {
    pub(crate) fn chain(path: &std::path::Path, source: LightError) -> Self {
        Self::Chain {
            path: path.to_path_buf(),
            source,
        }
    }

    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "cli.usage",
            Self::Unrecognised { .. } => "evidence.unrecognised",
            Self::Io { .. } => "cli.io",
            Self::TooLarge { .. } => "cli.too_large",
            Self::NoState => "cli.no_state",
            Self::Policy { source, .. } => source.code(),
            Self::Document(_) => "document.malformed",
            Self::Verify(e) => e.code(),
            Self::Client(e) => e.code(),
            Self::Connect(e) => e.code(),
            Self::Status(e) => e.code(),
            Self::State(e) => e.code(),
            Self::Receipt(e) => e.code(),
            Self::Aci(e) => e.code(),
            Self::Altered { source, .. } => source.code(),
            Self::Forked { .. } => "receipt.forked",
            Self::LogFile { source, .. } => source.code(),
            Self::Log { source, .. } => source.code(),
            Self::Callers(e) => e.code(),
            Self::Order(e) => e.code(),
            Self::Exposed { .. } => "keys.exposed",
            Self::KeyFile { .. } => "keys.file",
            Self::Crypto(_) => "keys.crypto",
            Self::ReceiptLog { source, .. } => source.code(),
            Self::NoTile { .. } => "log.tile.missing",
            Self::NotLogged { .. } => "log.receipt.missing",
            Self::Witnesses { .. } => "log.witnesses",
            Self::Cosign { is_split: true, .. } => "log.witness.split",
            Self::Cosign { .. } => "log.witness.refused",
            Self::Chain { source, .. } => source.code(),
            Self::Genesis { source, .. } => source.code(),
            Self::ChainFile { .. } => "chain.file",
            Self::Balance { .. } => "account.balance",
            Self::Collateral(e) => e.code(),
            Self::Incomplete(missing) => missing.first().map_or("staple.incomplete", |m| m.error.code()),
        }
    }

    /// Exit code of DESIGN section 8.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Document(_) | Self::Unrecognised { .. } | Self::KeyFile { .. } | Self::ChainFile { .. } => 10,
            Self::Chain { source, .. } => chain_exit_code(source),
            Self::Genesis {
                source: GenesisError::Digest { .. },
                ..
            } => 30,
            Self::Genesis { .. } => 10,
            Self::Balance { .. } => 40,
            Self::Callers(e) => match e {
                CallersError::Signature => 20,
                CallersError::Over { .. } => 30,
                CallersError::Operator { .. } => 40,
                _ => 10,
            },
            Self::Verify(e) => e.exit_code(),
            Self::Client(e) => e.exit_code(),
            Self::Receipt(ReceiptError::Log(e)) if !matches!(e, LogError::Inclusion { .. }) => log_exit_code(e),
            Self::Receipt(e) | Self::Altered { source: e, .. } => match e.code() {
                "receipt.too_large" | "receipt.malformed" | "receipt.keys" => 10,
                code if code.starts_with("receipt.signature") => 20,
                _ => 30,
            },
            Self::Aci(e) => match e.code() {
                "aci.too_large" | "aci.malformed" | "aci.events" => 10,
                "aci.key" | "aci.signature" => 20,
                _ => 30,
            },
            Self::Forked { .. } => 30,
            Self::LogFile { source, .. } => log_exit_code(source),
            Self::Log { source, .. } => source.exit_code(),
            Self::ReceiptLog { source, .. } => source.exit_code(),
            Self::NoTile { .. } => 20,
            Self::NotLogged { .. } | Self::Witnesses { .. } | Self::Cosign { is_split: true, .. } => 30,
            Self::Collateral(e) => collateral_exit_code(e),
            Self::Incomplete(missing) => missing
                .iter()
                .map(|m| collateral_exit_code(&m.error))
                .max()
                .unwrap_or(1),
            _ => 1,
        }
    }

    /// The refusal of evidence behind this, if it is one.
    pub fn evidence(&self) -> Option<&VerifyError> {
        match self {
            Self::Verify(e) | Self::Client(ClientError::Attestation(e)) => Some(e),
            _ => None,
        }
    }

    /// The entry of a log that this is about.
    pub fn entry(&self) -> Option<u64> {
        match self {
            Self::Log {
                source,
                first_difference,
                ..
            } => first_difference.or_else(|| source.entry()),
            Self::ReceiptLog { source, .. } => source.leaf(),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Policy { source, .. } => Some(source.help()),
            Self::Collateral(e) => Some(e.help()),
            Self::Incomplete(missing) => missing.first().map(|m| m.error.help()),
            Self::Log { source, .. } if source.exit_code() == 30 => {
                Some("keep both: together they show that the log was changed after it was signed; ask its operator why")
            }
            Self::Log { .. } => Some(
                "export the log again at the broker; if the finding stays, what is there is not what the broker wrote down",
            ),
            Self::ReceiptLog { source, .. } => Some(match source.code() {
                "log.forked" | "log.rewritten" | "log.rolled_back" => {
                    "keep both heads: together they show that the log was changed after it was signed; ask its operator why"
                }
                _ => "keep what was read and the head; ask the guest's operator why",
            }),
            Self::NoTile { .. } => {
                Some("mirror the log again; a log that does not show its own tiles cannot be checked")
            }
            Self::NotLogged { .. } => {
                Some("a head that is newer than the receipt must count it: fetch one; if it still does not, keep both")
            }
            Self::Witnesses { .. } => Some(
                "get a cosigned head from the missing witness (--checkpoint); if it refuses to sign, it may have been shown another log: \
                 compare heads",
            ),
            Self::Cosign { is_split: true, .. } => Some(
                "keep this head and ask the witness for its own: two heads that do not extend one another prove two stories",
            ),
            Self::Cosign { .. } => {
                Some("check the witness's address and key (--witness), and that its keeper added this log")
            }
            Self::LogFile { .. } => {
                Some("take identity.json from whoever vouches for this broker, and the head from its own log")
            }
            Self::Chain { source, .. } => match source {
                LightError::Epoch { .. } | LightError::Step { .. } => Some(
                    "ask a node for a proof from the epoch of your set on, or give a newer set (--set) that an earlier run saved",
                ),
                LightError::Subject { .. } => Some("ask a node for the proof that this command checks"),
                _ => Some(
                    "keep the proof: whoever made it claims what the validators of this genesis did not sign; ask another node",
                ),
            },
            Self::Unrecognised { .. } => Some("check that the file is whole; --format says which format it is to be"),
            other => other.evidence().map(VerifyError::help),
        }
    }
}

fn chain_exit_code(e: &LightError) -> u8 {
    match e {
        LightError::Decode(_) | LightError::Set(_) | LightError::Subject { .. } | LightError::Terms(_) => 10,
        LightError::Finality(e) => match e {
            FinalityError::Decode(_) | FinalityError::View { .. } | FinalityError::Signers { .. } => 10,
            FinalityError::Network { .. } | FinalityError::Epoch { .. } => 30,
            FinalityError::Quorum { .. } | FinalityError::Signature { .. } | FinalityError::Ancestor { .. } => 20,
        },
        LightError::NotProven(_)
        | LightError::Nobody { .. }
        | LightError::Members { .. }
        | LightError::Inclusion { .. } => 20,
        LightError::Epoch { .. } | LightError::Step { .. } | LightError::NotAClaim | LightError::Receipt { .. } => 30,
    }
}

/// A head's: a signature that is wrong, a witness's too, is not authentic; the rest is malformed.
fn log_exit_code(e: &LogError) -> u8 {
    match e {
        LogError::Cosignature { .. } => 20,
        other => AuditError::Head(other.clone()).exit_code(),
    }
}

fn compared(first_difference: Option<u64>) -> String {
    first_difference.map_or_else(String::new, |entry| {
        format!("; the first entry that is another than in the earlier export is {entry}")
    })
}

fn collateral_exit_code(e: &CollateralError) -> u8 {
    match e.class() {
        Some(Class::Malformed) => 10,
        Some(Class::NotAuthentic) => 20,
        Some(Class::Unbound) => 30,
        Some(Class::Refused) => 40,
        None => 1,
    }
}
