//! A real key broker in a runtime of its own, with the log that its operator would read.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::{InitOptions, Initialised, KbsConfig, KbsError, StoreMode, admin};
use hanzo_pqc::Dek;
use hanzo_simulated_tee::SimulatedProcessor;
use hanzo_vault::KeyPolicy;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// What makes up the broker's state on its disk.
const STATE: [&str; 3] = ["kbs.db", "kbs.db.lock", "kbs.head"];

type Running = (oneshot::Sender<()>, JoinHandle<Result<(), KbsError>>);

/// A broker of the simulated mode; stops when dropped.
pub struct Broker {
    /// Where it listens.
    pub at: SocketAddr,
    made: Initialised,
    dir: PathBuf,
    log: Log,
    running: Option<Running>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Broker {
    /// Makes one in `dir`, which knows the test processor's root.
    pub fn start(dir: &Path) -> Self {
        let made = hanzo_kbs::init(&InitOptions {
            dir: dir.to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            mode: StoreMode::Simulated,
            simulator_roots: vec![SimulatedProcessor::for_tests().ark_der().to_vec()],
        })
        .unwrap();
        let mut broker = Self {
            at: "127.0.0.1:0".parse().unwrap(),
            made,
            dir: dir.to_owned(),
            log: Log::default(),
            running: None,
        };
        broker.restart();
        broker
    }

    /// Stops it, if it runs, and starts it on what its disk holds now.
    pub fn restart(&mut self) {
        self.stop();
        let config = KbsConfig::load(&self.made.config_path).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let log = self.log.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                // Its log is its own, though the whole appliance runs in this process.
                .on_thread_start(move || std::mem::forget(log.listen()))
                .build()
                .unwrap();
            let serving = hanzo_kbs::serve(
                config,
                StoreMode::Simulated,
                async { stopped.await.unwrap_or(()) },
                move |at| ready.send(at).unwrap(),
            );
            runtime.block_on(async { tokio::spawn(serving).await.unwrap() })
        });
        match is_ready.recv() {
            Ok(at) => {
                self.at = at;
                self.running = Some((stop, thread));
            }
            Err(_) => panic!("the broker did not start: {}", thread.join().unwrap().unwrap_err()),
        }
    }

    /// Stops it.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.send(()).ok();
            thread.join().unwrap().unwrap();
        }
    }

    /// What guests pin of it.
    pub fn signer(&self) -> &PinnedSigner {
        &self.made.identity.signer
    }

    /// Its owner puts a key.
    pub async fn put(&self, key: &str, version: u64, dek: [u8; 32], policy: &KeyPolicy) {
        let owner = hanzo_kbs::load_admin_key(&self.made.admin_key_path).unwrap();
        let (key, dek) = (KeyId::new(key).unwrap(), Dek::from_bytes(Zeroizing::new(dek)));
        admin::put_key(self.at, &self.made.identity, &owner, &key, version, &dek, policy)
            .await
            .unwrap();
    }

    /// Its owner changes a key's policy.
    pub async fn set_policy(&self, key: &str, version: u64, policy: &KeyPolicy) {
        let owner = hanzo_kbs::load_admin_key(&self.made.admin_key_path).unwrap();
        let key = KeyId::new(key).unwrap();
        admin::set_policy(self.at, &self.made.identity, &owner, &key, version, policy)
            .await
            .unwrap();
    }

    /// Copies what is on its disk, store and head file alike.
    pub fn state(&mut self) -> Vec<(PathBuf, Vec<u8>)> {
        self.stop();
        let state = STATE.map(|file| self.dir.join(file)).map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            (path, bytes)
        });
        self.restart();
        state.into()
    }

    /// Puts an earlier copy back.
    pub fn put_back(&mut self, state: &[(PathBuf, Vec<u8>)]) {
        self.stop();
        for (path, bytes) in state {
            std::fs::write(path, bytes).unwrap();
        }
        self.restart();
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }
}

/// Log lines as `hanzo-kbs` prints them, in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let lines = tracing_subscriber::fmt().json().with_writer(move || log.clone());
        tracing::subscriber::set_default(lines.finish())
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
