//! The ACI view by itself: what it signs, whose it is, and how long it stays.

#[path = "support/fixture.rs"]
mod fixture;

use std::sync::Arc;

use hanzo_attestation::name::Name;
use hanzo_receipts::{AciEnd, AciShelf, AciView, KEPT_MAX, KEPT_S, Owner, ReceiptId};
use hanzo_verifier::aci::{AciKeyset, verify_aci_receipt};

const T: u64 = 1_800_000_000;

fn view(simulated: bool, shelf: &Arc<AciShelf>) -> AciView {
    let mut keyset = fixture::keyset(&fixture::keys(1));
    keyset.simulated = simulated;
    let digest = keyset.digest().unwrap();
    AciView::open([&[1; 32], &[2; 32]], &keyset, digest, shelf.clone()).unwrap()
}

fn owner(byte: u8) -> Owner {
    Owner::from_hex(&format!("{byte:02x}").repeat(32)).unwrap()
}

fn id(n: u32) -> ReceiptId {
    let mut id = [0xab; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    ReceiptId(id)
}

fn issue(view: &AciView, n: u32, at: u64) {
    issue_to(view, n, 1, None, at);
}

fn issue_to(view: &AciView, n: u32, to: u8, caller: Option<&str>, at: u64) {
    let caller = caller.map(|name| Name::new(name).unwrap());
    let mut pending = view.begin(id(n), &owner(to), caller.as_ref(), b"the request").unwrap();
    pending.sent(b"the ");
    pending.sent(b"answer");
    let end = AciEnd {
        model: "smollm2",
        endpoint: "/v1/chat/completions",
        chat_id: Some(format!("chatcmpl-{}", id(n))),
        served_at: at,
    };
    view.issue(pending, end).unwrap();
}

#[test]
fn a_receipt_is_its_owners_and_says_what_the_guest_is() {
    for simulated in [true, false] {
        let shelf = Arc::new(AciShelf::default());
        let view = view(simulated, &shelf);
        let keyset = AciKeyset::from_json(view.keyset()).unwrap();
        assert_eq!((keyset.digest(), keyset.simulated()), (view.keyset_digest(), simulated));
        let text = String::from_utf8(view.keyset().to_vec()).unwrap();
        assert_eq!(text.contains("hanzo-simulated-guest:"), simulated, "{text}");
        issue(&view, 1, T);
        let kept = view.fetch(&id(1).to_string(), &owner(1), T).unwrap();
        let verified = verify_aci_receipt(&kept.receipt, &keyset).unwrap();
        verified.check_request(b"the request").unwrap();
        verified.check_response(b"the answer").unwrap();
        assert_eq!(verified.receipt().simulated, Some(simulated));
        let signed = String::from_utf8(kept.signature.clone()).unwrap();
        assert_eq!(signed.contains(r#""text":"simulated:smollm2:"#), simulated, "{signed}");
        assert_eq!(signed.contains(r#""text":"smollm2:"#), !simulated, "{signed}");
        for name in ["chatcmpl-", "cmpl-", "resp_", "msg_"] {
            let same = view.fetch(&format!("{name}{}", id(1)), &owner(1), T);
            assert!(same == Some(kept.clone()), "{name}");
        }
        for (name, owner) in [
            (id(1).to_string(), owner(2)),
            (id(2).to_string(), owner(1)),
            (id(1).to_string().to_uppercase(), owner(1)),
            (format!("chatcmpl-chatcmpl-{}", id(1)), owner(1)),
            (String::new(), owner(1)),
        ] {
            assert!(view.fetch(&name, &owner, T).is_none(), "{name}");
        }
        // A receipt of the other kind of guest is none of this keyset.
        let other = self::view(!simulated, &shelf);
        issue(&other, 3, T);
        let foreign = view.fetch(&id(3).to_string(), &owner(1), T).unwrap();
        assert_eq!(
            verify_aci_receipt(&foreign.receipt, &keyset).unwrap_err().code(),
            "aci.keyset"
        );
    }
}

#[test]
fn few_are_kept_for_a_while_and_what_is_taken_back_is_gone() {
    let shelf = Arc::new(AciShelf::default());
    let view = view(true, &shelf);
    let there = |n: u32, now: u64| view.fetch(&id(n).to_string(), &owner(1), now).is_some();
    for n in 0..KEPT_MAX as u32 {
        issue(&view, n, T);
    }
    assert!(there(0, T) && shelf.len() == KEPT_MAX);
    issue(&view, KEPT_MAX as u32, T + 1);
    assert!(
        !there(0, T) && there(1, T) && shelf.len() == KEPT_MAX,
        "the oldest made room"
    );
    view.withdraw(&id(1));
    assert!(!there(1, T) && there(2, T));
    assert!(there(2, T + KEPT_S));
    assert!(!there(2, T + KEPT_S + 1));
    assert!(there(KEPT_MAX as u32, T + KEPT_S + 1) && shelf.len() == 1);
    assert!(!there(KEPT_MAX as u32, T + KEPT_S + 2) && shelf.is_empty());
}

#[test]
fn a_busy_caller_takes_its_own_places_and_nobody_elses() {
    // A caller of the table is one holder under whatever owners it asks; without a table the owner is.
    for (busy, quiet) in [(Some("busy"), Some("quiet")), (None, None)] {
        let shelf = Arc::new(AciShelf::default());
        let view = view(true, &shelf);
        let there = |n: u32, of: u8| view.fetch(&id(n).to_string(), &owner(of), T).is_some();
        for n in 0..3 {
            issue_to(&view, n, 1, quiet, T);
        }
        let many = KEPT_MAX as u32 + 500;
        for n in 10..many {
            // Owners are a caller's to choose; without a table that is who it is.
            let to = if busy.is_some() { 2 + (n % 50) as u8 } else { 2 };
            issue_to(&view, n, to, busy, T);
        }
        assert_eq!(shelf.len(), KEPT_MAX);
        for n in 0..3 {
            assert!(there(n, 1), "the quiet one's are the oldest and stay");
        }
        let of = |n: u32| if busy.is_some() { 2 + (n % 50) as u8 } else { 2 };
        let left = KEPT_MAX as u32 - 3;
        assert!(there(many - 1, of(many - 1)) && there(many - left, of(many - left)));
        assert!(
            !there(many - left - 1, of(many - left - 1)),
            "the busy one's oldest made room"
        );
        // The quiet one may come to as many as the other, and no further at its cost.
        if busy.is_none() {
            continue;
        }
        let half = KEPT_MAX as u32 / 2;
        for n in many..many + half + 200 {
            issue_to(&view, n, 1, quiet, T);
        }
        assert_eq!(shelf.len(), KEPT_MAX);
        assert!(there(many - 1, of(many - 1)) && there(many - half, of(many - half)));
        assert!(!there(many - half - 1, of(many - half - 1)) && !there(0, 1));
    }
}

#[test]
fn what_a_credential_owns_follows_from_all_of_it() {
    let shelf = Arc::new(AciShelf::default());
    let view = view(true, &shelf);
    let of = |credential: &[u8]| Owner::from_credential(credential).unwrap();
    let pending = view.begin(id(1), &of(b"hzk_a-key"), None, b"").unwrap();
    let end = AciEnd {
        model: "smollm2",
        endpoint: "/v1/embeddings",
        chat_id: None,
        served_at: T,
    };
    view.issue(pending, end).unwrap();
    let name = id(1).to_string();
    assert!(view.fetch(&name, &of(b"hzk_a-key"), T).is_some());
    for other in [&b"hzk_a-ke"[..], b"hzk_a-key2", b"Hzk_a-key"] {
        assert!(view.fetch(&name, &of(other), T).is_none());
    }
}
