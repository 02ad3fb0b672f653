//! SEV-SNP evidence of the simulator, and a key distribution service that serves its certificates.

use hanzo_attestation::bundle::{Base64, Bundle, CpuEvidence, SnpEvidence, device_list_digest};
use hanzo_attestation::snp::{Product, SigningKey, read_unauthenticated, roots};
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, RawEvidence, Revocation, UnixTime, jcs};
use hanzo_collateral::amd::vcek_url;
use hanzo_collateral::clock::Clock;
use hanzo_collateral::{Fetcher, FetcherConfig, HttpConfig, Origin, Pace, ProxyChoice, Stapled, Store, staple};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};

use crate::clock::VirtualClock;
use crate::server::{Server, ok, status};

/// 2025-09-01T00:00:00Z.
pub const NOW: UnixTime = UnixTime(1_756_684_800);

/// All services at this server, and no proxy.
pub fn direct(server: &Server) -> FetcherConfig {
    FetcherConfig {
        sources: server.sources(),
        http: HttpConfig {
            proxy: ProxyChoice::Direct,
            ..HttpConfig::default()
        },
        ..FetcherConfig::default()
    }
}

pub fn config(server: &Server, processor: &SimulatedProcessor) -> FetcherConfig {
    FetcherConfig {
        anchors: Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec()),
        ..direct(server)
    }
}

pub fn fetcher(config: FetcherConfig, store: Option<Store>) -> Fetcher {
    Fetcher::with_clock(config, store, VirtualClock::new())
}

pub fn pem(certificates: &[&[u8]]) -> String {
    use base64::Engine as _;
    let text = |der: &[u8]| {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<_> = body
            .as_bytes()
            .chunks(64)
            .map(|l| std::str::from_utf8(l).unwrap())
            .collect();
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    };
    certificates.iter().map(|der| text(der)).collect()
}

/// A guest, its whole evidence, and where its certificate is asked for.
pub struct Guest {
    pub processor: SimulatedProcessor,
    pub evidence: SnpEvidence,
    pub product: Product,
    pub vcek_path: String,
}

impl Guest {
    pub fn new(product: Product) -> Self {
        Self::launched(LaunchSpec {
            product,
            ..LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]))
        })
    }

    pub fn launched(spec: LaunchSpec) -> Self {
        let processor = SimulatedProcessor::for_tests();
        let product = spec.product;
        let chip = hex::encode(&spec.chip[..product.hwid_bytes()]);
        let fmc = if product == Product::Turin { "fmcSPL=00&" } else { "" };
        let vcek_path = format!(
            "GET /kds/vcek/v1/{}/{chip}?{fmc}blSPL=10&teeSPL=00&snpSPL=23&ucodeSPL=84",
            product.name()
        );
        let evidence = processor.launch(spec).evidence(&[7; 64]);
        Self {
            processor,
            evidence,
            product,
            vcek_path,
        }
    }

    pub fn crl_path(&self) -> String {
        format!("GET /kds/vcek/v1/{}/crl", self.product.name())
    }

    pub fn chain_path(&self) -> String {
        format!("GET /kds/vcek/v1/{}/cert_chain", self.product.name())
    }

    /// Serves everything.
    pub fn serve(&self, server: &Server) {
        server.on(&self.vcek_path, [ok(self.evidence.vek.0.clone())]);
        let ask = self.processor.intermediate_der(self.product, SigningKey::Vcek);
        server.on(&self.chain_path(), [ok(pem(&[ask, self.processor.ark_der()]))]);
        server.on(&self.crl_path(), [ok(self.processor.crl_der(NOW))]);
    }

    pub fn report(&self) -> &[u8] {
        &self.evidence.report.0
    }
}

