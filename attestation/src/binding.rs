//! Binding: authentic claims belong to *this* nonce and *this* key.

mod error;

pub use error::BindingError;
use serde::Serialize;

use crate::bundle::Bundle;
use crate::digest::{Digest384, Nonce};
use crate::evidence::{Authentic, AuthenticDevices, Claims, Commitment, DeviceClaims, UnixTime};
use crate::foreign::{ForeignExpectation, ForeignFormat, Rule};
use crate::jcs::{self, JcsError};
use crate::keyset::{KEYSET_LIFETIME_S_MAX, Keyset, capability_digest};
use crate::statement::{EvidenceRequest, Statement};

/// What the claims were bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// A keyset, by the statement of DESIGN section 4.
    Keyset {
        /// SHA-384(JCS(keyset)).
        keyset_digest: Digest384,
        /// True if the caller's own challenge is under the nonce; false is freshness `none`.
        challenged: bool,
    },
    /// A session key, by RCAR's own rule (CoCo KBS protocol 0.4.0, `reference/attestation.md` 1.4).
    Rcar {
        /// SHA-384 over additional evidence, nonce and key.
        runtime_digest: Digest384,
        /// True if there was additional evidence, which is where the devices stand: then the digest covers them.
        covers_devices: bool,
    },
    /// What another project's format says, and what the caller asked. It shows no keyset.
    Foreign {
        /// The format.
        format: ForeignFormat,
        /// True if the caller's own nonce or REPORT_DATA was signed; false is freshness `none`.
        challenged: bool,
    },
}

/// Claims that belong to a nonce and a key. Only the functions of this module make one:
/// ```compile_fail
/// use hanzo_attestation::{Authentic, AuthenticDevices, Binding, Bound, Claims};
/// fn forge(authentic: Authentic<Claims>, binding: Binding) -> Bound<Claims> {
///     Bound { authentic, devices: AuthenticDevices::none(), binding }
/// }
/// ```
#[derive(Debug)]
pub struct Bound<T> {
    authentic: Authentic<T>,
    devices: AuthenticDevices,
    binding: Binding,
}

impl<T> Bound<T> {
    /// The claims and how they were authenticated.
    pub fn authentic(&self) -> &Authentic<T> {
        &self.authentic
    }

    /// The claims.
    pub fn claims(&self) -> &T {
        self.authentic.claims()
    }

    /// The devices that answered the same nonce for the same key, in the order of the list.
    pub fn devices(&self) -> &[Authentic<DeviceClaims>] {
        self.devices.devices()
    }

    /// True if any part, CPU or device, has a root that is not a vendor's.
    pub fn is_simulated(&self) -> bool {
        self.authentic.is_simulated() || self.devices().iter().any(Authentic::is_simulated)
    }

    /// What they are bound to.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }
}

/// Binds claims and devices to the keyset of `bundle`.
///
/// # Establishes
/// The processor (or, without one, the vTPM) that made the claims signed this keyset, this configuration, this nonce and
/// exactly this device list, and each device answered the same nonce for the same keyset; with a `challenge`, that it
/// did so after the caller drew it; the keyset is alive at `now` unless `now` is `None` (reading an old bundle).
///
/// # Errors
/// [`BindingError`].
pub fn bind_keyset(
    authentic: Authentic<Claims>,
    devices: AuthenticDevices,
    bundle: &Bundle,
    challenge: Option<&Nonce>,
    now: Option<UnixTime>,
) -> Result<Bound<Claims>, BindingError> {
    check_shape(bundle)?;
    check_preimages(bundle)?;
    if let Some(now) = now {
        check_life(&bundle.keyset, now)?;
    }
    let keyset_digest = bundle.keyset.digest()?;
    let statement = Statement::for_cpu(keyset_digest, bundle.nonce, devices.digest());
    match authentic.claims().commitment() {
        Commitment::ReportData(signed) if statement.report_data()? != *signed => return Err(BindingError::ReportData),
        Commitment::QualifyingData(signed) if statement.digest256()?.0 != *signed => {
            return Err(BindingError::QualifyingData);
        }
        _ => {}
    }
    let device_nonce = Statement::for_devices(keyset_digest, bundle.nonce).digest256()?;
    if let Some(index) = answered_another(&devices, &device_nonce.0) {
        return Err(BindingError::DeviceNonce { index });
    }
    let challenged = match (&bundle.freshness, challenge) {
        (Some(path), Some(drawn)) if path.challenge != *drawn => return Err(BindingError::ForeignChallenge),
        (Some(path), _) if !path.leads_to(&bundle.nonce) => return Err(BindingError::Path),
        (Some(_), Some(_)) => true,
        _ => false,
    };
    Ok(Bound {
        authentic,
        devices,
        binding: Binding::Keyset {
            keyset_digest,
            challenged,
        },
    })
}

