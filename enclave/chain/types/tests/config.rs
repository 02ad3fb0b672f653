//! Configurations that run, and their neighbours that do not.

use hanzo_chain_types::{ConfigError, ConsensusConfig, ConsensusMode};
use hanzo_ledger::{Genesis, List, NetworkKind, Params};

fn genesis(id: u64) -> Genesis {
    Genesis {
        kind: NetworkKind::AiChain,
        id,
        time_ms: 1_800_000_000_000,
        max_supply: 1_000_000,
        treasury: 0,
        allocations: List::default(),
        validators: List::default(),
        registrars: List::default(),
        threshold: 0,
        params: Params {
            epoch_blocks: 120,
            block_interval_ms: 500,
            fee_min: 1,
            burn_bp: 0,
            factor_bp: [0; 5],
            rate: [0; 5],
            epoch_cap: [0; 5],
            miner_cap: 0,
            model_deposit: 0,
            hosting_burn_min: 0,
            unbond_epochs: 1,
            claim_age_s: 1,
            tier_min: 1,
            simulated_earns: false,
            committee_max: 20,
            committee_min: 4,
            stake_min: 0,
            slash_bp: 0,
            reporter_bp: 0,
            validator_tier_min: 1,
            simulated_votes: false,
        },
    }
}

#[test]
fn the_networks_run_on_their_own_genesis_alone() {
    let main = ConsensusConfig::ai_chain_mainnet();
    let test = ConsensusConfig::ai_chain_testnet();
    assert_eq!((main.network_id, test.network_id), (36963, 36964));
    assert_eq!((main.block_interval_ms, &main.mode), (500, &ConsensusMode::Embedded));
    main.check(&genesis(36963)).unwrap();
    test.check(&genesis(36964)).unwrap();
    let refused = main.check(&genesis(36964)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "consensus: network_id: expected 36964, as the genesis says, got 36963"
    );
    assert_eq!(refused.code(), "chain.config");
}

#[test]
fn a_value_out_of_its_bounds_is_named() {
    let field = |change: fn(&mut ConsensusConfig)| {
        let mut config = ConsensusConfig::ai_chain_testnet();
        change(&mut config);
        match config.check(&genesis(36964)) {
            Ok(()) => None,
            Err(ConfigError::Value { field, .. }) => Some(field),
        }
    };
    assert_eq!(field(|_| ()), None);
    assert_eq!(field(|c| c.block_interval_ms = 499), Some("block_interval_ms"));
    assert_eq!(field(|c| c.block_interval_ms = 501), Some("block_interval_ms"));
    assert_eq!(field(|c| c.clock_ahead_ms = 60_001), Some("clock_ahead_ms"));
    assert_eq!(field(|c| c.leader_timeout_ms = 500), Some("leader_timeout_ms"));
    assert_eq!(
        field(|c| c.certification_timeout_ms = 1_000),
        Some("certification_timeout_ms")
    );
    assert_eq!(field(|c| c.retry_ms = 0), Some("retry_ms"));
}
