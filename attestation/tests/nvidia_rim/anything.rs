//! No input makes the readers panic, and nothing but what was signed is accepted.

use std::sync::LazyLock;

use hanzo_attestation::Anchors;
use hanzo_attestation::nvidia::OcspOutcome;
use hanzo_attestation::nvidia::ocsp::check;
use hanzo_attestation::nvidia::rim::check_rim;
use hanzo_simulated_tee::{OcspSpec, SimulatedRimIssuer};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, anchors, driver_spec};

static GOOD: LazyLock<(SimulatedRimIssuer, Anchors, Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let issuer = SimulatedRimIssuer::for_tests();
    let (anchors, rim) = (anchors(&issuer), issuer.sign(&driver_spec()));
    let answer = issuer.ocsp(1, &OcspSpec::good(NOW.0));
    (issuer, anchors, rim, answer)
});

/// Pieces that XML is made of, and some that it is attacked with.
fn xml() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "<",
        ">",
        "</",
        "/>",
        "a",
        "b:a",
        ":",
        " ",
        "\n",
        "=\"",
        "\"",
        "xmlns",
        "xmlns:b=\"u\"",
        "xml:",
        "<a>",
        "</a>",
        "<b:a ",
        "&",
        "&amp;",
        "<!--",
        "-->",
        "<!DOCTYPE",
        "<?",
        "<![CDATA[",
        "SoftwareIdentity",
        "ds:Signature",
        "xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\"",
        "\u{e9}",
        "\0",
    ]);
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn judge(answer: Vec<u8>) -> bool {
    let (issuer, ..) = &*GOOD;
    let chain: Vec<&[u8]> = issuer.certificates().iter().map(Vec::as_slice).collect();
    let rest = issuer.ocsp(2, &OcspSpec::good(NOW.0));
    matches!(check(&chain, &[answer, rest], NOW), Ok(OcspOutcome::Good { .. }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn noise_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..600), text in xml()) {
        for document in [&bytes, text.as_bytes()] {
            prop_assert!(check_rim(document, &GOOD.1, NOW).is_err());
        }
        prop_assert!(!judge(bytes));
    }

    #[test]
    fn a_signed_document_with_bytes_overwritten_inserted_or_cut_out_is_never_another_accepted_one(
        at in any::<prop::sample::Index>(),
        new in vec(any::<u8>(), 0..4),
        old in 0..4_usize,
    ) {
        let (_, anchors, rim, answer) = &*GOOD;
        let edited = |bytes: &[u8]| {
            let at = at.index(bytes.len());
            let end = (at + old).min(bytes.len());
            [&bytes[..at], &new, &bytes[end..]].concat()
        };
        let whole = check_rim(rim, anchors, NOW).unwrap();
        if let Ok(read) = check_rim(&edited(rim), anchors, NOW) {
            // Only spelling can differ.
            prop_assert_eq!((read.product, read.version, read.reference), (whole.product, whole.version, whole.reference));
        }
        let changed = edited(answer);
        prop_assert!(&changed == answer || !judge(changed));
    }
}