/// The first device whose nonce is not `expected`.
fn answered_another(devices: &AuthenticDevices, expected: &[u8; 32]) -> Option<usize> {
    devices.devices().iter().position(|d| d.claims().nonce() != expected)
}

fn check_shape(bundle: &Bundle) -> Result<(), BindingError> {
    let unsupported = |field, expected, got: String| Err(BindingError::Unsupported { field, expected, got });
    if bundle.version != 1 {
        return unsupported("version", "1", bundle.version.to_string());
    }
    if bundle.keyset.version != 1 {
        return unsupported("keyset.version", "1", bundle.keyset.version.to_string());
    }
    if bundle.keyset.tier > 4 {
        return unsupported("keyset.tier", "0 to 4", bundle.keyset.tier.to_string());
    }
    if !matches!(bundle.keyset.time.as_str(), "host" | "securetsc") {
        return unsupported("keyset.time", "host or securetsc", "another word".into());
    }
    if !bundle.capabilities.is_sorted() || bundle.capabilities.windows(2).any(|w| matches!(w, [a, b] if a == b)) {
        return unsupported("capabilities", "a sorted list without repeats", "another order".into());
    }
    if !bundle.keyset.models.is_sorted_by(|a, b| a.name < b.name) {
        return unsupported("keyset.models", "sorted by name, each once", "another order".into());
    }
    Ok(())
}

fn check_preimages(bundle: &Bundle) -> Result<(), BindingError> {
    let keyset = &bundle.keyset;
    let config = crate::Digest256::of(bundle.config.as_bytes());
    if config != keyset.config_digest {
        return Err(BindingError::Preimage {
            field: "config_digest",
            expected: keyset.config_digest.to_string(),
            got: config.to_string(),
        });
    }
    for (field, expected, got) in [
        (
            "capability_digest",
            keyset.capability_digest,
            capability_digest(&bundle.capabilities)?,
        ),
        (
            "policy_digest",
            keyset.policy_digest,
            Digest384::of(bundle.policy.as_bytes()),
        ),
    ] {
        if expected != got {
            return Err(BindingError::Preimage {
                field,
                expected: expected.to_string(),
                got: got.to_string(),
            });
        }
    }
    Ok(())
}

fn check_life(keyset: &Keyset, now: UnixTime) -> Result<(), BindingError> {
    let (issued_at, not_after, now) = (keyset.issued_at, keyset.not_after, now.0);
    let life_ok = not_after
        .checked_sub(issued_at)
        .is_some_and(|life| life <= KEYSET_LIFETIME_S_MAX);
    if !life_ok || issued_at > now.saturating_add(60) {
        return Err(BindingError::Lifetime {
            issued_at,
            not_after,
            now,
        });
    }
    if now > not_after {
        return Err(BindingError::Expired { not_after, now });
    }
    Ok(())
}

