//! `hanzo-verify log`: a key broker's audit log, offline; a guest's log of receipts.

mod cosign;
mod hashes;
pub(crate) mod heads;
pub(crate) mod receipts;
mod records;
pub(crate) mod source;
mod tiles;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hanzo_log::audit::{AuditError, AuditVerifier, Audited, Record};
use hanzo_log::{AuthenticCheckpoint, LogKey, LogVerifier, SignedCheckpoint};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::args::LogArgs;
use crate::error::CliError;
use crate::output::{Output, shown};
use crate::trust;
use hashes::Head;
use records::Records;
use tiles::TileCheck;

/// Nobody needs a progress display for less.
const PATIENCE_BYTES: u64 = 16 << 20;

pub(crate) fn run(args: &LogArgs, as_json: bool) -> Result<Output, CliError> {
    // Whoever names a witness and is not heard would believe that it counts.
    if args.heads.is_given() {
        return Err(CliError::Usage {
            option: "--checkpoint, --witness, --quorum, --token-file",
            expected: "--receipts with it: broker's audit logs have no witnesses",
            got: "an audit log".into(),
        });
    }
    let document = trust::read(&args.key)?;
    let in_key = |source| CliError::LogFile {
        path: args.key.clone(),
        source,
    };
    let key = LogKey::from_document(&document).map_err(in_key)?;
    let log = key.verifier().map_err(in_key)?;
    let simulated = serde_json::from_slice::<serde_json::Value>(&document)
        .is_ok_and(|d| d.get("simulated") == Some(&serde_json::Value::Bool(true)));
    let since = args
        .since
        .as_deref()
        .map(|path| earlier_head(path, &log, args.hashes))
        .transpose()?;
    if args.hashes {
        return hashes_alone(args, &log, since.as_ref());
    }
    let audited = verify(&args.log, &log, since, as_json).map_err(|e| match (e, &args.since) {
        (CliError::Log { path, source, .. }, Some(earlier)) => CliError::Log {
            path,
            source,
            first_difference: first_difference(earlier, &args.log),
        },
        (e, _) => e,
    })?;
    let head = audited.head.checkpoint();
    Ok(Output {
        text: shown(&text(&audited, simulated)),
        json: json!({
            "accepted": true,
            "exit_code": 0,
            "error": null,
            "log": {
                "origin": head.origin,
                "size": head.size,
                "root": head.root,
                "chain": audited.chain,
                "heads": audited.heads,
                "since": audited.since.as_ref().map(AuthenticCheckpoint::size),
                "simulated": simulated,
            },
        }),
        exit_code: 0,
    })
}

/// The tree alone, because that was asked for.
fn hashes_alone(args: &LogArgs, log: &LogVerifier, since: Option<&AuthenticCheckpoint>) -> Result<Output, CliError> {
    let head = hashes::verify(&args.log, log, since, |source| CliError::Log {
        path: args.log.clone(),
        source,
        first_difference: None,
    })?;
    let time = head.time.map(|time| time.0);
    let head = head.checkpoint.checkpoint();
    let earlier = match since {
        Some(since) => format!("contains all {} entries that it counted", since.size()),
        None => "none given: that this log did not change since an earlier day was not checked".into(),
    };
    let mut text = format!(
        "CONSISTENT: hashes of {} entries lead to the signed head; both signatures. The entries were not read\n  \
         {:<12} {}\n  {:<12} {}\n  {:<12} {earlier}\n",
        head.size, "log", head.origin, "root", head.root, "earlier head",
    );
    if let Some(time) = time {
        let _ = writeln!(text, "  {:<12} {time} (Unix seconds), by the log's own clock", "signed");
    }
    Ok(Output {
        text: shown(&text),
        json: json!({
            "accepted": true,
            "exit_code": 0,
            "error": null,
            "log": {
                "entries_read": false,
                "origin": head.origin,
                "size": head.size,
                "root": head.root,
                "since": since.map(AuthenticCheckpoint::size),
                "time": time,
            },
        }),
        exit_code: 0,
    })
}

fn verify(
    path: &Path,
    log: &LogVerifier,
    since: Option<AuthenticCheckpoint>,
    as_json: bool,
) -> Result<Audited, CliError> {
    let fail = |source| CliError::Log {
        path: path.to_path_buf(),
        source,
        first_difference: None,
    };
    let verifier = AuditVerifier::new(log, since);
    let lines = lines_of(path);
    match (path.is_dir(), lines.exists()) {
        (false, _) => verify_records(verifier, &lines, None, as_json, fail),
        (true, true) => verify_records(verifier, &lines, Some(path), as_json, fail),
        (true, false) => tiles::verify(verifier, path, log, fail),
    }
}

