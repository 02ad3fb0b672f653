//! What Azure's paravisor makes: variable data with the vTPM's key, and the report around them.

use aws_lc_rs::digest::{SHA384, digest};
use hanzo_attestation::Digest256;
use hanzo_attestation::bundle::{AzSnpEvidence, AzTdxEvidence, Base64, TdxEvidence};

use super::{ALL, SimulatedTpm};
use crate::guest::SimulatedGuest;

/// Variable data that name the TPM's key, and user data of at most 64 bytes, filled up with zeros.
///
/// # Panics
/// If the TPM's key is not RSA.
pub fn var_data(tpm: &SimulatedTpm, user_data: &[u8]) -> Vec<u8> {
    let modulus = base64url(tpm.ak.modulus().expect("a vTPM of Azure's has an RSA key"));
    let mut field = [0; 64];
    field[..user_data.len()].copy_from_slice(user_data);
    let hex: String = field.iter().map(|b| format!("{b:02X}")).collect();
    format!(
        r#"{{"keys":[{{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"{modulus}"}}],"vm-configuration":{{"console-enabled":false,"secure-boot":true,"tpm-enabled":true,"tpm-persisted":false,"vmUniqueId":"00000000-0000-0000-0000-000000000000"}},"user-data":"{hex}"}}"#
    )
    .into_bytes()
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * i) & 63) as usize]));
        }
    }
    out
}

/// The report around a hardware report and variable data: report type 2 is SNP, 4 is TDX.
pub fn hcl_report(report_type: u32, hardware_report: &[u8], var_data: &[u8]) -> Vec<u8> {
    let mut out = b"HCLA".to_vec();
    for word in [2, (32 + 1184 + 20 + var_data.len()) as u32, 2, 0, 0, 0, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(hardware_report);
    out.resize(32 + 1184, 0);
    for word in [20 + var_data.len() as u32, 1, report_type, 1, var_data.len() as u32] {
        out.extend(word.to_le_bytes());
    }
    out.extend(var_data);
    out.resize(out.len().max(2600), 0);
    out
}

/// The TDREPORT (1024 bytes) that a quote's body (584 bytes) was made from. Its MAC is zero: nobody here can check one.
pub fn td_report(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1024];
    let mut put = |at: usize, from: std::ops::Range<usize>| out[at..at + from.len()].copy_from_slice(&body[from]);
    // TEE_TCB_INFO: TEE_TCB_SVN, MRSEAM, MRSIGNERSEAM, ATTRIBUTES; TDINFO: ATTRIBUTES to RTMR3.
    put(256 + 8, 0..128 - 8);
    put(512, 120..520);
    put(128, 520..584);
    out[256..264].copy_from_slice(&[0xff, 1, 3, 0, 0, 0, 0, 0]);
    out[0] = 0x81;
    for (at, from) in [(32, 256..256 + 239), (80, 512..1024)] {
        let hash = digest(&SHA384, &out[from]);
        out[at..at + 48].copy_from_slice(hash.as_ref());
    }
    out
}

/// REPORT_DATA of a paravisor: SHA-256 of the variable data, then zeros.
fn report_data(var_data: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    out[..32].copy_from_slice(&Digest256::of(var_data).0);
    out
}

impl SimulatedTpm {
    /// Evidence of an SNP guest under a paravisor whose vTPM this is. User data repeat the qualifying data.
    ///
    /// # Panics
    /// If the key is not RSA, or the data are longer than 64 bytes.
    pub fn az_snp(&self, guest: &SimulatedGuest, qualifying_data: &[u8]) -> AzSnpEvidence {
        let var_data = var_data(self, qualifying_data);
        let snp = guest.evidence(&report_data(&var_data));
        AzSnpEvidence {
            ask: snp.ask,
            crl: snp.crl,
            event_log: self.event_log.clone().map(Base64),
            hcl_report: Base64(hcl_report(2, &snp.report.0, &var_data)),
            quote: self.quote(&ALL, qualifying_data),
            vek: snp.vek,
        }
    }

    /// Evidence of a TDX guest under a paravisor whose vTPM this is; `quote` quotes the REPORTDATA it is given, version 4.
    ///
    /// # Panics
    /// As [`SimulatedTpm::az_snp`]; if the quote is shorter than its body.
    pub fn az_tdx(&self, quote: impl FnOnce(&[u8; 64]) -> TdxEvidence, qualifying_data: &[u8]) -> AzTdxEvidence {
        let var_data = var_data(self, qualifying_data);
        let td = quote(&report_data(&var_data));
        AzTdxEvidence {
            event_log: self.event_log.clone().map(Base64),
            hcl_report: Base64(hcl_report(4, &td_report(&td.quote.0[48..48 + 584]), &var_data)),
            quote: self.quote(&ALL, qualifying_data),
            td,
        }
    }
}