/// What an RCAR session commits REPORT_DATA to.
#[derive(Debug, Clone, Copy)]
pub struct RcarRuntime<'a> {
    /// The `additional_evidence` string verbatim; empty when there is none.
    pub additional_evidence: &'a str,
    /// The session's nonce string verbatim.
    pub nonce: &'a str,
    /// The `tee-pubkey` object.
    pub tee_pubkey: &'a serde_json::Value,
}

impl RcarRuntime<'_> {
    /// SHA-384(JCS({"additional-evidence","nonce","tee-pubkey"})).
    ///
    /// # Errors
    /// [`JcsError`] if the key object holds a number that has no canonical form.
    pub fn digest(&self) -> Result<Digest384, JcsError> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct RuntimeData<'a> {
            additional_evidence: &'a str,
            nonce: &'a str,
            tee_pubkey: &'a serde_json::Value,
        }
        let data = RuntimeData {
            additional_evidence: self.additional_evidence,
            nonce: self.nonce,
            tee_pubkey: self.tee_pubkey,
        };
        Ok(Digest384::of(&jcs::to_vec("RCAR runtime data", &data)?))
    }

    /// What devices answer: the first 32 bytes of SHA-384(JCS({"nonce","tee-pubkey"})).
    ///
    /// # Errors
    /// As [`RcarRuntime::digest`].
    pub fn device_nonce(&self) -> Result<[u8; 32], JcsError> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct DeviceData<'a> {
            nonce: &'a str,
            tee_pubkey: &'a serde_json::Value,
        }
        let data = DeviceData {
            nonce: self.nonce,
            tee_pubkey: self.tee_pubkey,
        };
        let digest = Digest384::of(&jcs::to_vec("RCAR device data", &data)?);
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(digest.0) {
            *to = from;
        }
        Ok(out)
    }

    /// What the processor is asked to sign: REPORT_DATA zero-padded, a TPM's qualifying data the bare 48 bytes.
    ///
    /// # Errors
    /// As [`RcarRuntime::digest`].
    pub fn request(&self) -> Result<EvidenceRequest, JcsError> {
        let digest = self.digest()?;
        Ok(EvidenceRequest {
            report_data: padded(&digest),
            qualifying_data: digest.0.to_vec(),
        })
    }

    /// The digest padded with zeros to the 64 bytes of REPORT_DATA.
    ///
    /// # Errors
    /// As [`RcarRuntime::digest`].
    pub fn report_data(&self) -> Result<[u8; 64], JcsError> {
        Ok(padded(&self.digest()?))
    }
}

fn padded(digest: &Digest384) -> [u8; 64] {
    let mut out = [0; 64];
    for (to, from) in out.iter_mut().zip(digest.0) {
        *to = from;
    }
    out
}

/// Binds claims and devices to an RCAR session. The whole field is compared: REPORT_DATA zero-padded, a TPM quote's
/// qualifying data as the bare 48 bytes or, of a plain TPM, padded to 64.
///
/// `devices` must have been read out of the session's `additional_evidence`, which the digest covers.
///
/// # Establishes
/// The processor signed this session's nonce, this public key and this additional evidence, and each device answered them.
///
/// # Errors
/// [`BindingError`].
pub fn bind_rcar(
    authentic: Authentic<Claims>,
    devices: AuthenticDevices,
    runtime: &RcarRuntime<'_>,
) -> Result<Bound<Claims>, BindingError> {
    let runtime_digest = runtime.digest()?;
    match authentic.claims().commitment() {
        Commitment::ReportData(signed) if padded(&runtime_digest) != *signed => {
            return Err(BindingError::RcarReportData);
        }
        // CoCo's attesters of a plain TPM have the padded digest signed, all others the bare one.
        Commitment::QualifyingData(signed) if matches!(authentic.claims(), Claims::Tpm(_)) && signed.len() == 64 => {
            if padded(&runtime_digest) != *signed {
                return Err(BindingError::RcarQualifyingData);
            }
        }
        Commitment::QualifyingData(signed) if runtime_digest.0 != *signed => {
            return Err(BindingError::RcarQualifyingData);
        }
        _ => {}
    }
    if !devices.devices().is_empty()
        && let Some(index) = answered_another(&devices, &runtime.device_nonce()?)
    {
        return Err(BindingError::RcarDeviceNonce { index });
    }
    Ok(Bound {
        authentic,
        devices,
        binding: Binding::Rcar {
            runtime_digest,
            covers_devices: !runtime.additional_evidence.is_empty(),
        },
    })
}

