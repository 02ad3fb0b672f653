//! From a call to its answer. Everything here may block.

use hanzo_ledger::{Address, Canonical, KEY_BYTES_MAX, Key, SignedTx, State, TX_BYTES_MAX};
use hanzo_mining::MiningError;
use serde_json::{Value, json};

use crate::calls::*;
use crate::envelope::Request;
use crate::proofs::{address, proof};
use crate::views::{self, block_view, bytes, digest, hexed, transaction_view};
use crate::{Failure, Node, SubmitError};

/// Most blocks of one answer.
const BLOCKS_MAX: u64 = 50;
const BLOCKS_DEFAULT: u64 = 20;

impl From<MiningError> for Failure {
    fn from(e: MiningError) -> Self {
        let number = match e {
            MiningError::Pruned { .. } => -32001,
            _ => -32603,
        };
        Self::new(number, e.code(), e.to_string())
    }
}

impl From<SubmitError> for Failure {
    fn from(e: SubmitError) -> Self {
        let number = match e {
            SubmitError::Full { .. } | SubmitError::SenderFull { .. } | SubmitError::NotReady { .. } => -32002,
            SubmitError::Reject(_) | SubmitError::Known => -32000,
        };
        Self::new(number, e.code(), e.to_string())
    }
}

/// The whole answer to `request`.
pub(crate) fn answer(node: &dyn Node, request: &Request) -> (Vec<u8>, Result<(), Failure>) {
    match result(node, request) {
        Ok(result) => {
            let whole = json!({"jsonrpc": "2.0", "id": request.id, "result": result});
            (whole.to_string().into_bytes(), Ok(()))
        }
        Err(failure) => (failure.answer(Some(&request.id)), Err(failure)),
    }
}

fn done<C: Call>(_: &C, answer: C::Answer) -> Result<Value, Failure> {
    let written = serde_json::to_value(answer);
    written.map_err(|e| Failure::new(-32603, "rpc.answer", e.to_string()))
}

fn result(node: &dyn Node, request: &Request) -> Result<Value, Failure> {
    let ledger = node.ledger();
    match request.method.as_str() {
        Status::METHOD => done(&request.call::<Status>()?, views::status(node)?),
        GetGenesis::METHOD => {
            let call: GetGenesis = request.call()?;
            let view = ledger.read(|state| GenesisView {
                genesis: hexed(state.genesis()),
                digest: state.network().genesis.to_string(),
            });
            done(&call, view)
        }
        GetBlock::METHOD => {
            let call: GetBlock = request.call()?;
            let height = match (call.height, call.id.as_deref()) {
                (Some(_), Some(_)) => return Err(Failure::params("expected height or id, got both")),
                (Some(height), None) => height,
                (None, Some(id)) => {
                    let height = ledger.height_of(&digest("id", Some(id))?)?;
                    height.ok_or_else(|| Failure::none("block"))?
                }
                (None, None) => ledger.read(|s| s.head().height),
            };
            done(&call, view_of(node, height)?.ok_or_else(|| Failure::none("block"))?)
        }
        GetBlocks::METHOD => {
            let call: GetBlocks = request.call()?;
            let count = call.count.unwrap_or(BLOCKS_DEFAULT);
            if !(1..=BLOCKS_MAX).contains(&count) {
                let text = format!("count: expected 1 to {BLOCKS_MAX}, got {count}");
                return Err(Failure::params(text));
            }
            let newest = ledger.read(|s| s.head().height);
            let from = call.from.unwrap_or(newest).min(newest);
            let mut all = Vec::new();
            for height in (from.saturating_sub(count).saturating_add(1)..=from).rev() {
                match view_of(node, height) {
                    // Those after it are here; alone it is said.
                    Err(_) if !all.is_empty() && ledger.absent(height).is_some() => break,
                    view => all.extend(view?),
                }
            }
            done(&call, all)
        }
        GetAccount::METHOD => {
            let call: GetAccount = request.call()?;
            let whose = address(call.address.as_deref())?;
            done(&call, ledger.read(|state| views::account(state, &whose)))
        }
        GetValidators::METHOD => {
            let call: GetValidators = request.call()?;
            let view = views::validators(node, call.epoch)?;
            done(&call, view)
        }
        GetSupply::METHOD => done(&request.call::<GetSupply>()?, ledger.read(views::supply)),
        GetEntry::METHOD => {
            let call: GetEntry = request.call()?;
            let key = bytes("key", call.key.as_deref(), KEY_BYTES_MAX)?;
            let key = Key::from_bytes("key", &key, KEY_BYTES_MAX).map_err(|e| Failure::params(e.to_string()))?;
            let view = ledger.read(|state| EntryView {
                value: state.entries().get(&key).map(hexed),
                height: state.head().height,
            });
            done(&call, view)
        }
        Submit::METHOD => {
            let call: Submit = request.call()?;
            let bytes = bytes("transaction", call.transaction.as_deref(), TX_BYTES_MAX)?;
            let tx = SignedTx::parse(&bytes).map_err(|e| Failure::new(-32000, e.code(), e.to_string()))?;
            let id = tx.tx.digest().to_string();
            ledger.read(|state| applies(state, &tx))?;
            node.submit(tx)?;
            done(&call, Submitted { id })
        }
        GetTransaction::METHOD => {
            let call: GetTransaction = request.call()?;
            done(&call, placed(node, &call)?)
        }
        GetFinal::METHOD => {
            let call: GetFinal = request.call()?;
            let from = call.from.filter(|from| *from > 0);
            let from = from.ok_or_else(|| Failure::params("from: expected a height from 1, got none or 0"))?;
            let view = FinalView {
                blocks: node.final_blocks(from)?.map(hex::encode),
                height: ledger.read(|s| s.head().height),
            };
            done(&call, view)
        }
        GetProof::METHOD => {
            let call: GetProof = request.call()?;
            let view = proof(node, &call)?;
            done(&call, view)
        }
        other => {
            let got = other.chars().count();
            let text = format!(
                "method: expected one of {}, got another of {got} characters",
                METHODS.join(", ")
            );
            Err(Failure::new(-32601, "rpc.method", text))
        }
    }
}

