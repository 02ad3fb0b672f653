//! What a simulated TD and its quoting enclave say: quotes of versions 4 and 5.

use aws_lc_rs::digest::{SHA256, digest};

use super::authority::TdxKey;

/// Header, body type and size as the quoting enclave writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuoteFormat {
    /// Version 4.
    V4,
    /// Version 5, body type 2.
    V5Td10,
    /// Version 5, body type 3.
    V5Td15,
    /// Version 5, body type 4.
    V5Td15Extended,
}

impl QuoteFormat {
    /// All four.
    pub const ALL: [Self; 4] = [Self::V4, Self::V5Td10, Self::V5Td15, Self::V5Td15Extended];

    fn body(self) -> Option<(u16, u32)> {
        match self {
            Self::V4 => None,
            Self::V5Td10 => Some((2, 584)),
            Self::V5Td15 => Some((3, 648)),
            Self::V5Td15Extended => Some((4, 885)),
        }
    }

    /// Bytes that the attestation key signs.
    pub fn signed_bytes(self) -> usize {
        self.body().map_or(48 + 584, |(_, size)| 48 + 6 + size as usize)
    }
}

/// A trust domain, field by field as in the TD report.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of `hanzo_attestation::tdx::TdReport`")]
pub struct TdSpec {
    pub format: QuoteFormat,
    pub tee_tcb_svn: [u8; 16],
    pub mr_seam: [u8; 48],
    pub mr_signer_seam: [u8; 48],
    pub seam_attributes: u64,
    pub td_attributes: u64,
    pub xfam: u64,
    pub mr_td: [u8; 48],
    pub mr_config_id: [u8; 48],
    pub mr_owner: [u8; 48],
    pub mr_owner_config: [u8; 48],
    pub rtmr: [[u8; 48]; 4],
    pub tee_tcb_svn2: [u8; 16],
    pub mr_service_td: [u8; 48],
    pub vm_id: u8,
    pub td_id: [u8; 32],
    pub dev_info: [u8; 48],
    pub init_service_td_hash: [u8; 48],
    pub cur_service_td_hash: [u8; 48],
}

impl TdSpec {
    /// A TD that a strict policy accepts: SEPT_VE_DISABLE set, nothing else; module version 1.5.
    pub fn new(format: QuoteFormat) -> Self {
        let mut tee_tcb_svn = [0; 16];
        tee_tcb_svn[..3].copy_from_slice(&[5, 1, 4]);
        Self {
            format,
            tee_tcb_svn,
            mr_seam: [0x5e; 48],
            mr_signer_seam: [0; 48],
            seam_attributes: 0,
            td_attributes: 1 << 28,
            xfam: 0x0006_02e7,
            mr_td: [0x7d; 48],
            mr_config_id: [0; 48],
            mr_owner: [0; 48],
            mr_owner_config: [0; 48],
            rtmr: [[0; 48], [1; 48], [2; 48], [3; 48]],
            tee_tcb_svn2: tee_tcb_svn,
            mr_service_td: [0; 48],
            vm_id: 0,
            td_id: [0x1d; 32],
            dev_info: [0; 48],
            init_service_td_hash: [0; 48],
            cur_service_td_hash: [0; 48],
        }
    }

