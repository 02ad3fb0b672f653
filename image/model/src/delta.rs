//! `hanzo model delta`: make one, and see what base and delta give.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use hanzo_delta::DELTA_FILE;
use hanzo_model::{ADAPTER_FILE, Adapter, AdapterFacts, AdapterKind, SCALE_ONE_MICROS};
use serde_json::json;

use crate::error::ToolError;
use crate::files::write_new;
use crate::output::{Done, bytes};
use crate::progress::Progress;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum DeltaCommand {
    /// Take the delta from a base model to a fine-tuned one of the same shape: an adapter, where the base is a directory
    #[command(
        after_help = "Example:\n  hanzo model delta make base/ fine/ --output delta/\n  hanzo model seal delta/ --output tuned.pack --dek-file tuned.key"
    )]
    Make {
        /// The base: a GGUF file or a model directory, matrices in F32, F16 or BF16
        base: PathBuf,
        /// The fine-tuned model
        fine: PathBuf,
        /// A directory for the delta, which is then sealed like a model; must not exist
        #[arg(long)]
        output: PathBuf,
    },
    /// Put a delta onto a copy of its base, and print the weights root of the result
    #[command(after_help = "Example:\n  hanzo model delta apply base/ delta/ --output tuned/")]
    Apply {
        /// The base: a model directory
        base: PathBuf,
        /// What `make` wrote
        delta: PathBuf,
        /// A directory for the result; must not exist
        #[arg(long)]
        output: PathBuf,
    },
}

pub(crate) fn run(command: &DeltaCommand) -> Result<Done, ToolError> {
    match command {
        DeltaCommand::Make { base, fine, output } => {
            let made = in_new(output, |dir| {
                let made = hanzo_delta::make(base, fine, &dir.join(DELTA_FILE))?;
                // Of a file alone there is no root.
                if base.is_dir() {
                    let adapter = Adapter::new(AdapterKind::BitDelta, root(base)?, SCALE_ONE_MICROS);
                    write_new(&dir.join(ADAPTER_FILE), &adapter.document(dir)?)?;
                }
                Ok(made)
            })?;
            let file = output.join(DELTA_FILE);
            let size = fs::metadata(&file).map_err(ToolError::io("reading", &file))?.len();
            let root = root(output)?;
            Ok(Done {
                text: format!(
                    "{}: {} matrices, {} weights, {}\nroot       {root} (of the delta)\n",
                    output.display(),
                    made.matrices,
                    made.elements,
                    bytes(size)
                ),
                json: json!({"delta": output, "matrices": made.matrices, "elements": made.elements, "bytes": size, "root": root}),
            })
        }
        DeltaCommand::Apply { base, delta, output } => {
            let applied = in_new(output, |dir| {
                if delta.join(ADAPTER_FILE).is_file() {
                    AdapterFacts::read(delta)?.check_base(delta, &root(base)?)?;
                }
                copy(base, dir)?;
                Ok(hanzo_delta::apply(dir, &delta.join(DELTA_FILE))?)
            })?;
            let root = root(output)?;
            Ok(Done {
                text: format!(
                    "{}: {} matrices changed\nroot       {root} (of the result: `weights_root` of the model)\n",
                    output.display(),
                    applied.matrices
                ),
                json: json!({"result": output, "matrices": applied.matrices, "weights_root": root}),
            })
        }
    }
}

pub(crate) fn root(dir: &Path) -> Result<hanzo_attestation::Digest256, ToolError> {
    let bar = Progress::bytes("hashing");
    Ok(hanzo_pack::weights_root(dir, &|at| bar.at(at))?)
}

/// Works in a directory beside `target`, which takes its place when all of it is done.
pub(crate) fn in_new<T>(target: &Path, work: impl FnOnce(&Path) -> Result<T, ToolError>) -> Result<T, ToolError> {
    if target.symlink_metadata().is_ok() {
        return Err(ToolError::Exists {
            path: target.to_owned(),
        });
    }
    let parent = crate::files::parent(target);
    let part = tempfile::Builder::new()
        .prefix(".hanzo-delta-")
        .tempdir_in(parent)
        .map_err(ToolError::io("creating a directory in", parent))?;
    let outcome = work(part.path())?;
    let part = part.keep();
    fs::rename(&part, target).map_err(|source| {
        // Half of it is of no use; the failure is what is reported.
        let _ = fs::remove_dir_all(&part);
        ToolError::io("renaming to", target)(source)
    })?;
    Ok(outcome)
}

fn copy(from: &Path, to: &Path) -> Result<(), ToolError> {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in fs::read_dir(from).map_err(ToolError::io("reading", from))? {
        let path = entry.map_err(ToolError::io("reading", from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        fs::copy(&path, &target)
            .and_then(|_| fs::set_permissions(&target, fs::Permissions::from_mode(0o600)))
            .map_err(ToolError::io("copying to", &target))?;
    }
    Ok(())
}
