//! Sealing the keyset: what this boot is, in one document that evidence then proves.

use hanzo_attestation::bundle::DeviceCollateral;
use hanzo_attestation::config::{Access, Aci, Auth, Config, EgressEntry, EgressUse, HostName, Queue};
use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::keyset::{Keyset, ServedModel, SignerKeys, capability_digest};
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384, UnixTime};
use hanzo_device::TimeSource;
use hanzo_kbs_protocol::Grant;
use serde::Serialize;

use crate::evidence::Sealed;
use crate::keys::BootKeys;

/// Everything this build can do for a client or to the world, sorted, besides what the configuration opens. What is not here has
/// no code here: no tools, no parsers of documents, no providers, no signing roles.
pub const CAPABILITIES: [&str; 9] = [
    "api.chat-completions",
    "api.log",
    "api.models",
    "api.receipts",
    "attestation.sev-snp",
    "channel.ohttp-x-wing",
    "channel.tls13-x25519mlkem768",
    "engine.process",
    "receipts.salted-commitments",
];

/// What the configuration adds to [`CAPABILITIES`]: ways in that are closed unless it opens them, and each name outside that the guest
/// may reach, from the very list that [`crate::egress::Egress`] dials by.
fn capabilities(config: &Config) -> Vec<Name> {
    let opened = [
        ("channel.ehbp-x25519", config.sealed.ehbp),
        ("channel.ohttp-x25519", config.sealed.ohttp_x25519),
        ("receipts.aci", config.aci == Aci::On),
    ];
    let opened = opened.into_iter().filter_map(|(name, is_open)| is_open.then_some(name));
    let mut names: Vec<Name> = CAPABILITIES
        .into_iter()
        .chain(opened)
        .filter_map(|name| Name::new(name).ok())
        .chain(config.egress.iter().filter_map(EgressEntry::capability))
        .collect();
    names.sort();
    names
}

/// One name outside, as the policy's text says it: roots by their digests.
#[derive(Serialize)]
struct Reaching<'a> {
    name: &'a HostName,
    port: u16,
    roots: Vec<Digest256>,
    #[serde(rename = "use")]
    purpose: EgressUse,
}

/// What the grants of this boot say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The lowest tier of all grants.
    pub tier: u8,
    /// True if any grant came from simulated evidence.
    pub simulated: bool,
}

impl Standing {
    /// Of the first grant.
    pub fn of(grant: &Grant) -> Self {
        Self {
            tier: grant.tier,
            simulated: grant.simulated,
        }
    }

    /// Takes a further grant into account: it can lower the tier and set the flag, never the reverse.
    pub fn and(self, grant: &Grant) -> Self {
        Self {
            tier: self.tier.min(grant.tier),
            simulated: self.simulated | grant.simulated,
        }
    }
}

/// The admission policy as text: the very numbers that the routes enforce.
///
/// # Errors
/// [`JcsError`], never for these values.
pub fn admission_policy(config: &Config) -> Result<String, JcsError> {
    let reaching = config.egress.iter().map(|entry| Reaching {
        name: &entry.name,
        port: entry.port,
        // A configuration whose roots do not decode was refused when it was read.
        roots: entry.root_digests().unwrap_or_default(),
        purpose: entry.purpose,
    });
    #[derive(Serialize)]
    struct Admission<'a> {
        auth: Auth,
        body_bytes_max: u64,
        /// Whoever says which callers there are.
        callers: Option<&'a Access>,
        concurrent_requests: u32,
        egress: Vec<Reaching<'a>>,
        queue: Option<Queue>,
        request_timeout_s: u64,
        version: u32,
    }
    let bytes = jcs::to_vec(
        "admission policy",
        &Admission {
            auth: config.auth,
            body_bytes_max: config.limits.body_bytes_max,
            callers: config.access.as_ref(),
            concurrent_requests: config.limits.concurrent_requests,
            egress: reaching.collect(),
            queue: config.queue,
            request_timeout_s: config.limits.request_timeout_s,
            version: 1,
        },
    )?;
    // JCS is UTF-8 by definition.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Seals the keyset.
///
/// # Errors
/// [`JcsError`], never for values of these types.
pub fn seal_keyset(
    config: &Config,
    config_text: String,
    keys: &BootKeys,
    standing: Standing,
    mut models: Vec<ServedModel>,
    time: TimeSource,
    now: UnixTime,
) -> Result<Sealed, JcsError> {
    let capabilities = capabilities(config);
    let policy = admission_policy(config)?;
    models.sort_by(|a, b| a.name.cmp(&b.name));
    let receipts = keys.receipts.verifying_keys();
    let keyset = Keyset {
        capability_digest: capability_digest(&capabilities)?,
        channel_key: keys.channel.public(),
        config_digest: Digest256::of(config_text.as_bytes()),
        image: config.image.clone(),
        issued_at: now.0,
        models,
        not_after: now.0.saturating_add(config.keyset_lifetime_s),
        ohttp_keys: keys.messages.to_keyset(),
        policy_digest: Digest384::of(policy.as_bytes()),
        receipt_keys: SignerKeys {
            ed25519: receipts.ed25519_hex(),
            ml_dsa: receipts.ml_dsa_hex(),
            suite: receipts.suite().name().to_owned(),
        },
        log: None,
        signer_keys: Vec::new(),
        simulated: standing.simulated,
        tier: standing.tier,
        time: time.as_str().to_owned(),
        tls_spki_sha256: keys.tls.spki_sha256(),
        version: 1,
    };
    Ok(Sealed {
        keyset_digest: keyset.digest()?,
        keyset,
        capabilities,
        config: config_text,
        policy,
        collateral: DeviceCollateral::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_is_a_name_and_stands_in_order() {
        assert!(CAPABILITIES.is_sorted());
        assert!(CAPABILITIES.iter().all(|name| Name::new(name).is_ok()));
    }
}
