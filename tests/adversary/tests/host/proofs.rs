//! A host that answers channel proofs with proofs of other connections, keysets and guests.

use std::net::SocketAddr;

use bytes::Bytes;
use hanzo_attestation::channel::{PROOF_PATH, ProofRequest, ProofResponse};
use hanzo_attestation::jcs;
use hanzo_channel::{Exporter, PendingProof};
use hanzo_tests_adversary::appliance::Appliance;
use hanzo_tests_adversary::impostor::connect;
use hanzo_tests_adversary::wire::{Attack, HostileProxy};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

use crate::engine;
use crate::wire::{CANARY, ask};

/// A real connection to a real guest, step by step, so that a proof can be put in another's place.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    exporter: Exporter,
}

impl Connection {
    async fn to(guest: SocketAddr) -> Self {
        let tls = connect(guest).await.unwrap();
        let exporter = Exporter::of_client(tls.get_ref().1).unwrap();
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(driver);
        Self { sender, exporter }
    }

    async fn answer(&mut self, request: &ProofRequest) -> ProofResponse {
        let body = jcs::to_vec("proof", request).unwrap();
        let request = Request::post(PROOF_PATH)
            .header("host", "guest")
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        self.sender.ready().await.unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        jcs::from_slice("proof", &body, 1024).unwrap()
    }
}

fn refused(name: &str, pending: PendingProof, answer: &ProofResponse) {
    let error = pending.check(answer).expect_err(name);
    println!("attack: {name}: the client saw [{}] {error}", error.code());
    assert_eq!(error.code(), "channel.proof_mismatch", "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_worth_nothing_on_another_connection_or_from_another_keyset() {
    let (asked, other) = tokio::join!(Appliance::start(engine::command()), Appliance::start(engine::command()));
    let keyset = &asked.ready.keyset;
    let (mut first, mut second) = tokio::join!(Connection::to(asked.guest_at), Connection::to(asked.guest_at));

    // The twin of all that follows.
    let (request, pending) = PendingProof::ask(keyset, &first.exporter).unwrap();
    let good = first.answer(&request).await;
    pending.check(&good).unwrap();

    let (_, pending) = PendingProof::ask(keyset, &second.exporter).unwrap();
    refused("a proof replayed on a second connection", pending, &good);
    let (_, pending) = PendingProof::ask(keyset, &first.exporter).unwrap();
    refused("a proof replayed on its own connection", pending, &good);
    // The host passes the question on to the same guest over a connection of its own.
    let (request, pending) = PendingProof::ask(keyset, &second.exporter).unwrap();
    refused(
        "a proof relayed from another connection",
        pending,
        &first.answer(&request).await,
    );
    // The other guest holds other keys: it answers, and the answer is another.
    let (request, pending) = PendingProof::ask(keyset, &second.exporter).unwrap();
    let mut elsewhere = Connection::to(other.guest_at).await;
    refused(
        "a proof made by another keyset",
        pending,
        &elsewhere.answer(&request).await,
    );
    let (request, pending) = PendingProof::ask(&other.ready.keyset, &elsewhere.exporter).unwrap();
    refused(
        "a question for another guest answered by this one",
        pending,
        &second.answer(&request).await,
    );
    // A signature of the guest is no proof: only the exported secret is.
    let (_, pending) = PendingProof::ask(keyset, &second.exporter).unwrap();
    let signature = ProofResponse {
        proof: keyset.receipt_keys.ed25519.clone(),
    };
    refused("something else that the guest published", pending, &signature);
    second.answer(&request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_to_a_cloned_guest_is_attested_anew_and_the_clone_has_no_key_of_the_first() {
    let appliance = Appliance::start(engine::command()).await;
    let proxy = HostileProxy::start(appliance.guest_at, Attack::None).await.unwrap();
    let client = appliance.client(proxy.at);
    ask(&client).await.unwrap();
    let first = client.last_verdict().unwrap();
    let clone = appliance.clone_guest().await;
    let (ours, theirs) = (&appliance.ready.keyset, &clone.ready.keyset);
    assert_ne!(appliance.ready.keyset_digest, clone.ready.keyset_digest);
    assert_ne!(ours.tls_spki_sha256, theirs.tls_spki_sha256);
    assert_ne!(ours.channel_key, theirs.channel_key);
    assert_ne!(ours.receipt_keys, theirs.receipt_keys);

    // A connection that the client takes for the first guest's, ended in the clone.
    let mut diverted = Connection::to(clone.guest_at).await;
    let (request, pending) = PendingProof::ask(ours, &diverted.exporter).unwrap();
    refused("traffic to a cloned guest", pending, &diverted.answer(&request).await);

    // The client itself notices before it sends anything: it asks for evidence, and the verdict is another one.
    proxy.attack(Attack::Divert {
        to: clone.guest_at,
        from: 0,
    });
    proxy.cut_all();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    ask(&client).await.unwrap();
    let second = client.last_verdict().unwrap();
    println!(
        "attack: traffic to a cloned guest: the client saw another keyset, {} after {}, and attested it",
        second.keyset_digest(),
        first.keyset_digest()
    );
    assert_eq!(second.keyset_digest(), &clone.ready.keyset_digest);
    assert_ne!(second.challenge(), first.challenge());
    assert!(!proxy.saw(CANARY));
}
