//! Each rule against an accepted base case and its nearest refused twin; then the properties of the whole ladder.

use std::collections::BTreeMap;

use hanzo_attestation::name::Name;
use hanzo_attestation::nvidia::{Fwid, NvidiaArch, NvidiaClaims, OcspOutcome, RimOutcome};
use hanzo_attestation::snp::{FirmwareVersion, Product, SigningKey, SnpClaims, SnpReport, TcbVersion};
use hanzo_attestation::tdx::{PckPlatform, TcbStatus, Td15, Td15Extended, TdxClaims};
use hanzo_attestation::tpm::{AkOrigin, AzSnpClaims, AzTdxClaims, HclClaims, TpmClaims, VmConfiguration};
use hanzo_attestation::{Claims, Digest256, Digest384, Revocation, UnixTime};

use crate::appraisal::{Appraisal, of_facts};
use crate::facts::{Facts, Link};
use crate::hardware::{ChipId, Ppid, Ueid};
use crate::policy::gpu::{GpuPolicy, TeeIoReference};
use crate::policy::snp::{MilanPolicy, SnpParavisor, SnpPolicy, SnpReference};
use crate::policy::tdx::{TdxParavisor, TdxPolicy, TdxReference};
use crate::policy::tpm::{PcrValues, TpmPolicy, TpmReference};
use crate::policy::{AllowList, AppraisalPolicy, EpycTcb, Presence, RevocationPolicy, TcbFloors, TurinTcb};
use crate::tier::PrivacyTier;

mod gpu;
mod monotone;
mod paravisor;
mod primary;
mod real;
mod snp;
mod tdx;
mod tpm;

/// Everything one appraisal looks at, to be changed at will.
#[derive(Debug, Clone)]
struct Evidence {
    claims: Claims,
    devices: Vec<NvidiaClaims>,
    revocation: Revocation,
    link: Link,
    td_log: bool,
    tpm_log: bool,
    list_is_signed: bool,
}

impl Evidence {
    fn of(claims: Claims) -> Self {
        Self {
            claims,
            devices: vec![],
            revocation: Revocation::Checked {
                next_update: UnixTime(10),
            },
            link: Link::Keyset {
                config_digest: CONFIG,
                challenged: true,
            },
            td_log: false,
            tpm_log: false,
            list_is_signed: true,
        }
    }

    fn snp(&mut self) -> &mut SnpClaims {
        match &mut self.claims {
            Claims::Snp(c) => c,
            Claims::AzSnp(c) => &mut c.snp,
            _ => panic!("no SNP claims"),
        }
    }

    fn report(&mut self) -> &mut SnpReport {
        &mut self.snp().report
    }

    fn tdx(&mut self) -> &mut TdxClaims {
        match &mut self.claims {
            Claims::Tdx(c) => c,
            Claims::AzTdx(c) => &mut c.tdx,
            _ => panic!("no TDX claims"),
        }
    }

    fn tpm(&mut self) -> &mut TpmClaims {
        match &mut self.claims {
            Claims::Tpm(c) => c,
            Claims::AzSnp(c) => &mut c.tpm,
            Claims::AzTdx(c) => &mut c.tpm,
            _ => panic!("no TPM claims"),
        }
    }

    fn facts(&self) -> Facts<'_> {
        let mut facts = Facts::of_claims(&self.claims, self.revocation, self.link.clone());
        facts.td_log |= self.td_log;
        facts.tpm_log |= self.tpm_log;
        facts.list_is_signed = self.list_is_signed;
        for device in &self.devices {
            facts.add(device);
        }
        facts
    }

    fn appraise(&self, policy: &AppraisalPolicy) -> Appraisal {
        of_facts(&self.facts(), false, policy)
    }

    /// Codes of the rules that keep the evidence below `tier`.
    fn codes(&self, policy: &AppraisalPolicy, tier: PrivacyTier) -> Vec<&'static str> {
        self.appraise(policy).failures_for(tier).map(|f| f.code).collect()
    }
}

type Change = fn(&mut Evidence, &mut AppraisalPolicy);

