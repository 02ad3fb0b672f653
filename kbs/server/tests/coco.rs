//! CoCo's protocol as an independent client speaks it, and what only this side can be asked.

#[path = "support/bearers.rs"]
mod bearers;
#[path = "support/harness.rs"]
mod harness;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bearers::{admin, ed25519_admin, ed25519_token, sample_session, token};
use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::name::Name;
use hanzo_kbs::{CocoAdmin, CocoAlgorithm, CocoConfig, CocoRole, KbsConfig, StoreMode};
use hanzo_kbs_protocol::jwe::{Curve, JwePrivateKey};
use hanzo_kbs_protocol::{ATTEST_PATH, AUTH_PATH};
use hanzo_policy::{AppraisalPolicy, PrivacyTier};
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_simulated_tee::{DeviceSpec, LaunchSpec, SimulatedNvidia, SimulatedProcessor};
use hanzo_vault::{KeyPolicy, Wrap};
use harness::{Broker, CONFIG, Guest, IMAGE, http, policy, vectors};
use serde_json::{Value, json};

const ALL: [Wrap; 3] = [Wrap::Akp, Wrap::Classical, Wrap::Hpke];

/// For whoever shows anything at all, in every wrap.
fn anybody(tenant: &str) -> KeyPolicy {
    KeyPolicy {
        appraisal: AppraisalPolicy::closed(PrivacyTier::Open),
        max_uses: 1000,
        tenant: Name::new(tenant).unwrap(),
        wrap: ALL.to_vec(),
        ..policy()
    }
}

fn ml_dsa() -> SigningKey<MlDsa65> {
    SigningKey::from_seed(&[9; 32]).unwrap()
}

fn configure(config: &mut KbsConfig) {
    let dir = config.store.parent().unwrap().to_owned();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    config.simulator_gpu_roots = vec![write("gpu.der", SimulatedNvidia::for_tests().device_root_der())];
    config.coco = CocoConfig {
        sample_tee: true,
        resource_policy: Some(write("resource.json", &anybody("default").canonical().unwrap())),
        admins: vec![
            ed25519_admin("operator", 5, CocoRole::Operator, None),
            ed25519_admin("tenant", 7, CocoRole::TenantAdmin, Some("acme")),
            CocoAdmin {
                name: Name::new("quantum").unwrap(),
                role: CocoRole::Operator,
                tenant: None,
                algorithm: CocoAlgorithm::MlDsa65,
                public_key: hex::encode(ml_dsa().verifying_key().as_bytes()),
            },
        ],
    };
}

fn broker() -> Broker {
    Broker::start(StoreMode::Simulated, true, configure)
}

/// Answers questions about evidence, one line each, as CoCo's attesters write it.
fn evidence_helper() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let asked: Value = serde_json::from_str(&line).unwrap();
            let answer = match asked["gpu"].as_str() {
                Some(nonce) => gpu(&hex::decode(nonce).unwrap().try_into().unwrap()),
                None => snp(&asked),
            };
            writeln!(stream, "{answer}").unwrap();
        }
    });
    address
}

fn gpu(nonce: &[u8; 32]) -> Value {
    let device = SimulatedNvidia::for_tests()
        .device(DeviceSpec::hopper(1))
        .evidence(nonce);
    json!({"device_evidence_list": [
        {"arch": "HOPPER", "uuid": "GPU-1", "evidence": device.report, "certificate": device.certificates},
    ]})
}

fn snp(asked: &Value) -> Value {
    let bytes = |name: &str| hex::decode(asked[name].as_str().unwrap_or_default()).unwrap();
    let mut spec = LaunchSpec::new(IMAGE, CONFIG);
    if let Ok(host_data) = bytes("host_data").try_into() {
        spec.host_data = host_data;
    }
    let report_data = bytes("report_data").try_into().unwrap();
    let evidence = SimulatedProcessor::for_tests().launch(spec).evidence(&report_data);
    let mut chain = vec![json!({"cert_type": "VCEK", "data": evidence.vek.0})];
    if let Some(ask) = &evidence.ask {
        chain.push(json!({"cert_type": "ASK", "data": ask.0}));
    }
    json!({"attestation_report": STANDARD.encode(&evidence.report.0), "cert_chain": chain})
}

fn python() -> Option<&'static str> {
    let modules = "import requests, cryptography, jwcrypto";
    let found = ["/usr/bin/python3", "python3"].into_iter().find(|p| {
        Command::new(p)
            .args(["-c", modules])
            .output()
            .is_ok_and(|o| o.status.success())
    });
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "PYTHON MODULES MISSING (requests, cryptography, jwcrypto): the black box was not run"
        );
    }
    found
}

