//! The boot's registers on the console, for whoever compares them with a prediction. They are no secret and no evidence:
//! a host can write any console. Evidence is a quote, which the agent makes.

use std::fs;
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
}
