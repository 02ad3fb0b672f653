//! `hanzo-verify receipt`: offline, against the bundle that was kept when the answer came.

mod altered;

use std::fmt::Write as _;
use std::path::Path;

use hanzo_attestation::keyset::{CountedBy, Keyset};
use hanzo_client::StateDir;
use hanzo_client::receipts::{BundleRecord, ReceiptRecord};
use hanzo_log::tile::{self, Kind};
use hanzo_log::{LogKey, LogVerifier, SignedCheckpoint};
use hanzo_verifier::receipt::{
    DisclosedReceipt, LogProof, Receipt, ReceiptError, ReceiptId, Salts, SignedReceipt, prove_logged, verify_signed,
};
use hanzo_verifier::{VerdictView, read_bundle, verify_bundle};
use serde_json::json;

use crate::args::ReceiptArgs;
use crate::connect::state_path;
use crate::error::CliError;
use crate::log::heads::SeenHead;
use crate::log::source::LogSource;
use crate::output::{Output, shown};
use crate::{time, trust};

pub(crate) fn run(args: &ReceiptArgs) -> Result<Output, CliError> {
    let Loaded { signed, salts, proof } = load(args)?;
    let guest = guest(args, &signed)?;
    let verified =
        verify_signed(&signed, &guest.keyset).map_err(|e| altered::named(args, &signed, &guest.keyset, e))?;
    let place = place(args, &signed, proof, &guest.keyset)?;
    let mut checked = Vec::new();
    for (which, path) in [("request", &args.request), ("response", &args.response)] {
        let Some(path) = path else { continue };
        let Some(salts) = &salts else {
            return Err(CliError::Usage {
                option: "--request, --response",
                expected: "a receipt with its salts, as its owner has it",
                got: "a receipt without salts".into(),
            });
        };
        let bytes = trust::read(path)?;
        match which {
            "request" => verified.check_request(&salts.request, &bytes)?,
            _ => {
                verified.check_response(&salts.response, &bytes)?;
                verified.check_usage(&bytes)?;
            }
        }
        checked.push(which);
    }
    let receipt = verified.receipt();
    Ok(Output {
        text: shown(&text(receipt, &guest, &checked, place.as_ref())),
        json: json!({
            "accepted": true,
            "exit_code": 0,
            "error": null,
            "receipt": receipt,
            "receipt_digest": verified.digest(),
            "commitments_checked": checked,
            "log": place.as_ref().map(|place| json!({"index": place.index, "head": place.seen.to_json()})),
            "bundle": guest.source,
            "verdict": guest.view,
        }),
        exit_code: 0,
    })
}

/// The keyset that the receipt is judged by, and what is known of the guest that has it.
struct Guest {
    keyset: Keyset,
    view: VerdictView,
    source: &'static str,
}

/// What the user named.
struct Loaded {
    signed: SignedReceipt,
    salts: Option<Salts>,
    proof: Option<LogProof>,
}

impl From<DisclosedReceipt> for Loaded {
    fn from(disclosed: DisclosedReceipt) -> Self {
        Self {
            signed: disclosed.without_salts(),
            salts: Some(disclosed.salts),
            proof: disclosed.log,
        }
    }
}

fn load(args: &ReceiptArgs) -> Result<Loaded, CliError> {
    let path = Path::new(&args.receipt);
    if ReceiptId::from_hex(&args.receipt).is_some() && !path.exists() {
        let bytes = open_state(args)?.load_receipt(&args.receipt)?;
        return Ok(ReceiptRecord::parse(&bytes)?.disclosed.into());
    }
    let bytes = trust::read(path)?;
    // `curl > file` and editors leave a line end that is no part of the document.
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if let Ok(record) = ReceiptRecord::parse(bytes) {
        return Ok(record.disclosed.into());
    }
    if let Ok(disclosed) = DisclosedReceipt::from_bytes(bytes) {
        return Ok(disclosed.into());
    }
    Ok(Loaded {
        signed: SignedReceipt::from_bytes(bytes).map_err(ReceiptError::from)?,
        salts: None,
        proof: None,
    })
}

