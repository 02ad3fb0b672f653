//! The AI chain's bytes: what any peer or node sends, and blocks of what any account asks for.

#[path = "../../../enclave/chain/types/tests/support/light.rs"]
mod light;

use std::sync::LazyLock;

use hanzo_chain_types::{Assembly, FinalityCertificate, LightClient, LightProof, Offer, Subject, ValidatorSet};
use hanzo_ledger::snapshot::Cut;
use hanzo_ledger::{
    Action, Block, Canonical, Genesis, KEY_BYTES_MAX, Key, Proof, SignedTx, TX_BYTES_MAX, VALUE_BYTES_MAX, Value,
};
use light::fixture::{User, user};
use light::{Told, told};

static TOLD: LazyLock<Told> = LazyLock::new(told);

/// The state after the newest block in a few parts.
static CUT: LazyLock<Cut> = LazyLock::new(|| TOLD.w.state.clone().cut(8_000).expect("a short state"));

/// Every decoder; what is read has one spelling.
pub fn ledger(data: &[u8]) {
    fn same<T: Canonical, E>(read: Result<T, E>, data: &[u8]) {
        if let Ok(value) = read {
            assert_eq!(value.to_bytes(), data, "a second spelling");
        }
    }
    same(SignedTx::parse(data), data);
    same(Block::parse(data), data);
    same(Genesis::parse(data), data);
    same(Proof::parse(data), data);
    same(Key::from_bytes("key", data, KEY_BYTES_MAX), data);
    same(Value::from_bytes("value", data, VALUE_BYTES_MAX), data);
    same(FinalityCertificate::parse(data), data);
    same(LightProof::parse(data), data);
    if let Ok(set) = ValidatorSet::parse(data) {
        assert_eq!(set.to_bytes(), data, "a second spelling");
    }
}

/// A first byte that says who, then an action; it is signed, verified and applied, and no money comes or goes.
pub fn ledger_apply(data: &[u8]) {
    let told = &*TOLD;
    let Some((who, action)) = data.split_first() else {
        return;
    };
    let Ok(action) = Action::from_bytes("action", action, TX_BYTES_MAX) else {
        return;
    };
    let state = &told.w.state;
    let who: &User = &told.w.users[usize::from(*who) % told.w.users.len()];
    let tx = who.tx(state.network(), state.account(&who.address).nonce, action);
    let Ok(tx) = tx.verify(state) else { return };
    let root = state.root();
    let proposal = state.propose(who.address, state.head().time_ms + 500, [tx]);
    let proposal = proposal.expect("there can be a block");
    let applied = state.apply(&proposal.block).expect("what was proposed applies");
    assert_eq!(applied.root(), proposal.applied.root());
    assert_eq!(applied.supply().total(), Some(state.genesis().max_supply));
    assert_eq!(state.root(), root, "the state before stays");
}

/// A light proof for a client that has the genesis.
pub fn light_proof(data: &[u8]) {
    let told = &*TOLD;
    let Ok(proof) = LightProof::parse(data) else { return };
    let genesis = told.w.state.genesis();
    let client = || LightClient::of_genesis(genesis).expect("a genesis");
    let account = client().account(&proof, &told.w.users[1].address);
    if let Ok((_, account)) = account {
        assert_eq!(account.balance, told.w.balance(1), "a balance that nobody has");
    }
    if let Ok((_, paid)) = client().reward(&proof, genesis, &told.receipt) {
        assert_eq!(paid.pay.reward, 160, "a reward that nobody had");
    }
}

fn offer() -> Offer {
    Offer {
        certificate: TOLD.certificate.clone(),
        headers: hanzo_ledger::List::default(),
        plan: CUT.plan().clone(),
    }
}

/// An offer of a state; changes to one, a place in two bytes and what is added to the byte there; or a first byte that says which
/// part of one and the part: nothing but the truth is believed.
pub fn snapshot(data: &[u8]) {
    let told = &*TOLD;
    let mut client = LightClient::of_genesis(told.w.state.genesis()).expect("a genesis");
    client.follow(&told.handover).expect("a handover");
    if let Ok(offer) = Offer::parse(data) {
        assert_eq!(offer.to_bytes(), data, "a second spelling");
        // Whether it is true is no question here: signatures are drawn anew in every process, so that a committed offer, certified
        // by the same keys, is of another chain.
        let _ = Assembly::begin(offer, &client);
    }
    let mut bytes = offer().to_bytes();
    for change in data.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        bytes[place] = bytes[place].wrapping_add(change[2]);
    }
    if let Ok(Ok(assembly)) = Offer::parse(&bytes).map(|offer| Assembly::begin(offer, &client)) {
        let header = assembly.header();
        let block = told.w.blocks.iter().find(|block| block.header == *header);
        assert!(block.is_some(), "a block that nobody made");
    }
    let Some((part, bytes)) = data.split_first() else {
        return;
    };
    let mut assembly = Assembly::begin(offer(), &client).expect("an offer");
    if assembly.take(u16::from(*part), bytes).is_ok() {
        assert_eq!(
            CUT.part(u16::from(*part)).as_deref(),
            Some(bytes),
            "a part that is not the state's"
        );
    }
}

/// What the targets start from.
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let told = &*TOLD;
    let w = &told.w;
    let mut out = Vec::new();
    for (n, block) in w.blocks.iter().filter(|b| !b.txs.is_empty()).enumerate() {
        out.push(("ledger", format!("block-{n}"), block.to_bytes()));
        for (at, tx) in block.txs.iter().enumerate() {
            let who = w.users.iter().position(|user| user.public == tx.tx.sender);
            let mut bytes = vec![who.unwrap_or(0) as u8];
            tx.tx.action.write(&mut bytes);
            out.push(("ledger_apply", format!("action-{n}-{at}"), bytes));
        }
    }
    let owner = user(1).address;
    for (name, action) in [
        ("bond", Action::Bond(hanzo_ledger::Amount { amount: 500 })),
        ("leave", Action::LeaveValidators(hanzo_ledger::Nothing {})),
        (
            "report",
            light::fixture::conflict(
                &w.network(),
                &told.keys[0],
                hanzo_ledger::Vote::Finalize(light::fixture::ballot(7, 1)),
                hanzo_ledger::Vote::Nullify(hanzo_ledger::Skipped { epoch: 0, view: 7 }),
            ),
        ),
        (
            "register",
            Action::RegisterValidator(hanzo_ledger::RegisterValidator {
                bond: light::fixture::STAKE,
                key: light::fixture::new_key(&w.network(), &owner, &user(401), 1, &w.registrars),
            }),
        ),
    ] {
        let mut bytes = vec![1];
        action.write(&mut bytes);
        out.push(("ledger_apply", name.to_owned(), bytes));
    }
    out.push(("ledger", "genesis".to_owned(), w.state.genesis().to_bytes()));
    let account = Key::Account(w.users[1].address);
    out.push(("ledger", "proof".to_owned(), w.state.prove(&account).to_bytes()));
    out.push(("ledger", "certificate".to_owned(), told.certificate.to_bytes()));
    out.push(("snapshot", "offer".to_owned(), offer().to_bytes()));
    for part in 0..CUT.plan().parts().len().min(3) as u16 {
        let bytes = CUT.part(part).expect("a part");
        out.push(("snapshot", format!("part-{part}"), [&[part as u8][..], &bytes].concat()));
    }
    out.push(("light_proof", "account".to_owned(), told.account(1).to_bytes()));
    out.push(("light_proof", "reward".to_owned(), told.reward.to_bytes()));
    out.push(("light_proof", "block".to_owned(), told.light(Subject::Block).to_bytes()));
    out
}
