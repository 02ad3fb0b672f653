//! What happens between a decision and its record.

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Nonce};
use hanzo_kbs_protocol::{AttestBody, Expected, GuestSession, WrappedDek, challenge_body};
use hanzo_policy::{AppraisalPolicy, PrivacyTier};
use hanzo_pqc::Dek;
use hanzo_pqc::hpke::{KemSuite, PrivateKey};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use hanzo_store::StoreMode;
use hanzo_vault::{KeyPolicy, Wrap};

use super::*;
use crate::{InitOptions, KbsConfig, init};

const KEY: &str = "hanzo/dek/model";

struct World {
    broker: Broker,
    _dir: tempfile::TempDir,
}

fn policy(max_uses: u64) -> KeyPolicy {
    KeyPolicy {
        allow_simulated: true,
        appraisal: AppraisalPolicy::closed(PrivacyTier::Open),
        grant_lifetime_s: 60,
        image_versions: Default::default(),
        max_uses,
        minimum_image_version: 0,
        not_after: 1 << 40,
        not_before: 0,
        rego: None,
        subject: Name::new("s").unwrap(),
        tenant: Name::new("hanzo").unwrap(),
        wrap: vec![Wrap::Hpke],
    }
}

fn id() -> KeyId {
    KeyId::new(KEY).unwrap()
}

impl World {
    /// A broker with one key.
    fn new(max_uses: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = init(&InitOptions {
            dir: dir.path().join("kbs"),
            listen: "127.0.0.1:0".parse().unwrap(),
            mode: StoreMode::Simulated,
            simulator_roots: vec![SimulatedProcessor::for_tests().ark_der().to_vec()],
        })
        .unwrap();
        let config = KbsConfig::load(&made.config_path).unwrap();
        let broker = Broker::open(&config, StoreMode::Simulated).unwrap();
        let world = Self { broker, _dir: dir };
        world.change("put-key", 1, Some(&policy(max_uses)), |broker, tx| {
            let dek = Dek::generate().unwrap();
            broker.put_secret(tx, (&id(), 1), KeyPurpose::DataKey, &policy(max_uses), dek.expose(), 1)
        });
        world
    }

    /// A change with its line, as the admin handler makes it.
    fn change(
        &self,
        action: &str,
        version: u64,
        policy: Option<&KeyPolicy>,
        change: impl FnOnce(&Broker, &Tx<'_>) -> Result<(), KbsError>,
    ) {
        let (head, line) = self
            .broker
            .db
            .write(|tx| {
                change(&self.broker, tx)?;
                let mut line = Line::of(action, Digest384([0; 48]), 1);
                (line.key_id, line.key_version) = (KEY.to_owned(), version);
                line.policy = policy.map(KeyPolicy::digest).transpose()?;
                audit::append(tx, line)
            })
            .unwrap();
        self.broker.record(head, &line).unwrap();
    }

    fn set_policy(&self, policy: &KeyPolicy) {
        self.change("set-policy", 1, Some(policy), |_, tx| {
            let text = String::from_utf8(policy.canonical()?).unwrap();
            let sql = "UPDATE keys SET policy = ?2 WHERE key_id = ?1";
            tx.execute(sql, &[KEY.into(), (&text).into()])?;
            Ok(())
        });
    }

    fn revoke(&self) {
        self.change("revoke", 1, None, |_, tx| {
            tx.execute("UPDATE keys SET revoked = 1 WHERE key_id = ?1", &[KEY.into()])?;
            Ok(())
        });
    }

    fn decisions(&self) -> u64 {
        self.broker.db.read(audit::head).unwrap().unwrap().seq
    }

    /// Decides, lets `meanwhile` happen, then tries to record what was decided.
    fn recorded(&self, attested: &Attested, meanwhile: impl FnOnce()) -> Option<Result<(), &'static str>> {
        let (broker, key_id) = (&self.broker, id());
        let basis = broker.db.read(|tx| broker.read_basis(tx, &key_id, attested)).unwrap();
        let signed = broker.sign_one(broker.prepare(&basis).unwrap()).unwrap();
        meanwhile();
        let before = self.decisions();
        let decided = broker
            .db
            .write(|tx| broker.record_if_unchanged(tx, &basis, signed))
            .unwrap();
        assert_eq!(
            self.decisions() - before,
            u64::from(decided.is_some()),
            "one line for each record"
        );
        decided.map(|(outcome, ..)| outcome.map(drop).map_err(|e| e.code()))
    }

    fn decide(&self, attested: &Attested) -> Result<(), &'static str> {
        let decided = self.broker.decide(&id(), attested).unwrap();
        decided.0.map(drop).map_err(|e| e.code())
    }
}

