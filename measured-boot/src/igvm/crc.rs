//! CRC-32 (IEEE 802.3), which guards IGVM's headers against accidents.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                value >> 1 ^ 0xedb8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        #[allow(clippy::indexing_slicing, reason = "index < 256, evaluated at compile time")]
        {
            table[index] = value;
        }
        index += 1;
    }
    table
}

/// Of the parts, one after the other.
pub fn crc32(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        let entry = TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default();
        entry ^ crc >> 8
    };
    !parts.iter().copied().flatten().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value() {
        assert_eq!(super::crc32(&[b"1234", b"56789"]), 0xcbf4_3926);
    }
}
