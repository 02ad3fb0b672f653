//! Event logs as firmware writes them, and the registers they lead to. It shares no code with what reads them.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, digest};

/// EV_NO_ACTION.
const NO_ACTION: u32 = 3;
const SHA256_ID: u16 = 0x0b;
const SHA384_ID: u16 = 0x0c;

/// Whose log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bank {
    /// A TPM's: SHA-256, or SHA-256 and SHA-384; PCR 0 to 23.
    Tcg,
    /// A TDX guest's: SHA-384, CC measurement registers 1 to 4.
    Ccel,
}

/// A log in the making.
#[derive(Debug, Clone)]
pub struct LogBuilder {
    bank: Bank,
    bytes: Vec<u8>,
    /// In the order of the log's header.
    registers: Vec<Registers>,
}

/// One bank: TPM_ALG_ID, its hash, its registers.
#[derive(Debug, Clone)]
struct Registers {
    id: u16,
    algorithm: &'static Algorithm,
    values: Vec<Vec<u8>>,
}

impl Registers {
    fn new(id: u16, log: Bank) -> Self {
        let algorithm = if id == SHA256_ID { &SHA256 } else { &SHA384 };
        let fill = |i| {
            if log == Bank::Tcg && (17..=22).contains(&i) {
                0xff
            } else {
                0
            }
        };
        Self {
            id,
            algorithm,
            values: (0..24).map(|i| vec![fill(i); algorithm.output_len()]).collect(),
        }
    }
}

impl LogBuilder {
    /// A log for a TPM: one SHA-256 bank.
    pub fn tcg() -> Self {
        Self::new(Bank::Tcg, &[SHA256_ID])
    }

    /// A log for a TPM with a SHA-256 and a SHA-384 bank.
    pub fn tcg_both() -> Self {
        Self::new(Bank::Tcg, &[SHA256_ID, SHA384_ID])
    }

    /// A log for a TDX guest: one SHA-384 bank, registers as CCEL numbers them (1 is RTMR0).
    pub fn ccel() -> Self {
        Self::new(Bank::Ccel, &[SHA384_ID])
    }

    fn new(bank: Bank, ids: &[u16]) -> Self {
        let registers: Vec<_> = ids.iter().map(|id| Registers::new(*id, bank)).collect();
        let mut spec_id = b"Spec ID Event03\0".to_vec();
        spec_id.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        spec_id.extend((registers.len() as u32).to_le_bytes());
        for bank in &registers {
            spec_id.extend(bank.id.to_le_bytes());
            spec_id.extend((bank.algorithm.output_len() as u16).to_le_bytes());
        }
        spec_id.push(0);
        let mut bytes = u32::from(bank == Bank::Ccel).to_le_bytes().to_vec();
        bytes.extend(NO_ACTION.to_le_bytes());
        bytes.extend([0; 20]);
        bytes.extend((spec_id.len() as u32).to_le_bytes());
        bytes.extend(spec_id);
        Self { bank, bytes, registers }
    }

    /// An event whose digest is the hash of its data.
    pub fn event(self, register: u32, kind: u32, data: &[u8]) -> Self {
        self.event_over(register, kind, data, data)
    }

    /// An event whose digest is the hash of something else than its data.
    ///
    /// # Panics
    /// If there is no such register.
    pub fn event_over(mut self, register: u32, kind: u32, data: &[u8], hashed: &[u8]) -> Self {
        self.bytes.extend(register.to_le_bytes());
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((self.registers.len() as u32).to_le_bytes());
        for bank in &mut self.registers {
            let measured = digest(bank.algorithm, hashed);
            if kind != NO_ACTION {
                let value = &mut bank.values[register as usize];
                *value = digest(bank.algorithm, &[value.as_slice(), measured.as_ref()].concat())
                    .as_ref()
                    .to_vec();
            }
            self.bytes.extend(bank.id.to_le_bytes());
            self.bytes.extend(measured.as_ref());
        }
        self.bytes.extend((data.len() as u32).to_le_bytes());
        self.bytes.extend(data);
        self
    }

    /// StartupLocality, which PCR 0 starts with. Call it before any event of PCR 0.
    pub fn startup_locality(mut self, locality: u8) -> Self {
        for bank in &mut self.registers {
            if let Some(last) = bank.values[0].last_mut() {
                *last = locality;
            }
        }
        let data = [b"StartupLocality\0".as_slice(), &[locality]].concat();
        self.event(0, NO_ACTION, &data)
    }

    /// The separator of a register.
    pub fn separator(self, register: u32) -> Self {
        self.event(register, 4, &[0; 4])
    }

    /// A small boot: firmware version, Secure Boot off, boot order, one boot application, separators, a command line.
    pub fn boot(self, command_line: &str) -> Self {
        let secure_boot = variable("SecureBoot", &[0]);
        let order = variable("BootOrder", &[0, 0]);
        let line: Vec<u8> = command_line.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let tag = [
            &0x8f3b_22ed_u32.to_le_bytes()[..],
            &26_u32.to_le_bytes(),
            b"LOADED_IMAGE::LoadOptions\0",
        ]
        .concat();
        match self.bank {
            Bank::Tcg => {
                let log = self
                    .event(0, 8, b"1\0.\0\x30\0\0\0")
                    .event(7, 0x8000_0001, &secure_boot)
                    .event_over(1, 0x8000_0002, &order, &[0, 0])
                    .event(4, 0x8000_0007, b"Calling EFI Application from Boot Option");
                let log = (0..8).fold(log, Self::separator);
                log.event_over(4, 0x8000_0003, &[0; 32], b"a kernel")
                    .event_over(9, 6, &tag, &line)
            }
            Bank::Ccel => self
                .event(1, 0x8000_0001, &secure_boot)
                .separator(1)
                .event_over(1, 0x8000_0002, &order, &[0, 0])
                .event(2, 0x8000_0007, b"Calling EFI Application from Boot Option")
                .separator(2)
                .event_over(2, 0x8000_0003, &[0; 32], b"a kernel")
                .event_over(3, 6, &tag, &line),
        }
    }

    /// The log.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// PCR 0 to 23.
    ///
    /// # Panics
    /// For a log that is not a TPM's.
    pub fn pcrs(&self) -> [[u8; 32]; 24] {
        self.of(SHA256_ID).expect("a SHA-256 bank")
    }

    /// PCR 0 to 23 of the SHA-384 bank, if the log has one.
    pub fn pcrs_sha384(&self) -> Option<[[u8; 48]; 24]> {
        (self.bank == Bank::Tcg).then(|| self.of(SHA384_ID)).flatten()
    }

    /// RTMR0 to RTMR3.
    ///
    /// # Panics
    /// For a log that is not a TDX guest's.
    pub fn rtmr(&self) -> [[u8; 48]; 4] {
        assert_eq!(self.bank, Bank::Ccel, "a TDX guest's log");
        let all: [[u8; 48]; 24] = self.of(SHA384_ID).expect("a SHA-384 bank");
        [1, 2, 3, 4].map(|i| all[i])
    }

    fn of<const N: usize>(&self, id: u16) -> Option<[[u8; N]; 24]> {
        let bank = self.registers.iter().find(|bank| bank.id == id)?;
        let values = bank.values.iter().map(|v| v.as_slice().try_into().ok());
        values.collect::<Option<Vec<_>>>()?.try_into().ok()
    }
}

/// UEFI_VARIABLE_DATA of a global variable.
fn variable(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = vec![
        0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
    ];
    out.extend((name.encode_utf16().count() as u64).to_le_bytes());
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
    out.extend(value);
    out
}