/// The base case reaches `tier`; each change is refused by its code alone and leaves the evidence at `falls_to`.
fn each_refuses(
    base: fn() -> (Evidence, AppraisalPolicy),
    tier: PrivacyTier,
    falls_to: PrivacyTier,
    cases: &[(&str, Change)],
) {
    let (evidence, policy) = base();
    assert_eq!(evidence.appraise(&policy).tier(), tier);
    for (code, change) in cases {
        let (mut evidence, mut policy) = base();
        change(&mut evidence, &mut policy);
        let above: Vec<_> = evidence
            .appraise(&policy)
            .failures()
            .iter()
            .filter(|f| f.tier == tier)
            .map(|f| f.code)
            .collect();
        assert_eq!(above, [*code]);
        let appraisal = evidence.appraise(&policy);
        assert_eq!(appraisal.tier(), falls_to, "{code}");
        assert!(!appraisal.is_accepted(), "{code}");
        let failure = appraisal.failures().iter().find(|f| f.code == *code).unwrap();
        assert!(
            failure.text.contains("expected") || *code == "gpu.tee_io.sev_tio_not_verified",
            "{}",
            failure.text
        );
        assert!(!failure.help.is_empty());
    }
}

/// Each change leaves the base case at `tier`.
fn each_accepts(base: fn() -> (Evidence, AppraisalPolicy), tier: PrivacyTier, cases: &[(&str, Change)]) {
    for (what, change) in cases {
        let (mut evidence, mut policy) = base();
        change(&mut evidence, &mut policy);
        let appraisal = evidence.appraise(&policy);
        assert_eq!(appraisal.tier(), tier, "{what}: {:?}", evidence.codes(&policy, tier));
        assert!(appraisal.is_accepted());
    }
}

const CONFIG: Digest256 = Digest256([8; 32]);
const MEASURED: [u8; 48] = [7; 48];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn tcb(level: u8) -> TcbVersion {
    TcbVersion {
        fmc: None,
        bootloader: level,
        tee: level,
        snp: level,
        microcode: level,
    }
}

fn epyc(level: u8) -> EpycTcb {
    EpycTcb {
        bootloader: level,
        tee: level,
        snp: level,
        microcode: level,
    }
}

fn snp_claims() -> SnpClaims {
    let firmware = FirmwareVersion {
        major: 1,
        minor: 55,
        build: 21,
    };
    SnpClaims {
        product: Product::Genoa,
        signing_key: SigningKey::Vcek,
        provider: None,
        report: SnpReport {
            version: 5,
            guest_svn: 3,
            policy: 0x3_0137,
            family_id: [0; 16],
            image_id: [0; 16],
            vmpl: 0,
            current_tcb: tcb(5),
            platform_info: 0b10_0100,
            author_key_enabled: false,
            mask_chip_key: false,
            signing_key: SigningKey::Vcek,
            report_data: [0; 64],
            measurement: MEASURED,
            host_data: [6; 32],
            id_key_digest: [4; 48],
            author_key_digest: [0; 48],
            report_id: [0; 32],
            report_id_ma: [0xff; 32],
            reported_tcb: tcb(5),
            cpuid: None,
            chip_id: [9; 64],
            committed_tcb: tcb(5),
            current_firmware: firmware,
            committed_firmware: firmware,
            launch_tcb: tcb(5),
            launch_mitigations: Some(0b11),
            current_mitigations: Some(0b11),
        },
    }
}

