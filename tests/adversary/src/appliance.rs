//! A whole appliance in one process: the real broker, the real guest on the simulated processor, a stand-in engine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, UnixTime};
use hanzo_client::{AttestedClient, ClientConfig, Endpoint};
use hanzo_device::{Attester, DeviceError, TimeSource};
use hanzo_guest::{DeviceTrust, GuestError, GuestOptions, ListenAddress, OperatingLimits, PlaintextStorage, Ready};
use hanzo_kbs::{InitOptions, Initialised, KbsConfig, StoreMode, admin};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, SnpPolicy, SnpReference, TcbFloors};
use hanzo_pqc::Dek;
use hanzo_simulated_tee::{LaunchSpec, SimulatedGuest, SimulatedProcessor, simulated_measurement};
use hanzo_vault::{KeyPolicy, Wrap};
use hanzo_verifier::VerifierContext;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::engine::NOTES_FILE;

/// Where the store's key is in the broker.
pub const STORE_KEY: &str = "hanzo/store/receipts";
/// Where the model's key is in the broker.
pub const MODEL_KEY: &str = "hanzo/dek/tiny";
/// The image that the client expects.
pub const IMAGE: Digest384 = Digest384([7; 48]);

/// How an appliance differs from a healthy one.
#[derive(Debug, Clone)]
pub struct Differs {
    /// Image that is really launched.
    pub image: Digest384,
    /// Launched with the debug policy bit.
    pub debug: bool,
    /// SNP firmware version that the processor reports.
    pub snp: u8,
    /// Tier that the configuration and the broker ask for.
    pub tier: u8,
    /// How long before a keyset's end the next takes over.
    pub keyset_overlap_s: Option<u64>,
    /// A real model of chats (GGUF, ChatML) in place of the stand-in's.
    pub model: Option<PathBuf>,
    /// Serves ACI documents too.
    pub aci: bool,
}

impl Default for Differs {
    fn default() -> Self {
        Self {
            image: IMAGE,
            debug: false,
            snp: 23,
            tier: 2,
            keyset_overlap_s: None,
            model: None,
            aci: false,
        }
    }
}

/// What the models that [`Differs::model`] takes were taught with.
const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// A running appliance; stops when dropped.
pub struct Appliance {
    /// Where the guest serves.
    pub guest_at: SocketAddr,
    /// What it proves.
    pub ready: Ready,
    /// All its files.
    pub dir: tempfile::TempDir,
    config_digest: Digest256,
    notes: PathBuf,
    running: Running,
    options: GuestOptions,
    spec: LaunchSpec,
    _stop_kbs: oneshot::Sender<()>,
}

/// One guest process, as a task.
struct Running {
    stop: Option<oneshot::Sender<()>>,
    guest: JoinHandle<Result<(), GuestError>>,
}

/// A second guest that the host booted from copies of the first one's disks; stops when dropped.
pub struct ClonedGuest {
    /// Where it serves.
    pub guest_at: SocketAddr,
    /// What it proves.
    pub ready: Ready,
    _dir: tempfile::TempDir,
    _running: Running,
}

/// The simulated processor behind the guest's own trait.
pub(crate) struct Simulated(pub(crate) SimulatedGuest);

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

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn now() -> UnixTime {
    (hanzo_client::system_clock())()
}

/// What a careful client or broker asks of a guest with this configuration.
pub fn policy(config_digest: Digest256, minimum: PrivacyTier) -> AppraisalPolicy {
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
        name: name("expected"),
        measurement: simulated_measurement(&IMAGE, &config_digest),
        config_digest,
    };
    AppraisalPolicy::closed(minimum).with_snp(SnpPolicy::any_chip(floors, vec![reference]))
}

impl Appliance {
    /// A healthy one.
    pub async fn start(engine: Vec<String>) -> Self {
        Self::start_as(engine, Differs::default()).await
    }

