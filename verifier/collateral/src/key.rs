//! What can be fetched and kept, each with one name.

use std::fmt;
use std::str::FromStr;

use hanzo_attestation::snp::{Product, SigningKey};

/// Which of Intel's two authorities issued a PCK certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PckCa {
    /// Intel SGX PCK Processor CA.
    Processor,
    /// Intel SGX PCK Platform CA: machines with several processors.
    Platform,
}

impl PckCa {
    /// As in `pckcrl?ca=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Platform => "platform",
        }
    }

    /// By the CN of its certificate: `Intel SGX PCK Platform CA`, and with another first word a simulator's. The name
    /// decides which list is asked for, and nothing else.
    pub fn of_common_name(name: &str) -> Option<Self> {
        match name.split_once(' ')?.1 {
            "SGX PCK Processor CA" => Some(Self::Processor),
            "SGX PCK Platform CA" => Some(Self::Platform),
            _ => None,
        }
    }
}

/// One item.
///
/// # Layout
/// Its name has parts between slashes: `vcek/Genoa/<chip id>/<TCB>`, `ask/Genoa`, `asvk/Genoa`, `crl/Genoa`,
/// `tdx/<FMSPC>/platform`, `rim/<id>`, `ocsp/<CertID, DER>`; bytes in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The certificate of one chip at one TCB. It never changes.
    Vcek {
        /// Product line.
        product: Product,
        /// CHIP_ID: 64 bytes, on Turin the first 8.
        chip_id: Vec<u8>,
        /// REPORTED_TCB as in the report.
        tcb: [u8; 8],
    },
    /// ASK or ASVK.
    Intermediate {
        /// Product line.
        product: Product,
        /// Which of the two.
        key: SigningKey,
    },
    /// AMD's revocation list.
    Crl {
        /// Product line.
        product: Product,
    },
    /// Intel's collateral for one platform type, whole.
    Tdx {
        /// FMSPC of the PCK certificate.
        fmspc: [u8; 6],
        /// Its issuer.
        ca: PckCa,
    },
    /// A reference manifest.
    Rim {
        /// As the RIM service names it.
        id: String,
    },
    /// An answer about one certificate.
    Ocsp {
        /// CertID (RFC 6960 section 4.1.1), DER.
        cert_id: Vec<u8>,
    },
}

/// Longest id of a RIM in bytes; NVIDIA's are below 64.
pub const RIM_ID_BYTES_MAX: usize = 128;

/// Letters, digits, `_`, `-` and `.`, and not only dots: what may stand in a URL's path as it is.
pub(crate) fn is_rim_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=RIM_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain) && id.bytes().any(|b| b != b'.')
}

impl Key {
    /// True for what never changes once it is issued.
    pub fn is_immutable(&self) -> bool {
        matches!(self, Self::Vcek { .. })
    }

    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Self::Vcek { product, chip_id, .. } => {
                let head: String = hex::encode(chip_id).chars().take(16).collect();
                format!("VCEK certificate of {} chip {head}...", product.name())
            }
            Self::Intermediate { product, key } => format!(
                "{} certificate of {}",
                intermediate(*key).to_uppercase(),
                product.name()
            ),
            Self::Crl { product } => format!("AMD revocation list for {}", product.name()),
            Self::Tdx { fmspc, ca } => format!(
                "Intel TDX collateral for FMSPC {} ({} CA)",
                hex::encode(fmspc),
                ca.name()
            ),
            Self::Rim { id } => format!("NVIDIA RIM {id}"),
            Self::Ocsp { .. } => "NVIDIA OCSP answer".into(),
        }
    }
}

