//! All processes of an appliance and its host: broker, guest, proxy, each its own; and between client and proxy a host that
//! keeps every byte.
//!
//! ```text
//! client -> tap or relay -> hanzo-proxy -> guest -> doorman -> broker
//!                                            `-> engine
//! ```

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use hanzo_attestation::Digest256;
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::{InitOptions, Initialised, StoreMode, admin};
use hanzo_policy::PrivacyTier;
use hanzo_pqc::Dek;
use hanzo_simulated_tee::SimulatedProcessor;
use hanzo_vault::{KeyPolicy, Wrap};
use zeroize::Zeroizing;

use crate::appliance::{MODEL_KEY, STORE_KEY, config_text, name, now, policy, seal};
use crate::attack::{Field, Saw};
use crate::canary::{ANSWER, Needles};
use crate::door::Door;
use crate::doorman::Doorman;
use crate::relay::Relay;
use crate::role::{GuestRole, Part, Role, kill_engines};
use crate::scripted::{GO_FILE, PIDS_FILE};
use crate::site::{MODEL_DEK, STORE_DEK};
use crate::tap::Tap;

/// An address that nobody uses now, and no connection will: below the ports that systems give to connections. Sets that run side
/// by side get different ones.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16 % 64 * 256;
    loop {
        let port = 12_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst)) % 18_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// Addresses of the proxy.
pub struct ProxyAddresses {
    /// Attested connections.
    pub tls: SocketAddr,
    /// Sealed messages.
    pub clear: SocketAddr,
    /// Attested connections from peers that must send a PROXY header.
    pub headed: SocketAddr,
}

/// A running set; everything is killed when dropped.
pub struct Set {
    /// All files.
    pub dir: tempfile::TempDir,
    /// Before the proxy's attested way.
    pub tls: Tap,
    /// Before the proxy's clear way.
    pub clear: Tap,
    /// Before the tap of the clear way.
    pub relay: Relay,
    /// Between guest and broker.
    pub doorman: Doorman,
    /// The broker's own address.
    pub broker_at: SocketAddr,
    /// The proxy's own addresses.
    pub proxy_at: ProxyAddresses,
    /// The guest's own addresses.
    pub guest_at: [SocketAddr; 2],
    /// What a client knows.
    pub door: Door,
    /// The guest.
    pub guest: Mutex<Option<Part>>,
    /// The proxy.
    pub proxy: Mutex<Option<Part>>,
    /// The broker.
    pub broker: Mutex<Option<Part>>,
    role: GuestRole,
    boots: Mutex<u32>,
}

impl Drop for Set {
    fn drop(&mut self) {
        for part in [&self.guest, &self.proxy, &self.broker] {
            part.lock().unwrap_or_else(|e| e.into_inner()).take();
        }
        self.kill_engine();
    }
}

impl Set {
    /// Starts a healthy one.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same, whose keysets are followed by the next so many seconds before their end.
    pub async fn start_with(overlap_s: Option<u64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |file: &str| dir.path().join(file);
        let root = seal(&dir, &MODEL_DEK, &at("prompts"), "weights");
        let made = hanzo_kbs::init(&InitOptions {
            dir: at("kbs"),
            listen: free_address(),
            mode: StoreMode::Simulated,
            simulator_roots: vec![SimulatedProcessor::for_tests().ark_der().to_vec()],
        })
        .unwrap();
        let mut broker = Part::start(dir.path(), "broker", &Role::Broker(made.config_path.clone()));
        let said = broker
            .ready()
            .await
            .unwrap_or_else(|(_, log)| panic!("no broker: {log}"));
        let kbs_at: SocketAddr = serde_json::from_slice(&said).unwrap();
        let doorman = Doorman::start(kbs_at).await.unwrap();
        let config = config_text(2, &made.identity.signer, &root)
            .replace("concurrent_requests = 4", "concurrent_requests = 16")
            + "[sealed]\nohttp_x25519 = true\nehbp = true\n";
        std::fs::write(at("config.toml"), &config).unwrap();
        let config_digest = Digest256::of(config.as_bytes());
        put(&made, kbs_at, STORE_KEY, STORE_DEK, "receipts", config_digest).await;
        put(&made, kbs_at, MODEL_KEY, MODEL_DEK, &root.to_string(), config_digest).await;

        let guest_at = [free_address(), free_address()];
        let role = GuestRole {
            listen: guest_at[0].to_string(),
            sealed: guest_at[1].to_string(),
            kbs: doorman.at.to_string(),
            config: at("config.toml"),
            packs: at("packs"),
            store: at("guest.db"),
            runtime: at("run"),
            overlap_s,
        };
        let proxy_at = ProxyAddresses {
            tls: free_address(),
            clear: free_address(),
            headed: free_address(),
        };
        std::fs::write(at("proxy.toml"), proxy_config(dir.path(), &proxy_at, &guest_at)).unwrap();
        let (tls, clear) = (
            Tap::start(proxy_at.tls).await.unwrap(),
            Tap::start(proxy_at.clear).await.unwrap(),
        );
        let relay = Relay::start(clear.at).await.unwrap();
        let door = Door {
            tls: tls.at,
            clear: relay.at,
            config_digest,
        };
        let set = Self {
            dir,
            tls,
            clear,
            relay,
            doorman,
            broker_at: kbs_at,
            proxy_at,
            guest_at,
            door,
            guest: Mutex::default(),
            proxy: Mutex::default(),
            broker: Mutex::new(Some(broker)),
            role,
            boots: Mutex::default(),
        };
        set.start_proxy().await;
        set.boot().await;
        set
    }

