//! The guest's configuration: the only thing that configures it (DESIGN section 4, "Config").
//!
//! TOML, at most 64 KiB, UTF-8. Its SHA-256 stands on the measured command line (on the simulated TEE: in the
//! simulated measurement), so a changed byte is a different guest. Unknown and duplicate keys are refused.

use serde::{Deserialize, Serialize};

pub mod access;
pub mod egress;
pub mod models;
mod signers;
pub mod upstream;

pub use access::{Access, Auth, Queue};
pub use egress::{EgressEntry, EgressUse, HostName};
pub use models::OnDemand;
pub use signers::{ModelSigner, ModelSigners};
pub use upstream::{UpstreamApi, UpstreamServer};

use crate::digest::Digest256;
use crate::name::{KeyId, Name};
use crate::padding::Padding;

/// Longest configuration in bytes.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// A parsed configuration. Its digest is over the text, not over this.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Format version: 1.
    pub version: u32,
    /// Who runs the guest; shown in verdicts and receipts.
    pub operator: Name,
    /// Release version of the image, as the keyset states it.
    pub image: Name,
    /// The guest stops its boot when its grants state a lower tier. 0 to 4.
    pub required_tier: u8,
    /// How long a keyset lives, in seconds: 60 to 86,400.
    pub keyset_lifetime_s: u64,
    /// Whether callers have to say who they are: `none` or `required`.
    pub auth: Auth,
    /// The key broker this guest believes.
    pub kbs: PinnedKbs,
    /// The guest's own encrypted store.
    pub store: StoreConfig,
    /// The log of its receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogConfig>,
    /// The models it serves; at least one.
    pub models: Vec<ModelConfig>,
    /// Bounds on requests.
    pub limits: Limits,
    /// Who says which callers there are; there exactly if `auth` is `required`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// How requests wait for the engine; none does if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Who may send signed admin requests; may be empty.
    #[serde(default)]
    pub admin_keys: Vec<PinnedSigner>,
    /// The least padding of what the guest answers, whatever a client asks for; `off` if left out.
    #[serde(default)]
    pub padding: Padding,
    /// Who may send sealed messages besides clients of OHTTP over X-Wing, who always may.
    #[serde(default)]
    pub sealed: SealedMessages,
    /// Whether ACI documents are served beside ours; `off` if left out. They are weaker (verifier/RECEIPT.md).
    #[serde(default, skip_serializing_if = "Aci::is_off")]
    pub aci: Aci,
    /// Names that the guest may reach through its host, at most 8; none if left out. Images of profile `core` refuse any.
    #[serde(default)]
    pub egress: Vec<EgressEntry>,
    /// Whose manifests of models count. With it, no model is opened without one; without it, none is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_signers: Option<ModelSigners>,
}

/// Both public keys of a party whose signatures count (both must verify), lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedSigner {
    /// `ml-dsa-65` or `ml-dsa-87`.
    pub suite: String,
    /// ML-DSA public key (FIPS 204): 1952 or 2592 bytes.
    pub ml_dsa: String,
    /// Ed25519 public key (RFC 8032): 32 bytes.
    pub ed25519: String,
}

/// The key broker whose grants this guest accepts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedKbs {
    /// Grants signed by anybody else are refused.
    pub signer: PinnedSigner,
    /// How far a grant's `kbs_time` may lie from the time its request was sent, in seconds: 1 to 300.
    pub grant_lifetime_s: u64,
}

/// The guest's store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// The store's identity: the `subject` of its grant.
    pub id: Name,
    /// Where its key is in the broker.
    pub key_id: KeyId,
    /// How many guests write under this key.
    #[serde(default, skip_serializing_if = "StoreWriters::is_one")]
    pub writers: StoreWriters,
}

/// How many guests write under one store key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreWriters {
    /// One: the key broker leases the store to it and holds the head of its log, so that no older store is put back.
    #[default]
    One,
    /// Many, each with a store of its own: nobody holds their heads, and an older store passes.
    Many,
}

impl StoreWriters {
    fn is_one(&self) -> bool {
        *self == Self::One
    }
}

/// The log of a guest's receipts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Its name: 1 to 128 characters out of `a-z 0-9 . _ - /`, no part between slashes empty. Best one that nobody else uses.
    pub origin: String,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The name clients ask for.
    pub name: Name,
    /// Root over all files of the model (`hanzo-pack`): nothing else is opened.
    pub weights_root: Digest256,
    /// Where its DEK is in the broker.
    pub key_id: KeyId,
    /// Tokens of prompt and answer together: 64 to 1,048,576.
    pub context_tokens: u32,
    /// What computes it; by the model's format if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineKind>,
    /// The server behind `engine = "upstream"`; there exactly then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamServer>,
    /// The model of this configuration that this one is an adapter of; a model of its own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Name>,
    /// The only callers who may ask it, whatever tables say; whoever the table lets if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callers: Option<Vec<Name>>,
    /// Its engine runs while somebody asks it; from boot on if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemand>,
}

