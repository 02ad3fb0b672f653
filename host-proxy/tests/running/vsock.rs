//! The other transport, over the kernel's own loopback (CID 1).

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::set::{greeted, guest, start_any, who};
use hanzo_proxy::Address;
use socket2::{Domain, SockAddr, Socket, Type};

const ANY: u32 = u32::MAX;
const LOOPBACK: u32 = 1;

fn listen() -> std::io::Result<(Socket, u32)> {
    let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    socket.bind(&SockAddr::vsock(ANY, ANY))?;
    socket.listen(16)?;
    let (_, port) = socket
        .local_addr()?
        .as_vsock_address()
        .ok_or(std::io::ErrorKind::Other)?;
    Ok((socket, port))
}

fn connect(port: u32) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    socket.connect(&SockAddr::vsock(LOOPBACK, port))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(socket)
}

/// Whether this kernel carries AF_VSOCK to itself.
fn has_loopback() -> bool {
    match listen().and_then(|(_listening, port)| connect(port)) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("AF_VSOCK HAS NO LOOPBACK HERE ({error}; modprobe vsock_loopback): THE VSOCK PATH IS NOT RUN");
            false
        }
    }
}

/// Greets with its name and gives back what it gets.
fn vsock_guest(name: &'static str) -> u32 {
    let (listener, port) = listen().unwrap();
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut stream = &socket;
                stream.write_all(name.as_bytes()).ok();
                let mut bytes = vec![0; 100_000];
                while let Ok(n @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn config(listen: &str, guest: &str) -> String {
    format!(
        "version = 1\nworkers = 2\n[[listen]]\naddress = \"{listen}\"\npool = \"p\"\n\
         [pool.p]\nguests = [\"{guest}\"]\ndeadline_s = 1\nsend_proxy_header = \"v1\"\n"
    )
}

/// A port that nobody has.
fn free_port() -> u32 {
    listen().unwrap().1
}

#[tokio::test]
async fn bytes_pass_from_tcp_to_vsock_and_from_vsock_to_tcp() {
    if !has_loopback() {
        return;
    }
    let up = start_any(&config(
        "127.0.0.1:0",
        &format!("vsock:{LOOPBACK}:{}", vsock_guest("v")),
    ))
    .await;
    let Address::Tcp(at) = up.at[0] else { panic!("tcp") };
    let (stream, got) = greeted(at, b"x", 1).await.unwrap();
    assert_eq!(got, b"v");
    drop(stream);
    // Both workers share the one listening socket of this transport.
    let port = free_port();
    let tcp = guest("t").await;
    let _down = start_any(&config(&format!("vsock:{ANY}:{port}"), &tcp.at.to_string())).await;
    let passed = tokio::task::spawn_blocking(move || {
        for _ in 0..16 {
            let socket = connect(port).unwrap();
            let mut stream = &socket;
            stream.write_all(b"y").unwrap();
            let header = b"tPROXY UNKNOWN\r\ny";
            let mut got = vec![0; header.len()];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(got, header, "a context identifier is no IP address");
        }
        stream_through(&connect(port).unwrap())
    });
    passed.await.unwrap();
}

/// A long stream both ways at once, and the half-close after it.
fn stream_through(socket: &Socket) {
    let byte = |i: usize| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    let sent: Vec<u8> = (0..8 << 20).map(byte).collect();
    let mut got = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = socket;
            stream.write_all(&sent).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
        });
        let mut stream = socket;
        stream.read_to_end(&mut got).unwrap();
    });
    let start = got.len() - sent.len();
    assert!(got[start..] == sent, "bytes pass unchanged");
}

#[tokio::test]
async fn a_guest_that_is_not_there_is_told_within_the_deadline() {
    let proxy = start_any(&config("127.0.0.1:0", "vsock:4000000:9")).await;
    let Address::Tcp(at) = proxy.at[0] else { panic!("tcp") };
    let started = Instant::now();
    assert_eq!(who(at).await, "-");
    assert!(started.elapsed() < Duration::from_secs(3));
}
