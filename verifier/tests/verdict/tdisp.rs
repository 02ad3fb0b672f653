//! Tier 4: the processor's own quote names the devices that are bound to the guest.

use hanzo_attestation::Digest384;
use hanzo_policy::{AllowList, GpuPolicy, PrivacyTier, TeeIoReference, Ueid};
use hanzo_simulated_tee::{DeviceSpec, QuoteFormat, SimulatedDevice, TdSpec};
use hanzo_verifier::VerifierContext;

use crate::fixture::*;
use crate::machine::*;
use crate::tdx;

const DEV_INFO: [u8; 48] = [0xd1; 48];

fn td() -> TdSpec {
    let mut td = TdSpec::new(QuoteFormat::V5Td15Extended);
    td.dev_info = DEV_INFO;
    td
}

fn gpu(number: u16) -> Vec<SimulatedDevice> {
    gpus([DeviceSpec::blackwell(number)])
}

/// Accepts this TD with one GPU at tier 4, `dev_info` standing for that of `number`.
fn context_for(td: &TdSpec, number: u16) -> VerifierContext {
    let mut table = GpuPolicy::any_device(1, 0);
    table.tee_io = vec![TeeIoReference {
        dev_info: Digest384(DEV_INFO),
        ueids: vec![Ueid::from_hex(&gpu(number)[0].device_id()).unwrap()],
    }];
    with_devices(tdx::context_of(td), PrivacyTier::GpuTeeIo, table)
}

#[test]
fn a_gpu_that_dev_info_stands_for_reaches_tier_4() {
    let result = verify(&compose(&gpu(1), tdx::by(&td())), &context_for(&td(), 1)).unwrap();
    assert_eq!(result.tier(), PrivacyTier::GpuTeeIo);
    assert_eq!(above(&result), [""; 0]);
    let view = result.view();
    assert_eq!(view.cpu_gpu_binding, "tdisp");
    assert_eq!(view.tdx.unwrap().dev_info, Some(hex::encode(DEV_INFO)));
}

#[test]
fn dev_info_of_another_gpu_of_none_and_of_more_are_refused() {
    let codes = |td: &TdSpec, devices: &[SimulatedDevice], context: &VerifierContext| {
        failed(verify(&compose(devices, tdx::by(td)), context))
    };
    let refused = |code| (vec![code], 40);
    // The value is listed for another GPU; the GPU is another; the value is another; there is none.
    assert_eq!(
        codes(&td(), &gpu(1), &context_for(&td(), 2)),
        refused("gpu.tee_io.dev_info")
    );
    assert_eq!(
        codes(&td(), &gpu(2), &context_for(&td(), 1)),
        refused("gpu.tee_io.dev_info")
    );
    let mut other = td();
    other.dev_info[47] ^= 1;
    assert_eq!(
        codes(&other, &gpu(1), &context_for(&td(), 1)),
        refused("gpu.tee_io.dev_info")
    );
    other.dev_info = [0; 48];
    assert_eq!(
        codes(&other, &gpu(1), &context_for(&td(), 1)),
        refused("gpu.tee_io.no_dev_info")
    );
    let mut unlisted = context_for(&td(), 1);
    unlisted.policy.gpu.as_mut().unwrap().tee_io.clear();
    assert_eq!(codes(&td(), &gpu(1), &unlisted), refused("gpu.tee_io.dev_info"));
    // It stands for two GPUs, and one answered.
    let mut two = context_for(&td(), 1);
    two.policy.gpu.as_mut().unwrap().tee_io[0]
        .ueids
        .push(Ueid::from_hex(&gpu(2)[0].device_id()).unwrap());
    assert_eq!(codes(&td(), &gpu(1), &two), refused("gpu.tee_io.dev_info"));
    // At tier 3 it is a GPU like any other.
    unlisted.policy.minimum_tier = PrivacyTier::GpuCc;
    let result = verify(&compose(&gpu(1), tdx::by(&td())), &unlisted).unwrap();
    assert_eq!(
        (result.tier(), result.view().cpu_gpu_binding),
        (PrivacyTier::GpuCc, "hash")
    );
}

#[test]
fn tier_4_needs_everything_below_it() {
    let mut debug = td();
    debug.td_attributes |= 1;
    let (codes, _) = failed(verify(&compose(&gpu(1), tdx::by(&debug)), &context_for(&td(), 1)));
    assert_eq!(codes, ["tdx.debug"]);
    let mut bundle = compose(&gpu(1), tdx::by(&td()));
    bundle.collateral.rims.clear();
    let (codes, _) = failed(verify(&bundle, &context_for(&td(), 1)));
    assert_eq!(codes, ["gpu.rim.missing"]);
    let mut context = context_for(&td(), 1);
    context.policy.gpu.as_mut().unwrap().hardware = AllowList::none();
    assert_eq!(
        failed(verify(&compose(&gpu(1), tdx::by(&td())), &context)),
        (vec!["gpu.hardware"], 40)
    );
    // dev_info without a single GPU in the evidence.
    let (codes, _) = failed(verify(&answer_by(tdx::by(&td())), &context_for(&td(), 1)));
    assert_eq!(codes, ["tier.gpu_cc.no_evidence", "tier.gpu_tee_io.no_evidence"]);
}
