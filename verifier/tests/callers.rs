//! The table of a guest's callers: what is taken, and the nearest that is not.

use hanzo_attestation::UnixTime;
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::name::Name;
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_verifier::callers::*;

fn keys(byte: u8) -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[byte; 64]).unwrap()
}

fn pinned(keys: &SigningKeys) -> PinnedSigner {
    let public = keys.verifying_keys();
    PinnedSigner {
        suite: public.suite().name().into(),
        ml_dsa: public.ml_dsa_hex(),
        ed25519: public.ed25519_hex(),
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn key(byte: u8) -> ApiKey {
    ApiKey::draw(|out| {
        out.fill(byte);
        Ok(())
    })
    .unwrap()
}

fn caller(id: &str, byte: u8) -> Caller {
    Caller {
        budget_tokens: None,
        concurrent_requests: 4,
        credential: Credential::ApiKey(key(byte).hash()),
        expires_at: 1_900_000_000,
        id: name(id),
        isolation: Isolation::Shared,
        models: Models::Named(vec![name("smollm2")]),
        requests_per_min: 60,
        role: Role::User,
        tier_min: 2,
        tokens_per_min: 60_000,
    }
}

fn table() -> Table {
    Table {
        callers: vec![caller("acme", 1), caller("beta", 2)],
        issued_at: 1_800_000_000,
        issuers: vec![],
        not_after: 1_800_086_400,
        operator: name("example"),
        purpose: Purpose::V1,
        version: 7,
    }
}

fn issuer() -> Issuer {
    Issuer {
        audience: "hanzo".into(),
        issuer: "https://login.example".into(),
        keys: vec![IssuerKey {
            jwk: Jwk::Okp {
                crv: OkpCurve::Ed25519,
                x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
            },
            kid: "k1".into(),
        }],
        ttl_s_max: 3600,
    }
}

#[test]
fn a_signed_table_is_taken_by_its_operators_guests_until_its_end() {
    let signer = keys(1);
    let signed = table().sign(|domain, bytes| signer.sign(domain, bytes)).unwrap();
    let bytes = signed.to_bytes().unwrap();
    let verify = |bytes: &[u8], pinned: &PinnedSigner, operator: &str, now: u64| {
        SignedTable::parse(bytes)
            .and_then(|signed| signed.verify(pinned, &name(operator), UnixTime(now)))
            .map(|verified| verified.table().clone())
            .map_err(|e| e.code())
    };
    let ours = pinned(&signer);
    assert_eq!(verify(&bytes, &ours, "example", 1_800_086_400), Ok(table()));
    let line = [&bytes[..], b"\n"].concat();
    assert_eq!(verify(&line, &ours, "example", 0), Ok(table()), "a file ends in a line");
    assert_eq!(verify(&bytes, &ours, "example", 1_800_086_401), Err("callers.over"));
    assert_eq!(verify(&bytes, &ours, "another", 0), Err("callers.operator"));
    assert_eq!(
        verify(&bytes, &pinned(&keys(2)), "example", 0),
        Err("callers.signature")
    );
    let half = PinnedSigner {
        ed25519: keys(2).verifying_keys().ed25519_hex(),
        ..ours.clone()
    };
    assert_eq!(
        verify(&bytes, &half, "example", 0),
        Err("callers.signature"),
        "both count"
    );
    let text = String::from_utf8(bytes).unwrap();
    for (from, to, code) in [
        ("\"version\":7", "\"version\":8", "callers.signature"),
        (
            "\"requests_per_min\":60",
            "\"requests_per_min\":61",
            "callers.signature",
        ),
        ("\"version\":7", "\"version\":7,\"x\":0", "callers.format"),
        ("\"version\":7", "\"version\": 7", "callers.format"),
        ("\"role\":\"user\"", "\"role\":\"root\"", "callers.format"),
        ("hanzo.callers.v1", "hanzo.callers.v2", "callers.format"),
        ("\"budget_tokens\":null,", "", "callers.format"),
        // Without issuers the member is not there: one spelling.
        ("\"not_after\"", "\"issuers\":[],\"not_after\"", "callers.format"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        assert_eq!(verify(changed.as_bytes(), &ours, "example", 0), Err(code), "{to}");
    }
    let large = vec![b' '; TABLE_BYTES_MAX + 2];
    assert_eq!(verify(&large, &ours, "example", 0), Err("callers.format"));
}

#[test]
fn what_no_guest_may_take_is_not_signed() {
    let refused = |change: &dyn Fn(&mut Table)| {
        let mut changed = table();
        change(&mut changed);
        match changed.sign(|domain, bytes| keys(1).sign(domain, bytes)).map(drop) {
            Ok(()) => "signed",
            Err(CallersError::Value { field, .. }) => field,
            Err(other) => other.code(),
        }
    };
    assert_eq!(refused(&|_| {}), "signed");
    assert_eq!(refused(&|t| t.callers.reverse()), "callers");
    assert_eq!(refused(&|t| t.callers[1].id = name("acme")), "callers");
    assert_eq!(
        refused(&|t| t.callers[1].credential = Credential::ApiKey(key(1).hash())),
        "callers.credential"
    );
    assert_eq!(refused(&|t| t.version = 0), "version");
    assert_eq!(refused(&|t| t.not_after = t.issued_at - 1), "not_after");
    assert_eq!(
        refused(&|t| t.callers[0].requests_per_min = 0),
        "callers.requests_per_min"
    );
    assert_eq!(
        refused(&|t| t.callers[0].tokens_per_min = 1 << 53),
        "callers.tokens_per_min"
    );
    assert_eq!(
        refused(&|t| t.callers[0].concurrent_requests = 0),
        "callers.concurrent_requests"
    );
    assert_eq!(
        refused(&|t| t.callers[0].budget_tokens = Some(0)),
        "callers.budget_tokens"
    );
    let pin = |t: &mut Table, change: &dyn Fn(&mut Issuer)| {
        let mut one = issuer();
        change(&mut one);
        t.issuers.push(one);
    };
    let claim = |value: &str| {
        Credential::Claim(Claim {
            issuer: "https://login.example".into(),
            name: "sub".into(),
            value: value.into(),
        })
    };
    let with_claim = |value: &'static str| {
        move |t: &mut Table| {
            t.issuers.push(issuer());
            t.callers[0].credential = claim(value);
        }
    };
    assert_eq!(refused(&with_claim("u-1")), "signed");
    assert_eq!(refused(&with_claim("")), "callers.credential.claim");
    assert_eq!(
        refused(&|t| t.callers[0].credential = claim("u-1")),
        "callers.credential.claim.issuer",
        "an issuer that the table does not pin"
    );
    let both = |t: &mut Table| {
        t.issuers.push(issuer());
        t.callers.iter_mut().for_each(|c| c.credential = claim("u-1"));
    };
    assert_eq!(refused(&both), "callers.credential");
    for (change, field) in [
        (&|i: &mut Issuer| i.audience = String::new(), "issuers.audience"),
        (&|i| i.issuer = "a b".into(), "issuers.issuer"),
        (&|i| i.ttl_s_max = 59, "issuers.ttl_s_max"),
        (&|i| i.ttl_s_max = 86_401, "issuers.ttl_s_max"),
        (&|i| i.keys.clear(), "issuers.keys"),
        (&|i| i.keys.push(i.keys[0].clone()), "issuers.keys"),
        (&|i| i.keys[0].kid = String::new(), "issuers.keys.kid"),
        (
            &|i| {
                i.keys[0].jwk = Jwk::Okp {
                    crv: OkpCurve::Ed25519,
                    x: "AA".into(),
                }
            },
            "issuers.keys.jwk",
        ),
    ] as [(&dyn Fn(&mut Issuer), _); 8]
    {
        assert_eq!(refused(&|t| pin(t, change)), field);
    }
    assert_eq!(refused(&|t| pin(t, &|_| {})), "signed");
    assert_eq!(refused(&|t| t.issuers = vec![issuer(), issuer()]), "issuers");
    assert_eq!(refused(&|t| t.callers[0].tier_min = 5), "callers.tier_min");
    assert_eq!(
        refused(&|t| t.callers[0].models = Models::Named(vec![])),
        "callers.models"
    );
    let twice = || Models::Named(vec![name("a"), name("a")]);
    assert_eq!(refused(&|t| t.callers[0].models = twice()), "callers.models");
}

#[test]
fn a_caller_that_shares_with_nobody_may_ask_what_others_ask() {
    let mut changed = table();
    changed.callers[0].isolation = Isolation::Own;
    for models in [Models::Any, Models::Named(vec![name("a")])] {
        changed.callers[0].models = models;
        changed.callers[1].models = Models::Named(vec![name("a")]);
        changed.check().unwrap();
    }
}

#[test]
fn a_key_is_read_as_it_was_written_and_no_changed_character_passes() {
    let one = key(0xa5);
    let text = one.text();
    assert_eq!((text.len(), &text[..5]), (75, "hz_a5"));
    assert_eq!(ApiKey::parse(text.as_bytes()).unwrap().hash(), one.hash());
    for at in 0..text.len() {
        let mut changed = text.as_bytes().to_vec();
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        assert!(ApiKey::parse(&changed).is_none(), "character {at}");
    }
    for wrong in [
        "",
        "hz_",
        &text[1..],
        &text[..74],
        &text.to_uppercase(),
        &format!("{}0", &*text),
    ] {
        assert!(ApiKey::parse(wrong.as_bytes()).is_none());
    }
    assert_ne!(one.hash(), key(0xa6).hash());
}
