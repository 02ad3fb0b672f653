//! Processor models and what CPUID says about them.

use serde::{Deserialize, Serialize};

use super::SnpError;

/// CPUID Fn0000_0001_EAX: family, model and stepping (AMD 25481). QEMU and KVM start each processor with it in RDX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuSignature(pub u32);

impl CpuSignature {
    /// From the numbers as people write them: family 25 (0x19), model 1, stepping 1 is Milan.
    pub const fn new(family: u8, model: u8, stepping: u8) -> Self {
        let (base, extended) = if family > 0xf { (0xf, family - 0xf) } else { (family, 0) };
        Self(
            (extended as u32) << 20
                | ((model >> 4) as u32) << 16
                | (base as u32) << 8
                | ((model & 0xf) as u32) << 4
                | (stepping & 0xf) as u32,
        )
    }
}

macro_rules! models {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $family:literal, $model:literal, $stepping:literal;)*) => {
        /// QEMU's `-cpu` models of EPYC processors. Versions of one model (`-v1`, `-v2`) differ in CPUID features, which a
        /// launch digest does not hold, and share one signature: so do their digests.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum CpuModel {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl CpuModel {
            /// Every model.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// QEMU's spelling.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What CPUID says.
            pub fn signature(self) -> CpuSignature {
                match self { $(Self::$name => CpuSignature::new($family, $model, $stepping),)* }
            }
        }
    };
}

models! {
    /// Naples.
    Epyc = "EPYC", 23, 1, 2;
    /// Naples, version 1.
    EpycV1 = "EPYC-v1", 23, 1, 2;
    /// Naples, version 2.
    EpycV2 = "EPYC-v2", 23, 1, 2;
    /// Naples with IBPB: another name of version 2.
    EpycIbpb = "EPYC-IBPB", 23, 1, 2;
    /// Naples, version 3.
    EpycV3 = "EPYC-v3", 23, 1, 2;
    /// Naples, version 4.
    EpycV4 = "EPYC-v4", 23, 1, 2;
    /// Rome.
    Rome = "EPYC-Rome", 23, 49, 0;
    /// Rome, version 1.
    RomeV1 = "EPYC-Rome-v1", 23, 49, 0;
    /// Rome, version 2.
    RomeV2 = "EPYC-Rome-v2", 23, 49, 0;
    /// Rome, version 3.
    RomeV3 = "EPYC-Rome-v3", 23, 49, 0;
    /// Milan: the first that runs SNP guests.
    Milan = "EPYC-Milan", 25, 1, 1;
    /// Milan, version 1.
    MilanV1 = "EPYC-Milan-v1", 25, 1, 1;
    /// Milan, version 2.
    MilanV2 = "EPYC-Milan-v2", 25, 1, 1;
    /// Genoa.
    Genoa = "EPYC-Genoa", 25, 17, 0;
    /// Genoa, version 1.
    GenoaV1 = "EPYC-Genoa-v1", 25, 17, 0;
    /// Turin.
    Turin = "EPYC-Turin", 26, 0, 0;
    /// Turin, version 1.
    TurinV1 = "EPYC-Turin-v1", 26, 0, 0;
    /// Turin, version 2.
    TurinV2 = "EPYC-Turin-v2", 26, 0, 0;
}

impl std::str::FromStr for CpuModel {
    type Err = SnpError;

    /// QEMU's spelling, exactly.
    fn from_str(text: &str) -> Result<Self, SnpError> {
        Self::ALL
            .iter()
            .copied()
            .find(|m| m.name() == text)
            .ok_or_else(|| SnpError::CpuModel {
                got: text.chars().take(32).collect(),
            })
    }
}
