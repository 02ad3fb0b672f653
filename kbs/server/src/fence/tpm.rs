//! A head in the non-volatile memory of a TPM 2.0: who puts back a disk does not put back the TPM.
//!
//! # Layout
//! An ordinary NV index of 56 bytes (`seq`, big endian, then the hash), read and written with a secret that only the open
//! store yields; no dictionary-attack counter. It is written over: a TPM's memory wears, and bears some hundred thousand
//! writes; decisions that come together share one.
//!
//! # Does not establish
//! Anything against who can clear the TPM: the index is then gone, which is refused like a lost head file.

use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::Fence;
use crate::KbsError;
use crate::head::Head;

const SIZE: &str = "56";
const ATTRIBUTES: &str = "authwrite|authread|no_da";
const TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(2);
const OUTPUT_BYTES_MAX: u64 = 4096;

pub(super) struct TpmFence {
    tcti: String,
    index: String,
    /// Where a head lies while a program reads it, in the broker's own folder.
    scratch: PathBuf,
    /// `hex:` and 64 digits: how tpm2-tools take a secret of 32 bytes. It goes over a pipe.
    secret: Zeroizing<String>,
}

impl TpmFence {
    pub(super) fn new(tcti: &str, index: u32, secret: &Zeroizing<[u8; 32]>, scratch: PathBuf) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(80));
        text.push_str("hex:");
        secret.iter().for_each(|byte| {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        });
        Self {
            tcti: tcti.to_owned(),
            index: format!("{index:#010x}"),
            scratch,
            secret: text,
        }
    }

    fn fail(&self, program: &'static str, detail: String) -> KbsError {
        KbsError::Tpm {
            program,
            index: self.index.clone(),
            detail,
        }
    }

    fn is_defined(&self) -> Result<bool, KbsError> {
        let listed = self.run("tpm2_getcap", &["handles-nv-index"], b"")?;
        let digits = self.index.trim_start_matches("0x").to_lowercase();
        let text = String::from_utf8_lossy(&listed).to_lowercase();
        // Handles stand one a line, with or without leading zeroes.
        Ok(text
            .split(|c: char| !c.is_ascii_hexdigit() && c != 'x')
            .filter_map(|word| word.strip_prefix("0x"))
            .any(|word| word.trim_start_matches('0') == digits.trim_start_matches('0')))
    }

    fn run(&self, program: &'static str, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, KbsError> {
        let fail = |detail: String| self.fail(program, detail);
        let mut child = Command::new(program)
            .args(["-T", &self.tcti])
            .args(arguments)
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
        // Some dozen bytes fit the pipe: writing cannot block on a child that is not reading.
        let written = child.stdin.take().map(|mut pipe| pipe.write_all(input));
        let ended = wait(&mut child);
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let success = ended.map_err(|e| fail(e.to_string()))?;
        let (mut output, mut said) = (Vec::new(), String::new());
        if let Some(pipe) = child.stdout.take() {
            let read = pipe.take(OUTPUT_BYTES_MAX).read_to_end(&mut output);
            read.map_err(|e| fail(e.to_string()))?;
        }
        if let Some(pipe) = child.stderr.take() {
            let _ = pipe.take(OUTPUT_BYTES_MAX).read_to_string(&mut said);
        }
        match (success, written) {
            (true, Some(Err(e))) if !input.is_empty() => Err(fail(e.to_string())),
            (true, _) => Ok(output),
            (false, _) => {
                let line: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
                Err(fail(line.chars().take(400).collect()))
            }
        }
    }
}

impl Fence for TpmFence {
    fn place(&self) -> String {
        format!("TPM index {}", self.index)
    }

    fn read(&self) -> Result<Option<Head>, KbsError> {
        if !self.is_defined()? {
            return Ok(None);
        }
        let arguments = [self.index.as_str(), "-C", &self.index, "-P", "file:-", "-s", SIZE];
        let bytes = self.run("tpm2_nvread", &arguments, self.secret.as_bytes())?;
        let head = Head::from_bytes(&bytes).ok_or_else(|| self.fail("tpm2_nvread", "expected 56 bytes".into()))?;
        Ok(Some(head))
    }

    fn write(&self, head: Head) -> Result<(), KbsError> {
        if !self.is_defined()? {
            let arguments = [
                self.index.as_str(),
                "-C",
                "o",
                "-s",
                SIZE,
                "-a",
                ATTRIBUTES,
                "-p",
                "file:-",
            ];
            self.run("tpm2_nvdefine", &arguments, self.secret.as_bytes())?;
        }
        // The secret takes the pipe; a head is none and goes through a file.
        let fail = |e: std::io::Error| self.fail("tpm2_nvwrite", format!("{}: {e}", self.scratch.display()));
        std::fs::write(&self.scratch, head.to_bytes()).map_err(fail)?;
        let input = self.scratch.to_string_lossy();
        let arguments = [self.index.as_str(), "-C", &self.index, "-P", "file:-", "-i", &input];
        let written = self.run("tpm2_nvwrite", &arguments, self.secret.as_bytes());
        let _ = std::fs::remove_file(&self.scratch);
        written.map(drop)
    }
}

/// The pipes hold more than these programs ever say, so nothing has to be read before the end.
fn wait(child: &mut Child) -> std::io::Result<bool> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if start.elapsed() > TIMEOUT {
            let text = "no answer in 30 s: is the TPM in use by another program?";
            return Err(std::io::Error::new(ErrorKind::TimedOut, text));
        }
        std::thread::sleep(PAUSE);
    }
}
