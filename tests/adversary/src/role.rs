//! Guest, broker, proxy and client as processes of their own: the test program started again, with a part to play.
//!
//! The guest is `hanzo_guest::run` on the simulated processor, the broker `hanzo_kbs::serve`, the proxy what the program
//! `hanzo-proxy` calls. They can be killed, and all that they print is kept.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hanzo_attestation::Digest256;
use hanzo_attestation::keyset::Keyset;
use hanzo_guest::{DeviceTrust, GuestOptions, OperatingLimits, PlaintextStorage};
use hanzo_kbs::{KbsConfig, StoreMode};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use serde::{Deserialize, Serialize};

use crate::appliance::{IMAGE, Simulated, now};
use crate::door::{Door, WayIn};

/// The test of every test program here that plays parts.
const TEST: &str = "roles::role";

/// A part.
#[derive(Clone, Serialize, Deserialize)]
pub enum Role {
    /// A guest.
    Guest(GuestRole),
    /// A key broker of the simulated mode, with this configuration.
    Broker(PathBuf),
    /// A host proxy, with this configuration.
    Proxy(PathBuf),
    /// A broker of connections outside, with this configuration.
    Egress(PathBuf),
    /// A client that asks one question and waits for the whole answer.
    Client(Door, WayIn, String),
}

/// How a guest is started.
#[derive(Clone, Serialize, Deserialize)]
pub struct GuestRole {
    /// Where it serves.
    pub listen: String,
    /// Where it takes sealed messages in clear.
    pub sealed: String,
    /// Where it thinks its broker is.
    pub kbs: String,
    /// Its configuration.
    pub config: PathBuf,
    /// Its sealed models.
    pub packs: PathBuf,
    /// Its store.
    pub store: PathBuf,
    /// Where it opens models. Made anew at every start.
    pub runtime: PathBuf,
    /// As [`OperatingLimits::keyset_overlap_s`].
    pub overlap_s: Option<u64>,
}

fn argument(name: &str) -> Option<PathBuf> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.nth(1).map(PathBuf::from)
}

/// The command that starts the engine of a test program.
pub fn engine() -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    let arguments = ["--exact", TEST, "--nocapture", "--"];
    std::iter::once(program).chain(arguments.map(str::to_owned)).collect()
}

/// Ends this process soon after the one that started it, however that ends.
fn end_with_parent() {
    let parent = std::os::unix::process::parent_id();
    std::thread::spawn(move || {
        while std::os::unix::process::parent_id() == parent {
            std::thread::sleep(Duration::from_millis(500));
        }
        std::process::exit(1);
    });
}

/// Plays the part that the arguments name; returns at once if they name none.
pub fn play() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    };
    if let (Some(socket), Some(model)) = (argument("--socket"), argument("--model-dir")) {
        end_with_parent();
        runtime().block_on(crate::scripted::serve(&socket, &model)).unwrap();
        return;
    }
    let Some(file) = argument("--role") else { return };
    end_with_parent();
    let role: Role = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let log = tracing_subscriber::fmt().json().with_writer(std::io::stderr);
    log.with_max_level(tracing::Level::INFO).init();
    runtime().block_on(async {
        match role {
            Role::Guest(guest) => guest.run(&file).await,
            Role::Broker(config) => {
                let config = KbsConfig::load(&config).unwrap();
                let ready = |at: std::net::SocketAddr| told(&file, &at);
                let never = std::future::pending::<()>();
                hanzo_kbs::serve(config, StoreMode::Simulated, never, ready)
                    .await
                    .unwrap();
            }
            Role::Proxy(config) => {
                let config = hanzo_proxy::config::Config::load(&config).unwrap();
                let (_reload, reloads) = tokio::sync::mpsc::channel(1);
                let never = std::future::pending::<()>();
                hanzo_proxy::serve_config(config, reloads, never, |_| told(&file, &()))
                    .await
                    .unwrap();
            }
            Role::Egress(config) => {
                let config = hanzo_egress::config::Config::load(&config).unwrap();
                let never = std::future::pending::<()>();
                hanzo_egress::serve(config, never, |_| told(&file, &())).await.unwrap();
            }
            Role::Client(door, way, words) => {
                let prepared = door.prepare(way).await;
                told(&file, &());
                // Until the test has armed its host.
                while !file.with_extension("ask").exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let saw = match prepared {
                    Ok(prepared) => prepared.ask(&words).await,
                    Err(saw) => saw,
                };
                eprintln!("client: {}", saw.code());
            }
        }
    });
}