/// Whether the next block could hold `tx`, if it is the sender's next: who waits for nothing is told at once.
fn applies(state: &State, tx: &SignedTx) -> Result<(), SubmitError> {
    let sender = Address::of(&tx.tx.sender);
    if state.account(&sender).nonce != tx.tx.nonce {
        // An earlier one is for the node to refuse; a later one waits for those before it.
        return Ok(());
    }
    let verified = tx.clone().verify(state)?;
    let interval = state.genesis().params.block_interval_ms;
    let time = state.head().time_ms.saturating_add(interval);
    match state.propose(sender, time, [verified]) {
        Ok(proposal) => proposal
            .rejected
            .into_iter()
            .next()
            .map_or(Ok(()), |(_, why)| Err(why.into())),
        // No block can be made at all: the node says why.
        Err(_) => Ok(()),
    }
}

/// The block of this height with what makes it final here.
pub(crate) fn view_of(node: &dyn Node, height: u64) -> Result<Option<BlockView>, Failure> {
    let ledger = node.ledger();
    let Some(block) = ledger.block(height)? else {
        return ledger.absent(height).map_or(Ok(None), |absent| Err(absent.into()));
    };
    let certificate = ledger.certificate_from(height)?;
    let params = ledger.read(|state| state.genesis().params);
    Ok(Some(block_view(&params, &block, certificate.as_ref())))
}

fn placed(node: &dyn Node, call: &GetTransaction) -> Result<PlacedView, Failure> {
    let ledger = node.ledger();
    let id = digest("id", call.id.as_deref())?;
    // Asked first: a transaction goes from there into a block, never back.
    let pending = node.is_pending(&id);
    let params = ledger.read(|state| state.genesis().params);
    match ledger.transaction(&id)? {
        Some(placed) => Ok(PlacedView {
            id: id.to_string(),
            pending: false,
            height: Some(placed.height),
            index: Some(placed.index as u64),
            block: Some(placed.block.header.id().to_string()),
            view: Some(transaction_view(&params, &placed.tx)),
            transaction: Some(hexed(&placed.tx)),
        }),
        None if pending => Ok(PlacedView {
            id: id.to_string(),
            pending: true,
            height: None,
            index: None,
            block: None,
            view: None,
            transaction: None,
        }),
        None => Err(ledger.base().map_or_else(|| Failure::none("transaction"), |base| {
            let text = format!(
                "transaction: it is in no block after {base}, where this node went on from a snapshot: ask a node that has the blocks before"
            );
            Failure::new(-32001, "mining.pruned", text)
        })),
    }
}
