//! What a format says must have been signed. It is recomputed from the document's parts and never believed.

use super::ForeignFormat;

/// What one document must have had signed, recomputed from its parts by the format's rule.
///
/// A format without a rule of its own (a bare report) states nothing: then only the caller can say what was to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The format.
    pub format: ForeignFormat,
    /// REPORT_DATA of SNP and TDX, whole.
    pub report_data: Option<[u8; 64]>,
    /// Qualifying data of a TPM quote, whole.
    pub qualifying_data: Option<Vec<u8>>,
    /// What every device must have answered.
    pub device_nonce: Option<[u8; 32]>,
    /// The challenge that the signature covers, by the rule.
    pub nonce: Option<Vec<u8>>,
    /// True if the paravisor's user-data must be the quote's qualifying data, padded with zeros (Azure, version 2).
    pub user_data_repeats: bool,
}

impl Rule {
    /// A format without a rule.
    pub fn unstated(format: ForeignFormat) -> Self {
        Self {
            format,
            report_data: None,
            qualifying_data: None,
            device_nonce: None,
            nonce: None,
            user_data_repeats: false,
        }
    }

    /// True if the document itself says what a CPU or TPM must have signed.
    pub fn states_a_commitment(&self) -> bool {
        self.report_data.is_some() || self.qualifying_data.is_some()
    }
}

/// What the caller drew, and so expects to find.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignExpectation {
    /// The whole signed field: 64 bytes of REPORT_DATA, or a TPM quote's qualifying data.
    pub report_data: Option<Vec<u8>>,
    /// The challenge, as bytes: for formats that state where it stands.
    pub nonce: Option<Vec<u8>>,
}
