//! One GPU or switch: what it is, its certificates, the evidence it gives.

use std::collections::BTreeMap;

use hanzo_attestation::bundle::{Base64, DeviceEvidence};
use hanzo_attestation::nvidia::NvidiaArch;

use super::report;
use super::{IDENTITY_SERIAL, PROVISIONER_SERIAL, SimulatedNvidia};
use crate::authority::{Authority, ca_extensions, signer_extensions};
use crate::certificate::{NOT_AFTER, NOT_BEFORE, Subject, extension, p384_spki};
use crate::encode::{OCTET_STRING, SEQUENCE, integer, nest, oid, tlv};
use crate::keys::{ReportKey, public_digest};

/// What a device is. [`DeviceSpec::hopper`], [`DeviceSpec::blackwell`] and [`DeviceSpec::ls10`] are healthy; tests make
/// them sick.
#[derive(Debug, Clone)]
pub struct DeviceSpec {
    /// Family: decides the layout of the report and what the evidence declares.
    pub arch: NvidiaArch,
    /// Which device of its family this is: another number is another device.
    pub number: u16,
    /// Chip in the common names of its certificates.
    pub certified_chip: String,
    /// Opaque field 35; `None` leaves it out.
    pub chip_info: Option<String>,
    /// Opaque field 3; `None` for a switch.
    pub driver_version: Option<String>,
    /// VBIOS version, most significant byte first.
    pub vbios_version: [u8; 5],
    /// Opaque fields 17, 18 and 15 of a GPU: project, its SKU, the chip's SKU.
    pub board: [String; 3],
    /// SHA-384 of the firmware: firmware id of the leaf certificate, and what makes its key.
    pub firmware: [u8; 48],
    /// False makes a leaf certificate without firmware id.
    pub fwid_is_certified: bool,
    /// Opaque field 20: the firmware id that the report states; `None` leaves it out.
    pub stated_fwid: Option<[u8; 48]>,
    /// Opaque field 11; `None` leaves it out.
    pub nvdec0_enabled: Option<bool>,
    /// Opaque field 21; `None` leaves it out.
    pub protected_pcie: Option<bool>,
    /// Opaque field 36; `None` leaves it out.
    pub feature_flag: Option<u16>,
    /// Of a GPU: switches behind its links, at most 18; empty leaves opaque field 22 out.
    pub switch_pdis: Vec<[u8; 8]>,
    /// Of a switch: GPUs behind its ports, at most 8.
    pub gpu_pdis: Vec<[u8; 8]>,
    /// Measurements by index, 1 to 64 (GPU) or 31 (switch).
    pub measurements: BTreeMap<u8, Vec<u8>>,
    /// First and last second of the certificates: leaf, BROM, provisioner, identity.
    pub validity: [(u64, u64); 4],
}

impl DeviceSpec {
    /// A GPU with one GH100, driver 550.90.07, outside protected PCIe mode.
    pub fn hopper(number: u16) -> Self {
        let firmware = public_digest(&[b"GH100 firmware"]);
        Self {
            driver_version: Some("550.90.07".into()),
            vbios_version: [0x96, 0x00, 0x9f, 0x00, 0x01],
            board: ["1010", "0200", "882"].map(str::to_owned),
            nvdec0_enabled: Some(false),
            stated_fwid: Some(firmware),
            protected_pcie: Some(false),
            ..Self::bare(NvidiaArch::Hopper, "GH100", number, firmware, 64)
        }
    }

    /// A GPU with one GB100, driver 590.48.01.
    pub fn blackwell(number: u16) -> Self {
        let firmware = public_digest(&[b"GB100 firmware"]);
        Self {
            chip_info: Some("GB100".into()),
            driver_version: Some("590.48.01".into()),
            vbios_version: [0x97, 0x00, 0x88, 0x00, 0x0f],
            board: ["G525", "0220", "886"].map(str::to_owned),
            nvdec0_enabled: Some(false),
            stated_fwid: Some(firmware),
            feature_flag: Some(1),
            ..Self::bare(NvidiaArch::Blackwell, "GB100", number, firmware, 64)
        }
    }

    /// A switch. Its report states no firmware id, as NVIDIA's do not.
    pub fn ls10(number: u16) -> Self {
        let firmware = public_digest(&[b"LS_10 firmware"]);
        Self {
            vbios_version: [0x96, 0x10, 0x55, 0x00, 0x01],
            ..Self::bare(NvidiaArch::Ls10, "LS_10", number, firmware, 31)
        }
    }

    fn bare(arch: NvidiaArch, chip: &str, number: u16, firmware: [u8; 48], measurements: u8) -> Self {
        let measured = |index: u8| {
            (
                index,
                public_digest(&[chip.as_bytes(), b"measurement", &[index]]).to_vec(),
            )
        };
        Self {
            arch,
            number,
            certified_chip: chip.to_owned(),
            chip_info: None,
            driver_version: None,
            vbios_version: [0; 5],
            board: Default::default(),
            firmware,
            fwid_is_certified: true,
            stated_fwid: None,
            nvdec0_enabled: None,
            protected_pcie: None,
            feature_flag: None,
            switch_pdis: Vec::new(),
            gpu_pdis: Vec::new(),
            measurements: (1..=measurements).map(measured).collect(),
            validity: [(NOT_BEFORE, NOT_AFTER); 4],
        }
    }

    /// The id by which other devices name this one.
    pub fn pdi(&self) -> [u8; 8] {
        let kind: &[u8] = if self.arch.is_gpu() { b"gpu" } else { b"switch" };
        let digest = public_digest(&[b"PDI", kind, self.arch.word().as_bytes(), &self.number.to_be_bytes()]);
        let mut pdi = [0; 8];
        pdi.copy_from_slice(&digest[..8]);
        pdi
    }

