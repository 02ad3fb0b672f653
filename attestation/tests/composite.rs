//! CPU evidence and device evidence together: one guest, one keyset, one nonce, exactly these devices.

use hanzo_attestation::binding::{BindingError, RcarRuntime, bind_keyset, bind_rcar};
use hanzo_attestation::bundle::{Base64, Bundle, CpuEvidence, DeviceCollateral, DeviceEvidence, device_list_digest};
use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::freshness::{window_nonce, window_path};
use hanzo_attestation::keyset::{KemKey, Keyset, SignerKeys, capability_digest};
use hanzo_attestation::name::Name;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{
    Anchors, AttestationError, Authentic, AuthenticDevices, Claims, Collateral, Digest256, Digest384, Nonce,
    RawEvidence, UnixTime,
};
use hanzo_simulated_tee::{DeviceSpec, LaunchSpec, SimulatedDevice, SimulatedNvidia, SimulatedProcessor};

/// 2025-09-01T00:00:00Z.
const ISSUED_AT: u64 = 1_756_684_800;
const NOW: UnixTime = UnixTime(ISSUED_AT + 60);
const CONFIG: &str = "version = 1\n";
const POLICY: &str = "version = 2\n";

/// A simulated machine: a processor, two GPUs, and what a verifier accepts of them.
struct Machine {
    processor: SimulatedProcessor,
    vendor: SimulatedNvidia,
    gpus: Vec<SimulatedDevice>,
    anchors: Anchors,
}

fn machine() -> Machine {
    let (processor, vendor) = (SimulatedProcessor::for_tests(), SimulatedNvidia::for_tests());
    let anchors = Anchors::vendor()
        .with_simulator_ark(processor.ark_der().to_vec())
        .with_simulator_nvidia_root(vendor.device_root_der().to_vec());
    let gpus = [1, 2].map(|number| vendor.device(DeviceSpec::hopper(number))).into();
    Machine {
        processor,
        vendor,
        gpus,
        anchors,
    }
}

impl Machine {
    fn report(&self, report_data: &[u8; 64]) -> CpuEvidence {
        let spec = LaunchSpec::new(Digest384([1; 48]), Digest256::of(CONFIG.as_bytes()));
        CpuEvidence::Snp(self.processor.launch(spec).evidence(report_data))
    }

    /// Both GPUs' answers to `nonce`.
    fn answers(&self, nonce: [u8; 32]) -> Vec<DeviceEvidence> {
        self.gpus.iter().map(|gpu| gpu.evidence(&nonce)).collect()
    }

    /// An honest guest: devices first, then the report over their list.
    fn bundle(&self, keyset: Keyset) -> Bundle {
        let devices = self.answers(device_statement(&keyset).digest256().unwrap().0);
        let statement = cpu_statement(&keyset, &devices);
        Bundle {
            cpu: self.report(&statement.report_data().unwrap()),
            devices,
            ..empty_bundle(keyset)
        }
    }

    fn cpu(&self, cpu: &CpuEvidence) -> Authentic<Claims> {
        let parsed = RawEvidence::from(cpu.clone()).parse().unwrap();
        parsed.authenticate(&self.anchors, &Collateral::default(), NOW).unwrap()
    }

    fn devices(&self, list: &[DeviceEvidence]) -> Result<AuthenticDevices, AttestationError> {
        authenticate_devices(
            list,
            &DeviceCollateral::default(),
            &self.anchors,
            &Collateral::default(),
            NOW,
        )
    }

    /// `bound` or the code by which binding refuses.
    fn bind(&self, bundle: &Bundle) -> &'static str {
        let devices = match self.devices(&bundle.devices) {
            Ok(devices) => devices,
            Err(e) => return e.code(),
        };
        let bound = bind_keyset(self.cpu(&bundle.cpu), devices, bundle, Some(&challenge()), Some(NOW));
        code(bound.map(|bound| assert!(bound.is_simulated())))
    }
}

fn code(result: Result<(), BindingError>) -> &'static str {
    result.map_or_else(|e| e.code(), |()| "bound")
}

fn challenge() -> Nonce {
    Nonce([1; 32])
}

fn nonce() -> Nonce {
    window_nonce(&[challenge()])
}

fn device_statement(keyset: &Keyset) -> Statement {
    Statement::for_devices(keyset.digest().unwrap(), nonce())
}

fn cpu_statement(keyset: &Keyset, devices: &[DeviceEvidence]) -> Statement {
    Statement::for_cpu(keyset.digest().unwrap(), nonce(), device_list_digest(devices).unwrap())
}

