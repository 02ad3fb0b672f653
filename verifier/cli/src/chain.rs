//! `hanzo-verify finality|account|receipt-reward`: a light client of the AI chain. Offline; it trusts a genesis and nothing else.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use hanzo_attestation::Digest256;
use hanzo_chain_types::{FinalHeader, LightClient, LightProof, ValidatorSet};
use hanzo_client::receipts::ReceiptRecord;
use hanzo_ledger::{Address, Genesis, GenesisError};
use hanzo_verifier::receipt::{DisclosedReceipt, ReceiptError, SignedReceipt};
use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::output::{Output, shown};
use crate::{time, trust, write};

const FILES: &str = "Files are binary as enclave/chain/SPEC.md says, or JSON with one member of lower-case hex: {\"genesis\": …}, \
{\"validator_set\": …}, {\"light_proof\": …}. Nothing is contacted. Whether the block is the newest is not said: ask several nodes.\n\n\
Exit codes: 0 shown; 1 usage or I/O; 10 malformed; 20 not authentic; 30 of another chain, epoch or receipt; 40 not as expected.";

/// What a light client starts from.
#[derive(Debug, Clone, Args)]
pub struct ChainArgs {
    /// The chain's genesis: its network, rules and first validators.
    #[arg(long, value_name = "FILE")]
    pub genesis: PathBuf,
    /// The genesis that the network published: 64 lower-case hex digits.
    #[arg(long, value_name = "HEX")]
    pub genesis_digest: Option<String>,
    /// Start from this validator set, which an earlier run saved, in place of the genesis' first.
    #[arg(long, value_name = "FILE")]
    pub set: Option<PathBuf>,
    /// Write the newest validator set that the proof leads to here, for later runs.
    #[arg(long, value_name = "FILE")]
    pub save_set: Option<PathBuf>,
}

/// `finality`.
#[derive(Debug, Clone, Args)]
#[command(after_help = format!("Examples:\n  \
hanzo-verify finality block.proof --genesis genesis.bin --genesis-digest $DIGEST\n  \
hanzo-verify finality block.proof --genesis genesis.bin --set set.bin --save-set set.bin --json\n\n{FILES}"))]
pub struct FinalityArgs {
    /// The light proof.
    #[arg(value_name = "FILE")]
    pub proof: PathBuf,
    #[command(flatten)]
    /// What is trusted.
    pub chain: ChainArgs,
}

/// `account`.
#[derive(Debug, Clone, Args)]
#[command(after_help = format!("Examples:\n  \
hanzo-verify account 0x5b0c…e1 account.proof --genesis genesis.bin\n  \
hanzo-verify account 0x5b0c…e1 account.proof --genesis genesis.bin --balance 1000000 && deliver\n\n{FILES}"))]
pub struct AccountArgs {
    /// The account: 0x and 64 lower-case hex digits.
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// The light proof, with a proof of the account's entry.
    #[arg(value_name = "FILE")]
    pub proof: PathBuf,
    /// Exit with 40 if it has fewer base units than this.
    #[arg(long, value_name = "UNITS")]
    pub balance: Option<u128>,
    #[command(flatten)]
    /// What is trusted.
    pub chain: ChainArgs,
}

/// `receipt-reward`.
#[derive(Debug, Clone, Args)]
#[command(after_help = format!("Example:\n  \
hanzo-verify receipt-reward receipt.json reward.proof --genesis genesis.bin\n\n\
The final block holds the claim for exactly this receipt, so it was paid, and once. Whether the receipt is a genuine guest's: `receipt`.\n\n{FILES}"))]
pub struct ReceiptRewardArgs {
    /// The receipt file.
    #[arg(value_name = "RECEIPT")]
    pub receipt: PathBuf,
    /// The light proof, with the claim's transaction.
    #[arg(value_name = "FILE")]
    pub proof: PathBuf,
    #[command(flatten)]
    /// What is trusted.
    pub chain: ChainArgs,
}

/// A file of the chain: its bytes, or JSON whose one member is their hex.
fn document(path: &Path, name: &'static str) -> Result<Vec<u8>, CliError> {
    let bytes = trust::read(path)?;
    if bytes.first() != Some(&b'{') {
        return Ok(bytes);
    }
    let malformed = || CliError::ChainFile {
        path: path.to_path_buf(),
        name,
    };
    let members: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
    let text = members.get(name).and_then(Value::as_str).filter(|_| members.len() == 1);
    let text = text.filter(|text| !text.bytes().any(|b| b.is_ascii_uppercase()));
    hex::decode(text.ok_or_else(malformed)?).map_err(|_| malformed())
}

/// What the user trusts, and what is to be shown.
struct Loaded {
    genesis: Genesis,
    client: LightClient,
    proof: LightProof,
}

fn load(args: &ChainArgs, proof: &Path) -> Result<Loaded, CliError> {
    let of_genesis = |source| CliError::Genesis {
        path: args.genesis.clone(),
        source,
    };
    let genesis = Genesis::parse(&document(&args.genesis, "genesis")?).map_err(of_genesis)?;
    if let Some(text) = &args.genesis_digest {
        let expected = Digest256::from_hex(text).ok_or_else(|| CliError::Usage {
            option: "--genesis-digest",
            expected: "64 lower-case hex digits",
            got: text.clone(),
        })?;
        let got = genesis.digest();
        if expected != got {
            return Err(of_genesis(GenesisError::Digest { expected, got }));
        }
    }
    let client = match &args.set {
        None => LightClient::of_genesis(&genesis).map_err(|e| CliError::chain(&args.genesis, e))?,
        Some(path) => {
            let set = ValidatorSet::parse(&document(path, "validator_set")?);
            LightClient::of_set(genesis.network(), set.map_err(|e| CliError::chain(path, e.into()))?)
        }
    };
    let bytes = document(proof, "light_proof")?;
    let proof = LightProof::parse(&bytes).map_err(|e| CliError::chain(proof, e.into()))?;
    Ok(Loaded { genesis, client, proof })
}

