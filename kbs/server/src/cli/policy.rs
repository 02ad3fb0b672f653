//! Release policies from the command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use hanzo_attestation::name::KeyId;
use hanzo_attestation::{Anchors, Collateral, UnixTime};
use hanzo_kbs::admin::{self, KeyDetail};
use hanzo_kbs::{KbsIdentity, Rehearsed, load_admin_key, rehearse_evidence};
use hanzo_vault::{KeyPolicy, Rehearsal, TenantPolicy, Uses, Wrap, check_reference};

use super::keys::{Broker, key_id, report, said};

const EVIDENCE_BYTES_MAX: u64 = 8 << 20;

#[derive(Subcommand)]
pub(super) enum Policy {
    /// Print the policy of a key's newest version, canonical JSON.
    #[command(after_help = "Example:
  hanzo-kbs policy get --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key --key hanzo/dek/smollm2")]
    Get {
        #[command(flatten)]
        broker: Broker,
        /// repository/type/tag
        #[arg(long, value_parser = key_id)]
        key: KeyId,
    },
    /// Give a key's newest version another policy. What widens waits for a second admin.
    #[command(after_help = "Example:
  hanzo-kbs policy set --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key \\
      --key hanzo/dek/smollm2 --version 1 --policy smollm2.policy.json")]
    Set {
        #[command(flatten)]
        broker: Broker,
        /// repository/type/tag
        #[arg(long, value_parser = key_id)]
        key: KeyId,
        /// Its newest version.
        #[arg(long)]
        version: u64,
        /// The release policy.
        #[arg(long)]
        policy: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// What a second policy changes, member by member, and whether it widens.
    #[command(after_help = "Example:
  hanzo-kbs policy diff --from old.policy.json --to new.policy.json

Exit codes: 0 equal or only narrower, 40 something widens or changes, 1 unreadable.")]
    Diff {
        /// The earlier policy.
        #[arg(long)]
        from: PathBuf,
        /// The later one.
        #[arg(long)]
        to: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say what would be released to this evidence, and every rule that says no. Writes nothing, releases nothing.
    #[command(after_help = "Examples:
  hanzo-kbs policy test --policy smollm2.policy.json --key hanzo/dek/smollm2 --evidence bundle.json
  hanzo-kbs policy test --key hanzo/dek/smollm2 --evidence attest.json \\
      --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key --json

Evidence is a bundle, an RCAR attest body, or another format that `hanzo-verify` reads. Without --policy the key's own policy
and counts, and its tenant's resource policy, are asked for at the broker.

Exit codes: 0 would release, 10 malformed, 20 not authentic, 30 unbound, 40 refused, 1 unreadable.")]
    Test(Box<Test>),
}

#[derive(Args)]
pub(super) struct Test {
    /// repository/type/tag
    #[arg(long, value_parser = key_id)]
    key: KeyId,
    /// The release policy; else the broker's.
    #[arg(long, conflicts_with = "broker", required_unless_present = "broker")]
    policy: Option<PathBuf>,
    /// With --policy: the tenant's resource policy (Rego), which must allow as well.
    #[arg(long, conflicts_with = "broker")]
    tenant_policy: Option<PathBuf>,
    /// With --tenant-policy: the tenant's reference values (JSON), `data.reference` of it.
    #[arg(long, requires = "tenant_policy")]
    reference_values: Option<PathBuf>,
    /// Where the broker listens.
    #[arg(long, requires = "identity", requires = "admin_key")]
    broker: Option<SocketAddr>,
    /// The broker's identity.json.
    #[arg(long)]
    identity: Option<PathBuf>,
    /// Your admin key.
    #[arg(long)]
    admin_key: Option<PathBuf>,
    /// Release bundle (release.json), for a policy whose appraisal names a line of releases.
    #[arg(long)]
    release: Option<PathBuf>,
    /// The evidence.
    #[arg(long)]
    evidence: PathBuf,
    /// Unix seconds to judge at; else now.
    #[arg(long)]
    now: Option<u64>,
    /// How the secret would travel, for evidence that names no key of the guest.
    #[arg(long, value_enum, default_value = "hpke")]
    wrap: WrapWord,
    /// ARK-signed revocation list (DER).
    #[arg(long)]
    crl: Vec<PathBuf>,
    /// ARK certificate (DER) of a simulator. What chains to it is simulated.
    #[arg(long)]
    simulator_root: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum WrapWord {
    Akp,
    Classical,
    Hpke,
}

impl Policy {
    pub(super) fn run(self) -> Result<u8, String> {
        match self {
            Self::Get { broker, key } => {
                let (identity, admin) = broker.open()?;
                let detail = admin::get_policy(broker.broker, &identity, &admin, &key);
                let detail = super::runtime()?.block_on(detail).map_err(|e| said(&e))?;
                let text = detail.policy.canonical().map_err(|e| e.to_string())?;
                super::print(&format!("{}\n", String::from_utf8_lossy(&text)));
                Ok(0)
            }
            Self::Set {
                broker,
                key,
                version,
                policy,
                json,
            } => {
                let (identity, admin) = broker.open()?;
                let policy = read_policy(&policy)?;
                let set = admin::set_policy(broker.broker, &identity, &admin, &key, version, &policy);
                report(broker.broker, super::runtime()?.block_on(set), json).map(|()| 0)
            }
            Self::Diff { from, to, json } => diff(&read_policy(&from)?, &read_policy(&to)?, json),
            Self::Test(test) => test.run(),
        }
    }
}

fn read_policy(path: &Path) -> Result<KeyPolicy, String> {
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let text = std::fs::read(path).map_err(|e| named(&e))?;
    KeyPolicy::parse(text.trim_ascii_end()).map_err(|e| format!("{} [{}]", named(&e), e.code()))
}

fn diff(from: &KeyPolicy, to: &KeyPolicy, json: bool) -> Result<u8, String> {
    let changes = to.changes_from(from);
    let code = match to.only_narrows(from) {
        true => 0,
        false => 40,
    };
    if json {
        return super::json(&changes).map(|()| code);
    }
    let rows = changes
        .into_iter()
        .map(|d| vec![d.direction.as_str().to_owned(), d.path, d.from, d.to])
        .collect();
    super::table(&["DIRECTION", "MEMBER", "FROM", "TO"], rows);
    if let Err(e) = to.may_follow(from) {
        super::print(&format!("a broker refuses this change: {e} [{}]\n", e.code()));
        return Ok(40);
    }
    Ok(code)
}

impl Test {
    fn run(self) -> Result<u8, String> {
        let (policy, version, uses, tenant) = self.policy()?;
        let mut anchors = Anchors::vendor();
        for path in &self.simulator_root {
            anchors = anchors.with_simulator_ark(read(path)?);
        }
        let crls: Result<_, _> = self.crl.iter().map(|path| read(path)).collect();
        let collateral = Collateral {
            crls: crls?,
            release: self.release.as_deref().map(read).transpose()?,
            ..Collateral::default()
        };
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let key = Rehearsed {
            key_id: &self.key,
            version,
            policy: &policy,
            tenant: tenant.as_ref(),
            uses,
        };
        let wrap = match self.wrap {
            WrapWord::Akp => Wrap::Akp,
            WrapWord::Classical => Wrap::Classical,
            WrapWord::Hpke => Wrap::Hpke,
        };
        let now = UnixTime(self.now.unwrap_or(clock));
        let rehearsal = rehearse_evidence(&read(&self.evidence)?, &key, wrap, anchors, collateral, now);
        match self.json {
            true => super::json(&rehearsal)?,
            false => show(&rehearsal),
        }
        Ok(rehearsal.exit_code)
    }

    /// The tenant's module from files.
    fn tenant(&self) -> Result<Option<TenantPolicy>, String> {
        let Some(path) = &self.tenant_policy else {
            return Ok(None);
        };
        let text = |path| read(path).and_then(|b| String::from_utf8(b).map_err(|e| format!("{}: {e}", path.display())));
        let rego = text(path)?;
        hanzo_rego::Module::parse(&rego).map_err(|e| format!("{}: {e} [{}]", path.display(), e.code()))?;
        let reference = match &self.reference_values {
            Some(path) => {
                let (values, _) = check_reference(&read(path)?).map_err(|e| format!("{}: {e}", path.display()))?;
                serde_json::Value::Object(values)
            }
            None => serde_json::json!({}),
        };
        Ok(Some(TenantPolicy { rego, reference }))
    }

    /// The policy with the version, counts and tenant's module that it is asked about.
    fn policy(&self) -> Result<(KeyPolicy, u64, Uses, Option<TenantPolicy>), String> {
        if let Some(path) = &self.policy {
            let unused = Uses {
                count: 0,
                includes_recipient: false,
                newest_image: None,
            };
            return Ok((read_policy(path)?, 1, unused, self.tenant()?));
        }
        let (Some(at), Some(identity), Some(admin_key)) = (self.broker, &self.identity, &self.admin_key) else {
            return Err("--policy, or --broker with --identity and --admin-key, is needed".into());
        };
        let identity = KbsIdentity::parse(&read(identity)?).map_err(super::said)?;
        let admin = load_admin_key(admin_key).map_err(super::said)?;
        let detail = admin::get_policy(at, &identity, &admin, &self.key);
        let KeyDetail { key, policy, tenant } = super::runtime()?.block_on(detail).map_err(|e| said(&e))?;
        if key.revoked {
            return Err(format!("key {} was revoked: nothing of it is released", key.key_id));
        }
        let uses = Uses {
            count: key.uses,
            includes_recipient: false,
            newest_image: Some(key.newest_image).filter(|v| *v > 0),
        };
        let tenant = tenant.map(|over| TenantPolicy {
            rego: over.rego,
            reference: over.reference,
        });
        Ok((policy, key.key_version, uses, tenant))
    }
}

fn show(rehearsal: &Rehearsal) {
    let or = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let verdict = match rehearsal.would_release {
        true => "would be released",
        false => "would NOT be released",
    };
    super::print(&format!(
        "key {} {verdict}\n  tier       {}\n  simulated  {}\n  reference  {}\n  image      {}\n  wrap       {}\n",
        rehearsal.key_id,
        or(rehearsal.tier.map(|t| t.to_string())),
        or(rehearsal.simulated.map(|s| s.to_string())),
        or(rehearsal.reference.clone()),
        or(rehearsal.image_version.map(|v| v.to_string())),
        rehearsal.wrap.as_str(),
    ));
    for finding in &rehearsal.findings {
        super::print(&format!("  [{}] {}\n", finding.code, finding.why));
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    let size = std::fs::metadata(path).map_err(named)?.len();
    if size > EVIDENCE_BYTES_MAX {
        return Err(format!(
            "{}: {size} bytes, at most {EVIDENCE_BYTES_MAX} are accepted",
            path.display()
        ));
    }
    std::fs::read(path).map_err(named)
}
