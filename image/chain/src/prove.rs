//! `hanzo chain prove`: light proofs in files, as `hanzo-verify` reads them.

use hanzo_attestation::Digest256;
use hanzo_chain_rpc::calls::GetProof;
use hanzo_ledger::Address;
use serde_json::json;

use crate::args::{ProveArgs, ProveCommand};
use crate::output::Output;
use crate::{ChainError, files};

pub(crate) fn address(option: &'static str, text: &str) -> Result<Address, ChainError> {
    Address::from_text(text).ok_or_else(|| ChainError::Usage {
        option,
        expected: "0x and 64 lower-case hex digits".into(),
        got: text.chars().take(80).collect(),
    })
}

pub(crate) fn digest(option: &'static str, text: &str) -> Result<Digest256, ChainError> {
    Digest256::from_hex(text).ok_or_else(|| ChainError::Usage {
        option,
        expected: "64 lower-case hex digits".into(),
        got: text.chars().take(80).collect(),
    })
}

pub(crate) async fn prove(args: &ProveArgs) -> Result<Output, ChainError> {
    let mut call = GetProof {
        from_epoch: args.from_epoch,
        ..GetProof::default()
    };
    let verb = match &args.what {
        ProveCommand::Block { height } => {
            (call.kind, call.height) = (Some("block".into()), *height);
            "finality".to_owned()
        }
        ProveCommand::Account { address: text } => {
            address("ADDRESS", text)?;
            (call.kind, call.address) = (Some("account".into()), Some(text.clone()));
            format!("account {text}")
        }
        ProveCommand::Transaction { id } => {
            digest("ID", id)?;
            (call.kind, call.id) = (Some("transaction".into()), Some(id.clone()));
            "receipt-reward RECEIPT".to_owned()
        }
    };
    let asked = args.node.asked()?;
    let (light, bytes, view) = asked.proof_soon(&call).await?;
    // A proof that goes on from a saved set is checked by whoever has that set.
    let checked = asked.verifies() && args.from_epoch.is_none_or(|epoch| epoch <= 1);
    if checked {
        let genesis = asked.genesis().await?;
        asked.light(&genesis)?.block(&light)?;
    }
    files::write(&args.out, &bytes, false)?;
    let path = args.node.genesis_path();
    let genesis = path.map_or("GENESIS".into(), |path| path.display().to_string());
    let command = format!("hanzo-verify {verb} {} --genesis {genesis}", args.out.display());
    let text = format!(
        "{}  block {}, certified by block {} in epoch {}, {} bytes{}\ncheck it  {command}\n",
        args.out.display(),
        view.height,
        view.certified,
        view.epoch,
        bytes.len(),
        if checked {
            "; it leads to the genesis"
        } else {
            "; not checked here: no genesis at hand"
        },
    );
    Ok(Output::new(
        text,
        json!({
            "file": args.out, "height": view.height, "certified": view.certified, "epoch": view.epoch,
            "bytes": bytes.len(), "checked": checked, "verify": command,
        }),
    ))
}