    /// Serial number of the BROM certificate: one byte, then the PDI.
    pub(super) fn brom_serial(&self) -> [u8; 9] {
        let mut serial = [if self.arch.is_gpu() { 0x41 } else { 0x50 }; 9];
        serial[1..].copy_from_slice(&self.pdi());
        serial
    }

    /// Serial number of the leaf certificate: 20 bytes that depend on device and firmware.
    pub(super) fn leaf_serial(&self) -> [u8; 20] {
        let digest = public_digest(&[b"leaf serial", &self.brom_serial(), &self.firmware]);
        let mut serial = [0; 20];
        serial.copy_from_slice(&digest[..20]);
        serial[0] = serial[0] & 0x3f | 0x40;
        serial
    }

    /// The version in the usual notation, e.g. `96.00.9F.00.01`.
    pub fn vbios_text(&self) -> String {
        self.vbios_version.map(|b| format!("{b:02X}")).join(".")
    }
}

/// A running GPU or switch.
pub struct SimulatedDevice {
    spec: DeviceSpec,
    key: ReportKey,
    /// Leaf first.
    ders: [Vec<u8>; 5],
}

impl SimulatedDevice {
    pub(super) fn new(vendor: &SimulatedNvidia, spec: DeviceSpec) -> Self {
        let key = ReportKey::derive(&vendor.seed, &[b"nvidia leaf", &spec.brom_serial(), &spec.firmware]);
        let brom = vendor.brom(&spec);
        let (provisioner, identity, root) = (vendor.provisioner(&spec), vendor.identity(&spec), vendor.root());
        let [leaf_life, brom_life, provisioner_life, identity_life] = spec.validity;
        let mut leaf_extensions = signer_extensions();
        if spec.fwid_is_certified {
            leaf_extensions.push(fwid_extension(&spec, &brom.spki()));
        }
        let leaf = brom.issue(&Subject {
            common_name: &format!("{} S01 GSP FMC LF", spec.certified_chip),
            serial: &spec.leaf_serial(),
            validity: leaf_life,
            spki: p384_spki(key.public_key()),
            extensions: leaf_extensions,
        });
        let issue = |issuer: &Authority, serial: &[u8], validity, of: &Authority| {
            issuer.issue(&Subject {
                common_name: &of.common_name,
                serial,
                validity,
                spki: of.spki(),
                extensions: ca_extensions(None),
            })
        };
        let ders = [
            leaf,
            issue(&provisioner, &spec.brom_serial(), brom_life, &brom),
            issue(&identity, PROVISIONER_SERIAL, provisioner_life, &provisioner),
            issue(&root, IDENTITY_SERIAL, identity_life, &identity),
            vendor.root_der.clone(),
        ];
        Self { spec, key, ders }
    }

    /// What it is.
    pub fn spec(&self) -> &DeviceSpec {
        &self.spec
    }

    /// Its certificates, DER, leaf first.
    pub fn certificates(&self) -> &[Vec<u8>; 5] {
        &self.ders
    }

    /// Identity through all firmware: serial number of its BROM certificate, lower-case hex.
    pub fn device_id(&self) -> String {
        super::hex(&self.spec.brom_serial())
    }

    /// A signed report that answers `nonce`, with the certificates.
    ///
    /// # Panics
    /// If the operating system has no randomness for the signature.
    pub fn evidence(&self, nonce: &[u8; 32]) -> DeviceEvidence {
        self.evidence_edited(nonce, |_| {})
    }

    /// The same with the report changed before it is signed: the bytes of request and response up to the signature.
    ///
    /// # Panics
    /// As [`SimulatedDevice::evidence`].
    pub fn evidence_edited(&self, nonce: &[u8; 32], edit: impl FnOnce(&mut Vec<u8>)) -> DeviceEvidence {
        let mut report = report::unsigned(&self.spec, nonce);
        edit(&mut report);
        let signature = self.key.sign(&report);
        report.extend(signature);
        DeviceEvidence {
            arch: self.spec.arch.word().to_owned(),
            certificates: Base64(pem(&self.ders).into_bytes()),
            kind: "nvidia".into(),
            report: Base64(report),
        }
    }
}

/// Hopper and LS10: CompositeDeviceID. Blackwell: DiceTcbInfo, with a zero id behind the right one.
fn fwid_extension(spec: &DeviceSpec, device_id: &[u8]) -> Vec<u8> {
    let fwid = |digest: &[u8]| {
        let sha384 = oid(&[2, 16, 840, 1, 101, 3, 4, 2, 2]);
        nest(SEQUENCE, &[&sha384, &tlv(OCTET_STRING, digest)])
    };
    if spec.arch == NvidiaArch::Blackwell {
        let fwids = [fwid(&spec.firmware), fwid(&[0; 48])].concat();
        let fields = [
            tlv(0x80, b"SIMULATED"),
            tlv(0x81, b"GB100"),
            tlv(0xa6, &fwids),
            tlv(0x87, &[0; 5]),
        ]
        .concat();
        extension(&[2, 23, 133, 5, 4, 1, 1], false, &tlv(SEQUENCE, &fields))
    } else {
        let value = nest(SEQUENCE, &[&integer(&[1]), device_id, &fwid(&spec.firmware)]);
        extension(&[2, 23, 133, 5, 4, 1], false, &value)
    }
}

/// PEM (RFC 7468), in lines of 64 characters.
pub(super) fn pem(ders: &[Vec<u8>]) -> String {
    let mut out = String::new();
    for der in ders {
        out.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = base64(der);
        for line in text.as_bytes().chunks(64) {
            out.push_str(std::str::from_utf8(line).unwrap_or_default());
            out.push('\n');
        }
        out.push_str("-----END CERTIFICATE-----\n");
    }
    out
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}
