//! Every public SNP vector gets the verdict its manifest states. The vectors are not part of this repository; without
//! them these tests say so and check nothing.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::snp::{self, Product, SigningKey, SnpClaims};
use hanzo_attestation::{Anchors, Authentic, Claims, Collateral, Digest256, Revocation, UnixTime};
use serde_json::Value;

use crate::{NOW, evidence_of, judge, simulator, verdict};

/// 2026-11-22T00:00:00Z: both public lists are over.
const LATER: UnixTime = UnixTime(1_795_305_600);

struct Row {
    what: String,
    expect: String,
    values: BTreeMap<String, String>,
    sha256: String,
}

struct Vectors {
    folder: PathBuf,
    rows: BTreeMap<String, Row>,
}

impl Vectors {
    fn load() -> Option<Self> {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors")).to_owned();
        // A worktree lies one level deeper than a clone.
        let folder = [
            folder,
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")).to_owned(),
        ]
        .into_iter()
        .find(|f| f.join("MANIFEST.tsv").is_file());
        let Some(folder) = folder else {
            let _ = writeln!(
                std::io::stderr(),
                "VECTORS MISSING (shared/vectors beside the repository): real SNP evidence was NOT checked"
            );
            return None;
        };
        let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
        let rows = manifest.lines().filter(|line| line.starts_with("snp/")).map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let values = columns[5].split("; ").filter_map(|pair| pair.split_once('='));
            let row = Row {
                what: columns[2].to_owned(),
                expect: columns[3].to_owned(),
                values: values.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                sha256: columns[8].to_owned(),
            };
            (columns[0].trim_start_matches("snp/").to_owned(), row)
        });
        Some(Self {
            rows: rows.collect(),
            folder,
        })
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.join("snp").join(name)).unwrap()
    }

    /// DER certificates of a PEM file of the set, in order.
    fn pem(&self, name: &str) -> Vec<Vec<u8>> {
        let text = String::from_utf8(self.read(name)).unwrap();
        let bodies = text.split("-----BEGIN CERTIFICATE-----").skip(1);
        bodies
            .map(|body| decode_base64(body.split("-----END").next().unwrap()))
            .collect()
    }

    fn evidence(&self, name: &str) -> SnpEvidence {
        let row = &self.rows[name];
        // Three of the cut reports name no certificate: any will do.
        let vek = row
            .values
            .get("vek")
            .map_or("milan_rk_release_oak.vcek.der", String::as_str);
        let mut evidence = evidence_of(self.read(name), self.read(vek));
        if let Some(roots) = row.values.get("roots") {
            evidence.ask = Some(Base64(self.pem(roots)[0].clone()));
        }
        evidence
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    serde_json::from_value::<Base64>(Value::String(compact)).unwrap().0
}

fn vendor(evidence: SnpEvidence, now: UnixTime) -> Result<Authentic<Claims>, &'static str> {
    judge(evidence, &Anchors::vendor(), &Collateral::default(), now).map_err(|e| e.code())
}

fn claims(authentic: &Authentic<Claims>) -> &SnpClaims {
    let Claims::Snp(claims) = authentic.claims() else {
        panic!("SNP claims")
    };
    claims
}

fn check_values(name: &str, row: &Row, product: Product, report: &snp::SnpReport) {
    for (key, expected) in &row.values {
        let got = match key.as_str() {
            "version" => report.version.to_string(),
            "measurement" => hex::encode(report.measurement),
            "report_data" => hex::encode(report.report_data),
            "host_data" => hex::encode(report.host_data),
            "policy" => format!("{:#x}", report.policy),
            "vmpl" => report.vmpl.to_string(),
            "debug" => report.guest_policy().debug().to_string(),
            "reported_tcb" => hex::encode(report.reported_tcb.to_bytes(product)),
            "signing_key" => u8::from(report.signing_key == SigningKey::Vlek).to_string(),
            "chip_id_first8" => hex::encode(&report.chip_id[..8]),
            "product" if expected.starts_with("fam ") => {
                let id = report.cpuid.unwrap();
                format!("fam {:#x} model {:#x}", id.family, id.model)
            }
            "product" => product.name().to_owned(),
            "vek" | "roots" | "vek_not_before" | "vek_not_after" => continue,
            other => panic!("{name}: unknown key value {other}"),
        };
        assert_eq!(got, *expected, "{name}: {key}");
    }
}

