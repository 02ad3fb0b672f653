//! A user of its own, and no privilege.
//!
//! These calls change the calling thread alone; `exec` makes it the only one.

use rustix::fs::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::SandboxError;

pub(super) fn become_user(uid: u32, gid: u32) -> Result<(), SandboxError> {
    become_user_with(uid, gid, CapabilitySet::empty())
}

/// As [`become_user`], with these capabilities until [`drop_privileges_but`] says what is left.
pub(super) fn become_user_with(uid: u32, gid: u32, kept: CapabilitySet) -> Result<(), SandboxError> {
    set_keep_capabilities(!kept.is_empty()).map_err(failed("keeping capabilities"))?;
    set_thread_groups(&[]).map_err(failed("supplementary groups"))?;
    // While there are capabilities left to do it with. A number the kernel does not know ends the list.
    for capability in CapabilitySet::all().difference(kept).iter() {
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
    drop_privileges_but(CapabilitySet::empty())
}

/// Leaves these, also to the program that this thread becomes.
pub(super) fn drop_privileges_but(kept: CapabilitySet) -> Result<(), SandboxError> {
    set_no_new_privs(true).map_err(failed("no_new_privs"))?;
    clear_ambient_capability_set().map_err(failed("ambient capabilities"))?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: kept,
    };
    set_capabilities(None, sets).map_err(failed("capabilities"))?;
    for capability in kept.iter() {
        configure_capability_in_ambient_set(capability, true).map_err(failed("ambient capabilities"))?;
    }
    Ok(())
}

fn failed(what: &'static str) -> impl Fn(rustix::io::Errno) -> SandboxError {
    move |error| SandboxError::Identity {
        what,
        source: error.into(),
    }
}
