//! The command line.

mod approve;
mod audit;
mod keys;
mod policy;
mod progress;
mod release;
mod status;
mod vault;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use hanzo_kbs::{InitOptions, KbsConfig, KbsError, StoreMode, accept_head, backup, check, init_with, restore, serve};
use tracing_subscriber::EnvFilter;

/// Key broker: releases data keys to guests that prove their privacy tier.
#[derive(Parser)]
#[command(name = "hanzo-kbs", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  hanzo-kbs init --dir /var/lib/hanzo-kbs
  hanzo-kbs serve --config /var/lib/hanzo-kbs/kbs.toml
  hanzo-kbs put-key --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key \\
      --key hanzo/dek/smollm2 --dek-file smollm2.key --policy smollm2.policy.json
  hanzo-kbs check --config /var/lib/hanzo-kbs/kbs.toml

Exit codes: 0 done, 1 failed (one line on stderr: what, where, what to do), 2 wrong usage.";

#[derive(Subcommand)]
enum Command {
    /// Make a broker: configuration, key file, store, identity and a first admin key. Replaces nothing.
    #[command(after_help = "Example:\n  hanzo-kbs init --dir ./kbs --listen 127.0.0.1:8090")]
    Init {
        /// An empty or missing directory.
        #[arg(long)]
        dir: PathBuf,
        /// Where it will listen.
        #[arg(long, default_value = "127.0.0.1:8090")]
        listen: SocketAddr,
        /// TOML with the members of `[root]`, for a root of another kind than a key file.
        #[arg(long)]
        root: Option<PathBuf>,
        /// An empty PostgreSQL database for the store, e.g. `postgresql:///kbs?host=/run/postgresql&user=kbs`. Without: a file.
        #[arg(long)]
        store: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Copy the store, running or not, into a file, and write a manifest that proves what it holds beside it.
    #[command(after_help = "Example:\n  hanzo-kbs backup --config ./kbs/kbs.toml --to /backup/kbs-2026-11-22.db")]
    Backup {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
        /// A file that does not exist yet.
        #[arg(long)]
        to: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a backup in the store's place. The broker must not run. One that is older than the newest decision is refused.
    #[command(after_help = "Example:\n  hanzo-kbs restore --config ./kbs/kbs.toml --from /backup/kbs-2026-11-22.db")]
    Restore {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
        /// What `backup` wrote; its manifest lies beside it.
        #[arg(long)]
        from: PathBuf,
        /// Accept that decisions after the backup are lost, use counts and revocations among them. The audit chain says so.
        #[arg(long)]
        accept_lost_decisions: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Serve guests and key owners until SIGTERM or Ctrl-C.
    #[command(after_help = "Example:\n  hanzo-kbs serve --config ./kbs/kbs.toml")]
    Serve {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Open the store of a broker that is not running: verify it whole, print its identity.
    #[command(after_help = "Example:\n  hanzo-kbs check --config ./kbs/kbs.toml")]
    Check {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print every decision of a broker that is not running, one JSON line each, or export them for auditors.
    Audit(audit::Audit),
    /// Accept the store as it is after its head file was lost, the store was restored or an older database took over: use counts
    /// may have gone back. Brokers on that database may run; each needs it with its own configuration.
    #[command(after_help = "Example:\n  hanzo-kbs accept-head --config ./kbs/kbs.toml")]
    AcceptHead {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set the head of a guest's store to what the guest has.
    AcceptStoreHead(status::AcceptStoreHead),
    /// How a running broker and its parts stand.
    Status(status::Status),
    /// Put a data key, or its next version, into a running broker.
    PutKey(keys::PutKey),
    /// Give the broker the newest release of a line: reference values for the keys whose policies name it.
    PutRelease(release::PutRelease),
    /// End all releases of a key.
    Revoke(keys::Revoke),
    /// Make a new version of a tenant's key encryption key and move every secret to it. Data is not touched.
    RotateKek(vault::RotateKek),
    /// Destroy a tenant's keys, or one version of one key, for ever.
    Shred(vault::Shred),
    /// The root key: where it comes from, and splitting it among operators.
    #[command(subcommand)]
    Root(vault::RootCommand),
    /// List keys, show one.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Read, change, compare and try out release policies.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Proposals that wait for a second admin.
    Pending(approve::Pending),
    /// Carry out what another admin proposed.
    Approve(approve::Approve),
    /// Print a completion script.
    #[command(after_help = "Example:\n  hanzo-kbs completions bash > /etc/bash_completion.d/hanzo-kbs")]
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command that was given.
pub(crate) fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Init {
            dir,
            listen,
            root,
            store,
            json,
        } => run_init(dir, listen, root, store, json),
        Command::Backup { config, to, json } => run_backup(config, to, json),
        Command::Restore {
            config,
            from,
            accept_lost_decisions,
            json,
        } => run_restore(config, from, accept_lost_decisions, json),
        Command::Serve { config } => run_serve(config),
        Command::Check { config, json } => run_check(config, json),
        Command::Audit(audit) => audit.run(),
        Command::AcceptHead { config, json } => run_accept_head(config, json),
        Command::AcceptStoreHead(accept) => accept.run(),
        Command::Status(status) => status.run(),
        Command::PutKey(put) => put.run(),
        Command::PutRelease(put) => put.run(),
        Command::Revoke(revoke) => revoke.run(),
        Command::RotateKek(rotate) => rotate.run(),
        Command::Shred(shred) => shred.run(),
        Command::Root(root) => root.run(),
        Command::Keys(keys) => keys.run(),
        Command::Policy(policy) => match policy.run() {
            Ok(code) => return ExitCode::from(code),
            Err(text) => Err(text),
        },
        Command::Pending(pending) => pending.run(),
        Command::Approve(approve) => approve.run(),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "hanzo-kbs", &mut std::io::stdout());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("hanzo-kbs: {text}");
            ExitCode::FAILURE
        }
    }
}

fn said(e: KbsError) -> String {
    format!("{e} [{}]", e.code())
}

fn run_init(
    dir: PathBuf,
    listen: SocketAddr,
    root: Option<PathBuf>,
    store: Option<String>,
    as_json: bool,
) -> Result<(), String> {
    let options = InitOptions {
        dir,
        listen,
        mode: StoreMode::Production,
        simulator_roots: Vec::new(),
    };
    let root = match root {
        None => hanzo_root::RootConfig::KeyFile { path: "kbs.key".into() },
        Some(path) => vault::root_table(&path)?,
    };
    let made = init_with(&options, root, store.as_deref()).map_err(said)?;
    if made.interrupted {
        eprintln!("hanzo-kbs: an init was interrupted here before it was done: what it had left was removed");
    }
    if as_json {
        return json(&serde_json::json!({
            "admin_key": made.admin_key_path,
            "config": made.config_path,
            "identity": made.identity,
            "identity_path": made.identity_path,
        }));
    }
    let signer = &made.identity.signer;
    print(&format!(
        "configuration  {}
identity       {}
admin key      {}   (move it to whoever owns the data keys)

Pin this broker in the guest's configuration:
[kbs.signer]
suite = \"{}\"
ml_dsa = \"{}\"
ed25519 = \"{}\"

Next: hanzo-kbs serve --config {}
",
        made.config_path.display(),
        made.identity_path.display(),
        made.admin_key_path.display(),
        signer.suite,
        signer.ml_dsa,
        signer.ed25519,
        made.config_path.display(),
    ));
    Ok(())
}

fn run_backup(config: PathBuf, to: PathBuf, as_json: bool) -> Result<(), String> {
    let config = KbsConfig::load(&config).map_err(said)?;
    let working = progress::spinner(as_json, &config, "copying and verifying the store");
    let made = backup(&config, StoreMode::Production, &to).map_err(said)?;
    working.finish_and_clear();
    if as_json {
        return json(&serde_json::json!({ "backup": to, "manifest": made.manifest, "seq": made.seq }));
    }
    print(&format!(
        "backup         {}\nmanifest       {}\nnewest decision {}\n",
        to.display(),
        made.manifest.display(),
        made.seq
    ));
    Ok(())
}

fn run_restore(config: PathBuf, from: PathBuf, accept_lost_decisions: bool, as_json: bool) -> Result<(), String> {
    let config = KbsConfig::load(&config).map_err(said)?;
    let working = progress::spinner(as_json, &config, "verifying the backup");
    let put_back = restore(&config, StoreMode::Production, &from, accept_lost_decisions).map_err(said)?;
    working.finish_and_clear();
    if as_json {
        return json(&serde_json::json!({ "restored": from, "seq": put_back.seq }));
    }
    print(&format!(
        "restored {}, newest decision {}\n",
        from.display(),
        put_back.seq
    ));
    Ok(())
}

fn run_serve(path: PathBuf) -> Result<(), String> {
    let filter = EnvFilter::try_from_env("HANZO_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).init();
    let config = KbsConfig::load(&path).map_err(said)?;
    runtime()?
        .block_on(serve(config, StoreMode::Production, stopped(), |address| {
            print(&format!("{{\"listening\":\"{address}\"}}\n"));
        }))
        .map_err(said)
}

fn run_accept_head(path: PathBuf, as_json: bool) -> Result<(), String> {
    let config = KbsConfig::load(&path).map_err(said)?;
    let working = progress::spinner(as_json, &config, "verifying the store");
    accept_head(&config, StoreMode::Production).map_err(said)?;
    working.finish_and_clear();
    match as_json {
        true => json(&serde_json::json!({ "accepted": true })),
        false => Ok(()),
    }
}

fn run_check(path: PathBuf, as_json: bool) -> Result<(), String> {
    let config = KbsConfig::load(&path).map_err(said)?;
    let working = progress::spinner(as_json, &config, "verifying the store");
    let mut decisions = 0u64;
    let identity = check(&config, StoreMode::Production, |_| decisions += 1).map_err(said)?;
    working.finish_and_clear();
    if as_json {
        return json(&serde_json::json!({ "decisions": decisions, "identity": identity }));
    }
    let text = String::from_utf8_lossy(&identity.canonical().map_err(said)?).into_owned();
    print(&format!("store verified, {decisions} decisions\n{text}\n"));
    Ok(())
}

/// One document of JSON.
fn json(value: &impl serde::Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(|e| e.to_string())?;
    print(&format!("{text}\n"));
    Ok(())
}

/// Columns as wide as their widest cell.
fn table(heads: &[&str], rows: Vec<Vec<String>>) {
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(n, head)| {
            rows.iter()
                .filter_map(|r| r.get(n))
                .map(String::len)
                .fold(head.len(), usize::max)
        })
        .collect();
    let line = |cells: &[String]| {
        let padded: Vec<_> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let heads: Vec<_> = heads.iter().map(|h| (*h).to_owned()).collect();
    print(&line(&heads));
    for row in &rows {
        print(&line(row));
    }
}

/// A reader that went away (`| head`) is no error.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("start: {e}"))
}

async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut term) => {
            tokio::select! {
                _ = term.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
