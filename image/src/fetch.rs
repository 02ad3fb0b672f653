//! Getting the pinned packages: out of a directory, or through apt's own client. Either way only the SHA-256 counts.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hanzo_attestation::Digest256;

use crate::error::ImageError;
use crate::inputs::Package;
use crate::kernel::OwnKernel;

/// Where packages come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A directory that holds them under their file names.
    Directory(PathBuf),
    /// Debian's archive, through `apt-get download`; fetched files are kept in this directory.
    Archive {
        /// Kept files, each checked again whenever it is used.
        kept: PathBuf,
        /// Base address of a mirror.
        mirror: String,
    },
}

/// Debian's own name for its nearest mirror.
pub const MIRROR: &str = "http://deb.debian.org/debian";
/// Debian's keys, from package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A pinned package's bytes.
///
/// # Establishes
/// The bytes have the pinned SHA-256.
///
/// # Errors
/// [`ImageError::PackageMissing`], [`ImageError::PackageGone`], [`ImageError::PackageDigest`], [`ImageError::Tool`],
/// [`ImageError::Io`].
pub fn package(source: &Source, pinned: &Package) -> Result<Vec<u8>, ImageError> {
    match source {
        Source::Directory(dir) => {
            let path = dir.join(pinned.file_name());
            if !path.exists() {
                return Err(ImageError::PackageMissing {
                    dir: dir.clone(),
                    file: pinned.file_name().to_owned(),
                    sha256: pinned.sha256,
                });
            }
            checked(&path, pinned)
        }
        Source::Archive { kept, mirror } => {
            let path = kept.join(pinned.file_name());
            if !path.exists() {
                download(kept, mirror, pinned)?;
            }
            checked(&path, pinned)
        }
    }
}

/// The kernel that was built from source. Debian's archive has none such: it is kept beside the packages.
///
/// # Establishes
/// The bytes have the pinned SHA-256.
///
/// # Errors
/// [`ImageError::KernelMissing`], [`ImageError::PackageDigest`], [`ImageError::Io`].
pub fn own_kernel(source: &Source, pinned: &OwnKernel) -> Result<Vec<u8>, ImageError> {
    let path = kept_files(source).join(&pinned.file);
    if !path.exists() {
        return Err(ImageError::KernelMissing {
            path,
            sha256: pinned.sha256,
        });
    }
    bytes_of(&path, pinned.bytes, pinned.sha256)
}

/// The directory with the files that are there already.
pub(crate) fn kept_files(source: &Source) -> &Path {
    let (Source::Directory(dir) | Source::Archive { kept: dir, .. }) = source;
    dir
}

fn checked(path: &Path, pinned: &Package) -> Result<Vec<u8>, ImageError> {
    bytes_of(path, pinned.bytes, pinned.sha256)
}

fn bytes_of(path: &Path, size: u64, expected: Digest256) -> Result<Vec<u8>, ImageError> {
    let file = File::open(path).map_err(ImageError::io(path))?;
    let mut bytes = Vec::new();
    file.take(size + 1)
        .read_to_end(&mut bytes)
        .map_err(ImageError::io(path))?;
    let got = Digest256::of(&bytes);
    if got == expected {
        return Ok(bytes);
    }
    Err(ImageError::PackageDigest {
        path: path.to_owned(),
        expected,
        got,
    })
}

/// Asks apt, with a list of sources, lists and a cache of its own, so that nothing of the machine's apt is changed.
fn download(kept: &Path, mirror: &str, pinned: &Package) -> Result<(), ImageError> {
    fs::create_dir_all(kept).map_err(ImageError::io(kept))?;
    let state = tempfile::Builder::new()
        .prefix(".apt-")
        .tempdir_in(kept)
        .map_err(ImageError::io(kept))?;
    let at = |name: &str| state.path().join(name);
    for dir in ["lists/partial", "cache/archives/partial", "out"] {
        fs::create_dir_all(at(dir)).map_err(ImageError::io(&at(dir)))?;
    }
    let entry = format!("deb [signed-by={KEYRING}] {mirror} {} main\n", pinned.suite);
    fs::write(at("sources.list"), entry).map_err(ImageError::io(&at("sources.list")))?;
    let configuration = format!(
        "Dir::Etc::sourcelist {:?};\nDir::Etc::sourceparts \"-\";\nDir::State::lists {:?};\nDir::Cache {:?};\n\
         APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n",
        at("sources.list"),
        at("lists"),
        at("cache"),
    );
    fs::write(at("apt.conf"), configuration).map_err(ImageError::io(&at("apt.conf")))?;

    let gone = |said: String| ImageError::PackageGone {
        package: pinned.package.clone(),
        release: pinned.release.clone(),
        suite: pinned.suite.clone(),
        said,
    };
    let out = at("out");
    let wanted = format!("{}={}", pinned.package, pinned.release);
    for arguments in [vec!["-q", "update"], vec!["-q", "download", &wanted]] {
        let done = Command::new("apt-get")
            .args(arguments)
            .current_dir(&out)
            .env("APT_CONFIG", at("apt.conf"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| ImageError::Tool {
                program: "apt-get",
                why: e.to_string(),
                remedy: "it is in Debian and Ubuntu; elsewhere give a directory of packages (--packages DIR)",
            })?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            let said = said
                .lines()
                .rfind(|line| line.starts_with("E:"))
                .unwrap_or("no reason given");
            return Err(gone(said.to_owned()));
        }
    }
    // One file lies there; its name may spell the epoch in apt's way.
    let fetched = fs::read_dir(&out)
        .map_err(ImageError::io(&out))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .ok_or_else(|| gone("apt-get said nothing and fetched nothing".into()))?;
    checked(&fetched, pinned)?;
    let place = kept.join(pinned.file_name());
    fs::rename(&fetched, &place).map_err(ImageError::io(&place))
}
