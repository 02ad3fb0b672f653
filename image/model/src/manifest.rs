//! `hanzo model manifest`: draft, sign, assemble.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use hanzo_attestation::UnixTime;
use hanzo_attestation::config::EngineKind;
use hanzo_attestation::jcs;
use hanzo_attestation::name::Name;
use hanzo_image::release::{keys, sign as release_sign};
use hanzo_model::{
    AdapterFacts, MANIFEST_BYTES_MAX, ManifestError, ModelManifest, Publication, SignedModel, inspect, sign,
};
use serde_json::json;

use crate::error::ToolError;
use crate::files::{read, write_new};
use crate::output::Done;
use crate::progress::Progress;

const DAY_S: u64 = 86_400;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ManifestCommand {
    /// Put a manifest together that nobody has signed, from the files of a model directory
    Draft(Box<DraftArgs>),
    /// Sign a manifest with one holder's key, offline
    #[command(
        after_help = "Example:\n  hanzo-image release keygen ada.key --name ada\n  hanzo model manifest sign model.json --key ada.key --output ada.sig"
    )]
    Sign {
        /// The manifest
        manifest: PathBuf,
        /// The holder's key, of `hanzo-image release keygen`
        #[arg(long)]
        key: PathBuf,
        /// Where the signature is written
        #[arg(long)]
        output: PathBuf,
    },
    /// Put a quorum of signatures under a manifest
    #[command(
        after_help = "Example:\n  hanzo model manifest assemble model.json --public ada.key.pub --public bob.key.pub --signature ada.sig \\\n      --signature bob.sig --output smollm2.model.json"
    )]
    Assemble {
        /// The manifest
        manifest: PathBuf,
        /// Public part of a key. Repeated: the whole set that configurations pin
        #[arg(long, required = true)]
        public: Vec<PathBuf>,
        /// How many of them must sign
        #[arg(long, default_value_t = 2)]
        threshold: u8,
        /// A signature. Repeated
        #[arg(long, required = true)]
        signature: Vec<PathBuf>,
        /// Where the signed manifest is written: <name>.model.json beside the pack is where guests look
        #[arg(long)]
        output: PathBuf,
    },
}

/// What a manifest is drafted from.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  hanzo model manifest draft model/ --name smollm2 --licence Apache-2.0 --minimum-tier 2 --output model.json
  hanzo model manifest draft tuned/ --base model/ --name tuned --licence MIT --minimum-tier 2 --output tuned.json")]
pub struct DraftArgs {
    /// The model directory, as it is sealed
    dir: PathBuf,
    /// Of an adapter: the directory of the model that it goes on
    #[arg(long)]
    base: Option<PathBuf>,
    /// What clients ask for
    #[arg(long, value_parser = |text: &str| Name::new(text).map_err(|e| e.to_string()))]
    name: Name,
    /// Under which terms: an SPDX expression, or words
    #[arg(long)]
    licence: String,
    /// The lowest privacy tier that a guest may serve it at
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=4))]
    minimum_tier: u8,
    /// What computes it: llama.cpp or mistral.rs; by its format if absent
    #[arg(long, value_parser = engine)]
    engine: Option<EngineKind>,
    /// Most tokens of prompt and answer; what the model was trained for if absent
    #[arg(long)]
    context_tokens: Option<u64>,
    /// Of the model, from 1
    #[arg(long, default_value_t = 1)]
    version: u64,
    /// First second, Unix seconds; now if absent
    #[arg(long)]
    issued_at: Option<u64>,
    /// How many days it counts
    #[arg(long, default_value_t = 365)]
    days: u64,
    /// Where it is written
    #[arg(long)]
    output: PathBuf,
}

fn engine(text: &str) -> Result<EngineKind, String> {
    [EngineKind::LlamaCpp, EngineKind::MistralRs]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| "expected llama.cpp or mistral.rs".into())
}

pub(crate) fn run(command: ManifestCommand) -> Result<Done, ToolError> {
    match command {
        ManifestCommand::Draft(args) => draft(*args),
        ManifestCommand::Sign { manifest, key, output } => {
            let (manifest, holder) = (load(&manifest)?, keys::release_key(&key)?);
            let signature = sign(&manifest, &holder.keys, holder.public.id())?;
            let bytes = jcs::to_vec("signature", &signature).map_err(ManifestError::Json)?;
            write_new(&output, &bytes)?;
            Ok(Done {
                text: format!(
                    "{}: {} signed {}\n",
                    output.display(),
                    holder.public.name,
                    about(&manifest)
                ),
                json: json!({"signature": output, "key": holder.public.id(), "manifest": manifest}),
            })
        }
        ManifestCommand::Assemble {
            manifest,
            public,
            threshold,
            signature,
            output,
        } => {
            let set = keys::key_set(&public, threshold)?;
            let signatures = signature
                .iter()
                .map(|path| release_sign::signature(path))
                .collect::<Result<Vec<_>, _>>()?;
            let signed = SignedModel::new(load(&manifest)?, signatures);
            let verified = signed.verify(&set)?;
            write_new(&output, &signed.canonical()?)?;
            let signers: Vec<_> = verified.signers().iter().map(ToString::to_string).collect();
            Ok(Done {
                text: format!(
                    "{}: {}, signed by {}\n",
                    output.display(),
                    about(verified.manifest()),
                    signers.join(", ")
                ),
                json: json!({"signed": output, "manifest": verified.manifest(), "signers": signers}),
            })
        }
    }
}

fn draft(args: DraftArgs) -> Result<Done, ToolError> {
    let adapter = args.base.as_ref().map(|_| AdapterFacts::read(&args.dir)).transpose()?;
    let facts = inspect(args.base.as_ref().unwrap_or(&args.dir))?;
    if let (Some(base), Some(adapter)) = (&args.base, &adapter) {
        adapter.check_base(&args.dir, &crate::delta::root(base)?)?;
    }
    let weights_root = {
        let bar = Progress::bytes("hashing");
        hanzo_pack::weights_root(&args.dir, &|at| bar.at(at))?
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let from = args.issued_at.unwrap_or(now);
    let publication = Publication {
        name: args.name,
        version: args.version,
        licence: args.licence,
        minimum_tier: args.minimum_tier,
        engine: args.engine,
        context_tokens: args.context_tokens,
        life: (
            UnixTime(from),
            UnixTime(from.saturating_add(args.days.saturating_mul(DAY_S))),
        ),
        weights_root,
    };
    let manifest = match &adapter {
        None => ModelManifest::draft(&facts, publication)?,
        Some(adapter) => ModelManifest::draft_adapter(&facts, adapter, publication)?,
    };
    write_new(&args.output, &manifest.canonical()?)?;
    Ok(Done {
        text: format!(
            "{}: {}, not signed\nroot       {}\ntokenizer  {}\nengine     {}\n",
            args.output.display(),
            about(&manifest),
            manifest.weights_root,
            manifest.tokenizer_sha256,
            manifest.engine.as_str()
        ),
        json: json!({"output": args.output, "manifest": manifest}),
    })
}

fn load(path: &std::path::Path) -> Result<ModelManifest, ToolError> {
    let bytes = read(path, MANIFEST_BYTES_MAX)?;
    Ok(ModelManifest::parse(bytes.strip_suffix(b"\n").unwrap_or(&bytes))?)
}

fn about(manifest: &ModelManifest) -> String {
    format!("manifest of {} version {}", manifest.name, manifest.version)
}
