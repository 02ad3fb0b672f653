//! The commands.

use std::path::Path;

use hanzo_attestation::bundle::{Base64, Pcr, TpmQuote};
use hanzo_attestation::{Digest256, Digest384};

use super::TpmError;
use super::connection::{Answer, Command, Connection, EMPTY_PASSWORD};
use super::public::{AkPublic, ecc_ak_template};
use super::wire::{Reader, Writer};

pub(super) const RH_OWNER: u32 = 0x4000_0001;
const RH_ENDORSEMENT: u32 = 0x4000_000b;
const RH_PLATFORM: u32 = 0x4000_000c;
const ALG_NULL: u16 = 0x0010;
const ALG_SHA256: u16 = 0x000b;
const ALG_SHA384: u16 = 0x000c;
const CAP_PCRS: u32 = 5;
/// Most banks that a TPM may say it keeps: there are five hashes.
const BANKS_MAX: u32 = 8;
const TPM_GENERATED: u32 = 0xff54_4347;
const ST_ATTEST_QUOTE: u16 = 0x8018;
/// TPMA_NV bits.
const NV_PPREAD: u32 = 1 << 16;
const NV_OWNERREAD: u32 = 1 << 17;
const NV_AUTHREAD: u32 = 1 << 18;
/// Least buffer that every TPM takes in one NV_Read (PC Client profile).
const NV_CHUNK_BYTES: u16 = 512;
const NV_BYTES_MAX: u16 = 8192;
/// Tries until quote and registers belong together.
const QUOTE_TRIES: u32 = 5;

/// Registers by their indexes, whatever their bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcrSelection(u32);

impl PcrSelection {
    /// What a boot measures: firmware and its configuration (0 to 7), loader (8, 9), unified kernel images (11 to 13),
    /// MOK (14). Not 10: IMA extends it all the time.
    pub fn boot() -> Self {
        Self::of(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14])
    }

    /// These; indexes above 23 are dropped.
    pub fn of(indexes: &[u8]) -> Self {
        Self(indexes.iter().filter(|i| **i < 24).fold(0, |bits, i| bits | 1 << i))
    }

    /// In ascending order.
    pub fn indexes(self) -> impl Iterator<Item = u8> {
        (0..24).filter(move |i| self.0 >> i & 1 == 1)
    }

    /// TPML_PCR_SELECTION: these registers of each of `banks`.
    fn marshal(self, banks: &[Bank]) -> Vec<u8> {
        let [low, middle, high, _] = self.0.to_le_bytes();
        let count = Writer::default().u32(banks.len() as u32);
        let each = |list: Writer, bank: &Bank| list.u16(bank.id()).u8(3).bytes(&[low, middle, high]);
        banks.iter().fold(count, each).done()
    }

    /// Reads one that has one bank alone.
    fn read(r: &mut Reader<'_>, bank: Bank) -> Result<Self, TpmError> {
        if r.u32("pcrSelect.count")? != 1 {
            return Err(r.bad("pcrSelect", "one bank alone"));
        }
        Self::read_one(r, bank)
    }

    /// Reads one TPMS_PCR_SELECTION, which must be of `bank`.
    fn read_one(r: &mut Reader<'_>, bank: Bank) -> Result<Self, TpmError> {
        if r.u16("pcrSelect.hash")? != bank.id() {
            return Err(r.bad("pcrSelect", "the bank that was asked for"));
        }
        let size = r.u8("pcrSelect.sizeofSelect")?;
        match (size, r.take("pcrSelect", usize::from(size))?) {
            (3, [low, middle, high]) => Ok(Self(u32::from_le_bytes([*low, *middle, *high, 0]))),
            _ => Err(r.bad("pcrSelect", "24 registers")),
        }
    }
}

/// A bank that quotes may cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bank {
    Sha256,
    Sha384,
}

impl Bank {
    fn id(self) -> u16 {
        match self {
            Self::Sha256 => ALG_SHA256,
            Self::Sha384 => ALG_SHA384,
        }
    }
}

/// What a quote selects: the same registers of the SHA-256 bank and, if asked for, of the SHA-384 bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quoted {
    pub(super) registers: PcrSelection,
    pub(super) sha384: bool,
}

