//! The ACPI blobs of a machine, out of stock QEMU and without one instruction of a guest.
//!
//! QEMU builds the blobs when they are first read, from the state its chipset has then. The few registers that the
//! firmware sets before it reads them are set here over QEMU's test protocol; the machine itself stays stopped. Our
//! machines have no window for 64-bit BARs (`opt/ovmf/X-PciMmio64Mb`), so nothing else of the firmware shows in them. Of
//! other machines the window shows too: then each 64-bit BAR is put where the firmware will put it.
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
use hanzo_measured_boot::acpi::{Bar, Cpu, Reserved, place, window64};

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

/// Slots of a bus, functions of a slot.
const SLOTS: u32 = 32;
const FUNCTIONS: u32 = 8;
/// Command register: the device answers in memory.
const MEMORY_ENABLE: u32 = 2;
/// fw_cfg's memory map: entries of u64 address, u64 length, u32 type, little-endian; type 2 is reserved.
const E820: &str = "etc/e820";
const E820_ENTRY_BYTES: usize = 20;
const E820_RESERVED: u32 = 2;

/// A 64-bit BAR of a function on bus 0.
struct Place {
    /// Address of the function for 0xcf8.
    function: u32,
    /// Which register.
    register: u32,
    bytes: u64,
}

/// A stopped machine that answers.
pub(crate) struct Qtest {
    reader: BufReader<UnixStream>,
}

impl Qtest {
    /// Connects as soon as QEMU listens at `socket`.
    pub(crate) fn connect(socket: &Path) -> Result<Self, ImageError> {
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
    pub(crate) fn as_firmware_leaves_it(&mut self) -> Result<(), ImageError> {
        let host_bridge = |register: u32| 0x8000_0000 | register;
        let lpc = |register: u32| 0x8000_0000 | 0x1f << 11 | register;
        for (at, value) in [
            (host_bridge(0x64), 0),
            (host_bridge(0x60), 0xe000_0001_u32),
            (lpc(0x40), 0x601),
        ] {
            self.configure(at, value)?;
        }
        self.ask(&format!("outl 0xcf8 {:#x}", lpc(0x44)))?;
        self.ask("outb 0xcfc 0x80").map(drop)
    }

    /// Puts each 64-bit BAR where OVMF will put it on a machine with this processor and RAM, and enables it. Gives the
    /// addresses, in the order of slots, functions and registers.
    ///
    /// # Spec
    /// PCI Local Bus 3.0 section 6.2.5.1 (sizes); `hanzo_measured_boot::acpi` (places).
    pub(crate) fn place_bars(&mut self, cpu: &Cpu, memory_bytes: u64) -> Result<Vec<u64>, ImageError> {
        let found = self.bars64()?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let refused = |e: hanzo_measured_boot::acpi::WindowError| ImageError::Prediction { what: e.to_string() };
        let window = window64(cpu, memory_bytes, &self.reserved()?).map_err(refused)?;
        let bars: Vec<_> = found.iter().map(|at| Bar { bytes: at.bytes }).collect();
        let addresses = place(window, &bars).map_err(refused)?;
        for (at, address) in found.iter().zip(&addresses) {
            self.configure(at.function | at.register, *address as u32)?;
            self.configure(at.function | (at.register + 4), (address >> 32) as u32)?;
            self.ask(&format!("outl 0xcf8 {:#x}", at.function | 0x04))?;
            self.ask(&format!("outw 0xcfc {MEMORY_ENABLE:#x}"))?;
        }
        Ok(addresses)
    }

    fn bars64(&mut self) -> Result<Vec<Place>, ImageError> {
        let mut found = Vec::new();
        for slot in 0..SLOTS {
            for number in 0..FUNCTIONS {
                let function = 0x8000_0000 | slot << 11 | number << 8;
                if self.configuration(function)? & 0xffff == 0xffff {
                    continue;
                }
                // A device has six registers for BARs, a bridge two.
                let registers = match self.configuration(function | 0x0c)? >> 16 & 0x7f {
                    0 => 6,
                    1 => 2,
                    _ => 0,
                };
                let mut index = 0;
                while index < registers {
                    let register = 0x10 + 4 * index;
                    index += 1;
                    // In memory, of 64 bits: then the next register is its upper half.
                    if self.configuration(function | register)? & 0b111 != 0b100 {
                        continue;
                    }
                    index += 1;
                    let bytes = self.bar_bytes(function, register)?;
                    if bytes != 0 {
                        found.push(Place {
                            function,
                            register,
                            bytes,
                        });
                    }
                }
            }
        }
        Ok(found)
    }

    /// Writes ones and looks which stick: the address bits above the size.
    fn bar_bytes(&mut self, function: u32, register: u32) -> Result<u64, ImageError> {
        let (low, high) = (function | register, function | (register + 4));
        self.configure(low, u32::MAX)?;
        self.configure(high, u32::MAX)?;
        let mask = u64::from(self.configuration(high)?) << 32 | u64::from(self.configuration(low)? & !0xf);
        self.configure(low, 0)?;
        self.configure(high, 0)?;
        Ok(mask.wrapping_neg())
    }

    fn reserved(&mut self) -> Result<Vec<Reserved>, ImageError> {
        let files = self.files(&[E820])?;
        let entries = files
            .get(E820)
            .map(Vec::as_slice)
            .unwrap_or_default()
            .chunks_exact(E820_ENTRY_BYTES);
        let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let read = |entry: &[u8]| {
            let kind = entry.get(16..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
            let (start, bytes) = (number(entry)?, number(entry.get(8..)?)?);
            (kind == E820_RESERVED).then_some(Reserved { start, bytes })
        };
        Ok(entries.filter_map(read).collect())
    }

    fn configure(&mut self, at: u32, value: u32) -> Result<(), ImageError> {
        self.ask(&format!("outl 0xcf8 {at:#x}"))?;
        self.ask(&format!("outl 0xcfc {value:#x}")).map(drop)
    }

    fn configuration(&mut self, at: u32) -> Result<u32, ImageError> {
        self.ask(&format!("outl 0xcf8 {at:#x}"))?;
        let answer = self.ask("inl 0xcfc")?;
        let value = answer.trim().strip_prefix("0x").map(|hex| u32::from_str_radix(hex, 16));
        value.and_then(Result::ok).ok_or_else(|| wrong("inl", "a number"))
    }

    /// The named files of fw_cfg.
    pub(crate) fn files(&mut self, wanted: &[&'static str]) -> Result<BTreeMap<&'static str, Vec<u8>>, ImageError> {
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
