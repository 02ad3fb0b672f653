//! `hanzo model seal`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use hanzo_attestation::Digest256;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_kbs::admin::{self, AdminReply};
use hanzo_kbs::{KbsIdentity, load_admin_key};
use hanzo_model::AdapterFacts;
use hanzo_pack::SealedPack;
use hanzo_pqc::Dek;
use hanzo_pqc::sign::SigningKeys;
use hanzo_store::KeyFile;
use hanzo_vault::KeyPolicy;
use serde_json::{Value, json};

use crate::error::ToolError;
use crate::files::read;
use crate::output::{Done, bytes};
use crate::progress::Progress;

/// Options of `seal`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hanzo model seal model/ --output model.pack --broker 127.0.0.1:8090 --identity identity.json --admin-key admin.key \\
      --key hanzo/dek/smollm2 --policy smollm2.policy.json
  hanzo model seal model/ --output model.pack --dek-file model.key

The data key is drawn here. It goes to the broker sealed to the broker's own key, or into a new file of mode 0600, and nowhere else.
A policy whose subject is weights-root gets the model's own. Nothing is replaced; if the broker does not take the key, the pack is removed.")]
pub struct SealArgs {
    /// A model directory: flat, with all files of the model; or an adapter's
    dir: PathBuf,
    /// Where the pack is written; must not exist
    #[arg(long)]
    output: PathBuf,
    /// Write the data key into this new file of mode 0600 instead of a broker: whoever reads it opens the pack
    #[arg(long, conflicts_with_all = ["broker", "identity", "admin_key", "key", "policy"], required_unless_present = "broker")]
    dek_file: Option<PathBuf>,
    /// Where a broker listens
    #[arg(long, requires_all = ["identity", "admin_key", "key", "policy"])]
    broker: Option<SocketAddr>,
    /// The broker's identity.json
    #[arg(long, requires = "broker")]
    identity: Option<PathBuf>,
    /// Your admin key
    #[arg(long, requires = "broker")]
    admin_key: Option<PathBuf>,
    /// Where the broker keeps the data key: repository/type/tag
    #[arg(long, requires = "broker", value_parser = |text: &str| KeyId::new(text).map_err(|e| e.to_string()))]
    key: Option<KeyId>,
    /// 1 for a new key, else one more than the newest
    #[arg(long, requires = "broker", default_value_t = 1)]
    key_version: u64,
    /// The release policy (kbs/vault/POLICY.md)
    #[arg(long, requires = "broker")]
    policy: Option<PathBuf>,
}

/// Longest policy and identity.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// What a policy says whose subject is filled in.
const OWN_ROOT: &str = "weights-root";

pub(crate) fn run(args: SealArgs) -> Result<Done, ToolError> {
    if args.output.symlink_metadata().is_ok() {
        return Err(ToolError::Exists { path: args.output });
    }
    // Whatever may be wrong with keys and policies, before anything that takes long.
    let broker = Broker::open(&args)?;
    // A broken model is better found now than by a guest.
    match args.dir.join(hanzo_delta::DELTA_FILE) {
        _ if args.dir.join(hanzo_model::ADAPTER_FILE).is_file() => drop(AdapterFacts::read(&args.dir)?),
        delta if delta.is_file() => drop(hanzo_model::tensors(&delta)?),
        _ => drop(hanzo_model::inspect(&args.dir)?),
    }
    match (broker, &args.dek_file) {
        (Some(broker), _) => {
            let dek = Dek::generate().map_err(|_| ToolError::Pack(hanzo_pack::PackError::Random))?;
            let sealed = seal(&args.dir, &dek, &args.output)?;
            let put = broker.put(&dek, sealed.weights_root);
            let reply = put.inspect_err(|_| {
                // Without its key it is of no use to anybody.
                let _ = std::fs::remove_file(&args.output);
            })?;
            Ok(done(&args.output, &sealed, &told(&reply), json!(reply)))
        }
        (None, Some(file)) => {
            let dek = KeyFile::create(file)?;
            let sealed = seal(&args.dir, &dek, &args.output).inspect_err(|_| {
                // Nothing is sealed under it.
                let _ = std::fs::remove_file(file);
            })?;
            let text = format!(
                "data key   {} (mode 0600: whoever reads it opens the pack)\n",
                file.display()
            );
            Ok(done(&args.output, &sealed, &text, json!({"dek_file": file})))
        }
        (None, None) => Err(ToolError::Usage("where the data key goes: --broker, or --dek-file")),
    }
}

