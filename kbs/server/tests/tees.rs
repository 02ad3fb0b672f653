//! Every kind of evidence over the wire, in CoCo's own JSON: accepted beside its nearest refused neighbour.

#[path = "support/bearers.rs"]
mod bearers;
#[path = "support/harness.rs"]
mod harness;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bearers::{admin, ed25519_admin, ed25519_token};
use hanzo_attestation::Digest256;
use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::bundle::{CpuEvidence, SnpEvidence, TpmQuote};
use hanzo_attestation::name::Name;
use hanzo_kbs::{CocoConfig, CocoRole, KbsConfig, StoreMode};
use hanzo_kbs_protocol::jwe::{Curve, JwePrivateKey};
use hanzo_kbs_protocol::{ATTEST_PATH, AUTH_PATH};
use hanzo_policy::{AppraisalPolicy, PcrValues, PrivacyTier, RevocationPolicy, TpmPolicy, TpmReference};
use hanzo_simulated_tee::{
    AkKind, CollateralSpec, LaunchSpec, QuoteFormat, SimulatedProcessor, SimulatedTdx, SimulatedTpm, TdSpec, TpmSpec,
};
use hanzo_vault::{KeyPolicy, Wrap};
use harness::{Broker, CONFIG, IMAGE, Reply, http, now, policy, vectors};
use serde_json::{Map, Value, json};

/// The vTPM of Azure's guests.
static VTPM: LazyLock<SimulatedTpm> = LazyLock::new(|| {
    let mut spec = TpmSpec::new("vtpm");
    spec.ak = AkKind::Rsa2048;
    SimulatedTpm::from_seed(b"tests of every tee, seed number1", &spec).unwrap()
});
static TDX: LazyLock<SimulatedTdx> = LazyLock::new(SimulatedTdx::for_tests);

const INIT: &str = "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"aa.toml\" = \"x\"\n";
const INIT_384: &str = "version = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n\"aa.toml\" = \"x\"\n";

/// A cache as `hanzo-verify fetch` keeps one.
fn cache(dir: &Path, items: &[(String, Vec<u8>)]) {
    std::fs::create_dir_all(dir.join("objects")).unwrap();
    let mut index = Map::new();
    for (name, bytes) in items {
        let digest = Digest256::of(bytes).to_string();
        std::fs::write(dir.join("objects").join(&digest), bytes).unwrap();
        index.insert(name.clone(), json!(digest));
    }
    // Another file with the old one's name: a change that is noticed.
    let index = json!({"version": 1, "items": index}).to_string();
    std::fs::write(dir.join("next"), index).unwrap();
    std::fs::rename(dir.join("next"), dir.join("index.json")).unwrap();
}

/// What AMD's service would call the VCEK of this report.
fn vcek_name(report: &[u8]) -> String {
    let (chip, tcb) = (hex::encode(&report[0x1a0..0x1e0]), hex::encode(&report[0x180..0x188]));
    format!("vcek/Genoa/{chip}/{tcb}")
}

fn common_items() -> Vec<(String, Vec<u8>)> {
    let collateral = TDX.collateral(&CollateralSpec::new(now()));
    vec![
        (
            "tdx/simulated/platform".into(),
            serde_json::to_vec(&collateral).unwrap(),
        ),
        ("ask/Genoa".into(), SimulatedProcessor::for_tests().ask_der().to_vec()),
    ]
}

fn broker(change: impl FnOnce(&mut KbsConfig, &Path)) -> Broker {
    let broker = Broker::start(StoreMode::Simulated, true, |config| {
        let dir = config.store.parent().unwrap().to_owned();
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(dir.join(name), bytes).unwrap();
            dir.join(name)
        };
        cache(&dir.join("cache"), &common_items());
        config.collateral_dir = Some(dir.join("cache"));
        config.simulator_tdx_roots = vec![write("tdx.der", TDX.root_der())];
        let anybody = KeyPolicy {
            appraisal: AppraisalPolicy::closed(PrivacyTier::Open),
            max_uses: 1000,
            wrap: vec![Wrap::Classical],
            ..policy()
        };
        config.coco = CocoConfig {
            resource_policy: Some(write("resource.json", &anybody.canonical().unwrap())),
            admins: vec![ed25519_admin("operator", 5, CocoRole::Operator, None)],
            ..CocoConfig::default()
        };
        change(config, &dir);
    });
    let operator = ed25519_token("operator", 5, "operator");
    let put = admin(
        broker.address,
        "POST",
        "/kbs/v0/resource/hanzo/key/any",
        &operator,
        b"for all",
    );
    assert_eq!(put.status, 200, "{}", put.text());
    broker
}

