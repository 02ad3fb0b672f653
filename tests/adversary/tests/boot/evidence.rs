//! A guest that is not good enough, or whose host changes the evidence: no key, and the broker's log names the rule.

use std::sync::{Arc, Mutex};

use hanzo_attestation::{Digest384, Nonce};
use hanzo_kbs_protocol::{WrapKey, encode_nonce};
use hanzo_pqc::hpke::{KemSuite, PrivateKey};
use hanzo_simulated_tee::LaunchSpec;
use hanzo_tests_adversary::doorman::Meddling;
use hanzo_tests_adversary::site::{MODEL_DEK, STORE_DEK, Site};
use serde_json::Value;

use crate::engine;

/// The guest gets no key and is told the rule; so is whoever reads the broker's log, and no key is in there.
async fn no_key(site: &Site, rule: &str) {
    let given = site.host.keys_given();
    let error = site.stops("kbs.refused").await;
    assert!(error.to_string().contains(rule), "{error}");
    assert_eq!(site.host.keys_given(), given);
    let log = site.broker.log();
    assert!(log.contains(rule), "{rule} is not in the broker's log:\n{log}");
    for key in [STORE_DEK, MODEL_DEK] {
        assert!(!log.contains(&hex::encode(key)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_does_not_reach_the_keys_tier_gets_no_key() {
    let mut site = Site::new(engine::command()).await;
    let healthy = site.launch.clone();
    let launched = |change: fn(&mut LaunchSpec)| {
        let mut launch = healthy.clone();
        change(&mut launch);
        launch
    };
    for (launch, rule) in [
        (launched(|l| l.debug = true), "snp.debug"),
        (launched(|l| l.migrate_ma = true), "snp.migratable"),
        (launched(|l| l.vmpl = 1), "snp.vmpl"),
        (launched(|l| l.tcb.snp = 22), "snp.tcb.below_floor"),
        (launched(|l| l.image_digest = Digest384([9; 48])), "snp.measurement"),
    ] {
        assert!(!site.broker.log().contains(rule), "{rule} is there before");
        site.launch = launch;
        no_key(&site, rule).await;
    }
    site.launch = healthy;
    site.boots().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_for_the_wrong_nonce_gets_no_key() {
    let site = Site::new(engine::command()).await;
    let drawn = Arc::new(Mutex::new(String::new()));
    let other = encode_nonce(&Nonce([1; 32]));
    let swap = {
        let (drawn, other) = (drawn.clone(), other.clone());
        move |challenge: Vec<u8>| {
            let mut challenge: Value = serde_json::from_slice(&challenge).unwrap();
            *drawn.lock().unwrap() = challenge["nonce"].as_str().unwrap().to_owned();
            challenge["nonce"] = other.clone().into();
            challenge.to_string().into_bytes()
        }
    };
    let meddling = Meddling {
        challenge: Some(Arc::new(swap)),
        ..Meddling::default()
    };
    site.host.meddle(meddling.clone());
    no_key(&site, "kbs.session.nonce").await;
    // The host writes the broker's nonce back: now the evidence itself tells.
    let write_back = move |body: Vec<u8>| {
        let body = String::from_utf8(body).unwrap();
        let changed = body.replace(&other, &drawn.lock().unwrap());
        assert_ne!(body, changed);
        changed.into_bytes()
    };
    site.host.meddle(Meddling {
        attest: Some(Arc::new(write_back)),
        ..meddling
    });
    no_key(&site, "binding.rcar_report_data").await;
    site.host.meddle(Meddling::default());
    site.boots().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_wrapping_key_gets_no_key() {
    let site = Site::new(engine::command()).await;
    let hosts = PrivateKey::generate(KemSuite::Xwing).unwrap();
    let object = WrapKey::new(hosts.public_key().clone()).to_value();
    site.host.meddle(Meddling {
        attest: Some(Arc::new(move |body| {
            let mut body: Value = serde_json::from_slice(&body).unwrap();
            body["runtime-data"]["tee-pubkey"] = object.clone();
            body.to_string().into_bytes()
        })),
        ..Meddling::default()
    });
    no_key(&site, "binding.rcar_report_data").await;
}
