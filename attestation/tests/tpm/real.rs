//! Every public Azure and TPM vector gets the verdict its manifest states.

use std::collections::BTreeMap;

use hanzo_attestation::bundle::{AzSnpEvidence, AzTdxEvidence, Base64, Pcr, TdxEvidence, TpmEvidence, TpmQuote};
use hanzo_attestation::eventlog::{Algorithm, EventLog};
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_attestation::tpm::{AkOrigin, Attest, HclKind, HclReport, spki_of_jwk};
use hanzo_attestation::{Anchors, Claims, Digest256, Digest384, RawEvidence, UnixTime};
use serde_json::Value;

use crate::manifest::Vectors;
use crate::{NOW, judge, pin, tpm, verdict};

/// 2025-09-01T00:00:00Z.
const EARLIER: UnixTime = UnixTime(1_756_684_800);

fn base64(text: &str) -> Vec<u8> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    serde_json::from_value::<Base64>(Value::String(compact)).unwrap().0
}

/// The PEM blocks of one kind.
fn pem(bytes: &[u8], label: &str) -> Vec<Vec<u8>> {
    let text = std::str::from_utf8(bytes).unwrap();
    let begin = format!("-----BEGIN {label}-----");
    let bodies = text.split(&begin).skip(1);
    bodies
        .map(|body| base64(body.split("-----END").next().unwrap()))
        .collect()
}

struct Set(Vectors);

impl Set {
    fn read(&self, name: &str) -> Vec<u8> {
        self.0.read(&format!("az-vtpm/{name}"))
    }

    fn certificate(&self, name: &str) -> Vec<u8> {
        pem(&self.read(name), "CERTIFICATE").remove(0)
    }

    fn foreign(&self, format: ForeignFormat, name: &str) -> RawEvidence {
        let read = ForeignEvidence::read(format, &self.read(name), &Supplied::default()).unwrap();
        read.primary().unwrap().clone()
    }

    fn az_snp(&self, name: &str) -> AzSnpEvidence {
        let RawEvidence::AzSnp(e) = self.foreign(ForeignFormat::CocoAzSnpVtpm, name) else {
            panic!()
        };
        e
    }

    fn az_tdx(&self, name: &str) -> AzTdxEvidence {
        let RawEvidence::AzTdx(e) = self.foreign(ForeignFormat::CocoAzTdxVtpm, name) else {
            panic!()
        };
        e
    }

    /// `Quote { signature, message, pcrs }` as the crate `bincode` writes it: counts of 8 bytes, little endian.
    fn bincode_quote(&self, name: &str) -> TpmQuote {
        let bytes = self.read(name);
        let mut rest = bytes.as_slice();
        let mut counted = |each: usize| {
            let (count, tail) = rest.split_first_chunk::<8>().unwrap();
            let (field, tail) = tail.split_at(u64::from_le_bytes(*count) as usize * each);
            rest = tail;
            field.to_vec()
        };
        let (signature, message, values) = (counted(1), counted(1), counted(32));
        assert!(rest.is_empty());
        let pcrs = (0..).zip(values.chunks(32)).map(|(index, value)| Pcr {
            index,
            value: Digest256(value.try_into().unwrap()),
        });
        TpmQuote {
            pcrs: pcrs.collect(),
            pcrs_sha384: Vec::new(),
            message: Base64(message),
            signature: Base64(signature),
        }
    }
}

/// SubjectPublicKeyInfo of the HCLAkPub of variable data.
fn ak_of(var_data: &[u8]) -> Vec<u8> {
    let json: Value = serde_json::from_slice(var_data).unwrap();
    let ak = &json["keys"][0];
    assert_eq!(ak["kid"], "HCLAkPub");
    spki_of_jwk(ak["n"].as_str().unwrap(), ak["e"].as_str().unwrap()).unwrap()
}

fn alone(spki: Vec<u8>, quote: TpmQuote) -> TpmEvidence {
    TpmEvidence {
        ak_certificates: Vec::new(),
        ak_public: Base64(spki),
        event_log: None,
        quote,
    }
}

