//! The key broker: holds data keys and hands them out, wrapped, to guests that prove their tier.
//!
//! [`serve`] speaks RCAR 0.4.0 of the CoCo key broker to guests and takes signed requests from key owners
//! ([`admin`]). Each release is decided when the key is asked for, by `hanzo-vault`, and is counted, written to the
//! audit chain and on the disk before the reply leaves.
//!
//! It never releases to a classical key unless the key's policy names that, never tells an unauthenticated peer more than class and code, and
//! never opens a store of the simulated mode as a production one. It contains no simulator: roots of one can be
//! configured, and what chains to them stays `simulated`.
#![forbid(unsafe_code)]

pub mod admin;
mod admission;
mod audit;
mod backup;
mod broker;
mod challenge;
mod coco;
mod collateral_dir;
pub mod config;
mod connections;
mod database;
mod decision;
mod desk;
mod error;
mod fence;
mod harden;
mod head;
mod heads;
mod health;
mod http;
mod identity;
mod in_flight;
mod init;
mod live;
mod metrics;
mod policies;
mod rate;
mod rehearsal;
mod release;
mod releases;
mod reload;
mod schema;
mod serve;
mod sessions;
mod shared;
mod tenant;
mod tls;
mod token;
mod vault;
mod verified;

pub use audit::{Exported, fetch_audit};
pub use backup::{BackupReport, backup, restore};
pub use coco::{CocoAdmin, CocoAlgorithm, CocoConfig, CocoRole};
pub use config::{FenceConfig, KbsConfig};
pub use error::KbsError;
pub use hanzo_store::StoreMode;
pub use hanzo_vault::Rehearsed;
pub use harden::harden_process;
pub use health::{BrokerStatus, CollateralStatus, PartStatus, Standing};
pub use identity::KbsIdentity;
pub use init::{InitOptions, Initialised, accept_head, check, export_audit, init, init_with, load_admin_key};
pub use rehearsal::rehearse_evidence;
pub use serve::serve;
pub use vault::{RotationProgress, RotationReport, ShredReport, Shredded, rotate_keks, shred};
