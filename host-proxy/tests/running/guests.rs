//! Several guests behind one proxy: which one takes a connection, and what happens when one is gone.

use std::time::{Duration, Instant};

use crate::set::{greeted, guest, guest_at, scrape, start, until, who, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A ClientHello with this name, or none.
fn hello(name: Option<&str>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let n = name.len() as u16;
        for value in [0, n + 5, n + 3] {
            extensions.extend(u16::to_be_bytes(value));
        }
        extensions.push(0);
        extensions.extend(n.to_be_bytes());
        extensions.extend(name.as_bytes());
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut out = vec![22, 3, 1];
    out.extend((body.len() as u16 + 4).to_be_bytes());
    out.extend([1, 0, 0, body.len() as u8]);
    out.extend(body);
    out
}

#[tokio::test]
async fn a_server_name_chooses_the_guest_and_an_unknown_one_is_refused() {
    let (a, b) = (guest("a").await, guest("b").await);
    let proxy = start(&format!(
        r#"
        version = 1
        [[listen]]
        address = "127.0.0.1:0"
        server_names = {{ "a.example" = "a", "*.b.example" = "b" }}
        [pool.a]
        guests = ["{}"]
        [pool.b]
        guests = ["{}"]
        "#,
        a.at, b.at
    ))
    .await;
    let at = proxy.at[0];
    let name = async |hello: &[u8]| match greeted(at, hello, 1 + hello.len()).await {
        Some((_, all)) => {
            assert_eq!(&all[1..], hello, "the hello itself reaches the guest unchanged");
            String::from_utf8(all[..1].to_vec()).unwrap()
        }
        None => "-".to_owned(),
    };
    assert_eq!(name(&hello(Some("a.example"))).await, "a");
    assert_eq!(name(&hello(Some("x.b.example"))).await, "b");
    for refused in [
        Some("c.example"),
        Some("b.example"),
        Some("x.y.b.example"),
        Some("x.a.example"),
        None,
    ] {
        assert_eq!(name(&hello(refused)).await, "-", "{refused:?}");
    }
    assert_eq!(name(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await, "-", "not TLS");

    // In two parts, the first within the record's header.
    let whole = hello(Some("a.example"));
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(&whole[..3]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    stream.write_all(&whole[3..]).await.unwrap();
    let mut first = [0];
    within(10, stream.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"a");
}

#[tokio::test]
async fn a_killed_guest_s_clients_are_told_and_new_ones_go_elsewhere() {
    let (a, b) = (guest("a").await, guest("b").await);
    let proxy = start(&format!(
        r#"
        version = 1
        [[listen]]
        address = "127.0.0.1:0"
        pool = "p"
        [pool.p]
        guests = ["{}", "{}"]
        deadline_s = 1
        health = {{ interval_s = 0.1, timeout_s = 0.1, fall = 2, rise = 1 }}
        "#,
        a.at, b.at
    ))
    .await;
    let at = proxy.at[0];
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(greeted(at, b"x", 2).await.unwrap());
    }
    let with = |name: &str| open.iter().filter(|(_, all)| all.starts_with(name.as_bytes())).count();
    assert_eq!((with("a"), with("b")), (2, 2), "least outstanding");
    a.task.abort();
    for (stream, all) in &mut open {
        let mut rest = Vec::new();
        match all.starts_with(b"a") {
            true => assert!(matches!(within(2, stream.read_to_end(&mut rest)).await, Ok(0) | Err(_))),
            false => {
                stream.write_all(b"yz").await.unwrap();
                let mut back = [0; 2];
                within(2, stream.read_exact(&mut back)).await.unwrap();
                assert_eq!(&back, b"yz", "the other guest's clients notice nothing");
            }
        }
    }
    for _ in 0..20 {
        assert_eq!(who(at).await, "b", "another guest is tried within the same connection");
    }
    // It comes back and is found by the health checks.
    let _a = guest_at("a", a.at).await;
    until("a takes connections again", || async { who(at).await == "a" }).await;
}

#[tokio::test]
async fn with_no_guest_left_a_client_is_told_within_the_deadline() {
    let gone = guest("a").await;
    gone.task.abort();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let proxy = start(&format!(
        r#"
        version = 1
        metrics = "unix:{}"
        [[listen]]
        address = "127.0.0.1:0"
        pool = "p"
        [pool.p]
        guests = ["{}"]
        deadline_s = 1
        health = {{ interval_s = 0.1, timeout_s = 0.1, fall = 2, rise = 1 }}
        "#,
        socket.display(),
        gone.at
    ))
    .await;
    let started = Instant::now();
    assert_eq!(who(proxy.at[0]).await, "-");
    assert!(started.elapsed() < Duration::from_secs(2));
    let down = format!("hanzo_proxy_guest_up{{pool=\"p\",guest=\"{}\"}} 0", gone.at);
    until("the guest is shown as down", || async {
        scrape(&socket).await.contains(&down)
    })
    .await;
    assert_eq!(who(proxy.at[0]).await, "-");
    let text = scrape(&socket).await;
    assert!(
        text.contains("hanzo_proxy_connections_refused_total{why=\"guest_unreachable\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("hanzo_proxy_connections_refused_total{why=\"no_guest\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("hanzo_proxy_connections_refused_total{why=\"queue_full\"} 0"),
        "all reasons are there"
    );
}

#[tokio::test]
async fn one_address_keeps_its_guest_under_rendezvous() {
    let guests = [guest("a").await, guest("b").await, guest("c").await];
    let proxy = start(&format!(
        r#"
        version = 1
        [[listen]]
        address = "127.0.0.1:0"
        pool = "p"
        [pool.p]
        guests = ["{}", "{}", "{}"]
        balance = "rendezvous"
        "#,
        guests[0].at, guests[1].at, guests[2].at
    ))
    .await;
    let home = who(proxy.at[0]).await;
    for _ in 0..6 {
        assert_eq!(who(proxy.at[0]).await, home);
    }
}

#[tokio::test]
async fn a_reload_moves_new_connections_and_leaves_open_ones() {
    let (a, b) = (guest("a").await, guest("b").await);
    let text = |address: &str, guest: std::net::SocketAddr, workers: u32| {
        format!(
            r#"
            version = 1
            workers = {workers}
            [[listen]]
            address = "{address}"
            pool = "p"
            [pool.p]
            guests = ["{guest}"]
            "#
        )
    };
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap().to_string();
    drop(probe);
    let proxy = start(&text(&address, a.at, 2)).await;
    let at = proxy.at[0];
    let (mut open, _) = greeted(at, b"x", 2).await.unwrap();
    let config = |t: String| hanzo_proxy::config::Config::parse(&t).unwrap();
    proxy.reload.send(config(text(&address, b.at, 2))).await.unwrap();
    until("new connections go to b", || async { who(at).await == "b" }).await;
    open.write_all(b"still").await.unwrap();
    let mut back = [0; 5];
    within(5, open.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"still");
    // What cannot change in a running process is refused whole: the guest stays b.
    proxy.reload.send(config(text(&address, a.at, 3))).await.unwrap();
    // So is an address that cannot be bound.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let _held = std::net::TcpListener::bind(&taken);
    proxy.reload.send(config(text("192.0.2.1:1", a.at, 2))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(who(at).await, "b");
    // Another address: the old one is closed, its open connection goes on.
    proxy.reload.send(config(text("127.0.0.1:0", a.at, 2))).await.unwrap();
    until("the old address is closed", || async {
        TcpStream::connect(at).await.is_err()
    })
    .await;
    open.write_all(b"there").await.unwrap();
    within(5, open.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"there");
}

#[tokio::test]
async fn long_streams_pass_unchanged_both_ways_at_once() {
    let a = guest("a").await;
    let proxy = start(&format!(
        "version = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\npool = \"p\"\n[pool.p]\nguests = [\"{}\"]\n",
        a.at
    ))
    .await;
    let stream = TcpStream::connect(proxy.at[0]).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let byte = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    const TOTAL: u64 = 24 << 20;
    let sender = tokio::spawn(async move {
        let mut at = 0;
        // Pieces of odd sizes, some small ones in between: streaming starts and stops on the way.
        for n in [1_u64, 777_777, 3, 8_000_001, 5, 4_000_000, 2].into_iter().cycle() {
            let piece: Vec<u8> = (at..(at + n).min(TOTAL)).map(byte).collect();
            write.write_all(&piece).await.unwrap();
            at += piece.len() as u64;
            if at == TOTAL {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        write.shutdown().await.unwrap();
    });
    let mut all = Vec::new();
    within(60, read.read_to_end(&mut all)).await.unwrap();
    sender.await.unwrap();
    assert_eq!(all.len() as u64, TOTAL + 1);
    assert!(all[1..].iter().enumerate().all(|(i, b)| *b == byte(i as u64)));
}

#[tokio::test]
async fn clients_wait_for_a_free_place_until_the_deadline_and_one_too_many_does_not() {
    let a = guest("a").await;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let proxy = start(&format!(
        r#"
        version = 1
        workers = 1
        metrics = "unix:{}"
        [[listen]]
        address = "127.0.0.1:0"
        pool = "p"
        [pool.p]
        guests = ["{}"]
        guest_connections_max = 1
        queue_max = 1
        deadline_s = 1
        "#,
        socket.display(),
        a.at
    ))
    .await;
    let at = proxy.at[0];
    let (first, _) = greeted(at, b"x", 2).await.unwrap();
    let started = Instant::now();
    let second = tokio::spawn(async move { who(at).await });
    until("it waits", || async {
        scrape(&socket).await.contains("hanzo_proxy_pool_waiting{pool=\"p\"} 1")
    })
    .await;
    assert_eq!(who(at).await, "-", "one too many");
    assert!(started.elapsed() < Duration::from_millis(900), "told at once");
    assert_eq!(second.await.unwrap(), "-");
    assert!(
        (900..3_000).contains(&started.elapsed().as_millis()),
        "told at the deadline"
    );
    let text = scrape(&socket).await;
    for why in ["queue_full", "queue_deadline"] {
        let line = format!("hanzo_proxy_connections_refused_total{{why=\"{why}\"}} 1");
        assert!(text.contains(&line), "{text}");
    }
    let third = tokio::spawn(async move { who(at).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(first);
    assert_eq!(third.await.unwrap(), "a", "twin: a place was given back in time");
}

#[tokio::test]
async fn a_guest_that_was_given_no_time_is_not_blamed() {
    // A full queue: the kernel drops further calls, as a machine does that is gone.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into())
        .unwrap();
    full.listen(0).unwrap();
    let hung = full.local_addr().unwrap().as_socket().unwrap();
    let _filling = [TcpStream::connect(hung).await.unwrap()];
    let good = guest("g").await;
    let proxy = start(&format!(
        r#"
        version = 1
        [[listen]]
        address = "127.0.0.1:0"
        pool = "p"
        [pool.p]
        guests = ["{hung}", "{}"]
        deadline_s = 1
        connect_s = 1
        breaker = {{ failures = 1, open_s = 60 }}
        health = {{ interval_s = 60, timeout_s = 0.1, fall = 2, rise = 1 }}
        "#,
        good.at
    ))
    .await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(who(proxy.at[0]).await);
    }
    answers.sort();
    assert_eq!(
        answers,
        ["-", "g", "g"],
        "one client spends its time at the one that hangs; the other guest serves all the same"
    );
}
