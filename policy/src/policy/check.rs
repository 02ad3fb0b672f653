//! The ranges of a policy's values.

use super::{AppraisalPolicy, PolicyError};
use crate::hardware::HardwareList;

/// Most references in one policy.
const REFERENCES_MAX: usize = 512;
/// Most chip ids in one policy.
const CHIP_IDS_MAX: usize = 1024;

impl AppraisalPolicy {
    /// Checks every range. Reading a policy does this already.
    ///
    /// # Errors
    /// [`PolicyError::Value`] with the key at fault.
    pub fn check(&self) -> Result<(), PolicyError> {
        let range = |ok: bool, field, expected, got: String| {
            if ok {
                Ok(())
            } else {
                Err(PolicyError::Value { field, expected, got })
            }
        };
        range(self.version == 1, "version", "1", self.version.to_string())?;
        range(
            (1..=86_400).contains(&self.max_age_s),
            "max_age_s",
            "1 to 86400",
            self.max_age_s.to_string(),
        )?;
        range(
            self.vmpl.iter().all(|v| *v <= 3) && self.vmpl.is_sorted_by(|a, b| a < b),
            "vmpl",
            "levels 0 to 3, ascending, each once",
            format!("{} levels", self.vmpl.len()),
        )?;
        if let HardwareList::Listed(ids) = &self.hardware {
            range(
                ids.len() <= CHIP_IDS_MAX && all_differ(ids.iter().collect()),
                "hardware",
                "\"any\" or at most 1024 chip ids, each once",
                format!("{} ids, or one of them twice", ids.len()),
            )?;
        }
        range(
            self.references.len() <= REFERENCES_MAX,
            "references",
            "at most 512",
            self.references.len().to_string(),
        )?;
        range(
            all_differ(self.references.iter().map(|r| &r.name).collect()),
            "references.name",
            "each name once",
            "a repeated name".into(),
        )?;
        range(
            all_differ(
                self.references
                    .iter()
                    .map(|r| (&r.measurement, &r.config_digest))
                    .collect(),
            ),
            "references.measurement",
            "each pair of measurement and config_digest once",
            "a repeated pair".into(),
        )
    }
}

fn all_differ<T: Ord>(mut items: Vec<T>) -> bool {
    items.sort();
    items.is_sorted_by(|a, b| a < b)
}
