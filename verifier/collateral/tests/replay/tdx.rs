//! TDX: Intel's service and a caching one, with collateral of the simulator and recorded ones.

use hanzo_attestation::bundle::{CpuEvidence, TdxCollateral};
use hanzo_attestation::{Anchors, Claims, Collateral, RawEvidence, UnixTime, jcs};
use hanzo_collateral::{BaseUrl, Fetcher, FetcherConfig, IntelSource, Mode, Origin, PckCa, Stapled, Store, staple};
use hanzo_simulated_tee::{CollateralSpec, PckSpec, QuoteFormat, SimulatedTdx, TdSpec};

use crate::server::{Reply, Server, ok, status};
use crate::snp::{NOW, direct, fetcher};
use crate::vectors;

/// What is done to answers on their way out.
type Edit<'a> = &'a dyn Fn(&str, Reply) -> Reply;

fn encoded(pem: &str) -> String {
    pem.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn document(member: &str, text: &str, signature: &[u8]) -> String {
    format!("{{\"{member}\":{text},\"signature\":\"{}\"}}", hex::encode(signature))
}

/// Serves collateral as Intel does (root list as DER at its own place) or as a PCCS does (hex).
fn serve(server: &Server, c: &TdxCollateral, fmspc: [u8; 6], ca: PckCa, pccs: bool, edit: Edit<'_>) {
    let base = if pccs { "/pccs" } else { "/pcs" };
    let on = |what: &str, path: String, reply: Reply| server.on(&format!("GET {path}"), [edit(what, reply)]);
    let list = |der: &[u8]| {
        if pccs {
            hex::encode(der).into_bytes()
        } else {
            der.to_vec()
        }
    };
    on(
        "pck_crl",
        format!("{base}/sgx/certification/v4/pckcrl?ca={}&encoding=der", ca.name()),
        ok(list(&c.pck_crl.0)).header("SGX-PCK-CRL-Issuer-Chain", encoded(&c.pck_crl_issuer_chain)),
    );
    let root = if pccs {
        "/pccs/sgx/certification/v4/rootcacrl".to_owned()
    } else {
        "/IntelSGXRootCA.der".to_owned()
    };
    on("root_crl", root, ok(list(&c.root_ca_crl.0)));
    on(
        "tcb",
        format!("{base}/tdx/certification/v4/tcb?fmspc={}", hex::encode_upper(fmspc)),
        ok(document("tcbInfo", &c.tcb_info, &c.tcb_info_signature.0))
            .header("TCB-Info-Issuer-Chain", encoded(&c.tcb_info_issuer_chain)),
    );
    on(
        "qe",
        format!("{base}/tdx/certification/v4/qe/identity"),
        ok(document("enclaveIdentity", &c.qe_identity, &c.qe_identity_signature.0)).header(
            "SGX-Enclave-Identity-Issuer-Chain",
            encoded(&c.qe_identity_issuer_chain),
        ),
    );
}

/// Serves collateral of the platform CA as Intel's own service does.
pub fn serve_as_intel(server: &Server, collateral: &TdxCollateral, fmspc: [u8; 6]) {
    serve(server, collateral, fmspc, PckCa::Platform, false, &as_served);
}

fn as_served(_: &str, reply: Reply) -> Reply {
    reply
}

fn config(server: &Server, root: Option<&SimulatedTdx>, pccs: bool) -> FetcherConfig {
    let mut config = direct(server);
    if let Some(tdx) = root {
        config.anchors = Anchors::vendor().with_simulator_tdx_root(tdx.root_der().to_vec());
    }
    if pccs {
        let base = BaseUrl::new("PCCS", &format!("{}/pccs", server.address())).unwrap();
        config.sources.intel = IntelSource::Pccs(base);
    }
    config
}

fn verify_offline(stapled: &Stapled, anchors: &Anchors, now: UnixTime) -> TdxCollateral {
    assert!(stapled.missing.is_empty(), "{:?}", stapled.missing);
    let cpu: CpuEvidence = jcs::from_slice("evidence", &stapled.bytes, 1 << 21).unwrap();
    let authentic = RawEvidence::from(cpu.clone())
        .parse()
        .unwrap()
        .authenticate(anchors, &Collateral::default(), now)
        .unwrap();
    assert!(matches!(authentic.claims(), Claims::Tdx(_)));
    let CpuEvidence::Tdx(evidence) = cpu else {
        unreachable!()
    };
    evidence.collateral.unwrap()
}

#[tokio::test]
async fn a_bare_quote_of_every_format_gets_its_collateral_from_either_service() {
    let tdx = SimulatedTdx::for_tests();
    let collateral = tdx.collateral(&CollateralSpec::new(NOW));
    let fmspc = PckSpec::default().fmspc;
    for (format, pccs) in QuoteFormat::ALL.into_iter().zip([false, true, false, true]) {
        let server = Server::start().await;
        serve(&server, &collateral, fmspc, PckCa::Platform, pccs, &as_served);
        let config = config(&server, Some(&tdx), pccs);
        let anchors = config.anchors.clone();
        let td = TdSpec::new(format);
        let mut quote = tdx.quote(&td, &[7; 64]);
        quote.extend([0; 70]);
        let stapled = staple(&quote, &fetcher(config, None), NOW).await.unwrap();
        assert_eq!(verify_offline(&stapled, &anchors, NOW), collateral, "{format:?}");
        let [item] = stapled.carries.as_slice() else {
            panic!("{stapled:?}")
        };
        assert_eq!((item.part, item.origin), ("cpu.collateral", Origin::Fetched));
        assert!(item.next_update.unwrap() > NOW);
        assert_eq!(server.seen().len(), 4, "{:?}", server.seen());
    }
}

/// The code with which served collateral is refused, and that nothing of it is kept.
async fn refused(spec: &CollateralSpec, edit: Edit<'_>) -> &'static str {
    let (server, tdx) = (Server::start().await, SimulatedTdx::for_tests());
    let fmspc = PckSpec::default().fmspc;
    serve(&server, &tdx.collateral(spec), fmspc, PckCa::Platform, false, edit);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    let fetcher = fetcher(config(&server, Some(&tdx), false), Some(store));
    let code = fetcher
        .tdx(fmspc, PckCa::Platform, NOW)
        .await
        .map(|_| ())
        .unwrap_err()
        .code();
    assert_eq!(Store::open(&dir.path().join("cache")).unwrap().keys().unwrap(), []);
    code
}

#[tokio::test]
async fn collateral_that_intel_did_not_sign_or_that_is_of_another_time_or_platform_is_refused() {
    let good = CollateralSpec::new(NOW);
    let tampered = |part: &'static str| {
        move |what: &str, mut reply: Reply| {
            if what == part {
                let text = String::from_utf8(reply.body).unwrap();
                reply.body = text.replace("UpToDate", "Uptodate").into_bytes();
            }
            reply
        }
    };
    assert_eq!(refused(&good, &tampered("tcb")).await, "tdx.tcb_info.signature");
    assert_eq!(refused(&good, &tampered("qe")).await, "tdx.qe_identity.signature");
    let flip = |part: &'static str| {
        move |what: &str, mut reply: Reply| {
            if what == part {
                *reply.body.last_mut().unwrap() ^= 1;
            }
            reply
        }
    };
    for part in ["pck_crl", "root_crl"] {
        assert_eq!(refused(&good, &flip(part)).await, "tdx.crl.signature", "{part}");
    }
    let headerless = |part: &'static str| {
        move |what: &str, mut reply: Reply| {
            if what == part {
                reply.headers.clear();
            }
            reply
        }
    };
    for part in ["pck_crl", "tcb", "qe"] {
        assert_eq!(refused(&good, &headerless(part)).await, "collateral.answer", "{part}");
    }
    let gone = |what: &str, reply: Reply| if what == "qe" { status(404) } else { reply };
    assert_eq!(refused(&good, &gone).await, "collateral.not_found");
    let html = |what: &str, reply: Reply| {
        let page = "<html>sign in</html>";
        if what == "tcb" { ok(page) } else { reply }
    };
    assert_eq!(refused(&good, &html).await, "collateral.answer");

    let month = 30 * 86_400;
    let stale = CollateralSpec {
        tcb_info_window: (NOW.0 - 2 * month, NOW.0 - month),
        ..good.clone()
    };
    assert_eq!(refused(&stale, &as_served).await, "tdx.tcb_info.stale");
    let stale = CollateralSpec {
        pck_crl_window: (NOW.0 - 2 * month, NOW.0 - month),
        ..good.clone()
    };
    assert_eq!(refused(&stale, &as_served).await, "tdx.crl.stale");
    let other = CollateralSpec { fmspc: [9; 6], ..good };
    assert_eq!(refused(&other, &as_served).await, "collateral.wrong_item");
}

