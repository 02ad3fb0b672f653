//! The broker between guests and a name that answers with what it got.

use std::net::SocketAddr;
use std::time::Duration;

use hanzo_egress::config::Config;
use hanzo_proxy::Address;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A running broker, and how to stop it.
struct Broker {
    at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

async fn broker(allow: &str, more: &str) -> Broker {
    let text = format!("version = 1\ndrain_s = 5\n{allow}\n[[listen]]\naddress = \"127.0.0.1:0\"\n{more}\n");
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, bound) = oneshot::channel();
    let task = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        let told = |at: &[Address]| ready.send(at[0]).expect("somebody waits");
        hanzo_egress::serve(config, stopped, told).await.unwrap();
    });
    let Address::Tcp(at) = bound.await.unwrap() else {
        panic!("TCP")
    };
    Broker {
        at,
        stop: Some(stop),
        task,
    }
}

/// A name that echoes each connection until its end.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    at
}

fn allow(name: &str, port: u16, at: SocketAddr) -> String {
    format!("allow = [{{ name = \"{name}\", port = {port}, address = \"{at}\" }}]")
}

/// Asks, and reads the broker's line.
async fn ask(at: SocketAddr, request: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    while !line.ends_with('\n') {
        match tokio::time::timeout(Duration::from_secs(5), stream.read_u8())
            .await
            .unwrap()
        {
            Ok(byte) => line.push(char::from(byte)),
            Err(_) => break,
        }
    }
    (stream, line)
}

const ASK: &str = "hanzo-egress/1 kbs.example.org 8443\n";

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut all))
        .await
        .expect("it ends");
    all
}

#[tokio::test]
async fn a_listed_name_is_reached_and_bytes_pass_to_both_ends() {
    let broker = broker(&allow("kbs.example.org", 8443, echo().await), "").await;
    let (mut stream, line) = ask(broker.at, ASK).await;
    assert_eq!(line, "hanzo-egress/1 open\n");
    let sent = vec![7; 300_000];
    let (mut from, mut to) = stream.split();
    let send = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let (_, read) = tokio::join!(send, from.read_to_end(&mut got));
    read.unwrap();
    assert_eq!(got, sent, "a half-close passes, and what is on its way comes");
}

#[tokio::test]
async fn every_neighbour_of_a_listed_name_is_refused_and_nobody_is_dialled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = broker(&allow("kbs.example.org", 8443, listener.local_addr().unwrap()), "").await;
    for (request, word) in [
        ("hanzo-egress/1 kbs.example.org 8444\n", "not-listed"),
        ("hanzo-egress/1 kbs.example.or 8443\n", "not-listed"),
        ("hanzo-egress/1 a.kbs.example.org 8443\n", "not-listed"),
        ("hanzo-egress/1 example.org 8443\n", "not-listed"),
        ("hanzo-egress/1 KBS.example.org 8443\n", "malformed"),
        ("hanzo-egress/1 127.0.0.1 8443\n", "malformed"),
        ("hanzo-egress/1 kbs.example.org 8443\nx", "malformed"),
        ("GET / HTTP/1.1\r\n\r\n", "malformed"),
    ] {
        let (mut stream, line) = ask(broker.at, request).await;
        assert_eq!(line, format!("hanzo-egress/1 refused {word}\n"), "{request}");
        assert!(rest(&mut stream).await.is_empty(), "and then it ends");
    }
    let dialled = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(dialled.is_err(), "nobody was dialled");
    assert_eq!(ask(broker.at, ASK).await.1, "hanzo-egress/1 open\n");
    assert!(listener.accept().await.is_ok());
}

#[tokio::test]
async fn an_empty_list_refuses_everybody_and_a_name_that_is_gone_is_said_to_be() {
    let closed = broker("allow = []", "").await;
    assert_eq!(ask(closed.at, ASK).await.1, "hanzo-egress/1 refused not-listed\n");
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let broker = broker(&allow("kbs.example.org", 8443, gone), "").await;
    assert_eq!(ask(broker.at, ASK).await.1, "hanzo-egress/1 refused unreachable\n");
}

#[tokio::test]
async fn time_bytes_and_connections_are_bounded() {
    let more =
        "[limits]\nguest_connections_max = 2\nbytes_max = 1024\nrequest_s = 0.2\nidle_s = 0.2\nconnection_s = 30";
    let broker = broker(&allow("kbs.example.org", 8443, echo().await), more).await;
    // A guest that says nothing, and one that does not finish.
    for begun in ["", "hanzo-egress/1 kbs"] {
        let (_, line) = ask(broker.at, begun).await;
        assert_eq!(line, "hanzo-egress/1 refused timeout\n");
    }
    let (mut first, line) = ask(broker.at, ASK).await;
    assert_eq!(line, "hanzo-egress/1 open\n");
    let (second, _) = ask(broker.at, ASK).await;
    assert_eq!(ask(broker.at, "").await.1, "hanzo-egress/1 refused busy\n");
    drop(second);
    // As many bytes as there may be, and one more.
    first.write_all(&[1; 1024]).await.unwrap();
    let mut got = [0; 1024];
    first.read_exact(&mut got).await.unwrap();
    first.write_all(&[1]).await.unwrap();
    assert!(rest(&mut first).await.is_empty(), "cut");
    // Its place is free again; and a connection on which nothing moves ends.
    let mut idle = loop {
        let (stream, line) = ask(broker.at, ASK).await;
        if line == "hanzo-egress/1 open\n" {
            break stream;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(rest(&mut idle).await.is_empty());
}

#[tokio::test]
async fn what_is_open_when_it_stops_goes_on_and_nobody_new_comes() {
    let mut broker = broker(&allow("kbs.example.org", 8443, echo().await), "").await;
    let (mut open, _) = ask(broker.at, ASK).await;
    drop(broker.stop.take());
    while TcpStream::connect(broker.at).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    open.write_all(b"still").await.unwrap();
    let mut got = [0; 5];
    open.read_exact(&mut got).await.unwrap();
    drop(open);
    tokio::time::timeout(Duration::from_secs(5), broker.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn counters_have_closed_labels_and_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let metrics = format!(
        "metrics = \"unix:{}\"\n{}",
        socket.display(),
        allow("kbs.example.org", 8443, echo().await)
    );
    let broker = broker(&metrics, "").await;
    ask(broker.at, "hanzo-egress/1 secret.example.org 1\n").await;
    let (mut open, _) = ask(broker.at, ASK).await;
    open.shutdown().await.unwrap();
    rest(&mut open).await;
    let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    for line in [
        "hanzo_egress_connections_total 2",
        "hanzo_egress_refused_total{why=\"not-listed\"} 1",
        "hanzo_egress_refused_total{why=\"busy\"} 0",
        "hanzo_egress_ended_total{how=\"closed\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("example") && !text.contains("127.0.0.1"), "{text}");
}

#[test]
fn the_program_checks_files() {
    let dir = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        let path = dir.path().join("egress.toml");
        std::fs::write(&path, text).unwrap();
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_hanzo-egress"))
            .arg("check")
            .arg(&path)
            .output()
            .unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let good = "version = 1\nallow = []\n[[listen]]\naddress = \"vsock:2:7000\"\n";
    assert_eq!(check(good).0, Some(0));
    let (code, text) = check(&good.replace("vsock:2:7000", "everywhere"));
    assert!(code == Some(1) && text.contains("[proxy.address]"), "{text}");
    let (code, text) = check(&good.replace("allow = []", "allow = \"*\""));
    assert!(code == Some(1) && text.contains("[egress.config.syntax]"), "{text}");
}
