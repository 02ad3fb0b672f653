//! SEV-SNP evidence through configfs-tsm, the kernel's one interface for all TEEs.
//!
//! # Layout
//! One directory per requester under `/sys/kernel/config/tsm/report`: `provider` (`sev_guest`), `generation` (decimal,
//! one more with every write), `inblob` (64 bytes in), `outblob` (the report), `auxblob` (the certificate table).
//!
//! # Spec
//! Linux `Documentation/ABI/testing/configfs-tsm-report`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hanzo_attestation::Digest256;
use hanzo_attestation::bundle::{Base64, CpuEvidence, SnpEvidence};
use hanzo_attestation::snp::REPORT_BYTES;
use hanzo_attestation::statement::EvidenceRequest;

use crate::attester::{Attester, TimeSource};
use crate::certificate_table::{CertificateTable, TABLE_BYTES_MAX};
use crate::cmdline;
use crate::error::DeviceError;

/// Where the kernel puts it.
pub const SYSTEM_ROOT: &str = "/sys/kernel/config/tsm/report";
const ENTRY: &str = "hanzo-guest";
const PROVIDER: &str = "sev_guest";
/// REPORT_DATA in the report (AMD 56860 table 23).
const REPORT_DATA_AT: usize = 0x50;
/// Flags word: bits 4:2 are SIGNING_KEY, 0 = VCEK, 1 = VLEK.
const FLAGS_AT: usize = 0x48;

/// The attester of a real SEV-SNP guest.
///
/// SecureTSC cannot be recognised from inside by this version, so [`Attester::time_source`] says `host`.
pub struct SnpConfigfs {
    root: PathBuf,
    cmdline: PathBuf,
    one_at_a_time: Mutex<()>,
}

impl SnpConfigfs {
    /// The kernel's own paths.
    pub fn system() -> Self {
        Self::at(SYSTEM_ROOT, "/proc/cmdline")
    }

    /// Other paths, for tests.
    pub fn at(root: impl Into<PathBuf>, cmdline: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            cmdline: cmdline.into(),
            one_at_a_time: Mutex::new(()),
        }
    }

    /// Whether this machine has the interface.
    ///
    /// # Errors
    /// [`DeviceError::Absent`].
    pub fn probe(&self) -> Result<(), DeviceError> {
        if self.root.is_dir() {
            Ok(())
        } else {
            Err(DeviceError::Absent {
                path: self.root.clone(),
            })
        }
    }

    fn entry(&self) -> Result<PathBuf, DeviceError> {
        self.probe()?;
        let entry = self.root.join(ENTRY);
        match fs::create_dir(&entry) {
            Ok(()) => Ok(entry),
            // Left by an earlier process of ours; the generation check sees a living one.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(entry),
            Err(source) => Err(DeviceError::Io { path: entry, source }),
        }
    }
}

impl Attester for SnpConfigfs {
    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        let report_data = request.report_data();
        let _turn = self
            .one_at_a_time
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let entry = self.entry()?;
        let provider = read_text(&entry.join("provider"))?;
        if provider != PROVIDER {
            return Err(DeviceError::Provider { got: provider });
        }
        let before = generation(&entry)?;
        write_blob(&entry.join("inblob"), report_data)?;
        let report = read_bounded(&entry.join("outblob"), REPORT_BYTES as u64)?;
        let table = read_bounded(&entry.join("auxblob"), TABLE_BYTES_MAX as u64)?;
        let (expected, got) = (before.wrapping_add(1), generation(&entry)?);
        if got != expected {
            return Err(DeviceError::Conflict { expected, got });
        }
        Ok(CpuEvidence::Snp(assemble(report, &table, report_data)?))
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        cmdline::config_digest_of(&self.cmdline)
    }

    fn time_source(&self) -> TimeSource {
        TimeSource::Host
    }
}

