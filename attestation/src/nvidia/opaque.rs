//! Opaque fields with a meaning. NVIDIA publishes no specification of them; the ids are those of its own verifiers, the
//! encodings were read off public reports (`reference/attestation.md` section 3.3).

use std::collections::BTreeMap;

use super::NvidiaArch;
use super::error::NvidiaError;

/// Driver version, ASCII with a final zero byte.
pub(super) const DRIVER_VERSION: u16 = 3;
/// VBIOS version: 8 bytes of a GPU, ASCII of a switch.
pub(super) const VBIOS_VERSION: u16 = 6;
/// Whether NVDEC0 is enabled: 0xaa or 0x55.
pub(super) const NVDEC0_STATUS: u16 = 11;
/// SKU of the chip, ASCII, zero-padded.
pub(super) const CHIP_SKU: u16 = 15;
/// Board project, ASCII, zero-padded.
pub(super) const PROJECT: u16 = 17;
/// SKU of the project, ASCII, zero-padded.
pub(super) const PROJECT_SKU: u16 = 18;
/// Firmware id, 48 bytes.
pub(super) const FWID: u16 = 20;
/// Protected PCIe: 0xaa on, 0x55 off.
pub(super) const PROTECTED_PCIE_STATUS: u16 = 21;
/// Of a GPU: the switches behind its 18 links. Of a switch: itself.
pub(super) const SWITCH_PDI: u16 = 22;
/// Of a switch: its GPUs (8 times 8 bytes) and which of them is behind each of its 64 ports.
pub(super) const SWITCH_GPU_PDIS: u16 = 26;
/// Chip, ASCII, zero-padded, e.g. `GB100`.
pub(super) const CHIP_INFO: u16 = 35;
/// Raw feature flag.
pub(super) const FEATURE_FLAG: u16 = 36;

/// Project, its SKU and the chip's SKU of the LS10 switch: NVIDIA's verifiers have them as constants.
const LS10_BOARD: &str = "5612_0002_890";

/// A PDI: the id by which GPUs and switches name each other.
pub(super) type Pdi = [u8; 8];

/// What the fields say, typed.
pub(super) struct Typed {
    pub(super) driver_version: Option<String>,
    pub(super) vbios_version: String,
    pub(super) nvdec0_enabled: Option<bool>,
    pub(super) board: String,
    pub(super) fwid: Option<[u8; 48]>,
    pub(super) protected_pcie: Option<bool>,
    pub(super) switch_pdis: Vec<Pdi>,
    pub(super) gpu_pdis: Vec<Pdi>,
    pub(super) own_pdi: Option<Pdi>,
    pub(super) chip_info: Option<String>,
    pub(super) feature_flag: Option<u32>,
}

impl Typed {
    pub(super) fn read(fields: &BTreeMap<u16, Vec<u8>>, arch: NvidiaArch) -> Result<Self, NvidiaError> {
        let fields = Fields(fields);
        let gpu = arch.is_gpu();
        let driver_version = fields.text(DRIVER_VERSION)?;
        if gpu && driver_version.is_none() {
            return Err(wrong(DRIVER_VERSION, "expected in every report of a GPU, got none"));
        }
        let (switch_pdis, own_pdi) = if gpu {
            (fields.switch_pdis()?, None)
        } else {
            let own = fields.exactly::<8>(SWITCH_PDI, "expected 8 bytes in the report of a switch")?;
            (Vec::new(), own)
        };
        let gpu_pdis = if gpu { Vec::new() } else { fields.gpu_pdis()? };
        Ok(Self {
            driver_version,
            vbios_version: if gpu {
                fields.gpu_vbios()?
            } else {
                fields.switch_bios()?
            },
            nvdec0_enabled: fields.on_off(NVDEC0_STATUS)?,
            board: if gpu {
                fields.gpu_board()?
            } else {
                LS10_BOARD.to_owned()
            },
            fwid: fields.exactly(FWID, "expected 48 bytes")?,
            protected_pcie: fields.on_off(PROTECTED_PCIE_STATUS)?,
            switch_pdis,
            gpu_pdis,
            own_pdi,
            chip_info: fields.text(CHIP_INFO)?,
            feature_flag: fields.feature_flag()?,
        })
    }
}

fn wrong(id: u16, detail: &'static str) -> NvidiaError {
    let name = match id {
        DRIVER_VERSION => "DRIVER_VERSION",
        VBIOS_VERSION => "VBIOS_VERSION",
        NVDEC0_STATUS => "NVDEC0_STATUS",
        CHIP_SKU => "CHIP_SKU",
        PROJECT => "PROJECT",
        PROJECT_SKU => "PROJECT_SKU",
        FWID => "FWID",
        PROTECTED_PCIE_STATUS => "PROTECTED_PCIE_STATUS",
        SWITCH_PDI => "SWITCH_PDI",
        SWITCH_GPU_PDIS => "SWITCH_GPU_PDIS",
        CHIP_INFO => "CHIP_INFO",
        FEATURE_FLAG => "FEATURE_FLAG",
        _ => "unnamed",
    };
    NvidiaError::Opaque { id, name, detail }
}

struct Fields<'a>(&'a BTreeMap<u16, Vec<u8>>);

