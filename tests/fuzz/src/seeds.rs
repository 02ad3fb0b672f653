//! Inputs to start from, all made by the simulator: `HANZO_WRITE_SEEDS=corpus` with any target writes them and ends.

use std::path::Path;

use hanzo_attestation::UnixTime;
use hanzo_simulated_tee::{
    AkKind, CollateralSpec, DeviceSpec, LogBuilder, OcspSpec, QuoteFormat, RimSpec, SimulatedNvidia,
    SimulatedRimIssuer, SimulatedTdx, SimulatedTpm, TdSpec, TpmSpec,
};

use crate::{NOW, snp_seed};

/// Writes the committed corpus if the environment asks for it.
pub fn write_if_asked() {
    let Some(folder) = std::env::var_os("HANZO_WRITE_SEEDS") else {
        return;
    };
    for (target, name, bytes) in all() {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).expect("a folder for seeds");
        std::fs::write(folder.join(name), bytes).expect("a seed");
    }
    std::process::exit(0);
}

/// Each part after its length, as the targets split them.
fn joined<const N: usize>(parts: [&[u8]; N]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend(u16::try_from(part.len()).expect("a short part").to_le_bytes());
        out.extend(part);
    }
    out
}

fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let snp = snp_seed();
    let tdx = SimulatedTdx::for_tests();
    let formats = [
        ("td10-v4", QuoteFormat::V4),
        ("td15-v5", QuoteFormat::V5Td15),
        ("td15-extended-v5", QuoteFormat::V5Td15Extended),
    ];
    let collateral = tdx.collateral(&CollateralSpec::new(UnixTime(NOW.0)));
    let tpm = SimulatedTpm::for_tests();
    let quote = tpm.evidence(&[7; 32]);
    let azure = TpmSpec {
        ak: AkKind::Rsa2048,
        ..TpmSpec::new("azure")
    };
    let azure = SimulatedTpm::from_seed(&[5; 32], &azure).expect("an RSA key");
    let hcl = azure.az_snp(&crate::guest(), &[7; 32]);
    let vendor = SimulatedNvidia::for_tests();
    let device = vendor.device(DeviceSpec::hopper(1));
    let gpu = device.evidence(&[7; 32]);
    let read = hanzo_attestation::nvidia::read_unauthenticated(&gpu).expect("the simulator's report");
    let rim = RimSpec::of_measurements("GH100", "550.90.07", &read.measurements, 1..=8);
    let ocsp = vendor.ocsp(&device, 0, &OcspSpec::good(NOW.0));
    let bundle = include_bytes!("../../../attestation/tests/vectors/bundle.json").to_vec();
    let policy = include_bytes!("../../../policy/example-policy.toml").to_vec();
    let mut verify = NOW.0.to_le_bytes().to_vec();
    verify.extend(joined([&policy]));
    verify.extend(&bundle);
    let mut out = vec![
        ("snp_report", "report", snp.report.0.clone()),
        ("snp_evidence", "evidence", joined([&snp.report.0, &snp.vek.0, &[], &[]])),
        (
            "tdx_collateral",
            "collateral",
            joined([
                &collateral.pck_crl.0,
                collateral.pck_crl_issuer_chain.as_bytes(),
                collateral.qe_identity.as_bytes(),
                collateral.qe_identity_issuer_chain.as_bytes(),
                &collateral.qe_identity_signature.0,
                &collateral.root_ca_crl.0,
                collateral.tcb_info.as_bytes(),
                collateral.tcb_info_issuer_chain.as_bytes(),
                &collateral.tcb_info_signature.0,
            ]),
        ),
        (
            "tpm_quote",
            "quote",
            joined([&quote.ak_public.0, &quote.quote.message.0, &quote.quote.signature.0, &[], &[]]),
        ),
        (
            "hcl_report",
            "snp",
            joined([&hcl.hcl_report.0, &hcl.quote.message.0, &hcl.quote.signature.0, &hcl.vek.0]),
        ),
        ("prediction", "log", LogBuilder::tcg().boot("quiet").bytes().to_vec()),
        ("event_log", "tcg", LogBuilder::tcg().boot("quiet").bytes().to_vec()),
        ("event_log", "ccel", LogBuilder::ccel().boot("quiet").bytes().to_vec()),
        ("nvidia_report", "hopper", joined([&gpu.certificates.0, &gpu.report.0])),
        ("rim", "driver", SimulatedRimIssuer::for_tests().sign(&rim)),
        ("ocsp", "good", joined([&device.certificates()[0], &device.certificates()[1], &ocsp])),
        ("foreign", "bundle", bundle.clone()),
        ("foreign", "snp-report", snp.report.0.clone()),
        ("bundle", "bundle", bundle.clone()),
        ("config", "config", include_bytes!("../../../attestation/tests/vectors/config.toml").to_vec()),
        ("policy", "policy", policy),
        ("verify", "verify", verify),
    ];
    out.extend(crate::boot::seeds());
    for (name, format) in formats {
        out.push(("tdx_quote", name, tdx.quote(&TdSpec::new(format), &[7; 64])));
    }
    out
}
