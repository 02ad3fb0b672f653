//! GPUs and switches of the simulator, a RIM service and an OCSP responder.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::bundle::{Bundle, device_list_digest};
use hanzo_attestation::evidence::{DeviceClaims, authenticate_devices};
use hanzo_attestation::nvidia::{OcspOutcome, RimOutcome};
use hanzo_attestation::{Anchors, Collateral, UnixTime};
use hanzo_collateral::{FetcherConfig, Mode, Origin, Store, nvidia, staple};
use hanzo_simulated_tee::{
    DeviceSpec, OcspSpec, OcspStatus, RimSpec, SimulatedDevice, SimulatedNvidia, SimulatedRimIssuer,
};

use crate::server::{Reply, Server, ok, status};
use crate::snp::{Guest, NOW, config, fetcher};
use crate::vectors;

/// What the responder says of a certificate: its position in a chain of devices (1 to 3) or of the RIM signer (0 to 2).
type Says = dyn Fn(&str, usize) -> OcspSpec + Send + Sync;

struct World {
    server: Server,
    vendor: Arc<SimulatedNvidia>,
    issuer: Arc<SimulatedRimIssuer>,
    devices: Arc<Vec<SimulatedDevice>>,
    guest: Guest,
    bundle: Bundle,
}

impl World {
    /// Two GPUs and a switch, whose GPUs share everything but their own certificates.
    async fn new() -> Self {
        let (server, guest) = (
            Server::start().await,
            Guest::new(hanzo_attestation::snp::Product::Genoa),
        );
        guest.serve(&server);
        let vendor = SimulatedNvidia::for_tests();
        let devices = vendor.machine(0, 2, 1);
        let bundle = Bundle {
            devices: devices.iter().map(|d| d.evidence(&[7; 32])).collect(),
            ..vectors::bundle(guest.evidence.clone())
        };
        let world = Self {
            server,
            vendor: Arc::new(vendor),
            issuer: Arc::new(SimulatedRimIssuer::for_tests()),
            devices: Arc::new(devices),
            guest,
            bundle,
        };
        world.serve_rims();
        world.serve_ocsp(|_, _| OcspSpec::good(NOW.0));
        world
    }

    fn serve_rim(&self, id: &str, rim: &[u8]) {
        let body = format!(
            "{{\"id\":\"{id}\",\"rim\":\"{}\",\"sha256\":\"unused\"}}",
            STANDARD.encode(rim)
        );
        self.server.on(&format!("GET /rims/v1/rim/{id}"), [ok(body)]);
    }

    fn serve_rims(&self) {
        for device in self.devices.iter() {
            let spec = device.spec();
            let rims = rims(spec);
            for (id, rim) in rims {
                self.serve_rim(&id, &self.issuer.sign(&rim));
            }
        }
    }

    /// A responder that knows every certificate, and repeats the nonce it is sent.
    fn serve_ocsp(&self, says: impl Fn(&str, usize) -> OcspSpec + Send + Sync + 'static) {
        let (vendor, issuer, devices) = (self.vendor.clone(), self.issuer.clone(), self.devices.clone());
        let says: Box<Says> = Box::new(says);
        self.server.on_post("/ocsp", move |request: &[u8]| -> Reply {
            let asks_about = |chain: &[Vec<u8>], at: usize| {
                let id = nvidia::cert_id(&chain[at], &chain[at + 1]).unwrap();
                request.windows(id.len()).any(|w| w == id)
            };
            let nonce = Some(request[request.len() - 32..].to_vec());
            let with_nonce = |spec: OcspSpec| OcspSpec {
                nonce: spec.nonce.or(nonce.clone()),
                ..spec
            };
            for at in 0..3 {
                if asks_about(issuer.certificates(), at) {
                    return ok(issuer.ocsp(at, &with_nonce(says("rim", at))));
                }
            }
            for device in devices.iter() {
                for at in 1..4 {
                    if asks_about(device.certificates(), at) {
                        return ok(vendor.ocsp(device, at, &with_nonce(says("device", at))));
                    }
                }
            }
            ok(issuer.ocsp_refusal(6))
        });
    }

    fn config(&self) -> FetcherConfig {
        let mut config = config(&self.server, &self.guest.processor);
        config.anchors = config
            .anchors
            .with_simulator_nvidia_root(self.vendor.device_root_der().to_vec())
            .with_simulator_rim_root(self.issuer.root_der().to_vec());
        config
    }

    fn anchors(&self) -> Anchors {
        self.config().anchors
    }
}

