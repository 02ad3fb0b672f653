//! Rotation of many secrets, and of one that is interrupted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hanzo_attestation::Nonce;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_policy::{AppraisalPolicy, PrivacyTier};
use hanzo_pqc::Dek;
use hanzo_store::StoreMode;
use hanzo_vault::{KeyPolicy, KeyPurpose, Wrap};

use crate::audit::{self, Line};
use crate::broker::{Broker, newest};
use crate::{InitOptions, KbsConfig, KbsError, RotationProgress, init};

fn policy(tier: PrivacyTier) -> KeyPolicy {
    KeyPolicy {
        allow_simulated: false,
        appraisal: AppraisalPolicy::closed(tier),
        grant_lifetime_s: 60,
        image_versions: Default::default(),
        max_uses: 10,
        minimum_image_version: 0,
        not_after: 1 << 40,
        not_before: 0,
        rego: None,
        subject: Name::new("s").unwrap(),
        tenant: Name::new("acme").unwrap(),
        wrap: vec![Wrap::Hpke],
    }
}

struct Made {
    _dir: tempfile::TempDir,
    config: KbsConfig,
}

impl Made {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = init(&InitOptions {
            dir: dir.path().join("kbs"),
            listen: "127.0.0.1:0".parse().unwrap(),
            mode: StoreMode::Production,
            simulator_roots: Vec::new(),
        })
        .unwrap();
        let config = KbsConfig::load(&made.config_path).unwrap();
        Self { _dir: dir, config }
    }

    fn open(&self) -> Broker {
        Broker::open(&self.config, StoreMode::Production).unwrap()
    }
}

fn id(n: usize) -> KeyId {
    KeyId::new(&format!("acme/dek/k{n}")).unwrap()
}

/// Puts `count` keys as the admin handler does, without the requests that carry them.
fn fill(broker: &Broker, count: usize, tier: PrivacyTier) -> Vec<Dek> {
    let deks: Vec<_> = (0..count).map(|_| Dek::generate().unwrap()).collect();
    let policy = policy(tier);
    for (batch, part) in deks.chunks(500).enumerate() {
        let head = broker.db.write(|tx| {
            for (n, dek) in part.iter().enumerate() {
                let key_id = id(batch * 500 + n);
                broker.put_secret(tx, (&key_id, 1), KeyPurpose::DataKey, &policy, dek.expose(), 1)?;
                let mut line = Line::of("put-key", super::OPERATOR, 1);
                line.key_id = key_id.to_string();
                line.key_version = 1;
                line.policy = Some(policy.digest()?);
                audit::append(tx, line)?;
            }
            audit::head(tx).map_err(KbsError::from)
        });
        broker.advance_head(head.unwrap().unwrap()).unwrap();
    }
    deks
}

fn all_open(broker: &Broker, deks: &[Dek], kek_version: u64) {
    broker
        .db
        .read(|tx| {
            for (n, dek) in deks.iter().enumerate() {
                let key = newest(tx, &id(n))?.unwrap();
                assert_eq!(key.sealed.kek_version, kek_version);
                let opened = broker.open_secret(tx, &id(n), &key)?;
                assert!(dek.same_as(&Dek::from_slice(&opened).unwrap()), "key {n}");
            }
            Ok::<_, KbsError>(())
        })
        .unwrap();
}

#[test]
fn rotating_the_kek_of_ten_thousand_keys_leaves_every_one_readable() {
    let made = Made::new();
    let count = std::env::var("HANZO_ROTATE_KEYS").map_or(10_000, |n| n.parse().unwrap());
    let broker = made.open();
    let deks = fill(&broker, count, PrivacyTier::CpuTee);
    let acme = Name::new("acme").unwrap();
    let (mut steps, start) = (Vec::new(), Instant::now());
    let mut step = |at: RotationProgress| {
        steps.push(at.moved);
        Ok(())
    };
    let report = broker.rotate(&acme, &mut step).unwrap();
    let took = start.elapsed();
    eprintln!(
        "rotated {count} keys in {took:?}: {:.0} a second",
        count as f64 / took.as_secs_f64()
    );
    assert_eq!(
        (report.moved, report.kek_version, report.destroyed),
        (count as u64, 2, 1)
    );
    assert_eq!(steps.last(), Some(&(count as u64)), "the bar reaches its end");
    assert!(steps.is_sorted() && steps.len() > count / 256);
    all_open(&broker, &deks, 2);
    drop(broker);
    // The chain is replayed and compared with the tables when the store is opened.
    all_open(&made.open(), &deks, 2);
}

