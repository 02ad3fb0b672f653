//! A relay that lies: it carries messages and evidence for clients that it knows, to a gateway that it chooses. And what the lengths of
//! what it carries tell it.

use hanzo_client::{ChannelRequest, Padding};
use hanzo_sealed::chunked;
use hanzo_tests_adversary::attack::{Attack, Host, Running, Saw, run_all};
use hanzo_tests_adversary::door::{ask_sealed, question};
use hanzo_tests_adversary::relay::{Answered, Asked, First};
use hanzo_tests_adversary::set::Set;
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::header::LOCATION;

use crate::results;

/// A client that has attested its guest asks while the relay does this to its message.
fn asked(set: &Set, host: Host, act: impl Fn(Asked) -> First + Send + Sync + 'static) -> Running<'_> {
    Box::pin(async move {
        let client = set.door.sealed();
        if let Err(error) = client.verdict().await {
            return error.into();
        }
        let before = set.prompts();
        if host.attacks() {
            set.relay.on_request(move |asked| match asked.method == Method::POST {
                true => act(asked),
                false => First::Send(asked),
            });
        }
        let saw = ask_sealed(&client, "relayed").await;
        set.relay.carry();
        assert!(!host.attacks() || set.prompts() == before, "an engine got a prompt");
        saw
    })
}

/// A client attests one guest and its message goes to the other: the clone is attested first, or asked.
fn crossed(set: &Set, host: Host, clone_first: bool) -> Running<'_> {
    Box::pin(async move {
        let client = set.door.sealed();
        if host == Host::Honest {
            return ask_sealed(&client, "crossed").await;
        }
        let (clone, addresses, _) = set.clone_guest().await;
        let (first, second) = match clone_first {
            true => (addresses[1], set.clear.at),
            false => (set.clear.at, addresses[1]),
        };
        let before = set.prompts();
        set.relay.lead_to(first);
        let verdict = client.verdict().await;
        set.relay.lead_to(second);
        let saw = match verdict {
            Ok(_) => ask_sealed(&client, "crossed").await,
            Err(error) => error.into(),
        };
        set.relay.lead_to(set.clear.at);
        assert_eq!(set.prompts(), before, "an engine got a prompt");
        drop(clone);
        saw
    })
}

/// What a relay sees of one exchange that is not streamed: lengths of the sealed question and of the sealed answer.
async fn measured(set: &Set, padding: Padding, words: &str) -> Result<(Saw, [usize; 2]), Saw> {
    let client = set.door.sealed_with(|config| config.padding = padding);
    let body = question(words, false).to_string();
    let answer = client
        .send(ChannelRequest::post_json("/v1/chat/completions", body.into()))
        .await?;
    let text = answer.into_body().collect().await?.to_bytes();
    let (asked, answered) = set.relay.last_message();
    let whole = Saw::Whole(String::from_utf8_lossy(&text).into_owned());
    Ok((whole, [asked.body.len(), answered.body.len()]))
}

/// Two exchanges of other lengths: the relay compares what it saw of them, the questions (0) or the answers (1).
fn compared(set: &Set, host: Host, padding: Padding, which: usize) -> Running<'_> {
    Box::pin(async move {
        let (short, long) = (
            measured(set, padding, "yes").await,
            measured(set, padding, "no, nor ever again").await,
        );
        match (short, long) {
            (Ok((whole, short)), Ok((_, long))) => match host {
                Host::Honest => whole,
                Host::Hostile if short[which] == long[which] => {
                    Saw::refused("nothing there", format!("{} bytes, both", short[which]))
                }
                Host::Hostile => Saw::Whole(format!("{} and {} bytes", short[which], long[which])),
            },
            (Err(saw), _) | (_, Err(saw)) => saw,
        }
    })
}

const KEY: &[&str] = &["sealed.key"];
const ANSWER: &[&str] = &["sealed.answer"];
const NOTHING: &[&str] = &["nothing there"];
const GATEWAY: &str = "relay: another gateway";
const OWN: &str = "relay: answers by itself";
const LENGTHS: &str = "lengths that tell";

macro_rules! attacks {
    ($($name:literal, $host:literal, $after:expr, $expect:expr, $run:expr;)*) => {
        &[$(Attack { name: $name, host: $host, after: $after, expect: $expect, run: $run },)*]
    };
}

