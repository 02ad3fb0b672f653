//! A guest whose configuration says `aci = "on"`: its report verifies as the foreign document that it is, its receipts verify under that
//! report's keyset, and what is simulated is called so in each.

use hanzo_attestation::bundle::{Base64, CpuEvidence, TpmEvidence, TpmQuote};
use hanzo_attestation::foreign::{ForeignEvidence, ForeignExpectation, ForeignFormat, Supplied};
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_attestation::{Digest256, Nonce, UnixTime};
use hanzo_device::{Attester, DeviceError, TimeSource};
use hanzo_verifier::aci::{AciKeyset, verify_aci_receipt};
use hanzo_verifier::foreign::verify_foreign;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use serde_json::Value;

use crate::client::{Connection, connect};
use crate::served::context;
use crate::world::{Simulated, World};

const CHAT: &str = "/v1/chat/completions";
const DRAWN: Nonce = Nonce([0x5a; 32]);

/// A configuration that asks for it.
async fn asking() -> World {
    let mut world = World::new().await;
    let config = world
        .config
        .replacen("auth = \"none\"\n", "auth = \"none\"\naci = \"on\"\n", 1);
    assert_ne!(config, world.config);
    world.configure(config);
    world
}

fn read(report: &[u8], nonce: Option<Nonce>) -> Result<ForeignEvidence, &'static str> {
    let supplied = Supplied {
        nonce: nonce.map(|nonce| nonce.0),
        ..Supplied::default()
    };
    ForeignEvidence::read(ForeignFormat::Aci, report, &supplied).map_err(|e| e.code())
}

fn keyset(evidence: &ForeignEvidence) -> AciKeyset {
    let document = evidence.documents().iter().find(|d| d.name == "workload_keyset");
    AciKeyset::from_json(&document.unwrap().bytes).unwrap()
}

async fn owned(connection: &mut Connection, method: &str, path: &str, body: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "guest")
        .header("content-type", "application/json")
        .header("hanzo-owner", "4f".repeat(32))
        .body(Full::from(body.to_owned()))
        .unwrap();
    let (status, body) = connection.send(request).await;
    (status, body.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn report_and_receipts_verify_together_and_say_simulated_everywhere() {
    let world = asking().await;
    let guest = world.boot().await;
    let own = guest.ready.keyset.clone();
    let mut connection = connect(&guest.ready.address).await;
    let (status, report) = connection.get(&format!("/v1/aci/attestation?nonce={DRAWN}")).await;
    assert_eq!(status, StatusCode::OK, "{report:?}");
    let evidence = read(&report, Some(DRAWN)).unwrap();
    let now = UnixTime(own.issued_at);
    let expected = ForeignExpectation {
        nonce: Some(DRAWN.0.to_vec()),
        ..ForeignExpectation::default()
    };
    let reading = verify_foreign(&evidence, &expected, &context(&world), now).unwrap();
    assert!(reading.simulated() && reading.challenged());
    assert_eq!(evidence.not_after(), Some(own.not_after));
    // Another challenge is another statement; the standing report answers nobody.
    assert_eq!(read(&report, Some(Nonce([1; 32]))).unwrap_err(), "foreign.recomputed");
    let (_, standing) = connection.get("/v1/aci/attestation").await;
    assert!(read(&standing, None).is_ok());
    assert_eq!(read(&standing, Some(DRAWN)).unwrap_err(), "foreign.recomputed");

    // Nowhere does it look like a real one.
    let document: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(document["attestation"]["tee_type"], "hanzo-simulated");
    assert_eq!(document["simulated"], true);
    assert!(document["attestation"]["evidence"].get("report").is_none());
    let said = &document["attestation"]["workload_keyset"];
    assert_eq!(said["hanzo"]["simulated"], true);
    assert_eq!(said["hanzo"]["keyset_digest"], guest.ready.keyset_digest.to_string());
    assert_eq!(
        said["tls_public_keys"][0]["spki_sha256"],
        own.tls_spki_sha256.to_string()
    );
    let mut real = document.clone();
    real["attestation"]["tee_type"] = "sev_snp".into();
    assert_eq!(
        read(real.to_string().as_bytes(), Some(DRAWN)).unwrap_err(),
        "foreign.field"
    );

    // Receipts, plain and streamed, over the exact bytes.
    let keyset = keyset(&evidence);
    assert!(keyset.simulated());
    for more in ["", r#","stream":true"#] {
        let question =
            format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"Capital of France?"}}]{more}}}"#);
        let (status, answer) = owned(&mut connection, "POST", CHAT, &question).await;
        assert_eq!(status, StatusCode::OK);
        let text = String::from_utf8(answer.clone()).unwrap();
        let at = text.find("chatcmpl-").unwrap();
        let chat_id = text[at..at + "chatcmpl-".len() + 32].to_owned();
        let path = format!("/v1/aci/receipts/{chat_id}");
        let (status, receipt) = owned(&mut connection, "GET", &path, "").await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let verified = verify_aci_receipt(&receipt, &keyset).unwrap();
        verified.check_request(question.as_bytes()).unwrap();
        verified.check_response(&answer).unwrap();
        assert_eq!(verified.receipt().simulated, Some(true));
        assert_eq!(
            connection.get(&path).await.0,
            StatusCode::NOT_FOUND,
            "without its owner"
        );
        let changed = String::from_utf8(receipt)
            .unwrap()
            .replace("\"simulated\":true", "\"simulated\":false");
        let refused = verify_aci_receipt(changed.as_bytes(), &keyset).unwrap_err();
        assert_eq!(refused.code(), "aci.signature");
    }
    // Its own capabilities name it; a guest that is not asked has none of this.
    assert!(guest.stop().await.is_ok());
    let plain = World::new().await;
    let guest = plain.boot().await;
    assert_ne!(guest.ready.keyset.capability_digest, own.capability_digest);
    let mut connection = connect(&guest.ready.address).await;
    assert_eq!(connection.get("/v1/aci/attestation").await.0, StatusCode::NOT_FOUND);
    guest.stop().await.unwrap();
}

/// Gives evidence of another kind once it is asked for ACI's statement.
struct OfATpm(Simulated);

impl Attester for OfATpm {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        // ACI's REPORT_DATA ends in 32 zeros, ours does not.
        if request.report_data()[32..] != [0; 32] {
            return self.0.evidence(request);
        }
        Ok(CpuEvidence::Tpm(TpmEvidence {
            ak_certificates: vec![],
            ak_public: Base64(vec![]),
            event_log: None,
            quote: TpmQuote {
                message: Base64(vec![]),
                pcrs: vec![],
                pcrs_sha384: vec![],
                signature: Base64(vec![]),
            },
        }))
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        self.0.measured_config_digest()
    }

    fn time_source(&self) -> TimeSource {
        self.0.time_source()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_evidence_no_such_report_holds_does_not_boot_with_it() {
    let mut world = asking().await;
    world.attester = Some(Box::new(|guest| Box::new(OfATpm(Simulated(guest)))));
    let refused = world.refused().await;
    assert_eq!(refused.code(), "aci.kind", "{refused}");
    assert!(refused.to_string().contains("tpm"), "{refused}");
    let mut world = World::new().await;
    world.attester = Some(Box::new(|guest| Box::new(OfATpm(Simulated(guest)))));
    world.boot().await.stop().await.unwrap();
}
