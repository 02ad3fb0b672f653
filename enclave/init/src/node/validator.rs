//! What a validator's configuration has beside every node's. No member is a secret: its account's key comes from a key broker.

use std::net::SocketAddr;

use hanzo_attestation::Digest256;
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::name::{KeyId, Name};
use serde::Deserialize;

use super::{NodeConfigError, Table, VALIDATOR, each_once, is_host, range};

/// Bytes of the key from which a validator derives its account: what its broker keeps for it.
pub const ACCOUNT_KEY_BYTES: usize = 32;
/// Most peers: one more than the largest committee has others.
const PEERS_MAX: usize = 64;
/// Most certificates and most keys of TPMs that are pinned.
const TPMS_MAX: usize = 64;
/// Longest certificate in bytes.
const CERTIFICATE_BYTES_MAX: usize = 4096;
/// An hour of the main network's blocks.
const SNAPSHOT_BEHIND: u64 = 7_200;

/// A validator that votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validating {
    /// Where links are taken.
    pub listen: SocketAddr,
    /// Where others reach its link, `host:port`.
    pub address: String,
    /// The tier that this machine must have for its broker, 1 to 4; a genesis that asks validators for more is refused.
    pub required_tier: u8,
    /// Text of the appraisal policy that peers' evidence is held against.
    pub policy: String,
    /// Roots (DER) to which peers' TPM attestation keys may chain.
    pub tpm_roots: Vec<Vec<u8>>,
    /// Peers' TPM attestation keys themselves: SHA-256 of the SubjectPublicKeyInfo.
    pub tpm_keys: Vec<Digest256>,
    /// Root (DER) of a simulator: refused unless the genesis says that simulated evidence votes.
    pub simulator_root: Option<Vec<u8>>,
    /// More blocks behind than this, it takes a final state in place of the blocks before it; 0: never.
    pub snapshot_behind: u64,
    /// Base units that it puts at stake where its account is no validator yet; none: the genesis' least.
    pub bond: Option<u128>,
    /// Which key of the broker is its account's.
    pub account: AccountKey,
    /// The broker.
    pub kbs: NodeKbs,
    /// With whom it has links.
    pub peers: Vec<NodePeer>,
}

/// The key of [`ACCOUNT_KEY_BYTES`] from which the account is derived.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountKey {
    /// Its name at the broker.
    pub key_id: KeyId,
    /// Whom the broker's grant must name.
    pub subject: Name,
}

/// The key broker: where it is, and whose grants count.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeKbs {
    /// Where. Numeric: a guest asks no name server.
    pub address: SocketAddr,
    /// Grants signed by anybody else are refused.
    pub signer: PinnedSigner,
    /// How far a grant's `kbs_time` may lie from the time its request was sent, in seconds: 1 to 300.
    pub grant_lifetime_s: u64,
}

/// A validator that this one has links with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePeer {
    /// `0x` and 64 lower-case hex digits.
    pub account: String,
    /// Where its link is. Numeric: a guest asks no name server.
    pub address: SocketAddr,
}

impl Table {
    /// A member that only a validator has.
    pub(super) fn of_a_validator(&self) -> Option<&'static str> {
        [
            (self.listen.is_some(), "listen"),
            (self.address.is_some(), "address"),
            (self.required_tier.is_some(), "required_tier"),
            (self.policy.is_some(), "policy"),
            (self.tpm_roots.is_some(), "tpm_roots"),
            (self.tpm_keys.is_some(), "tpm_keys"),
            (self.simulator_root.is_some(), "simulator_root"),
            (self.snapshot_behind.is_some(), "snapshot_behind"),
            (self.bond.is_some(), "bond"),
            (self.account.is_some(), "account"),
            (self.kbs.is_some(), "kbs"),
            (self.peer.is_some(), "peer"),
        ]
        .into_iter()
        .find_map(|(there, field)| there.then_some(field))
    }

    pub(super) fn validator(&mut self) -> Result<Validating, NodeConfigError> {
        if self.follow.is_some() {
            return Err(NodeConfigError::Member {
                role: VALIDATOR,
                field: "follow",
                missing: false,
            });
        }
        let it = Validating {
            listen: needed("listen", self.listen.take())?,
            address: needed("address", self.address.take())?,
            required_tier: needed("required_tier", self.required_tier.take())?,
            policy: needed("policy", self.policy.take())?,
            tpm_roots: certificates("tpm_roots", self.tpm_roots.take().unwrap_or_default())?,
            tpm_keys: self.tpm_keys.take().unwrap_or_default(),
            simulator_root: certificates("simulator_root", self.simulator_root.take().into_iter().collect())?.pop(),
            snapshot_behind: self.snapshot_behind.unwrap_or(SNAPSHOT_BEHIND),
            bond: self.bond.take().map(|text| amount(&text)).transpose()?,
            account: needed("account", self.account.take())?,
            kbs: needed("kbs", self.kbs.take())?,
            peers: needed("peer", self.peer.take())?,
        };
        it.check()?;
        Ok(it)
    }
}