    /// Starts the proxy, in the place of the one that is there.
    pub async fn start_proxy(&self) {
        let role = Role::Proxy(self.dir.path().join("proxy.toml"));
        self.proxy.lock().unwrap().take();
        let mut proxy = Part::start(self.dir.path(), "proxy", &role);
        proxy.ready().await.unwrap_or_else(|(_, log)| panic!("no proxy: {log}"));
        *self.proxy.lock().unwrap() = Some(proxy);
    }

    /// Starts the broker again.
    pub async fn start_broker(&self) {
        let role = Role::Broker(self.dir.path().join("kbs/kbs.toml"));
        self.broker.lock().unwrap().take();
        let mut broker = Part::start(self.dir.path(), "broker", &role);
        broker
            .ready()
            .await
            .unwrap_or_else(|(_, log)| panic!("no broker: {log}"));
        *self.broker.lock().unwrap() = Some(broker);
    }

    fn next_role(&self, addresses: [SocketAddr; 2], store: PathBuf) -> (String, Role) {
        let mut boots = self.boots.lock().unwrap();
        *boots += 1;
        let role = GuestRole {
            listen: addresses[0].to_string(),
            sealed: addresses[1].to_string(),
            runtime: self.dir.path().join(format!("run-{boots}")),
            store,
            ..self.role.clone()
        };
        (format!("guest-{boots}"), Role::Guest(role))
    }

    /// Boots the guest, in the place of the one that is there: its keyset.
    pub async fn boot(&self) -> Keyset {
        self.stop_guest();
        let (file, role) = self.next_role(self.guest_at, self.role.store.clone());
        let mut guest = Part::start(self.dir.path(), &file, &role);
        let keyset = guest.keyset().await;
        *self.guest.lock().unwrap() = Some(guest);
        keyset
    }

    /// Tries to boot another guest on a store of its own: `Whole` if it serves. It is killed again.
    pub async fn try_boot(&self) -> Saw {
        self.try_boot_from(self.doorman.at).await
    }

    /// The same, of a guest that asks this address for its keys.
    pub async fn try_boot_from(&self, kbs: SocketAddr) -> Saw {
        let store = self.dir.path().join(format!("try-{}.db", self.boots.lock().unwrap()));
        let (file, mut role) = self.next_role([free_address(), free_address()], store);
        if let Role::Guest(guest) = &mut role {
            guest.kbs = kbs.to_string();
        }
        let mut guest = Part::start(self.dir.path(), &file, &role);
        match guest.ready().await {
            Ok(_) => Saw::Whole(ANSWER.into()),
            Err((code, text)) => Saw::refused(code, text),
        }
    }

    /// Boots a clone: the same image and configuration, from a copy of the disk, at addresses of its own.
    pub async fn clone_guest(&self) -> (Part, [SocketAddr; 2], Keyset) {
        let store = self.dir.path().join("clone.db");
        for end in ["", "-wal", "-shm"] {
            let from = PathBuf::from(format!("{}{end}", self.role.store.display()));
            if from.exists() {
                std::fs::copy(from, format!("{}{end}", store.display())).unwrap();
            }
        }
        let addresses = [free_address(), free_address()];
        let (file, role) = self.next_role(addresses, store);
        let mut guest = Part::start(self.dir.path(), &file, &role);
        let keyset = guest.keyset().await;
        (guest, addresses, keyset)
    }

    /// Kills the guest with its engine.
    pub fn stop_guest(&self) {
        self.guest.lock().unwrap().take();
        self.kill_engine();
    }

    /// Kills every engine: how many.
    pub fn kill_engine(&self) -> usize {
        kill_engines(&self.dir.path().join(PIDS_FILE))
    }

    /// Kills the proxy.
    pub fn kill_proxy(&self) {
        self.proxy.lock().unwrap().take();
    }

    /// Kills the broker.
    pub fn kill_broker(&self) {
        self.broker.lock().unwrap().take();
    }

