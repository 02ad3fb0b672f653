//! tpm2-tools: one program per TPM command, so that nothing of the TPM stack is linked. Secrets go over pipes; what goes
//! through files (contexts, public and wrapped private areas) is none.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::RootError;

const TIMEOUT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
const OUTPUT_BYTES_MAX: u64 = 4096;

pub(super) struct Tools<'a> {
    tcti: &'a str,
    dir: TempDir,
}

impl<'a> Tools<'a> {
    pub(super) fn new(tcti: &'a str) -> Result<Self, RootError> {
        // Made with mode 0700.
        let dir = tempfile::Builder::new()
            .prefix("hanzo-root-")
            .tempdir()
            .map_err(|e| RootError::io("make folder", &std::env::temp_dir(), e))?;
        Ok(Self { tcti, dir })
    }

    /// Public and private area of a new object that seals `secret`.
    pub(super) fn seal(&self, selection: &str, secret: &[u8]) -> Result<(Vec<u8>, Vec<u8>), RootError> {
        self.primary()?;
        self.run(
            "tpm2_createpolicy",
            &["--policy-pcr", "-l", selection, "-L", "policy"],
            &[],
        )?;
        self.run(
            "tpm2_create",
            &[
                "-C",
                "primary",
                "-g",
                "sha256",
                "-a",
                "fixedtpm|fixedparent|adminwithpolicy|noda",
                "-L",
                "policy",
                "-i",
                "-",
                "-u",
                "public",
                "-r",
                "private",
            ],
            secret,
        )?;
        self.flush()?;
        Ok((self.read("public")?, self.read("private")?))
    }

    /// What such an object seals, if the registers are as they were.
    pub(super) fn unseal(
        &self,
        selection: &str,
        public: &[u8],
        private: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, RootError> {
        self.write("public", public)?;
        self.write("private", private)?;
        self.primary()?;
        self.run(
            "tpm2_load",
            &["-C", "primary", "-u", "public", "-r", "private", "-c", "object"],
            &[],
        )?;
        self.flush()?;
        let policy = format!("pcr:{selection}");
        let opened = self
            .run("tpm2_unseal", &["-c", "object", "-p", &policy], &[])
            .map_err(|e| match &e {
                // TPM_RC_POLICY_FAIL, TPM_RC_VALUE and TPM_RC_PCR_CHANGED of the policy session.
                RootError::Tpm { detail, .. }
                    if ["0x99d", "0x99D", "policy check failed", "PCR have changed"]
                        .iter()
                        .any(|text| detail.contains(text)) =>
                {
                    RootError::TpmPolicy { pcrs: selection.into() }
                }
                _ => e,
            });
        self.flush()?;
        opened
    }

    fn primary(&self) -> Result<(), RootError> {
        self.run(
            "tpm2_createprimary",
            &["-C", "o", "-g", "sha256", "-G", "ecc256", "-c", "primary"],
            &[],
        )?;
        self.flush()
    }

    /// Without a resource manager, transient objects stay in the TPM's few places until they are told to go.
    fn flush(&self) -> Result<(), RootError> {
        self.run("tpm2_flushcontext", &["-t"], &[]).map(drop)
    }

    /// Whether the TPM answers at all.
    pub(super) fn answers(&self) -> Result<(), RootError> {
        self.run("tpm2_getcap", &["properties-fixed"], b"").map(drop)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, RootError> {
        let path = self.place(name);
        fs::read(&path).map_err(|e| RootError::io("read", &path, e))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RootError> {
        let path = self.place(name);
        fs::write(&path, bytes).map_err(|e| RootError::io("write", &path, e))
    }

    fn run(&self, program: &'static str, arguments: &[&str], input: &[u8]) -> Result<Zeroizing<Vec<u8>>, RootError> {
        let fail = |detail: String| RootError::Tpm { program, detail };
        let mut child = Command::new(program)
            .args(["-T", self.tcti])
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
        // 32 bytes always fit the pipe: writing cannot block on a child that is not reading.
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
}

/// Both pipes hold more than these programs ever say, so nothing has to be read before the end.
fn wait(child: &mut Child) -> std::io::Result<bool> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if start.elapsed() > TIMEOUT {
            return Err(std::io::Error::new(
                ErrorKind::TimedOut,
                "no answer in 60 s: is the TPM in use by another program?",
            ));
        }
        std::thread::sleep(PAUSE);
    }
}
