//! A tenant's resource policy and reference values: they narrow that tenant's releases, nobody else's, and never widen one.

#[path = "support/bearers.rs"]
mod bearers;
#[path = "support/harness.rs"]
mod harness;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bearers::{admin, ed25519_admin, ed25519_token, sample_asks};
use hanzo_attestation::Digest384;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_kbs::admin::{self as signed, AdminKey, Role};
use hanzo_kbs::{CocoConfig, CocoRole, StoreMode};
use hanzo_policy::{AllowList, AppraisalPolicy, PrivacyTier};
use hanzo_pqc::SignatureSuite;
use hanzo_pqc::sign::SigningKeys;
use hanzo_vault::{KeyPolicy, Wrap};
use harness::{Broker, Guest, Reply, block_on, policy, vectors};
use serde_json::{Value, json};

/// As Trustee's sample policies, in our own words.
const ALLOW_ALL: &str = "package policy\ndefault allow := true\n";
const AFFIRMING: &str = r#"package policy
import rego.v1
default allow := false
unsure if { some _, submod in input.submods; submod["ear.status"] != "affirming" }
allow if { count(input.submods) > 0; not unsure }
"#;
const NO_SAMPLES: &str = r#"package policy
import rego.v1
default allow := false
allow if {
    data.plugin == "resource"
    not input.submods.cpu0["ear.veraison.annotated-evidence"].sample
}
"#;
/// Of before Rego 1.0.
const BY_PATH: &str = r#"package policy
default allow = false
path := data["resource-path"]
allow { path[0] == "acme"; path[1] == "key" }
"#;

fn anybody(tenant: &str) -> KeyPolicy {
    KeyPolicy {
        appraisal: AppraisalPolicy::closed(PrivacyTier::Open),
        max_uses: 1000,
        tenant: Name::new(tenant).unwrap(),
        wrap: vec![Wrap::Classical, Wrap::Hpke],
        ..policy()
    }
}

fn configure(config: &mut hanzo_kbs::KbsConfig) {
    let path = config.store.parent().unwrap().join("resource.json");
    std::fs::write(&path, anybody("default").canonical().unwrap()).unwrap();
    config.coco = CocoConfig {
        sample_tee: true,
        resource_policy: Some(path),
        admins: vec![
            ed25519_admin("operator", 5, CocoRole::Operator, None),
            ed25519_admin("acme-admin", 7, CocoRole::TenantAdmin, Some("acme")),
        ],
    };
}

/// A broker with a resource of each of two tenants, and another of the first one.
fn broker(change: impl FnOnce(&mut hanzo_kbs::KbsConfig)) -> Broker {
    let broker = Broker::start(StoreMode::Simulated, true, |c| {
        configure(c);
        change(c);
    });
    for key in ["acme/key/a", "acme/other/a", "zeta/key/a"] {
        let path = format!("/kbs/v0/resource/{key}");
        assert_eq!(admin(broker.address, "POST", &path, &operator(), b"x").status, 200);
    }
    broker
}

fn operator() -> String {
    ed25519_token("operator", 5, "operator")
}

fn of_acme() -> String {
    ed25519_token("acme-admin", 7, "tenant-admin")
}

fn module(text: &str) -> Vec<u8> {
    let policy = URL_SAFE_NO_PAD.encode(text);
    json!({ "policy": policy }).to_string().into_bytes()
}

fn values(payload: &Value) -> Vec<u8> {
    let payload = STANDARD.encode(payload.to_string());
    let message = json!({"version": "0.1.0", "type": "sample", "payload": payload});
    message.to_string().into_bytes()
}

const POLICY: &str = "/kbs/v0/resource-policy";
const VALUES: &str = "/kbs/v0/reference-value";

fn put_module(broker: &Broker, text: &str) -> Reply {
    admin(broker.address, "POST", POLICY, &of_acme(), &module(text))
}

fn put_values(broker: &Broker, payload: &Value) -> Reply {
    admin(broker.address, "POST", VALUES, &of_acme(), &values(payload))
}

