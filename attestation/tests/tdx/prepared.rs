//! Collateral that was verified before: the same verdicts, nothing hidden, nothing kept past its time. Event logs.

use std::sync::Arc;

use hanzo_attestation::bundle::Base64;
use hanzo_attestation::tdx::PreparedTdx;
use hanzo_attestation::{Anchors, Collateral, UnixTime};
use hanzo_simulated_tee::{CollateralSpec, LogBuilder, RevokedCertificate, TdSpec};

use crate::{DAY, NOW, PLATFORM, anchors, claims, evidence, healthy, judge, quote, td, with};

fn prepared(spec: &CollateralSpec) -> Collateral {
    let prepared = PreparedTdx::prepare(&PLATFORM.collateral(spec), &anchors()).unwrap();
    Collateral {
        prepared_tdx: vec![Arc::new(prepared)],
        ..Collateral::default()
    }
}

#[test]
fn prepared_collateral_ends_when_it_ends() {
    let collateral = prepared(&healthy());
    let bare = evidence(quote(), None);
    let code =
        |now| judge(bare.clone(), &anchors(), &collateral, UnixTime(now)).map_or_else(|e| e.code(), |_| "accepted");
    let ends = collateral.prepared_tdx[0].expires().0;
    assert_eq!(ends, NOW.0 + 30 * DAY);
    assert_eq!(code(NOW.0), "accepted");
    assert_eq!(code(ends), "accepted");
    assert_eq!(code(ends + 1), "tdx.crl.stale");
    assert_eq!(code(NOW.0 - DAY), "tdx.crl.stale");
}

#[test]
fn prepared_collateral_of_a_simulator_is_worth_nothing_to_those_who_do_not_trust_it() {
    let collateral = prepared(&healthy());
    let refused = judge(evidence(quote(), None), &Anchors::vendor(), &collateral, NOW).unwrap_err();
    assert_eq!(refused.code(), "tdx.chain.root");
    let refused = PreparedTdx::prepare(&PLATFORM.collateral(&healthy()), &Anchors::vendor()).unwrap_err();
    assert_eq!(refused.code(), "tdx.chain.root");
    assert_eq!(
        collateral.prepared_tdx[0]
            .check(&Anchors::vendor(), NOW)
            .unwrap_err()
            .code(),
        "tdx.chain.root"
    );
    // Another simulator's, trusted too, is for its own platforms.
    let other = PLATFORM.with_other_keys();
    let both = anchors().with_simulator_tdx_root(other.root_der().to_vec());
    let theirs = PreparedTdx::prepare(&other.collateral(&healthy()), &both).unwrap();
    let collateral = Collateral {
        prepared_tdx: vec![Arc::new(theirs)],
        ..Collateral::default()
    };
    let refused = judge(evidence(quote(), None), &both, &collateral, NOW).unwrap_err();
    assert_eq!(refused.code(), "tdx.collateral.missing");
    let stapled = evidence(quote(), Some(other.collateral(&healthy())));
    let refused = judge(stapled, &both, &Collateral::default(), NOW).unwrap_err();
    assert_eq!(refused.code(), "tdx.crl.issuer");
}

#[test]
fn a_host_cannot_hide_newer_collateral_behind_older_of_its_own() {
    let stapled = with(&healthy());
    let newer_window = (NOW.0 - 60, NOW.0 + 30 * DAY);
    let newer = |change: &dyn Fn(&mut CollateralSpec)| {
        let mut spec = healthy();
        spec.tcb_info_window = newer_window;
        change(&mut spec);
        let raw = PLATFORM.collateral(&spec);
        let supplied = Collateral {
            tdx: vec![raw.clone()],
            ..Collateral::default()
        };
        let prepared = Collateral {
            prepared_tdx: vec![Arc::new(PreparedTdx::prepare(&raw, &anchors()).unwrap())],
            ..Collateral::default()
        };
        [supplied, prepared]
    };
    for collateral in newer(&|s| s.revoked = vec![RevokedCertificate::Pck]) {
        let refused = judge(stapled.clone(), &anchors(), &collateral, NOW).unwrap_err();
        assert_eq!(refused.code(), "tdx.crl.revoked");
    }
    for collateral in newer(&|s| s.levels[0].status = "OutOfDate".into()) {
        let authentic = judge(stapled.clone(), &anchors(), &collateral, NOW).unwrap();
        assert_eq!(
            claims(&authentic).tcb_status,
            hanzo_attestation::tdx::TcbStatus::OutOfDate
        );
    }
    // What the caller has and is over takes nothing from what is stapled and current.
    for collateral in newer(&|s| s.tcb_info_window = (NOW.0 - 40 * DAY, NOW.0 - 10 * DAY)) {
        assert!(judge(stapled.clone(), &anchors(), &collateral, NOW).is_ok());
        let refused = judge(evidence(quote(), None), &anchors(), &collateral, NOW).unwrap_err();
        assert_eq!(refused.code(), "tdx.tcb_info.stale");
    }
}

#[test]
fn an_event_log_must_replay_into_the_registers_of_the_quote() {
    let log = LogBuilder::ccel()
        .event(1, 0x8000_0001, b"configuration")
        .event(2, 0xd, b"kernel");
    let launched = TdSpec {
        rtmr: log.rtmr(),
        ..td()
    };
    let mut evidence = PLATFORM.evidence(&launched, &[7; 64], &healthy());
    evidence.event_log = Some(Base64(log.bytes().to_vec()));
    let authentic = judge(evidence.clone(), &anchors(), &Collateral::default(), NOW).unwrap();
    let replayed = claims(&authentic).event_log.clone().unwrap();
    assert!(replayed.events().iter().any(|e| e.data == b"kernel"));

    let longer = log.event(3, 0xd, b"more");
    evidence.event_log = Some(Base64(longer.bytes().to_vec()));
    let refused = judge(evidence.clone(), &anchors(), &Collateral::default(), NOW).unwrap_err();
    assert_eq!(refused.code(), "eventlog.replay.mismatch");
    evidence.event_log = Some(Base64(b"no log".to_vec()));
    assert!(judge(evidence.clone(), &anchors(), &Collateral::default(), NOW).is_err());
    evidence.event_log = None;
    let authentic = judge(evidence, &anchors(), &Collateral::default(), NOW).unwrap();
    assert_eq!(claims(&authentic).event_log, None);
}
