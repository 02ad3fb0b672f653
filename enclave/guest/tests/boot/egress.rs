//! A guest whose configuration names its key broker reaches it by that name through the host, and nobody else in its place.

use std::net::SocketAddr;

use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::channel::ATTESTATION_PATH;
use hanzo_attestation::config::{Config, EgressUse, HostName};
use hanzo_attestation::keyset::capability_digest;
use hanzo_attestation::{Nonce, UnixTime};
use hanzo_guest::egress::{Egress, EgressLimits};
use hanzo_verifier::verify_bundle;
use rustls::crypto::aws_lc_rs::kx_group;

use crate::broker::Mood;
use crate::client::connect;
use crate::outside::{Authority, HostBroker, Identity, NAME, PORT, Wire, front, saying};
use crate::served::context;
use crate::world::World;

/// A world whose configuration names the broker, and the address of that broker in clear.
async fn named(authority: &Authority, names: &[&str]) -> (World, SocketAddr) {
    let mut world = World::new().await;
    let broker = world.options.kbs_addr.parse().unwrap();
    // Whoever names the broker does not ask the host where it is.
    world.options.kbs_addr = "127.0.0.1:1".into();
    let entries: String = names.iter().map(|name| authority.entry(name, PORT)).collect();
    world.configure(format!("{}{entries}", world.config));
    (world, broker)
}

