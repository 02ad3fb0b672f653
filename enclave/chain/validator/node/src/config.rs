//! `validator.toml`.

use std::path::{Path, PathBuf};

use std::sync::Arc;

use hanzo_attestation::Digest256;
use hanzo_ledger::Address;
use serde::Deserialize;

use crate::account::GivenAccount;
use crate::error::NodeError;
use crate::files::{self, GENESIS_FILE};

/// Longest configuration in bytes.
pub const CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// Longest root certificate in bytes.
const ROOT_BYTES_MAX: u64 = 16 * 1024;
/// Most pinned roots and keys of TPMs.
const PINS_MAX: usize = 64;
/// Name of the configuration in a validator's folder.
pub const CONFIG_FILE: &str = "validator.toml";

/// Where evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// This machine's security processor.
    Hardware,
    /// A simulator: on networks for tests.
    Simulated,
}

/// A validator that this one has links with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTable {
    /// `0x` and 64 hex digits.
    pub account: String,
    /// Host and port of its link.
    pub address: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    network: u64,
    listen: String,
    address: Option<String>,
    rpc: String,
    #[serde(default)]
    rpc_hosts: Vec<String>,
    evidence: EvidenceKind,
    simulator: Option<PathBuf>,
    policy: Option<PathBuf>,
    #[serde(default)]
    tpm_roots: Vec<PathBuf>,
    #[serde(default)]
    tpm_keys: Vec<Digest256>,
    endorsements: Option<PathBuf>,
    #[serde(default = "wallet")]
    wallet: PathBuf,
    registrar: Option<PathBuf>,
    #[serde(default = "passphrase")]
    passphrase: PathBuf,
    #[serde(default = "snapshot_behind")]
    snapshot_behind: u64,
    #[serde(default)]
    peer: Vec<PeerTable>,
}

fn wallet() -> PathBuf {
    "wallet.bin".into()
}

/// An hour of the main network's blocks: applying them takes longer than taking the state after them.
fn snapshot_behind() -> u64 {
    7_200
}

fn passphrase() -> PathBuf {
    "passphrase".into()
}

/// What is asked of evidence, as `hanzo-verify` reads it.
#[derive(Debug, Clone)]
pub enum Policy {
    /// A file, read at the start and at SIGHUP.
    File(PathBuf),
    /// A part of the measured text.
    Text(String),
}

/// Roots and keys that count beside the vendors'.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    /// Roots (DER) of TPMs.
    pub tpm_roots: Vec<Vec<u8>>,
    /// Attestation keys of TPMs: SHA-256 of the SubjectPublicKeyInfo.
    pub tpm_keys: Vec<Digest256>,
    /// Root (DER) of a simulator, of which evidence stays simulated.
    pub simulator_root: Option<Vec<u8>>,
}

/// Where the account's key is.
pub enum Keys {
    /// In files.
    Files {
        /// The account's wallet file.
        wallet: PathBuf,
        /// The wallet file of the key that endorses others; none: it endorses nobody.
        registrar: Option<PathBuf>,
        /// The passphrase of both, mode 0600.
        passphrase: PathBuf,
    },
    /// In memory. The validator registers itself, as nobody else can.
    Given {
        /// Its seed.
        account: Arc<GivenAccount>,
        /// What it puts at stake; none: the genesis' least.
        bond: Option<u128>,
    },
}

/// A validator's configuration. Paths are as the program opens them: relative ones are under the validator's folder.
pub struct Config {
    /// The validator's folder.
    pub dir: PathBuf,
    /// Number of the network.
    pub network: u64,
    /// Where links are taken.
    pub listen: String,
    /// Where others reach its link, if that is another address.
    pub address: Option<String>,
    /// Where RPC is answered. A loopback address, or one that a proxy guards.
    pub rpc: String,
    /// Names besides its own by which RPC may be asked, `name:port`.
    pub rpc_hosts: Vec<String>,
    /// Where evidence comes from.
    pub evidence: EvidenceKind,
    /// The simulator's material.
    pub simulator: Option<PathBuf>,
    /// What is asked of evidence, as `hanzo-verify` reads it.
    pub policy: Option<Policy>,
    /// What counts beside the vendors' roots.
    pub pins: Pins,
    /// Folder with the certificates of this machine's processor.
    pub endorsements: Option<PathBuf>,
    /// Where the account's key is.
    pub keys: Keys,
    /// The genesis' file.
    pub genesis: PathBuf,
    /// More blocks behind than this, it takes a final state in place of the blocks before it; 0: never.
    pub snapshot_behind: u64,
    /// With whom it has links.
    pub peers: Vec<(Address, String)>,
}