#[test]
fn every_vector_gets_the_verdict_of_the_manifest() {
    let Some(vectors) = Vectors::load() else { return };
    let mut seen = BTreeMap::<&str, usize>::new();
    for (name, row) in &vectors.rows {
        assert_eq!(
            Digest256::of(&vectors.read(name)).to_string(),
            row.sha256,
            "{name}: another file than listed"
        );
        let kind = match name.as_str() {
            "neg/vlek_in_vcek_slot.txt" => {
                let mut evidence = vectors.evidence("milan_v3_vlek_vmpl1_trustee.bin");
                evidence.ask = Some(Base64(vectors.pem("roots/ask_ark_milan.pem")[0].clone()));
                assert_eq!(vendor(evidence, NOW).unwrap_err(), "snp.chain.vek", "{}", row.what);
                "refused"
            }
            n if n.starts_with("neg/") => {
                let expected = match row.expect.as_str() {
                    "refuse (signature)" => "snp.signature.invalid",
                    "refuse (parse: length)" => "snp.report.length",
                    "refuse (parse: version)" => "snp.report.version",
                    other => panic!("{name}: unknown expectation {other}"),
                };
                assert_eq!(vendor(vectors.evidence(name), NOW).unwrap_err(), expected, "{name}");
                "refused"
            }
            n if n.starts_with("vcek_") => {
                // The certificate itself parses (its hwID in either encoding): what fails is the chain above it.
                let evidence = evidence_of(vectors.read("milan_v2_virtee.bin"), vectors.read(name));
                assert_eq!(vendor(evidence, NOW).unwrap_err(), "snp.chain.vek", "{name}");
                "refused"
            }
            n if n.starts_with("crl/") => {
                check_list(&vectors, name, row);
                "list"
            }
            n if n.starts_with("roots/") => {
                check_roots(&vectors, name);
                "root"
            }
            "trustee_evidence_v3_genoa.json" => {
                check_trustee_json(&vectors, name);
                "authentic"
            }
            "v4_openpcc_gce_noVcek.bin" => {
                let (product, report) = snp::read_unauthenticated(&vectors.read(name), None).unwrap();
                assert_eq!(product, Product::Milan);
                check_values(name, row, product, &report);
                // Under another chip's certificate it is not authentic.
                assert_eq!(
                    vendor(vectors_without_vek(&vectors, name), NOW).unwrap_err(),
                    "snp.signature.invalid"
                );
                "parsed"
            }
            n if n.ends_with(".bin") => {
                assert!(row.expect.starts_with("authentic"), "{name}: {}", row.expect);
                let authentic = vendor(vectors.evidence(name), NOW).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert!(!authentic.is_simulated());
                assert_eq!(authentic.revocation(), Revocation::NoList);
                check_values(name, row, claims(&authentic).product, &claims(&authentic).report);
                // The intermediate that is compiled in does as well as the one that travelled.
                let mut bare = vectors.evidence(name);
                bare.ask = None;
                vendor(bare, NOW).unwrap();
                check_dates(&vectors, name, row);
                "authentic"
            }
            n if n.ends_with(".vcek.der") || n.ends_with(".vlek.der") => {
                let used = vectors
                    .rows
                    .values()
                    .any(|r| r.values.get("vek").is_some_and(|v| v == n));
                assert!(used, "{name} belongs to no report");
                "certificate"
            }
            other => panic!("{other}: no test for this vector"),
        };
        *seen.entry(kind).or_default() += 1;
    }
    assert_eq!(
        vectors.rows.len(),
        33,
        "vectors were added or removed: say what must hold for them"
    );
    let expected = [
        ("authentic", 7),
        ("certificate", 6),
        ("list", 2),
        ("parsed", 1),
        ("refused", 11),
        ("root", 6),
    ];
    assert_eq!(seen, BTreeMap::from(expected));
}

fn vectors_without_vek(vectors: &Vectors, name: &str) -> SnpEvidence {
    evidence_of(vectors.read(name), vectors.read("milan_rk_release_oak.vcek.der"))
}

/// One second outside the VEK certificate's life on either side is refused.
fn check_dates(vectors: &Vectors, name: &str, row: &Row) {
    let day = |text: &str| -> u64 {
        let [y, m, d] = text.split('-').map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>()[..] else {
            panic!()
        };
        let (y, m) = if m > 2 { (y, m - 3) } else { (y - 1, m + 9) };
        (365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + d - 719_469) * 86_400
    };
    let (first, last) = (day(&row.values["vek_not_before"]), day(&row.values["vek_not_after"]));
    let at = |now| vendor(vectors.evidence(name), UnixTime(now)).map(|_| ()).err();
    assert_eq!(at(first - 1), Some("snp.cert.not_yet_valid"), "{name}");
    assert_eq!(at(first + 86_400), None, "{name}");
    assert_eq!(at(last - 1), None, "{name}");
    assert_eq!(at(last + 86_400), Some("snp.cert.expired"), "{name}");
}

