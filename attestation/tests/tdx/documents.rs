//! TCB info and QE identity: who signed them, for whom, and until when.

use hanzo_attestation::Collateral;
use hanzo_attestation::bundle::{Base64, TdxCollateral, TdxEvidence};
use hanzo_simulated_tee::{CollateralSpec, DocumentSigner, PckSpec, QeSpec, SimulatedTdx};

use crate::oracle::Theirs;
use crate::{DAY, NOW, PLATFORM, anchors, check, evidence, healthy, judge, quote, td, with};

fn spec(change: impl Fn(&mut CollateralSpec)) -> TdxEvidence {
    let mut spec = healthy();
    change(&mut spec);
    with(&spec)
}

/// Changed after it was signed.
fn tampered(change: impl Fn(&mut TdxCollateral)) -> TdxEvidence {
    let mut evidence = with(&healthy());
    change(evidence.collateral.as_mut().unwrap());
    evidence
}

/// Changed and signed again: the signer itself wrote it so.
fn rewritten(change: impl Fn(&mut TdxCollateral)) -> TdxEvidence {
    let mut evidence = with(&healthy());
    let collateral = evidence.collateral.as_mut().unwrap();
    change(collateral);
    PLATFORM.sign_documents(collateral, DocumentSigner::TcbSigning);
    evidence
}

#[test]
fn the_documents_are_signed() {
    let flip = |signature: &mut Base64| signature.0[40] ^= 1;
    let others = PLATFORM.with_other_keys().collateral(&healthy());
    for (name, evidence, code) in [
        (
            "TCB info: signature",
            tampered(|c| flip(&mut c.tcb_info_signature)),
            "tdx.tcb_info.signature",
        ),
        (
            "TCB info: a space more",
            tampered(|c| c.tcb_info.push(' ')),
            "tdx.tcb_info.signature",
        ),
        (
            "TCB info: status",
            tampered(|c| c.tcb_info = c.tcb_info.replace("OutOfDate", "UpToDate") + " "),
            "tdx.tcb_info.signature",
        ),
        (
            "TCB info: a forger's",
            tampered(|c| {
                c.tcb_info = others.tcb_info.clone();
                c.tcb_info_signature = others.tcb_info_signature.clone();
            }),
            "tdx.tcb_info.signature",
        ),
        (
            "TCB info: the QE identity's signature",
            tampered(|c| c.tcb_info_signature = c.qe_identity_signature.clone()),
            "tdx.tcb_info.signature",
        ),
        (
            "TCB info: zero signature",
            tampered(|c| c.tcb_info_signature = Base64(vec![0; 64])),
            "tdx.tcb_info.signature",
        ),
        (
            "TCB info: no signature",
            tampered(|c| c.tcb_info_signature = Base64(Vec::new())),
            "tdx.collateral.malformed",
        ),
        (
            "TCB info: 65 bytes of signature",
            tampered(|c| c.tcb_info_signature.0.push(0)),
            "tdx.collateral.malformed",
        ),
        (
            "QE identity: signature",
            tampered(|c| flip(&mut c.qe_identity_signature)),
            "tdx.qe_identity.signature",
        ),
        (
            "QE identity: text",
            tampered(|c| c.qe_identity.push(' ')),
            "tdx.qe_identity.signature",
        ),
        (
            "QE identity: no signature",
            tampered(|c| c.qe_identity_signature = Base64(Vec::new())),
            "tdx.collateral.malformed",
        ),
    ] {
        check(name, &evidence, code, Theirs::Same);
    }
}

