//! `hanzo-verify log --receipts`: every leaf of a guest's log of receipts.

use std::fmt::Write as _;
use std::path::Path;

use hanzo_attestation::keyset::LogKeys;
use hanzo_log::tile::{self, Kind};
use hanzo_log::{AuthenticCheckpoint, LogKey, LogVerifier, SignedCheckpoint};
use hanzo_verifier::receipt::{AuditedReceipts, ReceiptAudit};
use serde_json::json;

use super::cosign;
use super::heads::SeenHead;
use super::source::LogSource;
use crate::args::LogArgs;
use crate::error::CliError;
use crate::output::{Output, shown};
use crate::{trust, write};

pub(crate) fn run(args: &LogArgs) -> Result<Output, CliError> {
    let log = key(&args.key)?;
    let name = args.log.to_str().ok_or_else(|| CliError::Usage {
        option: "--receipts",
        expected: "a folder, or http://ADDRESS:PORT",
        got: args.log.display().to_string(),
    })?;
    let source = LogSource::open(name, args.heads.token_file.as_deref())?;
    let since = args.since.as_deref().map(|path| earlier(path, &log)).transpose()?;
    let note = args.heads.note(&source)?;
    let (note, audited) = match args.cosign.is_empty() {
        true => (note, None),
        false => {
            let (note, audited) = bring(args, &source, &log, &note, since.clone())?;
            (note, Some(audited))
        }
    };
    let seen = args.heads.seen(&note, name, &log)?;
    let audited = match audited {
        Some(audited) => audited,
        None => audit(&source, &log, &seen.head, since.clone())?,
    };
    Ok(Output {
        text: shown(&text(&audited, &seen, since.as_ref())),
        json: json!({
            "accepted": true,
            "exit_code": 0,
            "error": null,
            "log": {
                "head": seen.to_json(),
                "since": since.as_ref().map(AuthenticCheckpoint::size),
                "receipts": audited.counts.receipts,
                "cut": audited.counts.cut,
                "failed": audited.counts.failed,
                "keysets": audited.counts.keysets,
                "fenced": audited.counts.fenced,
                "orders": audited.counts.orders,
                "simulated": audited.counts.simulated,
            },
        }),
        exit_code: 0,
    })
}

/// Goes through the log, brings its head to the witnesses and keeps what they signed. Whoever refuses is the error, unless as many
/// signed as must.
fn bring(
    args: &LogArgs,
    source: &LogSource,
    log: &LogVerifier,
    note: &[u8],
    since: Option<AuthenticCheckpoint>,
) -> Result<(Vec<u8>, AuditedReceipts), CliError> {
    let in_note = |e| CliError::LogFile {
        path: source.name().into(),
        source: e,
    };
    let signed = SignedCheckpoint::parse(note).map_err(in_note)?;
    let head = signed.verify(log).map_err(in_note)?;
    let audited = audit(source, log, &head, since)?;
    let keys = args.heads.keys()?;
    let (cosigned, failed) = cosign::cosign(&args.cosign, &keys, source, signed)?;
    let text = cosigned.to_text();
    if let Some(path) = &args.save {
        write::atomic(path, text.as_bytes())?;
    }
    let counted = cosigned.cosignatures(&keys).map_err(in_note)?.len();
    let mut failed = failed;
    // A split view is the worse news.
    failed.sort_by_key(|e| !is_split(e));
    match failed.into_iter().next() {
        Some(error) if counted < args.heads.quorum.unwrap_or(keys.len()) || is_split(&error) => Err(error),
        _ => Ok((text.into_bytes(), audited)),
    }
}

fn is_split(error: &CliError) -> bool {
    matches!(error, CliError::Cosign { is_split: true, .. })
}

/// The key of a log out of a key document, a document with one as member `log`, or a bundle whose keyset names it.
fn key(path: &Path) -> Result<LogVerifier, CliError> {
    let bytes = trust::read(path)?;
    let in_key = |source| CliError::LogFile {
        path: path.to_path_buf(),
        source,
    };
    let document = serde_json::from_slice::<serde_json::Value>(&bytes).unwrap_or_default();
    let named = document.pointer("/keyset/log").cloned();
    let key = match named.map(serde_json::from_value::<LogKeys>) {
        Some(Ok(named)) => LogKey::of_keyset(&named),
        _ => LogKey::from_document(&bytes),
    };
    key.and_then(|key| key.verifier()).map_err(in_key)
}

fn earlier(path: &Path, log: &LogVerifier) -> Result<AuthenticCheckpoint, CliError> {
    let path = match path.is_dir() {
        true => path.join("checkpoint"),
        false => path.to_path_buf(),
    };
    let signed = SignedCheckpoint::parse(&trust::read(&path)?);
    signed
        .and_then(|signed| signed.verify(log))
        .map_err(|source| CliError::LogFile { path, source })
}

fn audit(
    source: &LogSource,
    log: &LogVerifier,
    head: &AuthenticCheckpoint,
    since: Option<AuthenticCheckpoint>,
) -> Result<AuditedReceipts, CliError> {
    let failed = |e| CliError::ReceiptLog {
        log: source.name().to_owned(),
        source: e,
    };
    let mut audit = ReceiptAudit::new(log, since);
    for bundle in tile::of_level(Kind::Entries, head.size()) {
        for leaf in source.entries(&bundle)? {
            audit.leaf(&leaf).map_err(failed)?;
        }
    }
    audit.finish(head.clone()).map_err(failed)
}

fn text(audited: &AuditedReceipts, seen: &SeenHead, since: Option<&AuthenticCheckpoint>) -> String {
    let (head, counts) = (audited.head.checkpoint(), &audited.counts);
    let mut out = format!(
        "VERIFIED: {} receipts, numbered without gaps, none removed, altered or reordered; both signatures of each\n",
        counts.receipts
    );
    if counts.simulated > 0 {
        let _ = writeln!(
            out,
            "SIMULATED: {} of them come from simulated guests",
            counts.simulated
        );
    }
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<12} {value}");
    };
    if counts.orders > 0 {
        row(
            "orders",
            format!(
                "{} of administrators, who narrowed the guest; whose keys signed them is not checked here",
                counts.orders
            ),
        );
    }
    row("log", head.origin.to_string());
    row("leaves", head.size.to_string());
    row("root", head.root.to_string());
    row(
        "keysets",
        format!("{}, {} of them fenced at a key broker", counts.keysets, counts.fenced),
    );
    row("answers", format!("{} cut off, {} failed", counts.cut, counts.failed));
    row(
        "earlier head",
        match since {
            Some(since) => format!("contains all {} leaves that it counted", since.size()),
            None => "none given: that this log did not change since an earlier day was not checked".into(),
        },
    );
    row("witnesses", seen.witnesses());
    row(
        "not claimed",
        "that the keysets are genuine (their bundles say), or that no newer receipt is held back".into(),
    );
    out
}
