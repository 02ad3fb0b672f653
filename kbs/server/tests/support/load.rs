//! Owners and guests that keep a broker busy, and what they remember of its answers when it is gone.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::admin::{self, AdminError};
use hanzo_kbs::{KbsIdentity, load_admin_key};
use hanzo_kbs_protocol::{ATTEST_PATH, AUTH_PATH, Expected, GuestSession, resource_path};
use hanzo_pqc::Dek;
use hanzo_pqc::hpke::{KemSuite, PrivateKey};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};

use crate::harness::{Broker, CONFIG, DEK, IMAGE, Reply, block_on, now, policy, subject, try_http};

/// Everybody wants this key, and few get it.
pub const SCARCE: &str = "hanzo/dek/scarce";
/// How often [`SCARCE`] may be used.
pub const SCARCE_USES: u64 = 10;
const OWNERS: usize = 2;
const GUESTS: usize = 3;

/// The key that one guest thread asks for besides.
pub fn plenty(guest: usize) -> String {
    format!("hanzo/dek/plenty-{guest}")
}

/// What somebody was told: it holds whatever happens to the broker afterwards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// As in the audit line.
    pub action: &'static str,
    pub key: String,
    /// Of a guest: its wrapping key's digest.
    pub recipient: Option<String>,
}

/// What a broker may answer while it cannot decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// It is killed: connections end. Nothing else is acceptable, and a client that sees it is done.
    Killed,
    /// Its database is away: 503 with the store's code, and clients go on.
    Database,
}

/// Where the broker is, and who may change its keys.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub identity: KbsIdentity,
    pub admin_key: PathBuf,
    pub outage: Outage,
}

/// What all clients together saw.
#[derive(Debug, Default)]
pub struct Heard {
    pub told: Vec<Told>,
    /// Answers that said that the database is away.
    pub away: u64,
}

impl Heard {
    pub fn count(&self, action: &str) -> usize {
        self.told.iter().filter(|t| t.action == action).count()
    }
}

/// The keys that guests will ask for.
pub fn prepare(broker: &Broker) {
    let mut scarce = policy();
    scarce.max_uses = SCARCE_USES;
    broker.put(SCARCE, 1, &scarce).unwrap();
    let mut many = policy();
    many.max_uses = 1000;
    (0..GUESTS).for_each(|guest| broker.put(&plenty(guest), 1, &many).unwrap());
}

enum Ended {
    /// The broker is gone.
    Gone,
    /// It said that it cannot decide now.
    Away,
}

impl Load {
    /// Clients work until `stop`, or until the broker is gone. `acknowledged` counts while they do.
    pub fn run(&self, round: u64, stop: &AtomicBool, acknowledged: &AtomicU64) -> Heard {
        let (report, reports) = std::sync::mpsc::channel();
        let away = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for client in 0..OWNERS + GUESTS {
                let (report, away) = (report.clone(), &away);
                scope.spawn(move || {
                    let mut say = |told| {
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                        report.send(told).unwrap();
                    };
                    for n in 0.. {
                        let done = match client.checked_sub(OWNERS) {
                            None => self.own(&format!("r{round}-{client}-{n}"), n, &mut say),
                            Some(guest) if n % 2 == 0 => self.ask(&plenty(guest), &mut say),
                            Some(_) => self.ask(SCARCE, &mut say),
                        };
                        match done {
                            Err(Ended::Gone) => return,
                            Err(Ended::Away) => {
                                away.fetch_add(1, Ordering::SeqCst);
                                std::thread::sleep(Duration::from_millis(20));
                            }
                            Ok(()) => {}
                        }
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                });
            }
        });
        drop(report);
        Heard {
            told: reports.iter().collect(),
            away: away.into_inner(),
        }
    }

    /// An owner puts a key, and ends every third one.
    fn own(&self, tag: &str, n: u64, say: &mut impl FnMut(Told)) -> Result<(), Ended> {
        let name = format!("hanzo/dek/{tag}");
        let (key, owner) = (KeyId::new(&name).unwrap(), load_admin_key(&self.admin_key).unwrap());
        let dek = Dek::from_slice(&DEK).unwrap();
        let told = |action| Told {
            action,
            key: name.clone(),
            recipient: None,
        };
        let policy = policy();
        let put = admin::put_key(self.address, &self.identity, &owner, &key, 1, &dek, &policy);
        self.owned(block_on(put).map(drop))?;
        say(told("put-key"));
        if n.is_multiple_of(3) {
            let revoke = admin::revoke(self.address, &self.identity, &owner, &key, 1);
            self.owned(block_on(revoke).map(drop))?;
            say(told("revoke"));
        }
        Ok(())
    }

    fn owned(&self, outcome: Result<(), AdminError>) -> Result<(), Ended> {
        match (outcome, self.outage) {
            (Ok(()), _) => Ok(()),
            (Err(AdminError::Unreachable { .. }), Outage::Killed) => Err(Ended::Gone),
            (Err(AdminError::Refused { code, .. }), Outage::Database) if is_away(&code) => Err(Ended::Away),
            (Err(e), _) => panic!("an owner was told: {e} [{}]", e.code()),
        }
    }

    /// A new guest attests and asks for one key.
    fn ask(&self, name: &str, say: &mut impl FnMut(Told)) -> Result<(), Ended> {
        let key = PrivateKey::generate(KemSuite::Xwing).unwrap();
        let mut session = GuestSession::new(key.public_key());
        let reply = self.http("POST", AUTH_PATH, "", &session.auth_body())?;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let cookie = reply.cookie.unwrap();
        let body = session.attest_body(&reply.body, |request| {
            let guest = SimulatedProcessor::for_tests().launch(LaunchSpec::new(IMAGE, CONFIG));
            Ok::<_, std::convert::Infallible>(CpuEvidence::Snp(guest.evidence(request.report_data())))
        });
        let reply = self.http("POST", ATTEST_PATH, &cookie, &body.unwrap())?;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let key_id = KeyId::new(name).unwrap();
        let reply = self.http("GET", &resource_path(&key_id), &cookie, b"")?;
        let recipient = hanzo_kbs_protocol::recipient(key.public_key()).to_string();
        let told = |action| Told {
            action,
            key: name.to_owned(),
            recipient: Some(recipient),
        };
        if reply.status == 200 {
            // A grant is one that opens.
            let opened = session.open_wrapped(
                &reply.body,
                &key,
                &self.identity.verifying_keys().unwrap(),
                Expected {
                    key_id: &key_id,
                    subject: &subject(),
                    min_tier: 2,
                },
                now(),
                now(),
                60,
            );
            assert_eq!(opened.unwrap().dek.expose(), &DEK);
            say(told("grant"));
            return Ok(());
        }
        assert_eq!(reply.error(), (403, "kbs.key.used_up".into()));
        assert_eq!(name, SCARCE);
        say(told("refuse"));
        Ok(())
    }

    /// A reply that is whole, and not about the outage.
    fn http(&self, method: &str, path: &str, cookie: &str, body: &[u8]) -> Result<Reply, Ended> {
        let reply = match try_http(self.address, method, path, cookie, body) {
            Ok(reply) => reply,
            Err(_) if self.outage == Outage::Killed => return Err(Ended::Gone),
            Err(e) => panic!("{method} {path}: {e}: the broker itself is there"),
        };
        if reply.status < 500 {
            return Ok(reply);
        }
        let (status, code) = reply.error();
        assert!(
            self.outage == Outage::Database && status == 503 && is_away(&code),
            "{method} {path}: {status} {code}"
        );
        Err(Ended::Away)
    }
}

