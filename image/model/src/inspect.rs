//! `hanzo model inspect`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use hanzo_attestation::config::EngineKind;
use hanzo_model::{ADAPTER_FILE, ModelFacts, inspect};
use serde_json::json;

use crate::error::ToolError;
use crate::output::{Done, bytes};

/// Options of `inspect`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hanzo model inspect model.gguf\n  hanzo model inspect model/ --context-tokens 4096 --json"
)]
pub struct InspectArgs {
    /// A GGUF file, a directory with model.gguf or with config.json and *.safetensors, or an adapter's directory
    path: PathBuf,
    /// Tokens of prompt and answer, for the memory that is needed [default: what the model was trained for, at most 8192]
    #[arg(long, value_parser = clap::value_parser!(u64).range(64..=1_048_576))]
    context_tokens: Option<u64>,
}

const ENGINES: [EngineKind; 2] = [EngineKind::LlamaCpp, EngineKind::MistralRs];
const CONTEXT_SHOWN: u64 = 8192;

pub(crate) fn run(args: &InspectArgs) -> Result<Done, ToolError> {
    if args.path.join(ADAPTER_FILE).is_file() {
        return crate::adapter::told(&args.path);
    }
    let facts = inspect(&args.path)?;
    let context = args
        .context_tokens
        .unwrap_or_else(|| facts.context_tokens.unwrap_or(CONTEXT_SHOWN).min(CONTEXT_SHOWN));
    let runs = |engine: &&EngineKind| facts.tokenizer_sha256(**engine).is_some();
    let needs: Vec<_> = ENGINES
        .iter()
        .filter(runs)
        .map(|engine| (*engine, facts.least_machine_bytes(*engine, context)))
        .collect();
    let mut text = told(&facts);
    for (engine, need) in &needs {
        let _ = writeln!(
            text,
            "memory         at least {} with {} and {context} tokens",
            bytes(*need),
            engine.as_str()
        );
    }
    let engines: Vec<_> = needs
        .iter()
        .map(|(engine, need)| {
            json!({
                "engine": engine.as_str(),
                "least_machine_bytes": need,
                "least_engine_bytes": facts.least_memory_bytes(*engine, context),
                "tokenizer_sha256": facts.tokenizer_sha256(*engine),
            })
        })
        .collect();
    Ok(Done {
        text,
        json: json!({"path": args.path, "facts": facts, "context_tokens": context, "engines": engines}),
    })
}

/// The facts, one a line.
pub(crate) fn told(facts: &ModelFacts) -> String {
    let number = |n: Option<u64>| n.map_or_else(|| "not said".to_owned(), |n| n.to_string());
    let digest = |d: Option<hanzo_attestation::Digest256>| d.map_or_else(|| "none".to_owned(), |d| d.to_string());
    let mut text = format!("format         {}\n", facts.format.as_str());
    let _ = writeln!(text, "architecture   {}", facts.architecture);
    if let Some(title) = &facts.title {
        let _ = writeln!(text, "name           {title} (its own word)");
    }
    if let Some(licence) = &facts.licence {
        let _ = writeln!(text, "licence        {licence} (its own word)");
    }
    let _ = writeln!(
        text,
        "parameters     {} in {} tensors, {} ({})",
        facts.parameters,
        facts.tensors,
        bytes(facts.weights_bytes),
        facts.encodings_text()
    );
    let _ = writeln!(text, "context        {} tokens", number(facts.context_tokens));
    let _ = writeln!(text, "layers         {}", number(facts.layers));
    let _ = writeln!(text, "vocabulary     {}", number(facts.vocabulary));
    let _ = writeln!(
        text,
        "per token      {} bytes of keys and values",
        number(facts.bytes_per_token)
    );
    let _ = writeln!(
        text,
        "tokenizer      {} (llama.cpp: in the GGUF)",
        digest(facts.gguf_tokenizer_sha256)
    );
    let _ = writeln!(
        text,
        "               {} (mistral.rs: tokenizer.json)",
        digest(facts.tokenizer_json_sha256)
    );
    let _ = writeln!(text, "chat template  {}", digest(facts.chat_template_sha256));
    text
}
