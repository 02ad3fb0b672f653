//! CoRIM files for SEV-SNP (draft-ietf-rats-corim; AMD's profile `tag:amd.com,2024:snp-corim-profile`): read strictly, so
//! that a file that says less than it seems to is refused.
//!
//! Unsigned CoRIM (CBOR tag 501) with CoMID tags alone. Reference values must name the field that they are for by its
//! number, and trust anchors vendor and model of the root. The JSON rendering is refused: it is not what gets signed.
//!
//! # Does not establish
//! Who wrote the file: a CoRIM without a COSE signature is anybody's word, and no policy of this project is made of one.

mod cbor;

use cbor::Item;

/// Longest file in bytes.
pub const CORIM_BYTES_MAX: usize = 1 << 20;
const PROFILE: &str = "tag:amd.com,2024:snp-corim-profile";

const TAG_URI: u64 = 32;
const TAG_OID: u64 = 111;
const TAG_CORIM: u64 = 501;
const TAG_COMID: u64 = 506;
const TAG_PEM: u64 = 554;
const TAG_PEM_CERTIFICATE: u64 = 555;

/// What a CoRIM for SEV-SNP says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpCorim {
    /// The file's id.
    pub id: String,
    /// Reference values: number of the field in AMD's profile, in the file's order.
    pub reference_fields: Vec<u64>,
    /// Trust anchors: vendor and model of each root.
    pub anchors: Vec<(String, String)>,
}

/// Why a CoRIM was refused.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum CorimError {
    /// Longer than any file.
    #[error("CoRIM: more than 1048576 bytes")]
    TooLarge,
    /// Not CBOR of this shape.
    #[error("CoRIM: {0}: expected the member as AMD's profile has it")]
    Shape(&'static str),
    /// JSON, a signed CoRIM or something else.
    #[error("CoRIM: expected unsigned CoRIM in CBOR (tag 501), got another form")]
    Form,
    /// Another profile.
    #[error("CoRIM: profile: expected tag:amd.com,2024:snp-corim-profile, got another or none")]
    Profile,
    /// A reference value that does not say what it is for.
    #[error("CoRIM: reference value: mkey: expected the number of a report field, got none")]
    NoKey,
    /// A reference value for something that is no field.
    #[error("CoRIM: reference value: mkey: expected the number of a report field, got another type")]
    Key,
    /// An anchor without vendor.
    #[error("CoRIM: trust anchor: class.vendor: expected AMD's name, got none")]
    NoVendor,
    /// An anchor without model.
    #[error("CoRIM: trust anchor: class.model: expected the product's root, got none")]
    NoModel,
}

impl CorimError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "corim.too_large",
            Self::Shape(_) => "corim.shape",
            Self::Form => "corim.form",
            Self::Profile => "corim.profile",
            Self::NoKey => "corim.no_key",
            Self::Key => "corim.key",
            Self::NoVendor => "corim.no_vendor",
            Self::NoModel => "corim.no_model",
        }
    }
}

impl SnpCorim {
    /// Reads a file.
    ///
    /// # Errors
    /// [`CorimError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CorimError> {
        if bytes.len() > CORIM_BYTES_MAX {
            return Err(CorimError::TooLarge);
        }
        // CBOR tag 501 is d9 01 f5; everything else is another form.
        if bytes.get(..3) != Some(&[0xd9, 0x01, 0xf5]) {
            return Err(CorimError::Form);
        }
        let root = Item::parse(bytes).ok_or(CorimError::Shape("file"))?;
        let corim = root.tagged(TAG_CORIM).ok_or(CorimError::Form)?;
        let profile = corim.member(3).and_then(|p| p.tagged(TAG_URI)).and_then(Item::text);
        if profile != Some(PROFILE) {
            return Err(CorimError::Profile);
        }
        let mut out = Self {
            id: corim
                .member(0)
                .and_then(Item::text)
                .ok_or(CorimError::Shape("id"))?
                .to_owned(),
            reference_fields: Vec::new(),
            anchors: Vec::new(),
        };
        for tag in corim.member(1).and_then(Item::list).ok_or(CorimError::Shape("tags"))? {
            let comid = tag
                .tagged(TAG_COMID)
                .and_then(Item::bytes)
                .and_then(Item::parse)
                .ok_or(CorimError::Shape("tags: CoMID"))?;
            out.add(comid.member(4).ok_or(CorimError::Shape("triples"))?)?;
        }
        Ok(out)
    }

    fn add(&mut self, triples: &Item) -> Result<(), CorimError> {
        let Item::Map(members) = triples else {
            return Err(CorimError::Shape("triples"));
        };
        for (kind, list) in members {
            let list = list.list().ok_or(CorimError::Shape("triples"))?;
            match kind {
                Item::Int(0) => list.iter().try_for_each(|t| self.reference(t))?,
                Item::Int(3) => list.iter().try_for_each(|t| self.anchor(t))?,
                _ => return Err(CorimError::Shape("triples: only reference values and attestation keys")),
            }
        }
        Ok(())
    }

    /// `[environment, [{0: mkey, 1: mval}]]`.
    fn reference(&mut self, triple: &Item) -> Result<(), CorimError> {
        let Some([environment, measurements]) = triple.list() else {
            return Err(CorimError::Shape("reference triple"));
        };
        environment
            .member(0)
            .and_then(|class| class.member(0))
            .and_then(|id| id.tagged(TAG_OID))
            .and_then(Item::bytes)
            .ok_or(CorimError::Shape("reference triple: class-id"))?;
        let measurements = measurements
            .list()
            .filter(|list| !list.is_empty())
            .ok_or(CorimError::Shape("reference triple: measurements"))?;
        for measurement in measurements {
            match measurement.member(0) {
                Some(Item::Int(field)) => self.reference_fields.push(*field),
                Some(_) => return Err(CorimError::Key),
                None => return Err(CorimError::NoKey),
            }
            measurement
                .member(1)
                .filter(|mval| matches!(mval, Item::Map(values) if !values.is_empty()))
                .ok_or(CorimError::Shape("reference triple: mval"))?;
        }
        Ok(())
    }

    /// `[environment, [key]]`.
    fn anchor(&mut self, triple: &Item) -> Result<(), CorimError> {
        let Some([environment, keys]) = triple.list() else {
            return Err(CorimError::Shape("attestation key triple"));
        };
        let class = environment.member(0).ok_or(CorimError::Shape("trust anchor: class"))?;
        let named = |member| class.member(member).and_then(Item::text).filter(|t| !t.is_empty());
        let vendor = named(1).ok_or(CorimError::NoVendor)?;
        let model = named(2).ok_or(CorimError::NoModel)?;
        let keys = keys.list().filter(|list| !list.is_empty());
        let is_pem = |key: &Item| {
            [TAG_PEM, TAG_PEM_CERTIFICATE]
                .into_iter()
                .any(|tag| key.tagged(tag).and_then(Item::text).is_some())
        };
        if !keys.is_some_and(|keys| keys.iter().all(is_pem)) {
            return Err(CorimError::Shape("trust anchor: keys"));
        }
        self.anchors.push((vendor.to_owned(), model.to_owned()));
        Ok(())
    }
}
