//! The measured command line against the image: the same configuration, the same profile.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use hanzo_attestation::Digest256;
use hanzo_attestation::config::{CONFIG_BYTES_MAX, Config, ConfigError};
use hanzo_device::cmdline::config_digest;

use crate::error::InitError;
use crate::node::{NODE_CONFIG_BYTES_MAX, NodeConfig};
use crate::plan::{InitPlan, PLAN_BYTES_MAX, Profile, Role};

const PROFILE: &str = "hanzo.profile=";
/// The kernel's own bound on x86 is 2048.
const CMDLINE_BYTES_MAX: usize = 16 * 1024;

/// Checks both files of the image against the kernel's command line, and reads the plan.
///
/// # Establishes
/// The configuration is the one that the command line names, and the plan is of the profile that it names. A configuration that lists
/// names outside is not of profile `core`.
///
/// # Errors
/// [`InitError::File`], [`InitError::TooLong`], [`InitError::CommandLine`], [`InitError::Config`], [`InitError::Plan`],
/// [`InitError::Profile`], [`InitError::Egress`], [`InitError::Node`], [`InitError::Listen`].
pub fn measured_plan(cmdline: &Path, config: &Path, plan: &Path) -> Result<InitPlan, InitError> {
    let line = read(cmdline, CMDLINE_BYTES_MAX)?;
    let line = String::from_utf8_lossy(&line);
    let measured = config_digest(&line)?;
    let config = read(config, CONFIG_BYTES_MAX.max(NODE_CONFIG_BYTES_MAX))?;
    let plan = InitPlan::parse(&read(plan, PLAN_BYTES_MAX)?)?;
    let names = match plan.role {
        Role::Agent => Config::from_measured(&config, &measured)?.egress.len(),
        Role::Node => {
            let rpc = measured_node(&config, &measured)?.rpc;
            if rpc != plan.listen {
                let (expected, got) = (rpc, plan.listen);
                return Err(InitError::Listen { expected, got });
            }
            0
        }
    };

    let named: Vec<_> = line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix(PROFILE))
        .collect();
    if named != [plan.profile.as_str()] {
        return Err(InitError::Profile {
            expected: plan.profile.as_str(),
            got: if named.is_empty() {
                "none".into()
            } else {
                named.join(" and ")
            },
        });
    }
    if plan.profile == Profile::Core && names > 0 {
        return Err(InitError::Egress { names });
    }
    Ok(plan)
}

/// The configuration of a node of the chain, whose digest is the measured one.
///
/// # Errors
/// [`InitError::Config`] for another digest, before anything is parsed; [`InitError::Node`].
pub fn measured_node(text: &[u8], measured: &Digest256) -> Result<NodeConfig, InitError> {
    let got = Digest256::of(text);
    if got != *measured {
        let expected = *measured;
        return Err(ConfigError::DigestMismatch { expected, got }.into());
    }
    Ok(NodeConfig::parse(text)?)
}

/// A file of the image, if it is no longer than its kind may be.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, InitError> {
    let failed = |source| InitError::File {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(InitError::TooLong {
            path: path.to_owned(),
            bytes_max,
        });
    }
    Ok(bytes)
}
