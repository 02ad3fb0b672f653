//! Bit fields: which named bits must be set, which must not, and what to do with bits that nobody here knows.

use hanzo_attestation::snp::GuestPolicy;
use serde::{Deserialize, Serialize};

use super::lists::Admission;

/// A bit field whose bits a policy can name.
pub trait NamedBit: Copy + Ord + 'static {
    /// Every bit that has a name.
    const ALL: &'static [Self];
    /// Bits without a name that this version knows none the less: they have rules of their own.
    const RULED_ELSEWHERE: u64;

    /// Position, 0 to 63.
    fn position(self) -> u32;
    /// The vendor's name.
    fn name(self) -> &'static str;
}

/// What is asked of a bit field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitRules<B> {
    /// Bits that must be one.
    pub required: Vec<B>,
    /// Bits that must be zero.
    pub forbidden: Vec<B>,
    /// What to do with bits that this version has no name for.
    pub unknown: Admission,
}

impl<B: NamedBit> BitRules<B> {
    /// Asks for no named bit and refuses unknown ones.
    pub fn known_bits() -> Self {
        Self {
            required: Vec::new(),
            forbidden: Vec::new(),
            unknown: Admission::Refuse,
        }
    }

    /// The named bits that are not as asked, in words; empty if all are.
    pub(crate) fn wrong(&self, value: u64) -> Vec<String> {
        let say = |bit: &B, expected: u8| {
            format!(
                "bit {} ({}): expected {expected}, got {}",
                bit.position(),
                bit.name(),
                1 - expected
            )
        };
        let is_set = |bit: &&B| value >> bit.position() & 1 == 1;
        let missing = self.required.iter().filter(|b| !is_set(b)).map(|b| say(b, 1));
        missing
            .chain(self.forbidden.iter().filter(is_set).map(|b| say(b, 0)))
            .collect()
    }

    /// Unknown bits that are set and not accepted.
    pub(crate) fn unknown(&self, value: u64) -> u64 {
        let named = B::ALL
            .iter()
            .fold(B::RULED_ELSEWHERE, |mask, b| mask | 1 << b.position());
        match self.unknown {
            Admission::Refuse => value & !named,
            Admission::Accept => 0,
        }
    }

    /// True if each bit is named at most once in both lists together.
    pub(crate) fn is_consistent(&self) -> bool {
        super::check::all_differ(self.required.iter().chain(&self.forbidden).collect())
    }
}

macro_rules! named_bits {
    ($(#[$doc:meta])* $name:ident, ruled elsewhere $elsewhere:expr, $($(#[$bit_doc:meta])* $bit:ident = $position:literal, $text:literal;)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$bit_doc])* #[serde(rename = $text)] $bit,)*
        }

        impl NamedBit for $name {
            const ALL: &'static [Self] = &[$(Self::$bit),*];
            const RULED_ELSEWHERE: u64 = $elsewhere;

            fn position(self) -> u32 {
                match self { $(Self::$bit => $position,)* }
            }

            fn name(self) -> &'static str {
                match self { $(Self::$bit => $text,)* }
            }
        }
    };
}

named_bits!(
    /// Bits of an SNP guest's POLICY (AMD 56860 revision 1.58, table 9).
    GuestPolicyBit, ruled elsewhere 0xffff | 1 << 17 | 1 << 18 | 1 << 19,
    /// SMT is allowed.
    Smt = 16, "smt";
    /// Runs on one socket alone.
    SingleSocket = 20, "single-socket";
    /// CXL devices are allowed.
    CxlAllowed = 21, "cxl-allowed";
    /// Memory must be encrypted by AES-256-XTS.
    Aes256Xts = 22, "aes-256-xts";
    /// Running average power limit must be off.
    RaplDisabled = 23, "rapl-disabled";
    /// Ciphertext hiding must be on.
    CiphertextHiding = 24, "ciphertext-hiding";
    /// The host may not swap the guest's pages.
    PageSwapDisabled = 25, "page-swap-disabled";
);

