//! What must hold before an item counts, by the functions that verify evidence.

use hanzo_attestation::bundle::TdxCollateral;
use hanzo_attestation::nvidia::{NvidiaError, OcspOutcome, ocsp, rim};
use hanzo_attestation::tdx::PreparedTdx;
use hanzo_attestation::{Anchors, AttestationError, UnixTime, jcs};

use crate::error::Unfit;
use crate::key::PckCa;

/// Longest document with one platform type's collateral.
pub(crate) const TDX_BYTES_MAX: usize = 2 << 20;

/// Intel signed every part, each is alive at `now`, and they are of this platform type and PCK CA.
pub(crate) fn tdx(
    collateral: &TdxCollateral,
    fmspc: [u8; 6],
    ca: PckCa,
    anchors: &Anchors,
    now: UnixTime,
) -> Result<UnixTime, Unfit> {
    let authentic = AttestationError::Tdx;
    let prepared = PreparedTdx::prepare(collateral, anchors).map_err(authentic)?;
    prepared.check(anchors, now).map_err(authentic)?;
    if prepared.fmspc() != fmspc {
        return Err(Unfit::WrongItem("its TCB info is of another FMSPC than was asked for"));
    }
    if PckCa::of_common_name(&prepared.pck_ca()) != Some(ca) {
        return Err(Unfit::WrongItem("its list is of another PCK CA than was asked for"));
    }
    Ok(prepared.expires())
}

pub(crate) fn tdx_document(
    bytes: &[u8],
    fmspc: [u8; 6],
    ca: PckCa,
    anchors: &Anchors,
    now: UnixTime,
) -> Result<UnixTime, Unfit> {
    let collateral = jcs::from_slice("TDX collateral", bytes, TDX_BYTES_MAX)
        .map_err(|_| Unfit::WrongItem("no TDX collateral in canonical JSON"))?;
    tdx(&collateral, fmspc, ca, anchors, now)
}

/// NVIDIA signed this RIM with certificates that are alive at `now`, and it is the one of this id.
pub(crate) fn rim(xml: &[u8], id: &str, anchors: &Anchors, now: UnixTime) -> Result<UnixTime, Unfit> {
    let checked = rim::check_rim(xml, anchors, now).map_err(|e| AttestationError::Nvidia(NvidiaError::from(e)))?;
    // A RIM does not contain its id. The id ends in its version, without dots for a VBIOS.
    let plain = |text: &str| text.replace('.', "").to_ascii_uppercase();
    if plain(id.rsplit('_').next().unwrap_or_default()) != plain(&checked.version) {
        return Err(Unfit::WrongItem("it is of another version than the one in the id"));
    }
    Ok(checked.expires)
}

/// The issuer of `certificate` (or a responder of its) answered about it, for a time that includes `now`. `None`: the
/// answer is that it is on hold.
pub(crate) fn ocsp(answer: &[u8], certificate: &[u8], issuer: &[u8], now: UnixTime) -> Result<Option<UnixTime>, Unfit> {
    match ocsp::check(&[certificate, issuer], &[answer.to_vec()], now).map_err(AttestationError::Nvidia)? {
        OcspOutcome::Good { next_update } => Ok(Some(next_update)),
        OcspOutcome::OnHold => Ok(None),
        OcspOutcome::NoAnswer => Err(Unfit::WrongItem(
            "it says nothing of the certificate that was asked about",
        )),
    }
}
