//! The PCK chain: form, order, names, keys, dates, lists.

use hanzo_attestation::bundle::{Base64, TdxEvidence};
use hanzo_attestation::tdx::roots::INTEL_SGX_ROOT_CA;
use hanzo_attestation::{Anchors, Collateral, UnixTime};
use hanzo_simulated_tee::{PckSpec, RevokedCertificate, SimulatedTdx};

use crate::oracle::Theirs;
use crate::{DAY, NOW, PLATFORM, anchors, check, check_at, evidence, healthy, judge, ours, quote, td, with};

/// A healthy quote with another chain: no signature covers it.
pub fn with_chain(chain: &[u8]) -> TdxEvidence {
    let mut quote = quote();
    let data = td().format.signed_bytes();
    let (outer, inner) = (data + 4 + 128, data + 4 + 128 + 6 + 448 + 2 + 32);
    quote.truncate(inner + 2);
    let le = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    quote.extend(le(chain.len()));
    quote.extend(chain);
    let total = quote.len();
    quote[outer + 2..outer + 6].copy_from_slice(&le(total - outer - 6));
    quote[data..data + 4].copy_from_slice(&le(total - data - 4));
    evidence(quote, Some(PLATFORM.collateral(&healthy())))
}

/// The three certificates of a chain, PEM each.
fn certificates(chain: &str) -> Vec<String> {
    chain
        .split_inclusive("-----END CERTIFICATE-----\n")
        .map(str::to_owned)
        .collect()
}

fn der(pem: &str) -> Vec<u8> {
    let letters: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
    serde_json::from_value::<Base64>(letters.into()).unwrap().0
}