fn assemble(report: Vec<u8>, table: &[u8], report_data: &[u8; 64]) -> Result<SnpEvidence, DeviceError> {
    if report.len() != REPORT_BYTES {
        return Err(DeviceError::Malformed {
            field: "outblob",
            expected: "1184 bytes",
            got: format!("{} bytes", report.len()),
        });
    }
    if report.get(REPORT_DATA_AT..REPORT_DATA_AT + 64) != Some(&report_data[..]) {
        return Err(DeviceError::ReportData);
    }
    let flags = report.get(FLAGS_AT).copied().unwrap_or(0xff);
    let certificates = CertificateTable::parse(table)?;
    let (wanted, vek, ask) = match (flags >> 2) & 7 {
        0 => ("VCEK", certificates.vcek, certificates.ask),
        // The table's ASK is the one above the VCEK; the verifier has the ASVK of every product.
        1 => ("VLEK", certificates.vlek, None),
        other => {
            return Err(DeviceError::Malformed {
                field: "SIGNING_KEY",
                expected: "0 (VCEK) or 1 (VLEK)",
                got: other.to_string(),
            });
        }
    };
    Ok(SnpEvidence {
        ask: ask.map(Base64),
        crl: certificates.crl.map(Base64),
        report: Base64(report),
        vek: Base64(vek.ok_or(DeviceError::NoCertificate { wanted })?),
    })
}

fn generation(entry: &Path) -> Result<u64, DeviceError> {
    let text = read_text(&entry.join("generation"))?;
    text.parse().map_err(|_| DeviceError::Malformed {
        field: "generation",
        expected: "a decimal number",
        got: format!("{} bytes of other text", text.len()),
    })
}

fn read_text(path: &Path) -> Result<String, DeviceError> {
    let bytes = read_bounded(path, 256)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(_) => Err(DeviceError::Malformed {
            field: "attribute",
            expected: "ASCII text",
            got: "other bytes".into(),
        }),
    }
}

fn write_blob(path: &Path, bytes: &[u8]) -> Result<(), DeviceError> {
    let failed = |source| DeviceError::Io {
        path: path.to_owned(),
        source,
    };
    // configfs takes a binary attribute in one write and commits it at close.
    let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}

pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, DeviceError> {
    let failed = |source| DeviceError::Io {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(DeviceError::Malformed {
            field: "attribute",
            expected: "an attribute within its bound",
            got: format!("more than {bytes_max} bytes in {}", path.display()),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate_table::tests::vcek_table;
    use hanzo_attestation::statement::Statement;
    use hanzo_attestation::{Digest384, Nonce};

    /// A kernel made of files. `outblob` is a FIFO, so that the kernel's part runs between our write and our read.
    struct FakeKernel {
        root: tempfile::TempDir,
    }

    struct Answer {
        generation_step: u64,
        report_bytes: usize,
        flags: u8,
        flip_report_data: bool,
    }

    fn request() -> EvidenceRequest {
        Statement::for_cpu(Digest384([1; 48]), Nonce([2; 32]), Statement::no_devices())
            .request()
            .unwrap()
    }

    const HEALTHY: Answer = Answer {
        generation_step: 1,
        report_bytes: REPORT_BYTES,
        flags: 0,
        flip_report_data: false,
    };

    impl FakeKernel {
        fn new(provider: &str, table: &[u8]) -> Self {
            let root = tempfile::tempdir().unwrap();
            let entry = root.path().join(ENTRY);
            fs::create_dir(&entry).unwrap();
            for (name, bytes) in [
                ("provider", provider.as_bytes()),
                ("generation", b"7\n"),
                ("inblob", b""),
                ("auxblob", table),
            ] {
                fs::write(entry.join(name), bytes).unwrap();
            }
            rustix::fs::mknodat(
                rustix::fs::CWD,
                entry.join("outblob"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
                0,
            )
            .unwrap();
            fs::write(
                root.path().join("cmdline"),
                format!("hanzo.config={}\n", "11".repeat(32)),
            )
            .unwrap();
            Self { root }
        }

        fn ask(&self, answer: Answer) -> Result<SnpEvidence, DeviceError> {
            let entry = self.root.path().join(ENTRY);
            let kernel = std::thread::spawn(move || {
                let mut out = OpenOptions::new().write(true).open(entry.join("outblob")).unwrap();
                let asked = fs::read(entry.join("inblob")).unwrap();
                fs::write(entry.join("generation"), format!("{}\n", 7 + answer.generation_step)).unwrap();
                let mut report = vec![0; REPORT_BYTES];
                report[REPORT_DATA_AT..REPORT_DATA_AT + 64].copy_from_slice(&asked);
                report[REPORT_DATA_AT] ^= u8::from(answer.flip_report_data);
                report[FLAGS_AT] = answer.flags;
                report.resize(answer.report_bytes, 0);
                let _ = out.write_all(&report);
            });
            let attester = SnpConfigfs::at(self.root.path(), self.root.path().join("cmdline"));
            assert_eq!(attester.measured_config_digest().unwrap(), Digest256([0x11; 32]));
            let result = attester.evidence(&request());
            kernel.join().unwrap();
            result.map(|evidence| match evidence {
                CpuEvidence::Snp(evidence) => evidence,
                other => panic!("{}", other.kind()),
            })
        }
    }

    #[test]
    fn evidence_is_the_report_with_the_certificates_of_the_key_that_signed() {
        let kernel = FakeKernel::new("sev_guest\n", &vcek_table(b"vcek", b"ask"));
        let evidence = kernel.ask(HEALTHY).unwrap();
        assert_eq!(
            evidence.report.0[REPORT_DATA_AT..REPORT_DATA_AT + 64],
            request().report_data()[..]
        );
        assert_eq!(evidence.vek.0, b"vcek");
        assert_eq!(evidence.ask.unwrap().0, b"ask");
        assert!(evidence.crl.is_none());
    }

    #[test]
    fn a_kernel_that_answers_otherwise_is_refused_by_name() {
        let table = vcek_table(b"vcek", b"ask");
        let refused = |answer, code| {
            let kernel = FakeKernel::new("sev_guest\n", &table);
            assert_eq!(kernel.ask(answer).unwrap_err().code(), code);
        };
        refused(
            Answer {
                generation_step: 2,
                ..HEALTHY
            },
            "device.conflict",
        );
        refused(
            Answer {
                generation_step: 0,
                ..HEALTHY
            },
            "device.conflict",
        );
        refused(
            Answer {
                report_bytes: 1183,
                ..HEALTHY
            },
            "device.malformed",
        );
        refused(
            Answer {
                report_bytes: 1185,
                ..HEALTHY
            },
            "device.malformed",
        );
        refused(
            Answer {
                flip_report_data: true,
                ..HEALTHY
            },
            "device.report_data",
        );
        refused(
            Answer {
                flags: 1 << 2,
                ..HEALTHY
            },
            "device.no_certificate",
        );
        refused(
            Answer {
                flags: 7 << 2,
                ..HEALTHY
            },
            "device.malformed",
        );
    }

    #[test]
    fn another_provider_and_a_machine_without_one_are_refused() {
        let kernel = FakeKernel::new("tdx_guest\n", b"");
        let attester = SnpConfigfs::at(kernel.root.path(), "/nonexistent");
        assert_eq!(attester.evidence(&request()).unwrap_err().code(), "device.provider");
        assert_eq!(attester.measured_config_digest().unwrap_err().code(), "device.io");
        let nowhere = SnpConfigfs::at("/nonexistent/tsm/report", "/proc/cmdline");
        let error = nowhere.evidence(&request()).unwrap_err();
        assert_eq!(error.code(), "device.absent");
        assert!(error.to_string().contains("inside an SEV-SNP guest"), "{error}");
    }
}
