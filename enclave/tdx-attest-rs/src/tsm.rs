//! Reports through configfs-tsm, the kernel's one interface for all confidential guests.
//!
//! # Layout
//! One directory per request under `/sys/kernel/config/tsm/report`: `provider` (text), `generation` (decimal, one more
//! with every write), `inblob` (64 bytes in), `outblob` (report or quote), `auxblob` (SNP: certificate table),
//! `manifestblob` and `service_*` (guests with an SVSM alone).

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::AttestError;
use crate::kernel::Machine;

/// Below the sysfs root.
const REPORTS: &str = "kernel/config/tsm/report";
/// Longest blob accepted, in bytes; the kernel's own bound was 32 KiB when configfs-tsm came.
const BLOB_BYTES_MAX: usize = 64 * 1024;
const TEXT_BYTES_MAX: usize = 256;
/// Tries until a generation passes undisturbed, and names until one is free.
const TRIES: u32 = 5;
/// What `mkdir` answers without a driver (Linux `drivers/virt/coco/tsm.c`, `tsm_report_make_item`).
const ENXIO: i32 = 6;
const NEEDS_DRIVER: &str = "no driver of a confidential machine is loaded (sev-guest or tdx-guest)";
const NEEDS: &str = "this machine offers no confidential guest's reports; run inside a TDX or SEV-SNP guest whose kernel has CONFIG_TSM_REPORTS and CONFIG_TDX_GUEST_DRIVER or CONFIG_SEV_GUEST, with configfs mounted on /sys/kernel/config";
const NEEDS_ATTRIBUTE: &str = "the kernel's entry lacks this attribute; configfs-tsm came with Linux 6.7";

/// Who makes the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// AMD SEV-SNP.
    SevGuest,
    /// Intel TDX.
    TdxGuest,
}

impl Provider {
    /// As the kernel spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SevGuest => "sev_guest",
            Self::TdxGuest => "tdx_guest",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::SevGuest, Self::TdxGuest]
            .into_iter()
            .find(|p| p.as_str() == text)
    }
}

/// A service of the secure VM service module (SVSM) that is to answer instead of the processor alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SvsmService<'a> {
    /// `service_guid`: one service, spelled as a UUID; `None`: all of them.
    pub guid: Option<&'a str>,
    /// `service_manifest_version`.
    pub manifest_version: u32,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    provider: Provider,
    report_data: &'a [u8; 64],
    service: Option<SvsmService<'a>>,
}

impl<'a> Request<'a> {
    /// A report by `provider` over `report_data`.
    pub fn new(provider: Provider, report_data: &'a [u8; 64]) -> Self {
        Self {
            provider,
            report_data,
            service: None,
        }
    }

    /// The same of an SVSM's services.
    pub fn of_service(self, service: SvsmService<'a>) -> Self {
        Self {
            service: Some(service),
            ..self
        }
    }
}

/// What came, all of one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Report or quote.
    pub outblob: Vec<u8>,
    /// SNP: the host's certificate table. `None` if the kernel offers none.
    pub auxblob: Option<Vec<u8>>,
    /// An SVSM's manifest, if a service was asked.
    pub manifestblob: Option<Vec<u8>>,
    /// True if this guest runs under an SVSM, whose `service_*` attributes are there.
    pub svsm: bool,
}

impl Machine {
    /// Who makes this machine's reports.
    ///
    /// # Errors
    /// [`AttestError::Absent`] without configfs-tsm or a driver behind it; [`AttestError::Provider`] for one this crate does not know.
    pub fn provider(&self) -> Result<Provider, AttestError> {
        let name = self.make_entry()?.text("provider")?;
        Provider::parse(&name).ok_or(AttestError::Provider {
            expected: "sev_guest or tdx_guest",
            got: name,
        })
    }

    /// Has a report made, in an entry of its own that is gone afterwards.
    ///
    /// # Establishes
    /// Out, aux and manifest blob belong to this request: the entry's generation counts our writes and no others.
    ///
    /// # Errors
    /// [`AttestError`]; [`AttestError::Conflict`] when another writer interfered at every try.
    pub fn report(&self, request: &Request<'_>) -> Result<Report, AttestError> {
        for _ in 0..TRIES {
            if let Some(report) = self.try_report(request)? {
                return Ok(report);
            }
        }
        Err(AttestError::Conflict { tries: TRIES })
    }

