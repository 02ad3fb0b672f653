//! The binary on evidence of real machines and on a composite bundle: accepted under a policy that fits, and with one
//! byte of what is signed changed, refused as not authentic in words that name what is wrong.

#[allow(dead_code, unused_imports, reason = "the verdict tests use the rest")]
#[path = "../../tests/verdict/fixture.rs"]
mod fixture;
#[allow(dead_code, unused_imports, reason = "the verdict tests use the rest")]
#[path = "../../tests/verdict/machine.rs"]
mod machine;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use hanzo_attestation::bundle::{Base64, Bundle};
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_attestation::snp::{SIGNED_BYTES, SnpReport};
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, UnixTime, tdx};
use hanzo_policy::{
    Admission, AppraisalPolicy, EpycTcb, PcrValues, PrivacyTier, RevocationPolicy, SnpParavisor, SnpPolicy,
    SnpReference, TcbFloors, TdxPolicy, TdxReference, TpmPolicy, TpmReference,
};
use serde_json::{Value, json};

/// Clocks of the vectors.
const JULY_2025: UnixTime = UnixTime(1_751_328_000);
const SEPTEMBER_2025: UnixTime = UnixTime(1_756_684_800);
const JULY_2026: UnixTime = UnixTime(1_782_864_000);

/// A byte of a device report's first measurement: behind the request (37 bytes), the response's head (8) and the block's (7).
const MEASURED: usize = 62;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn policy(&self, policy: &AppraisalPolicy) {
        self.put("policy.toml", policy.to_toml().unwrap());
    }

    /// Runs `hanzo-verify verify` with these words, in the directory of the files: exit code and all text.
    fn verify(&self, words: &str, at: UnixTime) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_hanzo-verify"))
            .arg("verify")
            .args(words.split_whitespace())
            .args(["--policy", "policy.toml", "--at", &at.0.to_string()])
            .current_dir(self.0.path())
            .env("HOME", self.0.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    #[track_caller]
    fn accepts(&self, words: &str, at: UnixTime, said: &[&str]) {
        let (exit_code, text) = self.verify(words, at);
        assert_eq!(exit_code, 0, "{text}");
        for part in ["ACCEPTED"].iter().chain(said) {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    /// Refused as not authentic, with a code for programs, a sentence and an advice for people.
    #[track_caller]
    fn refuses(&self, words: &str, at: UnixTime, said: &[&str]) {
        let (exit_code, text) = self.verify(words, at);
        assert_eq!(exit_code, 20, "{text}");
        for part in ["REFUSED", "\n  -> do not use "].iter().chain(said) {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(!text.contains("ACCEPTED"), "{text}");
    }
}

fn vector(name: &str) -> Option<Vec<u8>> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")).join(name);
    let read = std::fs::read(&path).ok();
    if read.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "VECTORS MISSING {}: hanzo-verify was NOT run on real evidence",
            path.display()
        );
    }
    read
}

fn fits(name: &str) -> hanzo_attestation::name::Name {
    hanzo_attestation::name::Name::new(name).unwrap()
}

/// Nothing of a foreign document states a configuration, so a reference's is not compared.
const NO_CONFIG: Digest256 = Digest256([0; 32]);

/// A Genoa machine as this report shows it, and no other image.
fn snp_policy(report: &SnpReport, is_paravisor: bool) -> SnpPolicy {
    let tcb = report.committed_tcb;
    let floors = TcbFloors {
        genoa: Some(EpycTcb {
            bootloader: tcb.bootloader,
            tee: tcb.tee,
            snp: tcb.snp,
            microcode: tcb.microcode,
        }),
        ..TcbFloors::default()
    };
    let measurement = Digest384(report.measurement);
    let mut table = SnpPolicy::any_chip(floors, vec![]);
    table.provisional_firmware = Admission::Accept;
    if is_paravisor {
        table.paravisors.push(SnpParavisor {
            name: fits("paravisor"),
            measurement,
        });
    } else {
        table.references.push(SnpReference {
            name: fits("that-guest"),
            measurement,
            config_digest: NO_CONFIG,
        });
    }
    table
}

