//! Guests under Azure's paravisor: the endorsements are those of the hardware evidence inside.

use std::sync::LazyLock;

use hanzo_attestation::bundle::{AzSnpEvidence, Base64, CpuEvidence, TdxEvidence};
use hanzo_attestation::snp::Product;
use hanzo_attestation::{Anchors, Collateral, RawEvidence, jcs};
use hanzo_attestation::{Digest256, Digest384};
use hanzo_collateral::{Origin, staple};
use hanzo_simulated_tee::{
    AkKind, CollateralSpec, LaunchSpec, PckSpec, QuoteFormat, SimulatedProcessor, SimulatedTdx, SimulatedTpm, TdSpec,
    TpmSpec,
};

use crate::server::Server;
use crate::snp::{Guest, NOW, config, direct, fetcher};
use crate::tdx;

/// A TPM as Azure's: with an RSA key, whose primes take a while to find.
static VTPM: LazyLock<SimulatedTpm> = LazyLock::new(|| {
    let spec = TpmSpec {
        ak: AkKind::Rsa2048,
        ..TpmSpec::new("vtpm")
    };
    SimulatedTpm::from_seed(b"tests of the tpm module, seed 01", &spec).unwrap()
});

fn verify_offline(bytes: &[u8], anchors: &Anchors) -> CpuEvidence {
    let cpu: CpuEvidence = jcs::from_slice("evidence", bytes, 1 << 21).unwrap();
    let parsed = RawEvidence::from(cpu.clone()).parse().unwrap();
    parsed.authenticate(anchors, &Collateral::default(), NOW).unwrap();
    cpu
}

#[tokio::test]
async fn an_snp_guest_gets_certificates_and_list_and_its_vtpm_is_left_alone() {
    let (server, guest) = (Server::start().await, Guest::new(Product::Genoa));
    guest.serve(&server);
    let spec = LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]));
    let whole = VTPM.az_snp(&SimulatedProcessor::for_tests().launch(spec), &[5; 32]);
    let bare = AzSnpEvidence {
        ask: None,
        crl: None,
        vek: Base64(vec![]),
        ..whole
    };
    let config = config(&server, &guest.processor);
    let anchors = config.anchors.clone();
    let document = jcs::to_vec("evidence", &CpuEvidence::AzSnpVtpm(bare.clone())).unwrap();
    let stapled = staple(&document, &fetcher(config, None), NOW).await.unwrap();
    assert!(stapled.missing.is_empty(), "{:?}", stapled.missing);
    let CpuEvidence::AzSnpVtpm(after) = verify_offline(&stapled.bytes, &anchors) else {
        panic!()
    };
    assert_eq!((&after.hcl_report, &after.quote), (&bare.hcl_report, &bare.quote));
    let parts: Vec<_> = stapled.carries.iter().map(|w| (w.part, w.origin)).collect();
    assert_eq!(parts, ["cpu.vek", "cpu.ask", "cpu.crl"].map(|p| (p, Origin::Fetched)));

    let short = AzSnpEvidence {
        hcl_report: Base64(vec![0; 1000]),
        ..bare
    };
    let document = jcs::to_vec("evidence", &CpuEvidence::AzSnpVtpm(short)).unwrap();
    let refused = staple(&document, &fetcher(direct(&server), None), NOW)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "staple.input");
}

#[tokio::test]
async fn a_tdx_guest_gets_its_collateral() {
    let (server, platform) = (Server::start().await, SimulatedTdx::for_tests());
    let collateral = platform.collateral(&CollateralSpec::new(NOW));
    tdx::serve_as_intel(&server, &collateral, PckSpec::default().fmspc);
    let quote = |report_data: &[u8; 64]| TdxEvidence {
        collateral: None,
        event_log: None,
        quote: Base64(platform.quote(&TdSpec::new(QuoteFormat::V4), report_data)),
    };
    let bare = VTPM.az_tdx(quote, &[5; 32]);
    let mut config = direct(&server);
    config.anchors = Anchors::vendor().with_simulator_tdx_root(platform.root_der().to_vec());
    let anchors = config.anchors.clone();
    let document = jcs::to_vec("evidence", &CpuEvidence::AzTdxVtpm(bare)).unwrap();
    let stapled = staple(&document, &fetcher(config, None), NOW).await.unwrap();
    let CpuEvidence::AzTdxVtpm(after) = verify_offline(&stapled.bytes, &anchors) else {
        panic!()
    };
    assert_eq!(after.td.collateral, Some(collateral));
}

#[tokio::test]
async fn a_tpm_alone_needs_nothing() {
    let server = Server::start().await;
    let evidence = CpuEvidence::Tpm(SimulatedTpm::for_tests().evidence(&[5; 32]));
    let document = jcs::to_vec("evidence", &evidence).unwrap();
    let stapled = staple(&document, &fetcher(direct(&server), None), NOW).await.unwrap();
    assert_eq!(stapled.bytes, document);
    assert!(stapled.carries.is_empty() && stapled.missing.is_empty() && server.seen().is_empty());
}