    /// `None` if somebody else wrote to the entry in between.
    fn try_report(&self, request: &Request<'_>) -> Result<Option<Report>, AttestError> {
        let entry = self.make_entry()?;
        let provider = entry.text("provider")?;
        let expected = request.provider.as_str();
        if provider != expected {
            return Err(AttestError::Provider {
                expected,
                got: provider,
            });
        }
        let svsm = entry.optional("service_provider")?.is_some();
        let before = entry.generation()?;
        let writes = entry.ask(request)?;
        let outblob = match self.kernel.read(&entry.path.join("outblob"), BLOB_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(entry.file_error("outblob", e)),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Err(entry.file_error("outblob", e)),
            Err(source) => return Err(AttestError::NoReport { source }),
        };
        if outblob.is_empty() || outblob.len() > BLOB_BYTES_MAX {
            return Err(AttestError::Malformed {
                field: "outblob",
                expected: "1 to 65536 bytes",
                got: format!("{} bytes or more", outblob.len()),
            });
        }
        // TDX has none to give, and kernels differ in how they say so.
        let auxblob = match request.provider {
            Provider::SevGuest => entry.optional("auxblob")?,
            Provider::TdxGuest => None,
        };
        let manifestblob = match request.service {
            Some(_) => Some(entry.read("manifestblob", BLOB_BYTES_MAX)?),
            None => None,
        };
        if entry.generation()? != before.wrapping_add(writes) {
            return Ok(None);
        }
        Ok(Some(Report {
            outblob,
            auxblob,
            manifestblob,
            svsm,
        }))
    }

    fn make_entry(&self) -> Result<Entry<'_>, AttestError> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let reports = self.roots.sys.join(REPORTS);
        let mut tries = 0;
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let path = reports.join(format!("hanzo-{}-{serial}", std::process::id()));
            match self.kernel.make_dir(&path) {
                Ok(()) => return Ok(Entry { machine: self, path }),
                // Left by a process that died, or of another pid namespace: nobody's entry is shared.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => tries += 1,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(AttestError::file(&reports, NEEDS)(e)),
                // The interface is there and no driver stands behind it: the module came without a confidential machine.
                Err(e) if e.raw_os_error() == Some(ENXIO) => {
                    return Err(AttestError::Absent {
                        path,
                        needs: NEEDS_DRIVER,
                    });
                }
                Err(e) => return Err(AttestError::file(&path, NEEDS)(e)),
            }
        }
    }
}

/// One request's directory; removed when dropped.
struct Entry<'a> {
    machine: &'a Machine,
    path: PathBuf,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        // An entry that stays costs the kernel some memory and nothing else: names are never used twice.
        let _ = self.machine.kernel.remove_dir(&self.path);
    }
}

impl Entry<'_> {
    /// Writes the request; returns how many writes that took.
    fn ask(&self, request: &Request<'_>) -> Result<u64, AttestError> {
        let mut writes = 1;
        if let Some(service) = request.service {
            self.write("service_provider", b"svsm")?;
            if let Some(guid) = service.guid {
                self.write("service_guid", guid.as_bytes())?;
                writes += 1;
            }
            self.write(
                "service_manifest_version",
                service.manifest_version.to_string().as_bytes(),
            )?;
            writes += 2;
        }
        self.write("inblob", request.report_data)?;
        Ok(writes)
    }

    fn generation(&self) -> Result<u64, AttestError> {
        let text = self.text("generation")?;
        text.parse().map_err(|_| AttestError::Malformed {
            field: "generation",
            expected: "a decimal number",
            got: format!("{} bytes of other text", text.len()),
        })
    }

    fn text(&self, attribute: &'static str) -> Result<String, AttestError> {
        let bytes = self.read(attribute, TEXT_BYTES_MAX)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(text.trim_end().to_owned()),
            Err(_) => Err(AttestError::Malformed {
                field: attribute,
                expected: "ASCII text",
                got: "other bytes".into(),
            }),
        }
    }

    fn read(&self, attribute: &'static str, bytes_max: usize) -> Result<Vec<u8>, AttestError> {
        let path = self.path.join(attribute);
        self.machine.read(&path, attribute, bytes_max, NEEDS_ATTRIBUTE)
    }

    /// An attribute that not every provider has. Write-only ones and ones without a value count as there and empty.
    fn optional(&self, attribute: &'static str) -> Result<Option<Vec<u8>>, AttestError> {
        match self.read(attribute, BLOB_BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(AttestError::Absent { .. }) => Ok(None),
            Err(AttestError::Denied { .. }) if attribute != "auxblob" => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    fn write(&self, attribute: &'static str, bytes: &[u8]) -> Result<(), AttestError> {
        let written = self.machine.kernel.write(&self.path.join(attribute), bytes);
        written.map_err(|e| self.file_error(attribute, e))
    }

    fn file_error(&self, attribute: &str, e: io::Error) -> AttestError {
        AttestError::file(&self.path.join(attribute), NEEDS_ATTRIBUTE)(e)
    }
}