/// Ids and contents of a device's RIMs.
fn rims(spec: &DeviceSpec) -> Vec<(String, RimSpec)> {
    let gpu = spec.arch.is_gpu();
    let product = if gpu { "GH100" } else { "LS10" };
    let vbios = RimSpec::of_measurements(product, &spec.vbios_text(), &spec.measurements, 1..=20);
    let board = spec.board.join("_");
    let place = if gpu {
        format!("NV_GPU_VBIOS_{board}")
    } else {
        "NV_SWITCH_BIOS_5612_0002_890".into()
    };
    let id = format!("{place}_{}", spec.vbios_text().replace('.', ""));
    let driver = spec.driver_version.as_ref().map(|version| {
        let rim = RimSpec::of_measurements(product, version, &spec.measurements, 21..=30);
        (format!("NV_GPU_DRIVER_GH100_{version}"), rim)
    });
    driver.into_iter().chain([(id, vbios)]).collect()
}

#[tokio::test]
async fn a_machine_gets_rims_and_answers_each_once_and_verifies_offline() {
    let world = World::new().await;
    let digest = device_list_digest(&world.bundle.devices).unwrap();
    let stapled = staple(&world.bundle.canonical().unwrap(), &fetcher(world.config(), None), NOW)
        .await
        .unwrap();
    assert!(stapled.missing.is_empty(), "{:?}", stapled.missing);
    let after = Bundle::parse(&stapled.bytes).unwrap();
    assert_eq!(after.devices, world.bundle.devices);
    assert_eq!(device_list_digest(&after.devices).unwrap(), digest);
    // Two GPUs share a driver and a VBIOS, the switch has a BIOS.
    assert_eq!(after.collateral.rims.len(), 3);
    let list = authenticate_devices(
        &after.devices,
        &after.collateral,
        &world.anchors(),
        &Collateral::default(),
        NOW,
    )
    .unwrap();
    for device in list.devices() {
        let DeviceClaims::Nvidia(claims) = device.claims();
        assert!(matches!(claims.rim, RimOutcome::Matched { .. }), "{:?}", claims.rim);
        assert!(matches!(claims.ocsp, OcspOutcome::Good { .. }), "{:?}", claims.ocsp);
    }
    let requests = world.server.seen();
    let mut distinct = world.server.bodies();
    distinct.retain(|(headers, _)| {
        headers
            .get("content-type")
            .is_some_and(|v| v == "application/ocsp-request")
    });
    let posts = requests.iter().filter(|r| *r == "POST /ocsp").count();
    assert_eq!(
        (posts, distinct.len()),
        (after.collateral.ocsp.len(), after.collateral.ocsp.len())
    );

    // All of it again: nothing to ask for.
    let again = staple(&stapled.bytes, &fetcher(world.config(), None), NOW)
        .await
        .unwrap();
    assert_eq!(again.bytes, stapled.bytes);
    assert!(
        again.carries.iter().all(|w| w.origin == Origin::Kept),
        "{:?}",
        again.carries
    );
    assert_eq!(world.server.seen().len(), requests.len());

    // A day later the answers have ended and are replaced.
    let later = UnixTime(NOW.0 + 86_400);
    world.serve_ocsp(move |_, _| OcspSpec::good(later.0));
    let renewed = staple(&stapled.bytes, &fetcher(world.config(), None), later)
        .await
        .unwrap();
    assert!(renewed.missing.is_empty(), "{:?}", renewed.missing);
    let renewed = Bundle::parse(&renewed.bytes).unwrap();
    assert_eq!(renewed.collateral.ocsp.len(), after.collateral.ocsp.len());
}

/// What is missing after stapling, as parts and codes.
async fn missing(world: &World) -> Vec<(&'static str, &'static str)> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    let fetcher = fetcher(world.config(), Some(store));
    let stapled = staple(&world.bundle.canonical().unwrap(), &fetcher, NOW).await.unwrap();
    let mut codes: Vec<_> = stapled.missing.iter().map(|m| (m.part, m.error.code())).collect();
    codes.dedup();
    codes
}

#[tokio::test]
async fn rims_that_are_absent_forged_or_of_another_version_are_missing() {
    let driver = "NV_GPU_DRIVER_GH100_550.90.07";
    let world = World::new().await;
    world.server.on(&format!("GET /rims/v1/rim/{driver}"), [status(404)]);
    assert_eq!(missing(&world).await, [("collateral.rims", "collateral.not_found")]);

    let spec = world.devices[0].spec().clone();
    let rim = RimSpec::of_measurements("GH100", "550.90.07", &spec.measurements, 21..=30);
    let forger = SimulatedRimIssuer::from_seed(&[3; 32]);
    world.serve_rim(driver, &forger.sign(&rim));
    assert_eq!(missing(&world).await, [("collateral.rims", "nvidia.rim.root")]);

    let other = RimSpec {
        version: "550.90.08".into(),
        ..rim.clone()
    };
    world.serve_rim(driver, &world.issuer.sign(&other));
    assert_eq!(missing(&world).await, [("collateral.rims", "collateral.wrong_item")]);

    let mut tampered = world.issuer.sign(&rim);
    let at = tampered.windows(4).position(|w| w == b"rev=" || w == b"GH10").unwrap();
    tampered[at] ^= 1;
    world.serve_rim(driver, &tampered);
    let [(part, code)] = missing(&world).await[..] else {
        panic!()
    };
    assert_eq!(part, "collateral.rims");
    assert!(code.starts_with("nvidia.rim."), "{code}");

    for body in [
        "",
        "[]",
        "{\"rim\":7}",
        "{\"rim\":\"%%%\"}",
        "{\"id\":\"another\",\"rim\":\"\"}",
    ] {
        world.server.on(&format!("GET /rims/v1/rim/{driver}"), [ok(body)]);
        assert_eq!(
            missing(&world).await,
            [("collateral.rims", "collateral.answer")],
            "{body}"
        );
    }
}

