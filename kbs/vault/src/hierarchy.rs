//! The key hierarchy: root, tenant KEK, data key, per-object key.
//!
//! # Layout
//! ```text
//! Root (32 bytes, outside the store; hanzo-root)
//!  ├─ HKDF, one domain string per RootPurpose ── store key, KEK wrapping key, session MAC key, commitment
//!  └─ KEK wrapping key ── AES-256-GCM ── TenantKek (32 random bytes, versioned per tenant)
//!        └─ HKDF by tier class ── AES-256-GCM ── secret (a data key, or a resource of 1 to 64 KiB)
//!              └─ HKDF by label ── per-object key
//! ```
//! Everything that is authenticated or derived from is framed: each part after its length as u32, big endian, the domain
//! string first. Two lists of parts never share a frame.

mod kek;
mod object;
mod root;

pub use kek::{TenantKek, WRAPPED_KEK_BYTES};
pub use object::object_key;
pub use root::{Root, RootPurpose};

/// Each part after its length (u32, big endian), the domain string first.
pub(crate) fn frame(domain: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(domain.len() + 4 + parts.iter().map(|p| p.len() + 4).sum::<usize>());
    for part in std::iter::once(&domain.as_bytes()).chain(parts) {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn frames_of_different_parts_differ() {
        assert_eq!(frame("d", &[b"ab", b""]), b"\0\0\0\x01d\0\0\0\x02ab\0\0\0\0");
        assert_ne!(frame("d", &[b"ab", b"c"]), frame("d", &[b"a", b"bc"]));
        assert_ne!(frame("d", &[b"ab"]), frame("d", &[b"ab", b""]));
    }
}