/// The document verifies with nothing but the roots.
pub fn verify_offline(stapled: &Stapled, processor: &SimulatedProcessor) -> SnpEvidence {
    let cpu: CpuEvidence = jcs::from_slice("evidence", &stapled.bytes, 1 << 21).unwrap();
    let anchors = Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec());
    let authentic = RawEvidence::from(cpu.clone())
        .parse()
        .unwrap()
        .authenticate(&anchors, &Collateral::default(), NOW)
        .unwrap();
    assert!(matches!(authentic.revocation(), Revocation::Checked { .. }));
    match cpu {
        CpuEvidence::Snp(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_bare_report_of_every_product_gets_certificate_chain_and_list() {
    for product in Product::ALL {
        let (server, guest) = (Server::start().await, Guest::new(product));
        guest.serve(&server);
        let fetcher = fetcher(config(&server, &guest.processor), None);
        let stapled = staple(guest.report(), &fetcher, NOW).await.unwrap();
        assert!(stapled.missing.is_empty(), "{:?}", stapled.missing);
        let evidence = verify_offline(&stapled, &guest.processor);
        assert_eq!(evidence.vek, guest.evidence.vek);
        assert_eq!(evidence.ask, guest.evidence.ask);
        assert_eq!(evidence.report, guest.evidence.report);
        let parts: Vec<_> = stapled.carries.iter().map(|w| (w.part, w.origin)).collect();
        let all = ["cpu.vek", "cpu.ask", "cpu.crl"].map(|p| (p, Origin::Fetched));
        assert_eq!(parts, all);
        assert_eq!(stapled.carries[2].next_update, Some(UnixTime(NOW.0 + 30 * 86_400)));
        assert!(server.seen().contains(&guest.vcek_path), "{:?}", server.seen());
    }
}

#[tokio::test]
async fn a_version_2_report_without_cpuid_is_asked_for_at_both_products_that_have_such() {
    let (server, guest) = (
        Server::start().await,
        Guest::launched(LaunchSpec {
            product: Product::Genoa,
            version: 2,
            ..LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]))
        }),
    );
    guest.serve(&server);
    let stapled = staple(guest.report(), &fetcher(config(&server, &guest.processor), None), NOW)
        .await
        .unwrap();
    verify_offline(&stapled, &guest.processor);
    assert!(server.seen()[0].starts_with("GET /kds/vcek/v1/Milan/"));
    assert_eq!(server.seen()[1], guest.vcek_path);
}

#[tokio::test]
async fn what_evidence_has_and_holds_is_kept_and_a_stale_list_is_replaced() {
    let (server, guest) = (Server::start().await, Guest::new(Product::Genoa));
    guest.serve(&server);
    let fetcher = fetcher(config(&server, &guest.processor), None);
    let mut evidence = guest.evidence.clone();
    evidence.crl = Some(Base64(guest.processor.crl_der(NOW)));
    let whole = jcs::to_vec("evidence", &CpuEvidence::Snp(evidence.clone())).unwrap();
    let stapled = staple(&whole, &fetcher, NOW).await.unwrap();
    assert_eq!(stapled.bytes, whole, "nothing to add");
    assert!(stapled.carries.iter().all(|w| w.origin == Origin::Kept));
    assert!(server.seen().is_empty());

    evidence.crl = Some(Base64(guest.processor.crl_der(UnixTime(NOW.0 - 31 * 86_400))));
    let stale = jcs::to_vec("evidence", &CpuEvidence::Snp(evidence)).unwrap();
    let stapled = staple(&stale, &fetcher, NOW).await.unwrap();
    verify_offline(&stapled, &guest.processor);
    assert_eq!(server.seen(), [guest.crl_path()]);
}

#[tokio::test]
async fn a_certificate_for_firmware_before_an_update_is_replaced() {
    let (server, guest) = (Server::start().await, Guest::new(Product::Genoa));
    guest.serve(&server);
    let mut before = LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]));
    before.tcb.microcode -= 1;
    let mut evidence = guest.evidence.clone();
    evidence.vek = guest.processor.launch(before).evidence(&[7; 64]).vek;
    let old = jcs::to_vec("evidence", &CpuEvidence::Snp(evidence)).unwrap();
    let stapled = staple(&old, &fetcher(config(&server, &guest.processor), None), NOW)
        .await
        .unwrap();
    assert_eq!(verify_offline(&stapled, &guest.processor).vek, guest.evidence.vek);
}

