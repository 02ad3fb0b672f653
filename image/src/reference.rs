//! From an image's prediction to what is asked of a machine that says it runs it.

use std::collections::BTreeMap;
use std::path::Path;

use hanzo_attestation::Digest256;
use hanzo_attestation::name::Name;
use hanzo_measured_boot::prediction::Prediction;
use hanzo_policy::{AllowList, AppraisalPolicy, PrivacyTier};
use hanzo_vault::{KeyPolicy, Wrap};

use crate::error::ImageError;
use crate::manifest::Manifest;

/// Seconds between a grant and its opening.
const GRANT_LIFETIME_S: u64 = 60;

/// Tier 1 for the machines with these attestation keys, if each predicted register is as it was predicted for `image` and
/// the event log came along. The reference value is called `name` and holds the configuration of the image's own command
/// line.
///
/// # Does not establish
/// That the keys are of hardware: see [`crate::tpm`].
///
/// # Errors
/// [`ImageError::Prediction`] if the prediction is of another command line, or `name` is no name; [`ImageError`] of the
/// manifest.
pub fn appraisal(
    image: &Path,
    prediction: &Prediction,
    name: &str,
    keys: Vec<Digest256>,
) -> Result<AppraisalPolicy, ImageError> {
    let command_line = Manifest::read(image)?.recipe()?.command_line()?;
    let name = Name::new(name).map_err(refused)?;
    let table = prediction
        .tpm_policy(name, &command_line, AllowList::Listed(keys))
        .map_err(refused)?;
    let policy = AppraisalPolicy::closed(PrivacyTier::AtRest).with_tpm(table);
    policy.check().map_err(refused)?;
    Ok(policy)
}

/// What a key is for, and for how long it is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Whose key it is: the key id's repository.
    pub tenant: Name,
    /// Weights root or store id.
    pub subject: Name,
    /// Version of the image. Older ones are refused from the first release on.
    pub image_version: u64,
    /// Most grants.
    pub max_uses: u64,
    /// Last second, Unix time.
    pub not_after: u64,
}

/// The policy of a key for the images of `appraisal`: real evidence alone, our own guests' wrapping alone, and the version
/// as the lowest that gets the key.
///
/// # Errors
/// [`ImageError::Prediction`] with the reason of the key policy.
pub fn key_policy(appraisal: AppraisalPolicy, release: Release) -> Result<KeyPolicy, ImageError> {
    let references = appraisal.tpm.iter().flat_map(|table| &table.references);
    let versions = references.map(|reference| (reference.name.clone(), release.image_version));
    let image_versions: BTreeMap<_, _> = versions.collect();
    let policy = KeyPolicy {
        allow_simulated: false,
        appraisal,
        grant_lifetime_s: GRANT_LIFETIME_S,
        image_versions,
        max_uses: release.max_uses,
        minimum_image_version: release.image_version,
        not_after: release.not_after,
        not_before: 0,
        rego: None,
        subject: release.subject,
        tenant: release.tenant,
        wrap: vec![Wrap::Hpke],
    };
    policy.check().map_err(refused)?;
    Ok(policy)
}

fn refused(error: impl std::fmt::Display) -> ImageError {
    ImageError::Prediction {
        what: error.to_string(),
    }
}
