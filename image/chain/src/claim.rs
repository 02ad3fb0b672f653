//! `hanzo chain claim`: from a receipt to a reward that anybody can check.

use std::path::Path;

use hanzo_client::StateDir;
use hanzo_client::receipts::ReceiptRecord;
use hanzo_ledger::claim::{Claim, CoSigned, InferenceClaim, Payment, Prepaid};
use hanzo_ledger::{Action, Bounded, Genesis};
use hanzo_signer::Statement;
use hanzo_verifier::receipt::{
    DisclosedReceipt, RECEIPT_BYTES_MAX, ReceiptError, ReceiptId, SignedReceipt, verify_signed,
};
use serde_json::json;

use crate::args::{ClaimArgs, named};
use crate::boot::{Registered, register};
use crate::output::Output;
use crate::prove::digest;
use crate::tx::{Terms, signed, submit};
use crate::wallet::Account;
use crate::{ChainError, files};

/// Longest receipt file in bytes: a kept record has salts and a proof of the log besides.
const FILE_BYTES_MAX: usize = 4 << 20;

/// A receipt by its id or file, without salts: those are the caller's alone.
fn receipt(state: &StateDir, text: &str) -> Result<SignedReceipt, ChainError> {
    let path = Path::new(text);
    let bytes = match ReceiptId::from_hex(text).is_some() && !path.exists() {
        true => state.load_receipt(text)?,
        false => files::read(path, FILE_BYTES_MAX)?.to_vec(),
    };
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if let Ok(record) = ReceiptRecord::parse(bytes) {
        return Ok(record.disclosed.without_salts());
    }
    if let Ok(disclosed) = DisclosedReceipt::from_bytes(bytes) {
        return Ok(disclosed.without_salts());
    }
    Ok(SignedReceipt::from_bytes(bytes).map_err(ReceiptError::from)?)
}

pub(crate) async fn claim(args: &ClaimArgs) -> Result<Output, ChainError> {
    let state = args.kept.open()?;
    let named_receipt = named("ID|FILE", "a receipt's id or file", args.receipt.as_deref())?;
    let signed_receipt = receipt(&state, named_receipt)?;
    let keyset_digest = signed_receipt.receipt.keyset_digest;
    // The evidence first: nobody should be asked for a passphrase for what earns nothing.
    let keyset = args.kept.boot(&state, &keyset_digest)?;
    let verified = verify_signed(&signed_receipt, &keyset)?;
    let asked = args.node.asked()?;
    let genesis = asked.genesis().await?;
    let miner = args.wallet()?;
    let passphrase = args.customer_passphrase_file.as_deref();
    let passphrase = passphrase.or(args.passphrase_file.as_deref());
    let customer = named(
        "--customer-wallet",
        "the customer's wallet file",
        args.customer_wallet.as_deref(),
    )?;
    let customer = Account::open(customer, passphrase)?;
    let receipt_digest = verified.digest();
    let payment = pays(args, &genesis, &customer, miner.address().0, receipt_digest.0)?;
    let network = genesis.network();
    let mut miner = miner.into_sender(&network)?;
    let registered = register(
        &asked,
        &genesis,
        &mut miner,
        &keyset_digest,
        &keyset,
        &args.endorsements,
        &args.node.dir,
        args.wait,
    )
    .await?;
    let bytes = signed_receipt.to_bytes().map_err(ReceiptError::from)?;
    let got = bytes.len();
    let wanted = InferenceClaim {
        receipt: Bounded::new(bytes.clone()).ok_or_else(|| ChainError::Mismatch {
            what: "receipt",
            expected: format!("at most {RECEIPT_BYTES_MAX} bytes"),
            got: got.to_string(),
        })?,
        fee: args.fee,
        customer: customer.public().clone(),
        payment,
    };
    let action = Action::Claim(Claim::Inference(wanted));
    let tx = signed(&asked, &genesis, &mut miner, action, Terms::default()).await?;
    let id = submit(&asked, &tx).await?;
    let (height, proof, proof_bytes) = asked.final_at(&id, args.wait).await?;
    // Held against the genesis that is trusted; without one, against the node's own.
    let (block, paid) = asked.light(&genesis)?.reward(&proof, &genesis, &bytes)?;
    files::write(&args.out, &proof_bytes, false)?;
    let kept = args.out.with_extension("receipt.json");
    files::write(&kept, &bytes, false)?;
    let trusted = args.node.genesis_path();
    let genesis_file = trusted.map_or("GENESIS".into(), |path| path.display().to_string());
    let command = format!(
        "hanzo-verify receipt-reward {} {} --genesis {genesis_file}",
        kept.display(),
        args.out.display()
    );
    let boot = match &registered {
        Registered::Before => "registered before".to_owned(),
        Registered::Now(id, height) => format!("registered in block {height}, transaction {id}"),
    };
    let pay = paid.pay;
    let simulated = match keyset.simulated {
        true => "SIMULATED: the boot's evidence is a simulator's; this reward is worth nothing\n",
        false => "",
    };
    let how = match asked.verifies() {
        true => "final, as its proof shows against the genesis",
        false => "final by the node's own genesis: none at hand to check it",
    };
    let text = format!(
        "REWARDED: receipt {} in block {height}: {how}\n{simulated}  boot         {keyset_digest}\n               {boot}\n  \
         transaction  {id}\n  customer     {} paid {} base units, {} of them back to the pool\n  miner        {} got {} from the pool\n\
         check it  {command}\n",
        signed_receipt.receipt.id, paid.customer, pay.fee, pay.burned, paid.miner, pay.reward,
    );
    Ok(Output::new(
        text,
        json!({
            "receipt": signed_receipt.receipt.id.to_string(), "keyset": keyset_digest.to_string(), "simulated": keyset.simulated,
            "registered": matches!(registered, Registered::Now(..)), "transaction": id.to_string(),
            "height": block.header().height, "checked": asked.verifies(),
            "miner": paid.miner.to_string(), "customer": paid.customer.to_string(), "fee": pay.fee.to_string(),
            "burned": pay.burned.to_string(), "reward": pay.reward.to_string(),
            "proof_file": args.out, "receipt_file": kept, "verify": command,
        }),
    ))
}

/// The customer's word: under this receipt, or out of a voucher.
fn pays(
    args: &ClaimArgs,
    genesis: &Genesis,
    customer: &Account,
    miner: [u8; 32],
    receipt: [u8; 48],
) -> Result<Payment, ChainError> {
    let network = genesis.network();
    match (&args.voucher, args.cumulative) {
        (Some(text), Some(cumulative)) => {
            let voucher = digest("--voucher", text)?;
            let statement = Statement::VoucherNote {
                voucher: voucher.0,
                cumulative,
            };
            let signature = customer.states(&network, &statement)?;
            Ok(Payment::Prepaid(Prepaid {
                voucher,
                cumulative,
                signature,
            }))
        }
        _ => {
            let statement = Statement::Payment {
                miner,
                receipt,
                fee: args.fee,
            };
            let signature = customer.states(&network, &statement)?;
            Ok(Payment::CoSigned(CoSigned { signature }))
        }
    }
}
