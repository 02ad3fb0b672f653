//! TDX claims, field by field.

use hanzo_attestation::tdx::TdxClaims;

use super::{Hop, Node};

pub(super) fn nodes(claims: &TdxClaims) -> Vec<Node> {
    let mut out = vec![
        Node::stated("quote version", claims.quote_version.to_string()),
        Node::stated("TEE_TCB_SVN", hex::encode(claims.tee_tcb_svn)),
        Node::stated("MRSEAM", hex::encode(claims.mr_seam)),
        Node::stated("MRSIGNERSEAM", hex::encode(claims.mr_signer_seam)),
        Node::stated("SEAMATTRIBUTES", format!("{:#018x}", claims.seam_attributes)),
        Node::stated("TDATTRIBUTES", format!("{:#018x}", claims.td_attributes)).with([
            Node::stated("DEBUG", (claims.td_attributes & 1 != 0).to_string()),
            Node::stated("SEPT_VE_DISABLE", (claims.td_attributes >> 28 & 1 != 0).to_string()),
            Node::stated("MIGRATABLE", (claims.td_attributes >> 29 & 1 != 0).to_string()),
        ]),
        Node::stated("XFAM", format!("{:#018x}", claims.xfam)),
        Node::stated("MRTD", hex::encode(claims.mr_td)),
    ];
    for (i, register) in claims.rtmr.iter().enumerate() {
        out.push(Node::stated(&format!("RTMR{i}"), hex::encode(register)));
    }
    out.extend([
        Node::stated("MRCONFIGID", hex::encode(claims.mr_config_id)),
        Node::stated("MROWNER", hex::encode(claims.mr_owner)),
        Node::stated("MROWNERCONFIG", hex::encode(claims.mr_owner_config)),
        Node::stated("REPORTDATA", hex::encode(claims.report_data)),
        Node::stated("FMSPC", hex::encode(claims.fmspc)),
        Node::stated("PPID", hex::encode(claims.ppid)),
        Node::stated("TCB status", format!("{:?}", claims.tcb_status)),
        Node::stated(
            "advisories",
            if claims.advisories.is_empty() {
                "none".to_owned()
            } else {
                claims.advisories.join(", ")
            },
        ),
        Node::stated("tcbEvaluationDataNumber", claims.tcb_evaluation_data_number.to_string()),
    ]);
    if let Some(td15) = &claims.td15 {
        out.push(Node::stated("TEE_TCB_SVN2", hex::encode(td15.tee_tcb_svn2)));
        out.push(Node::stated("MRSERVICETD", hex::encode(td15.mr_service_td)));
    }
    if let Some(extended) = &claims.td15_extended {
        out.push(Node::stated("dev_info", hex::encode(extended.dev_info)));
    }
    if let Some(log) = &claims.event_log {
        out.push(
            Node::passed("CCEL event log replays to RTMR0 to RTMR3").saying(format!("{} events", log.events().len())),
        );
    }
    out
}

pub(super) fn chain(simulated: bool) -> Vec<Hop> {
    let root = if simulated {
        "a simulator's root (SIMULATED)"
    } else {
        "Intel SGX Root CA, compiled in"
    };
    [
        (root, "signs"),
        ("PCK CA", "signs"),
        ("PCK of this platform", "signs"),
        ("quoting enclave's report", "names"),
        ("attestation key", "signs"),
        ("TDX quote", ""),
    ]
    .map(|(name, vouches)| Hop {
        name: name.into(),
        vouches,
    })
    .to_vec()
}
