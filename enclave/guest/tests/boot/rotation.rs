//! One keyset after the other in one boot: new connections get the new one, old ones end cleanly on the old one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hanzo_attestation::bundle::{Bundle, CpuEvidence};
use hanzo_attestation::channel::ATTESTATION_PATH;
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_attestation::{Digest256, Nonce, UnixTime};
use hanzo_device::{Attester, DeviceError, TimeSource};
use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::MessageKem;
use hanzo_sealed::bhttp::{ResponseHead, Whole, decode, encode_request};
use hanzo_sealed::{ehbp, ohttp};
use hanzo_verifier::verify_bundle;
use hyper::StatusCode;

use crate::client::{Connection, connect};
use crate::sealed::{gateway, head, key_of, key_problem, send};
use crate::served::context;
use crate::world::{Running, Simulated, World};

const CHAT: &str = "/v1/chat/completions";
const QUESTION: &str = r#"{"model":"tiny","messages":[{"role":"user","content":"Capital of France?"}]}"#;

/// The keyset that a connection shows, verified with a challenge of its own.
async fn attested(world: &World, guest: &Running, connection: &mut Connection, challenge: u8) -> Keyset {
    let challenge = Nonce([challenge; 32]);
    let path = format!("{ATTESTATION_PATH}?challenge={challenge}");
    let (status, bytes) = connection.get(&path).await;
    assert!(status.is_success(), "{status}");
    let now = UnixTime(guest.ready.keyset.issued_at + 30);
    verify_bundle(&bytes, &challenge, &context(world), now).unwrap();
    Bundle::parse(&bytes).unwrap().keyset
}

async fn rotated(guest: &Running) -> Connection {
    for _ in 0..200 {
        let connection = connect(&guest.ready.address).await;
        if !connection
            .spki_prefix_digests
            .contains(&guest.ready.keyset.tls_spki_sha256)
        {
            return connection;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no new keyset");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_keyset_takes_new_connections_and_the_old_one_ends_its_own() {
    let mut world = World::new().await;
    // Of 3600 s: the next keyset after four seconds.
    world.options.limits.keyset_overlap_s = Some(3596);
    let guest = world.boot().await;
    let first = guest.ready.keyset.clone();
    let mut old = connect(&guest.ready.address).await;
    old.prove(&first).await.unwrap();

    let mut new = rotated(&guest).await;
    let second = attested(&world, &guest, &mut new, 1).await;
    assert!(second.issued_at > first.issued_at && second.not_after > first.not_after);
    assert_ne!(first.tls_spki_sha256, second.tls_spki_sha256);
    assert_ne!(first.channel_key, second.channel_key);
    assert_ne!(first.receipt_keys, second.receipt_keys);
    let same = |k: &Keyset| (k.models.clone(), k.config_digest, k.policy_digest, k.tier, k.simulated);
    assert_eq!(same(&first), same(&second));

    new.prove(&second).await.unwrap();
    assert_eq!(new.prove(&first).await.unwrap_err().code(), "channel.proof_mismatch");
    assert_eq!(old.prove(&second).await.unwrap_err().code(), "channel.proof_mismatch");
    // A connection of the old keyset still is what it proved to be, and answers evidence for it.
    old.prove(&first).await.unwrap();
    assert_eq!(attested(&world, &guest, &mut old, 2).await, first);

    // Its next answer of the API is its last; the new one's is not.
    let (status, headers) = new.post_for_head(CHAT, QUESTION).await;
    assert!(
        status.is_success() && headers.get("connection").is_none(),
        "{headers:?}"
    );
    let (status, headers) = old.post_for_head(CHAT, QUESTION).await;
    assert!(status.is_success());
    assert_eq!(headers.get("connection").map(|v| v.as_bytes()), Some(&b"close"[..]));
    assert!(old.is_closed().await);
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}

/// Waits for a keyset other than `before` in clear, where sealed messages are taken; verified.
async fn next_sealed(world: &World, guest: &Running, before: &Keyset) -> Keyset {
    for challenge in 0..200_u8 {
        let challenge = Nonce([challenge; 32]);
        let answer = send(
            guest,
            "GET",
            &format!("{ATTESTATION_PATH}?challenge={challenge}"),
            &[],
            vec![],
        )
        .await;
        let bundle = Bundle::parse(&answer.body).unwrap();
        if bundle.keyset != *before {
            let now = UnixTime(bundle.keyset.issued_at + 5);
            verify_bundle(&answer.body, &challenge, &context(world), now).unwrap();
            return bundle.keyset;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no new keyset");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_to_the_keyset_before_are_opened_once_and_answered_under_it_until_its_end() {
    let mut world = World::new().await;
    world.options.sealed = Some("127.0.0.1:0".parse().unwrap());
    // Of 3600 s: the next keyset after six seconds, and the one after it six seconds later.
    world.options.limits.keyset_overlap_s = Some(3594);
    let config = format!("{}[sealed]\nehbp = true\n", world.config);
    world.configure(config);
    let guest = world.boot().await;
    let first = guest.ready.keyset.clone();
    let old = key_of(&first, "ohttp", MessageKem::Xwing);
    let seal =
        |config| ohttp::seal_request(config, Gcm::Aes128, &encode_request(&head(), QUESTION.as_bytes())).unwrap();
    // One message is spent before the turn, one is only sealed then, and so is a body.
    let (spent, opener) = seal(&old);
    let answered = gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, spent.clone()).await;
    opener.open(&answered.body).unwrap();
    let (late, late_opener) = seal(&old);
    let classical = key_of(&first, "ehbp", MessageKem::X25519);
    let (enc, mut body, pending) = ehbp::RequestSealer::begin(classical.public_key()).unwrap();
    let body = body.chunk(QUESTION.as_bytes()).unwrap();

    let second = next_sealed(&world, &guest, &first).await;
    let new = key_of(&second, "ohttp", MessageKem::Xwing);
    assert_ne!(old.key_id(), new.key_id(), "no message can be meant for both");
    // The gateway names the new key alone; the old one is for those who had it already.
    let listed = send(&guest, "GET", ohttp::GATEWAY_PATH, &[], vec![]).await;
    assert_eq!(hanzo_sealed::config::parse_list(&listed.body).unwrap(), [new.clone()]);

    let answered = gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, late.clone()).await;
    assert_eq!(answered.status, StatusCode::OK);
    let answer: Whole<ResponseHead> = decode(&late_opener.open(&answered.body).unwrap()).unwrap();
    let id = answer
        .head
        .fields
        .iter()
        .find(|f| f.name == "hanzo-receipt-id")
        .unwrap();
    let id = String::from_utf8(id.value.clone()).unwrap();
    for replay in [spent, late] {
        key_problem(&gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, replay).await);
    }
    // The receipt of what the old key opened is the old keyset's.
    let mut asked = head();
    (asked.method, asked.path) = ("GET".into(), format!("/v1/receipts/{id}"));
    let (sealed, opener) = ohttp::seal_request(&new, Gcm::Aes128, &encode_request(&asked, b"")).unwrap();
    let answered = gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, sealed).await;
    let answer: Whole<ResponseHead> = decode(&opener.open(&answered.body).unwrap()).unwrap();
    let receipt = String::from_utf8(answer.content).unwrap();
    assert!(receipt.contains(&first.digest().unwrap().to_string()), "{receipt}");

    let headers = [
        ("content-type", "application/json"),
        (ehbp::ENCAPSULATED_KEY_HEADER, enc.as_str()),
    ];
    let answered = send(&guest, "POST", CHAT, &headers, body.clone()).await;
    assert_eq!(answered.status, StatusCode::OK);
    let nonce = answered.headers[ehbp::RESPONSE_NONCE_HEADER].to_str().unwrap();
    let mut opener = pending.begin(nonce, 1 << 20).unwrap();
    opener.push(&answered.body);
    assert!(String::from_utf8_lossy(&opener.next_chunk().unwrap().unwrap()).contains("Paris"));
    let again = send(&guest, "POST", CHAT, &headers, body).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_spends_the_message_keys_brings_the_next_keyset_and_not_too_soon() {
    let mut world = World::new().await;
    world.options.sealed = Some("127.0.0.1:0".parse().unwrap());
    world.options.limits.sealed_messages_max = 8;
    world.options.limits.keyset_turn_min_s = 3;
    let guest = world.boot().await;
    let first = guest.ready.keyset.clone();
    let config = key_of(&first, "ohttp", MessageKem::Xwing);
    let cheap = || {
        let message = encode_request(&head(), b"{");
        ohttp::seal_request(&config, Gcm::Aes128, &message).unwrap().0
    };
    for _ in 0..8 {
        assert_eq!(
            gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, cheap()).await.status,
            StatusCode::OK
        );
    }
    key_problem(&gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, cheap()).await);
    let second = next_sealed(&world, &guest, &first).await;
    assert!(second.issued_at >= first.issued_at + 3, "no sooner than that");
    assert!(second.issued_at <= first.issued_at + 30, "and not after the hour");
    let config = key_of(&second, "ohttp", MessageKem::Xwing);
    let message = encode_request(&head(), QUESTION.as_bytes());
    let (sealed, opener) = ohttp::seal_request(&config, Gcm::Aes128, &message).unwrap();
    let answered = gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, sealed).await;
    opener.open(&answered.body).unwrap();
    guest.stop().await.unwrap();
}

