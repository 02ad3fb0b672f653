//! The drivers' volume inside OVMF's file: one LZMA section (EE4E5898-3914-4259-9D6E-DC7BD79403CF) holds it.
//!
//! # Spec
//! UEFI Platform Initialization 1.8, volume 3: EFI_GUID_DEFINED_SECTION, EFI_FIRMWARE_VOLUME_HEADER.

use std::io::Read as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use lzma_rust2::LzmaReader;

const LZMA: [u8; 16] = [
    0x98, 0x58, 0x4e, 0xee, 0x14, 0x39, 0x59, 0x42, 0x9d, 0x6e, 0xdc, 0x7b, 0xd7, 0x94, 0x03, 0xcf,
];
/// Bytes of that section's header.
const HEADER: usize = 24;
/// Of these two volumes the drivers' is the second; it is the bigger one.
const SIGNATURE: &[u8; 4] = b"_FVH";

/// Text of a driver that no boot here prints.
const TEXT: &str = "Start HTTP Boot";

/// Where the packed bytes are in the file.
fn packed(file: &[u8]) -> std::ops::Range<usize> {
    let guid = file.windows(16).position(|w| w == LZMA).unwrap();
    let start = guid - 4;
    let length = usize::from(file[start]) | usize::from(file[start + 1]) << 8 | usize::from(file[start + 2]) << 16;
    start + HEADER..start + length
}

fn unpacked(file: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let reader = LzmaReader::new_mem_limit(&file[packed(file)], u32::MAX, None).unwrap();
    reader.take(64 << 20).read_to_end(&mut out).unwrap();
    out
}

/// The drivers' volume.
fn drivers(unpacked: &[u8]) -> &[u8] {
    let at = |place: usize| place.checked_sub(0x28).filter(|start| start % 16 == 0);
    let starts = (0..unpacked.len() - 4).filter(|place| &unpacked[*place..place + 4] == SIGNATURE);
    let volumes = starts.filter_map(at).filter_map(|start| {
        let length = u64::from_le_bytes(*unpacked[start + 0x20..].first_chunk()?);
        unpacked[start..].get(..usize::try_from(length).ok()?)
    });
    volumes.max_by_key(|volume| volume.len()).unwrap()
}

fn one_byte_changed(mut unpacked: Vec<u8>) -> Vec<u8> {
    let text: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let place = unpacked.windows(text.len()).position(|w| w == text).unwrap();
    unpacked[place] ^= 1;
    unpacked
}

/// The drivers' volume as it is in `file`, and with one byte changed.
pub fn volumes(file: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let whole = unpacked(file);
    let before = drivers(&whole).to_vec();
    let after = drivers(&one_byte_changed(whole)).to_vec();
    (before, after)
}

/// `file` with that byte changed and packed again, in a section of the same length.
pub fn changed(file: &[u8]) -> Vec<u8> {
    const PACK: &str = "import lzma, sys\n\
        filters = [{'id': lzma.FILTER_LZMA1, 'preset': 9, 'dict_size': 1 << 24, 'nice_len': 273}]\n\
        sys.stdout.buffer.write(lzma.compress(sys.stdin.buffer.read(), format=lzma.FORMAT_ALONE, filters=filters))\n";
    let content = one_byte_changed(unpacked(file));
    let mut python = Command::new("python3")
        .args(["-c", PACK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = python.stdin.take().unwrap();
    let sent = content.clone();
    let writer = std::thread::spawn(move || to.write_all(&sent).unwrap());
    let mut stream = python.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    // Python leaves the length open; EDK2 wants it.
    stream[5..13].copy_from_slice(&(content.len() as u64).to_le_bytes());
    let (mut out, place) = (file.to_vec(), packed(file));
    assert!(stream.len() <= place.len(), "it does not fit");
    stream.resize(place.len(), 0);
    out[place].copy_from_slice(&stream);
    out
}
