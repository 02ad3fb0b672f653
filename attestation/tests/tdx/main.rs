//! TDX evidence, through the public API: real quotes, quotes of the simulator with one thing wrong, and noise.
//!
//! Every case is judged three times: with its collateral verified for it alone, with collateral verified before, and by
//! crate `dcap-qvl`, an implementation nobody here wrote.

mod anything;
mod binding;
mod bits;
mod chain;
mod documents;
mod layout;
mod oracle;
mod past;
mod prepared;
mod real;
mod tcb;
mod vectors;

use std::sync::{Arc, LazyLock};

use hanzo_attestation::bundle::{Base64, TdxCollateral, TdxEvidence};
use hanzo_attestation::tdx::{PreparedTdx, TdxClaims};
use hanzo_attestation::{Anchors, AttestationError, Authentic, Claims, Collateral, RawEvidence, UnixTime};
use hanzo_simulated_tee::{CollateralSpec, QuoteFormat, SimulatedTdx, TdSpec};
use oracle::Theirs;

/// 2025-09-01T00:00:00Z.
const NOW: UnixTime = UnixTime(1_756_684_800);
const DAY: u64 = 86_400;

static PLATFORM: LazyLock<SimulatedTdx> = LazyLock::new(SimulatedTdx::for_tests);

fn anchors() -> Anchors {
    anchors_of(&PLATFORM)
}

fn anchors_of(platform: &SimulatedTdx) -> Anchors {
    Anchors::vendor().with_simulator_tdx_root(platform.root_der().to_vec())
}

fn evidence(quote: Vec<u8>, collateral: Option<TdxCollateral>) -> TdxEvidence {
    TdxEvidence {
        collateral,
        event_log: None,
        quote: Base64(quote),
    }
}

fn td() -> TdSpec {
    TdSpec::new(QuoteFormat::V5Td15)
}

fn healthy() -> CollateralSpec {
    CollateralSpec::new(NOW)
}

/// A healthy quote.
fn quote() -> Vec<u8> {
    PLATFORM.quote(&td(), &[7; 64])
}

/// A healthy quote with this collateral.
fn with(collateral: &CollateralSpec) -> TdxEvidence {
    evidence(quote(), Some(PLATFORM.collateral(collateral)))
}

/// This TD with healthy collateral.
fn of(td: &TdSpec) -> TdxEvidence {
    PLATFORM.evidence(td, &[7; 64], &healthy())
}

/// Parses and authenticates.
fn judge(
    evidence: TdxEvidence,
    anchors: &Anchors,
    collateral: &Collateral,
    now: UnixTime,
) -> Result<Authentic<Claims>, AttestationError> {
    RawEvidence::Tdx(evidence)
        .parse()?
        .authenticate(anchors, collateral, now)
}

fn claims(authentic: &Authentic<Claims>) -> &TdxClaims {
    authentic.claims().tdx().unwrap()
}

/// Ours, with and without prepared collateral, which must be the same.
fn ours(evidence: &TdxEvidence, anchors: &Anchors, now: UnixTime) -> Result<TdxClaims, AttestationError> {
    let verdict = |collateral: &Collateral| {
        judge(evidence.clone(), anchors, collateral, now).map(|authentic| claims(&authentic).clone())
    };
    let alone = verdict(&Collateral::default());
    let stapled = evidence.collateral.as_ref();
    if let Some(prepared) = stapled.and_then(|c| PreparedTdx::prepare(c, anchors).ok()) {
        let collateral = Collateral {
            prepared_tdx: vec![Arc::new(prepared)],
            ..Collateral::default()
        };
        assert_eq!(verdict(&collateral), alone, "prepared collateral changes the verdict");
    }
    alone
}

/// Judges under the simulator's root at [`NOW`]: our code or `accepted`, and whether `dcap-qvl` does as `theirs` says.
fn check(name: &str, evidence: &TdxEvidence, expected: &str, theirs: Theirs) {
    check_at(name, evidence, expected, theirs, NOW);
}

fn check_at(name: &str, evidence: &TdxEvidence, expected: &str, theirs: Theirs, now: UnixTime) {
    let ours = ours(evidence, &anchors(), now);
    let code = ours.as_ref().map_or_else(|e| e.code(), |_| "accepted");
    assert_eq!(
        code,
        expected,
        "{name}: {:?}",
        ours.as_ref().err().map(ToString::to_string)
    );
    let oracle = oracle::judge(evidence, PLATFORM.root_der(), now);
    match (theirs, &oracle) {
        (Theirs::Same, Ok(theirs)) if code == "accepted" => {
            oracle::assert_same(name, ours.as_ref().unwrap(), theirs);
        }
        (Theirs::Same, Err(_)) if code != "accepted" => {}
        (Theirs::Accepts, Ok(_)) if code != "accepted" => {}
        (Theirs::Refuses(with), Err(e)) if code == "accepted" && e.contains(with) => {}
        other => panic!("{name}: ours {code}, theirs {other:?}"),
    }
}