/// A guest's own side.
struct Guest {
    key: PrivateKey,
    session: GuestSession,
}

impl Guest {
    fn open(&self, reply: &[u8], signer: &hanzo_pqc::sign::VerifyingKeys) -> Result<Dek, &'static str> {
        let (key_id, subject, now) = (&id(), &Name::new("s").unwrap(), now());
        let expected = Expected {
            key_id,
            subject,
            min_tier: 0,
        };
        let opened = self
            .session
            .open_wrapped(reply, &self.key, signer, expected, now, now, 60);
        opened.map(|opened| opened.dek).map_err(|e| e.code())
    }
}

/// A guest that attested.
fn attested() -> Attested {
    guest().1
}

fn guest() -> (Guest, Attested) {
    let nonce = Nonce([7; 32]);
    let key = PrivateKey::generate(KemSuite::Xwing).unwrap();
    let mut session = GuestSession::new(key.public_key());
    session.auth_body();
    let challenge = serde_json::to_vec(&challenge_body(&nonce)).unwrap();
    let guest = SimulatedProcessor::for_tests().launch(LaunchSpec::new(Digest384([7; 48]), Digest256([8; 32])));
    let body = session
        .attest_body(&challenge, |request| {
            let evidence = guest.evidence(request.report_data());
            Ok::<_, std::convert::Infallible>(CpuEvidence::Snp(evidence))
        })
        .unwrap();
    let body = AttestBody::parse(&body).unwrap();
    (Guest { key, session }, Attested { nonce, body })
}

#[test]
fn a_decision_is_recorded_when_nothing_changed() {
    let (world, attested) = (World::new(10), attested());
    // Another second on the clock is a change, too.
    let recorded = (0..10).find_map(|_| world.recorded(&attested, || ()));
    assert_eq!(recorded, Some(Ok(())));
    assert_eq!(
        world
            .recorded(&attested, || ())
            .unwrap_or_else(|| world.decide(&attested)),
        Err("kbs.grant.repeated")
    );
}

#[test]
fn nothing_is_released_under_a_policy_that_was_tightened_before_the_record() {
    let (world, attested) = (World::new(10), attested());
    let mut tighter = policy(10);
    tighter.appraisal = AppraisalPolicy::closed(PrivacyTier::CpuTee);
    assert_eq!(world.recorded(&attested, || world.set_policy(&tighter)), None);
    assert_eq!(world.decide(&attested), Err("revocation.missing"));
    // Its neighbour: the old policy again, and the same guest gets the key.
    world.set_policy(&policy(10));
    assert_eq!(world.decide(&attested), Ok(()));
}

#[test]
fn nothing_is_released_that_was_revoked_before_the_record() {
    let (world, attested) = (World::new(10), attested());
    assert_eq!(world.recorded(&attested, || world.revoke()), None);
    assert_eq!(world.decide(&attested), Err("kbs.key.revoked"));
}

#[test]
fn nothing_is_released_under_an_older_version_or_with_older_roots() {
    let (world, attested) = (World::new(10), attested());
    let newer = || {
        world.change("put-key", 2, Some(&policy(10)), |broker, tx| {
            let dek = Dek::generate().unwrap();
            broker.put_secret(tx, (&id(), 2), KeyPurpose::DataKey, &policy(10), dek.expose(), 1)
        });
    };
    assert_eq!(world.recorded(&attested, newer), None);
    let reloaded = || world.broker.lives.replace(Live::without_roots());
    assert_eq!(world.recorded(&attested, reloaded), None);
    assert_eq!(world.decide(&attested), Err("snp.chain.root"));
}

#[test]
fn nothing_is_released_whose_kek_was_destroyed_before_the_record() {
    let (world, attested) = (World::new(10), attested());
    let shredded = || {
        world.change("shred-tenant", 1, None, |_, tx| {
            let gone = hanzo_vault::TenantKek::shredded();
            tx.execute("UPDATE keks SET wrapped = ?1", &[gone.as_slice().into()])?;
            Ok(())
        });
    };
    assert_eq!(world.recorded(&attested, shredded), None);
    assert!(world.broker.decide(&id(), &attested).is_err());
}

#[test]
fn the_last_use_goes_to_whoever_is_recorded_first() {
    let (world, [first, second]) = (World::new(1), [attested(), attested()]);
    let refused = world.recorded(&first, || assert_eq!(world.decide(&second), Ok(())));
    // Unless the clock turned in between: then it was decided anew, with the same end.
    assert_eq!(refused.unwrap_or_else(|| world.decide(&first)), Err("kbs.key.used_up"));
}

