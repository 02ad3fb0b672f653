//! A guest gets its key, and each nearest thing to it does not.

#[path = "support/harness.rs"]
mod harness;

use hanzo_attestation::Digest384;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::{StoreMode, admin};
use hanzo_kbs_protocol::ATTEST_PATH;
use hanzo_policy::PrivacyTier;
use hanzo_simulated_tee::LaunchSpec;
use harness::{Broker, CONFIG, DEK, Guest, IMAGE, block_on, http, now, policy};

const KEY: &str = "hanzo/dek/smollm2";

#[test]
fn an_attested_guest_gets_its_key_once() {
    let mut broker = Broker::simulated();
    let key_policy = policy();
    broker.put(KEY, 1, &key_policy).unwrap();
    let guest = Guest::new().attested(broker.address);
    let reply = guest.ask(broker.address, KEY);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let opened = guest.open(&reply.body, &broker, KEY).unwrap();
    assert_eq!(opened.dek.expose(), &DEK);
    assert!(opened.grant.simulated, "the flag follows the root");
    assert_eq!((opened.grant.tier, opened.grant.key_version), (2, 1));
    assert_eq!(opened.grant.policy_digest, key_policy.digest().unwrap());

    // One grant per key, version and recipient; the next version and another key are other grants.
    assert_eq!(
        guest.ask(broker.address, KEY).error(),
        (403, "kbs.grant.repeated".into())
    );
    broker.put(KEY, 2, &policy()).unwrap();
    let second = guest.open(&guest.ask(broker.address, KEY).body, &broker, KEY).unwrap();
    assert_eq!(second.grant.key_version, 2);
    assert_eq!(opened.at_least_version(2).unwrap_err().code(), "grant.version");

    // Another session does not see the first one's key, and another wrapping key cannot open the reply.
    let other = Guest::new().attested(broker.address);
    assert_eq!(other.open(&reply.body, &broker, KEY).unwrap_err().code(), "grant.nonce");

    let audit = broker.audit();
    let actions: Vec<_> = audit
        .iter()
        .map(|l| (l["action"].as_str().unwrap(), l["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        actions,
        [
            ("put-key", "ok"),
            ("grant", "ok"),
            ("refuse", "kbs.grant.repeated"),
            ("put-key", "ok"),
            ("grant", "ok")
        ]
    );
    assert_eq!(audit[1]["simulated"], true);
    assert_eq!(audit[1]["tier"], 2);
}

/// Each sick guest is told the first failed rule; the audit names all of them.
#[test]
fn guests_that_do_not_reach_the_policy_are_refused_by_rule() {
    let mut broker = Broker::simulated();
    broker.put(KEY, 1, &policy()).unwrap();
    let mut debug = LaunchSpec::new(IMAGE, CONFIG);
    debug.debug = true;
    let mut migratable = LaunchSpec::new(IMAGE, CONFIG);
    migratable.migrate_ma = true;
    let mut vmpl = LaunchSpec::new(IMAGE, CONFIG);
    vmpl.vmpl = 1;
    let mut old = LaunchSpec::new(IMAGE, CONFIG);
    old.tcb.microcode = 0;
    let other_image = LaunchSpec::new(Digest384([9; 48]), CONFIG);
    let cases = [
        (debug, "snp.debug"),
        (migratable, "snp.migratable"),
        (vmpl, "snp.vmpl"),
        (old, "snp.tcb.below_floor"),
        (other_image, "snp.measurement"),
    ];
    for (spec, code) in cases.clone() {
        let guest = Guest::launched(spec).attested(broker.address);
        assert_eq!(guest.ask(broker.address, KEY).error(), (403, code.into()));
    }
    let healthy = Guest::new().attested(broker.address);
    assert_eq!(healthy.ask(broker.address, KEY).status, 200);

    let audit = broker.audit();
    for ((_, code), line) in cases.iter().zip(&audit[1..]) {
        assert_eq!(
            (line["action"].as_str(), line["code"].as_str()),
            (Some("refuse"), Some(*code))
        );
        assert!(line["failed"].as_array().unwrap().iter().any(|f| f == code), "{line}");
    }
}

#[test]
fn a_key_that_asks_for_more_than_the_guest_reaches_stays() {
    let mut broker = Broker::simulated();
    let mut high = policy();
    high.appraisal.minimum_tier = PrivacyTier::GpuCc;
    broker.put(KEY, 1, &high).unwrap();
    let guest = Guest::new().attested(broker.address);
    let (status, code) = guest.ask(broker.address, KEY).error();
    assert_eq!(status, 403);
    let audit = broker.audit();
    assert_eq!(audit[1]["code"], code);
    assert!(!audit[1]["failed"].as_array().unwrap().is_empty());
}

#[test]
fn simulated_evidence_gets_simulated_keys_alone() {
    let broker = Broker::simulated();
    let mut real = policy();
    real.allow_simulated = false;
    broker.put("hanzo/dek/real", 1, &real).unwrap();
    broker.put(KEY, 1, &policy()).unwrap();
    let guest = Guest::new().attested(broker.address);
    assert_eq!(
        guest.ask(broker.address, "hanzo/dek/real").error(),
        (403, "kbs.simulated".into())
    );
    assert_eq!(guest.ask(broker.address, KEY).status, 200);
    // Fixed when the key was made, by version and by policy.
    for outcome in [
        broker.put("hanzo/dek/real", 2, &policy()),
        broker.set_policy("hanzo/dek/real", 1, &policy()),
    ] {
        assert_eq!(outcome.unwrap_err().code(), "key_policy.allow_simulated");
    }
}

#[test]
fn a_production_broker_with_a_simulator_root_still_says_simulated() {
    let mut broker = Broker::start(StoreMode::Production, true, |_| {});
    assert_eq!(broker.put(KEY, 1, &policy()).unwrap_err().code(), "store.simulated_key");
    let mut real = policy();
    real.allow_simulated = false;
    broker.put(KEY, 1, &real).unwrap();
    let guest = Guest::new().attested(broker.address);
    assert_eq!(guest.ask(broker.address, KEY).error(), (403, "kbs.simulated".into()));
    let mut debug = LaunchSpec::new(IMAGE, CONFIG);
    debug.debug = true;
    let sick = Guest::launched(debug).attested(broker.address);
    assert_eq!(sick.ask(broker.address, KEY).error(), (403, "snp.debug".into()));
    // The flag is in the log of what was refused, whatever it was refused for.
    let mut audit = broker.audit();
    audit.retain(|line| line["action"] != "refuse-admin");
    assert_eq!(
        (&audit[1]["code"], &audit[1]["simulated"]),
        (&"kbs.simulated".into(), &true.into())
    );
    assert_eq!(
        (&audit[2]["code"], &audit[2]["simulated"]),
        (&"snp.debug".into(), &true.into())
    );
    assert_eq!(audit[2]["tier"], 0);
}

#[test]
fn a_simulated_guest_is_not_authentic_where_its_root_is_not_configured() {
    let broker = Broker::start(StoreMode::Production, false, |_| {});
    let guest = Guest::new().challenged(broker.address);
    assert_eq!(
        guest.send_attest(broker.address).error(),
        (403, "snp.chain.root".into())
    );
}

#[test]
fn uses_lifetime_revocation_and_tightened_policies_hold_at_the_moment_of_release() {
    let broker = Broker::simulated();
    let mut once = policy();
    once.max_uses = 1;
    broker.put(KEY, 1, &once).unwrap();
    let (first, second) = (
        Guest::new().attested(broker.address),
        Guest::new().attested(broker.address),
    );
    assert_eq!(first.ask(broker.address, KEY).status, 200);
    assert_eq!(second.ask(broker.address, KEY).error(), (403, "kbs.key.used_up".into()));

    let mut over = policy();
    over.not_after = now().0 - 1;
    broker.put("hanzo/dek/over", 1, &over).unwrap();
    assert_eq!(
        second.ask(broker.address, "hanzo/dek/over").error(),
        (403, "kbs.key.expired".into())
    );

    // Attested under the old policy, asked under the new one.
    broker.put("hanzo/dek/tight", 1, &policy()).unwrap();
    let mut tight = policy();
    tight.appraisal.snp.as_mut().unwrap().references.clear();
    broker.set_policy("hanzo/dek/tight", 1, &tight).unwrap();
    assert_eq!(
        second.ask(broker.address, "hanzo/dek/tight").error(),
        (403, "snp.measurement".into())
    );

    broker.put("hanzo/dek/gone", 1, &policy()).unwrap();
    let key = KeyId::new("hanzo/dek/gone").unwrap();
    block_on(admin::revoke(
        broker.address,
        &broker.made.identity,
        &broker.admin(),
        &key,
        1,
    ))
    .unwrap();
    assert_eq!(
        second.ask(broker.address, "hanzo/dek/gone").error(),
        (403, "kbs.key.revoked".into())
    );
    assert_eq!(
        second.ask(broker.address, "hanzo/dek/none").error(),
        (404, "kbs.key.unknown".into())
    );
}

#[test]
fn max_uses_holds_under_concurrency() {
    let mut broker = Broker::simulated();
    let mut three = policy();
    three.max_uses = 3;
    broker.put(KEY, 1, &three).unwrap();
    let address = broker.address;
    let guests: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(move || Guest::new().attested(address).ask(address, KEY).status))
        .collect();
    let granted = guests
        .into_iter()
        .map(|g| g.join().unwrap())
        .filter(|s| *s == 200)
        .count();
    assert_eq!(granted, 3);
    let audit = broker.audit();
    assert_eq!(audit.iter().filter(|l| l["action"] == "grant").count(), 3);
}

#[test]
fn evidence_for_another_nonce_key_or_session_is_refused() {
    let broker = Broker::simulated();
    broker.put(KEY, 1, &policy()).unwrap();

    // Wrong nonce: the body of one session sent in another.
    let (first, mut second) = (
        Guest::new().challenged(broker.address),
        Guest::new().challenged(broker.address),
    );
    second.attest = first.attest.clone();
    assert_eq!(
        second.send_attest(broker.address).error(),
        (403, "kbs.session.nonce".into())
    );

    // Swapped key: the evidence commits to another wrapping key.
    let (honest, thief) = (
        Guest::new().challenged(broker.address),
        Guest::new().challenged(broker.address),
    );
    let mut body: serde_json::Value = serde_json::from_slice(&honest.attest).unwrap();
    let stolen: serde_json::Value = serde_json::from_slice(&thief.attest).unwrap();
    body["runtime-data"]["tee-pubkey"] = stolen["runtime-data"]["tee-pubkey"].clone();
    let reply = http(
        broker.address,
        "POST",
        ATTEST_PATH,
        &honest.cookie,
        body.to_string().as_bytes(),
    );
    assert_eq!(reply.error(), (403, "binding.rcar_report_data".into()));
    // Only what was admitted uses a challenge up: a spoilt attempt spoils no session, and takes no memory.
    assert_eq!(honest.send_attest(broker.address).status, 200);

    // Replay of a whole attestation, and a session used twice.
    let guest = Guest::new().attested(broker.address);
    assert_eq!(
        guest.send_attest(broker.address).error(),
        (401, "kbs.session.used".into())
    );
    // No session, a foreign one, one that has not attested.
    let mut none = Guest::new();
    assert_eq!(
        none.ask(broker.address, KEY).error(),
        (401, "kbs.session.unknown".into())
    );
    let foreign = Guest::new().challenged(Broker::simulated().address).cookie;
    for cookie in [format!("kbs-session-id={}", "A".repeat(100)), foreign] {
        none.cookie = cookie;
        assert_eq!(
            none.ask(broker.address, KEY).error(),
            (401, "kbs.session.unknown".into())
        );
    }
    let early = Guest::new().challenged(broker.address);
    assert_eq!(
        early.ask(broker.address, KEY).error(),
        (401, "kbs.session.not_attested".into())
    );
}

#[test]
fn of_concurrent_attestations_one_wins_and_none_panics() {
    let broker = Broker::simulated();
    let guest = Guest::new().challenged(broker.address);
    let (address, cookie, body) = (broker.address, guest.cookie.clone(), guest.attest.clone());
    let all: Vec<_> = (0..6)
        .map(|_| {
            let (cookie, body) = (cookie.clone(), body.clone());
            std::thread::spawn(move || http(address, "POST", ATTEST_PATH, &cookie, &body).status)
        })
        .collect();
    let statuses: Vec<_> = all.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|s| matches!(s, 200 | 401)));
}

