//! Roles and four eyes: each right beside the nearest that is denied, each approval beside the nearest that is not one.

#[path = "support/harness.rs"]
mod harness;

use hanzo_attestation::Digest384;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_kbs::admin::{self, AdminError, AdminKey, AdminReply, Role};
use hanzo_kbs::{KbsError, StoreMode};
use hanzo_policy::AllowList;
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Dek, SignatureSuite};
use hanzo_root::Surroundings;
use hanzo_vault::{KeyPolicy, RootPurpose};
use harness::{Broker, DEK, Guest, block_on, policy};

const KEY: &str = "hanzo/dek/m";

/// An admin with its key, and how the configuration names it.
struct Person {
    keys: SigningKeys,
    pinned: AdminKey,
}

fn person(name: &str, roles: &[Role], tenants: &[&str]) -> Person {
    let keys = SigningKeys::generate(SignatureSuite::MlDsa65Ed25519).unwrap();
    let public = keys.verifying_keys();
    Person {
        pinned: AdminKey {
            name: Name::new(name).unwrap(),
            roles: roles.to_vec(),
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
    bob: Person,
    other: Person,
    operator: Person,
    auditor: Person,
}

fn office() -> Office {
    let alice = person("alice", &[Role::TenantAdmin], &["hanzo"]);
    let bob = person("bob", &[Role::TenantAdmin], &["hanzo"]);
    let other = person("other", &[Role::TenantAdmin], &["other"]);
    let operator = person("operator", &[Role::Operator], &[]);
    let auditor = person("auditor", &[Role::Auditor], &[]);
    let keys = [&alice, &bob, &other, &operator, &auditor].map(|p| p.pinned.clone());
    let broker = Broker::start(StoreMode::Simulated, true, |c| {
        c.admin_keys = keys.to_vec();
        c.four_eyes = true;
    });
    Office {
        broker,
        alice,
        bob,
        other,
        operator,
        auditor,
    }
}

type Code<T> = Result<T, String>;

fn code<T>(outcome: Result<T, AdminError>) -> Code<T> {
    outcome.map_err(|e| e.code().to_owned())
}

impl Office {
    fn put(&self, who: &Person, key: &str, version: u64, policy: &KeyPolicy) -> Code<AdminReply> {
        let (dek, key) = (Dek::from_slice(&DEK).unwrap(), KeyId::new(key).unwrap());
        let (at, id) = (self.broker.address, &self.broker.made.identity);
        code(block_on(admin::put_key(at, id, &who.keys, &key, version, &dek, policy)))
    }

    fn set(&self, who: &Person, policy: &KeyPolicy) -> Code<AdminReply> {
        let key = KeyId::new(KEY).unwrap();
        let (at, id) = (self.broker.address, &self.broker.made.identity);
        code(block_on(admin::set_policy(at, id, &who.keys, &key, 1, policy)))
    }

    fn approve(&self, who: &Person, proposal: Digest384) -> Code<AdminReply> {
        let (at, id) = (self.broker.address, &self.broker.made.identity);
        code(block_on(admin::approve(at, id, &who.keys, proposal)))
    }

    fn uses(&self) -> u64 {
        let key = KeyId::new(KEY).unwrap();
        let (at, id) = (self.broker.address, &self.broker.made.identity);
        let detail = block_on(admin::get_policy(at, id, &self.alice.keys, &key)).unwrap();
        assert_eq!(detail.key.policy_digest, detail.policy.digest().unwrap());
        detail.policy.max_uses
    }
}

fn more() -> KeyPolicy {
    let mut wide = policy();
    wide.max_uses = 11;
    wide
}

#[test]
fn widening_waits_for_a_second_admin_and_narrowing_does_not() {
    let mut office = office();
    // A new key widens nothing.
    let base = policy();
    assert_eq!(office.put(&office.alice, KEY, 1, &base).unwrap().proposal, None);
    let mut narrow = base.clone();
    narrow.max_uses = 9;
    assert_eq!(office.set(&office.alice, &narrow).unwrap().proposal, None);
    assert_eq!(office.uses(), 9);

    let mut wide = narrow.clone();
    wide.max_uses = 12;
    let id = office.set(&office.alice, &wide).unwrap().proposal.unwrap();
    assert_eq!(office.uses(), 9, "nothing has changed yet");
    let at = office.broker.address;
    let list = block_on(admin::pending(at, &office.broker.made.identity, &office.bob.keys)).unwrap();
    assert_eq!(list.proposals.len(), 1);
    let shown = &list.proposals[0];
    assert_eq!((shown.id, shown.action.as_str()), (id, "set-policy"));
    assert_eq!(shown.changes, ["max_uses: 9 -> 12 (wider)"]);
    assert_eq!(Digest384::of(shown.request.as_bytes()), id);

    let denied = |who: &Person| office.approve(who, id).unwrap_err();
    assert_eq!(denied(&office.alice), "kbs.proposal.same_admin");
    assert_eq!(denied(&office.other), "kbs.admin.role", "another tenant's admin");
    assert_eq!(denied(&office.auditor), "kbs.admin.role");
    let mut altered = id;
    altered.0[0] ^= 1;
    assert_eq!(
        office.approve(&office.bob, altered).unwrap_err(),
        "kbs.proposal.unknown"
    );
    assert_eq!(office.uses(), 9);
    assert_eq!(office.approve(&office.bob, id).unwrap().proposal, None);
    assert_eq!(office.uses(), 12);
    assert_eq!(denied(&office.bob), "kbs.proposal.done", "it counts once");

    // All of it is in the chain, and the tables are what it tells of.
    let lines = office.broker.audit();
    let actions: Vec<_> = lines.iter().map(|l| l["action"].as_str().unwrap()).collect();
    for (action, n) in [("propose", 1), ("approve", 1), ("set-policy", 2), ("refuse-admin", 5)] {
        assert_eq!(
            actions.iter().filter(|a| **a == action).count(),
            n,
            "{action}: {actions:?}"
        );
    }
    let refused: Vec<_> = lines.iter().filter(|l| l["action"] == "refuse-admin").collect();
    assert_eq!(refused[0]["code"], "kbs.proposal.same_admin");
    assert_eq!(refused[0]["about"], "approve");
    let approved = lines.iter().find(|l| l["action"] == "approve").unwrap();
    assert_eq!(approved["about"], id.to_string());
}

#[test]
fn a_proposal_is_for_the_policy_it_was_compared_with() {
    let (office, base) = (office(), policy());
    office.put(&office.alice, KEY, 1, &base).unwrap();
    let id = office.set(&office.alice, &more()).unwrap().proposal.unwrap();
    let mut tight = base;
    tight.max_uses = 2;
    office.set(&office.bob, &tight).unwrap();
    assert_eq!(office.approve(&office.bob, id).unwrap_err(), "kbs.proposal.outdated");
    assert_eq!(office.uses(), 2, "what was tightened meanwhile stays");
    // The operator's eyes count as well, and a new version with a wider policy waits like any other widening.
    let mut wider = tight.clone();
    wider.max_uses = 3;
    let id = office.put(&office.alice, KEY, 2, &wider).unwrap().proposal.unwrap();
    assert_eq!(office.put(&office.alice, KEY, 2, &tight).unwrap().proposal, None);
    assert_eq!(
        office.approve(&office.operator, id).unwrap_err(),
        "kbs.proposal.outdated",
        "another request came first"
    );
    let id = office.put(&office.alice, KEY, 3, &wider).unwrap().proposal.unwrap();
    office.approve(&office.operator, id).unwrap();
    let guest = Guest::new().attested(office.broker.address);
    let reply = guest.ask(office.broker.address, KEY);
    let opened = guest.open(&reply.body, &office.broker, KEY).unwrap();
    assert_eq!(opened.grant.key_version, 3);
}

#[test]
fn proposals_outlive_a_restart_but_not_their_proposer() {
    let mut office = office();
    office.put(&office.alice, KEY, 1, &policy()).unwrap();
    let first = office.set(&office.alice, &more()).unwrap().proposal.unwrap();
    office.broker.restart().unwrap();
    let gone = office.alice.pinned.name.clone();
    office.broker.config.admin_keys.retain(|k| k.name != gone);
    office.broker.restart().unwrap();
    assert_eq!(office.approve(&office.bob, first).unwrap_err(), "kbs.proposal.proposer");
    assert_eq!(
        office.approve(&office.alice, first).unwrap_err(),
        "kbs.admin.not_pinned"
    );
    office.broker.config.admin_keys.push(office.alice.pinned.clone());
    office.broker.restart().unwrap();
    office.approve(&office.bob, first).unwrap();
    assert_eq!(office.uses(), 11);
}

#[test]
fn roles_end_where_the_table_ends() {
    let office = office();
    let role = Err("kbs.admin.role".to_owned());
    let put = |who: &Person, key: &str, policy: &KeyPolicy| office.put(who, key, 1, policy).map(drop);
    let mut theirs = policy();
    theirs.tenant = Name::new("other").unwrap();
    for who in [&office.operator, &office.auditor, &office.other] {
        assert_eq!(put(who, KEY, &policy()), role, "{}", who.pinned.name);
    }
    assert_eq!(put(&office.alice, "other/dek/m", &theirs), role);
    assert_eq!(
        put(&office.other, "other/dek/m", &policy()),
        Err("key_policy.tenant".into()),
        "a policy of another tenant"
    );
    assert_eq!(put(&office.other, "other/dek/m", &theirs), Ok(()));
    assert_eq!(put(&office.alice, KEY, &policy()), Ok(()));

    let (at, id) = (office.broker.address, &office.broker.made.identity);
    let listed = |who: &Person| {
        let list = code(block_on(admin::list_keys(at, id, &who.keys)))?;
        assert!(list.four_eyes);
        Ok::<_, String>(list.keys.iter().map(|k| k.key_id.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(listed(&office.alice), Ok(vec![KEY.to_owned()]));
    assert_eq!(listed(&office.other), Ok(vec!["other/dek/m".to_owned()]));
    assert_eq!(listed(&office.auditor).unwrap().len(), 2);
    let read = |who: &Person| code(block_on(admin::audit_lines(at, id, &who.keys, 0))).map(|a| a.lines.len());
    assert!(read(&office.auditor).unwrap() > 5);
    for who in [&office.alice, &office.operator] {
        assert_eq!(read(who), Err("kbs.admin.role".into()));
    }
    let key = KeyId::new(KEY).unwrap();
    let policy_of = |who: &Person| code(block_on(admin::get_policy(at, id, &who.keys, &key))).map(drop);
    assert_eq!(policy_of(&office.other), Err("kbs.admin.role".into()));
    assert_eq!(policy_of(&office.operator), Ok(()));
    let revoke = |who: &Person| code(block_on(admin::revoke(at, id, &who.keys, &key, 1))).map(drop);
    assert_eq!(revoke(&office.auditor), Err("kbs.admin.role".into()));
    assert_eq!(revoke(&office.other), Err("kbs.admin.role".into()));
    assert_eq!(revoke(&office.operator), Ok(()), "an emergency needs one pair of eyes");
}

#[test]
fn configurations_without_two_pairs_of_eyes_say_so() {
    let start = |change: &dyn Fn(&mut Vec<AdminKey>), four_eyes| {
        let mut broker = Broker::simulated();
        broker.stop();
        change(&mut broker.config.admin_keys);
        broker.config.four_eyes = four_eyes;
        let path = broker.dir.path().join("kbs/other.toml");
        std::fs::write(&path, toml::to_string(&broker.config).unwrap()).unwrap();
        hanzo_kbs::KbsConfig::load(&path).map(drop).map_err(|e| match e {
            KbsError::Config { detail, .. } => detail,
            other => other.to_string(),
        })
    };
    assert_eq!(start(&|_| {}, false), Ok(()));
    assert!(start(&|_| {}, true).unwrap_err().contains("write four_eyes = false"));
    let second = person("second", &[Role::Operator], &[]).pinned;
    assert_eq!(start(&|keys| keys.push(second.clone()), true), Ok(()));
    let mut half = second.clone();
    let twin = |keys: &mut Vec<AdminKey>, key: &AdminKey| {
        keys.push(second.clone());
        keys.push(key.clone());
    };
    half.name = Name::new("third").unwrap();
    assert!(
        start(&|keys| twin(keys, &half), true)
            .unwrap_err()
            .contains("must differ"),
        "one key, two names"
    );
    half.ed25519 = person("x", &[], &[]).pinned.ed25519;
    assert!(
        start(&|keys| twin(keys, &half), true)
            .unwrap_err()
            .contains("must differ"),
        "half a key"
    );
    half.ml_dsa = person("x", &[], &[]).pinned.ml_dsa;
    assert_eq!(start(&|keys| twin(keys, &half), true), Ok(()));
    half.tenants = AllowList::Any;
    assert!(
        start(&|keys| twin(keys, &half), true)
            .unwrap_err()
            .contains("tenants: expected []")
    );
    half.roles = vec![Role::TenantAdmin];
    half.tenants = AllowList::none();
    assert!(
        start(&|keys| twin(keys, &half), true)
            .unwrap_err()
            .contains("expected names")
    );
    half.roles = vec![];
    assert!(
        start(&|keys| twin(keys, &half), true)
            .unwrap_err()
            .contains("roles: expected")
    );
}

impl Office {
    /// Moves the end of a proposal, as whoever has the store's key can and time does.
    fn expires(&mut self, id: Digest384, at: u64) {
        self.broker.stop();
        let config = &self.broker.config;
        let root = config.root.provider(&Surroundings::default()).load().unwrap();
        let key = hex::encode(root.derive(RootPurpose::Store).unwrap().expose());
        let store = hanzo_store::rusqlite::Connection::open(&config.store).unwrap();
        store
            .execute_batch(&format!(
                "PRAGMA key = \"x'{key}'\"; DROP TRIGGER proposals_are_fixed;
                 UPDATE proposals SET expires_at = {at} WHERE id = x'{id}';
                 CREATE TRIGGER proposals_are_fixed BEFORE UPDATE OF id, request, base, expires_at ON proposals
                 BEGIN SELECT RAISE(ABORT, 'a proposal is fixed'); END;"
            ))
            .unwrap();
        drop(store);
        self.broker.restart().unwrap();
    }

    fn waiting(&self) -> usize {
        let (at, id) = (self.broker.address, &self.broker.made.identity);
        let list = block_on(admin::pending(at, id, &self.bob.keys)).unwrap();
        list.proposals.len()
    }
}

#[test]
fn a_proposal_counts_until_its_last_second_and_not_after_it() {
    let mut office = office();
    office.put(&office.alice, KEY, 1, &policy()).unwrap();
    let id = office.set(&office.alice, &more()).unwrap().proposal.unwrap();
    let now = harness::now().0;
    let list = block_on(admin::pending(
        office.broker.address,
        &office.broker.made.identity,
        &office.bob.keys,
    ));
    let expires_at = list.unwrap().proposals[0].expires_at;
    assert!((now..=now + 5).contains(&(expires_at - admin::PROPOSAL_LIFETIME_S)));
    office.expires(id, now - 1);
    assert_eq!(office.waiting(), 0);
    assert_eq!(office.approve(&office.bob, id).unwrap_err(), "kbs.proposal.expired");
    assert_eq!(office.uses(), 10);
    // Its neighbour: some seconds are left.
    office.expires(id, now + 60);
    assert_eq!(office.waiting(), 1);
    office.approve(&office.bob, id).unwrap();
    assert_eq!(office.uses(), 11);
    let lines = office.broker.audit();
    assert!(lines.iter().any(|l| l["code"] == "kbs.proposal.expired"));
}

#[test]
fn as_many_proposals_wait_as_may_and_no_more() {
    let (mut office, base) = (office(), policy());
    office.put(&office.alice, KEY, 1, &base).unwrap();
    let mut ids = Vec::new();
    for _ in 0..admin::PROPOSALS_MAX {
        ids.push(office.set(&office.alice, &more()).unwrap().proposal.unwrap());
    }
    assert_eq!(office.set(&office.alice, &more()).unwrap_err(), "kbs.proposal.full");
    assert_eq!(
        office.set(&office.bob, &more()).unwrap_err(),
        "kbs.proposal.full",
        "for all together"
    );
    // What narrows does not wait, and so is not in the way.
    let mut narrow = base.clone();
    narrow.max_uses = 9;
    assert_eq!(office.set(&office.alice, &narrow).unwrap().proposal, None);
    // One that is over makes room.
    office.expires(ids[0], harness::now().0 - 1);
    assert!(office.set(&office.alice, &more()).unwrap().proposal.is_some());
    assert_eq!(office.set(&office.alice, &more()).unwrap_err(), "kbs.proposal.full");
}
