//! A user of its own, and no privilege.
//!
//! These calls change the calling thread alone; `exec` makes it the only one.

use rustix::fs::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::SandboxError;

pub(super) fn become_user(uid: u32, gid: u32) -> Result<(), SandboxError> {
    set_thread_groups(&[]).map_err(failed("supplementary groups"))?;
    // While there are capabilities left to do it with. A number the kernel does not know ends the list.
    for capability in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(failed("capability bounding set")(error)),
        }
    }
    let gid = Gid::from_raw(gid);
    set_thread_res_gid(gid, gid, gid).map_err(failed("group"))?;
    let uid = Uid::from_raw(uid);
    set_thread_res_uid(uid, uid, uid).map_err(failed("user"))
}

/// Needs no privilege, and leaves none.
pub(super) fn drop_privileges() -> Result<(), SandboxError> {
    set_no_new_privs(true).map_err(failed("no_new_privs"))?;
    clear_ambient_capability_set().map_err(failed("ambient capabilities"))?;
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
    .map_err(failed("capabilities"))
}

fn failed(what: &'static str) -> impl Fn(rustix::io::Errno) -> SandboxError {
    move |error| SandboxError::Identity {
        what,
        source: error.into(),
    }
}
