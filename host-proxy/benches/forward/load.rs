//! The load and the backend behind the proxies, both in this process.
//!
//! A connection begins with nine bytes: `R` for requests and replies of 512 bytes, or `S` and a length for a stream to the client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const MESSAGE_BYTES: usize = 512;
const LATENCY_UNIT_NS: f64 = 1e3;

pub struct Load {
    runtime: Runtime,
    pub backend: SocketAddr,
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

impl Load {
    /// The backend has a thread of its own.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("non-blocking");
        let backend = listener.local_addr().expect("bound");
        std::thread::spawn(move || runtime().block_on(serve(listener)));
        Self {
            runtime: runtime(),
            backend,
        }
    }

    /// Streams to clients that read and drop.
    pub fn streams(&self, at: SocketAddr, n: usize, bytes: u64) {
        self.each(n, move |_| async move {
            let mut stream = open(at, b'S', bytes).await;
            let mut buffer = vec![0; 256 * 1024];
            let mut left = bytes;
            while left > 0 {
                let n = stream.read(&mut buffer).await.expect("read");
                assert!(n > 0, "cut");
                left -= n as u64;
            }
        });
    }

    /// Requests on connections that stay open; the 99th percentile in microseconds.
    pub fn requests(&self, at: SocketAddr, connections: usize, total: usize) -> f64 {
        let times = self.each(connections, move |_| async move {
            let mut stream = open(at, b'R', 0).await;
            let mut times = Vec::new();
            for _ in 0..total / connections {
                times.push(exchange(&mut stream).await);
            }
            times
        });
        percentile(times.into_iter().flatten().collect(), 0.99)
    }

    /// One request at a time on one connection: 50th and 99th percentile in microseconds.
    pub fn pings(&self, at: SocketAddr, total: usize) -> (f64, f64) {
        let times = self.runtime.block_on(async {
            let mut stream = open(at, b'R', 0).await;
            let mut times = Vec::new();
            for _ in 0..total {
                times.push(exchange(&mut stream).await);
            }
            times
        });
        (percentile(times.clone(), 0.5), percentile(times, 0.99))
    }

    /// Connections with one request each, `parallel` at a time.
    pub fn connections(&self, at: SocketAddr, parallel: usize, total: usize) {
        self.each(parallel, move |_| async move {
            for _ in 0..total / parallel {
                let mut stream = open(at, b'R', 0).await;
                exchange(&mut stream).await;
                stream.shutdown().await.expect("end");
                let mut rest = [0];
                assert_eq!(stream.read(&mut rest).await.expect("the guest's end"), 0);
            }
        });
    }

    /// Connections that had one request and stay open.
    pub fn idle(&self, at: SocketAddr, total: usize) -> Vec<TcpStream> {
        let open = self.each(32, move |_| async move {
            let mut open_ = Vec::new();
            for _ in 0..total / 32 {
                let mut stream = open(at, b'R', 0).await;
                exchange(&mut stream).await;
                open_.push(stream);
            }
            open_
        });
        std::thread::sleep(Duration::from_millis(300));
        open.into_iter().flatten().collect()
    }

    fn each<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        n: usize,
        what: impl Fn(usize) -> F,
    ) -> Vec<T> {
        self.runtime.block_on(async {
            let mut all: JoinSet<T> = JoinSet::new();
            for i in 0..n {
                all.spawn(what(i));
            }
            all.join_all().await
        })
    }
}

async fn open(at: SocketAddr, kind: u8, bytes: u64) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.expect("connected");
    stream.set_nodelay(true).expect("nodelay");
    let mut first = vec![kind];
    first.extend(bytes.to_be_bytes());
    stream.write_all(&first).await.expect("written");
    stream
}

async fn exchange(stream: &mut TcpStream) -> f64 {
    let started = Instant::now();
    let mut message = [7; MESSAGE_BYTES];
    stream.write_all(&message).await.expect("written");
    stream.read_exact(&mut message).await.expect("answered");
    started.elapsed().as_nanos() as f64 / LATENCY_UNIT_NS
}

fn percentile(mut times: Vec<f64>, p: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = ((times.len() as f64 - 1.0) * p).round() as usize;
    times.get(at).copied().unwrap_or(f64::NAN)
}

async fn serve(listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    let zeros: &'static [u8] = vec![0; 256 * 1024].leak();
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(async move {
            stream.set_nodelay(true).ok();
            let mut first = [0; 9];
            if stream.read_exact(&mut first).await.is_err() {
                return;
            }
            let mut left = u64::from_be_bytes(first[1..].try_into().expect("eight bytes"));
            let mut message = [0; MESSAGE_BYTES];
            match first[0] {
                b'S' => {
                    while left > 0 {
                        let n = (zeros.len() as u64).min(left);
                        if stream.write_all(&zeros[..n as usize]).await.is_err() {
                            return;
                        }
                        left -= n;
                    }
                }
                _ => {
                    while stream.read_exact(&mut message).await.is_ok() {
                        if stream.write_all(&message).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
    }
}