/// The JSON Lines of an export.
fn lines_of(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join("log.jsonl"),
        false => path.to_path_buf(),
    }
}

fn verify_records(
    mut verifier: AuditVerifier<'_>,
    lines: &Path,
    folder: Option<&Path>,
    as_json: bool,
    fail: impl Fn(AuditError) -> CliError,
) -> Result<Audited, CliError> {
    let mut records = Records::open(lines)?;
    let progress = progress(records.bytes(), as_json);
    let mut tiles = folder.map(TileCheck::new);
    while let Some(bytes) = records.next(verifier.entries() + 1, &fail)? {
        progress.set_position(records.read());
        let (record, completed) = match verifier.record(&bytes) {
            Ok(done) => done,
            Err(e) => return Err(fail(look_ahead(e, verifier.entries(), &mut records))),
        };
        if let (Record::Entry { line, .. }, Some(tiles)) = (&record, &mut tiles) {
            tiles.push(line, &completed, &fail)?;
        }
    }
    progress.finish_and_clear();
    if let (Some(tiles), Some(folder)) = (tiles, folder) {
        tiles.finish(&fail)?;
        let head = trust::read(&folder.join("checkpoint"))?;
        verifier.head(&head).map_err(&fail)?;
    }
    verifier.finish().map_err(fail)
}

/// What seems to be missing may stand further down.
fn look_ahead(e: AuditError, mut position: u64, records: &mut Records) -> AuditError {
    let AuditError::Missing { entry, .. } = e else { return e };
    position += 1;
    while let Some(line) = records.next_line_loosely() {
        position += 1;
        if hanzo_log::audit::sequence(&line) == Ok(entry) {
            return e.found_at(position);
        }
    }
    e
}

/// The head that an earlier checkpoint or export ends with; where hashes alone are compared, a dated one will do.
fn earlier_head(path: &Path, log: &LogVerifier, or_dated: bool) -> Result<AuthenticCheckpoint, CliError> {
    let in_file = |source| CliError::LogFile {
        path: path.to_path_buf(),
        source,
    };
    let note = match path.is_dir() {
        true => trust::read(&path.join("checkpoint"))?,
        false => match Records::open(path)?.last_head() {
            Some(note) => note.into_bytes(),
            None => trust::read(path)?,
        },
    };
    if or_dated {
        return Head::verify(&note, log).map(|head| head.checkpoint).map_err(in_file);
    }
    SignedCheckpoint::parse(&note)
        .and_then(|signed| signed.verify(log))
        .map_err(in_file)
}

/// The first entry that differs between two exports, if both have lines that can be compared.
fn first_difference(earlier: &Path, now: &Path) -> Option<u64> {
    let mut earlier = Records::open(&lines_of(earlier)).ok()?;
    let mut now = Records::open(&lines_of(now)).ok()?;
    let mut entry = 0;
    loop {
        entry += 1;
        let (then, today) = (earlier.next_line_loosely()?, now.next_line_loosely());
        if today.as_ref() != Some(&then) {
            return Some(entry);
        }
    }
}

fn progress(bytes: u64, as_json: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
    if bytes > PATIENCE_BYTES && !as_json {
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}, {eta} left");
        // Draws nothing unless stderr is a terminal.
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    bar
}

fn text(audited: &Audited, simulated: bool) -> String {
    let head = audited.head.checkpoint();
    let mut out = format!(
        "VERIFIED: {} entries, none removed, altered or reordered since they were signed; both signatures\n",
        head.size
    );
    if simulated {
        out.push_str("SIMULATED: this broker serves simulated guests\n");
    }
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<12} {value}");
    };
    row("log", head.origin.to_string());
    row("root", head.root.to_string());
    row("chain", audited.chain.to_string());
    row("signed heads", audited.heads.to_string());
    row(
        "earlier head",
        match &audited.since {
            Some(since) => format!("contains all {} entries that it counted", since.size()),
            None => "none given: that this log did not change since an earlier day was not checked".into(),
        },
    );
    row(
        "witnesses",
        "0: whether others were shown the same log was not checked".into(),
    );
    out
}
