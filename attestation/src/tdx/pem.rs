//! Certificate chains in PEM (RFC 7468), read strictly: nothing beside the certificates goes unread.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::TdxError;

/// Longest chain in bytes; Intel's three certificates take about 3700.
pub const CHAIN_BYTES_MAX: usize = 16 << 10;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// Letters of a full line.
const LINE: usize = 64;

/// The certificates of a chain, DER, in the order in which they stand; exactly `N`.
///
/// Lines end with LF or CR LF, the last one may lack its end; zeros may follow the last line, as Intel's library writes
/// one.
pub(super) fn chain<const N: usize>(what: &'static str, pem: &[u8]) -> Result<[Vec<u8>; N], TdxError> {
    let wrong = |detail| TdxError::Pem { what, detail };
    if pem.len() > CHAIN_BYTES_MAX {
        return Err(wrong("longer than 16384 bytes"));
    }
    let used = pem.iter().rposition(|b| *b != 0).map_or(0, |at| at.saturating_add(1));
    let text = std::str::from_utf8(pem.get(..used).unwrap_or_default()).map_err(|_| wrong("not text"))?;
    let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
    let mut found = Vec::with_capacity(N);
    while let Some(line) = lines.next() {
        if strip_cr(line) != BEGIN || found.len() == N {
            return Err(wrong(
                "expected BEGIN CERTIFICATE lines, exactly as many as the chain has certificates",
            ));
        }
        let mut letters = String::new();
        loop {
            let line = strip_cr(lines.next().ok_or(wrong("no END CERTIFICATE line"))?);
            if line == END {
                break;
            }
            if !letters.len().is_multiple_of(LINE) || line.is_empty() || line.len() > LINE {
                return Err(wrong("expected lines of 64 letters, the last one shorter"));
            }
            letters.push_str(line);
        }
        found.push(STANDARD.decode(letters).map_err(|_| wrong("not standard base64"))?);
    }
    found
        .try_into()
        .map_err(|_| wrong("fewer certificates than the chain has"))
}

fn strip_cr(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}
