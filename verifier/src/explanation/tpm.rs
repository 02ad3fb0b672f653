//! TPM quotes and the paravisor's var data, field by field.

use hanzo_attestation::tpm::{AkOrigin, HclClaims, TpmClaims};

use super::{Hop, Node, Status};

pub(super) fn nodes(claims: &TpmClaims) -> Vec<Node> {
    let pcrs = claims
        .pcrs
        .iter()
        .map(|(index, value)| Node::stated(&format!("PCR{index}"), hex::encode(value)));
    let mut out = vec![
        Node::stated("attestation key", format!("SPKI sha256 {}", claims.ak)),
        origin(&claims.ak_origin),
        Node::stated("extraData", hex::encode(&claims.qualifying_data)),
        Node::stated("SHA-256 bank", format!("{} registers", claims.pcrs.len())).with(pcrs),
        Node::stated("firmwareVersion", format!("{:#018x}", claims.firmware_version)),
        Node::stated(
            "resetCount, restartCount",
            format!("{}, {}", claims.resets.0, claims.resets.1),
        ),
    ];
    if !claims.pcrs_sha384.is_empty() {
        let pcrs = claims.pcrs_sha384.iter();
        let pcrs = pcrs.map(|(index, value)| Node::stated(&format!("PCR{index}"), hex::encode(value)));
        out.push(Node::stated("SHA-384 bank", format!("{} registers", claims.pcrs_sha384.len())).with(pcrs));
    }
    if let Some(log) = &claims.event_log {
        out.push(Node::passed("TCG event log replays to the PCRs").saying(format!("{} events", log.events().len())));
    }
    out
}

fn origin(origin: &AkOrigin) -> Node {
    let title = "what stands behind the attestation key";
    match origin {
        AkOrigin::Chained { root } => Node::passed(title).saying(format!("a certificate under the pinned root {root}")),
        AkOrigin::Pinned => Node::passed(title).saying("the caller pinned the key itself"),
        AkOrigin::CpuEvidence => Node::passed(title).saying("the CPU's evidence names it"),
        AkOrigin::Unknown => Node::step(title, Status::Failed).saying("nothing: anybody's software TPM"),
    }
}

pub(super) fn hcl(claims: &HclClaims) -> Node {
    Node::passed("paravisor: SHA-256 of the var data is what the hardware signed").with([
        Node::stated("var data", format!("{} bytes", claims.var_data.len())),
        Node::stated(
            "user-data",
            claims.user_data.as_ref().map_or("none".to_owned(), hex::encode),
        ),
    ])
}

pub(super) fn chain(claims: &TpmClaims) -> Vec<Hop> {
    let root = match &claims.ak_origin {
        AkOrigin::Chained { root } => format!("TPM root {root}, pinned by the caller"),
        AkOrigin::Pinned => "attestation key, pinned by the caller".to_owned(),
        AkOrigin::CpuEvidence => "attestation key, named by the CPU's evidence".to_owned(),
        AkOrigin::Unknown => "an attestation key that nobody vouches for".to_owned(),
    };
    vec![
        Hop {
            name: root,
            vouches: "signs",
        },
        Hop {
            name: "TPM 2.0 quote".into(),
            vouches: "",
        },
    ]
}
