//! `hanzo chain init`: the folders of a development network.

use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_ledger::{MAINNET, admitted};
use hanzo_policy::{AllowList, AppraisalPolicy, PrivacyTier, TpmPolicy};
use hanzo_pqc::random;
use hanzo_signer::wallet::{Cipher, Cost};
use hanzo_signer::{MiningWallet, SecurityLevel};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::InitArgs;
use crate::output::{Output, table};
use crate::{ChainError, MakeProcessor, files};

/// Base units: all there will ever be on a development network.
const MAX_SUPPLY: u128 = 1_000_000_000_000_000;
/// What each validator has at stake.
const STAKE: u128 = 1_000_000;
/// What each account of the beginning has.
const ACCOUNT: u128 = 1_000_000_000;
/// RPC listens so many ports above links.
const RPC_PORTS: u16 = 100;

/// The passphrases here are 256 random bits: stretching them would only cost time.
const LEAST: Cost = Cost {
    memory_kib: 19_456,
    passes: 2,
    lanes: 1,
};

/// `chain.toml`: what the genesis says beside its validators. Amounts are decimal strings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    pub(crate) network: u64,
    pub(crate) epoch_blocks: u64,
    pub(crate) block_interval_ms: u64,
    pub(crate) max_supply: String,
    pub(crate) stake: String,
    /// Which evidence of validators counts: an appraisal policy. Paths are relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<PathBuf>,
    /// TPMs' attestation keys that count: SHA-256 of the SubjectPublicKeyInfo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tpm_keys: Vec<Digest256>,
    /// Root certificate (DER) of a simulator. With it simulated evidence votes and earns on this network; without it none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) simulator_root: Option<PathBuf>,
    #[serde(default, rename = "account")]
    pub(crate) accounts: Vec<PlannedAccount>,
}

/// An account of the beginning.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlannedAccount {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) amount: String,
}

/// `validator.toml`.
#[derive(Debug, Serialize)]
struct ValidatorFile {
    network: u64,
    listen: String,
    rpc: String,
    rpc_hosts: Vec<String>,
    evidence: &'static str,
    simulator: &'static str,
    policy: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tpm_keys: Vec<Digest256>,
    registrar: &'static str,
    peer: Vec<PeerEntry>,
}

#[derive(Debug, Clone, Serialize)]
struct PeerEntry {
    account: String,
    address: String,
}

fn failed(path: &Path) -> impl FnOnce(hanzo_signer::wallet::WalletError) -> ChainError {
    let path = path.to_path_buf();
    move |source| ChainError::Wallet { path, source }
}

/// 64 hex digits that nobody knows.
fn drawn(path: &Path) -> Result<Zeroizing<String>, ChainError> {
    let mut bytes = Zeroizing::new([0; 32]);
    random::fill(bytes.as_mut_slice()).map_err(|e| failed(path)(e.into()))?;
    Ok(Zeroizing::new(hex::encode(bytes.as_slice())))
}

/// Draws a wallet into a new file; returns its address.
fn wallet(path: &Path, passphrase: &str) -> Result<String, ChainError> {
    let wallet = MiningWallet::generate(SecurityLevel::MlDsa65).map_err(failed(path))?;
    let bytes = wallet.export_with(passphrase, Cipher::XChaCha20Poly1305, LEAST);
    let bytes = bytes.map_err(failed(path))?;
    files::write(path, &bytes, true)?;
    Ok(wallet.address())
}

fn passphrase(path: &Path) -> Result<Zeroizing<String>, ChainError> {
    let words = drawn(path)?;
    files::write(path, format!("{}\n", *words).as_bytes(), true)?;
    Ok(words)
}

fn toml_of(path: &Path, value: &impl Serialize) -> Result<String, ChainError> {
    toml::to_string(value).map_err(|e| ChainError::File {
        path: path.into(),
        expected: "what can be written as TOML",
        got: e.to_string(),
    })
}

/// The simulator's policy; where TPMs count, one of tier 1 that waits for the registers of their images.
fn policy(path: &Path, simulators: String, tpm_keys: &[Digest256]) -> Result<String, ChainError> {
    if tpm_keys.is_empty() {
        return Ok(simulators);
    }
    let wrong = |got: hanzo_policy::PolicyError| ChainError::File {
        path: path.into(),
        expected: "an appraisal policy",
        got: got.to_string(),
    };
    let mut policy = AppraisalPolicy::from_toml(simulators.as_bytes()).map_err(wrong)?;
    policy.minimum_tier = PrivacyTier::AtRest;
    let tpm = TpmPolicy {
        hardware: AllowList::Listed(tpm_keys.to_vec()),
        ..TpmPolicy::any_pinned(Vec::new())
    };
    policy.with_tpm(tpm).to_toml().map_err(wrong)
}

