//! One thing wrong with a signed RIM, and the code that says which.

use hanzo_attestation::{Anchors, UnixTime};
use hanzo_simulated_tee::SimulatedRimIssuer;

use crate::{NOW, anchors, driver_spec, resource, vbios_spec, verdict};

fn signed() -> (String, Anchors) {
    let issuer = SimulatedRimIssuer::for_tests();
    let document = String::from_utf8(issuer.sign(&driver_spec())).unwrap();
    (document, anchors(&issuer))
}

/// Replaces the first occurrence, which must exist.
fn replaced(document: &str, from: &str, to: &str) -> String {
    assert!(document.contains(from), "{from}");
    document.replacen(from, to, 1)
}

/// The Signature element of a document.
fn signature(document: &str) -> &str {
    let start = document.find("<ds:Signature ").unwrap();
    let end = document.find("</ds:Signature>").unwrap() + "</ds:Signature>".len();
    &document[start..end]
}

#[test]
fn a_signed_rim_is_accepted_and_one_changed_letter_is_not() {
    let (document, anchors) = signed();
    assert_eq!(verdict(document.as_bytes(), &anchors, NOW), "accepted");
    for (from, to, code) in [
        // What is read.
        ("570.86.10", "570.86.11", "nvidia.rim.digest"),
        ("product=\"GH100\"", "product=\"GB100\"", "nvidia.rim.digest"),
        ("active=\"True\"", "active=\"False\"", "nvidia.rim.digest"),
        ("08080808", "08080809", "nvidia.rim.digest"),
        // What is not read, and white space.
        ("corpus=\"false\"", "corpus=\"true\"", "nvidia.rim.digest"),
        (
            "role=\"softwareCreator tagCreator\"",
            "role=\"softwareCreator  tagCreator\"",
            "nvidia.rim.digest",
        ),
        ("</ns0:Payload>\n", "</ns0:Payload> \n", "nvidia.rim.digest"),
        ("</ds:Signature>", "</ds:Signature>\n", "nvidia.rim.digest"),
        ("xmlns:SHA384=", "xmlns:SHA385=", "nvidia.rim.digest"),
        ("ns2:Hash0=", "ns2:Hash0 =", "nvidia.xml.syntax"),
        // Another spelling of the same canonical form is the same document.
        (
            "supplemental=\"false\" tagId",
            "supplemental=\"false\"  tagId",
            "accepted",
        ),
        (
            "name=\"Measurement_0\" size=\"48\"/>",
            "size=\"48\" name=\"Measurement_0\"></ns0:Resource>",
            "accepted",
        ),
        (
            "<SoftwareIdentity",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<SoftwareIdentity",
            "accepted",
        ),
        // SignedInfo and what stands beside it.
        ("<ds:SignedInfo>", "<ds:SignedInfo> ", "nvidia.rim.signature"),
        ("<ds:SignedInfo>", "<ds:SignedInfo Id=\"a\">", "nvidia.rim.signature"),
        (
            "<ds:KeyInfo>",
            "<ds:KeyInfo></ds:KeyInfo><ds:KeyInfo>",
            "nvidia.rim.structure",
        ),
        ("<ds:SignatureValue>", "<ds:SignatureValue>AAAA", "nvidia.rim.content"),
        ("<ds:DigestValue>", "<ds:DigestValue>AAAA", "nvidia.rim.content"),
        (
            "<ds:X509Certificate>MII",
            "<ds:X509Certificate>MI!",
            "nvidia.rim.certificate",
        ),
        (
            "<ds:X509Certificate>MII",
            "<ds:X509Certificate>NII",
            "nvidia.rim.certificate",
        ),
    ] {
        let changed = replaced(&document, from, to);
        assert_eq!(verdict(changed.as_bytes(), &anchors, NOW), code, "{from} -> {to}");
    }
}

