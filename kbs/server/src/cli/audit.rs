//! `hanzo-kbs audit`: decisions for the operator, and for auditors.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hanzo_kbs::{KbsConfig, StoreMode, check, export_audit};

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
    /// Write the audit log of a broker that is not running as files that `hanzo-verify log` checks: lines, tiles, signed head.
    #[command(after_help = "Example:
  hanzo-kbs audit export --config ./kbs/kbs.toml --to ./november
  hanzo-verify log ./november --key identity.json")]
    Export {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
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
            (Some(AuditCommand::Export { config, to, json }), _) => {
                let config = KbsConfig::load(&config).map_err(said)?;
                let verifying = progress::spinner(json, &config, "verifying the store");
                let bar = progress::bar(json, "decisions");
                let done = export_audit(&config, StoreMode::Production, &to, |at, of| {
                    verifying.finish_and_clear();
                    bar.set_length(of);
                    bar.set_position(at);
                })
                .map_err(said)?;
                verifying.finish_and_clear();
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
