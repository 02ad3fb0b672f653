//! Firmware images of our own: built from a list of sections, so that each test says what it changes.
#![allow(dead_code, reason = "each test uses its own part")]

pub const HASH_TABLE_GUID: &str = "7255371f-3a3b-4b04-927b-1da6efa8d454";
pub const RESET_GUID: &str = "00f771de-1a7e-4fcb-890e-68c77e2fb44e";
pub const SEV_GUID: &str = "dc886566-984a-4798-a75e-5585a7bf67cc";
pub const TDVF_GUID: &str = "e47a6535-984a-4798-865e-4685a7bf8ec2";
pub const SECRET_GUID: &str = "4c2eb361-7d9b-4cc3-8081-127c90d3d294";
pub const SVSM_GUID: &str = "a789a612-0597-4c4b-a49f-cbb1fe9d1ddd";
pub const FOOTER_GUID: &str = "96b582de-1fb2-45f7-baea-a366c55a082d";

/// What goes into an image. Everything may be changed before `build`.
#[derive(Clone)]
pub struct Image {
    pub bytes: usize,
    /// `gpa, bytes, kind`.
    pub sev: Vec<(u32, u32, u32)>,
    /// `offset, raw bytes, gpa, bytes, kind, attributes`.
    pub tdvf: Vec<(u32, u32, u64, u64, u32, u32)>,
    /// Further entries of the footer table, in reading order (backwards).
    pub entries: Vec<(&'static str, Vec<u8>)>,
    pub with_sev: bool,
    pub with_tdvf: bool,
}

fn pair(a: u32, b: u32) -> Vec<u8> {
    [a.to_le_bytes(), b.to_le_bytes()].concat()
}

impl Image {
    /// An image for SNP and TDX of `bytes` bytes with OVMF's sections.
    pub fn new(bytes: usize) -> Self {
        let (size, vars) = (bytes as u32, 4096);
        let gpa = (1_u64 << 32) - bytes as u64;
        Self {
            bytes,
            sev: vec![
                (0x80_0000, 0x9000, 1),
                (0x80_a000, 0x3000, 1),
                (0x80_d000, 0x1000, 2),
                (0x80_e000, 0x1000, 3),
                (0x80_f000, 0x1000, 4),
                (0x81_0000, 0x1000, 0x10),
                (0x81_1000, 0xf000, 1),
            ],
            tdvf: vec![
                (vars, size - vars, gpa + u64::from(vars), u64::from(size - vars), 0, 1),
                (0, vars, gpa, u64::from(vars), 1, 0),
                (0, 0, 0x81_0000, 0x1_0000, 3, 0),
                (0, 0, 0x80_b000, 0x2000, 3, 0),
                (0, 0, 0x80_9000, 0x2000, 2, 0),
                (0, 0, 0x80_0000, 0x6000, 3, 0),
            ],
            entries: vec![
                (RESET_GUID, 0x0080_b004_u32.to_le_bytes().to_vec()),
                (SECRET_GUID, pair(0x81_0000, 0xc00)),
                (HASH_TABLE_GUID, pair(0x81_0c00, 0x400)),
            ],
            with_sev: true,
            with_tdvf: true,
        }
    }

    /// Where `build` puts the SEV list: counted from the end of the file.
    pub const SEV_FROM_END: usize = 0x700;
    /// Where `build` puts the TDX list.
    pub const TDVF_FROM_END: usize = 0xc00;

    pub fn build(&self) -> Vec<u8> {
        let mut image = self.body();
        let mut entries = self.entries.clone();
        if self.with_sev {
            let at = self.bytes - Self::SEV_FROM_END;
            let mut list = header(b"ASEV", 16 + 12 * self.sev.len(), self.sev.len());
            for (gpa, bytes, kind) in &self.sev {
                for word in [gpa, bytes, kind] {
                    list.extend(word.to_le_bytes());
                }
            }
            image[at..at + list.len()].copy_from_slice(&list);
            entries.push((SEV_GUID, (Self::SEV_FROM_END as u32).to_le_bytes().to_vec()));
        }
        if self.with_tdvf {
            let at = self.bytes - Self::TDVF_FROM_END;
            let mut list = header(b"TDVF", 16 + 32 * self.tdvf.len(), self.tdvf.len());
            for (offset, raw, gpa, bytes, kind, attributes) in &self.tdvf {
                list.extend(offset.to_le_bytes());
                list.extend(raw.to_le_bytes());
                list.extend(gpa.to_le_bytes());
                list.extend(bytes.to_le_bytes());
                list.extend(kind.to_le_bytes());
                list.extend(attributes.to_le_bytes());
            }
            image[at..at + list.len()].copy_from_slice(&list);
            entries.push((TDVF_GUID, (Self::TDVF_FROM_END as u32).to_le_bytes().to_vec()));
        }
        let mut table = Vec::new();
        for (guid, data) in entries.iter().rev() {
            table.extend(data);
            table.extend(((data.len() + 18) as u16).to_le_bytes());
            table.extend(guid_bytes(guid));
        }
        table.extend(((table.len() + 18) as u16).to_le_bytes());
        table.extend(guid_bytes(FOOTER_GUID));
        let end = self.bytes - 32;
        image[end - table.len()..end].copy_from_slice(&table);
        image
    }

    /// Some code, some zeros, some erased flash; every page differs from its neighbours where it is not blank.
    fn body(&self) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        let pages = self.bytes / 4096;
        let mut out = Vec::with_capacity(self.bytes);
        for page in 0..pages {
            match page * 8 / pages {
                0 => out.extend([0; 4096]),
                1..=4 if pages > 4 => out.extend([0xff; 4096]),
                _ => out.extend((0..4096).map(|_| next())),
            }
        }
        out
    }
}

fn header(signature: &[u8; 4], bytes: usize, count: usize) -> Vec<u8> {
    let mut out = signature.to_vec();
    for word in [bytes as u32, 1, count as u32] {
        out.extend(word.to_le_bytes());
    }
    out
}

/// A GUID's text in the byte order of the file.
pub fn guid_bytes(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let bytes: Vec<u8> = (0..16)
        .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let mut out = Vec::new();
    for part in [&bytes[0..4], &bytes[4..6], &bytes[6..8]] {
        out.extend(part.iter().rev());
    }
    out.extend(&bytes[8..]);
    out
}