fn pem(der: &[u8]) -> String {
    let letters = serde_json::to_value(Base64(der.to_vec())).unwrap();
    let letters = letters.as_str().unwrap().as_bytes();
    let lines: Vec<_> = letters.chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

#[test]
fn a_chain_in_another_form_is_refused() {
    let chain = PLATFORM.pck_chain();
    let [pck, ca, root] = <[String; 3]>::try_from(certificates(&chain)).unwrap();
    for (name, text, code, theirs) in [
        ("as it is", chain.clone(), "accepted", Theirs::Same),
        ("CR LF", chain.replace('\n', "\r\n"), "accepted", Theirs::Same),
        (
            "without last line end",
            chain.trim_end().to_owned(),
            "accepted",
            Theirs::Same,
        ),
        ("with zeros behind", format!("{chain}\0\0"), "accepted", Theirs::Same),
        // A chain of three is one of three: dcap-qvl takes the root from its caller and reads over the rest.
        ("without root", format!("{pck}{ca}"), "tdx.chain.pem", Theirs::Accepts),
        (
            "with one more",
            format!("{chain}{root}"),
            "tdx.chain.pem",
            Theirs::Accepts,
        ),
        (
            "with text before",
            format!("Bag Attributes\n{chain}"),
            "tdx.chain.pem",
            Theirs::Accepts,
        ),
        (
            "with text behind",
            format!("{chain}text\n"),
            "tdx.chain.pem",
            Theirs::Accepts,
        ),
        (
            "with an empty line",
            format!("{pck}\n{ca}{root}"),
            "tdx.chain.pem",
            Theirs::Accepts,
        ),
        (
            "with a space",
            chain.replacen("\nMII", "\n MII", 1),
            "tdx.chain.pem",
            Theirs::Accepts,
        ),
        (
            "with a longer line",
            chain.replacen("\nMII", "MII", 1),
            "tdx.chain.pem",
            Theirs::Accepts,
        ),
        ("empty", String::new(), "tdx.chain.pem", Theirs::Same),
        (
            "another label",
            chain.replace("CERTIFICATE", "X509 CERTIFICATE"),
            "tdx.chain.pem",
            Theirs::Accepts,
        ),
        ("alone", pck.clone(), "tdx.chain.pem", Theirs::Same),
        // Roles are told by what a certificate may sign, so an order is not guessed.
        (
            "root first",
            format!("{root}{ca}{pck}"),
            "tdx.cert.malformed",
            Theirs::Same,
        ),
        (
            "CA twice",
            format!("{ca}{ca}{root}"),
            "tdx.cert.malformed",
            Theirs::Same,
        ),
        (
            "PCK twice",
            format!("{pck}{pck}{root}"),
            "tdx.cert.malformed",
            Theirs::Same,
        ),
        (
            "root as CA",
            format!("{pck}{root}{root}"),
            "tdx.chain.pck",
            Theirs::Same,
        ),
    ] {
        check(name, &with_chain(text.as_bytes()), code, theirs);
    }
    let long = vec![b'A'; 16 * 1024 + 1];
    check(
        "longer than any chain",
        &with_chain(&long),
        "tdx.chain.pem",
        Theirs::Same,
    );
}

#[test]
fn every_certificate_must_be_signed_by_the_one_above_it() {
    let own = certificates(&PLATFORM.pck_chain());
    let other = certificates(&PLATFORM.with_other_keys().pck_chain());
    let intel = pem(&INTEL_SGX_ROOT_CA);
    let chain = |parts: [&String; 3]| with_chain(parts.map(String::as_str).concat().as_bytes());
    for (name, evidence, code) in [
        (
            "a forger's chain",
            chain([&other[0], &other[1], &other[2]]),
            "tdx.chain.root",
        ),
        (
            "a forger's chain below the root",
            chain([&other[0], &other[1], &own[2]]),
            "tdx.chain.pck_ca",
        ),
        ("a forger's PCK", chain([&other[0], &own[1], &own[2]]), "tdx.chain.pck"),
        (
            "a forger's CA",
            chain([&own[0], &other[1], &own[2]]),
            "tdx.chain.pck_ca",
        ),
        (
            "Intel's root above",
            chain([&own[0], &own[1], &intel]),
            "tdx.chain.pck_ca",
        ),
    ] {
        let ours = judge(evidence, &anchors(), &Collateral::default(), NOW);
        assert_eq!(ours.unwrap_err().code(), code, "{name}");
    }
    // One byte of each certificate's body and signature.
    for (i, name) in ["PCK", "PCK CA", "root"].into_iter().enumerate() {
        let good = der(&own[i]);
        for at in [60, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let mut parts = own.clone();
            parts[i] = pem(&bad);
            let code = crate::ours(&with_chain(parts.concat().as_bytes()), &anchors(), NOW).unwrap_err();
            assert!(code.code().starts_with("tdx.c"), "{name}: {code}");
        }
    }
}

#[test]
fn without_the_simulators_root_its_evidence_is_nobodys() {
    let good = with(&healthy());
    for anchors in [
        Anchors::vendor(),
        Anchors::vendor().with_simulator_tdx_root(PLATFORM.with_other_keys().root_der().to_vec()),
        // Roots of other makes count for their own evidence alone.
        Anchors::vendor().with_simulator_ark(PLATFORM.root_der().to_vec()),
        Anchors::vendor().with_simulator_nvidia_root(PLATFORM.root_der().to_vec()),
        Anchors::vendor().with_tpm_root(PLATFORM.root_der().to_vec()),
    ] {
        let refused = crate::ours(&good, &anchors, NOW).unwrap_err();
        assert_eq!(refused.code(), "tdx.chain.root");
    }
}

#[test]
fn certificates_have_dates() {
    let (past, future) = ((NOW.0 - 20 * DAY, NOW.0 - DAY), (NOW.0 + DAY, NOW.0 + 20 * DAY));
    for (name, spec, code) in [
        (
            "expired PCK",
            PckSpec {
                validity: past,
                ..PckSpec::default()
            },
            "tdx.cert.expired",
        ),
        (
            "future PCK",
            PckSpec {
                validity: future,
                ..PckSpec::default()
            },
            "tdx.cert.not_yet_valid",
        ),
    ] {
        let platform = SimulatedTdx::for_tests().with_pck(&spec);
        let evidence = platform.evidence(&td(), &[7; 64], &healthy());
        let anchors = crate::anchors_of(&platform);
        assert_eq!(
            crate::ours(&evidence, &anchors, NOW).unwrap_err().code(),
            code,
            "{name}"
        );
        assert!(crate::oracle::judge(&evidence, platform.root_der(), NOW).is_err());
    }
    for (name, validity, code) in [
        ("expired CA", past, "tdx.cert.expired"),
        ("future CA", future, "tdx.cert.not_yet_valid"),
    ] {
        let spec = PckSpec {
            ca_validity: validity,
            ..PckSpec::default()
        };
        let platform = SimulatedTdx::from_seed(&[3; 32], &spec);
        let evidence = platform.evidence(&td(), &[7; 64], &healthy());
        let anchors = crate::anchors_of(&platform);
        assert_eq!(
            crate::ours(&evidence, &anchors, NOW).unwrap_err().code(),
            code,
            "{name}"
        );
        assert!(crate::oracle::judge(&evidence, platform.root_der(), NOW).is_err());
    }
    // The very second counts.
    let spec = PckSpec {
        validity: (NOW.0, NOW.0),
        ..PckSpec::default()
    };
    let platform = SimulatedTdx::for_tests().with_pck(&spec);
    let evidence = platform.evidence(&td(), &[7; 64], &healthy());
    let claims = crate::ours(&evidence, &crate::anchors_of(&platform), NOW).unwrap();
    assert_eq!(claims.collateral_expires, NOW);
}

#[test]
fn lists_are_signed_fresh_and_obeyed() {
    let spec = |change: &dyn Fn(&mut hanzo_simulated_tee::CollateralSpec)| {
        let mut spec = healthy();
        change(&mut spec);
        with(&spec)
    };
    let day = DAY;
    for (name, evidence, code) in [
        (
            "PCK revoked",
            spec(&|s| s.revoked = vec![RevokedCertificate::Pck]),
            "tdx.crl.revoked",
        ),
        (
            "PCK CA revoked",
            spec(&|s| s.revoked = vec![RevokedCertificate::PckCa]),
            "tdx.crl.revoked",
        ),
        (
            "TCB signing revoked",
            spec(&|s| s.revoked = vec![RevokedCertificate::TcbSigning]),
            "tdx.crl.revoked",
        ),
        (
            "PCK CRL over",
            spec(&|s| s.pck_crl_window = (NOW.0 - 9 * day, NOW.0 - day)),
            "tdx.crl.stale",
        ),
        (
            "root CRL over",
            spec(&|s| s.root_crl_window = (NOW.0 - 9 * day, NOW.0 - day)),
            "tdx.crl.stale",
        ),
    ] {
        check(name, &evidence, code, Theirs::Same);
    }
    // A list about users' certificates alone does not clear an authority; dcap-qvl leaves that to webpki.
    let partial = ours(&spec(&|s| s.lists_are_partial = true), &anchors(), NOW);
    assert_eq!(partial.unwrap_err().code(), "tdx.crl.malformed");
    // dcap-qvl does not look at thisUpdate.
    for (name, evidence) in [
        (
            "PCK CRL to come",
            spec(&|s| s.pck_crl_window = (NOW.0 + day, NOW.0 + 9 * day)),
        ),
        (
            "root CRL to come",
            spec(&|s| s.root_crl_window = (NOW.0 + day, NOW.0 + 9 * day)),
        ),
    ] {
        check(name, &evidence, "tdx.crl.stale", Theirs::Accepts);
    }

    let good = with(&healthy());
    let change = |change: &dyn Fn(&mut hanzo_attestation::bundle::TdxCollateral)| {
        let mut evidence = good.clone();
        change(evidence.collateral.as_mut().unwrap());
        evidence
    };
    let flip = |list: &mut Base64| {
        let last = list.0.len() - 1;
        list.0[last] ^= 1;
    };
    let others = PLATFORM.with_other_keys().collateral(&healthy());
    for (name, evidence, code) in [
        (
            "PCK CRL changed",
            change(&|c| flip(&mut c.pck_crl)),
            "tdx.crl.signature",
        ),
        (
            "root CRL changed",
            change(&|c| flip(&mut c.root_ca_crl)),
            "tdx.crl.signature",
        ),
        (
            "a forger's PCK CRL",
            change(&|c| c.pck_crl = others.pck_crl.clone()),
            "tdx.crl.signature",
        ),
        (
            "a forger's root CRL",
            change(&|c| c.root_ca_crl = others.root_ca_crl.clone()),
            "tdx.crl.signature",
        ),
        (
            "the root's list as the CA's",
            change(&|c| c.pck_crl = c.root_ca_crl.clone()),
            "tdx.crl.issuer",
        ),
        (
            "the CA's list as the root's",
            change(&|c| c.root_ca_crl = c.pck_crl.clone()),
            "tdx.crl.issuer",
        ),
        (
            "no PCK CRL",
            change(&|c| c.pck_crl = Base64(Vec::new())),
            "tdx.crl.malformed",
        ),
        (
            "a certificate as CRL",
            change(&|c| c.pck_crl = Base64(PLATFORM.root_der().to_vec())),
            "tdx.crl.malformed",
        ),
        ("cut CRL", change(&|c| c.pck_crl.0.truncate(90)), "tdx.crl.malformed"),
    ] {
        check(name, &evidence, code, Theirs::Same);
    }
}

#[test]
fn the_clock_decides_when_everything_is_over() {
    let good = with(&healthy());
    let expires = NOW.0 + 30 * DAY;
    check_at(
        "last second but one",
        &good,
        "accepted",
        Theirs::Same,
        UnixTime(expires - 1),
    );
    // The last second counts here for everything; dcap-qvl ends lists one second earlier.
    check_at(
        "last second",
        &good,
        "accepted",
        Theirs::Refuses("CrlExpired"),
        UnixTime(expires),
    );
    check_at("after it", &good, "tdx.crl.stale", Theirs::Same, UnixTime(expires + 1));
    check_at(
        "before it",
        &good,
        "tdx.crl.stale",
        Theirs::Same,
        UnixTime(NOW.0 - 3601),
    );
    check_at("first second", &good, "accepted", Theirs::Same, UnixTime(NOW.0 - 3600));
    check_at(
        "before all certificates",
        &good,
        "tdx.cert.not_yet_valid",
        Theirs::Same,
        UnixTime(0),
    );
    check_at(
        "after all certificates",
        &good,
        "tdx.cert.expired",
        Theirs::Same,
        UnixTime(u64::MAX / 4),
    );
}
