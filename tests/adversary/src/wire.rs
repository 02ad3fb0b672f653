//! A host that works on the encrypted bytes: flips, cuts, replays, diverts. It sees every byte that passes, and keeps it.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the host does to each connection.
#[derive(Debug, Clone)]
pub enum Attack {
    /// Nothing: what an honest proxy would do.
    None,
    /// Flips the lowest bit of the byte at `at`, counted per connection.
    FlipToClient {
        /// Offset in what the guest sends.
        at: usize,
    },
    /// The same in what the client sends.
    FlipToGuest {
        /// Offset in what the client sends.
        at: usize,
    },
    /// Closes the connection after so many bytes from the guest.
    CutToClient {
        /// How many bytes pass.
        after: usize,
    },
    /// Answers with what the guest sent on an earlier connection; the guest is not asked.
    Replay(Vec<u8>),
    /// From connection `from` on (counted from 0), connects to another guest.
    Divert {
        /// The other guest.
        to: SocketAddr,
        /// First connection that is diverted.
        from: usize,
    },
}

/// What passed on one connection.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// From the client.
    pub to_guest: Vec<u8>,
    /// From the guest.
    pub to_client: Vec<u8>,
}

/// A running hostile proxy; stops when dropped.
pub struct HostileProxy {
    /// Where clients connect.
    pub at: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    attack: Arc<Mutex<Attack>>,
    open: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for HostileProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut_all();
    }
}

impl HostileProxy {
    /// Starts one before `guest`.
    pub async fn start(guest: SocketAddr, attack: Attack) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let attack = Arc::new(Mutex::new(attack));
        let open = Arc::new(Mutex::new(Vec::new()));
        let count = AtomicUsize::new(0);
        let task = {
            let (seen, attack, open) = (seen.clone(), attack.clone(), open.clone());
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let index = count.fetch_add(1, Ordering::SeqCst);
                    let now = attack.lock().unwrap().clone();
                    seen.lock().unwrap().push(Seen::default());
                    let handle = tokio::spawn(carry(client, guest, now, index, seen.clone())).abort_handle();
                    open.lock().unwrap().push(handle);
                }
            })
        };
        Ok(Self {
            at,
            seen,
            attack,
            open,
            task,
        })
    }

    /// Changes what is done to connections from now on.
    pub fn attack(&self, attack: Attack) {
        *self.attack.lock().unwrap() = attack;
    }

    /// Ends every open connection at once.
    pub fn cut_all(&self) {
        for handle in self.open.lock().unwrap().drain(..) {
            handle.abort();
        }
    }

    /// Everything that passed so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// True if `needle` passed in either direction on any connection.
    pub fn saw(&self, needle: &str) -> bool {
        let has = |hay: &[u8]| hay.windows(needle.len()).any(|w| w == needle.as_bytes());
        self.seen().iter().any(|s| has(&s.to_guest) || has(&s.to_client))
    }
}

async fn carry(client: TcpStream, guest: SocketAddr, attack: Attack, index: usize, seen: Arc<Mutex<Vec<Seen>>>) {
    let target = match &attack {
        Attack::Divert { to, from } if index >= *from => *to,
        _ => guest,
    };
    let (mut from_client, mut to_client) = client.into_split();
    if let Attack::Replay(recorded) = attack {
        // The recorded handshake is played back while the client talks.
        let listen = async {
            let mut buffer = [0; 4096];
            while let Ok(n) = from_client.read(&mut buffer).await {
                if n == 0 {
                    break;
                }
                seen.lock().unwrap()[index].to_guest.extend_from_slice(&buffer[..n]);
            }
        };
        let play = async {
            let _ = to_client.write_all(&recorded).await;
        };
        tokio::join!(play, listen);
        return;
    }
    let Ok(guest) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_guest, mut to_guest) = guest.into_split();
    let up = async {
        let mut buffer = vec![0; 32 * 1024];
        let mut passed = 0;
        while let Ok(n) = from_client.read(&mut buffer).await {
            if n == 0 {
                break;
            }
            let bytes = &mut buffer[..n];
            seen.lock().unwrap()[index].to_guest.extend_from_slice(bytes);
            if let Attack::FlipToGuest { at } = attack
                && (passed..passed + n).contains(&at)
            {
                bytes[at - passed] ^= 1;
            }
            passed += n;
            if to_guest.write_all(bytes).await.is_err() {
                break;
            }
        }
        let _ = to_guest.shutdown().await;
    };
    let down = async {
        let mut buffer = vec![0; 32 * 1024];
        let mut passed = 0;
        while let Ok(n) = from_guest.read(&mut buffer).await {
            if n == 0 {
                break;
            }
            let mut bytes = &mut buffer[..n];
            seen.lock().unwrap()[index].to_client.extend_from_slice(bytes);
            match attack {
                Attack::FlipToClient { at } if (passed..passed + n).contains(&at) => bytes[at - passed] ^= 1,
                Attack::CutToClient { after } if passed + n > after => bytes = &mut bytes[..after - passed],
                _ => {}
            }
            let cut = bytes.len() < n;
            passed += n;
            if to_client.write_all(bytes).await.is_err() || cut {
                break;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}
