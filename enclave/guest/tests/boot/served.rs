//! What a booted guest serves.

use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::channel::{ATTESTATION_PATH, PROOF_PATH};
use hanzo_attestation::keyset::KemKey;
use hanzo_attestation::name::Name;
use hanzo_attestation::ratls::RatlsCertificate;
use hanzo_attestation::{Anchors, Collateral, Digest256, Nonce, UnixTime};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, RevocationPolicy, SnpPolicy, SnpReference, TcbFloors};
use hanzo_verifier::{VerifierContext, read_certificate, verify_bundle};
use hyper::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{connect, raw, raw_to};
use crate::world::{IMAGE, World, simulator_root};

pub fn context(world: &World) -> VerifierContext {
    let floors = TcbFloors {
        genoa: Some(EpycTcb {
            bootloader: 1,
            tee: 0,
            snp: 1,
            microcode: 1,
        }),
        ..TcbFloors::default()
    };
    let reference = SnpReference {
        name: name("test"),
        measurement: hanzo_simulated_tee::simulated_measurement(&IMAGE, &world.measured),
        config_digest: world.measured,
    };
    let mut policy =
        AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference]));
    policy.revocation = RevocationPolicy::AcceptMissing;
    VerifierContext {
        anchors: Anchors::vendor().with_simulator_ark(simulator_root().to_vec()),
        collateral: Collateral::default(),
        policy,
    }
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booted_guest_proves_its_keyset_its_connections_and_nothing_more() {
    let world = World::new().await;
    let guest = world.boot().await;
    let keyset = guest.ready.keyset.clone();
    assert!(keyset.simulated);
    assert_eq!((keyset.tier, keyset.time.as_str(), keyset.models.len()), (2, "host", 1));
    assert_eq!(keyset.models[0].tokenizer_sha256, Digest256::of(b"{}"));
    assert_eq!(keyset.models[0].chat_template_sha256, Digest256::of(b"{{ messages }}"));
    assert_eq!(keyset.not_after - keyset.issued_at, 3600);

    // Fresh evidence, verified by the verifier itself; many challenges share a window and each is answered.
    let context = context(&world);
    let now = UnixTime(keyset.issued_at);
    let mut tasks = Vec::new();
    for i in 0..6 {
        let address = guest.ready.address;
        tasks.push(tokio::spawn(async move {
            let challenge = Nonce([i; 32]);
            let mut connection = connect(&address).await;
            let (status, bytes) = connection
                .get(&format!("{ATTESTATION_PATH}?challenge={challenge}"))
                .await;
            assert_eq!(status, StatusCode::OK);
            (challenge, bytes)
        }));
    }
    for task in tasks {
        let (challenge, bytes) = task.await.unwrap();
        let result = verify_bundle(&bytes, &challenge, &context, now).unwrap();
        assert!(result.simulated());
        assert_eq!(result.keyset_digest(), Some(guest.ready.keyset_digest));
        let other = verify_bundle(&bytes, &Nonce([99; 32]), &context, now).unwrap_err();
        assert_eq!(other.code(), "freshness.foreign_challenge");
    }

    let mut connection = connect(&guest.ready.address).await;
    assert!(connection.spki_prefix_digests.contains(&keyset.tls_spki_sha256));
    let (status, standing) = connection.get(ATTESTATION_PATH).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(Bundle::parse(&standing).unwrap().freshness, None);
    for query in ["?challenge=00", "?challenge=", "?x=1", "?challenge=00&challenge=00"] {
        let (status, body) = connection.get(&format!("{ATTESTATION_PATH}{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(String::from_utf8_lossy(&body).contains("evidence.challenge"));
    }

    // This connection proves itself; against any other keyset it does not.
    connection.prove(&keyset).await.unwrap();
    let mut other = keyset.clone();
    other.not_after += 1;
    assert_eq!(
        connection.prove(&other).await.unwrap_err().code(),
        "channel.proof_mismatch"
    );
    let mut foreign = keyset.clone();
    foreign.channel_key = KemKey {
        public_key: hanzo_channel::ChannelKey::from_seed(&[9; 32])
            .unwrap()
            .public()
            .public_key,
        suite: "x-wing".into(),
    };
    assert_eq!(
        connection.prove(&foreign).await.unwrap_err().code(),
        "channel.proof_mismatch"
    );
    let (status, _) = connection
        .post(hanzo_attestation::channel::PROOF_PATH, r#"{"enc":"00"}"#)
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = connection
        .post(hanzo_attestation::channel::PROOF_PATH, vec![b'x'; 8192])
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);

    guest.stop().await.unwrap();
    world.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_name_a_server_get_a_certificate_with_evidence_and_others_a_bare_one_over_the_same_key() {
    let world = World::new().await;
    let guest = world.boot().await;
    let keyset = guest.ready.keyset.clone();
    let leaf = |stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let named = leaf(raw(&guest.ready.address).await);
    let now = UnixTime(keyset.issued_at);
    let reading = read_certificate(&named, &context(&world), now).unwrap();
    assert_eq!(reading.keyset(), Some(&keyset));
    assert_eq!(reading.tier_if_fresh(), PrivacyTier::CpuTee);
    assert_eq!(reading.view().freshness, "none");
    // What a client must not take for an answer to its challenge.
    let bundle = RatlsCertificate::parse(&named).unwrap();
    let refused = verify_bundle(bundle.bundle(), &Nonce([1; 32]), &context(&world), now).unwrap_err();
    assert_eq!(refused.code(), "freshness.none");

    let nobody = std::net::IpAddr::from([127, 0, 0, 1]);
    let bare = leaf(raw_to(&guest.ready.address, nobody.into()).await);
    assert_eq!(RatlsCertificate::parse(&bare).unwrap_err().code(), "ratls.no_evidence");
    assert!(
        bare.windows(91)
            .any(|spki| Digest256::of(spki) == keyset.tls_spki_sha256)
    );
    assert!(bare.len() < 1024 && named.len() > bare.len());
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_boots_share_no_key_and_one_guests_proofs_are_worthless_for_the_other() {
    let world = World::new().await;
    let first = world.boot().await;
    let first_keyset = first.ready.keyset.clone();
    first.stop().await.unwrap();
    let second = world.boot().await;
    assert_ne!(first_keyset.channel_key, second.ready.keyset.channel_key);
    assert_ne!(first_keyset.receipt_keys, second.ready.keyset.receipt_keys);
    assert_ne!(first_keyset.tls_spki_sha256, second.ready.keyset.tls_spki_sha256);
    let mut connection = connect(&second.ready.address).await;
    let error = connection.prove(&first_keyset).await.unwrap_err();
    assert_eq!(error.code(), "channel.proof_mismatch");
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_request_that_never_ends_does_not_hold_its_connection() {
    let world = World::new().await;
    let guest = world.boot().await;
    let mut stream = raw(&guest.ready.address).await;
    let head = format!("POST {PROOF_PATH} HTTP/1.1\r\nhost: guest\r\ncontent-length: 2000\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(6), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "still open");
    assert!(
        answer.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    guest.stop().await.unwrap();
}

const CHAT: &str = "/v1/chat/completions";

fn question(text: &str) -> String {
    format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_with_receipts_and_a_dead_engine_fails_its_request_and_comes_back() {
    let world = World::new().await;
    let guest = world.boot().await;
    let mut connection = connect(&guest.ready.address).await;
    let (status, body) = connection.post(CHAT, question("Capital of France?")).await;
    let text = String::from_utf8_lossy(&body);
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.contains("Paris"), "{text}");

    let (status, _) = connection.post(CHAT, question("die now")).await;
    assert!(status.is_server_error(), "{status}");
    // It was started again; the guest never stopped.
    let mut answered = StatusCode::OK;
    for _ in 0..50 {
        let mut connection = connect(&guest.ready.address).await;
        answered = connection.post(CHAT, question("Capital of France?")).await.0;
        if answered == StatusCode::OK {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(answered, StatusCode::OK);

    // Its second end is one too many for this boot.
    let mut connection = connect(&guest.ready.address).await;
    let (status, _) = connection.post(CHAT, question("die now")).await;
    assert!(status.is_server_error(), "{status}");
    drop(connection);
    let error = guest.end().await.unwrap_err();
    assert_eq!(error.code(), "engine.gave_up");
    assert!(!error.to_string().contains("prompt"), "{error}");
    world.assert_nothing_left();
}
