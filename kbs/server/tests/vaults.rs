//! Rotation, destruction and the heads of guests' stores, asked of a running broker by admins.

#[path = "support/harness.rs"]
mod harness;

use std::process::{Command, Output};
use std::time::Duration;

use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest256, Digest384, Nonce};
use hanzo_kbs::admin::{self, AdminError, AdminKey, AdminReply, Role, RotationStatus};
use hanzo_kbs::{Shredded, Standing, StoreMode};
use hanzo_kbs_protocol::heads::{HEADS_PATH, HeldLease, StoreHead};
use hanzo_policy::AllowList;
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Dek, SignatureSuite};
use harness::{Broker, DEK, Guest, block_on, http, policy};

const KEY: &str = "hanzo/dek/m";
const BIN: &str = env!("CARGO_BIN_EXE_hanzo-kbs");

struct Person {
    keys: SigningKeys,
    pinned: AdminKey,
}

fn person(name: &str, role: Role, tenants: &[&str]) -> Person {
    let keys = SigningKeys::generate(SignatureSuite::MlDsa65Ed25519).unwrap();
    let public = keys.verifying_keys();
    Person {
        pinned: AdminKey {
            name: Name::new(name).unwrap(),
            roles: vec![role],
            tenants: AllowList::Listed(tenants.iter().map(|t| Name::new(t).unwrap()).collect()),
            suite: public.suite().name().to_owned(),
            ml_dsa: public.ml_dsa_hex(),
            ed25519: public.ed25519_hex(),
        },
        keys,
    }
}

struct Office {
    broker: Broker,
    alice: Person,
    other: Person,
    operator: Person,
    auditor: Person,
}

type Code<T> = Result<T, String>;

fn code<T>(outcome: Result<T, AdminError>) -> Code<T> {
    outcome.map_err(|e| e.code().to_owned())
}

fn tenant() -> Name {
    Name::new("hanzo").unwrap()
}

impl Office {
    fn new() -> Self {
        let alice = person("alice", Role::TenantAdmin, &["hanzo"]);
        let other = person("other", Role::TenantAdmin, &["other"]);
        let operator = person("operator", Role::Operator, &[]);
        let auditor = person("auditor", Role::Auditor, &[]);
        let keys = [&alice, &other, &operator, &auditor].map(|p| p.pinned.clone());
        let broker = Broker::start(StoreMode::Simulated, true, |c| {
            c.admin_keys = keys.to_vec();
            c.four_eyes = true;
        });
        Self {
            broker,
            alice,
            other,
            operator,
            auditor,
        }
    }

    fn put(&self, key: &str, version: u64) {
        let (dek, key) = (Dek::from_slice(&DEK).unwrap(), KeyId::new(key).unwrap());
        let (at, id) = (self.broker.address, &self.broker.made.identity);
        let mut policy = policy();
        // The same in every second of the test.
        policy.not_after = 1 << 40;
        let put = admin::put_key(at, id, &self.alice.keys, &key, version, &dek, &policy);
        assert_eq!(block_on(put).unwrap().proposal, None);
    }

    fn rotate(&self, who: &Person) -> Code<AdminReply> {
        let (at, id) = (self.broker.address, &self.broker.made.identity);
        code(block_on(admin::rotate_kek(at, id, &who.keys, &tenant())))
    }

    fn shred(&self, who: &Person, what: &Shredded) -> Code<AdminReply> {
        let (at, id) = (self.broker.address, &self.broker.made.identity);
        code(block_on(admin::shred(at, id, &who.keys, what)))
    }

    fn approve(&self, who: &Person, proposal: Option<Digest384>) -> Code<AdminReply> {
        let (at, id) = (self.broker.address, &self.broker.made.identity);
        code(block_on(admin::approve(at, id, &who.keys, proposal.unwrap())))
    }

    fn changes(&self) -> Vec<String> {
        let (at, id) = (self.broker.address, &self.broker.made.identity);
        let list = block_on(admin::pending(at, id, &self.operator.keys)).unwrap();
        list.proposals.into_iter().flat_map(|p| p.changes).collect()
    }

