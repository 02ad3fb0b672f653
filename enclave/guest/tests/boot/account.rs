//! The key of a validator's account: got as an agent's keys are, for the measured configuration alone, and after a bounded number of attempts.

use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::Digest256;
use hanzo_device::Attester;
use hanzo_guest::account::{Patience, granted};
use hanzo_kbs_protocol::OpenedGrant;
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};

use crate::broker::Mood;
use crate::served::name;
use crate::world::{IMAGE, STORE_DEK, STORE_KEY, Simulated, World};

const SUBJECT: &str = "receipts";

fn text(world: &World, at: &str, tier: u8, subject: &str) -> String {
    let (pinned, zeros) = (world.broker.pinned(), "22".repeat(32));
    format!(
        "version = 1\nrole = \"validator\"\nnetwork = 36964\ngenesis = \"{zeros}\"\nrpc = \"0.0.0.0:9650\"\n\
         listen = \"0.0.0.0:9651\"\naddress = \"one.example:9651\"\nrequired_tier = {tier}\npolicy = \"minimum_tier = 1\"\n\
         [account]\nkey_id = \"{STORE_KEY}\"\nsubject = \"{subject}\"\n[kbs]\naddress = \"{at}\"\ngrant_lifetime_s = 60\n\
         [kbs.signer]\nsuite = \"{}\"\nml_dsa = \"{}\"\ned25519 = \"{}\"\n\
         [[peer]]\naccount = \"0x{zeros}\"\naddress = \"10.0.2.2:9701\"\n",
        pinned.suite, pinned.ml_dsa, pinned.ed25519
    )
}

fn patience() -> Patience {
    Patience {
        attempts: 3,
        pause: Duration::from_millis(1),
        step: Duration::from_secs(10),
    }
}

/// What `text` gets in a machine that measured `measured`: the grant or the error's code, and what was told on the way.
async fn ask(
    world: &World,
    text: &str,
    measured: Digest256,
) -> (Result<OpenedGrant, (&'static str, String)>, Vec<String>) {
    let path = world.dir.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    let guest = SimulatedProcessor::for_tests().launch(LaunchSpec::new(IMAGE, measured));
    let attester: Arc<dyn Attester> = Arc::new(Simulated(guest));
    let mut told = Vec::new();
    let got = granted(&path, attester, patience(), &mut |line| told.push(line)).await;
    (got.map_err(|error| (error.code(), error.to_string())), told)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pinned_brokers_grant_for_this_subject_and_tier_is_taken_and_no_other() {
    let world = World::new().await;
    let at = world.broker.serve().await.to_string();
    let good = text(&world, &at, 2, SUBJECT);
    let measured = Digest256::of(good.as_bytes());
    let (got, told) = ask(&world, &good, measured).await;
    let opened = got.unwrap();
    assert_eq!(opened.dek.expose(), &STORE_DEK);
    assert_eq!((opened.grant.tier, told.len()), (2, 0));

    // Whatever a broker answers is final: nothing is asked again.
    for (mood, code) in [
        (Mood::Refuse, "kbs.refused"),
        (Mood::Tier(1), "grant.tier"),
        (Mood::Subject(name("another")), "grant.subject"),
        (Mood::Foreign, "kbs.not_pinned"),
    ] {
        world.broker.set(mood);
        let (got, told) = ask(&world, &good, measured).await;
        let (got, said) = got.unwrap_err();
        assert_eq!((got, told.len()), (code, 0), "{said}");
        assert!(said.contains(STORE_KEY), "{said}");
    }
    world.broker.set(Mood::Honest);
    let other = text(&world, &at, 2, "receipt");
    let (got, _) = ask(&world, &other, Digest256::of(other.as_bytes())).await;
    assert_eq!(got.unwrap_err().0, "grant.subject");

    // Another text than the measured one asks nobody for anything, and neither does an observer.
    let (got, _) = ask(&world, &other, measured).await;
    assert_eq!(got.unwrap_err().0, "config.digest_mismatch");
    let observer = format!(
        "version = 1\nrole = \"observer\"\nnetwork = 1\ngenesis = \"{}\"\nrpc = \"0.0.0.0:9650\"\n[[follow]]\naddress = \"{at}\"\n",
        "22".repeat(32)
    );
    let (got, _) = ask(&world, &observer, Digest256::of(observer.as_bytes())).await;
    assert_eq!(got.unwrap_err().0, "node.config.role");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_is_asked_a_bounded_number_of_times_and_each_is_told() {
    let world = World::new().await;
    let text = text(&world, "127.0.0.1:1", 2, SUBJECT);
    let (got, told) = ask(&world, &text, Digest256::of(text.as_bytes())).await;
    assert_eq!(got.unwrap_err().0, "kbs.unreachable");
    assert_eq!(told.len(), 2);
    assert!(
        told[0].starts_with("attempt 1 of 3: key ") && told[0].contains("[kbs.unreachable]"),
        "{told:?}"
    );
}