fn check_list(vectors: &Vectors, name: &str, row: &Row) {
    let der = vectors.read(name);
    let list = snp::check_crl(&der, NOW).unwrap();
    assert_eq!(list.revoked_serials.len().to_string(), row.values["revoked"], "{name}");
    assert_eq!(
        list.product.name().to_lowercase(),
        name["crl/".len()..].split('.').next().unwrap()
    );
    assert_eq!(
        snp::check_crl(&der, LATER).unwrap_err().code(),
        "snp.crl.stale",
        "{name}"
    );
    let before = UnixTime(list.this_update.0 - 1);
    assert_eq!(
        snp::check_crl(&der, before).unwrap_err().code(),
        "snp.crl.stale",
        "{name}"
    );
    let mut forged = der.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(
        snp::check_crl(&forged, NOW).unwrap_err().code(),
        "snp.crl.signature",
        "{name}"
    );
    if list.product == Product::Genoa {
        assert_eq!(
            list.revoked_serials,
            [vec![2, 0, 1]],
            "the first ASK of Genoa; the one compiled in is 020002"
        );
        return;
    }
    let next_update = list.next_update;
    let collateral = Collateral {
        crls: vec![der.clone()],
        ..Collateral::default()
    };
    let evidence = vectors.evidence("milan_v3_oak_rk_release.bin");
    let authentic = judge(evidence.clone(), &Anchors::vendor(), &collateral, NOW).unwrap();
    assert_eq!(authentic.revocation(), Revocation::Checked { next_update });
    assert_eq!(
        judge(evidence.clone(), &Anchors::vendor(), &collateral, LATER)
            .unwrap_err()
            .code(),
        "snp.crl.stale"
    );
    // Another product's list, stapled, is not the list of this chain.
    let mut foreign = evidence;
    foreign.crl = Some(Base64(vectors.read("crl/genoa.crl.der")));
    assert_eq!(vendor(foreign, NOW).unwrap_err(), "snp.crl.issuer");
}

/// The public chains are the ones compiled in.
fn check_roots(vectors: &Vectors, name: &str) {
    let product = Product::ALL
        .into_iter()
        .find(|p| name.contains(&p.name().to_lowercase()))
        .unwrap();
    let key = if name.contains("vlek") {
        SigningKey::Vlek
    } else {
        SigningKey::Vcek
    };
    let [ask, ark] = &vectors.pem(name)[..] else {
        panic!("{name}: expected two certificates")
    };
    assert_eq!(ask, snp::roots::intermediate(product, key), "{name}");
    assert_eq!(ark, snp::roots::ark(product), "{name}");
}

