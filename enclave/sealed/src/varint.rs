//! Variable-length integers (RFC 9000 section 16). Longer encodings than needed are valid there, and here.

/// Appends `value`; at most 2^62 - 1, which no length of ours reaches.
pub(crate) fn write(value: usize, out: &mut Vec<u8>) {
    let value = value as u64;
    if value < 1 << 6 {
        out.push(value as u8);
    } else if value < 1 << 14 {
        out.extend_from_slice(&((value as u16) | 0x4000).to_be_bytes());
    } else if value < 1 << 30 {
        out.extend_from_slice(&((value as u32) | 0x8000_0000).to_be_bytes());
    } else {
        out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes());
    }
}

/// Reads one integer: its value and how many bytes it took; `None` if the bytes end before it does.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1_usize << (first >> 6);
    let rest = bytes.get(1..len)?;
    let value = rest
        .iter()
        .fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_9000_read_and_write() {
        // Section A.1.
        for (bytes, value) in [
            (
                vec![0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
                151_288_809_941_952_652,
            ),
            (vec![0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (vec![0x7b, 0xbd], 15_293),
            (vec![0x25], 37),
        ] {
            assert_eq!(read(&bytes), Some((value, bytes.len())));
            let mut written = Vec::new();
            write(value as usize, &mut written);
            assert_eq!(written, bytes);
            assert_eq!(read(&bytes[..bytes.len() - 1]), None, "cut");
        }
        assert_eq!(read(&[0x40, 0x25]), Some((37, 2)), "longer than needed");
    }
}
