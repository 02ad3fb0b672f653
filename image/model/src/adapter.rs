//! `hanzo model adapter`: a LoRA adapter and its base's root in one directory; what such a directory says.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use hanzo_model::{ADAPTER_FILE, Adapter, AdapterFacts, AdapterKind, LORA_FILE, SCALE_ONE_MICROS};
use serde_json::{Value, json};

use crate::delta::{in_new, root};
use crate::error::ToolError;
use crate::files::write_new;
use crate::output::{Done, bytes};

/// Options of `adapter`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  hanzo model adapter base/ tuned-lora.gguf --output tuned/
  hanzo model seal tuned/ --output tuned.pack --dek-file tuned.key

llama.cpp's convert_lora_to_gguf.py makes the GGUF from a PEFT directory. In a guest's configuration the adapter is a model with
`base = \"NAME\"` and, where callers are told apart, `callers = [\"WHOSE\"]`.")]
pub struct AdapterArgs {
    /// The base: a model directory
    base: PathBuf,
    /// The adapter: LoRA in GGUF
    lora: PathBuf,
    /// What its product is multiplied by besides, in millionths
    #[arg(long, default_value_t = SCALE_ONE_MICROS)]
    scale_micros: u64,
    /// A directory for both, which is then sealed like a model; must not exist
    #[arg(long)]
    output: PathBuf,
}

pub(crate) fn run(args: &AdapterArgs) -> Result<Done, ToolError> {
    let architecture = hanzo_model::inspect(&args.base)?.architecture;
    let adapter = Adapter::new(AdapterKind::Lora, root(&args.base)?, args.scale_micros);
    in_new(&args.output, |dir| {
        write_new(&dir.join(ADAPTER_FILE), &adapter.document(dir)?)?;
        let target = dir.join(LORA_FILE);
        fs::copy(&args.lora, &target).map_err(ToolError::io("copying to", &target))?;
        let facts = AdapterFacts::read(dir)?;
        match &facts.architecture {
            Some(other) if *other != architecture => Err(ToolError::Document {
                path: args.lora.clone(),
                expected: "an adapter of the base's architecture",
                got: format!("one of {other}; the base is {architecture}"),
            }),
            _ => Ok(()),
        }
    })?;
    told(&args.output)
}

/// What an adapter's directory says.
pub(crate) fn told(dir: &Path) -> Result<Done, ToolError> {
    let facts = AdapterFacts::read(dir)?;
    let root = root(dir)?;
    let adapter = &facts.adapter;
    let text = format!(
        "{}: {} adapter, {} matrices, {}\nroot       {root} (of the adapter: `weights_root` of its entry)\nbase       {}\nscale      {} millionths\n",
        dir.display(),
        adapter.kind.as_str(),
        facts.matrices,
        bytes(facts.bytes),
        adapter.base_root,
        adapter.scale_micros
    );
    let json: Value = json!({
        "adapter": dir,
        "kind": adapter.kind.as_str(),
        "matrices": facts.matrices,
        "bytes": facts.bytes,
        "architecture": facts.architecture,
        "weights_root": root,
        "base_root": adapter.base_root,
        "scale_micros": adapter.scale_micros,
    });
    Ok(Done { text, json })
}
