//! Policies that name a line of releases: the reference values come from the manifest, judged anew for every verdict.

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384, UnixTime};
use hanzo_policy::release::{KERNELS_WITHOUT_HOST_AML, ReferenceMatrix, ReleaseBundle, ReleaseManifest, ReleasedFile};
use hanzo_policy::{ReleasePolicy, TpmReference};
use hanzo_verifier::{AttestationResult, VerifierContext, VerifyError, read_bundle, verify_bundle};

use crate::fixture::*;
use crate::line::{self, Holder, Log, asked, holders, manifest};

struct World {
    holders: [Holder; 3],
    log: Log,
    context: VerifierContext,
    matrix: ReferenceMatrix,
}

impl World {
    /// The healthy guest's reference moves out of the policy into a manifest.
    fn new() -> Self {
        let (holders, log) = (holders(["ada", "bob", "cyd"], 0x10), Log::new());
        let mut context = context();
        let matrix = ReferenceMatrix {
            snp: std::mem::take(&mut context.policy.snp.as_mut().unwrap().references),
            ..ReferenceMatrix::default()
        };
        context.policy = context.policy.with_release(asked(&holders, &log));
        Self {
            holders,
            log,
            context,
            matrix,
        }
    }

    fn manifest(&self) -> ReleaseManifest {
        manifest(7, self.matrix.clone(), NOW.0 - 100)
    }

    fn bundle(&mut self, manifest: ReleaseManifest, head: u64) -> ReleaseBundle {
        let signers = vec![&self.holders[0], &self.holders[1]];
        line::bundle(&mut self.log, vec![(manifest, signers)], head)
    }

    fn given(&self, bundle: &ReleaseBundle) -> VerifierContext {
        let mut context = self.context.clone();
        context.collateral.release = Some(bundle.canonical().unwrap());
        context
    }

    fn asked(&mut self) -> &mut ReleasePolicy {
        self.context.policy.release.as_mut().unwrap()
    }
}

fn outcome(result: Result<AttestationResult, VerifyError>) -> (&'static str, u8) {
    match result {
        Ok(_) => ("ok", 0),
        Err(e) => (e.code(), e.exit_code()),
    }
}

#[test]
fn a_guest_of_the_release_is_accepted_and_the_verdict_says_which_it_is() {
    let mut world = World::new();
    let bundle = world.bundle(world.manifest(), NOW.0 - 10);
    let result = verify(&healthy_bundle(), &world.given(&bundle)).unwrap();
    assert_eq!(result.reference_name(), Some("healthy"));
    assert_eq!(result.release().unwrap().manifest().version, 7);
    let shown = result.view().release.unwrap();
    assert_eq!((shown.name.as_str(), shown.version), ("appliance", 7));
    assert_eq!((shown.threshold, shown.keys, shown.witnesses), (2, 3, 0));
    assert_eq!(shown.signers, ["ada", "bob"]);
    // A verdict ends with what it rests on.
    let mut short = world.manifest();
    short.not_after = NOW.0 + 5;
    let bundle = world.bundle(short, NOW.0);
    let result = verify(&healthy_bundle(), &world.given(&bundle)).unwrap();
    assert_eq!(result.valid_until(), UnixTime(NOW.0 + 5));
    // Without it, and under another, nothing is accepted: neither now nor judged again.
    assert_eq!(
        outcome(verify(&healthy_bundle(), &world.context)),
        ("release.missing", 40)
    );
    let again = result.reappraise(&world.context.policy, NOW).unwrap_err();
    assert_eq!(again.code(), "release.missing");
    let read = read_bundle(&healthy_bundle().canonical().unwrap(), &world.context, NOW).unwrap_err();
    assert_eq!(read.code(), "release.missing");
}

#[test]
fn the_verdict_says_that_no_hosts_aml_runs_if_every_image_has_a_kernel_that_runs_none() {
    let mut world = World::new();
    let known = Digest256::from_hex(KERNELS_WITHOUT_HOST_AML[0]).unwrap();
    let mut near = known;
    near.0[31] ^= 1;
    let mut acpi = |kernels: &[Option<Digest256>]| {
        let mut manifest = world.manifest();
        let image = manifest.images[0].clone();
        let images = kernels.iter().zip(["core", "other"]).map(|(kernel, name)| {
            let mut image = image.clone();
            image.name = Name::new(name).unwrap();
            let any = *image.files.values().next().unwrap();
            image.files.clear();
            // Under another name it is no kernel.
            image
                .files
                .insert(Name::new("initrd").unwrap(), ReleasedFile { sha256: known, ..any });
            if let Some(sha256) = *kernel {
                image
                    .files
                    .insert(Name::new("kernel").unwrap(), ReleasedFile { sha256, ..any });
            }
            image
        });
        manifest.images = images.collect();
        let bundle = world.bundle(manifest, NOW.0);
        verify(&healthy_bundle(), &world.given(&bundle)).unwrap().view().acpi
    };
    assert_eq!(acpi(&[Some(known)]), "host-aml-refused");
    assert_eq!(acpi(&[Some(known), Some(known)]), "host-aml-refused");
    assert_eq!(acpi(&[Some(near)]), "unmeasured");
    assert_eq!(acpi(&[Some(known), Some(near)]), "unmeasured");
    assert_eq!(acpi(&[None]), "unmeasured");
}