fn asks(broker: &Broker) -> [String; 3] {
    ["acme/key/a", "acme/other/a", "zeta/key/a"].map(|key| sample_asks(broker.address, key))
}

#[test]
fn policies_written_for_coco_narrow_one_tenant_and_no_other() {
    let mut broker = broker(|_| {});
    let no = "kbs.tenant_policy";
    assert_eq!(asks(&broker), ["ok", "ok", "ok"]);
    for (text, expected) in [
        (ALLOW_ALL, ["ok", "ok", "ok"]),
        (AFFIRMING, [no, no, "ok"]),
        (NO_SAMPLES, [no, no, "ok"]),
        (BY_PATH, ["ok", no, "ok"]),
    ] {
        assert_eq!(put_module(&broker, text).status, 200, "{text}");
        assert_eq!(asks(&broker), expected, "{text}");
    }
    // What Trustee's `GET` is for: the very text that decides.
    let shown = admin(broker.address, "GET", POLICY, &of_acme(), b"");
    let expected = json!({"policy": URL_SAFE_NO_PAD.encode(BY_PATH), "tenant": "acme", "version": 4});
    assert_eq!((shown.status, shown.json()), (200, expected));
    // A restart replays the chain against the tables and decides the same.
    broker.restart().unwrap();
    assert_eq!(asks(&broker), ["ok", no, "ok"]);
    let audit = broker.audit();
    let lines: Vec<_> = audit.iter().filter(|l| l["action"] == "set-resource-policy").collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3]["key_id"], "acme/coco/resource-policy");
    assert_eq!(lines[3]["key_version"], 4);
    assert_eq!(lines[3]["policy"], Digest384::of(BY_PATH.as_bytes()).to_string());
    let refused = audit.iter().find(|l| l["code"] == no).unwrap();
    assert_eq!(refused["failed"], json!([no, "rego.denied"]));
}

#[test]
fn a_module_never_widens_what_a_key_asks_for() {
    let broker = broker(|_| {});
    let at = broker.address;
    let mut closed = anybody("acme");
    closed.rego = Some("package policy\ndefault allow := false\n".into());
    broker.put("acme/key/closed", 1, &closed).unwrap();
    let mut tier2 = anybody("acme");
    tier2.appraisal = policy().appraisal;
    broker.put("acme/key/tier2", 1, &tier2).unwrap();
    assert_eq!(put_module(&broker, ALLOW_ALL).status, 200);
    assert_eq!(sample_asks(at, "acme/key/closed"), "rego.denied");
    assert_eq!(sample_asks(at, "acme/key/tier2"), "kbs.sample");
    // Our own guests' keys are under it as well: a simulated guest shows that it is one.
    let guest = |key: &str| Guest::new().attested(at).ask(at, key);
    assert_eq!(guest("acme/key/tier2").status, 200);
    assert_eq!(put_module(&broker, NO_SAMPLES).status, 200);
    assert_eq!(guest("acme/key/tier2").error(), (403, "kbs.tenant_policy".into()));
}

#[test]
fn a_module_that_fails_allows_nothing_and_a_text_that_is_none_changes_nothing() {
    let broker = broker(|_| {});
    assert_eq!(put_module(&broker, ALLOW_ALL).status, 200);
    for (text, code) in [
        ("package policy\nallow := ", "rego.syntax"),
        ("package other\nallow := true", "rego.package"),
        ("package policy\nallowed := true", "rego.no_rule"),
        ("", "rego.length"),
        (
            "package policy\nallow if count(numbers.range(1, 9)) > 1",
            "rego.function",
        ),
    ] {
        assert_eq!(put_module(&broker, text).error(), (400, code.into()), "{text}");
    }
    let post = |body: &[u8]| admin(broker.address, "POST", POLICY, &of_acme(), body).error();
    for body in [
        &b"{"[..],
        br#"{"policy":1}"#,
        br#"{"policy":"AA==","more":1}"#,
        br#"{"policy":"AA=="}"#,
        br#"{"policy":"_w"}"#,
    ] {
        assert_eq!(post(body), (400, "kbs.body.malformed".into()));
    }
    assert_eq!(post(&vec![b' '; (1 << 20) + 2]), (413, "kbs.body.too_large".into()));
    assert_eq!(asks(&broker), ["ok", "ok", "ok"]);
    // No answer, an error and too many steps are no.
    for text in [
        "package policy\nallow if input.nothing",
        "package policy\nallow := 1 / 0 == 1",
        "package policy\nallow := 1",
    ] {
        assert_eq!(put_module(&broker, text).status, 200);
        assert_eq!(sample_asks(broker.address, "acme/key/a"), "kbs.tenant_policy", "{text}");
    }
}

