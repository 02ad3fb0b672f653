//! Keys whose policies name a line of releases: a bundle is checked when it comes and whenever a key is asked for.

#[path = "support/harness.rs"]
mod harness;
#[path = "../../../policy/tests/support/line.rs"]
mod line;

use hanzo_attestation::Digest384;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::KbsIdentity;
use hanzo_kbs::admin::{self, AdminError};
use hanzo_policy::release::{ReleaseBundle, ReleaseManifest};
use hanzo_simulated_tee::{LaunchSpec, simulated_measurement};
use hanzo_vault::KeyPolicy;
use harness::{Broker, CONFIG, Guest, IMAGE, block_on, now, policy};
use line::{Holder, Log, asked, bundle, holders, manifest, snp};

const KEY: &str = "hanzo/dek/m";
const NEXT: Digest384 = Digest384([9; 48]);

struct World {
    broker: Broker,
    holders: [Holder; 3],
    log: Log,
    /// How many bundles the broker has.
    number: u64,
}

impl World {
    fn new(change: impl FnOnce(&mut KeyPolicy)) -> Self {
        let (holders, log) = (holders(["ada", "bob", "cyd"], 0x10), Log::new());
        let broker = Broker::simulated();
        let mut policy = policy();
        policy.appraisal.snp.as_mut().unwrap().references.clear();
        policy.appraisal = policy.appraisal.with_release(asked(&holders, &log));
        change(&mut policy);
        broker.put(KEY, 1, &policy).unwrap();
        Self {
            broker,
            holders,
            log,
            number: 0,
        }
    }

    /// A release of this image, signed by two.
    fn release(&mut self, version: u64, image: Digest384) -> ReleaseBundle {
        self.signed(Self::manifest(version, image), 2, now().0)
    }

    fn manifest(version: u64, image: Digest384) -> ReleaseManifest {
        manifest(
            version,
            snp(simulated_measurement(&image, &CONFIG), CONFIG),
            now().0 - 100,
        )
    }

    fn signed(&mut self, manifest: ReleaseManifest, signers: usize, head: u64) -> ReleaseBundle {
        let signers = self.holders.iter().take(signers).collect();
        bundle(&mut self.log, vec![(manifest, signers)], head)
    }

    fn give(&mut self, bundle: &ReleaseBundle) -> Result<(), AdminError> {
        let text = String::from_utf8(bundle.canonical().unwrap()).unwrap();
        self.give_text("appliance", &text)
    }

    fn give_text(&mut self, line: &str, text: &str) -> Result<(), AdminError> {
        let document = KeyId::new(&format!("hanzo/release/{line}")).unwrap();
        let identity: &KbsIdentity = &self.broker.made.identity;
        let (admin, number) = (self.broker.admin(), self.number + 1);
        block_on(admin::set_document(
            self.broker.address,
            identity,
            &admin,
            &document,
            number,
            text,
        ))?;
        self.number = number;
        Ok(())
    }

    fn ask(&self, image: Digest384) -> Result<(), String> {
        let guest = Guest::launched(LaunchSpec::new(image, CONFIG)).attested(self.broker.address);
        let reply = guest.ask(self.broker.address, KEY);
        match reply.status {
            200 => Ok(()),
            _ => Err(reply.error().1),
        }
    }
}

#[track_caller]
fn refused(outcome: Result<(), AdminError>, code: &str) {
    assert_eq!(outcome.unwrap_err().code(), code);
}

#[test]
fn a_key_follows_its_release_from_image_to_image_and_never_back() {
    let mut world = World::new(|_| {});
    assert_eq!(world.ask(IMAGE), Err("release.missing".into()));
    let three = world.release(3, IMAGE);
    world.give(&three).unwrap();
    assert_eq!(world.ask(IMAGE), Ok(()));
    assert_eq!(world.ask(NEXT), Err("snp.measurement".into()));
    world.broker.restart().unwrap();
    assert_eq!(
        world.ask(IMAGE),
        Ok(()),
        "it is in the store, and the chain tells of it"
    );
    // The same release under a newer head is taken; so is the next one, and then none before it.
    let again = world.signed(three.release.manifest.clone(), 2, now().0);
    world.give(&again).unwrap();
    let four = world.release(4, NEXT);
    world.give(&four).unwrap();
    assert_eq!(world.ask(NEXT), Ok(()));
    assert_eq!(world.ask(IMAGE), Err("snp.measurement".into()));
    refused(world.give(&three), "release.version.rolled_back");
    let other = world.release(4, IMAGE);
    refused(world.give(&other), "release.version.forked");
    assert_eq!(world.ask(IMAGE), Err("snp.measurement".into()));
    let lines = world.broker.audit();
    let told = |action: &str| lines.iter().filter(|l| l["action"] == action).count();
    assert_eq!(told("set-release"), 3);
    let images: Vec<_> = lines
        .iter()
        .filter(|l| l["action"] == "grant")
        .map(|l| l["about"].clone())
        .collect();
    assert_eq!(images, ["image 3", "image 3", "image 4"]);
}

#[test]
fn a_release_older_than_the_key_s_minimum_gets_no_key() {
    let mut world = World::new(|policy| policy.minimum_image_version = 4);
    let three = world.release(3, IMAGE);
    world.give(&three).unwrap();
    assert_eq!(world.ask(IMAGE), Err("kbs.image.too_old".into()));
    let four = world.release(4, IMAGE);
    world.give(&four).unwrap();
    assert_eq!(world.ask(IMAGE), Ok(()));
    // And one below the release policy's own minimum is not even taken.
    let mut world = World::new(|policy| policy.appraisal.release.as_mut().unwrap().minimum_version = 4);
    let three = world.release(3, IMAGE);
    refused(world.give(&three), "release.version.too_old");
}

#[test]
fn a_release_that_does_not_count_is_not_taken() {
    let mut world = World::new(|_| {});
    let manifest = World::manifest(3, IMAGE);
    let one = world.signed(manifest.clone(), 1, now().0);
    refused(world.give(&one), "release.quorum");
    let stale = world.signed(manifest.clone(), 2, now().0 - 86_405);
    refused(world.give(&stale), "release.head.stale");
    let mut changed = world.release(3, IMAGE);
    changed.release.manifest.sbom_sha384.0[0] ^= 1;
    refused(world.give(&changed), "release.signature.invalid");
    let mut far = World::manifest(9, IMAGE);
    far.minimum_previous_version = 5;
    let far = world.signed(far, 2, now().0);
    let text = String::from_utf8(world.release(3, IMAGE).canonical().unwrap()).unwrap();
    refused(world.give_text("beta", &text), "kbs.release.unused");
    refused(world.give_text("appliance", "{}"), "release.malformed");
    assert_eq!(
        world.ask(IMAGE),
        Err("release.missing".into()),
        "nothing of it was kept"
    );
    world.give_text("appliance", &text).unwrap();
    refused(world.give(&far), "release.version.gap");
    assert_eq!(world.ask(IMAGE), Ok(()));
}

#[test]
fn the_end_of_a_release_is_judged_when_the_key_is_asked_for() {
    let mut world = World::new(|_| {});
    let mut short = World::manifest(3, IMAGE);
    short.not_after = now().0 + 3;
    let short = world.signed(short, 3, now().0);
    world.give(&short).unwrap();
    while now().0 <= short.release.manifest.not_after {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_eq!(world.ask(IMAGE), Err("release.expired".into()));
}
