//! Clients that do what they can to be a burden.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::healthy::{connect, stopped};
use crate::hello;
use crate::proxy::Doors;

pub const KINDS: [&str; 9] = [
    "slow hello, a byte a second",
    "reset storm",
    "garbage",
    "silent",
    "byte-wise requests",
    "server name lies",
    "PROXY header lies",
    "never reads its answer",
    "half-closed and silent",
];

#[derive(Default)]
pub struct Attempts {
    pub of: [AtomicU64; KINDS.len()],
}

pub struct Hostile {
    pub attempts: Arc<Attempts>,
    pub doors: Doors,
    pub number: u32,
    pub stop: watch::Receiver<bool>,
}

impl Hostile {
    pub async fn run(mut self) {
        let kind = self.number as usize % KINDS.len();
        let mut stop = self.stop.clone();
        let attack = async {
            for round in 0_u32.. {
                self.attempts.of[kind].fetch_add(1, Ordering::Relaxed);
                // How it ends is the proxy's business; that it ends, and what others see, is what is looked at.
                let _ = self.attack(kind, round).await;
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = attack => {}
            () = stopped(&mut stop) => {}
        }
    }

    async fn attack(&mut self, kind: usize, round: u32) -> io::Result<()> {
        let from = Ipv4Addr::new(127, 0, 3, 1 + (self.number % 50) as u8);
        let Doors { plain, named, balanced } = self.doors;
        match kind {
            0 => {
                let mut stream = connect(from, named).await?;
                dribble(&mut stream, &hello::with_name("good.example"), 1_000).await
            }
            1 => {
                let mut stream = connect(from, plain).await?;
                stream.write_all(b"E\0\0\x10\0").await?;
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
            }
            2 => {
                let to = if round.is_multiple_of(2) { plain } else { named };
                let mut stream = connect(from, to).await?;
                let noise: Vec<u8> = (0..3_000_u32)
                    .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
                    .collect();
                stream.write_all(&noise).await?;
                drain(&mut stream).await
            }
            3 => drain(&mut connect(from, named).await?).await,
            4 => {
                let mut stream = connect(from, plain).await?;
                dribble(&mut stream, b"E\0\0\0\x10sixteen bytes...", 50).await?;
                stream.shutdown().await?;
                drain(&mut stream).await
            }
            5 => {
                let mut stream = connect(from, named).await?;
                let hello = match round % 4 {
                    0 => hello::with_name("bad.example"),
                    1 => hello::with_names(&["good.example", "bad.example"]),
                    2 => hello::with_name("good.example\0.bad.example"),
                    _ => hello::with_names(&[]),
                };
                stream.write_all(&hello).await?;
                drain(&mut stream).await
            }
            6 => {
                let (from, lie): (_, &[u8]) = match round % 4 {
                    // Not a listed peer: these bytes are its own.
                    0 => (from, b"PROXY TCP4 127.0.2.1 192.0.2.1 1 2\r\n"),
                    1 => (
                        Ipv4Addr::new(127, 0, 4, 200),
                        b"PROXY TCP4 127.0.2.999 192.0.2.1 1 2\r\n",
                    ),
                    2 => (Ipv4Addr::new(127, 0, 4, 201), b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"),
                    _ => (Ipv4Addr::new(127, 0, 4, 202), b"E\0\0\0\x01x"),
                };
                let mut stream = connect(from, balanced).await?;
                stream.write_all(lie).await?;
                drain(&mut stream).await
            }
            7 => {
                let mut stream = connect(from, plain).await?;
                stream.write_all(b"S\x04\0\0\0").await?;
                // Cut for taking nothing; seen by writing.
                for _ in 0..100 {
                    sleep(Duration::from_millis(200)).await;
                    stream.write_all(b"E\0\0\0\0").await?;
                }
                Ok(())
            }
            _ => {
                let mut stream = connect(from, plain).await?;
                stream.write_all(b"E\0\0\0\x04half").await?;
                stream.shutdown().await?;
                sleep(Duration::from_secs(2)).await;
                drain(&mut stream).await
            }
        }
    }
}

async fn dribble(stream: &mut TcpStream, bytes: &[u8], pause_ms: u64) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        sleep(Duration::from_millis(pause_ms)).await;
    }
    Ok(())
}

async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut piece = [0; 4096];
    while stream.read(&mut piece).await? > 0 {}
    Ok(())
}
