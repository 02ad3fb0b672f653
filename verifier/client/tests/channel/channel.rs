//! What a healthy guest gets: one attestation, a proof per connection, and then requests.

use std::sync::atomic::Ordering;

use hanzo_client::ChannelRequest;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

use crate::guest::*;

#[tokio::test]
async fn one_attestation_serves_many_requests_and_every_connection_proves_itself() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let (client, _) = client(network.at, None);
    for _ in 0..3 {
        assert_eq!(client.chat_once(&chat(false)).await.unwrap().content, "Paris");
    }
    assert_eq!(
        (guest.attestations.load(Ordering::SeqCst), network.connections()),
        (1, 1)
    );
    network.sever().await;
    assert_eq!(client.chat_once(&chat(false)).await.unwrap().content, "Paris");
    assert_eq!(
        guest.attestations.load(Ordering::SeqCst),
        1,
        "the verdict is still fresh"
    );
    assert_eq!(
        guest.proofs.load(Ordering::SeqCst),
        2,
        "the new connection proved itself"
    );
    let many = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.chat_once(&chat(false)).await.unwrap().content })
    });
    for one in many.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), "Paris");
    }
    assert_eq!(guest.proofs.load(Ordering::SeqCst), network.connections() + 1);
}

#[tokio::test]
async fn a_burst_at_the_start_attests_once() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let (client, _) = client(network.at, None);
    let burst: Vec<_> = (0..6)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.exchange(ChannelRequest::get("/v1/models")).await.unwrap().status })
        })
        .collect();
    for one in burst {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(guest.attestations.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_guest_is_attested_again_when_the_verdict_is_too_old_and_when_it_has_restarted() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let (client, clock) = client(network.at, None);
    let first = *client.verdict().await.unwrap().keyset_digest();
    clock.store(now() + 3600, Ordering::SeqCst);
    client.verdict().await.unwrap();
    assert_eq!(
        guest.attestations.load(Ordering::SeqCst),
        1,
        "the last second still counts"
    );
    clock.store(now() + 3601, Ordering::SeqCst);
    client.chat_once(&chat(false)).await.unwrap();
    assert_eq!(guest.attestations.load(Ordering::SeqCst), 2);

    let restarted = Guest::boot(2);
    network.divert(&restarted);
    network.sever().await;
    client.chat_once(&chat(false)).await.unwrap();
    assert_eq!(restarted.attestations.load(Ordering::SeqCst), 1);
    assert_ne!(*client.last_verdict().unwrap().keyset_digest(), first);
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let e = client(at, None).0.verdict().await.err().unwrap();
    assert_eq!((e.code(), e.exit_code()), ("endpoint.unreachable", 1));
}

#[tokio::test]
async fn a_verdict_that_ends_while_a_connection_proves_itself_is_made_anew_before_anything_is_sent() {
    let pause = Arc::new(Notify::new());
    let knobs = Knobs {
        proof_pause: Some(pause.clone()),
        ..Knobs::default()
    };
    let guest = Arc::new(Guest::with(1, 1, knobs));
    let network = Network::to(&guest).await;
    let (client, clock) = client(network.at, None);
    pause.notify_one();
    client.verdict().await.unwrap();
    network.sever().await;

    clock.store(now() + 3600, Ordering::SeqCst);
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.chat_once(&chat(false)).await.map(|a| a.content) }
    });
    while guest.proofs.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    clock.store(now() + 3601, Ordering::SeqCst);
    pause.notify_one();
    while guest.proofs.load(Ordering::SeqCst) < 3 {
        assert!(!asking.is_finished(), "sent under a verdict that had ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(guest.heard(), "");
    assert_eq!(guest.attestations.load(Ordering::SeqCst), 2);
    pause.notify_one();
    assert_eq!(asking.await.unwrap().unwrap(), "Paris");
}

#[tokio::test]
async fn a_request_that_was_read_and_not_answered_is_not_sent_again() {
    let knobs = Knobs {
        hang_up: true,
        ..Knobs::default()
    };
    let guest = Arc::new(Guest::with(1, 1, knobs));
    let network = Network::to(&guest).await;
    let (client, _) = client(network.at, None);
    let e = client.chat_once(&chat(false)).await.unwrap_err();
    assert_eq!(e.code(), "channel.exchange");
    assert_eq!(guest.heard().matches(PROMPT).count(), 1);
}
