//! The measured kernel command line, as far as it names the configuration.

use std::path::Path;

use hanzo_attestation::Digest256;

use crate::error::DeviceError;

const ARGUMENT: &str = "hanzo.config=";
const EXPECTED: &str = "hanzo.config=<64 lower-case hex digits>";
/// Longest command line read; the kernel's own bound on x86 is 2048.
const CMDLINE_BYTES_MAX: usize = 64 * 1024;

/// Finds the digest in a command line.
///
/// # Errors
/// [`DeviceError::CommandLine`] if the argument is missing, malformed or given more than once.
pub fn config_digest(cmdline: &str) -> Result<Digest256, DeviceError> {
    let mut found = cmdline
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix(ARGUMENT));
    let wrong = |got: &str| DeviceError::CommandLine {
        expected: EXPECTED,
        got: got.into(),
    };
    let value = found.next().ok_or_else(|| wrong("none"))?;
    if found.next().is_some() {
        return Err(wrong("several"));
    }
    Digest256::from_hex(value).ok_or_else(|| wrong("a value that is no such digest"))
}

/// Reads `path` (`/proc/cmdline`) and finds the digest in it.
///
/// # Errors
/// [`DeviceError::Io`], or as [`config_digest`].
pub fn config_digest_of(path: &Path) -> Result<Digest256, DeviceError> {
    let bytes = crate::files::read_bounded(path, "command line", CMDLINE_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| DeviceError::CommandLine {
        expected: EXPECTED,
        got: "bytes that are not UTF-8".into(),
    })?;
    config_digest(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_argument_names_the_configuration() {
        let digest = "ab".repeat(32);
        let line = format!("console=ttyS0 hanzo.config={digest} quiet\n");
        assert_eq!(config_digest(&line).unwrap(), Digest256([0xab; 32]));
        for bad in [
            "console=ttyS0".to_owned(),
            format!("hanzo.config={digest} hanzo.config={digest}"),
            format!("hanzo.config={}", digest.to_uppercase()),
            format!("hanzo.config={digest}00"),
            format!("xhanzo.config={digest}"),
            "hanzo.config=".to_owned(),
        ] {
            assert_eq!(config_digest(&bad).unwrap_err().code(), "device.command_line", "{bad}");
        }
    }
}
