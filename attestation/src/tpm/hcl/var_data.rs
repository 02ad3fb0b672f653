//! The variable data: JSON of the paravisor with the vTPM's keys.

use serde::Deserialize;

use super::HclError;
use crate::tpm::key::Key;
use crate::tpm::public::key_of_jwk;

/// Name of the attestation key among the keys.
const AK_NAME: &str = "HCLAkPub";
/// Longest user data in bytes.
const USER_DATA_BYTES_MAX: usize = 64;

/// What the paravisor says of the machine's configuration. `None`: this paravisor does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VmConfiguration {
    /// The host has a console into the guest.
    pub console_enabled: Option<bool>,
    /// Secure Boot is on.
    pub secure_boot: Option<bool>,
    /// There is a vTPM.
    pub tpm_enabled: Option<bool>,
    /// The vTPM's state outlives the machine's start.
    pub tpm_persisted: Option<bool>,
    /// Azure's id of the machine.
    #[serde(rename = "vmUniqueId")]
    pub vm_unique_id: Option<String>,
}

/// Members that are not listed here are left alone: the paravisor writes new ones with its releases, and the hash covers them.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Json {
    keys: Vec<Jwk>,
    vm_configuration: Option<VmConfiguration>,
    user_data: Option<String>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    n: Option<String>,
    e: Option<String>,
}

/// The JSON, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tpm) struct VarData {
    pub(in crate::tpm) ak: Key,
    pub(in crate::tpm) configuration: VmConfiguration,
    pub(in crate::tpm) user_data: Option<Vec<u8>>,
}

impl VarData {
    pub(in crate::tpm) fn parse(json: &[u8]) -> Result<Self, HclError> {
        let wrong = |field, detail| HclError::VarData { field, detail };
        let json: Json = serde_json::from_slice(json).map_err(|_| {
            wrong(
                "JSON",
                "expected an object with keys, vm-configuration and user-data, each once",
            )
        })?;
        let mut aks = json.keys.iter().filter(|k| k.kid == AK_NAME);
        let (Some(ak), None) = (aks.next(), aks.next()) else {
            return Err(wrong("keys", "expected exactly one HCLAkPub"));
        };
        let no_rsa = wrong(
            "keys.HCLAkPub",
            "expected an RSA key of at least 2048 bits with exponent 65537",
        );
        let (Some(n), Some(e), "RSA") = (&ak.n, &ak.e, ak.kty.as_str()) else {
            return Err(no_rsa);
        };
        let ak = key_of_jwk(n, e).map_err(|_| no_rsa)?;
        let user_data = json.user_data.map(hex::decode).transpose().ok();
        let user_data = user_data.filter(|d| d.as_ref().is_none_or(|d| d.len() <= USER_DATA_BYTES_MAX));
        Ok(Self {
            ak,
            configuration: json.vm_configuration.unwrap_or_default(),
            user_data: user_data.ok_or(wrong("user-data", "expected at most 64 bytes in hex"))?,
        })
    }
}