#[test]
fn each_flaw_of_a_release_is_refused_with_its_own_code_and_class() {
    let mut world = World::new();
    let good = world.bundle(world.manifest(), NOW.0 - 10);
    let refused = |world: &World, bundle: &ReleaseBundle| outcome(verify(&healthy_bundle(), &world.given(bundle)));
    assert_eq!(refused(&world, &good), ("ok", 0));

    let mut one = good.clone();
    one.release.signatures.pop();
    assert_eq!(refused(&world, &one), ("release.quorum", 20));
    let mut changed = good.clone();
    changed.release.manifest.references.snp[0].measurement = Digest384([1; 48]);
    assert_eq!(refused(&world, &changed), ("release.signature.invalid", 20));
    let stale = world.bundle(world.manifest(), NOW.0 - 86_401);
    assert_eq!(refused(&world, &stale), ("release.head.stale", 30));
    let mut elsewhere = good.clone();
    elsewhere.release.index = 0;
    assert_eq!(refused(&world, &elsewhere), ("log.inclusion", 20));
    let mut old = world.manifest();
    old.not_after = NOW.0 - 1;
    let expired = world.bundle(old, NOW.0);
    assert_eq!(refused(&world, &expired), ("release.expired", 30));
    let mut narrow = world.manifest();
    narrow.capabilities.retain(|c| c.as_str() != "receipts");
    let narrow = world.bundle(narrow, NOW.0);
    assert_eq!(refused(&world, &narrow), ("release.capability", 40));
    let mut context = world.given(&good);
    context.collateral.release = Some(b"{}".to_vec());
    assert_eq!(outcome(verify(&healthy_bundle(), &context)), ("release.malformed", 10));
    world.asked().minimum_version = 8;
    assert_eq!(refused(&world, &good), ("release.version.too_old", 40));
}

#[test]
fn an_image_that_the_release_does_not_name_is_refused_by_the_ordinary_rule() {
    let mut world = World::new();
    world.matrix.snp[0].measurement = Digest384([0xab; 48]);
    let other = world.bundle(world.manifest(), NOW.0);
    let refused = verify(&healthy_bundle(), &world.given(&other)).unwrap_err();
    assert_eq!(refused.exit_code(), 40);
    assert!(
        refused.failures().iter().any(|f| f.code == "snp.measurement"),
        "{refused}"
    );
}

#[test]
fn a_release_admits_no_kind_that_the_policy_has_no_table_for() {
    let mut world = World::new();
    world.context.policy.snp = None;
    let bundle = world.bundle(world.manifest(), NOW.0);
    let refused = verify(&healthy_bundle(), &world.given(&bundle)).unwrap_err();
    assert!(
        refused.failures().iter().any(|f| f.code == "snp.not_admitted"),
        "{refused}"
    );
}

#[test]
fn a_verdict_in_a_year_is_judged_by_the_clock_of_then() {
    let mut world = World::new();
    let bundle = world.bundle(world.manifest(), NOW.0);
    let later = UnixTime(NOW.0 + 86_401);
    let refused = verify_bundle(
        &healthy_bundle().canonical().unwrap(),
        &CHALLENGE,
        &world.given(&bundle),
        later,
    )
    .unwrap_err();
    assert_eq!(refused.code(), "release.head.stale");
}

/// Unused by SNP guests: references of other kinds travel along.
#[test]
fn references_of_other_kinds_do_no_harm() {
    let mut world = World::new();
    world.matrix.tpm = vec![TpmReference {
        name: name("tpm"),
        config_digest: healthy().config_digest,
        pcrs: hanzo_policy::PcrValues([(4, healthy().config_digest)].into()),
        pcrs_sha384: hanzo_policy::PcrValues::none(),
    }];
    let bundle = world.bundle(world.manifest(), NOW.0);
    assert_eq!(outcome(verify(&healthy_bundle(), &world.given(&bundle))), ("ok", 0));
}
