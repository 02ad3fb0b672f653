//! From a path to facts.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use hanzo_attestation::Digest256;

use crate::error::ModelFileError;
use crate::facts::ModelFacts;
use crate::{gguf, safetensors};

/// What the weights of a GGUF model are called in a model directory.
pub const GGUF_FILE: &str = "model.gguf";
/// What mistral.rs makes ids with.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// Where a chat template may stand, in this order.
pub const CHAT_TEMPLATES: [&str; 2] = ["chat_template.jinja", "tokenizer_config.json"];

/// Reads what a GGUF file or a model directory says of itself. Tensors are not read.
///
/// # Errors
/// [`ModelFileError`].
pub fn inspect(path: &Path) -> Result<ModelFacts, ModelFileError> {
    let meta = std::fs::metadata(path).map_err(ModelFileError::io("reading", path))?;
    if !meta.is_dir() {
        if !meta.is_file() {
            return Err(not_a_model(path, "neither a file nor a directory"));
        }
        return gguf::facts(path);
    }
    let weights = path.join(GGUF_FILE);
    let mut facts = if weights.is_file() {
        gguf::facts(&weights)?
    } else if path.join(safetensors::CONFIG).is_file() {
        safetensors::facts(path)?
    } else {
        return Err(not_a_model(path, "a directory with neither model.gguf nor config.json"));
    };
    facts.tokenizer_json_sha256 = file_sha256(&path.join(TOKENIZER_FILE))?;
    for name in CHAT_TEMPLATES {
        if facts.chat_template_sha256.is_none() {
            facts.chat_template_sha256 = file_sha256(&path.join(name))?;
        }
    }
    Ok(facts)
}

fn not_a_model(path: &Path, got: &str) -> ModelFileError {
    ModelFileError::NotAModel {
        path: path.to_owned(),
        got: got.to_owned(),
    }
}

/// `None` if there is no such file.
fn file_sha256(path: &Path) -> Result<Option<Digest256>, ModelFileError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(ModelFileError::io("opening", path))?,
    };
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let got = file.read(&mut buffer).map_err(ModelFileError::io("reading", path))?;
        match buffer.get(..got) {
            None | Some([]) => break,
            Some(part) => context.update(part),
        }
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Ok(Some(Digest256(out)))
}
