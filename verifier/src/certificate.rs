//! Evidence out of an RA-TLS certificate.

use hanzo_attestation::UnixTime;
use hanzo_attestation::ratls::RatlsCertificate;

use crate::error::VerifyError;
use crate::reading::Reading;
use crate::verify::{VerifierContext, read_bundle};

/// Reads the evidence that a guest's TLS certificate (DER) carries.
///
/// # Establishes
/// What [`read_bundle`] does; besides, the evidence is over this certificate's key, and whoever held that key made the
/// certificate.
///
/// # Does not establish
/// Freshness: nobody drew a challenge. That whoever shows the certificate holds its key, which a TLS handshake shows, or
/// that the connection ends in the guest, which only the channel proof shows. So this is a [`Reading`], and neither
/// client nor broker accepts one.
///
/// # Errors
/// [`VerifyError`].
pub fn read_certificate(der: &[u8], context: &VerifierContext, now: UnixTime) -> Result<Reading, VerifyError> {
    let certificate = RatlsCertificate::parse(der)?;
    let reading = read_bundle(certificate.bundle(), context, now);
    // Whose key it is comes before whether its guest is good enough, and after whether its evidence is genuine.
    let keyset = match &reading {
        Ok(reading) => reading.keyset().cloned(),
        Err(VerifyError::Refused(_)) => hanzo_attestation::bundle::Bundle::parse(certificate.bundle())
            .ok()
            .map(|b| b.keyset),
        Err(_) => None,
    };
    match keyset {
        Some(keyset) => certificate.check_key(&keyset)?,
        None => return reading,
    }
    reading
}