#[tokio::test]
async fn the_statement_of_a_bundle_is_passed_through_and_only_endorsements_change() {
    let (server, guest) = (Server::start().await, Guest::new(Product::Genoa));
    guest.serve(&server);
    let bundle = crate::vectors::bundle(SnpEvidence {
        vek: Base64(vec![]),
        ask: None,
        ..guest.evidence.clone()
    });
    let fetcher = fetcher(config(&server, &guest.processor), None);
    let stapled = staple(&bundle.canonical().unwrap(), &fetcher, NOW).await.unwrap();
    let after = Bundle::parse(&stapled.bytes).unwrap();
    let digest = |b: &Bundle| device_list_digest(&b.devices).unwrap();
    assert_eq!(digest(&after), digest(&bundle));
    let CpuEvidence::Snp(evidence) = &after.cpu else {
        panic!()
    };
    assert_eq!(evidence.report, guest.evidence.report);
    assert_eq!(evidence.vek, guest.evidence.vek);
    let unstapled = Bundle {
        cpu: bundle.cpu.clone(),
        ..after
    };
    assert_eq!(unstapled, bundle, "nothing but endorsements differs");
}

/// What is wrong with the served item, and the code that says so.
async fn refused(serve: impl Fn(&Server, &Guest)) -> (&'static str, String) {
    let (server, guest) = (Server::start().await, Guest::new(Product::Genoa));
    guest.serve(&server);
    serve(&server, &guest);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    let fetcher = fetcher(config(&server, &guest.processor), Some(store));
    let stapled = staple(guest.report(), &fetcher, NOW).await.unwrap();
    let missing = stapled.missing.first().expect("something is refused");
    let kept = Store::open(&dir.path().join("cache")).unwrap().keys().unwrap();
    let refused = missing.part.trim_start_matches("cpu.").replace("vek", "vcek");
    assert!(
        !kept.iter().any(|k| k.to_string().starts_with(&refused)),
        "{refused} was kept: {kept:?}"
    );
    (missing.error.code(), missing.error.to_string())
}

#[tokio::test]
async fn wrong_content_is_refused_with_the_verifiers_own_code_and_never_kept() {
    let other_chip = |_: &Guest| {
        let mut spec = LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]));
        spec.chip[0] ^= 1;
        SimulatedProcessor::for_tests().launch(spec).evidence(&[7; 64]).vek.0
    };
    let (code, _) = refused(|s, g| s.on(&g.vcek_path, [ok(other_chip(g))])).await;
    assert_eq!(code, "snp.chip_id.mismatch");

    let (code, _) = refused(|s, g| {
        let mut tampered = g.evidence.vek.0.clone();
        *tampered.last_mut().unwrap() ^= 1;
        s.on(&g.vcek_path, [ok(tampered)]);
    })
    .await;
    assert_eq!(code, "snp.chain.vek");

    let (code, _) = refused(|s, g| s.on(&g.vcek_path, [ok("<html>sign in</html>")])).await;
    assert_eq!(code, "snp.cert.malformed");

    let (code, _) = refused(|s, g| {
        let foreign = SimulatedProcessor::for_tests().with_swapped_keys();
        s.on(&g.crl_path(), [ok(foreign.crl_der(NOW))]);
    })
    .await;
    assert_eq!(code, "snp.crl.signature");

    let (code, text) = refused(|s, g| {
        s.on(&g.crl_path(), [ok(g.processor.crl_der(UnixTime(NOW.0 - 31 * 86_400)))]);
    })
    .await;
    assert_eq!(code, "snp.crl.stale");
    assert!(
        text.contains("AMD revocation list for Genoa from http://127.0.0.1"),
        "{text}"
    );

    let (code, _) = refused(|s, g| s.on(&g.chain_path(), [ok(pem(&[g.processor.ark_der()]))])).await;
    assert_eq!(code, "collateral.answer");

    let (code, _) = refused(|s, g| {
        let forged = SimulatedProcessor::for_tests().with_swapped_keys();
        let ask = forged.intermediate_der(Product::Genoa, SigningKey::Vcek);
        s.on(&g.chain_path(), [ok(pem(&[ask, g.processor.ark_der()]))]);
    })
    .await;
    assert_eq!(code, "snp.chain.ask");
}

