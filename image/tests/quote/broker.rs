//! The broker itself, in this process: its production mode, its own HTTP, its own audit.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use hanzo_attestation::Digest256;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::{InitOptions, Initialised, KbsConfig, KbsError, StoreMode, admin, check, init, load_admin_key, serve};
use hanzo_pqc::Dek;
use hanzo_vault::KeyPolicy;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

pub struct Broker {
    pub address: SocketAddr,
    pub made: Initialised,
    config: KbsConfig,
    running: Option<(oneshot::Sender<()>, JoinHandle<Result<(), KbsError>>)>,
}

impl Broker {
    /// One that believes these attestation keys and, besides the vendors' roots, nothing else.
    pub fn start(dir: &Path, tpm_keys: Vec<Digest256>) -> Self {
        let options = InitOptions {
            dir: dir.join("kbs"),
            listen: "127.0.0.1:0".parse().unwrap(),
            mode: StoreMode::Production,
            simulator_roots: Vec::new(),
        };
        let made = init(&options).unwrap();
        let mut config = KbsConfig::load(&made.config_path).unwrap();
        config.tpm_keys = tpm_keys;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let serving = config.clone();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let ended = async {
                let _ = stopped.await;
            };
            runtime.block_on(serve(serving, StoreMode::Production, ended, move |address| {
                ready.send(address).unwrap();
            }))
        });
        Self {
            address: is_ready.recv_timeout(Duration::from_secs(60)).unwrap(),
            made,
            config,
            running: Some((stop, thread)),
        }
    }

    pub fn put(&self, key: &str, policy: &KeyPolicy) {
        let dek = Dek::from_slice(&[42; 32]).unwrap();
        let owner = load_admin_key(&self.made.admin_key_path).unwrap();
        let key = KeyId::new(key).unwrap();
        let put = admin::put_key(self.address, &self.made.identity, &owner, &key, 1, &dek, policy);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(put).unwrap();
    }

    /// Stops it, checks its chain, and gives the decisions about `key`.
    pub fn decisions(&mut self, key: &str) -> Vec<Value> {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().unwrap().unwrap();
        }
        let mut lines = Vec::new();
        check(&self.config, StoreMode::Production, |line| {
            lines.push(serde_json::from_str::<Value>(line).unwrap());
        })
        .unwrap();
        let decided = |line: &Value| line["key_id"] == key && (line["action"] == "grant" || line["action"] == "refuse");
        lines.retain(decided);
        lines
    }
}
