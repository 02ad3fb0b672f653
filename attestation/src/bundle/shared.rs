//! One bundle for many callers: all of them get the same bytes but for their own place in the window.

use super::Bundle;
use crate::freshness::FreshnessPath;
use crate::jcs::{self, JcsError};

/// The member between `devices` and `keyset` in canonical order. Inside a string its quotes would be escaped, so it
/// stands in a bundle exactly once.
const NO_FRESHNESS: &[u8] = br#","freshness":null,"keyset":"#;
const NULL_AT: usize = br#","freshness":"#.len();
const NULL: usize = b"null".len();

/// The canonical bytes of a bundle, in two pieces around the value of `freshness`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedBundle {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl SharedBundle {
    /// Of `bundle`, whose own `freshness` is left out.
    ///
    /// # Errors
    /// [`JcsError`]: never for values of this type.
    pub fn of(bundle: &Bundle) -> Result<Self, JcsError> {
        let mut head = match bundle.freshness {
            None => bundle.canonical()?,
            Some(_) => Bundle {
                freshness: None,
                ..bundle.clone()
            }
            .canonical()?,
        };
        let found = head.windows(NO_FRESHNESS.len()).position(|w| w == NO_FRESHNESS);
        let missing = JcsError::Shape {
            what: "bundle",
            detail: "no member freshness before keyset".into(),
        };
        let at = found.ok_or(missing)? + NULL_AT;
        let tail = head.split_off(at).split_off(NULL);
        Ok(Self { head, tail })
    }

    /// What stands before and after each caller's own piece.
    pub fn into_pieces(self) -> (Vec<u8>, Vec<u8>) {
        (self.head, self.tail)
    }

    /// The piece between, for one caller.
    ///
    /// # Errors
    /// [`JcsError`]: never for values of this type.
    pub fn own_piece(path: &FreshnessPath) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("freshness", path)
    }
}