#[test]
fn algorithms_transforms_and_the_reference_are_a_closed_list() {
    let (document, anchors) = signed();
    for (from, to) in [
        (
            "SignedInfo><ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"",
            "SignedInfo><ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"",
        ),
        ("xmldsig-more#ecdsa-sha384", "xmldsig-more#hmac-sha384"),
        ("xmldsig-more#ecdsa-sha384", "xmldsig-more#ecdsa-sha256"),
        ("xmldsig-more#sha384", "xmlenc#sha256"),
        ("xmldsig#enveloped-signature", "xmldsig#base64"),
        (
            "Transform Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"",
            "Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"",
        ),
        ("Reference URI=\"\"", "Reference URI=\"#a\""),
        ("Reference URI=\"\"", "Reference Type=\"\""),
        ("Reference URI=\"\"", "Reference URI=\"\" Id=\"a\""),
        (
            "ecdsa-sha384\"/>",
            "ecdsa-sha384\"><ds:HMACOutputLength>0</ds:HMACOutputLength></ds:SignatureMethod>",
        ),
    ] {
        let changed = replaced(&document, from, to);
        assert_eq!(
            verdict(changed.as_bytes(), &anchors, NOW),
            "nvidia.rim.algorithm",
            "{to}"
        );
    }
    let reference = &document[document.find("<ds:Reference").unwrap()..document.find("</ds:SignedInfo>").unwrap()];
    for (from, to) in [
        // Two references, none, three transforms, one.
        (reference, format!("{reference}{reference}")),
        (reference, String::new()),
        (
            "</ds:Transforms>",
            "<ds:Transform Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"/></ds:Transforms>".into(),
        ),
        (
            "<ds:Transform Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"/>",
            String::new(),
        ),
    ] {
        let changed = replaced(&document, from, &to);
        assert_eq!(
            verdict(changed.as_bytes(), &anchors, NOW),
            "nvidia.rim.structure",
            "{to}"
        );
    }
}

/// The root element as it can stand inside another of its kind.
fn without_declarations(document: &str) -> String {
    let end = document.find(" corpus=").unwrap();
    format!("<SoftwareIdentity{}", &document[end..])
}

