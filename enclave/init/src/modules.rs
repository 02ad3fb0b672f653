//! Kernel modules of the image, loaded in the plan's order.

use std::fs::File;
use std::path::Path;

use hanzo_device::machine::load_module;
use rustix::io::Errno;

use crate::error::InitError;

/// Drivers of confidential machines: they answer ENODEV where the machine is not of their kind, and that is no fault.
const OF_ONE_MACHINE: &[&str] = &["sev-guest", "tdx-guest", "i6300esb", "itco_wdt"];

/// Loads each; the kernel checks signatures.
pub(crate) fn load_modules(dir: &Path, names: &[String]) -> Result<(), InitError> {
    for name in names {
        let path = dir.join(format!("{name}.ko"));
        let file = File::open(&path).map_err(|source| InitError::File { path, source })?;
        match load_module(&file) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => {}
            Err(error) if OF_ONE_MACHINE.contains(&name.as_str()) && is_absent(&error) => {}
            Err(source) => {
                return Err(InitError::Module {
                    module: name.clone(),
                    source,
                });
            }
        }
    }
    Ok(())
}

fn is_absent(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NODEV.raw_os_error())
}