fn tdx_claims() -> TdxClaims {
    TdxClaims {
        quote_version: 4,
        tee_tcb_svn: [5, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        mr_seam: [3; 48],
        mr_signer_seam: [0; 48],
        seam_attributes: 0,
        td_attributes: 1 << 28,
        xfam: 0x6_00e7,
        mr_td: MEASURED,
        mr_config_id: [0; 48],
        mr_owner: [0; 48],
        mr_owner_config: [0; 48],
        rtmr: [[10; 48], [11; 48], [12; 48], [13; 48]],
        report_data: [0; 64],
        td15: None,
        td15_extended: None,
        fmspc: [0; 6],
        ppid: [2; 16],
        platform: PckPlatform {
            cpu_svn: [0; 16],
            pce_svn: 0,
            pce_id: [0; 2],
            sgx_type: 1,
            platform_instance_id: None,
            dynamic_platform: None,
            cached_keys: None,
            smt_enabled: None,
        },
        tcb_date: UnixTime(0),
        tcb_status: TcbStatus::UpToDate,
        advisories: vec![],
        tcb_evaluation_data_number: 18,
        collateral_expires: UnixTime(10),
        event_log: None,
    }
}

fn tpm_claims() -> TpmClaims {
    TpmClaims {
        qualifying_data: vec![],
        pcrs: BTreeMap::from([(0, [20; 32]), (4, [24; 32]), (7, [27; 32])]),
        pcrs_sha384: BTreeMap::from([(0, [80; 48]), (4, [84; 48])]),
        firmware_version: 0,
        resets: (0, 0),
        clock_safe: true,
        ak: Digest256([30; 32]),
        ak_origin: AkOrigin::Chained {
            root: Digest256([31; 32]),
        },
        event_log: None,
    }
}

fn hcl() -> HclClaims {
    HclClaims {
        var_data: vec![],
        user_data: None,
        configuration: VmConfiguration::default(),
    }
}

fn snp_table() -> SnpPolicy {
    let floors = TcbFloors {
        genoa: Some(epyc(5)),
        ..TcbFloors::default()
    };
    let mut table = SnpPolicy::any_chip(
        floors,
        vec![SnpReference {
            name: name("base"),
            measurement: Digest384(MEASURED),
            config_digest: CONFIG,
        }],
    );
    table.hardware = AllowList::Listed(vec![ChipId::new([9; 64]).unwrap()]);
    table
}

fn tdx_reference() -> TdxReference {
    TdxReference {
        name: name("base"),
        mrtd: Digest384(MEASURED),
        rtmr0: Digest384([10; 48]),
        rtmr1: Digest384([11; 48]),
        rtmr2: Digest384([12; 48]),
        rtmr3: Digest384([13; 48]),
        config_digest: CONFIG,
    }
}

fn tdx_table() -> TdxPolicy {
    let mut table = TdxPolicy::any_platform(vec![tdx_reference()]);
    table.hardware = AllowList::Listed(vec![Ppid::new([2; 16]).unwrap()]);
    table
}

fn tpm_table() -> TpmPolicy {
    TpmPolicy::any_pinned(vec![TpmReference {
        name: name("base"),
        config_digest: CONFIG,
        pcrs: PcrValues(BTreeMap::from([(4, Digest256([24; 32])), (7, Digest256([27; 32]))])),
        pcrs_sha384: PcrValues(BTreeMap::from([(4, Digest384([84; 48]))])),
    }])
}

/// SNP guest and the policy that it reaches tier 2 under.
fn snp_guest() -> (Evidence, AppraisalPolicy) {
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(snp_table());
    (Evidence::of(Claims::Snp(snp_claims())), policy)
}

/// TDX guest and the policy that it reaches tier 2 under.
fn td_guest() -> (Evidence, AppraisalPolicy) {
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee).with_tdx(tdx_table());
    (Evidence::of(Claims::Tdx(Box::new(tdx_claims()))), policy)
}

/// A machine with a TPM and the policy that it reaches tier 1 under.
fn tpm_machine() -> (Evidence, AppraisalPolicy) {
    let policy = AppraisalPolicy::closed(PrivacyTier::AtRest).with_tpm(tpm_table());
    (Evidence::of(Claims::Tpm(Box::new(tpm_claims()))), policy)
}

fn gpu(ueid: &str) -> NvidiaClaims {
    NvidiaClaims {
        arch: NvidiaArch::Hopper,
        nonce: [0; 32],
        ueid: ueid.into(),
        device_id: format!("d0{ueid}"),
        chip: "GH100".into(),
        board: "1010_0200_882".into(),
        nvdec0_enabled: Some(true),
        driver_version: Some("570.86.15".into()),
        vbios_version: "96.00.9F.00.01".into(),
        fwid: Fwid::Matched,
        protected_pcie: Some(false),
        feature_flag: Some(0),
        switch_pdis: vec![],
        gpu_pdis: vec![],
        own_pdi: None,
        opaque: BTreeMap::new(),
        measurements: BTreeMap::new(),
        rim: RimOutcome::Matched {
            ids: vec!["NV_GPU_DRIVER_GH100_570.86.15".into()],
            expires: UnixTime(10),
        },
        ocsp: OcspOutcome::Good {
            next_update: UnixTime(10),
        },
    }
}