fn closed(minimum: PrivacyTier) -> AppraisalPolicy {
    let mut policy = AppraisalPolicy::closed(minimum);
    policy.revocation = RevocationPolicy::AcceptMissing;
    policy
}

/// The SNP report of an authentic document.
fn report_of(format: ForeignFormat, bytes: &[u8], now: UnixTime) -> (SnpReport, hanzo_attestation::Claims) {
    let evidence = ForeignEvidence::read(format, bytes, &Supplied::default()).unwrap();
    let authentic = evidence.primary().unwrap().clone().parse().unwrap();
    let authentic = authentic
        .authenticate(&Anchors::vendor(), &Collateral::default(), now)
        .unwrap();
    let claims = authentic.claims().clone();
    (claims.snp().unwrap().report.clone(), claims)
}

fn change(list: &mut Value, at: usize) {
    let byte = list[at].as_u64().unwrap();
    list[at] = json!(byte ^ 1);
}

const SNP_CHANGED: &[&str] = &[
    "snp.signature.invalid",
    "the report was changed, or is another processor's",
];

#[test]
fn a_real_genoa_report_in_its_document() {
    let name = "snp/trustee_evidence_v3_genoa.json";
    let (Some(bytes), Some(list)) = (vector(name), vector("snp/crl/genoa.crl.der")) else {
        return;
    };
    let files = Files::new();
    let (report, _) = report_of(ForeignFormat::CocoSnp, &bytes, SEPTEMBER_2025);
    let mut policy = AppraisalPolicy::closed(PrivacyTier::CpuTee);
    policy.snp = Some(snp_policy(&report, false));
    files.policy(&policy);
    files.put("evidence.json", &bytes);
    files.put("genoa.crl", &list);
    let data = hex::encode(report.report_data);
    let words = format!("evidence.json --crl genoa.crl --report-data {data}");
    files.accepts(
        &words,
        SEPTEMBER_2025,
        &["tier 2", "that-guest", "AMD EPYC genoa", "revocation   checked"],
    );
    let mut document: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut document["attestation_report"]["measurement"], 0);
    files.put("evidence.json", document.to_string());
    files.refuses(&words, SEPTEMBER_2025, SNP_CHANGED);
}

/// The evidence of an Azure guest: with its vTPM, and the report inside by itself.
#[test]
fn a_real_genoa_report_under_a_paravisor_and_by_itself() {
    let Some(bytes) = vector("az-vtpm/az-snp-vtpm_evidence-genoa.json") else {
        return;
    };
    let files = Files::new();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let hcl: Vec<u8> = serde_json::from_value(document["report"].clone()).unwrap();
    let (report, claims) = report_of(ForeignFormat::CocoAzSnpVtpm, &bytes, JULY_2026);

    let values = claims.tpm().unwrap().pcrs.iter();
    let values = values
        .filter(|(i, _)| **i < 16)
        .map(|(i, value)| (*i, Digest256(*value)));
    let mut policy = closed(PrivacyTier::CpuTee);
    policy.snp = Some(snp_policy(&report, true));
    policy.tpm = Some(TpmPolicy::any_pinned(vec![TpmReference {
        name: fits("that-guest"),
        config_digest: NO_CONFIG,
        pcrs: PcrValues(values.collect()),
        pcrs_sha384: PcrValues::none(),
    }]));
    files.policy(&policy);
    files.put("evidence.json", &bytes);
    files.accepts(
        "evidence.json",
        JULY_2026,
        &["tier 2", "that-guest", "coco-az-snp-vtpm"],
    );
    let changed = |edit: &dyn Fn(&mut Value)| {
        let mut document = document.clone();
        edit(&mut document);
        files.put("evidence.json", document.to_string());
    };
    // A byte of the report, of the variable data that it covers, of the quote.
    changed(&|d| change(&mut d["report"], 32 + 0x90));
    files.refuses("evidence.json", JULY_2026, SNP_CHANGED);
    changed(&|d| change(&mut d["quote"]["message"], 50));
    files.refuses(
        "evidence.json",
        JULY_2026,
        &[
            "tpm.signature.invalid",
            "the quote was changed, or another key signed it",
        ],
    );

    let mut policy = closed(PrivacyTier::CpuTee);
    policy.snp = Some(snp_policy(&report, false));
    files.policy(&policy);
    let mut raw = hcl[32..32 + 1184].to_vec();
    files.put("report.bin", &raw);
    files.put("vcek.pem", document["vcek"].as_str().unwrap());
    let words = format!(
        "report.bin --vek vcek.pem --report-data {}",
        hex::encode(report.report_data)
    );
    files.accepts(&words, JULY_2026, &["tier 2", "that-guest", "snp-report"]);
    for at in [0x50, 0x90, SIGNED_BYTES - 1] {
        raw[at] ^= 1;
        files.put("report.bin", &raw);
        let (exit_code, text) = files.verify(&words, JULY_2026);
        // The last byte before the signature is reserved: that is seen first.
        let expected = if at == SIGNED_BYTES - 1 { 10 } else { 20 };
        assert_eq!(exit_code, expected, "byte {at:#x}: {text}");
        raw[at] ^= 1;
    }
    raw[0x90] ^= 1;
    files.put("report.bin", &raw);
    files.refuses(&words, JULY_2026, SNP_CHANGED);
}

