//! Images made from readable intent.

/// A section of a PE image.
pub struct Made {
    pub name: &'static str,
    pub data: Vec<u8>,
    /// Bytes in memory; as in the file if `None`.
    pub memory: Option<u32>,
}

/// A section of `data`.
pub fn section(name: &'static str, data: &[u8]) -> Made {
    Made {
        name,
        data: data.to_vec(),
        memory: None,
    }
}

pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Where the PE header stands in every image made here.
pub const PE_AT: usize = 0x40;
/// Where the optional header begins.
pub const OPTIONAL_AT: usize = PE_AT + 24;
/// SizeOfHeaders.
pub const HEADERS: usize = 0x400;

/// A PE32+ image for x86-64 with these sections one after the other, `tail` after them and no certificates.
pub fn pe(sections: &[Made], tail: &[u8]) -> Vec<u8> {
    let mut out = vec![0; HEADERS];
    put(&mut out, 0, b"MZ");
    headers(&mut out, PE_AT, HEADERS, sections);
    for made in sections {
        out.extend(&made.data);
    }
    out.extend(tail);
    out
}

fn headers(out: &mut [u8], at: usize, headers: usize, sections: &[Made]) {
    put(out, 0x3c, &(at as u32).to_le_bytes());
    put(out, at, b"PE\0\0");
    put(out, at + 4, &0x8664_u16.to_le_bytes());
    put(out, at + 6, &(sections.len() as u16).to_le_bytes());
    put(out, at + 20, &(112_u16 + 6 * 8).to_le_bytes());
    put(out, at + 24, &0x20b_u16.to_le_bytes());
    put(out, at + 24 + 60, &(headers as u32).to_le_bytes());
    put(out, at + 24 + 64, &0xaabb_ccdd_u32.to_le_bytes());
    put(out, at + 24 + 108, &6_u32.to_le_bytes());
    let mut raw_at = headers;
    for (number, made) in sections.iter().enumerate() {
        let header = at + 24 + 112 + 48 + 40 * number;
        put(out, header, made.name.as_bytes());
        let memory = made.memory.unwrap_or(made.data.len() as u32);
        put(out, header + 8, &memory.to_le_bytes());
        put(out, header + 16, &(made.data.len() as u32).to_le_bytes());
        put(out, header + 20, &(raw_at as u32).to_le_bytes());
        raw_at += made.data.len();
    }
}

/// With a certificate table of `certificate` at its end.
pub fn signed(mut image: Vec<u8>, certificate: &[u8]) -> Vec<u8> {
    while !image.len().is_multiple_of(8) {
        image.push(0);
    }
    let at = OPTIONAL_AT + 112 + 32;
    let start = (image.len() as u32).to_le_bytes();
    put(&mut image, at, &start);
    put(&mut image, at + 4, &(certificate.len() as u32).to_le_bytes());
    image.extend(certificate);
    image
}

/// An x86-64 kernel of boot protocol 2.15 with an EFI stub, its header as a build leaves it.
pub fn kernel(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 0x1000];
    put(&mut out, 0, b"MZ");
    let sections = [section(".text", payload)];
    // The setup header begins at 0x1f1, so the PE header stands behind it as in current kernels.
    headers(&mut out, 0x300, 0x1000, &sections);
    out[0x1f1] = 7;
    put(&mut out, 0x1fe, &[0x55, 0xaa]);
    put(&mut out, 0x202, b"HdrS");
    put(&mut out, 0x206, &0x20f_u16.to_le_bytes());
    out[0x211] = 1;
    put(&mut out, 0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(&mut out, 0x236, &0x3f_u16.to_le_bytes());
    out.extend(payload);
    out
}

/// A newc archive with one file.
pub fn cpio(name: &str, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, data) in [(name, data), ("TRAILER!!!", &[][..])] {
        let fields = [1, 0o100_755, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
        out.extend(b"070701");
        for field in fields {
            out.extend(format!("{field:08x}").bytes());
        }
        out.extend(name.bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(data);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// The first bytes of an ELF program for a machine.
pub fn elf(machine: u16) -> Vec<u8> {
    let mut out = vec![0; 64];
    put(&mut out, 0, b"\x7fELF\x02\x01\x01");
    put(&mut out, 0x10, &3_u16.to_le_bytes());
    put(&mut out, 0x12, &machine.to_le_bytes());
    out
}
