//! A grant is opened, and each nearest thing to it is refused by name.

use std::convert::Infallible;

use hanzo_attestation::bundle::{Base64, CpuEvidence, SnpEvidence};
use hanzo_attestation::keyset::SignaturePair;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest384, Nonce, RawEvidence, UnixTime};
use hanzo_kbs_protocol::{
    AttestBody, Expected, GRANT_PURPOSE, Grant, GrantError, GuestSession, OpenedGrant, SeveralSigned, WrapKey,
    WrappedDek, challenge_body, recipient, wrap_info,
};
use hanzo_pqc::hpke::{self, KemSuite, PrivateKey};
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Domain, SignatureSuite};

const SENT: u64 = 1_790_000_000;
const DEK: [u8; 32] = [42; 32];

struct Setup {
    signer: SigningKeys,
    key: PrivateKey,
    session: GuestSession,
    key_id: KeyId,
    subject: Name,
    grant: Grant,
}

fn evidence() -> SnpEvidence {
    SnpEvidence {
        ask: None,
        crl: None,
        report: Base64(vec![1; 8]),
        vek: Base64(vec![2; 8]),
    }
}

fn setup() -> Setup {
    let key = PrivateKey::from_seed(KemSuite::Xwing, &[3; 32]).unwrap();
    let nonce = Nonce([9; 32]);
    let mut session = GuestSession::new(key.public_key());
    let challenge = challenge_body(&nonce).to_string();
    session
        .attest_body(challenge.as_bytes(), |_| {
            Ok::<_, Infallible>(CpuEvidence::Snp(evidence()))
        })
        .unwrap();
    let (key_id, subject) = (KeyId::new("hanzo/dek/m").unwrap(), Name::new(&"ab".repeat(32)).unwrap());
    let grant = Grant {
        key_id: key_id.clone(),
        key_version: 3,
        kbs_time: SENT + 1,
        nonce,
        not_after: SENT + 31,
        policy_digest: Digest384([5; 48]),
        purpose: GRANT_PURPOSE.into(),
        recipient: recipient(key.public_key()),
        simulated: false,
        subject: subject.clone(),
        tier: 2,
    };
    Setup {
        signer: SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[1; 64]).unwrap(),
        key,
        session,
        key_id,
        subject,
        grant,
    }
}

impl Setup {
    /// A broker that signs and wraps whatever it is told to.
    fn wrap(&self, grant: &Grant) -> WrappedDek {
        let public = self.key.public_key();
        let aad = grant.digest().unwrap();
        let sealed = hpke::seal(public, &wrap_info(public.suite(), grant), aad.as_bytes(), &DEK).unwrap();
        let unsigned = WrappedDek {
            among: None,
            ciphertext: hex::encode(&sealed.ciphertext),
            enc: hex::encode(&sealed.enc),
            grant: grant.clone(),
            signature: SignaturePair {
                ed25519: String::new(),
                ml_dsa: String::new(),
            },
            suite: public.suite().name().into(),
        };
        self.sign(unsigned)
    }

    fn sign(&self, mut wrapped: WrappedDek) -> WrappedDek {
        let signature = self
            .signer
            .sign(Domain::Grant, &wrapped.signed_bytes().unwrap())
            .unwrap();
        wrapped.signature = SignaturePair {
            ed25519: signature.ed25519_hex(),
            ml_dsa: signature.ml_dsa_hex(),
        };
        wrapped
    }

    /// A broker that signs several wraps together; this guest's is the one at `at`.
    fn sign_among(&self, wrapped: &WrappedDek, at: usize, others: usize) -> WrappedDek {
        let mut each: Vec<_> = (0..others).map(|n| format!("another wrap {n}").into_bytes()).collect();
        each.insert(at, wrapped.signed_bytes().unwrap());
        let (several, places) = SeveralSigned::over(&each).unwrap();
        let signature = self.signer.sign(Domain::Grants, &several.canonical().unwrap()).unwrap();
        let mut wrapped = wrapped.clone();
        wrapped.among = Some(places[at].clone());
        (wrapped.signature.ml_dsa, wrapped.signature.ed25519) = (signature.ml_dsa_hex(), signature.ed25519_hex());
        wrapped
    }

    fn open_at(&self, wrapped: &WrappedDek, now: u64) -> Result<OpenedGrant, GrantError> {
        self.session.open_wrapped(
            &wrapped.canonical().unwrap(),
            &self.key,
            self.signer.verifying_keys(),
            Expected {
                key_id: &self.key_id,
                subject: &self.subject,
                min_tier: 2,
            },
            UnixTime(SENT),
            UnixTime(now),
            60,
        )
    }