#[test]
fn an_independent_client_gets_every_route_algorithm_and_error() {
    let Some(python) = python() else { return };
    let broker = broker();
    let short_lived = Broker::start(StoreMode::Simulated, true, |c| {
        configure(c);
        c.session_ttl_s = 1;
    });
    let put = |name: &str, change: fn(&mut KeyPolicy)| {
        let mut policy = anybody("default");
        change(&mut policy);
        broker.put(&format!("default/key/{name}"), 1, &policy).unwrap();
    };
    put("tier2", |p| p.appraisal = policy().appraisal);
    put("tier3", |p| {
        p.appraisal = policy().appraisal;
        p.appraisal.minimum_tier = PrivacyTier::GpuCc;
        p.max_uses = 10;
    });
    put("postquantum", |p| p.wrap = vec![Wrap::Akp, Wrap::Hpke]);
    let output = Command::new(python)
        .arg("-B")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/blackbox"))
        .arg(format!("http://{}", broker.address))
        .arg(evidence_helper().to_string())
        .arg(format!("http://{}", short_lived.address))
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.lines().filter(|l| l.starts_with("ok")).count() >= 25, "{text}");
}

fn operator() -> String {
    ed25519_token("operator", 5, "operator")
}

const SECRET: &str = "/kbs/v0/resource/default/key/secret";

#[test]
fn ml_kem_clients_and_ml_dsa_admins_are_served() {
    let broker = broker();
    let quantum = token("ML-DSA-65", "quantum", "operator", |signed| {
        ml_dsa().sign(signed).unwrap()
    });
    assert_eq!(admin(broker.address, "POST", SECRET, &quantum, b"a secret").status, 200);
    let flipped = token("ML-DSA-65", "quantum", "operator", |signed| {
        let mut signature = ml_dsa().sign(signed).unwrap();
        signature[7] ^= 1;
        signature
    });
    let refused = admin(broker.address, "POST", SECRET, &flipped, b"x").error();
    assert_eq!(refused, (401, "kbs.bearer.signature".into()));
    // The algorithm is the pinned key's, whatever the token says.
    let other = token("EdDSA", "quantum", "operator", |signed| ml_dsa().sign(signed).unwrap());
    let refused = admin(broker.address, "POST", SECRET, &other, b"x").error();
    assert_eq!(refused, (401, "kbs.bearer.algorithm".into()));

    let key = JwePrivateKey::generate_akp().unwrap();
    let cookie = sample_session(broker.address, &key.public_value().unwrap());
    let reply = http(broker.address, "GET", SECRET, &cookie, b"");
    assert_eq!(key.decrypt(&reply.body).unwrap().as_slice(), b"a secret");
}

#[test]
fn our_own_guests_get_data_keys_and_no_other_resources() {
    let broker = broker();
    let at = broker.address;
    let put = |name: &str, secret: &[u8]| {
        let path = format!("/kbs/v0/resource/hanzo/key/{name}");
        assert_eq!(admin(at, "POST", &path, &operator(), secret).status, 200);
    };
    // The first version says under which policy the next ones are released.
    broker.put("hanzo/key/dek", 1, &policy()).unwrap();
    put("dek", &[7; 32]);
    put("text", b"shorter");
    let guest = Guest::new().attested(at);
    assert_eq!(
        guest.ask(at, "hanzo/key/text").error(),
        (403, "kbs.key.not_a_data_key".into())
    );
    let opened = guest
        .open(&guest.ask(at, "hanzo/key/dek").body, &broker, "hanzo/key/dek")
        .map(|o| *o.dek.expose());
    assert_eq!(opened.unwrap(), [7; 32]);
}

