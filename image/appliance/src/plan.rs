//! What one run consists of: the measured configuration, the release policies of its keys, the client's policy.

use std::collections::BTreeMap;

use hanzo_attestation::config::{
    Access, Aci, Auth, Config, Limits, ModelConfig, OnDemand, PinnedKbs, PinnedSigner, Queue, SealedMessages,
    StoreConfig, StoreWriters,
};
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::padding::Padding;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, SnpPolicy, SnpReference, TcbFloors};
use hanzo_simulated_tee::simulated_measurement;
use hanzo_vault::{KeyPolicy, Wrap};

use crate::adapters::SealedAdapter;
use crate::callers::Callers;
use crate::computes::Computes;
use crate::error::ApplianceError;
use crate::models::Sealed;
use crate::platform::now;

/// How long the keys of a run may be released: a year.
pub(crate) const KEY_LIFETIME_S: u64 = 365 * 86_400;

fn name(text: &str) -> Result<Name, ApplianceError> {
    Name::new(text).map_err(|e| ApplianceError::Part(e.to_string()))
}

fn key_id(text: &str) -> Result<KeyId, ApplianceError> {
    KeyId::new(text).map_err(|e| ApplianceError::Part(e.to_string()))
}

/// Names and digests that all documents of a run share.
pub(crate) struct Plan {
    /// The models.
    pub(crate) models: Vec<PlannedModel>,
    /// Identity of the guest's store.
    pub(crate) store: Name,
    /// The store's key in the broker.
    pub(crate) store_key: KeyId,
    /// What computes; by the model's format if not said.
    pub(crate) computes: Computes,
    /// Whether ACI documents are served too.
    pub(crate) aci: Aci,
    /// After how many idle seconds an engine ends, where engines start when asked for.
    pub(crate) idle_s: Option<u64>,
    /// Who signs the table of callers, and who they are, where callers are told apart.
    pub(crate) callers: Option<(PinnedSigner, Vec<Name>)>,
}

/// One of its models.
pub(crate) struct PlannedModel {
    /// Name for clients.
    pub(crate) name: Name,
    /// Its DEK in the broker.
    pub(crate) key: KeyId,
    /// Root over its files.
    pub(crate) weights_root: Digest256,
    /// Tokens of prompt and answer together.
    pub(crate) context_tokens: u32,
    /// Of an adapter: what it goes on, and whose it is.
    pub(crate) on: Option<(Name, Vec<Name>)>,
}

/// Who operates a guest of `hanzo up`, as tables of callers name it.
pub(crate) fn operator() -> Result<Name, ApplianceError> {
    name("hanzo-up")
}

impl PlannedModel {
    fn new(sealed: &Sealed) -> Result<Self, ApplianceError> {
        Ok(Self {
            name: name(&sealed.name)?,
            key: key_id(&format!("hanzo/dek/{}", sealed.name))?,
            weights_root: sealed.root,
            context_tokens: sealed.context_tokens,
            on: None,
        })
    }
}

impl Plan {
    pub(crate) fn new(models: &[Sealed]) -> Result<Self, ApplianceError> {
        Ok(Self {
            models: models.iter().map(PlannedModel::new).collect::<Result<_, _>>()?,
            store: name("appliance-store")?,
            store_key: key_id("hanzo/store/appliance-store")?,
            computes: Computes::default(),
            aci: Aci::Off,
            idle_s: None,
            callers: None,
        })
    }

    /// With adapters besides.
    pub(crate) fn with_adapters(mut self, adapters: &[SealedAdapter]) -> Result<Self, ApplianceError> {
        for adapter in adapters {
            let planned = PlannedModel::new(&adapter.sealed)?;
            self.models.push(PlannedModel {
                on: Some((name(&adapter.base)?, adapter.callers.clone())),
                ..planned
            });
        }
        Ok(self)
    }

    /// With engines that start when asked for, or that run from boot on.
    pub(crate) fn on_demand(mut self, idle_s: Option<u64>) -> Self {
        self.idle_s = idle_s;
        self
    }

    /// For callers alone, or for whoever reaches it.
    pub(crate) fn asked_by(mut self, callers: Option<&Callers>) -> Self {
        self.callers = callers.map(|callers| {
            let names = callers.files.iter().map(|(name, _)| name.clone()).collect();
            (callers.signer.clone(), names)
        });
        self
    }