/// Where a receipt stands in its log.
struct Place {
    index: u64,
    seen: SeenHead,
}

/// Checks the proof that came with the receipt, if one did; then, where a log or a head was named, that it is in there too.
fn place(
    args: &ReceiptArgs,
    signed: &SignedReceipt,
    stapled: Option<LogProof>,
    keyset: &Keyset,
) -> Result<Option<Place>, CliError> {
    let asked = args.log.is_some() || args.heads.is_given();
    if stapled.is_none() && !asked {
        return Ok(None);
    }
    let log = log_of(keyset)?;
    // Always: a wrong proof is no absent one.
    if let Some(proof) = &stapled {
        prove_logged(signed, proof, &log)?;
    }
    let token = args.heads.token_file.as_deref();
    let source = args
        .log
        .as_deref()
        .map(|text| LogSource::open(text, token))
        .transpose()?;
    let head = match args.heads.checkpoint.as_deref() {
        Some(path) => Some(trust::read(path)?),
        None => source.as_ref().map(LogSource::checkpoint).transpose()?,
    };
    let proof = match (&source, head, stapled) {
        (Some(source), Some(head), stapled) => from_log(source, &head, signed, stapled.map(|proof| proof.index), &log)?,
        // The same head, perhaps with more signatures under it.
        (None, Some(head), Some(proof)) => LogProof {
            checkpoint: String::from_utf8_lossy(&head).into_owned(),
            ..proof
        },
        (_, None, Some(proof)) => proof,
        (_, _, None) => {
            return Err(CliError::Usage {
                option: "--checkpoint, --witness",
                expected: "a receipt that came with a proof, or --log to make one from",
                got: "neither".into(),
            });
        }
    };
    let logged = prove_logged(signed, &proof, &log)?;
    let seen = args.heads.seen(proof.checkpoint.as_bytes(), "the log's head", &log)?;
    Ok(Some(Place {
        index: logged.index(),
        seen,
    }))
}

/// The log that a keyset names.
fn log_of(keyset: &Keyset) -> Result<LogVerifier, ReceiptError> {
    let named = keyset.log.as_ref().ok_or(ReceiptError::Value {
        field: "keyset.log",
        expected: "a log, for a receipt that is to be in one",
        got: "none".into(),
    })?;
    Ok(LogKey::of_keyset(named).and_then(|key| key.verifier())?)
}

/// Makes the proof out of a log's tiles; looks for the leaf where nobody says which it is.
fn from_log(
    source: &LogSource,
    head: &[u8],
    signed: &SignedReceipt,
    index: Option<u64>,
    log: &LogVerifier,
) -> Result<LogProof, CliError> {
    let checkpoint = SignedCheckpoint::parse(head).and_then(|head| Ok((head.verify(log)?, head.to_text())));
    let (head, checkpoint) = checkpoint.map_err(ReceiptError::from)?;
    let size = head.size();
    let index = match index {
        Some(index) => Some(index),
        None => find(source, &signed.to_bytes()?, size)?,
    };
    let path = match index {
        Some(index) => source.inclusion(index, size)?.map(|path| (index, path)),
        None => None,
    };
    let (index, path) = path.ok_or_else(|| CliError::NotLogged {
        log: source.name().to_owned(),
        size,
    })?;
    Ok(LogProof {
        checkpoint,
        index,
        path,
    })
}

fn find(source: &LogSource, leaf: &[u8], size: u64) -> Result<Option<u64>, CliError> {
    for bundle in tile::of_level(Kind::Entries, size) {
        let entries = source.entries(&bundle)?;
        if let Some(at) = entries.iter().position(|entry| entry == leaf) {
            return Ok(Some(bundle.start() + at as u64));
        }
    }
    Ok(None)
}

fn open_state(args: &ReceiptArgs) -> Result<StateDir, CliError> {
    Ok(StateDir::open(&state_path(args.state.as_deref())?)?)
}