#[test]
fn reference_values_are_seen_by_the_tenants_module_and_by_nothing_else() {
    let broker = broker(|_| {});
    let at = broker.address;
    let looks = r#"package policy
import rego.v1
default allow := false
allow if "1" in data.reference.svn
"#;
    let asks_for = r#"package policy
import rego.v1
default allow := false
allow if { query_reference_value("svn") == ["1"]; query_reference_value("none") == null }
"#;
    // A key's own module sees none, whoever put them.
    let mut own = anybody("acme");
    own.rego = Some(looks.into());
    broker.put("acme/key/own", 1, &own).unwrap();
    for text in [looks, asks_for] {
        assert_eq!(put_module(&broker, text).status, 200);
        assert_eq!(put_values(&broker, &json!({"svn": ["2"]})).status, 200);
        assert_eq!(sample_asks(at, "acme/key/a"), "kbs.tenant_policy");
        assert_eq!(put_values(&broker, &json!({"svn": ["1"], "more": 3})).status, 200);
        assert_eq!(sample_asks(at, "acme/key/a"), "ok");
        assert_eq!(sample_asks(at, "acme/key/own"), "rego.denied");
    }
    // Another tenant's module sees its own, which are none.
    let path = format!("{POLICY}?tenant=zeta");
    assert_eq!(admin(at, "POST", &path, &operator(), &module(looks)).status, 200);
    assert_eq!(sample_asks(at, "zeta/key/a"), "kbs.tenant_policy");
    // Values that a message does not name stay.
    assert_eq!(put_values(&broker, &json!({"svn": ["1", "3"]})).status, 200);
    let shown = |path: &str| admin(at, "GET", path, &of_acme(), b"");
    assert_eq!(shown(VALUES).json(), json!({"more": 3, "svn": ["1", "3"]}));
    assert_eq!(shown(&format!("{VALUES}/svn")).json(), json!(["1", "3"]));
    assert_eq!(
        shown(&format!("{VALUES}/none")).error(),
        (404, "kbs.document.unknown".into())
    );
    let of_zeta = admin(at, "GET", &format!("{VALUES}?tenant=zeta"), &operator(), b"");
    assert_eq!(of_zeta.json(), json!({}));
}