#[test]
fn a_real_tdx_quote_with_its_collateral() {
    let name = "tdx/collateral/tdx_quote_collateral.json";
    let (Some(quote), Some(collateral)) = (vector("tdx/v4_dcapqvl.dat"), vector(name)) else {
        return;
    };
    let files = Files::new();
    let parsed = tdx::ParsedTdx::parse(hanzo_attestation::bundle::TdxEvidence {
        collateral: None,
        event_log: None,
        quote: Base64(quote.clone()),
    });
    let parsed = parsed.unwrap();
    let td = parsed.read_unauthenticated();
    let [rtmr0, rtmr1, rtmr2, rtmr3] = td.rtmr.map(Digest384);
    let table = TdxPolicy::any_platform(vec![TdxReference {
        name: fits("that-guest"),
        mrtd: Digest384(td.mr_td),
        rtmr0,
        rtmr1,
        rtmr2,
        rtmr3,
        config_digest: NO_CONFIG,
    }]);
    files.policy(&AppraisalPolicy::closed(PrivacyTier::CpuTee).with_tdx(table));
    files.put("quote.bin", &quote);
    files.put("collateral.json", &collateral);
    let data = hex::encode(td.report_data);
    let words = format!("quote.bin --tdx-collateral collateral.json --report-data {data}");
    files.accepts(&words, JULY_2025, &["tier 2", "that-guest", "Intel TDX", "tdx-quote"]);
    // MRTD, RTMR3 and REPORTDATA in the body; then the collateral that says how current the platform is.
    for at in [48 + 136, 48 + 472, 48 + 520] {
        let mut changed = quote.clone();
        changed[at] ^= 1;
        files.put("quote.bin", &changed);
        files.refuses(
            &words,
            JULY_2025,
            &[
                "tdx.signature.invalid",
                "the quote was changed, or is another platform's",
            ],
        );
    }
    files.put("quote.bin", &quote);
    let text = String::from_utf8(collateral).unwrap();
    let older = text.replacen("tcbEvaluationDataNumber\\\":17", "tcbEvaluationDataNumber\\\":18", 1);
    assert_ne!(older, text);
    files.put("collateral.json", older);
    let (exit_code, text) = files.verify(&words, JULY_2025);
    assert_eq!(exit_code, 20, "{text}");
    assert!(
        text.contains("signature does not verify under the TCB signing certificate's key"),
        "{text}"
    );
    let (exit_code, text) = files.verify("quote.bin", JULY_2025);
    assert_eq!(exit_code, 20, "{text}");
    assert!(
        text.contains("tdx.collateral.missing") && text.contains("--tdx-collateral"),
        "{text}"
    );
}

