//! A simulated security processor that takes its time, one caller at a time, as real ones do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanzo_attestation::bundle::{CpuEvidence, DeviceCollateral};
use hanzo_attestation::keyset::{KemKey, Keyset, SignerKeys, capability_digest};
use hanzo_attestation::name::Name;
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_device::{Attester, DeviceError, TimeSource};
use hanzo_guest::evidence::Sealed;
use hanzo_simulated_tee::{LaunchSpec, SimulatedGuest, SimulatedProcessor};

/// When the keyset was made.
pub const ISSUED_AT: u64 = 1_780_000_000;

/// See the module's text.
pub struct SlowDevice {
    guest: SimulatedGuest,
    takes: Duration,
    alone: Mutex<()>,
    calls: AtomicUsize,
    fails: AtomicBool,
}

impl SlowDevice {
    /// One whose calls take this long.
    pub fn new(takes: Duration) -> Arc<Self> {
        let processor = SimulatedProcessor::for_tests();
        Arc::new(Self {
            guest: processor.launch(LaunchSpec::new(Digest384([7; 48]), Digest256::of(b"config"))),
            takes,
            alone: Mutex::new(()),
            calls: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
        })
    }

    /// Calls since the last [`SlowDevice::forget`].
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Starts counting again.
    pub fn forget(&self) {
        self.calls.store(0, Ordering::SeqCst);
    }

    /// The next call fails.
    #[allow(dead_code, reason = "the bench has no use for it")]
    pub fn fail_next(&self) {
        self.fails.store(true, Ordering::SeqCst);
    }
}

impl Attester for SlowDevice {
    fn kind(&self) -> &'static str {
        "snp"
    }

    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        let _alone = self.alone.lock().unwrap();
        self.calls.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(self.takes);
        if self.fails.swap(false, Ordering::SeqCst) {
            return Err(DeviceError::Io {
                path: "/dev/sev-guest".into(),
                source: std::io::ErrorKind::TimedOut.into(),
            });
        }
        Ok(CpuEvidence::Snp(self.guest.evidence(request.report_data())))
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        Ok(self.guest.spec().config_digest)
    }

    fn time_source(&self) -> TimeSource {
        TimeSource::Host
    }
}

/// What a guest with one model would have sealed.
pub fn sealed() -> Sealed {
    let capabilities = vec![Name::new("api.models").unwrap()];
    let policy = "{}".to_owned();
    let keyset = Keyset {
        capability_digest: capability_digest(&capabilities).unwrap(),
        channel_key: KemKey {
            public_key: "aa".repeat(1216),
            suite: "x-wing".into(),
        },
        config_digest: Digest256::of(b"config"),
        image: Name::new("0.1.0").unwrap(),
        issued_at: ISSUED_AT,
        models: vec![],
        not_after: ISSUED_AT + 3600,
        ohttp_keys: vec![],
        policy_digest: Digest384::of(policy.as_bytes()),
        receipt_keys: SignerKeys {
            ed25519: "bb".repeat(32),
            ml_dsa: "cc".repeat(1952),
            suite: "ml-dsa-65".into(),
        },
        log: None,
        signer_keys: vec![],
        simulated: true,
        tier: 2,
        time: "host".into(),
        tls_spki_sha256: Digest256([5; 32]),
        version: 1,
    };
    Sealed {
        keyset_digest: keyset.digest().unwrap(),
        keyset,
        capabilities,
        config: "config".into(),
        policy,
        collateral: DeviceCollateral::default(),
    }
}