/// A TDX guest with one GPU and the policy that it reaches tier 3 under.
fn gpu_guest() -> (Evidence, AppraisalPolicy) {
    let (mut evidence, mut policy) = td_guest();
    evidence.devices = vec![gpu("a1")];
    policy.minimum_tier = PrivacyTier::GpuCc;
    policy.gpu = Some(GpuPolicy::any_device(1, 0));
    (evidence, policy)
}

/// Two GPUs behind two switches under protected PCIe, naming each other.
fn fabric_guest() -> (Evidence, AppraisalPolicy) {
    let (mut evidence, mut policy) = gpu_guest();
    let (gpu_ids, switch_ids) = (vec![[1; 8], [2; 8]], vec![[0x51; 8], [0x52; 8]]);
    let protected = |ueid: &str, own: [u8; 8]| NvidiaClaims {
        own_pdi: Some(own),
        protected_pcie: Some(true),
        feature_flag: Some(2),
        switch_pdis: switch_ids.clone(),
        ..gpu(ueid)
    };
    let switch = |ueid: &str, own: [u8; 8]| NvidiaClaims {
        arch: NvidiaArch::Ls10,
        driver_version: None,
        fwid: Fwid::Absent,
        feature_flag: None,
        gpu_pdis: gpu_ids.clone(),
        own_pdi: Some(own),
        ..gpu(ueid)
    };
    evidence.devices = vec![
        protected("a1", [1; 8]),
        protected("a2", [2; 8]),
        switch("b1", [0x51; 8]),
        switch("b2", [0x52; 8]),
    ];
    policy.gpu = Some(GpuPolicy::any_device(2, 2));
    (evidence, policy)
}

const DEV_INFO: [u8; 48] = [0xd1; 48];

/// A TDX Connect guest whose quote names its one GPU.
fn tee_io_guest() -> (Evidence, AppraisalPolicy) {
    let (mut evidence, mut policy) = gpu_guest();
    let claims = evidence.tdx();
    claims.td15 = Some(Td15 {
        tee_tcb_svn2: claims.tee_tcb_svn,
        mr_service_td: [0; 48],
    });
    claims.td15_extended = Some(Td15Extended {
        vm_id: Default::default(),
        td_id: Default::default(),
        dev_info: DEV_INFO,
        init_service_td_hash: [0; 48],
        init_service_td_attributes: 0,
        init_cpu_svn: [0; 16],
        init_tee_tcb_svn: claims.tee_tcb_svn,
        init_tee_fmspc: [0; 12],
        cur_service_td_hash: [0; 48],
        cur_service_td_attributes: 0,
        raw: vec![],
    });
    policy.minimum_tier = PrivacyTier::GpuTeeIo;
    policy.gpu.as_mut().unwrap().tee_io = vec![TeeIoReference {
        dev_info: Digest384(DEV_INFO),
        ueids: vec![Ueid::from_hex("a1").unwrap()],
    }];
    (evidence, policy)
}

/// An SNP guest under a paravisor.
fn az_snp_guest() -> (Evidence, AppraisalPolicy) {
    let mut tpm = tpm_claims();
    tpm.ak_origin = AkOrigin::CpuEvidence;
    let mut table = snp_table();
    table.references.clear();
    table.paravisors = vec![SnpParavisor {
        name: name("hcl"),
        measurement: Digest384(MEASURED),
    }];
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee)
        .with_snp(table)
        .with_tpm(tpm_table());
    let snp = snp_claims();
    (
        Evidence::of(Claims::AzSnp(Box::new(AzSnpClaims { snp, tpm, hcl: hcl() }))),
        policy,
    )
}

/// A TDX guest under a paravisor.
fn az_td_guest() -> (Evidence, AppraisalPolicy) {
    let mut tpm = tpm_claims();
    tpm.ak_origin = AkOrigin::CpuEvidence;
    let mut table = tdx_table();
    table.references.clear();
    table.paravisors = vec![TdxParavisor {
        name: name("hcl"),
        mrtd: Digest384(MEASURED),
        rtmr0: Digest384([10; 48]),
        rtmr1: Digest384([11; 48]),
        rtmr2: Digest384([12; 48]),
        rtmr3: Digest384([13; 48]),
    }];
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee)
        .with_tdx(table)
        .with_tpm(tpm_table());
    let tdx = tdx_claims();
    (
        Evidence::of(Claims::AzTdx(Box::new(AzTdxClaims { tdx, tpm, hcl: hcl() }))),
        policy,
    )
}
