//! A host that attacks the boot: the guest stops with the named reason, and no data key goes astray.

mod engine;
mod evidence;
mod grants;
mod packs;
