//! The kernel's file systems. Everything is in memory: the image has no disk of its own.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;

use hanzo_device::machine::{KernelFileSystem, mount};
use rustix::io::Errno;

use crate::error::InitError;

const fn in_memory(kind: &'static str, at: &'static str, options: &'static str) -> KernelFileSystem {
    KernelFileSystem {
        kind,
        at,
        options,
        devices: false,
        programs: false,
    }
}

/// Large pages for what fills them: weights are written several times as fast, and engines find them with fewer look-ups. A kernel
/// without them knows no such option (`EINVAL`).
const LARGE_PAGES: &str = ",huge=within_size";

/// Mounted first, in this order.
const EARLY: &[KernelFileSystem] = &[
    in_memory("proc", "/proc", "hidepid=invisible"),
    in_memory("sysfs", "/sys", ""),
    KernelFileSystem {
        kind: "devtmpfs",
        at: "/dev",
        options: "mode=0755",
        devices: true,
        programs: false,
    },
    // Opened models lie here.
    in_memory("tmpfs", "/run", "mode=0755,huge=within_size"),
    in_memory("tmpfs", "/tmp", "mode=1777,size=16m"),
    in_memory("securityfs", "/sys/kernel/security", ""),
];

/// Where its module makes a place for it.
pub(crate) const CONFIGFS_AT: &str = "/sys/kernel/config";

/// Evidence of SNP and TDX is asked for through it.
const CONFIGFS: KernelFileSystem = in_memory("configfs", CONFIGFS_AT, "");

pub(crate) fn mount_early() -> Result<(), InitError> {
    EARLY.iter().try_for_each(mount_one)
}

pub(crate) fn mount_configfs() -> Result<(), InitError> {
    mount_one(&CONFIGFS)
}

fn mount_one(what: &KernelFileSystem) -> Result<(), InitError> {
    let failed = |source| InitError::Mount {
        kind: what.kind,
        at: what.at,
        source,
    };
    if !what.at.starts_with("/sys/") {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(what.at)
            .map_err(failed)?;
    }
    let mounted = match (mount(what), what.options.strip_suffix(LARGE_PAGES)) {
        (Err(error), Some(options)) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            mount(&KernelFileSystem { options, ..*what })
        }
        (mounted, _) => mounted,
    };
    match mounted {
        Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => Ok(()),
        outcome => outcome.map_err(failed),
    }
}
