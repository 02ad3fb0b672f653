//! The ranges of a policy's values.

use hanzo_attestation::name::Name;

use super::lists::{AllowList, ENTRIES_MAX};
use super::{AppraisalPolicy, FORMAT_VERSION, PolicyError, RELEASE_FORMAT_VERSION};

/// Most references of one kind in one policy.
const REFERENCES_MAX: usize = 512;

impl AppraisalPolicy {
    /// Checks every range. Reading a policy does this already.
    ///
    /// # Errors
    /// [`PolicyError::Version`]; [`PolicyError::Value`] with the key at fault.
    pub fn check(&self) -> Result<(), PolicyError> {
        if ![FORMAT_VERSION, RELEASE_FORMAT_VERSION].contains(&self.version) {
            return Err(PolicyError::Version { got: self.version });
        }
        // One spelling: without the table there is nothing that version 3 says and version 2 does not.
        if self.release.is_none() && self.version != FORMAT_VERSION {
            return Err(PolicyError::Version { got: self.version });
        }
        self.release.as_ref().map_or(Ok(()), |t| t.check_in(self))?;
        holds(
            (1..=86_400).contains(&self.max_age_s),
            "max_age_s",
            "1 to 86400",
            self.max_age_s.to_string(),
        )?;
        self.snp.as_ref().map_or(Ok(()), |t| t.check())?;
        self.tdx.as_ref().map_or(Ok(()), |t| t.check())?;
        self.tpm.as_ref().map_or(Ok(()), |t| t.check())?;
        self.gpu.as_ref().map_or(Ok(()), |t| t.check())
    }
}

pub(super) fn holds(
    ok: bool,
    field: &'static str,
    expected: &'static str,
    got: impl Into<String>,
) -> Result<(), PolicyError> {
    if ok {
        return Ok(());
    }
    Err(PolicyError::Value {
        field,
        expected,
        got: got.into(),
    })
}

pub(super) fn ascending<T: Ord>(
    field: &'static str,
    expected: &'static str,
    values: &[T],
    most: T,
) -> Result<(), PolicyError> {
    holds(
        values.iter().all(|v| *v <= most) && values.is_sorted_by(|a, b| a < b),
        field,
        expected,
        format!("{} values", values.len()),
    )
}

/// Names are for people and must tell references apart; so must the values.
pub(super) fn references<'a, T: Ord>(
    field: &'static str,
    references: impl Iterator<Item = (&'a Name, T)>,
) -> Result<(), PolicyError> {
    let (names, values): (Vec<_>, Vec<_>) = references.unzip();
    holds(
        names.len() <= REFERENCES_MAX,
        field,
        "at most 512 entries",
        names.len().to_string(),
    )?;
    holds(all_differ(names), field, "each name once", "a repeated name")?;
    holds(
        all_differ(values),
        field,
        "each combination of values once",
        "a repeated one",
    )
}

/// A list is bounded and has no repeats.
pub(super) fn unique<T: Ord>(field: &'static str, list: &AllowList<T>) -> Result<(), PolicyError> {
    let AllowList::Listed(values) = list else {
        return Ok(());
    };
    holds(
        values.len() <= ENTRIES_MAX && all_differ(values.iter().collect()),
        field,
        "at most 1024 entries, each once",
        format!("{} entries, or one of them twice", values.len()),
    )
}

pub(crate) fn all_differ<T: Ord>(mut items: Vec<T>) -> bool {
    items.sort();
    items.is_sorted_by(|a, b| a < b)
}
