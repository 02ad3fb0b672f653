//! Requests that wait for the engine: whose turn it is, who leaves, who is told to come again. Counted in turns.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hanzo_attestation::config::Queue;
use hanzo_inference::AccessOptions;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::double::{Script, frame};
use crate::fixture::{Guest, json, limits};

fn queue(requests: u32) -> Option<Queue> {
    Some(Queue {
        requests,
        wait_s: 600,
        tokens: None,
    })
}

fn guest(script: Script, queue: Option<Queue>) -> Arc<Guest> {
    let limits = hanzo_attestation::config::Limits {
        concurrent_requests: 1,
        ..limits()
    };
    let uptime: hanzo_inference::Uptime = Arc::new(|| Duration::ZERO);
    Arc::new(Guest::made(script, limits, queue, |_| AccessOptions::Anybody, uptime))
}

fn ask(owner: u8, words: &str) -> Request<Body> {
    Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .header("hanzo-owner", format!("{owner:02x}").repeat(32))
        .body(Body::from(format!(
            r#"{{"model":"smollm2","max_tokens":8,"messages":[{{"role":"user","content":"{words}"}}]}}"#
        )))
        .unwrap()
}

/// Sends a request, and lets it come as far as it can.
async fn sent(guest: &Arc<Guest>, owner: u8, words: &str) -> JoinHandle<Response<Body>> {
    let (guest, request) = (guest.clone(), ask(owner, words));
    let sending = tokio::spawn(async move { guest.send(request).await });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    sending
}

/// Whose requests the engine got, in order.
fn order(guest: &Guest) -> Vec<char> {
    let asked = guest.engine.asked.lock().unwrap();
    let who = |body: &String| body.split("tenant-").nth(1).and_then(|rest| rest.chars().next());
    asked.iter().filter_map(who).collect()
}

#[tokio::test]
async fn one_tenants_many_requests_hold_up_anothers_by_one_turn() {
    let gate = Arc::new(Semaphore::new(0));
    let guest = guest(Script::Gate(gate.clone()), queue(64));
    let mut many = Vec::new();
    for _ in 0..30 {
        many.push(sent(&guest, 0xaa, "tenant-a").await);
    }
    let single = sent(&guest, 0xbb, "tenant-b").await;
    gate.add_permits(31);
    assert_eq!(single.await.unwrap().status(), 200);
    for one in many {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    let order = order(&guest);
    assert_eq!(order.len(), 31);
    assert!(order[..3].contains(&'b'), "{order:?}");
    assert_eq!(guest.receipts().len(), 31);
}

#[tokio::test]
async fn a_full_queue_turns_away_the_newest_of_whoever_has_most_and_says_when_to_come_again() {
    let gate = Arc::new(Semaphore::new(0));
    let guest = guest(Script::Gate(gate.clone()), queue(2));
    let mut many = Vec::new();
    for _ in 0..4 {
        many.push(sent(&guest, 0xaa, "tenant-a").await);
    }
    // One runs, two wait.
    let refused = many.pop().unwrap().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    let single = sent(&guest, 0xbb, "tenant-b").await;
    let given_up = many.pop().unwrap().await.unwrap();
    assert_eq!(given_up.status(), 429);
    assert_eq!(json(given_up).await["error"]["code"], "rate_limit_exceeded");
    gate.add_permits(3);
    assert_eq!(single.await.unwrap().status(), 200);
    for one in many {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    assert_eq!(order(&guest).len(), 3);
}

#[tokio::test]
async fn who_leaves_the_queue_never_reaches_the_engine() {
    let gate = Arc::new(Semaphore::new(0));
    let guest = guest(Script::Gate(gate.clone()), queue(8));
    let first = sent(&guest, 0xaa, "tenant-a").await;
    let leaving = sent(&guest, 0xbb, "tenant-b").await;
    let last = sent(&guest, 0xcc, "tenant-c").await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    gate.add_permits(8);
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(last.await.unwrap().status(), 200);
    assert_eq!(order(&guest), ['a', 'c']);
    assert_eq!(guest.receipts().len(), 2);
}

#[tokio::test]
async fn nobody_is_told_of_others_by_headers() {
    let gate = Arc::new(Semaphore::new(0));
    let guest = guest(Script::Gate(gate.clone()), queue(8));
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(sent(&guest, 0xaa, "tenant-a").await);
    }
    let busy = sent(&guest, 0xbb, "tenant-b").await;
    gate.add_permits(100);
    let busy = busy.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    let idle = guest.send(ask(0xbb, "tenant-b")).await;
    let told = |response: &Response<Body>| {
        let mut names: Vec<_> = response
            .headers()
            .iter()
            .filter(|(name, _)| !name.as_str().contains("id"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        names.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        names
    };
    assert_eq!(told(&busy), told(&idle));
}

#[tokio::test]
async fn an_engine_that_is_busy_says_when_to_come_again() {
    let busy = Script::Refuse(503, r#"{"error":{"message":"x","code":"busy"}}"#);
    let guest = guest(busy, queue(8));
    let refused = guest.send(ask(0xaa, "tenant-a")).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
}

#[tokio::test]
async fn a_wait_that_is_too_long_ends_in_a_refusal() {
    let slow = Script::Raw(vec![frame("a"), frame("b")], Duration::from_secs(30));
    let queue = Some(Queue {
        requests: 8,
        wait_s: 1,
        tokens: None,
    });
    let guest = guest(slow, queue);
    let first = sent(&guest, 0xaa, "tenant-a").await;
    let second = guest.send(ask(0xbb, "tenant-b")).await;
    assert_eq!(second.status(), 429);
    first.abort();
}
