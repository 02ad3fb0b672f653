//! Clients that do nothing wrong, and what became of them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::hello;
use crate::proxy::Doors;

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What healthy clients saw.
#[derive(Default)]
pub struct Seen {
    pub exchanges: AtomicU64,
    pub opened: AtomicU64,
    pub idle: AtomicU64,
    /// Connections to the guest that was killed: how long after that they were told, in milliseconds.
    pub told_ms: Mutex<Vec<f64>>,
    pub failures: Mutex<Vec<String>>,
    /// Of connections that were open at a reload or a restart and were lost then.
    pub streams_lost: AtomicU64,
    /// When guest `b` was killed.
    pub killed: Mutex<Option<Instant>>,
    /// When a reload or a restart happened.
    pub events: Mutex<Vec<Instant>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Plain,
    Named,
    Balanced,
}

pub struct Client {
    pub seen: Arc<Seen>,
    pub doors: Doors,
    pub number: u32,
    pub stop: watch::Receiver<bool>,
}

struct Open {
    stream: TcpStream,
    guest: u8,
    since: Instant,
}

impl Client {
    fn door(&self) -> Door {
        match self.number % 3 {
            0 => Door::Plain,
            1 => Door::Named,
            _ => Door::Balanced,
        }
    }

    fn source(&self, net: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, net, 1 + (self.number % 100) as u8)
    }

    /// One connection after the other, `per_connection` exchanges on each.
    pub async fn active(mut self, per_connection: usize, pause: Duration) {
        let mut n = self.number as usize;
        while !*self.stop.borrow() {
            let Some(mut open) = self.open(2).await else {
                continue;
            };
            for _ in 0..per_connection {
                n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if !self.exchange(&mut open, 64 + (n >> 33) % 8_000).await {
                    break;
                }
                if tokio::time::timeout(pause, stopped(&mut self.stop)).await.is_ok() {
                    return;
                }
            }
        }
    }

    /// One connection that says nothing until the end and then still works.
    pub async fn idle(mut self) {
        while !*self.stop.borrow() {
            let Some(mut open) = self.open(1).await else {
                continue;
            };
            self.seen.idle.fetch_add(1, Ordering::Relaxed);
            let mut byte = [0];
            let cut = tokio::select! {
                cut = open.stream.read(&mut byte) => cut,
                () = stopped(&mut self.stop) => {
                    self.exchange(&mut open, 1_000).await;
                    return;
                }
            };
            self.seen.idle.fetch_sub(1, Ordering::Relaxed);
            self.lost(Some(&open), open.since, &format!("idle connection: {cut:?}"));
            // Thousands at the same moment are no clients but a flood.
            tokio::time::sleep(Duration::from_millis((self.number % 1_000).into())).await;
        }
    }

    async fn open(&self, net: u8) -> Option<Open> {
        let since = Instant::now();
        match tokio::time::timeout(PATIENCE, self.try_open(net)).await {
            Ok(Ok(open)) => {
                self.seen.opened.fetch_add(1, Ordering::Relaxed);
                Some(open)
            }
            Ok(Err(error)) => {
                self.lost(None, since, &format!("opening: {error}"));
                None
            }
            Err(_) => {
                self.lost(None, since, "opening: no answer");
                None
            }
        }
    }

    async fn try_open(&self, net: u8) -> io::Result<Open> {
        let (to, net, first) = match self.door() {
            Door::Plain => (self.doors.plain, net, Vec::new()),
            Door::Named => (self.doors.named, net, hello::with_name("good.example")),
            Door::Balanced => {
                let line = format!("PROXY TCP4 {} 192.0.2.1 1000 443\r\n", self.source(net));
                (self.doors.balanced, 4, line.into_bytes())
            }
        };
        let mut stream = connect(self.source(net), to).await?;
        let mut bytes = first;
        bytes.extend(frame(b"ping"));
        stream.write_all(&bytes).await?;
        let mut back = [0; 5];
        stream.read_exact(&mut back).await?;
        match back {
            [guest @ (b'a' | b'b'), b'p', b'i', b'n', b'g'] => Ok(Open {
                stream,
                guest,
                since: Instant::now(),
            }),
            _ => Err(io::Error::other("other bytes than were sent")),
        }
    }

    async fn exchange(&self, open: &mut Open, n: usize) -> bool {
        let bytes: Vec<u8> = (0..n).map(|i| (i as u32 ^ self.number) as u8).collect();
        let exchange = async {
            open.stream.write_all(&frame(&bytes)).await?;
            let mut back = vec![0; n];
            open.stream.read_exact(&mut back).await?;
            match back == bytes {
                true => Ok(()),
                false => Err(io::Error::other("other bytes than were sent")),
            }
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok(())) => {
                self.seen.exchanges.fetch_add(1, Ordering::Relaxed);
                true
            }
            Ok(Err(error)) => {
                self.lost(Some(open), open.since, &format!("request: {error}"));
                false
            }
            Err(_) => {
                self.lost(Some(open), open.since, "request: no answer");
                false
            }
        }
    }

    /// A connection of the killed guest is told so; any other loss is a failure.
    fn lost(&self, open: Option<&Open>, since: Instant, what: &str) {
        let now = Instant::now();
        let soon = Duration::from_secs(1);
        let killed = *self.seen.killed.lock().expect("not poisoned");
        let is_expected = killed.is_some_and(|k| match open {
            Some(open) => open.guest == b'b' && since < k + soon,
            // Accepted by a guest that died before it could greet.
            None => since < k + soon && now > k && since + 2 * soon > k,
        });
        if let (true, Some(killed)) = (is_expected, killed) {
            let ms = now.saturating_duration_since(killed).as_secs_f64() * 1e3;
            self.seen.told_ms.lock().expect("not poisoned").push(ms);
            return;
        }
        let events = self.seen.events.lock().expect("not poisoned");
        if open.is_some() && events.iter().any(|at| since < *at && now < *at + 5 * soon) {
            self.seen.streams_lost.fetch_add(1, Ordering::Relaxed);
        }
        let mut failures = self.seen.failures.lock().expect("not poisoned");
        failures.push(format!("client {}: {what}", self.number));
    }
}

/// Waits for the end.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Nobody left to say so is the end too.
    let _ = stop.wait_for(|s| *s).await;
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'E'];
    frame.extend((bytes.len() as u32).to_be_bytes());
    frame.extend(bytes);
    frame
}

pub async fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}
