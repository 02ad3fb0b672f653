//! Fresh evidence for many callers with few hardware calls.
//!
//! Challenges queue here, apart from serving. The first goes to the processor at once. Those that come while it works
//! wait, and the next call answers all of them: one statement over the Merkle root of their challenges, and for each
//! caller the bundle with its own path. Nothing waits for a window to fill, and nothing runs while nobody asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanzo_attestation::bundle::{
    BUNDLE_BYTES_MAX, Bundle, CpuEvidence, DeviceCollateral, DeviceEvidence, SharedBundle, device_list_digest,
};
use hanzo_attestation::freshness::Window;
use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::name::Name;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Digest384, Nonce};
use hanzo_device::{Attester, DeviceError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Bounds on windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Most challenges that one hardware call answers.
    pub challenges_max: usize,
    /// Most challenges that wait; further ones are turned away.
    pub waiting_max: usize,
    /// Least time from the start of one hardware call to the start of the next: the security processor is not this
    /// guest's alone, and anybody may ask.
    pub spacing: Duration,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            challenges_max: 512,
            waiting_max: 512,
            spacing: Duration::from_millis(20),
        }
    }
}

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
    #[error("evidence: as many challenges are waiting as may wait; try again in a second")]
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
    fn bundle(&self, nonce: Nonce, collected: Collected) -> Bundle {
        Bundle {
            collateral: self.collateral.clone(),
            capabilities: self.capabilities.clone(),
            config: self.config.clone(),
            cpu: collected.cpu,
            devices: collected.devices,
            freshness: None,
            keyset: self.keyset.clone(),
            nonce,
            policy: self.policy.clone(),
            version: 1,
        }
    }
}

/// A bundle that answers one caller. All callers of a window share the two larger of its three pieces.
#[derive(Debug, Clone)]
pub struct FreshBundle {
    pieces: [Bytes; 3],
}

impl FreshBundle {
    /// Its bytes, in order.
    pub fn into_pieces(self) -> [Bytes; 3] {
        self.pieces
    }

    /// Its bytes in one piece.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

type Answer = Result<FreshBundle, Arc<EvidenceError>>;

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
    pub async fn open(
        attester: Arc<dyn Attester>,
        sealed: Arc<Sealed>,
        nonce: Nonce,
        windows: Windows,
    ) -> Result<Self, EvidenceError> {
        let collected = collect(&attester, &sealed, nonce).await?;
        let standing = checked(sealed.bundle(nonce, collected).canonical()?)?;
        let (questions, waiting) = mpsc::channel(windows.waiting_max.max(1));
        tokio::spawn(answer_windows(attester, sealed, waiting, windows));
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
    pub async fn fresh(&self, challenge: Nonce) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.questions.try_send(Question { challenge, answer }).map_err(|e| {
            Arc::new(match e {
                mpsc::error::TrySendError::Full(_) => EvidenceError::Busy,
                mpsc::error::TrySendError::Closed(_) => EvidenceError::Ended,
            })
        })?;
        answered.await.unwrap_or_else(|_| Err(Arc::new(EvidenceError::Ended)))
    }
}

fn checked(bytes: Vec<u8>) -> Result<Bytes, EvidenceError> {
    if bytes.len() > BUNDLE_BYTES_MAX {
        return Err(EvidenceError::TooLarge { got: bytes.len() });
    }
    Ok(Bytes::from(bytes))
}

async fn answer_windows(
    attester: Arc<dyn Attester>,
    sealed: Arc<Sealed>,
    mut waiting: mpsc::Receiver<Question>,
    windows: Windows,
) {
    let mut next_call = Instant::now();
    while let Some(first) = waiting.recv().await {
        tokio::time::sleep_until(next_call).await;
        let mut window = vec![first];
        while window.len() < windows.challenges_max
            && let Ok(question) = waiting.try_recv()
        {
            window.push(question);
        }
        // Nothing is asked of the hardware for callers that hung up.
        window.retain(|question| !question.answer.is_closed());
        let challenges = window.iter().map(|question| question.challenge).collect();
        let Some(tree) = Window::new(challenges) else { continue };
        next_call = Instant::now() + windows.spacing;
        answer_window(&attester, &sealed, tree, window).await;
    }
}

async fn answer_window(attester: &Arc<dyn Attester>, sealed: &Sealed, tree: Window, window: Vec<Question>) {
    match shared_pieces(attester, sealed, tree.nonce()).await {
        Ok((head, tail)) => {
            for (index, question) in window.into_iter().enumerate() {
                // A caller that hung up is no error.
                let _ = question
                    .answer
                    .send(own_bundle(&head, &tree, index, &tail).map_err(Arc::new));
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

async fn shared_pieces(
    attester: &Arc<dyn Attester>,
    sealed: &Sealed,
    nonce: Nonce,
) -> Result<(Bytes, Bytes), EvidenceError> {
    let collected = collect(attester, sealed, nonce).await?;
    let (head, tail) = SharedBundle::of(&sealed.bundle(nonce, collected))?.into_pieces();
    Ok((head.into(), tail.into()))
}

fn own_bundle(head: &Bytes, tree: &Window, index: usize, tail: &Bytes) -> Result<FreshBundle, EvidenceError> {
    let path = tree.path(index).ok_or(EvidenceError::Ended)?;
    let own = SharedBundle::own_piece(&path)?;
    let got = head.len() + own.len() + tail.len();
    if got > BUNDLE_BYTES_MAX {
        return Err(EvidenceError::TooLarge { got });
    }
    Ok(FreshBundle {
        pieces: [head.clone(), own.into(), tail.clone()],
    })
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