#[test]
fn the_signer_stands_right_below_the_root() {
    for (name, evidence, code) in [
        (
            "below the PCK CA",
            spec(|s| s.signer = DocumentSigner::BelowPckCa),
            "tdx.collateral.malformed",
        ),
        (
            "the PCK CA itself",
            spec(|s| s.signer = DocumentSigner::PckCa),
            "tdx.cert.malformed",
        ),
        (
            "a PCK chain",
            tampered(|c| c.tcb_info_issuer_chain = PLATFORM.pck_chain()),
            "tdx.chain.pem",
        ),
        (
            "none",
            tampered(|c| c.qe_identity_issuer_chain = String::new()),
            "tdx.chain.pem",
        ),
        (
            "none for the CRL",
            tampered(|c| c.pck_crl_issuer_chain = String::new()),
            "tdx.chain.pem",
        ),
    ] {
        let theirs = match name {
            // It needs no issuer for the list but the one in the quote.
            "none for the CRL" => Theirs::Accepts,
            _ => Theirs::Same,
        };
        check(name, &evidence, code, theirs);
    }
    // Signed by one below the PCK CA, with the root put behind it so that the chain has its form.
    let mut collateral = PLATFORM.collateral(&CollateralSpec {
        signer: DocumentSigner::BelowPckCa,
        ..healthy()
    });
    let root = healthy_root();
    for chain in [
        &mut collateral.tcb_info_issuer_chain,
        &mut collateral.qe_identity_issuer_chain,
    ] {
        let signer = chain
            .split_inclusive("-----END CERTIFICATE-----\n")
            .next()
            .unwrap()
            .to_owned();
        *chain = format!("{signer}{root}");
    }
    let evidence = evidence(quote(), Some(collateral));
    check(
        "below the PCK CA, root behind",
        &evidence,
        "tdx.chain.tcb_signing",
        Theirs::Same,
    );
}

fn healthy_root() -> String {
    let chain = PLATFORM.pck_chain();
    chain
        .split_inclusive("-----END CERTIFICATE-----\n")
        .last()
        .unwrap()
        .to_owned()
}

#[test]
fn the_documents_are_for_tdx_of_these_versions_and_of_now() {
    let (past, future) = ((NOW.0 - 9 * DAY, NOW.0 - DAY), (NOW.0 + DAY, NOW.0 + 9 * DAY));
    for (name, evidence, code) in [
        (
            "SGX TCB info",
            spec(|s| s.tcb_info_id = "SGX".into()),
            "tdx.tcb_info.kind",
        ),
        (
            "TCB info version 2",
            spec(|s| s.tcb_info_version = 2),
            "tdx.tcb_info.kind",
        ),
        (
            "SGX QE identity",
            spec(|s| s.qe_identity_id = "QE".into()),
            "tdx.qe_identity.kind",
        ),
        (
            "QvE identity",
            spec(|s| s.qe_identity_id = "QVE".into()),
            "tdx.qe_identity.kind",
        ),
        (
            "TCB info over",
            spec(|s| s.tcb_info_window = past),
            "tdx.tcb_info.stale",
        ),
        (
            "TCB info to come",
            spec(|s| s.tcb_info_window = future),
            "tdx.tcb_info.stale",
        ),
        (
            "QE identity over",
            spec(|s| s.qe_identity_window = past),
            "tdx.qe_identity.stale",
        ),
        (
            "QE identity to come",
            spec(|s| s.qe_identity_window = future),
            "tdx.qe_identity.stale",
        ),
    ] {
        check(name, &evidence, code, Theirs::Same);
    }
    // A version that does not exist yet is not guessed at.
    let newer = spec(|s| s.tcb_info_version = 4);
    check("TCB info version 4", &newer, "tdx.tcb_info.kind", Theirs::Accepts);
}

#[test]
fn a_document_that_its_signer_wrote_wrongly_is_refused() {
    let info = |from: &'static str, to: &'static str| {
        rewritten(move |c| {
            assert!(c.tcb_info.contains(from), "{from}");
            c.tcb_info = c.tcb_info.replacen(from, to, 1);
        })
    };
    for (name, evidence, theirs) in [
        ("no JSON", rewritten(|c| c.tcb_info = "TCB".into()), Theirs::Same),
        (
            "a member twice",
            info("\"version\":3", "\"version\":3,\"version\":3"),
            Theirs::Same,
        ),
        ("no fmspc", info("\"fmspc\"", "\"fmspd\""), Theirs::Same),
        ("short fmspc", info("51806F000000", "51806F0000"), Theirs::Same),
        (
            "long pceId",
            info("\"pceId\":\"0000\"", "\"pceId\":\"000000\""),
            Theirs::Accepts,
        ),
        ("an SVN of 16 bits", info("{\"svn\":2}", "{\"svn\":256}"), Theirs::Same),
        ("15 components", info("{\"svn\":2},", ""), Theirs::Same),
        ("an unknown status", info("UpToDate", "MostlyHarmless"), Theirs::Same),
        (
            "a date that is none",
            rewritten(|c| c.tcb_info = c.tcb_info.replacen("\"nextUpdate\":\"2", "\"nextUpdate\":\"x", 1)),
            Theirs::Same,
        ),
        ("no module", info("\"tdxModule\"", "\"tdxModula\""), Theirs::Same),
        (
            "QE identity: no JSON",
            rewritten(|c| c.qe_identity = "{}".into()),
            Theirs::Same,
        ),
        (
            "QE identity: short mask",
            rewritten(|c| c.qe_identity = c.qe_identity.replacen("FFFFFFFF\"", "FFFF\"", 1)),
            Theirs::Same,
        ),
    ] {
        check(name, &evidence, "tdx.collateral.malformed", theirs);
    }
    let future_member = info("\"tcbType\":0", "\"tcbType\":0,\"newMember\":[1]");
    check(
        "members that Intel adds are no harm",
        &future_member,
        "accepted",
        Theirs::Same,
    );
}

