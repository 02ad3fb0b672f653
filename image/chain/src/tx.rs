//! Transactions: built, signed, handed in, waited for.

use hanzo_attestation::{Digest256, Digest384};
use hanzo_chain_rpc::calls::{GetAccount, Status, Submit};
use hanzo_ledger::claim::{Claim, RegistrationClaim};
use hanzo_ledger::{
    Action, Address, Amount, Canonical, Close, Genesis, Nothing, OpenLease, OpenVoucher, RegisterModel, SignedTx,
    TX_BYTES_MAX, Transfer, Tx,
};
use serde_json::json;

use crate::args::{TxArgs, TxCommand};
use crate::node::Asked;
use crate::output::Output;
use crate::prove::{address, digest};
use crate::wallet::{Account, Sender};
use crate::{ChainError, files, key};

/// A transaction may stand in so many blocks from now on.
const EXPIRES_BLOCKS: u64 = 1_000;

/// What a sender gives with a transaction; the rest is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    pub(crate) fee: Option<u128>,
    pub(crate) nonce: Option<u64>,
}

/// Builds and signs the next transaction of `sender`.
pub(crate) async fn signed(
    asked: &Asked,
    genesis: &Genesis,
    sender: &mut Sender,
    action: Action,
    terms: Terms,
) -> Result<SignedTx, ChainError> {
    let account = sender.address().to_string();
    let nonce = match terms.nonce {
        Some(nonce) => nonce,
        None => asked.node.ask(&GetAccount { address: Some(account) }).await?.nonce,
    };
    let height = asked.node.ask(&Status::default()).await?.height;
    let least = match &action {
        // They bring evidence instead.
        Action::Claim(_) | Action::RegisterBoot(_) | Action::RegisterValidator(_) | Action::RotateConsensusKey(_) => 0,
        _ => genesis.params.fee_min,
    };
    sender.sign(Tx {
        network: genesis.network(),
        sender: sender.public().clone(),
        nonce,
        fee: terms.fee.unwrap_or(least),
        expires: height.saturating_add(EXPIRES_BLOCKS),
        action,
    })
}

/// Hands a transaction in.
pub(crate) async fn submit(asked: &Asked, tx: &SignedTx) -> Result<Digest256, ChainError> {
    let call = Submit {
        transaction: Some(hex::encode(tx.to_bytes())),
    };
    asked.node.ask(&call).await?;
    Ok(tx.tx.digest())
}

pub(crate) async fn tx(args: &TxArgs) -> Result<Output, ChainError> {
    let asked = args.node.asked()?;
    let genesis = asked.genesis().await?;
    let height = asked.node.ask(&Status::default()).await?.height;
    let (tx, opened) = match (&args.action, action(&args.action, height)?) {
        (TxCommand::Submit { file }, _) => {
            let bytes = files::read(file, TX_BYTES_MAX)?;
            let read = SignedTx::parse(&bytes).map_err(|e| ChainError::File {
                path: file.clone(),
                expected: "a signed transaction",
                got: e.to_string(),
            });
            (read?, None)
        }
        (command, action) => {
            let path = args.wallet.as_deref().ok_or_else(|| ChainError::Usage {
                option: "--wallet",
                expected: "the sender's wallet file".into(),
                got: "none".into(),
            })?;
            let account = Account::open(path, args.passphrase_file.as_deref())?;
            let mut sender = account.into_sender(&genesis.network())?;
            let action = match (command, action) {
                (_, Some(action)) => action,
                (
                    TxCommand::Register {
                        key,
                        bond,
                        endorsements,
                    },
                    None,
                ) => key::register(key, *bond, endorsements, &genesis, &sender)?,
                (TxCommand::Rotate { key, endorsements }, None) => {
                    key::rotate(key, endorsements, &genesis, &mut sender)?
                }
                (_, None) => {
                    return Err(ChainError::Usage {
                        option: "COMMAND",
                        expected: "one that makes a transaction".into(),
                        got: "none".into(),
                    });
                }
            };
            let opens = matches!(action, Action::OpenVoucher(_) | Action::OpenLease(_));
            let terms = Terms {
                fee: args.fee,
                nonce: args.nonce,
            };
            let tx = signed(&asked, &genesis, &mut sender, action, terms).await?;
            let opened = opens.then(|| Tx::id_of(&sender.address(), tx.tx.nonce));
            (tx, opened)
        }
    };
    let id = tx.tx.digest();
    let sender = Address::of(&tx.tx.sender);
    let mut text = String::new();
    let mut json = json!({"id": id.to_string(), "sender": sender.to_string(), "nonce": tx.tx.nonce});
    if let Some(opened) = opened {
        text.push_str(&format!("id of what it opens  {opened}\n"));
        json["opened"] = opened.to_string().into();
    }
    if let Some(path) = &args.write_to {
        files::write(path, &tx.to_bytes(), true)?;
        let text = format!("{text}{}  transaction {id}, signed, not handed in\n", path.display());
        json["file"] = path.display().to_string().into();
        return Ok(Output::new(text, json));
    }
    submit(&asked, &tx).await?;
    if args.wait == 0 {
        json["final"] = false.into();
        return Ok(Output::new(format!("{text}transaction {id}  handed in\n"), json));
    }
    let (height, _, _) = asked.final_at(&id, args.wait).await?;
    (json["final"], json["height"]) = (true.into(), height.into());
    json["checked"] = asked.verifies().into();
    let how = match asked.verifies() {
        true => "final, as its proof shows against the genesis",
        false => "final, as the node says: no genesis at hand to check it",
    };
    Ok(Output::new(
        format!("{text}transaction {id}  block {height}: {how}\n"),
        json,
    ))
}