#[test]
fn an_interrupted_rotation_is_taken_up_where_it_stands() {
    let made = Made::new();
    let acme = Name::new("acme").unwrap();
    let broker = made.open();
    let deks = fill(&broker, 600, PrivacyTier::CpuTee);
    let (version, resumed) = broker.begin_rotation(&acme).unwrap();
    assert_eq!((version, resumed), (2, false));
    assert_eq!(broker.move_batch(&acme, version).unwrap(), 256);
    // Older KEKs live as long as anything stands under them.
    assert_eq!(broker.end_rotation(&acme, version).unwrap_err().code(), "store.corrupt");
    // The process ends here.
    drop(broker);
    let broker = made.open();
    broker
        .db
        .read(|tx| {
            for (n, dek) in deks.iter().enumerate() {
                let key = newest(tx, &id(n))?.unwrap();
                let opened = broker.open_secret(tx, &id(n), &key)?;
                assert!(dek.same_as(&Dek::from_slice(&opened).unwrap()));
            }
            Ok::<_, KbsError>(())
        })
        .unwrap();
    let report = broker.rotate(&acme, &mut |_| Ok(())).unwrap();
    assert_eq!(
        (report.resumed, report.moved, report.kek_version, report.destroyed),
        (true, 344, 2, 1)
    );
    all_open(&broker, &deks, 2);
    // And a finished one is followed by another version.
    let report = broker.rotate(&acme, &mut |_| Ok(())).unwrap();
    assert_eq!((report.resumed, report.moved, report.kek_version), (false, 600, 3));
}

#[test]
fn a_key_that_is_used_moves_by_itself_and_follows_its_policys_tier() {
    let made = Made::new();
    let acme = Name::new("acme").unwrap();
    let broker = made.open();
    let deks = fill(&broker, 1, PrivacyTier::CpuTee);
    broker.begin_rotation(&acme).unwrap();
    let moved = broker.db.write(|tx| {
        let key = newest(tx, &id(0))?.unwrap();
        broker
            .vaults
            .reseal(tx, (&id(0), 1), (&key.policy, &key.policy), &key.sealed, 1)?;
        let moved = newest(tx, &id(0))?.unwrap();
        assert_eq!((key.sealed.kek_version, moved.sealed.kek_version), (1, 2));
        // To a policy of tier 3: another vault, the same KEK.
        let higher = policy(PrivacyTier::GpuCc);
        broker
            .vaults
            .reseal(tx, (&id(0), 1), (&key.policy, &higher), &moved.sealed, 1)?;
        let raised = newest(tx, &id(0))?.unwrap();
        let opened = broker.vaults.open(tx, (&id(0), 1), &higher, &raised.sealed)?;
        assert!(deks[0].same_as(&Dek::from_slice(&opened).unwrap()));
        // Under its former policy it does not open.
        broker.vaults.open(tx, (&id(0), 1), &key.policy, &raised.sealed)
    });
    assert_eq!(moved.unwrap_err().code(), "vault.open");
}

/// Whoever writes while a rotation goes on waits for a batch at most, and gets its turn between any two.
#[test]
fn a_rotation_of_ten_thousand_keys_leaves_the_store_to_others_and_ends_with_the_broker() {
    let made = Made::new();
    let broker = Arc::new(made.open());
    let deks = fill(&broker, 10_000, PrivacyTier::CpuTee);
    let (acme, id) = (Name::new("acme").unwrap(), Nonce([1; 32]));
    broker.rotations.start(&broker, id, &acme);
    assert!(broker.rotations.is_running(&acme));
    let mut waits = Vec::new();
    while broker.rotations.is_running(&acme) {
        let start = Instant::now();
        // As a refusal is written.
        let line = Line::of("refuse", super::OPERATOR, 1);
        let head = broker.db.write(|tx| audit::append(tx, line)).unwrap().0;
        broker.advance_head(head).unwrap();
        waits.push(start.elapsed());
    }
    let status = broker.rotations.status(&id).unwrap();
    let report = status.report.unwrap();
    assert_eq!((report.moved, report.kek_version, status.moved), (10_000, 2, 10_000));
    waits.sort();
    let (half, most) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    eprintln!("{} writes meanwhile: median {half:?}, longest {most:?}", waits.len());
    assert!(waits.len() >= 20 && half < Duration::from_secs(1), "{waits:?}");
    all_open(&broker, &deks, 2);

    // The broker ends in the middle of the next one, which is then taken up.
    let second = Nonce([2; 32]);
    broker.rotations.start(&broker, second, &acme);
    while broker.rotations.status(&second).unwrap().moved == 0 {
        std::thread::yield_now();
    }
    broker.rotations.stop();
    let status = broker.rotations.status(&second).unwrap();
    assert_eq!(status.code.as_deref(), Some("kbs.rotation.stopped"));
    assert_eq!(broker.rotations.status(&Nonce([3; 32])), None);
    let report = broker.rotate(&acme, &mut |_| Ok(())).unwrap();
    assert!(report.resumed && report.moved + status.moved == 10_000, "{report:?}");
    all_open(&broker, &deks, 3);
}
