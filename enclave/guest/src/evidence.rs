//! Fresh evidence for many callers with few hardware calls.
//!
//! Challenges queue here, apart from serving. One task takes all that wait (at most [`WINDOW_MAX`]), makes one statement
//! over the Merkle root of them, asks the processor once, and gives each caller the bundle with its own path. While the
//! processor works the next window fills. A window stays open for 10 ms, far below the second that the format allows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanzo_attestation::bundle::{
    BUNDLE_BYTES_MAX, Bundle, CpuEvidence, DeviceCollateral, DeviceEvidence, device_list_digest,
};
use hanzo_attestation::freshness::{FreshnessPath, window_nonce, window_path};
use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::name::Name;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Digest384, Nonce};
use hanzo_device::{Attester, DeviceError};
use tokio::sync::{mpsc, oneshot};

/// Most challenges answered by one hardware call; also how many may wait.
pub const WINDOW_MAX: usize = 256;
const WINDOW_OPEN: Duration = Duration::from_millis(10);
/// Least time from one hardware call to the next.
const CALL_SPACING: Duration = Duration::from_millis(50);

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The processor gave none.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A document could not be written.
    #[error(transparent)]
    Jcs(#[from] JcsError),
    /// A bundle would be longer than verifiers read.
    #[error("bundle: {got} bytes, verifiers accept at most 2097152: shorten the configuration or staple less")]
    TooLarge {
        /// Its length.
        got: usize,
    },
    /// Too many callers wait.
    #[error("evidence: 256 challenges are waiting already; try again")]
    Busy,
    /// The task that makes evidence is gone.
    #[error("evidence: its task ended")]
    Ended,
}

impl EvidenceError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Device(e) => e.code(),
            Self::Jcs(_) => "bundle.malformed",
            Self::TooLarge { .. } => "bundle.too_large",
            Self::Busy => "evidence.busy",
            Self::Ended => "evidence.ended",
        }
    }
}

/// What the bundles of one boot have in common.
pub struct Sealed {
    /// The keys.
    pub keyset: Keyset,
    /// SHA-384 of its canonical form.
    pub keyset_digest: Digest384,
    /// Preimage of `capability_digest`.
    pub capabilities: Vec<Name>,
    /// Preimage of `config_digest`.
    pub config: String,
    /// Preimage of `policy_digest`.
    pub policy: String,
    /// What endorses the devices.
    pub collateral: DeviceCollateral,
}

/// What the hardware gave for one nonce.
#[derive(Clone)]
struct Collected {
    devices: Vec<DeviceEvidence>,
    cpu: CpuEvidence,
}

impl Sealed {
    fn bundle(
        &self,
        nonce: Nonce,
        collected: Collected,
        freshness: Option<FreshnessPath>,
    ) -> Result<Bytes, EvidenceError> {
        let bundle = Bundle {
            collateral: self.collateral.clone(),
            capabilities: self.capabilities.clone(),
            config: self.config.clone(),
            cpu: collected.cpu,
            devices: collected.devices,
            freshness,
            keyset: self.keyset.clone(),
            nonce,
            policy: self.policy.clone(),
            version: 1,
        };
        let bytes = bundle.canonical()?;
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(EvidenceError::TooLarge { got: bytes.len() });
        }
        Ok(Bytes::from(bytes))
    }
}

type Answer = Result<Bytes, Arc<EvidenceError>>;

struct Question {
    challenge: Nonce,
    answer: oneshot::Sender<Answer>,
}

/// Asks for bundles. Cheap to clone.
#[derive(Clone)]
pub struct EvidenceDesk {
    questions: mpsc::Sender<Question>,
    standing: Bytes,
}

impl EvidenceDesk {
    /// Makes the bundle without challenge, which proves at boot that evidence works, and starts the task.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub async fn open(attester: Arc<dyn Attester>, sealed: Arc<Sealed>, nonce: Nonce) -> Result<Self, EvidenceError> {
        let collected = collect(&attester, &sealed, nonce).await?;
        let standing = sealed.bundle(nonce, collected, None)?;
        let (questions, waiting) = mpsc::channel(WINDOW_MAX);
        tokio::spawn(answer_windows(attester, sealed, waiting));
        Ok(Self { questions, standing })
    }

    /// The bundle of boot time: freshness `none`.
    pub fn standing(&self) -> Bytes {
        self.standing.clone()
    }

    /// A bundle that answers `challenge`.
    ///
    /// # Errors
    /// [`EvidenceError`], shared by all callers of one window.
    pub async fn fresh(&self, challenge: Nonce) -> Result<Bytes, Arc<EvidenceError>> {
        let (answer, answered) = oneshot::channel();
        self.questions
            .try_send(Question { challenge, answer })
            .map_err(|_| Arc::new(EvidenceError::Busy))?;
        answered.await.unwrap_or_else(|_| Err(Arc::new(EvidenceError::Ended)))
    }
}

async fn answer_windows(attester: Arc<dyn Attester>, sealed: Arc<Sealed>, mut waiting: mpsc::Receiver<Question>) {
    let mut window = Vec::new();
    while waiting.recv_many(&mut window, 1).await > 0 {
        tokio::time::sleep(WINDOW_OPEN).await;
        while window.len() < WINDOW_MAX
            && let Ok(question) = waiting.try_recv()
        {
            window.push(question);
        }
        answer_window(&attester, &sealed, std::mem::take(&mut window)).await;
        tokio::time::sleep(CALL_SPACING).await;
    }
}

async fn answer_window(attester: &Arc<dyn Attester>, sealed: &Sealed, window: Vec<Question>) {
    let challenges: Vec<_> = window.iter().map(|q| q.challenge).collect();
    let nonce = window_nonce(&challenges);
    match collect(attester, sealed, nonce).await {
        Ok(collected) => {
            for (index, question) in window.into_iter().enumerate() {
                let path = window_path(&challenges, index);
                let bundle = sealed.bundle(nonce, collected.clone(), path).map_err(Arc::new);
                // A caller that hung up is no error.
                let _ = question.answer.send(bundle);
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            tracing::error!(code = error.code(), "no evidence: {error}");
            for question in window {
                let _ = question.answer.send(Err(error.clone()));
            }
        }
    }
}

/// The devices answer first; the CPU then signs for exactly the list they gave (DESIGN section 4, "Statement").
async fn collect(attester: &Arc<dyn Attester>, sealed: &Sealed, nonce: Nonce) -> Result<Collected, EvidenceError> {
    let keyset_digest = sealed.keyset_digest;
    let device_nonce = Statement::for_devices(keyset_digest, nonce).digest256()?.0;
    let attester = attester.clone();
    let collecting = tokio::task::spawn_blocking(move || -> Result<_, EvidenceError> {
        let devices = attester.devices(&device_nonce)?;
        let list = device_list_digest(&devices)?;
        let request = Statement::for_cpu(keyset_digest, nonce, list).request()?;
        let cpu = attester.evidence(&request)?;
        Ok(Collected { devices, cpu })
    });
    collecting.await.map_err(|_| EvidenceError::Ended)?
}
