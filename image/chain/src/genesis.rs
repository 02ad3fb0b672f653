//! `hanzo chain genesis`: what a chain starts from, out of its validators' candidates.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hanzo_chain_types::{Beginning, CANDIDATE_BYTES_MAX, Candidate, CandidateError, assemble};
use hanzo_ledger::{Allocation, Canonical, Genesis, Params};
use serde_json::json;

use crate::appraise::{Appraised, Evidence};
use crate::args::GenesisArgs;
use crate::init::Plan;
use crate::output::{Output, table};
use crate::prove::address;
use crate::{ChainError, files, spread};

/// Rules of a network for development: rewards are small. Simulated evidence counts where the plan names its root, and nowhere else.
fn params(plan: &Plan, validators: usize) -> Params {
    Params {
        epoch_blocks: plan.epoch_blocks,
        block_interval_ms: plan.block_interval_ms,
        fee_min: 10,
        burn_bp: 2_000,
        factor_bp: [9_000, 9_000, 0, 2_000, 8_000],
        rate: [2, 50, 1_000_000, 500, 3],
        epoch_cap: [1_000_000_000; 5],
        miner_cap: 1_000_000_000,
        model_deposit: 5_000,
        hosting_burn_min: 100,
        unbond_epochs: 3,
        claim_age_s: 86_400,
        tier_min: 1,
        simulated_earns: plan.simulator_root.is_some(),
        committee_max: u16::try_from(validators).unwrap_or(u16::MAX),
        committee_min: 4,
        stake_min: 1_000,
        slash_bp: 2_500,
        reporter_bp: 1_000,
        validator_tier_min: 1,
        simulated_votes: plan.simulator_root.is_some(),
    }
}

fn amount(path: &Path, text: &str) -> Result<u128, ChainError> {
    text.parse().map_err(|_| ChainError::File {
        path: path.into(),
        expected: "amounts as decimal strings",
        got: text.chars().take(60).collect(),
    })
}

/// Reads `chain.toml`.
pub(crate) fn plan(dir: &Path) -> Result<Plan, ChainError> {
    let path = dir.join("chain.toml");
    let text = files::text(&path)?;
    toml::from_str(&text).map_err(|e| ChainError::File {
        path,
        expected: "what `hanzo chain init` writes",
        got: e.to_string(),
    })
}

fn of(path: &Path) -> impl FnOnce(CandidateError) -> ChainError {
    let path = path.to_path_buf();
    move |e| ChainError::Candidate {
        path,
        text: e.to_string(),
        code: e.code(),
    }
}

/// Reads a `candidate.json`.
pub(crate) fn candidate(path: &Path) -> Result<Candidate, ChainError> {
    Candidate::parse(&files::read(path, CANDIDATE_BYTES_MAX)?).map_err(of(path))
}

/// Appraises the candidates' evidence, puts the genesis together and writes it into the folder and each validator's. One that some of
/// them have already is the one that all get, if it is of these candidates and rules.
pub(crate) fn begin(dir: &Path) -> Result<(Genesis, Vec<Appraised>), ChainError> {
    let plan = plan(dir)?;
    let evidence = Evidence::of(dir, &plan)?;
    let found = spread::found(dir)?;
    let mut waiting = Vec::new();
    for folder in files::validators(dir) {
        let path = folder.join("candidate.json");
        let candidate = candidate(&path)?;
        waiting.push((path, candidate));
    }
    let rules = params(&plan, waiting.len());
    let mut appraised = Vec::new();
    for (path, candidate) in &waiting {
        appraised.push(evidence.admits(path, &candidate.evidence, &candidate.keys, &rules)?);
    }
    let config = dir.join("chain.toml");
    let mut allocations = Vec::new();
    for account in &plan.accounts {
        allocations.push(Allocation {
            address: address("chain.toml: account.address", &account.address)?,
            amount: amount(&config, &account.amount)?,
        });
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis());
    let beginning = Beginning {
        id: plan.network,
        time_ms: match &found {
            Some(found) => found.genesis.time_ms,
            None => u64::try_from(now).unwrap_or(0),
        },
        max_supply: amount(&config, &plan.max_supply)?,
        treasury: 0,
        allocations,
        stake: amount(&config, &plan.stake)?,
        params: rules,
    };
    let candidates: Vec<_> = waiting.iter().map(|(_, candidate)| candidate.clone()).collect();
    let genesis = assemble(&candidates, beginning).map_err(of(dir))?;
    let bytes = genesis.to_bytes();
    if let Some(found) = found.filter(|found| found.bytes != bytes) {
        return Err(found.is_of_others(dir, &waiting));
    }
    spread::spread(dir, &bytes)?;
    Ok((genesis, appraised))
}

pub(crate) fn genesis(args: &GenesisArgs) -> Result<Output, ChainError> {
    let own = args.dir.join("genesis.bin");
    if own.is_file() {
        return Err(ChainError::io("cannot write", own)(
            std::io::ErrorKind::AlreadyExists.into(),
        ));
    }
    let (genesis, appraised) = begin(&args.dir)?;
    let least = appraised.iter().map(|found| found.tier).min().unwrap_or(0);
    let simulated = appraised.iter().any(|found| found.simulated);
    let digest = genesis.digest().to_string();
    let rows: Vec<_> = genesis
        .validators
        .iter()
        .map(|v| vec![v.owner.to_string(), v.stake.to_string()])
        .collect();
    let text = format!(
        "{}  genesis {digest} of network {}\n{}evidence of {} candidates appraised: tier {least} at least{}\n",
        own.display(),
        genesis.id,
        table(&rows),
        appraised.len(),
        match simulated {
            true => "\nSIMULATED: a network for development; whatever it says is worth nothing",
            false => "",
        },
    );
    Ok(Output::new(
        text,
        json!({"file": own, "digest": digest, "network": genesis.id, "validators": rows.len(), "tier": least, "simulated": simulated}),
    ))
}