#[test]
fn the_documents_are_for_this_platform() {
    let fmspc = spec(|s| s.fmspc = [0x90, 0xc0, 0x6f, 0, 0, 0]);
    check("another FMSPC", &fmspc, "tdx.tcb_info.fmspc", Theirs::Same);
    // dcap-qvl does not compare it.
    let pce_id = spec(|s| s.pce_id = [0, 1]);
    check("another PCE-ID", &pce_id, "tdx.tcb_info.pce_id", Theirs::Accepts);
    let platform = SimulatedTdx::for_tests().with_pck(&PckSpec {
        fmspc: [1; 6],
        ..PckSpec::default()
    });
    let evidence = platform.evidence(&td(), &[7; 64], &healthy());
    let refused = crate::ours(&evidence, &crate::anchors_of(&platform), NOW).unwrap_err();
    assert_eq!(refused.code(), "tdx.tcb_info.fmspc");
}

#[test]
fn without_collateral_nothing_is_authentic() {
    let bare = evidence(quote(), None);
    let of_another = spec(|s| s.fmspc = [1; 6]).collateral.unwrap();
    let of_a_forger = PLATFORM.with_other_keys().collateral(&healthy());
    for tdx in [vec![], vec![of_another]] {
        let collateral = Collateral {
            tdx,
            ..Collateral::default()
        };
        let refused = judge(bare.clone(), &anchors(), &collateral, NOW).unwrap_err();
        assert_eq!(refused.code(), "tdx.collateral.missing");
    }
    let collateral = Collateral {
        tdx: vec![of_a_forger],
        ..Collateral::default()
    };
    let refused = judge(bare, &anchors(), &collateral, NOW).unwrap_err();
    assert_eq!(refused.code(), "tdx.chain.root");
}

#[test]
fn the_quoting_enclave_is_the_one_of_the_identity() {
    let by = |qe: QeSpec| {
        evidence(
            PLATFORM.quote_by(&td(), &[7; 64], &qe),
            Some(PLATFORM.collateral(&healthy())),
        )
    };
    let with_attribute = |byte: usize, bits: u8| {
        let mut qe = QeSpec::default();
        qe.attributes[byte] ^= bits;
        by(qe)
    };
    for (name, evidence) in [
        (
            "MRSIGNER",
            by(QeSpec {
                mr_signer: [0x9d; 32],
                ..QeSpec::default()
            }),
        ),
        (
            "ISVPRODID",
            by(QeSpec {
                isv_prod_id: 1,
                ..QeSpec::default()
            }),
        ),
        (
            "MISCSELECT",
            by(QeSpec {
                misc_select: [1, 0, 0, 0],
                ..QeSpec::default()
            }),
        ),
        ("ATTRIBUTES: DEBUG", with_attribute(0, 2)),
        ("ATTRIBUTES: masked bit", with_attribute(7, 1)),
    ] {
        check(name, &evidence, "tdx.qe_identity.mismatch", Theirs::Same);
    }
    // Bit 2 of the first byte and XFRM lie outside Intel's mask.
    check(
        "ATTRIBUTES: outside the mask",
        &with_attribute(0, 4),
        "accepted",
        Theirs::Same,
    );
    check(
        "XFRM: outside the mask",
        &with_attribute(8, 4),
        "accepted",
        Theirs::Same,
    );
    let identity_allows_debug = spec(|s| s.qe_attributes[0] = 0x13);
    check(
        "an identity with DEBUG",
        &identity_allows_debug,
        "tdx.qe_identity.mismatch",
        Theirs::Same,
    );
    let old = by(QeSpec {
        isv_svn: 3,
        ..QeSpec::default()
    });
    check(
        "ISVSVN below every level",
        &old,
        "tdx.qe_identity.no_level",
        Theirs::Same,
    );
}