pub const RELAYS: &[Attack<Set>] = attacks! {
    "a relay that leads to another genuine guest", "carries the message to a clone of the guest that the client attested", GATEWAY, KEY, |s, h| crossed(s, h, false);
    "a relay that shows another genuine guest", "carries a clone's evidence, and the message to the first guest", GATEWAY, KEY, |s, h| crossed(s, h, true);
    "a relay that shows evidence it kept", "answers a client's challenge with the evidence of an earlier one", "relay: keeps and replays", &["freshness.foreign_challenge"],
        |s, h| Box::pin(async move {
            assert_eq!(ask_sealed(&s.door.sealed(), "earlier").await.code(), "answered");
            let mut kept = s.relay.kept().into_iter().rev();
            let earlier = kept.find(|(asked, _)| asked.path.contains("challenge=")).expect("it was asked").1;
            if h.attacks() {
                s.relay.on_answer(move |asked, answered| if asked.method == Method::GET { earlier.clone() } else { answered });
            }
            let saw = ask_sealed(&s.door.sealed(), "later").await;
            s.relay.carry();
            saw
        });
    "a relay that puts a message it kept in another's place", "carries an earlier client's message when this one asks", "relay: keeps and replays", KEY,
        |s, h| Box::pin(async move {
            assert_eq!(ask_sealed(&s.door.sealed(), "earlier").await.code(), "answered");
            let earlier = s.relay.last_message().0.body;
            asked(s, h, move |mut a| {
                a.body.clone_from(&earlier);
                First::Send(a)
            }).await
        });
    "a relay that sends a message twice in one", "carries the message with itself behind it", "relay: splices", KEY, |s, h| asked(s, h, |mut a| {
        a.body = [a.body.clone(), a.body].concat();
        First::Send(a)
    });
    "a relay that sends half a message", "carries the first half and ends HTTP properly", "relay: truncates", KEY, |s, h| asked(s, h, |mut a| {
        a.body.truncate(a.body.len() / 2);
        First::Send(a)
    });
    "a relay that asks for something else", "carries the message to the path of a chat in clear", "relay: changes headers", ANSWER, |s, h| asked(s, h, |mut a| {
        a.path = "/v1/chat/completions".into();
        First::Send(a)
    });
    "a relay that answers with noise", "answers by itself, under the right media type", OWN, &["sealed.open", "sealed.too_long", "sealed.truncated"],
        |s, h| asked(s, h, |_| First::Answer(Answered::own(200, chunked::RESPONSE_MEDIA_TYPE, vec![0x5a; 4096])));
    "a relay that sends clients elsewhere", "answers by itself with another address", OWN, ANSWER, |s, h| asked(s, h, |_| {
        let mut answer = Answered::own(307, "text/plain", Vec::new());
        answer.headers.insert(LOCATION, "http://relay.example/".parse().unwrap());
        First::Answer(answer)
    });
    "a relay that says it is busy", "answers by itself that it has no place", OWN, ANSWER, |s, h| asked(s, h, |_| {
        let busy = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"code":"relay.busy"}"#;
        First::Answer(Answered::own(503, "application/problem+json", busy))
    });
};

pub const PADDING: &[Attack<Set>] = attacks! {
    "two questions told apart by their lengths, of 512 bytes", "compares the lengths of two sealed questions", LENGTHS, NOTHING, |s, h| compared(s, h, Padding::Blocks, 0);
    "two questions told apart by their lengths, of powers of two", "compares the lengths of two sealed questions", LENGTHS, NOTHING, |s, h| compared(s, h, Padding::PowerOfTwo, 0);
    "two answers told apart by their lengths, of 512 bytes", "compares the lengths of two sealed answers", LENGTHS, NOTHING, |s, h| compared(s, h, Padding::Blocks, 1);
    "two answers told apart by their lengths, of powers of two", "compares the lengths of two sealed answers", LENGTHS, NOTHING, |s, h| compared(s, h, Padding::PowerOfTwo, 1);
};

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_lies_can_only_stop_messages_and_padded_lengths_tell_it_nothing() {
    let set = Set::start().await;
    // Without padding the same measure tells: it is no blind one.
    for which in [0, 1] {
        let saw = compared(&set, Host::Hostile, Padding::Off, which).await;
        assert_eq!(saw.code(), "answered", "{saw:?}");
    }
    run_all(&set, &[("relays", RELAYS), ("padding", PADDING)], results()).await;
}
