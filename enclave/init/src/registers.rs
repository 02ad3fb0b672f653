//! The boot's registers and its event log on the console, for whoever compares them with a prediction. They are no secret
//! (the host's own firmware wrote the log) and no evidence: a host can write any console. Evidence is a quote, which the
//! agent makes.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

/// Registers that a boot fills, as predictions have them.
const REGISTERS: std::ops::RangeInclusive<u32> = 0..=9;
const BANKS: [&str; 2] = ["sha256", "sha384"];

/// One line per bank and register, `pcr <bank> <index> <lower-case hex>`; none without a TPM.
pub fn lines(tpm: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for bank in BANKS {
        for index in REGISTERS {
            let path = tpm.join(format!("pcr-{bank}")).join(index.to_string());
            let Ok(text) = fs::read_to_string(path) else { continue };
            let value = text.trim();
            if !value.is_empty() && value.len() <= 128 && value.bytes().all(|b| b.is_ascii_hexdigit()) {
                lines.push(format!("pcr {bank} {index} {}", value.to_ascii_lowercase()));
            }
        }
    }
    lines
}

/// Longest event log that is shown, in bytes. Boots of our images have below 8 KiB.
const LOG_BYTES_MAX: usize = 64 * 1024;
/// Bytes of it on one line.
const LOG_LINE_BYTES: usize = 256;

/// The event log: lines `log <lower-case hex>` and then `log end <bytes>`; none without a log, or of a longer one.
pub fn log_lines(log: &Path) -> Vec<String> {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|file| file.take(LOG_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    if read.is_err() || bytes.is_empty() || bytes.len() > LOG_BYTES_MAX {
        return Vec::new();
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines = bytes.chunks(LOG_LINE_BYTES).map(|part| format!("log {}", hex(part)));
    lines.chain([format!("log end {}", bytes.len())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_shows_is_repeated_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        assert!(lines(dir.path()).is_empty());
        fs::create_dir(dir.path().join("pcr-sha256")).unwrap();
        fs::write(dir.path().join("pcr-sha256/0"), "AB01\n").unwrap();
        fs::write(dir.path().join("pcr-sha256/3"), "no hex\n").unwrap();
        fs::write(dir.path().join("pcr-sha256/10"), "AB\n").unwrap();
        assert_eq!(lines(dir.path()), ["pcr sha256 0 ab01"]);
    }
    #[test]
    fn a_log_is_shown_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(log_lines(&path).is_empty());
        fs::write(&path, []).unwrap();
        assert!(log_lines(&path).is_empty());
        fs::write(&path, [0xab; 257]).unwrap();
        assert_eq!(
            log_lines(&path),
            [
                format!("log {}", "ab".repeat(256)),
                "log ab".into(),
                "log end 257".into()
            ]
        );
        fs::write(&path, vec![1; LOG_BYTES_MAX]).unwrap();
        assert_eq!(log_lines(&path).len(), LOG_BYTES_MAX / LOG_LINE_BYTES + 1);
        fs::write(&path, vec![1; LOG_BYTES_MAX + 1]).unwrap();
        assert!(log_lines(&path).is_empty());
    }
}