    fn noted(&self, what: &str) -> usize {
        let notes = std::fs::read_to_string(self.dir.path().join("prompts")).unwrap_or_default();
        notes.lines().filter(|l| *l == what).count()
    }

    /// How many prompts engines got.
    pub fn prompts(&self) -> usize {
        self.noted("prompt")
    }

    /// How many times an engine waited.
    pub fn waits(&self) -> usize {
        self.noted("waiting")
    }

    /// Lets waiting engines go on, or makes the next ones wait.
    pub fn go(&self, on: bool) {
        let file = self.dir.path().join(GO_FILE);
        match on {
            true => std::fs::write(file, "").unwrap(),
            false => drop(std::fs::remove_file(file)),
        }
    }

    /// What the proxy's metrics say.
    pub fn metrics(&self) -> Vec<u8> {
        use std::io::{Read as _, Write as _};
        let mut text = Vec::new();
        if let Ok(mut socket) = std::os::unix::net::UnixStream::connect(self.dir.path().join("m.sock")) {
            let _ = socket.set_read_timeout(Some(Duration::from_secs(2)));
            let _ = socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let _ = socket.read_to_end(&mut text);
        }
        text
    }
}

impl Field for Set {
    fn is_right(&self, answer: &str) -> bool {
        answer.contains(ANSWER)
    }

    fn leaks(&self) -> Vec<String> {
        let needles = Needles::default();
        let mut found = Vec::new();
        let mut look = |place: &str, hay: &[u8]| {
            let forms = needles.find(hay).into_iter();
            found.extend(forms.map(|form| format!("{form}: {place}")));
        };
        for (tap, place) in [(&self.tls, "attested way"), (&self.clear, "clear way")] {
            for seen in tap.seen() {
                look(place, &seen.to_guest);
                look(place, &seen.to_client);
            }
        }
        for (asked, answered) in self.relay.kept() {
            look("relay", &asked.body);
            look(
                "relay",
                format!("{:?} {:?} {}", asked.headers, answered.headers, asked.path).as_bytes(),
            );
            look("relay", &answered.body);
        }
        for passed in self.doorman.passed() {
            look("doorman", &passed.asked);
            look("doorman", &passed.answered);
        }
        look("metrics", &self.metrics());
        // All logs, stores and configurations. What a real guest opens in its own memory is not the host's.
        let runtime = self.dir.path().join("run");
        let is_memory = |path: &Path| path.to_string_lossy().starts_with(&*runtime.to_string_lossy());
        found.extend(needles.find_below(self.dir.path(), &is_memory));
        found
    }
}

async fn put(made: &Initialised, at: SocketAddr, key: &str, dek: [u8; 32], subject: &str, config_digest: Digest256) {
    let policy = KeyPolicy {
        allow_simulated: true,
        appraisal: policy(config_digest, PrivacyTier::CpuTee),
        grant_lifetime_s: 60,
        image_versions: Default::default(),
        max_uses: 1_000,
        minimum_image_version: 0,
        not_after: now().0 + 3600,
        not_before: 0,
        rego: None,
        subject: name(subject),
        tenant: name("hanzo"),
        wrap: vec![Wrap::Hpke],
    };
    let admin_key = hanzo_kbs::load_admin_key(&made.admin_key_path).unwrap();
    let (key, dek) = (KeyId::new(key).unwrap(), Dek::from_bytes(Zeroizing::new(dek)));
    admin::put_key(at, &made.identity, &admin_key, &key, 1, &dek, &policy)
        .await
        .unwrap();
}

fn proxy_config(dir: &Path, at: &ProxyAddresses, [tls, clear]: &[SocketAddr; 2]) -> String {
    let dir = dir.display();
    let pool = |name: &str, guest: &SocketAddr| {
        format!(
            "[pool.{name}]\nguests = [\"{guest}\"]\ndeadline_s = 1\n[pool.{name}.breaker]\nfailures = 1000000\n\
             [pool.{name}.health]\nfall = 100\nrise = 1\n"
        )
    };
    format!(
        "version = 1\nworkers = 1\nmetrics = \"unix:{dir}/m.sock\"\n\
         [log]\njson = true\nconnections = true\naddresses = true\n\
         [limits]\nclient_connections_per_s = 100000\nconnections_per_s = 100000\nclient_connections_max = 4000\nfirst_bytes_s = 1\n\
         [[listen]]\naddress = \"{}\"\npool = \"tls\"\n\
         [[listen]]\naddress = \"{}\"\npool = \"clear\"\n\
         [[listen]]\naddress = \"{}\"\npool = \"tls\"\nproxy_header_from = [\"127.0.0.0/8\"]\n{}{}",
        at.tls,
        at.clear,
        at.headed,
        pool("tls", tls),
        pool("clear", clear)
    )
}