impl Fields<'_> {
    fn get(&self, id: u16) -> Option<&[u8]> {
        self.0.get(&id).map(Vec::as_slice)
    }

    fn exactly<const N: usize>(&self, id: u16, detail: &'static str) -> Result<Option<[u8; N]>, NvidiaError> {
        self.get(id)
            .map(|value| value.try_into().map_err(|_| wrong(id, detail)))
            .transpose()
    }

    /// Letters, digits, `.`, `-` and `_`, then zero bytes alone: such text goes into RIM ids and onto screens.
    fn text(&self, id: u16) -> Result<Option<String>, NvidiaError> {
        let Some(value) = self.get(id) else { return Ok(None) };
        let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
        let (text, padding) = value.split_at_checked(end).unwrap_or((value, &[]));
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > 64 || !text.iter().all(plain) || padding.iter().any(|b| *b != 0) {
            return Err(wrong(
                id,
                "expected 1 to 64 letters, digits, '.', '-', '_', padded with zero bytes",
            ));
        }
        Ok(Some(text.iter().copied().map(char::from).collect()))
    }

    fn required(&self, id: u16) -> Result<String, NvidiaError> {
        self.text(id)?
            .ok_or(wrong(id, "expected in every report of this kind of device, got none"))
    }

    fn gpu_board(&self) -> Result<String, NvidiaError> {
        let (project, sku) = (self.required(PROJECT)?, self.required(PROJECT_SKU)?);
        Ok(format!("{project}_{sku}_{}", self.required(CHIP_SKU)?))
    }

    fn on_off(&self, id: u16) -> Result<Option<bool>, NvidiaError> {
        match self.get(id) {
            None => Ok(None),
            Some([0xaa]) => Ok(Some(true)),
            Some([0x55]) => Ok(Some(false)),
            Some(_) => Err(wrong(id, "expected one byte, 0xaa (on) or 0x55 (off)")),
        }
    }

    /// 8 bytes: four of the version, last first, then its fifth, then zeros.
    fn gpu_vbios(&self) -> Result<String, NvidiaError> {
        match self.exactly(VBIOS_VERSION, "expected 8 bytes in the report of a GPU")? {
            Some([d, c, b, a, e, 0, 0, 0]) => Ok(format!("{a:02X}.{b:02X}.{c:02X}.{d:02X}.{e:02X}")),
            Some(_) => Err(wrong(VBIOS_VERSION, "expected zeros in bytes 5 to 7")),
            None => Err(wrong(VBIOS_VERSION, "expected in every report, got none")),
        }
    }

    fn switch_bios(&self) -> Result<String, NvidiaError> {
        let text = self.required(VBIOS_VERSION)?;
        let groups: Vec<&str> = text.split('.').collect();
        let hex_pair = |g: &&str| g.len() == 2 && g.bytes().all(|b| b.is_ascii_hexdigit());
        if groups.len() != 5 || !groups.iter().all(hex_pair) {
            return Err(wrong(
                VBIOS_VERSION,
                "expected five pairs of hexadecimal digits, separated by '.'",
            ));
        }
        Ok(text.to_ascii_uppercase())
    }

    /// A GPU writes the ids of switches last byte first; here they stand as the switches state their own.
    fn switch_pdis(&self) -> Result<Vec<Pdi>, NvidiaError> {
        let Some(value) = self.get(SWITCH_PDI) else {
            return Ok(Vec::new());
        };
        if value.len() != 18 * 8 {
            return Err(wrong(SWITCH_PDI, "expected 18 times 8 bytes in the report of a GPU"));
        }
        Ok(distinct(value.as_chunks::<8>().0.iter().map(|pdi| {
            let mut pdi = *pdi;
            pdi.reverse();
            pdi
        })))
    }

    fn gpu_pdis(&self) -> Result<Vec<Pdi>, NvidiaError> {
        let Some(value) = self.get(SWITCH_GPU_PDIS) else {
            return Ok(Vec::new());
        };
        let Some((pdis, ports)) = value.split_first_chunk::<64>() else {
            return Err(wrong(SWITCH_GPU_PDIS, "expected 128 bytes"));
        };
        if ports.len() != 64 {
            return Err(wrong(SWITCH_GPU_PDIS, "expected 128 bytes"));
        }
        Ok(distinct(pdis.as_chunks::<8>().0.iter().copied()))
    }

    fn feature_flag(&self) -> Result<Option<u32>, NvidiaError> {
        match self.get(FEATURE_FLAG) {
            None => Ok(None),
            Some([a]) => Ok(Some(u32::from(*a))),
            Some([a, b]) => Ok(Some(u32::from_le_bytes([*a, *b, 0, 0]))),
            Some([a, b, c, d]) => Ok(Some(u32::from_le_bytes([*a, *b, *c, *d]))),
            Some(_) => Err(wrong(FEATURE_FLAG, "expected 1, 2 or 4 bytes")),
        }
    }
}

/// In ascending order, each once, without the two values that stand for an unused place.
fn distinct(pdis: impl Iterator<Item = Pdi>) -> Vec<Pdi> {
    let used = pdis.filter(|pdi| *pdi != [0; 8] && *pdi != [0xff; 8]);
    let set: std::collections::BTreeSet<Pdi> = used.collect();
    set.into_iter().collect()
}