#[tokio::test]
async fn evidence_that_does_not_hold_gets_nothing() {
    let (server, guest) = (Server::start().await, Guest::new(Product::Genoa));
    guest.serve(&server);
    let fetcher = fetcher(config(&server, &guest.processor), None);
    let mut forged = guest.report().to_vec();
    forged[0x90] ^= 1;
    let refused = staple(&forged, &fetcher, NOW).await.unwrap_err();
    assert_eq!(refused.code(), "snp.signature.invalid");
    let mut masked = guest.report().to_vec();
    masked[0x48] |= 2;
    assert_eq!(
        staple(&masked, &fetcher, NOW).await.unwrap_err().code(),
        "snp.key.masked"
    );
    for (input, code) in [
        (&b""[..], "staple.input"),
        (b"MZ", "staple.input"),
        (b"{}", "document.malformed"),
    ] {
        assert_eq!(staple(input, &fetcher, NOW).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn what_no_service_gives_out_is_said_and_not_asked_for() {
    let spec = || LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]));
    let vlek = LaunchSpec {
        signing_key: SigningKey::Vlek,
        ..spec()
    };
    let hidden = LaunchSpec {
        chip: [0; 64],
        ..spec()
    };
    for spec in [vlek, hidden] {
        let (server, guest) = (Server::start().await, Guest::launched(spec));
        server.on(&guest.crl_path(), [ok(guest.processor.crl_der(NOW))]);
        let fetcher = fetcher(config(&server, &guest.processor), None);
        let stapled = staple(guest.report(), &fetcher, NOW).await.unwrap();
        let codes: Vec<_> = stapled.missing.iter().map(|m| (m.part, m.error.code())).collect();
        assert_eq!(codes, [("cpu.vek", "collateral.not_fetchable")]);
        assert_eq!(server.seen(), [guest.crl_path()], "the list is had all the same");
    }
}

#[tokio::test]
async fn a_certificate_that_amd_has_not_is_said_to_be_missing() {
    let (server, guest) = (Server::start().await, Guest::new(Product::Turin));
    guest.serve(&server);
    server.on(&guest.vcek_path, [status(404)]);
    let fetcher = fetcher(config(&server, &guest.processor), None);
    let stapled = staple(guest.report(), &fetcher, NOW).await.unwrap();
    let missing = &stapled.missing[0];
    assert_eq!(
        (missing.part, missing.error.code()),
        ("cpu.vek", "collateral.not_found")
    );
    assert!(
        missing.error.to_string().contains("/kds/vcek/v1/Turin/"),
        "{}",
        missing.error
    );
    assert_eq!(stapled.carries.len(), 1, "the list");
}

#[tokio::test]
async fn a_vlek_that_came_along_gets_asvk_and_list() {
    let spec = LaunchSpec {
        signing_key: SigningKey::Vlek,
        ..LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]))
    };
    let (server, guest) = (Server::start().await, Guest::launched(spec));
    let asvk = guest.processor.intermediate_der(Product::Genoa, SigningKey::Vlek);
    server.on(
        "GET /kds/vlek/v1/Genoa/cert_chain",
        [ok(pem(&[asvk, guest.processor.ark_der()]))],
    );
    server.on(&guest.crl_path(), [ok(guest.processor.crl_der(NOW))]);
    let evidence = SnpEvidence {
        ask: None,
        ..guest.evidence.clone()
    };
    let document = jcs::to_vec("evidence", &CpuEvidence::Snp(evidence)).unwrap();
    let stapled = staple(&document, &fetcher(config(&server, &guest.processor), None), NOW)
        .await
        .unwrap();
    assert_eq!(verify_offline(&stapled, &guest.processor).ask.unwrap().0, asvk);
}