    fn code(&self, wrapped: &WrappedDek) -> &'static str {
        self.open_at(wrapped, SENT + 2).map_or_else(|e| e.code(), |_| "ok")
    }

    fn changed(&self, change: impl FnOnce(&mut Grant)) -> &'static str {
        let mut grant = self.grant.clone();
        change(&mut grant);
        self.code(&self.wrap(&grant))
    }
}

#[test]
fn a_grant_for_this_guest_key_subject_and_moment_opens() {
    let s = setup();
    let opened = s.open_at(&s.wrap(&s.grant), SENT + 2).unwrap();
    assert_eq!(opened.dek.expose(), &DEK);
    assert_eq!(opened.grant, s.grant);
    assert!(!format!("{opened:?}").contains("42, 42"), "no key byte in Debug");
    assert_eq!(
        opened
            .at_least_version(3)
            .unwrap()
            .at_least_version(4)
            .unwrap_err()
            .code(),
        "grant.version"
    );
}

#[test]
fn each_member_that_is_not_this_guests_is_refused_by_name() {
    let s = setup();
    assert_eq!(s.changed(|_| {}), "ok");
    assert_eq!(
        s.changed(|g| g.key_id = KeyId::new("hanzo/dek/n").unwrap()),
        "grant.key_id"
    );
    assert_eq!(
        s.changed(|g| g.subject = Name::new(&"ac".repeat(32)).unwrap()),
        "grant.subject"
    );
    assert_eq!(s.changed(|g| g.nonce = Nonce([8; 32])), "grant.nonce");
    assert_eq!(s.changed(|g| g.recipient = Digest384([0; 48])), "grant.recipient");
    assert_eq!(s.changed(|g| g.purpose = "hanzo.grant.v2".into()), "grant.purpose");
    assert_eq!(s.changed(|g| g.tier = 1), "grant.tier");
    assert_eq!(s.changed(|g| g.tier = 5), "grant.tier");
    assert_eq!(s.changed(|g| g.key_version = 0), "grant.version");
    // The broker's clock may differ from the guest's by the configured 60 s and no more.
    assert_eq!(
        s.changed(|g| (g.kbs_time, g.not_after) = (SENT + 61, SENT + 90)),
        "grant.clock"
    );
    assert_eq!(
        s.changed(|g| (g.kbs_time, g.not_after) = (SENT - 61, SENT + 90)),
        "grant.clock"
    );
    assert_eq!(s.changed(|g| g.not_after = SENT + 1), "grant.expired");
    assert_eq!(s.changed(|g| g.not_after = g.kbs_time - 1), "grant.expired");
}

#[test]
fn a_grant_lives_as_long_as_both_sides_allow() {
    let s = setup();
    let wrapped = s.wrap(&s.grant);
    assert!(s.open_at(&wrapped, SENT + 31).is_ok());
    assert_eq!(s.open_at(&wrapped, SENT + 32).unwrap_err().code(), "grant.expired");
    // A broker that allows a year does not change what the guest's configuration allows.
    let mut long = s.grant.clone();
    long.not_after += 31_536_000;
    let wrapped = s.wrap(&long);
    assert!(s.open_at(&wrapped, SENT + 60).is_ok());
    assert_eq!(s.open_at(&wrapped, SENT + 61).unwrap_err().code(), "grant.expired");
}

#[test]
fn signatures_of_others_and_half_signatures_are_not_pinned() {
    let s = setup();
    let mut foreign = setup();
    foreign.signer = SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[2; 64]).unwrap();
    let (good, other) = (s.wrap(&s.grant), foreign.wrap(&s.grant));
    assert_eq!(s.code(&other), "kbs.not_pinned");
    for ml_dsa_half in [true, false] {
        let mut half = good.clone();
        match ml_dsa_half {
            true => half.signature.ml_dsa = other.signature.ml_dsa.clone(),
            false => half.signature.ed25519 = other.signature.ed25519.clone(),
        }
        assert_eq!(s.code(&half), "kbs.not_pinned");
    }
    // A valid HPKE wrap without a grant of the pinned broker: a member changed after signing.
    let mut changed = good.clone();
    changed.grant.simulated = true;
    assert_eq!(s.code(&changed), "kbs.not_pinned");
    // The same message signed for another purpose.
    let mut elsewhere = good;
    let message = s.grant.canonical().unwrap();
    let signature = s.signer.sign(Domain::Receipt, &message).unwrap();
    (elsewhere.signature.ml_dsa, elsewhere.signature.ed25519) = (signature.ml_dsa_hex(), signature.ed25519_hex());
    assert_eq!(s.code(&elsewhere), "kbs.not_pinned");
}

