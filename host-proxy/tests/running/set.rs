//! Guests that say who they are, and a proxy between them and the test.

use std::net::SocketAddr;
use std::time::Duration;

use hanzo_proxy::config::Config;
use hanzo_proxy::{Address, serve_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A running proxy.
pub struct Running<A = SocketAddr> {
    pub at: Vec<A>,
    pub reload: mpsc::Sender<Config>,
    /// Dropping it stops the proxy.
    _stop: oneshot::Sender<()>,
}

/// Starts what the text says, on TCP addresses.
pub async fn start(text: &str) -> Running {
    let any = start_any(text).await;
    let tcp = any.at.iter().map(|a| match a {
        Address::Tcp(at) => *at,
        Address::Vsock { .. } => panic!("tcp"),
    });
    Running {
        at: tcp.collect(),
        reload: any.reload,
        _stop: any._stop,
    }
}

/// Starts what the text says.
pub async fn start_any(text: &str) -> Running<Address> {
    let config = Config::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let (stop, stopped) = oneshot::channel();
    let (reload, reloads) = mpsc::channel(1);
    let (ready, bound) = oneshot::channel();
    let stopped = async { stopped.await.unwrap_or(()) };
    tokio::spawn(async move {
        serve_config(config, reloads, stopped, |at| {
            ready.send(at.to_vec()).ok();
        })
        .await
    });
    let at = bound.await.expect("the proxy starts");
    Running {
        at,
        reload,
        _stop: stop,
    }
}

/// A guest that greets every connection with its name and then gives back what it gets. Aborting it closes all.
pub struct Guest {
    pub at: SocketAddr,
    pub task: JoinHandle<()>,
}

pub async fn guest(name: &'static str) -> Guest {
    guest_at(name, "127.0.0.1:0".parse().unwrap()).await
}

pub async fn guest_at(name: &'static str, at: SocketAddr) -> Guest {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(at).unwrap();
    let listener = socket.listen(64).unwrap();
    let at = listener.local_addr().unwrap();
    let task = tokio::spawn(serve(name, listener));
    Guest { at, task }
}

async fn serve(name: &'static str, listener: TcpListener) {
    let mut all = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        all.spawn(async move {
            let (mut read, mut write) = stream.into_split();
            write.write_all(name.as_bytes()).await.ok();
            tokio::io::copy(&mut read, &mut write).await.ok();
        });
    }
}

/// Connects, says `hello`, and returns the stream with the guest's first `n` bytes. `None`: cut off before.
pub async fn greeted(at: SocketAddr, hello: &[u8], n: usize) -> Option<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    stream.write_all(hello).await.ok()?;
    let mut got = vec![0; n];
    match within(10, stream.read_exact(&mut got)).await {
        Ok(_) => Some((stream, got)),
        Err(_) => None,
    }
}

/// The name of the guest that answers; `-` if none does.
pub async fn who(at: SocketAddr) -> String {
    match greeted(at, b"x", 1).await {
        Some((_, name)) => String::from_utf8(name).unwrap(),
        None => "-".to_owned(),
    }
}

/// Fails the test if it takes longer.
pub async fn within<T>(seconds: u64, what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(seconds);
    tokio::time::timeout(limit, what).await.expect("takes too long")
}

/// Repeats until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    for _ in 0..500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// What a scrape of a metrics socket says.
pub async fn scrape(socket: &std::path::Path) -> String {
    let mut scrape = tokio::net::UnixStream::connect(socket).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    scrape.write_all(request).await.unwrap();
    let mut text = String::new();
    scrape.read_to_string(&mut text).await.unwrap();
    text
}
