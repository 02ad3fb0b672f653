//! `hanzo-kbs put-release`.

use std::path::PathBuf;

use clap::Args;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_kbs::admin;
use hanzo_policy::release::ReleaseBundle;

use super::keys::{Broker, report};

#[derive(Args)]
#[command(after_help = "Example:
  hanzo-kbs put-release --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key --tenant hanzo release.json

Keys of the tenant whose policy has appraisal.release with this line get their reference values and image version from the
newest bundle. It is taken if it counts now under such a policy and is no older than the one before; the same release under
a newer head is taken too.")]
pub(super) struct PutRelease {
    #[command(flatten)]
    broker: Broker,
    /// Whose keys it is for.
    #[arg(long, value_parser = tenant)]
    tenant: Name,
    /// How many bundles of this line the broker has, and one: not the release's own version.
    #[arg(long, default_value_t = 1)]
    number: u64,
    /// The bundle (release.json).
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn tenant(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

impl PutRelease {
    pub(super) fn run(self) -> Result<(), String> {
        let (identity, admin) = self.broker.open()?;
        let named = |e: &dyn std::fmt::Display| format!("{}: {e}", self.file.display());
        let text = std::fs::read_to_string(&self.file).map_err(|e| named(&e))?;
        let bundle = ReleaseBundle::parse(text.as_bytes()).map_err(|e| named(&e))?;
        let line = &bundle.release.manifest.name;
        let document = KeyId::new(&format!("{}/release/{line}", self.tenant)).map_err(|e| named(&e))?;
        let put = admin::set_document(self.broker.broker, &identity, &admin, &document, self.number, &text);
        report(self.broker.broker, super::runtime()?.block_on(put), self.json)
    }
}
