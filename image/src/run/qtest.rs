//! The ACPI blobs of a machine, out of stock QEMU and without one instruction of a guest.
//!
//! QEMU builds the blobs when they are first read, from the state its chipset has then. The few registers that the
//! firmware sets before it reads them are set here over QEMU's test protocol; the machine itself stays stopped. Our
//! machines have no window for 64-bit BARs (`opt/ovmf/X-PciMmio64Mb`), so nothing else of the firmware shows in them.
//!
//! # Spec
//! QEMU `docs/devel/testing/qtest.rst`, `docs/specs/fw_cfg.rst`; Intel ICH9 and Q35 datasheets for the registers.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::ImageError;

const START: Duration = Duration::from_secs(30);
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Where QEMU may write in the machine's RAM: a 16-byte request, and what it asks for.
const REQUEST_AT: u64 = 0x1000;
const BUFFER_AT: u64 = 0x10_0000;
/// fw_cfg's control word: select an item and read it.
const SELECT_AND_READ: u32 = 0x0a;
/// fw_cfg's directory.
const DIRECTORY: u16 = 0x19;
const DIRECTORY_ENTRY_BYTES: usize = 64;
const FILES_MAX: u32 = 1024;
/// Largest blob read, in bytes.
const BLOB_BYTES_MAX: u32 = 4 << 20;

/// A stopped machine that answers.
pub(super) struct Qtest {
    reader: BufReader<UnixStream>,
}

impl Qtest {
    /// Connects as soon as QEMU listens at `socket`.
    pub(super) fn connect(socket: &Path) -> Result<Self, ImageError> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(ANSWER)).map_err(ImageError::io(socket))?;
                    return Ok(Self {
                        reader: BufReader::new(stream),
                    });
                }
                Err(error) if start.elapsed() > START => return Err(ImageError::io(socket)(error)),
                Err(_) => sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Sets the registers that OVMF sets before it asks for the tables: the PCI Express window, and the ACPI ports.
    pub(super) fn as_firmware_leaves_it(&mut self) -> Result<(), ImageError> {
        let host_bridge = |register: u32| 0x8000_0000 | register;
        let lpc = |register: u32| 0x8000_0000 | 0x1f << 11 | register;
        for (at, value) in [
            (host_bridge(0x64), 0),
            (host_bridge(0x60), 0xe000_0001_u32),
            (lpc(0x40), 0x601),
        ] {
            self.ask(&format!("outl 0xcf8 {at:#x}"))?;
            self.ask(&format!("outl 0xcfc {value:#x}"))?;
        }
        self.ask(&format!("outl 0xcf8 {:#x}", lpc(0x44)))?;
        self.ask("outb 0xcfc 0x80").map(drop)
    }

    /// The named files of fw_cfg.
    pub(super) fn files(&mut self, wanted: &[&'static str]) -> Result<BTreeMap<&'static str, Vec<u8>>, ImageError> {
        let count = self.item(DIRECTORY, 4)?;
        let count = number(&count).filter(|count| *count <= FILES_MAX);
        let count = count.ok_or_else(|| wrong("fw_cfg's directory", "a number of files"))?;
        let directory = self.item(DIRECTORY, 4 + count * DIRECTORY_ENTRY_BYTES as u32)?;
        let mut found = BTreeMap::new();
        for entry in directory
            .get(4..)
            .unwrap_or_default()
            .chunks_exact(DIRECTORY_ENTRY_BYTES)
        {
            let (head, name) = entry.split_at(8);
            let (size, key) = head.split_at(4);
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let Some(name) = wanted.iter().find(|w| w.as_bytes() == name) else {
                continue;
            };
            let size = number(size).filter(|size| (1..=BLOB_BYTES_MAX).contains(size));
            let size = size.ok_or_else(|| wrong(name, "1 to 4194304 bytes"))?;
            let key = key
                .first_chunk()
                .map(|key| u16::from_be_bytes(*key))
                .unwrap_or_default();
            found.insert(*name, self.item(key, size)?);
        }
        Ok(found)
    }

    /// By DMA: one request for a whole item.
    fn item(&mut self, key: u16, bytes: u32) -> Result<Vec<u8>, ImageError> {
        let control = u32::from(key) << 16 | SELECT_AND_READ;
        self.ask(&format!(
            "write {REQUEST_AT:#x} 16 0x{control:08x}{bytes:08x}{BUFFER_AT:016x}"
        ))?;
        // The address register is big-endian; its low half starts the transfer.
        self.ask("outl 0x514 0x0")?;
        self.ask(&format!("outl 0x518 {:#x}", (REQUEST_AT as u32).swap_bytes()))?;
        let answer = self.ask(&format!("b64read {BUFFER_AT:#x} {bytes:#x}"))?;
        let item = STANDARD.decode(answer.trim()).unwrap_or_default();
        if item.len() != bytes as usize {
            return Err(wrong("b64read", "as many bytes as were asked for"));
        }
        Ok(item)
    }

    fn ask(&mut self, command: &str) -> Result<String, ImageError> {
        let failed = ImageError::io(Path::new("QEMU's test socket"));
        self.reader
            .get_mut()
            .write_all(format!("{command}\n").as_bytes())
            .map_err(&failed)?;
        let mut answer = String::new();
        self.reader.read_line(&mut answer).map_err(&failed)?;
        match answer.strip_prefix("OK") {
            Some(rest) => Ok(rest.to_owned()),
            None => Err(wrong("QEMU's test protocol", "OK")),
        }
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn wrong(what: &str, expected: &'static str) -> ImageError {
    ImageError::Malformed {
        file: what.to_owned(),
        offset: 0,
        expected,
        got: "another answer".into(),
    }
}