#[tokio::test]
async fn requests_to_one_host_keep_the_pace() {
    let (server, guest) = (Server::start().await, Guest::new(Product::Genoa));
    guest.serve(&server);
    let mut config = config(&server, &guest.processor);
    config.http.pace = Pace {
        burst: 1,
        interval: std::time::Duration::from_secs(10),
        ..Pace::default()
    };
    let clock = VirtualClock::new();
    let fetcher = Fetcher::with_clock(config, None, clock.clone());
    let stapled = staple(guest.report(), &fetcher, NOW).await.unwrap();
    assert!(stapled.missing.is_empty(), "{:?}", stapled.missing);
    let requests = u32::try_from(server.seen().len()).unwrap();
    assert!(
        clock.elapsed() >= std::time::Duration::from_secs(10) * (requests - 1),
        "{requests} requests in {:?}",
        clock.elapsed()
    );
}

/// Recorded: AMD's own certificates and lists.
#[tokio::test]
async fn real_reports_get_amds_recorded_certificates_and_lists() {
    let Some(vectors) = crate::vectors::folder() else {
        return;
    };
    let read = |name: &str| std::fs::read(vectors.join("snp").join(name)).unwrap();
    for (report, vek, product, list) in [
        (
            "milan_v2_virtee.bin",
            "milan_v2_virtee.vcek.der",
            Product::Milan,
            Some("crl/milan.crl.der"),
        ),
        ("turin_v5_oak_oc.bin", "turin_oc_oak.vcek.der", Product::Turin, None),
    ] {
        let server = Server::start().await;
        let (report, vek) = (read(report), read(vek));
        let name = product.name();
        let (_, fields) = read_unauthenticated(&report, Some(product)).unwrap();
        let kds = server.sources().kds;
        let chip = &fields.chip_id[..product.hwid_bytes()];
        let url = vcek_url(&kds, product, chip, fields.reported_tcb);
        server.on(
            &format!("GET {}", url.strip_prefix(server.address()).unwrap()),
            [ok(vek.clone())],
        );
        if let Some(list) = list {
            server.on(&format!("GET /kds/vcek/v1/{name}/crl"), [ok(read(list))]);
        }
        let stapled = staple(&report, &fetcher(direct(&server), None), NOW).await.unwrap();
        let cpu: CpuEvidence = jcs::from_slice("evidence", &stapled.bytes, 1 << 21).unwrap();
        let CpuEvidence::Snp(evidence) = cpu.clone() else {
            panic!()
        };
        assert_eq!(evidence.vek.0, vek, "{name}");
        // The ASK is the one compiled in, so AMD was not asked for it.
        assert_eq!(evidence.ask.unwrap().0, roots::intermediate(product, SigningKey::Vcek));
        assert!(!server.seen().iter().any(|r| r.contains("cert_chain")));
        let codes: Vec<_> = stapled.missing.iter().map(|m| (m.part, m.error.code())).collect();
        match list {
            Some(list) => {
                assert_eq!(codes, []);
                assert_eq!(evidence.crl.unwrap().0, read(list));
                let authentic = RawEvidence::from(cpu).parse().unwrap();
                authentic
                    .authenticate(&Anchors::vendor(), &Collateral::default(), NOW)
                    .unwrap();
            }
            None => assert_eq!(codes, [("cpu.crl", "collateral.not_found")]),
        }
    }
}

/// Recorded: the list of one product in another's place, and after its end.
#[tokio::test]
async fn amds_list_for_another_product_or_time_is_refused() {
    let Some(vectors) = crate::vectors::folder() else {
        return;
    };
    let server = Server::start().await;
    let list = |name: &str| ok(std::fs::read(vectors.join("snp/crl").join(name)).unwrap());
    server.on("GET /kds/vcek/v1/Milan/crl", [list("genoa.crl.der")]);
    server.on("GET /kds/vcek/v1/Genoa/crl", [list("genoa.crl.der")]);
    let fetcher = fetcher(direct(&server), None);
    assert_eq!(
        fetcher.crl(Product::Milan, NOW).await.unwrap_err().code(),
        "snp.crl.issuer"
    );
    assert!(fetcher.crl(Product::Genoa, NOW).await.is_ok());
    let today = UnixTime(1_795_341_600);
    assert_eq!(
        fetcher.crl(Product::Genoa, today).await.unwrap_err().code(),
        "snp.crl.stale"
    );
}