/// Binds claims and devices to what another project's format says must be signed, and to what the caller asked for.
/// Whole fields are compared.
///
/// # Establishes
/// The processor signed what `rule` gives, each device answered the rule's nonce, and, if `challenged` says so in the
/// result, the caller's own nonce or REPORT_DATA is under the signature.
///
/// # Does not establish
/// Freshness without an expectation. Anything about this project's keysets: the format knows none.
///
/// # Errors
/// [`BindingError`] with a code under `binding.foreign`.
pub fn bind_foreign(
    authentic: Authentic<Claims>,
    devices: AuthenticDevices,
    rule: &Rule,
    expected: &ForeignExpectation,
) -> Result<Bound<Claims>, BindingError> {
    let format = rule.format;
    let (signed, by_rule): (&[u8], Option<&[u8]>) = match authentic.claims().commitment() {
        Commitment::ReportData(signed) => (signed, rule.report_data.as_ref().map(<[u8; 64]>::as_slice)),
        Commitment::QualifyingData(signed) => (signed, rule.qualifying_data.as_deref()),
    };
    match by_rule {
        Some(by_rule) if by_rule != signed => return Err(BindingError::ForeignRule { format }),
        None if rule.states_a_commitment() => return Err(BindingError::ForeignKind { format }),
        _ => {}
    }
    if rule.user_data_repeats && !repeats(user_data(authentic.claims()), signed) {
        return Err(BindingError::ForeignUserData { format });
    }
    if let Some(expected) = &expected.report_data
        && expected != signed
    {
        return Err(BindingError::ForeignReportData {
            format,
            expected: expected.len(),
        });
    }
    check_foreign_nonces(&devices, rule, expected)?;
    Ok(Bound {
        authentic,
        devices,
        binding: Binding::Foreign {
            format,
            challenged: expected.report_data.is_some() || expected.nonce.is_some(),
        },
    })
}

fn user_data(claims: &Claims) -> Option<&[u8]> {
    match claims {
        Claims::AzSnp(c) => c.hcl.user_data.as_deref(),
        Claims::AzTdx(c) => c.hcl.user_data.as_deref(),
        _ => None,
    }
}

/// True if `field` is `signed` followed by zeros. A field that is shorter is another one.
fn repeats(field: Option<&[u8]>, signed: &[u8]) -> bool {
    field
        .and_then(|field| field.strip_prefix(signed))
        .is_some_and(|rest| rest.iter().all(|b| *b == 0))
}

/// Checks what devices answered, and the caller's nonce against the document's. Devices without a processor are checked
/// by this alone.
///
/// # Errors
/// [`BindingError`] with a code under `binding.foreign`.
pub fn check_foreign_nonces(
    devices: &AuthenticDevices,
    rule: &Rule,
    expected: &ForeignExpectation,
) -> Result<(), BindingError> {
    let format = rule.format;
    if let Some(index) = rule.device_nonce.and_then(|nonce| answered_another(devices, &nonce)) {
        return Err(BindingError::ForeignDeviceNonce { format, index });
    }
    match (&expected.nonce, &rule.nonce) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(BindingError::ForeignNonceUnstated { format }),
        (Some(expected), Some(stated)) if expected == stated => Ok(()),
        (Some(_), Some(_)) => Err(BindingError::ForeignNonce { format }),
    }
}