/// The output of a proof that holds; `more` goes between block and rules.
fn done(args: &ChainArgs, loaded: &Loaded, block: &FinalHeader, more: (String, Value)) -> Result<Output, CliError> {
    let Loaded { genesis, client, proof } = loaded;
    let header = block.header();
    let signers = proof.certificate.signatures().count();
    let (epoch, view) = (proof.certificate.epoch, proof.certificate.view);
    let set = client.newest();
    if let (Some(path), Some(set)) = (&args.save_set, set) {
        write::atomic(path, &set.to_bytes())?;
    }
    let simulated = genesis.params.simulated_votes;
    let mut text = format!("FINAL: block {} of AI chain {}\n", header.height, genesis.id);
    if simulated {
        text.push_str(
            "SIMULATED: this network's validators may have simulated evidence; what is final here is worth nothing\n",
        );
    }
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    row("block", header.id().to_string());
    row("time", format!("{} by its header", time::show(header.time_ms / 1000)));
    row("genesis", genesis.digest().to_string());
    row("votes", format!("{signers} validators, in epoch {epoch}, view {view}"));
    row("handovers", format!("{} followed", proof.handovers.len()));
    text.push_str(&more.0);
    let mut json = json!({
        "accepted": true,
        "exit_code": 0,
        "error": null,
        "network": {"id": genesis.id, "genesis": genesis.digest().to_string(), "simulated": simulated},
        "block": {
            "height": header.height, "id": header.id().to_string(), "time_ms": header.time_ms,
            "state_root": header.state_root.to_string(), "epoch": epoch, "view": view, "votes": signers,
        },
        "set": set.map(|set| json!({"epoch": set.epoch(), "digest": set.digest().to_string(), "validators": set.validators().len()})),
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut json, more.1) {
        all.extend(more);
    }
    Ok(Output {
        text: shown(&text),
        json,
        exit_code: 0,
    })
}

pub(crate) fn finality(args: &FinalityArgs) -> Result<Output, CliError> {
    let mut loaded = load(&args.chain, &args.proof)?;
    let block = loaded.client.block(&loaded.proof);
    let block = block.map_err(|e| CliError::chain(&args.proof, e))?;
    done(&args.chain, &loaded, &block, (String::new(), json!({})))
}

pub(crate) fn account(args: &AccountArgs) -> Result<Output, CliError> {
    let address = Address::from_text(&args.address).ok_or_else(|| CliError::Usage {
        option: "ADDRESS",
        expected: "0x and 64 lower-case hex digits",
        got: args.address.clone(),
    })?;
    let mut loaded = load(&args.chain, &args.proof)?;
    let found = loaded.client.account(&loaded.proof, &address);
    let (block, account) = found.map_err(|e| CliError::chain(&args.proof, e))?;
    if let Some(expected) = args.balance.filter(|expected| account.balance < *expected) {
        return Err(CliError::Balance {
            expected,
            got: account.balance,
            height: block.header().height,
        });
    }
    let text = format!(
        "  {:<12} {address}\n  {:<12} {} base units after this block\n  {:<12} {}\n",
        "account", "balance", account.balance, "nonce", account.nonce
    );
    let json = json!({"account": {
        "address": address.to_string(), "balance": account.balance.to_string(), "nonce": account.nonce,
    }});
    done(&args.chain, &loaded, &block, (text, json))
}

pub(crate) fn receipt_reward(args: &ReceiptRewardArgs) -> Result<Output, CliError> {
    let receipt = receipt(&args.receipt)?;
    let mut loaded = load(&args.chain, &args.proof)?;
    let found = loaded.client.reward(&loaded.proof, &loaded.genesis, &receipt);
    let (block, paid) = found.map_err(|e| CliError::chain(&args.proof, e))?;
    let pay = paid.pay;
    let mut text = String::new();
    for (name, value) in [
        ("miner", paid.miner.to_string()),
        ("customer", paid.customer.to_string()),
        (
            "fee",
            format!("{} base units, {} of them back to the pool", pay.fee, pay.burned),
        ),
        ("reward", format!("{} base units from the pool", pay.reward)),
        ("transaction", paid.tx.to_string()),
    ] {
        let _ = writeln!(text, "  {name:<12} {value}");
    }
    let json = json!({"reward": {
        "miner": paid.miner.to_string(), "customer": paid.customer.to_string(), "fee": pay.fee.to_string(),
        "burned": pay.burned.to_string(), "reward": pay.reward.to_string(), "transaction": paid.tx.to_string(),
    }});
    done(&args.chain, &loaded, &block, (text, json))
}

/// The canonical bytes of a receipt, as a claim holds them: without salts.
fn receipt(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = trust::read(path)?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let signed = if let Ok(record) = ReceiptRecord::parse(bytes) {
        record.disclosed.without_salts()
    } else if let Ok(disclosed) = DisclosedReceipt::from_bytes(bytes) {
        disclosed.without_salts()
    } else {
        SignedReceipt::from_bytes(bytes).map_err(ReceiptError::from)?
    };
    Ok(signed.to_bytes()?)
}
