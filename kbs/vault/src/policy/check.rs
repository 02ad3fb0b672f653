//! The ranges of a release policy's values, and what may follow what.

use std::collections::BTreeSet;

use hanzo_policy::AppraisalPolicy;
use hanzo_rego::Module;

use super::{KeyPolicy, KeyPolicyError};

/// Longest time between a grant and its opening, in seconds.
pub const GRANT_LIFETIME_S_MAX: u64 = 300;
/// Most entries of `image_versions`.
pub const IMAGE_VERSIONS_MAX: usize = 1024;

const WIDE: u64 = (1 << 53) - 1;

impl KeyPolicy {
    /// Checks every value.
    ///
    /// # Errors
    /// [`KeyPolicyError::Value`], [`KeyPolicyError::Appraisal`], [`KeyPolicyError::Rego`].
    pub fn check(&self) -> Result<(), KeyPolicyError> {
        self.appraisal.check()?;
        let within_grant = 1..=GRANT_LIFETIME_S_MAX;
        for (field, range, expected, got) in [
            ("grant_lifetime_s", within_grant, "1 to 300", self.grant_lifetime_s),
            ("max_uses", 1..=WIDE, "1 to 2^53 - 1", self.max_uses),
            (
                "minimum_image_version",
                0..=WIDE,
                "0 to 2^53 - 1",
                self.minimum_image_version,
            ),
            ("not_after", 1..=WIDE, "Unix seconds from 1, below 2^53", self.not_after),
            ("not_before", 0..=self.not_after, "0 to not_after", self.not_before),
        ] {
            holds(range.contains(&got), field, expected, || got.to_string())?;
        }
        self.check_image_versions()?;
        holds(
            !self.wrap.is_empty() && self.wrap.is_sorted_by(|a, b| a < b),
            "wrap",
            "one or more of \"akp\", \"classical\", \"hpke\", ascending, each once",
            || format!("{:?}", self.wrap.iter().map(|w| w.as_str()).collect::<Vec<_>>()),
        )?;
        if let Some(text) = &self.rego {
            Module::parse(text)?;
        }
        Ok(())
    }

    fn check_image_versions(&self) -> Result<(), KeyPolicyError> {
        const FIELD: &str = "image_versions";
        holds(
            self.image_versions.len() <= IMAGE_VERSIONS_MAX,
            FIELD,
            "at most 1024 entries",
            || self.image_versions.len().to_string(),
        )?;
        let known = reference_names(&self.appraisal);
        for (name, version) in &self.image_versions {
            holds(
                known.contains(name.as_str()),
                FIELD,
                "names of appraisal's references",
                || name.to_string(),
            )?;
            holds((1..=WIDE).contains(version), FIELD, "versions 1 to 2^53 - 1", || {
                format!("{version} for {name}")
            })?;
        }
        // A session shows the measurement alone. Were two versions behind one, the older could pass as the newer.
        for (one, other) in same_measurement(&self.appraisal) {
            let of = |name: &str| {
                self.image_versions
                    .iter()
                    .find(|(n, _)| n.as_str() == name)
                    .map(|(_, v)| *v)
            };
            holds(of(one) == of(other), FIELD, "one version for one measurement", || {
                format!("another for {one} than for {other}")
            })?;
        }
        Ok(())
    }

    /// Checks that this policy may follow `earlier` for the same key.
    ///
    /// # Errors
    /// [`KeyPolicyError::Fixed`], [`KeyPolicyError::Lowered`].
    pub fn may_follow(&self, earlier: &Self) -> Result<(), KeyPolicyError> {
        let fixed = |same, field| match same {
            true => Ok(()),
            false => Err(KeyPolicyError::Fixed { field }),
        };
        fixed(self.allow_simulated == earlier.allow_simulated, "allow_simulated")?;
        fixed(self.tenant == earlier.tenant, "tenant")?;
        if self.minimum_image_version < earlier.minimum_image_version {
            return Err(KeyPolicyError::Lowered {
                expected: earlier.minimum_image_version,
                got: self.minimum_image_version,
            });
        }
        Ok(())
    }
}

fn holds(
    ok: bool,
    field: &'static str,
    expected: &'static str,
    got: impl FnOnce() -> String,
) -> Result<(), KeyPolicyError> {
    match ok {
        true => Ok(()),
        false => Err(KeyPolicyError::Value {
            field,
            expected,
            got: got(),
        }),
    }
}

pub(super) fn reference_names(appraisal: &AppraisalPolicy) -> BTreeSet<&str> {
    let snp = appraisal
        .snp
        .iter()
        .flat_map(|t| &t.references)
        .map(|r| r.name.as_str());
    let tdx = appraisal
        .tdx
        .iter()
        .flat_map(|t| &t.references)
        .map(|r| r.name.as_str());
    let tpm = appraisal
        .tpm
        .iter()
        .flat_map(|t| &t.references)
        .map(|r| r.name.as_str());
    snp.chain(tdx).chain(tpm).collect()
}

/// Names of neighbouring references that the same evidence could match: the first to match gives its name.
fn same_measurement(appraisal: &AppraisalPolicy) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    if let Some(table) = &appraisal.snp {
        for (i, one) in table.references.iter().enumerate() {
            let rest = table.references.iter().skip(i + 1);
            pairs.extend(
                rest.filter(|o| o.measurement == one.measurement)
                    .map(|o| (one.name.as_str(), o.name.as_str())),
            );
        }
    }
    if let Some(table) = &appraisal.tdx {
        for (i, one) in table.references.iter().enumerate() {
            let rest = table.references.iter().skip(i + 1);
            pairs.extend(
                rest.filter(|o| o.registers() == one.registers())
                    .map(|o| (one.name.as_str(), o.name.as_str())),
            );
        }
    }
    if let Some(table) = &appraisal.tpm {
        // Of PCRs, two references can match together unless they differ in a register that both name.
        for (i, one) in table.references.iter().enumerate() {
            let rest = table.references.iter().skip(i + 1);
            let differ = |o: &hanzo_policy::TpmReference| {
                one.pcrs
                    .0
                    .iter()
                    .any(|(index, value)| o.pcrs.0.get(index).is_some_and(|v| v != value))
            };
            pairs.extend(
                rest.filter(|o| !differ(o))
                    .map(|o| (one.name.as_str(), o.name.as_str())),
            );
        }
    }
    pairs
}
