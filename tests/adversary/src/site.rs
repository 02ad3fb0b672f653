//! One guest to boot, with everything that its host holds in its hands: disk, broker's door, launch.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hanzo_attestation::Digest256;
use hanzo_guest::{DeviceTrust, GuestError, GuestOptions, OperatingLimits, PlaintextStorage};
use hanzo_policy::PrivacyTier;
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use hanzo_vault::{KeyPolicy, Wrap};
use tokio::sync::oneshot;

use crate::appliance::{IMAGE, MODEL_KEY, STORE_KEY, Simulated, config_text, name, now, policy, seal};
use crate::broker::Broker;
use crate::doorman::Doorman;

/// The keys that the owner put.
pub const STORE_DEK: [u8; 32] = [0x51; 32];
/// See [`STORE_DEK`].
pub const MODEL_DEK: [u8; 32] = [0x52; 32];

/// A site with a healthy guest, which tests then spoil.
pub struct Site {
    /// All files.
    pub dir: tempfile::TempDir,
    /// The broker that the configuration pins.
    pub broker: Broker,
    /// The host before it.
    pub host: Doorman,
    /// How the guest is launched.
    pub launch: LaunchSpec,
    /// The configuration as it was measured.
    pub config: String,
    /// The model's.
    pub root: Digest256,
    options: GuestOptions,
}

impl Site {
    /// Puts both keys, seals the model, writes the configuration.
    pub async fn new(engine: Vec<String>) -> Self {
        Self::naming(engine, "").await
    }

    /// The same, with this at the end of the configuration.
    pub async fn naming(engine: Vec<String>, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |file: &str| dir.path().join(file);
        let root = seal(&dir, &MODEL_DEK, &at("prompts"), "weights");
        let broker = Broker::start(&at("kbs"));
        let host = Doorman::start(broker.at).await.unwrap();
        let config = config_text(2, broker.signer(), &root) + more;
        std::fs::write(at("config.toml"), &config).unwrap();
        let options = GuestOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            vsock: None,
            sealed: None,
            kbs_addr: host.at.to_string(),
            egress: None,
            config_path: at("config.toml"),
            packs: at("packs"),
            store_path: at("guest.db"),
            runtime_dir: at("run"),
            plaintext: PlaintextStorage::AnyFileSystem,
            engine_command: engine,
            llama_command: None,
            upstream_command: None,
            sandbox: crate::engine::unconfined(),
            devices: DeviceTrust::default(),
            limits: OperatingLimits {
                drain_timeout_ms: 1_000,
                ..OperatingLimits::default()
            },
        };
        let site = Self {
            launch: LaunchSpec::new(IMAGE, Digest256::of(config.as_bytes())),
            dir,
            broker,
            host,
            config,
            root,
            options,
        };
        site.put_both(&site.broker, [STORE_DEK, MODEL_DEK]).await;
        site
    }

    /// What the owner of a key for `subject` asks of guests.
    pub fn key_policy(&self, subject: &str) -> KeyPolicy {
        KeyPolicy {
            allow_simulated: true,
            appraisal: policy(Digest256::of(self.config.as_bytes()), PrivacyTier::CpuTee),
            grant_lifetime_s: 60,
            image_versions: BTreeMap::new(),
            max_uses: 100,
            minimum_image_version: 0,
            not_after: now().0 + 3600,
            not_before: 0,
            rego: None,
            subject: name(subject),
            tenant: name("hanzo"),
            wrap: vec![Wrap::Hpke],
        }
    }

    /// Puts a store key and a model key into `broker`.
    pub async fn put_both(&self, broker: &Broker, [store, model]: [[u8; 32]; 2]) {
        broker.put(STORE_KEY, 1, store, &self.key_policy("receipts")).await;
        broker
            .put(MODEL_KEY, 1, model, &self.key_policy(&self.root.to_string()))
            .await;
    }

    /// Seals another model, or the same under another key, in the place of the one that is there.
    pub fn swap_pack(&self, dek: &[u8; 32], weights: &str) -> Digest256 {
        std::fs::remove_file(self.pack()).unwrap();
        seal(&self.dir, dek, &self.dir.path().join("prompts"), weights)
    }

    /// The sealed model.
    pub fn pack(&self) -> std::path::PathBuf {
        self.options.packs.join("tiny.pack")
    }

    /// Removes the guest's store: it makes a new one at its next boot.
    pub fn remove_store(&self) {
        for file in ["guest.db", "guest.db.lock"] {
            let _ = std::fs::remove_file(self.dir.path().join(file));
        }
    }

    async fn boot(&self) -> Result<(), GuestError> {
        self.boot_with(self.options.clone()).await
    }

    /// Boots the guest with its host's broker of connections at this address, and stops it again if it comes up.
    ///
    /// # Errors
    /// Why it did not.
    pub async fn tries(&self, egress: SocketAddr) -> Result<(), GuestError> {
        let mut options = self.options.clone();
        // Whoever is named is not where the host says.
        options.kbs_addr = "127.0.0.1:1".into();
        options.egress = Some(egress.into());
        options.limits.kbs_timeout_ms = 2_000;
        self.boot_with(options).await
    }

    async fn boot_with(&self, options: GuestOptions) -> Result<(), GuestError> {
        let processor = SimulatedProcessor::for_tests();
        let guest = processor.launch(self.launch.clone()).with_crl(processor.crl_der(now()));
        let (up, is_up) = oneshot::channel();
        hanzo_guest::run(
            options,
            Box::new(Simulated(guest)),
            async { is_up.await.unwrap_or(()) },
            |_| {
                up.send(()).ok();
            },
        )
        .await
    }

    /// The guest must come up; it is stopped again.
    pub async fn boots(&self) {
        if let Err(e) = self.boot().await {
            panic!("the guest did not boot: {e} [{}]", e.code());
        }
    }

    /// The guest must stop for this reason, and leave no plaintext.
    pub async fn stops(&self, code: &str) -> GuestError {
        let error = self.boot().await.expect_err("the guest served");
        assert_eq!(error.code(), code, "{error}");
        if let Ok(left) = std::fs::read_dir(&self.options.runtime_dir) {
            assert_eq!(left.count(), 0, "plaintext was left");
        }
        error
    }
}
