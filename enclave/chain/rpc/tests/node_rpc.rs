//! Everything a node is asked, over real sockets; the nearest wrong question is refused by name.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "support/node.rs"]
mod node;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use hanzo_attestation::Digest256;
use hanzo_chain_rpc::calls::*;
use hanzo_chain_rpc::client::CallError;
use hanzo_chain_rpc::{REQUEST_BYTES_MAX, ServerConfig};
use hanzo_chain_types::{LightClient, LightProof};
use hanzo_ledger::*;
use node::light::fixture::*;
use node::{Server, server};

fn code<T: std::fmt::Debug>(answer: Result<T, CallError>) -> (i64, String) {
    match answer.unwrap_err() {
        CallError::Refused { number, code, .. } => (number, code),
        other => panic!("{other}"),
    }
}

fn proof_of(view: &ProofView) -> LightProof {
    LightProof::parse(&hex::decode(&view.light_proof).unwrap()).unwrap()
}

fn light(server: &Server) -> LightClient {
    LightClient::of_genesis(&server.told.genesis()).unwrap()
}

#[test]
fn what_a_node_says_of_its_chain_is_what_the_ledger_holds() {
    let server = server(ServerConfig::default());
    let state = &server.told.w.state;
    let status = server.ask(Status {}).unwrap();
    assert_eq!(
        (status.height, &status.state_root),
        (state.head().height, &state.root().to_string())
    );
    assert_eq!((status.epoch, status.certified), (2, Some(status.height)));
    let genesis = server.ask(GetGenesis {}).unwrap();
    let read = Genesis::parse(&hex::decode(genesis.genesis).unwrap()).unwrap();
    assert_eq!((read.digest().to_string(), &read), (genesis.digest, state.genesis()));

    // Block 2 by height and by id: the one with the paid answer.
    let by_height = GetBlock {
        height: Some(2),
        id: None,
    };
    let block = server.ask(by_height).unwrap();
    let by_id = GetBlock {
        height: None,
        id: Some(block.id.clone()),
    };
    assert_eq!(server.ask(by_id).unwrap(), block);
    assert_eq!(block.transactions.len(), 5);
    let paid = block.transactions[3].clone();
    assert_eq!(paid.kind, "claim.inference_serving");
    let reward = paid.reward.unwrap();
    assert_eq!((&*reward.fee, &*reward.burned, &*reward.reward), ("1000", "200", "160"));
    assert_eq!(paid.expires, u64::MAX.to_string());
    // A block without a certificate of its own names that of the next.
    let third = (status.height - 1) / 3 * 3;
    let block = server
        .ask(GetBlock {
            height: Some(third),
            id: None,
        })
        .unwrap();
    assert_eq!(block.certificate.map(|c| (c.height, c.votes)), Some((third + 1, 3)));
    let newest = server
        .ask(GetBlocks {
            from: None,
            count: Some(3),
        })
        .unwrap();
    let heights: Vec<_> = newest.iter().map(|b| b.height).collect();
    assert_eq!(heights, [status.height, status.height - 1, status.height - 2]);

    let user = state_user(&server, 1);
    let account = server
        .ask(GetAccount {
            address: Some(user.to_string()),
        })
        .unwrap();
    assert_eq!(account.balance, server.told.w.balance(1).to_string());
    let supply = server.ask(GetSupply {}).unwrap();
    let parts = [
        &supply.pool,
        &supply.treasury,
        &supply.accounts,
        &supply.escrows,
        &supply.deposits,
    ];
    let sum: u128 = parts.iter().map(|part| part.parse::<u128>().unwrap()).sum();
    assert_eq!(sum.to_string(), supply.max_supply);

    // Every epoch's committee: of the genesis, of a handover, of the state.
    for epoch in 0..=3 {
        let set = server.ask(GetValidators { epoch: Some(epoch) }).unwrap();
        assert_eq!((set.epoch, set.quorum, set.members.len()), (epoch, 3, 4));
        let rotated = key_digest(&user_key(400)).to_string();
        assert_eq!(set.members.iter().any(|m| m.key == rotated), epoch >= 2);
    }
    let key = Key::Miner(state_user(&server, 0));
    let entry = server
        .ask(GetEntry {
            key: Some(hex::encode(key.to_bytes())),
        })
        .unwrap();
    let value = hex::decode(entry.value.unwrap()).unwrap();
    let value = Value::from_bytes("value", &value, VALUE_BYTES_MAX).unwrap();
    assert_eq!(Some(&value), state.entries().get(&key));
}

