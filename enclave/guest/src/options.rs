//! What the image's init tells the guest. None of it configures what is served or believed: that is the measured
//! configuration's alone. Wrong values here can only keep the guest from serving.

use std::path::PathBuf;
use std::str::FromStr;

use hanzo_attestation::Anchors;
use hanzo_attestation::bundle::DeviceCollateral;

use crate::engine::sandbox::EngineSandbox;
use crate::sealed::KEY_MESSAGES_MAX;
use crate::transport::ListenAddress;

/// Where plaintext weights may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaintextStorage {
    /// In memory alone (tmpfs or ramfs): a real guest's disk is the host's.
    MemoryOnly,
    /// On any file system: for development on the simulated TEE.
    AnyFileSystem,
}

/// Everything [`crate::run`] needs besides an attester.
#[derive(Debug, Clone)]
pub struct GuestOptions {
    /// Where to serve.
    pub listen: ListenAddress,
    /// Where else: `vsock:PORT` beside TCP.
    pub vsock: Option<ListenAddress>,
    /// Where sealed messages are taken without TLS, for relays: nothing else is served there but what proves itself.
    pub sealed: Option<ListenAddress>,
    /// `host:port` of the key broker (through the host; nothing about it is believed). Not looked at where the configuration names the
    /// broker.
    pub kbs_addr: String,
    /// The host's egress broker: `IP:PORT`, or `vsock:PORT` at the host. Needed where the configuration lists names outside.
    pub egress: Option<ListenAddress>,
    /// The configuration text; its SHA-256 must be the measured one.
    pub config_path: PathBuf,
    /// Directory with one `<model name>.pack` per model of the configuration.
    pub packs: PathBuf,
    /// The guest's encrypted store.
    pub store_path: PathBuf,
    /// Where opened models and sockets are put, in a fresh directory of mode 0700 that is removed at exit.
    pub runtime_dir: PathBuf,
    /// What `runtime_dir` may be.
    pub plaintext: PlaintextStorage,
    /// Program and arguments of the engine for all that no other takes (mistral.rs in an image); `--model-dir`, `--socket` and
    /// `--context-tokens` are appended.
    pub engine_command: Vec<String>,
    /// The same of llama.cpp, which takes GGUF unless a model's configuration says otherwise; an image need not have it.
    pub llama_command: Option<Vec<String>>,
    /// The same of the engine that is a client of a server of the operator's own (`enclave/engine-upstream`); an image need not have it.
    pub upstream_command: Option<Vec<String>>,
    /// How engines are confined.
    pub sandbox: EngineSandbox,
    /// What the guest verifies its GPUs with before they get ready.
    pub devices: DeviceTrust,
    /// Bounds that are no policy.
    pub limits: OperatingLimits,
}

/// What GPUs are verified with, in the guest itself.
#[derive(Debug, Clone)]
pub struct DeviceTrust {
    /// Roots. `hanzo-guest` has the vendors' and no others.
    pub anchors: Anchors,
    /// RIMs and OCSP answers, which the host laid beside the guest and which prove themselves; also stapled to bundles.
    pub collateral: DeviceCollateral,
    /// Program and first arguments of the process that asks CUDA for GPUs that passed ([`crate::probe`]).
    pub survey: Vec<String>,
}

impl Default for DeviceTrust {
    fn default() -> Self {
        Self {
            anchors: Anchors::default(),
            collateral: DeviceCollateral::default(),
            survey: crate::probe::own_program(),
        }
    }
}

/// Bounds on time and number, with defaults fit for a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatingLimits {
    /// Connections at a time; more wait in the listener's backlog.
    pub connections_max: usize,
    /// Time for a TLS handshake, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// Time for one exchange with the key broker, in milliseconds.
    pub kbs_timeout_ms: u64,
    /// For how long a store is leased at a time, in seconds: 1 to 600. After a crash the next boot waits for its end at most this long;
    /// a key broker that is away for longer ends the guest. The head of the log moves every eighth of it.
    pub lease_s: u64,
    /// How long a boot waits for a lease that another guest has, in seconds.
    pub lease_wait_s: u64,
    /// Time for an engine to load its model, in milliseconds.
    pub engine_start_timeout_ms: u64,
    /// How long a request waits for an engine that is started for it, in milliseconds; then it is told to come again.
    pub engine_load_wait_ms: u64,
    /// Engines that are started when somebody asks, at a time, whatever memory there is.
    pub engines_on_demand_max: usize,
    /// Private memory of one engine, in bytes; what is available when it starts, less a part for the guest, when absent.
    pub engine_memory_bytes_max: Option<u64>,
    /// Restarts of one engine in one boot; then it is given up, and with the last one the guest stops.
    pub engine_restarts_max: u32,
    /// Time that requests in flight get at shutdown and at the end of their keyset, in milliseconds.
    pub drain_timeout_ms: u64,
    /// How long before a keyset's end the next one takes over, in seconds; a tenth of its life, at most 300, when absent. However
    /// long, a keyset serves for 2 seconds first.
    pub keyset_overlap_s: Option<u64>,
    /// How long a keyset serves at least before the next takes over because its message keys are nearly spent, in seconds.
    pub keyset_turn_min_s: u64,
    /// Messages that one key opens: 2^20 at most, whatever is written here.
    pub sealed_messages_max: usize,
}

impl Default for OperatingLimits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            handshake_timeout_ms: 10_000,
            kbs_timeout_ms: 15_000,
            lease_s: 60,
            lease_wait_s: 90,
            engine_start_timeout_ms: 600_000,
            engine_load_wait_ms: 20_000,
            engines_on_demand_max: 16,
            engine_memory_bytes_max: None,
            engine_restarts_max: 5,
            drain_timeout_ms: 30_000,
            keyset_overlap_s: None,
            keyset_turn_min_s: 20,
            sealed_messages_max: KEY_MESSAGES_MAX,
        }
    }
}

/// The text is no [`PlaintextStorage`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected memory or any")]
pub struct PlaintextStorageError;

impl FromStr for PlaintextStorage {
    type Err = PlaintextStorageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "memory" => Ok(Self::MemoryOnly),
            "any" => Ok(Self::AnyFileSystem),
            _ => Err(PlaintextStorageError),
        }
    }
}