#[test]
fn a_foreign_broker_is_not_pinned() {
    let (ours, foreign) = (Broker::simulated(), Broker::simulated());
    foreign.put(KEY, 1, &policy()).unwrap();
    let guest = Guest::new().attested(foreign.address);
    let reply = guest.ask(foreign.address, KEY);
    assert_eq!(
        guest.open(&reply.body, &ours, KEY).unwrap_err().code(),
        "kbs.not_pinned"
    );
    guest.open(&reply.body, &foreign, KEY).unwrap();
}

#[test]
fn sessions_are_capped_and_end() {
    let broker = Broker::start(StoreMode::Simulated, true, |c| {
        c.sessions_max = 2;
        c.session_ttl_s = 1;
    });
    let challenged = || Guest::new().challenged(broker.address);
    // Challenges that nobody answers take no place.
    for _ in 0..5 {
        challenged();
    }
    let early = challenged();
    let both = [(); 2].map(|()| Guest::new().attested(broker.address));
    let third = challenged().send_attest(broker.address);
    assert_eq!(third.error(), (429, "kbs.session.full".into()));
    // Whole seconds: the second in which it ends counts.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(
        early.send_attest(broker.address).error(),
        (401, "kbs.session.unknown".into())
    );
    assert_eq!(
        both[0].ask(broker.address, KEY).error(),
        (401, "kbs.session.unknown".into())
    );
    assert_eq!(challenged().send_attest(broker.address).status, 200);
}
