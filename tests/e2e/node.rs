//! A node of the chain that holds no key: as a process, and as the one program of a measured image under QEMU. Then a validator
//! there, with the key of its account from a broker: into the committee of the four.
//!
//! Four validator processes (`hanzo-validator-simulated`, beside `hanzo`) make the chain. The image needs QEMU 10, swtpm,
//! `HANZO_IMAGE_PACKAGES` (a directory with the pinned packages) and two static programs: `HANZO_IMAGE_GUEST` and
//! `HANZO_IMAGE_VALIDATOR`, or `image/hanzo-guest` and `image/hanzo-validator` in the target directory. What is missing is said loudly.
//!
//! The observer's image boots once, and the validator's; with `HANZO_IMAGE_REFUSALS` set the observer's once more, with the digest of another genesis in its configuration.

#[path = "../../image/tests/quote/broker.rs"]
mod broker;
#[path = "node/voting.rs"]
mod voting;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hanzo_attestation::Digest256;
use hanzo_image::assemble::Node;
use hanzo_image::fetch::Source;
use hanzo_image::inputs::COMMITTED;
use hanzo_image::run::{Accelerator, Machine, Report, Word};
use hanzo_image::{Inputs, Network, Parts, Profile, Recipe, build, predict, run, tpm};
use serde_json::{Value, json};

const HANZO: &str = env!("CARGO_BIN_EXE_hanzo");
/// What anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);
/// Where the node answers inside its machine.
const INSIDE: &str = "0.0.0.0:9650";

fn loudly(why: &str) {
    let _ = writeln!(
        std::io::stderr(),
        "\n*** NODE OF THE CHAIN NOT (WHOLLY) RUN: {why} ***\n"
    );
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < LIMIT, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// By its variable, or where scripts and CI leave it in the target directory.
fn program(variable: &str, places: &[&str]) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(named.into());
    }
    let target = Path::new(HANZO).parent()?.parent()?;
    let mut places = places.iter().map(|place| target.join(place));
    places.find(|path| path.is_file())
}

/// The result of a call, or the code of its refusal; `None` where nobody answers.
fn call(at: SocketAddr, method: &str, params: &Value) -> Option<Result<Value, String>> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let head = format!(
        "POST /v1/chain/rpc HTTP/1.1\r\nhost: {at}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok()?;
    let end = all.windows(4).position(|w| w == b"\r\n\r\n")?;
    let answer: Value = serde_json::from_slice(&all[end + 4..]).ok()?;
    Some(match answer["error"]["data"]["code"].as_str() {
        Some(code) => Err(code.to_owned()),
        None => Ok(answer["result"].clone()),
    })
}

fn result(at: SocketAddr, method: &str, params: &Value) -> Value {
    let answer = until(method, || call(at, method, params));
    answer.unwrap_or_else(|code| panic!("{method}: {code}"))
}

/// Four validators, stopped with the test.
struct Chain {
    dir: tempfile::TempDir,
    run: Child,
    /// The key of the TPM in the folder `tpm`.
    tpm: Option<Digest256>,
}

impl Drop for Chain {
    fn drop(&mut self) {
        let pid = i32::try_from(self.run.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.run.wait();
    }
}

impl Chain {
    /// With a TPM, whose key counts, if this machine can make one.
    fn start() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let private = fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        let net = dir.path().join("net");
        let tpm = tpm::make(&dir.path().join("tpm")).ok();
        let counts = tpm.map(|ak| ["--tpm-key".to_owned(), ak.to_string()]);
        let made = Command::new(HANZO)
            .args(["--json", "chain", "init"])
            .arg(&net)
            .args(["--base-port", "28500", "--epoch-blocks", "20"])
            .args(counts.into_iter().flatten())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", said(&made));
        let mut run = Command::new(HANZO)
            .args(["--json", "chain", "run"])
            .arg(&net)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
        let chain = Self { dir, run, tpm };
        let ready = lines.next().and_then(Result::ok).unwrap_or_default();
        assert!(ready.contains("\"ready\""), "the chain did not begin: {ready}");
        chain
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Where validator `n` answers.
    fn rpc(&self, n: usize) -> SocketAddr {
        let ready = fs::read(self.at(&format!("net/{n}/ready.json"))).unwrap();
        let ready: Value = serde_json::from_slice(&ready).unwrap();
        ready["rpc"].as_str().unwrap().parse().unwrap()
    }

    /// A node's configuration: two validators are followed, reached at `host`.
    fn config(&self, rpc: &str, hosts: &[String], host: &str) -> String {
        let status = result(self.rpc(0), "chain_status", &json!({}));
        let (network, genesis) = (&status["network"], status["genesis"].as_str().unwrap());
        let mut text = format!(
            "version = 1\nrole = \"observer\"\nnetwork = {network}\ngenesis = \"{genesis}\"\nrpc = \"{rpc}\"\nrpc_hosts = {hosts:?}\n"
        );
        for own in [self.rpc(0), self.rpc(1)] {
            text += &format!("[[follow]]\naddress = \"{host}:{}\"\nhost = \"{own}\"\n", own.port());
        }
        text
    }

