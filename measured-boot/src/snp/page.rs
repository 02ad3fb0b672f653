//! The launch digest: one hash for each page, over the one before.
//!
//! # Layout
//! PAGE_INFO, 112 bytes, little-endian: current digest 48, contents 48, u16 length (112), u8 page type, u8 IMI (0), u8
//! permissions of VMPL3, VMPL2, VMPL1 (0), u8 reserved (0), u64 guest physical address. The next digest is its SHA-384.
//!
//! # Spec
//! SEV-SNP Firmware ABI (AMD 56860) 8.17.2, table "PAGE_INFO".

use hanzo_attestation::digest::Digest384;

use crate::firmware::PAGE_BYTES;

/// Where VMSA pages are measured, wherever they lie: `u64::MAX`, page-aligned and cut to 52 bits.
pub const VMSA_GPA: u64 = 0xffff_ffff_f000;
const PAGE_INFO_BYTES: u16 = 112;

/// PAGE_TYPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PageKind {
    /// Contents are measured.
    Normal = 1,
    /// Registers; contents are measured.
    Vmsa = 2,
    /// Zeros.
    Zero = 3,
    /// Contents are not measured.
    Unmeasured = 4,
    /// The secrets page.
    Secrets = 5,
    /// The CPUID page.
    Cpuid = 6,
}

/// A launch digest under construction.
#[derive(Debug, Clone)]
pub struct LaunchContext {
    digest: Digest384,
}

impl Default for LaunchContext {
    /// As SNP_LAUNCH_START leaves it: 48 zero bytes.
    fn default() -> Self {
        Self::resume(Digest384([0; 48]))
    }
}

impl LaunchContext {
    /// Goes on from a digest of earlier pages, such as those of the firmware alone.
    pub fn resume(digest: Digest384) -> Self {
        Self { digest }
    }

    /// The digest of the pages so far.
    pub fn digest(&self) -> Digest384 {
        self.digest
    }

    /// Measures one page whose contents have this SHA-384 (48 zero bytes for kinds whose contents are not measured).
    pub fn page(&mut self, kind: PageKind, gpa: u64, contents: &Digest384) {
        let mut info = [0; PAGE_INFO_BYTES as usize];
        let (current, rest) = info.split_at_mut(Digest384::LEN);
        let (measured, rest) = rest.split_at_mut(Digest384::LEN);
        current.copy_from_slice(&self.digest.0);
        measured.copy_from_slice(&contents.0);
        let tail = PAGE_INFO_BYTES
            .to_le_bytes()
            .into_iter()
            .chain([kind as u8, 0, 0, 0, 0, 0]);
        for (to, from) in rest.iter_mut().zip(tail.chain(gpa.to_le_bytes())) {
            *to = from;
        }
        self.digest = Digest384::of(&info);
    }

    /// Measures pages without contents: `bytes / 4096` of them.
    pub fn pages(&mut self, kind: PageKind, gpa: u64, bytes: u64) {
        for page in (0..bytes / PAGE_BYTES as u64).map(|page| page.wrapping_mul(PAGE_BYTES as u64)) {
            self.page(kind, gpa.wrapping_add(page), &Digest384([0; 48]));
        }
    }

    /// Measures an image as normal pages. Its length is a multiple of 4096: an image's whole pages count, a rest does not.
    pub fn image(&mut self, gpa: u64, image: &[u8]) {
        let mut blank = BlankPages::default();
        let mut at = gpa;
        for page in image.chunks_exact(PAGE_BYTES) {
            let contents = blank.digest(page);
            self.page(PageKind::Normal, at, &contents);
            at = at.wrapping_add(PAGE_BYTES as u64);
        }
    }
}

/// Much of a firmware image is filled with zeros or ones; each such page is hashed once.
#[derive(Default)]
struct BlankPages {
    zeros: Option<Digest384>,
    ones: Option<Digest384>,
}

impl BlankPages {
    fn digest(&mut self, page: &[u8]) -> Digest384 {
        let remembered = match page.first() {
            Some(0) => &mut self.zeros,
            Some(0xff) => &mut self.ones,
            _ => return Digest384::of(page),
        };
        // All bytes are equal if each equals the next: one comparison of memory.
        if page.get(1..) != page.get(..page.len().saturating_sub(1)) {
            return Digest384::of(page);
        }
        *remembered.get_or_insert_with(|| Digest384::of(page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha384;

    #[test]
    fn blank_pages_have_the_digest_of_their_bytes() {
        let mut blank = BlankPages::default();
        let mut almost = [0xff; PAGE_BYTES];
        almost[PAGE_BYTES - 1] = 0xfe;
        for page in [
            [0; PAGE_BYTES],
            [0xff; PAGE_BYTES],
            almost,
            [0; PAGE_BYTES],
            [7; PAGE_BYTES],
        ] {
            assert_eq!(blank.digest(&page), sha384(&[&page]));
        }
    }

    #[test]
    fn page_info_is_the_documented_112_bytes() {
        let mut context = LaunchContext::default();
        context.page(PageKind::Cpuid, 0x80_e000, &Digest384([0; 48]));
        let mut info = [0; 112];
        info[96] = 0x70;
        info[98] = 6;
        info[104..112].copy_from_slice(&0x80_e000_u64.to_le_bytes());
        assert_eq!(context.digest(), sha384(&[&info]));
    }
}
