//! TCB_VERSION: eight bytes whose order depends on the product (56860, section 2.2).

use std::fmt;

use super::error::SnpError;
use super::product::Product;

/// Security versions of the platform's firmware; `fmc` exists on Turin alone.
///
/// # Layout
/// Milan, Genoa: bootloader, tee, 4 reserved, snp, microcode. Turin: fmc, bootloader, tee, snp, 3 reserved, microcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcbVersion {
    /// Firmware of the security processor's first mutable code (Turin).
    pub fmc: Option<u8>,
    /// Boot loader.
    pub bootloader: u8,
    /// TEE, i.e. the security processor's operating system.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

impl TcbVersion {
    /// Reads the eight bytes in the order of `product`.
    ///
    /// # Errors
    /// [`SnpError::Reserved`] naming `field` if a reserved byte is not zero.
    pub fn from_bytes(product: Product, field: &'static str, offset: usize, bytes: [u8; 8]) -> Result<Self, SnpError> {
        let (tcb, reserved) = match (product, bytes) {
            (Product::Turin, [fmc, bootloader, tee, snp, r0, r1, r2, microcode]) => {
                let fmc = Some(fmc);
                (
                    Self {
                        fmc,
                        bootloader,
                        tee,
                        snp,
                        microcode,
                    },
                    [(4, r0), (5, r1), (6, r2), (6, 0)],
                )
            }
            (Product::Milan | Product::Genoa, [bootloader, tee, r0, r1, r2, r3, snp, microcode]) => {
                let fmc = None;
                (
                    Self {
                        fmc,
                        bootloader,
                        tee,
                        snp,
                        microcode,
                    },
                    [(2, r0), (3, r1), (4, r2), (5, r3)],
                )
            }
        };
        match reserved.into_iter().find(|(_, byte)| *byte != 0) {
            None => Ok(tcb),
            Some((i, _)) => Err(SnpError::Reserved {
                field,
                offset: offset.saturating_add(i),
            }),
        }
    }

    /// Writes the eight bytes in the order of `product`; a missing `fmc` is written as 0, one that the product does not
    /// have is left out.
    pub fn to_bytes(self, product: Product) -> [u8; 8] {
        let Self {
            fmc,
            bootloader,
            tee,
            snp,
            microcode,
        } = self;
        match product {
            Product::Turin => [fmc.unwrap_or(0), bootloader, tee, snp, 0, 0, 0, microcode],
            Product::Milan | Product::Genoa => [bootloader, tee, 0, 0, 0, 0, snp, microcode],
        }
    }

    /// True if every component is at least that of `floor`. A floor with `fmc` needs a version that has one.
    pub fn at_least(&self, floor: &Self) -> bool {
        self.fmc.unwrap_or(0) >= floor.fmc.unwrap_or(0)
            && (self.fmc.is_some() || floor.fmc.is_none())
            && self.bootloader >= floor.bootloader
            && self.tee >= floor.tee
            && self.snp >= floor.snp
            && self.microcode >= floor.microcode
    }
}

impl fmt::Display for TcbVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "fmc {fmc}, ")?;
        }
        let Self {
            bootloader,
            tee,
            snp,
            microcode,
            ..
        } = self;
        write!(
            f,
            "bootloader {bootloader}, tee {tee}, snp {snp}, microcode {microcode}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_mean_different_versions_on_turin_and_genoa() {
        let bytes = [0, 1, 0, 2, 0, 0, 0, 0x47];
        let turin = TcbVersion::from_bytes(Product::Turin, "T", 0, bytes).unwrap();
        assert_eq!(
            turin,
            TcbVersion {
                fmc: Some(0),
                bootloader: 1,
                tee: 0,
                snp: 2,
                microcode: 0x47
            }
        );
        assert_eq!(turin.to_bytes(Product::Turin), bytes);
        // Read in Genoa's order a version lies in a reserved byte.
        let refused = TcbVersion::from_bytes(Product::Genoa, "REPORTED_TCB", 0x180, bytes);
        assert_eq!(
            refused,
            Err(SnpError::Reserved {
                field: "REPORTED_TCB",
                offset: 0x183
            })
        );
    }

    #[test]
    fn one_component_below_the_floor_is_below_the_floor() {
        let floor = TcbVersion {
            fmc: Some(1),
            bootloader: 2,
            tee: 3,
            snp: 4,
            microcode: 5,
        };
        assert!(floor.at_least(&floor));
        for below in [
            TcbVersion { fmc: Some(0), ..floor },
            TcbVersion { fmc: None, ..floor },
            TcbVersion {
                bootloader: 1,
                microcode: 255,
                ..floor
            },
            TcbVersion { tee: 2, ..floor },
            TcbVersion { snp: 3, ..floor },
            TcbVersion { microcode: 4, ..floor },
        ] {
            assert!(!below.at_least(&floor), "{below}");
        }
    }
}