#[test]
fn a_resource_decision_is_in_the_audit_before_its_reply() {
    let mut broker = broker();
    let at = broker.address;
    assert_eq!(admin(at, "POST", SECRET, &operator(), b"x").status, 200);
    let key = JwePrivateKey::generate_ec(Curve::P256).unwrap();
    let cookie = sample_session(at, &key.public_value().unwrap());
    assert_eq!(http(at, "GET", SECRET, &cookie, b"").status, 200);
    assert_eq!(
        http(at, "GET", SECRET, &cookie, b"").error(),
        (403, "kbs.grant.repeated".into())
    );
    assert_eq!(admin(at, "DELETE", SECRET, &operator(), b"").status, 200);
    let audit = broker.audit();
    let lines: Vec<_> = audit
        .iter()
        .filter(|l| l["key_id"] == "default/key/secret")
        .map(|l| (l["action"].as_str().unwrap(), l["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        lines,
        [
            ("put-key", "ok"),
            ("grant", "ok"),
            ("refuse", "kbs.grant.repeated"),
            ("revoke", "ok")
        ]
    );
    let grant = audit.iter().find(|l| l["action"] == "grant").unwrap();
    assert_eq!((&grant["simulated"], &grant["tier"]), (&json!(true), &json!(0)));
    broker.restart().unwrap();
}

#[test]
fn the_sample_tee_is_let_in_by_an_explicit_switch_in_a_simulated_store_alone() {
    let auth = br#"{"version":"0.4.0","tee":"sample","extra-params":""}"#;
    let off = Broker::start(StoreMode::Simulated, true, |c| {
        configure(c);
        c.coco.sample_tee = false;
    });
    assert_eq!(
        http(off.address, "POST", AUTH_PATH, "", auth).error(),
        (400, "kbs.tee.sample".into())
    );
    let mut production = Broker::start(StoreMode::Production, true, |_| {});
    production.config.coco.sample_tee = true;
    let refused = production.restart().unwrap_err();
    assert!(refused.to_string().contains("coco.sample_tee"), "{refused}");
}

#[test]
fn captured_requests_of_the_stock_client_replay() {
    let Some(vectors) = vectors() else { return };
    let broker = broker();
    let read = |name: &str| std::fs::read(vectors.join(name)).unwrap();
    let post = |path: &str, cookie: &str, body: &[u8]| http(broker.address, "POST", path, cookie, body);
    let opened = post(AUTH_PATH, "", &read("rcar_0.4.0_auth.json"));
    assert_eq!(opened.status, 200);
    let cookie = opened.cookie.clone().unwrap();
    assert_eq!(
        post(AUTH_PATH, "", &read("old_auth_0.1.0.json")).error(),
        (401, "kbs.protocol.version".into())
    );
    // The captured body answers another broker's challenge: everything about it is right but that.
    let captured = read("rcar_0.4.0_attest_sample.json");
    assert_eq!(
        post(ATTEST_PATH, &cookie, &captured).error(),
        (403, "kbs.session.nonce".into())
    );
    // The same for this broker's challenge: refused with the captured evidence, taken with evidence made for it.
    let replay = |with_evidence: bool| {
        let opened = post(AUTH_PATH, "", &read("rcar_0.4.0_auth.json"));
        let mut body: Value = serde_json::from_slice(&captured).unwrap();
        body["runtime-data"]["nonce"] = opened.json()["nonce"].clone();
        if with_evidence {
            let runtime = RcarRuntime {
                additional_evidence: "",
                nonce: body["runtime-data"]["nonce"].as_str().unwrap(),
                tee_pubkey: &body["runtime-data"]["tee-pubkey"],
            };
            let digest = STANDARD.encode(runtime.digest().unwrap().as_bytes());
            body["tee-evidence"]["primary_evidence"]["report_data"] = json!(digest);
        }
        post(ATTEST_PATH, &opened.cookie.unwrap(), body.to_string().as_bytes())
    };
    assert_eq!(replay(false).error(), (403, "binding.sample".into()));
    assert_eq!(replay(true).status, 200);
    let cookie = post(AUTH_PATH, "", &read("rcar_0.4.0_auth.json")).cookie.unwrap();
    assert_eq!(
        post(ATTEST_PATH, &cookie, &read("old_attest.json")).error(),
        (400, "kbs.body.malformed".into())
    );
}

#[test]
fn a_guest_with_gpus_asks_with_all_of_them() {
    let broker = broker();
    let at = broker.address;
    let device = SimulatedNvidia::for_tests().device(DeviceSpec::hopper(3));
    let ask = |swapped: bool| {
        let mut guest = Guest::new();
        let reply = http(at, "POST", AUTH_PATH, "", &guest.session.auth_body());
        guest.cookie = reply.cookie.clone().unwrap();
        let launched = SimulatedProcessor::for_tests().launch(guest.spec.clone());
        let body = guest.session.attest_body_with_devices(
            &reply.body,
            |nonce| {
                let nonce = if swapped { [1; 32] } else { *nonce };
                Ok::<_, std::convert::Infallible>(vec![device.evidence(&nonce)])
            },
            |request| Ok(CpuEvidence::Snp(launched.evidence(request.report_data()))),
        );
        guest.attest = body.unwrap();
        guest.send_attest(at)
    };
    let token = ask(false);
    assert_eq!(token.status, 200, "{}", token.text());
    let claims = token.json()["token"]
        .as_str()
        .unwrap()
        .split('.')
        .nth(1)
        .unwrap()
        .to_owned();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert!(claims["submods"]["gpu0"].is_object(), "{claims}");
    assert_eq!(ask(true).error(), (403, "binding.rcar_device_nonce".into()));
}
