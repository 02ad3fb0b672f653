//! CoRIM files written here: a good one, and its nearest refused twins.

use hanzo_verifier::corim::SnpCorim;

fn head(major: u8, n: usize) -> Vec<u8> {
    match n {
        0..=23 => vec![major << 5 | n as u8],
        24..=255 => vec![major << 5 | 24, n as u8],
        _ => [&[major << 5 | 25][..], &(n as u16).to_be_bytes()].concat(),
    }
}

fn int(n: usize) -> Vec<u8> {
    head(0, n)
}

fn bytes(b: &[u8]) -> Vec<u8> {
    [head(2, b.len()), b.to_vec()].concat()
}

fn text(t: &str) -> Vec<u8> {
    [head(3, t.len()), t.as_bytes().to_vec()].concat()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len()), items.concat()].concat()
}

fn map(members: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let body: Vec<u8> = members
        .iter()
        .flat_map(|(k, v)| [int(*k), v.clone()].concat())
        .collect();
    [head(5, members.len()), body].concat()
}

fn tag(number: usize, inner: Vec<u8>) -> Vec<u8> {
    [head(6, number), inner].concat()
}

const PROFILE: &str = "tag:amd.com,2024:snp-corim-profile";
const OID: &[u8] = b"\x2b\x06\x01\x04\x01\x9c\x78\x03\x01\x01";

fn reference(mkey: Option<Vec<u8>>) -> Vec<u8> {
    let environment = map(&[(0, map(&[(0, tag(111, bytes(OID)))]))]);
    let mut measurement: Vec<_> = mkey.map(|key| (0, key)).into_iter().collect();
    measurement.push((1, map(&[(1, int(10))])));
    map(&[(0, list(&[list(&[environment, list(&[map(&measurement)])])]))])
}

fn anchor(class: &[(usize, Vec<u8>)], key: Vec<u8>) -> Vec<u8> {
    map(&[(3, list(&[list(&[map(&[(0, map(class))]), list(&[key])])]))])
}

fn file(triples: Vec<u8>) -> Vec<u8> {
    let comid = map(&[(1, map(&[(0, bytes(&[1; 16]))])), (4, triples)]);
    corim(&[
        (0, text("id")),
        (1, list(&[tag(506, bytes(&comid))])),
        (3, tag(32, text(PROFILE))),
    ])
}

fn corim(members: &[(usize, Vec<u8>)]) -> Vec<u8> {
    tag(501, map(members))
}

fn code(file: &[u8]) -> &'static str {
    SnpCorim::parse(file).map_or_else(|e| e.code(), |_| "read")
}

#[test]
fn reference_values_name_their_field_and_anchors_vendor_and_model() {
    let good = SnpCorim::parse(&file(reference(Some(int(641))))).unwrap();
    assert_eq!((good.id.as_str(), good.reference_fields), ("id", vec![641]));
    assert_eq!(code(&file(reference(None))), "corim.no_key");
    assert_eq!(code(&file(reference(Some(tag(111, bytes(OID)))))), "corim.key");

    let (vendor, model) = ((1, text("Advanced Micro Devices")), (2, text("ARK-Genoa")));
    let pem = || tag(555, text("-----BEGIN CERTIFICATE-----"));
    let good = SnpCorim::parse(&file(anchor(&[vendor.clone(), model.clone()], pem()))).unwrap();
    assert_eq!(
        good.anchors,
        [("Advanced Micro Devices".to_owned(), "ARK-Genoa".to_owned())]
    );
    assert_eq!(code(&file(anchor(&[model.clone()], pem()))), "corim.no_vendor");
    assert_eq!(code(&file(anchor(&[vendor.clone()], pem()))), "corim.no_model");
    assert_eq!(code(&file(anchor(&[vendor, model], text("bare")))), "corim.shape");
}

#[test]
fn other_forms_profiles_and_encodings_are_refused() {
    let good = file(reference(Some(int(1))));
    assert_eq!(code(&good), "read");
    assert_eq!(code(&[&good[..], &[0]].concat()), "corim.shape", "a trailing byte");
    assert_eq!(code(&good[..good.len() - 1]), "corim.shape", "cut");
    assert_eq!(code(b"{}"), "corim.form", "JSON");
    assert_eq!(code(&tag(502, good.clone())), "corim.form", "signed");
    let tags = || (1, list(&[]));
    let other = corim(&[(0, text("id")), tags(), (3, tag(32, text("tag:example,2026:x")))]);
    assert_eq!(code(&other), "corim.profile");
    assert_eq!(code(&corim(&[(0, text("id")), tags()])), "corim.profile");
    let twice = corim(&[(0, text("id")), (0, text("id")), tags(), (3, tag(32, text(PROFILE)))]);
    assert_eq!(code(&twice), "corim.shape", "a member twice");
    assert_eq!(
        code(&file(map(&[(7, list(&[]))]))),
        "corim.shape",
        "a triple that nobody understands"
    );
    let mut long = tag(501, vec![0xbf, 0xff]);
    assert_eq!(code(&long), "corim.shape", "an indefinite length");
    long = tag(501, vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(code(&long), "corim.shape", "a length that is not there");
    assert_eq!(
        code(&tag(501, vec![0x18, 0x01])),
        "corim.shape",
        "a number in a longer form"
    );
    assert_eq!(code(&vec![0xd9; (1 << 20) + 1]), "corim.too_large");
}
