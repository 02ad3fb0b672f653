//! Everything around one guest: broker, sealed pack, configuration, simulated processor.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::name::Name;
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_device::{Attester, DeviceError, TimeSource};
use hanzo_guest::{DeviceTrust, GuestError, GuestOptions, OperatingLimits, PlaintextStorage, Ready, run};
use hanzo_pqc::Dek;
use hanzo_simulated_tee::{LaunchSpec, SimulatedGuest, SimulatedProcessor};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::broker::{Broker, Key};
use crate::engine;

pub const STORE_DEK: [u8; 32] = [0x51; 32];
pub const MODEL_DEK: [u8; 32] = [0x52; 32];
pub const STORE_KEY: &str = "hanzo/store/receipts";
pub const MODEL_KEY: &str = "hanzo/dek/tiny";
pub const IMAGE: Digest384 = Digest384([7; 48]);

pub struct World {
    pub dir: tempfile::TempDir,
    pub broker: Broker,
    pub config: String,
    /// What the command line says; differs from the configuration when a test changes that afterwards.
    pub measured: Digest256,
    pub options: GuestOptions,
    /// Another launch than the healthy one.
    pub spec: Option<LaunchSpec>,
    /// Another attester than the simulated processor itself.
    pub attester: Option<Box<dyn Fn(SimulatedGuest) -> Box<dyn Attester>>>,
    root: Digest256,
}

/// The simulated processor behind the guest's own trait.
pub struct Simulated(pub SimulatedGuest);

impl Attester for Simulated {
    fn kind(&self) -> &'static str {
        "snp"
    }

    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        Ok(CpuEvidence::Snp(self.0.evidence(request.report_data())))
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        Ok(self.0.spec().config_digest)
    }

    fn time_source(&self) -> TimeSource {
        TimeSource::Host
    }
}

pub struct Running {
    pub ready: Ready,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), GuestError>>,
}

impl Running {
    pub async fn stop(self) -> Result<(), GuestError> {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }

    /// Waits until it ends by itself.
    pub async fn end(self) -> Result<(), GuestError> {
        tokio::time::timeout(Duration::from_secs(20), self.task)
            .await
            .unwrap()
            .unwrap()
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with_engine_mode("healthy").await
    }

    /// With other bytes for weights.
    pub async fn with_weights(weights: &[u8]) -> Self {
        Self::with(weights, "healthy").await
    }

    /// With other bytes for weights, and an engine that says what it computes with.
    pub async fn telling(weights: &[u8]) -> Self {
        Self::with(weights, "telling").await
    }

    pub async fn with_engine_mode(mode: &str) -> Self {
        Self::with(&gguf("llama"), mode).await
    }