/// Answers until it is told to stop, then never again.
struct Stuck {
    simulated: Simulated,
    is_stuck: Arc<AtomicBool>,
}

impl Attester for Stuck {
    fn kind(&self) -> &'static str {
        self.simulated.kind()
    }

    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        // The test's own end: a thread that never ended would keep the program from ending.
        for _ in 0..150 {
            if !self.is_stuck.load(Ordering::SeqCst) {
                return self.simulated.evidence(request);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.simulated.evidence(request)
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        self.simulated.measured_config_digest()
    }

    fn time_source(&self) -> TimeSource {
        self.simulated.time_source()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_does_not_answer_at_the_turn_costs_the_keyset_in_force_nothing() {
    let mut world = World::new().await;
    world.options.limits.keyset_overlap_s = Some(3598);
    let is_stuck = Arc::new(AtomicBool::new(false));
    let stuck = is_stuck.clone();
    world.attester = Some(Box::new(move |guest| {
        Box::new(Stuck {
            simulated: Simulated(guest),
            is_stuck: stuck.clone(),
        })
    }));
    let guest = world.boot().await;
    is_stuck.store(true, Ordering::SeqCst);
    // The turn is after two seconds; the successor's evidence does not come.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut connection = connect(&guest.ready.address).await;
    assert!(
        connection
            .spki_prefix_digests
            .contains(&guest.ready.keyset.tls_spki_sha256),
        "still the first"
    );
    connection.prove(&guest.ready.keyset).await.unwrap();
    let (status, _) = connection.post_for_head(CHAT, QUESTION).await;
    assert!(status.is_success());
    // Once it answers again, the next keyset comes.
    is_stuck.store(false, Ordering::SeqCst);
    drop(rotated(&guest).await);
    guest.stop().await.unwrap();
}
