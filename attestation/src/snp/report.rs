//! ATTESTATION_REPORT: 1184 bytes, versions 2 to 5 (56860 revision 1.58, table 23).

use super::cursor::Cursor;
use super::error::SnpError;
use super::product::{CpuId, Product};
use super::tcb::TcbVersion;

/// Length of an ATTESTATION_REPORT in bytes.
pub const REPORT_BYTES: usize = 1184;
/// The signature covers the bytes before this offset.
pub const SIGNED_BYTES: usize = 0x2a0;

/// Which key signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKey {
    /// Of this chip.
    Vcek,
    /// Of a cloud provider; the chip is not named.
    Vlek,
}

/// A firmware version: CURRENT_* and COMMITTED_*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirmwareVersion {
    /// Major API version.
    pub major: u8,
    /// Minor API version.
    pub minor: u8,
    /// Build.
    pub build: u8,
}

/// The fields of a report. The raw bytes are what the signature covers.
///
/// # Layout
/// Little endian; offsets are given per field. Whatever is not listed is reserved and must be zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpReport {
    /// 0x000: 2 to 5.
    pub version: u32,
    /// 0x004: guest security version from the ID block.
    pub guest_svn: u32,
    /// 0x008: guest policy; bit 19 is DEBUG, bit 18 MIGRATE_MA, bit 17 reserved and one. See [`GuestPolicy`].
    pub policy: u64,
    /// 0x010: FAMILY_ID from the ID block.
    pub family_id: [u8; 16],
    /// 0x020: IMAGE_ID from the ID block.
    pub image_id: [u8; 16],
    /// 0x030: privilege level that asked for the report.
    pub vmpl: u32,
    /// 0x038: TCB running now.
    pub current_tcb: TcbVersion,
    /// 0x040: PLATFORM_INFO; see [`PlatformInfo`].
    pub platform_info: u64,
    /// 0x048 bit 0: AUTHOR_KEY_DIGEST is that of the key that signed the ID key.
    pub author_key_enabled: bool,
    /// 0x048 bit 1: the platform withholds its key, the signature field is zero. Never authentic.
    pub mask_chip_key: bool,
    /// 0x048 bits 4:2.
    pub signing_key: SigningKey,
    /// 0x050: the 64 bytes the guest had signed.
    pub report_data: [u8; 64],
    /// 0x090: launch digest.
    pub measurement: [u8; 48],
    /// 0x0C0: from the host at launch.
    pub host_data: [u8; 32],
    /// 0x0E0: SHA-384 of the ID key; zero without ID block.
    pub id_key_digest: [u8; 48],
    /// 0x110: SHA-384 of the author key; zero unless `author_key_enabled`.
    pub author_key_digest: [u8; 48],
    /// 0x140: REPORT_ID of this guest.
    pub report_id: [u8; 32],
    /// 0x160: REPORT_ID of its migration agent; all ones without one.
    pub report_id_ma: [u8; 32],
    /// 0x180: what the VEK certificate's extensions must equal.
    pub reported_tcb: TcbVersion,
    /// 0x188: from version 3 on.
    pub cpuid: Option<CpuId>,
    /// 0x1A0: CHIP_ID; on Turin 8 bytes and zeros; zero when masked.
    pub chip_id: [u8; 64],
    /// 0x1E0: TCB that was committed.
    pub committed_tcb: TcbVersion,
    /// 0x1E8: firmware running now.
    pub current_firmware: FirmwareVersion,
    /// 0x1EC: firmware that was committed.
    pub committed_firmware: FirmwareVersion,
    /// 0x1F0: TCB at launch of this guest.
    pub launch_tcb: TcbVersion,
    /// 0x1F8: mitigations at launch, from version 5 on.
    pub launch_mitigations: Option<u64>,
    /// 0x200: mitigations now, from version 5 on.
    pub current_mitigations: Option<u64>,
}

/// A report whose layout was checked, with its signature in the order aws-lc wants. Nothing is known about its origin.
pub(super) struct ParsedReport {
    pub(super) product: Product,
    pub(super) report: SnpReport,
    /// r and s, 48 bytes each, big endian.
    pub(super) signature: [u8; 96],
}

/// Reads a report without authenticating it: for display, and for choosing a VEK certificate to fetch.
///
/// Reports of version 2 carry no CPUID; their `product` must be given.
///
/// # Does not establish
/// Anything about who made the report.
///
/// # Errors
/// [`SnpError`] with class malformed; [`SnpError::ProductMismatch`] if `product` and CPUID disagree.
pub fn read_unauthenticated(bytes: &[u8], product: Option<Product>) -> Result<(Product, SnpReport), SnpError> {
    check_head(bytes)?;
    let parsed = ParsedReport::parse(bytes, product)?;
    Ok((parsed.product, parsed.report))
}