/// One exchange: `evidence` answers the digest that RCAR asks it to sign.
fn exchange(
    at: SocketAddr,
    tee: &str,
    init: Option<&str>,
    evidence: impl FnOnce(&[u8; 48]) -> Value,
) -> (Reply, JwePrivateKey, String) {
    let auth = json!({"version": "0.4.0", "tee": tee, "extra-params": ""}).to_string();
    let opened = http(at, "POST", AUTH_PATH, "", auth.as_bytes());
    assert_eq!(opened.status, 200, "{}", opened.text());
    let nonce = opened.json()["nonce"].as_str().unwrap().to_owned();
    let key = JwePrivateKey::generate_ec(Curve::P256).unwrap();
    let tee_pubkey = key.public_value().unwrap();
    let runtime = RcarRuntime {
        additional_evidence: "",
        nonce: &nonce,
        tee_pubkey: &tee_pubkey,
    };
    let signed = runtime.digest().unwrap();
    let body = json!({
        "init-data": init.map(|text| json!({"format": "toml", "body": text})),
        "runtime-data": {"nonce": nonce, "tee-pubkey": tee_pubkey},
        "tee-evidence": {"primary_evidence": evidence(&signed.0), "additional_evidence": ""},
    });
    let cookie = opened.cookie.unwrap();
    let reply = http(at, "POST", ATTEST_PATH, &cookie, body.to_string().as_bytes());
    (reply, key, cookie)
}

/// "ok" if the guest attested and opened a secret; else the code.
fn verdict(at: SocketAddr, tee: &str, init: Option<&str>, evidence: impl FnOnce(&[u8; 48]) -> Value) -> String {
    let (reply, key, cookie) = exchange(at, tee, init, evidence);
    if reply.status != 200 {
        return reply.error().1;
    }
    let got = http(at, "GET", "/kbs/v0/resource/hanzo/key/any", &cookie, b"");
    match got.status {
        200 => assert_eq!(key.decrypt(&got.body).unwrap().as_slice(), b"for all"),
        _ => return format!("released: {}", got.error().1),
    }
    "ok".into()
}

fn padded(signed: &[u8; 48]) -> [u8; 64] {
    let mut out = [0; 64];
    out[..48].copy_from_slice(signed);
    out
}

fn sha256(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap()
}

fn snp(signed: &[u8; 48], host_data: [u8; 32]) -> SnpEvidence {
    let mut spec = LaunchSpec::new(IMAGE, CONFIG);
    spec.host_data = host_data;
    SimulatedProcessor::for_tests().launch(spec).evidence(&padded(signed))
}

fn snp_json(evidence: &SnpEvidence) -> Value {
    let chain = json!([{"cert_type": "VCEK", "data": evidence.vek.0}]);
    json!({"attestation_report": STANDARD.encode(&evidence.report.0), "cert_chain": chain})
}

fn tdx_json(signed: &[u8; 48], mr_config_id: [u8; 48]) -> Value {
    let td = TdSpec {
        mr_config_id,
        ..TdSpec::new(QuoteFormat::V4)
    };
    json!({"cc_eventlog": null, "quote": STANDARD.encode(TDX.quote(&td, &padded(signed)))})
}

fn hex_quote(quote: &TpmQuote) -> Value {
    let pcrs: Vec<_> = quote.pcrs.iter().map(|p| p.value.to_string()).collect();
    json!({"message": hex::encode(&quote.message.0), "pcrs": pcrs, "signature": hex::encode(&quote.signature.0)})
}

