//! A node that went on from a snapshot: what it does not have is named, what comes after is answered as ever.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "support/node.rs"]
mod node;

use hanzo_chain_rpc::ServerConfig;
use hanzo_chain_rpc::calls::*;
use hanzo_chain_rpc::client::CallError;
use node::{late, serving};

fn code<T: std::fmt::Debug>(answer: Result<T, CallError>) -> (i64, String) {
    match answer.unwrap_err() {
        CallError::Refused { number, code, .. } => (number, code),
        other => panic!("{other}"),
    }
}

#[test]
fn what_was_before_a_snapshot_is_refused_by_name_and_what_came_after_is_answered() {
    let server = serving(late(), ServerConfig::default());
    let status = server.ask(Status {}).unwrap();
    let base = status.base.unwrap();
    assert!(1 < base && base < status.height);
    assert_eq!(status.state_root, server.told.w.state.root().to_string());
    let pruned = (-32001, "mining.pruned".to_owned());
    let none = (-32001, "rpc.none".to_owned());
    let block = |height| GetBlock {
        height: Some(height),
        id: None,
    };
    for height in [1, base] {
        assert_eq!(code(server.ask(block(height))), pruned, "{height}");
    }
    assert_eq!(server.ask(block(base + 1)).unwrap().height, base + 1);
    assert_eq!(code(server.ask(block(status.height + 1))), none);
    let blocks = |from| GetBlocks {
        from: Some(from),
        count: Some(50),
    };
    let heights: Vec<_> = server
        .ask(blocks(status.height))
        .unwrap()
        .iter()
        .map(|b| b.height)
        .collect();
    assert_eq!(heights, (base + 1..=status.height).rev().collect::<Vec<_>>());
    assert_eq!(code(server.ask(blocks(base))), pruned);
    let transaction = GetTransaction {
        id: Some(server.told.w.blocks[1].txs[0].tx.digest().to_string()),
    };
    assert_eq!(code(server.ask(transaction)), pruned);
    let proof = |height| GetProof {
        kind: Some("block".into()),
        height: Some(height),
        from_epoch: Some(2),
        ..GetProof::default()
    };
    assert_eq!(code(server.ask(proof(base))), pruned);
    assert_eq!(server.ask(proof(base + 1)).unwrap().height, base + 1);
    // A stream ends with the same code; an account is what it is everywhere.
    let account = GetAccount {
        address: Some(server.told.w.users[1].address.to_string()),
    };
    assert_eq!(
        server.ask(account).unwrap().balance,
        server.told.w.balance(1).to_string()
    );
}