#[test]
fn every_vector_gets_the_verdict_of_the_manifest() {
    let Some(vectors) = Vectors::load("az-vtpm/") else {
        return;
    };
    let set = Set(vectors);
    let mut seen = BTreeMap::<&str, usize>::new();
    for path in set.0.rows.keys() {
        let name = path.trim_start_matches("az-vtpm/");
        let kind = match name {
            "az-snp-vtpm_evidence-genoa.json" | "az-snp-vtpm_evidence-v0.json" | "az-snp-vtpm_evidence-v2.json" => {
                assert!(set.0.rows[path].expect.starts_with("authentic"));
                check_az_snp(&set, name, &set.0.rows[path].values["product"]);
                "authentic"
            }
            "az-tdx-vtpm_evidence-v0.json" | "az-tdx-vtpm_evidence-v1.json" => {
                check_az_tdx(&set, name);
                "all but collateral"
            }
            "tpm_evidence.json" => {
                check_plain(&set);
                "authentic"
            }
            "az-snp-vtpm_hcl-report.bin" | "az-snp-vtpm_quote.bin" | "az-snp-vtpm_vcek.pem" => {
                check_snp_parts(&set);
                "part"
            }
            "az-tdx-vtpm_hcl-report.bin" | "az-tdx-vtpm_quote.bin" | "az-tdx-vtpm_td-quote.bin" => {
                check_tdx_parts(&set);
                "part"
            }
            "az-snp-vtpm_tpm-quote.msg" | "az-snp-vtpm_tpm-quote.sig" => {
                check_lonely_quote(&set);
                "part"
            }
            "az-snp-vtpm_vcek-genoa.pem" => {
                let evidence = set.az_snp("az-snp-vtpm_evidence-genoa.json");
                assert_eq!(evidence.vek.0, set.certificate(name));
                "part"
            }
            "kinvolk_hcl-report-snp.bin" | "kinvolk_certs.pem" => {
                check_kinvolk_snp(&set);
                "part"
            }
            "kinvolk_hcl-report-tdx.bin" => {
                let report = HclReport::parse(&set.read(name)).unwrap();
                assert_eq!(report.kind, HclKind::Tdx);
                // Another machine's report beside a quote.
                let mut mixed = set.az_tdx("az-tdx-vtpm_evidence-v1.json");
                mixed.hcl_report = Base64(set.read(name));
                assert_eq!(verdict(mixed, &Anchors::vendor()), "hcl.td_report.mismatch");
                "part"
            }
            "kinvolk_quote.bin" | "kinvolk_akpub.pem" => {
                let spki = pem(&set.read("kinvolk_akpub.pem"), "PUBLIC KEY").remove(0);
                let evidence = alone(spki.clone(), set.bincode_quote("kinvolk_quote.bin"));
                let authentic = judge(evidence.clone(), &pin(&spki)).unwrap();
                assert_eq!(tpm(&authentic).ak_origin, AkOrigin::Pinned);
                let unknown = judge(evidence, &Anchors::vendor()).unwrap();
                assert_eq!(tpm(&unknown).ak_origin, AkOrigin::Unknown);
                "part"
            }
            "kinvolk_var-data.bin" => {
                ak_of(&set.read(name));
                "part"
            }
            "openpcc_azure_ak_certificates.txt" => {
                check_azure_chain(&set);
                "chain"
            }
            "openpcc_gce_ak_certificates.txt" => {
                check_gce_chain(&set);
                "chain"
            }
            "openpcc_azure_tpm_intermediate_01.pem"
            | "openpcc_azure_tpm_intermediate_03.pem"
            | "openpcc_azure_tpm_root_2023.pem"
            | "openpcc_gce_ek_ak_root.pem" => "used by a chain",
            // Judged with the other logs, in tests/eventlog; its key signed none of the quotes here.
            "openpcc_tcg_eventlog.txt" => {
                assert_eq!(pem(&set.read(name), "PUBLIC KEY").len(), 1);
                "log"
            }
            other => panic!("{other}: no test for this vector"),
        };
        *seen.entry(kind).or_default() += 1;
    }
    assert_eq!(
        seen,
        BTreeMap::from([
            ("all but collateral", 2),
            ("authentic", 4),
            ("chain", 2),
            ("log", 1),
            ("part", 15),
            ("used by a chain", 4),
        ]),
        "vectors were added or removed: say what must hold for them"
    );
}

