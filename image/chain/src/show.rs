//! What a node says of its chain, in tables. Nothing of it is proof.

use hanzo_chain_rpc::calls::{GetAccount, GetBlocks, GetSupply, GetValidators, Status};
use serde_json::json;

use crate::args::{AccountArgs, BlocksArgs, StatusArgs, ValidatorsArgs};
use crate::output::{Output, short, table};
use crate::{ChainError, NodeClient, files};

fn whole(value: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// `status`: every validator of a folder, or one node.
pub(crate) async fn status(args: &StatusArgs) -> Result<Output, ChainError> {
    let nodes: Vec<NodeClient> = match &args.node.node {
        Some(text) => vec![NodeClient::new(text)?],
        None => {
            let folders = files::validators(&args.node.dir);
            let all = folders.iter().filter_map(|folder| files::ready(folder));
            all.map(|at| NodeClient::new(&at)).collect::<Result<_, _>>()?
        }
    };
    if nodes.is_empty() {
        // Says what to do.
        args.node.asked()?;
    }
    let head = [
        "node",
        "height",
        "certified",
        "epoch",
        "votes",
        "incarnation",
        "peers",
        "waiting",
        "state root",
    ];
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    let mut all = Vec::new();
    let mut simulated = false;
    for node in &nodes {
        match node.ask(&Status::default()).await {
            Ok(status) => {
                simulated |= status.simulated;
                let linked = status.node.peers.iter().filter(|peer| peer.connected).count();
                rows.push(vec![
                    node.at().to_owned(),
                    status.height.to_string(),
                    status.certified.map_or("-".into(), |height| height.to_string()),
                    status.epoch.to_string(),
                    if status.node.votes { "yes" } else { "no" }.to_owned(),
                    status.node.incarnation.to_string(),
                    format!("{linked} of {}", status.node.peers.len()),
                    status.node.pending.to_string(),
                    short(&status.state_root),
                ]);
                all.push(json!({"node": node.at(), "status": status}));
            }
            Err(error) if nodes.len() > 1 => {
                rows.push(vec![
                    node.at().to_owned(),
                    format!("does not answer [{}]", error.code()),
                ]);
                all.push(json!({"node": node.at(), "error": {"code": error.code(), "message": error.to_string()}}));
            }
            Err(error) => return Err(error),
        }
    }
    let mut text = table(&rows);
    if simulated {
        text.push_str("SIMULATED: this network takes simulated evidence; what is final here is worth nothing\n");
    }
    Ok(Output::new(text, json!({"nodes": all})))
}

/// `validators`.
pub(crate) async fn validators(args: &ValidatorsArgs) -> Result<Output, ChainError> {
    let view = args
        .node
        .asked()?
        .node
        .ask(&GetValidators { epoch: args.epoch })
        .await?;
    let head = ["account", "standing", "incarnation", "at stake", "proposed of 100"];
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    rows.extend(view.members.iter().map(|m| {
        let (incarnation, proposed) = (m.incarnation.to_string(), m.proposed.to_string());
        vec![
            m.account.clone(),
            m.standing.clone(),
            incarnation,
            m.bonded.clone(),
            proposed,
        ]
    }));
    let text = format!(
        "Epoch {}: {} validators, {} votes make a block final\n{}",
        view.epoch,
        view.members.len(),
        view.quorum,
        table(&rows)
    );
    Ok(Output::new(text, whole(view)))
}

/// `supply`.
pub(crate) async fn supply(args: &StatusArgs) -> Result<Output, ChainError> {
    let view = args.node.asked()?.node.ask(&GetSupply::default()).await?;
    let parts = [
        ("pool", &view.pool),
        ("treasury", &view.treasury),
        ("accounts", &view.accounts),
        ("escrows", &view.escrows),
        ("deposits", &view.deposits),
        ("maximum", &view.max_supply),
        ("given back", &view.burned),
    ];
    let rows: Vec<_> = parts
        .iter()
        .map(|(name, units)| vec![(*name).to_owned(), (*units).clone()])
        .collect();
    let rewards = view
        .rewards
        .iter()
        .map(|r| vec![r.kind.clone(), r.paid.clone(), format!("of {}", r.cap)]);
    let text = format!(
        "After block {}, in base units\n{}Rewards of epoch {}\n{}",
        view.height,
        table(&rows),
        view.epoch,
        table(&rewards.collect::<Vec<_>>())
    );
    Ok(Output::new(text, whole(view)))
}

/// `blocks`.
pub(crate) async fn blocks(args: &BlocksArgs) -> Result<Output, ChainError> {
    let call = GetBlocks {
        from: args.from,
        count: Some(args.count),
    };
    let view = args.node.asked()?.node.ask(&call).await?;
    let head = ["height", "id", "proposer", "epoch", "votes", "transactions"];
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    rows.extend(view.iter().map(|block| {
        let kinds: Vec<_> = block.transactions.iter().map(|tx| tx.kind.as_str()).collect();
        vec![
            block.height.to_string(),
            short(&block.id),
            short(&block.proposer),
            block.epoch.to_string(),
            block.certificate.as_ref().map_or("-".into(), |c| c.votes.to_string()),
            match kinds.is_empty() {
                true => "-".into(),
                false => kinds.join(", "),
            },
        ]
    }));
    Ok(Output::new(table(&rows), json!({"blocks": view})))
}

/// `account`.
pub(crate) async fn account(args: &AccountArgs) -> Result<Output, ChainError> {
    let call = GetAccount {
        address: Some(args.address.clone()),
    };
    let view = args.node.asked()?.node.ask(&call).await?;
    let mut rows = vec![
        vec!["account".into(), view.address.clone()],
        vec![
            "balance".into(),
            format!("{} base units after block {}", view.balance, view.height),
        ],
        vec!["nonce".into(), view.nonce.to_string()],
    ];
    if let Some(standing) = &view.validator {
        let bonded = format!(
            "{standing}, {} base units at stake, incarnation {}",
            view.bonded, view.incarnation
        );
        rows.push(vec!["validator".into(), bonded]);
    }
    if view.boot > 0 {
        rows.push(vec![
            "miner".into(),
            format!("boot {}, paid {} in epoch {}", view.boot, view.paid, view.paid_epoch),
        ]);
    }
    let text = format!(
        "{}What a node says; `hanzo chain prove account` writes a proof of it\n",
        table(&rows)
    );
    Ok(Output::new(text, whole(view)))
}
