//! tpm2-tools: one program per TPM command, so that nothing of the TPM stack is linked. Secrets go over pipes; what goes
//! through files (contexts, public and wrapped private areas, heads) is none.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use zeroize::Zeroizing;

const TIMEOUT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(2);
const OUTPUT_BYTES_MAX: u64 = 4096;

/// A program is missing, or failed.
#[derive(Debug, thiserror::Error)]
#[error("TPM: {program}: {detail}")]
pub struct TpmToolError {
    /// The program.
    pub program: &'static str,
    /// What it says.
    pub detail: String,
}

/// The programs, for one TPM, in a folder of their own that goes when this is dropped.
#[derive(Debug)]
pub struct TpmTools {
    tcti: String,
    dir: TempDir,
}

impl TpmTools {
    /// `tcti` says how to reach the TPM, as tpm2-tools spell it: `device:/dev/tpmrm0`.
    ///
    /// # Errors
    /// [`TpmToolError`] if there can be no folder.
    pub fn new(tcti: &str) -> Result<Self, TpmToolError> {
        // Made with mode 0700.
        let dir = tempfile::Builder::new().prefix("hanzo-tpm-").tempdir();
        Ok(Self {
            tcti: tcti.to_owned(),
            dir: dir.map_err(|e| failed("folder", &std::env::temp_dir().display().to_string(), &e))?,
        })
    }

    /// Runs `program` in the folder with `input` (some dozen bytes) at its standard input. What it printed: at most 4096
    /// bytes.
    ///
    /// # Errors
    /// [`TpmToolError`] with the first 600 characters of what it says.
    pub fn run(
        &self,
        program: &'static str,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TpmToolError> {
        let fail = |detail: String| TpmToolError { program, detail };
        let mut child = Command::new(program)
            .args(["-T", &self.tcti])
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| match e.kind() {
                ErrorKind::NotFound => fail("it is not installed: install tpm2-tools".into()),
                _ => fail(e.to_string()),
            })?;
        // Some dozen bytes always fit the pipe: writing cannot block on a child that is not reading.
        let written = child.stdin.take().map(|mut pipe| pipe.write_all(input));
        let ended = wait(&mut child);
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let success = ended.map_err(|e| fail(e.to_string()))?;
        let mut output = Zeroizing::new(Vec::with_capacity(OUTPUT_BYTES_MAX as usize + 1));
        let mut said = String::new();
        if let Some(pipe) = child.stdout.take() {
            pipe.take(OUTPUT_BYTES_MAX)
                .read_to_end(&mut output)
                .map_err(|e| fail(e.to_string()))?;
        }
        if let Some(pipe) = child.stderr.take() {
            let _ = pipe.take(OUTPUT_BYTES_MAX).read_to_string(&mut said);
        }
        if !success {
            let line: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
            return Err(fail(line.chars().take(600).collect()));
        }
        match written {
            Some(Err(e)) => Err(fail(e.to_string())),
            _ => Ok(output),
        }
    }

    /// Reads a file of the folder.
    ///
    /// # Errors
    /// [`TpmToolError`].
    pub fn read(&self, name: &str) -> Result<Vec<u8>, TpmToolError> {
        fs::read(self.dir.path().join(name)).map_err(|e| failed("file", name, &e))
    }

    /// Writes a file into the folder.
    ///
    /// # Errors
    /// [`TpmToolError`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TpmToolError> {
        fs::write(self.dir.path().join(name), bytes).map_err(|e| failed("file", name, &e))
    }
}

fn failed(program: &'static str, name: &str, e: &std::io::Error) -> TpmToolError {
    let detail = format!("{name}: {e}");
    TpmToolError { program, detail }
}

/// Both pipes hold more than these programs ever say, so nothing has to be read before the end.
fn wait(child: &mut Child) -> std::io::Result<bool> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if start.elapsed() > TIMEOUT {
            let text = "no answer in 60 s: is the TPM in use by another program?";
            return Err(std::io::Error::new(ErrorKind::TimedOut, text));
        }
        std::thread::sleep(PAUSE);
    }
}
