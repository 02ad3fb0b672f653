//! A host on the wire: it keeps every byte of both ways, and a script sees each piece before it goes on: bytes as they were
//! read, or whole TLS records.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::wire::Seen;

/// Where a piece goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the guest.
    Up,
    /// To the client.
    Down,
}

/// What pieces are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// What one read gave.
    Bytes,
    /// A TLS record with its head.
    Records,
}

/// A piece on its way.
pub struct Piece {
    /// Number of its connection since the script was set, from 0.
    pub connection: usize,
    /// Its way.
    pub way: Way,
    /// Number on its way, from 0.
    pub index: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What becomes of it.
pub enum Act {
    /// These bytes go on in its place.
    Pass(Vec<u8>),
    /// These go back to where it came from.
    Back(Vec<u8>),
    /// These go on, and then both sides are closed.
    Close(Vec<u8>),
    /// The first bytes go on at once, the second once the flag is set.
    Hold(Vec<u8>, Arc<AtomicBool>, Vec<u8>),
    /// Both sides are reset.
    Reset,
}

/// A script.
pub type Script = Arc<dyn Fn(Piece) -> Act + Send + Sync>;

struct Shared {
    target: SocketAddr,
    unit: Unit,
    script: Option<Script>,
    count: Arc<AtomicUsize>,
    seen: Vec<Seen>,
    open: Vec<tokio::task::AbortHandle>,
}

/// A running tap; stops when dropped.
pub struct Tap {
    /// Where clients connect.
    pub at: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
        self.cut_all();
    }
}

impl Tap {
    /// Starts one before `target`, which carries.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared {
            target,
            unit: Unit::Bytes,
            script: None,
            count: Arc::default(),
            seen: Vec::new(),
            open: Vec::new(),
        }));
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let (mut now, connection) = {
                        let mut shared = shared.lock().unwrap();
                        shared.seen.push(Seen::default());
                        let now = Connection {
                            target: shared.target,
                            unit: shared.unit,
                            script: shared.script.clone(),
                            number: shared.count.fetch_add(1, Ordering::SeqCst),
                            place: shared.seen.len() - 1,
                            shared: None,
                        };
                        (now, client)
                    };
                    now.shared = Some(shared.clone());
                    let handle = tokio::spawn(now.carry(connection)).abort_handle();
                    shared.lock().unwrap().open.push(handle);
                }
            }
        });
        Ok(Self { at, shared, task })
    }

    /// Runs this script on connections from now on; those that are open go on under theirs.
    pub fn script(&self, unit: Unit, script: impl Fn(Piece) -> Act + Send + Sync + 'static) {
        let mut shared = self.shared.lock().unwrap();
        shared.unit = unit;
        shared.script = Some(Arc::new(script));
        shared.count = Arc::default();
    }

    /// Carries from now on.
    pub fn carry(&self) {
        let mut shared = self.shared.lock().unwrap();
        (shared.unit, shared.script) = (Unit::Bytes, None);
        shared.count = Arc::default();
    }

    /// Leads somewhere else from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.lock().unwrap().target = target;
    }

    /// Ends every open connection at once.
    pub fn cut_all(&self) {
        for handle in self.shared.lock().unwrap().open.drain(..) {
            handle.abort();
        }
    }

    /// Everything that passed so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().unwrap().seen.clone()
    }
}

struct Connection {
    target: SocketAddr,
    unit: Unit,
    script: Option<Script>,
    number: usize,
    place: usize,
    shared: Option<Arc<Mutex<Shared>>>,
}

/// Why a way is over.
#[derive(PartialEq)]
enum Over {
    Ended,
    Close,
    Reset,
}

impl Connection {
    async fn carry(self, client: TcpStream) {
        let Ok(guest) = TcpStream::connect(self.target).await else {
            return;
        };
        let _ = (client.set_nodelay(true), guest.set_nodelay(true));
        let (mut from_client, to_client) = client.into_split();
        let (mut from_guest, to_guest) = guest.into_split();
        let (to_client, to_guest) = (tokio::sync::Mutex::new(to_client), tokio::sync::Mutex::new(to_guest));
        let up = self.one_way(Way::Up, &mut from_client, &to_guest, &to_client);
        let down = self.one_way(Way::Down, &mut from_guest, &to_client, &to_guest);
        tokio::pin!(up, down);
        // One end that ends well lets the other go on.
        let over = tokio::select! {
            over = &mut up => if over == Over::Ended { down.await } else { over },
            over = &mut down => if over == Over::Ended { up.await } else { over },
        };
        if over == Over::Reset {
            for half in [&to_client, &to_guest] {
                let half = half.lock().await;
                let _ = SockRef::from(half.as_ref()).set_linger(Some(std::time::Duration::ZERO));
            }
        }
    }

    async fn one_way(
        &self,
        way: Way,
        from: &mut OwnedReadHalf,
        to: &tokio::sync::Mutex<OwnedWriteHalf>,
        back: &tokio::sync::Mutex<OwnedWriteHalf>,
    ) -> Over {
        let (mut buffer, mut held, mut index) = (vec![0; 32 * 1024], Vec::new(), 0);
        loop {
            let n = match from.read(&mut buffer).await {
                Ok(0) | Err(_) => {
                    let mut to = to.lock().await;
                    let _ = to.write_all(&held).await;
                    let _ = to.shutdown().await;
                    return Over::Ended;
                }
                Ok(n) => n,
            };
            self.keep(way, &buffer[..n]);
            held.extend_from_slice(&buffer[..n]);
            while let Some(bytes) = self.piece(&mut held) {
                let piece = Piece {
                    connection: self.number,
                    way,
                    index,
                    bytes,
                };
                index += 1;
                let act = match &self.script {
                    Some(script) => script(piece),
                    None => Act::Pass(piece.bytes),
                };
                let (bytes, half, over) = match act {
                    Act::Pass(bytes) => (bytes, to, None),
                    Act::Back(bytes) => (bytes, back, None),
                    Act::Close(bytes) => (bytes, to, Some(Over::Close)),
                    Act::Reset => return Over::Reset,
                    Act::Hold(now, flag, later) => {
                        if to.lock().await.write_all(&now).await.is_err() {
                            return Over::Close;
                        }
                        while !flag.load(Ordering::SeqCst) {
                            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                        }
                        (later, to, None)
                    }
                };
                if half.lock().await.write_all(&bytes).await.is_err() {
                    return Over::Close;
                }
                if let Some(over) = over {
                    return over;
                }
            }
        }
    }

    fn keep(&self, way: Way, bytes: &[u8]) {
        if let Some(shared) = &self.shared {
            let seen = &mut shared.lock().unwrap().seen[self.place];
            match way {
                Way::Up => seen.to_guest.extend_from_slice(bytes),
                Way::Down => seen.to_client.extend_from_slice(bytes),
            }
        }
    }

    fn piece(&self, held: &mut Vec<u8>) -> Option<Vec<u8>> {
        if held.is_empty() {
            return None;
        }
        if self.unit == Unit::Bytes {
            return Some(std::mem::take(held));
        }
        let head = held.get(..5)?;
        let len = 5 + usize::from(u16::from_be_bytes([head[3], head[4]]));
        (held.len() >= len).then(|| held.drain(..len).collect())
    }
}

/// Splits recorded bytes into TLS records.
pub fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Some(head) = rest.get(..5) {
        let len = (5 + usize::from(u16::from_be_bytes([head[3], head[4]]))).min(rest.len());
        let (record, after) = rest.split_at(len);
        out.push(record.to_vec());
        rest = after;
    }
    out
}
