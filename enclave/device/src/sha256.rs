//! SHA-256 of four messages at a time, by the processor's SHA instructions.
//!
//! Each step of one message's hash waits for the step before; the steps of others fill that time. On a Zen 4 core four together are 2.2 times as
//! fast as one after the other. Nothing here is secret or new: the same function (FIPS 180-4), held against the library's in tests, for
//! those who hash much that lies side by side (packs of models).

/// How many messages.
pub const LANES: usize = 4;
const BLOCK: usize = 64;

/// SHA-256 of `prefix || message` for each of the messages, which are of one length.
///
/// `None` where the processor lacks the instructions, the lengths differ, or one block would hold more than prefix and message: the caller
/// hashes one by one then.
pub fn of_four(prefix: &[u8], messages: [&[u8]; LANES]) -> Option<[[u8; 32]; LANES]> {
    let [first, ..] = messages;
    let fits = prefix.len() < BLOCK && first.len() >= BLOCK;
    if !fits || messages.iter().any(|message| message.len() != first.len()) {
        return None;
    }
    hashed(prefix, messages)
}

#[cfg(not(target_arch = "x86_64"))]
fn hashed(_: &[u8], _: [&[u8]; LANES]) -> Option<[[u8; 32]; LANES]> {
    None
}

#[cfg(target_arch = "x86_64")]
fn hashed(prefix: &[u8], messages: [&[u8]; LANES]) -> Option<[[u8; 32]; LANES]> {
    use std::arch::is_x86_feature_detected;
    if !(is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")) {
        return None;
    }
    #[allow(
        unsafe_code,
        reason = "the processor was asked for what the function is compiled for"
    )]
    // SAFETY: SHA, SSSE3 and SSE4.1 are there; the function has no other condition.
    let states = unsafe { x86::states(prefix, messages) };
    Some(states)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
    };

    use super::{BLOCK, LANES};

    /// FIPS 180-4, section 4.2.2: four constants for each of 16 groups of rounds.
    const K: [[u32; 4]; 16] = [
        [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5],
        [0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5],
        [0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3],
        [0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
        [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc],
        [0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da],
        [0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7],
        [0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
        [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13],
        [0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85],
        [0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3],
        [0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
        [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5],
        [0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3],
        [0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208],
        [0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
    ];
    /// FIPS 180-4, section 5.3.3, as the instructions want it: A, B, E, F and C, D, G, H, the first word highest.
    const INITIAL: [[u32; 4]; 2] = [
        [0x6a09e667, 0xbb67ae85, 0x510e527f, 0x9b05688c],
        [0x3c6ef372, 0xa54ff53a, 0x1f83d9ab, 0x5be0cd19],
    ];

    type Lane = (__m128i, __m128i);

    /// Blocks of all lanes: what the prefix begins, what lies whole in the messages, what padding ends (section 5.1.1).
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    pub(super) fn states(prefix: &[u8], messages: [&[u8]; LANES]) -> [[u8; 32]; LANES] {
        let [a, b] = INITIAL.map(|[a, b, c, d]| _mm_set_epi32(a as i32, b as i32, c as i32, d as i32));
        let mut lanes = [(a, b); LANES];
        let begins = messages.map(|message| {
            let mut block = [0; BLOCK];
            let (head, rest) = block.split_at_mut(prefix.len());
            head.copy_from_slice(prefix);
            let (begin, whole) = message.split_at(rest.len());
            rest.copy_from_slice(begin);
            (block, whole)
        });
        compress(&mut lanes, begins.each_ref().map(|(block, _)| block));
        let [first, second, third, fourth] = begins.each_ref().map(|(_, whole)| whole.as_chunks::<BLOCK>());
        for (((one, two), three), four) in first.0.iter().zip(second.0).zip(third.0).zip(fourth.0) {
            compress(&mut lanes, [one, two, three, four]);
        }
        let bits = (prefix.len() as u64 + messages[0].len() as u64) * 8;
        let ends = [first.1, second.1, third.1, fourth.1].map(|rest| {
            let mut two = [0; 2 * BLOCK];
            let blocks = if rest.len() + 9 > BLOCK { 2 } else { 1 };
            let marked = rest.iter().chain(&[0x80]);
            two.iter_mut().zip(marked).for_each(|(to, from)| *to = *from);
            let length = two.iter_mut().skip(blocks * BLOCK - 8);
            length.zip(bits.to_be_bytes()).for_each(|(to, from)| *to = from);
            (two, blocks)
        });
        let blocks = ends[0].1;
        for at in 0..blocks {
            let block = ends.each_ref().map(|(two, _)| {
                let [one, other] = two.as_chunks::<BLOCK>().0 else {
                    return &[0; BLOCK];
                };
                if at == 0 { one } else { other }
            });
            compress(&mut lanes, block);
        }
        lanes.map(|lane| written(lane))
    }

    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn written((abef, cdgh): Lane) -> [u8; 32] {
        let words = [
            _mm_extract_epi32::<3>(abef),
            _mm_extract_epi32::<2>(abef),
            _mm_extract_epi32::<3>(cdgh),
            _mm_extract_epi32::<2>(cdgh),
            _mm_extract_epi32::<1>(abef),
            _mm_extract_epi32::<0>(abef),
            _mm_extract_epi32::<1>(cdgh),
            _mm_extract_epi32::<0>(cdgh),
        ];
        let mut out = [0; 32];
        for (to, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *to = word.to_be_bytes();
        }
        out
    }

    /// Sixteen bytes as four big-endian words.
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn words(bytes: &[u8; 16]) -> __m128i {
        let all = u128::from_le_bytes(*bytes);
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        _mm_shuffle_epi8(_mm_set_epi64x((all >> 64) as i64, all as i64), swap)
    }

    /// One block of each lane (section 6.2.2; Intel's manual on SHA256RNDS2, SHA256MSG1 and SHA256MSG2).
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    #[inline]
    fn compress(lanes: &mut [Lane; LANES], blocks: [&[u8; BLOCK]; LANES]) {
        let before = *lanes;
        let mut schedule = blocks.map(|block| {
            let mut four = [_mm_set_epi64x(0, 0); 4];
            for (to, bytes) in four.iter_mut().zip(block.as_chunks::<16>().0) {
                *to = words(bytes);
            }
            four
        });
        group::<0>(lanes, &mut schedule);
        group::<1>(lanes, &mut schedule);
        group::<2>(lanes, &mut schedule);
        group::<3>(lanes, &mut schedule);
        group::<4>(lanes, &mut schedule);
        group::<5>(lanes, &mut schedule);
        group::<6>(lanes, &mut schedule);
        group::<7>(lanes, &mut schedule);
        group::<8>(lanes, &mut schedule);
        group::<9>(lanes, &mut schedule);
        group::<10>(lanes, &mut schedule);
        group::<11>(lanes, &mut schedule);
        group::<12>(lanes, &mut schedule);
        group::<13>(lanes, &mut schedule);
        group::<14>(lanes, &mut schedule);
        group::<15>(lanes, &mut schedule);
        for ((abef, cdgh), (abef_before, cdgh_before)) in lanes.iter_mut().zip(before) {
            *abef = _mm_add_epi32(*abef, abef_before);
            *cdgh = _mm_add_epi32(*cdgh, cdgh_before);
        }
    }
    /// Four rounds of each lane. Sixteen calls, which a loop would not be: it leaves places in arrays to be computed, which costs a fifth.
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    #[inline]
    #[allow(
        clippy::indexing_slicing,
        reason = "places are below the lengths of the arrays, which are constants"
    )]
    fn group<const AT: usize>(lanes: &mut [Lane; LANES], schedule: &mut [[__m128i; 4]; LANES]) {
        let [k0, k1, k2, k3] = K[AT].map(|k| k as i32);
        let k = _mm_set_epi32(k3, k2, k1, k0);
        for ((abef, cdgh), w) in lanes.iter_mut().zip(schedule) {
            let (now, last) = (w[AT % 4], w[(AT + 3) % 4]);
            let wk = _mm_add_epi32(now, k);
            *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, wk);
            *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32::<0x0e>(wk));
            if AT < 12 {
                let next = _mm_sha256msg1_epu32(now, w[(AT + 1) % 4]);
                let next = _mm_add_epi32(next, _mm_alignr_epi8::<4>(last, w[(AT + 2) % 4]));
                w[AT % 4] = _mm_sha256msg2_epu32(next, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hanzo_attestation::Digest256;

    use super::*;

    /// Bytes of a generator, not all alike.
    fn bytes(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn by_library(prefix: &[u8], message: &[u8]) -> [u8; 32] {
        Digest256::of(&[prefix, message].concat()).0
    }

    fn of(prefix: &[u8], all: &[Vec<u8>; LANES]) -> Option<[[u8; 32]; LANES]> {
        of_four(prefix, all.each_ref().map(Vec::as_slice))
    }

    #[test]
    fn four_at_a_time_are_what_the_library_says_of_each() {
        let all = [1, 2, 3, 4].map(|seed| bytes(seed, 128));
        if of(b"", &all).is_none() {
            eprintln!("THIS PROCESSOR HAS NO SHA INSTRUCTIONS: not run");
            return;
        }
        // Every length around blocks, every prefix, so that each way to pad is gone.
        for prefix in [0, 1, 6, 8, 55, 56, 63] {
            let prefix = bytes(9, prefix);
            for len in (64..330).chain([4096, 65_537, 1 << 20]) {
                let all = [len, 7, 77, 777].map(|seed| bytes(seed as u64 + 1, len));
                let got = of(&prefix, &all).unwrap();
                let expected = all.each_ref().map(|message| by_library(&prefix, message));
                assert_eq!(got, expected, "{} and {len}", prefix.len());
            }
        }
    }

    #[test]
    fn every_byte_of_every_message_counts_in_its_own_place() {
        let mut all = [1, 2, 3, 4].map(|seed| bytes(seed, 200));
        let Some(before) = of(b"prefix", &all) else { return };
        for lane in 0..LANES {
            for at in 0..200 {
                all[lane][at] ^= 1;
                let after = of(b"prefix", &all).unwrap();
                let changed: Vec<_> = (0..LANES).filter(|other| after[*other] != before[*other]).collect();
                assert_eq!(changed, [lane], "byte {at}");
                all[lane][at] ^= 1;
            }
        }
    }

    #[test]
    fn what_is_not_four_of_a_length_is_left_to_the_caller() {
        let [a, b] = [100, 101].map(|len| bytes(1, len));
        assert_eq!(of_four(b"", [&a, &a, &a, &b]), None);
        assert_eq!(of_four(&[0; 64], [&a, &a, &a, &a]), None);
        assert_eq!(of_four(b"", [&a[..63]; LANES]), None);
    }
}