/// Length and version: what must hold before anything else is looked at.
pub(super) fn check_head(bytes: &[u8]) -> Result<u32, SnpError> {
    if bytes.len() != REPORT_BYTES {
        return Err(SnpError::Length { got: bytes.len() });
    }
    match Cursor::new(bytes).u32()? {
        version @ 2..=5 => Ok(version),
        got => Err(SnpError::Version { got }),
    }
}

impl ParsedReport {
    pub(super) fn parse(bytes: &[u8], product: Option<Product>) -> Result<Self, SnpError> {
        let version = check_head(bytes)?;
        let cpuid = read_cpuid(bytes, version)?;
        let product = choose_product(product, cpuid)?;
        let tcb = |field, offset, raw| TcbVersion::from_bytes(product, field, offset, raw);

        let mut at = Cursor::new(bytes);
        at.u32()?;
        let guest_svn = at.u32()?;
        let policy = at.u64()?;
        let family_id = at.take()?;
        let image_id = at.take()?;
        let vmpl = at.u32()?;
        match at.u32()? {
            1 => {}
            got => return Err(SnpError::SignatureAlgorithm { got }),
        }
        let current_tcb = tcb("CURRENT_TCB", 0x38, at.take()?)?;
        let platform_info = at.u64()?;
        let flags = Flags::parse(at.u32()?)?;
        at.zeros::<4>("0x4C")?;
        let report_data = at.take()?;
        let measurement = at.take()?;
        let host_data = at.take()?;
        let id_key_digest = at.take()?;
        let author_key_digest = at.take()?;
        let report_id = at.take()?;
        let report_id_ma = at.take()?;
        let reported_tcb = tcb("REPORTED_TCB", 0x180, at.take()?)?;
        at.take::<3>()?;
        at.zeros::<21>("0x18B")?;
        let chip_id = at.take()?;
        let committed_tcb = tcb("COMMITTED_TCB", 0x1e0, at.take()?)?;
        let current_firmware = firmware(&mut at)?;
        at.zeros::<1>("0x1EB")?;
        let committed_firmware = firmware(&mut at)?;
        at.zeros::<1>("0x1EF")?;
        let launch_tcb = tcb("LAUNCH_TCB", 0x1f0, at.take()?)?;
        let (launch_mitigations, current_mitigations) = if version >= 5 {
            (Some(at.u64()?), Some(at.u64()?))
        } else {
            at.zeros::<16>("0x1F8")?;
            (None, None)
        };
        at.zeros::<152>("0x208")?;
        let signature = signature(&mut at)?;
        at.finish()?;

        let report = SnpReport {
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            current_tcb,
            platform_info,
            author_key_enabled: flags.author_key_enabled,
            mask_chip_key: flags.mask_chip_key,
            signing_key: flags.signing_key,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            cpuid,
            chip_id,
            committed_tcb,
            current_firmware,
            committed_firmware,
            launch_tcb,
            launch_mitigations,
            current_mitigations,
        };
        Ok(Self {
            product,
            report,
            signature,
        })
    }
}

impl SnpReport {
    /// True if CHIP_ID is zero: the platform masks it, or a VLEK signed.
    pub fn chip_id_masked(&self) -> bool {
        self.chip_id == [0; 64]
    }

    /// The guest policy, by its bits.
    pub fn guest_policy(&self) -> GuestPolicy {
        GuestPolicy(self.policy)
    }

    /// The platform's state, by its bits.
    pub fn platform(&self) -> PlatformInfo {
        PlatformInfo(self.platform_info)
    }
}

fn read_cpuid(bytes: &[u8], version: u32) -> Result<Option<CpuId>, SnpError> {
    let mut at = Cursor::new(bytes.get(0x188..).unwrap_or_default());
    let [family, model, stepping] = at.take()?;
    match (version, family, model, stepping) {
        (3.., ..) => Ok(Some(CpuId {
            family,
            model,
            stepping,
        })),
        (_, 0, 0, 0) => Ok(None),
        _ => Err(SnpError::Reserved {
            field: "0x188 (CPUID, version 3 on)",
            offset: 0x188,
        }),
    }
}

