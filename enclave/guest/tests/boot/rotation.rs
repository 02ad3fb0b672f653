//! One keyset after the other in one boot: new connections get the new one, old ones end cleanly on the old one.

use std::time::Duration;

use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::channel::ATTESTATION_PATH;
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::{Nonce, UnixTime};
use hanzo_verifier::verify_bundle;

use crate::client::{Connection, connect};
use crate::served::context;
use crate::world::{Running, World};

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
