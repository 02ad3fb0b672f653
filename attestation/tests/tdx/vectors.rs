//! The public vectors. They are not part of this repository; without them the tests that need them say so and check
//! nothing.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::UnixTime;
use hanzo_attestation::bundle::{Base64, TdxCollateral};
use serde_json::Value;

/// 2023-07-01T00:00:00Z.
pub const JULY_2023: UnixTime = UnixTime(1_688_169_600);
/// 2025-07-01T00:00:00Z.
pub const JULY_2025: UnixTime = UnixTime(1_751_328_000);

/// CN Intel SGX TCB Signing, 2018-05-21 to 2025-05-21: signer of the collateral of 2023, whose issuer chains travelled in
/// HTTP headers and are not among the files. Nothing trusts it: the root's signature over it is checked like any other.
const TCB_SIGNING_2018: &str = "-----BEGIN CERTIFICATE-----
MIICizCCAjKgAwIBAgIUfjiC1ftVKUpASY5FhAPpFJG99FUwCgYIKoZIzj0EAwIw
aDEaMBgGA1UEAwwRSW50ZWwgU0dYIFJvb3QgQ0ExGjAYBgNVBAoMEUludGVsIENv
cnBvcmF0aW9uMRQwEgYDVQQHDAtTYW50YSBDbGFyYTELMAkGA1UECAwCQ0ExCzAJ
BgNVBAYTAlVTMB4XDTE4MDUyMTEwNTAxMFoXDTI1MDUyMTEwNTAxMFowbDEeMBwG
A1UEAwwVSW50ZWwgU0dYIFRDQiBTaWduaW5nMRowGAYDVQQKDBFJbnRlbCBDb3Jw
b3JhdGlvbjEUMBIGA1UEBwwLU2FudGEgQ2xhcmExCzAJBgNVBAgMAkNBMQswCQYD
VQQGEwJVUzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABENFG8xzydWRfK92bmGv
P+mAh91PEyV7Jh6FGJd5ndE9aBH7R3E4A7ubrlh/zN3C4xvpoouGlirMba+W2lju
ypajgbUwgbIwHwYDVR0jBBgwFoAUImUM1lqdNInzg7SVUr9QGzknBqwwUgYDVR0f
BEswSTBHoEWgQ4ZBaHR0cHM6Ly9jZXJ0aWZpY2F0ZXMudHJ1c3RlZHNlcnZpY2Vz
LmludGVsLmNvbS9JbnRlbFNHWFJvb3RDQS5kZXIwHQYDVR0OBBYEFH44gtX7VSlK
QEmORYQD6RSRvfRVMA4GA1UdDwEB/wQEAwIGwDAMBgNVHRMBAf8EAjAAMAoGCCqG
SM49BAMCA0cAMEQCIB9C8wOAN/ImxDtGACV246KcqjagZOR0kyctyBrsGGJVAiAj
ftbrNGsGU8YH211dRiYNoPPu19Zp/ze8JmhujB0oBw==
-----END CERTIFICATE-----
";

/// One line of the manifest.
pub struct Row {
    pub expect: String,
    pub clock: Option<UnixTime>,
    pub values: BTreeMap<String, String>,
    pub sha256: String,
}

/// The folder and its manifest.
pub struct Vectors {
    folder: PathBuf,
    pub rows: BTreeMap<String, Row>,
}

