//! A broker in this process, a simulated guest, and HTTP by hand.
#![allow(dead_code, reason = "each test file uses a part")]

#[path = "../../../vault/tests/support/reached.rs"]
mod reached;

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hanzo_attestation::UnixTime;
use hanzo_attestation::bundle::{CpuEvidence, SnpEvidence};
use hanzo_attestation::name::{KeyId, Name};
use hanzo_kbs::admin::{self, AdminError};
use hanzo_kbs::{
    InitOptions, Initialised, KbsConfig, KbsError, StoreMode, check, init, init_with, load_admin_key, serve,
};
use hanzo_kbs_protocol::{ATTEST_PATH, AUTH_PATH, Expected, GrantError, GuestSession, OpenedGrant, resource_path};
use hanzo_pqc::Dek;
use hanzo_pqc::hpke::{KemSuite, PrivateKey};
use hanzo_pqc::sign::SigningKeys;
use hanzo_root::RootConfig;
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use hanzo_vault::KeyPolicy;
use reached::policy_at;
pub use reached::{CONFIG, IMAGE};

pub const DEK: [u8; 32] = [42; 32];

/// What the server's threads are called.
pub const SERVER_THREADS: &str = "kbs";

type Running = (tokio::sync::oneshot::Sender<()>, JoinHandle<Result<(), KbsError>>);

/// A broker that listens.
pub struct Broker {
    pub address: SocketAddr,
    pub made: Initialised,
    pub config: KbsConfig,
    pub mode: StoreMode,
    pub dir: tempfile::TempDir,
    running: Option<Running>,
}

impl Broker {
    /// A broker of the simulated mode that knows the test processor's root.
    pub fn simulated() -> Self {
        Self::start(StoreMode::Simulated, true, |_| {})
    }

    pub fn start(mode: StoreMode, with_root: bool, change: impl FnOnce(&mut KbsConfig)) -> Self {
        Self::start_at(mode, with_root, None, change)
    }