/// An engine by name. An image holds one program for each that it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum EngineKind {
    /// llama.cpp: GGUF on CPU.
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// mistral.rs: safetensors, and GGUF.
    #[serde(rename = "mistral.rs")]
    MistralRs,
    /// A server of the operator's own, which the model's configuration describes.
    #[serde(rename = "upstream")]
    Upstream,
}

impl EngineKind {
    /// As a configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::MistralRs => "mistral.rs",
            Self::Upstream => "upstream",
        }
    }
}

/// Whether the guest's answers have receipts in the format of ACI gateways (`aci/1`) too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aci {
    /// Ours alone.
    #[default]
    Off,
    /// Both.
    On,
}

impl Aci {
    fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// Ways in for clients that have no post-quantum KEM. What they send is recorded today and may be opened by a quantum
/// computer later, so each is closed unless the configuration opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SealedMessages {
    /// OHTTP over X25519.
    #[serde(default)]
    pub ohttp_x25519: bool,
    /// EHBP v0.3.1, which has X25519 alone, leaves headers in clear and does not show where a body was cut.
    #[serde(default)]
    pub ehbp: bool,
}

/// Bounds on requests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Longest request body in bytes: 1,024 to 64 MiB.
    pub body_bytes_max: u64,
    /// Requests that the engine works on at a time: 1 to 1,024.
    pub concurrent_requests: u32,
    /// Longest time for one answer in seconds: 1 to 3,600.
    pub request_timeout_s: u64,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Longer than 64 KiB; nothing was parsed.
    #[error("config: {got} bytes, at most 65536 are accepted")]
    TooLarge {
        /// What came.
        got: usize,
    },
    /// Its digest is not the measured one; nothing was parsed.
    #[error(
        "config: SHA-256 is {got}, the measured command line says {expected}: the file was changed after the guest was measured"
    )]
    DigestMismatch {
        /// The measured digest.
        expected: Digest256,
        /// The digest of what came.
        got: Digest256,
    },
    /// Not UTF-8, not TOML, an unknown or missing key, or a value of the wrong type.
    #[error("config: {0}")]
    Toml(String),
    /// A value out of its range.
    #[error("config: {field}: expected {expected}, got {got}")]
    Value {
        /// The key at fault.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

impl ConfigError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "config.too_large",
            Self::DigestMismatch { .. } => "config.digest_mismatch",
            Self::Toml(_) => "config.malformed",
            Self::Value { .. } => "config.value",
        }
    }
}