/// The CoCo form of a report is the serde form of a Rust struct. The signed bytes are rebuilt from it.
fn check_trustee_json(vectors: &Vectors, name: &str) {
    let json: Value = serde_json::from_slice(&vectors.read(name)).unwrap();
    let report = &json["attestation_report"];
    let bytes = |value: &Value| -> Vec<u8> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|b| u8::try_from(b.as_u64().unwrap()).unwrap())
            .collect()
    };
    let byte = |value: &Value| u8::try_from(value.as_u64().unwrap()).unwrap();
    let mut raw = vec![0; snp::REPORT_BYTES];
    let mut put = |offset: usize, field: &[u8]| raw[offset..offset + field.len()].copy_from_slice(field);
    for (offset, field) in [
        (0x0, "version"),
        (0x4, "guest_svn"),
        (0x30, "vmpl"),
        (0x34, "sig_algo"),
        (0x48, "key_info"),
    ] {
        put(
            offset,
            &u32::try_from(report[field].as_u64().unwrap()).unwrap().to_le_bytes(),
        );
    }
    for (offset, field) in [(0x8, "policy"), (0x40, "plat_info")] {
        put(offset, &report[field].as_u64().unwrap().to_le_bytes());
    }
    for (offset, field) in [
        (0x10, "family_id"),
        (0x20, "image_id"),
        (0x50, "report_data"),
        (0x90, "measurement"),
        (0xc0, "host_data"),
        (0xe0, "id_key_digest"),
        (0x110, "author_key_digest"),
        (0x140, "report_id"),
        (0x160, "report_id_ma"),
        (0x1a0, "chip_id"),
    ] {
        put(offset, &bytes(&report[field]));
    }
    for (offset, field) in [
        (0x38, "current_tcb"),
        (0x180, "reported_tcb"),
        (0x1e0, "committed_tcb"),
        (0x1f0, "launch_tcb"),
    ] {
        let tcb = &report[field];
        put(
            offset,
            &[
                byte(&tcb["bootloader"]),
                byte(&tcb["tee"]),
                0,
                0,
                0,
                0,
                byte(&tcb["snp"]),
                byte(&tcb["microcode"]),
            ],
        );
    }
    put(
        0x188,
        &[
            byte(&report["cpuid_fam_id"]),
            byte(&report["cpuid_mod_id"]),
            byte(&report["cpuid_step"]),
        ],
    );
    for (offset, field) in [(0x1e8, "current"), (0x1ec, "committed")] {
        put(
            offset,
            &[
                byte(&report[field]["build"]),
                byte(&report[field]["minor"]),
                byte(&report[field]["major"]),
            ],
        );
    }
    put(0x2a0, &bytes(&report["signature"]["r"]));
    put(0x2e8, &bytes(&report["signature"]["s"]));
    let vcek = bytes(&json["cert_chain"][0]["data"]);

    let authentic = vendor(evidence_of(raw.clone(), vcek.clone()), NOW).unwrap();
    let claims = claims(&authentic);
    assert_eq!((claims.product, claims.report.version), (Product::Genoa, 3));
    assert_eq!(claims.report.cpuid.unwrap().model, 0xa0, "Bergamo has Genoa's roots");
    raw[0x50] ^= 1;
    assert_eq!(
        vendor(evidence_of(raw, vcek), NOW).unwrap_err(),
        "snp.signature.invalid"
    );
}

#[test]
fn a_provider_is_named_for_a_vlek_and_for_nothing_else() {
    let Some(vectors) = Vectors::load() else { return };
    let vlek = vendor(vectors.evidence("milan_v3_vlek_vmpl1_trustee.bin"), NOW).unwrap();
    assert_eq!(claims(&vlek).signing_key, SigningKey::Vlek);
    assert_eq!(claims(&vlek).provider.as_deref(), Some("CN=cc-us-east-2.amazonaws.com"));
    assert!(claims(&vlek).report.chip_id_masked());
    let vcek = vendor(vectors.evidence("turin_v5_oak_oc.bin"), NOW).unwrap();
    assert_eq!(claims(&vcek).provider, None);
    assert!(!claims(&vcek).report.chip_id_masked());
}

#[test]
fn real_evidence_stays_real_beside_a_simulator_root_and_mixed_chains_are_refused() {
    let Some(vectors) = Vectors::load() else { return };
    let (processor, anchors) = simulator();
    let real = vectors.evidence("turin_v5_oak_oc.bin");
    let authentic = judge(real.clone(), &anchors, &Collateral::default(), NOW).unwrap();
    assert!(!authentic.is_simulated());

    // A real report with the simulator's certificates, and a simulated report with AMD's.
    let guest = processor.launch(crate::healthy());
    let mut mixed = guest.evidence(&[0; 64]);
    mixed.report = vectors.evidence("turin_v5_oak_oc.bin").report;
    assert_eq!(verdict(mixed, &anchors), "snp.product.mismatch");
    let mut mixed = real.clone();
    mixed.ask = guest.evidence(&[0; 64]).ask;
    assert_eq!(verdict(mixed, &anchors), "snp.chain.vek");
    // Certificates of two real chips swapped.
    let mut swapped = vectors.evidence("milan_v3_oak_rk_release.bin");
    swapped.vek = Base64(vectors.read("milan_v2_virtee.vcek.der"));
    assert_eq!(verdict(swapped, &anchors), "snp.signature.invalid");
}

/// Reports of real processors, for tests that compare with another implementation.
pub fn reports_with_certificates() -> Vec<(String, SnpEvidence)> {
    let Some(vectors) = Vectors::load() else {
        return Vec::new();
    };
    let names = vectors
        .rows
        .iter()
        .filter(|(n, r)| n.ends_with(".bin") && r.expect.starts_with("authentic"));
    names.map(|(name, _)| (name.clone(), vectors.evidence(name))).collect()
}
