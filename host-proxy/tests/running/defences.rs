//! Clients that take too much or say nothing, and peers that speak for others.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::set::{Guest, Running, greeted, guest, scrape, start, until, who, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

struct Set {
    proxy: Running,
    guest: Guest,
    metrics: PathBuf,
    _dir: tempfile::TempDir,
}

/// One guest behind one listener, with these limits, lines of the listener and lines of the pool.
async fn set(limits: &str, listen: &str, pool: &str) -> Set {
    let guest = guest("g").await;
    let dir = tempfile::tempdir().unwrap();
    let metrics = dir.path().join("m.sock");
    let text = format!(
        "version = 1\nworkers = 2\nmetrics = \"unix:{}\"\n[limits]\n{limits}\n[[listen]]\naddress = \"127.0.0.1:0\"\npool = \"p\"\n\
         {listen}\n[pool.p]\nguests = [\"{}\"]\n{pool}\n",
        metrics.display(),
        guest.at
    );
    Set {
        proxy: start(&text).await,
        guest,
        metrics,
        _dir: dir,
    }
}

async fn refused(metrics: &Path, why: &str) -> u64 {
    value(
        metrics,
        &format!("hanzo_proxy_connections_refused_total{{why=\"{why}\"}}"),
    )
    .await
}

async fn ended(metrics: &Path, how: &str) -> u64 {
    value(
        metrics,
        &format!("hanzo_proxy_connections_ended_total{{how=\"{how}\"}}"),
    )
    .await
}

async fn value(metrics: &Path, name: &str) -> u64 {
    let text = scrape(metrics).await;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(name))
        .unwrap_or_else(|| panic!("{name}\n{text}"));
    line.trim().parse().unwrap()
}

async fn from(local: &str, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{local}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(to).await.ok()?;
    stream.write_all(b"x").await.ok()?;
    let mut name = [0];
    within(10, stream.read_exact(&mut name)).await.ok()?;
    Some(stream)
}