impl Config {
    /// Checks `text` against the measured digest, then parses it.
    ///
    /// # Errors
    /// [`ConfigError`]; the digest is compared before a byte is parsed.
    pub fn from_measured(text: &[u8], measured: &Digest256) -> Result<Self, ConfigError> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLarge { got: text.len() });
        }
        let got = Digest256::of(text);
        if got != *measured {
            return Err(ConfigError::DigestMismatch {
                expected: *measured,
                got,
            });
        }
        Self::parse(text)
    }

    /// Parses and range-checks `text` without knowing a measured digest: for those who write configurations.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLarge { got: text.len() });
        }
        let text = std::str::from_utf8(text).map_err(|e| ConfigError::Toml(format!("not UTF-8: {e}")))?;
        let config: Self = toml::from_str(text).map_err(|e| ConfigError::Toml(e.message().to_owned()))?;
        config.check()?;
        Ok(config)
    }

    /// The name of the receipt log: the one that is written, else `<operator>/<store.id>`.
    pub fn log_origin(&self) -> String {
        match &self.log {
            Some(log) => log.origin.clone(),
            None => format!("{}/{}", self.operator, self.store.id),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let range = |ok: bool, field, expected, got: String| {
            if ok {
                Ok(())
            } else {
                Err(ConfigError::Value { field, expected, got })
            }
        };
        range(self.version == 1, "version", "1", self.version.to_string())?;
        range(
            self.required_tier <= 4,
            "required_tier",
            "0 to 4",
            self.required_tier.to_string(),
        )?;
        range(
            (60..=86_400).contains(&self.keyset_lifetime_s),
            "keyset_lifetime_s",
            "60 to 86400",
            self.keyset_lifetime_s.to_string(),
        )?;
        range(
            (1..=300).contains(&self.kbs.grant_lifetime_s),
            "kbs.grant_lifetime_s",
            "1 to 300",
            self.kbs.grant_lifetime_s.to_string(),
        )?;
        models::check(self)?;
        let l = &self.limits;
        range(
            (1024..=64 << 20).contains(&l.body_bytes_max),
            "limits.body_bytes_max",
            "1024 to 67108864",
            l.body_bytes_max.to_string(),
        )?;
        range(
            (1..=1024).contains(&l.concurrent_requests),
            "limits.concurrent_requests",
            "1 to 1024",
            l.concurrent_requests.to_string(),
        )?;
        range(
            (1..=3600).contains(&l.request_timeout_s),
            "limits.request_timeout_s",
            "1 to 3600",
            l.request_timeout_s.to_string(),
        )?;
        let origin = self.log_origin();
        let alphabet = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/');
        range(
            origin.len() <= 128 && origin.bytes().all(alphabet) && !origin.split('/').any(str::is_empty),
            "log.origin",
            "1 to 128 characters out of a-z 0-9 . _ - /, no part between slashes empty (left out: operator/store.id)",
            format!("{} characters", origin.chars().count()),
        )?;
        egress::check(&self.egress)?;
        self.model_signers.as_ref().map_or(Ok(()), signers::check)?;
        self.check_access()?;
        let table_signer = self.access.iter().map(|a| ("access.table_signer", &a.table_signer));
        for (field, signer) in std::iter::once(("kbs.signer", &self.kbs.signer))
            .chain(table_signer)
            .chain(self.admin_keys.iter().map(|k| ("admin_keys", k)))
        {
            let ml_dsa_bytes = match signer.suite.as_str() {
                "ml-dsa-65" => 1952,
                "ml-dsa-87" => 2592,
                _ => {
                    return Err(ConfigError::Value {
                        field,
                        expected: "suite ml-dsa-65 or ml-dsa-87",
                        got: "another suite".into(),
                    });
                }
            };
            let is_hex = |t: &str| t.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            range(
                signer.ml_dsa.len() == 2 * ml_dsa_bytes && is_hex(&signer.ml_dsa),
                field,
                "ml_dsa: lower-case hex of the suite's key length",
                format!("{} characters", signer.ml_dsa.len()),
            )?;
            range(
                signer.ed25519.len() == 64 && is_hex(&signer.ed25519),
                field,
                "ed25519: 64 lower-case hex digits",
                format!("{} characters", signer.ed25519.len()),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn example() -> String {
        format!(
            r#"
version = 1
operator = "example"
image = "0.1.0"
required_tier = 2
keyset_lifetime_s = 86400
auth = "none"
[kbs]
grant_lifetime_s = 60
[kbs.signer]
suite = "ml-dsa-65"
ml_dsa = "{}"
ed25519 = "{}"
[store]
id = "receipts"
key_id = "hanzo/store/receipts"
[[models]]
name = "smollm2"
weights_root = "{}"
key_id = "hanzo/dek/smollm2"
context_tokens = 2048
[limits]
body_bytes_max = 1048576
concurrent_requests = 4
request_timeout_s = 300
"#,
            "ab".repeat(1952),
            "cd".repeat(32),
            "00".repeat(32)
        )
    }

    pub(super) fn access() -> String {
        format!(
            "[access]\ntable_version_min = 1\n[access.table_signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{}\"\ned25519 = \"{}\"\n",
            "12".repeat(1952),
            "34".repeat(32)
        )
    }

    #[test]
    fn a_changed_byte_is_refused_before_parsing() {
        let text = example();
        let measured = Digest256::of(text.as_bytes());
        Config::from_measured(text.as_bytes(), &measured).unwrap();
        let changed = text.replace("required_tier = 2", "required_tier = 0");
        assert_eq!(
            Config::from_measured(changed.as_bytes(), &measured).unwrap_err().code(),
            "config.digest_mismatch"
        );
        assert_eq!(
            Config::from_measured(b"\xff not toml", &measured).unwrap_err().code(),
            "config.digest_mismatch"
        );
    }

    #[test]
    fn unknown_keys_and_values_out_of_range_are_refused_by_name() {
        let text = example();
        for (from, to, code) in [
            ("version = 1", "version = 2", "config.value"),
            ("version = 1", "version = 1\nmetadata_url = \"x\"", "config.malformed"),
            ("version = 1", "version = 1\nversion = 1", "config.malformed"),
            ("required_tier = 2", "required_tier = 5", "config.value"),
            ("required_tier = 2", "", "config.malformed"),
            ("auth = \"none\"", "", "config.malformed"),
            ("auth = \"none\"", "auth = \"None\"", "config.malformed"),
            ("auth = \"none\"", "auth = \"required\"", "config.value"),
            ("version = 1", "version = 1\npadding = \"1024\"", "config.malformed"),
            ("keyset_lifetime_s = 86400", "keyset_lifetime_s = 86401", "config.value"),
            ("suite = \"ml-dsa-65\"", "suite = \"ed25519\"", "config.value"),
            ("hanzo/dek/smollm2", "hanzo/../smollm2", "config.malformed"),
            ("2048", "2048\nengine = \"vllm\"", "config.malformed"),
            ("2048", "2048\nengine = \"upstream\"", "config.value"),
            (
                "2048",
                "2048\nupstream = { speaks = \"vllm\", command = [\"/s\"] }",
                "config.value",
            ),
            (
                "2048",
                "2048\nengine = \"upstream\"\nupstream = { speaks = \"vllm\", command = [\"s\"] }",
                "config.value",
            ),
            (
                "2048",
                "2048\nengine = \"upstream\"\nupstream = { speaks = \"vllm\", command = [\"/s\"], files = [\"lib\"] }",
                "config.value",
            ),
            (
                "2048",
                "2048\nengine = \"upstream\"\nupstream = { speaks = \"sglang\", command = [\"/s\"] }",
                "config.malformed",
            ),
            (
                "version = 1",
                "version = 1\negress = [\"kbs.example.org\"]",
                "config.malformed",
            ),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            assert_eq!(Config::parse(changed.as_bytes()).unwrap_err().code(), code, "{to}");
        }
        let named = text.replace("2048", "2048\nengine = \"llama.cpp\"");
        let model = Config::parse(named.as_bytes()).unwrap().models.remove(0);
        assert_eq!(model.engine, Some(EngineKind::LlamaCpp));
        let served = "2048\nengine = \"upstream\"\nupstream = { speaks = \"vllm\", command = [\"/s\", \"{socket}\"], files = [\"/opt/s\"] }";
        let served = Config::parse(text.replace("2048", served).as_bytes())
            .unwrap()
            .models
            .remove(0);
        assert_eq!(served.upstream.map(|server| server.speaks), Some(UpstreamApi::Vllm));
        let padded = text.replace("version = 1", "version = 1\npadding = \"512\"");
        assert_eq!(Config::parse(padded.as_bytes()).unwrap().padding, Padding::Blocks);
        assert_eq!(Config::parse(text.as_bytes()).unwrap().padding, Padding::Off);
        let entry = "[[egress]]\nname = \"kbs.example.org\"\nport = 443\nuse = \"kbs\"\nroots = [\"MAA=\"]\n";
        let reaching = Config::parse(format!("{text}{entry}").as_bytes()).unwrap();
        assert_eq!(reaching.egress[0].name.as_str(), "kbs.example.org");
        for (from, to, code) in [
            ("kbs.example.org", "*.example.org", "config.malformed"),
            ("kbs.example.org", "10.0.0.1", "config.malformed"),
            ("port = 443", "port = 0", "config.value"),
            ("port = 443", "port = 65536", "config.malformed"),
            ("\"kbs\"", "\"anything\"", "config.malformed"),
            ("[\"MAA=\"]", "[]", "config.value"),
            ("use =", "via = 1\nuse =", "config.malformed"),
        ] {
            let changed = format!("{text}{}", entry.replace(from, to));
            assert_eq!(Config::parse(changed.as_bytes()).unwrap_err().code(), code, "{to}");
        }
        let large = vec![b'#'; CONFIG_BYTES_MAX + 1];
        assert_eq!(
            Config::parse(&large),
            Err(ConfigError::TooLarge {
                got: CONFIG_BYTES_MAX + 1
            })
        );
    }

    #[test]
    fn who_may_ask_is_written_down_and_so_is_who_says_so() {
        let text = example();
        assert_eq!(Config::parse(text.as_bytes()).unwrap().auth, Auth::None);
        let access = access();
        let required = text.replace("auth = \"none\"", "auth = \"required\"");
        let parsed = Config::parse(format!("{required}{access}").as_bytes()).unwrap();
        assert_eq!(parsed.access.map(|a| a.table_version_min), Some(1));
        let ehbp = "[sealed]\nehbp = true\n";
        let queue = |tokens: u64| format!("{text}[queue]\nrequests = 64\nwait_s = 30\ntokens = {tokens}\n");
        assert_eq!(
            Config::parse(queue(2048).as_bytes()).unwrap().queue.unwrap().requests,
            64
        );
        for (wrong, field) in [
            (format!("{text}{access}"), "access"),
            (required.clone(), "access"),
            (
                format!("{required}{}", access.replace("min = 1", "min = 0")),
                "access.table_version_min",
            ),
            (
                format!("{required}{}", access.replace("ml-dsa-65", "ml-dsa-87")),
                "access.table_signer",
            ),
            (format!("{required}{access}{ehbp}"), "sealed.ehbp"),
            (queue(2047), "queue.tokens"),
            (queue(2048).replace("wait_s = 30", "wait_s = 0"), "queue.wait_s"),
            (
                queue(2048).replace("requests = 64", "requests = 4097"),
                "queue.requests",
            ),
        ] {
            match Config::parse(wrong.as_bytes()) {
                Err(ConfigError::Value { field: got, .. }) => assert_eq!(got, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
