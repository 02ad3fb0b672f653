//! Commands of whoever holds the root.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hanzo_attestation::name::{KeyId, Name};
use hanzo_kbs::{KbsConfig, RotationReport, Shredded, StoreMode, admin, rotate_keks, shred};
use hanzo_root::{RootConfig, SecretSource, Share, Surroundings};

use super::keys::{Remote, report};
use super::{print, progress, said};

#[derive(Args)]
#[command(after_help = "Examples:
  hanzo-kbs rotate-kek --config ./kbs/kbs.toml --tenant hanzo
  hanzo-kbs rotate-kek --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key --tenant hanzo

Makes a new version of the tenant's key encryption key and moves every sealed secret to it, in batches; data sealed under the
data keys is not touched. If it is interrupted, run it again: it goes on where it stood. A broker that runs
is asked with --broker and goes on releasing keys meanwhile; with four eyes a second admin approves first. With --config and a
store in a file it must not run.")]
pub(super) struct RotateKek {
    /// Configuration file of a broker that does not run.
    #[arg(long, required_unless_present = "broker", conflicts_with = "broker")]
    config: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
    /// The tenant: the first part of its key ids.
    #[arg(long, value_parser = name, required_unless_present = "all", conflicts_with = "all")]
    tenant: Option<Name>,
    /// Every tenant.
    #[arg(long, conflicts_with = "broker")]
    all: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

impl RotateKek {
    pub(super) fn run(self) -> Result<(), String> {
        let path = match (self.remote.broker(), self.config, &self.tenant) {
            (Some(broker), _, Some(tenant)) => {
                let (identity, admin) = broker.open()?;
                let rotate = admin::rotate_kek(broker.broker, &identity, &admin, tenant);
                return report(broker.broker, super::runtime()?.block_on(rotate), self.json);
            }
            (None, Some(path), _) => path,
            _ => return Err("give --config, or --broker and --tenant".into()),
        };
        let config = KbsConfig::load(&path).map_err(said)?;
        let verifying = progress::spinner(self.json, &config, "verifying the store");
        let bar = progress::bar(self.json, "");
        let reports = rotate_keks(&config, StoreMode::Production, self.tenant.as_ref(), |at| {
            verifying.finish_and_clear();
            bar.set_length(at.total);
            bar.set_position(at.moved);
            bar.set_message(at.tenant);
        })
        .map_err(said)?;
        verifying.finish_and_clear();
        bar.finish_and_clear();
        match self.json {
            true => print(&format!("{}\n", serde_json::json!({ "rotated": reports }))),
            false => reports.iter().for_each(show),
        }
        Ok(())
    }
}

pub(super) fn show(report: &RotationReport) {
    let RotationReport {
        tenant,
        kek_version,
        moved,
        resumed,
        destroyed,
    } = report;
    let how = if *resumed {
        ", finishing an interrupted rotation"
    } else {
        ""
    };
    print(&format!(
        "{tenant}: KEK version {kek_version}, {moved} secrets moved, {destroyed} older KEKs destroyed{how}\n"
    ));
}

#[derive(Args)]
#[command(after_help = "Examples:
  hanzo-kbs shred --config ./kbs/kbs.toml --tenant acme --confirm acme
  hanzo-kbs shred --config ./kbs/kbs.toml --key acme/dek/m --version 3 --confirm acme/dek/m
  hanzo-kbs shred --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key --tenant acme --confirm acme

What is destroyed is gone for ever. Backups made before still hold it for whoever has the root: destroy them as well.")]
pub(super) struct Shred {
    /// Configuration file of a broker that does not run.
    #[arg(long, required_unless_present = "broker", conflicts_with = "broker")]
    config: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
    /// Destroy every KEK and secret of this tenant.
    #[arg(long, value_parser = name, required_unless_present = "key", conflicts_with = "key")]
    tenant: Option<Name>,
    /// Destroy one version of this key.
    #[arg(long, value_parser = super::keys::key_id, requires = "version")]
    key: Option<KeyId>,
    /// The version.
    #[arg(long, requires = "key")]
    version: Option<u64>,
    /// The tenant or key id once more.
    #[arg(long)]
    confirm: String,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

impl Shred {
    pub(super) fn run(self) -> Result<(), String> {
        let (what, named) = match (self.tenant, self.key, self.version) {
            (Some(tenant), None, None) => (Shredded::Tenant(tenant.clone()), tenant.to_string()),
            (None, Some(key), Some(version)) => (Shredded::Key(key.clone(), version), key.to_string()),
            _ => return Err("give --tenant, or --key and --version".into()),
        };
        if self.confirm != named {
            return Err(format!(
                "--confirm: expected {named}, got {}: nothing was destroyed",
                self.confirm
            ));
        }
        let path = match (self.remote.broker(), self.config) {
            (Some(broker), _) => {
                let (identity, admin) = broker.open()?;
                let shred = admin::shred(broker.broker, &identity, &admin, &what);
                return report(broker.broker, super::runtime()?.block_on(shred), self.json);
            }
            (None, Some(path)) => path,
            (None, None) => return Err("give --config or --broker".into()),
        };
        let config = KbsConfig::load(&path).map_err(said)?;
        let verifying = progress::spinner(self.json, &config, "verifying the store");
        let report = shred(&config, StoreMode::Production, &what).map_err(said)?;
        verifying.finish_and_clear();
        if self.json {
            return super::json(&serde_json::json!({ "destroyed": report, "of": named }));
        }
        print(&format!(
            "{named}: {} KEKs and {} secrets destroyed\n",
            report.keks, report.secrets
        ));
        Ok(())
    }
}

#[derive(Subcommand)]
pub(super) enum RootCommand {
    /// Hand the root out once, as `serve` would, and print its kind and commitment.
    #[command(after_help = "Example:\n  hanzo-kbs root status --config ./kbs/kbs.toml")]
    Status {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Keep the root in another place as well: the way from one kind to another.
    #[command(
        after_help = "Example:\n  hanzo-kbs root move --config ./kbs/kbs.toml --to pkcs11.toml\n\nThen put the lines of that file in the place of [root] in kbs.toml, check with `hanzo-kbs root status`, and destroy the old file."
    )]
    Move {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
        /// TOML with the members of the new `[root]`; relative paths start at the configuration file's directory.
        #[arg(long)]
        to: PathBuf,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Split the root among operators: any THRESHOLD of the SHARES files give it back.
    #[command(
        after_help = "Example:\n  hanzo-kbs root export-shares --config ./kbs/kbs.toml --out ./shares --threshold 3 --shares 5 --prompt"
    )]
    ExportShares {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Where the files go; none may be there yet.
        #[arg(long)]
        out: PathBuf,
        /// How many shares give the root back.
        #[arg(long)]
        threshold: u8,
        /// How many shares there are, 2 to 32.
        #[arg(long, value_parser = clap::value_parser!(u8).range(2..=32))]
        shares: u8,
        /// Ask for a passphrase for each share; without it the files are bare.
        #[arg(long)]
        prompt: bool,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Reads the members of a `[root]` table.
pub(super) fn root_table(path: &Path) -> Result<RootConfig, String> {
    const BYTES_MAX: u64 = 64 * 1024;
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let size = std::fs::metadata(path).map_err(|e| named(&e))?.len();
    if size > BYTES_MAX {
        return Err(named(&format!("{size} bytes, at most {BYTES_MAX} are accepted")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| named(&e))?;
    toml::from_str(&text).map_err(|e| named(&e.to_string().trim_end()))
}

impl RootCommand {
    pub(super) fn run(self) -> Result<(), String> {
        let coded = |e: hanzo_root::RootError| format!("{e} [{}]", e.code());
        let load = |path: &PathBuf| {
            let config = KbsConfig::load(path).map_err(said)?;
            let opening = progress::spinner(false, &config, "opening the root");
            let root = config
                .root
                .provider(&Surroundings::of_process())
                .load()
                .map_err(coded)?;
            opening.finish_and_clear();
            Ok::<_, String>((config, root))
        };
        match self {
            Self::Status { config, json } => {
                let (config, root) = load(&config)?;
                let commitment = hex::encode(root.commitment().map_err(|e| e.to_string())?);
                let kind = config.root.kind();
                match json {
                    true => print(&format!(
                        "{}\n",
                        serde_json::json!({ "commitment": commitment, "kind": kind })
                    )),
                    false => print(&format!("root of kind {kind}, commitment {commitment}\n")),
                }
            }
            Self::Move { config: path, to, json } => {
                let (config, root) = load(&path)?;
                let mut table = root_table(&to)?;
                table.rebase(path.parent().unwrap_or(Path::new(".")));
                let provider = table.provider(&Surroundings::of_process());
                provider.keep(&root).map_err(coded)?;
                if json {
                    let (from, kind) = (config.root.kind(), table.kind());
                    return super::json(&serde_json::json!({ "from": from, "kind": kind }));
                }
                print(&format!(
                    "kept as {}: put the lines of {} under [root] in {}, then destroy what {} kept\n",
                    table.kind(),
                    to.display(),
                    path.display(),
                    config.root.kind()
                ));
            }
            Self::ExportShares {
                config,
                out,
                threshold,
                shares,
                prompt,
                json,
            } => {
                let (_, root) = load(&config)?;
                let share = |n: u8| Share {
                    path: out.join(format!("share-{n}.json")),
                    passphrase: prompt.then(|| SecretSource::Prompt(format!("Passphrase of share {n}"))),
                };
                let split = RootConfig::Shamir {
                    path: out.join("set.json"),
                    threshold,
                    shares: (1..=shares).map(share).collect(),
                    cost: hanzo_root::Cost::default(),
                };
                split.provider(&Surroundings::default()).keep(&root).map_err(coded)?;
                if json {
                    return super::json(&serde_json::json!({ "out": out, "shares": shares, "threshold": threshold }));
                }
                print(&format!(
                    "{shares} shares in {}: give each to one operator, delete them here, keep set.json with the broker\n",
                    out.display()
                ));
            }
        }
        Ok(())
    }
}