impl Quoted {
    fn banks(self) -> &'static [Bank] {
        match self.sha384 {
            true => &[Bank::Sha256, Bank::Sha384],
            false => &[Bank::Sha256],
        }
    }
}

/// A TPM with one connection to it.
pub struct Tpm(pub(super) Connection);

/// A key loaded for the time of one quote.
pub(super) struct LoadedKey {
    handle: u32,
    transient: bool,
    pub(super) public: AkPublic,
}

impl Tpm {
    /// Opens `/dev/tpmrm0`, or a Unix socket that speaks the same.
    ///
    /// # Errors
    /// [`TpmError::Open`].
    pub fn open(path: &Path) -> Result<Self, TpmError> {
        Connection::open(path).map(Self)
    }

    pub(super) fn plain(
        &mut self,
        name: &'static str,
        code: u32,
        handles: &[u32],
        parameters: Vec<u8>,
    ) -> Result<Answer, TpmError> {
        self.0.run(Command {
            name,
            code,
            handles,
            authorised: None,
            parameters,
            makes_handle: false,
        })
    }

    pub(super) fn authorised(
        &mut self,
        name: &'static str,
        code: u32,
        handles: &[u32],
        parameters: Vec<u8>,
    ) -> Result<Answer, TpmError> {
        self.0.run(Command {
            name,
            code,
            handles,
            authorised: Some(&EMPTY_PASSWORD),
            parameters,
            makes_handle: false,
        })
    }

    /// The attestation key at a persistent handle.
    pub(super) fn persistent_key(&mut self, handle: u32) -> Result<LoadedKey, TpmError> {
        let answer = self.plain("TPM2_ReadPublic", 0x173, &[handle], Vec::new())?;
        let mut r = Reader::new("TPM2_ReadPublic", &answer.parameters);
        let public = AkPublic::parse("TPM2_ReadPublic", r.sized("outPublic")?)?;
        Ok(LoadedKey {
            handle,
            transient: false,
            public,
        })
    }

    /// The primary key that `template` (TPMT_PUBLIC) gives in the endorsement hierarchy.
    pub(super) fn endorsement_key(&mut self, template: &[u8]) -> Result<LoadedKey, TpmError> {
        self.create_primary(RH_ENDORSEMENT, template)
    }

    /// A P-256 attestation key in the owner hierarchy: the same one until the owner's seed changes.
    pub(super) fn owner_key(&mut self) -> Result<LoadedKey, TpmError> {
        self.create_primary(RH_OWNER, &ecc_ak_template())
    }

    fn create_primary(&mut self, hierarchy: u32, template: &[u8]) -> Result<LoadedKey, TpmError> {
        let name = "TPM2_CreatePrimary";
        let parameters = Writer::default()
            .u16(4) // inSensitive: empty password, no data
            .u16(0)
            .u16(0)
            .sized(template)
            .u16(0) // outsideInfo
            .u32(0) // creationPCR
            .done();
        let answer = self.0.run(Command {
            name,
            code: 0x131,
            handles: &[hierarchy],
            authorised: Some(&EMPTY_PASSWORD),
            parameters,
            makes_handle: true,
        })?;
        let mut r = Reader::new(name, &answer.parameters);
        let handle = answer.handle.unwrap_or_default();
        let public = r.sized("outPublic").and_then(|p| AkPublic::parse(name, p));
        match public {
            Ok(public) => Ok(LoadedKey {
                handle,
                transient: true,
                public,
            }),
            Err(error) => {
                self.flush(handle)?;
                Err(error)
            }
        }
    }

    pub(super) fn flush(&mut self, handle: u32) -> Result<(), TpmError> {
        let parameters = Writer::default().u32(handle).done();
        self.plain("TPM2_FlushContext", 0x165, &[], parameters).map(drop)
    }

    /// Makes room in the TPM again, if the key took any.
    pub(super) fn unload(&mut self, key: &LoadedKey) -> Result<(), TpmError> {
        match key.transient {
            true => self.flush(key.handle),
            false => Ok(()),
        }
    }