#[test]
fn a_real_hopper_report_with_its_chain() {
    let name = "nvidia/hopper_550_90.chain.pem";
    let (Some(report), Some(chain)) = (vector("nvidia/hopper_550_90.report.bin"), vector(name)) else {
        return;
    };
    let files = Files::new();
    // A GPU without the processor that it serves proves nothing of a guest: tier 0 is all there is.
    files.policy(&AppraisalPolicy::closed(PrivacyTier::Open));
    files.put("report.bin", &report);
    files.put("chain.pem", &chain);
    let nonce = hex::encode(&report[4..36]);
    let words = format!("report.bin --chain chain.pem --nonce {nonce}");
    files.accepts(
        &words,
        JULY_2026,
        &["tier 0", "nvidia-report", "hopper", "driver 550.90.07"],
    );
    for at in [100, 2000, report.len() - 200] {
        let mut changed = report.clone();
        changed[at] ^= 1;
        files.put("report.bin", &changed);
        let (exit_code, text) = files.verify(&words, JULY_2026);
        assert!([10, 20].contains(&exit_code), "byte {at}: {text}");
    }
    let mut changed = report.clone();
    changed[MEASURED] ^= 1;
    files.put("report.bin", &changed);
    files.refuses(
        &words,
        JULY_2026,
        &[
            "nvidia.signature.invalid",
            "the report was changed, or is another device's",
        ],
    );
    files.put("report.bin", &report);
    let other = format!("report.bin --chain chain.pem --nonce {}", "00".repeat(32));
    let (exit_code, text) = files.verify(&other, JULY_2026);
    assert_eq!(exit_code, 30, "{text}");
    assert!(text.contains("a recording, or an answer to somebody else"), "{text}");
    files.policy(&AppraisalPolicy::closed(PrivacyTier::GpuCc));
    let (exit_code, text) = files.verify(&words, JULY_2026);
    assert_eq!(exit_code, 40, "{text}");
    assert!(text.contains("got evidence of its devices alone"), "{text}");
}

#[test]
fn a_composite_bundle_of_a_simulated_machine() {
    let files = Files::new();
    let devices = machine::protected();
    let bundle = machine::compose(&devices, machine::snp);
    let context = machine::context_with(2, 2);
    files.policy(&context.policy);
    let anchors = &context.anchors;
    files.put("ark.der", &anchors.simulator_arks()[0]);
    files.put("gpu-root.der", &anchors.simulator_nvidia_roots()[0]);
    files.put("rim-root.der", &anchors.simulator_rim_roots()[0]);
    let words = format!(
        "bundle.json --simulator-root ark.der --simulator-gpu-root gpu-root.der --simulator-rim-root rim-root.der \
         --challenge {}",
        fixture::CHALLENGE
    );
    let put = |bundle: &Bundle| files.put("bundle.json", bundle.canonical().unwrap());
    put(&bundle);
    files.accepts(&words, fixture::NOW, &["tier 3", "SIMULATED", "hash"]);

    // A byte of the processor's report, of a GPU's, of a switch's.
    let mut changed = bundle.clone();
    fixture::report_of(&mut changed)[0x90] ^= 1;
    put(&changed);
    files.refuses(&words, fixture::NOW, SNP_CHANGED);
    for device in [0, 3] {
        let mut changed = bundle.clone();
        let Base64(report) = &mut changed.devices[device].report;
        report[MEASURED] ^= 1;
        put(&changed);
        files.refuses(
            &words,
            fixture::NOW,
            &[
                "nvidia.signature.invalid",
                "the report was changed, or is another device's",
            ],
        );
    }
    // A device less is everything genuine and another list.
    let mut fewer = bundle.clone();
    fewer.devices.pop();
    put(&fewer);
    let (exit_code, text) = files.verify(&words, fixture::NOW);
    assert_eq!(exit_code, 30, "{text}");
    assert!(
        text.contains("binding.report_data") && text.contains("device list"),
        "{text}"
    );
    // Without the simulator's roots none of it is anybody's.
    put(&bundle);
    let plain = format!("bundle.json --challenge {}", fixture::CHALLENGE);
    let (exit_code, text) = files.verify(&plain, fixture::NOW);
    assert_eq!(exit_code, 20, "{text}");
    assert!(
        text.contains("snp.chain.root") && text.contains("only AMD's roots count"),
        "{text}"
    );
}