    /// One that differs. `engine` is the command that starts [`crate::engine::serve`].
    pub async fn start_as(engine: Vec<String>, differs: Differs) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let notes = at("prompts");
        let (dek, store_dek) = ([0x52; 32], [0x51; 32]);
        let root = match &differs.model {
            None => seal(&dir, &dek, &notes, "weights"),
            Some(model) => seal_real(&dir, &dek, model),
        };
        let processor = SimulatedProcessor::for_tests();
        let (kbs_at, made, stop_kbs) = broker(&dir, processor.ark_der()).await;
        let signer = &made.identity.signer;
        let mut config = config_text(differs.tier, signer, &root);
        if differs.model.is_some() {
            config = config.replace("context_tokens = 256", "context_tokens = 1024");
            config = config.replace("request_timeout_s = 20", "request_timeout_s = 300");
        }
        if differs.aci {
            config = config.replace("auth = \"none\"", "auth = \"none\"\naci = \"on\"");
        }
        std::fs::write(at("config.toml"), &config).unwrap();
        let config_digest = Digest256::of(config.as_bytes());
        let minimum = if differs.tier == 0 {
            PrivacyTier::Open
        } else {
            PrivacyTier::CpuTee
        };
        let mut appraisal = policy(config_digest, minimum);
        // The broker's owner trusts whatever is launched here; it is the client who looks.
        appraisal.snp.as_mut().unwrap().references[0].measurement =
            simulated_measurement(&differs.image, &config_digest);
        for (key, dek, subject) in [
            (STORE_KEY, store_dek, "receipts".to_owned()),
            (MODEL_KEY, dek, root.to_string()),
        ] {
            let policy = KeyPolicy {
                allow_simulated: true,
                appraisal: appraisal.clone(),
                grant_lifetime_s: 60,
                image_versions: BTreeMap::new(),
                max_uses: 10,
                minimum_image_version: 0,
                not_after: now().0 + 3600,
                not_before: 0,
                rego: None,
                subject: name(&subject),
                tenant: name("hanzo"),
                wrap: vec![Wrap::Hpke],
            };
            let admin = hanzo_kbs::load_admin_key(&made.admin_key_path).unwrap();
            let dek = Dek::from_bytes(Zeroizing::new(dek));
            admin::put_key(
                kbs_at,
                &made.identity,
                &admin,
                &KeyId::new(key).unwrap(),
                1,
                &dek,
                &policy,
            )
            .await
            .unwrap();
        }
        let mut spec = LaunchSpec::new(differs.image, config_digest);
        spec.debug = differs.debug;
        spec.tcb.snp = differs.snp;
        let options = GuestOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            vsock: None,
            sealed: None,
            kbs_addr: kbs_at.to_string(),
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
                keyset_overlap_s: differs.keyset_overlap_s,
                ..OperatingLimits::default()
            },
        };
        let (guest_at, ready, running) = boot(options.clone(), spec.clone()).await;
        Self {
            guest_at,
            ready,
            dir,
            config_digest,
            notes,
            running,
            options,
            spec,
            _stop_kbs: stop_kbs,
        }
    }

    /// Boots the same image with the same configuration from copies of this guest's disks. The broker gives it its keys,
    /// as it does after a restart.
    pub async fn clone_guest(&self) -> ClonedGuest {
        let dir = tempfile::tempdir().unwrap();
        let mut options = self.options.clone();
        options.store_path = dir.path().join("guest.db");
        options.runtime_dir = dir.path().join("run");
        for file in ["guest.db", "guest.db-wal", "guest.db-shm"] {
            let from = self.dir.path().join(file);
            if from.exists() {
                std::fs::copy(from, dir.path().join(file)).unwrap();
            }
        }
        let (guest_at, ready, running) = boot(options, self.spec.clone()).await;
        ClonedGuest {
            guest_at,
            ready,
            _dir: dir,
            _running: running,
        }
    }

    /// A client that asks for tier 2, this configuration and the expected image, through `at`.
    pub fn client(&self, at: SocketAddr) -> AttestedClient {
        self.client_with(at, |_| {})
    }

    /// As [`Appliance::client`] with a changed configuration.
    pub fn client_with(&self, at: SocketAddr, change: impl FnOnce(&mut ClientConfig)) -> AttestedClient {
        let context = VerifierContext {
            anchors: Anchors::vendor().with_simulator_ark(SimulatedProcessor::for_tests().ark_der().to_vec()),
            collateral: Collateral::default(),
            policy: policy(self.config_digest, PrivacyTier::CpuTee),
        };
        let endpoint: Endpoint = at.to_string().parse().unwrap();
        let mut config = ClientConfig::new(endpoint, context);
        change(&mut config);
        AttestedClient::new(config).unwrap()
    }

    /// How many prompts the engine got.
    pub fn prompts(&self) -> usize {
        std::fs::read_to_string(&self.notes).map_or(0, |t| t.lines().count())
    }

    /// Stops the guest and waits for it.
    pub async fn stop(mut self) {
        if let Some(stop) = self.running.stop.take() {
            stop.send(()).ok();
        }
        (&mut self.running.guest).await.unwrap().unwrap();
    }
}