fn state_user(server: &Server, who: usize) -> Address {
    server.told.w.users[who].address
}

fn user_key(n: u16) -> PublicKey {
    user(n).public
}

#[test]
fn its_light_proofs_convince_a_client_that_has_the_genesis_alone() {
    let server = server(ServerConfig::default());
    let address = state_user(&server, 1);
    let account = GetProof {
        kind: Some("account".into()),
        address: Some(address.to_string()),
        ..GetProof::default()
    };
    let view = server.ask(account.clone()).unwrap();
    let (block, shown) = light(&server).account(&proof_of(&view), &address).unwrap();
    assert_eq!(
        (shown.balance, block.header().height),
        (server.told.w.balance(1), view.height)
    );
    // Whoever saved the set of epoch 2 needs no handover.
    let short = GetProof {
        from_epoch: Some(2),
        ..account
    };
    let view = server.ask(short).unwrap();
    assert!(proof_of(&view).handovers.is_empty());

    // The paid answer: its block has no certificate any more that is nearer than the next kept one.
    let id = server
        .ask(GetBlock {
            height: Some(2),
            id: None,
        })
        .unwrap()
        .transactions[3]
        .id
        .clone();
    let paid = GetProof {
        kind: Some("transaction".into()),
        id: Some(id),
        ..GetProof::default()
    };
    let view = server.ask(paid).unwrap();
    let genesis = server.told.genesis();
    let (block, reward) = light(&server)
        .reward(&proof_of(&view), &genesis, &server.told.receipt)
        .unwrap();
    assert_eq!((block.header().height, reward.pay.reward), (2, 160));

    for height in [1, 3, 9, 10, 11, server.told.w.state.head().height] {
        let call = GetProof {
            kind: Some("block".into()),
            height: Some(height),
            ..GetProof::default()
        };
        let view = server.ask(call).unwrap();
        let block = light(&server).block(&proof_of(&view)).unwrap();
        assert_eq!(*block.header(), server.told.w.blocks[height as usize - 1].header);
    }

    // Nearest wrong ones.
    let wrong = |call: GetProof| code(server.ask(call));
    let kind = |kind: &str| GetProof {
        kind: Some(kind.into()),
        ..GetProof::default()
    };
    assert_eq!(wrong(kind("header")), (-32602, "rpc.params".into()));
    assert_eq!(wrong(GetProof::default()), (-32602, "rpc.params".into()));
    assert_eq!(
        wrong(GetProof {
            height: Some(900),
            ..kind("block")
        }),
        (-32001, "rpc.none".into())
    );
    let both = GetProof {
        height: Some(2),
        address: Some(address.to_string()),
        ..kind("account")
    };
    assert_eq!(wrong(both), (-32602, "rpc.params".into()));
}

#[test]
fn a_transaction_is_taken_waits_and_stands_in_a_block_and_its_twins_are_refused_by_the_ledgers_code() {
    let server = server(ServerConfig::default());
    let w = &server.told.w;
    let (network, nonce) = (w.network(), w.nonce(2));
    let submit = |tx: &SignedTx| {
        server.ask(Submit {
            transaction: Some(hex::encode(tx.to_bytes())),
        })
    };
    let tx = w.users[2].tx(&network, nonce, transfer(&w.users[3], 5));
    let id = submit(&tx).unwrap().id;
    assert_eq!(id, tx.tx.digest().to_string());
    let asked = GetTransaction { id: Some(id.clone()) };
    assert!(server.ask(asked.clone()).unwrap().pending);
    assert_eq!(code(submit(&tx)), (-32000, "chain.submit.known".into()));
    let proof = GetProof {
        kind: Some("transaction".into()),
        id: Some(id),
        ..GetProof::default()
    };
    assert_eq!(code(server.ask(proof.clone())), (-32001, "rpc.none".into()));
    let block = server.node.produce();
    let placed = server.ask(asked).unwrap();
    assert_eq!(
        (placed.pending, placed.height, placed.index),
        (false, Some(block.header.height), Some(0))
    );
    assert_eq!(placed.transaction, Some(hex::encode(tx.to_bytes())));
    let view = server.ask(proof).unwrap();
    light(&server).block(&proof_of(&view)).unwrap();

    // Again, out of order, of another chain, by another key, with a byte more, and when there is no room.
    assert_eq!(code(submit(&tx)), (-32000, "ledger.nonce".into()));
    let mut other = network;
    other.id += 1;
    let foreign = w.users[2].tx(&other, nonce + 1, transfer(&w.users[3], 5));
    assert_eq!(code(submit(&foreign)), (-32000, "ledger.network".into()));
    let mut forged = w.users[2].tx(&network, nonce + 1, transfer(&w.users[3], 5));
    forged.tx.fee += 1;
    assert_eq!(code(submit(&forged)), (-32000, "ledger.signature".into()));
    let mut long = tx.to_bytes();
    long.push(0);
    let call = Submit {
        transaction: Some(hex::encode(long)),
    };
    assert_eq!(code(server.ask(call)), (-32000, "ledger.decode.trailing".into()));
    for who in 0..3 {
        submit(&w.users[who].tx(&network, w.nonce(who) + u64::from(who == 2), transfer(&w.users[3], 5))).unwrap();
    }
    let fourth = w.users[3].tx(&network, w.nonce(3), transfer(&w.users[2], 5));
    assert_eq!(code(submit(&fourth)), (-32002, "chain.submit.full".into()));
}

