//! The guest against `hanzo-kbs` itself: policy decides at the broker, the guest gets a key or a reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use hanzo_attestation::name::{KeyId, Name};
use hanzo_kbs::{InitOptions, Initialised, KbsConfig, KbsError, StoreMode, admin, init, load_admin_key, serve};
use hanzo_pqc::Dek;
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use hanzo_vault::{KeyPolicy, Wrap};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::outside::{Authority, HostBroker, NAME, PORT};
use crate::served::{context, name};
use crate::world::{MODEL_DEK, MODEL_KEY, STORE_DEK, STORE_KEY, World};

struct RealBroker {
    address: SocketAddr,
    made: Initialised,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), KbsError>>,
}

/// Starts the broker of this configuration.
async fn started(made: Initialised) -> RealBroker {
    let config = KbsConfig::load(&made.config_path).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = oneshot::channel();
    let task = tokio::spawn(serve(
        config,
        StoreMode::Simulated,
        async {
            let _ = stopped.await;
        },
        |address| {
            let _ = ready.send(address);
        },
    ));
    RealBroker {
        address: is_ready.await.unwrap(),
        made,
        stop,
        task,
    }
}

async fn real_broker(world: &mut World) -> RealBroker {
    let processor = SimulatedProcessor::for_tests();
    let made = init(&InitOptions {
        dir: world.dir.path().join("kbs"),
        listen: "127.0.0.1:0".parse().unwrap(),
        mode: StoreMode::Simulated,
        simulator_roots: vec![processor.ark_der().to_vec()],
    })
    .unwrap();
    let broker = started(made).await;

    // The configuration pins this broker instead of the test's own.
    let (ours, theirs) = (world.broker.pinned(), &broker.made.identity.signer);
    let config = world
        .config
        .replace(&ours.suite, &theirs.suite)
        .replace(&ours.ml_dsa, &theirs.ml_dsa)
        .replace(&ours.ed25519, &theirs.ed25519);
    world.configure(config);
    world.options.kbs_addr = broker.address.to_string();
    broker
}

impl RealBroker {
    async fn put(&self, world: &World, key: &str, dek: [u8; 32], subject: Name, allow_simulated: bool) {
        let policy = KeyPolicy {
            allow_simulated,
            appraisal: context(world).policy,
            grant_lifetime_s: 60,
            image_versions: BTreeMap::new(),
            max_uses: 1000,
            minimum_image_version: 0,
            not_after: (1 << 53) - 1,
            not_before: 0,
            rego: None,
            subject,
            tenant: name("hanzo"),
            wrap: vec![Wrap::Hpke],
        };
        let admin_key = load_admin_key(&self.made.admin_key_path).unwrap();
        let dek = Dek::from_bytes(Zeroizing::new(dek));
        let key = KeyId::new(key).unwrap();
        admin::put_key(self.address, &self.made.identity, &admin_key, &key, 1, &dek, &policy)
            .await
            .unwrap();
    }

    async fn put_both(&self, world: &World, allow_simulated: bool) {
        self.put(world, STORE_KEY, STORE_DEK, name("receipts"), allow_simulated)
            .await;
        self.put(world, MODEL_KEY, MODEL_DEK, world.model_subject(), allow_simulated)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_meets_the_policy_boots_and_sicker_ones_are_told_the_rule() {
    let mut world = World::new().await;
    let broker = real_broker(&mut world).await;
    broker.put_both(&world, true).await;
    let guest = world.boot().await;
    assert!(guest.ready.keyset.simulated);
    assert_eq!(guest.ready.keyset.tier, 2);
    guest.stop().await.unwrap();

    let healthy = LaunchSpec::new(crate::world::IMAGE, world.measured);
    let debug = LaunchSpec {
        debug: true,
        ..healthy.clone()
    };
    let mut old = healthy.clone();
    old.tcb.snp = 0;
    let image = LaunchSpec {
        image_digest: hanzo_attestation::Digest384([8; 48]),
        ..healthy
    };
    for (spec, rule) in [
        (debug, "snp.debug"),
        (old, "snp.tcb.below_floor"),
        (image, "snp.measurement"),
    ] {
        world.spec = Some(spec);
        let error = world.refused().await;
        assert_eq!(error.code(), "kbs.refused", "{error}");
        assert!(error.to_string().contains(rule), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_for_real_guests_is_not_released_to_simulated_evidence() {
    let mut world = World::new().await;
    let broker = real_broker(&mut world).await;
    broker.put_both(&world, false).await;
    let error = world.refused().await;
    assert_eq!(error.code(), "kbs.refused", "{error}");
}

/// The broker's own TLS, reached by name through the host's broker of connections: no part of it is a stand-in.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reaches_the_broker_by_name_over_the_broker_s_own_tls() {
    let authority = Authority::new();
    let mut world = World::new().await;
    let broker = real_broker(&mut world).await;
    world.configure(format!("{}{}", world.config, authority.entry(NAME, PORT)));
    broker.put_both(&world, true).await;

    let RealBroker { made, stop, task, .. } = broker;
    drop(stop);
    task.await.unwrap().unwrap();
    let dir = made.config_path.parent().unwrap();
    for (file, text) in ["kbs.crt", "kbs.tls.key"].iter().zip(authority.issue().pem) {
        let path = dir.join(file);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = std::fs::read_to_string(&made.config_path).unwrap();
    let tls = "[tls]\ncertificate_file = \"kbs.crt\"\nkey_file = \"kbs.tls.key\"\n";
    let changed = format!("{}\n{tls}", text.replace("plain_http = \"loopback\"", ""));
    std::fs::write(&made.config_path, changed).unwrap();
    let broker = started(made).await;

    // In clear it is not spoken to any more; by name it is.
    let host = HostBroker::start(&[(NAME, broker.address)]).await;
    world.options.kbs_addr = broker.address.to_string();
    assert_eq!(world.refused().await.code(), "egress.no_broker");
    world.options.egress = host.address();
    let guest = world.boot().await;
    assert!(guest.ready.keyset.simulated);
    guest.stop().await.unwrap();
}
