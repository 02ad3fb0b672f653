//! Bytes that UEFI firmware hashes: variables, boot options, strings, separators.
//!
//! # Spec
//! UEFI 2.10 sections 3.1.3 (load options) and 10.3 (device paths); TCG PC Client Platform Firmware Profile 1.06 section
//! 10.2.6 (UEFI_VARIABLE_DATA) and 3.3.4 (what goes to which PCR).

use crate::crtm::Profile;
use crate::digests::Digests;

/// EFI_GLOBAL_VARIABLE, 8be4df61-93ca-11d2-aa0d-00e098032b8c, as it lies in memory.
pub const GLOBAL_VARIABLE: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
/// EFI_IMAGE_SECURITY_DATABASE, d719b2cb-3d3a-4596-a3bc-dad00e67656f.
pub const IMAGE_SECURITY_DATABASE: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];
/// The volume with the drivers of OVMF, 7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1.
pub const OVMF_DXE_VOLUME: [u8; 16] = [
    0xc9, 0xbd, 0xb8, 0x7c, 0xeb, 0xf8, 0x34, 0x4f, 0xaa, 0xea, 0x3e, 0xe4, 0xaf, 0x65, 0x16, 0xa1,
];
/// UiApp, 462caa21-7614-4503-836e-8ab6f4662331.
pub const UI_APP: [u8; 16] = [
    0x21, 0xaa, 0x2c, 0x46, 0x14, 0x76, 0x03, 0x45, 0x83, 0x6e, 0x8a, 0xb6, 0xf4, 0x66, 0x23, 0x31,
];

/// EV_SEPARATOR of a firmware that found no error.
pub const SEPARATOR: [u8; 4] = [0; 4];
/// EV_EFI_ACTION before a boot option is started.
pub const CALLING_APPLICATION: &[u8] = b"Calling EFI Application from Boot Option";
/// EV_EFI_ACTION when the kernel takes the machine over.
pub const EXIT_INVOCATION: &[u8] = b"Exit Boot Services Invocation";
/// EV_EFI_ACTION when it has it.
pub const EXIT_SUCCESS: &[u8] = b"Exit Boot Services Returned with Success";

/// BootOrder of OVMF with empty variables: Boot0000 alone.
pub const BOOT_ORDER_FIRST: [u8; 2] = [0, 0];
/// Longest command line in bytes: that of Linux on x86 is 2,048.
pub const COMMAND_LINE_BYTES_MAX: usize = 2047;

/// UTF-16, little endian, without an end.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// UEFI_VARIABLE_DATA: GUID, length of the name in characters u64, length of the data u64, name (UTF-16), data.
pub fn variable_data(guid: &[u8; 16], name: &str, data: &[u8]) -> Vec<u8> {
    let name = utf16(name);
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX).to_le_bytes();
    [&guid[..], &number(name.len() / 2), &number(data.len()), &name, data].concat()
}

/// The five variables that firmware measures for Secure Boot, without any: SecureBoot, PK, KEK, db, dbx.
pub fn no_secure_boot(profile: Profile) -> [Digests; 5] {
    let secure_boot: &[u8] = match profile {
        Profile::Ovmf2022_11 => &[0],
        Profile::Ovmf2025_02 => &[],
    };
    [
        (GLOBAL_VARIABLE, "SecureBoot", secure_boot),
        (GLOBAL_VARIABLE, "PK", &[]),
        (GLOBAL_VARIABLE, "KEK", &[]),
        (IMAGE_SECURITY_DATABASE, "db", &[]),
        (IMAGE_SECURITY_DATABASE, "dbx", &[]),
    ]
    .map(|(guid, name, data)| Digests::of(&variable_data(&guid, name, data)))
}

/// EFI_LOAD_OPTION of a file in a firmware volume.
///
/// # Layout
/// Attributes u32, FilePathListLength u16, description (UTF-16 with a zero), device path: node type 4 subtype 7 (volume),
/// type 4 subtype 6 (file), end.
pub fn volume_file_option(attributes: u32, description: &str, volume: &[u8; 16], file: &[u8; 16]) -> Vec<u8> {
    let path = [&[4, 7, 20, 0], &volume[..], &[4, 6, 20, 0], file, &[0x7f, 0xff, 4, 0]].concat();
    let path_bytes = u16::try_from(path.len()).unwrap_or(u16::MAX);
    let mut out = attributes.to_le_bytes().to_vec();
    out.extend(path_bytes.to_le_bytes());
    out.extend(utf16(description));
    out.extend([0, 0]);
    out.extend(path);
    out
}

/// Boot0000 that OVMF makes for itself with empty variables: UiApp, active, hidden, an application.
pub fn boot_ui_app() -> Vec<u8> {
    volume_file_option(0x109, "UiApp", &OVMF_DXE_VOLUME, &UI_APP)
}

/// The load options that the kernel's EFI stub measures: UTF-16 with a zero. OVMF appends ` initrd=initrd` if it got one.
///
/// # Errors
/// [`CommandLineError`].
pub fn load_options(command_line: &str, with_initrd: bool) -> Result<Vec<u8>, CommandLineError> {
    if command_line.len() > COMMAND_LINE_BYTES_MAX {
        return Err(CommandLineError::Length {
            got: command_line.len(),
        });
    }
    // OVMF widens byte by byte, so other characters would be measured as something else than they are here.
    if let Some(at) = command_line.bytes().position(|b| !(0x20..0x7f).contains(&b)) {
        return Err(CommandLineError::Character { at });
    }
    let mut out = utf16(command_line);
    if with_initrd {
        out.extend(utf16(" initrd=initrd"));
    }
    out.extend([0, 0]);
    Ok(out)
}

/// Why a command line was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandLineError {
    /// Linux would cut it.
    #[error("command line: expected at most {COMMAND_LINE_BYTES_MAX} bytes, got {got}")]
    Length {
        /// What came.
        got: usize,
    },
    /// A character that no two programs write alike.
    #[error("command line: byte {at}: expected printable ASCII: no line end, no tab")]
    Character {
        /// Its offset.
        at: usize,
    },
}

impl CommandLineError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "cmdline.length",
            Self::Character { .. } => "cmdline.character",
        }
    }
}
