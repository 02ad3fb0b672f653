//! The rules of a release besides the appraisal, each by itself. [`ALL`] is the order in which they are asked.

use hanzo_attestation::UnixTime;
use hanzo_attestation::name::KeyId;
use hanzo_policy::release::VerifiedRelease;
use hanzo_pqc::hpke::KemSuite;
use hanzo_pqc::suites_for_tier;
use hanzo_rego::{Module, RegoError, Resource};

use crate::claims::Proof;
use crate::{Budget, KeyPolicy, Refusal, TenantPolicy, Uses, Wrap};

/// The version of the image that the evidence shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageVersion {
    /// From 1.
    pub number: u64,
    /// Who says so.
    pub source: ImageVersionSource,
}

/// Whose word an image's version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageVersionSource {
    /// The key policy's, for the reference value that matched.
    Reference,
    /// The signed release manifest's, which the reference value came from.
    Release,
}

/// What the rules look at.
pub(crate) struct Question<'a> {
    pub(crate) key_id: &'a KeyId,
    pub(crate) policy: &'a KeyPolicy,
    /// What earlier grants leave.
    pub(crate) budget: &'a Budget,
    pub(crate) wrap: Wrap,
    /// Of an HPKE key.
    pub(crate) suite: Option<KemSuite>,
    pub(crate) uses: Uses,
    pub(crate) proof: &'a Proof,
    pub(crate) tenant: Option<&'a TenantPolicy>,
    pub(crate) now: UnixTime,
}

impl Question<'_> {
    fn key_id(&self) -> KeyId {
        self.key_id.clone()
    }
}

/// The version of the image behind a reference value, if the policy knows it.
pub(crate) fn image_of(
    policy: &KeyPolicy,
    reference: Option<&str>,
    release: Option<&VerifiedRelease>,
) -> Option<ImageVersion> {
    let name = reference?;
    if policy.appraisal.release.is_some() {
        return release.map(|release| ImageVersion {
            number: release.manifest().version,
            source: ImageVersionSource::Release,
        });
    }
    let (_, number) = policy.image_versions.iter().find(|(n, _)| n.as_str() == name)?;
    Some(ImageVersion {
        number: *number,
        source: ImageVersionSource::Reference,
    })
}

type Rule = fn(&Question<'_>) -> Result<(), Refusal>;

/// Every rule. Rego comes last: what it is asked about is already good enough for us.
pub(crate) const ALL: [Rule; 11] = [
    simulated,
    tenant,
    not_before,
    not_after,
    image_version,
    wrap,
    recipient,
    uses,
    suite,
    rego,
    tenant_rego,
];

/// Those that say something without any evidence.
pub(crate) const WITHOUT_EVIDENCE: [Rule; 6] = [tenant, not_before, not_after, wrap, recipient, uses];

fn simulated(q: &Question<'_>) -> Result<(), Refusal> {
    match q.proof.simulated && !q.policy.allow_simulated {
        true => Err(Refusal::Simulated { key_id: q.key_id() }),
        false => Ok(()),
    }
}

fn tenant(q: &Question<'_>) -> Result<(), Refusal> {
    match q.policy.tenant == *q.key_id.repository() {
        true => Ok(()),
        false => Err(Refusal::Tenant {
            key_id: q.key_id(),
            tenant: q.policy.tenant.clone(),
        }),
    }
}

fn not_before(q: &Question<'_>) -> Result<(), Refusal> {
    match q.now.0 < q.policy.not_before {
        true => Err(Refusal::KeyNotYet {
            key_id: q.key_id(),
            not_before: q.policy.not_before,
            now: q.now.0,
        }),
        false => Ok(()),
    }
}

fn not_after(q: &Question<'_>) -> Result<(), Refusal> {
    match q.now.0 > q.policy.not_after {
        true => Err(Refusal::KeyExpired {
            key_id: q.key_id(),
            not_after: q.policy.not_after,
            now: q.now.0,
        }),
        false => Ok(()),
    }
}

fn image_version(q: &Question<'_>) -> Result<(), Refusal> {
    q.budget.image(q.uses)
}

fn wrap(q: &Question<'_>) -> Result<(), Refusal> {
    match q.policy.wrap.contains(&q.wrap) {
        true => Ok(()),
        false => Err(Refusal::Wrap {
            key_id: q.key_id(),
            allowed: q.policy.wrap.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(", "),
            got: q.wrap.as_str(),
        }),
    }
}

fn recipient(q: &Question<'_>) -> Result<(), Refusal> {
    q.budget.recipient(q.uses)
}

fn uses(q: &Question<'_>) -> Result<(), Refusal> {
    q.budget.uses(q.uses)
}

fn suite(q: &Question<'_>) -> Result<(), Refusal> {
    let tier = q.proof.tier;
    let required = suites_for_tier(tier).0;
    match q.suite {
        Some(got) if got != required && got != KemSuite::MlKem1024P384 => Err(Refusal::WeakSuite {
            tier,
            what: required.name(),
        }),
        _ => Ok(()),
    }
}

/// The key's own module. It sees no reference values: what the key's policy says is all that decides here.
fn rego(q: &Question<'_>) -> Result<(), Refusal> {
    let Some(text) = &q.policy.rego else {
        return Ok(());
    };
    let key_id = q.key_id();
    ask(text, &key_id, |module, resource| {
        module.allows(&q.proof.claims, resource)
    })
    .map_err(|why| Refusal::Rego { key_id, why })
}

/// The module over all keys of the tenant, with the tenant's reference values.
fn tenant_rego(q: &Question<'_>) -> Result<(), Refusal> {
    let Some(tenant) = q.tenant else {
        return Ok(());
    };
    let key_id = q.key_id();
    ask(&tenant.rego, &key_id, |module, resource| {
        module.allows_by_reference(&q.proof.claims, resource, &tenant.reference)
    })
    .map_err(|why| Refusal::TenantRego { key_id, why })
}

fn ask(
    text: &str,
    key_id: &KeyId,
    allows: impl FnOnce(&Module, &Resource<'_>) -> Result<(), RegoError>,
) -> Result<(), RegoError> {
    let id = key_id.to_string();
    let path: Vec<_> = id.split('/').collect();
    let resource = Resource {
        plugin: "resource",
        path: &path,
        query: &[],
    };
    Module::parse(text).and_then(|module| allows(&module, &resource))
}
