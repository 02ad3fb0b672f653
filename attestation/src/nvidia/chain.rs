//! Leaf -> BROM -> provisioner -> identity -> root: five certificates, that order, no others.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::NvidiaArch;
use super::certificate::{CERTIFICATE_BYTES_MAX, Certificate};
use super::error::NvidiaError;
use super::roots::DEVICE_ROOT;
use crate::evidence::{Anchors, UnixTime};

/// Longest list of certificates in bytes; NVIDIA's are below 5000.
pub const CERTIFICATES_BYTES_MAX: usize = 32 * 1024;

/// A certificate's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The key that signed the report, made anew for each firmware: `GH100 A01 GSP FMC LF`.
    Leaf,
    /// The boot ROM's, one per device: `GH100 A01 GSP BROM`.
    Brom,
    /// The factory's: `NVIDIA GH100 Provisioner ICA 1`.
    Provisioner,
    /// The product's: `NVIDIA GH100 Identity`.
    Identity,
    /// `NVIDIA Device Identity CA`.
    Root,
}

impl Level {
    const ALL: [Self; 5] = [Self::Leaf, Self::Brom, Self::Provisioner, Self::Identity, Self::Root];

    /// How many authorities stand between this one's issuer and the leaf.
    pub(super) fn authorities_below_issuer(self) -> u8 {
        match self {
            Self::Leaf => 0,
            Self::Brom => 1,
            Self::Provisioner => 2,
            // The root's own signature adds no step to the path.
            Self::Identity | Self::Root => 3,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaf => "leaf",
            Self::Brom => "BROM",
            Self::Provisioner => "provisioner",
            Self::Identity => "identity",
            Self::Root => "root",
        })
    }
}

/// Five certificates, parsed.
pub(super) struct Chain {
    pub(super) leaf: Certificate,
    pub(super) brom: Certificate,
    provisioner: Certificate,
    identity: Certificate,
    root: Certificate,
}

impl Chain {
    pub(super) fn parse(pem: &[u8]) -> Result<Self, NvidiaError> {
        let ders = split_pem(pem)?;
        let got = ders.len();
        let ders: [Vec<u8>; 5] = ders.try_into().map_err(|_| NvidiaError::ChainLength { got })?;
        let mut parsed = Vec::with_capacity(ders.len());
        for (level, der) in Level::ALL.into_iter().zip(&ders) {
            parsed.push(Certificate::parse(level, der)?);
        }
        for (certificate, issuer) in parsed.iter().zip(parsed.iter().skip(1)) {
            if !certificate.names_as_issuer(issuer) {
                return Err(NvidiaError::ChainOrder {
                    level: certificate.level(),
                });
            }
        }
        let [leaf, brom, provisioner, identity, root] =
            parsed.try_into().map_err(|_| NvidiaError::ChainLength { got })?;
        Ok(Self {
            leaf,
            brom,
            provisioner,
            identity,
            root,
        })
    }

    /// The certificates, leaf first, DER.
    pub(super) fn ders(&self) -> [&[u8]; 5] {
        self.levels().map(Certificate::der)
    }

    fn levels(&self) -> [&Certificate; 5] {
        [&self.leaf, &self.brom, &self.provisioner, &self.identity, &self.root]
    }

    /// Checks every link up to a root that counts, and validity at `now`. True if that root is a simulator's.
    pub(super) fn verify(&self, anchors: &Anchors, now: UnixTime) -> Result<bool, NvidiaError> {
        let simulated = self.check_root(anchors, now)?;
        self.leaf.check_end_entity()?;
        let levels = self.levels();
        for (certificate, issuer) in levels.iter().zip(levels.iter().skip(1)) {
            certificate.verify_issued_by(issuer)?;
        }
        for certificate in levels {
            certificate.check_validity(now)?;
        }
        self.check_one_chip()?;
        Ok(simulated)
    }

    /// NVIDIA's root byte for byte, or a simulator's by name, key and its own signature. A simulator's root can neither
    /// take the place of NVIDIA's nor make NVIDIA's evidence simulated.
    fn check_root(&self, anchors: &Anchors, now: UnixTime) -> Result<bool, NvidiaError> {
        let vendor = Certificate::parse(Level::Root, &DEVICE_ROOT)?;
        let mut simulated = false;
        for der in anchors.simulator_nvidia_roots() {
            let anchor = simulator_root(der, &vendor, now)?;
            simulated |= self.root.is_same_authority(&anchor) && self.root.verify_issued_by(&self.root).is_ok();
        }
        if self.root.der() == DEVICE_ROOT {
            return Ok(false);
        }
        if simulated {
            return Ok(true);
        }
        Err(NvidiaError::Root {
            subject: self.root.common_name().to_owned(),
        })
    }

