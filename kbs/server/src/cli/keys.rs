//! Commands of key owners.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hanzo_attestation::Nonce;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::admin::{self, AdminError, AdminReply, KeyEntry};
use hanzo_kbs::{KbsIdentity, load_admin_key};
use hanzo_pqc::sign::SigningKeys;
use hanzo_store::KeyFile;
use hanzo_vault::KeyPolicy;

#[derive(Args)]
pub(super) struct Broker {
    /// Where the broker listens.
    #[arg(long)]
    pub(super) broker: SocketAddr,
    /// The broker's identity.json.
    #[arg(long)]
    identity: PathBuf,
    /// Your admin key.
    #[arg(long)]
    admin_key: PathBuf,
}

impl Broker {
    pub(super) fn open(&self) -> Result<(KbsIdentity, SigningKeys), String> {
        let bytes = std::fs::read(&self.identity).map_err(|e| format!("{}: {e}", self.identity.display()))?;
        let identity = KbsIdentity::parse(&bytes).map_err(|e| format!("{}: {e}", self.identity.display()))?;
        let admin = load_admin_key(&self.admin_key).map_err(super::said)?;
        Ok((identity, admin))
    }
}

/// A running broker, for commands that work on a store as well.
#[derive(Args)]
pub(super) struct Remote {
    /// Where the broker listens, if it runs.
    #[arg(long, requires = "identity", requires = "admin_key")]
    pub(super) broker: Option<SocketAddr>,
    /// The broker's identity.json.
    #[arg(long, requires = "broker")]
    identity: Option<PathBuf>,
    /// Your admin key.
    #[arg(long, requires = "broker")]
    admin_key: Option<PathBuf>,
}

impl Remote {
    /// The broker, if one was named.
    pub(super) fn broker(self) -> Option<Broker> {
        Some(Broker {
            broker: self.broker?,
            identity: self.identity?,
            admin_key: self.admin_key?,
        })
    }
}

pub(super) fn key_id(text: &str) -> Result<KeyId, String> {
    KeyId::new(text).map_err(|e| e.to_string())
}

#[derive(Args)]
#[command(after_help = "Example:
  hanzo-kbs put-key --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key \\
      --key hanzo/dek/smollm2 --dek-file smollm2.key --policy smollm2.policy.json

The policy is canonical JSON with every member written out (kbs/vault/POLICY.md):
  {\"allow_simulated\":false,\"appraisal\":{...},\"grant_lifetime_s\":60,\"image_versions\":{\"appliance-0.1.0\":1},\"max_uses\":100,
   \"minimum_image_version\":1,\"not_after\":1798761600,\"not_before\":0,\"rego\":null,\"subject\":\"<weights root>\",
   \"tenant\":\"hanzo\",\"wrap\":[\"hpke\"]}")]