fn seal(dir: &Path, dek: &Dek, output: &Path) -> Result<SealedPack, ToolError> {
    let bar = Progress::bytes("sealing");
    Ok(hanzo_pack::seal(dir, dek, output, &|at| bar.at(at))?)
}

fn done(output: &Path, sealed: &SealedPack, key: &str, reply: Value) -> Done {
    let text = format!(
        "{}: {} files, {}\nroot       {}\n{key}",
        output.display(),
        sealed.files.len(),
        bytes(sealed.pack_bytes),
        sealed.weights_root
    );
    let files: Vec<_> = sealed
        .files
        .iter()
        .map(|file| json!({"name": file.name.as_str(), "bytes": file.size}))
        .collect();
    let json = json!({
        "pack": output,
        "pack_bytes": sealed.pack_bytes,
        "weights_root": sealed.weights_root,
        "files": files,
        "key": reply,
    });
    Done { text, json }
}

fn told(reply: &AdminReply) -> String {
    let key = reply.key_id.as_ref().map_or_else(String::new, ToString::to_string);
    match reply.proposal {
        Some(id) => format!("data key   waits for a second admin: hanzo-kbs approve --proposal {id} ...\n"),
        None => format!("data key   {key} version {} in the broker\n", reply.key_version),
    }
}

/// A broker that runs, and what it is to keep.
struct Broker {
    at: SocketAddr,
    identity: KbsIdentity,
    admin: SigningKeys,
    key: KeyId,
    version: u64,
    policy: KeyPolicy,
    policy_path: PathBuf,
}

impl Broker {
    fn open(args: &SealArgs) -> Result<Option<Self>, ToolError> {
        let (Some(at), Some(identity), Some(admin), Some(key), Some(policy_path)) =
            (args.broker, &args.identity, &args.admin_key, &args.key, &args.policy)
        else {
            return Ok(None);
        };
        let document = |path: &Path, expected, got: String| ToolError::Document {
            path: path.to_owned(),
            expected,
            got,
        };
        let policy = KeyPolicy::parse(read(policy_path, DOCUMENT_BYTES_MAX)?.trim_ascii_end())
            .map_err(|e| document(policy_path, "a key policy", e.to_string()))?;
        Ok(Some(Self {
            at,
            identity: KbsIdentity::parse(&read(identity, DOCUMENT_BYTES_MAX)?)
                .map_err(|e| document(identity, "a broker's identity", e.to_string()))?,
            admin: load_admin_key(admin)?,
            key: key.clone(),
            version: args.key_version,
            policy,
            policy_path: policy_path.clone(),
        }))
    }

    /// Hands the key over; when this returns, it is on the broker's disk or waits for a second admin there.
    fn put(mut self, dek: &Dek, root: Digest256) -> Result<AdminReply, ToolError> {
        let own = root.to_string();
        match self.policy.subject.as_str() {
            OWN_ROOT => {
                // 64 hex digits are a name.
                self.policy.subject = Name::new(&own).map_err(|_| ToolError::Usage("the weights root is no name"))?;
            }
            subject if subject == own => {}
            subject => {
                return Err(ToolError::Subject {
                    path: self.policy_path,
                    expected: root,
                    got: subject.to_owned(),
                });
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ToolError::io("starting the runtime for", Path::new("the broker")))?;
        let put = admin::put_key(
            self.at,
            &self.identity,
            &self.admin,
            &self.key,
            self.version,
            dek,
            &self.policy,
        );
        runtime.block_on(put).map_err(ToolError::Broker)
    }
}
