//! Where passphrases and PINs come from.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;

use hanzo_attestation::name::Name;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::RootError;
use crate::file;

const BYTES_MAX: usize = 1024;

/// Where a passphrase or PIN comes from. There is none that passes through arguments or the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum SecretSource {
    /// A systemd credential: a file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(Name),
    /// An open file descriptor, read to its end.
    Fd(u32),
    /// A file, mode 0600 or 0400.
    File(PathBuf),
    /// Asked for at the terminal; the text is shown.
    Prompt(String),
}

/// What of the process's surroundings counts.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// systemd's directory of credentials.
    pub credentials_dir: Option<PathBuf>,
}

impl Surroundings {
    /// `$CREDENTIALS_DIRECTORY`, which names a place and holds no secret.
    pub fn of_process() -> Self {
        Self {
            credentials_dir: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        }
    }

    /// The file of a credential.
    pub(crate) fn credential(&self, what: &str, name: &Name) -> Result<PathBuf, RootError> {
        let dir = self.credentials_dir.as_ref().ok_or_else(|| RootError::Source {
            what: what.into(),
            detail: format!(
                "credential {name}: $CREDENTIALS_DIRECTORY is not set: start the broker by systemd with LoadCredentialEncrypted={name}:..."
            ),
        })?;
        Ok(dir.join(name.as_str()))
    }
}

impl SecretSource {
    /// Reads the secret; one line end at its end is cut off.
    pub(crate) fn read(&self, what: &str, surroundings: &Surroundings) -> Result<Zeroizing<Vec<u8>>, RootError> {
        let fail = |detail: String| RootError::Source {
            what: what.into(),
            detail,
        };
        let mut secret = match self {
            Self::Credential(name) => {
                let path = surroundings.credential(what, name)?;
                file::read_given("credential", &path, BYTES_MAX)?
            }
            Self::File(path) => file::read_private("secret file", path, BYTES_MAX)?,
            Self::Fd(number) => {
                let mut secret = Zeroizing::new(Vec::with_capacity(BYTES_MAX + 1));
                duplicate(*number)
                    .and_then(|f| f.take(BYTES_MAX as u64 + 1).read_to_end(&mut secret))
                    .map_err(|e| fail(format!("file descriptor {number}: {e}")))?;
                secret
            }
            Self::Prompt(text) => ask(text).map_err(fail)?,
        };
        if secret.last() == Some(&b'\n') {
            secret.pop();
        }
        match secret.len() {
            1..=BYTES_MAX => Ok(secret),
            got => Err(fail(format!("expected 1 to {BYTES_MAX} bytes, got {got}"))),
        }
    }

    /// As [`SecretSource::read`] for a secret that is being chosen: at the terminal it is asked for twice.
    pub(crate) fn read_new(&self, what: &str, surroundings: &Surroundings) -> Result<Zeroizing<Vec<u8>>, RootError> {
        let secret = self.read(what, surroundings)?;
        if let Self::Prompt(text) = self {
            let again = Self::Prompt(format!("{text} (again)")).read(what, surroundings)?;
            if again.as_slice() != secret.as_slice() {
                return Err(RootError::Source {
                    what: what.into(),
                    detail: "the two entries differ: start again".into(),
                });
            }
        }
        Ok(secret)
    }
}

/// The open file behind a descriptor that this process was started with. It is not opened again by its path: a pipe that
/// another user made could not be.
fn duplicate(number: u32) -> std::io::Result<File> {
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    if number == 0 {
        return Ok(std::io::stdin().as_fd().try_clone_to_owned()?.into());
    }
    let number = i32::try_from(number).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let same =
        pidfd_open(getpid(), PidfdFlags::empty()).and_then(|own| pidfd_getfd(own, number, PidfdGetfdFlags::empty()));
    match same {
        // Container runtimes forbid this call; the same file by its path is what is left.
        Err(Errno::PERM | Errno::NOSYS) => File::open(format!("/proc/self/fd/{number}")),
        same => Ok(same?.into()),
    }
}

fn ask(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    rpassword::prompt_password(format!("{text}: "))
        .map(|answer| Zeroizing::new(answer.into_bytes()))
        .map_err(|e| format!("terminal: {e}: use a credential or a file descriptor where there is none"))
}
