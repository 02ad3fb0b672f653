//! The program itself: its files, its signals, and the hand-over to a new process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::set::{greeted, guest, scrape, until, who, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hanzo-proxy");

/// A child that does not outlive the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Proxy {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("run").arg("--config").arg(config);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    async fn ended(&mut self) -> i32 {
        within(20, async {
            loop {
                if let Some(status) = self.0.try_wait().unwrap() {
                    return status.code().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn write(dir: &Path, listen: SocketAddr, guest: SocketAddr) {
    let text = format!(
        "version = 1\nworkers = 2\nmetrics = \"unix:{0}/m.sock\"\nhandover = \"{0}/h.sock\"\n\
         [limits]\nclient_connections_per_s = 100000\nconnections_per_s = 100000\n\
         [[listen]]\naddress = \"{listen}\"\npool = \"p\"\n[pool.p]\nguests = [\"{guest}\"]\n",
        dir.display()
    );
    std::fs::write(dir.join("proxy.toml"), text).unwrap();
}

fn check(file: &Path) -> Output {
    Command::new(PROGRAM).arg("check").arg(file).output().unwrap()
}

#[test]
fn check_accepts_a_good_file_and_says_what_is_wrong_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proxy.toml");
    write(dir.path(), free_address(), free_address());
    let good = check(&file);
    assert!(good.status.success());
    assert!(String::from_utf8_lossy(&good.stdout).contains("1 listening addresses, 1 pools, 1 guests, 2 workers"));
    let text = std::fs::read_to_string(&file).unwrap();
    for (bad, code) in [
        (text.replace("workers = 2", "workers = 0"), "proxy.config.value"),
        (text.replace("workers", "worker"), "proxy.config.syntax"),
    ] {
        std::fs::write(&file, bad).unwrap();
        let output = check(&file);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(code), "{output:?}");
    }
    assert!(String::from_utf8_lossy(&check(dir.path()).stderr).contains("proxy.config.read"));
    let both = Command::new(PROGRAM)
        .args(["run", "--config", "x", "--guest", "127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(both.status.code(), Some(2), "a file or options, not both");
}

#[tokio::test]
async fn sighup_puts_a_good_file_in_force_and_a_bad_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, at) = (guest("a").await, guest("b").await, free_address());
    write(dir.path(), at, a.at);
    let mut proxy = Proxy::start(&dir.path().join("proxy.toml"));
    until("it serves", || async { who(at).await == "a" }).await;
    let (mut open, _) = greeted(at, b"x", 2).await.unwrap();
    std::fs::write(dir.path().join("proxy.toml"), "version = 2").unwrap();
    proxy.signal("HUP");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(who(at).await, "a");
    write(dir.path(), at, b.at);
    proxy.signal("HUP");
    until("the new file is in force", || async { who(at).await == "b" }).await;
    assert!(
        scrape(&dir.path().join("m.sock"))
            .await
            .contains("hanzo_proxy_reloads_total 1")
    );
    open.write_all(b"y").await.unwrap();
    let mut back = [0];
    within(5, open.read_exact(&mut back)).await.unwrap();
    drop(open);
    proxy.signal("TERM");
    assert_eq!(proxy.ended().await, 0);
}

#[tokio::test]
async fn a_new_process_takes_over_without_a_lost_connection_or_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, at) = (guest("a").await, guest("b").await, free_address());
    let file = dir.path().join("proxy.toml");
    write(dir.path(), at, a.at);
    let mut old = Proxy::start(&file);
    until("it serves", || async { who(at).await == "a" }).await;
    let (mut open, _) = greeted(at, b"x", 2).await.unwrap();
    // Connections all the time, from before the new process to after the old one stopped accepting.
    let clients = tokio::spawn(async move {
        let (mut from_a, mut from_b) = (0, 0);
        while from_b < 200 {
            match who(at).await.as_str() {
                "a" => from_a += 1,
                "b" => from_b += 1,
                lost => panic!("{lost} after {from_a} and {from_b}"),
            }
        }
        from_a
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    write(dir.path(), at, b.at);
    let mut new = Proxy::start(&file);
    let before = within(30, clients).await.expect("no connection is lost");
    assert!(before > 0);
    until("only the new one accepts", || async {
        for _ in 0..10 {
            if who(at).await != "b" {
                return false;
            }
        }
        true
    })
    .await;
    assert!(
        old.0.try_wait().unwrap().is_none(),
        "the old one has a stream to finish"
    );
    open.write_all(b"y").await.unwrap();
    let mut back = [0];
    within(5, open.read_exact(&mut back)).await.unwrap();
    drop(open);
    assert_eq!(old.ended().await, 0);
    let text = scrape(&dir.path().join("m.sock")).await;
    assert!(
        text.contains("hanzo_proxy_connections_ended_total"),
        "metrics are the new one's: {text}"
    );
    // And once more: the new one can be replaced too.
    let mut third = Proxy::start(&file);
    assert_eq!(new.ended().await, 0);
    assert_eq!(who(at).await, "b");
    third.signal("TERM");
    assert_eq!(third.ended().await, 0);
    assert!(!dir.path().join("h.sock").exists() && !dir.path().join("m.sock").exists());
}

#[tokio::test]
async fn a_stranger_at_the_hand_over_socket_gets_nothing_done() {
    let dir = tempfile::tempdir().unwrap();
    let (a, at) = (guest("a").await, free_address());
    write(dir.path(), at, a.at);
    let mut proxy = Proxy::start(&dir.path().join("proxy.toml"));
    until("it serves", || async { who(at).await == "a" }).await;
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(dir.path().join("h.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for packet in [b"take 2".as_slice(), b"take 1"] {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::SEQPACKET, None).unwrap();
        let path = socket2::SockAddr::unix(dir.path().join("h.sock")).unwrap();
        socket.connect(&path).unwrap();
        socket.send(packet).unwrap();
        // The second has the sockets now, and goes away without a word.
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(socket);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(who(at).await, "a", "the process carries on");
    }
    proxy.signal("TERM");
    assert_eq!(proxy.ended().await, 0);
}

#[tokio::test]
async fn a_reload_during_a_hand_over_waits_for_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, at) = (guest("a").await, guest("b").await, free_address());
    write(dir.path(), at, a.at);
    let mut proxy = Proxy::start(&dir.path().join("proxy.toml"));
    until("it serves", || async { who(at).await == "a" }).await;
    let taken = || {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::SEQPACKET, None).unwrap();
        let path = socket2::SockAddr::unix(dir.path().join("h.sock")).unwrap();
        socket.connect(&path).unwrap();
        socket.send(b"take 1").unwrap();
        while next(&socket) != b"end" {}
        socket
    };
    // The successor has the sockets when the signal comes, and then fails.
    let failing = taken();
    write(dir.path(), at, b.at);
    proxy.signal("HUP");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(who(at).await, "a", "not yet");
    drop(failing);
    until("the file is put in force after that", || async { who(at).await == "b" }).await;
    // Another one succeeds: nobody but it serves, signal or not.
    let successor = taken();
    write(dir.path(), at, a.at);
    proxy.signal("HUP");
    tokio::time::sleep(Duration::from_millis(100)).await;
    successor.send(b"serving").unwrap();
    assert_eq!(next(&successor), b"released");
    assert_eq!(proxy.ended().await, 0, "the old process has nothing left to do");
}