impl Config {
    /// Reads `validator.toml` of a folder.
    ///
    /// # Errors
    /// [`NodeError::File`]; [`NodeError::Value`] for unknown members, two peers of one account, and what else is out of bounds.
    pub fn load(dir: &Path) -> Result<Self, NodeError> {
        let path = dir.join(CONFIG_FILE);
        let bytes = files::read(&path, CONFIG_BYTES_MAX)?;
        let value = |field, expected: &str, got: String| NodeError::Value {
            path: path.clone(),
            field,
            expected: expected.to_owned(),
            got,
        };
        let text = std::str::from_utf8(&bytes).map_err(|e| value("text", "UTF-8", e.to_string()))?;
        let table: Table =
            toml::from_str(text).map_err(|e| value("TOML", "the members of enclave/chain/SPEC.md", e.to_string()))?;
        let mut peers = Vec::new();
        for peer in &table.peer {
            let account = Address::from_text(&peer.account)
                .ok_or_else(|| value("peer.account", "0x and 64 lower-case hex digits", peer.account.clone()))?;
            if peers.iter().any(|(held, _)| *held == account) {
                return Err(value("peer.account", "each account once", peer.account.clone()));
            }
            peers.push((account, peer.address.clone()));
        }
        let (evidence, got) = (table.evidence, |path: &Option<PathBuf>| format!("{path:?}"));
        match (evidence, &table.simulator, &table.policy) {
            (EvidenceKind::Hardware, None, Some(_)) | (EvidenceKind::Simulated, Some(_), _) => {}
            (EvidenceKind::Hardware, ..) => {
                return Err(value(
                    "policy",
                    "a policy file, and no simulator, for hardware evidence",
                    got(&table.policy),
                ));
            }
            (EvidenceKind::Simulated, ..) => {
                return Err(value(
                    "simulator",
                    "a simulator's file for simulated evidence",
                    got(&table.simulator),
                ));
            }
        }
        let at = |path: PathBuf| dir.join(path);
        let pinned = table.tpm_roots.len().max(table.tpm_keys.len());
        if pinned > PINS_MAX {
            return Err(value("tpm_roots, tpm_keys", "at most 64 of each", pinned.to_string()));
        }
        let roots = table
            .tpm_roots
            .into_iter()
            .map(|path| files::read(&at(path), ROOT_BYTES_MAX));
        let pins = Pins {
            tpm_roots: roots.collect::<Result<_, _>>()?,
            tpm_keys: table.tpm_keys,
            simulator_root: None,
        };
        Ok(Self {
            dir: dir.to_owned(),
            network: table.network,
            listen: table.listen,
            address: table.address,
            rpc: table.rpc,
            rpc_hosts: table.rpc_hosts,
            evidence,
            simulator: table.simulator.map(at),
            policy: table.policy.map(at).map(Policy::File),
            pins,
            endorsements: table.endorsements.map(at),
            keys: Keys::Files {
                wallet: at(table.wallet),
                registrar: table.registrar.map(at),
                passphrase: at(table.passphrase),
            },
            genesis: at(GENESIS_FILE.into()),
            snapshot_behind: table.snapshot_behind,
            peers,
        })
    }

    /// The folder from which it can be read again; none for one that was measured.
    pub fn readable(&self) -> Option<PathBuf> {
        match &self.keys {
            Keys::Files { .. } => Some(self.dir.clone()),
            Keys::Given { .. } => None,
        }
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}