#[tokio::test]
async fn one_client_s_connections_are_limited_and_another_has_its_own() {
    let set = set("client_connections_max = 2", "", "").await;
    let at = set.proxy.at[0];
    let mut kept = vec![
        from("127.0.0.1", at).await.unwrap(),
        from("127.0.0.1", at).await.unwrap(),
    ];
    assert!(from("127.0.0.1", at).await.is_none());
    assert!(from("127.0.0.2", at).await.is_some(), "another address");
    assert_eq!(refused(&set.metrics, "client_connections_max").await, 1);
    kept.pop();
    until("its place is free again", || async {
        from("127.0.0.1", at).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn one_client_s_rate_is_limited_and_another_has_its_own() {
    let set = set("client_connections_per_s = 3", "", "").await;
    let at = set.proxy.at[0];
    let started = Instant::now();
    let mut accepted = 0;
    for _ in 0..8 {
        accepted += u64::from(from("127.0.0.1", at).await.is_some());
    }
    let earned = 3 * (started.elapsed().as_millis() as u64) / 1000;
    assert!((3..=4 + earned).contains(&accepted), "{accepted}");
    assert_eq!(refused(&set.metrics, "client_connections_per_s").await, 8 - accepted);
    assert!(from("127.0.0.2", at).await.is_some());
}

#[tokio::test]
async fn a_client_that_says_nothing_costs_the_guest_nothing_and_is_cut() {
    let set = set("first_bytes_s = 0.2", "", "").await;
    let mut silent = TcpStream::connect(set.proxy.at[0]).await.unwrap();
    let mut rest = Vec::new();
    let cut = within(5, silent.read_to_end(&mut rest)).await;
    assert!(
        cut.is_err() && rest.is_empty(),
        "the guest, which greets at once, was never dialled"
    );
    assert_eq!(refused(&set.metrics, "first_bytes").await, 1);
    let (mut speaks, _) = greeted(set.proxy.at[0], b"x", 2).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    speaks.write_all(b"y").await.unwrap();
    let mut back = [0];
    within(5, speaks.read_exact(&mut back)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_and_the_proxy_holds_a_window_of_it() {
    let set = set("stall_s = 0.3", "", "").await;
    let mut stream = TcpStream::connect(set.proxy.at[0]).await.unwrap();
    // The guest gives back all of it; nobody reads that here.
    let flood = vec![7; 1 << 20];
    let sent = async {
        let mut sent = 0_u64;
        while let Ok(n) = stream.write(&flood).await {
            sent += n as u64;
        }
        sent
    };
    within(20, sent).await;
    until("counted", || async { ended(&set.metrics, "stalled").await == 1 }).await;
    assert_eq!(who(set.proxy.at[0]).await, "g", "others are served");
}

#[tokio::test]
async fn a_client_that_closes_its_half_is_answered_and_then_not_kept() {
    let set = set("half_closed_s = 0.3", "", "").await;
    let (mut client, _) = greeted(set.proxy.at[0], b"x", 2).await.unwrap();
    client.write_all(b"last").await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = Vec::new();
    within(5, client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"last", "the guest ends too");

    let quiet = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = format!(
        "version = 1\n[limits]\nhalf_closed_s = 0.2\n[[listen]]\naddress = \"127.0.0.1:0\"\npool = \"p\"\n[pool.p]\nguests = [\"{}\"]\n",
        quiet.local_addr().unwrap()
    );
    let proxy = start(&text).await;
    let mut client = TcpStream::connect(proxy.at[0]).await.unwrap();
    client.write_all(b"x").await.unwrap();
    client.shutdown().await.unwrap();
    assert!(
        within(5, client.read_to_end(&mut rest)).await.is_err(),
        "a guest that never ends"
    );
}

#[tokio::test]
async fn a_listed_peer_must_say_for_whom_it_speaks_and_is_limited_by_that() {
    let set = set(
        "client_connections_max = 1",
        "proxy_header_from = [\"127.0.0.1/32\"]",
        "",
    )
    .await;
    let at = set.proxy.at[0];
    let line = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 1000 443\r\nx");
    let (_kept, all) = greeted(at, line("192.0.2.1").as_bytes(), 2).await.unwrap();
    assert_eq!(all, b"gx", "the header does not reach the guest");
    assert!(
        greeted(at, line("192.0.2.1").as_bytes(), 1).await.is_none(),
        "the same client again"
    );
    assert!(greeted(at, line("192.0.2.2").as_bytes(), 1).await.is_some());
    assert_eq!(refused(&set.metrics, "client_connections_max").await, 1);
    assert!(greeted(at, b"xyz", 1).await.is_none(), "no header");
    assert!(
        greeted(at, b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n", 1)
            .await
            .is_none()
    );
    assert_eq!(refused(&set.metrics, "proxy_header").await, 2);
}

#[tokio::test]
async fn a_header_from_a_peer_that_is_not_listed_is_the_client_s_own_bytes() {
    let set = set("", "proxy_header_from = [\"127.0.0.9/32\"]", "").await;
    let lie = b"PROXY TCP4 192.0.2.1 198.51.100.1 1000 443\r\n";
    let (_, all) = greeted(set.proxy.at[0], lie, 1 + lie.len()).await.unwrap();
    assert_eq!(&all[1..], lie);
}

#[tokio::test]
async fn a_guest_is_told_the_client_only_if_that_is_switched_on() {
    let told = set("", "", "send_proxy_header = \"v1\"").await;
    let stream = TcpStream::connect(told.proxy.at[0]).await.unwrap();
    let own = stream.local_addr().unwrap();
    drop(stream);
    let mut stream = TcpStream::connect(told.proxy.at[0]).await.unwrap();
    let own = SocketAddr::new(own.ip(), stream.local_addr().unwrap().port());
    let expected = format!(
        "gPROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\nx",
        own.port(),
        told.proxy.at[0].port()
    );
    stream.write_all(b"x").await.unwrap();
    let mut got = vec![0; expected.len()];
    within(5, stream.read_exact(&mut got)).await.unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), expected);

    let silent = set("", "", "").await;
    let (_, all) = greeted(silent.proxy.at[0], b"x", 2).await.unwrap();
    assert_eq!(all, b"gx");
    silent.guest.task.abort();
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_although_the_guest_was_told_about_it() {
    let set = set(
        "first_bytes_s = 0.2",
        "dial = \"at-once\"",
        "send_proxy_header = \"v2\"",
    )
    .await;
    let mut silent = TcpStream::connect(set.proxy.at[0]).await.unwrap();
    let mut rest = Vec::new();
    assert!(within(5, silent.read_to_end(&mut rest)).await.is_err(), "reset");
    assert!(rest.starts_with(b"g"), "the guest was dialled at once");
    until("counted", || async { ended(&set.metrics, "silent").await == 1 }).await;
    let (mut speaks, _) = greeted(set.proxy.at[0], b"x", 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    speaks.write_all(b"y").await.unwrap();
    let mut back = [0];
    within(5, speaks.read_exact(&mut back)).await.unwrap();
    assert_eq!(ended(&set.metrics, "silent").await, 1, "twin: one byte is enough");
}

#[tokio::test]
async fn a_client_that_resets_gives_its_place_back_at_once() {
    let set = set("client_connections_max = 1", "", "").await;
    let at = set.proxy.at[0];
    let kept = from("127.0.0.1", at).await.unwrap();
    assert!(from("127.0.0.1", at).await.is_none());
    socket2::SockRef::from(&kept).set_linger(Some(Duration::ZERO)).unwrap();
    drop(kept);
    until("counted", || async { ended(&set.metrics, "client_broken").await == 1 }).await;
    assert!(from("127.0.0.1", at).await.is_some());
}