#[test]
fn a_flipped_byte_in_the_wrap_or_the_wrap_of_another_grant_does_not_open() {
    let s = setup();
    let good = s.wrap(&s.grant);
    let flip = |text: &str| {
        let mut bytes = hex::decode(text).unwrap();
        let last = bytes.len() - 1;
        bytes[last / 2] ^= 1;
        hex::encode(bytes)
    };
    let refused = |bad: WrappedDek, code| {
        assert_eq!(s.code(&bad), "kbs.not_pinned");
        assert_eq!(s.code(&s.sign(bad)), code, "signed by a broker gone wrong");
    };
    let mut bad = good.clone();
    bad.ciphertext = flip(&good.ciphertext);
    refused(bad, "grant.wrap");
    let mut bad = good.clone();
    bad.enc = flip(&good.enc);
    refused(bad, "grant.wrap");
    let mut bad = good.clone();
    bad.suite = "mlkem1024-p384".into();
    refused(bad, "grant.suite");
    // An older key's wrap spliced under a newer grant.
    let mut older = s.grant.clone();
    older.key_version = 2;
    let mut spliced = good.clone();
    let other = s.wrap(&older);
    (spliced.enc, spliced.ciphertext) = (other.enc, other.ciphertext);
    refused(spliced, "grant.wrap");
    // A key of the wrong length, properly wrapped.
    refused(wrapped_by_anybody(&s, &[1; 31]), "grant.wrap");
}

/// What any host can make that relays a genuine grant: all that HPKE needs is public.
fn wrapped_by_anybody(s: &Setup, key: &[u8]) -> WrappedDek {
    let mut wrapped = s.wrap(&s.grant);
    let (public, aad) = (s.key.public_key(), s.grant.digest().unwrap());
    let sealed = hpke::seal(public, &wrap_info(public.suite(), &s.grant), aad.as_bytes(), key).unwrap();
    (wrapped.enc, wrapped.ciphertext) = (hex::encode(&sealed.enc), hex::encode(&sealed.ciphertext));
    wrapped
}

#[test]
fn a_key_that_the_host_sealed_under_a_genuine_grant_does_not_open() {
    let s = setup();
    assert_eq!(s.code(&s.wrap(&s.grant)), "ok");
    assert_eq!(s.code(&wrapped_by_anybody(&s, &[0x66; 32])), "kbs.not_pinned");
}

#[test]
fn a_grant_signed_together_with_others_opens_at_its_place_alone() {
    let s = setup();
    let alone = s.wrap(&s.grant);
    for (at, others) in [(0, 1), (1, 1), (2, 4), (5, 5), (0, 63), (63, 63)] {
        let good = s.sign_among(&alone, at, others);
        assert_eq!(s.code(&good), "ok", "{at} of {others} and one");
        let changed = |change: &dyn Fn(&mut hanzo_kbs_protocol::Among)| {
            let mut bad = good.clone();
            change(bad.among.as_mut().unwrap());
            s.code(&bad)
        };
        assert_eq!(changed(&|a| a.path[0].0[0] ^= 1), "kbs.not_pinned");
        assert_eq!(changed(&|a| a.path.truncate(a.path.len() - 1)), "grant.among");
        assert_eq!(changed(&|a| a.path.push(a.path[0])), "grant.among");
        assert_eq!(changed(&|a| a.index = a.size), "grant.among");
        assert_ne!(changed(&|a| a.index ^= 1), "ok");
        assert_ne!(changed(&|a| a.size += 1), "ok");
        // The same signature, said to be for this grant alone, and the other way round.
        let mut bad = good.clone();
        bad.among = None;
        assert_eq!(s.code(&bad), "kbs.not_pinned");
        let mut bad = good.clone();
        bad.signature = alone.signature.clone();
        assert_eq!(s.code(&bad), "kbs.not_pinned");
        // Everything that one signature covers alone, it covers here.
        let mut bad = good.clone();
        bad.grant.tier = 1;
        assert_eq!(s.code(&bad), "kbs.not_pinned");
        let mut bad = good;
        let key = wrapped_by_anybody(&s, &[0x66; 32]);
        (bad.enc, bad.ciphertext) = (key.enc, key.ciphertext);
        assert_eq!(s.code(&bad), "kbs.not_pinned");
    }
}

