//! SEV-SNP claims, field by field.

use hanzo_attestation::snp::{SigningKey, SnpClaims, TcbVersion};

use super::{Hop, Node};

pub(super) fn nodes(claims: &SnpClaims) -> Vec<Node> {
    let r = &claims.report;
    let policy = r.guest_policy();
    let platform = r.platform();
    let mut out = vec![
        Node::stated("VERSION", r.version.to_string()),
        Node::stated("product", format!("AMD EPYC {:?}", claims.product)),
        Node::stated(
            "signing key",
            match claims.signing_key {
                SigningKey::Vcek => "VCEK: this chip's".to_owned(),
                SigningKey::Vlek => format!("VLEK of {}", claims.provider.as_deref().unwrap_or("a provider")),
            },
        ),
        Node::stated("MEASUREMENT", hex::encode(r.measurement)),
        Node::stated("REPORT_DATA", hex::encode(r.report_data)),
        Node::stated("HOST_DATA", hex::encode(r.host_data)),
        Node::stated("CHIP_ID", hex::encode(r.chip_id)),
        Node::stated("VMPL", r.vmpl.to_string()),
        Node::stated("POLICY", format!("{:#018x}", r.policy)).with([
            Node::stated("DEBUG", policy.debug().to_string()),
            Node::stated("MIGRATE_MA", policy.migrate_ma().to_string()),
            Node::stated("SMT", policy.smt().to_string()),
            Node::stated("SINGLE_SOCKET", policy.single_socket().to_string()),
            Node::stated("ABI", format!("{}.{}", policy.abi_major(), policy.abi_minor())),
        ]),
        Node::stated("PLATFORM_INFO", format!("{:#018x}", r.platform_info)).with([
            Node::stated("SMT_EN", platform.smt().to_string()),
            Node::stated("TSME_EN", platform.tsme().to_string()),
            Node::stated("ECC_EN", platform.ecc().to_string()),
            Node::stated("CIPHERTEXT_HIDING_EN", platform.ciphertext_hiding().to_string()),
            Node::stated("ALIAS_CHECK_COMPLETE", platform.alias_check().to_string()),
        ]),
        Node::stated("REPORTED_TCB", tcb(r.reported_tcb)),
        Node::stated("COMMITTED_TCB", tcb(r.committed_tcb)),
        Node::stated("CURRENT_TCB", tcb(r.current_tcb)),
        Node::stated("LAUNCH_TCB", tcb(r.launch_tcb)),
        Node::stated("GUEST_SVN", r.guest_svn.to_string()),
        Node::stated("ID_KEY_DIGEST", hex::encode(r.id_key_digest)),
        Node::stated("AUTHOR_KEY_DIGEST", hex::encode(r.author_key_digest)),
    ];
    for (title, value) in [
        ("LAUNCH_MIT_VECTOR", r.launch_mitigations),
        ("CURRENT_MIT_VECTOR", r.current_mitigations),
    ] {
        if let Some(value) = value {
            out.push(Node::stated(title, format!("{value:#018x}")));
        }
    }
    out
}

pub(super) fn chain(claims: &SnpClaims, simulated: bool) -> Vec<Hop> {
    let product = format!("{:?}", claims.product);
    let (intermediate, key) = match claims.signing_key {
        SigningKey::Vcek => ("ASK", "VCEK of this chip".to_owned()),
        SigningKey::Vlek => (
            "ASVK",
            format!("VLEK of {}", claims.provider.as_deref().unwrap_or("a provider")),
        ),
    };
    let root = if simulated {
        "a simulator's root (SIMULATED)".to_owned()
    } else {
        format!("AMD ARK-{product}, compiled in")
    };
    vec![
        Hop {
            name: root,
            vouches: "signs",
        },
        Hop {
            name: format!("{intermediate} {product}"),
            vouches: "signs",
        },
        Hop {
            name: key,
            vouches: "signs",
        },
        Hop {
            name: "SEV-SNP report".into(),
            vouches: "",
        },
    ]
}

fn tcb(tcb: TcbVersion) -> String {
    let fmc = tcb.fmc.map(|f| format!("fmc {f}, ")).unwrap_or_default();
    format!(
        "{fmc}bootloader {}, tee {}, snp {}, microcode {}",
        tcb.bootloader, tcb.tee, tcb.snp, tcb.microcode
    )
}
