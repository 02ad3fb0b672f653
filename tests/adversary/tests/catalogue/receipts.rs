//! A host that shows receipts other than those that the guest signed.

use bytes::Bytes;
use hanzo_client::receipts::check;
use hanzo_client::{ChannelRequest, ReceiptStatus};
use hanzo_tests_adversary::attack::{Attack, Host, Running, Saw, run_all};
use hanzo_tests_adversary::canary::ANSWER;
use hanzo_tests_adversary::door::question;
use hanzo_tests_adversary::set::Set;
use hanzo_verifier::receipt::{DisclosedReceipt, Outcome};
use http_body_util::BodyExt as _;

use crate::results;

/// An exchange with its receipt, as a client keeps it.
struct Exchange {
    receipt: DisclosedReceipt,
    request: Vec<u8>,
    response: Vec<u8>,
}

/// A real exchange; the host changes what is shown of it later.
fn shown(set: &Set, host: Host, change: fn(&mut Exchange)) -> Running<'_> {
    written(set, host, move |exchange| {
        change(exchange);
        None
    })
}

/// The same; the bytes of the receipt may be others.
fn written(set: &Set, host: Host, change: impl Fn(&mut Exchange) -> Option<Vec<u8>> + Send + 'static) -> Running<'_> {
    Box::pin(async move {
        let client = set.door.sealed();
        let request = question("receipt", true).to_string();
        let sent = client.send(ChannelRequest::post_json(
            "/v1/chat/completions",
            Bytes::from(request.clone()),
        ));
        let body = match sent.await {
            Ok(answer) => answer.into_body(),
            Err(error) => return error.into(),
        };
        let pinned = body.pinned().clone();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let at = text.find(": hanzo-receipt ").expect("a receipt");
        let document = text[at..]
            .strip_prefix(": hanzo-receipt ")
            .and_then(|t| t.split("\n\n").next())
            .unwrap();
        let mut exchange = Exchange {
            receipt: DisclosedReceipt::from_bytes(document.as_bytes()).unwrap(),
            request: request.into(),
            response: text[..at].into(),
        };
        let other = if host.attacks() { change(&mut exchange) } else { None };
        let document = other.unwrap_or_else(|| exchange.receipt.to_bytes().unwrap());
        match check(&document, &pinned, None, &exchange.request, &exchange.response) {
            Ok(_) => Saw::Whole(ANSWER.into()),
            Err(error) => Saw::refused(error.code(), error.to_string()),
        }
    })
}

fn flip(text: &mut String) {
    let digit = if text.starts_with('0') { "1" } else { "0" };
    text.replace_range(..1, digit);
}

const FLIPS: &str = "bit flips in receipts";
const BOTH: &[&str] = &["receipt.signature.both"];

macro_rules! attacks {
    ($($name:literal, $host:literal, $after:expr, $expect:expr, $run:expr;)*) => {
        &[$(Attack { name: $name, host: $host, after: $after, expect: $expect, run: $run },)*]
    };
}

pub const ATTACKS: &[Attack<Set>] = attacks! {
    "a flipped bit in a receipt's classical signature", "flips a bit of it", FLIPS, &["receipt.signature.ed25519"], |s, h| shown(s, h, |e| flip(&mut e.receipt.signature.ed25519));
    "a flipped bit in a receipt's post-quantum signature", "flips a bit of it", FLIPS, &["receipt.signature.ml_dsa"], |s, h| shown(s, h, |e| flip(&mut e.receipt.signature.ml_dsa));
    "a receipt with half its signature", "leaves the post-quantum half out", "downgrade of the suite", &["receipt.malformed", "receipt.signature.ml_dsa", "receipt.keys"],
        |s, h| shown(s, h, |e| e.receipt.signature.ml_dsa.clear());
    "a receipt that says fewer tokens", "changes a count", FLIPS, BOTH, |s, h| shown(s, h, |e| e.receipt.receipt.completion_tokens -= 1);
    "a cut answer called complete", "calls the outcome another", FLIPS, BOTH, |s, h| shown(s, h, |e| e.receipt.receipt.outcome = Outcome::Cut);
    "a receipt of a higher tier", "writes a higher tier", FLIPS, &["receipt.signature.both", "receipt.contradiction"], |s, h| shown(s, h, |e| e.receipt.receipt.tier = 4);
    "a receipt for another question", "shows another question", FLIPS, &["receipt.commitment.request"], |s, h| shown(s, h, |e| e.request.push(b' '));
    "a receipt for another answer", "shows another answer", FLIPS, &["receipt.commitment.response"], |s, h| shown(s, h, |e| e.response.push(b' '));
    "a receipt for a part of the answer", "shows the answer without its end", "truncation", &["receipt.commitment.response"], |s, h| shown(s, h, |e| {
        let half = e.response.len() / 2;
        e.response.truncate(half);
    });
    "a receipt with more behind it", "adds a space", "splicing", &["receipt.malformed"], |s, h| written(s, h, |e| {
        Some([e.receipt.to_bytes().unwrap(), b" ".to_vec()].concat())
    });
    "a receipt of the boot before", "shows a receipt that another keyset signed", "replay across boots", &["receipt.keyset"], |s, h| Box::pin(async move {
        let client = s.door.attested();
        let answer = client.chat_once(&question("before", false)).await.unwrap();
        let ReceiptStatus::Verified { id, .. } = answer.receipt else { panic!("{:?}", answer.receipt) };
        let kept = client.exchange(ChannelRequest::get(format!("/v1/receipts/{id}"))).await.unwrap().body.to_vec();
        s.boot().await;
        written(s, h, move |_| Some(kept.clone())).await
    });
};

#[tokio::test(flavor = "multi_thread")]
async fn receipts_other_than_the_guest_s_are_refused() {
    let set = Set::start().await;
    run_all(&set, &[("receipts", ATTACKS)], results()).await;
}
