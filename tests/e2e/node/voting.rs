//! A validator in a measured image: a real broker gives the key of its account to this image, and it
//! becomes a member of the committee. That another image gets none,
//! `image/tests/quote/validator.rs` shows.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use hanzo_attestation::Digest256;
use hanzo_attestation::name::Name;
use hanzo_image::reference::{Release, appraisal, key_policy};
use hanzo_image::run::{Accelerator, Machine, Report, Word};
use hanzo_image::{Parts, build, predict, run};
use hanzo_policy::AppraisalPolicy;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::{Chain, HANZO, LIMIT, call, loudly, recipe, result, said, until};

/// What the reference value is called.
const IMAGE: &str = "validator-e2e";
const KEY: &str = "hanzo/validator/five";
const SUBJECT: &str = "validator-five";
/// More than any of the four has at stake, so that it is in the next committee of four.
const BOND: &str = "2000000";
/// What its account gets: the bond and some fees.
const MONEY: &str = "3000000";

/// Ports of this machine that lead to one validator's.
#[derive(Clone, Copy)]
struct Ports {
    rpc: u16,
    links: u16,
}

fn free() -> Ports {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [rpc, links] = listeners.map(|listener| listener.local_addr().unwrap().port());
    Ports { rpc, links }
}

/// Its configuration: the four are its peers, reached at the host as QEMU shows it; whose evidence counts is what they ask of each other.
fn config(chain: &Chain, broker: &Broker, ports: Ports) -> String {
    let status = result(chain.rpc(0), "chain_status", &json!({}));
    let (network, genesis) = (&status["network"], status["genesis"].as_str().unwrap());
    let signer = &broker.made.identity.signer;
    let (suite, ml_dsa, ed25519) = (&signer.suite, &signer.ml_dsa, &signer.ed25519);
    let policy = fs::read_to_string(chain.at("net/policy.toml")).unwrap();
    let root = fs::read(chain.at("net/simulator.root.der")).unwrap();
    let root: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = format!(
        "version = 1\nrole = \"validator\"\nnetwork = {network}\ngenesis = \"{genesis}\"\nrpc = \"0.0.0.0:9650\"\n\
         rpc_hosts = [\"127.0.0.1:{}\"]\nlisten = \"0.0.0.0:9651\"\naddress = \"127.0.0.1:{}\"\nrequired_tier = 1\nbond = \"{BOND}\"\n\
         simulator_root = \"{root}\"\npolicy = '''\n{policy}'''\n[account]\nkey_id = \"{KEY}\"\nsubject = \"{SUBJECT}\"\n\
         [kbs]\naddress = \"10.0.2.2:{}\"\ngrant_lifetime_s = 60\n[kbs.signer]\nsuite = \"{suite}\"\nml_dsa = \"{ml_dsa}\"\n\
         ed25519 = \"{ed25519}\"\n",
        ports.rpc,
        ports.links,
        broker.address.port()
    );
    for n in 0..4 {
        let node = &result(chain.rpc(n), "chain_status", &json!({}))["node"];
        let file = fs::read_to_string(chain.at(&format!("net/{n}/validator.toml"))).unwrap();
        let listen = file
            .lines()
            .find_map(|line| line.strip_prefix("listen = \"127.0.0.1:"))
            .unwrap();
        let port = listen.trim_end_matches('"');
        text += &format!(
            "[[peer]]\naccount = {}\naddress = \"10.0.2.2:{port}\"\n",
            node["account"]
        );
    }
    text
}

/// A signal to the validators' processes that have `place` on their command line. Returns how many they are.
fn signal(place: &str, signal: Signal) -> usize {
    let mut told = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let is_validator = line
            .split('\0')
            .next()
            .is_some_and(|name| name.ends_with("hanzo-validator-simulated"));
        if let Some(pid) = Pid::from_raw(pid).filter(|_| is_validator && line.contains(place)) {
            kill_process(pid, signal).unwrap();
            told += 1;
        }
    }
    told
}

/// The four take this account's links, with the evidence of this image.
fn admit(chain: &Chain, account: &str, policy: &AppraisalPolicy, links: u16) {
    let file = chain.at("net/policy.toml");
    let mut own = AppraisalPolicy::from_toml(&fs::read(&file).unwrap()).unwrap();
    own.tpm = policy.tpm.clone();
    fs::write(&file, own.to_toml().unwrap()).unwrap();
    for n in 0..4 {
        let file = chain.at(&format!("net/{n}/validator.toml"));
        let mut text = fs::read_to_string(&file).unwrap();
        text += &format!("\n[[peer]]\naccount = \"{account}\"\naddress = \"127.0.0.1:{links}\"\n");
        fs::write(&file, text).unwrap();
    }
    let told = signal(&chain.at("net").display().to_string(), Signal::HUP);
    assert_eq!(told, 4, "validators that run");
}

/// The operator pays the account: all that it has to do.
fn fund(chain: &Chain, account: &str) {
    let done = Command::new(HANZO)
        .args(["--json", "chain", "tx", "--dir"])
        .arg(chain.at("net"))
        .arg("--wallet")
        .arg(chain.at("net/miner.wallet"))
        .arg("--passphrase-file")
        .arg(chain.at("net/passphrase"))
        .args(["transfer", account, MONEY])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", said(&done));
}