#[test]
fn what_is_no_call_is_refused_with_what_where_expected_and_got() {
    let server = server(ServerConfig::default());
    let nested = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"chain_status","params":{{"a":{}1{}}}}}"#,
        "[".repeat(400),
        "]".repeat(400)
    );
    for (body, number, code) in [
        ("", -32700, "rpc.json"),
        ("{", -32700, "rpc.json"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_status"} x"#,
            -32700,
            "rpc.json",
        ),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"chain_status"}]"#,
            -32600,
            "rpc.batch",
        ),
        ("[]", -32600, "rpc.batch"),
        ("7", -32600, "rpc.request"),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"chain_status"}"#,
            -32600,
            "rpc.request",
        ),
        (r#"{"jsonrpc":"2.0","method":"chain_status"}"#, -32600, "rpc.request"),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"chain_status"}"#,
            -32600,
            "rpc.request",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"chain_status"}"#,
            -32600,
            "rpc.request",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"chain_status"}"#,
            -32600,
            "rpc.request",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_status","more":1}"#,
            -32600,
            "rpc.request",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_status","params":[]}"#,
            -32600,
            "rpc.request",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_block","params":{"height":1,"height":2}}"#,
            -32600,
            "rpc.request",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_block","params":{"height":{"a":1}}}"#,
            -32600,
            "rpc.request",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_blocks","params":{"count":51}}"#,
            -32602,
            "rpc.params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_block","params":{"height":-1}}"#,
            -32602,
            "rpc.params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_block","params":{"height":"1"}}"#,
            -32602,
            "rpc.params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_block","params":{"hight":1}}"#,
            -32602,
            "rpc.params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_block","params":{"height":1,"id":"00"}}"#,
            -32602,
            "rpc.params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_account","params":{"address":"0xAB"}}"#,
            -32602,
            "rpc.params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_submit","params":{"transaction":"0G"}}"#,
            -32602,
            "rpc.params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_submit","params":{"transaction":"AB"}}"#,
            -32602,
            "rpc.params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_entry","params":{"key":"ff"}}"#,
            -32602,
            "rpc.params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_block","params":{"height":999}}"#,
            -32001,
            "rpc.none",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"chain_stop"}"#,
            -32601,
            "rpc.method",
        ),
        (nested.as_str(), -32700, "rpc.json"),
    ] {
        let answer = server.post(body.as_bytes());
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(json["error"]["code"], number, "{body}: {json}");
        assert_eq!(json["error"]["data"]["code"], code, "{body}: {json}");
        assert!(json.get("result").is_none() && answer.status == 200);
    }
    // What comes back of somebody's words is short and plain.
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"chain_status","params":{{"{}\u0007":1}}}}"#,
        "x".repeat(100_000)
    );
    let answer = server.post(long.as_bytes());
    assert!(answer.body.len() < 1_000 && !answer.body.windows(6).any(|w| w == b"\\u0007"));
    // Still there.
    assert!(server.ask(Status {}).is_ok());
}

