//! A validator whose configuration is a measured text and whose account's key came over a descriptor: what a guest's image runs.
//!
//! Its folder may be empty at each start: what it must know of the chain, the number of its next key above all, it reads from the chain
//! before it makes a key.

use std::sync::Arc;

use hanzo_ledger::{Address, Genesis};

use crate::account::GivenAccount;
use crate::config::{Config, EvidenceKind, Keys, Pins, Policy};
use crate::error::NodeError;
use crate::observer::Files;

/// Reads and checks both files against each other and against the chain's rules.
///
/// # Errors
/// [`NodeError`]: an observer's configuration, another chain's genesis, a simulator's root where the genesis lets no simulated evidence
/// vote, a tier with which nobody votes there.
pub fn load(files: &Files, account: GivenAccount) -> Result<Config, NodeError> {
    let (config, genesis) = files.read()?;
    let it = config
        .validator()
        .map_err(|e| NodeError::part("validator", e.code(), format!("{}: {e}", files.config.display())))?;
    check(files, it, &genesis)?;
    let mut peers = Vec::new();
    for peer in &it.peers {
        let account = Address::from_text(&peer.account).ok_or_else(|| NodeError::Value {
            path: files.config.clone(),
            field: "peer.account",
            expected: "0x and 64 lower-case hex digits".into(),
            got: peer.account.clone(),
        })?;
        peers.push((account, peer.address.to_string()));
    }
    Ok(Config {
        dir: files.dir.clone(),
        network: config.network,
        listen: it.listen.to_string(),
        address: Some(it.address.clone()),
        rpc: config.rpc.to_string(),
        rpc_hosts: config.rpc_hosts.clone(),
        evidence: EvidenceKind::Hardware,
        simulator: None,
        policy: Some(Policy::Text(it.policy.clone())),
        pins: Pins {
            tpm_roots: it.tpm_roots.clone(),
            tpm_keys: it.tpm_keys.clone(),
            simulator_root: it.simulator_root.clone(),
        },
        endorsements: None,
        keys: Keys::Given {
            account: Arc::new(account),
            bond: it.bond,
        },
        genesis: files.genesis.clone(),
        snapshot_behind: it.snapshot_behind,
        peers,
    })
}

fn check(files: &Files, it: &hanzo_init::node::Validating, genesis: &Genesis) -> Result<(), NodeError> {
    let value = |field, expected: String, got: String| NodeError::Value {
        path: files.config.clone(),
        field,
        expected,
        got,
    };
    if it.simulator_root.is_some() && !genesis.params.simulated_votes {
        let expected = "none: this chain\u{2019}s genesis (simulated_votes) lets no simulated evidence vote";
        return Err(value("simulator_root", expected.into(), "one".into()));
    }
    let least = genesis.params.validator_tier_min;
    if it.required_tier < least {
        let expected = format!("{least} or more: this chain\u{2019}s genesis (validator_tier_min) takes no vote below");
        return Err(value("required_tier", expected, it.required_tier.to_string()));
    }
    Ok(())
}