    /// On what somebody chose.
    pub(crate) fn on(mut self, computes: Computes) -> Self {
        self.computes = computes;
        self
    }

    /// With ACI documents, or without.
    pub(crate) fn with_aci(mut self, aci: Aci) -> Self {
        self.aci = aci;
        self
    }

    fn model_config(&self, model: &PlannedModel) -> ModelConfig {
        ModelConfig {
            name: model.name.clone(),
            weights_root: model.weights_root,
            key_id: model.key.clone(),
            context_tokens: model.context_tokens,
            engine: self.computes.engine,
            upstream: self.computes.upstream.clone(),
            base: model.on.as_ref().map(|(base, _)| base.clone()),
            // An adapter without callers of its own is every caller's.
            callers: model
                .on
                .as_ref()
                .and_then(|(_, whose)| match (&self.callers, whose.is_empty()) {
                    (Some((_, all)), true) => Some(all.clone()),
                    (Some(_), false) => Some(whose.clone()),
                    (None, _) => None,
                }),
            on_demand: self.idle_s.map(|idle_s| OnDemand { idle_s }),
        }
    }

    /// The configuration text whose digest is measured. `required_tier` is what the guest's machine can reach.
    pub(crate) fn config(&self, signer: PinnedSigner, required_tier: u8) -> Result<String, ApplianceError> {
        let config = Config {
            version: 1,
            operator: operator()?,
            image: name(env!("CARGO_PKG_VERSION"))?,
            required_tier,
            // A key for sealed messages opens nothing after its hour.
            keyset_lifetime_s: 3_600,
            auth: match self.callers {
                Some(_) => Auth::Required,
                None => Auth::None,
            },
            kbs: PinnedKbs {
                signer,
                grant_lifetime_s: 60,
            },
            store: StoreConfig {
                id: self.store.clone(),
                key_id: self.store_key.clone(),
                writers: StoreWriters::One,
            },
            log: None,
            models: self.models.iter().map(|model| self.model_config(model)).collect(),
            limits: Limits {
                body_bytes_max: 1 << 20,
                concurrent_requests: 16,
                // Below tier 2 the machine may be emulated, and each token take many times as long.
                request_timeout_s: if required_tier < 2 { 3600 } else { 600 },
            },
            access: self.callers.as_ref().map(|(signer, _)| Access {
                table_signer: signer.clone(),
                table_version_min: 1,
            }),
            queue: Some(Queue {
                requests: 64,
                wait_s: 120,
                tokens: None,
            }),
            admin_keys: Vec::new(),
            aci: self.aci,
            sealed: SealedMessages::default(),
            padding: Padding::default(),
            egress: Vec::new(),
            model_signers: None,
        };
        let text = toml::to_string(&config).map_err(|e| ApplianceError::Part(e.to_string()))?;
        // Read back as the guest will read it, so that a mistake shows here.
        Config::parse(text.as_bytes()).map_err(|e| ApplianceError::Coded {
            text: e.to_string(),
            code: e.code(),
        })?;
        Ok(text)
    }
}

/// What client and broker ask of this run's guest.
pub(crate) fn appraisal(image: &Digest384, config_digest: Digest256) -> Result<AppraisalPolicy, ApplianceError> {
    let floors = TcbFloors {
        genoa: Some(EpycTcb {
            bootloader: 10,
            tee: 0,
            snp: 23,
            microcode: 84,
        }),
        ..TcbFloors::default()
    };
    let reference = SnpReference {
        name: name("hanzo-up")?,
        measurement: simulated_measurement(image, &config_digest),
        config_digest,
    };
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference]));
    policy.check().map_err(|e| ApplianceError::Coded {
        text: e.to_string(),
        code: e.code(),
    })?;
    Ok(policy)
}

/// The release policy of one key: tier 2, simulated evidence allowed, for `subject` alone.
pub(crate) fn key_policy(appraisal: &AppraisalPolicy, subject: &str) -> Result<KeyPolicy, ApplianceError> {
    Ok(KeyPolicy {
        allow_simulated: true,
        appraisal: appraisal.clone(),
        grant_lifetime_s: 60,
        image_versions: BTreeMap::new(),
        max_uses: 1000,
        minimum_image_version: 0,
        not_after: now().0 + KEY_LIFETIME_S,
        not_before: 0,
        rego: None,
        subject: name(subject)?,
        tenant: name("hanzo")?,
        wrap: vec![Wrap::Hpke],
    })
}