/// The next packet; descriptors that come with it are closed.
fn next(socket: &socket2::Socket) -> Vec<u8> {
    use std::io::Read as _;
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut packet = [0; 256];
    let n = (&*socket).read(&mut packet).unwrap();
    assert!(n > 0, "it hung up");
    packet[..n].to_vec()
}

#[tokio::test]
async fn a_process_whose_predecessor_carries_on_does_not_serve_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (a, at) = (guest("a").await, free_address());
    write(dir.path(), at, a.at);
    // A predecessor that gives its sockets, hangs up at "serving" and still answers at its socket.
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::SEQPACKET, None).unwrap();
    let path = socket2::SockAddr::unix(dir.path().join("h.sock")).unwrap();
    listener.bind(&path).unwrap();
    listener.listen(4).unwrap();
    let predecessor = std::thread::spawn(move || {
        let (peer, _) = listener.accept().unwrap();
        assert_eq!(next(&peer), b"take 1");
        peer.send(b"end").unwrap();
        assert_eq!(next(&peer), b"serving");
        drop(peer);
        listener
    });
    let mut proxy = Proxy::start(&dir.path().join("proxy.toml"));
    assert_eq!(proxy.ended().await, 1);
    drop(predecessor.join().unwrap());
    assert!(tokio::net::TcpStream::connect(at).await.is_err(), "nobody serves");
}

#[tokio::test]
async fn a_killed_proxy_cuts_both_sides_and_ends_neither() {
    let dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = free_address();
    write(dir.path(), at, listener.local_addr().unwrap());
    let mut proxy = Proxy::start(&dir.path().join("proxy.toml"));
    let connect = async || {
        until("it listens", || async {
            tokio::net::TcpStream::connect(at).await.is_ok()
        })
        .await;
        let mut client = tokio::net::TcpStream::connect(at).await.unwrap();
        client.write_all(b"a request").await.unwrap();
        // Health checks come too, and say nothing.
        let mut guest = loop {
            let (mut guest, _) = within(5, listener.accept()).await.unwrap();
            let mut request = [0; 9];
            if within(5, guest.read_exact(&mut request)).await.is_ok() {
                break guest;
            }
        };
        guest.write_all(b"half of an").await.unwrap();
        let mut half = [0; 10];
        within(5, client.read_exact(&mut half)).await.unwrap();
        (client, guest)
    };
    let mut rest = Vec::new();
    // Twin: an end is an end.
    let (mut client, mut guest) = connect().await;
    guest.write_all(b" answer").await.unwrap();
    guest.shutdown().await.unwrap();
    within(5, client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b" answer");
    client.shutdown().await.unwrap();
    rest.clear();
    within(5, guest.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());

    let (mut client, mut guest) = connect().await;
    proxy.0.kill().unwrap();
    proxy.0.wait().unwrap();
    for side in [&mut client, &mut guest] {
        let cut = within(5, side.read_to_end(&mut rest)).await.unwrap_err();
        assert_eq!(
            cut.kind(),
            std::io::ErrorKind::ConnectionReset,
            "no partial answer looks complete"
        );
    }
}
