//! Image versions: who got a key raises the floor, over restarts and versions of the key, and nothing lowers it.

#[path = "support/harness.rs"]
mod harness;

use hanzo_attestation::Digest384;
use hanzo_attestation::name::Name;
use hanzo_policy::SnpReference;
use hanzo_simulated_tee::{LaunchSpec, simulated_measurement};
use hanzo_vault::KeyPolicy;
use harness::{Broker, CONFIG, Guest, IMAGE, policy};

const KEY: &str = "hanzo/dek/m";
const NEXT: Digest384 = Digest384([9; 48]);

/// Two images, of versions 1 and 2.
fn two_images() -> KeyPolicy {
    let mut policy = policy();
    policy.appraisal.snp.as_mut().unwrap().references.push(SnpReference {
        name: Name::new("next-image").unwrap(),
        measurement: simulated_measurement(&NEXT, &CONFIG),
        config_digest: CONFIG,
    });
    for (name, version) in [("test-image", 1), ("next-image", 2)] {
        policy.image_versions.insert(Name::new(name).unwrap(), version);
    }
    policy
}

fn ask(broker: &Broker, image: Digest384) -> Result<(), (u16, String)> {
    let guest = Guest::launched(LaunchSpec::new(image, CONFIG)).attested(broker.address);
    let reply = guest.ask(broker.address, KEY);
    match reply.status {
        200 => Ok(()),
        _ => Err(reply.error()),
    }
}

#[test]
fn an_image_that_was_replaced_gets_no_key_again() {
    let mut broker = Broker::simulated();
    broker.put(KEY, 1, &two_images()).unwrap();
    let back = Err((403, "kbs.image.rolled_back".to_owned()));
    assert_eq!(ask(&broker, IMAGE), Ok(()));
    assert_eq!(ask(&broker, NEXT), Ok(()));
    assert_eq!(ask(&broker, IMAGE), back);
    broker.restart().unwrap();
    assert_eq!(ask(&broker, IMAGE), back, "it outlives a restart");
    broker.put(KEY, 2, &two_images()).unwrap();
    assert_eq!(ask(&broker, IMAGE), back, "and a new version of the key");
    assert_eq!(ask(&broker, NEXT), Ok(()));
    // A policy that calls the old image 3 lets it in again: that is a widening, which needs a second admin.
    let mut renamed = two_images();
    renamed.image_versions.insert(Name::new("test-image").unwrap(), 3);
    assert!(!renamed.only_narrows(&two_images()));
    // One that names no version lets nobody in any more.
    let mut bare = two_images();
    bare.image_versions.clear();
    broker.set_policy(KEY, 2, &bare).unwrap();
    assert_eq!(ask(&broker, NEXT), Err((403, "kbs.image.unversioned".into())));

    let lines = broker.audit();
    let images: Vec<_> = lines
        .iter()
        .filter(|l| l["action"] == "grant")
        .map(|l| l["about"].clone())
        .collect();
    assert_eq!(images, ["image 1", "image 2", "image 2"]);
}

#[test]
fn the_policy_s_own_floor_only_goes_up() {
    let broker = Broker::simulated();
    let mut floor = two_images();
    floor.minimum_image_version = 2;
    broker.put(KEY, 1, &floor).unwrap();
    assert_eq!(ask(&broker, IMAGE), Err((403, "kbs.image.too_old".into())));
    assert_eq!(ask(&broker, NEXT), Ok(()));
    let lowered = broker.set_policy(KEY, 1, &two_images()).unwrap_err();
    assert_eq!(lowered.code(), "key_policy.minimum_image_version");
    let lowered = broker.put(KEY, 2, &two_images()).unwrap_err();
    assert_eq!(
        lowered.code(),
        "key_policy.minimum_image_version",
        "nor with a new version"
    );
}