named_bits!(
    /// Bits of PLATFORM_INFO (AMD 56860 revision 1.58, table 24).
    PlatformBit, ruled elsewhere 0,
    /// SMT is enabled.
    Smt = 0, "smt";
    /// TSME is enabled.
    Tsme = 1, "tsme";
    /// Memory has error correction.
    Ecc = 2, "ecc";
    /// Running average power limit is off.
    RaplDisabled = 3, "rapl-disabled";
    /// Ciphertext hiding is on.
    CiphertextHiding = 4, "ciphertext-hiding";
    /// No memory aliases were found since the last reset.
    AliasCheck = 5, "alias-check";
    /// SEV-TIO is on.
    Tio = 7, "tio";
);

named_bits!(
    /// Bits of TDATTRIBUTES (Intel TDX Module ABI, "ATTRIBUTES"). Bits 0 to 7 are the debug group and bit 29 is MIGRATABLE:
    /// both are always refused.
    TdAttribute, ruled elsewhere 0xff | 1 << 29,
    /// Linear address space separation.
    Lass = 27, "lass";
    /// The host cannot inject #VE for page faults.
    SeptVeDisable = 28, "sept-ve-disable";
    /// Supervisor protection keys.
    Pks = 30, "pks";
    /// Key locker.
    KeyLocker = 31, "kl";
    /// Performance monitoring by the guest.
    Perfmon = 63, "perfmon";
);

/// Least ABI version that a guest's POLICY asks for: major, minor.
pub(crate) fn abi_of(policy: u64) -> (u8, u8) {
    let policy = GuestPolicy(policy);
    (policy.abi_major(), policy.abi_minor())
}

#[cfg(test)]
mod tests {
    use hanzo_attestation::snp::PlatformInfo;

    use super::*;

    #[test]
    fn each_name_stands_for_the_bit_that_the_parser_reads() {
        let set = |bit: PlatformBit| PlatformInfo(1 << bit.position());
        assert!(set(PlatformBit::Smt).smt() && set(PlatformBit::Tsme).tsme() && set(PlatformBit::Ecc).ecc());
        assert!(set(PlatformBit::RaplDisabled).rapl_disabled() && set(PlatformBit::AliasCheck).alias_check());
        assert!(set(PlatformBit::CiphertextHiding).ciphertext_hiding() && set(PlatformBit::Tio).tio());
        let set = |bit: GuestPolicyBit| GuestPolicy(1 << bit.position());
        assert!(set(GuestPolicyBit::Smt).smt() && set(GuestPolicyBit::SingleSocket).single_socket());
        assert_eq!(abi_of(0x3_0137), (1, 0x37));
    }

    #[test]
    fn unknown_bits_are_those_without_name_and_without_rule() {
        let rules = BitRules::<GuestPolicyBit>::known_bits();
        assert_eq!(rules.unknown(u64::MAX), GuestPolicy(u64::MAX).unknown_bits() << 26);
        let rules = BitRules::<PlatformBit>::known_bits();
        assert_eq!(rules.unknown(0xff), 1 << 6);
        let rules = BitRules::<TdAttribute>::known_bits();
        assert_eq!(rules.unknown(1 << 29 | 1 << 63 | 1 << 62 | 1), 1 << 62);
        let accepting = BitRules {
            unknown: Admission::Accept,
            ..rules
        };
        assert_eq!(accepting.unknown(u64::MAX), 0);
    }

    #[test]
    fn a_bit_cannot_be_asked_for_and_forbidden() {
        let mut rules = BitRules::<TdAttribute>::known_bits();
        rules.required = vec![TdAttribute::Pks];
        assert!(rules.is_consistent());
        assert_eq!(rules.wrong(0), ["bit 30 (pks): expected 1, got 0"]);
        rules.forbidden = vec![TdAttribute::Pks];
        assert!(!rules.is_consistent());
        assert_eq!(rules.wrong(1 << 30), ["bit 30 (pks): expected 0, got 1"]);
    }
}
