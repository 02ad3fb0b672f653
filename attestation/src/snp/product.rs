//! Product lines: which roots, which CPUIDs, which TCB layout.

use super::error::SnpError;
use super::report::SigningKey;

/// An AMD EPYC product line, as far as certificates and TCB layout differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Family 0x19, models 0x00 to 0x0F.
    Milan,
    /// Family 0x19, models 0x10 to 0x1F and 0xA0 to 0xAF (Genoa, Bergamo and Siena share roots).
    Genoa,
    /// Family 0x1A, models 0x00 to 0x1F.
    Turin,
}

/// CPUID_FAM_ID, CPUID_MOD_ID and CPUID_STEP of a report (version 3 on).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuId {
    /// Combined extended and base family.
    pub family: u8,
    /// Combined extended and base model.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

impl Product {
    /// Every product line this crate has roots for.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// AMD's name, as in certificate names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// CN of the root: `ARK-Milan` and so on.
    pub fn ark_common_name(self) -> &'static str {
        match self {
            Self::Milan => "ARK-Milan",
            Self::Genoa => "ARK-Genoa",
            Self::Turin => "ARK-Turin",
        }
    }

    /// CN of the intermediate that endorses `key`: `SEV-Milan` (ASK), `SEV-VLEK-Milan` (ASVK) and so on.
    pub fn ask_common_name(self, key: SigningKey) -> &'static str {
        match (self, key) {
            (Self::Milan, SigningKey::Vcek) => "SEV-Milan",
            (Self::Milan, SigningKey::Vlek) => "SEV-VLEK-Milan",
            (Self::Genoa, SigningKey::Vcek) => "SEV-Genoa",
            (Self::Genoa, SigningKey::Vlek) => "SEV-VLEK-Genoa",
            (Self::Turin, SigningKey::Vcek) => "SEV-Turin",
            (Self::Turin, SigningKey::Vlek) => "SEV-VLEK-Turin",
        }
    }

    /// From the identifiers in a report of version 3 or later.
    ///
    /// # Errors
    /// [`SnpError::ProductUnknown`] for any processor that has no compiled-in root.
    pub fn from_cpuid(id: CpuId) -> Result<Self, SnpError> {
        match (id.family, id.model) {
            (0x19, 0x00..=0x0f) => Ok(Self::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Ok(Self::Genoa),
            (0x1a, 0x00..=0x1f) => Ok(Self::Turin),
            _ => Err(SnpError::ProductUnknown {
                got: format!("CPUID family {:#04x} model {:#04x}", id.family, id.model),
            }),
        }
    }

    /// From a certificate's productName (`Milan-B0`, `Genoa`, ...): the part before the stepping.
    pub(super) fn from_certificate(name: &str) -> Result<Self, SnpError> {
        match name.split_once('-').map_or(name, |(line, _stepping)| line) {
            "Milan" => Ok(Self::Milan),
            "Genoa" | "Bergamo" | "Siena" => Ok(Self::Genoa),
            "Turin" => Ok(Self::Turin),
            _ => Err(SnpError::ProductUnknown {
                got: "another productName in the VEK certificate".into(),
            }),
        }
    }

    /// Bytes of the chip id that a VCEK certificate names: 64, on Turin 8.
    pub fn hwid_bytes(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(family: u8, model: u8) -> Option<Product> {
        let stepping = 0;
        Product::from_cpuid(CpuId {
            family,
            model,
            stepping,
        })
        .ok()
    }

    #[test]
    fn both_ends_of_every_model_range_count_and_their_neighbours_do_not() {
        assert_eq!([of(0x19, 0x00), of(0x19, 0x0f)], [Some(Product::Milan); 2]);
        assert_eq!([of(0x19, 0x10), of(0x19, 0x1f)], [Some(Product::Genoa); 2]);
        assert_eq!([of(0x19, 0xa0), of(0x19, 0xaf)], [Some(Product::Genoa); 2]);
        assert_eq!([of(0x1a, 0x00), of(0x1a, 0x1f)], [Some(Product::Turin); 2]);
        for (family, model) in [
            (0x19, 0x20),
            (0x19, 0x9f),
            (0x19, 0xb0),
            (0x1a, 0x20),
            (0x17, 0x31),
            (0, 0),
        ] {
            assert_eq!(of(family, model), None, "{family:#x} {model:#x}");
        }
    }

    #[test]
    fn product_names_are_matched_whole() {
        assert_eq!(Product::from_certificate("Milan-B0").unwrap(), Product::Milan);
        assert_eq!(Product::from_certificate("Siena-B1").unwrap(), Product::Genoa);
        for name in ["", "milan", "Milano", "MilanB0", "-Milan", "Genoa "] {
            assert_eq!(
                Product::from_certificate(name).unwrap_err().code(),
                "snp.product.unknown",
                "{name}"
            );
        }
    }
}