    /// True if the TPM keeps `registers` in a SHA-384 bank.
    ///
    /// # Errors
    /// [`TpmError`].
    pub(super) fn keeps_sha384(&mut self, registers: PcrSelection) -> Result<bool, TpmError> {
        let name = "TPM2_GetCapability";
        let parameters = Writer::default().u32(CAP_PCRS).u32(0).u32(1).done();
        let answer = self.plain(name, 0x17a, &[], parameters)?;
        let mut r = Reader::new(name, &answer.parameters);
        r.u8("moreData")?;
        if r.u32("capability")? != CAP_PCRS {
            return Err(r.bad("capability", "TPM_CAP_PCRS, which was asked for"));
        }
        let banks = r.u32("assignedPCR.count")?;
        if banks > BANKS_MAX {
            return Err(r.bad("assignedPCR.count", "at most 8 banks"));
        }
        let mut kept = false;
        for _ in 0..banks {
            let hash = r.u16("assignedPCR.hash")?;
            let size = r.u8("assignedPCR.sizeofSelect")?;
            let bits = r.take("assignedPCR.pcrSelect", usize::from(size))?;
            let bits = bits
                .iter()
                .take(3)
                .rev()
                .fold(0, |bits, byte| bits << 8 | u32::from(*byte));
            kept |= hash == ALG_SHA384 && registers.0 & !bits == 0;
        }
        r.end("assignedPCR")?;
        Ok(kept)
    }

    /// A quote over `qualifying_data` and the selected registers, with the registers' values, by a key that is unloaded
    /// afterwards.
    ///
    /// # Establishes
    /// The quote carries exactly `qualifying_data`, and its digest is that of the values. Its signature is not checked.
    ///
    /// # Errors
    /// [`TpmError`]; [`TpmError::Unstable`] if registers kept changing.
    pub(super) fn quote(
        &mut self,
        key: &LoadedKey,
        qualifying_data: &[u8],
        quoted: Quoted,
    ) -> Result<TpmQuote, TpmError> {
        let mut outcome = Err(TpmError::Unstable { tries: QUOTE_TRIES });
        for _ in 0..QUOTE_TRIES {
            match self.try_quote(key, qualifying_data, quoted) {
                Ok(None) => continue,
                Ok(Some(quoted)) => outcome = Ok(quoted),
                Err(error) => outcome = Err(error),
            }
            break;
        }
        let flushed = self.unload(key);
        let quoted = outcome?;
        flushed.map(|()| quoted)
    }

    fn try_quote(
        &mut self,
        key: &LoadedKey,
        qualifying_data: &[u8],
        quoted: Quoted,
    ) -> Result<Option<TpmQuote>, TpmError> {
        let name = "TPM2_Quote";
        let parameters = Writer::default()
            .sized(qualifying_data)
            .u16(ALG_NULL) // inScheme: the key's own
            .bytes(&quoted.registers.marshal(quoted.banks()))
            .done();
        let answer = self.authorised(name, 0x158, &[key.handle], parameters)?;
        let mut r = Reader::new(name, &answer.parameters);
        let message = r.sized("quoted")?;
        let signature = r.rest();
        let digest = check_attest(message, qualifying_data, quoted)?;
        let sha256 = self.registers::<32>(Bank::Sha256, quoted.registers)?;
        let sha384 = match quoted.sha384 {
            true => self.registers::<48>(Bank::Sha384, quoted.registers)?,
            false => Vec::new(),
        };
        let mut all: Vec<u8> = sha256.iter().flat_map(|(_, value)| *value).collect();
        all.extend(sha384.iter().flat_map(|(_, value)| *value));
        if digest != Digest256::of(&all).0 {
            return Ok(None);
        }
        let listed = |(index, value)| Pcr {
            index,
            value: Digest256(value),
        };
        let listed_sha384 = |(index, value)| Pcr {
            index,
            value: Digest384(value),
        };
        Ok(Some(TpmQuote {
            message: Base64(message.to_vec()),
            pcrs: sha256.into_iter().map(listed).collect(),
            pcrs_sha384: sha384.into_iter().map(listed_sha384).collect(),
            signature: Base64(signature.to_vec()),
        }))
    }