fn check_az_snp(set: &Set, name: &str, product: &str) {
    let evidence = set.az_snp(name);
    let authentic = judge(evidence.clone(), &Anchors::vendor()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(!authentic.is_simulated());
    let Claims::AzSnp(claims) = authentic.claims() else {
        panic!()
    };
    assert_eq!(claims.snp.product.name(), product);
    assert_eq!(claims.snp.report.vmpl, 0);
    assert!(!claims.snp.report.guest_policy().debug());
    assert_eq!(claims.tpm.ak_origin, AkOrigin::CpuEvidence);
    assert_eq!(claims.tpm.pcrs.len(), 24, "Azure's agents quote the whole SHA-256 bank");
    assert_eq!(claims.tpm.pcrs[&17], [0xff; 32]);
    assert_eq!(claims.hcl.configuration.secure_boot, Some(true));
    assert_eq!(claims.hcl.configuration.console_enabled, Some(true));
    let expected = match name {
        "az-snp-vtpm_evidence-v0.json" => b"challenge".to_vec(),
        _ => hex::decode(if name.contains("genoa") {
            "0218488bae25d2509232bf676f1a66a30d7372add909109b36016ef136f2938ca05475f8b46094de6b64270ea35d950f"
        } else {
            "982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef"
        })
        .unwrap(),
    };
    assert_eq!(claims.tpm.qualifying_data, expected);
    let user_data = claims.hcl.user_data.as_ref().unwrap();
    assert_eq!(user_data.len(), 64);
    assert_eq!(user_data.starts_with(&expected), name.contains("v2"));

    // The nearest that must be refused.
    let with = |edit: &dyn Fn(&mut AzSnpEvidence)| {
        let mut evidence = evidence.clone();
        edit(&mut evidence);
        verdict(evidence, &Anchors::vendor())
    };
    assert_eq!(with(&|e| e.quote.pcrs[8].value.0[0] ^= 1), "tpm.quote.pcr_digest");
    assert_eq!(
        with(&|e| {
            e.quote.pcrs.pop();
        }),
        "tpm.quote.pcrs"
    );
    assert_eq!(with(&|e| e.quote.message.0[50] ^= 1), "tpm.signature.invalid");
    assert_eq!(with(&|e| e.quote.signature.0[9] ^= 1), "tpm.signature.invalid");
    assert_eq!(with(&|e| e.hcl_report.0[32 + 0x50] ^= 1), "snp.signature.invalid");
    // The name of the machine in the variable data.
    let at = evidence
        .hcl_report
        .0
        .windows(10)
        .position(|w| w == b"vmUniqueId")
        .unwrap()
        + 13;
    assert_eq!(with(&|e| e.hcl_report.0[at] ^= 1), "hcl.var_data.binding");
    assert_eq!(
        with(&|e| e.quote = set.bincode_quote("az-snp-vtpm_quote.bin")),
        "tpm.signature.invalid",
        "another machine's vTPM"
    );
}

/// No collateral of these platforms is public: what is refused is that, and nothing before it.
fn check_az_tdx(set: &Set, name: &str) {
    let evidence = set.az_tdx(name);
    assert_eq!(verdict(evidence.clone(), &Anchors::vendor()), "tdx.collateral.missing");
    let report = HclReport::parse(&evidence.hcl_report.0).unwrap();
    let guest = alone(ak_of(&report.var_data), evidence.quote.clone());
    let authentic = judge(guest, &pin(&ak_of(&report.var_data))).unwrap();
    assert_eq!(tpm(&authentic).qualifying_data, b"challenge");
    assert_eq!(tpm(&authentic).pcrs.len(), 24);

    let with = |edit: &dyn Fn(&mut AzTdxEvidence)| {
        let mut evidence = evidence.clone();
        edit(&mut evidence);
        verdict(evidence, &Anchors::vendor())
    };
    assert_eq!(with(&|e| e.quote.pcrs[8].value.0[0] ^= 1), "tpm.quote.pcr_digest");
    assert_eq!(with(&|e| e.quote.message.0[50] ^= 1), "tpm.signature.invalid");
    assert_eq!(
        with(&|e| e.hcl_report.0[32 + 128] ^= 1),
        "hcl.td_report.mismatch",
        "REPORTDATA"
    );
    assert_eq!(
        with(&|e| e.hcl_report.0[32 + 512 + 16] ^= 1),
        "hcl.report.malformed",
        "MRTD under its hash"
    );
    assert_eq!(with(&|e| e.hcl_report.0[32] ^= 1), "hcl.report.malformed", "REPORTTYPE");
    assert_eq!(
        with(&|e| e.hcl_report.0[32 + 1100] = 1),
        "hcl.report.malformed",
        "behind the TDREPORT"
    );
    assert_eq!(with(&|e| e.td.event_log = Some(Base64(Vec::new()))), "hcl.event_log");
    let at = evidence
        .hcl_report
        .0
        .windows(10)
        .position(|w| w == b"vmUniqueId")
        .unwrap()
        + 13;
    assert_eq!(with(&|e| e.hcl_report.0[at] ^= 1), "hcl.var_data.binding");
    // MRTD of the quote, and its signature, which comes after.
    assert_eq!(with(&|e| e.td.quote.0[48 + 136] ^= 1), "hcl.td_report.mismatch");
    assert_eq!(with(&|e| e.td.quote.0[636] ^= 1), "tdx.signature.invalid");
    let snp = set.read("az-snp-vtpm_hcl-report.bin");
    assert_eq!(with(&|e| e.hcl_report = Base64(snp.clone())), "hcl.report.kind");
}

fn check_plain(set: &Set) {
    let RawEvidence::Tpm(evidence) = set.foreign(ForeignFormat::CocoTpm, "tpm_evidence.json") else {
        panic!()
    };
    let authentic = judge(evidence.clone(), &pin(&evidence.ak_public.0)).unwrap();
    let claims = tpm(&authentic);
    assert_eq!(claims.ak_origin, AkOrigin::Pinned);
    assert_eq!(claims.qualifying_data.len(), 64);
    assert_eq!(claims.pcrs.len(), 24);
    assert_eq!(claims.firmware_version, 0x2019_1023_0016_3636, "swtpm");
    let unknown = judge(evidence.clone(), &Anchors::vendor()).unwrap();
    assert_eq!(tpm(&unknown).ak_origin, AkOrigin::Unknown);
    let mut changed = evidence.clone();
    changed.quote.pcrs[16].value.0[0] ^= 1;
    assert_eq!(verdict(changed, &Anchors::vendor()), "tpm.quote.pcr_digest");
    let mut prefix = evidence;
    prefix.quote.pcrs.truncate(16);
    assert_eq!(verdict(prefix, &Anchors::vendor()), "tpm.quote.pcrs");
}

/// The parts of one machine make one whole.
fn check_snp_parts(set: &Set) {
    let evidence = AzSnpEvidence {
        ask: None,
        crl: None,
        event_log: None,
        hcl_report: Base64(set.read("az-snp-vtpm_hcl-report.bin")),
        quote: set.bincode_quote("az-snp-vtpm_quote.bin"),
        vek: Base64(set.certificate("az-snp-vtpm_vcek.pem")),
    };
    let authentic = judge(evidence.clone(), &Anchors::vendor()).unwrap();
    assert_eq!(tpm(&authentic).qualifying_data, b"challenge");
    let mut swapped = evidence;
    swapped.vek = Base64(set.certificate("kinvolk_certs.pem"));
    assert_eq!(verdict(swapped, &Anchors::vendor()), "snp.signature.invalid");
}

fn check_tdx_parts(set: &Set) {
    let evidence = AzTdxEvidence {
        event_log: None,
        hcl_report: Base64(set.read("az-tdx-vtpm_hcl-report.bin")),
        quote: set.bincode_quote("az-tdx-vtpm_quote.bin"),
        td: TdxEvidence {
            collateral: None,
            event_log: None,
            quote: Base64(set.read("az-tdx-vtpm_td-quote.bin")),
        },
    };
    assert_eq!(verdict(evidence, &Anchors::vendor()), "tdx.collateral.missing");
}

/// Message and signature of a machine whose key is not public: they parse, and no key here signed them.
fn check_lonely_quote(set: &Set) {
    let message = set.read("az-snp-vtpm_tpm-quote.msg");
    let attest = Attest::read_unauthenticated(&message).unwrap();
    assert_eq!(attest.qualifying_data, b"challenge");
    let selected: Vec<u8> = attest.selected.into_iter().collect();
    assert_eq!(selected, [0, 1, 2, 3, 4, 5, 6, 7, 14]);
    let quote = TpmQuote {
        message: Base64(message),
        pcrs: selected
            .into_iter()
            .map(|index| Pcr {
                index,
                value: Digest256([0; 32]),
            })
            .collect(),
        pcrs_sha384: Vec::new(),
        signature: Base64(set.read("az-snp-vtpm_tpm-quote.sig")),
    };
    let spki = pem(&set.read("kinvolk_akpub.pem"), "PUBLIC KEY").remove(0);
    assert_eq!(verdict(alone(spki, quote), &Anchors::vendor()), "tpm.signature.invalid");
}

/// The certificate beside the report is another chip's: the report parses, names its variable data, and is nobody's.
fn check_kinvolk_snp(set: &Set) {
    let report = HclReport::parse(&set.read("kinvolk_hcl-report-snp.bin")).unwrap();
    assert_eq!(report.kind, HclKind::Snp);
    assert_eq!(report.hardware_report[0x50..0x70], Digest256::of(&report.var_data).0);
    let evidence = AzSnpEvidence {
        ask: None,
        crl: None,
        event_log: None,
        hcl_report: Base64(set.read("kinvolk_hcl-report-snp.bin")),
        quote: set.bincode_quote("kinvolk_quote.bin"),
        vek: Base64(set.certificate("kinvolk_certs.pem")),
    };
    assert_eq!(verdict(evidence, &Anchors::vendor()), "snp.signature.invalid");
}

/// A chain is judged before the quote: a good one under a foreign quote is refused for the quote alone.
fn chain_verdict(set: &Set, chain: &[Vec<u8>], root: &[u8], now: UnixTime) -> &'static str {
    let spki = spki_of_certificate(&chain[0]);
    let mut evidence = alone(spki, set.bincode_quote("kinvolk_quote.bin"));
    evidence.ak_certificates = chain.iter().cloned().map(Base64).collect();
    let anchors = Anchors::vendor().with_tpm_root(root.to_vec());
    let parsed = match RawEvidence::Tpm(evidence).parse() {
        Ok(parsed) => parsed,
        Err(e) => return e.code(),
    };
    let verdict = parsed.authenticate(&anchors, &Default::default(), now);
    verdict.map_or_else(|e| e.code(), |_| "accepted")
}