fn choose_product(given: Option<Product>, cpuid: Option<CpuId>) -> Result<Product, SnpError> {
    let by_cpuid = cpuid.map(Product::from_cpuid).transpose()?;
    match (given, by_cpuid) {
        (Some(given), Some(by_cpuid)) if given != by_cpuid => Err(SnpError::ProductMismatch {
            certificate: given,
            report: by_cpuid,
        }),
        (Some(product), _) | (None, Some(product)) => Ok(product),
        (None, None) => Err(SnpError::ProductUnknown {
            got: "a version 2 report without certificate".into(),
        }),
    }
}

fn firmware(at: &mut Cursor<'_>) -> Result<FirmwareVersion, SnpError> {
    let (build, minor, major) = (at.u8()?, at.u8()?, at.u8()?);
    Ok(FirmwareVersion { major, minor, build })
}

struct Flags {
    author_key_enabled: bool,
    mask_chip_key: bool,
    signing_key: SigningKey,
}

impl Flags {
    fn parse(flags: u32) -> Result<Self, SnpError> {
        if flags >> 5 != 0 {
            return Err(SnpError::Reserved {
                field: "0x48 bits 31:5",
                offset: 0x48,
            });
        }
        let signing_key = match flags >> 2 & 7 {
            0 => SigningKey::Vcek,
            1 => SigningKey::Vlek,
            got => return Err(SnpError::SigningKey { got }),
        };
        Ok(Self {
            author_key_enabled: flags & 1 != 0,
            mask_chip_key: flags & 2 != 0,
            signing_key,
        })
    }
}

/// r and s stand as 72 little-endian bytes each, then 368 zeros; P-384 fills 48 of the 72.
fn signature(at: &mut Cursor<'_>) -> Result<[u8; 96], SnpError> {
    let mut fixed = [0; 96];
    let (r, s) = fixed.split_at_mut(48);
    for (half, field) in [(r, "SIGNATURE.R"), (s, "SIGNATURE.S")] {
        let mut value: [u8; 48] = at.take()?;
        value.reverse();
        half.copy_from_slice(&value);
        at.zeros::<24>(field)?;
    }
    at.zeros::<368>("SIGNATURE")?;
    Ok(fixed)
}

/// POLICY by its bits (56860, table 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestPolicy(pub u64);

impl GuestPolicy {
    fn bit(self, n: u32) -> bool {
        self.0 >> n & 1 == 1
    }
    /// Least major ABI version the guest runs on (bits 15:8).
    pub fn abi_major(self) -> u8 {
        self.0.to_le_bytes()[1]
    }
    /// Least minor ABI version the guest runs on (bits 7:0).
    pub fn abi_minor(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
    /// Bit 16: SMT is allowed.
    pub fn smt(self) -> bool {
        self.bit(16)
    }
    /// Bit 17: reserved, must be one.
    pub fn reserved_one(self) -> bool {
        self.bit(17)
    }
    /// Bit 18: a migration agent may move the guest.
    pub fn migrate_ma(self) -> bool {
        self.bit(18)
    }
    /// Bit 19: the host may read and write guest memory.
    pub fn debug(self) -> bool {
        self.bit(19)
    }
    /// Bit 20: runs on one socket alone.
    pub fn single_socket(self) -> bool {
        self.bit(20)
    }
    /// Bits 63:26: must be zero as far as this revision knows.
    pub fn unknown_bits(self) -> u64 {
        self.0 >> 26
    }
}

/// PLATFORM_INFO by its bits (56860, table 24).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformInfo(pub u64);

impl PlatformInfo {
    fn bit(self, n: u32) -> bool {
        self.0 >> n & 1 == 1
    }
    /// Bit 0: SMT is enabled.
    pub fn smt(self) -> bool {
        self.bit(0)
    }
    /// Bit 1: TSME is enabled.
    pub fn tsme(self) -> bool {
        self.bit(1)
    }
    /// Bit 2: ECC memory.
    pub fn ecc(self) -> bool {
        self.bit(2)
    }
    /// Bit 3: RAPL is disabled.
    pub fn rapl_disabled(self) -> bool {
        self.bit(3)
    }
    /// Bit 4: ciphertext hiding is enabled.
    pub fn ciphertext_hiding(self) -> bool {
        self.bit(4)
    }
    /// Bit 5: the check against aliased memory was done since the last reset.
    pub fn alias_check(self) -> bool {
        self.bit(5)
    }
    /// Bit 7: SEV-TIO is enabled.
    pub fn tio(self) -> bool {
        self.bit(7)
    }
}
