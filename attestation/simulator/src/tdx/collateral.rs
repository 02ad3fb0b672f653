//! What the simulated vendor says of its platforms: TCB info, QE identity and lists.

use hanzo_attestation::UnixTime;

use crate::encode::rfc3339;

/// A level of TCB info.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members of a TCB level in Intel's spelling")]
pub struct TcbLevelSpec {
    pub sgx: [u8; 16],
    pub pce_svn: u16,
    pub tdx: [u8; 16],
    pub status: String,
    pub advisories: Vec<String>,
    pub date: u64,
}

/// A level of a TDX module or quoting enclave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members of a level in Intel's spelling")]
pub struct IsvLevelSpec {
    pub isv_svn: u16,
    pub status: String,
    pub advisories: Vec<String>,
    pub date: u64,
}

/// The identity of one TDX module version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members of a module identity in Intel's spelling")]
pub struct ModuleSpec {
    pub version: u8,
    pub mr_signer: [u8; 48],
    pub attributes: u64,
    pub attributes_mask: u64,
    pub levels: Vec<IsvLevelSpec>,
}

/// Who signs the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentSigner {
    /// The TCB signing certificate below the root, as it must be.
    TcbSigning,
    /// A signing certificate below the PCK CA.
    BelowPckCa,
    /// The PCK CA itself.
    PckCa,
}

/// A certificate that a list names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedCertificate {
    /// The platform's PCK certificate.
    Pck,
    /// The PCK CA.
    PckCa,
    /// The signer of the documents.
    TcbSigning,
}

/// Collateral of one platform type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members of the documents in Intel's spelling")]
pub struct CollateralSpec {
    pub fmspc: [u8; 6],
    pub pce_id: [u8; 2],
    pub tcb_info_id: String,
    pub tcb_info_version: u8,
    pub tcb_info_window: (u64, u64),
    pub qe_identity_window: (u64, u64),
    pub root_crl_window: (u64, u64),
    pub pck_crl_window: (u64, u64),
    pub tcb_evaluation_data_number: u32,
    pub qe_evaluation_data_number: u32,
    pub levels: Vec<TcbLevelSpec>,
    pub modules: Vec<ModuleSpec>,
    pub qe_identity_id: String,
    pub qe_mr_signer: [u8; 32],
    pub qe_isv_prod_id: u16,
    pub qe_attributes: [u8; 16],
    pub qe_levels: Vec<IsvLevelSpec>,
    pub revoked: Vec<RevokedCertificate>,
    pub lists_are_partial: bool,
    pub signer: DocumentSigner,
}

impl CollateralSpec {
    /// A platform type that is up to date, alive from an hour before `now` for 30 days.
    pub fn new(now: UnixTime) -> Self {
        let window = (now.0.saturating_sub(3600), now.0 + 30 * 86_400);
        let date = now.0 - now.0 % 86_400 - 200 * 86_400;
        let isv = |isv_svn| IsvLevelSpec {
            isv_svn,
            status: "UpToDate".into(),
            advisories: Vec::new(),
            date,
        };
        let mut qe_attributes = [0; 16];
        qe_attributes[0] = 0x11;
        let mut tdx = [0; 16];
        tdx[..3].copy_from_slice(&[5, 0, 4]);
        Self {
            fmspc: [0x51, 0x80, 0x6f, 0, 0, 0],
            pce_id: [0; 2],
            tcb_info_id: "TDX".into(),
            tcb_info_version: 3,
            tcb_info_window: window,
            qe_identity_window: window,
            root_crl_window: window,
            pck_crl_window: window,
            tcb_evaluation_data_number: 18,
            qe_evaluation_data_number: 18,
            levels: vec![TcbLevelSpec {
                sgx: [2; 16],
                pce_svn: 11,
                tdx,
                status: "UpToDate".into(),
                advisories: Vec::new(),
                date,
            }],
            modules: vec![ModuleSpec {
                version: 1,
                mr_signer: [0; 48],
                attributes: 0,
                attributes_mask: u64::MAX,
                levels: vec![isv(4)],
            }],
            qe_identity_id: "TD_QE".into(),
            qe_mr_signer: [0x9e; 32],
            qe_isv_prod_id: 2,
            qe_attributes,
            qe_levels: vec![isv(4)],
            revoked: Vec::new(),
            lists_are_partial: false,
            signer: DocumentSigner::TcbSigning,
        }
    }