#[tokio::test]
async fn a_forgers_collateral_is_not_intels() {
    let (server, tdx) = (Server::start().await, SimulatedTdx::for_tests());
    let fmspc = PckSpec::default().fmspc;
    let forged = tdx.with_other_keys().collateral(&CollateralSpec::new(NOW));
    serve(&server, &forged, fmspc, PckCa::Platform, false, &as_served);
    let fetcher = fetcher(config(&server, Some(&tdx), false), None);
    let refused = fetcher.tdx(fmspc, PckCa::Platform, NOW).await.unwrap_err();
    assert_eq!(refused.code(), "tdx.chain.root");
}

#[tokio::test]
async fn collateral_is_kept_until_its_first_part_ends_and_a_stapled_one_is_replaced_then() {
    let (server, tdx) = (Server::start().await, SimulatedTdx::for_tests());
    let fmspc = PckSpec::default().fmspc;
    serve(
        &server,
        &tdx.collateral(&CollateralSpec::new(NOW)),
        fmspc,
        PckCa::Platform,
        false,
        &as_served,
    );
    let dir = tempfile::tempdir().unwrap();
    let config = config(&server, Some(&tdx), false);
    let anchors = config.anchors.clone();
    let at = |mode| -> Fetcher {
        let config = FetcherConfig { mode, ..config.clone() };
        fetcher(config, Some(Store::open(&dir.path().join("cache")).unwrap()))
    };
    let quote = tdx.quote(&TdSpec::new(QuoteFormat::V4), &[7; 64]);
    let first = staple(&quote, &at(Mode::Online), NOW).await.unwrap();
    let offline = staple(&quote, &at(Mode::Offline), NOW).await.unwrap();
    assert_eq!(
        (offline.bytes, offline.carries[0].origin),
        (first.bytes.clone(), Origin::Cache)
    );
    let again = staple(&first.bytes, &at(Mode::Offline), NOW).await.unwrap();
    assert_eq!(
        (again.bytes, again.carries[0].origin),
        (first.bytes.clone(), Origin::Kept)
    );

    let later = UnixTime(NOW.0 + 31 * 86_400);
    let missing = staple(&first.bytes, &at(Mode::Offline), later).await.unwrap().missing;
    assert_eq!(missing[0].error.code(), "collateral.offline_unusable");
    let newer = tdx.collateral(&CollateralSpec::new(later));
    serve(&server, &newer, fmspc, PckCa::Platform, false, &as_served);
    let renewed = staple(&first.bytes, &at(Mode::Online), later).await.unwrap();
    assert_eq!(verify_offline(&renewed, &anchors, later), newer);
}

