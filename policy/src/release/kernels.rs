//! Kernels that are known to run no ACPI code of a host's.

use hanzo_attestation::Digest256;

use super::manifest::{ReleaseManifest, ReleasedImage};

/// SHA-256 of each, lower-case hex: what `image/kernel/build` made, in the order of their making. A kernel is added when it
/// is pinned, and leaves if it turns out to run such code after all.
pub const KERNELS_WITHOUT_HOST_AML: &[&str] = &["06f029e27b670d9a0aad68cff031ebc38d8fcf844f62bf990ee6d80122cb08b5"];

/// How an image's manifest calls its kernel.
const KERNEL: &str = "kernel";

impl ReleaseManifest {
    /// True if the kernel of every image here is one of [`KERNELS_WITHOUT_HOST_AML`].
    ///
    /// # Does not establish
    /// That a reference value is of one of these images: that is the signers' word, as is the rest of the manifest.
    pub fn runs_no_host_aml(&self) -> bool {
        !self.images.is_empty() && self.images.iter().all(|image| image.kernel().is_some_and(is_known))
    }
}

impl ReleasedImage {
    fn kernel(&self) -> Option<Digest256> {
        let mut files = self.files.iter();
        files.find_map(|(name, file)| (name.as_str() == KERNEL).then_some(file.sha256))
    }
}

fn is_known(kernel: Digest256) -> bool {
    KERNELS_WITHOUT_HOST_AML.contains(&kernel.to_string().as_str())
}
