//! The key of a validator's account: asked for by the launcher of the node, in a machine that runs nothing else.
//!
//! The broker, its signer, the key and what it is for stand in the measured configuration; whether this machine's measurements get the
//! key, the broker's policy says. The exchange is a booting agent's ([`crate::grants`]), with a wrapping key of this boot alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::config::PinnedKbs;
use hanzo_device::Attester;
use hanzo_init::cmdline::measured_node;
use hanzo_init::node::NODE_CONFIG_BYTES_MAX;
use hanzo_kbs_protocol::OpenedGrant;

use crate::boot::measured_text;
use crate::error::GuestError;
use crate::grants::GrantDesk;
use crate::kbs_http::KbsDoor;
use crate::keys::wrapping_key;
use crate::options::OperatingLimits;

/// How often a broker is asked that does not answer.
const ATTEMPTS: u32 = 5;

/// Bounds on asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Attempts in all, where nobody answers. Whatever a broker answers is final.
    pub attempts: u32,
    /// Pause before the second attempt; each later one is twice the one before.
    pub pause: Duration,
    /// For each step of an exchange.
    pub step: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: ATTEMPTS,
            pause: Duration::from_secs(2),
            step: Duration::from_millis(OperatingLimits::default().kbs_timeout_ms),
        }
    }
}

/// Gets the key of the account that the validator's configuration at `config` names. `tell` is told of each attempt that failed and is
/// made again.
///
/// # Establishes
/// The configuration is the measured one; the broker that it pins granted the key to this boot, for the subject and at the tier that it
/// says, or a higher one.
///
/// # Errors
/// [`GuestError::Node`] for another configuration than the measured one or an observer's; [`GuestError::Grants`]: nobody answered
/// (`kbs.unreachable`, `kbs.timeout`), it refused (`kbs.refused`), or it granted something else (`grant.*`); [`GuestError::Keys`],
/// [`GuestError::Device`].
pub async fn granted(
    config: &Path,
    attester: Arc<dyn Attester>,
    patience: Patience,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<OpenedGrant, GuestError> {
    let (text, measured) = measured_text(config, NODE_CONFIG_BYTES_MAX, attester.as_ref())?;
    let config = measured_node(&text, &measured)?;
    let validating = config.validator().map_err(hanzo_init::InitError::from)?;
    let pinned = PinnedKbs {
        signer: validating.kbs.signer.clone(),
        grant_lifetime_s: validating.kbs.grant_lifetime_s,
    };
    let door = KbsDoor::Address(validating.kbs.address.to_string());
    let wrapping = wrapping_key(validating.required_tier)?;
    let tier = validating.required_tier;
    let mut grants = GrantDesk::new(&door, patience.step, attester, &wrapping, &pinned, tier)?;
    let account = &validating.account;
    let (mut attempt, mut pause) = (1, patience.pause);
    loop {
        match grants.get(&account.key_id, &account.subject).await {
            Err(error) if error.is_absence() && attempt < patience.attempts => {
                let (code, of, s) = (error.code(), patience.attempts, pause.as_secs());
                tell(format!(
                    "attempt {attempt} of {of}: {error} [{code}]; the next in {s} s"
                ));
            }
            done => return Ok(done?),
        }
        tokio::time::sleep(pause).await;
        (attempt, pause) = (attempt + 1, pause.saturating_mul(2));
    }
}
