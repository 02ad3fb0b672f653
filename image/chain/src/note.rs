//! `hanzo chain note`: what a customer signs for work that has no receipt, in a file that the miner claims with.

use hanzo_ledger::{Genesis, MlDsaSignature, PublicKey};
use hanzo_signer::Statement;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{NoteArgs, NoteKind};
use crate::output::Output;
use crate::prove::{address, digest};
use crate::{ChainError, files};

/// A recipient's word about a delivery.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveryFile {
    /// Digest of the genesis.
    pub(crate) genesis: String,
    /// Key of the recipient, hex.
    pub(crate) recipient: String,
    pub(crate) provider: String,
    pub(crate) seq: u64,
    pub(crate) chunk_root: String,
    pub(crate) bytes: u64,
    /// Base units, decimal.
    pub(crate) fee: String,
    pub(crate) signature: String,
}

/// A lessee's word about a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseNoteFile {
    /// Digest of the genesis.
    pub(crate) genesis: String,
    /// Key of the lessee, hex.
    pub(crate) lessee: String,
    pub(crate) lease: String,
    /// From the lease's first on.
    pub(crate) seconds: u64,
    pub(crate) signature: String,
}

pub(crate) async fn note(args: &NoteArgs) -> Result<Output, ChainError> {
    // Both before a passphrase is asked for.
    let statement = statement(&args.kind)?;
    let genesis = match args.node.genesis_path() {
        Some(path) => crate::node::NodeArgs::genesis_file(&path)?,
        None => args.node.asked()?.genesis().await?,
    };
    let signer = args.wallet.open()?;
    let signature = signer.states(&genesis.network(), &statement)?;
    let written = written(&args.kind, &genesis, signer.public(), &signature);
    files::write(&args.out, format!("{written}\n").as_bytes(), false)?;
    let shown = args.out.display();
    let text = match &args.kind {
        NoteKind::Delivery {
            provider, fee, bytes, ..
        } => format!(
            "{shown}  {} pays {fee} base units for {bytes} bytes of {provider}\nnext  hanzo chain claim data-sharing {shown} --wallet PROVIDER\n",
            signer.address()
        ),
        NoteKind::Lease { lease, seconds } => format!(
            "{shown}  {} accepts {seconds} seconds of lease {lease}\nnext  hanzo chain claim compute {shown} --heartbeat FILE --wallet MINER\n",
            signer.address()
        ),
    };
    let json = json!({"file": args.out, "note": written, "signer": signer.address().to_string()});
    Ok(Output::new(text, json))
}

fn statement(kind: &NoteKind) -> Result<Statement, ChainError> {
    Ok(match kind {
        NoteKind::Delivery {
            provider,
            seq,
            chunk_root,
            bytes,
            fee,
        } => Statement::Delivery {
            provider: address("PROVIDER", provider)?.0,
            seq: *seq,
            chunk_root: digest("--chunk-root", chunk_root)?.0,
            bytes: *bytes,
            fee: *fee,
        },
        NoteKind::Lease { lease, seconds } => Statement::LeaseNote {
            lease: digest("LEASE", lease)?.0,
            seconds: *seconds,
        },
    })
}

fn written(kind: &NoteKind, genesis: &Genesis, key: &PublicKey, signature: &MlDsaSignature) -> serde_json::Value {
    let genesis = genesis.digest().to_string();
    let (key, signature) = (hex::encode(&**key), hex::encode(&**signature));
    let value = match kind {
        NoteKind::Delivery {
            provider,
            seq,
            chunk_root,
            bytes,
            fee,
        } => serde_json::to_value(DeliveryFile {
            genesis,
            recipient: key,
            provider: provider.clone(),
            seq: *seq,
            chunk_root: chunk_root.clone(),
            bytes: *bytes,
            fee: fee.to_string(),
            signature,
        }),
        NoteKind::Lease { lease, seconds } => serde_json::to_value(LeaseNoteFile {
            genesis,
            lessee: key,
            lease: lease.clone(),
            seconds: *seconds,
            signature,
        }),
    };
    value.unwrap_or_default()
}