async fn hybrid(identity: Identity, broker: SocketAddr) -> SocketAddr {
    front(identity, kx_group::X25519MLKEM768, broker).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reaches_its_broker_by_name_and_its_evidence_says_so() {
    let authority = Authority::new();
    let (mut world, broker) = named(&authority, &[NAME]).await;
    let wire = Wire::before(hybrid(authority.issue(), broker).await).await;
    let host = HostBroker::start(&[(NAME, wire.at)]).await;
    world.options.egress = host.address();
    let guest = world.boot().await;

    // TLS ends in the guest: of the name itself the host sees the hello, of what is said nothing.
    assert!(wire.saw(NAME));
    for word in ["/kbs/v0/", "kbs-session-id", "tee-pubkey"] {
        assert!(!wire.saw(word), "{word} passed in clear");
    }
    // The list is a capability of this very keyset, and its roots stand in the policy.
    let challenge = Nonce([3; 32]);
    let path = format!("{ATTESTATION_PATH}?challenge={challenge}");
    let (_, bytes) = connect(&guest.ready.address).await.get(&path).await;
    let bundle = Bundle::parse(&bytes).unwrap();
    let reaching = format!("egress.{NAME}.{PORT}");
    assert!(bundle.capabilities.iter().any(|c| c.as_str() == reaching));
    assert!(bundle.policy.contains(&format!(
        "\"egress\":[{{\"name\":\"{NAME}\",\"port\":{PORT},\"roots\":[\""
    )));
    let now = UnixTime(guest.ready.keyset.issued_at);
    verify_bundle(&bytes, &challenge, &context(&world), now).unwrap();
    // A host that leaves it out of the list is found out.
    let mut quiet = bundle.clone();
    quiet.capabilities.retain(|c| c.as_str() != reaching);
    let told = quiet.canonical().unwrap();
    let error = verify_bundle(&told, &challenge, &context(&world), now).unwrap_err();
    assert_eq!(error.code(), "bundle.capability_digest");
    let with = guest.ready.keyset.clone();
    guest.stop().await.unwrap();

    // The same guest without the list: other capabilities, and for a client who expects it this one is another.
    let without = World::new().await;
    let other = without.boot().await;
    assert_ne!(other.ready.keyset.capability_digest, with.capability_digest);
    let quiet: Vec<_> = bundle
        .capabilities
        .into_iter()
        .filter(|c| c.as_str() != reaching)
        .collect();
    assert_eq!(other.ready.keyset.capability_digest, capability_digest(&quiet).unwrap());
    let error = verify_bundle(&bytes, &challenge, &context(&without), now).unwrap_err();
    assert_eq!(error.code(), "snp.measurement");
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_in_the_name_s_place_gets_no_word() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let (mut world, broker) = named(&authority, &[NAME]).await;
    let elsewhere = "other.example.org";
    let cases = [
        // Another server of the same authority, and one that anybody could set up.
        (
            hybrid(authority.issue_for(elsewhere, [2020, 2100]), broker).await,
            "egress.tls.name",
        ),
        (hybrid(foreign.issue(), broker).await, "egress.tls.issuer"),
        (
            hybrid(authority.issue_for(NAME, [2020, 2021]), broker).await,
            "egress.tls.time",
        ),
        (
            hybrid(authority.issue_for(NAME, [2099, 2100]), broker).await,
            "egress.tls.time",
        ),
        // A key exchange that is recorded today and opened later; no TLS at all.
        (front(authority.issue(), kx_group::X25519, broker).await, "egress.tls"),
        (broker, "egress.tls"),
        (
            saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await,
            "egress.tls",
        ),
    ];
    for (at, code) in cases {
        let host = HostBroker::start(&[(NAME, at)]).await;
        world.options.egress = host.address();
        let error = world.refused().await;
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(NAME), "{error}");
        let replies = std::mem::take(&mut world.broker.inner.lock().unwrap().replies);
        let before_the_clock = code == "egress.tls.time";
        assert_eq!(replies.is_empty(), !before_the_clock, "{code}: asked for a key");
    }
    let host = HostBroker::start(&[(NAME, hybrid(authority.issue(), broker).await)]).await;
    world.options.egress = host.address();
    world.boot().await.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_connect_is_told_from_one_that_is_not_there() {
    let authority = Authority::new();
    let (mut world, broker) = named(&authority, &[NAME]).await;
    world.options.limits.kbs_timeout_ms = 1_000;
    let name = hybrid(authority.issue(), broker).await;
    assert_eq!(world.refused().await.code(), "egress.no_broker");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (at, code) in [
        (nobody, "egress.broker"),
        (saying(b"hanzo-egress/2 open\n").await, "egress.answer"),
        (saying(b"hanzo-egress/1 refused because\n").await, "egress.answer"),
        (saying(b"hanzo-egress/1 refused busy\n").await, "egress.refused.busy"),
        (saying(b"").await, "egress.timeout"),
        (saying(b"hanzo-egress/1 open\n").await, "egress.timeout"),
    ] {
        world.options.egress = Some(at.into());
        let error = world.refused().await;
        assert_eq!(error.code(), code, "{error}");
    }
    for (allowed, code) in [
        (vec![], "egress.refused.not_listed"),
        (vec![("other.example.org", name)], "egress.refused.not_listed"),
        (vec![(NAME, nobody)], "egress.refused.unreachable"),
    ] {
        let host = HostBroker::start(&allowed).await;
        world.options.egress = host.address();
        let error = world.refused().await;
        assert_eq!(error.code(), code, "{error}");
    }
    assert!(
        world.broker.inner.lock().unwrap().replies.is_empty(),
        "nobody was asked for a key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_name_is_tried_where_nobody_was_and_not_where_somebody_else_was() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let second = "kbs2.example.org";
    let (mut world, broker) = named(&authority, &[NAME, second]).await;
    let good = hybrid(authority.issue_for(second, [2020, 2100]), broker).await;
    let host = HostBroker::start(&[(second, good)]).await;
    world.options.egress = host.address();
    world.boot().await.stop().await.unwrap();
    let bad = hybrid(foreign.issue(), broker).await;
    let host = HostBroker::start(&[(NAME, bad), (second, good)]).await;
    world.options.egress = host.address();
    assert_eq!(world.refused().await.code(), "egress.tls.issuer");
}

/// Certificates are judged by the broker's signed time, before which there is none, and not by the machine's.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_judged_by_the_granted_time_and_not_by_the_machine_s() {
    let authority = Authority::new();
    let (mut world, broker) = named(&authority, &[NAME]).await;
    let years = |n: i64| n * 365 * 24 * 3600;
    let [now, later] = [[2020, 2040], [2041, 2100]];
    for (valid, clock, code) in [
        (now, 0, "boots"),
        (now, years(40), "egress.tls.time"),
        (later, years(40), "boots"),
        (later, 0, "egress.tls.time"),
    ] {
        let at = hybrid(authority.issue_for(NAME, valid), broker).await;
        let host = HostBroker::start(&[(NAME, at)]).await;
        world.options.egress = host.address();
        world.broker.set(Mood::Clock(clock));
        match code {
            "boots" => world.boot().await.stop().await.unwrap(),
            code => assert_eq!(world.refused().await.code(), code, "{valid:?} {clock}"),
        }
        // A new store every time: the broker has seen none.
        world.broker.inner.lock().unwrap().heads.clear();
        for file in ["guest.db", "guest.db-wal", "guest.db-shm", "guest.db.lock"] {
            let _ = std::fs::remove_file(world.dir.path().join(file));
        }
    }
}

#[tokio::test]
async fn the_list_is_looked_at_before_anybody_is_told_anything() {
    let authority = Authority::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = Some(listener.local_addr().unwrap().into());
    let (world, _) = named(&authority, &[NAME]).await;
    let list = Config::parse(world.config.as_bytes()).unwrap().egress;
    let limits = EgressLimits {
        connections_max: 1,
        step: std::time::Duration::from_millis(100),
        ..EgressLimits::default()
    };
    let host = |name: &str| HostName::new(name).unwrap();
    let open = async |egress: &Egress, name: &str, port| {
        let opened = egress.open(EgressUse::Kbs, &host(name), port, None).await;
        opened.err().expect("refused").code()
    };
    let off = Egress::new(&[], broker, limits).unwrap();
    assert_eq!(open(&off, NAME, PORT).await, "egress.off");
    let on = Egress::new(&list, broker, limits).unwrap();
    for (name, port) in [
        (NAME, 443),
        ("example.org", PORT),
        ("a.kbs.example.org", PORT),
        ("kbs.example.com", PORT),
    ] {
        assert_eq!(open(&on, name, port).await, "egress.not_listed", "{name} {port}");
    }
    assert_eq!(
        Egress::new(&list, None, limits).err().unwrap().code(),
        "egress.no_broker"
    );
    let mut bad = list.clone();
    bad[0].roots = vec!["MAA=".into()];
    assert_eq!(Egress::new(&bad, broker, limits).err().unwrap().code(), "egress.roots");
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await;
    assert!(waited.is_err(), "somebody was told");
    // One at a time: the other is refused while the first waits for its answer, and the place comes back.
    let (first, second) = tokio::join!(open(&on, NAME, PORT), open(&on, NAME, PORT));
    assert_eq!((first, second), ("egress.timeout", "egress.busy"));
    assert_eq!(open(&on, NAME, PORT).await, "egress.timeout");
}
