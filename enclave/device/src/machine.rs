//! What only the first process of a machine asks of its kernel: mounts, modules, and the end.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// A file system of the kernel's own, which needs no device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelFileSystem {
    /// Its type, such as `proc`.
    pub kind: &'static str,
    /// Where it is mounted.
    pub at: &'static str,
    /// Options of the file system itself, such as `mode=0755`.
    pub options: &'static str,
    /// May hold device files (`/dev` alone).
    pub devices: bool,
    /// May hold programs (`/run`, where model files and sockets lie, may not).
    pub programs: bool,
}

/// Mounts one; always without set-uid bits.
///
/// # Errors
/// What the kernel said; `EBUSY` if it is mounted there already.
pub fn mount(what: &KernelFileSystem) -> io::Result<()> {
    let text = |text: &str| CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let (kind, at, options) = (text(what.kind)?, text(what.at)?, text(what.options)?);
    let mut flags = libc::MS_NOSUID;
    if !what.devices {
        flags |= libc::MS_NODEV;
    }
    if !what.programs {
        flags |= libc::MS_NOEXEC;
    }
    #[allow(
        unsafe_code,
        reason = "no safe wrapper of this system call exists in the workspace's feature set"
    )]
    // SAFETY: all four pointers are NUL-terminated strings that live until the call returns; the kernel copies them.
    let outcome = unsafe {
        libc::mount(
            kind.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    };
    outcome_of(outcome.into())
}

/// Loads a kernel module that is open for reading, without parameters. The kernel checks its signature.
///
/// # Errors
/// What the kernel said; `EEXIST` if it is loaded already.
pub fn load_module(module: &File) -> io::Result<()> {
    const NO_PARAMETERS: &CStr = c"";
    #[allow(
        unsafe_code,
        reason = "no safe wrapper of this system call exists in the workspace's feature set"
    )]
    // SAFETY: `module` is open for the whole call, and the second argument is a NUL-terminated string that outlives it.
    let outcome = unsafe { libc::syscall(libc::SYS_finit_module, module.as_raw_fd(), NO_PARAMETERS.as_ptr(), 0) };
    outcome_of(outcome)
}

/// Makes a socket send and receive on one interface alone, which need not have an address.
///
/// # Errors
/// What the kernel said; `ENODEV` if there is no such interface.
pub fn bind_to_interface(socket: &impl AsFd, interface: &str) -> io::Result<()> {
    let length = interface.len() as libc::socklen_t;
    #[allow(
        unsafe_code,
        reason = "no safe wrapper of this system call exists in the workspace's feature set"
    )]
    // SAFETY: the descriptor is open for the whole call; the pointer and the length are of one string that outlives it, and
    // the kernel copies at most that many bytes.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            interface.as_ptr().cast(),
            length,
        )
    };
    outcome_of(outcome.into())
}

/// Switches the machine off. It returns only if the kernel refuses.
pub fn power_off() -> io::Error {
    #[allow(
        unsafe_code,
        reason = "no safe wrapper of this system call exists in the workspace's feature set"
    )]
    // SAFETY: the call takes one integer and touches no memory of this process.
    unsafe {
        libc::reboot(libc::RB_POWER_OFF);
    }
    io::Error::last_os_error()
}

fn outcome_of(returned: libc::c_long) -> io::Result<()> {
    if returned == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_refuses_what_is_no_module() {
        let own = File::open("/proc/self/exe").unwrap();
        // EPERM without the right to load modules, ENOEXEC or EBADMSG with it; ENOSYS where the kernel has none.
        assert!(load_module(&own).is_err());
    }

    #[test]
    fn a_socket_stays_on_an_interface_that_exists() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let absent = bind_to_interface(&socket, "nosuch0").unwrap_err();
        assert_eq!(absent.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn an_unknown_file_system_is_refused_before_anything_is_mounted() {
        let unknown = KernelFileSystem {
            kind: "no-such-fs",
            at: "/nonexistent-mount-point",
            options: "",
            devices: false,
            programs: false,
        };
        assert!(mount(&unknown).is_err());
        let with_nul = KernelFileSystem {
            kind: "a\0b",
            ..unknown
        };
        assert_eq!(mount(&with_nul).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
