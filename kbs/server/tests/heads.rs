//! The broker as fence of guests' stores: two guests on one store, an old store, a host in between.

#[path = "support/harness.rs"]
mod harness;

use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest256, Nonce};
use hanzo_kbs_protocol::heads::{HEADS_PATH, HeldLease, StoreHead};
use harness::{Broker, Guest, Reply, http, policy};

const STORE: &str = "hanzo/dek/store";
const OTHER: &str = "rival/dek/store";

fn store(name: &str) -> KeyId {
    KeyId::new(name).unwrap()
}

fn head(size: u64) -> StoreHead {
    StoreHead {
        root: Digest256([size as u8; 32]),
        size,
    }
}

fn nonce(n: u8) -> Nonce {
    Nonce([n; 32])
}

fn post(broker: &Broker, name: &str, cookie: &str, body: &[u8]) -> Reply {
    http(broker.address, "POST", &format!("{HEADS_PATH}{name}"), cookie, body)
}

fn put_both(broker: &Broker) {
    broker.put(STORE, 1, &policy()).unwrap();
    let mut theirs = policy();
    theirs.tenant = Name::new("rival").unwrap();
    broker.put(OTHER, 1, &theirs).unwrap();
}

/// A guest that was granted the store's key.
fn granted(broker: &Broker, name: &str) -> Guest {
    let guest = Guest::new().attested(broker.address);
    assert_eq!(guest.ask(broker.address, name).status, 200);
    guest
}

fn acquire(broker: &Broker, guest: &Guest, name: &str, n: u8) -> Result<HeldLease, (u16, String)> {
    let body = HeldLease::acquire_body(&store(name), 60, nonce(n)).unwrap();
    let reply = post(broker, name, &guest.cookie, &body);
    if reply.status != 200 {
        return Err(reply.error());
    }
    let signer = broker.made.identity.verifying_keys().unwrap();
    Ok(HeldLease::open(&reply.body, &store(name), &nonce(n), &guest.key, &signer).unwrap())
}

fn advance(broker: &Broker, lease: &mut HeldLease, to: u64, n: u8) -> Result<u64, (u16, String)> {
    let body = lease.advance_body(head(to), 60, nonce(n)).unwrap();
    // No cookie: the lease key is enough.
    let reply = post(broker, STORE, "", &body);
    match reply.status {
        200 => Ok(lease.answered(&reply.body, &nonce(n)).unwrap().head.size),
        _ => Err(reply.error()),
    }
}

fn refused(code: &str) -> (u16, String) {
    (409, code.into())
}

#[test]
fn one_guest_writes_a_store_and_its_head_goes_forward_alone() {
    let mut broker = Broker::simulated();
    put_both(&broker);
    let first = granted(&broker, STORE);
    let second = granted(&broker, STORE);
    let mut lease = acquire(&broker, &first, STORE, 1).unwrap();
    assert_eq!((lease.state().head, lease.state().token), (StoreHead::empty(), 1));
    assert_eq!(advance(&broker, &mut lease, 5, 2), Ok(5));
    assert_eq!(
        acquire(&broker, &second, STORE, 3).err(),
        Some(refused("kbs.head.held"))
    );

    // The same request again, its reply lost: the same answer. Backward, or from elsewhere: refused.
    let again = lease.advance_body(head(7), 60, nonce(4)).unwrap();
    for _ in 0..2 {
        assert_eq!(post(&broker, STORE, "", &again).status, 200);
    }
    let stale = lease.advance_body(head(9), 60, nonce(5)).unwrap();
    assert_eq!(post(&broker, STORE, "", &stale).error(), refused("kbs.head.conflict"));
    assert!(
        lease
            .answered(&post(&broker, STORE, "", &again).body, &nonce(4))
            .is_ok()
    );
    assert_eq!(advance(&broker, &mut lease, 7, 6), Err(refused("kbs.head.backward")));
    assert_eq!(advance(&broker, &mut lease, 6, 7), Err(refused("kbs.head.backward")));

    // Released, another takes it, at the head that the first left; the first one's token counts no more.
    let release = lease.release_body(nonce(8)).unwrap();
    let reply = post(&broker, STORE, "", &release);
    assert_eq!(lease.answered(&reply.body, &nonce(8)).unwrap().lease_s, 0);
    assert_eq!(advance(&broker, &mut lease, 8, 9), Err(refused("kbs.head.lease_over")));
    let mut next = acquire(&broker, &second, STORE, 10).unwrap();
    assert_eq!((next.state().head, next.state().token), (head(7), 2));
    assert_eq!(advance(&broker, &mut lease, 8, 11), Err(refused("kbs.head.token")));
    assert_eq!(advance(&broker, &mut next, 8, 12), Ok(8));

    // It outlives the broker, and every step is on the record.
    let lines = broker.audit();
    let count = |action: &str| lines.iter().filter(|l| l["action"] == action).count();
    assert_eq!((count("head-acquire"), count("head-release")), (2, 1));
    assert_eq!(count("head-refuse"), 5, "{lines:?}");
    broker.restart().unwrap();
    assert_eq!(advance(&broker, &mut next, 9, 13), Ok(9));
}