async fn boot(options: GuestOptions, spec: LaunchSpec) -> (SocketAddr, Ready, Running) {
    let processor = SimulatedProcessor::for_tests();
    let attester = Simulated(processor.launch(spec).with_crl(processor.crl_der(now())));
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, is_ready) = oneshot::channel();
    let guest = tokio::spawn(async move {
        let shutdown = async { stopped.await.unwrap_or(()) };
        hanzo_guest::run(options, Box::new(attester), shutdown, |r| {
            tell.send(r.clone()).ok();
        })
        .await
    });
    let ready = match is_ready.await {
        Ok(ready) => ready,
        Err(_) => panic!("the guest did not boot: {}", guest.await.unwrap().unwrap_err()),
    };
    let ListenAddress::Tcp(guest_at) = ready.address else {
        panic!("TCP")
    };
    let stop = Some(stop);
    (guest_at, ready, Running { stop, guest })
}

/// The configuration of a guest that serves the model `root` and believes the broker that signs with `signer`.
pub(crate) fn config_text(tier: u8, signer: &PinnedSigner, root: &Digest256) -> String {
    let PinnedSigner { suite, ml_dsa, ed25519 } = signer;
    format!(
        r#"version = 1
operator = "adversary-tests"
image = "0.1.0"
required_tier = {tier}
keyset_lifetime_s = 3600
auth = "none"
[kbs]
grant_lifetime_s = 60
[kbs.signer]
suite = "{suite}"
ml_dsa = "{ml_dsa}"
ed25519 = "{ed25519}"
[store]
writers = "many"
id = "receipts"
key_id = "{STORE_KEY}"
[[models]]
name = "tiny"
weights_root = "{root}"
key_id = "{MODEL_KEY}"
context_tokens = 256
[limits]
body_bytes_max = 65536
concurrent_requests = 4
request_timeout_s = 20
"#
    )
}

/// Seals a tiny model, whose weights are this text, into `packs/tiny.pack`.
pub(crate) fn seal(dir: &tempfile::TempDir, dek: &[u8; 32], notes: &std::path::Path, weights: &str) -> Digest256 {
    let source = dir.path().join("model");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::create_dir_all(dir.path().join("packs")).unwrap();
    // A GGUF header without keys and tensors; nobody reads what follows it.
    let header = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    std::fs::write(source.join("model.gguf"), [&header[..], weights.as_bytes()].concat()).unwrap();
    for (file, text) in [
        ("tokenizer.json", "{}"),
        ("chat_template.jinja", "{{ messages }}"),
        (NOTES_FILE, notes.to_str().unwrap()),
    ] {
        std::fs::write(source.join(file), text).unwrap();
    }
    let dek = Dek::from_bytes(Zeroizing::new(*dek));
    hanzo_pack::seal(&source, &dek, &dir.path().join("packs/tiny.pack"), &|_| ())
        .unwrap()
        .weights_root
}

/// Seals a real model into `packs/tiny.pack`.
fn seal_real(dir: &tempfile::TempDir, dek: &[u8; 32], model: &std::path::Path) -> Digest256 {
    let source = dir.path().join("model");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::create_dir_all(dir.path().join("packs")).unwrap();
    std::fs::copy(model, source.join("model.gguf")).unwrap();
    std::fs::write(source.join("tokenizer.json"), "{}").unwrap();
    std::fs::write(source.join("chat_template.jinja"), CHATML).unwrap();
    let dek = Dek::from_bytes(Zeroizing::new(*dek));
    hanzo_pack::seal(&source, &dek, &dir.path().join("packs/tiny.pack"), &|_| ())
        .unwrap()
        .weights_root
}

async fn broker(dir: &tempfile::TempDir, ark: &[u8]) -> (SocketAddr, Initialised, oneshot::Sender<()>) {
    let made = hanzo_kbs::init(&InitOptions {
        dir: dir.path().join("kbs"),
        listen: "127.0.0.1:0".parse().unwrap(),
        mode: StoreMode::Simulated,
        simulator_roots: vec![ark.to_vec()],
    })
    .unwrap();
    let config = KbsConfig::load(&made.config_path).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, is_ready) = oneshot::channel();
    tokio::spawn(hanzo_kbs::serve(
        config,
        StoreMode::Simulated,
        async { stopped.await.unwrap_or(()) },
        |at| {
            tell.send(at).ok();
        },
    ));
    (is_ready.await.unwrap(), made, stop)
}
