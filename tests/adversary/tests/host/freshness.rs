//! A host that answers a client's challenge with something that was made for another: paths, windows, recordings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::freshness::{FreshnessPath, Window, window_path};
use hanzo_attestation::{Digest256, Nonce, UnixTime};
use hanzo_tests_adversary::appliance::Appliance;
use hanzo_tests_adversary::impostor::{Impostor, Serves, fetch_bundle};
use hanzo_tests_adversary::wire::{Attack, HostileProxy};

use crate::engine;
use crate::wire::{CANARY, ask};

/// What the client saw must be `code`; no prompt left.
async fn attack(appliance: &Appliance, name: &str, serves: Serves, code: &str) {
    let impostor = Impostor::start(appliance.guest_at, serves).await.unwrap();
    let error = ask(&appliance.client(impostor.at)).await.expect_err(name);
    println!("attack: {name}: the client saw [{}] {error}", error.code());
    assert_eq!(error.code(), code, "{name}: {error}");
    assert!(!impostor.saw(CANARY) && !impostor.saw("chat/completions"), "{name}");
    assert_eq!(appliance.prompts(), 0, "{name}");
}

fn changed(change: impl Fn(&mut Bundle) + Send + Sync + 'static) -> Serves {
    Serves::Changed(Arc::new(move |genuine| {
        let mut bundle = Bundle::parse(&genuine).unwrap();
        change(&mut bundle);
        bundle.canonical().unwrap()
    }))
}

/// The same for the path alone, which the guest's answer has.
fn path(change: impl Fn(&mut FreshnessPath) + Send + Sync + 'static) -> Serves {
    changed(move |bundle| change(bundle.freshness.as_mut().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_but_the_guests_own_leads_a_challenge_to_its_evidence() {
    let appliance = Appliance::start(engine::command()).await;
    let zeros = || Digest256([0; 32]);
    let attacks: [(&str, Serves, &str); 8] = [
        (
            "a longer Merkle path",
            path(move |p| p.path.push(zeros())),
            "freshness.path",
        ),
        (
            "a Merkle path past every bound",
            path(move |p| p.path.resize(1_000, zeros())),
            "freshness.path",
        ),
        ("another index", path(|p| p.index += 1), "freshness.path"),
        ("another size", path(|p| p.size += 1), "freshness.path"),
        (
            "a window that cannot be",
            path(|p| p.size = (1 << 53) - 1),
            "freshness.path",
        ),
        ("an empty window", path(|p| p.size = 0), "freshness.path"),
        (
            "the path taken out",
            changed(|bundle| bundle.freshness = None),
            "freshness.none",
        ),
        // The client's challenge in a window of the host's making, over the guest's evidence.
        (
            "a window of the host's own",
            changed(|bundle| {
                let challenge = bundle.freshness.as_ref().unwrap().challenge;
                let window = Window::new(vec![challenge, Nonce([1; 32])]).unwrap();
                bundle.freshness = window.path(0);
                bundle.nonce = window.nonce();
            }),
            "binding.report_data",
        ),
    ];
    for (name, serves, code) in attacks {
        attack(&appliance, name, serves, code).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_made_for_others_challenges_is_refused_whatever_path_comes_with_it() {
    let appliance = Appliance::start(engine::command()).await;
    let theirs = fetch_bundle(appliance.guest_at, Some(&"ab".repeat(32))).await.unwrap();
    let theirs = Bundle::parse(&theirs).unwrap();
    attack(
        &appliance,
        "another's answer as it is",
        Serves::Bundle(theirs.canonical().unwrap()),
        "freshness.foreign_challenge",
    )
    .await;
    // The client's own path, out of the guest's answer to it, over the older evidence.
    let (nonce, cpu) = (theirs.nonce, theirs.cpu.clone());
    attack(
        &appliance,
        "the client's path under another window's evidence",
        changed(move |bundle| (bundle.nonce, bundle.cpu) = (nonce, cpu.clone())),
        "freshness.path",
    )
    .await;
    let their_path = theirs.freshness.clone().unwrap();
    attack(
        &appliance,
        "another's path with the client's challenge written into it",
        Serves::Changed(Arc::new(move |genuine| {
            let mine = Bundle::parse(&genuine).unwrap().freshness.unwrap().challenge;
            let mut bundle = theirs.clone();
            bundle.freshness = Some(FreshnessPath {
                challenge: mine,
                ..their_path.clone()
            });
            bundle.canonical().unwrap()
        })),
        "freshness.path",
    )
    .await;
    // The evidence is the guest's answer to the client, its nonce is the window's, its challenge a node of the tree.
    attack(
        &appliance,
        "a node of the tree in the place of a leaf",
        changed(|bundle| {
            let challenge = bundle.freshness.as_ref().unwrap().challenge;
            let mut forged = window_path(&[challenge, challenge], 0).unwrap();
            forged.path = vec![Digest256(bundle.nonce.0)];
            bundle.freshness = Some(forged);
        }),
        "freshness.path",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_was_good_for_the_last_attestation_is_stale_for_the_next() {
    let appliance = Appliance::start(engine::command()).await;
    let proxy = HostileProxy::start(appliance.guest_at, Attack::None).await.unwrap();
    let clock = Arc::new(AtomicU64::new(appliance.ready.keyset.issued_at));
    let time = clock.clone();
    let client = appliance.client_with(proxy.at, |config| {
        config.context.policy.max_age_s = 60;
        config.clock = Arc::new(move || UnixTime(time.load(Ordering::SeqCst)));
    });
    let first = client.verdict().await.unwrap();
    // From now on the host answers with what was good, and the client's verdict grows old.
    let impostor = Impostor::start(appliance.guest_at, Serves::Bundle(first.bundle().to_vec()))
        .await
        .unwrap();
    proxy.attack(Attack::Divert {
        to: impostor.at,
        from: 0,
    });
    clock.fetch_add(61, Ordering::SeqCst);
    let error = ask(&client).await.expect_err("stale evidence");
    println!("attack: stale evidence: the client saw [{}] {error}", error.code());
    assert_eq!(error.code(), "freshness.foreign_challenge");
    assert!(!impostor.saw(CANARY));
    assert_eq!(appliance.prompts(), 0);
    // The twin: the same client at the same clock, once the host carries again.
    proxy.attack(Attack::None);
    assert!(ask(&client).await.is_ok());
}