#[test]
fn who_was_granted_no_key_of_a_store_writes_no_head_of_it() {
    let broker = Broker::simulated();
    put_both(&broker);
    let guest = granted(&broker, STORE);
    let denied = Some((403, "kbs.head.no_grant".to_owned()));
    assert_eq!(acquire(&broker, &guest, OTHER, 1).err(), denied, "another tenant's");
    let bare = Guest::new().attested(broker.address);
    assert_eq!(acquire(&broker, &bare, STORE, 2).err(), denied, "attested, not granted");
    let nobody = HeldLease::acquire_body(&store(STORE), 60, nonce(3)).unwrap();
    assert_eq!(
        post(&broker, STORE, "", &nobody).error(),
        (401, "kbs.head.session".into())
    );
    assert_eq!(
        post(&broker, OTHER, &guest.cookie, &nobody).error(),
        (400, "kbs.head.path".into())
    );
    let long = HeldLease::acquire_body(&store(STORE), 601, nonce(4)).unwrap();
    assert_eq!(
        post(&broker, STORE, &guest.cookie, &long).error(),
        (400, "kbs.head.message".into())
    );
    // Revoked: the lease ends with the key.
    let mut lease = acquire(&broker, &guest, STORE, 5).unwrap();
    let (admin, key) = (broker.admin(), store(STORE));
    let revoke = hanzo_kbs::admin::revoke(broker.address, &broker.made.identity, &admin, &key, 1);
    harness::block_on(revoke).unwrap();
    assert_eq!(advance(&broker, &mut lease, 5, 6).err(), denied);
}

#[test]
fn a_host_in_between_changes_nothing_unnoticed() {
    let broker = Broker::simulated();
    broker.put(STORE, 1, &policy()).unwrap();
    let guest = granted(&broker, STORE);
    let body = HeldLease::acquire_body(&store(STORE), 60, nonce(1)).unwrap();
    let reply = post(&broker, STORE, &guest.cookie, &body).body;
    let signer = broker.made.identity.verifying_keys().unwrap();
    let open = |reply: &[u8], n: u8| {
        HeldLease::open(reply, &store(STORE), &nonce(n), &guest.key, &signer).map_err(|e| e.code())
    };
    let mut lease = open(&reply, 1).unwrap();
    assert_eq!(
        open(&reply, 2).err(),
        Some("head.other"),
        "the answer to another request"
    );
    let forged = String::from_utf8(reply).unwrap().replace("\"token\":1", "\"token\":2");
    assert_eq!(open(forged.as_bytes(), 1).err(), Some("pqc.signature.both"));
    let strangers = Broker::simulated();
    let theirs = strangers.made.identity.verifying_keys().unwrap();
    let with_theirs = HeldLease::open(forged.as_bytes(), &store(STORE), &nonce(1), &guest.key, &theirs);
    assert_eq!(with_theirs.map_err(|e| e.code()).err(), Some("pqc.signature.both"));

    let advance = lease.advance_body(head(5), 60, nonce(3)).unwrap();
    let text = String::from_utf8(advance.clone()).unwrap();
    let farther = text.replace("\"size\":5", "\"size\":6");
    assert_ne!(farther, text);
    assert_eq!(
        post(&broker, STORE, "", farther.as_bytes()).error(),
        (400, "kbs.head.message".into())
    );
    let reply = post(&broker, STORE, "", &advance).body;
    let changed = String::from_utf8(reply.clone())
        .unwrap()
        .replace("\"size\":5", "\"size\":6");
    assert_eq!(
        lease
            .answered(changed.as_bytes(), &nonce(3))
            .map_err(|e| e.code())
            .err(),
        Some("head.mac")
    );
    assert_eq!(
        lease.answered(&reply, &nonce(4)).map_err(|e| e.code()).err(),
        Some("head.other")
    );
    assert_eq!(lease.answered(&reply, &nonce(3)).unwrap().head, head(5));
}