fn az_snp_json(tpm: &SimulatedTpm, signed: &[u8; 48]) -> Value {
    let guest = SimulatedProcessor::for_tests().launch(LaunchSpec::new(IMAGE, CONFIG));
    let az = tpm.az_snp(&guest, signed);
    json!({
        "version": 2, "tpm_quote": hex_quote(&az.quote), "hcl_report": URL_SAFE.encode(&az.hcl_report.0),
        "vcek": URL_SAFE.encode(&az.vek.0),
    })
}

fn az_tdx_json(tpm: &SimulatedTpm, signed: &[u8; 48]) -> Value {
    let collateral = CollateralSpec::new(now());
    let quote = |report_data: &[u8; 64]| TDX.evidence(&TdSpec::new(QuoteFormat::V4), report_data, &collateral);
    let az = tpm.az_tdx(quote, signed);
    json!({
        "version": 2, "tpm_quote": hex_quote(&az.quote), "hcl_report": URL_SAFE.encode(&az.hcl_report.0),
        "td_quote": URL_SAFE.encode(&az.td.quote.0),
    })
}

fn tpm_json(tpm: &SimulatedTpm, signed: &[u8]) -> Value {
    let evidence = tpm.evidence(signed);
    let pcrs: Vec<_> = evidence.quote.pcrs.iter().map(|p| p.value.to_string()).collect();
    json!({
        "ak_public": STANDARD.encode(&evidence.ak_public.0),
        "tpm_quote": {
            "message": STANDARD.encode(&evidence.quote.message.0), "pcrs": pcrs,
            "signature": STANDARD.encode(&evidence.quote.signature.0),
        },
    })
}

fn rsa_tpm(name: &str) -> SimulatedTpm {
    let mut spec = TpmSpec::new(name);
    spec.ak = AkKind::Rsa2048;
    SimulatedTpm::from_seed(b"tests of every tee, seed number1", &spec).unwrap()
}

const OTHER: [u8; 48] = [0xee; 48];

#[test]
fn every_tee_attests_and_evidence_for_another_session_does_not() {
    let broker = broker(|config, _| config.tpm_keys = vec![Digest256::of(&SimulatedTpm::for_tests().ak_public())]);
    let at = broker.address;
    let run = |tee: &str, make: &dyn Fn(&[u8; 48]) -> Value| {
        (verdict(at, tee, None, make), verdict(at, tee, None, |_| make(&OTHER)))
    };
    let report_data = "binding.rcar_report_data";
    let expected = |refused: &str| ("ok".to_owned(), refused.to_owned());
    assert_eq!(run("snp", &|d| snp_json(&snp(d, [0; 32]))), expected(report_data));
    assert_eq!(run("tdx", &|d| tdx_json(d, [0; 48])), expected(report_data));
    let qualifying = "binding.rcar_qualifying_data";
    let tpm = SimulatedTpm::for_tests();
    assert_eq!(run("tpm", &|d| tpm_json(&tpm, d)), expected(qualifying));
    assert_eq!(run("az-snp-vtpm", &|d| az_snp_json(&VTPM, d)), expected(qualifying));
    assert_eq!(run("az-tdx-vtpm", &|d| az_tdx_json(&VTPM, d)), expected(qualifying));
    // Of another kind than the session was opened for.
    let mixed = verdict(at, "tdx", None, |d| snp_json(&snp(d, [0; 32])));
    assert_eq!(mixed, "kbs.session.tee");
    // The paravisor repeats what the vTPM signed, or it is not Azure's version 2.
    let (ours, other) = (rsa_tpm("vtpm"), OTHER);
    let mixed = verdict(at, "az-snp-vtpm", None, |d| {
        let mut json = az_snp_json(&ours, &other);
        json["tpm_quote"] = az_snp_json(&ours, d)["tpm_quote"].clone();
        json
    });
    assert_eq!(mixed, "binding.user_data");
}