#[test]
fn the_signature_stands_in_one_place_once() {
    let (document, anchors) = signed();
    let signature = signature(&document);
    let without = document.replacen(signature, "", 1);
    let nested = signature.replacen(" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"", "", 1);
    for changed in [
        // None; two beside each other; one of them elsewhere; one elsewhere; one in another.
        without.clone(),
        replaced(&document, signature, &format!("{signature}{signature}")),
        replaced(&document, "    <ns0:Entity", &format!("{signature}    <ns0:Entity")),
        replaced(&without, "    <ns0:Payload", &format!("{signature}    <ns0:Payload")),
        replaced(&document, "</ds:KeyInfo>", &format!("</ds:KeyInfo>{nested}")),
        replaced(
            &document,
            "    </ns0:Payload>",
            &format!("{signature}    </ns0:Payload>"),
        ),
        // Wrapped: the signed document inside another that says something else.
        replaced(
            &replaced(&document, "570.86.10", "999"),
            signature,
            &format!("{}{signature}", without_declarations(document.trim_end())),
        ),
    ] {
        assert_eq!(verdict(changed.as_bytes(), &anchors, NOW), "nvidia.rim.signature_place");
    }
    // Wrapped with the signature left where it was, and with a second payload.
    let payload = &document[document.find("<ns0:Payload").unwrap()..document.find("</ns0:Payload>").unwrap() + 14];
    let inner = without_declarations(without.trim_end());
    let meta = replaced(
        &without,
        "</SoftwareIdentity>\n",
        &format!("{signature}</SoftwareIdentity>"),
    );
    for changed in [
        replaced(&document, signature, &format!("{inner}{signature}")),
        replaced(&document, payload, &format!("{payload}{payload}")),
        replaced(&document, payload, ""),
        replaced(&meta, "<SoftwareIdentity ", "<Envelope ").replace("</SoftwareIdentity>", "</Envelope>"),
        replaced(&document, "    <ns0:Payload", "text<ns0:Payload"),
    ] {
        assert_eq!(verdict(changed.as_bytes(), &anchors, NOW), "nvidia.rim.structure");
    }
}

#[test]
fn xml_features_are_refused_in_the_middle_of_a_signed_document_too() {
    let (document, anchors) = signed();
    let deep = format!(
        "{}{}</ns0:Payload>",
        "<ns0:Resource>".repeat(5000),
        "</ns0:Resource>".repeat(5000)
    );
    for (from, to, code) in [
        (
            "<SoftwareIdentity",
            "<!DOCTYPE SoftwareIdentity [<!ENTITY v \"1\">]><SoftwareIdentity",
            "nvidia.xml.forbidden",
        ),
        ("570.86.10", "&v;", "nvidia.xml.forbidden"),
        ("570.86.10", "570.86.1&#x30;", "nvidia.xml.forbidden"),
        // Comments vanish in the canonical form: the classic way to cut a signed value short.
        (
            "</ds:SignatureValue>",
            "<!-- --></ds:SignatureValue>",
            "nvidia.xml.forbidden",
        ),
        ("    <ns0:Payload", "    <!-- --><ns0:Payload", "nvidia.xml.forbidden"),
        ("    <ns0:Payload", "    <?pi?><ns0:Payload", "nvidia.xml.forbidden"),
        (
            "    <ns0:Payload",
            "    <![CDATA[ ]]><ns0:Payload",
            "nvidia.xml.forbidden",
        ),
        ("</ns0:Payload>", &deep, "nvidia.xml.bounds"),
        ("patch=\"false\"", "patch=\"false\" patch=\"true\"", "nvidia.xml.syntax"),
        (
            "<ns0:Payload ",
            "<ns0:Payload xmlns:ns2=\"http://www.w3.org/2001/04/xmlenc#sha384\" ",
            "nvidia.xml.syntax",
        ),
        (
            "patch=\"false\"",
            "patch=\"false\" xml:lang=\"en\"",
            "nvidia.xml.syntax",
        ),
    ] {
        let changed = replaced(&document, from, to);
        assert_eq!(verdict(changed.as_bytes(), &anchors, NOW), code, "{to:.60}");
    }
    let long = format!("{document}{}", "\n".repeat((256 << 10) + 1 - document.len()));
    assert_eq!(verdict(long.as_bytes(), &anchors, NOW), "nvidia.xml.bounds");
    assert_eq!(verdict(&long.as_bytes()[..256 << 10], &anchors, NOW), "accepted");
}

#[test]
fn properly_signed_nonsense_is_refused_for_what_it_is() {
    let issuer = SimulatedRimIssuer::for_tests();
    let anchors = anchors(&issuer);
    let check = |change: &dyn Fn(&mut hanzo_simulated_tee::RimSpec)| {
        let mut spec = driver_spec();
        change(&mut spec);
        verdict(&issuer.sign(&spec), &anchors, NOW)
    };
    assert_eq!(check(&|_| {}), "accepted");
    assert_eq!(check(&|s| resource(s, 8).index = 7), "nvidia.rim.duplicate_index");
    assert_eq!(check(&|s| resource(s, 8).index = 64), "nvidia.rim.content");
    assert_eq!(check(&|s| resource(s, 7).alternatives.clear()), "nvidia.rim.content");
    assert_eq!(check(&|s| s.resources.clear()), "nvidia.rim.structure");
    assert_eq!(
        check(&|s| s.resources.extend(vbios_spec().resources)),
        "nvidia.rim.structure"
    );
    assert_eq!(check(&|s| s.version.clear()), "nvidia.rim.content");
    assert_eq!(check(&|s| s.version = "two words".into()), "nvidia.rim.content");
    assert_eq!(check(&|s| s.product = "G".repeat(65)), "nvidia.rim.content");
    assert_eq!(check(&|s| resource(s, 7).alternatives = vec![[7; 48]; 10]), "accepted");
    // The form of a resource is read before the signature is checked.
    let document = String::from_utf8(issuer.sign(&driver_spec())).unwrap();
    for (from, to) in [
        ("type=\"Measurement\" index=\"0\"", "type=\"File\" index=\"0\""),
        ("index=\"0\" ", ""),
        ("index=\"0\" ", "index=\"00\" "),
        ("index=\"0\" ", "index=\"-0\" "),
        ("active=\"True\"", "active=\"true\""),
        ("alternatives=\"1\"", "alternatives=\"2\""),
        ("alternatives=\"1\"", "alternatives=\"0\""),
        ("alternatives=\"1\"", "alternatives=\"33\""),
        ("ns2:Hash0=", "ns2:Hash1="),
        ("ns2:Hash0=", "Hash0="),
        ("ns2:Hash0=\"00", "ns2:Hash0=\""),
        ("ns2:Hash0=\"00", "ns2:Hash0=\"0g"),
        ("name=\"Measurement_0\"", "name=\"Measurement_0\" more=\"1\""),
        ("name=\"Measurement_0\" ", ""),
        (
            "name=\"Measurement_0\" size=\"48\"",
            "name=\"Measurement_0\" size=\"32\"",
        ),
    ] {
        let changed = replaced(&document, from, to);
        assert_eq!(verdict(changed.as_bytes(), &anchors, NOW), "nvidia.rim.content", "{to}");
    }
}

#[test]
fn the_chain_ends_in_a_root_that_counts_and_each_link_is_signed() {
    let (document, anchors) = signed();
    assert_eq!(verdict(document.as_bytes(), &Anchors::vendor(), NOW), "nvidia.rim.root");
    let stranger = SimulatedRimIssuer::from_seed(&[9; 32]);
    let theirs = String::from_utf8(stranger.sign(&driver_spec())).unwrap();
    assert_eq!(verdict(theirs.as_bytes(), &anchors, NOW), "nvidia.rim.root");

    let certificates = |document: &str| -> Vec<String> {
        let all = document.split("<ds:X509Certificate>").skip(1);
        all.map(|rest| rest.split("</ds:X509Certificate>").next().unwrap().to_owned())
            .collect()
    };
    let (ours, theirs) = (certificates(&document), certificates(&theirs));
    // Every certificate of the stranger's in our document; with our root behind them nothing fits.
    for position in 0..4 {
        let changed = replaced(&document, &ours[position], &theirs[position]);
        let expected = if position == 3 {
            "nvidia.rim.root"
        } else {
            "nvidia.rim.chain"
        };
        assert_eq!(verdict(changed.as_bytes(), &anchors, NOW), expected, "{position}");
    }
    // An authority in the signer's place, the signer missing, the root missing, one too many.
    let whole = |i: usize| format!("<ds:X509Certificate>{}</ds:X509Certificate>", ours[i]);
    for (from, to, code) in [
        (whole(0), whole(1), "nvidia.rim.chain"),
        (whole(0), String::new(), "nvidia.rim.structure"),
        (whole(3), String::new(), "nvidia.rim.structure"),
        (whole(3), format!("{}{}", whole(3), whole(3)), "nvidia.rim.structure"),
    ] {
        let changed = replaced(&document, &from, &to);
        assert_eq!(verdict(changed.as_bytes(), &anchors, NOW), code);
    }
}

#[test]
fn an_authority_does_not_sign_rims() {
    let (document, anchors) = signed();
    let parts: Vec<&str> = document.split("<ds:X509Certificate>").collect();
    let (root, end) = parts[4].split_once("</ds:X509Certificate>").unwrap();
    // The third level as the signer, the rest moved up, the root under itself: each link holds, and the end is wrong.
    let moved = [
        parts[0],
        parts[2],
        parts[3],
        &format!("{root}</ds:X509Certificate>"),
        &format!("{root}</ds:X509Certificate>{end}"),
    ]
    .join("<ds:X509Certificate>");
    assert_eq!(verdict(moved.as_bytes(), &anchors, NOW), "nvidia.rim.chain");
}

#[test]
fn the_signers_certificate_counts_to_the_second() {
    let (first, last) = (NOW.0 - 100, NOW.0 + 100);
    let issuer = SimulatedRimIssuer::with_signer_validity(&[3; 32], (first, last));
    let (document, anchors) = (issuer.sign(&driver_spec()), anchors(&issuer));
    for (now, code) in [
        (first - 1, "nvidia.rim.not_yet_valid"),
        (first, "accepted"),
        (last, "accepted"),
        (last + 1, "nvidia.rim.expired"),
    ] {
        assert_eq!(verdict(&document, &anchors, UnixTime(now)), code);
    }
}
