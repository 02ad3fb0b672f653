//! Evidence judged again while its link lives.

use super::*;

/// Judges as another does, and finds the tier that it is told.
struct Worth(Arc<dyn Appraiser>, u8);

impl Appraiser for Worth {
    fn appraise(&self, evidence: &[u8], keys: &ValidatorKeys, now: UnixTime) -> Result<Appraised, LinkError> {
        let judged = self.0.appraise(evidence, keys, now)?;
        let tier = self.1;
        Ok(Appraised { tier, ..judged })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_stays_is_worth_what_the_newest_judgement_says() {
    let (low, high) = pair();
    let second = network(high, 1, &[]).await;
    let first = network(low, 1, &[(high, &second.address)]).await;
    let linked = || first.network.peers().len() + second.network.peers().len() == 2;
    until("a link", linked).await;
    let peer = || second.network.peer(&key(low)).unwrap();
    let worth = |tier: u8| -> Vec<&str> {
        let policy = Worth(appraiser(image()), tier);
        second.policy.set(Arc::new(policy));
        let closed = second.network.judge_again(clock(), Instant::now());
        closed.iter().map(|(_, why)| why.code()).collect()
    };
    let (before, made) = (peer(), second.network.counters().connections.load(Relaxed));
    assert_eq!(before.appraised.tier, 2);
    for tier in [4, 3, 2, 3] {
        assert_eq!(worth(tier), [] as [&str; 0]);
        assert_eq!((peer().appraised.tier, peer().key == before.key), (tier, true));
    }
    // It stayed the same link, which is still closed where it is worth too little.
    assert_eq!(second.network.counters().connections.load(Relaxed), made);
    assert_eq!(worth(1), ["links.tier"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_was_set_while_one_network_ran_is_that_of_the_next_too() {
    let (low, high) = pair();
    let second = network(high, 1, &[]).await;
    let first = network(low, 1, &[(high, &second.address)]).await;
    until("a link", || second.network.peers().len() == 1).await;
    // The process begins again with another key, as it does where the chain wants one, after its operator distrusted the other's image.
    let policy = Arc::clone(&second.policy);
    policy.set(appraiser(Digest384::of(b"another")));
    drop((first, second));
    let second = network_by(Arc::clone(&policy), high, 2, &[]).await;
    let first = network(low, 1, &[(high, &second.address)]).await;
    let refusals = || second.network.counters().refusals.load(Relaxed);
    until("it is refused", || refusals() > 1).await;
    assert!(second.network.peers().is_empty() && first.network.peers().is_empty());
    policy.set(appraiser(image()));
    until("a link", || second.network.peers().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_is_judged_again_while_a_link_lives_by_the_time_the_policy_and_the_age_of_then() {
    let (low, high) = pair();
    let second = network(high, 1, &[]).await;
    let first = network(low, 1, &[(high, &second.address)]).await;
    let linked = || first.network.peers().len() + second.network.peers().len() == 2;
    until("a link", linked).await;
    let (now, at) = (clock(), Instant::now());
    let judged = |now, at| -> Vec<(Address, &str)> {
        let closed = second.network.judge_again(now, at);
        closed.iter().map(|(account, why)| (*account, why.code())).collect()
    };
    let hour = limits().age_max;
    // As good as it was, and young enough.
    assert_eq!(judged(now, at), []);
    assert_eq!(judged(now, at + hour / 2), []);
    // Its processor's certificates are over at the end of 2049: closed; a fresh handshake, at the time that it is, makes it again.
    assert_eq!(
        judged(UnixTime(2_524_607_999 + 1), at),
        [(account(low), "links.evidence")]
    );
    until("the link closes", || {
        second.network.counters().judged_out.load(Relaxed) == 1
    })
    .await;
    until("a fresh link", linked).await;
    // An hour and a moment after the handshake.
    assert_eq!(
        judged(now, Instant::now() + hour + Duration::from_secs(1)),
        [(account(low), "links.aged")]
    );
    until("a fresh link", linked).await;
    // Another policy: closed, and kept out as long as it holds.
    second.policy.set(appraiser(Digest384::of(b"another")));
    assert_eq!(judged(now, at), [(account(low), "links.evidence")]);
    let refused = second.network.counters().refusals.load(Relaxed);
    until("it is refused again", || {
        second.network.counters().refusals.load(Relaxed) > refused + 1
    })
    .await;
    assert!(second.network.peers().is_empty());
    second.policy.set(appraiser(image()));
    until("a fresh link", linked).await;
    assert_eq!(judged(now, at), []);
}