#[tokio::test]
async fn for_a_quote_that_nobody_signed_nobody_is_asked() {
    let (server, tdx) = (Server::start().await, SimulatedTdx::for_tests());
    let fetcher = fetcher(config(&server, Some(&tdx), false), None);
    let mut quote = tdx.quote(&TdSpec::new(QuoteFormat::V4), &[7; 64]);
    quote[48 + 136] ^= 1;
    let refused = staple(&quote, &fetcher, NOW).await.unwrap_err();
    assert_eq!(refused.code(), "tdx.signature.invalid");
    assert!(server.seen().is_empty());
}

/// Recorded: a real quote and Intel's collateral of that month, from either service.
#[tokio::test]
async fn a_real_quote_gets_intels_recorded_collateral() {
    let Some(vectors) = vectors::folder() else { return };
    let quote = std::fs::read(vectors.join("tdx/v4_dcapqvl.dat")).unwrap();
    let collateral = vectors::tdx_collateral(&vectors);
    let now = UnixTime(1_751_328_000);
    for pccs in [false, true] {
        let server = Server::start().await;
        let fmspc = [0xb0, 0xc0, 0x6f, 0, 0, 0];
        serve(&server, &collateral, fmspc, PckCa::Platform, pccs, &as_served);
        let fetcher = fetcher(config(&server, None, pccs), None);
        let stapled = staple(&quote, &fetcher, now).await.unwrap();
        assert_eq!(verify_offline(&stapled, &Anchors::vendor(), now), collateral);
        // A month later it is no longer current, and is not passed on.
        let later = UnixTime(now.0 + 31 * 86_400);
        let refused = staple(&quote, &fetcher, later).await.unwrap();
        assert_eq!(refused.missing[0].error.code(), "tdx.crl.stale");
    }
}
