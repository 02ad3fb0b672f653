//! The first process of the guest's image: makes a bare kernel into a machine that one program may run on.
//!
//! [`become_init`] mounts the kernel's file systems, checks the configuration against the measured command line, loads
//! the modules that the image lists, brings the network up, closes what the kernel still offers to an attacker, starts
//! the guest agent, or in an image of that role a node of the AI chain, reaps, and switches the machine off when that ends. Any step that fails switches the machine
//! off with one reason on the console; there is no shell and no fallback in the `core` profile.
//!
//! What it never does: read anything from the host as configuration (of DHCP an address and nothing else, no fw_cfg,
//! no SMBIOS, no environment), run a program that is not in the measured archive, or hold a secret.
//!
//! [`InitPlan`] is the text that the image's builder writes and this crate reads; both are measured with the archive.
//!
//! # Spec
//! DESIGN section 4 ("Config") and section 5, flows 1 and 3; SPEC.md beside this crate.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests say so by failing"
    )
)]

pub mod cmdline;
pub mod dhcp;
pub mod disks;
pub mod error;
pub mod lockdown;
mod modules;
mod mounts;
pub mod network;
pub mod node;
pub mod plan;
pub mod registers;
mod supervise;
mod watchdog;

pub use error::InitError;
pub use node::{NodeConfig, NodeConfigError, NodeRole};
pub use plan::{Dhcp, InitPlan, Network, NetworkPlan, PlanError, Profile, Role};
pub use supervise::{NODE_SANDBOX, become_init, is_init};

/// Where the configuration lies in the image.
pub const CONFIG_PATH: &str = "/etc/hanzo/config.toml";
/// Where the plan lies in the image.
pub const PLAN_PATH: &str = "/etc/hanzo/init.toml";
/// Where the modules lie, as `<name>.ko`.
pub const MODULES_DIR: &str = "/lib/modules";
/// Where the engine lies, if the image has one.
pub const ENGINE_PATH: &str = "/usr/bin/hanzo-engine";
/// Where the llama.cpp engine lies, if the image has one.
pub const LLAMA_ENGINE_PATH: &str = "/usr/bin/hanzo-engine-llama";
/// Where the node of the AI chain lies, in an image that is one.
pub const NODE_PATH: &str = "/usr/bin/hanzo-validator";
/// Where the genesis of its chain lies.
pub const GENESIS_PATH: &str = "/etc/hanzo/genesis.bin";
/// The shell of the `debug` profile; the `core` profile has none.
pub const SHELL_PATH: &str = "/bin/busybox";