#[test]
fn requests_of_other_sites_too_long_or_to_nowhere_are_turned_away() {
    let server = server(ServerConfig {
        hosts: vec!["node.example".into()],
        ..ServerConfig::default()
    });
    let own = server.at.to_string();
    let json = "content-type: application/json";
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"chain_status"}"#;
    let post = |host: &str, headers: &[&str]| server.http("POST /v1/chain/rpc", host, headers, body).status;
    assert_eq!(post(&own, &[json]), 200);
    assert_eq!(post("node.example", &[json]), 200);
    assert_eq!(post("evil.example", &[json]), 421);
    assert_eq!(post(&own, &[json, "origin: http://evil.example"]), 403);
    assert_eq!(post(&own, &[json, "sec-fetch-site: same-site"]), 403);
    assert_eq!(post(&own, &["content-type: text/plain"]), 415);
    let long = vec![b' '; REQUEST_BYTES_MAX + 1];
    assert_eq!(server.post(&long).status, 413);
    assert_eq!(server.get("/v1/chain").status, 404);
    assert_eq!(server.get("/v1/chain/rpc").status, 405);
    for query in [
        "from=",
        "from=-1",
        "from=1&x=2",
        "height=1",
        "from=18446744073709551616",
    ] {
        assert_eq!(server.get(&format!("/v1/chain/blocks?{query}")).status, 400, "{query}");
    }
}

#[test]
fn blocks_stream_from_where_one_asks_without_gaps_and_no_more_streams_than_there_is_room_for() {
    let server = server(ServerConfig {
        streams_max: 1,
        ..ServerConfig::default()
    });
    let newest = server.told.w.state.head().height;
    let mut stream = TcpStream::connect(server.at).unwrap();
    let from = newest - 1;
    let request = format!(
        "GET /v1/chain/blocks?from={from} HTTP/1.1\r\nhost: {}\r\n\r\n",
        server.at
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut next = || -> BlockView {
        let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        serde_json::from_str(&data.unwrap()).unwrap()
    };
    assert_eq!([next().height, next().height], [newest - 1, newest]);
    assert_eq!(server.get("/v1/chain/blocks?from=1").status, 503);
    for more in 1..4 {
        let made = server.node.produce();
        let told = next();
        assert_eq!((told.height, told.id), (newest + more, made.header.id().to_string()));
        assert_eq!(told.certificate.unwrap().height, newest + more);
    }
}

#[test]
fn metrics_and_health_say_where_the_chain_is_and_the_page_runs_nothing_but_its_own_script() {
    let server = server(ServerConfig::default());
    let height = server.told.w.state.head().height;
    let health = server.get("/health");
    let told: serde_json::Value = serde_json::from_slice(&health.body).unwrap();
    assert_eq!((health.status, told["height"].as_u64()), (200, Some(height)));
    server.ask(Status {}).unwrap();
    let _ = server.ask(GetBlock {
        height: Some(999),
        id: None,
    });
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    for line in [
        format!("hanzo_chain_height {height}"),
        r#"hanzo_chain_rpc_calls_total{method="chain_status",outcome="done"} 1"#.into(),
        r#"hanzo_chain_rpc_calls_total{method="chain_block",outcome="refused"} 1"#.into(),
        "# EOF".into(),
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in\n{metrics}");
    }
    let page = server.get("/");
    let text = String::from_utf8(page.body).unwrap();
    let inside = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>")).unwrap();
        rest.split_once(&format!("</{tag}>")).unwrap().0.to_owned()
    };
    for tag in ["script", "style"] {
        let hash = base64(&Digest256::of(inside(tag).as_bytes()).0);
        assert!(
            page.head.contains(&format!("{tag}-src 'sha256-{hash}'")),
            "{}",
            page.head
        );
        assert_eq!(text.matches(&format!("<{tag}")).count(), 1);
    }
    assert!(page.head.contains("default-src 'none'") && page.head.contains("nosniff"));
    for never in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "http://",
        "https://",
        " on",
        "style=\"",
    ] {
        let code = if never == " on" {
            text.matches(" onclick=").count()
        } else {
            text.matches(never).count()
        };
        assert_eq!(code, 0, "{never}");
    }
}

/// RFC 4648, for 32 bytes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let n = three.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(n >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= three.len() { digit as char } else { '=' });
        }
    }
    out
}