#[test]
fn init_data_is_what_each_machine_was_started_with() {
    let broker = broker(|config, _| config.tpm_keys = vec![Digest256::of(&SimulatedTpm::for_tests().ak_public())]);
    let at = broker.address;
    let refused = "binding.init_data";
    let (host_data, other) = (
        sha256(INIT),
        "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"aa.toml\" = \"y\"\n",
    );
    let on_snp = |init: &str, held: [u8; 32]| verdict(at, "snp", Some(init), |d| snp_json(&snp(d, held)));
    assert_eq!(on_snp(INIT, host_data), "ok");
    assert_eq!(on_snp(other, host_data), refused);
    assert_eq!(on_snp(INIT, [0; 32]), refused);

    // 48 bytes of MRCONFIGID: SHA-384 as it is, SHA-256 filled up with zeros, and nothing that only begins like it.
    let sha384: [u8; 48] = digest(&SHA384, INIT_384.as_bytes()).as_ref().try_into().unwrap();
    let mut filled = [0; 48];
    filled[..32].copy_from_slice(&host_data);
    let on_tdx = |init: &str, held: [u8; 48]| verdict(at, "tdx", Some(init), |d| tdx_json(d, held));
    assert_eq!(on_tdx(INIT_384, sha384), "ok");
    assert_eq!(on_tdx(INIT, filled), "ok");
    assert_eq!(on_tdx(INIT_384, filled), refused);
    filled[47] = 1;
    assert_eq!(on_tdx(INIT, filled), refused);

    // PCR 8, extended once with the digest and with nothing else.
    let plain = |extended: u8| {
        let mut tpm = SimulatedTpm::for_tests();
        (0..extended).for_each(|_| tpm.extend(8, &host_data));
        tpm
    };
    let on_tpm = |init: &str, tpm: &SimulatedTpm| verdict(at, "tpm", Some(init), |d| tpm_json(tpm, d));
    assert_eq!(on_tpm(INIT, &plain(1)), "ok");
    assert_eq!(on_tpm(other, &plain(1)), refused);
    assert_eq!(on_tpm(INIT, &plain(0)), refused);
    assert_eq!(on_tpm(INIT, &plain(2)), refused);
    let mut started = rsa_tpm("vtpm");
    started.extend(8, &host_data);
    for (tee, make) in [
        ("az-snp-vtpm", az_snp_json as fn(&SimulatedTpm, &[u8; 48]) -> Value),
        ("az-tdx-vtpm", az_tdx_json),
    ] {
        assert_eq!(verdict(at, tee, Some(INIT), |d| make(&started, d)), "ok", "{tee}");
        assert_eq!(verdict(at, tee, Some(other), |d| make(&started, d)), refused, "{tee}");
        assert_eq!(verdict(at, tee, Some(INIT), |d| make(&VTPM, d)), refused, "{tee}");
    }
}

#[test]
fn a_report_without_certificates_is_completed_from_the_cache() {
    let broker = broker(|_, _| {});
    let at = broker.address;
    let bare = |chain: Value| move |d: &[u8; 48]| json!({"attestation_report": STANDARD.encode(&snp(d, [0; 32]).report.0), "cert_chain": chain});
    // What to put where is in the text.
    let (reply, ..) = exchange(at, "snp", None, bare(Value::Null));
    let evidence = snp(&OTHER, [0; 32]);
    let name = vcek_name(&evidence.report.0);
    assert!(
        reply.text().contains(&name) && reply.text().contains("collateral_dir"),
        "{}",
        reply.text()
    );
    assert_eq!(reply.error(), (400, "kbs.snp.no_vcek".into()));
    assert_eq!(verdict(at, "snp", None, bare(json!([]))), "kbs.snp.no_vcek");
    // Once it is in the cache, the same guest is served, without a restart.
    let dir = broker.config.collateral_dir.clone().unwrap();
    let with = |name: &str, vcek: &[u8]| {
        let mut items = common_items();
        items.push((name.to_owned(), vcek.to_vec()));
        cache(&dir, &items);
    };
    with(&name, &evidence.vek.0);
    for chain in [Value::Null, json!([])] {
        assert_eq!(verdict(at, "snp", None, bare(chain)), "ok");
    }
    // The cache is believed no more than a guest: another chip's certificate under this name endorses nothing.
    with(&name, SimulatedProcessor::for_tests().ask_der());
    let refused = verdict(at, "snp", None, bare(Value::Null));
    assert!(refused.starts_with("snp."), "{refused}");
    // Nor is another name looked at.
    with("vcek/Genoa/00/00", &evidence.vek.0);
    assert_eq!(verdict(at, "snp", None, bare(Value::Null)), "kbs.snp.no_vcek");
    // A hidden chip has no name.
    let hidden = |d: &[u8; 48]| {
        let guest = SimulatedProcessor::for_tests().launch(LaunchSpec::new(IMAGE, CONFIG));
        let report = guest
            .evidence_edited(&padded(d), |report| report[0x1a0..0x1e0].fill(0))
            .report;
        json!({"attestation_report": STANDARD.encode(&report.0), "cert_chain": null})
    };
    let (reply, ..) = exchange(at, "snp", None, hidden);
    assert!(reply.text().contains("MASK_CHIP_ID"), "{}", reply.text());
    assert_eq!(reply.error(), (400, "kbs.snp.no_vcek".into()));
}

