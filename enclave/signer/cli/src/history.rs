//! What is done with slashing-protection files.

use std::fmt::Write as _;
use std::path::Path;

use hanzo_signer::SignerError;
use hanzo_signer::history::{Form, SigningHistory};
use hanzo_signer::interchange::{INTERCHANGE_BYTES_MAX, Interchange};

use crate::files::{self, CliError};

pub fn check(path: &Path, minimal: bool) -> Result<String, CliError> {
    let bytes = files::read(path, INTERCHANGE_BYTES_MAX)?;
    let wrong = |source: SignerError| CliError::History {
        path: path.into(),
        source,
    };
    let file = Interchange::parse(&bytes).map_err(|e| wrong(e.into()))?;
    let form = match minimal {
        true => Form::Minimal,
        false => Form::Complete,
    };
    let mut history = SigningHistory::new(form, file.genesis);
    history.import(&file).map_err(|e| wrong(e.into()))?;
    if minimal {
        return Ok(history.export().to_json());
    }
    let mut out = format!("consistent; genesis 0x{}\n", hex::encode(file.genesis));
    for entry in history.export().entries {
        let highest = |numbers: &mut dyn Iterator<Item = u64>| numbers.max().map_or("none".into(), |n| n.to_string());
        let slot = highest(&mut entry.blocks.iter().map(|block| block.slot));
        let target = highest(&mut entry.attestations.iter().map(|vote| vote.target));
        // A string takes everything.
        let _ = writeln!(
            out,
            "0x{}: {} blocks up to slot {slot}, {} attestations up to target {target}",
            hex::encode(entry.key.0),
            entry.blocks.len(),
            entry.attestations.len()
        );
    }
    Ok(out)
}
