//! A kernel made of a directory tree: every operation is done on real files, and what a kernel does by itself (filling an
//! entry, counting writes, answering, extending) is added. Other crates' tests include this file by path.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hanzo_attestation::Digest384;
use tdx_attest_rs::{HostKernel, Kernel, Roots};

/// What the security processor and the host answer to 64 bytes: outblob and auxblob.
pub type Answer = Arc<dyn Fn(&[u8; 64]) -> io::Result<(Vec<u8>, Vec<u8>)> + Send + Sync>;

/// How this kernel behaves.
#[derive(Clone)]
pub struct FakeKernel {
    pub provider: &'static str,
    pub answer: Answer,
    /// So many reports are disturbed by another writer.
    pub disturb: Arc<AtomicU32>,
    /// Attributes that entries lack.
    pub lacks: Vec<&'static str>,
    /// Whether `service_*` exist.
    pub svsm: bool,
    /// Another process extends every register right after us.
    pub foreign_extend: bool,
    /// Errors by file name.
    pub refuses: Vec<(&'static str, io::ErrorKind)>,
    /// Generation that entries begin with.
    pub generation: &'static str,
    /// No driver stands behind the interface.
    pub no_driver: bool,
}

impl FakeKernel {
    pub fn new(provider: &'static str, answer: Answer) -> Self {
        Self {
            provider,
            answer,
            disturb: Arc::default(),
            lacks: Vec::new(),
            svsm: false,
            foreign_extend: false,
            refuses: Vec::new(),
            generation: "41\n",
            no_driver: false,
        }
    }

    fn refusal(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        match self.refuses.iter().find(|(file, _)| *file == name) {
            Some((_, kind)) => Err((*kind).into()),
            None => Ok(()),
        }
    }

    fn count_write(entry: &Path) -> io::Result<()> {
        let text = fs::read_to_string(entry.join("generation"))?;
        let next = text.trim().parse::<u64>().unwrap_or(0) + 1;
        fs::write(entry.join("generation"), format!("{next}\n"))
    }
}

impl Kernel for FakeKernel {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.refusal(path.parent().unwrap_or(path))?;
        if self.no_driver {
            const ENXIO: i32 = 6;
            return Err(io::Error::from_raw_os_error(ENXIO));
        }
        HostKernel.make_dir(path)?;
        let provider = format!("{}\n", self.provider);
        let mut files = vec![("provider", provider.as_str()), ("generation", self.generation)];
        files.extend([("inblob", ""), ("outblob", ""), ("auxblob", "")]);
        if self.svsm {
            files.extend([
                ("service_provider", ""),
                ("service_guid", ""),
                ("service_manifest_version", ""),
                ("manifestblob", ""),
            ]);
        }
        for (name, text) in files {
            if !self.lacks.contains(&name) {
                fs::write(path.join(name), text)?;
            }
        }
        Ok(())
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        self.refusal(path)?;
        HostKernel.read(path, bytes_max)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.refusal(path)?;
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let folder = path.parent().unwrap_or(path);
        if name.starts_with("rtmr") {
            let mut register = fs::read(path)?;
            for digest in [bytes, &[0xee; 48]].iter().take(1 + usize::from(self.foreign_extend)) {
                register.extend_from_slice(digest);
                register = Digest384::of(&register).0.to_vec();
            }
            return HostKernel.write(path, &register);
        }
        HostKernel.write(path, bytes)?;
        Self::count_write(folder)?;
        if name == "inblob" {
            let asked = bytes.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
            let (out, aux) = (self.answer)(asked)?;
            for (attribute, blob) in [("outblob", &out), ("auxblob", &aux)] {
                if !self.lacks.contains(&attribute) {
                    fs::write(folder.join(attribute), blob)?;
                }
            }
            if self.svsm {
                fs::write(folder.join("manifestblob"), b"manifest")?;
            }
            let disturbed = self.disturb.load(Ordering::SeqCst);
            if disturbed > 0 {
                self.disturb.store(disturbed - 1, Ordering::SeqCst);
                Self::count_write(folder)?;
            }
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }
}

/// An empty tree with the folders that a guest's kernel has; registers hold zeros.
pub fn tree() -> (tempfile::TempDir, Roots) {
    let dir = tempfile::tempdir().unwrap();
    let roots = Roots::under(dir.path());
    for folder in [
        "kernel/config/tsm/report",
        "devices/virtual/misc/tdx_guest/measurements",
        "firmware/acpi/tables/data",
    ] {
        fs::create_dir_all(roots.sys.join(folder)).unwrap();
    }
    fs::create_dir_all(&roots.dev).unwrap();
    fs::create_dir_all(&roots.proc).unwrap();
    for index in 0..4 {
        let name = format!("devices/virtual/misc/tdx_guest/measurements/rtmr{index}:sha384");
        fs::write(roots.sys.join(name), [0; 48]).unwrap();
    }
    (dir, roots)
}

/// Puts a CCEL table and its log area into the tree.
#[allow(dead_code, reason = "not every crate that includes this file needs a log")]
pub fn put_ccel(roots: &Roots, log: &[u8]) {
    let mut table = b"CCEL".to_vec();
    table.extend_from_slice(&56_u32.to_le_bytes());
    table.resize(36, 0);
    table.extend_from_slice(&[2, 0, 0, 0]);
    table.extend_from_slice(&(log.len() as u64).to_le_bytes());
    table.extend_from_slice(&[0; 8]);
    let tables = roots.sys.join("firmware/acpi/tables");
    fs::write(tables.join("CCEL"), table).unwrap();
    fs::write(tables.join("data/CCEL"), log).unwrap();
}
