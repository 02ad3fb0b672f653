//! dstack's VersionedAttestation.
//!
//! # Layout
//! Version 0 is SCALE: `00`, then the kind of quote (`00` TDX), the quote, the events (register, type, digest, name,
//! payload), the runtime events (name, payload), 64 bytes of REPORT_DATA and the configuration. Version 1 is a MessagePack
//! map of `version` 1, `platform` and `stack`, each with `kind` and `data`.

use super::msgpack::Node;
use super::scale::Scale;
use crate::foreign::{ForeignError, ForeignFormat};

/// Most events and most certificates of one list.
const LIST_MAX: usize = 4096;

pub(super) struct Attestation {
    pub(super) platform: Platform,
    /// What the document states; compared with what was signed.
    pub(super) report_data: [u8; 64],
    pub(super) config: Vec<u8>,
}

pub(super) enum Platform {
    Tdx {
        quote: Vec<u8>,
    },
    Snp {
        report: Vec<u8>,
        certificates: Vec<Vec<u8>>,
    },
}

pub(super) fn parse(format: ForeignFormat, bytes: &[u8]) -> Result<Attestation, ForeignError> {
    let wrong = ForeignError::Field {
        format,
        field: "VersionedAttestation",
        expected: "version 0 (SCALE) or version 1 (MessagePack), whole",
    };
    match bytes.first() {
        Some(0x00) => match bytes.get(1) {
            Some(0x00) => version_0(bytes.get(2..).unwrap_or_default()).ok_or(wrong),
            Some(1..=4) => Err(other_platform(format)),
            _ => Err(wrong),
        },
        Some(0x80..=0x8f) => {
            let Some(root) = Node::parse(bytes) else {
                return Err(wrong);
            };
            version_1(format, root, wrong)
        }
        _ => Err(wrong),
    }
}

fn other_platform(format: ForeignFormat) -> ForeignError {
    ForeignError::Unsupported {
        format,
        what: "an attestation of a platform other than tdx and sev-snp",
        help: "Google's vTPM and AWS Nitro are not verified by this version",
    }
}

fn version_0(bytes: &[u8]) -> Option<Attestation> {
    let mut at = Scale::new(bytes);
    let quote = at.bytes()?.to_vec();
    for _ in 0..at.length(LIST_MAX)? {
        at.take(8)?;
        at.bytes()?;
        at.bytes()?;
        at.bytes()?;
    }
    for _ in 0..at.length(LIST_MAX)? {
        at.bytes()?;
        at.bytes()?;
    }
    let report_data = *at.take(64)?.first_chunk::<64>()?;
    let config = at.bytes()?.to_vec();
    at.is_done().then_some(Attestation {
        platform: Platform::Tdx { quote },
        report_data,
        config,
    })
}

fn version_1(format: ForeignFormat, root: Node, wrong: ForeignError) -> Result<Attestation, ForeignError> {
    let read = || -> Option<Result<Attestation, ForeignError>> {
        let mut root = root.into_map()?;
        if root.remove("version")?.into_int()? != 1 {
            return None;
        }
        let mut platform = root.remove("platform")?.into_map()?;
        let mut stack = root.remove("stack")?.into_map()?;
        if !root.is_empty() || !matches!(stack.remove("kind")?.into_text()?.as_str(), "dstack" | "dstack-pod") {
            return None;
        }
        let kind = platform.remove("kind")?.into_text()?;
        let mut evidence = platform.remove("data")?.into_map()?;
        let platform = match kind.as_str() {
            "tdx" => Platform::Tdx {
                quote: evidence.remove("quote")?.into_bytes()?,
            },
            "sev-snp" => Platform::Snp {
                report: evidence.remove("report")?.into_bytes()?,
                certificates: evidence
                    .remove("cert_chain")?
                    .into_list()?
                    .into_iter()
                    .map(Node::into_bytes)
                    .collect::<Option<_>>()?,
            },
            _ => return Some(Err(other_platform(format))),
        };
        let mut stack = stack.remove("data")?.into_map()?;
        Some(Ok(Attestation {
            platform,
            report_data: stack.remove("report_data")?.into_bytes()?.try_into().ok()?,
            config: stack.remove("config")?.into_text()?.into_bytes(),
        }))
    };
    read().ok_or(wrong)?
}
