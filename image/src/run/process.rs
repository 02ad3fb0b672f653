//! A process in a session of its own, killed with us.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::error::ImageError;

/// Ticks in a second of `/proc/PID/stat` (`USER_HZ`, 100 on x86).
const TICKS_PER_S: f64 = 100.0;

/// The process. Its own session, so that the kernel's autogroups do not starve it beside our caller's compilers; killed by
/// the kernel if we die first.
pub(crate) struct Own {
    child: Child,
    errors: PathBuf,
}

impl Own {
    /// Starts `program`; what it writes to standard error is kept in `errors`.
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: &'static str,
        arguments: impl IntoIterator<Item = A>,
        errors: &Path,
    ) -> Result<Self, ImageError> {
        let file = File::create(errors).map_err(ImageError::io(errors))?;
        // Neither forks here: the process id is the program's own.
        let child = Command::new("setsid")
            .args(["setpriv", "--pdeathsig", "KILL", program])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|e| ImageError::Tool {
                program: "setsid",
                why: e.to_string(),
                remedy: "install util-linux",
            })?;
        Ok(Self {
            child,
            errors: errors.to_owned(),
        })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) {
        // It is our child; there is nothing to do about an error.
        let _ = self.child.wait();
    }

    /// The first line of its standard error.
    pub(crate) fn said(&self) -> String {
        let text = fs::read(&self.errors).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().next().unwrap_or_default().chars().take(400).collect()
    }

    /// Processor seconds it has used, in user mode and in the kernel.
    pub(crate) fn cpu_s(&self) -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The second field is a name in parentheses, which may hold anything; 14 and 15 are the times.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((user + system) / TICKS_PER_S)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // ESRCH means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