fn keyset() -> Keyset {
    Keyset {
        capability_digest: capability_digest(&[]).unwrap(),
        channel_key: KemKey {
            public_key: "a1".repeat(1216),
            suite: "x-wing".into(),
        },
        config_digest: Digest256::of(CONFIG.as_bytes()),
        image: Name::new("0.1.0").unwrap(),
        issued_at: ISSUED_AT,
        models: vec![],
        not_after: ISSUED_AT + 3600,
        ohttp_keys: vec![],
        policy_digest: Digest384::of(POLICY.as_bytes()),
        receipt_keys: SignerKeys {
            ed25519: "c3".repeat(32),
            ml_dsa: "b2".repeat(1952),
            suite: "ml-dsa-65".into(),
        },
        log: None,
        signer_keys: vec![],
        simulated: true,
        tier: 3,
        time: "host".into(),
        tls_spki_sha256: Digest256([0x55; 32]),
        version: 1,
    }
}

/// Another guest's keyset: another channel key.
fn other_keyset() -> Keyset {
    let mut keyset = keyset();
    keyset.channel_key.public_key = "a2".repeat(1216);
    keyset
}

/// All but the evidence.
fn empty_bundle(keyset: Keyset) -> Bundle {
    let machine_less = CpuEvidence::Snp(hanzo_attestation::bundle::SnpEvidence {
        ask: None,
        crl: None,
        report: Base64(vec![]),
        vek: Base64(vec![]),
    });
    Bundle {
        capabilities: vec![],
        collateral: DeviceCollateral::default(),
        config: CONFIG.into(),
        cpu: machine_less,
        devices: vec![],
        freshness: window_path(&[challenge()], 0),
        keyset,
        nonce: nonce(),
        policy: POLICY.into(),
        version: 1,
    }
}

#[test]
fn a_guest_and_its_two_gpus_bind_to_one_keyset() {
    let machine = machine();
    let bundle = machine.bundle(keyset());
    assert_eq!(machine.bind(&bundle), "bound");
    let devices = machine.devices(&bundle.devices).unwrap();
    assert_eq!(devices.digest(), device_list_digest(&bundle.devices).unwrap());
    let bound = bind_keyset(machine.cpu(&bundle.cpu), devices, &bundle, None, None).unwrap();
    let order: Vec<_> = bound
        .devices()
        .iter()
        .map(|d| d.claims().identity().to_owned())
        .collect();
    let expected: Vec<_> = machine.gpus.iter().map(SimulatedDevice::device_id).collect();
    assert_eq!(order, expected);
    // The bundle survives its own format.
    let again = Bundle::parse(&bundle.canonical().unwrap()).unwrap();
    assert_eq!(machine.bind(&again), "bound");
}

#[test]
fn a_device_list_changed_after_the_statement_is_not_the_one_that_was_signed() {
    let machine = machine();
    let good = machine.bundle(keyset());
    let answer = device_statement(&keyset()).digest256().unwrap().0;
    let stranger = machine.vendor.device(DeviceSpec::hopper(3)).evidence(&answer);
    let changed = |edit: &dyn Fn(&mut Vec<DeviceEvidence>)| {
        let mut bundle = good.clone();
        edit(&mut bundle.devices);
        machine.bind(&bundle)
    };
    assert_eq!(changed(&|_| {}), "bound");
    assert_eq!(changed(&|d| d.push(stranger.clone())), "binding.report_data");
    assert_eq!(changed(&|d| d[1] = stranger.clone()), "binding.report_data");
    assert_eq!(changed(&|d| d.truncate(1)), "binding.report_data");
    assert_eq!(changed(&Vec::clear), "binding.report_data");
    assert_eq!(changed(&|d| d.swap(0, 1)), "binding.report_data");
    assert_eq!(changed(&|d| d.push(d[0].clone())), "device.duplicate");
    // The same device asked again: another signature over the same nonce.
    assert_eq!(
        changed(&|d| d[0] = machine.gpus[0].evidence(&answer)),
        "binding.report_data"
    );
    // The same certificates, with a line end more.
    assert_eq!(changed(&|d| d[0].certificates.0.push(b'\n')), "binding.report_data");
}

