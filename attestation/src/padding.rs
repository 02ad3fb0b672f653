//! How long things look: the closed list of padding modes, for clients who choose one and configurations that demand one.
//!
//! # Layout
//! On the wire a mode is its word ([`Padding::name`]). The lengths of a mode are all lengths of the mode before it or fewer:
//! whoever takes the later one hides at least as much.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The smallest padded length, and the step of [`Padding::Blocks`], in bytes.
pub const BLOCK_BYTES: usize = 512;

/// Which lengths there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Padding {
    /// Every length: what is sent is as long as it is.
    #[default]
    #[serde(rename = "off")]
    Off,
    /// Multiples of 512 bytes.
    #[serde(rename = "512")]
    Blocks,
    /// Powers of two from 512 bytes on.
    #[serde(rename = "power-of-two")]
    PowerOfTwo,
}

/// The word is no [`Padding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("padding: expected off, 512 or power-of-two")]
pub struct PaddingError;

impl Padding {
    /// All of them, the one that hides least first.
    pub const ALL: [Self; 3] = [Self::Off, Self::Blocks, Self::PowerOfTwo];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Blocks => "512",
            Self::PowerOfTwo => "power-of-two",
        }
    }

    /// The smallest length of this mode that `len` bytes fit in.
    pub fn padded(self, len: usize) -> usize {
        match self {
            Self::Off => len,
            Self::Blocks => len.max(1).checked_next_multiple_of(BLOCK_BYTES).unwrap_or(len),
            Self::PowerOfTwo => len.max(BLOCK_BYTES).checked_next_power_of_two().unwrap_or(len),
        }
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Padding {
    type Err = PaddingError;

    fn from_str(text: &str) -> Result<Self, PaddingError> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or(PaddingError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_the_smallest_of_their_mode_and_the_stronger_mode_has_no_others() {
        for (len, blocks, power) in [
            (0, 512, 512),
            (1, 512, 512),
            (512, 512, 512),
            (513, 1024, 1024),
            (1025, 1536, 2048),
            (16_384, 16_384, 16_384),
            (16_385, 16_896, 32_768),
        ] {
            assert_eq!(Padding::Off.padded(len), len);
            assert_eq!(Padding::Blocks.padded(len), blocks, "{len}");
            assert_eq!(Padding::PowerOfTwo.padded(len), power, "{len}");
            assert_eq!(Padding::Blocks.padded(power), power, "{len}");
        }
        for huge in [usize::MAX, usize::MAX - 1] {
            assert!(Padding::ALL.iter().all(|mode| mode.padded(huge) == huge));
        }
    }

    #[test]
    fn words_are_read_as_they_are_written_and_no_others() {
        for mode in Padding::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        for bad in ["", "OFF", "1024", "pow2", "512 "] {
            assert_eq!(bad.parse::<Padding>(), Err(PaddingError), "{bad}");
        }
        assert!(Padding::Off < Padding::Blocks && Padding::Blocks < Padding::PowerOfTwo);
    }
}