/// Whether or not the broker remembers the key: no use is left, and the guest had it before.
#[test]
fn whoever_had_the_key_is_told_so_whatever_is_known() {
    let (world, first) = (World::new(1), attested());
    assert_eq!(world.decide(&first), Ok(()));
    assert_eq!(world.decide(&first), Err("kbs.grant.repeated"));
    world.broker.known.clear();
    assert_eq!(world.decide(&first), Err("kbs.grant.repeated"));
    assert_eq!(world.decide(&attested()), Err("kbs.key.used_up"));
}

#[test]
fn what_a_change_destroyed_is_not_kept() {
    let (world, attested) = (World::new(10), attested());
    assert_eq!(world.decide(&attested), Ok(()));
    assert!(world.broker.known.guess(&id()).is_some());
    world.set_policy(&policy(9));
    assert!(world.broker.known.guess(&id()).is_none());
}

#[test]
fn what_is_known_of_a_key_counts_exactly_and_ends_with_a_line_of_somebody_else() {
    let world = World::new(3);
    let guests = [(); 5].map(|()| attested());
    assert_eq!(world.decide(&guests[0]), Ok(()));
    // The store's own row refuses the second grant, which is then decided on what the store says.
    assert_eq!(world.decide(&guests[0]), Err("kbs.grant.repeated"));
    assert_eq!(world.decide(&guests[1]), Ok(()));
    world.set_policy(&policy(2));
    assert_eq!(world.decide(&guests[2]), Err("kbs.key.used_up"));
    world.set_policy(&policy(4));
    assert_eq!(world.decide(&guests[2]), Ok(()));
    assert_eq!(world.decide(&guests[3]), Ok(()));
    assert_eq!(world.decide(&guests[4]), Err("kbs.key.used_up"));
    world.broker.db.read(|tx| audit::replay(tx, &[])).unwrap();
}

#[test]
fn what_an_undone_transaction_counted_does_not_count() {
    let world = World::new(1);
    let [first, second] = [attested(), attested()];
    let undone = (0..10).find_map(|_| {
        let (broker, key_id) = (&world.broker, id());
        let basis = broker.db.read(|tx| broker.read_basis(tx, &key_id, &first)).unwrap();
        let signed = broker.sign_one(broker.prepare(&basis).unwrap()).unwrap();
        let mut recorded = None;
        let outcome: Result<(), Undone> = broker.db.write(|tx| {
            recorded = broker.record_if_unchanged(tx, &basis, signed)?;
            Err(Undone::Repeated)
        });
        assert!(outcome.is_err());
        recorded
    });
    assert!(undone.is_some());
    assert_eq!(world.decide(&second), Ok(()));
    assert_eq!(world.decide(&first), Err("kbs.key.used_up"));
}

#[test]
fn several_decisions_of_one_turn_are_each_what_they_would_be_alone() {
    let world = World::new(2);
    let guests = [attested(), attested(), attested()];
    let other = KeyId::new("hanzo/dek/none").unwrap();
    let (id, before) = (id(), world.decisions());
    // Twice the same guest, a key that is not there, and one more than there are uses.
    let asked = [
        (&id, &guests[0]),
        (&id, &guests[0]),
        (&other, &guests[1]),
        (&id, &guests[1]),
        (&id, &guests[2]),
    ];
    let decided = world.broker.decide_each(&asked);
    let codes: Vec<_> = decided
        .into_iter()
        .map(|decided| decided.unwrap().0.map(drop).map_err(|e| e.code()))
        .collect();
    // The first guest's second is decided again, after the others: two uses are all, and it had one of them.
    assert_eq!(codes[0], Ok(()));
    assert_eq!(codes[1], Err("kbs.grant.repeated"));
    assert_eq!(codes[2], Err("kbs.key.unknown"));
    assert_eq!((codes[3], codes[4]), (Ok(()), Err("kbs.key.used_up")));
    assert_eq!(world.decisions() - before, 5, "one line for each");
    world.broker.db.read(|tx| audit::replay(tx, &[])).unwrap();
    assert!(world.broker.decide_each(&[]).is_empty());
}

