//! TDX: MRTD, the measurement of what a trust domain is built from.
//!
//! # Layout
//! SHA-384 over one stream. Each page that is added (not PAGE.AUG) contributes 128 bytes: "MEM.PAGE.ADD" at 0, u64 guest
//! physical address at 16, zeros. Each 256 bytes of a measured page (MR.EXTEND) contribute 128 bytes with "MR.EXTEND" at 0 and
//! the address of the 256 bytes at 16, and then the 256 bytes.
//!
//! # Spec
//! Intel TDX Module base architecture specification, "MRTD: build-time measurement register".

use aws_lc_rs::digest::{Context, SHA384};
use hanzo_attestation::digest::Digest384;
use serde::{Deserialize, Serialize};

use crate::firmware::{Firmware, FirmwareError, PAGE_BYTES, TdvfSection};

const CHUNK_BYTES: usize = 256;
const RECORD_BYTES: usize = 128;

/// In which order a VMM adds and measures the pages of one section. The wrong choice is the commonest cause of a mismatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageOrder {
    /// Each page is added and at once measured: KVM and QEMU as they are upstream, and Google Compute Engine.
    SinglePass,
    /// All pages of a section are added, then all are measured: earlier KVM and QEMU branches for TDX.
    TwoPass,
}

/// MRTD of a trust domain that starts with `firmware`.
///
/// # Errors
/// [`FirmwareError`]: no, malformed or overlapping TDX sections, or sections whose contents the file does not have.
pub fn mrtd(firmware: &Firmware<'_>, order: PageOrder) -> Result<Digest384, FirmwareError> {
    let sections = firmware.tdvf_sections()?;
    let mut stream = Stream::default();
    for section in &sections {
        // Checked to lie within the file.
        let contents = firmware
            .bytes()
            .get(section.offset..)
            .and_then(|rest| rest.get(..section.raw_bytes))
            .unwrap_or_default();
        for page in pages(section) {
            stream.add(section.gpa.wrapping_add(page));
            if order == PageOrder::SinglePass && section.attributes.extended {
                stream.extend(section.gpa, page, contents);
            }
        }
        if order == PageOrder::TwoPass && section.attributes.extended {
            for page in pages(section) {
                stream.extend(section.gpa, page, contents);
            }
        }
    }
    Ok(stream.finish())
}

/// Offsets of a section's pages from its start. Pages that come after the launch have none.
fn pages(section: &TdvfSection) -> impl Iterator<Item = u64> + use<> {
    let bytes = if section.attributes.augmented { 0 } else { section.bytes };
    (0..bytes).step_by(PAGE_BYTES)
}

/// What MRTD is the hash of.
pub(crate) struct Stream(Context);

impl Default for Stream {
    fn default() -> Self {
        Self(Context::new(&SHA384))
    }
}

impl Stream {
    /// A page that is added.
    pub(crate) fn add(&mut self, gpa: u64) {
        self.0.update(&record(b"MEM.PAGE.ADD", gpa));
    }

    /// Measures the page at offset `page` of contents that begin at `gpa`. What the contents do not have is zeros.
    pub(crate) fn extend(&mut self, gpa: u64, page: u64, contents: &[u8]) {
        for at in (page..page.saturating_add(PAGE_BYTES as u64)).step_by(CHUNK_BYTES) {
            self.0.update(&record(b"MR.EXTEND", gpa.wrapping_add(at)));
            let rest = usize::try_from(at)
                .ok()
                .and_then(|at| contents.get(at..))
                .unwrap_or_default();
            match rest.first_chunk::<CHUNK_BYTES>() {
                Some(chunk) => self.0.update(chunk),
                None => {
                    let mut chunk = [0; CHUNK_BYTES];
                    for (to, from) in chunk.iter_mut().zip(rest) {
                        *to = *from;
                    }
                    self.0.update(&chunk);
                }
            }
        }
    }

    pub(crate) fn finish(self) -> Digest384 {
        let mut digest = [0; 48];
        digest.copy_from_slice(self.0.finish().as_ref());
        Digest384(digest)
    }
}

fn record(name: &[u8], gpa: u64) -> [u8; RECORD_BYTES] {
    let mut out = [0; RECORD_BYTES];
    for (to, from) in out.iter_mut().zip(name) {
        *to = *from;
    }
    for (to, from) in out.iter_mut().skip(16).zip(gpa.to_le_bytes()) {
        *to = from;
    }
    out
}
