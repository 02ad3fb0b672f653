//! Guests that a discoverer names, while they come, go, and are named no more.

use std::path::Path;

use crate::set::{Running, greeted, guest, scrape, start, until, who, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Says what it is told on every connection.
struct Discoverer {
    listener: UnixListener,
    open: UnixStream,
}

impl Discoverer {
    /// A proxy that follows it. `keep_s` is for guests named last.
    async fn start(dir: &Path, keep_s: f64) -> (Self, Running) {
        let socket = dir.join("d.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let proxy = start(&format!(
            r#"
            version = 1
            metrics = "unix:{}"
            [[listen]]
            address = "127.0.0.1:0"
            pool = "p"
            [pool.p]
            discover = {{ socket = "{}", keep_s = {keep_s} }}
            deadline_s = 5
            "#,
            dir.join("m.sock").display(),
            socket.display(),
        ))
        .await;
        let (open, _) = within(10, listener.accept()).await.unwrap();
        (Self { listener, open }, proxy)
    }

    async fn say(&mut self, line: &str) {
        self.open.write_all(line.as_bytes()).await.unwrap();
    }

    async fn name(&mut self, guests: &[std::net::SocketAddr]) {
        let line: String = guests.iter().map(|g| format!(" {g}")).collect();
        self.say(&format!("1{line}\n")).await;
    }
}

#[tokio::test]
async fn guests_that_go_keep_their_connections_and_new_ones_go_to_those_that_came() {
    let (a, b) = (guest("a").await, guest("b").await);
    let dir = tempfile::tempdir().unwrap();
    let (mut discoverer, proxy) = Discoverer::start(dir.path(), 60.0).await;
    let at = proxy.at[0];
    // Nobody is known yet: a client waits, and is served once somebody is.
    let waiting = tokio::spawn(async move { greeted(at, b"x", 2).await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    discoverer.name(&[a.at]).await;
    let (mut open, said) = waiting.await.unwrap().expect("served");
    assert_eq!(said, b"ax");

    discoverer.name(&[b.at]).await;
    until("new connections go to b", || async { who(at).await == "b" }).await;
    open.write_all(b"still").await.unwrap();
    let mut back = [0; 5];
    within(5, open.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"still", "a removed guest's connection goes on");
    let text = scrape(&dir.path().join("m.sock")).await;
    assert!(
        text.contains("hanzo_proxy_pool_parting_connections{pool=\"p\"} 1"),
        "{text}"
    );
    assert!(!text.contains(&format!("guest=\"{}\"", a.at)), "{text}");
    assert!(
        text.contains("hanzo_proxy_discoveries_total{pool=\"p\",outcome=\"changed\"} 2"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_no_answer_keeps_the_last_guests_for_a_while_and_says_so() {
    let a = guest("a").await;
    let dir = tempfile::tempdir().unwrap();
    let metrics = dir.path().join("m.sock");
    let (mut discoverer, proxy) = Discoverer::start(dir.path(), 1.0).await;
    let at = proxy.at[0];
    let kept = |n: u8| format!("hanzo_proxy_discovery_kept{{pool=\"p\"}} {n}");
    let shows = async |what: String| until(&what, || async { scrape(&metrics).await.contains(&what) }).await;
    discoverer.name(&[a.at]).await;
    assert_eq!(who(at).await, "a");
    shows(kept(0)).await;

    // Nobody is named.
    discoverer.say("1\n").await;
    shows(kept(1)).await;
    assert_eq!(who(at).await, "a");
    discoverer.name(&[a.at]).await;
    shows(kept(0)).await;

    // A line of another layout; the connection is made anew.
    discoverer.say("2 everywhere\n").await;
    shows(kept(1)).await;
    assert_eq!(who(at).await, "a");
    discoverer.open = within(10, discoverer.listener.accept()).await.unwrap().0;
    discoverer.name(&[a.at]).await;
    shows(kept(0)).await;

    // An endless line is not waited for, and does not grow.
    let _ = discoverer.open.write_all(&[b'1'; 20_000]).await;
    shows(kept(1)).await;

    // The discoverer is gone for longer than guests are kept.
    drop(discoverer);
    until("the pool has no guests", || async { who(at).await == "-" }).await;
    let text = scrape(&metrics).await;
    assert!(
        text.contains("hanzo_proxy_connections_refused_total{why=\"no_guest\"}"),
        "{text}"
    );
    let none = "hanzo_proxy_discoveries_total{pool=\"p\",outcome=\"failed\"} 0";
    assert!(!text.contains(none), "{text}");
}
