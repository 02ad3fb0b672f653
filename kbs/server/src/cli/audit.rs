//! `hanzo-kbs audit`: decisions for the operator, and for auditors.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hanzo_kbs::{KbsConfig, StoreMode, check, export_audit, fetch_audit};

use super::keys::Remote;
use super::{print, progress, said};

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  hanzo-kbs audit --config ./kbs/kbs.toml | jq 'select(.action == \"refuse\")'
  hanzo-kbs audit export --config ./kbs/kbs.toml --to ./november"
)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    /// Configuration file.
    #[arg(long, required = true)]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Write the audit log as files that `hanzo-verify log` checks: lines, tiles, signed head. Of a running broker an auditor's
    /// key reads it.
    #[command(after_help = "Examples:
  hanzo-kbs audit export --config ./kbs/kbs.toml --to ./november
  hanzo-kbs audit export --broker 127.0.0.1:8090 --identity identity.json --admin-key auditor.key --to ./november
  hanzo-verify log ./november --key identity.json")]
    Export {
        /// Configuration file of a broker that does not run.
        #[arg(long, required_unless_present = "broker", conflicts_with = "broker")]
        config: Option<PathBuf>,
        #[command(flatten)]
        remote: Remote,
        /// An empty or missing folder.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Audit {
    pub(super) fn run(self) -> Result<(), String> {
        match (self.command, self.config) {
            (
                Some(AuditCommand::Export {
                    config,
                    remote,
                    to,
                    json,
                }),
                _,
            ) => {
                let bar = progress::bar(json, "decisions");
                let step = |at, of| {
                    bar.set_length(of);
                    bar.set_position(at);
                };
                let done = match (remote.broker(), config) {
                    (Some(broker), _) => {
                        let (identity, auditor) = broker.open()?;
                        let fetch = fetch_audit(broker.broker, &identity, &auditor, &to, step);
                        super::runtime()?.block_on(fetch).map_err(|e| super::keys::said(&e))?
                    }
                    (None, Some(config)) => {
                        let config = KbsConfig::load(&config).map_err(said)?;
                        let verifying = progress::spinner(json, &config, "verifying the store");
                        let step = |at, of| {
                            verifying.finish_and_clear();
                            step(at, of);
                        };
                        export_audit(&config, StoreMode::Production, &to, step).map_err(said)?
                    }
                    (None, None) => return Err("audit export: give --config or --broker".into()),
                };
                bar.finish_and_clear();
                if json {
                    return super::json(&serde_json::json!({
                        "checkpoint": done.checkpoint,
                        "entries": done.entries,
                        "folder": to,
                    }));
                }
                print(&format!("{} decisions written to {}\n", done.entries, to.display()));
                Ok(())
            }
            (None, Some(config)) => {
                let config = KbsConfig::load(&config).map_err(said)?;
                let verifying = progress::spinner(false, &config, "verifying the store");
                let line = |line: &str| {
                    verifying.finish_and_clear();
                    print(&format!("{line}\n"));
                };
                check(&config, StoreMode::Production, line).map_err(said)?;
                verifying.finish_and_clear();
                Ok(())
            }
            (None, None) => Err("audit: --config says which broker".into()),
        }
    }
}