fn is_away(code: &str) -> bool {
    ["store.connection", "store.busy"].contains(&code)
}

/// What a fence's file remembers: the newer of its lines.
pub fn fenced(path: &Path) -> (u64, String) {
    let text = fs::read_to_string(path).unwrap();
    let heads = text.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[2].parse().unwrap(), words[3].to_owned())
    });
    heads.max().unwrap()
}

/// Makes a fence's file one of an earlier version, which the next write replaces whole.
pub fn of_earlier_version(path: &Path) {
    let (seq, hash) = fenced(path);
    fs::write(path, format!("hanzo-kbs-head v1 {seq} {hash}\n")).unwrap();
}

/// What the audit chain tells, by what it is about.
pub struct Chain {
    /// (action, key, party) to the numbers of its lines.
    lines: BTreeMap<(String, String, String), Vec<u64>>,
    pub newest: u64,
}

impl Chain {
    pub fn new(lines: &[serde_json::Value]) -> Self {
        let mut of = BTreeMap::<_, Vec<u64>>::new();
        let text = |line: &serde_json::Value, member: &str| line[member].as_str().unwrap().to_owned();
        for line in lines {
            let about = (text(line, "action"), text(line, "key_id"), text(line, "party"));
            of.entry(about).or_default().push(line["seq"].as_u64().unwrap());
        }
        Self {
            lines: of,
            newest: lines.len() as u64,
        }
    }

    /// Grants of a key.
    pub fn grants(&self, key: &str) -> u64 {
        let of_key = self.lines.iter().filter(|((a, k, _), _)| a == "grant" && k == key);
        of_key.map(|(_, lines)| lines.len() as u64).sum()
    }

    /// Everything that was acknowledged has exactly one line, and no reply left before every fence held it.
    pub fn must_hold(&self, told: &[Told], fences: &[u64]) {
        for t in told {
            let numbers: Vec<u64> = match &t.recipient {
                Some(party) => {
                    let about = (t.action.to_owned(), t.key.clone(), party.clone());
                    self.lines.get(&about).cloned().unwrap_or_default()
                }
                None => {
                    let of_key = self.lines.iter().filter(|((a, k, _), _)| a == t.action && *k == t.key);
                    of_key.flat_map(|(_, numbers)| numbers.clone()).collect()
                }
            };
            let [seq] = numbers[..] else {
                panic!("{t:?} was acknowledged and has {} lines", numbers.len());
            };
            for fence in fences {
                assert!(
                    seq <= *fence,
                    "{t:?} is decision {seq}, and left before the fence, which holds {fence}"
                );
            }
        }
        assert!(self.grants(SCARCE) <= SCARCE_USES, "{} uses", self.grants(SCARCE));
    }

    /// The uses that the broker goes on from are the lines of the chain.
    pub fn must_be_counted(&self, load: &Load) {
        let owner = load_admin_key(&load.admin_key).unwrap();
        for name in (0..GUESTS).map(plenty).chain([SCARCE.to_owned()]) {
            let key = KeyId::new(&name).unwrap();
            let told = block_on(admin::get_policy(load.address, &load.identity, &owner, &key)).unwrap();
            assert_eq!(told.key.uses, self.grants(&name), "uses of {name}");
        }
    }
}