/// Recorded evidence answers a challenge of long ago: genuine, and refused for that alone.
#[test]
fn recorded_evidence_of_real_machines_is_genuine_and_answers_nobody_here() {
    let Some(vectors) = vectors().and_then(Path::parent) else {
        return;
    };
    let read = |name: &str| -> Value { serde_json::from_slice(&std::fs::read(vectors.join(name)).unwrap()).unwrap() };
    let pinned = read("az-vtpm/tpm_evidence.json");
    let ak = STANDARD.decode(pinned["ak_public"].as_str().unwrap()).unwrap();
    let broker = broker(|config, dir| {
        config.tpm_keys = vec![Digest256::of(&ak)];
        // The simulator's ASK is no product's but its own; the real ones are built in.
        cache(&dir.join("cache"), &common_items()[..1]);
    });
    let at = broker.address;
    let (report_data, qualifying) = ("binding.rcar_report_data", "binding.rcar_qualifying_data");
    for (tee, name, code) in [
        ("snp", "snp/trustee_evidence_v3_genoa.json", report_data),
        ("tpm", "az-vtpm/tpm_evidence.json", qualifying),
        ("az-snp-vtpm", "az-vtpm/az-snp-vtpm_evidence-genoa.json", qualifying),
        ("az-snp-vtpm", "az-vtpm/az-snp-vtpm_evidence-v0.json", qualifying),
        ("az-snp-vtpm", "az-vtpm/az-snp-vtpm_evidence-v2.json", qualifying),
        // No collateral of these platforms is of today.
        (
            "az-tdx-vtpm",
            "az-vtpm/az-tdx-vtpm_evidence-v1.json",
            "tdx.collateral.missing",
        ),
    ] {
        assert_eq!(verdict(at, tee, None, |_| read(name)), code, "{name}");
    }
    let quote = std::fs::read(vectors.join("tdx/v4_gcp_cos113_google.dat")).unwrap();
    let of_tdx = json!({"cc_eventlog": null, "quote": STANDARD.encode(quote)});
    assert_eq!(verdict(at, "tdx", None, |_| of_tdx), "tdx.collateral.missing");
    // One bit of the report, and it is not genuine any more.
    let mut changed = read("snp/trustee_evidence_v3_genoa.json");
    let byte = &mut changed["attestation_report"]["measurement"][0];
    *byte = json!(byte.as_u64().unwrap() ^ 1);
    assert_eq!(verdict(at, "snp", None, |_| changed), "snp.signature.invalid");
}

/// Asks for tier 1 with the registers of `tpm`.
fn tier_1(tpm: &SimulatedTpm, revocation: RevocationPolicy) -> AppraisalPolicy {
    let quoted = tpm.evidence(&[]).quote.pcrs.into_iter().filter(|pcr| pcr.index <= 9);
    let reference = TpmReference {
        name: Name::new("image").unwrap(),
        config_digest: CONFIG,
        pcrs: PcrValues(quoted.map(|pcr| (pcr.index, pcr.value)).collect()),
        pcrs_sha384: PcrValues::none(),
    };
    AppraisalPolicy {
        revocation,
        ..AppraisalPolicy::closed(PrivacyTier::AtRest).with_tpm(TpmPolicy::any_pinned(vec![reference]))
    }
}

/// How a TPM's evidence comes.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// The key alone.
    Bare,
    /// With the key's certificates.
    Certified,
}

