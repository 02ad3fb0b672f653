//! A host that answers channel proofs with proofs of other connections, keysets and guests, and leads clients to clones.

use std::net::SocketAddr;

use bytes::Bytes;
use hanzo_attestation::channel::{PROOF_PATH, ProofRequest, ProofResponse};
use hanzo_attestation::jcs;
use hanzo_attestation::keyset::Keyset;
use hanzo_channel::{ChannelError, Exporter, PendingProof};
use hanzo_tests_adversary::attack::{Attack, Host, Running, Saw, run_all};
use hanzo_tests_adversary::canary::ANSWER;
use hanzo_tests_adversary::door::{ask_attested, ask_streamed, judge_stream, question};
use hanzo_tests_adversary::impostor::connect;
use hanzo_tests_adversary::set::Set;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

use crate::results;

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

    async fn post(&mut self, path: &str, body: Vec<u8>) -> (hyper::StatusCode, Bytes) {
        let request = Request::post(path)
            .header("host", "guest")
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        self.sender.ready().await.unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
    }

    async fn proof(&mut self, request: &ProofRequest) -> Result<ProofResponse, Saw> {
        let (status, body) = self.post(PROOF_PATH, jcs::to_vec("proof", request).unwrap()).await;
        jcs::from_slice("proof", &body, 1024)
            .map_err(|_| Saw::refused(format!("status {}", status.as_u16()), String::from_utf8_lossy(&body)))
    }

    /// What follows a proof that holds.
    async fn ask(&mut self) -> Saw {
        let (status, body) = self
            .post("/v1/chat/completions", question("proven", true).to_string().into())
            .await;
        judge_stream(status, &body)
    }
}

/// A proof in the place of the right one. The client sends its question only if it holds.
fn proof<'a>(set: &'a Set, host: Host, other: impl Fn(Ask<'a>) -> Other<'a> + Send + 'a) -> Running<'a> {
    Box::pin(async move {
        let keyset = match set.door.keyset().await {
            Ok(keyset) => keyset,
            Err(saw) => return saw,
        };
        let mut mine = Connection::to(set.guest_at[0]).await;
        let (request, pending) = PendingProof::ask(&keyset, &mine.exporter).unwrap();
        let answer = match host {
            Host::Honest => mine.proof(&request).await,
            Host::Hostile => other(Ask { set, keyset, request }).await,
        };
        match answer.map(|answer| pending.check(&answer)) {
            Ok(Ok(())) => mine.ask().await,
            Ok(Err(error)) => refused(error),
            Err(saw) => saw,
        }
    })
}

fn refused(error: ChannelError) -> Saw {
    Saw::refused(error.code(), error.to_string())
}

/// What the host knows when it answers.
struct Ask<'a> {
    set: &'a Set,
    keyset: Keyset,
    request: ProofRequest,
}

type Other<'a> = std::pin::Pin<Box<dyn Future<Output = Result<ProofResponse, Saw>> + Send + 'a>>;

const MISMATCH: &[&str] = &["channel.proof_mismatch"];
const SECOND: &str = "a proof replayed on a second connection";
const OTHER: &str = "a proof made by another keyset";
const FOREIGN: &str = "a foreign signature offered as proof";

macro_rules! attacks {
    ($($name:literal, $host:literal, $after:expr, $expect:expr, $run:expr;)*) => {
        &[$(Attack { name: $name, host: $host, after: $after, expect: $expect, run: $run },)*]
    };
}