pub(super) struct PutKey {
    #[command(flatten)]
    broker: Broker,
    /// repository/type/tag
    #[arg(long, value_parser = key_id)]
    key: KeyId,
    /// 1 for a new key, else one more than the newest.
    #[arg(long, default_value_t = 1)]
    version: u64,
    /// The data key: 32 bytes, mode 0600.
    #[arg(long)]
    dek_file: PathBuf,
    /// The release policy.
    #[arg(long)]
    policy: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl PutKey {
    pub(super) fn run(self) -> Result<(), String> {
        let (identity, admin) = self.broker.open()?;
        let dek = KeyFile::load(&self.dek_file).map_err(|e| e.to_string())?;
        let named = |e: &dyn std::fmt::Display| format!("{}: {e}", self.policy.display());
        let text = std::fs::read(&self.policy).map_err(|e| named(&e))?;
        let policy = KeyPolicy::parse(text.trim_ascii_end()).map_err(|e| named(&e))?;
        let put = admin::put_key(
            self.broker.broker,
            &identity,
            &admin,
            &self.key,
            self.version,
            &dek,
            &policy,
        );
        report(self.broker.broker, super::runtime()?.block_on(put), self.json)
    }
}

#[derive(Args)]
#[command(after_help = "Example:
  hanzo-kbs revoke --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key --key hanzo/dek/smollm2 --version 1")]
pub(super) struct Revoke {
    #[command(flatten)]
    broker: Broker,
    /// repository/type/tag
    #[arg(long, value_parser = key_id)]
    key: KeyId,
    /// Its newest version.
    #[arg(long)]
    version: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Revoke {
    pub(super) fn run(self) -> Result<(), String> {
        let (identity, admin) = self.broker.open()?;
        let revoke = admin::revoke(self.broker.broker, &identity, &admin, &self.key, self.version);
        report(self.broker.broker, super::runtime()?.block_on(revoke), self.json)
    }
}

/// Says what became of a change; a rotation is followed to its end.
pub(super) fn report(at: SocketAddr, outcome: Result<AdminReply, AdminError>, json: bool) -> Result<(), String> {
    let reply = outcome.map_err(|e| said(&e))?;
    if let Some(id) = reply.rotation {
        return follow(at, id, json);
    }
    if json {
        return super::json(&reply);
    }
    match (&reply.key_id, reply.key_version) {
        (Some(key_id), 0) => super::print(&format!("{key_id}\n")),
        (Some(key_id), version) => super::print(&format!("{key_id} version {version}\n")),
        (None, _) => super::print(&format!("tenant {}\n", reply.tenant)),
    }
    if let Some(destroyed) = reply.destroyed {
        super::print(&format!(
            "{} KEKs and {} secrets destroyed\n",
            destroyed.keks, destroyed.secrets
        ));
    }
    if let Some(id) = reply.proposal {
        super::print(&format!(
            "not yet: it waits for a second admin:\n  hanzo-kbs approve --proposal {id} ...\n"
        ));
    }
    Ok(())
}

/// Shows a rotation of a running broker until it ends.
fn follow(at: SocketAddr, id: Nonce, json: bool) -> Result<(), String> {
    let bar = super::progress::bar(json, "rotating");
    let runtime = super::runtime()?;
    loop {
        let status = runtime.block_on(admin::rotation(at, id)).map_err(|e| said(&e))?;
        bar.set_length(status.total);
        bar.set_position(status.moved);
        if let Some(code) = status.code {
            return Err(format!(
                "rotation of {}: it ended early, {} secrets are moved; ask for it again [{code}]",
                status.tenant, status.moved
            ));
        }
        if let Some(report) = status.report {
            bar.finish_and_clear();
            match json {
                true => super::json(&serde_json::json!({ "rotated": [report] }))?,
                false => super::vault::show(&report),
            }
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
}

/// How often a rotation is asked after.
const POLL: Duration = Duration::from_millis(200);

pub(super) fn said(e: &AdminError) -> String {
    format!("{e} [{}]", e.code())
}

/// What is in a broker.
#[derive(Subcommand)]
pub(super) enum Keys {
    /// The keys that you may read.
    #[command(after_help = "Example:
  hanzo-kbs keys list --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key")]
    List {
        #[command(flatten)]
        broker: Broker,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// One key: counts, end, digest of its policy.
    #[command(after_help = "Example:
  hanzo-kbs keys show --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key --key hanzo/dek/smollm2")]
    Show {
        #[command(flatten)]
        broker: Broker,
        /// repository/type/tag
        #[arg(long, value_parser = key_id)]
        key: KeyId,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Keys {
    pub(super) fn run(self) -> Result<(), String> {
        match self {
            Self::List { broker, json } => {
                let (identity, admin) = broker.open()?;
                let list = admin::list_keys(broker.broker, &identity, &admin);
                let list = super::runtime()?.block_on(list).map_err(|e| said(&e))?;
                if json {
                    return super::json(&list);
                }
                super::table(&HEADS, list.keys.iter().map(row).collect());
                if !list.four_eyes {
                    super::print("four_eyes = false: one admin widens policies alone\n");
                }
            }
            Self::Show { broker, key, json } => {
                let (identity, admin) = broker.open()?;
                let detail = admin::get_policy(broker.broker, &identity, &admin, &key);
                let detail = super::runtime()?.block_on(detail).map_err(|e| said(&e))?;
                if json {
                    return super::json(&detail);
                }
                super::table(&HEADS, vec![row(&detail.key)]);
                super::print(&format!("policy {}\n", detail.key.policy_digest));
            }
        }
        Ok(())
    }
}

const HEADS: [&str; 7] = ["KEY", "VERSION", "TIER", "USES", "NEWEST IMAGE", "ENDS", "STATE"];

fn row(key: &KeyEntry) -> Vec<String> {
    vec![
        key.key_id.to_string(),
        key.key_version.to_string(),
        format!(">= {}", key.minimum_tier),
        format!("{} of {}", key.uses, key.max_uses),
        match key.newest_image {
            0 => "-".to_owned(),
            version => version.to_string(),
        },
        key.not_after.to_string(),
        match key.revoked {
            true => "revoked".to_owned(),
            false => "live".to_owned(),
        },
    ]
}
