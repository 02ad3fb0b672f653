//! The command line of `keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `keys`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  \
hanzo-verify keys signer --operator example --out callers.key >> config.toml   # once, before the configuration is measured\n  \
hanzo-verify keys new --signer callers.key --table callers.json --id acme --models smollm2 --out acme.key\n  \
curl -X PUT -H 'content-type: application/json' --data-binary @callers.json http://127.0.0.1:8080/v1/callers   # through `connect`\n\n\
A key is shown once; the table holds its hash. Guests take a table by its signatures, whoever brings it, and never an older one.\n\n\
Callers with tokens of an identity provider (OpenID Connect) instead of keys:\n  \
hanzo-verify keys issuer --signer callers.key --table callers.json --issuer https://login.example --audience hanzo --jwks jwks.json\n  \
hanzo-verify keys new --signer callers.key --table callers.json --id ana --models any --claim sub=248289761001 --issuer https://login.example")]
pub struct KeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// `keys …`.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Draw the key that signs tables; print what goes into guests' configurations.
    #[command(after_help = "Example:\n  hanzo-verify keys signer --operator example --out callers.key")]
    Signer {
        /// The operator, as guests' configurations name it.
        #[arg(long, value_name = "NAME")]
        operator: String,
        /// Where the secret key goes (mode 0600); an existing file is never overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Draw an API key for a caller, or name the claim that its tokens have; sign the table.
    #[command(after_help = "Examples:\n  \
hanzo-verify keys new --signer callers.key --table callers.json --id acme --models smollm2 --out acme.key\n  \
hanzo-verify keys new --signer callers.key --table callers.json --id trial --models any --requests-per-min 10 --tokens-per-min 5000 \\\n    \
--budget 100000 --valid-days 14 --tier-min 3\n  \
hanzo-verify keys new --signer callers.key --table callers.json --id ana --models any --claim sub=248289761001 --issuer https://login.example")]
    New(Box<NewArgs>),
    /// Draw keys that sign a caller's requests; print their public halves, which are the operator's to name (`keys new --request-keys`).
    #[command(after_help = "Example:\n  \
hanzo-verify keys request-key --id acme --out acme.key > acme.pub   # the caller\n  \
hanzo-verify keys new --signer callers.key --table callers.json --id acme --models smollm2 --request-keys acme.pub   # the operator\n  \
hanzo-verify connect --request-key-file acme.key …   # the caller: nothing that is sent could be used by whoever sees it")]
    RequestKey {
        /// The name that the table will have for the caller.
        #[arg(long, value_name = "NAME")]
        id: String,
        /// Where the secret keys go (a new file of mode 0600).
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Pin an identity provider whose tokens count, or its keys anew; sign the table.
    #[command(after_help = "Examples:\n  \
curl -s https://login.example/.well-known/jwks.json > jwks.json   # look at it: whoever has one of these keys can be any caller of this issuer\n  \
hanzo-verify keys issuer --signer callers.key --table callers.json --issuer https://login.example --audience hanzo --jwks jwks.json\n  \
hanzo-verify keys issuer --signer callers.key --table callers.json --issuer https://login.example --remove\n\n\
Keys for EdDSA (Ed25519), ES256 and RS256 (2048 bits or more) are taken; guests fetch nothing, so run it again when the provider changes its keys.")]
    Issuer(Box<IssuerArgs>),
    /// Show the callers of a table. Its signatures are checked if --signer is given.
    #[command(after_help = "Example:\n  hanzo-verify keys list --table callers.json --signer callers.key")]
    List {
        #[command(flatten)]
        /// The table.
        table: TableArg,
        /// The key that signed it.
        #[arg(long, value_name = "FILE")]
        signer: Option<PathBuf>,
    },
    /// Take a caller off the table, and sign it.
    #[command(after_help = "Example:\n  hanzo-verify keys revoke --signer callers.key --table callers.json --id acme")]
    Revoke {
        #[command(flatten)]
        /// The table and who signs it.
        files: FilesArgs,
        /// Whose key.
        #[arg(long, value_name = "NAME")]
        id: String,
    },
    /// Sign the table as it is, for longer.
    #[command(
        after_help = "Example:\n  hanzo-verify keys renew --signer callers.key --table callers.json --table-days 30"
    )]
    Renew {
        #[command(flatten)]
        /// The table and who signs it.
        files: FilesArgs,
    },
}

