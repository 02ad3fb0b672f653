//! The command line of `order`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `order`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  \
hanzo-verify order signer --operator example --out admin.key >> config.toml   # once, before the configuration is measured\n  \
hanzo-verify order revoke-caller --signer admin.key --keyset $KEYSET --id acme --out order.json\n  \
curl -X POST -H 'content-type: application/json' --data-binary @order.json http://127.0.0.1:8080/v1/orders   # through `connect`\n\n\
KEYSET is the guest's keyset digest: `hanzo-verify status` shows it. An order is for that guest alone and counts once. It stays in force\n\
for as long as the guest's store is used (`put-out`: for as long as it says), and stands in its log of receipts, where everybody can see it.")]
pub struct OrderArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: OrderCommand,
}

/// `order …`.
#[derive(Debug, Clone, Subcommand)]
pub enum OrderCommand {
    /// Draw an administrator's key; print what goes into guests' configurations.
    #[command(after_help = "Example:\n  hanzo-verify order signer --operator example --out admin.key")]
    Signer {
        /// The operator, as guests' configurations name it.
        #[arg(long, value_name = "NAME")]
        operator: String,
        /// Where the secret key goes (mode 0600); an existing file is never overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Let a caller in no more, whatever tables of callers come.
    #[command(
        after_help = "Example:\n  hanzo-verify order revoke-caller --signer admin.key --keyset $KEYSET --id acme --out order.json"
    )]
    RevokeCaller {
        #[command(flatten)]
        /// Who orders it, and from whom.
        sign: SignArgs,
        /// The caller's name in the table.
        #[arg(long, value_name = "NAME")]
        id: String,
    },
    /// Give a caller at most this, whatever tables of callers say.
    #[command(after_help = "Example:\n  \
hanzo-verify order lower-caller --signer admin.key --keyset $KEYSET --id acme \\\n    \
--requests-per-min 10 --tokens-per-min 5000 --concurrent 1 --out order.json")]
    LowerCaller {
        #[command(flatten)]
        /// Who orders it, and from whom.
        sign: SignArgs,
        /// The caller's name in the table.
        #[arg(long, value_name = "NAME")]
        id: String,
        /// Requests a minute, at most.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        requests_per_min: u64,
        /// Tokens a minute, of prompts and answers, at most.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        tokens_per_min: u64,
        /// Requests at a time, at most.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        concurrent: u32,
    },
    /// End a model's engine and serve it no more. What it is answering is cut off.
    #[command(
        after_help = "Example:\n  hanzo-verify order unload-model --signer admin.key --keyset $KEYSET --model smollm2 --out order.json"
    )]
    UnloadModel {
        #[command(flatten)]
        /// Who orders it, and from whom.
        sign: SignArgs,
        /// The model's name.
        #[arg(long, value_name = "NAME")]
        model: String,
    },
    /// End a model's engines and serve it no more for a while. What they are answering is cut off.
    #[command(
        after_help = "Example:\n  hanzo-verify order put-out --signer admin.key --keyset $KEYSET --model smollm2 --minutes 30 --out order.json"
    )]
    PutOut {
        #[command(flatten)]
        /// Who orders it, and from whom.
        sign: SignArgs,
        /// The model's name.
        #[arg(long, value_name = "NAME")]
        model: String,
        /// For how long, from now on. Default: until an order `load`.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=527_040))]
        minutes: Option<u32>,
    },
    /// Serve a model again that was put out, and start its engine now. Not one that was unloaded, nor one that the configuration lacks.
    #[command(
        after_help = "Example:\n  hanzo-verify order load --signer admin.key --keyset $KEYSET --model smollm2 --out order.json"
    )]
    Load {
        #[command(flatten)]
        /// Who orders it, and from whom.
        sign: SignArgs,
        /// The model's name.
        #[arg(long, value_name = "NAME")]
        model: String,
    },
}

/// Who orders, and from whom.
#[derive(Debug, Clone, Args)]
pub struct SignArgs {
    /// The administrator's key (`order signer`).
    #[arg(long, value_name = "FILE")]
    pub signer: PathBuf,
    /// The guest's keyset digest, 96 hex digits. `hanzo-verify status` shows it.
    #[arg(long, value_name = "HEX")]
    pub keyset: String,
    /// Higher than that of every order before. Default: the Unix time; of two orders within one second, one needs it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..1 << 53))]
    pub sequence: Option<u64>,
    /// Where the order goes; an existing file is never overwritten.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
