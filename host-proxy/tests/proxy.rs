//! Behaviour of the proxy over loopback TCP.

use std::net::SocketAddr;
use std::time::Duration;

use hanzo_proxy::{Address, MetricsAddress, ProxyError, ProxyOptions, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Running {
    at: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ProxyError>>,
}

async fn start(options: ProxyOptions) -> Running {
    let (stop, stopped) = oneshot::channel();
    let (ready, bound) = oneshot::channel();
    let options = ProxyOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..options
    };
    let task = tokio::spawn(serve(options, async { stopped.await.unwrap_or(()) }, |at| {
        ready.send(at).ok();
    }));
    let Address::Tcp(at) = bound.await.expect("the proxy starts") else {
        panic!("tcp")
    };
    Running { at, stop, task }
}

/// A guest that answers every connection with what it got, reversed, after the client's half-close.
async fn reversing_guest() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                all.reverse();
                stream.write_all(&all).await.unwrap();
            });
        }
    });
    at
}

fn to(guest: SocketAddr) -> ProxyOptions {
    ProxyOptions {
        guest: Address::Tcp(guest),
        ..ProxyOptions::default()
    }
}

#[tokio::test]
async fn bytes_and_half_closes_pass_unchanged() {
    let proxy = start(to(reversing_guest().await)).await;
    let sent: Vec<u8> = (0..1_000_003_u32).map(|i| (i * 31 % 251) as u8).collect();
    let mut stream = TcpStream::connect(proxy.at).await.unwrap();
    stream.write_all(&sent).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    got.reverse();
    assert_eq!(got, sent);
}

#[tokio::test]
async fn the_connection_over_the_limit_is_closed_and_the_one_within_lives() {
    let proxy = start(ProxyOptions {
        connections_max: 1,
        ..to(reversing_guest().await)
    })
    .await;
    let mut first = TcpStream::connect(proxy.at).await.unwrap();
    first.write_all(b"abc").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut rest = Vec::new();
    // Reset at once, perhaps before the connect returns.
    if let Ok(mut second) = TcpStream::connect(proxy.at).await {
        assert!(second.read_to_end(&mut rest).await.is_err());
    }
    first.shutdown().await.unwrap();
    first.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"cba");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let proxy = start(ProxyOptions {
        idle: Duration::from_millis(100),
        ..to(reversing_guest().await)
    })
    .await;
    let mut stream = TcpStream::connect(proxy.at).await.unwrap();
    stream.write_all(b"abc").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest))
        .await
        .expect("closed");
    assert_eq!(
        ended.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset,
        "a cut is no end"
    );
}

#[tokio::test]
async fn a_client_that_stays_after_the_guest_has_closed_does_not_hold_its_place() {
    let guest = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = guest.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = guest.accept().await {
            drop(stream)
        }
    });
    let proxy = start(ProxyOptions {
        connections_max: 1,
        ..to(at)
    })
    .await;
    let mut first = TcpStream::connect(proxy.at).await.unwrap();
    let mut rest = Vec::new();
    assert!(
        matches!(first.read_to_end(&mut rest).await, Ok(0)),
        "the guest's end is passed on"
    );
    // The client keeps its own half open; its place is free again all the same.
    proxy.stop.send(()).unwrap();
    let drained = tokio::time::timeout(Duration::from_secs(8), proxy.task).await;
    drained.expect("the place is still held").unwrap().unwrap();
    drop(first);
}

#[tokio::test]
async fn a_stop_drains_open_connections_and_takes_no_new_ones() {
    let proxy = start(to(reversing_guest().await)).await;
    let mut open = TcpStream::connect(proxy.at).await.unwrap();
    open.write_all(b"abc").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        TcpStream::connect(proxy.at).await.is_err(),
        "a new connection is refused"
    );
    assert!(!proxy.task.is_finished(), "the open one keeps the proxy alive");
    open.shutdown().await.unwrap();
    let mut rest = Vec::new();
    open.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"cba");
    proxy.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_drain_ends_after_its_time() {
    let proxy = start(ProxyOptions {
        drain: Duration::from_millis(100),
        ..to(reversing_guest().await)
    })
    .await;
    let _open = TcpStream::connect(proxy.at).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), proxy.task)
        .await
        .expect("ends")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = taken.local_addr().unwrap();
    let options = ProxyOptions {
        listen: Address::Tcp(at),
        ..to(at)
    };
    let error = serve(options, std::future::pending(), |_| {}).await.unwrap_err();
    assert_eq!(error.code(), "proxy.port_in_use");
    assert!(error.to_string().contains(&at.to_string()), "{error}");
}

#[tokio::test]
async fn metrics_count_bytes_and_stay_on_this_machine() {
    assert_eq!(
        "0.0.0.0:9100".parse::<MetricsAddress>().unwrap_err().code(),
        "proxy.metrics_not_loopback"
    );
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("metrics.sock");
    let options = ProxyOptions {
        metrics: Some(format!("unix:{}", socket.display()).parse().unwrap()),
        ..to(reversing_guest().await)
    };
    let proxy = start(options).await;
    let mut stream = TcpStream::connect(proxy.at).await.unwrap();
    stream.write_all(b"abc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    let mut scrape = tokio::net::UnixStream::connect(&socket).await.unwrap();
    scrape
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    scrape.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("hanzo_proxy_bytes_to_guest_total 3"), "{text}");
    assert!(text.contains("hanzo_proxy_connections_total 1"), "{text}");
    proxy.stop.send(()).unwrap();
    proxy.task.await.unwrap().unwrap();
    assert!(!socket.exists(), "the socket is removed");
}
