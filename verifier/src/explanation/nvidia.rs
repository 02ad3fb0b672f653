//! GPU and switch claims, field by field.

use hanzo_attestation::nvidia::{Fwid, NvidiaClaims, OcspOutcome, RimOutcome};

use super::{Hop, Node, Status};

pub(super) fn node(index: usize, claims: &NvidiaClaims) -> Node {
    let rim = match &claims.rim {
        RimOutcome::Matched { ids, expires } => Node::passed("measurements equal the signed reference values")
            .saying(format!("{}, until {}", ids.join(", "), expires.0)),
        RimOutcome::Missing { ids } => Node::step("measurements: no signed reference values", Status::Failed)
            .saying(format!("missing {}", ids.join(", "))),
        RimOutcome::Mismatch { indexes, ids } => {
            Node::step("measurements differ from the signed reference values", Status::Failed)
                .saying(format!("indexes {indexes:?} against {}", ids.join(", ")))
        }
    };
    let ocsp = match &claims.ocsp {
        OcspOutcome::Good { next_update } => {
            Node::passed("OCSP: no certificate is revoked").saying(format!("until {}", next_update.0))
        }
        OcspOutcome::NoAnswer => Node::step("OCSP: not every certificate has an answer", Status::Failed),
        OcspOutcome::OnHold => Node::step("OCSP: a certificate is on hold", Status::Failed),
    };
    let yes_no = |b: Option<bool>| b.map_or("not stated".to_owned(), |b| if b { "on" } else { "off" }.to_owned());
    Node::passed(&format!("device {index}: {:?}", claims.arch)).with([
        Node::stated("device id (leaf serial)", claims.ueid.clone()),
        Node::stated("nonce", hex::encode(claims.nonce)),
        Node::stated(
            "driver",
            claims.driver_version.clone().unwrap_or_else(|| "not stated".into()),
        ),
        Node::stated("VBIOS", claims.vbios_version.clone()),
        Node::stated(
            "firmware id",
            match claims.fwid {
                Fwid::Matched => "equals the certificate's",
                Fwid::Absent => "not stated by this report",
            },
        ),
        Node::stated("protected PCIe", yes_no(claims.protected_pcie)),
        Node::stated(
            "feature flag (raw)",
            claims.feature_flag.map_or("not stated".to_owned(), |f| f.to_string()),
        ),
        Node::stated("measurements", claims.measurements.len().to_string()),
        rim,
        ocsp,
    ])
}

pub(super) fn chain(claims: &NvidiaClaims, simulated: bool) -> Vec<Hop> {
    let root = if simulated {
        "a simulator's root (SIMULATED)"
    } else {
        "NVIDIA Device Identity CA, compiled in"
    };
    vec![
        Hop {
            name: root.into(),
            vouches: "signs",
        },
        Hop {
            name: format!("{:?} identity, provisioner and boot ROM", claims.arch),
            vouches: "sign",
        },
        Hop {
            name: format!("device {}", claims.ueid),
            vouches: "signs",
        },
        Hop {
            name: "SPDM measurement report".into(),
            vouches: "",
        },
    ]
}
