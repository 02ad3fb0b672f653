//! The first request of a connection: a channel proof is answered the same way however it arrives.

use hanzo_attestation::channel::{PROOF_PATH, ProofResponse};
use hanzo_attestation::jcs;
use hanzo_attestation::keyset::Keyset;
use hanzo_channel::{Exporter, PendingProof};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::raw;
use crate::world::World;

type Stream = TlsStream<TcpStream>;

/// What is done to a request, where it is cut, what its answer is, and what stands in that.
type Case = (fn(String) -> String, &'static [usize], u16, &'static str);

/// A proof request as our clients write it, and what its answer must be.
fn proof_of(stream: &Stream, keyset: &Keyset) -> (String, PendingProof) {
    let exporter = Exporter::of_client(stream.get_ref().1).unwrap();
    let (request, pending) = PendingProof::ask(keyset, &exporter).unwrap();
    let body = String::from_utf8(jcs::to_vec("proof", &request).unwrap()).unwrap();
    let message = format!(
        "POST {PROOF_PATH} HTTP/1.1\r\nhost: guest\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    (message, pending)
}

/// Sends `message` in the given pieces, each a record of its own.
async fn send(stream: &mut Stream, message: &str, cuts: &[usize]) {
    let mut from = 0;
    for to in cuts.iter().copied().chain([message.len()]) {
        stream.write_all(&message.as_bytes()[from..to]).await.unwrap();
        stream.flush().await.unwrap();
        if to < message.len() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        from = to;
    }
}

/// Status and body of the next answer. A refusal without a body may have no length.
async fn answer(stream: &mut Stream) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, String::from_utf8(body).unwrap())
}

fn check(pending: PendingProof, body: &str) {
    let proof: ProofResponse = jcs::from_slice("proof", body.as_bytes(), 4096).unwrap();
    pending.check(&proof).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_proof_is_answered_or_refused_the_same_way_however_it_arrives() {
    let world = World::new().await;
    let guest = world.boot().await;
    let keyset = guest.ready.keyset.clone();

    // Whole, in pieces, with another field, with another case: the same answer. And what is wrong with it: the same refusal.
    let as_it_is = |message: String| message;
    let cases: [Case; 11] = [
        (as_it_is, &[], 200, ""),
        (as_it_is, &[1], 200, ""),
        (as_it_is, &[200, 2000], 200, ""),
        (|m| m.replace("host: guest", "host: guest\r\nx-more: 1"), &[], 200, ""),
        (|m| m.replace("content-type", "Content-Type"), &[], 200, ""),
        (
            |m| m.replace("enc\":\"", "enc\":\"G"),
            &[],
            400,
            "channel.proof_request",
        ),
        (
            |m| format!("{}G\"}}", &m[..m.len() - 3]),
            &[],
            400,
            "channel.proof_request",
        ),
        (
            |m| format!("{}G\"}}", &m[..m.len() - 3]),
            &[300],
            400,
            "channel.proof_request",
        ),
        (|m| m.replace("{\"enc\"", "{\"ENC\""), &[], 400, "channel.proof_request"),
        (|m| m.replace("POST", "GET"), &[], 405, ""),
        (|m| m.replace("channel-proof", "channel-prooF"), &[], 404, ""),
    ];
    for (change, cuts, status, code) in cases {
        let mut stream = raw(&guest.ready.address).await;
        let (message, pending) = proof_of(&stream, &keyset);
        send(&mut stream, &change(message), cuts).await;
        let (got, body) = answer(&mut stream).await;
        assert!(got == status && body.contains(code), "{status} {code}: {got} {body}");
        if status == 200 {
            check(pending, &body);
        }
    }

    // Low-order points are refused by the KEM, whichever reader hands them over.
    let mut stream = raw(&guest.ready.address).await;
    let (message, _) = proof_of(&stream, &keyset);
    let head = message.split_once("{").unwrap().0.to_owned();
    send(
        &mut stream,
        &format!("{head}{{\"enc\":\"{}\"}}", "00".repeat(1120)),
        &[],
    )
    .await;
    let (status, body) = answer(&mut stream).await;
    assert!(
        status == 400 && body.contains("channel.encapsulation"),
        "{status} {body}"
    );

    // What comes right behind a proof is answered after it; proofs are counted from the first.
    let mut stream = raw(&guest.ready.address).await;
    let (message, pending) = proof_of(&stream, &keyset);
    let behind = "GET /v1/models HTTP/1.1\r\nhost: guest\r\n\r\n";
    send(&mut stream, &format!("{message}{behind}"), &[]).await;
    let (status, body) = answer(&mut stream).await;
    assert_eq!(status, 200);
    check(pending, &body);
    let (status, body) = answer(&mut stream).await;
    assert!(status == 200 && body.contains("tiny"), "{body}");
    for n in 1..=16 {
        let (message, pending) = proof_of(&stream, &keyset);
        send(&mut stream, &message, &[]).await;
        let (status, body) = answer(&mut stream).await;
        assert_eq!(status, if n < 16 { 200 } else { 429 }, "{n}: {body}");
        if n < 16 {
            check(pending, &body);
        }
    }

    // A connection that proved itself and says goodbye is told goodbye, and one that never said anything too.
    for message in [true, false] {
        let mut stream = raw(&guest.ready.address).await;
        if message {
            let (message, pending) = proof_of(&stream, &keyset);
            send(&mut stream, &message, &[]).await;
            check(pending, &answer(&mut stream).await.1);
        }
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("an end that nobody cut");
        assert!(rest.is_empty());
    }
    guest.stop().await.unwrap();
}
