//! The `cpu` member of a bundle, alone: what `hanzo-verify staple` makes of a bare report or quote.

use super::{ForeignError, ForeignEvidence, ForeignFormat, Rule, Supplied, json_without_duplicates};
use crate::bundle::CpuEvidence;
use crate::evidence::RawEvidence;

/// Reads the member. Like a bare report it states no rule: only the caller can say what was to be signed.
pub(super) fn read(bytes: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let format = ForeignFormat::Member;
    let shape = |detail: String| ForeignError::Shape { format, detail };
    json_without_duplicates(bytes).map_err(shape)?;
    let cpu: CpuEvidence = serde_json::from_slice(bytes).map_err(|e| shape(e.to_string()))?;
    let raw = RawEvidence::from(cpu);
    Ok(ForeignEvidence::new(Rule::unstated(format), Some(raw), supplied))
}