    /// With the store in the PostgreSQL database at `url`.
    pub fn start_at(mode: StoreMode, with_root: bool, url: Option<&str>, change: impl FnOnce(&mut KbsConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = InitOptions {
            dir: dir.path().join("kbs"),
            listen: "127.0.0.1:0".parse().unwrap(),
            mode,
            simulator_roots: match with_root {
                true => vec![SimulatedProcessor::for_tests().ark_der().to_vec()],
                false => Vec::new(),
            },
        };
        let made = match url {
            None => init(&options),
            Some(_) => init_with(&options, RootConfig::KeyFile { path: "kbs.key".into() }, url),
        };
        let made = made.unwrap();
        let mut config = KbsConfig::load(&made.config_path).unwrap();
        change(&mut config);
        let mut broker = Self {
            address: "127.0.0.1:0".parse().unwrap(),
            made,
            config,
            mode,
            dir,
            running: None,
        };
        broker.restart().unwrap();
        broker
    }

    /// Another broker over the same store, with a head file of its own.
    pub fn replica(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = self.config.clone();
        config.head_file = dir.path().join("kbs.head");
        std::fs::copy(&self.config.head_file, &config.head_file).unwrap();
        let mut replica = Self {
            address: self.address,
            made: self.made.clone(),
            config,
            mode: self.mode,
            dir,
            running: None,
        };
        replica.restart().unwrap();
        replica
    }

    pub fn restart(&mut self) -> Result<(), KbsError> {
        self.stop();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let (config, mode) = (self.config.clone(), self.mode);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name(SERVER_THREADS)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(
                config,
                mode,
                async {
                    let _ = stopped.await;
                },
                move |address| ready.send(address).unwrap(),
            ))
        });
        match is_ready.recv_timeout(Duration::from_secs(20)) {
            Ok(address) => {
                self.address = address;
                self.running = Some((stop, thread));
                Ok(())
            }
            Err(_) => Err(thread.join().unwrap().unwrap_err()),
        }
    }

    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().unwrap().unwrap();
        }
    }

    pub fn admin(&self) -> SigningKeys {
        load_admin_key(&self.made.admin_key_path).unwrap()
    }

    pub fn put(&self, key: &str, version: u64, policy: &KeyPolicy) -> Result<(), AdminError> {
        let dek = Dek::from_slice(&DEK).unwrap();
        let (admin, key) = (self.admin(), KeyId::new(key).unwrap());
        let put = admin::put_key(self.address, &self.made.identity, &admin, &key, version, &dek, policy);
        block_on(put).map(drop)
    }

    pub fn set_policy(&self, key: &str, version: u64, policy: &KeyPolicy) -> Result<(), AdminError> {
        let (admin, key) = (self.admin(), KeyId::new(key).unwrap());
        let set = admin::set_policy(self.address, &self.made.identity, &admin, &key, version, policy);
        block_on(set).map(drop)
    }

    /// Stops the broker and reads its audit lines, without those that tell of a tenant's first KEK.
    pub fn audit(&mut self) -> Vec<serde_json::Value> {
        let mut lines = self.audit_whole();
        lines.retain(|line| line["action"] != "new-kek");
        lines
    }

    /// Stops the broker and reads all its audit lines.
    pub fn audit_whole(&mut self) -> Vec<serde_json::Value> {
        self.stop();
        let mut lines = Vec::new();
        check(&self.config, self.mode, |line| {
            lines.push(serde_json::from_str(line).unwrap());
        })
        .unwrap();
        lines
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// The policy that the healthy guest reaches.
pub fn policy() -> KeyPolicy {
    policy_at(now(), subject())
}

pub fn subject() -> Name {
    Name::new(&"ab".repeat(32)).unwrap()
}

pub fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// A guest with its wrapping key.
pub struct Guest {
    pub key: PrivateKey,
    pub session: GuestSession,
    pub cookie: String,
    pub spec: LaunchSpec,
    pub attest: Vec<u8>,
}

impl Guest {
    pub fn new() -> Self {
        Self::launched(LaunchSpec::new(IMAGE, CONFIG))
    }

    pub fn launched(spec: LaunchSpec) -> Self {
        let key = PrivateKey::generate(KemSuite::Xwing).unwrap();
        let session = GuestSession::new(key.public_key());
        Self {
            key,
            session,
            cookie: String::new(),
            spec,
            attest: Vec::new(),
        }
    }

    pub fn evidence(&self, report_data: &[u8; 64]) -> SnpEvidence {
        SimulatedProcessor::for_tests()
            .launch(self.spec.clone())
            .evidence(report_data)
    }

    /// `auth`, then an `attest` body, not yet sent.
    pub fn challenged(mut self, address: SocketAddr) -> Self {
        let reply = http(address, "POST", AUTH_PATH, "", &self.session.auth_body());
        assert_eq!(reply.status, 200, "{}", reply.text());
        self.cookie = reply.cookie.clone().unwrap();
        let spec = self.spec.clone();
        let body = self.session.attest_body(&reply.body, |request| {
            let guest = SimulatedProcessor::for_tests().launch(spec);
            Ok::<_, std::convert::Infallible>(CpuEvidence::Snp(guest.evidence(request.report_data())))
        });
        self.attest = body.unwrap();
        self
    }

    pub fn attested(self, address: SocketAddr) -> Self {
        let guest = self.challenged(address);
        let reply = guest.send_attest(address);
        assert_eq!(reply.status, 200, "{}", reply.text());
        guest
    }

    pub fn send_attest(&self, address: SocketAddr) -> Reply {
        http(address, "POST", ATTEST_PATH, &self.cookie, &self.attest)
    }

    pub fn ask(&self, address: SocketAddr, key: &str) -> Reply {
        let path = resource_path(&KeyId::new(key).unwrap());
        http(address, "GET", &path, &self.cookie, b"")
    }

    pub fn open(&self, reply: &[u8], broker: &Broker, key: &str) -> Result<OpenedGrant, GrantError> {
        self.session.open_wrapped(
            reply,
            &self.key,
            &broker.made.identity.verifying_keys().unwrap(),
            Expected {
                key_id: &KeyId::new(key).unwrap(),
                subject: &subject(),
                min_tier: 2,
            },
            now(),
            now(),
            60,
        )
    }
}

pub struct Reply {
    pub status: u16,
    pub cookie: Option<String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and code of an error reply, which must have RCAR's shape.
    pub fn error(&self) -> (u16, String) {
        let json = self.json();
        let information: hanzo_kbs_protocol::ErrorInformation = serde_json::from_value(json.clone()).unwrap();
        assert!(
            information
                .error_type
                .starts_with(hanzo_kbs_protocol::ERROR_TYPE_PREFIX)
        );
        (self.status, json["code"].as_str().unwrap().to_owned())
    }
}

pub fn http(address: SocketAddr, method: &str, path: &str, cookie: &str, body: &[u8]) -> Reply {
    try_http(address, method, path, cookie, body).expect("a whole reply")
}

/// As [`http`]. Whatever is less than a whole reply is an error.
pub fn try_http(address: SocketAddr, method: &str, path: &str, cookie: &str, body: &[u8]) -> std::io::Result<Reply> {
    let short = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(40)))?;
    let cookie = match cookie {
        "" => String::new(),
        cookie => format!("Cookie: {cookie}\r\n"),
    };
    // As the stock client: resources are bytes, everything else is JSON.
    let media = match path.starts_with("/kbs/v0/resource/") {
        true => "application/octet-stream",
        false => "application/json",
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {media}\r\n{cookie}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    // A body that is too long is refused before its end.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(short)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let field = |name: &str| {
        head.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    };
    let body = bytes[end + 4..].to_vec();
    if field("content-length").is_some_and(|n| n.parse() != Ok(body.len())) {
        return Err(short());
    }
    let set_cookie = field("set-cookie");
    if let Some(set) = set_cookie {
        for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(set.contains(part), "{set}");
        }
    }
    Ok(Reply {
        status: head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(short)?,
        cookie: set_cookie.map(|c| c.split(';').next().unwrap().to_owned()),
        body,
    })
}

/// A connection from another loopback address than 127.0.0.1: another peer.
pub fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    connect(&socket, &to).unwrap();
    TcpStream::from(socket)
}

/// Where the shared vectors are, if this checkout has them.
pub fn vectors() -> Option<&'static Path> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/kbs"));
    let found = path.is_dir().then_some(path);
    if found.is_none() {
        let _ = writeln!(std::io::stderr(), "VECTORS MISSING {}: not run", path.display());
    }
    found
}
