//! `hanzo-verify order`: what an administrator signs for a running guest. Sending it is anybody's to do.

mod args;

use std::path::Path;

use hanzo_attestation::Digest384;
use hanzo_verifier::order::{Action, Order, OrderPurpose};
use serde_json::json;

pub use args::{OrderArgs, OrderCommand, SignArgs};

use crate::error::CliError;
use crate::keys::files::{Kind, Signer};
use crate::keys::name;
use crate::output::Output;
use crate::{trust, write};

pub(crate) fn run(args: &OrderArgs) -> Result<Output, CliError> {
    match &args.command {
        OrderCommand::Signer { operator, out } => signer(operator, out),
        OrderCommand::RevokeCaller { sign, id } => order(sign, Action::RevokeCaller { id: name("--id", id)? }),
        OrderCommand::LowerCaller {
            sign,
            id,
            requests_per_min,
            tokens_per_min,
            concurrent,
        } => order(
            sign,
            Action::LowerCaller {
                concurrent_requests: *concurrent,
                id: name("--id", id)?,
                requests_per_min: *requests_per_min,
                tokens_per_min: *tokens_per_min,
            },
        ),
        OrderCommand::UnloadModel { sign, model } => order(
            sign,
            Action::UnloadModel {
                model: name("--model", model)?,
            },
        ),
        OrderCommand::PutOut { sign, model, minutes } => order(
            sign,
            Action::PutOut {
                model: name("--model", model)?,
                until: minutes.map_or(0, |minutes| trust::now().0 + u64::from(minutes) * 60),
            },
        ),
        OrderCommand::Load { sign, model } => order(
            sign,
            Action::Load {
                model: name("--model", model)?,
            },
        ),
    }
}

fn signer(operator: &str, out: &Path) -> Result<Output, CliError> {
    let signer = Signer::draw(Kind::Admin, name("--operator", operator)?, out)?;
    let pinned = signer.pinned();
    let text = format!(
        "# beside operator = \"{operator}\"\n[[admin_keys]]\nsuite = \"{}\"\nml_dsa = \"{}\"\ned25519 = \"{}\"\n",
        pinned.suite, pinned.ml_dsa, pinned.ed25519
    );
    Ok(Output {
        text,
        json: json!({"operator": operator, "admin_key": pinned}),
        exit_code: 0,
    })
}

fn order(args: &SignArgs, action: Action) -> Result<Output, CliError> {
    let signer = Signer::load(Kind::Admin, &args.signer)?;
    let wrong = || CliError::Usage {
        option: "--keyset",
        expected: "96 lower-case hex digits: the guest's keyset digest (`hanzo-verify status`)",
        got: args.keyset.clone(),
    };
    let mut keyset = [0; 48];
    hex::decode_to_slice(&args.keyset, &mut keyset).map_err(|_| wrong())?;
    let mut nonce = [0; 32];
    hanzo_pqc::random::fill(&mut nonce).map_err(CliError::Crypto)?;
    let now = trust::now();
    let signed = Order {
        action,
        issued_at: now.0,
        keyset_digest: Digest384(keyset),
        nonce: hex::encode(nonce),
        operator: signer.operator.clone(),
        purpose: OrderPurpose::V1,
        sequence: args.sequence.unwrap_or(now.0),
    }
    .sign(|domain, bytes| signer.keys.sign(domain, bytes))?;
    write::new(&args.out, &[signed.to_bytes()?.as_slice(), b"\n"].concat())?;
    Ok(Output {
        text: format!(
            "order {} written to {}\nIt counts once the guest has it: POST it to /v1/orders.\n",
            signed.order.sequence,
            args.out.display()
        ),
        json: json!({"order": signed.order}),
        exit_code: 0,
    })
}
