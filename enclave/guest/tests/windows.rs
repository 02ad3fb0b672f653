//! Freshness windows: many challenges, one hardware call each time, and every caller's own answer.

#[path = "windows/slow_device.rs"]
mod slow_device;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::evidence::AuthenticDevices;
use hanzo_attestation::{Anchors, Collateral, Digest256, Nonce, RawEvidence, UnixTime, binding};
use hanzo_guest::evidence::{EvidenceDesk, Windows};
use hanzo_simulated_tee::SimulatedProcessor;
use slow_device::{ISSUED_AT, SlowDevice, sealed};

const CALL: Duration = Duration::from_millis(60);

fn drawn(i: usize) -> Nonce {
    Nonce(Digest256::of(&i.to_be_bytes()).0)
}

async fn desk(device: &Arc<SlowDevice>, windows: Windows) -> EvidenceDesk {
    let desk = EvidenceDesk::open(device.clone(), Arc::new(sealed()), Nonce([1; 32]), windows).await;
    let desk = desk.unwrap();
    device.forget();
    desk
}

/// The code with which a verifier refuses `bundle` for `challenge`; `None`: it is accepted.
fn refused(bundle: &Bundle, challenge: &Nonce) -> Option<&'static str> {
    let anchors = Anchors::vendor().with_simulator_ark(SimulatedProcessor::for_tests().ark_der().to_vec());
    let now = UnixTime(ISSUED_AT);
    let parsed = RawEvidence::from(bundle.cpu.clone()).parse().unwrap();
    let authentic = parsed.authenticate(&anchors, &Collateral::default(), now).unwrap();
    let bound = binding::bind_keyset(authentic, AuthenticDevices::none(), bundle, Some(challenge), Some(now));
    match bound {
        Err(error) => Some(error.code()),
        Ok(bound) => {
            let challenged = matches!(
                bound.binding(),
                hanzo_attestation::Binding::Keyset { challenged: true, .. }
            );
            (!challenged).then_some("freshness.none")
        }
    }
}

async fn ask(desk: &EvidenceDesk, challenge: Nonce) -> Bundle {
    let fresh = desk.fresh(challenge).await.unwrap();
    Bundle::parse(&fresh.to_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_challenge_goes_at_once_and_those_that_come_meanwhile_share_the_next_call() {
    let device = SlowDevice::new(CALL);
    let desk = desk(&device, Windows::default()).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let start = Instant::now();
    let first = tokio::spawn({
        let desk = desk.clone();
        async move { (ask(&desk, drawn(0)).await, start.elapsed()) }
    });
    tokio::time::sleep(CALL / 3).await;
    let others = (1..=40).map(|i| {
        let desk = desk.clone();
        tokio::spawn(async move { ask(&desk, drawn(i)).await })
    });
    let others: Vec<_> = others.collect();
    let (alone, after) = first.await.unwrap();
    assert!(after < CALL * 2, "{after:?}: it waited for others");
    let path = alone.freshness.clone().unwrap();
    assert_eq!((path.size, path.index, path.path.len()), (1, 0, 0));
    assert_eq!(refused(&alone, &drawn(0)), None);

    let mut shared = Vec::new();
    for (i, other) in others.into_iter().enumerate() {
        let bundle = other.await.unwrap();
        assert_eq!(refused(&bundle, &drawn(i + 1)), None);
        assert_eq!(refused(&bundle, &drawn(0)), Some("freshness.foreign_challenge"));
        shared.push(bundle);
    }
    assert_eq!(device.calls(), 2, "one for the first, one for the forty");
    assert!(
        shared
            .iter()
            .all(|b| b.nonce == shared[0].nonce && b.freshness.as_ref().unwrap().size == 40)
    );

    // Each nearest twin of one of these answers.
    let (good, challenge) = (&shared[4], drawn(5));
    let twin = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        refused(&bundle, &challenge)
    };
    let path_of = |bundle: &Bundle| bundle.freshness.clone().unwrap().path;
    assert_eq!(twin(&|_| ()), None);
    let other = path_of(&shared[5]);
    assert_ne!(other, path_of(good));
    assert_eq!(
        twin(&|b| b.freshness.as_mut().unwrap().path = other.clone()),
        Some("freshness.path")
    );
    assert_eq!(
        twin(&|b| b.freshness = alone.freshness.clone()),
        Some("freshness.foreign_challenge")
    );
    assert_eq!(
        twin(&|b| b.freshness.as_mut().unwrap().path.clear()),
        Some("freshness.path")
    );
    assert_eq!(
        twin(&|b| b.freshness.as_mut().unwrap().path.push(Digest256([0; 32]))),
        Some("freshness.path")
    );
    assert_eq!(
        twin(&|b| b.freshness.as_mut().unwrap().index += 1),
        Some("freshness.path")
    );
    assert_eq!(
        twin(&|b| b.freshness.as_mut().unwrap().index = 40),
        Some("freshness.path")
    );
    assert_eq!(
        twin(&|b| b.freshness.as_mut().unwrap().size = 4),
        Some("freshness.path")
    );
    assert_eq!(
        twin(&|b| b.freshness.as_mut().unwrap().size = 400),
        Some("freshness.path")
    );
    // The root of another window is another statement, which the processor did not sign.
    assert_eq!(twin(&|b| b.nonce = alone.nonce), Some("binding.report_data"));
    assert_eq!(twin(&|b| b.cpu = alone.cpu.clone()), Some("binding.report_data"));
    assert_eq!(twin(&|b| b.freshness = None), Some("freshness.none"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_turns_the_next_away_and_keeps_those_that_wait() {
    let device = SlowDevice::new(CALL);
    let windows = Windows {
        waiting_max: 3,
        ..Windows::default()
    };
    let desk = desk(&device, windows).await;
    let asked = |i| {
        let desk = desk.clone();
        tokio::spawn(async move { desk.fresh(drawn(i)).await })
    };
    let busy = asked(0);
    tokio::time::sleep(CALL / 4).await;
    let waiting: Vec<_> = (1..=3).map(asked).collect();
    tokio::time::sleep(CALL / 4).await;
    let error = desk.fresh(drawn(4)).await.unwrap_err();
    assert_eq!(error.code(), "evidence.busy");
    busy.await.unwrap().unwrap();
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    // There is room again.
    assert_eq!(refused(&ask(&desk, drawn(5)).await, &drawn(5)), None);
    assert_eq!(device.calls(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_hung_up_cost_no_call_and_a_failed_call_fails_its_own_window_alone() {
    let device = SlowDevice::new(CALL);
    let desk = desk(&device, Windows::default()).await;
    let first = tokio::spawn({
        let desk = desk.clone();
        async move { desk.fresh(drawn(0)).await }
    });
    tokio::time::sleep(CALL / 4).await;
    for i in 1..=5 {
        let gone = tokio::time::timeout(Duration::from_millis(2), desk.fresh(drawn(i))).await;
        assert!(gone.is_err(), "it hung up");
    }
    first.await.unwrap().unwrap();
    tokio::time::sleep(CALL).await;
    assert_eq!(device.calls(), 1);

    device.fail_next();
    let (a, b) = tokio::join!(desk.fresh(drawn(6)), desk.fresh(drawn(7)));
    let failed = [&a, &b].into_iter().filter(|r| r.is_err()).count();
    assert!(failed >= 1, "the window of the failed call");
    assert_eq!(refused(&ask(&desk, drawn(8)).await, &drawn(8)), None);
}