    /// The node at `at` reaches a height that the validators had when it was asked, with their blocks, state and money, and hands a
    /// transaction on.
    fn followed_by(&self, at: SocketAddr) {
        let wanted = result(self.rpc(2), "chain_status", &json!({}))["height"]
            .as_u64()
            .unwrap();
        assert!(wanted > 0);
        let status = until("the node's height", || {
            let status = call(at, "chain_status", &json!({}))?.ok()?;
            (status["height"].as_u64()? >= wanted).then_some(status)
        });
        assert_eq!(status["node"]["account"], Value::Null, "it has no account");
        assert_eq!(
            (&status["node"]["votes"], &status["simulated"]),
            (&json!(false), &json!(true))
        );
        let same = ["id", "parent", "state_root", "tx_root", "proposer", "transactions"];
        for height in [1, wanted] {
            let at_height = json!({"height": height});
            let (own, theirs) = (
                result(at, "chain_block", &at_height),
                result(self.rpc(3), "chain_block", &at_height),
            );
            for member in same {
                assert_eq!(own[member], theirs[member], "block {height}: {member}");
            }
        }
        let supply = |at| result(at, "chain_supply", &json!({}))["max_supply"].clone();
        assert_eq!(supply(at), supply(self.rpc(0)));
        // It can be followed in turn, and proves what it says.
        assert!(result(at, "chain_final", &json!({"from": 1}))["blocks"].is_string());
        let genesis = self.at("net/genesis.bin");
        let proven = until("a proof", || {
            let done = Command::new(HANZO)
                .args([
                    "--json",
                    "chain",
                    "prove",
                    "block",
                    "--node",
                    &at.to_string(),
                    "--genesis",
                ])
                .arg(&genesis)
                .arg("--out")
                .arg(self.at("block.proof"))
                .output()
                .unwrap();
            done.status.success().then_some(done)
        });
        assert!(proven.status.success(), "{}", said(&proven));
    }
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}

/// A node as a process, killed with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn as_a_process(chain: &Chain, program: &Path) {
    let (dir, config) = (chain.at("observer"), chain.at("observer.toml"));
    fs::create_dir(&dir).unwrap();
    let good = chain.config("127.0.0.1:0", &[], "127.0.0.1");
    let command = |text: &str| {
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        command.arg("--dir").arg(&dir).arg("--observe").arg(&config);
        command.arg("--genesis").arg(chain.at("net/genesis.bin"));
        command
    };
    let digest = good.split('"').nth(3).unwrap();
    for (from, to, code) in [
        (digest, "00".repeat(32), "node.value"),
        ("network = 36964", "network = 36963".into(), "node.value"),
        (
            "version = 1",
            "version = 1\nwallet = \"w\"".into(),
            "node.config.malformed",
        ),
        ("\"observer\"", "\"validator\"".into(), "node.config.member"),
    ] {
        let text = good.replacen(from, &to, 1);
        assert_ne!(text, good, "{from}");
        let done = command(&text).output().unwrap();
        assert_eq!(done.status.code(), Some(2), "{to}: {}", said(&done));
        assert!(said(&done).contains(code), "{to}: {}", said(&done));
    }
    let alone = Command::new(program)
        .arg("--dir")
        .arg(&dir)
        .arg("--observe")
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(64), "{}", said(&alone));
    let running = Process(command(&good).stderr(Stdio::null()).spawn().unwrap());
    let ready = until("ready.json", || fs::read(dir.join("ready.json")).ok());
    let ready: Value = serde_json::from_slice(&ready).unwrap();
    chain.followed_by(ready["rpc"].as_str().unwrap().parse().unwrap());
    drop(running);
}

struct Made {
    parts: Parts,
    image: PathBuf,
    machine: Machine,
}

/// The image, and the machine that it boots on.
fn made(chain: &Chain, source: &Source, guest: &Path, validator: &Path) -> Result<Made, String> {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let config = chain.config(INSIDE, &[format!("127.0.0.1:{port}")], "10.0.2.2");
    let inputs = Inputs::parse(COMMITTED).unwrap();
    let parts = match Parts::gather(inputs, source, Profile::Core, guest, None, &|_| ()) {
        Err(error) if error.code() == "image.package.gone" => return Err(error.to_string()),
        parts => parts.unwrap(),
    };
    let node = Node::read(validator, &chain.at("net/genesis.bin")).unwrap();
    let parts = Parts {
        node: Some(node),
        ..parts
    };
    let image = chain.at("image");
    build(&parts, &recipe(config), &image, &|_| ()).unwrap();
    let machine = Machine {
        image: image.clone(),
        console: chain.at("console.log"),
        port,
        links: None,
        memory_mib: 1024,
        processors: 1,
        accelerator: Accelerator::Tcg,
        packs: Vec::new(),
        tpm: None,
    };
    Ok(Made { parts, image, machine })
}