    /// Header and body.
    pub(crate) fn signed(&self, report_data: &[u8; 64]) -> Vec<u8> {
        let version: u16 = if self.format == QuoteFormat::V4 { 4 } else { 5 };
        let mut out = Vec::with_capacity(1024);
        out.extend(version.to_le_bytes());
        out.extend(2_u16.to_le_bytes());
        out.extend(0x81_u32.to_le_bytes());
        out.extend([0; 4]);
        out.extend(0x939a_7233_f79c_4ca9_940a_0db3_957f_0607_u128.to_be_bytes());
        out.extend([0; 20]);
        if let Some((kind, size)) = self.format.body() {
            out.extend(kind.to_le_bytes());
            out.extend(size.to_le_bytes());
        }
        out.extend(self.tee_tcb_svn);
        out.extend(self.mr_seam);
        out.extend(self.mr_signer_seam);
        out.extend(self.seam_attributes.to_le_bytes());
        out.extend(self.td_attributes.to_le_bytes());
        out.extend(self.xfam.to_le_bytes());
        for register in [self.mr_td, self.mr_config_id, self.mr_owner, self.mr_owner_config] {
            out.extend(register);
        }
        out.extend(self.rtmr.as_flattened());
        out.extend(report_data);
        if matches!(self.format, QuoteFormat::V5Td15 | QuoteFormat::V5Td15Extended) {
            out.extend(self.tee_tcb_svn2);
            out.extend(self.mr_service_td);
        }
        if self.format == QuoteFormat::V5Td15Extended {
            out.push(self.vm_id);
            out.extend(self.td_id);
            out.extend(self.dev_info);
            out.extend(self.init_service_td_hash);
            out.extend([0; 8]);
            out.extend([0; 16 + 16 + 12]);
            out.extend(self.cur_service_td_hash);
            out.extend([0; 8]);
        }
        debug_assert_eq!(out.len(), self.format.signed_bytes());
        out
    }
}

/// What the quoting enclave's report says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of an enclave report")]
pub struct QeSpec {
    pub misc_select: [u8; 4],
    pub attributes: [u8; 16],
    pub mr_signer: [u8; 32],
    pub isv_prod_id: u16,
    pub isv_svn: u16,
    pub auth_data: Vec<u8>,
    /// Added to the last byte of the bound digest: anything but 0 breaks the binding.
    pub binding_error: u8,
    /// Bytes 32 to 63 of REPORTDATA.
    pub report_data_rest: [u8; 32],
}

impl Default for QeSpec {
    fn default() -> Self {
        let mut attributes = [0; 16];
        attributes[0] = 0x11;
        Self {
            misc_select: [0; 4],
            attributes,
            mr_signer: [0x9e; 32],
            isv_prod_id: 2,
            isv_svn: 4,
            auth_data: (0..32).collect(),
            binding_error: 0,
            report_data_rest: [0; 32],
        }
    }
}

impl QeSpec {
    /// The enclave report that binds `attestation_key`.
    pub(crate) fn report(&self, attestation_key: &[u8; 64]) -> Vec<u8> {
        let mut bound = digest(&SHA256, &[&attestation_key[..], &self.auth_data].concat())
            .as_ref()
            .to_vec();
        bound[31] = bound[31].wrapping_add(self.binding_error);
        let mut out = Vec::with_capacity(384);
        out.extend([0; 16]);
        out.extend(self.misc_select);
        out.extend([0; 28]);
        out.extend(self.attributes);
        out.extend([0x3e; 32]);
        out.extend([0; 32]);
        out.extend(self.mr_signer);
        out.extend([0; 96]);
        out.extend(self.isv_prod_id.to_le_bytes());
        out.extend(self.isv_svn.to_le_bytes());
        out.extend([0; 60]);
        out.extend(bound);
        out.extend(self.report_data_rest);
        debug_assert_eq!(out.len(), 384);
        out
    }
}

/// Puts a quote together: `signed` by the attestation key, the QE's report by the PCK.
pub(crate) fn assemble(signed: &[u8], qe: &QeSpec, attestation: &TdxKey, pck: &TdxKey, chain: &str) -> Vec<u8> {
    let report = qe.report(&attestation.point());
    let mut inner = report.clone();
    inner.extend(pck.sign(&report));
    inner.extend((qe.auth_data.len() as u16).to_le_bytes());
    inner.extend(&qe.auth_data);
    inner.extend(5_u16.to_le_bytes());
    inner.extend((chain.len() as u32 + 1).to_le_bytes());
    inner.extend(chain.as_bytes());
    // Intel's library counts the NUL that ends its string.
    inner.push(0);
    let mut data = attestation.sign(signed).to_vec();
    data.extend(attestation.point());
    data.extend(6_u16.to_le_bytes());
    data.extend((inner.len() as u32).to_le_bytes());
    data.extend(inner);
    let mut out = signed.to_vec();
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    out
}