pub const ATTACKS: &[Attack<Set>] = attacks! {
    "a proof replayed on a second connection", "answers with the proof of another connection to the same guest", SECOND, MISMATCH,
        |s, h| proof(s, h, |ask| Box::pin(async move {
            let mut other = Connection::to(ask.set.guest_at[0]).await;
            let (request, pending) = PendingProof::ask(&ask.keyset, &other.exporter).unwrap();
            let answer = other.proof(&request).await?;
            assert!(pending.check(&answer).is_ok(), "it was a good one");
            Ok(answer)
        }));
    "a proof relayed over a connection of the host's", "passes the client's question on over a connection of its own", "CVE-2026-33697; relay", MISMATCH,
        |s, h| proof(s, h, |ask| Box::pin(async move { Connection::to(ask.set.guest_at[0]).await.proof(&ask.request).await }));
    "a proof made by another keyset", "has a clone answer the client's question", OTHER, MISMATCH, |s, h| proof(s, h, |ask| Box::pin(async move {
        let (_clone, addresses, _) = ask.set.clone_guest().await;
        Connection::to(addresses[0]).await.proof(&ask.request).await
    }));
    "a proof of the boot before", "records a proof, starts the guest again and answers with what it recorded", "replay across boots", MISMATCH,
        |s, h| Box::pin(async move {
            let keyset = s.door.keyset().await.unwrap();
            let mut old = Connection::to(s.guest_at[0]).await;
            let (request, _) = PendingProof::ask(&keyset, &old.exporter).unwrap();
            let recorded = old.proof(&request).await.unwrap();
            s.boot().await;
            proof(s, h, move |_| {
                let recorded = recorded.clone();
                Box::pin(async move { Ok(recorded) })
            }).await
        });
    "a signature of the guest for a proof", "answers with the start of a signature that the guest made", FOREIGN, MISMATCH, |s, h| proof(s, h, |ask| Box::pin(async move {
        // A receipt's Ed25519 half, as long as a proof is.
        let mut stranger = Connection::to(ask.set.guest_at[0]).await;
        let (_, body) = stranger.post("/v1/chat/completions", question("signed", true).to_string().into()).await;
        let text = String::from_utf8_lossy(&body).into_owned();
        let at = text.find("\"signature\":{\"ed25519\":\"").expect("a receipt") + 24;
        Ok(ProofResponse { proof: text[at..at + 64].to_owned() })
    }));
    "a public key of the guest for a proof", "answers with what the guest published", FOREIGN, MISMATCH,
        |s, h| proof(s, h, |ask| Box::pin(async move { Ok(ProofResponse { proof: ask.keyset.receipt_keys.ed25519.clone() }) }));
    "a proof of zeros", "answers with zeros", FOREIGN, MISMATCH, |s, h| proof(s, h, |_| Box::pin(async { Ok(ProofResponse { proof: "00".repeat(32) }) }));
    "a proof that is none", "answers with another length", "truncation", &["channel.proof_mismatch", "channel.proof_answer", "channel.proof"],
        |s, h| proof(s, h, |_| Box::pin(async { Ok(ProofResponse { proof: "00".into() }) }));
    "a question of the host's own", "asks the guest for a proof with an encapsulated key of noise", "bit flips at every layer",
        &["channel.proof_mismatch", "status 400"], |s, h| proof(s, h, |ask| Box::pin(async move {
            let noise = ProofRequest { enc: "5a".repeat(1120) };
            Connection::to(ask.set.guest_at[0]).await.proof(&noise).await
        }));
};

#[tokio::test(flavor = "multi_thread")]
async fn no_proof_but_this_connection_s_of_this_keyset_counts() {
    let set = Set::start().await;
    run_all(&set, &[("proofs", ATTACKS)], results()).await;
}

/// The client itself: traffic to a clone is attested anew, and the verdict is the clone's.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_to_a_clone_is_attested_anew() {
    let set = Set::start().await;
    let client = set.door.attested();
    assert_eq!(ask_attested(&client, "first").await.code(), "answered");
    let first = *client.last_verdict().unwrap().keyset_digest();
    let (_clone, addresses, theirs) = set.clone_guest().await;
    set.tls.lead_to(addresses[0]);
    set.tls.cut_all();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let saw = ask_streamed(&client, "second").await;
    assert!(matches!(&saw, Saw::Whole(text) if text.contains(ANSWER)), "{saw:?}");
    let second = *client.last_verdict().unwrap().keyset_digest();
    println!("attack: traffic to a cloned guest: the client saw keyset {second} after {first}, and attested it");
    assert_eq!(second, theirs.digest().unwrap());
    assert_ne!(first, second);
}
