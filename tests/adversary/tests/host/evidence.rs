//! A host that answers in the guest's place, or runs a guest that is not good enough.

use std::sync::Arc;

use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::ratls::RatlsCertificate;
use hanzo_client::ClientError;
use hanzo_tests_adversary::appliance::{Appliance, Differs};
use hanzo_tests_adversary::impostor::{Impostor, Serves, fetch_bundle, own_certificate};

use crate::engine;
use crate::wire::{CANARY, ask};

async fn refused(appliance: &Appliance, impostor: &Impostor, code: &str) -> ClientError {
    let error = ask(&appliance.client(impostor.at))
        .await
        .expect_err("the impostor is refused");
    println!("attack: evidence of another: the client saw [{}] {error}", error.code());
    assert_eq!(error.code(), code, "{error}");
    assert!(!impostor.saw(CANARY), "a prompt reached the impostor");
    assert!(!impostor.saw("chat/completions"), "a request was sent before the proof");
    assert_eq!(appliance.prompts(), 0);
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_ends_tls_with_its_own_key_is_refused() {
    let appliance = Appliance::start(engine::command()).await;
    // It relays the client's challenge to the guest: the evidence is genuine and fresh, the key is not the guest's.
    let impostor = Impostor::start(appliance.guest_at, Serves::GuestsAnswers)
        .await
        .unwrap();
    refused(&appliance, &impostor, "channel.spki_mismatch").await;
    assert!(
        impostor.requests().iter().any(|(path, _)| path.contains("challenge=")),
        "it was asked for evidence"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_carries_the_guests_evidence_is_no_proof() {
    let appliance = Appliance::start(engine::command()).await;
    let evidence = fetch_bundle(appliance.guest_at, None).await.unwrap();
    let certificate = own_certificate(Some(&evidence)).unwrap();
    // Whoever reads the certificate by itself is told, too.
    let read = RatlsCertificate::parse(&certificate.der).unwrap();
    assert_eq!(read.bundle(), evidence);
    let error = read.check_key(&appliance.ready.keyset).unwrap_err();
    assert_eq!(error.code(), "ratls.spki_mismatch");
    let impostor = Impostor::start_wearing(appliance.guest_at, Serves::GuestsAnswers, certificate)
        .await
        .unwrap();
    refused(&appliance, &impostor, "channel.spki_mismatch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_for_an_earlier_challenge_is_refused() {
    let appliance = Appliance::start(engine::command()).await;
    let old = fetch_bundle(appliance.guest_at, Some(&"ab".repeat(32))).await.unwrap();
    let impostor = Impostor::start(appliance.guest_at, Serves::Bundle(old)).await.unwrap();
    refused(&appliance, &impostor, "freshness.foreign_challenge").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_for_no_challenge_is_refused() {
    let appliance = Appliance::start(engine::command()).await;
    let standing = fetch_bundle(appliance.guest_at, None).await.unwrap();
    let impostor = Impostor::start(appliance.guest_at, Serves::Bundle(standing))
        .await
        .unwrap();
    refused(&appliance, &impostor, "freshness.none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyset_of_another_boot_under_this_boots_evidence_is_refused() {
    let (asked, other) = tokio::join!(Appliance::start(engine::command()), Appliance::start(engine::command()));
    let foreign = Bundle::parse(&fetch_bundle(other.guest_at, None).await.unwrap()).unwrap();
    let swap = move |genuine: Vec<u8>| {
        let mut bundle = Bundle::parse(&genuine).unwrap();
        bundle.keyset = foreign.keyset.clone();
        bundle.config = foreign.config.clone();
        bundle.canonical().unwrap()
    };
    let impostor = Impostor::start(asked.guest_at, Serves::Changed(Arc::new(swap)))
        .await
        .unwrap();
    refused(&asked, &impostor, "binding.report_data").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_in_the_bundle_is_refused() {
    let appliance = Appliance::start(engine::command()).await;
    let change = |genuine: Vec<u8>| {
        let mut bundle = Bundle::parse(&genuine).unwrap();
        bundle.config = bundle.config.replace("required_tier = 2", "required_tier = 0");
        bundle.canonical().unwrap()
    };
    let impostor = Impostor::start(appliance.guest_at, Serves::Changed(Arc::new(change)))
        .await
        .unwrap();
    refused(&appliance, &impostor, "bundle.config_digest").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_with_duplicate_keys_or_over_the_bound_are_refused() {
    let appliance = Appliance::start(engine::command()).await;
    let duplicate = |genuine: Vec<u8>| {
        let text = String::from_utf8(genuine).unwrap();
        text.replacen("{\"capabilities\":", "{\"version\":1,\"capabilities\":", 1)
            .into_bytes()
    };
    let impostor = Impostor::start(appliance.guest_at, Serves::Changed(Arc::new(duplicate)))
        .await
        .unwrap();
    refused(&appliance, &impostor, "bundle.malformed").await;
    let impostor = Impostor::start(appliance.guest_at, Serves::Bundle(vec![b' '; (2 << 20) + 1]))
        .await
        .unwrap();
    let error = ask(&appliance.client(impostor.at)).await.expect_err("over 2 MiB");
    assert!(!impostor.saw(CANARY), "{error}");
}

async fn not_good_enough(differs: Differs, rule: &str) {
    let appliance = Appliance::start_as(engine::command(), differs).await;
    let error = ask(&appliance.client(appliance.guest_at))
        .await
        .expect_err("not good enough");
    assert_eq!(error.exit_code(), 40, "{error}");
    assert!(
        error.to_string().contains(rule) || error.code() == rule,
        "{error} [{}], expected {rule}",
        error.code()
    );
    assert_eq!(appliance.prompts(), 0, "no prompt was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debuggable_guest_is_refused() {
    not_good_enough(
        Differs {
            debug: true,
            tier: 0,
            ..Differs::default()
        },
        "snp.debug",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_of_another_image_is_refused() {
    let image = hanzo_attestation::Digest384([8; 48]);
    not_good_enough(
        Differs {
            image,
            ..Differs::default()
        },
        "snp.measurement",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_on_old_firmware_is_refused() {
    not_good_enough(
        Differs {
            snp: 22,
            tier: 0,
            ..Differs::default()
        },
        "snp.tcb.below_floor",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_simulators_root_nothing_of_it_is_believed() {
    let appliance = Appliance::start(engine::command()).await;
    let client = appliance.client_with(appliance.guest_at, |config| {
        config.context.anchors = hanzo_attestation::Anchors::vendor();
    });
    let error = ask(&client).await.expect_err("no vendor's root signed this");
    assert_eq!(error.code(), "snp.chain.root", "{error}");
    assert_eq!(appliance.prompts(), 0);
}