    /// Values of the selected registers, ascending. A TPM gives at most 8 at a time.
    fn registers<const N: usize>(
        &mut self,
        bank: Bank,
        selection: PcrSelection,
    ) -> Result<Vec<(u8, [u8; N])>, TpmError> {
        let name = "TPM2_PCR_Read";
        let mut values = Vec::new();
        let mut left = selection;
        while left.0 != 0 {
            let answer = self.plain(name, 0x17e, &[], left.marshal(&[bank]))?;
            let mut r = Reader::new(name, &answer.parameters);
            r.u32("pcrUpdateCounter")?;
            let given = PcrSelection::read(&mut r, bank)?;
            let count = r.u32("pcrValues.count")?;
            if given.0 == 0 || given.0 & !left.0 != 0 || count != given.0.count_ones() {
                return Err(r.bad("pcrSelectionOut", "some of the registers asked for, each with a value"));
            }
            for index in given.indexes() {
                let value = r.sized("pcrValues")?.try_into();
                let value = value.map_err(|_| r.bad("pcrValues", "digests as long as the bank's"))?;
                values.push((index, value));
            }
            r.end("pcrValues")?;
            left.0 &= !given.0;
        }
        values.sort_by_key(|(index, _)| *index);
        Ok(values)
    }

    /// The whole of an NV index; `None` if there is no such index.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn nv(&mut self, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
        let name = "TPM2_NV_ReadPublic";
        let answer = match self.plain(name, 0x169, &[index], Vec::new()) {
            Err(TpmError::NoHandle { .. }) => return Ok(None),
            other => other?,
        };
        let mut outer = Reader::new(name, &answer.parameters);
        let mut r = Reader::new(name, outer.sized("nvPublic")?);
        let named = r.u32("nvIndex")?;
        r.u16("nameAlg")?;
        let attributes = r.u32("attributes")?;
        r.sized("authPolicy")?;
        let size = r.u16("dataSize")?;
        if named != index || size > NV_BYTES_MAX {
            return Err(r.bad("nvPublic", "the index asked for, of at most 8192 bytes"));
        }
        let authority = match attributes {
            a if a & NV_OWNERREAD != 0 => RH_OWNER,
            a if a & NV_AUTHREAD != 0 => index,
            a if a & NV_PPREAD != 0 => RH_PLATFORM,
            _ => return Err(r.bad("attributes", "an index that owner or its own password may read")),
        };
        let mut bytes = Vec::new();
        while bytes.len() < usize::from(size) {
            let offset = bytes.len() as u16;
            let len = (size - offset).min(NV_CHUNK_BYTES);
            let parameters = Writer::default().u16(len).u16(offset).done();
            let answer = self.authorised("TPM2_NV_Read", 0x14e, &[authority, index], parameters)?;
            let mut r = Reader::new("TPM2_NV_Read", &answer.parameters);
            let chunk = r.sized("data")?;
            if chunk.len() != usize::from(len) {
                return Err(r.bad("data", "as many bytes as were asked for"));
            }
            bytes.extend_from_slice(chunk);
        }
        Ok(Some(bytes))
    }
}

/// Reads TPMS_ATTEST as far as needed; returns pcrDigest.
fn check_attest(message: &[u8], qualifying_data: &[u8], quoted: Quoted) -> Result<Vec<u8>, TpmError> {
    let mut r = Reader::new("TPM2_Quote", message);
    if r.u32("magic")? != TPM_GENERATED || r.u16("type")? != ST_ATTEST_QUOTE {
        return Err(r.bad("quoted", "TPM_GENERATED_VALUE and TPM_ST_ATTEST_QUOTE"));
    }
    r.sized("qualifiedSigner")?;
    if r.sized("extraData")? != qualifying_data {
        return Err(TpmError::QualifyingData);
    }
    r.take("clockInfo", 17)?;
    r.u64("firmwareVersion")?;
    let banks = quoted.banks();
    if r.u32("pcrSelect.count")? != banks.len() as u32 {
        return Err(r.bad("pcrSelect", "the banks asked for"));
    }
    for bank in banks {
        if PcrSelection::read_one(&mut r, *bank)? != quoted.registers {
            return Err(r.bad("pcrSelect", "the registers asked for"));
        }
    }
    let digest = r.sized("pcrDigest")?.to_vec();
    r.end("quoted")?;
    Ok(digest)
}
