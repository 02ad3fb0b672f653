//! IGVM files of our own.
#![allow(dead_code, reason = "each test uses its own part")]

/// A file: platforms, then headers, then contents.
#[derive(Clone)]
pub struct File {
    pub format: u32,
    headers: Vec<u8>,
    /// Where a header names contents: offset of its field in the headers, and which.
    links: Vec<(usize, usize)>,
    contents: Vec<Vec<u8>>,
}

impl File {
    /// SNP with mask 1 and TDX with mask 2, and a policy.
    pub fn new(format: u32) -> Self {
        let mut file = Self {
            format,
            headers: Vec::new(),
            links: Vec::new(),
            contents: Vec::new(),
        };
        file.header(0x1, &[&1_u32.to_le_bytes(), &[0, 2, 1, 0], &[0; 8]]);
        file.header(0x1, &[&2_u32.to_le_bytes(), &[0, 3, 1, 0], &[0; 8]]);
        file.header(0x101, &[&0x3_0000_u64.to_le_bytes(), &1_u32.to_le_bytes(), &[0; 4]]);
        file
    }

    /// Any header; its body is padded to 8.
    pub fn header(&mut self, kind: u32, body: &[&[u8]]) {
        let body = body.concat();
        self.headers.extend(kind.to_le_bytes());
        self.headers.extend((body.len() as u32).to_le_bytes());
        self.headers.extend(&body);
        self.headers.resize(self.headers.len().next_multiple_of(8), 0);
    }

    fn link(&mut self, field_from_end: usize, contents: Vec<u8>) {
        if !contents.is_empty() {
            self.links
                .push((self.headers.len() - field_from_end, self.contents.len()));
            self.contents.push(contents);
        }
    }

    /// Page data; no contents means zeros.
    pub fn pages(&mut self, gpa: u64, mask: u32, flags: u32, data_type: u16, contents: Vec<u8>) {
        self.header(
            0x302,
            &[
                &gpa.to_le_bytes(),
                &mask.to_le_bytes(),
                &[0; 4],
                &flags.to_le_bytes(),
                &data_type.to_le_bytes(),
                &[0; 2],
            ],
        );
        self.link(12, contents);
    }

    /// An area of parameters and where it goes.
    pub fn parameters(&mut self, index: u32, bytes: u64, gpa: u64, mask: u32) {
        self.header(0x301, &[&bytes.to_le_bytes(), &index.to_le_bytes(), &[0; 4]]);
        self.header(0x307, &[&index.to_le_bytes(), &[0; 4]]);
        self.header(0x303, &[&gpa.to_le_bytes(), &mask.to_le_bytes(), &index.to_le_bytes()]);
    }

    /// Registers of a processor.
    pub fn registers(&mut self, gpa: u64, index: u16, page: Vec<u8>) {
        self.header(
            0x304,
            &[
                &gpa.to_le_bytes(),
                &1_u32.to_le_bytes(),
                &[0; 4],
                &index.to_le_bytes(),
                &[0; 2],
            ],
        );
        // 20 bytes and 4 of padding.
        self.link(12, page);
    }

    pub fn build(&self) -> Vec<u8> {
        let fixed = if self.format == 2 { 32 } else { 24 };
        let mut headers = self.headers.clone();
        let (mut data, start) = (Vec::<u8>::new(), fixed + headers.len());
        for (field, contents) in &self.links {
            let offset = (start + data.len()) as u32;
            headers[*field..*field + 4].copy_from_slice(&offset.to_le_bytes());
            data.extend(&self.contents[*contents]);
        }
        let mut file = b"IGVM".to_vec();
        for word in [
            self.format,
            fixed as u32,
            headers.len() as u32,
            (start + data.len()) as u32,
            0,
        ] {
            file.extend(word.to_le_bytes());
        }
        if self.format == 2 {
            file.extend(0_u32.to_le_bytes());
            file.extend(4096_u32.to_le_bytes());
        }
        file.extend(headers);
        file.extend(data);
        seal(&mut file);
        file
    }
}

/// Puts the checksum in.
pub fn seal(file: &mut [u8]) {
    let fixed: usize = if file[4] == 2 { 32 } else { 24 };
    let size = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    file[20..24].fill(0);
    let end = fixed.saturating_add(size).min(file.len());
    let crc = file[..end].iter().fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
        crc
    });
    file[20..24].copy_from_slice(&(!crc).to_le_bytes());
}

/// A page that is like no other.
pub fn page(seed: u8) -> Vec<u8> {
    (0..4096_u32)
        .map(|i| (i as u8).wrapping_mul(seed).wrapping_add(seed))
        .collect()
}

/// A register page as KVM accepts it.
pub fn registers() -> Vec<u8> {
    let mut page = vec![0; 4096];
    page[0x158] = 0x31;
    page[0x178..0x17a].copy_from_slice(&0xfff0_u16.to_le_bytes());
    page[0x3b0] = 1;
    page
}

/// Each kind of directive once.
pub fn sample(format: u32) -> File {
    let mut file = File::new(format);
    file.pages(0x10_0000, 3, 0, 0, page(3));
    file.pages(0x10_1000, 3, 0, 0, Vec::new());
    file.pages(0x10_2000, 3, 2, 0, page(5));
    file.pages(0x10_3000, 1, 0, 1, Vec::new());
    file.pages(0x10_4000, 1, 0, 2, page(7));
    file.pages(0x10_5000, 2, 0, 0, page(9));
    file.parameters(0, 0x2000, 0x20_0000, 3);
    file.registers(0xffff_ffff_f000, 0, registers());
    file
}
