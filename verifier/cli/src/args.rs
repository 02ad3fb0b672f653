//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use hanzo_client::Padding;

use crate::chain::{AccountArgs, FinalityArgs, ReceiptRewardArgs};
use crate::keys::KeysArgs;
use crate::order::OrderArgs;

/// Verify an enclave before trusting it, and its answers after.
#[derive(Debug, Parser)]
#[command(
    name = "hanzo-verify",
    version,
    about = "Verify an enclave before trusting it, and its answers after",
    after_help = "Exit codes: 0 accepted; 1 usage or I/O; 10 malformed; 20 not authentic; 30 stale or unbound; 40 refused by policy.\n\n\
Examples:\n  \
hanzo-verify connect --to guest.example:8443 --policy policy.toml\n  \
hanzo-verify verify https://guest.example:8443 --policy policy.toml --save bundle.json\n  \
hanzo-verify receipt 00112233445566778899aabbccddeeff --response answer.json"
)]
pub struct Cli {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verify a running guest, a bundle, or evidence in any other format that is known.
    Verify(VerifyArgs),
    /// Show everything that a verification looks at: as a tree, or as a page for people who file it.
    Explain(ExplainArgs),
    /// Print every field of any evidence, trusting none of it.
    Inspect(InspectArgs),
    /// Judge the evidence inside a guest's TLS certificate (RA-TLS): apart from freshness, and bound to its key.
    Ratls(RatlsArgs),
    /// Write, check and compare appraisal policies.
    Policy(PolicyArgs),
    /// Serve a local OpenAI endpoint whose prompts go to an attested guest only.
    Connect(ConnectArgs),
    /// Show what a running `connect` knows of its guest: verdict, age of the evidence, receipts so far.
    Status(StatusArgs),
    /// Check a receipt offline.
    Receipt(ReceiptArgs),
    /// Check a key broker's audit log, or a guest's log of receipts: which entry was removed, altered or reordered, if one was.
    Log(LogArgs),
    /// Draw and revoke API keys of a guest's callers: the signed table that says who may ask, and how much.
    Keys(KeysArgs),
    /// Narrow what a running guest does: revoke or lower a caller, unload a model. Nothing here widens.
    Order(OrderArgs),
    /// Add up the signed token counts of your own receipts.
    Usage(UsageArgs),
    /// Add to evidence what verifying it would otherwise fetch.
    Staple(StapleArgs),
    /// Check offline that a block of the AI chain is final.
    Finality(FinalityArgs),
    /// Check offline what an account of the AI chain has in a final state.
    Account(AccountArgs),
    /// Check offline what a receipt earned on the AI chain.
    ReceiptReward(ReceiptRewardArgs),
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: Shell,
    },
    /// Print the manual, or write one page a command into a folder.
    Man {
        /// Folder to write `hanzo-verify.1`, `hanzo-verify-verify.1` and so on into.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Roots, lists and policy.
#[derive(Debug, Clone, Args)]
pub struct TrustArgs {
    /// Appraisal policy (TOML): minimum tier, floors, reference values. `hanzo-verify policy init` writes one.
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// Release bundle (release.json), for a policy with a table [release]: its reference values come from there.
    #[arg(long, value_name = "FILE")]
    pub release: Option<PathBuf>,
    #[command(flatten)]
    /// Roots besides the vendors'.
    pub roots: RootArgs,
    #[command(flatten)]
    /// What did not travel with the evidence.
    pub collateral: CollateralArgs,
}

/// Roots besides the vendors', which are compiled in.
#[derive(Debug, Clone, Default, Args)]
pub struct RootArgs {
    /// ARK certificate (DER) of a simulator; whatever chains to it is marked SIMULATED. May be repeated.
    #[arg(long = "simulator-root", value_name = "DER", help_heading = "Roots")]
    pub simulator_roots: Vec<PathBuf>,
    /// A simulator's counterpart (DER) of Intel's root. May be repeated.
    #[arg(long = "simulator-tdx-root", value_name = "DER", help_heading = "Roots")]
    pub simulator_tdx_roots: Vec<PathBuf>,
    /// A simulator's counterpart (DER) of NVIDIA's device root. May be repeated.
    #[arg(long = "simulator-gpu-root", value_name = "DER", help_heading = "Roots")]
    pub simulator_gpu_roots: Vec<PathBuf>,
    /// A simulator's counterpart (DER) of NVIDIA's RIM root. May be repeated.
    #[arg(long = "simulator-rim-root", value_name = "DER", help_heading = "Roots")]
    pub simulator_rim_roots: Vec<PathBuf>,
    /// Root certificate (DER or PEM) for attestation keys of TPMs: tier 1 rests on it. May be repeated.
    #[arg(long = "tpm-root", value_name = "FILE", help_heading = "Roots")]
    pub tpm_roots: Vec<PathBuf>,
    /// A TPM's attestation key itself: SHA-256 of its SubjectPublicKeyInfo, 64 hex digits. May be repeated.
    #[arg(long = "tpm-ak", value_name = "HEX", help_heading = "Roots")]
    pub tpm_aks: Vec<String>,
}

/// Collateral that did not travel with the evidence. It is verified like what did.
#[derive(Debug, Clone, Default, Args)]
pub struct CollateralArgs {
    /// AMD revocation list (DER), for evidence that staples none. May be repeated.
    #[arg(long = "crl", value_name = "DER", help_heading = "Collateral")]
    pub crls: Vec<PathBuf>,
    /// Intel's collateral for TDX: JSON as this project's bundles or as `dcap-qvl` write it. May be repeated.
    #[arg(long = "tdx-collateral", value_name = "JSON", help_heading = "Collateral")]
    pub tdx_collateral: Vec<PathBuf>,
    /// NVIDIA reference measurements (RIM, XML). May be repeated.
    #[arg(long = "rim", value_name = "XML", help_heading = "Collateral")]
    pub rims: Vec<PathBuf>,
    /// OCSP answer (DER) for a device's certificates. May be repeated.
    #[arg(long = "ocsp", value_name = "DER", help_heading = "Collateral")]
    pub ocsp: Vec<PathBuf>,
}

/// What bare evidence does not carry itself, and what the caller drew.
#[derive(Debug, Clone, Default, Args)]
pub struct EvidenceArgs {
    /// The format of FILE. Default: told from the file; see `hanzo-verify verify --help`.
    #[arg(long, value_name = "FORMAT", help_heading = "Evidence")]
    pub format: Option<String>,
    /// VCEK or VLEK certificate (DER or PEM) of a bare SNP report.
    #[arg(long, value_name = "FILE", help_heading = "Evidence")]
    pub vek: Option<PathBuf>,
    /// ASK or ASVK certificate (DER or PEM). Default: AMD's for the product.
    #[arg(long, value_name = "FILE", help_heading = "Evidence")]
    pub ask: Option<PathBuf>,
    /// Certificate chain (PEM, leaf first) of a bare NVIDIA report.
    #[arg(long, value_name = "PEM", help_heading = "Evidence")]
    pub chain: Option<PathBuf>,
    /// CCEL or TCG event log of bare evidence.
    #[arg(long, value_name = "FILE", help_heading = "Evidence")]
    pub event_log: Option<PathBuf>,
    /// Certificates (PEM, leaf first) of a TPM's attestation key.
    #[arg(long, value_name = "PEM", help_heading = "Evidence")]
    pub ak_chain: Option<PathBuf>,
    /// What the evidence must have signed, whole: 128 hex digits of REPORT_DATA, or a TPM quote's qualifying data.
    #[arg(long, value_name = "HEX", help_heading = "Evidence")]
    pub report_data: Option<String>,
    /// The nonce that was drawn, in hex, for formats that state where it stands.
    #[arg(long, value_name = "HEX", help_heading = "Evidence")]
    pub nonce: Option<String>,
}

/// `verify`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
hanzo-verify verify https://guest.example:8443 --policy policy.toml\n  \
hanzo-verify verify bundle.json --policy policy.toml --challenge $CHALLENGE --at 2026-11-22T10:00:00Z\n  \
hanzo-verify verify report.bin --vek vcek.der --policy policy.toml --report-data $HEX\n  \
hanzo-verify verify quote.dat --tdx-collateral collateral.json --policy policy.toml\n  \
hanzo-verify verify gpu.bin --chain gpu.pem --policy policy.toml --nonce $HEX\n  \
hanzo-verify verify aci-report.json --policy policy.toml --nonce $HEX --aci-receipt receipt.json --response answer.json\n\n\
A guest is sent a fresh challenge over a connection that must prove itself. A bundle counts only with the challenge that \
it answers; without one, use `explain`. Other formats are read as their own rules say; without --report-data or --nonce \
the verdict says that nothing dates the evidence.\n\n\
Formats: bundle, evidence, snp-report, snp-extended-report, tdx-quote, nvidia-report, nvidia-sdk, coco-snp, coco-tdx, coco-az-snp-vtpm, \
coco-az-tdx-vtpm, coco-tpm, coco-nvidia, rcar, tinfoil-v3, aci, dstack-quote, dstack-attestation, dstack-ra-tls.")]
pub struct VerifyArgs {
    /// https://host:port of a guest, or a file: a bundle, a report, a quote or another project's evidence.
    #[arg(value_name = "FILE|URL")]
    pub source: String,
    #[command(flatten)]
    /// Roots, lists and policy.
    pub trust: TrustArgs,
    #[command(flatten)]
    /// Of evidence that is not a bundle.
    pub evidence: EvidenceArgs,
    /// The challenge that a bundle file answers: 64 lower-case hex digits.
    #[arg(long, value_name = "HEX")]
    pub challenge: Option<String>,
    /// Verify a file as of this time: RFC 3339 (2026-11-22T10:00:00Z) or Unix seconds. Default: now.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Where to keep a guest's bundle, for later.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    /// With an ACI report.
    pub aci: AciArgs,
}

/// An exchange with a gateway that speaks ACI.
#[derive(Debug, Clone, Args)]
pub struct AciArgs {
    /// A receipt of the gateway whose ACI report this is: checked against the keyset that the evidence is over.
    #[arg(long = "aci-receipt", value_name = "FILE", help_heading = "ACI")]
    pub receipt: Option<PathBuf>,
    /// The exact bytes of the request that it is to be about.
    #[arg(long, value_name = "FILE", requires = "receipt", help_heading = "ACI")]
    pub request: Option<PathBuf>,
    /// The exact bytes of the answer, of a stream with its framing.
    #[arg(long, value_name = "FILE", requires = "receipt", help_heading = "ACI")]
    pub response: Option<PathBuf>,
}

/// `explain`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
hanzo-verify explain bundle.json --policy policy.toml\n  \
hanzo-verify explain bundle.json --policy policy.toml --challenge $CHALLENGE --html verdict.html\n  \
hanzo-verify explain quote.dat --tdx-collateral collateral.json --policy policy.toml --at 2025-07-01T00:00:00Z\n\n\
Everything that a verification looks at, with values: chains of trust, every rule of the policy, passed or failed. The exit \
code is the verdict's. Without --challenge a bundle is read as somebody else's: apart from freshness. To see fields without \
judging them: `inspect`.")]
pub struct ExplainArgs {
    /// A bundle, a report, a quote or another project's evidence.
    pub file: PathBuf,
    #[command(flatten)]
    /// Roots, lists and policy.
    pub trust: TrustArgs,
    #[command(flatten)]
    /// Of evidence that is not a bundle.
    pub evidence: EvidenceArgs,
    /// The challenge that a bundle answers: 64 lower-case hex digits.
    #[arg(long, value_name = "HEX")]
    pub challenge: Option<String>,
    /// Judge as of this time: RFC 3339 (2026-11-22T10:00:00Z) or Unix seconds. Default: now.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Write one self-contained page into this file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `inspect`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  hanzo-verify inspect bundle.json\n  hanzo-verify inspect quote.dat --json\n\nNothing is verified: forged evidence is shown as readily as real one."
)]
pub struct InspectArgs {
    /// A bundle, a report, a quote or another project's evidence.
    pub file: PathBuf,
    #[command(flatten)]
    /// Of evidence that is not a bundle.
    pub evidence: EvidenceArgs,
}

