//! The rules that look at earlier grants. They are all that a grant of the same key to somebody else can change between a
//! decision and its record.

use hanzo_attestation::name::KeyId;

use crate::limits::Limits;
use crate::rules::ImageVersion;
use crate::{KeyPolicy, Refusal, Uses};

/// What earlier grants leave for one more: a use, another wrapping key, an image that is not older.
///
/// [`crate::authorize`] asks it with the counts that the caller read. A caller that does not hold the transaction yet in
/// which it will record the grant asks once more there, with the counts of that transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    key_id: KeyId,
    version: u64,
    max_uses: u64,
    minimum_image: u64,
    image: Option<ImageVersion>,
    reference: Option<String>,
}

impl Budget {
    pub(crate) fn new(
        (key_id, version): (&KeyId, u64),
        policy: &KeyPolicy,
        image: Option<ImageVersion>,
        reference: Option<&str>,
    ) -> Self {
        // The tier's own bound holds for policies that were stored before it, too.
        let tier = policy.appraisal.minimum_tier;
        Self {
            key_id: key_id.clone(),
            version,
            max_uses: policy.max_uses.min(Limits::of(tier).releases_max),
            minimum_image: policy.minimum_image_version,
            image,
            reference: reference.map(str::to_owned),
        }
    }

    /// Whether there is room for one more grant after these.
    ///
    /// # Errors
    /// [`Refusal`], the first of the rules that says no.
    pub fn check(&self, uses: Uses) -> Result<(), Refusal> {
        self.image(uses)?;
        self.recipient(uses)?;
        self.uses(uses)
    }

    /// The floor is the higher of what the policy asks for and what the key was granted to before.
    pub(crate) fn image(&self, uses: Uses) -> Result<(), Refusal> {
        let (minimum, newest) = (self.minimum_image, uses.newest_image);
        let key_id = || self.key_id.clone();
        let Some(image) = self.image else {
            return match minimum > 0 || newest.is_some() {
                true => Err(Refusal::ImageUnversioned {
                    key_id: key_id(),
                    reference: self.reference.clone().unwrap_or_else(|| "none".to_owned()),
                    minimum: minimum.max(newest.unwrap_or(0)),
                }),
                false => Ok(()),
            };
        };
        if image.number < minimum {
            return Err(Refusal::ImageTooOld {
                key_id: key_id(),
                minimum,
                got: image.number,
            });
        }
        match newest {
            Some(newest) if image.number < newest => Err(Refusal::ImageRolledBack {
                key_id: key_id(),
                newest,
                got: image.number,
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn recipient(&self, uses: Uses) -> Result<(), Refusal> {
        match uses.includes_recipient {
            true => Err(Refusal::Repeated {
                key_id: self.key_id.clone(),
                version: self.version,
            }),
            false => Ok(()),
        }
    }

    pub(crate) fn uses(&self, uses: Uses) -> Result<(), Refusal> {
        match uses.count >= self.max_uses {
            true => Err(Refusal::UsedUp {
                key_id: self.key_id.clone(),
                version: self.version,
                max_uses: self.max_uses,
            }),
            false => Ok(()),
        }
    }
}