    async fn with(weights: &[u8], mode: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("packs")).unwrap();
        let root = seal_weights(&dir, weights, mode, &at("packs/tiny.pack"));
        let subject = |text: &str| Name::new(text).unwrap();
        let broker = Broker::new(HashMap::from([
            (
                STORE_KEY.to_owned(),
                Key {
                    dek: STORE_DEK,
                    version: 1,
                    subject: subject("receipts"),
                },
            ),
            (
                MODEL_KEY.to_owned(),
                Key {
                    dek: MODEL_DEK,
                    version: 1,
                    subject: subject(&root.to_string()),
                },
            ),
        ]));
        let pinned = broker.pinned();
        let config = format!(
            r#"version = 1
operator = "example"
image = "0.1.0"
required_tier = 2
keyset_lifetime_s = 3600
auth = "none"
[kbs]
grant_lifetime_s = 60
[kbs.signer]
suite = "ml-dsa-65"
ml_dsa = "{}"
ed25519 = "{}"
[store]
id = "receipts"
key_id = "{STORE_KEY}"
[[models]]
name = "tiny"
weights_root = "{root}"
key_id = "{MODEL_KEY}"
context_tokens = 256
[limits]
body_bytes_max = 65536
concurrent_requests = 2
request_timeout_s = 20
"#,
            pinned.ml_dsa, pinned.ed25519
        );
        let options = GuestOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            vsock: None,
            sealed: None,
            kbs_addr: broker.serve().await.to_string(),
            egress: None,
            config_path: at("config.toml"),
            packs: at("packs"),
            store_path: at("guest.db"),
            runtime_dir: at("run"),
            plaintext: PlaintextStorage::AnyFileSystem,
            engine_command: engine::command(),
            llama_command: None,
            upstream_command: None,
            sandbox: engine::sandbox(),
            devices: DeviceTrust::default(),
            limits: OperatingLimits {
                kbs_timeout_ms: 10_000,
                lease_s: 8,
                lease_wait_s: 0,
                engine_start_timeout_ms: 15_000,
                engine_restarts_max: 1,
                drain_timeout_ms: 3_000,
                ..OperatingLimits::default()
            },
        };
        let mut world = Self {
            measured: Digest256([0; 32]),
            dir,
            broker,
            config: String::new(),
            options,
            spec: None,
            attester: None,
            root,
        };
        world.configure(config);
        world
    }

    /// Writes and measures a configuration.
    pub fn configure(&mut self, config: String) {
        std::fs::write(&self.options.config_path, &config).unwrap();
        self.measured = Digest256::of(config.as_bytes());
        self.config = config;
    }

    fn spec(&self) -> LaunchSpec {
        self.spec
            .clone()
            .unwrap_or_else(|| LaunchSpec::new(IMAGE, self.measured))
    }

    /// What the model's key is for.
    pub fn model_subject(&self) -> Name {
        Name::new(&self.root.to_string()).unwrap()
    }

    fn start(
        &self,
    ) -> (
        oneshot::Receiver<Ready>,
        oneshot::Sender<()>,
        JoinHandle<Result<(), GuestError>>,
    ) {
        let guest = SimulatedProcessor::for_tests().launch(self.spec());
        let attester: Box<dyn Attester> = match &self.attester {
            Some(make) => make(guest),
            None => Box::new(Simulated(guest)),
        };
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let options = self.options.clone();
        let task = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            run(options, attester, shutdown, |r| {
                let _ = ready.send(r.clone());
            })
            .await
        });
        (is_ready, stop, task)
    }

    /// Boots a guest that must come up.
    pub async fn boot(&self) -> Running {
        let (ready, stop, task) = self.start();
        match ready.await {
            Ok(ready) => Running { ready, stop, task },
            Err(_) => panic!("the guest did not boot: {}", task.await.unwrap().unwrap_err()),
        }
    }

    /// Boots a guest that must not come up; says why it stopped. Nothing of it may be left.
    pub async fn refused(&self) -> GuestError {
        let (ready, stop, task) = self.start();
        assert!(ready.await.is_err(), "the guest served");
        let error = task.await.unwrap().unwrap_err();
        drop(stop);
        self.assert_nothing_left();
        error
    }

    pub fn assert_nothing_left(&self) {
        if let Ok(entries) = std::fs::read_dir(&self.options.runtime_dir) {
            assert_eq!(entries.count(), 0, "plaintext was left");
        }
    }
}

/// A GGUF header without tensors, of an architecture and with a vocabulary of one token.
pub fn gguf(architecture: &str) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let pair = |key: &str, value: &str| [text(key), 8_u32.to_le_bytes().to_vec(), text(value)].concat();
    [
        b"GGUF".to_vec(),
        3_u32.to_le_bytes().to_vec(),
        0_u64.to_le_bytes().to_vec(),
        2_u64.to_le_bytes().to_vec(),
        pair("general.architecture", architecture),
        pair("tokenizer.ggml.model", "gpt2"),
    ]
    .concat()
}

/// Seals a tiny model; its engine finds its orders in `mode.txt`.
pub fn seal_model(dir: &tempfile::TempDir, mode: &str, pack: &std::path::Path) -> Digest256 {
    seal_weights(dir, &gguf("llama"), mode, pack)
}

fn seal_weights(dir: &tempfile::TempDir, weights: &[u8], mode: &str, pack: &std::path::Path) -> Digest256 {
    let source = dir.path().join(format!("model-{mode}"));
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("model.gguf"), weights).unwrap();
    for (name, text) in [
        ("tokenizer.json", "{}"),
        ("chat_template.jinja", "{{ messages }}"),
        ("mode.txt", mode),
    ] {
        std::fs::write(source.join(name), text).unwrap();
    }
    let dek = Dek::from_bytes(Zeroizing::new(MODEL_DEK));
    hanzo_pack::seal(&source, &dek, pack, &|_| ()).unwrap().weights_root
}

/// The tests share one processor's roots.
pub fn simulator_root() -> Arc<Vec<u8>> {
    Arc::new(SimulatedProcessor::for_tests().ark_der().to_vec())
}
