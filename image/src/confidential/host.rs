//! Whether this host can launch such a guest. Each thing that is missing is named with what to do about it.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use hanzo_measured_boot::matrix::SecureTsc;

use super::{Launch, Protection};
use crate::error::ImageError;
use crate::run::{QEMU, qemu_says};

const SNP_REMEDY: &str = "use an EPYC 7003 or newer with SEV-SNP switched on in its firmware settings (SMEE, SNP memory coverage, IOMMU) and a host kernel from 6.11 on with kvm_amd.sev_snp=1";
const TDX_REMEDY: &str = "use a Xeon with TDX switched on in its firmware settings and a host kernel from 6.16 on with kvm_intel.tdx=1 and nohibernate";
const KVM_REMEDY: &str =
    "switch virtualization on in the firmware settings, load kvm_amd or kvm_intel, and join the group kvm";
const QEMU_TDX_REMEDY: &str = "install QEMU 10.1 or newer: earlier ones cannot launch trust domains";
const QEMU_SNP_REMEDY: &str = "install QEMU 9.1 or newer, built with KVM";
const TSC_REMEDY: &str = "leave --secure-tsc out, or install a QEMU whose sev-snp-guest has the property secure-tsc";

/// A host, as its file system shows it.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// This one.
    pub fn this() -> Self {
        Self::at(Path::new("/"))
    }

    /// One whose `/dev` and `/sys` are below `root`.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// What the host lacks for a launch, if anything.
    ///
    /// # Errors
    /// [`ImageError::Host`]; [`ImageError::Tool`] if QEMU is missing.
    pub fn check(&self, launch: &Launch) -> Result<(), ImageError> {
        self.device("dev/kvm", KVM_REMEDY)?;
        match &launch.protection {
            Protection::Snp { secure_tsc, .. } => {
                self.parameter("sys/module/kvm_amd/parameters/sev_snp", SNP_REMEDY)?;
                self.device("dev/sev", SNP_REMEDY)?;
                qemu_has("help", "sev-snp-guest", "an object sev-snp-guest", QEMU_SNP_REMEDY)?;
                if *secure_tsc == SecureTsc::On {
                    let expected = "a property secure-tsc of sev-snp-guest";
                    qemu_has("sev-snp-guest,help", "secure-tsc=", expected, TSC_REMEDY)?;
                }
                Ok(())
            }
            Protection::Tdx { .. } => {
                self.parameter("sys/module/kvm_intel/parameters/tdx", TDX_REMEDY)?;
                qemu_has("help", "tdx-guest", "an object tdx-guest", QEMU_TDX_REMEDY)
            }
        }
    }

    fn device(&self, path: &str, remedy: &'static str) -> Result<(), ImageError> {
        let opened = OpenOptions::new().read(true).write(true).open(self.root.join(path));
        opened.map(drop).map_err(|error| ImageError::Host {
            what: format!("/{path}"),
            expected: "a device that this user may open",
            got: error.to_string(),
            remedy,
        })
    }

    fn parameter(&self, path: &str, remedy: &'static str) -> Result<(), ImageError> {
        let missing = |got: String| ImageError::Host {
            what: format!("/{path}"),
            expected: "Y",
            got,
            remedy,
        };
        let text = fs::read_to_string(self.root.join(path)).map_err(|error| missing(error.to_string()))?;
        match text.trim() {
            "Y" | "1" => Ok(()),
            other => Err(missing(format!("{other:?}"))),
        }
    }
}

/// Whether one of QEMU's lists of objects or properties has a line that begins so.
fn qemu_has(list: &str, wanted: &str, expected: &'static str, remedy: &'static str) -> Result<(), ImageError> {
    let said = qemu_says(&["-machine", "none", "-object", list])?;
    if said.lines().any(|line| line.trim_start().starts_with(wanted)) {
        return Ok(());
    }
    Err(ImageError::Host {
        what: QEMU.to_owned(),
        expected,
        got: "none".into(),
        remedy,
    })
}