fn recipe(config: String) -> Recipe {
    let network = Network {
        interface: "eth0".into(),
        address: "10.0.2.15".parse().unwrap(),
        prefix: 24,
        gateway: Some("10.0.2.2".parse().unwrap()),
    };
    Recipe::node(Profile::Core, config, network).unwrap()
}

fn in_a_measured_image(chain: &Chain, made: &Made) {
    let prediction = match predict::predict(&made.machine, &|_| ()) {
        Err(error) if error.code() == "image.tool" => return loudly(&error.to_string()),
        prediction => prediction.unwrap(),
    };
    // One byte more of its program: another archive, which PCR 9 tells, before anything boots.
    let mut changed = made.parts.clone();
    changed.node.as_mut().unwrap().program.push(0);
    let config = fs::read_to_string(made.image.join("manifest.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let config = config["recipe"]["config"].as_str().unwrap().to_owned();
    let other = chain.at("other");
    build(&changed, &recipe(config.clone()), &other, &|_| ()).unwrap();
    let elsewhere = Machine {
        image: other,
        ..made.machine.clone()
    };
    let another = predict::predict(&elsewhere, &|_| ()).unwrap();

    let (stop, (tell, told)) = (AtomicBool::new(false), mpsc::channel::<Report>());
    std::thread::scope(|scope| {
        let machine = scope.spawn(|| {
            let on_word = &mut |report: &Report| {
                let _ = tell.send(report.clone());
                true
            };
            run::run_and_tell(&made.machine, Some(&prediction), on_word, &stop, &|_| ())
        });
        let report = told.recv_timeout(LIMIT);
        if let Ok(report) = &report {
            let _ = writeln!(std::io::stderr(), "{report}");
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                assert_eq!(report.word, Word::Serving);
                assert!(report.as_predicted);
                chain.followed_by(SocketAddr::from(([127, 0, 0, 1], made.machine.port)));
                // A policy of the changed image refuses this boot.
                let error = predict::compare(&another, &report.registers, report.log.as_deref()).unwrap_err();
                let text = error.to_string();
                assert!(error.code() == "image.prediction" && text.contains("PCR 9"), "{text}");
                assert!(!text.contains("PCR 4"), "{text}");
            }));
            stop.store(true, Ordering::Relaxed);
            if let Err(panicked) = looked {
                let console = fs::read_to_string(&made.machine.console).unwrap_or_default();
                let _ = writeln!(std::io::stderr(), "{console}");
                std::panic::resume_unwind(panicked);
            }
        }
        stop.store(true, Ordering::Relaxed);
        machine.join().unwrap().unwrap();
        assert!(report.is_ok(), "no word");
    });

    if std::env::var_os("HANZO_IMAGE_REFUSALS").is_none() {
        return loudly("an image of another genesis: HANZO_IMAGE_REFUSALS is not set");
    }
    let foreign = chain.at("foreign");
    let digest = config.split('"').nth(3).unwrap();
    let config = config.replacen(digest, &"00".repeat(32), 1);
    build(&made.parts, &recipe(config), &foreign, &|_| ()).unwrap();
    let machine = Machine {
        image: foreign,
        ..made.machine.clone()
    };
    let Word::Refused { reason } = run::run(&machine, None, true, &|_| ()).unwrap().word else {
        panic!("a node of another chain serves");
    };
    assert!(reason.contains("node.value") && reason.contains("digest"), "{reason}");
}

#[test]
fn a_node_without_a_key_follows_the_chain_as_a_process_and_in_a_measured_image() {
    let simulated = Path::new(HANZO).with_file_name("hanzo-validator-simulated");
    if !simulated.is_file() {
        return loudly(
            "VALIDATORS NOT BUILT: `cargo build --manifest-path enclave/chain/validator/Cargo.toml` makes hanzo-validator-simulated",
        );
    }
    let chain = Chain::start();
    as_a_process(&chain, &simulated);

    let guests = ["image/hanzo-guest", "x86_64-unknown-linux-gnu/release/hanzo-guest"];
    let Some(packages) = std::env::var_os("HANZO_IMAGE_PACKAGES").map(PathBuf::from) else {
        return loudly("HANZO_IMAGE_PACKAGES names no directory with the pinned packages");
    };
    let Some(guest) = program("HANZO_IMAGE_GUEST", &guests) else {
        return loudly("no static hanzo-guest: run image/build-guest");
    };
    let Some(validator) = program("HANZO_IMAGE_VALIDATOR", &["image/hanzo-validator"]) else {
        return loudly("no static hanzo-validator: run image/build-validator");
    };
    if let Err(error) = run::check_tools() {
        return loudly(&error.to_string());
    }
    let source = Source::Archive {
        kept: std::path::absolute(packages).unwrap(),
        mirror: hanzo_image::fetch::MIRROR.into(),
    };
    match made(&chain, &source, &guest, &validator) {
        Ok(made) => {
            in_a_measured_image(&chain, &made);
            match chain.tpm {
                Some(ak) => voting::in_a_measured_image(&chain, &made.parts, &chain.at("tpm"), ak),
                None => loudly("a validator that votes: no software TPM"),
            }
        }
        Err(why) => loudly(&why),
    }
}