impl Vectors {
    pub fn load() -> Option<Self> {
        // A worktree lies one level deeper than a clone.
        let folder = ["/../../shared/vectors", "/../../../shared/vectors"]
            .iter()
            .map(|to| Path::new(&format!("{}{to}", env!("CARGO_MANIFEST_DIR"))).to_owned())
            .find(|f| f.join("MANIFEST.tsv").is_file());
        let Some(folder) = folder else {
            let _ = writeln!(
                std::io::stderr(),
                "VECTORS MISSING (shared/vectors beside the repository): real TDX evidence was NOT checked"
            );
            return None;
        };
        let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
        let rows = manifest.lines().filter(|line| line.starts_with("tdx/")).map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let values = columns[5].split("; ").filter_map(|pair| pair.split_once('='));
            let row = Row {
                expect: columns[3].to_owned(),
                clock: clock(columns[4]),
                values: values.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                sha256: columns[8].to_owned(),
            };
            (columns[0].trim_start_matches("tdx/").to_owned(), row)
        });
        Some(Self {
            rows: rows.collect(),
            folder,
        })
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.join("tdx").join(name)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// Collateral of FMSPC b0c06f000000, 2025-06-19 to 2025-07-19.
    pub fn collateral_2025(&self) -> TdxCollateral {
        let document: Value = serde_json::from_str(&self.text("collateral/tdx_quote_collateral.json")).unwrap();
        let text = |key: &str| document[key].as_str().unwrap().to_owned();
        let bytes = |key: &str| Base64(hex::decode(document[key].as_str().unwrap()).unwrap());
        TdxCollateral {
            pck_crl: bytes("pck_crl"),
            pck_crl_issuer_chain: text("pck_crl_issuer_chain"),
            qe_identity: text("qe_identity"),
            qe_identity_issuer_chain: text("qe_identity_issuer_chain"),
            qe_identity_signature: bytes("qe_identity_signature"),
            root_ca_crl: bytes("root_ca_crl"),
            tcb_info: text("tcb_info"),
            tcb_info_issuer_chain: text("tcb_info_issuer_chain"),
            tcb_info_signature: bytes("tcb_info_signature"),
        }
    }

    /// Collateral of FMSPC 50806f000000, 2023-06-18 to 2023-07-08.
    pub fn collateral_2023(&self) -> TdxCollateral {
        let newer = self.collateral_2025();
        let signing = format!("{TCB_SIGNING_2018}{}", self.text("collateral/intel_sgx_root_ca.pem"));
        let (tcb_info, tcb_info_signature) = answer(&self.text("collateral/google_sample_tcbInfo_response"));
        let (qe_identity, qe_identity_signature) = answer(&self.text("collateral/google_sample_qeIdentity_response"));
        TdxCollateral {
            pck_crl: Base64(self.read("collateral/google_pckcrl")),
            pck_crl_issuer_chain: newer.pck_crl_issuer_chain,
            qe_identity,
            qe_identity_issuer_chain: signing.clone(),
            qe_identity_signature,
            root_ca_crl: Base64(self.read("collateral/google_rootcrl.der")),
            tcb_info,
            tcb_info_issuer_chain: signing,
            tcb_info_signature,
        }
    }

    /// The collateral of Intel's test PKI.
    pub fn collateral_test_pki(&self) -> TdxCollateral {
        let chain = |leaf_and_root: &str| self.text(&format!("intel_qvl_testpki/{leaf_and_root}"));
        let (tcb_info, tcb_info_signature) = answer(&self.text("intel_qvl_testpki/tcbInfo.json"));
        let (qe_identity, qe_identity_signature) = answer(&self.text("intel_qvl_testpki/qeIdentity.json"));
        TdxCollateral {
            pck_crl: Base64(self.read("intel_qvl_testpki/intermediateCaCrl.der")),
            pck_crl_issuer_chain: leaf_first(&chain("pckSignChain.pem")),
            qe_identity,
            qe_identity_issuer_chain: leaf_first(&chain("tcbSignChain.pem")),
            qe_identity_signature,
            root_ca_crl: Base64(self.read("intel_qvl_testpki/rootCaCrl.der")),
            tcb_info,
            tcb_info_issuer_chain: leaf_first(&chain("tcbSignChain.pem")),
            tcb_info_signature,
        }
    }

    /// The quote of Intel's test PKI with its chain in PEM, leaf first, instead of the DER it has: the chain is data
    /// that no signature covers.
    pub fn quote_test_pki(&self) -> Vec<u8> {
        let mut quote = self.read("intel_qvl_testpki/quote.dat");
        let pem = format!(
            "{}{}",
            self.text("intel_qvl_testpki/pckCert.pem").trim_end(),
            "\n".to_owned() + &leaf_first(&self.text("intel_qvl_testpki/pckSignChain.pem"))
        );
        // Header, body, length; signature, key; type 6 and its size; QE report, signature; no authentication data.
        let (outer, inner) = (48 + 584 + 4 + 128, 48 + 584 + 4 + 128 + 6 + 448 + 2);
        quote.truncate(inner + 2);
        let le = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
        quote.extend(le(pem.len()));
        quote.extend(pem.as_bytes());
        let total = quote.len();
        quote[outer + 2..outer + 6].copy_from_slice(&le(total - outer - 6));
        quote[632..636].copy_from_slice(&le(total - 636));
        quote
    }
}

/// Chains of the test PKI stand root first.
fn leaf_first(pem: &str) -> String {
    let mut certificates: Vec<_> = pem
        .replace('\r', "")
        .split_inclusive("-----END CERTIFICATE-----")
        .map(|c| c.trim().to_owned())
        .filter(|c| !c.is_empty())
        .collect();
    certificates.reverse();
    certificates.join("\n") + "\n"
}

/// `{"name":{...},"signature":"hex"}`: the bytes between are what is signed.
fn answer(text: &str) -> (String, Base64) {
    let text = text.trim();
    let start = text.find(":{").unwrap() + 1;
    let end = text.rfind(",\"signature\"").unwrap();
    let whole: Value = serde_json::from_str(text).unwrap();
    let signature = hex::decode(whole["signature"].as_str().unwrap()).unwrap();
    (text[start..end].to_owned(), Base64(signature))
}

fn clock(text: &str) -> Option<UnixTime> {
    let known = [
        ("none", None),
        ("2023-07-01T00:00:00Z", Some(JULY_2023.0)),
        ("2025-07-01T00:00:00Z", Some(JULY_2025.0)),
        ("2026-02-15T00:00:00Z", Some(1_771_113_600)),
        ("2026-07-01T00:00:00Z", Some(1_782_864_000)),
        ("2026-10-20T00:00:00Z", Some(1_792_454_400)),
    ];
    let found = known.iter().find(|(name, _)| *name == text);
    found
        .unwrap_or_else(|| panic!("the manifest has a new clock: {text}"))
        .1
        .map(UnixTime)
}