#[test]
fn guests_that_are_granted_together_each_open_their_own_key_under_one_signature() {
    let world = World::new(10);
    let guests = [(); 3].map(|()| guest());
    let (id, signer) = (id(), world.broker.identity.signer.verifying_keys());
    let asked: Vec<_> = guests.iter().map(|(_, attested)| (&id, attested)).collect();
    let replies: Vec<_> = world
        .broker
        .decide_each(&asked)
        .into_iter()
        .map(|decided| decided.unwrap().0.unwrap())
        .collect();
    let read: Vec<_> = replies.iter().map(|reply| WrappedDek::parse(reply).unwrap()).collect();
    let deks = guests.iter().zip(&replies).map(|((guest, _), reply)| {
        let dek = guest.open(reply, signer).unwrap();
        dek.expose().to_owned()
    });
    let deks: Vec<_> = deks.collect();
    assert!(deks.windows(2).all(|two| two[0] == two[1]));
    // Whatever the clock did meanwhile, those that say that they were signed together were.
    for (n, wrapped) in read.iter().enumerate().filter(|(_, wrapped)| wrapped.among.is_some()) {
        let twin = read
            .iter()
            .find(|other| other.among.is_some() && other.among != wrapped.among);
        let twin = twin.expect("more than one");
        assert_eq!(wrapped.signature, twin.signature);
        let mut elsewhere = wrapped.clone();
        elsewhere.among = twin.among.clone();
        let refused = guests[n].0.open(&elsewhere.canonical().unwrap(), signer);
        assert_eq!(refused.err(), Some("kbs.not_pinned"));
    }
    // Another's reply is another's.
    assert_eq!(guests[0].0.open(&replies[1], signer).err(), Some("grant.recipient"));
    // Whoever asks alone has a signature alone.
    let (guest, attested) = guest();
    let alone = world.broker.decide(&id, &attested).unwrap().0.unwrap();
    assert_eq!(WrappedDek::parse(&alone).unwrap().among, None);
    assert!(guest.open(&alone, signer).is_ok());
}

#[test]
fn what_was_verified_counts_in_its_second_and_with_its_roots_alone() {
    let (world, attested) = (World::new(10), attested());
    let broker = &world.broker;
    let nonce = attested.nonce;
    let proven = broker.attest(&attested).unwrap();
    let crate::token::Proven::Signed { result, under } = &proven else {
        panic!("signed evidence")
    };
    let at = result.verified_at();
    assert!(broker.verified.find(&nonce, under, at).is_none(), "not yet");
    broker.verified.keep(nonce, &proven);
    assert!(broker.verified.find(&nonce, under, at).is_some());
    assert!(broker.verified.find(&Nonce([8; 32]), under, at).is_none());
    assert!(broker.verified.find(&nonce, under, UnixTime(at.0 + 1)).is_none());
    let other = Arc::new(Live::without_roots());
    assert!(broker.verified.find(&nonce, &other, at).is_none());
    // A key's own policy judges it anew.
    let mut higher = policy(10);
    higher.appraisal = AppraisalPolicy::closed(PrivacyTier::CpuTee);
    world.set_policy(&higher);
    assert_eq!(world.decide(&attested), Err("revocation.missing"));
    world.set_policy(&policy(10));
    assert_eq!(world.decide(&attested), Ok(()));
    // And without its root it is nothing, whatever was found before.
    broker.lives.replace(Live::without_roots());
    assert_eq!(world.decide(&attested), Err("snp.chain.root"));
}

#[test]
fn what_is_outdated_for_all_of_a_turn_is_decided_anew_together() {
    let world = World::new(10);
    assert_eq!(world.decide(&attested()), Ok(()));
    // Another replica changes the policy; what this one remembers of the key is outdated, and it is not told.
    let (id, policy) = (id(), policy(9));
    let text = String::from_utf8(policy.canonical().unwrap()).unwrap();
    let changed = world.broker.db.write(|tx| {
        tx.execute(
            "UPDATE keys SET policy = ?2 WHERE key_id = ?1",
            &[KEY.into(), (&text).into()],
        )?;
        let mut line = Line::of("set-policy", Digest384([0; 48]), 1);
        (line.key_id, line.key_version, line.policy) = (KEY.to_owned(), 1, Some(policy.digest()?));
        audit::append(tx, line).map(drop)
    });
    changed.unwrap();
    let guests = [(); 3].map(|()| guest());
    let asked: Vec<_> = guests.iter().map(|(_, attested)| (&id, attested)).collect();
    let signer = world.broker.identity.signer.verifying_keys();
    let mut signatures = Vec::new();
    for (decided, (guest, _)) in world.broker.decide_each(&asked).into_iter().zip(&guests) {
        let reply = decided.unwrap().0.unwrap();
        assert!(guest.open(&reply, signer).is_ok());
        let reply = WrappedDek::parse(&reply).unwrap();
        assert!(reply.among.is_some(), "signed among others");
        signatures.push(reply.signature);
    }
    assert!(
        signatures.windows(2).all(|two| two[0] == two[1]),
        "one signature for all"
    );
    world.broker.db.read(|tx| audit::replay(tx, &[])).unwrap();
}