/// The RSA-2048 SubjectPublicKeyInfo inside a certificate, by its fixed head.
fn spki_of_certificate(der: &[u8]) -> Vec<u8> {
    let head = hex::decode("30820122300d06092a864886f70d01010105000382010f00").unwrap();
    let at = der.windows(head.len()).position(|w| w == head).unwrap();
    der[at..at + 294].to_vec()
}

fn check_azure_chain(set: &Set) {
    let leaves = pem(&set.read("openpcc_azure_ak_certificates.txt"), "CERTIFICATE");
    let root = set.certificate("openpcc_azure_tpm_root_2023.pem");
    let intermediate = set.certificate("openpcc_azure_tpm_intermediate_03.pem");
    let good = "tpm.signature.invalid";
    assert_eq!(
        chain_verdict(set, &[leaves[0].clone(), intermediate.clone()], &root, NOW),
        good
    );
    // The second was read out of an NV index of 4096 bytes and carries its zeros.
    assert_eq!(leaves[1].len(), 4096);
    let padded = chain_verdict(set, &[leaves[1].clone(), intermediate.clone()], &root, NOW);
    assert_eq!(padded, "tpm.cert.malformed");
    let second = leaves[1][..1009].to_vec();
    assert_eq!(
        chain_verdict(set, &[second.clone(), intermediate.clone()], &root, NOW),
        good
    );

    // Its predecessor has another key and is over by now; the leaves were issued later.
    let former = set.certificate("openpcc_azure_tpm_intermediate_01.pem");
    assert_eq!(
        chain_verdict(set, &[second.clone(), former.clone()], &root, EARLIER),
        "tpm.chain.link"
    );
    assert_eq!(
        chain_verdict(set, &[second.clone(), intermediate.clone()], &root, EARLIER),
        good
    );
    let first = chain_verdict(set, &[leaves[0].clone(), intermediate.clone()], &root, EARLIER);
    assert_eq!(first, "tpm.cert.not_yet_valid");
    // 2026-08-12T00:00:00Z is the last second of the second.
    let last = UnixTime(1_786_492_800);
    assert_eq!(
        chain_verdict(set, &[second.clone(), intermediate.clone()], &root, last),
        good
    );
    let over = UnixTime(last.0 + 1);
    assert_eq!(
        chain_verdict(set, &[second.clone(), intermediate.clone()], &root, over),
        "tpm.cert.expired"
    );
    // Another cloud's root.
    let gce = set.certificate("openpcc_gce_ek_ak_root.pem");
    assert_eq!(
        chain_verdict(set, &[second.clone(), intermediate], &gce, NOW),
        "tpm.chain.root"
    );
    assert_eq!(chain_verdict(set, &[second], &root, NOW), "tpm.chain.root");
}