    /// The JSON that is signed.
    pub(crate) fn tcb_info(&self) -> String {
        let component = |svn: &u8| format!("{{\"svn\":{svn}}}");
        let components = |svns: &[u8; 16]| svns.iter().map(component).collect::<Vec<_>>().join(",");
        let levels = self.levels.iter().map(|level| {
            format!(
                "{{\"tcb\":{{\"sgxtcbcomponents\":[{}],\"pcesvn\":{},\"tdxtcbcomponents\":[{}]}},{}}}",
                components(&level.sgx),
                level.pce_svn,
                components(&level.tdx),
                status(level.date, &level.status, &level.advisories)
            )
        });
        let modules = self.modules.iter().map(|module| {
            format!(
                "{{\"id\":\"TDX_{:02X}\",\"mrsigner\":\"{}\",\"attributes\":\"{}\",\"attributesMask\":\"{}\",\
                 \"tcbLevels\":[{}]}}",
                module.version,
                hex(&module.mr_signer),
                hex(&module.attributes.to_le_bytes()),
                hex(&module.attributes_mask.to_le_bytes()),
                isv_levels(&module.levels)
            )
        });
        format!(
            "{{\"id\":\"{}\",\"version\":{},{},\"fmspc\":\"{}\",\"pceId\":\"{}\",\"tcbType\":0,\
             \"tcbEvaluationDataNumber\":{},\"tdxModule\":{{\"mrsigner\":\"{}\",\"attributes\":\"{}\",\
             \"attributesMask\":\"{}\"}},\"tdxModuleIdentities\":[{}],\"tcbLevels\":[{}]}}",
            self.tcb_info_id,
            self.tcb_info_version,
            window(self.tcb_info_window),
            hex(&self.fmspc),
            hex(&self.pce_id),
            self.tcb_evaluation_data_number,
            hex(&[0; 48]),
            hex(&[0; 8]),
            hex(&[0xff; 8]),
            modules.collect::<Vec<_>>().join(","),
            levels.collect::<Vec<_>>().join(",")
        )
    }

    /// The JSON that is signed.
    pub(crate) fn qe_identity(&self) -> String {
        format!(
            "{{\"id\":\"{}\",\"version\":2,{},\"tcbEvaluationDataNumber\":{},\"miscselect\":\"00000000\",\
             \"miscselectMask\":\"FFFFFFFF\",\"attributes\":\"{}\",\
             \"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\",\"mrsigner\":\"{}\",\"isvprodid\":{},\
             \"tcbLevels\":[{}]}}",
            self.qe_identity_id,
            window(self.qe_identity_window),
            self.qe_evaluation_data_number,
            hex(&self.qe_attributes),
            hex(&self.qe_mr_signer),
            self.qe_isv_prod_id,
            isv_levels(&self.qe_levels)
        )
    }
}

fn isv_levels(levels: &[IsvLevelSpec]) -> String {
    let levels = levels.iter().map(|level| {
        format!(
            "{{\"tcb\":{{\"isvsvn\":{}}},{}}}",
            level.isv_svn,
            status(level.date, &level.status, &level.advisories)
        )
    });
    levels.collect::<Vec<_>>().join(",")
}

fn status(date: u64, status: &str, advisories: &[String]) -> String {
    let quoted: Vec<_> = advisories.iter().map(|id| format!("\"{id}\"")).collect();
    format!(
        "\"tcbDate\":\"{}\",\"tcbStatus\":\"{status}\",\"advisoryIDs\":[{}]",
        rfc3339(date),
        quoted.join(",")
    )
}

fn window((issued, next_update): (u64, u64)) -> String {
    format!(
        "\"issueDate\":\"{}\",\"nextUpdate\":\"{}\"",
        rfc3339(issued),
        rfc3339(next_update)
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}
