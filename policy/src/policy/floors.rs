//! Lowest firmware versions per product.

use hanzo_attestation::snp::{Product, TcbVersion};
use serde::{Deserialize, Serialize};

/// Floors by product; a product that is not named has none and is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcbFloors {
    /// EPYC 7003.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milan: Option<EpycTcb>,
    /// EPYC 9004 and 8004: Genoa, Bergamo, Siena.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genoa: Option<EpycTcb>,
    /// EPYC 9005.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turin: Option<TurinTcb>,
}

/// Security versions of Milan and Genoa.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpycTcb {
    /// Boot loader.
    pub bootloader: u8,
    /// The security processor's operating system.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

/// Security versions of Turin, which has a first mutable code as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurinTcb {
    /// First mutable code of the security processor.
    pub fmc: u8,
    /// Boot loader.
    pub bootloader: u8,
    /// The security processor's operating system.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

impl TcbFloors {
    /// The floor of `product`.
    pub fn of(&self, product: Product) -> Option<TcbVersion> {
        let epyc = |f: EpycTcb| TcbVersion {
            fmc: None,
            bootloader: f.bootloader,
            tee: f.tee,
            snp: f.snp,
            microcode: f.microcode,
        };
        match product {
            Product::Milan => self.milan.map(epyc),
            Product::Genoa => self.genoa.map(epyc),
            Product::Turin => self.turin.map(|f| TcbVersion {
                fmc: Some(f.fmc),
                bootloader: f.bootloader,
                tee: f.tee,
                snp: f.snp,
                microcode: f.microcode,
            }),
        }
    }
}
