//! How long things look to whoever carries them: few lengths with padding, as many as there are contents without.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hanzo_attestation::UnixTime;
use hanzo_client::{AttestedClient, ChannelRequest, ClientConfig, Padding, SealedClient, SealedConfig};
use hanzo_guest::ListenAddress;
use http_body_util::BodyExt;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::relayed::{Mode, Relay};
use crate::sealed::{clear_address, guest};
use crate::served::context;
use crate::world::{Running, World};

const KINDS: [Padding; 2] = [Padding::Blocks, Padding::PowerOfTwo];

fn chat(words: usize, is_stream: bool) -> ChannelRequest {
    let text = format!(
        r#"{{"model":"tiny","stream":{is_stream},"messages":[{{"role":"user","content":"{}"}}]}}"#,
        "a".repeat(words)
    );
    ChannelRequest::post_json("/v1/chat/completions", text.into())
}

/// Answers of many lengths: a chat's, a list, errors, a receipt that is there and receipts that are not.
fn requests(receipt: &str) -> Vec<(ChannelRequest, u16)> {
    let get = |path: &str| ChannelRequest::get(path);
    vec![
        (chat(3, false), 200),
        (get("/v1/models"), 200),
        (get("/v1/models/tiny"), 200),
        (get("/v1/models/none"), 404),
        (get("/nowhere"), 404),
        (get("/health"), 200),
        (ChannelRequest::post_json("/v1/chat/completions", "{".into()), 400),
        (get(&format!("/v1/receipts/{receipt}")), 200),
        (get(&format!("/v1/receipts/{}", "00".repeat(16))), 404),
        (get("/v1/receipts/none"), 404),
    ]
}

fn sealed(world: &World, guest: &Running, relay: SocketAddr, padding: Padding) -> SealedClient {
    let now = UnixTime(guest.ready.keyset.issued_at + 5);
    SealedClient::new(SealedConfig {
        clock: Arc::new(move || now),
        padding,
        ..SealedConfig::new(relay.into(), context(world))
    })
    .unwrap()
}

/// Opened lengths of the parts of an answer, as its length fields give them away.
fn parts(mut sealed: &[u8]) -> Vec<usize> {
    const TAG: usize = 16;
    let mut lengths = Vec::new();
    sealed = &sealed[16..];
    loop {
        let (len, used) = match sealed[0] >> 6 {
            0 => (usize::from(sealed[0]), 1),
            1 => (usize::from(u16::from_be_bytes([sealed[0] & 0x3f, sealed[1]])), 2),
            _ => (
                u32::from_be_bytes([sealed[0] & 0x3f, sealed[1], sealed[2], sealed[3]]) as usize,
                4,
            ),
        };
        sealed = &sealed[used..];
        if len == 0 {
            lengths.push(sealed.len() - TAG);
            return lengths;
        }
        lengths.push(len - TAG);
        sealed = &sealed[len..];
    }
}

