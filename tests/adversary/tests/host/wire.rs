//! A host that works on the encrypted bytes.

use hanzo_client::{AttestedClient, ClientError};
use hanzo_tests_adversary::appliance::Appliance;
use hanzo_tests_adversary::wire::{Attack, HostileProxy};
use serde_json::json;

use crate::engine;

pub const CANARY: &str = "canary-7f3a9c51e2";

pub async fn ask(client: &AttestedClient) -> Result<String, ClientError> {
    let request = json!({"model": "tiny", "messages": [{"role": "user", "content": format!("echo {CANARY}")}]});
    client.chat_once(&request).await.map(|answer| answer.content)
}

/// The attack is refused with one of these codes, the engine got no prompt, and nothing readable passed.
async fn refused(appliance: &Appliance, proxy: &HostileProxy, codes: &[&str]) {
    let client = appliance.client(proxy.at);
    let error = ask(&client).await.expect_err("the attack is refused");
    println!(
        "attack on the encrypted bytes: the client saw [{}] {error}",
        error.code()
    );
    assert!(
        codes.contains(&error.code()),
        "{error} [{}], expected one of {codes:?}",
        error.code()
    );
    assert_eq!(appliance.prompts(), 0, "no prompt reached the engine");
    assert!(!proxy.saw(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_proxy_carries_a_question_and_its_answer_unread() {
    let appliance = Appliance::start(engine::command()).await;
    let proxy = HostileProxy::start(appliance.guest_at, Attack::None).await.unwrap();
    let client = appliance.client(proxy.at);
    assert_eq!(ask(&client).await.unwrap(), format!("echo {CANARY}"));
    assert_eq!(appliance.prompts(), 1);
    assert!(!proxy.saw(CANARY), "the host can read it");
    assert!(
        proxy.seen().iter().any(|s| s.to_client.len() > 1000),
        "something did pass"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bytes_are_refused_wherever_they_are() {
    let appliance = Appliance::start(engine::command()).await;
    let codes = [
        "tls.handshake",
        "attestation.answer",
        "channel.proof_answer",
        "channel.proof_mismatch",
        "channel.exchange",
    ];
    for at in [20, 200, 1300, 2000, 9000] {
        let proxy = HostileProxy::start(appliance.guest_at, Attack::FlipToClient { at })
            .await
            .unwrap();
        refused(&appliance, &proxy, &codes).await;
    }
    for at in [20, 600, 1700] {
        let proxy = HostileProxy::start(appliance.guest_at, Attack::FlipToGuest { at })
            .await
            .unwrap();
        refused(&appliance, &proxy, &codes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_refused() {
    let appliance = Appliance::start(engine::command()).await;
    for after in [0, 500, 2500, 6000] {
        let proxy = HostileProxy::start(appliance.guest_at, Attack::CutToClient { after })
            .await
            .unwrap();
        refused(
            &appliance,
            &proxy,
            &["tls.handshake", "attestation.answer", "channel.proof_answer"],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_connection_played_back_is_refused() {
    let appliance = Appliance::start(engine::command()).await;
    let proxy = HostileProxy::start(appliance.guest_at, Attack::None).await.unwrap();
    appliance.client(proxy.at).verdict().await.unwrap();
    let recorded = proxy.seen().first().unwrap().to_client.clone();
    proxy.attack(Attack::Replay(recorded));
    refused(&appliance, &proxy, &["tls.handshake"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_diverted_to_another_genuine_guest_sends_nothing() {
    let (asked, other) = tokio::join!(Appliance::start(engine::command()), Appliance::start(engine::command()));
    let proxy = HostileProxy::start(asked.guest_at, Attack::None).await.unwrap();
    let client = asked.client(proxy.at);
    client.verdict().await.unwrap();
    // The pooled connection dies; the next one ends in the other guest, whose own evidence another policy would accept.
    proxy.attack(Attack::Divert {
        to: other.guest_at,
        from: 0,
    });
    proxy.cut_all();
    // Until the client has noticed, a request breaks off instead.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let error = ask(&client).await.expect_err("the diverted connection is refused");
    println!(
        "attack: a connection diverted to another genuine guest: the client saw [{}] {error}",
        error.code()
    );
    assert!(
        ["config.not_reference", "snp.measurement", "policy.refused"].contains(&error.code()),
        "{error} [{}]",
        error.code()
    );
    assert_eq!((asked.prompts(), other.prompts()), (0, 0));
    assert!(!proxy.saw(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_swapped_under_pooled_connections_sends_nothing() {
    let (asked, other) = tokio::join!(Appliance::start(engine::command()), Appliance::start(engine::command()));
    let proxy = HostileProxy::start(asked.guest_at, Attack::None).await.unwrap();
    let client = asked.client(proxy.at);
    ask(&client).await.unwrap();
    proxy.attack(Attack::Divert {
        to: other.guest_at,
        from: 0,
    });
    proxy.cut_all();
    let attempts = (0..4).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { ask(&client).await })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        attempt
            .await
            .unwrap()
            .expect_err("refused, also when several reconnect at once");
    }
    assert_eq!((asked.prompts(), other.prompts()), (1, 0));
}