#[test]
fn devices_that_answered_for_another_guest_do_not_bind() {
    let machine = machine();
    // An honest CPU, with devices that answered for another keyset: a relay. The host even lets the CPU sign their list.
    let relayed = |nonce: [u8; 32]| {
        let devices = machine.answers(nonce);
        let statement = cpu_statement(&keyset(), &devices);
        let bundle = Bundle {
            cpu: machine.report(&statement.report_data().unwrap()),
            devices,
            ..empty_bundle(keyset())
        };
        machine.bind(&bundle)
    };
    assert_eq!(relayed(device_statement(&keyset()).digest256().unwrap().0), "bound");
    assert_eq!(
        relayed(device_statement(&other_keyset()).digest256().unwrap().0),
        "binding.device_nonce"
    );
    let older = Statement::for_devices(keyset().digest().unwrap(), Nonce([9; 32]));
    assert_eq!(relayed(older.digest256().unwrap().0), "binding.device_nonce");
    assert_eq!(relayed([0; 32]), "binding.device_nonce");
    assert_eq!(relayed(nonce().0), "binding.device_nonce");
    // One of two is enough to refuse.
    let mut devices = machine.answers(device_statement(&keyset()).digest256().unwrap().0);
    devices[1] = machine.gpus[1].evidence(&device_statement(&other_keyset()).digest256().unwrap().0);
    let statement = cpu_statement(&keyset(), &devices);
    let bundle = Bundle {
        cpu: machine.report(&statement.report_data().unwrap()),
        devices,
        ..empty_bundle(keyset())
    };
    let refused = bind_keyset(
        machine.cpu(&bundle.cpu),
        machine.devices(&bundle.devices).unwrap(),
        &bundle,
        None,
        None,
    );
    assert_eq!(refused.unwrap_err(), BindingError::DeviceNonce { index: 1 });
    // The whole bundle under another keyset: the CPU notices first.
    let mut bundle = machine.bundle(keyset());
    bundle.keyset = other_keyset();
    assert_eq!(machine.bind(&bundle), "binding.report_data");
}

#[test]
fn purposes_are_not_interchangeable() {
    let machine = machine();
    let keyset = keyset();
    // Devices that answered the CPU's statement, over no list and over a list.
    let first = device_statement(&keyset).digest256().unwrap().0;
    let list = machine.answers(first);
    for cpu in [
        Statement::for_cpu(keyset.digest().unwrap(), nonce(), Statement::no_devices()),
        cpu_statement(&keyset, &list),
    ] {
        let devices = machine.answers(cpu.digest256().unwrap().0);
        let statement = cpu_statement(&keyset, &devices);
        let bundle = Bundle {
            cpu: machine.report(&statement.report_data().unwrap()),
            devices,
            ..empty_bundle(keyset.clone())
        };
        assert_eq!(machine.bind(&bundle), "binding.device_nonce");
    }
    // A CPU that signed the devices' statement, whole and as its padded SHA-256.
    let statement = device_statement(&keyset);
    let mut padded = [0; 64];
    padded[..32].copy_from_slice(&statement.digest256().unwrap().0);
    for report_data in [statement.report_data().unwrap(), padded] {
        let bundle = Bundle {
            cpu: machine.report(&report_data),
            devices: list.clone(),
            ..empty_bundle(keyset.clone())
        };
        assert_eq!(machine.bind(&bundle), "binding.report_data");
    }
}

#[test]
fn no_devices_is_a_statement_of_its_own() {
    let machine = machine();
    let keyset = keyset();
    let none = Statement::for_cpu(keyset.digest().unwrap(), nonce(), Statement::no_devices());
    let bundle = Bundle {
        cpu: machine.report(&none.report_data().unwrap()),
        ..empty_bundle(keyset.clone())
    };
    assert_eq!(machine.bind(&bundle), "bound");
    let bound = bind_keyset(machine.cpu(&bundle.cpu), AuthenticDevices::none(), &bundle, None, None).unwrap();
    assert!(bound.devices().is_empty());
    // GPUs added to a guest that has none.
    let with_gpus = Bundle {
        devices: machine.answers(device_statement(&keyset).digest256().unwrap().0),
        ..bundle
    };
    assert_eq!(machine.bind(&with_gpus), "binding.report_data");
}

#[test]
fn only_devices_stand_in_the_device_list() {
    let machine = machine();
    let good = machine.bundle(keyset());
    let CpuEvidence::Snp(snp) = &good.cpu else {
        panic!("an SNP report")
    };
    // A TPM quote (TPMS_ATTEST: magic ff544347), a CPU report, a word: under their own kind and under the devices'.
    let tpm_quote = [b"\xffTCG\x80\x18".as_slice(), &[0; 120]].concat();
    for (kind, report, wanted) in [
        ("tpm", tpm_quote.clone(), "device.kind"),
        ("snp", snp.report.0.clone(), "device.kind"),
        ("NVIDIA", good.devices[0].report.0.clone(), "device.kind"),
        ("", good.devices[0].report.0.clone(), "device.kind"),
        ("nvidia", tpm_quote, "nvidia.report.field"),
        ("nvidia", snp.report.0.clone(), "nvidia.report.field"),
    ] {
        let mut devices = good.devices.clone();
        devices[1].kind = kind.into();
        devices[1].report = Base64(report);
        let statement = cpu_statement(&keyset(), &devices);
        let bundle = Bundle {
            cpu: machine.report(&statement.report_data().unwrap()),
            devices,
            ..empty_bundle(keyset())
        };
        assert_eq!(machine.bind(&bundle), wanted);
    }
}