fn needed<T>(field: &'static str, value: Option<T>) -> Result<T, NodeConfigError> {
    let (role, missing) = (VALIDATOR, true);
    value.ok_or(NodeConfigError::Member { role, field, missing })
}

fn digits(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn amount(text: &str) -> Result<u128, NodeConfigError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    let amount = text.parse().ok().filter(|amount| plain && *amount > 0);
    amount.ok_or_else(|| NodeConfigError::Value {
        field: "bond",
        expected: "base units as a decimal string, more than 0",
        got: text.chars().take(60).collect(),
    })
}

fn certificates(field: &'static str, list: Vec<String>) -> Result<Vec<Vec<u8>>, NodeConfigError> {
    range(
        list.len() <= TPMS_MAX,
        field,
        "at most 64 certificates",
        list.len().to_string(),
    )?;
    let read = |text: String| {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let good = rest.is_empty() && (1..=CERTIFICATE_BYTES_MAX).contains(&pairs.len()) && digits(&text);
        let got = format!("{} characters", text.len());
        range(
            good,
            field,
            "a certificate (DER) of at most 4096 bytes in lower-case hex",
            got,
        )?;
        let digit = |c: &u8| {
            char::from(*c)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
                .unwrap_or(0)
        };
        Ok(pairs.iter().map(|[high, low]| digit(high) << 4 | digit(low)).collect())
    };
    list.into_iter().map(read).collect()
}

impl Validating {
    fn check(&self) -> Result<(), NodeConfigError> {
        let reached = is_host(&self.address)
            && self.address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && port.bytes().all(|b| b.is_ascii_digit())
                    && port.parse().is_ok_and(|port: u16| port != 0)
            });
        range(
            reached,
            "address",
            "host:port, where others reach its link",
            format!("{:?}", self.address),
        )?;
        let tier = self.required_tier;
        range((1..=4).contains(&tier), "required_tier", "1 to 4", tier.to_string())?;
        let blank = self.policy.trim().is_empty();
        range(!blank, "policy", "the text of an appraisal policy", "none".into())?;
        let keys = self.tpm_keys.len();
        range(keys <= TPMS_MAX, "tpm_keys", "at most 64", keys.to_string())?;
        self.kbs.check()?;
        let count = self.peers.len();
        range(
            (1..=PEERS_MAX).contains(&count),
            "peer",
            "1 to 64 peers",
            count.to_string(),
        )?;
        each_once("peer.address", self.peers.iter().map(|peer| peer.address))?;
        for (at, peer) in self.peers.iter().enumerate() {
            let account = &peer.account;
            let good = account
                .strip_prefix("0x")
                .is_some_and(|hex| hex.len() == 64 && digits(hex));
            let got: String = account.chars().take(80).collect();
            range(
                good,
                "peer.account",
                "0x and 64 lower-case hex digits",
                format!("{got:?}"),
            )?;
            let twice = self.peers.iter().take(at).any(|other| other.account == *account);
            range(!twice, "peer.account", "each account once", format!("{got} twice"))?;
        }
        Ok(())
    }
}

impl NodeKbs {
    fn check(&self) -> Result<(), NodeConfigError> {
        each_once("kbs.address", std::iter::once(self.address))?;
        let lifetime = self.grant_lifetime_s;
        range(
            (1..=300).contains(&lifetime),
            "kbs.grant_lifetime_s",
            "1 to 300",
            lifetime.to_string(),
        )?;
        let signer = &self.signer;
        let length = match signer.suite.as_str() {
            "ml-dsa-65" => 2 * 1952,
            "ml-dsa-87" => 2 * 2592,
            _ => 0,
        };
        range(
            length > 0,
            "kbs.signer",
            "suite ml-dsa-65 or ml-dsa-87",
            "another suite".into(),
        )?;
        let good = signer.ml_dsa.len() == length && digits(&signer.ml_dsa);
        let got = format!("{} characters", signer.ml_dsa.len());
        range(
            good,
            "kbs.signer",
            "ml_dsa: lower-case hex of the suite's key length",
            got,
        )?;
        let good = signer.ed25519.len() == 64 && digits(&signer.ed25519);
        let got = format!("{} characters", signer.ed25519.len());
        range(good, "kbs.signer", "ed25519: 64 lower-case hex digits", got)
    }
}