/// `ratls`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  \
openssl s_client -connect guest.example:8443 -servername guest.example </dev/null | openssl x509 > leaf.pem\n  \
hanzo-verify ratls leaf.pem --policy policy.toml\n\n\
OpenSSL 3.5 or newer speaks the guest's key exchange. A certificate is made before anybody asks: it answers no challenge and proves no connection, so nothing is sent on the \
strength of it. To use a guest: `connect`. To verify it: `verify https://...`.")]
pub struct RatlsArgs {
    /// The leaf certificate, DER or PEM.
    pub file: PathBuf,
    #[command(flatten)]
    /// Roots, lists and policy.
    pub trust: TrustArgs,
    /// Judge as of this time: RFC 3339 (2026-11-22T10:00:00Z) or Unix seconds. Default: now.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
}

/// `policy`.
#[derive(Debug, Clone, Args)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// `policy …`.
#[derive(Debug, Clone, Subcommand)]
pub enum PolicyCommand {
    /// Write a policy to start from: everything closed, every key explained.
    #[command(after_help = "Example:\n  hanzo-verify policy init --for snp --out policy.toml")]
    Init {
        /// Which evidence it is for: snp, tdx, tpm, az-snp-vtpm, az-tdx-vtpm, snp-gpu, tdx-gpu, all, or open (tier 0:
        /// authentic, nothing more).
        #[arg(long = "for", value_name = "KIND", default_value = "snp")]
        kind: String,
        /// Where to write it; an existing file is never overwritten. Default: standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check a policy: exit 0 if it is well-formed, and say what it grants.
    #[command(after_help = "Example:\n  hanzo-verify policy check policy.toml")]
    Check {
        /// The policy (TOML).
        file: PathBuf,
    },
    /// Compare two policies: exit 0 if the second grants nothing that the first does not, else 40.
    #[command(after_help = "Example:\n  hanzo-verify policy diff old.toml new.toml")]
    Diff {
        /// The policy before.
        old: PathBuf,
        /// The policy after.
        new: PathBuf,
    },
}

/// `connect`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  \
hanzo-verify connect --to guest.example:8443 --policy policy.toml &\n  \
curl http://127.0.0.1:8080/v1/models\n  \
hanzo-verify connect --to guest.example:8480 --policy policy.toml --sealed --relay https://relay.example/ohttp --padding 512\n  \
hanzo-verify connect --to guest.example:8443 --policy policy.toml --access-token-file /run/me/token.jwt\n\n\
http://127.0.0.1:8080/ shows the verdict, `hanzo-verify status` too. A program may send `hanzo-min-tier: 3` with a request: it \
then goes to no guest of a lower tier.\n\n\
Python: OpenAI(base_url=\"http://127.0.0.1:8080/v1\", api_key=\"unused\")\n\nHTTPS_PROXY and NO_PROXY are respected.")]
pub struct ConnectArgs {
    /// host:port of the guest or of a proxy before it.
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,
    /// Seal each request to a key of the attested keyset (OHTTP) instead of opening a channel. --to is then where the guest takes
    /// sealed messages, or somebody before it.
    #[arg(long)]
    pub sealed: bool,
    /// Hand sealed messages to this relay, so that who receives them does not see who sends them; --to is asked for evidence
    /// alone, and may be the relay itself if that carries evidence too. http://host:port/path or https://host/path.
    #[arg(long, value_name = "URL", requires = "sealed")]
    pub relay: Option<String>,
    /// Lengths of requests and answers: off, 512 (multiples of it) or power-of-two.
    #[arg(long, value_name = "MODE", default_value = "off")]
    pub padding: Padding,
    #[command(flatten)]
    /// Roots, lists and policy.
    pub trust: TrustArgs,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Further Host value to answer to, as name:port. May be repeated.
    #[arg(long = "host", value_name = "NAME:PORT")]
    pub hosts: Vec<String>,
    /// Require `Authorization: Bearer` with the one line of this file (mode 0600).
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Show the guest the API key of this file (one line, mode 0600) with every request. Without it, a key of this kind or a token of
    /// an identity provider (a JWT) that a program sends goes on; nothing else of its headers does.
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Show the guest the token (JWT) of an identity provider in this file (one line, mode 0600) with every request. It is read for each
    /// of them: replace the file before the token ends.
    #[arg(long, value_name = "FILE", conflicts_with = "api_key_file")]
    pub access_token_file: Option<PathBuf>,
    /// Sign every request with the keys of this file (`keys request-key`, mode 0600) instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["api_key_file", "access_token_file"])]
    pub request_key_file: Option<PathBuf>,
    /// Where bundles and receipts are kept. Default: $XDG_STATE_HOME/hanzo or ~/.local/state/hanzo.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// `status`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  hanzo-verify status\n  hanzo-verify status --json | jq .verdict.tier\n\n\
Exit codes: 0 a guest is verified and no receipt was wrong; 30 a receipt was wrong; otherwise the code of what failed (1 if nothing \
answers)."
)]
pub struct StatusArgs {
    /// Where `connect` listens.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub at: SocketAddr,
    /// The token that it requires, in a file of mode 0600.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// `receipt`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
hanzo-verify receipt 00112233445566778899aabbccddeeff\n  \
hanzo-verify receipt receipt.json --bundle bundle.json --policy policy.toml --request request.json --response answer.txt\n\n\
hanzo-verify receipt 00112233445566778899aabbccddeeff --log http://127.0.0.1:8080 --witness $WITNESS\n\n\
Nothing is contacted but what --log names. By id, the bundle, challenge and policy that `connect` kept are verified again as of \
that day. A proof that came with the receipt is checked in any case.")]
pub struct ReceiptArgs {
    /// A receipt id (32 hex digits) out of the state directory, or a receipt file.
    #[arg(value_name = "ID|FILE")]
    pub receipt: String,
    /// The bundle of the guest that signed it. Default: the one that was kept.
    #[arg(long, value_name = "FILE", requires = "policy")]
    pub bundle: Option<PathBuf>,
    /// Judge the bundle by this policy instead of the one that was kept with it.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Root certificate (DER) of a simulator, with --bundle. May be repeated.
    #[arg(long = "simulator-root", value_name = "DER", requires = "bundle")]
    pub simulator_roots: Vec<PathBuf>,
    /// AMD revocation list (DER), with --bundle. May be repeated.
    #[arg(long = "crl", value_name = "DER", requires = "bundle")]
    pub crls: Vec<PathBuf>,
    /// The exact request body: check that the receipt commits to it.
    #[arg(long, value_name = "FILE")]
    pub request: Option<PathBuf>,
    /// The exact response body (of a stream: all before the receipt frame): check that the receipt commits to it.
    #[arg(long, value_name = "FILE")]
    pub response: Option<PathBuf>,
    /// Prove that the receipt is in this log: a folder that mirrors a guest's /log, or http://ADDRESS:PORT of a running `connect`.
    #[arg(long, value_name = "DIR|URL")]
    pub log: Option<String>,
    #[command(flatten)]
    /// Heads and witnesses.
    pub heads: HeadArgs,
    /// Where bundles and receipts are kept. Default: $XDG_STATE_HOME/hanzo or ~/.local/state/hanzo.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// Heads of logs and who cosigned them.
#[derive(Debug, Clone, Default, Args)]
pub struct HeadArgs {
    /// A signed head of the log, in place of the one that it shows: one that witnesses cosigned, for example.
    #[arg(long, value_name = "FILE", help_heading = "Heads")]
    pub checkpoint: Option<PathBuf>,
    /// Public key of a witness, NAME+ID+KEY as it publishes it: the head must have its cosignature. May be repeated.
    #[arg(long = "witness", value_name = "KEY", help_heading = "Heads")]
    pub witnesses: Vec<String>,
    /// How many of the witnesses must have cosigned the head. Default: all that are named.
    #[arg(long, value_name = "N", requires = "witnesses", help_heading = "Heads")]
    pub quorum: Option<usize>,
    /// The token that `connect` requires, in a file of mode 0600.
    #[arg(long, value_name = "FILE", help_heading = "Heads")]
    pub token_file: Option<PathBuf>,
}

/// `usage`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
hanzo-verify usage\n  \
hanzo-verify usage --by day --json\n\n\
Counts are those that guests signed; each receipt is verified first, as `receipt` does, and what does not verify is named and not \
counted. Days and months are UTC, by the guest's clock.\n\n\
Exit codes: 0 all receipts verified; 30 some did not.")]
pub struct UsageArgs {
    /// One line for each day or month.
    #[arg(long, value_name = "PERIOD", value_enum, default_value_t = Period::Month)]
    pub by: Period,
    /// Where bundles and receipts are kept. Default: $XDG_STATE_HOME/hanzo or ~/.local/state/hanzo.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// What usage is summed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Period {
    /// A day, UTC.
    Day,
    /// A month, UTC.
    Month,
}

/// `log`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
hanzo-verify log export/ --key identity.json\n  \
hanzo-verify log --receipts http://127.0.0.1:8080 --key bundle.json --since checkpoint.old\n  \
hanzo-verify log --receipts http://127.0.0.1:8080 --key bundle.json --witness $KEY --cosign https://witness.example --save checkpoint\n  \
hanzo-verify log export/log.jsonl --key identity.json --json\n  \
hanzo-verify log november/ --key identity.json --since october/\n\n\
Nothing is contacted but what is named. Every line's form, number and link is checked, the tree over all lines, and both signatures of every \
head. With --since, the log must contain all that an earlier head counted: keep heads where the broker's operator cannot \
change them.\n\n\
With --receipts, the log of a guest's receipts: both signatures of each, numbers without gaps for each keyset, each naming the one \
before, keysets announced where they begin, and the tree. Without --witness nothing is said about what others are shown.\n\n\
Exit codes: 0 whole; 1 usage or I/O; 10 unreadable; 20 removed, altered, reordered or not signed; 30 not what an earlier \
head counted (rolled back, rewritten, forked).")]
pub struct LogArgs {
    /// What `hanzo-kbs audit export` wrote: its folder, or the log.jsonl in it. A folder of a checkpoint and tiles, as a broker
    /// serves them, is read too.
    #[arg(value_name = "DIR|FILE|URL")]
    pub log: PathBuf,
    /// It is the log of a guest's receipts: a folder that mirrors the guest's /log, or http://ADDRESS:PORT of a running `connect`.
    #[arg(long, conflicts_with = "hashes")]
    pub receipts: bool,
    #[command(flatten)]
    /// Heads and witnesses, with --receipts.
    pub heads: HeadArgs,
    /// Once the log was gone through, bring its head to this witness (C2SP tlog-witness) and take its cosignature; its key is to be
    /// among those of --witness. May be repeated.
    #[arg(long, value_name = "URL", requires_all = ["receipts", "witnesses", "save"], help_heading = "Heads")]
    pub cosign: Vec<String>,
    /// Write the head with its cosignatures here: what --checkpoint reads.
    #[arg(long, value_name = "FILE", requires = "cosign", help_heading = "Heads")]
    pub save: Option<PathBuf>,
    /// The log's public key: the broker's identity.json, or a bundle of the guest that was verified; from whoever vouches for it,
    /// not from the export.
    #[arg(long, value_name = "JSON")]
    pub key: PathBuf,
    /// An earlier head of the same log: a checkpoint, or an earlier export. Entries are then compared with that export's.
    #[arg(long, value_name = "CHECKPOINT|DIR|FILE")]
    pub since: Option<PathBuf>,
    /// Check the tree of hashes alone: that the newer head extends the earlier one. For folders of a checkpoint and hash tiles,
    /// whoever may not read entries, and release logs, whose heads say when they were signed.
    #[arg(long, requires = "since")]
    pub hashes: bool,
}

/// `staple`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
hanzo-verify staple bundle.json --out stapled.json\n  \
hanzo-verify staple report.bin --out evidence.json --kds https://kds-cache.lan\n  \
hanzo-verify staple quote.bin --pccs https://pccs.lan:8081 --ca pccs-ca.pem\n  \
hanzo-verify staple bundle.json --offline --cache /mnt/usb/collateral\n\n\
Reports, quotes, devices, keyset and nonce pass through unchanged; certificates, revocation lists, Intel's collateral, \
NVIDIA's RIMs and OCSP answers are added. Each item is verified before it is kept, and again when it is used. \
HTTPS_PROXY and NO_PROXY are respected.\n\n\
Of a bare report or quote the output is the `cpu` member of a bundle; `hanzo-verify verify` reads it.\n\n\
Exit codes: 0 complete (or --partial); 1 usage, network or nothing at the vendor; 10 malformed; 20 not authentic.")]
pub struct StapleArgs {
    /// A bundle, the cpu member of one, an SNP report (1184 bytes) or a TDX quote.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to write. Default: FILE with `.stapled.json` in place of its extension.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where fetched items are kept. Default: $XDG_CACHE_HOME/hanzo/collateral or ~/.cache/hanzo/collateral.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Use the cache alone.
    #[arg(long)]
    pub offline: bool,
    /// Write what could be had although something is missing.
    #[arg(long)]
    pub partial: bool,
    /// As of this time: RFC 3339 (2026-11-22T10:00:00Z) or Unix seconds. Default: now.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// AMD's key distribution service, or a cache of it.
    #[arg(long, value_name = "URL")]
    pub kds: Option<String>,
    /// A PCCS in place of Intel's own service.
    #[arg(long, value_name = "URL")]
    pub pccs: Option<String>,
    /// NVIDIA's RIM service, or a cache of it.
    #[arg(long, value_name = "URL")]
    pub rim: Option<String>,
    /// NVIDIA's OCSP responder, or a cache of it.
    #[arg(long, value_name = "URL")]
    pub ocsp: Option<String>,
    /// CA certificates (PEM) that vouch for the services' hosts, in place of this machine's.
    #[arg(long, value_name = "PEM")]
    pub ca: Option<PathBuf>,
    #[command(flatten)]
    /// Roots beside the vendors'.
    pub roots: RootArgs,
}
