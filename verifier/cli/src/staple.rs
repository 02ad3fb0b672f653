//! `hanzo-verify staple`: add to evidence what verifying it would otherwise fetch.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanzo_collateral::{
    BaseUrl, Event, Fetcher, FetcherConfig, HttpConfig, IntelSource, Mode, Roots, Sources, Stapled, Store,
};
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::{Value, json};

use crate::args::StapleArgs;
use crate::error::CliError;
use crate::output::{Output, shown};
use crate::{runtime, time, trust, write};

/// Nobody needs a progress display for less.
const PATIENCE: Duration = Duration::from_secs(1);
/// Lists and collateral that end sooner are fetched anew.
const REFRESH_AHEAD_S: u64 = 86_400;

pub(crate) fn run(args: &StapleArgs, as_json: bool) -> Result<Output, CliError> {
    let input = trust::read(&args.file)?;
    let now = args.at.as_deref().map_or_else(|| Ok(trust::now()), time::parse)?;
    let progress = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let fetcher = Fetcher::new(config(args, &progress)?, cache(args)?);
    let stapled = runtime()?.block_on(async {
        let work = hanzo_collateral::staple(&input, &fetcher, now);
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(PATIENCE) => {}
        }
        if !as_json {
            // Draws nothing unless stderr is a terminal.
            progress.set_draw_target(ProgressDrawTarget::stderr());
            progress.enable_steady_tick(Duration::from_millis(120));
        }
        work.await
    });
    progress.finish_and_clear();
    let stapled = stapled?;
    if !stapled.missing.is_empty() && !args.partial {
        return Err(CliError::Incomplete(stapled.missing));
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| args.file.with_extension("stapled.json"));
    write::atomic(&out, &stapled.bytes)?;
    Ok(Output {
        text: shown(&text(&stapled, &out)),
        json: document(&stapled, &out),
        exit_code: 0,
    })
}

fn config(args: &StapleArgs, progress: &ProgressBar) -> Result<FetcherConfig, CliError> {
    let mut sources = Sources::default();
    let given = |name, url: &Option<String>| url.as_deref().map(|u| BaseUrl::new(name, u)).transpose();
    if let Some(kds) = given("--kds", &args.kds)? {
        sources.kds = kds;
    }
    if let Some(pccs) = given("--pccs", &args.pccs)? {
        sources.intel = IntelSource::Pccs(pccs);
    }
    if let Some(rim) = given("--rim", &args.rim)? {
        sources.rim = rim;
    }
    if let Some(ocsp) = given("--ocsp", &args.ocsp)? {
        sources.ocsp = ocsp;
    }
    let bar = progress.clone();
    Ok(FetcherConfig {
        sources,
        http: HttpConfig {
            roots: args.ca.clone().map_or(Roots::System, Roots::File),
            ..HttpConfig::default()
        },
        mode: if args.offline { Mode::Offline } else { Mode::Online },
        anchors: args.roots.anchors()?,
        refresh_ahead_s: REFRESH_AHEAD_S,
        watcher: Some(Arc::new(move |event| {
            if let Event::Asking(what) = event {
                bar.set_message(format!("asking for {what}"));
            }
        })),
    })
}

fn cache(args: &StapleArgs) -> Result<Option<Store>, CliError> {
    let path = args.cache.clone().or_else(Store::default_path);
    if path.is_none() && args.offline {
        return Err(CliError::Usage {
            option: "--offline",
            expected: "--cache DIR, XDG_CACHE_HOME or HOME beside it",
            got: "none of them".into(),
        });
    }
    Ok(path.map(|p| Store::open(&p)).transpose()?)
}

fn text(stapled: &Stapled, out: &Path) -> String {
    let mut text = String::new();
    for item in &stapled.carries {
        let until = item
            .next_update
            .map(|t| format!(", until {}", time::show(t.0)))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "  {:<16} {} ({}, {} bytes{until})",
            item.part,
            item.what,
            item.origin.name(),
            item.bytes
        );
    }
    for missing in &stapled.missing {
        let _ = writeln!(
            text,
            "  {:<16} MISSING: {}: {}",
            missing.part,
            missing.error.code(),
            missing.error
        );
    }
    let head = match (stapled.carries.is_empty(), stapled.missing.is_empty()) {
        (true, true) => "nothing to add",
        (_, true) => "stapled",
        (_, false) => "stapled IN PART",
    };
    format!("{head}: {} ({} bytes)\n{text}", out.display(), stapled.bytes.len())
}

fn document(stapled: &Stapled, out: &Path) -> Value {
    let carries: Vec<_> = stapled
        .carries
        .iter()
        .map(|item| {
            json!({
                "part": item.part,
                "what": item.what,
                "origin": item.origin.name(),
                "bytes": item.bytes,
                "sha256": item.sha256,
                "next_update": item.next_update.map(|t| t.0),
            })
        })
        .collect();
    let missing: Vec<_> = stapled
        .missing
        .iter()
        .map(|m| {
            json!({
                "part": m.part,
                "code": m.error.code(),
                "message": m.error.to_string(),
                "help": m.error.help(),
            })
        })
        .collect();
    json!({
        "exit_code": 0,
        "error": null,
        "out": out.display().to_string(),
        "complete": missing.is_empty(),
        "carries": carries,
        "missing": missing,
    })
}