#[test]
fn no_signature_over_one_or_too_many_or_above_tier_2_is_taken_for_one_over_several() {
    let s = setup();
    let alone = s.wrap(&s.grant);
    assert!(SeveralSigned::over(&vec![vec![1]; 64]).is_some());
    for size in [0, 1, 65] {
        assert!(SeveralSigned::over(&vec![vec![1]; size]).is_none(), "{size}");
    }
    // Signed as such by a broker gone wrong.
    for (size, path) in [(0, 0), (1, 0), (65, 7), (1 << 40, 40)] {
        let mut bad = s.sign_among(&alone, 0, 1);
        let among = bad.among.as_mut().unwrap();
        (among.size, among.path) = (size, vec![among.path[0]; path]);
        assert_eq!(s.code(&bad), "grant.among", "{size}");
    }
    let mut high = s.grant.clone();
    high.tier = 3;
    let high = s.wrap(&high);
    assert_eq!(s.code(&high), "ok");
    assert_eq!(s.code(&s.sign_among(&high, 0, 1)), "grant.among");
    // A node of the tree is no leaf: what hashes to the inner node of two is not taken for a wrap.
    let leaf = |bytes: &[u8]| hanzo_attestation::merkle::leaf_hash(&[bytes]);
    let inner = [leaf(b"a").0, leaf(b"b").0].concat();
    let (of_two, _) = SeveralSigned::over(&[b"a".to_vec(), b"b".to_vec()]).unwrap();
    let (of_inner, _) = SeveralSigned::over(&[inner, b"c".to_vec()]).unwrap();
    assert_ne!(of_two, of_inner);
}

#[test]
fn an_old_grant_replayed_to_a_new_session_or_before_its_challenge_is_refused() {
    let s = setup();
    let old = s.wrap(&s.grant);
    let mut next = setup();
    let challenge = challenge_body(&Nonce([10; 32])).to_string();
    next.session
        .attest_body(challenge.as_bytes(), |_| {
            Ok::<_, Infallible>(CpuEvidence::Snp(evidence()))
        })
        .unwrap();
    assert_eq!(next.code(&old), "grant.nonce");
    next.session = GuestSession::new(next.key.public_key());
    assert_eq!(next.code(&old), "grant.nonce");
    // The same session under another wrapping key.
    let mut other = setup();
    other.key = PrivateKey::from_seed(KemSuite::Xwing, &[4; 32]).unwrap();
    assert_eq!(other.code(&old), "grant.recipient");
}

#[test]
fn only_canonical_bytes_of_bounded_length_are_read() {
    let s = setup();
    let good = String::from_utf8(s.wrap(&s.grant).canonical().unwrap()).unwrap();
    assert!(WrappedDek::parse(good.as_bytes()).is_ok());
    for bad in [
        good.replacen('{', "{ ", 1),
        format!("{good}\n"),
        good.replacen("{\"ciphertext\"", "{\"a\":1,\"ciphertext\"", 1),
        good.replacen("\"tier\":2", "\"tier\":2.0", 1),
        good.replacen("\"simulated\":false,", "", 1),
        good.replacen("{\"ciphertext\"", "{\"among\":null,\"ciphertext\"", 1),
        good.replacen(
            "{\"ciphertext\"",
            "{\"among\":{\"index\":0,\"path\":[],\"size\":1,\"x\":1},\"ciphertext\"",
            1,
        ),
        "[".repeat(100_000),
    ] {
        assert!(WrappedDek::parse(bad.as_bytes()).is_err());
    }
}

#[test]
fn what_the_guest_sends_is_what_the_broker_reads() {
    for suite in [KemSuite::Xwing, KemSuite::MlKem1024P384] {
        let key = PrivateKey::from_seed(suite, &[3; 32]).unwrap();
        let mut session = GuestSession::new(key.public_key());
        let challenge = challenge_body(&Nonce([9; 32])).to_string();
        let mut committed = [0; 64];
        let body = session
            .attest_body(challenge.as_bytes(), |request| {
                committed = *request.report_data();
                assert_eq!(
                    request.qualifying_data(),
                    &committed[..48],
                    "a TPM signs the digest unpadded"
                );
                Ok::<_, Infallible>(CpuEvidence::Snp(evidence()))
            })
            .unwrap();
        assert_eq!(committed[48..], [0; 16], "SHA-384, zero-padded");
        let read = AttestBody::parse(&body).unwrap();
        assert_eq!(read.evidence.signed(), Some(&RawEvidence::Snp(evidence())));
        assert_eq!(read.wrap_key.hpke(), Some(key.public_key()));
        assert_eq!(read.tee_pubkey, WrapKey::new(key.public_key().clone()).to_value());
        let runtime = hanzo_attestation::binding::RcarRuntime {
            additional_evidence: "",
            nonce: &read.nonce,
            tee_pubkey: &read.tee_pubkey,
        };
        assert_eq!(runtime.report_data().unwrap(), committed);
    }
}