/// What an RCAR session signs.
struct Session {
    additional_evidence: String,
    nonce: String,
    tee_pubkey: serde_json::Value,
}

impl Session {
    fn new() -> Self {
        Self {
            additional_evidence: "{\"nvidia\":{}}".into(),
            nonce: "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=".into(),
            tee_pubkey: serde_json::json!({"alg": "hanzo-hpke-x-wing", "kty": "AKP", "pub": "oaGh"}),
        }
    }

    fn runtime(&self) -> RcarRuntime<'_> {
        RcarRuntime {
            additional_evidence: &self.additional_evidence,
            nonce: &self.nonce,
            tee_pubkey: &self.tee_pubkey,
        }
    }
}

#[test]
fn an_rcar_session_binds_the_devices_that_answered_it() {
    let (machine, session) = (machine(), Session::new());
    let runtime = session.runtime();
    let bind = |report_data: &[u8; 64], device_nonce: [u8; 32], runtime: &RcarRuntime<'_>| {
        let devices = machine.devices(&machine.answers(device_nonce)).unwrap();
        let cpu = machine.cpu(&machine.report(report_data));
        code(bind_rcar(cpu, devices, runtime).map(drop))
    };
    let (report_data, device_nonce) = (runtime.report_data().unwrap(), runtime.device_nonce().unwrap());
    assert_eq!(bind(&report_data, device_nonce, &runtime), "bound");
    // Devices that answered what the CPU signs (it covers the additional evidence, they cannot), or nothing of this.
    let mut cpus = [0; 32];
    cpus.copy_from_slice(&runtime.digest().unwrap().0[..32]);
    assert_eq!(bind(&report_data, cpus, &runtime), "binding.rcar_device_nonce");
    assert_eq!(bind(&report_data, [0; 32], &runtime), "binding.rcar_device_nonce");
    // A tail after the 48 bytes; the additional evidence, the nonce and the key of another session.
    let mut tail = report_data;
    tail[63] = 1;
    assert_eq!(bind(&tail, device_nonce, &runtime), "binding.rcar_report_data");
    let none = RcarRuntime {
        additional_evidence: "",
        ..runtime
    };
    assert_eq!(bind(&report_data, device_nonce, &none), "binding.rcar_report_data");
    let other = RcarRuntime {
        nonce: "AAAA",
        ..runtime
    };
    assert_eq!(bind(&report_data, device_nonce, &other), "binding.rcar_report_data");
    assert_eq!(
        bind(&other.report_data().unwrap(), device_nonce, &other),
        "binding.rcar_device_nonce"
    );
}

#[test]
fn rcar_evidence_is_no_statement_and_a_statement_is_no_rcar_evidence() {
    let (machine, session) = (machine(), Session::new());
    let runtime = session.runtime();
    // RCAR evidence in a bundle.
    let devices = machine.answers(runtime.device_nonce().unwrap());
    let bundle = Bundle {
        cpu: machine.report(&runtime.report_data().unwrap()),
        devices,
        ..empty_bundle(keyset())
    };
    assert_eq!(machine.bind(&bundle), "binding.report_data");
    // Its devices alone, under an honest statement.
    let devices = machine.answers(runtime.device_nonce().unwrap());
    let statement = cpu_statement(&keyset(), &devices);
    let bundle = Bundle {
        cpu: machine.report(&statement.report_data().unwrap()),
        devices,
        ..empty_bundle(keyset())
    };
    assert_eq!(machine.bind(&bundle), "binding.device_nonce");
    // A bundle's evidence in an RCAR session; and its devices under the session's own report.
    let good = machine.bundle(keyset());
    let devices = || machine.devices(&good.devices).unwrap();
    let offered = bind_rcar(machine.cpu(&good.cpu), devices(), &runtime);
    assert_eq!(offered.unwrap_err().code(), "binding.rcar_report_data");
    let own = machine.cpu(&machine.report(&runtime.report_data().unwrap()));
    assert_eq!(
        bind_rcar(own, devices(), &runtime).unwrap_err().code(),
        "binding.rcar_device_nonce"
    );
}