    fn ended(&self, id: Nonce) -> RotationStatus {
        loop {
            let status = block_on(admin::rotation(self.broker.address, id)).unwrap();
            if status.report.is_some() || status.code.is_some() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn shredded(key: &str, version: u64) -> Shredded {
    Shredded::Key(KeyId::new(key).unwrap(), version)
}

#[test]
fn a_rotation_is_proposed_approved_and_followed_while_keys_are_released() {
    let mut office = Office::new();
    for n in 0..40 {
        office.put(&format!("hanzo/dek/k{n}"), 1);
    }
    let at = office.broker.address;
    let guest = Guest::new().attested(at);
    for who in [&office.auditor, &office.other] {
        assert_eq!(office.rotate(who).unwrap_err(), "kbs.admin.role");
    }
    let proposed = office.rotate(&office.alice).unwrap();
    assert_eq!(
        (&proposed.tenant, &proposed.key_id, proposed.rotation),
        (&tenant(), &None, None)
    );
    assert_eq!(office.changes(), ["KEK of hanzo: version 1 -> 2, 40 secrets are moved"]);
    let denied = |who: &Person| office.approve(who, proposed.proposal).unwrap_err();
    assert_eq!(denied(&office.alice), "kbs.proposal.same_admin");
    assert_eq!(denied(&office.other), "kbs.admin.role");
    let id = office
        .approve(&office.operator, proposed.proposal)
        .unwrap()
        .rotation
        .unwrap();
    assert_eq!(guest.ask(at, "hanzo/dek/k7").status, 200);
    let status = office.ended(id);
    let report = status.report.unwrap();
    assert_eq!((report.kek_version, report.destroyed, report.resumed), (2, 1, false));
    assert!(report.moved >= 39 && status.moved == report.moved, "{report:?}");
    assert_eq!(guest.ask(at, "hanzo/dek/k8").status, 200);
    assert_eq!(denied(&office.operator), "kbs.proposal.done");

    // Of another rotation nobody knows, and who proposed on an older KEK proposes again.
    let unknown = block_on(admin::rotation(at, Nonce([7; 32])));
    assert_eq!(code(unknown).unwrap_err(), "kbs.rotation.unknown");
    let nobody = http(at, "GET", "/hanzo/v1/admin/rotations/x", "", b"");
    assert_eq!(nobody.error(), (404, "kbs.rotation.unknown".into()));
    let (one, two) = (
        office.rotate(&office.alice).unwrap(),
        office.rotate(&office.alice).unwrap(),
    );
    let id = office
        .approve(&office.operator, one.proposal)
        .unwrap()
        .rotation
        .unwrap();
    assert_eq!(office.ended(id).report.unwrap().kek_version, 3);
    assert_eq!(
        office.approve(&office.operator, two.proposal).unwrap_err(),
        "kbs.proposal.outdated"
    );
    let (address, identity) = (office.broker.address, &office.broker.made.identity);
    let nothing = block_on(admin::rotate_kek(
        address,
        identity,
        &office.operator.keys,
        &Name::new("nobody").unwrap(),
    ));
    assert_eq!(code(nothing).unwrap_err(), "kbs.tenant.none");

    let lines = office.broker.audit();
    let asked: Vec<_> = lines.iter().filter(|l| l["action"] == "rotate-kek").collect();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0]["key_id"], "hanzo");
    assert_ne!(asked[0]["party"], "00".repeat(48));
}

#[test]
fn what_is_destroyed_needs_two_admins_and_is_gone() {
    let mut office = Office::new();
    office.put(KEY, 1);
    office.put(KEY, 2);
    let at = office.broker.address;
    for who in [&office.auditor, &office.other] {
        assert_eq!(office.shred(who, &shredded(KEY, 2)).unwrap_err(), "kbs.admin.role");
    }
    assert_eq!(
        office.shred(&office.alice, &shredded(KEY, 3)).unwrap_err(),
        "kbs.key.unknown"
    );
    let proposed = office.shred(&office.alice, &shredded(KEY, 2)).unwrap();
    assert_eq!((proposed.key_version, proposed.destroyed), (2, None));
    assert_eq!(office.changes(), ["DESTROYS hanzo/dek/m version 2"]);
    assert_eq!(
        Guest::new().attested(at).ask(at, KEY).status,
        200,
        "nothing happened yet"
    );
    assert_eq!(
        office.approve(&office.alice, proposed.proposal).unwrap_err(),
        "kbs.proposal.same_admin"
    );
    let done = office.approve(&office.operator, proposed.proposal).unwrap();
    assert_eq!(done.destroyed.unwrap().secrets, 1);
    let refused = Guest::new().attested(at).ask(at, KEY);
    assert_eq!(refused.error(), (403, "kbs.key.revoked".into()));

    // All of a tenant: what was put after the proposal was not shown to whoever approves.
    let all = Shredded::Tenant(tenant());
    let early = office.shred(&office.alice, &all).unwrap();
    assert_eq!(
        office.changes(),
        ["DESTROYS 2 secrets of hanzo and its KEKs up to version 1"]
    );
    office.put("hanzo/dek/later", 1);
    assert_eq!(
        office.approve(&office.operator, early.proposal).unwrap_err(),
        "kbs.proposal.outdated"
    );
    let again = office.shred(&office.operator, &all).unwrap();
    let done = office.approve(&office.alice, again.proposal).unwrap();
    assert_eq!(done.destroyed.map(|d| (d.keks, d.secrets)), Some((1, 3)));
    let refused = Guest::new().attested(at).ask(at, "hanzo/dek/later");
    assert_eq!(refused.error(), (403, "kbs.key.revoked".into()));
    assert_eq!(office.shred(&office.alice, &all).unwrap_err(), "kbs.tenant.none");

    // The chain tells who, and the tables are what it tells of.
    let lines = office.broker.audit();
    for action in ["shred-key", "shred-tenant"] {
        let told: Vec<_> = lines.iter().filter(|l| l["action"] == action).collect();
        assert_eq!(told.len(), 1, "{action}");
        assert_ne!(told[0]["party"], "00".repeat(48));
    }
}

#[test]
fn the_head_of_a_guests_store_is_set_by_two_admins() {
    let mut office = Office::new();
    office.put(KEY, 1);
    let (at, store) = (office.broker.address, KeyId::new(KEY).unwrap());
    let identity = office.broker.made.identity.clone();
    let guest = Guest::new().attested(at);
    assert_eq!(guest.ask(at, KEY).status, 200);
    let head = |size: u64| StoreHead {
        root: Digest256([size as u8; 32]),
        size,
    };
    let post = |cookie: &str, body: &[u8]| http(at, "POST", &format!("{HEADS_PATH}{KEY}"), cookie, body);
    let acquire = |n: u8| {
        let body = HeldLease::acquire_body(&store, 60, Nonce([n; 32])).unwrap();
        let reply = post(&guest.cookie, &body);
        let signer = identity.verifying_keys().unwrap();
        HeldLease::open(&reply.body, &store, &Nonce([n; 32]), &guest.key, &signer).unwrap()
    };
    let set = |who: &Person, store: &str, size: u64| {
        let store = KeyId::new(store).unwrap();
        let head = (size, head(size).root);
        code(block_on(admin::accept_store_head(
            at, &identity, &who.keys, &store, head,
        )))
    };
    assert_eq!(
        set(&office.alice, KEY, 5).unwrap_err(),
        "kbs.key.unknown",
        "no head yet"
    );
    let mut lease = acquire(1);
    let body = lease.advance_body(head(9), 60, Nonce([2; 32])).unwrap();
    lease.answered(&post("", &body).body, &Nonce([2; 32])).unwrap();

    // The guest's disk is that of an earlier day: 5 entries.
    assert_eq!(set(&office.auditor, KEY, 5).unwrap_err(), "kbs.admin.role");
    let proposed = set(&office.operator, KEY, 5).unwrap();
    assert!(
        office.changes()[0].starts_with("head of hanzo/dek/m: 9 "),
        "{:?}",
        office.changes()
    );
    office.approve(&office.alice, proposed.proposal).unwrap();
    let stale = lease.advance_body(head(10), 60, Nonce([3; 32])).unwrap();
    assert_eq!(
        post("", &stale).error(),
        (409, "kbs.head.token".into()),
        "its lease is over"
    );
    let mut lease = acquire(4);
    assert_eq!(lease.state().head, head(5));
    let body = lease.advance_body(head(6), 60, Nonce([5; 32])).unwrap();
    let state = lease.answered(&post("", &body).body, &Nonce([5; 32])).unwrap();
    assert_eq!(state.head, head(6));
    // A head that moved since is not the one that was shown.
    let proposed = set(&office.operator, KEY, 4).unwrap();
    let body = lease.advance_body(head(7), 60, Nonce([6; 32])).unwrap();
    lease.answered(&post("", &body).body, &Nonce([6; 32])).unwrap();
    assert_eq!(
        office.approve(&office.alice, proposed.proposal).unwrap_err(),
        "kbs.proposal.outdated"
    );
    let lines = office.broker.audit();
    assert!(lines.iter().any(|l| l["action"] == "accept-store-head"));
}

#[test]
fn admins_see_how_the_broker_stands() {
    let office = Office::new();
    let (at, id) = (office.broker.address, &office.broker.made.identity);
    for who in [&office.auditor, &office.operator, &office.alice] {
        let status = block_on(admin::status(at, id, &who.keys)).unwrap();
        assert!(status.four_eyes);
        assert_eq!((status.status, status.store.kind.as_str()), (Standing::Ok, "file"));
        assert_eq!(
            (status.root.kind.as_str(), status.fence.status),
            ("key-file", Standing::Ok)
        );
    }
    let nobody = person("nobody", Role::Operator, &[]);
    let refused = block_on(admin::status(at, id, &nobody.keys));
    assert_eq!(code(refused).unwrap_err(), "kbs.admin.not_pinned");
}

fn run(broker: &Broker, arguments: &[&str]) -> Output {
    let at = broker.address.to_string();
    let identity = broker.made.identity_path.to_str().unwrap();
    let admin = broker.made.admin_key_path.to_str().unwrap();
    let mut command = Command::new(BIN);
    command.args(arguments);
    command.args(["--broker", &at, "--identity", identity, "--admin-key", admin]);
    command.output().unwrap()
}

#[test]
fn the_commands_work_on_a_running_broker() {
    let broker = Broker::start(StoreMode::Production, false, |_| {});
    let mut real = policy();
    real.allow_simulated = false;
    broker.put(KEY, 1, &real).unwrap();
    let json = |output: Output| -> serde_json::Value {
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let status = json(run(&broker, &["status", "--json"]));
    assert_eq!((&status["status"], &status["four_eyes"]), (&"ok".into(), &false.into()));
    let said = run(&broker, &["status"]);
    assert!(
        String::from_utf8(said.stdout)
            .unwrap()
            .contains("one admin widens, rotates and destroys alone")
    );
    let rotated = json(run(&broker, &["rotate-kek", "--tenant", "hanzo", "--json"]));
    assert_eq!(rotated["rotated"][0]["kek_version"], 2);
    let said = run(&broker, &["rotate-kek", "--tenant", "hanzo"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said, "hanzo: KEK version 3, 1 secrets moved, 1 older KEKs destroyed\n");
    let refused = run(&broker, &["rotate-kek", "--tenant", "nobody"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("[kbs.tenant.none]"));
    assert_eq!(run(&broker, &["rotate-kek", "--all"]).status.code(), Some(2));
    let slip = run(&broker, &["shred", "--tenant", "hanzo", "--confirm", "hanz"]);
    assert_eq!(slip.status.code(), Some(1));
    let gone = json(run(
        &broker,
        &["shred", "--tenant", "hanzo", "--confirm", "hanzo", "--json"],
    ));
    assert_eq!(gone["destroyed"]["secrets"], 1);
}