/// What a broker whose key asks for that, with these pins, answers to `guest`; and the rules that failed by its audit.
fn at_tier_1(
    asked: AppraisalPolicy,
    pins: impl FnOnce(&mut KbsConfig, &Path),
    (guest, form): (&SimulatedTpm, Form),
) -> (String, Vec<Value>) {
    let mut broker = broker(|config, dir| {
        let key = KeyPolicy {
            appraisal: asked,
            max_uses: 1000,
            wrap: vec![Wrap::Classical],
            ..policy()
        };
        std::fs::write(dir.join("tier-1.json"), key.canonical().unwrap()).unwrap();
        config.coco.resource_policy = Some(dir.join("tier-1.json"));
        pins(config, dir);
    });
    let own = |signed: &[u8; 48]| {
        let mut evidence = guest.evidence(signed);
        if form == Form::Bare {
            evidence.ak_certificates.clear();
        }
        serde_json::to_value(CpuEvidence::Tpm(evidence)).unwrap()
    };
    let answer = verdict(broker.address, "tpm", None, own);
    let lines = broker.audit();
    let decided = lines
        .iter()
        .rfind(|l| l["action"] == "grant" || l["action"] == "refuse");
    let failed = decided.map_or_else(Vec::new, |line| {
        assert_eq!(line["tier"], json!(u8::from(answer == "ok")), "{line}");
        line["failed"].as_array().unwrap().clone()
    });
    (answer, failed)
}

#[test]
fn a_tpm_reaches_tier_1_by_its_pinned_key_or_root_and_by_nothing_else() {
    let tpm = SimulatedTpm::for_tests();
    let stranger = SimulatedTpm::from_seed(b"another vendor's, seed number 22", &TpmSpec::new("test")).unwrap();
    let key = |config: &mut KbsConfig, tpm: &SimulatedTpm| config.tpm_keys = vec![Digest256::of(&tpm.ak_public())];
    let root = |config: &mut KbsConfig, dir: &Path, tpm: &SimulatedTpm| {
        std::fs::write(dir.join("tpm-root.der"), tpm.root_der()).unwrap();
        config.tpm_roots = vec![dir.join("tpm-root.der")];
    };
    let accepted = || ("ok".to_owned(), Vec::new());
    let refused = |rule: &str| (format!("released: {rule}"), vec![json!(rule)]);
    let asked = |revocation| tier_1(&tpm, revocation);
    let (required, accept_missing) = (RevocationPolicy::Required, RevocationPolicy::AcceptMissing);
    let (bare, certified) = ((&tpm, Form::Bare), (&tpm, Form::Certified));

    // The key itself is pinned: it has no list but the pins.
    assert_eq!(
        at_tier_1(asked(required), |config, _| key(config, &tpm), bare),
        accepted()
    );
    // Another's is, while these registers are the right ones; or the right one, and one register was extended once more.
    let others = at_tier_1(asked(accept_missing), |config, _| key(config, &stranger), bare);
    assert_eq!(others, refused("tpm.ak.unknown"));
    let mut extended = SimulatedTpm::for_tests();
    extended.extend(4, &[1; 32]);
    let other_image = (&extended, Form::Bare);
    assert_eq!(
        at_tier_1(asked(required), |config, _| key(config, &tpm), other_image),
        refused("tpm.pcrs")
    );

    // Its vendor's root is pinned: then certificates count, for which this version reads no list.
    let rooted = |revocation| at_tier_1(asked(revocation), |config, dir| root(config, dir, &tpm), certified);
    assert_eq!(rooted(accept_missing), accepted());
    assert_eq!(rooted(required), refused("revocation.missing"));
    // Nobody's is, or another vendor's whose certificates have the same names: such a chain is no evidence at all.
    let unpinned = at_tier_1(asked(accept_missing), |_, _| (), certified);
    assert_eq!(unpinned, ("tpm.chain.root".to_owned(), Vec::new()));
    let strange = at_tier_1(
        asked(accept_missing),
        |config, dir| root(config, dir, &stranger),
        certified,
    );
    assert_eq!(strange, ("tpm.chain.link".to_owned(), Vec::new()));
    // The root is pinned, and the key came without what would chain to it.
    let bare = at_tier_1(asked(accept_missing), |config, dir| root(config, dir, &tpm), bare);
    assert_eq!(bare, refused("tpm.ak.unknown"));
}
