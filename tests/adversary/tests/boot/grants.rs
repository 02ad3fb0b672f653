//! A host that sits between guest and broker, or runs a broker of its own.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::jcs;
use hanzo_kbs_protocol::{AttestBody, GuestSession, WrappedDek, wrap_info};
use hanzo_pqc::hpke::{self, KemSuite, PrivateKey};
use hanzo_simulated_tee::SimulatedProcessor;
use hanzo_tests_adversary::appliance::{MODEL_KEY, STORE_KEY};
use hanzo_tests_adversary::broker::Broker;
use hanzo_tests_adversary::doorman::{Change, Meddling};
use hanzo_tests_adversary::site::{MODEL_DEK, Site};
use serde_json::{Value, json};

use crate::engine;

/// A key that the host knows.
const HOSTS_KEY: [u8; 32] = [0x66; 32];

fn changing(change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Option<Change> {
    Some(Arc::new(change))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_the_hosts_own_with_a_key_it_knows_is_not_pinned() {
    let site = Site::new(engine::command()).await;
    site.boots().await;
    let own = Broker::start(&site.dir.path().join("own-kbs"));
    site.put_both(&own, [HOSTS_KEY; 2]).await;
    site.host.lead_to(own.at);
    site.remove_store();
    site.swap_pack(&HOSTS_KEY, "weights");
    site.stops("kbs.not_pinned").await;
    assert_eq!(site.host.passed().last().unwrap().status, 200, "a key was offered");
}

/// HPKE authenticates nobody, and all that sealing under a genuine grant needs passes the host.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_host_sealed_under_a_genuine_grant_is_not_opened() {
    let site = Site::new(engine::command()).await;
    let attested = Arc::new(Mutex::new(Vec::new()));
    let seen = attested.clone();
    site.host.meddle(Meddling {
        attest: changing(move |body| {
            *seen.lock().unwrap() = body.clone();
            body
        }),
        key: changing(move |reply| {
            let mut wrapped = WrappedDek::parse(&reply).unwrap();
            let body = AttestBody::parse(&attested.lock().unwrap()).unwrap();
            let public = body.wrap_key.hpke().unwrap();
            let (info, aad) = (
                wrap_info(public.suite(), &wrapped.grant),
                wrapped.grant.digest().unwrap(),
            );
            let sealed = hpke::seal(public, &info, aad.as_bytes(), &HOSTS_KEY).unwrap();
            (wrapped.enc, wrapped.ciphertext) = (hex::encode(sealed.enc), hex::encode(sealed.ciphertext));
            wrapped.canonical().unwrap()
        }),
        ..Meddling::default()
    });
    site.stops("kbs.not_pinned").await;
    assert!(
        !site.dir.path().join("guest.db").exists(),
        "no store under the host's key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_grant_that_is_replayed_opens_nothing() {
    let site = Site::new(engine::command()).await;
    site.boots().await;
    let replay = site.host.meddle(Meddling::default());
    assert_eq!(replay.iter().filter(|p| p.path.contains("/resource/")).count(), 2);
    site.host.meddle(Meddling {
        replay,
        ..Meddling::default()
    });
    site.stops("grant.nonce").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_another_guest_opens_nothing() {
    let site = Site::new(engine::command()).await;
    // The host gives one challenge to two guests, shows the broker the other's evidence, and passes on its grant.
    let launch = site.launch.clone();
    let attest = changing(move |asked| {
        let asked: Value = serde_json::from_slice(&asked).unwrap();
        let challenge = json!({"nonce": asked["runtime-data"]["nonce"], "extra-params": ""}).to_string();
        let processor = SimulatedProcessor::for_tests();
        let other = processor
            .launch(launch.clone())
            .with_crl(processor.crl_der(hanzo_client::system_clock()()));
        let key = PrivateKey::generate(KemSuite::Xwing).unwrap();
        GuestSession::new(key.public_key())
            .attest_body(challenge.as_bytes(), |request| {
                Ok::<_, Infallible>(CpuEvidence::Snp(other.evidence(request.report_data())))
            })
            .unwrap()
    });
    site.host.meddle(Meddling {
        attest,
        ..Meddling::default()
    });
    site.stops("grant.recipient").await;
    assert_eq!(site.host.keys_given(), 1, "to the other guest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_an_older_key_version_stops_the_boot() {
    let mut site = Site::new(engine::command()).await;
    site.boots().await;
    let old = site.broker.state();
    let policy = site.key_policy(&site.root.to_string());
    site.broker.put(MODEL_KEY, 2, MODEL_DEK, &policy).await;
    site.host.lead_to(site.broker.at);
    site.boots().await;
    // A host that holds the broker's disk puts back store and head alike: nothing there is left to tell.
    site.broker.put_back(&old);
    site.host.lead_to(site.broker.at);
    let error = site.stops("grant.version").await;
    assert!(error.to_string().contains(MODEL_KEY), "{error}");
    // Another number written into what the broker signed.
    site.host.meddle(Meddling {
        key: edited("\"key_version\":1", "\"key_version\":2"),
        ..Meddling::default()
    });
    site.stops("kbs.not_pinned").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_another_weights_root_stops_the_boot() {
    let site = Site::new(engine::command()).await;
    let other = "ab".repeat(32);
    // Another model's key in place of the one that was asked for.
    site.broker
        .put("hanzo/dek/other", 1, HOSTS_KEY, &site.key_policy(&other))
        .await;
    site.host.meddle(Meddling {
        redirect: Some((MODEL_KEY, "hanzo/dek/other")),
        ..Meddling::default()
    });
    site.stops("grant.key_id").await;
    // The store's key in its place.
    site.host.meddle(Meddling {
        redirect: Some((MODEL_KEY, STORE_KEY)),
        ..Meddling::default()
    });
    let error = site.stops("kbs.refused").await;
    assert!(error.to_string().contains("kbs.grant.repeated"), "{error}");
    // The very key, which its owner meanwhile gave to another root.
    site.host.meddle(Meddling::default());
    site.broker.set_policy(MODEL_KEY, 1, &site.key_policy(&other)).await;
    site.stops("grant.subject").await;
    let root = site.root.to_string();
    site.host.meddle(Meddling {
        key: edited(&other, &root),
        ..Meddling::default()
    });
    site.stops("kbs.not_pinned").await;
}

/// Changes text in the answers that hold it.
fn edited(from: &str, to: &str) -> Option<Change> {
    let (from, to) = (from.to_owned(), to.to_owned());
    changing(move |reply| {
        let text = String::from_utf8(reply).unwrap().replace(&from, &to).into_bytes();
        jcs::from_slice::<Value>("edited", &text, 1 << 16).expect("still canonical");
        text
    })
}