    /// Leaf and BROM name one chip, and the provisioner's family is that chip's.
    fn check_one_chip(&self) -> Result<(), NvidiaError> {
        if first_word(self.leaf.common_name()) != first_word(self.brom.common_name()) {
            return Err(NvidiaError::Link {
                level: Level::Leaf,
                detail: "its common name starts with another chip than the BROM certificate's",
            });
        }
        let certificate = arch_of("the leaf certificate", first_word(self.leaf.common_name()))?;
        let chip = self.provisioner.common_name().split(' ').nth(1).unwrap_or_default();
        let what = "the provisioner certificate";
        match arch_of(what, chip)? {
            got if got != certificate => Err(NvidiaError::ArchMismatch { what, got, certificate }),
            _ => Ok(()),
        }
    }

    /// The chip that the leaf certificate names, e.g. `GH100`.
    pub(super) fn chip(&self) -> &str {
        first_word(self.leaf.common_name())
    }

    /// The device's id in its NVLink fabric: the serial number of the BROM certificate after its first byte.
    pub(super) fn pdi(&self) -> Option<[u8; 8]> {
        let (_, pdi) = self.brom.serial().split_first()?;
        pdi.try_into().ok()
    }
}

fn first_word(name: &str) -> &str {
    name.split(' ').next().unwrap_or_default()
}

/// The family of a chip's name: `GH100`, `GB` and three digits, `LS_10`.
pub(super) fn arch_of(what: &'static str, chip: &str) -> Result<NvidiaArch, NvidiaError> {
    let digits = chip.strip_prefix("GB").unwrap_or_default();
    match chip {
        "GH100" => Ok(NvidiaArch::Hopper),
        "LS_10" | "LS10" => Ok(NvidiaArch::Ls10),
        _ if digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(NvidiaArch::Blackwell),
        _ => Err(NvidiaError::ArchUnknown {
            what,
            got: chip.chars().filter(char::is_ascii_graphic).take(32).collect(),
        }),
    }
}

fn simulator_root(der: &[u8], vendor: &Certificate, now: UnixTime) -> Result<Certificate, NvidiaError> {
    let wrong = |detail| NvidiaError::Anchor { detail };
    let root = Certificate::parse(Level::Root, der).map_err(|_| wrong("not a root certificate of NVIDIA's form"))?;
    root.verify_issued_by(&root).map_err(|_| wrong("not self-signed"))?;
    root.check_validity(now).map_err(|_| wrong("outside its validity"))?;
    if root.spki_der() == vendor.spki_der() {
        return Err(wrong("it has the key of NVIDIA's root"));
    }
    Ok(root)
}

/// PEM (RFC 7468): certificates, each in its armour, and nothing but white space between them. At most six are read.
fn split_pem(pem: &[u8]) -> Result<Vec<Vec<u8>>, NvidiaError> {
    if pem.len() > CERTIFICATES_BYTES_MAX {
        return Err(NvidiaError::TooLong {
            what: "certificates",
            most: CERTIFICATES_BYTES_MAX,
            got: pem.len(),
        });
    }
    let wrong = |detail| NvidiaError::Pem { detail };
    let text = std::str::from_utf8(pem).map_err(|_| wrong("expected PEM, got bytes that are no text"))?;
    let mut out = Vec::new();
    let mut body: Option<String> = None;
    for line in text.lines().map(str::trim_ascii) {
        match (line, &mut body) {
            ("", None) => {}
            ("-----BEGIN CERTIFICATE-----", None) => body = Some(String::new()),
            ("-----END CERTIFICATE-----", Some(base64)) => {
                let der = STANDARD
                    .decode(base64.as_bytes())
                    .map_err(|_| wrong("expected standard base64 inside BEGIN CERTIFICATE and END CERTIFICATE"))?;
                out.push(der);
                body = None;
                if out.len() > 5 {
                    return Ok(out);
                }
            }
            (line, Some(base64)) if base64.len() <= CERTIFICATE_BYTES_MAX.saturating_mul(2) => base64.push_str(line),
            (_, Some(_)) => return Err(wrong("a certificate is longer than 4096 bytes")),
            (_, None) => return Err(wrong("expected BEGIN CERTIFICATE, got another line")),
        }
    }
    match body {
        None => Ok(out),
        Some(_) => Err(wrong("the last certificate has no END CERTIFICATE")),
    }
}
