//! A host between guest and broker: it passes bytes on and keeps what the guest sends.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Everything a guest sent, by connection.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<Vec<u8>>>>);

impl Seen {
    /// Bodies of the requests to `path`.
    pub fn bodies(&self, path: &str) -> Vec<Vec<u8>> {
        let sent = self.0.lock().unwrap();
        sent.iter().flat_map(|bytes| requests(bytes, path)).collect()
    }
}

/// Passes connections to `broker` on for as long as the test runs.
pub fn relay(broker: SocketAddr) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let kept = seen.clone();
    thread::spawn(move || {
        for guest in listener.incoming().map_while(Result::ok) {
            let Ok(broker) = TcpStream::connect(broker) else {
                continue;
            };
            let place = {
                let mut all = kept.0.lock().unwrap();
                all.push(Vec::new());
                all.len() - 1
            };
            let (from_broker, to_guest) = (broker.try_clone().unwrap(), guest.try_clone().unwrap());
            thread::spawn(move || pass(from_broker, to_guest, |_| ()));
            let kept = kept.clone();
            thread::spawn(move || pass(guest, broker, |bytes| kept.0.lock().unwrap()[place].extend(bytes)));
        }
    });
    (address, seen)
}

fn pass(mut from: TcpStream, mut to: TcpStream, see: impl Fn(&[u8])) {
    let mut buffer = [0; 16_384];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        see(&buffer[..got]);
        if to.write_all(&buffer[..got]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Bodies of the HTTP/1.1 requests to `path` in what one connection carried.
fn requests(mut bytes: &[u8], path: &str) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    while let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(0, |text| text.trim().parse().unwrap());
        let body = &bytes[end + 4..][..length];
        if head.lines().next().unwrap().contains(path) {
            bodies.push(body.to_vec());
        }
        bytes = &bytes[end + 4 + length..];
    }
    bodies
}