/// A table.
#[derive(Debug, Clone, Args)]
pub struct TableArg {
    /// The signed table (JSON).
    #[arg(long, value_name = "FILE")]
    pub table: PathBuf,
}

/// A table and who signs it.
#[derive(Debug, Clone, Args)]
pub struct FilesArgs {
    #[command(flatten)]
    /// The table.
    pub table: TableArg,
    /// The secret key of `keys signer` (mode 0600).
    #[arg(long, value_name = "FILE")]
    pub signer: PathBuf,
    /// How long the table counts from now, in days: a host that puts an old one back gains at most that.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub table_days: u64,
}

/// `keys issuer`.
#[derive(Debug, Clone, Args)]
pub struct IssuerArgs {
    #[command(flatten)]
    /// The table, which is made if there is none, and who signs it.
    pub files: FilesArgs,
    /// The `iss` of its tokens, to the letter.
    #[arg(long, value_name = "TEXT")]
    pub issuer: String,
    /// The `aud` that its tokens have to name.
    #[arg(long, value_name = "TEXT", required_unless_present = "remove")]
    pub audience: Option<String>,
    /// Its public keys: the JWK set that it publishes.
    #[arg(long, value_name = "FILE", required_unless_present = "remove")]
    pub jwks: Option<PathBuf>,
    /// How long a token may still count when it is shown, in seconds: 60 to 86400. Whom the provider locks out stays in for as long.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(60..=86_400))]
    pub ttl_s_max: u64,
    /// Take it off the table. Callers known by its tokens have to be revoked first.
    #[arg(long, conflicts_with_all = ["audience", "jwks", "ttl_s_max"])]
    pub remove: bool,
}

/// `keys new`.
#[derive(Debug, Clone, Args)]
pub struct NewArgs {
    #[command(flatten)]
    /// The table, which is made if there is none, and who signs it.
    pub files: FilesArgs,
    /// Its name in usage: 1 to 64 characters out of a-z 0-9 . _ -.
    #[arg(long, value_name = "NAME")]
    pub id: String,
    /// Models that it may ask, by name with commas between, or `any`.
    #[arg(long, value_name = "NAMES|any")]
    pub models: String,
    /// Requests a minute.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub requests_per_min: u64,
    /// Tokens a minute, of prompts and answers.
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    pub tokens_per_min: u64,
    /// Requests at a time; more wait.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub concurrent: u32,
    /// Tokens in all, of prompts and answers. Default: no end.
    #[arg(long, value_name = "N")]
    pub budget: Option<u64>,
    /// How long the key counts from now, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub valid_days: u64,
    /// Least tier of a guest that takes it: 0 to 4.
    #[arg(long, value_name = "TIER", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=4))]
    pub tier_min: u8,
    /// With whom it shares an engine.
    #[arg(long, value_name = "CLASS", default_value = "shared")]
    pub isolation: IsolationArg,
    /// What else it may do.
    #[arg(long, value_name = "ROLE", default_value = "user")]
    pub role: RoleArg,
    /// Known by tokens instead of a key: a claim and its value. Use `sub`: it is one person's and does not change.
    #[arg(long, value_name = "NAME=VALUE", requires = "issuer", conflicts_with = "out")]
    pub claim: Option<String>,
    /// Whose tokens: an issuer of the table (`keys issuer`).
    #[arg(long, value_name = "TEXT", requires = "claim")]
    pub issuer: Option<String>,
    /// Known by signed requests instead: its public keys (JSON, `keys request-key`).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["claim", "out"])]
    pub request_keys: Option<PathBuf>,
    /// Where the key goes (a new file of mode 0600). Default: standard output, once.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// See `hanzo_verifier::callers::Isolation`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum IsolationArg {
    /// With whoever may ask the same model.
    Shared,
    /// With nobody: each model that it asks is started for it alone.
    Own,
}

/// See `hanzo_verifier::callers::Role`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleArg {
    /// Nothing.
    User,
    /// See what every caller used.
    Admin,
}
