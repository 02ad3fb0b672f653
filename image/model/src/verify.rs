//! `hanzo model verify`.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_image::release::keys::key_set;
use hanzo_model::{AdapterFacts, SIGNED_BYTES_MAX, SignedModel, Subject, VerifiedModel};
use hanzo_store::KeyFile;
use serde_json::json;

use crate::error::ToolError;
use crate::files::read;
use crate::output::Done;
use crate::progress::Progress;

/// Options of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hanzo model verify model/ --weights-root 63e8...
  hanzo model verify model.pack --dek-file model.key --weights-root 63e8...
  hanzo model verify model/ --manifest model.json --public ada.key.pub --public bob.key.pub
  hanzo model verify tuned/ --base model/ --manifest tuned.json --public ada.key.pub --public bob.key.pub

A directory is hashed; a pack is opened in memory, chunk by chunk, and nothing of it is written. Without a root and a manifest the root is
printed and compared with nothing.")]
pub struct VerifyArgs {
    /// A model directory or a pack
    path: PathBuf,
    /// The root it must have
    #[arg(long, value_parser = |text: &str| Digest256::from_hex(text).ok_or("64 lower-case hex digits"))]
    weights_root: Option<Digest256>,
    /// The pack's data key
    #[arg(long)]
    dek_file: Option<PathBuf>,
    /// A signed manifest that it must fit
    #[arg(long, requires = "public")]
    manifest: Option<PathBuf>,
    /// Public part of a key that signs manifests. Repeated: the whole set
    #[arg(long, requires = "manifest")]
    public: Vec<PathBuf>,
    /// How many of them must have signed
    #[arg(long, default_value_t = 2)]
    threshold: u8,
    /// Of an adapter: the directory of the model that it goes on
    #[arg(long)]
    base: Option<PathBuf>,
    /// As of this time, Unix seconds; now by default
    #[arg(long, requires = "manifest")]
    at: Option<u64>,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<Done, ToolError> {
    let manifest = manifest(args)?;
    let is_dir = args.path.is_dir();
    let got = match is_dir {
        true => {
            let bar = Progress::bytes("hashing");
            hanzo_pack::weights_root(&args.path, &|at| bar.at(at))?
        }
        false => pack_root(&args.path, args.dek_file.as_deref())?,
    };
    if let Some(expected) = args.weights_root
        && expected != got
    {
        return Err(ToolError::Root {
            path: args.path.clone(),
            expected,
            got,
        });
    }
    let base_root = args.base.as_deref().map(crate::delta::root).transpose()?;
    if let (Some(root), true) = (&base_root, is_dir) {
        AdapterFacts::read(&args.path)?.check_base(&args.path, root)?;
    }
    if let Some(manifest) = &manifest {
        let of = manifest.manifest();
        manifest.check_subject(&Subject {
            name: &of.name,
            weights_root: &got,
            base_root: base_root.as_ref(),
            context_tokens: of.context_tokens,
            tier: of.minimum_tier,
            engine: None,
        })?;
        match (&args.base, is_dir) {
            (Some(base), _) => manifest.check_facts(&hanzo_model::inspect(base)?)?,
            (None, true) => manifest.check_facts(&hanzo_model::inspect(&args.path)?)?,
            (None, false) => {}
        }
    }
    let mut text = format!("root       {got}\n");
    text += match args.weights_root {
        Some(_) => "compared   the same as asked for\n",
        None if manifest.is_none() => "compared   with nothing: give --weights-root or --manifest\n",
        None => "",
    };
    if let Some(manifest) = &manifest {
        text += &told(manifest, is_dir);
    }
    let signers = manifest.as_ref().map(|m| m.signers().to_vec());
    Ok(Done {
        text,
        json: json!({
            "path": args.path,
            "weights_root": got,
            "compared_root": args.weights_root.is_some(),
            "manifest": manifest.as_ref().map(VerifiedModel::manifest),
            "signers": signers,
        }),
    })
}

fn told(manifest: &VerifiedModel, with_files: bool) -> String {
    let of = manifest.manifest();
    let signers: Vec<_> = manifest.signers().iter().map(ToString::to_string).collect();
    format!(
        "manifest   {} version {}, {}, tier {} or higher, signed by {}\n           holds for the {}\n",
        of.name,
        of.version,
        of.licence,
        of.minimum_tier,
        signers.join(", "),
        match with_files {
            true => "root, tokenizer, template, architecture and format",
            false => "root, which all files are under",
        }
    )
}

fn manifest(args: &VerifyArgs) -> Result<Option<VerifiedModel>, ToolError> {
    let Some(path) = &args.manifest else { return Ok(None) };
    let keys = key_set(&args.public, args.threshold)?;
    let verified = SignedModel::parse(&read(path, SIGNED_BYTES_MAX)?)?.verify(&keys)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    verified.check_time(UnixTime(args.at.unwrap_or(now)))?;
    Ok(Some(verified))
}

fn pack_root(path: &Path, dek: Option<&Path>) -> Result<Digest256, ToolError> {
    let dek = dek.ok_or(ToolError::Usage(
        "a pack is opened with its data key: give --dek-file (keys in a broker leave it for guests alone)",
    ))?;
    let dek = KeyFile::load(dek)?;
    let bar = Progress::bytes("opening");
    Ok(hanzo_pack::check(path, &dek, &|at| bar.at(at))?.weights_root)
}