pub(crate) fn init(args: &InitArgs, processor: MakeProcessor) -> Result<Output, ChainError> {
    let n = args.validators;
    if !admitted(n) {
        return Err(ChainError::Usage {
            option: "--validators",
            expected: "4 to 15, 17, 18, 20, 21, 23, 24, 26, 27, 30, 33, 36, 39 or 42".into(),
            got: n.to_string(),
        });
    }
    if args.network == MAINNET {
        return Err(ChainError::Usage {
            option: "--network",
            expected: "another than the main network's, which takes no simulated evidence".into(),
            got: MAINNET.to_string(),
        });
    }
    let dir = &args.dir;
    if dir.join("chain.toml").exists() {
        return Err(ChainError::io("cannot make folder", dir)(
            std::io::ErrorKind::AlreadyExists.into(),
        ));
    }
    files::private_dir(dir)?;
    let own = passphrase(&dir.join("passphrase"))?;
    let mut accounts = Vec::new();
    for name in ["miner", "customer"] {
        accounts.push(PlannedAccount {
            name: name.into(),
            address: wallet(&dir.join(format!("{name}.wallet")), &own)?,
            amount: ACCOUNT.to_string(),
        });
    }
    let simulator = dir.join("simulator.bin");
    let made = processor().map_err(|got| ChainError::File {
        path: simulator.clone(),
        expected: "the key material of a simulated processor",
        got,
    })?;
    files::write(&simulator, &made.material, true)?;
    files::write(&dir.join("simulator.root.der"), &made.root, true)?;
    let path = dir.join("policy.toml");
    files::write(&path, policy(&path, made.policy, &args.tpm_keys)?.as_bytes(), true)?;
    let port = |base: u16, at: usize| base.saturating_add(u16::try_from(at).unwrap_or(u16::MAX));
    let mut peers = Vec::new();
    for at in 0..n {
        let folder = dir.join(at.to_string());
        files::private_dir(&folder)?;
        let own = passphrase(&folder.join("passphrase"))?;
        wallet(&folder.join("registrar.bin"), &own)?;
        peers.push(PeerEntry {
            account: wallet(&folder.join("wallet.bin"), &own)?,
            address: format!("127.0.0.1:{}", port(args.base_port, at)),
        });
    }
    let mut rows = vec![vec![
        "validator".to_owned(),
        "account".into(),
        "link".into(),
        "rpc".into(),
    ]];
    for (at, own) in peers.iter().enumerate() {
        let rpc = format!("127.0.0.1:{}", port(args.base_port.saturating_add(RPC_PORTS), at));
        let file = ValidatorFile {
            network: args.network,
            listen: own.address.clone(),
            rpc: rpc.clone(),
            rpc_hosts: Vec::new(),
            evidence: "simulated",
            simulator: "../simulator.bin",
            policy: "../policy.toml",
            tpm_keys: args.tpm_keys.clone(),
            registrar: "registrar.bin",
            peer: peers
                .iter()
                .filter(|peer| peer.account != own.account)
                .cloned()
                .collect(),
        };
        let path = dir.join(at.to_string()).join("validator.toml");
        files::write(&path, toml_of(&path, &file)?.as_bytes(), true)?;
        rows.push(vec![at.to_string(), own.account.clone(), own.address.clone(), rpc]);
    }
    let plan = Plan {
        network: args.network,
        epoch_blocks: args.epoch_blocks,
        block_interval_ms: 500,
        max_supply: MAX_SUPPLY.to_string(),
        stake: STAKE.to_string(),
        policy: Some("policy.toml".into()),
        tpm_keys: args.tpm_keys.clone(),
        simulator_root: Some("simulator.root.der".into()),
        accounts,
    };
    // Last: a folder without it was not finished.
    let path = dir.join("chain.toml");
    files::write(&path, toml_of(&path, &plan)?.as_bytes(), true)?;
    let mut text = table(&rows);
    for account in &plan.accounts {
        let name = &account.name;
        text.push_str(&format!(
            "{name}.wallet  {}  {} base units\n",
            account.address, account.amount
        ));
    }
    let shown = dir.display();
    text.push_str(&format!(
        "SIMULATED: a network for development; whatever it says is worth nothing\nnext  hanzo chain run {shown}\n"
    ));
    let json = json!({
        "dir": dir, "network": plan.network, "validators": peers.iter().map(|p| &p.account).collect::<Vec<_>>(),
        "accounts": plan.accounts,
    });
    Ok(Output::new(text, json))
}
