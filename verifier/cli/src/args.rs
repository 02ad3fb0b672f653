//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

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
    /// Verify a running guest, or a bundle with the challenge that it answers.
    Verify(VerifyArgs),
    /// Print every field of a bundle, trusting none of it.
    Explain(ExplainArgs),
    /// Serve a local OpenAI endpoint whose prompts go to an attested guest only.
    Connect(ConnectArgs),
    /// Check a receipt offline.
    Receipt(ReceiptArgs),
    /// Add to evidence what verifying it would otherwise fetch.
    Staple(StapleArgs),
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

/// Roots, lists and policy.
#[derive(Debug, Clone, Args)]
pub struct TrustArgs {
    /// Appraisal policy (TOML): minimum tier, TCB floors, reference values.
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// Root certificate (DER) of a simulator; whatever chains to it is marked SIMULATED. May be repeated.
    #[arg(long = "simulator-root", value_name = "DER")]
    pub simulator_roots: Vec<PathBuf>,
    /// AMD revocation list (DER), for guests that staple none. May be repeated.
    #[arg(long = "crl", value_name = "DER")]
    pub crls: Vec<PathBuf>,
}

/// `verify`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
hanzo-verify verify https://guest.example:8443 --policy policy.toml\n  \
hanzo-verify verify bundle.json --policy policy.toml --challenge $CHALLENGE --at 2026-11-22T10:00:00Z\n\n\
A guest is sent a fresh challenge over a connection that must prove itself. A file counts only with the challenge that \
it answers; without one, use `explain`.")]
pub struct VerifyArgs {
    /// https://host:port of a guest, or a bundle file.
    #[arg(value_name = "FILE|URL")]
    pub source: String,
    #[command(flatten)]
    /// Roots, lists and policy.
    pub trust: TrustArgs,
    /// The challenge that a bundle file answers: 64 lower-case hex digits.
    #[arg(long, value_name = "HEX")]
    pub challenge: Option<String>,
    /// Verify a bundle file as of this time: RFC 3339 (2026-11-22T10:00:00Z) or Unix seconds. Default: now.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Where to keep a guest's bundle, for later.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// `explain`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  hanzo-verify explain bundle.json\n\nNothing is verified: forged bundles are explained as readily as real ones."
)]
pub struct ExplainArgs {
    /// A bundle file.
    pub file: PathBuf,
}

/// `connect`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  \
hanzo-verify connect --to guest.example:8443 --policy policy.toml &\n  \
curl http://127.0.0.1:8080/v1/models\n\n\
Python: OpenAI(base_url=\"http://127.0.0.1:8080/v1\", api_key=\"unused\")\n\nHTTPS_PROXY and NO_PROXY are respected.")]
pub struct ConnectArgs {
    /// host:port of the guest or of a proxy before it.
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,
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
    /// Where bundles and receipts are kept. Default: $XDG_STATE_HOME/hanzo or ~/.local/state/hanzo.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// `receipt`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
hanzo-verify receipt 00112233445566778899aabbccddeeff\n  \
hanzo-verify receipt receipt.json --bundle bundle.json --policy policy.toml --request request.json --response answer.txt\n\n\
Nothing is contacted. By id, the bundle, challenge and policy that `connect` kept are verified again as of that day.")]
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
    /// Where bundles and receipts are kept. Default: $XDG_STATE_HOME/hanzo or ~/.local/state/hanzo.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
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
    /// AMD root certificate (DER) of a simulator. May be repeated.
    #[arg(long = "simulator-root", value_name = "DER")]
    pub simulator_roots: Vec<PathBuf>,
}
