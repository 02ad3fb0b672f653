//! `hanzo model list`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use hanzo_model::{ModelFacts, ModelFileError, inspect};
use serde_json::json;

use crate::error::ToolError;
use crate::output::{Done, bytes};

/// Options of `list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hanzo model list\n  hanzo model list /srv/models --json")]
pub struct ListArgs {
    /// A folder of GGUF files and model directories [default: where `hanzo model pull` puts them]
    pub dir: Option<PathBuf>,
}

/// Most entries that are looked at.
const ENTRIES_MAX: usize = 4096;

pub(crate) fn run(args: &ListArgs) -> Result<Done, ToolError> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => default_dir().ok_or(ToolError::Usage(
            "neither XDG_CACHE_HOME nor HOME is set: name the folder of models",
        ))?,
    };
    let mut text = String::new();
    let mut rows = Vec::new();
    for path in candidates(&dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match inspect(&path) {
            Ok(facts) => {
                let _ = writeln!(text, "{}", row(&name, &facts));
                rows.push(json!({"name": name, "path": path, "facts": facts}));
            }
            // Other folders and files may lie there.
            Err(ModelFileError::NotAModel { .. }) => {}
            Err(error) => {
                let _ = writeln!(text, "{name:32} DAMAGED: {error} [{}]", error.code());
                let error = json!({"code": error.code(), "message": error.to_string()});
                rows.push(json!({"name": name, "path": path, "error": error}));
            }
        }
    }
    if rows.is_empty() {
        text = format!("no models in {}\n", dir.display());
    }
    Ok(Done {
        text,
        json: json!({"dir": dir, "models": rows}),
    })
}

/// `$XDG_CACHE_HOME/hanzo/models` or `~/.cache/hanzo/models`.
fn default_dir() -> Option<PathBuf> {
    let absolute = |v: &str| std::env::var_os(v).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("hanzo/models"))
}

/// GGUF files and directories, by name; hidden ones are work in progress.
fn candidates(dir: &Path) -> Result<Vec<PathBuf>, ToolError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(ToolError::io("listing", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries.take(ENTRIES_MAX) {
        let path = entry.map_err(ToolError::io("listing", dir))?.path();
        let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        let is_gguf = path.extension().is_some_and(|e| e == "gguf") && path.is_file();
        if !hidden && (is_gguf || path.is_dir()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn row(name: &str, facts: &ModelFacts) -> String {
    format!(
        "{name:32} {:11} {:20} {:>10}  {}",
        facts.format.as_str(),
        facts.architecture,
        bytes(facts.weights_bytes),
        facts.encodings_text()
    )
}
