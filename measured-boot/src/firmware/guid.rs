//! GUIDs as firmware stores them: three little-endian numbers and eight bytes.

use std::fmt;

/// A GUID in the byte order of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// From the parts of its text form: `aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee` has `a`, `b`, `c` and `ddddeeeeeeeeeeee`.
    pub const fn new(a: u32, b: u16, c: u16, rest: u64) -> Self {
        let [a0, a1, a2, a3] = a.to_le_bytes();
        let [b0, b1] = b.to_le_bytes();
        let [c0, c1] = c.to_le_bytes();
        let [d0, d1, d2, d3, d4, d5, d6, d7] = rest.to_be_bytes();
        Self([a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7])
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, rest @ ..] = self.0;
        let a = u32::from_le_bytes([a0, a1, a2, a3]);
        let (b, c) = (u16::from_le_bytes([b0, b1]), u16::from_le_bytes([c0, c1]));
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d0:02x}{d1:02x}-{}", hex::encode(rest))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The footer table itself.
pub const FOOTER: Guid = Guid::new(0x96b5_82de, 0x1fb2, 0x45f7, 0xbaea_a366_c55a_082d);
/// `{u32 base, u32 size}` of the kernel hash table.
pub const SEV_HASH_TABLE: Guid = Guid::new(0x7255_371f, 0x3a3b, 0x4b04, 0x927b_1da6_efa8_d454);
/// `{u32 eip}` of application processors.
pub const SEV_ES_RESET: Guid = Guid::new(0x00f7_71de, 0x1a7e, 0x4fcb, 0x890e_68c7_7e2f_b44e);
/// `{u32 offset from the end}` of the SEV sections.
pub const SEV_METADATA: Guid = Guid::new(0xdc88_6566, 0x984a, 0x4798, 0xa75e_5585_a7bf_67cc);
/// `{u32 offset from the end}` of the TDX sections.
pub const TDVF_METADATA: Guid = Guid::new(0xe47a_6535, 0x984a, 0x4798, 0x865e_4685_a7bf_8ec2);
/// `{u32 base, u32 size}` of the launch secret.
pub const SEV_LAUNCH_SECRET: Guid = Guid::new(0x4c2e_b361, 0x7d9b, 0x4cc3, 0x8081_127c_90d3_d294);
/// `{u32 offset of the entry from the first byte}` of an SVSM.
pub const SVSM_INFO: Guid = Guid::new(0xa789_a612, 0x0597, 0x4c4b, 0xa49f_cbb1_fe9d_1ddd);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_file_order() {
        assert_eq!(FOOTER.to_string(), "96b582de-1fb2-45f7-baea-a366c55a082d");
        assert_eq!(hex::encode(FOOTER.0), "de82b596b21ff745baeaa366c55a082d");
    }
}