fn guest(args: &ReceiptArgs, signed: &SignedReceipt) -> Result<Guest, CliError> {
    if let (Some(bundle), Some(policy)) = (&args.bundle, &args.policy) {
        let context = trust::context(policy, &args.simulator_roots, &args.crls)?;
        let reading = read_bundle(&trust::read(bundle)?, &context, trust::now())?;
        return Ok(Guest {
            keyset: reading
                .keyset()
                .cloned()
                .ok_or(ReceiptError::Keys("the bundle has no keyset"))?,
            view: reading.view(),
            source: "given, judged as of today",
        });
    }
    let digest = signed.receipt.keyset_digest.to_string();
    let (keyset, view) = kept_keyset(&open_state(args)?, &digest, args.policy.as_deref())?;
    Ok(Guest {
        keyset,
        view,
        source: "kept, judged as of the day it answered this client's challenge",
    })
}

/// The keyset of a kept bundle, verified again as of the day on which it was kept.
pub(crate) fn kept_keyset(
    state: &StateDir,
    keyset_digest: &str,
    policy: Option<&Path>,
) -> Result<(Keyset, VerdictView), CliError> {
    let (bundle, record) = state.load_bundle(keyset_digest)?;
    let record = BundleRecord::parse(&record)?;
    let mut context = record.context();
    if let Some(policy) = policy {
        context.policy = trust::policy(policy)?;
    }
    let result = verify_bundle(&bundle, &record.challenge, &context, record.time())?;
    let keyset = result.keyset().cloned();
    Ok((
        keyset.ok_or(ReceiptError::Keys("the bundle has no keyset"))?,
        result.view(),
    ))
}

fn text(receipt: &Receipt, guest: &Guest, checked: &[&str], place: Option<&Place>) -> String {
    let view = &guest.view;
    let mut out = format!("VERIFIED: receipt {}, both signatures\n", receipt.id);
    if view.simulated || receipt.simulated {
        out.push_str("SIMULATED: no vendor's root stands behind this guest; it protected nothing from the host\n");
    }
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<12} {value}");
    };
    row(
        "ended",
        format!(
            "{:?}, {} (guest clock: {})",
            receipt.outcome,
            time::show(receipt.time),
            receipt.time_source
        ),
    );
    row("model", receipt.model.to_string());
    row("weights", receipt.weights_root.to_string());
    if let Some(base) = &receipt.base_root {
        row("adapter on", base.to_string());
    }
    row(
        "tokens",
        format!(
            "{} prompt, {} completion{}",
            receipt.prompt_tokens,
            receipt.completion_tokens,
            match receipt.counted_by {
                None => "",
                Some(CountedBy::Upstream) => ": the word of a server behind the engine, which the guest cannot check",
            }
        ),
    );
    let s = &receipt.sampling;
    row(
        "sampling",
        format!(
            "temperature {}, top_p {}, seed {}, at most {} tokens",
            millionths(s.temperature_micros),
            millionths(s.top_p_micros),
            s.seed.map_or("none".into(), |s| s.to_string()),
            s.max_tokens
        ),
    );
    row(
        "tier",
        format!("{} by its grants; {} by this bundle", receipt.tier, view.tier),
    );
    row("measurement", view.measurement.clone());
    row("keyset", receipt.keyset_digest.to_string());
    row("number", format!("seq {}, after {}", receipt.seq, receipt.prev));
    match place {
        Some(place) => {
            let head = place.seen.head.checkpoint();
            row(
                "log",
                format!("leaf {} of {} in {}", place.index, head.size, head.origin),
            );
            row("root", head.root.to_string());
            row("witnesses", place.seen.witnesses());
        }
        None => row(
            "log",
            "not shown to be in one (--log; or fetch it again once a head covers it)".into(),
        ),
    }
    row("transport", receipt.transport.clone());
    row("bundle", guest.source.into());
    if view.undated {
        row(
            "",
            "undated: nothing but the guest's own word says when this keyset was alive".into(),
        );
    }
    let opened = match checked {
        [] => "not opened (give --request and --response)".into(),
        some => format!("{} opened and equal", some.join(" and ")),
    };
    row("commitments", opened);
    row(
        "not claimed",
        "that the answer is right; that others are shown the same log, unless witnesses signed its head".into(),
    );
    out
}

fn millionths(value: u64) -> String {
    let text = format!("{}.{:06}", value / 1_000_000, value % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