/// The chain has its key: the four appraised its evidence and endorsed it, it put its bond at stake, it is in a committee, and a block of
/// its own making is final; then one of the others stands still, and no block is final without its vote any more.
fn joins(chain: &Chain, at: SocketAddr, account: &str) {
    until("the image's validator votes", || {
        let status = call(at, "chain_status", &json!({}))?.ok()?;
        (status["node"]["votes"] == true).then_some(())
    });
    let found = until("the validators' word that it is one", || {
        let all = call(chain.rpc(1), "chain_validators", &json!({}))?.ok()?;
        let own = all["members"]
            .as_array()?
            .iter()
            .find(|member| member["account"] == account)?;
        (own["standing"] == "active" && own["incarnation"] == 1 && own["bonded"] == BOND).then_some(all)
    });
    let _ = writeln!(std::io::stderr(), "validators: {found}");
    let made = until("a final block that it proposed", || {
        let height = call(chain.rpc(2), "chain_status", &json!({}))?.ok()?["height"].as_u64()?;
        (height.saturating_sub(12)..=height).rev().find_map(|height| {
            let block = call(chain.rpc(2), "chain_block", &json!({"height": height}))?.ok()?;
            (block["proposer"] == account).then_some(block)
        })
    });
    let _ = writeln!(std::io::stderr(), "its block: {}", made["id"]);

    let members = found["members"].as_array().unwrap();
    assert_eq!((members.len(), &found["quorum"]), (4, &json!(3)), "{found}");
    let others: Vec<usize> = (0..4)
        .filter(|n| {
            let own = &result(chain.rpc(*n), "chain_status", &json!({}))["node"]["account"];
            members.iter().any(|member| member["account"] == *own)
        })
        .collect();
    let [still, asked, _] = others[..] else {
        panic!("three of the four are in the committee: {others:?}");
    };
    let place = chain.at(&format!("net/{still}")).display().to_string();
    assert_eq!(signal(&place, Signal::STOP), 1, "one process");
    let from = height(chain, asked).unwrap();
    until("blocks that only its vote makes final", || {
        (height(chain, asked)? > from + 6).then_some(())
    });
    assert_eq!(signal(&place, Signal::CONT), 1, "one process");
}

fn height(chain: &Chain, n: usize) -> Option<u64> {
    call(chain.rpc(n), "chain_status", &json!({}))?.ok()?["height"].as_u64()
}

struct Voter<'a> {
    chain: &'a Chain,
    broker: Broker,
    place: PathBuf,
    tpm: PathBuf,
    ports: Ports,
}

impl Voter<'_> {
    fn machine(&self, image: &str) -> Machine {
        Machine {
            image: self.place.join(image),
            console: self.place.join(format!("{image}.console")),
            port: self.ports.rpc,
            links: Some(self.ports.links),
            memory_mib: 1024,
            processors: 1,
            accelerator: Accelerator::Tcg,
            packs: Vec::new(),
            tpm: Some(self.tpm.clone()),
        }
    }

    fn votes(&self, predicted: &hanzo_measured_boot::prediction::Prediction, policy: &AppraisalPolicy) {
        let machine = self.machine("validator");
        let (stop, (tell, told)) = (AtomicBool::new(false), mpsc::channel::<Report>());
        std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                let on_word = &mut |report: &Report| {
                    let _ = tell.send(report.clone());
                    true
                };
                run::run_and_tell(&machine, Some(predicted), on_word, &stop, &|_| ())
            });
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let report = told.recv_timeout(LIMIT).expect("a word");
                let _ = writeln!(std::io::stderr(), "{report}");
                assert_eq!(report.word, Word::Serving);
                assert!(report.as_predicted);
                let at = SocketAddr::from(([127, 0, 0, 1], self.ports.rpc));
                let status = result(at, "chain_status", &json!({}));
                let account = status["node"]["account"].as_str().unwrap().to_owned();
                admit(self.chain, &account, policy, self.ports.links);
                fund(self.chain, &account);
                joins(self.chain, at, &account);
            }));
            stop.store(true, Ordering::Relaxed);
            let ended = running.join().unwrap();
            if let Err(panicked) = looked {
                let console = fs::read_to_string(&machine.console).unwrap_or_default();
                let _ = writeln!(std::io::stderr(), "{console}");
                std::panic::resume_unwind(panicked);
            }
            ended.unwrap();
        });
    }
}

/// `parts` are an observer's image's: the same program and genesis. `ak` is the key of the TPM at `tpm`.
pub fn in_a_measured_image(chain: &Chain, parts: &Parts, tpm: &Path, ak: Digest256) {
    let place = chain.at("voting");
    fs::create_dir(&place).unwrap();
    let voter = Voter {
        broker: Broker::start(&place, vec![ak]),
        tpm: tpm.to_owned(),
        ports: free(),
        chain,
        place,
    };
    let config = config(chain, &voter.broker, voter.ports);
    build(parts, &recipe(config), &voter.place.join("validator"), &|_| ()).unwrap();
    let predicted = match predict::predict(&voter.machine("validator"), &|_| ()) {
        Err(error) if error.code() == "image.tool" => return loudly(&error.to_string()),
        predicted => predicted.unwrap(),
    };
    let policy = appraisal(&voter.place.join("validator"), &predicted, IMAGE, vec![ak]).unwrap();
    let name = |text: &str| Name::new(text).unwrap();
    let release = Release {
        tenant: name("hanzo"),
        subject: name(SUBJECT),
        image_version: 1,
        max_uses: 10,
        not_after: (1 << 53) - 1,
    };
    voter.broker.put(KEY, &key_policy(policy.clone(), release).unwrap());

    voter.votes(&predicted, &policy);

    let Voter { mut broker, .. } = voter;
    let decided: Vec<Value> = broker
        .decisions(KEY)
        .iter()
        .map(|line| line["action"].clone())
        .collect();
    assert_eq!(decided, ["grant"]);
}