#[tokio::test]
async fn answers_that_are_stale_replayed_or_a_refusal_are_missing_and_revoked_is_said() {
    let world = World::new().await;
    let codes = |codes: &[(&'static str, &'static str)]| codes.iter().map(|c| c.1).collect::<Vec<_>>();
    world.serve_ocsp(|_, _| OcspSpec::good(NOW.0 - 2 * 86_400));
    assert_eq!(codes(&missing(&world).await), ["nvidia.ocsp.stale"]);

    world.serve_ocsp(|_, _| OcspSpec {
        nonce: Some(vec![9; 32]),
        ..OcspSpec::good(NOW.0)
    });
    assert_eq!(codes(&missing(&world).await), ["collateral.answer"], "another's nonce");

    world.serve_ocsp(|kind, at| match (kind, at) {
        ("device", 2) => OcspSpec::good(NOW.0).with_status(OcspStatus::Revoked {
            at: NOW.0 - 5,
            reason: Some(1),
        }),
        _ => OcspSpec::good(NOW.0),
    });
    assert_eq!(codes(&missing(&world).await), ["nvidia.ocsp.revoked"]);

    world.server.on("POST /ocsp", [ok(world.issuer.ocsp_refusal(6))]);
    assert_eq!(codes(&missing(&world).await), ["collateral.answer"]);
    world.server.on("POST /ocsp", [status(503)]);
    assert_eq!(codes(&missing(&world).await), ["collateral.status"]);
}

#[tokio::test]
async fn one_machine_serves_the_next_of_its_kind_offline() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let at = |mode| {
        let config = FetcherConfig { mode, ..world.config() };
        fetcher(config, Some(Store::open(&dir.path().join("cache")).unwrap()))
    };
    let bundle = world.bundle.canonical().unwrap();
    let first = staple(&bundle, &at(Mode::Online), NOW).await.unwrap();
    let second = staple(&bundle, &at(Mode::Offline), NOW).await.unwrap();
    assert_eq!(second.bytes, first.bytes);
    assert!(second.missing.is_empty());
}

#[tokio::test]
async fn ids_that_are_no_ids_are_not_made_into_addresses() {
    let world = World::new().await;
    let fetcher = fetcher(world.config(), None);
    for id in ["", "..", "../ids", "a/b", "a?b", "a b", "\u{e9}", &"A".repeat(200)] {
        let refused = fetcher.rim(id, NOW).await.unwrap_err();
        assert_eq!(refused.code(), "collateral.not_fetchable", "{id}");
    }
    assert!(world.server.seen().is_empty());
}

/// Recorded: NVIDIA's own RIM, as the service wraps it.
#[tokio::test]
async fn a_real_rim_is_taken_and_altered_ones_are_not() {
    let Some(vectors) = vectors::folder() else { return };
    let read = |name: &str| std::fs::read(vectors.join("nvidia/rim").join(name)).unwrap();
    let world = World::new().await;
    let fetcher = fetcher(world.config(), None);
    let now = UnixTime(1_767_052_800);
    let id = "NV_GPU_DRIVER_GH100_550.144.03";
    let real = read("NV_GPU_DRIVER_GH100_550.144.03.xml");
    world.serve_rim(id, &real);
    let item = fetcher.rim(id, now).await.unwrap();
    assert_eq!(item.bytes, real);
    assert!(item.next_update.unwrap() > now);
    world.serve_rim(id, &read("incorrect_signature_driver_rim.xml"));
    assert_eq!(fetcher.rim(id, now).await.unwrap_err().code(), "nvidia.rim.signature");
    let expired = "NV_GPU_DRIVER_GH100_570.124.03";
    world.serve_rim(expired, &read("NV_GPU_DRIVER_GH100_570.124.03_expired.xml"));
    assert_eq!(
        fetcher.rim(expired, now).await.unwrap_err().code(),
        "nvidia.rim.expired"
    );
}