fn keyset(text: &str) -> Result<Digest384, ChainError> {
    Digest384::from_hex(text).ok_or_else(|| ChainError::Usage {
        option: "KEYSET",
        expected: "96 lower-case hex digits".into(),
        got: text.chars().take(100).collect(),
    })
}

/// `None` for a transaction that was signed before, and for one that its sender's key takes part in.
fn action(command: &TxCommand, height: u64) -> Result<Option<Action>, ChainError> {
    Ok(Some(match command {
        TxCommand::Transfer { to, amount } => Action::Transfer(Transfer {
            to: address("TO", to)?,
            amount: *amount,
        }),
        TxCommand::Voucher { miner, amount, blocks } => Action::OpenVoucher(OpenVoucher {
            miner: address("MINER", miner)?,
            amount: *amount,
            expires: height.saturating_add(*blocks),
        }),
        TxCommand::CloseVoucher { id } => Action::CloseVoucher(Close { id: digest("ID", id)? }),
        TxCommand::Lease {
            keyset: boot,
            gpus,
            price,
            seconds,
            blocks,
        } => Action::OpenLease(OpenLease {
            keyset: keyset(boot)?,
            gpus: *gpus,
            price: *price,
            seconds: *seconds,
            expires: height.saturating_add(*blocks),
        }),
        TxCommand::CloseLease { id } => Action::CloseLease(Close { id: digest("ID", id)? }),
        TxCommand::RegisterModel {
            root,
            licence,
            bytes,
            leaves,
        } => Action::RegisterModel(RegisterModel {
            root: digest("ROOT", root)?,
            licence: digest("--licence", licence)?,
            bytes: *bytes,
            leaves: *leaves,
        }),
        TxCommand::RetireModel { root } => Action::RetireModel(Close {
            id: digest("ROOT", root)?,
        }),
        TxCommand::ClaimRegistration { root } => Action::Claim(Claim::Registration(RegistrationClaim {
            root: digest("ROOT", root)?,
        })),
        TxCommand::Bond { amount } => Action::Bond(Amount { amount: *amount }),
        TxCommand::Unbond { amount } => Action::Unbond(Amount { amount: *amount }),
        TxCommand::Withdraw => Action::Withdraw(Nothing {}),
        TxCommand::Leave => Action::LeaveValidators(Nothing {}),
        TxCommand::Register { .. } | TxCommand::Rotate { .. } | TxCommand::Submit { .. } => return Ok(None),
    }))
}