#[test]
fn messages_of_another_kind_are_refused_by_name() {
    let broker = broker(|_| {});
    let send = |message: Value| {
        let body = message.to_string().into_bytes();
        admin(broker.address, "POST", VALUES, &of_acme(), &body)
    };
    let payload = STANDARD.encode(r#"{"svn":["1"]}"#);
    let with = |name: &str, value: Value| {
        let mut message = json!({"version": "0.1.0", "type": "sample", "payload": payload});
        message[name] = value;
        send(message)
    };
    assert_eq!(with("type", json!("sample")).status, 200);
    let old = with("version", json!("0.2.0"));
    assert!(old.text().contains("got 0.2.0"), "{}", old.text());
    assert_eq!(old.error(), (400, "kbs.reference.version".into()));
    let other = with("type", json!("in-toto"));
    assert!(other.text().contains("got in-toto"), "{}", other.text());
    assert_eq!(other.error(), (400, "kbs.reference.type".into()));
    for (name, value, code) in [
        ("payload", json!("%"), "kbs.body.malformed"),
        ("payload", json!(STANDARD.encode("[]")), "kbs.reference.value"),
        (
            "payload",
            json!(STANDARD.encode(r#"{"a":{"b":1}}"#)),
            "kbs.reference.value",
        ),
        (
            "payload",
            json!(STANDARD.encode(r#"{"a":1,"a":2}"#)),
            "kbs.reference.value",
        ),
        ("more", json!(1), "kbs.body.malformed"),
    ] {
        assert_eq!(with(name, value).error(), (400, code.into()), "{name}");
    }
}

#[test]
fn a_request_is_about_one_tenant() {
    let broker = broker(|_| {});
    let at = broker.address;
    let allow = module(ALLOW_ALL);
    let refused = |token: &str, query: &str| {
        let path = format!("{POLICY}{query}");
        admin(at, "POST", &path, token, &allow).error()
    };
    // Who has several names one; who has one needs not, and has no other.
    assert_eq!(refused(&operator(), ""), (400, "kbs.tenant.unnamed".into()));
    assert_eq!(refused(&of_acme(), "?tenant=zeta"), (403, "kbs.bearer.tenant".into()));
    assert_eq!(refused(&of_acme(), "?tenant=Acme"), (400, "kbs.tenant.name".into()));
    assert_eq!(refused(&of_acme(), "?tenants=acme"), (400, "kbs.query".into()));
    assert_eq!(
        refused(&of_acme(), "?tenant=acme&tenant=zeta"),
        (400, "kbs.query".into())
    );
    assert_eq!(refused("x", ""), (401, "kbs.bearer.malformed".into()));
    for (token, query) in [
        (of_acme(), ""),
        (of_acme(), "?tenant=acme"),
        (operator(), "?tenant=zeta"),
    ] {
        let path = format!("{POLICY}{query}");
        assert_eq!(admin(at, "POST", &path, &token, &allow).status, 200, "{query}");
    }
    // There is no policy over several tenants, and none that affirms what the appraisal does not.
    let affirm = json!({"type": "rego", "policy_id": "default_cpu", "policy": "cA"}).to_string();
    let path = "/kbs/v0/attestation-policy";
    let reply = admin(at, "POST", path, &operator(), affirm.as_bytes());
    assert!(reply.text().contains("member `appraisal`"), "{}", reply.text());
    assert_eq!(reply.error(), (501, "kbs.policy.global".into()));
}

/// A signing admin with tenant `acme`, and how the configuration names it.
fn person(name: &str) -> (SigningKeys, AdminKey) {
    let keys = SigningKeys::generate(SignatureSuite::MlDsa65Ed25519).unwrap();
    let public = keys.verifying_keys();
    let pinned = AdminKey {
        name: Name::new(name).unwrap(),
        roles: vec![Role::TenantAdmin],
        tenants: AllowList::Listed(vec![Name::new("acme").unwrap()]),
        suite: public.suite().name().to_owned(),
        ml_dsa: public.ml_dsa_hex(),
        ed25519: public.ed25519_hex(),
    };
    (keys, pinned)
}

#[test]
fn what_may_widen_waits_for_a_second_admin() {
    let (bob, pinned_bob) = person("bob");
    let (_, pinned_eve) = person("eve");
    let mut broker = broker(|c| {
        c.admin_keys = vec![pinned_bob.clone(), pinned_eve];
        c.four_eyes = true;
    });
    let at = broker.address;
    let id = broker.made.identity.clone();
    let approve = |proposal: &Digest384| {
        block_on(signed::approve(at, &id, &bob, *proposal))
            .map(drop)
            .map_err(|e| e.code().to_owned())
    };
    // Values that nothing looks at, and a first module, which only refuses, count at once.
    assert_eq!(put_values(&broker, &json!({"svn": ["1"]})).status, 200);
    assert_eq!(put_module(&broker, NO_SAMPLES).status, 200);
    assert_eq!(asks(&broker)[0], "kbs.tenant_policy");
    // The same text again changes nothing.
    assert_eq!(put_module(&broker, NO_SAMPLES).status, 200);
    // Another text may widen: it waits.
    let waits = |reply: Reply| {
        let text = reply.text();
        assert_eq!(reply.error(), (202, "kbs.proposal.waits".into()), "{text}");
        let hex = text.split("proposal ").nth(1).unwrap().get(..96).unwrap().to_owned();
        Digest384::from_hex(&hex).unwrap()
    };
    let wider = waits(put_module(&broker, ALLOW_ALL));
    let values = waits(put_values(&broker, &json!({"svn": ["2"]})));
    assert_eq!(asks(&broker)[0], "kbs.tenant_policy");
    let pending = block_on(signed::pending(at, &id, &bob)).unwrap().proposals;
    let named: Vec<_> = pending
        .iter()
        .map(|p| (p.action.as_str(), p.key_id.as_ref().unwrap().to_string()))
        .collect();
    assert!(named.contains(&("set-resource-policy", "acme/coco/resource-policy".into())));
    assert!(named.contains(&("set-reference-values", "acme/coco/reference-values".into())));
    assert_eq!(approve(&wider), Ok(()));
    assert_eq!(approve(&wider), Err("kbs.proposal.done".into()));
    assert_eq!(asks(&broker)[0], "ok");
    assert_eq!(approve(&values), Ok(()));
    let shown = admin(at, "GET", VALUES, &of_acme(), b"").json();
    assert_eq!(shown, json!({"svn": ["2"]}));
    // What it was compared with is gone.
    let old = waits(put_module(&broker, BY_PATH));
    let other = waits(put_module(&broker, AFFIRMING));
    assert_eq!(approve(&other), Ok(()));
    assert_eq!(approve(&old), Err("kbs.proposal.outdated".into()));
    // Signed requests change the same documents, under the same rule.
    let name = KeyId::new("acme/coco/resource-policy").unwrap();
    let set = |version| block_on(signed::set_document(at, &id, &bob, &name, version, ALLOW_ALL));
    assert_eq!(set(4).unwrap_err().code(), "kbs.admin.version");
    assert!(set(5).unwrap().proposal.is_some());
    // Lines and tables still agree.
    broker.restart().unwrap();
    // Whoever proposed it may not do so any more.
    let late = waits(put_module(&broker, ALLOW_ALL));
    broker.config.coco.admins.pop();
    broker.restart().unwrap();
    let at = broker.address;
    let refused = block_on(signed::approve(at, &broker.made.identity, &bob, late)).unwrap_err();
    assert_eq!(refused.code(), "kbs.proposal.proposer");
    // One key in both lists would be two pairs of eyes in one head.
    broker.config.coco.admins[0].public_key = pinned_bob.ed25519;
    let path = broker.dir.path().join("shared.toml");
    std::fs::write(&path, toml::to_string(&broker.config).unwrap()).unwrap();
    let refused = hanzo_kbs::KbsConfig::load(&path).unwrap_err().to_string();
    assert!(refused.contains("coco.admins[0]: public_key"), "{refused}");
}

#[test]
fn the_captured_reference_value_request_is_answered_200() {
    let Some(vectors) = vectors() else { return };
    let broker = broker(|_| {});
    let body = std::fs::read(vectors.join("rcar_0.4.0_reference-value.json")).unwrap();
    let reply = admin(broker.address, "POST", VALUES, &of_acme(), &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let shown = admin(broker.address, "GET", &format!("{VALUES}/svn"), &of_acme(), b"");
    assert_eq!(shown.json(), json!(["1"]));
    let unnamed = admin(broker.address, "POST", VALUES, &operator(), &body);
    assert_eq!(unnamed.error(), (400, "kbs.tenant.unnamed".into()));
}
