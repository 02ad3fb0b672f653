//! TCP between two validators, which the test can cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// One way from a validator to another's link.
pub struct Forwarder {
    /// Where the one dials.
    pub address: String,
    /// Where the other listens, once it does.
    target: Arc<Mutex<Option<String>>>,
    cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Forwarder {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let forwarder = Self {
            address: listener.local_addr().unwrap().to_string(),
            target: Arc::default(),
            cut: Arc::default(),
            open: Arc::default(),
        };
        let (target, cut, open) = (forwarder.target.clone(), forwarder.cut.clone(), forwarder.open.clone());
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let target = target.lock().unwrap().clone();
                let Some(target) = target.filter(|_| !cut.load(Ordering::SeqCst)) else {
                    continue;
                };
                let Ok(far) = TcpStream::connect(target) else { continue };
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                open.lock()
                    .unwrap()
                    .extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                thread::spawn(move || copy(near, far));
                thread::spawn(move || copy(far_too, near_too));
            }
        });
        forwarder
    }

    pub fn set_target(&self, address: &str) {
        *self.target.lock().unwrap() = Some(address.to_owned());
    }

    /// Ends what goes through, and lets nothing more through.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn heal(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = [0; 16 * 1024];
    let _ = to.set_nodelay(true);
    let _ = from.set_read_timeout(Some(Duration::from_secs(600)));
    while let Ok(got @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..got]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