async fn receipt_of(client: &SealedClient) -> String {
    let answer = client.exchange(chat(1, false)).await.unwrap();
    assert_eq!(answer.receipt.unwrap().word(), "verified");
    answer.headers["hanzo-receipt-id"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_messages_have_few_lengths_and_a_receipt_that_is_there_looks_like_one_that_is_not() {
    let (world, guest) = guest(false).await;
    for padding in Padding::ALL {
        let (relay, at) = Relay::start(clear_address(&guest)).await;
        let client = sealed(&world, &guest, at, padding);
        let receipt = receipt_of(&client).await;
        relay.set(Mode::Measure);
        let (mut asked, mut answered, mut receipts) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (request, status) in requests(&receipt) {
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), status);
            answer.into_body().collect().await.unwrap();
            let (request, answer) = relay.measured.lock().unwrap().pop().unwrap();
            asked.insert(request - (7 + 1120 + 1 + 16));
            let parts = parts(&answer);
            let total: usize = parts.iter().sum();
            answered.insert(total);
            receipts.push(total);
        }
        let receipts = &receipts[7..];
        match padding {
            Padding::Off => {
                assert!(answered.len() > 6, "{answered:?}");
                assert_ne!(receipts[0], receipts[1]);
            }
            _ => {
                let fixed = |lengths: &BTreeSet<usize>| lengths.iter().all(|n| padding.padded(*n) == *n);
                assert!(fixed(&asked) && fixed(&answered), "{padding}: {asked:?} {answered:?}");
                assert!(
                    asked.len() == 1 && answered.len() <= 3,
                    "{padding}: {asked:?} {answered:?}"
                );
                assert_eq!(receipts, [padding.padded(24_576); 3], "{padding}");
            }
        }
    }
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_of_a_sealed_stream_has_a_fixed_length_and_its_receipt_holds() {
    let (world, guest) = guest(false).await;
    for padding in KINDS {
        let (relay, at) = Relay::start(clear_address(&guest)).await;
        let client = sealed(&world, &guest, at, padding);
        client.verdict().await.unwrap();
        relay.set(Mode::Measure);
        let answer = client.send(chat(9, true)).await.unwrap();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(
            text.contains("data: [DONE]\n\n") && text.contains(": hanzo-padding 0"),
            "{text}"
        );
        let (_, answer) = relay.measured.lock().unwrap().pop().unwrap();
        let parts = parts(&answer);
        assert!(parts.len() > 4, "{parts:?}");
        for (at, len) in parts.iter().enumerate() {
            // The head and the end as they are; a piece of content with its length before it, in two or four bytes.
            let of_piece = |field: usize| len.checked_sub(field).is_some_and(|n| padding.padded(n) == n);
            assert!(
                of_piece(0) || (at > 0 && (of_piece(2) || of_piece(4))),
                "{padding}: {parts:?}"
            );
        }
    }
    // Without padding, parts are as long as what is in them.
    let (relay, at) = Relay::start(clear_address(&guest)).await;
    let client = sealed(&world, &guest, at, Padding::Off);
    client.verdict().await.unwrap();
    relay.set(Mode::Measure);
    client
        .send(chat(9, true))
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    let (_, answer) = relay.measured.lock().unwrap().pop().unwrap();
    assert!(parts(&answer).iter().any(|len| *len < 500 && *len != 2));
    guest.stop().await.unwrap();
}

/// Counts what passes between a client and the guest.
struct Wire {
    at: SocketAddr,
    up: Arc<AtomicUsize>,
    down: Arc<AtomicUsize>,
}

impl Wire {
    async fn to(guest: &Running) -> Self {
        let ListenAddress::Tcp(far) = guest.ready.address else {
            panic!("not TCP")
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (up, down) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (ups, downs) = (up.clone(), down.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(far).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                for (mut from, mut to, counter) in [(near_in, far_out, ups.clone()), (far_in, near_out, downs.clone())]
                {
                    tokio::spawn(async move {
                        let mut piece = [0; 16_384];
                        while let Ok(n @ 1..) = from.read(&mut piece).await {
                            counter.fetch_add(n, Ordering::SeqCst);
                            if to.write_all(&piece[..n]).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            }
        });
        Self { at, up, down }
    }

    fn take(&self) -> (usize, usize) {
        (self.up.swap(0, Ordering::SeqCst), self.down.swap(0, Ordering::SeqCst))
    }
}

/// A TLS 1.3 record adds its header, the kind of its content, and a tag.
const RECORD: usize = 5 + 1 + 16;

/// What was inside so many bytes of TLS, if that is a length of `padding`.
fn inside(bytes: usize, padding: Padding) -> Option<usize> {
    let most = (1..=4).map(|records| bytes - RECORD * records);
    most.into_iter().find(|n| padding.padded(*n) == *n)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attested_channel_pads_too_and_a_receipt_that_is_there_looks_like_one_that_is_not() {
    let world = World::new().await;
    let guest = world.boot().await;
    for padding in Padding::ALL {
        let wire = Wire::to(&guest).await;
        let now = UnixTime(guest.ready.keyset.issued_at + 5);
        let client = AttestedClient::new(ClientConfig {
            clock: Arc::new(move || now),
            padding,
            ..ClientConfig::new(wire.at.into(), context(&world))
        })
        .unwrap();
        let answer = client.exchange(chat(1, false)).await.unwrap();
        assert_eq!(
            answer.receipt.unwrap().word(),
            "verified",
            "receipts cover what was asked and answered, not its padding"
        );
        let receipt = answer.headers["hanzo-receipt-id"].to_str().unwrap().to_owned();
        let (mut asked, mut answered, mut receipts) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (request, status) in requests(&receipt) {
            wire.take();
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), status);
            answer.into_body().collect().await.unwrap();
            let (up, down) = wire.take();
            asked.insert(up);
            answered.insert(down);
            receipts.push(down);
            if padding > Padding::Off {
                assert!(
                    inside(up, padding).is_some() && inside(down, padding).is_some(),
                    "{padding}: {up} {down}"
                );
            }
        }
        let receipts = &receipts[7..];
        match padding {
            Padding::Off => assert!(answered.len() > 6 && receipts[0] != receipts[1], "{answered:?}"),
            _ => {
                assert!(
                    asked.len() <= 2 && answered.len() <= 4,
                    "{padding}: {asked:?} {answered:?}"
                );
                assert_eq!(receipts[0], receipts[1], "{padding}");
                assert_eq!(receipts[1], receipts[2], "{padding}");
            }
        }
        let streamed = client.send(chat(2, true)).await.unwrap();
        let text = streamed.into_body().collect().await.unwrap().to_bytes();
        let is_padded = String::from_utf8_lossy(&text).contains(": hanzo-padding 0");
        assert_eq!(is_padded, padding > Padding::Off);
    }
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_measured_configuration_s_minimum_holds_whatever_is_asked_for() {
    let mut world = World::new().await;
    world.options.sealed = Some("127.0.0.1:0".parse().unwrap());
    let config = world
        .config
        .replacen("version = 1", "version = 1\npadding = \"512\"", 1);
    world.configure(config);
    let guest = world.boot().await;
    let (relay, at) = Relay::start(clear_address(&guest)).await;
    let client = sealed(&world, &guest, at, Padding::Off);
    client.verdict().await.unwrap();
    relay.set(Mode::Measure);
    let answer = client.send(ChannelRequest::get("/nowhere")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    answer.into_body().collect().await.unwrap();
    let (_, answer) = relay.measured.lock().unwrap().pop().unwrap();
    assert_eq!(parts(&answer), [512]);
    guest.stop().await.unwrap();
}
