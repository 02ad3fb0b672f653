//! Seeds that the host cannot choose: RDSEED mixed with the kernel's random source.
//!
//! A guest's kernel pool is fed by interrupts and devices that the host controls. RDSEED is not: SEV-SNP and TDX give
//! the guest the processor's own. Every seed of a long-lived key is therefore
//! `SHA-512("hanzo/seed/v1" || 64 bytes RDSEED || 64 bytes kernel || counter)`, cut to length: as good as the better of
//! the two. Without RDSEED no key is made.

use hanzo_attestation::digest::sha512;
use zeroize::{Zeroize, Zeroizing};

use crate::error::DeviceError;

const DOMAIN: &[u8] = b"hanzo/seed/v1";
/// RDSEED may run dry for a moment when several cores draw; Intel's guide asks for patience here.
const TRIES: u32 = 4096;

/// A seed of `N` bytes.
///
/// # Errors
/// [`DeviceError::Entropy`] without RDSEED or without the kernel's source.
pub fn mixed_seed<const N: usize>() -> Result<Zeroizing<[u8; N]>, DeviceError> {
    let mut input = Zeroizing::new([0_u8; 13 + 64 + 64 + 8]);
    let (domain, rest) = input.split_at_mut(13);
    let (hardware, rest) = rest.split_at_mut(64);
    let (kernel, _) = rest.split_at_mut(64);
    domain.copy_from_slice(DOMAIN);
    fill_from_rdseed(hardware)?;
    fill_from_kernel(kernel)?;
    let mut out = Zeroizing::new([0; N]);
    for (counter, chunk) in (0_u64..).zip(out.chunks_mut(64)) {
        if let Some(tail) = input.last_chunk_mut::<8>() {
            *tail = counter.to_be_bytes();
        }
        let mut block = sha512(input.as_slice());
        for (to, from) in chunk.iter_mut().zip(block) {
            *to = from;
        }
        block.zeroize();
    }
    Ok(out)
}

fn fill_from_kernel(out: &mut [u8]) -> Result<(), DeviceError> {
    aws_lc_rs::rand::fill(out).map_err(|_| DeviceError::Entropy {
        why: "works, but the kernel's random source failed",
    })
}

#[cfg(target_arch = "x86_64")]
fn fill_from_rdseed(out: &mut [u8]) -> Result<(), DeviceError> {
    if !std::arch::is_x86_feature_detected!("rdseed") {
        return Err(DeviceError::Entropy {
            why: "is not offered by this processor",
        });
    }
    let mut previous = None;
    for chunk in out.chunks_mut(8) {
        let word = rdseed_word(&mut previous)?;
        for (to, from) in chunk.iter_mut().zip(word.to_le_bytes()) {
            *to = from;
        }
    }
    Ok(())
}

/// One word; a word of all zeros, all ones or equal to the one before counts as failure (broken RDSEED has answered
/// such words with the success flag set: AMD-SB-7055).
#[cfg(target_arch = "x86_64")]
fn rdseed_word(previous: &mut Option<u64>) -> Result<u64, DeviceError> {
    for _ in 0..TRIES {
        let mut word = 0;
        #[allow(
            unsafe_code,
            reason = "the intrinsic may only run on processors with RDSEED, checked above"
        )]
        // SAFETY: the caller checked that the processor has RDSEED.
        let success = unsafe { rdseed_step(&mut word) };
        if success && word != 0 && word != u64::MAX && *previous != Some(word) {
            *previous = Some(word);
            return Ok(word);
        }
        std::hint::spin_loop();
    }
    Err(DeviceError::Entropy {
        why: "delivered nothing in 4096 tries",
    })
}

/// # Safety
/// The processor must have RDSEED.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "rdseed")]
#[allow(unsafe_code, reason = "declares that the caller must have checked for RDSEED")]
unsafe fn rdseed_step(word: &mut u64) -> bool {
    std::arch::x86_64::_rdseed64_step(word) == 1
}

#[cfg(not(target_arch = "x86_64"))]
fn fill_from_rdseed(_out: &mut [u8]) -> Result<(), DeviceError> {
    Err(DeviceError::Entropy {
        why: "exists on x86-64 alone",
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn seeds_differ_from_each_other_and_fill_every_length() {
        if mixed_seed::<1>().is_err() {
            let _ = writeln!(std::io::stderr(), "RDSEED MISSING on this machine: not run");
            return;
        }
        let a = mixed_seed::<96>().unwrap();
        let b = mixed_seed::<96>().unwrap();
        assert_ne!(*a, *b);
        assert_ne!(a[..32], a[64..], "blocks differ by their counter");
        assert!(a.iter().any(|x| *x != 0));
    }
}
