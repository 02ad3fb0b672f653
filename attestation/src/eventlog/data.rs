//! What the digest of an event covers, by event type (PFP 1.06, table 27).

use super::algorithm::Algorithm;
use super::error::EventLogError;
use super::log::LoggedEvent;

/// EV_* numbers.
pub mod kind {
    /// Extends nothing.
    pub const EV_NO_ACTION: u32 = 0x03;
    /// Ends the firmware's measurements of one register.
    pub const EV_SEPARATOR: u32 = 0x04;
    /// The digest is that of the data, a string.
    pub const EV_ACTION: u32 = 0x05;
    /// The digest is of what the tag names, not of the data.
    pub const EV_EVENT_TAG: u32 = 0x06;
    /// The digest is that of the data, a version string.
    pub const EV_S_CRTM_VERSION: u32 = 0x08;
    /// The digest is of what a loader loaded or ran, not of the data.
    pub const EV_IPL: u32 = 0x0d;
    /// The digest is that of the data, UEFI_VARIABLE_DATA: Secure Boot's state and keys.
    pub const EV_EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
    /// The digest is that of the data, UEFI_VARIABLE_DATA, or of VariableData alone.
    pub const EV_EFI_VARIABLE_BOOT: u32 = 0x8000_0002;
    /// The digest is the Authenticode hash of an image, the data tells where it was loaded.
    pub const EV_EFI_BOOT_SERVICES_APPLICATION: u32 = 0x8000_0003;
    /// The digest is that of the data, UEFI_GPT_DATA.
    pub const EV_EFI_GPT_EVENT: u32 = 0x8000_0006;
    /// The digest is that of the data, a string.
    pub const EV_EFI_ACTION: u32 = 0x8000_0007;
    /// The digest is that of the data, UEFI_VARIABLE_DATA.
    pub const EV_EFI_VARIABLE_BOOT2: u32 = 0x8000_000c;
    /// The digest is that of the data, UEFI_VARIABLE_DATA: the key that let an image pass.
    pub const EV_EFI_VARIABLE_AUTHORITY: u32 = 0x8000_00e0;
}

use kind::{
    EV_ACTION, EV_EFI_ACTION, EV_EFI_GPT_EVENT, EV_EFI_VARIABLE_AUTHORITY, EV_EFI_VARIABLE_BOOT, EV_EFI_VARIABLE_BOOT2,
    EV_EFI_VARIABLE_DRIVER_CONFIG, EV_S_CRTM_VERSION, EV_SEPARATOR,
};

/// True if the digest is the hash of the data.
///
/// # Errors
/// [`EventLogError::DataDigest`] if it is not and the type says it is; [`EventLogError::Separator`].
pub(super) fn vouched(event: &LoggedEvent, algorithm: Algorithm, digest: &[u8]) -> Result<bool, EventLogError> {
    let is_hash_of = |data: &[u8]| algorithm.hash(&[data]).as_deref() == Some(digest);
    let whole = is_hash_of(&event.data);
    let ok = match event.kind {
        EV_SEPARATOR if !matches!(event.data[..], [0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff]) => {
            return Err(EventLogError::Separator { event: event.number });
        }
        EV_SEPARATOR
        | EV_ACTION
        | EV_S_CRTM_VERSION
        | EV_EFI_VARIABLE_DRIVER_CONFIG
        | EV_EFI_GPT_EVENT
        | EV_EFI_ACTION
        | EV_EFI_VARIABLE_BOOT2
        | EV_EFI_VARIABLE_AUTHORITY => whole,
        // EDK2 hashes the value alone: then the variable's name is not vouched for, and the event not as a whole.
        EV_EFI_VARIABLE_BOOT => whole || variable_data(&event.data).is_some_and(is_hash_of),
        _ => true,
    };
    if ok {
        Ok(whole)
    } else {
        Err(EventLogError::DataDigest {
            event: event.number,
            kind: event.kind,
        })
    }
}

/// VariableData of UEFI_VARIABLE_DATA: GUID 16, UnicodeNameLength u64 (characters), VariableDataLength u64, name, data.
fn variable_data(bytes: &[u8]) -> Option<&[u8]> {
    let (_guid, rest) = bytes.split_first_chunk::<16>()?;
    let (name, rest) = rest.split_first_chunk::<8>()?;
    let (data, rest) = rest.split_first_chunk::<8>()?;
    let name_bytes = usize::try_from(u64::from_le_bytes(*name)).ok()?.checked_mul(2)?;
    let value = rest.get(name_bytes..)?;
    (u64::try_from(value.len()).ok()? == u64::from_le_bytes(*data)).then_some(value)
}
