//! Four eyes from the command line.

use clap::Args;
use hanzo_attestation::Digest384;
use hanzo_kbs::admin;

use super::keys::{Broker, report, said};

#[derive(Args)]
#[command(after_help = "Example:
  hanzo-kbs pending --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key")]
pub(super) struct Pending {
    #[command(flatten)]
    broker: Broker,
    /// Print JSON, with each request as it was signed.
    #[arg(long)]
    json: bool,
}

impl Pending {
    pub(super) fn run(self) -> Result<(), String> {
        let (identity, admin) = self.broker.open()?;
        let list = admin::pending(self.broker.broker, &identity, &admin);
        let list = super::runtime()?.block_on(list).map_err(|e| said(&e))?;
        if self.json {
            return super::json(&list);
        }
        for p in &list.proposals {
            let by = p.admin.as_ref().map_or("an admin who is gone", |n| n.as_str());
            let about = match (&p.key_id, p.key_version) {
                (Some(key_id), 0) => key_id.to_string(),
                (Some(key_id), version) => format!("{key_id} version {version}"),
                (None, _) => format!("tenant {}", p.tenant),
            };
            let (id, action, until) = (p.id, &p.action, p.expires_at);
            super::print(&format!("{id}\n  {action} {about}, by {by}, until {until}\n"));
            for change in &p.changes {
                super::print(&format!("  {change}\n"));
            }
        }
        if list.proposals.is_empty() {
            super::print("nothing waits\n");
        }
        Ok(())
    }
}

#[derive(Args)]
#[command(after_help = "Example:
  hanzo-kbs pending ...      # shows the ids and what each changes; ids are checked against the requests shown
  hanzo-kbs approve --broker 127.0.0.1:8090 --identity identity.json --admin-key bob.key --proposal 5f3a...")]
pub(super) struct Approve {
    #[command(flatten)]
    broker: Broker,
    /// The proposal's id, 96 hex digits.
    #[arg(long, value_parser = digest)]
    proposal: Digest384,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn digest(text: &str) -> Result<Digest384, String> {
    Digest384::from_hex(text).ok_or_else(|| "expected 96 lower-case hex digits".to_owned())
}

impl Approve {
    pub(super) fn run(self) -> Result<(), String> {
        let (identity, admin) = self.broker.open()?;
        let approve = admin::approve(self.broker.broker, &identity, &admin, self.proposal);
        report(self.broker.broker, super::runtime()?.block_on(approve), self.json)
    }
}