/// Says that it is ready, and what is to be known.
fn told<T: Serialize>(file: &Path, what: &T) {
    let (half, whole) = (file.with_extension("half"), file.with_extension("ready"));
    std::fs::write(&half, serde_json::to_vec(what).unwrap()).unwrap();
    std::fs::rename(half, whole).unwrap();
}

impl GuestRole {
    async fn run(self, file: &Path) {
        let config_digest = Digest256::of(&std::fs::read(&self.config).unwrap());
        let processor = SimulatedProcessor::for_tests();
        let guest = processor
            .launch(LaunchSpec::new(IMAGE, config_digest))
            .with_crl(processor.crl_der(now()));
        let options = GuestOptions {
            listen: self.listen.parse().unwrap(),
            vsock: None,
            sealed: Some(self.sealed.parse().unwrap()),
            kbs_addr: self.kbs,
            egress: None,
            config_path: self.config,
            packs: self.packs,
            store_path: self.store,
            runtime_dir: self.runtime,
            plaintext: PlaintextStorage::AnyFileSystem,
            engine_command: engine(),
            llama_command: None,
            upstream_command: None,
            sandbox: crate::engine::unconfined(),
            devices: DeviceTrust::default(),
            limits: OperatingLimits {
                drain_timeout_ms: 1_000,
                handshake_timeout_ms: 1_500,
                kbs_timeout_ms: 1_500,
                engine_restarts_max: 10_000,
                keyset_overlap_s: self.overlap_s,
                ..OperatingLimits::default()
            },
        };
        let never = std::future::pending::<()>();
        let done = hanzo_guest::run(options, Box::new(Simulated(guest)), never, |r| told(file, &r.keyset)).await;
        if let Err(error) = done {
            eprintln!("hanzo-guest: {error} [{}]", error.code());
            std::process::exit(i32::from(error.exit_code()));
        }
    }
}

/// A process that plays a part; killed when dropped.
pub struct Part {
    process: std::process::Child,
    file: PathBuf,
    log: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Part {
    /// Starts one. Its files lie in `dir` under `name`.
    pub fn start(dir: &Path, name: &str, role: &Role) -> Self {
        let file = dir.join(format!("{name}.role"));
        let log = dir.join(format!("{name}.log"));
        std::fs::write(&file, serde_json::to_vec(role).unwrap()).unwrap();
        for said in ["ready", "ask"] {
            let _ = std::fs::remove_file(file.with_extension(said));
        }
        let open = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture", "--", "--role"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(open.try_clone().unwrap())
            .stderr(open)
            .spawn()
            .unwrap();
        Self { process, file, log }
    }

    /// Waits until it is ready: what it says. If it ends instead: the last code in its log, and its log.
    pub async fn ready(&mut self) -> Result<Vec<u8>, (String, String)> {
        let start = Instant::now();
        loop {
            if let Ok(said) = std::fs::read(self.file.with_extension("ready")) {
                return Ok(said);
            }
            if self.ended().is_some() || start.elapsed() > Duration::from_secs(60) {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let line = log
                    .lines()
                    .rfind(|l| l.starts_with("hanzo-guest: "))
                    .unwrap_or_default();
                let code = line.rsplit_once('[').map_or("", |(_, code)| code.trim_end_matches(']'));
                let text = if line.is_empty() { log.clone() } else { line.to_owned() };
                return Err((code.to_owned(), text));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// As [`Part::ready`], for a guest: its keyset.
    pub async fn keyset(&mut self) -> Keyset {
        let said = self.ready().await.unwrap_or_else(|(_, log)| panic!("no guest: {log}"));
        serde_json::from_slice(&said).unwrap()
    }

    /// Lets a client ask.
    pub fn ask(&self) {
        std::fs::write(self.file.with_extension("ask"), "").unwrap();
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    /// Kills it, as the kernel would.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Kills every engine whose process is noted in `pids`: how many.
pub fn kill_engines(pids: &Path) -> usize {
    let noted = std::fs::read_to_string(pids).unwrap_or_default();
    let mut killed = 0;
    for pid in noted.lines() {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_ours =
            command.windows(8).any(|w| w == b"--socket") && command.windows(TEST.len()).any(|w| w == TEST.as_bytes());
        if is_ours {
            let done = Command::new("kill").args(["-9", pid]).status();
            killed += usize::from(done.is_ok_and(|status| status.success()));
        }
    }
    killed
}
