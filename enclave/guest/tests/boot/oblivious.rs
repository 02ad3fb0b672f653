//! The real client asks a real guest through the real relay; between relay and guest somebody writes down every byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hanzo_attestation::UnixTime;
use hanzo_client::{ChannelRequest, SealedClient, SealedConfig};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::sealed::{clear_address, guest};
use crate::served::context;
use crate::world::{Running, World};

/// What passed from the relay to the guest, one entry a connection.
type Passed = Arc<Mutex<Vec<Vec<u8>>>>;

async fn tap(guest: SocketAddr) -> (SocketAddr, Passed) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let passed = Passed::default();
    let written = passed.clone();
    tokio::spawn(async move {
        while let Ok((relay, _)) = listener.accept().await {
            let mine = {
                let mut all = written.lock().unwrap();
                all.push(Vec::new());
                all.len() - 1
            };
            let (mut from_relay, mut to_relay) = relay.into_split();
            let (mut from_guest, mut to_guest) = TcpStream::connect(guest).await.unwrap().into_split();
            tokio::spawn(async move { copy(&mut from_guest, &mut to_relay).await });
            let written = written.clone();
            tokio::spawn(async move {
                let mut bytes = vec![0; 65_536];
                while let Ok(n) = from_relay.read(&mut bytes).await {
                    written.lock().unwrap()[mine].extend_from_slice(&bytes[..n]);
                    if n == 0 || to_guest.write_all(&bytes[..n]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (at, passed)
}

/// The relay's address, and what ends it when dropped.
async fn relay(gateway: SocketAddr) -> (SocketAddr, oneshot::Sender<()>) {
    let text = format!("version = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n[gateway]\naddress = \"{gateway}\"\n");
    let config = hanzo_relay::config::Config::parse(&text).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, bound) = oneshot::channel();
    tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        let ready = |at: &[SocketAddr]| {
            ready.send(at[0]).ok();
        };
        hanzo_relay::serve(config, stopped, ready).await.unwrap();
    });
    (bound.await.unwrap(), stop)
}

fn client(world: &World, guest: &Running, relay: SocketAddr) -> SealedClient {
    let now = UnixTime(guest.ready.keyset.issued_at + 5);
    SealedClient::new(SealedConfig {
        clock: Arc::new(move || now),
        ..SealedConfig::new(relay.into(), context(world))
    })
    .unwrap()
}

async fn ask(client: &SealedClient, is_stream: bool) -> String {
    let text = format!(
        r#"{{"model":"tiny","stream":{is_stream},"messages":[{{"role":"user","content":"Capital of France?"}}]}}"#
    );
    let question = ChannelRequest::post_json("/v1/chat/completions", Bytes::from(text));
    let answer = client.send(question).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_asks_a_guest_through_our_relay_and_the_guest_s_side_sees_nobody() {
    let (world, guest) = guest(false).await;
    let (tapped, passed) = tap(clear_address(&guest)).await;
    let (at, _relay) = relay(tapped).await;
    let (one, two) = (client(&world, &guest, at), client(&world, &guest, at));
    for client in [&one, &two, &one] {
        assert!(ask(client, false).await.contains("Paris"));
    }
    let streamed = ask(&two, true).await;
    assert!(streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
    assert!(streamed.contains(r#""transport":"ohttp+x-wing""#), "{streamed}");

    let passed = passed.lock().unwrap();
    let all = passed.concat();
    let text = String::from_utf8_lossy(&all);
    let heads: Vec<_> = text
        .split("\r\n\r\n")
        .filter_map(|part| {
            let at = part.rfind("GET /").max(part.rfind("POST /"))?;
            part[at..].contains(" HTTP/1.1\r\n").then(|| &part[at..])
        })
        .collect();
    assert_eq!(heads.len(), 6, "two bundles, four questions: {heads:?}");
    for head in heads {
        for line in head.lines().skip(1) {
            let name = line.split(':').next().unwrap().to_ascii_lowercase();
            let may = ["host", "content-type", "content-length", "transfer-encoding"];
            assert!(may.contains(&name.as_str()), "{head}");
        }
    }
    assert!(
        !text.contains("Capital") && !text.contains("127.0.0.1"),
        "neither question nor address"
    );
    assert_eq!(passed.len(), 1, "two clients, one connection");
    drop(passed);
    guest.stop().await.unwrap();
}