fn check_gce_chain(set: &Set) {
    let chain = pem(&set.read("openpcc_gce_ak_certificates.txt"), "CERTIFICATE");
    let root = set.certificate("openpcc_gce_ek_ak_root.pem");
    assert_eq!(chain.len(), 2);
    assert_eq!(chain_verdict(set, &chain, &root, NOW), "tpm.signature.invalid");
    let azure = set.certificate("openpcc_azure_tpm_root_2023.pem");
    assert_eq!(chain_verdict(set, &chain, &azure, NOW), "tpm.chain.root");
    let mut forged = chain.clone();
    *forged[0].last_mut().unwrap() ^= 1;
    assert_eq!(chain_verdict(set, &forged, &root, NOW), "tpm.chain.link");
}

/// A boot of a Debian kernel with a software TPM, quoted by its own tools: PCR 0 to 11 of the SHA-256 bank, and 0, 4 and 9 of
/// the SHA-384 bank. The values of the latter are those that the log leads to; the TPM's signature says so.
#[test]
fn a_real_quote_over_two_banks_is_read_whole() {
    let Some(vectors) = Vectors::load("measured-boot/local/") else {
        return;
    };
    let read = |name: &str| vectors.read(&format!("measured-boot/local/{name}"));
    let attest = Attest::read_unauthenticated(&read("quote.msg")).unwrap();
    let selected: Vec<_> = attest.selected_sha384.iter().copied().collect();
    assert_eq!((attest.selected.len(), selected.as_slice()), (12, &[0, 4, 9][..]));

    let text = String::from_utf8(read("pcrs-sha256.txt")).unwrap();
    let values = text
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.to_ascii_lowercase());
    let sha256 = attest.selected.iter().zip(values).map(|(index, value)| Pcr {
        index: *index,
        value: Digest256::from_hex(&value).unwrap(),
    });
    let log = read("qemu10-ovmf2025.02-swtpm-direct612.eventlog.bin");
    let replayed = EventLog::parse_tcg(&log).unwrap().registers(Algorithm::Sha384).unwrap();
    let sha384 = selected.iter().map(|index| Pcr {
        index: *index,
        value: Digest384(replayed[&u32::from(*index)].as_slice().try_into().unwrap()),
    });
    let mut good = alone(
        pem(&read("ak.pub.pem"), "PUBLIC KEY").remove(0),
        TpmQuote {
            message: Base64(read("quote.msg")),
            pcrs: sha256.collect(),
            pcrs_sha384: sha384.collect(),
            signature: Base64(read("quote.sig")),
        },
    );
    good.event_log = Some(Base64(log));
    let anchors = pin(&good.ak_public.0);
    let authentic = judge(good.clone(), &anchors).unwrap();
    let claims = tpm(&authentic);
    assert_eq!(claims.pcrs_sha384.keys().copied().collect::<Vec<_>>(), [0, 4, 9]);
    assert!(claims.event_log.is_some());

    let with = |change: &dyn Fn(&mut TpmEvidence)| {
        let mut evidence = good.clone();
        change(&mut evidence);
        verdict(evidence, &anchors)
    };
    assert_eq!(
        with(&|e| e.quote.pcrs_sha384[1].value.0[0] ^= 1),
        "tpm.quote.pcr_digest"
    );
    assert_eq!(with(&|e| e.quote.pcrs_sha384.clear()), "tpm.quote.pcrs");
    assert_eq!(with(&|e| drop(e.quote.pcrs_sha384.pop())), "tpm.quote.pcrs");
}
