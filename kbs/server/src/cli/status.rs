//! What a running broker says of itself, and what an admin says of a guest's store.

use clap::Args;
use hanzo_attestation::Digest256;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::admin;

use super::keys::{Broker, key_id, report, said};

#[derive(Args)]
#[command(after_help = "Example:
  hanzo-kbs status --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key

Exit codes: 0 ok or degraded, 1 failed or not reached.")]
pub(super) struct Status {
    #[command(flatten)]
    broker: Broker,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> Result<(), String> {
        let (identity, admin) = self.broker.open()?;
        let status = admin::status(self.broker.broker, &identity, &admin);
        let status = super::runtime()?.block_on(status).map_err(|e| said(&e))?;
        if self.json {
            return super::json(&status);
        }
        let parts = [
            ("store", &status.store),
            ("fence", &status.fence),
            ("root", &status.root),
        ];
        let word = |standing: hanzo_kbs::Standing| format!("{standing:?}").to_lowercase();
        let mut rows: Vec<_> = parts
            .into_iter()
            .map(|(name, part)| {
                let code = part.code.clone().unwrap_or_default();
                vec![name.to_owned(), word(part.status), part.kind.clone(), code]
            })
            .collect();
        let age = status.collateral.oldest_age_s;
        let age = age.map_or("none".to_owned(), |s| format!("oldest {s} s old"));
        rows.push(vec![
            "collateral".to_owned(),
            word(status.collateral.status),
            age,
            String::new(),
        ]);
        super::table(&["PART", "STATUS", "KIND", "CODE"], rows);
        super::print(match status.four_eyes {
            true => "four eyes: what widens, rotates or destroys waits for a second admin\n",
            false => "four_eyes = false: one admin widens, rotates and destroys alone\n",
        });
        match status.status {
            hanzo_kbs::Standing::Failed => Err("the broker cannot decide: see the parts above".into()),
            _ => Ok(()),
        }
    }
}

#[derive(Args)]
#[command(after_help = "Example:
  hanzo-kbs accept-store-head --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key \\
      --store hanzo/dek/store --size 4711 --root 5f3a...

After a guest's disk, or the broker's store, was put back, the guest's store and the head that the broker remembers of it are not
the same. This sets the head to what the guest has; what came after it is given up. Every lease of the store ends.")]
pub(super) struct AcceptStoreHead {
    #[command(flatten)]
    broker: Broker,
    /// The store: the id of its data key.
    #[arg(long, value_parser = key_id)]
    store: KeyId,
    /// How many entries the guest's store has.
    #[arg(long)]
    size: u64,
    /// Its root, 64 hex digits.
    #[arg(long, value_parser = root)]
    root: Digest256,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn root(text: &str) -> Result<Digest256, String> {
    Digest256::from_hex(text).ok_or_else(|| "expected 64 lower-case hex digits".to_owned())
}

impl AcceptStoreHead {
    pub(super) fn run(self) -> Result<(), String> {
        let (identity, admin) = self.broker.open()?;
        let (at, head) = (self.broker.broker, (self.size, self.root));
        let accept = admin::accept_store_head(at, &identity, &admin, &self.store, head);
        report(at, super::runtime()?.block_on(accept), self.json)
    }
}
