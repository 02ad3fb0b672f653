//! Candidates as they are written, and the genesis that they make.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

use hanzo_attestation::Digest256;
use hanzo_chain_types::{Beginning, Candidate, ValidatorKeys, assemble, before_genesis};
use hanzo_ledger::{Address, Allocation, Canonical, Fixed, Params, TESTNET};

fn candidate(n: u8) -> Candidate {
    let owner = Fixed::new(&[n; 1952]).unwrap();
    Candidate {
        keys: ValidatorKeys {
            network: before_genesis(TESTNET),
            validator: Address::of(&owner),
            incarnation: 1,
            consensus: Fixed::new(&[n.wrapping_add(100); 1952]).unwrap(),
            channel: Fixed::new(&[n; 1216]).unwrap(),
        },
        owner,
        registrar: Fixed::new(&[n.wrapping_add(50); 1952]).unwrap(),
        address: format!("127.0.0.1:{n}"),
        evidence: vec![n; 20],
    }
}

fn beginning() -> Beginning {
    Beginning {
        id: TESTNET,
        time_ms: 1_800_000_000_000,
        max_supply: 1_000_000_000,
        treasury: 0,
        allocations: vec![Allocation {
            address: Address([7; 32]),
            amount: 5,
        }],
        stake: 100,
        params: Params {
            epoch_blocks: 20,
            block_interval_ms: 500,
            fee_min: 10,
            burn_bp: 2_000,
            factor_bp: [0; 5],
            rate: [0; 5],
            epoch_cap: [0; 5],
            miner_cap: 0,
            model_deposit: 5_000,
            hosting_burn_min: 0,
            unbond_epochs: 3,
            claim_age_s: 86_400,
            tier_min: 1,
            simulated_earns: true,
            committee_max: 20,
            committee_min: 4,
            stake_min: 100,
            slash_bp: 5_000,
            reporter_bp: 1_000,
            validator_tier_min: 2,
            simulated_votes: true,
        },
    }
}

#[test]
fn a_candidate_is_read_in_one_spelling_and_refused_in_every_other() {
    let good = candidate(1);
    let json = good.to_json().unwrap();
    assert_eq!(Candidate::parse(&json).unwrap(), good);
    let refused = |change: &dyn Fn(&mut Candidate)| {
        let mut other = good.clone();
        change(&mut other);
        Candidate::parse(&other.to_json().unwrap()).unwrap_err()
    };
    let field = |change: &dyn Fn(&mut Candidate), named: &str| {
        let refusal = refused(change);
        assert_eq!(refusal.code(), "chain.candidate.value", "{refusal}");
        assert!(refusal.to_string().contains(named), "{refusal}");
    };
    field(&|c| c.keys.incarnation = 2, "keys.incarnation");
    field(&|c| c.keys.network.genesis = Digest256([1; 32]), "keys.network.genesis");
    field(&|c| c.keys.validator = Address([9; 32]), "keys.validator");
    field(&|c| c.address.clear(), "address");
    field(&|c| c.evidence = vec![0; 96 * 1024 + 1], "evidence");
    let text = String::from_utf8(json).unwrap();
    for other in [
        text.replace("\"version\":1", "\"version\":1,\"x\":1"),
        text.replace("\"version\":1", "\"version\": 1"),
        text.replace("{", "{\"version\":1,"),
    ] {
        assert_eq!(
            Candidate::parse(other.as_bytes()).unwrap_err().code(),
            "chain.candidate.json"
        );
    }
    let cut = text.replace(&"65".repeat(1952), &"65".repeat(1951));
    assert_eq!(
        Candidate::parse(cut.as_bytes()).unwrap_err().code(),
        "ledger.decode.truncated"
    );
}

#[test]
fn four_candidates_make_a_genesis_and_three_or_one_twice_do_not() {
    let four: Vec<_> = [3, 1, 2, 4].map(candidate).into();
    let genesis = assemble(&four, beginning()).unwrap();
    assert_eq!(
        (genesis.validators.len(), genesis.registrars.len(), genesis.threshold),
        (4, 4, 2)
    );
    let backwards: Vec<_> = four.iter().rev().cloned().collect();
    assert_eq!(assemble(&backwards, beginning()).unwrap().digest(), genesis.digest());
    let code = |candidates: &[Candidate], change: &dyn Fn(&mut Beginning)| {
        let mut with = beginning();
        change(&mut with);
        assemble(candidates, with).unwrap_err().code()
    };
    assert_eq!(code(&four[..3], &|_| ()), "genesis.value");
    let twice = [candidate(1), candidate(1), candidate(2), candidate(3)];
    assert_eq!(code(&twice, &|_| ()), "ledger.decode.order");
    assert_eq!(code(&four, &|b| b.stake = 99), "genesis.value");
    assert_eq!(code(&four, &|b| b.id = 36_963), "chain.candidate.value");
}

#[test]
fn a_statement_is_of_one_network_validator_incarnation_and_keys() {
    let keys = candidate(1).keys;
    let data = keys.report_data().unwrap();
    assert_eq!(ValidatorKeys::from_bytes("keys", &keys.to_bytes(), 4096).unwrap(), keys);
    let differs = |change: &dyn Fn(&mut ValidatorKeys)| {
        let mut other = keys.clone();
        change(&mut other);
        assert_ne!(other.report_data().unwrap(), data);
        other.nonce() != keys.nonce()
    };
    assert!(differs(&|k| k.network.id = 36_963));
    assert!(differs(&|k| k.network.genesis = Digest256([1; 32])));
    assert!(differs(&|k| k.validator = Address([1; 32])));
    assert!(differs(&|k| k.incarnation = 2));
    assert!(!differs(&|k| k.consensus = Fixed::new(&[9; 1952]).unwrap()));
    assert!(!differs(&|k| k.channel = Fixed::new(&[9; 1216]).unwrap()));
}