fn intermediate(key: SigningKey) -> &'static str {
    match key {
        SigningKey::Vcek => "ask",
        SigningKey::Vlek => "asvk",
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vcek { product, chip_id, tcb } => {
                write!(
                    f,
                    "vcek/{}/{}/{}",
                    product.name(),
                    hex::encode(chip_id),
                    hex::encode(tcb)
                )
            }
            Self::Intermediate { product, key } => write!(f, "{}/{}", intermediate(*key), product.name()),
            Self::Crl { product } => write!(f, "crl/{}", product.name()),
            Self::Tdx { fmspc, ca } => write!(f, "tdx/{}/{}", hex::encode(fmspc), ca.name()),
            Self::Rim { id } => write!(f, "rim/{id}"),
            Self::Ocsp { cert_id } => write!(f, "ocsp/{}", hex::encode(cert_id)),
        }
    }
}

/// Not the name of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let parts: Vec<_> = text.split('/').collect();
        let key = match parts.as_slice() {
            ["vcek", name, chip_id, tcb] => Self::Vcek {
                product: product(name)?,
                chip_id: hex::decode(chip_id).map_err(|_| NotAKey)?,
                tcb: fixed(tcb)?,
            },
            ["ask", name] => Self::Intermediate {
                product: product(name)?,
                key: SigningKey::Vcek,
            },
            ["asvk", name] => Self::Intermediate {
                product: product(name)?,
                key: SigningKey::Vlek,
            },
            ["crl", name] => Self::Crl {
                product: product(name)?,
            },
            ["tdx", fmspc, ca] => Self::Tdx {
                fmspc: fixed(fmspc)?,
                ca: [PckCa::Processor, PckCa::Platform]
                    .into_iter()
                    .find(|c| c.name() == *ca)
                    .ok_or(NotAKey)?,
            },
            ["rim", id] if is_rim_id(id) => Self::Rim { id: (*id).to_owned() },
            ["ocsp", cert_id] => Self::Ocsp {
                cert_id: hex::decode(cert_id).map_err(|_| NotAKey)?,
            },
            _ => return Err(NotAKey),
        };
        // One spelling: capital hex digits, or a chip id of another length, are another name.
        let whole = match &key {
            Self::Vcek { product, chip_id, .. } => chip_id.len() == product.hwid_bytes(),
            _ => true,
        };
        if whole && key.to_string() == text {
            Ok(key)
        } else {
            Err(NotAKey)
        }
    }
}

fn product(name: &str) -> Result<Product, NotAKey> {
    Product::ALL.into_iter().find(|p| p.name() == name).ok_or(NotAKey)
}

fn fixed<const N: usize>(text: &str) -> Result<[u8; N], NotAKey> {
    hex::decode(text).ok().and_then(|b| b.try_into().ok()).ok_or(NotAKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_like_them_is() {
        let turin = Key::Vcek {
            product: Product::Turin,
            chip_id: vec![0xab; 8],
            tcb: [1; 8],
        };
        assert_eq!(turin.to_string(), "vcek/Turin/abababababababab/0101010101010101");
        let tdx = Key::Tdx {
            fmspc: [0xb0, 0xc0, 0x6f, 0, 0, 0],
            ca: PckCa::Platform,
        };
        assert_eq!(tdx.to_string(), "tdx/b0c06f000000/platform");
        let keys = [
            turin,
            tdx,
            Key::Crl {
                product: Product::Genoa,
            },
            Key::Intermediate {
                product: Product::Milan,
                key: SigningKey::Vlek,
            },
            Key::Rim {
                id: "NV_GPU_DRIVER_GH100_550.144.03".into(),
            },
            Key::Ocsp { cert_id: vec![0x30, 0] },
        ];
        for key in keys {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for bad in [
            "",
            "crl",
            "crl/genoa",
            "crl/Genoa/",
            "vcek/Turin/ABABABABABABABAB/0101010101010101",
            "vcek/Genoa/abababababababab/0101010101010101",
            "tdx/b0c06f0000/platform",
            "tdx/b0c06f000000/root",
            "rim/",
            "rim/..",
            "rim/a b",
            "rim/a%2fb",
            "ocsp/zz",
        ] {
            assert_eq!(bad.parse::<Key>(), Err(NotAKey), "{bad}");
        }
    }
}
