//! A machine made of files: what is accepted, and next to it the smallest difference that is refused.

mod fake_kernel;
mod registers;

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fake_kernel::{FakeKernel, tree};
use tdx_attest_rs::{AttestError, Machine, Provider, Report, Request, Roots, SvsmService};

const ASKED: [u8; 64] = [0x5a; 64];

/// Echoes the question in the outblob.
fn echo(provider: &'static str) -> FakeKernel {
    FakeKernel::new(provider, Arc::new(|asked| Ok((asked.to_vec(), b"aux".to_vec()))))
}

/// Asks; no entry may be left whatever the outcome.
fn ask(kernel: FakeKernel, request: &Request<'_>) -> Result<Report, AttestError> {
    let (_dir, roots) = tree();
    let reports = roots.sys.join("kernel/config/tsm/report");
    let outcome = Machine::with_kernel(roots, Box::new(kernel)).report(request);
    assert_eq!(fs::read_dir(reports).unwrap().count(), 0, "an entry was left");
    outcome
}

fn refused(kernel: FakeKernel, provider: Provider) -> &'static str {
    ask(kernel, &Request::new(provider, &ASKED)).unwrap_err().code()
}

#[test]
fn a_report_is_of_one_generation_and_its_entry_is_gone_afterwards() {
    let report = ask(echo("sev_guest"), &Request::new(Provider::SevGuest, &ASKED)).unwrap();
    assert_eq!(report.outblob, ASKED);
    assert_eq!(report.auxblob.as_deref(), Some(&b"aux"[..]));
    assert_eq!((report.manifestblob, report.svsm), (None, false));
    let report = ask(echo("tdx_guest"), &Request::new(Provider::TdxGuest, &ASKED)).unwrap();
    assert_eq!(report.auxblob, None);
}

#[test]
fn a_disturbed_generation_is_tried_again_and_not_for_ever() {
    let disturbed = |times| FakeKernel {
        disturb: Arc::new(AtomicU32::new(times)),
        ..echo("tdx_guest")
    };
    let kernel = disturbed(4);
    let left = kernel.disturb.clone();
    ask(kernel, &Request::new(Provider::TdxGuest, &ASKED)).unwrap();
    assert_eq!(left.load(Ordering::SeqCst), 0, "four tries were thrown away");
    assert_eq!(refused(disturbed(5), Provider::TdxGuest), "tsm.conflict");
}

#[test]
fn another_provider_is_refused_by_name() {
    assert_eq!(refused(echo("tdx_guest"), Provider::SevGuest), "tsm.provider");
    assert_eq!(refused(echo("sev_guest"), Provider::TdxGuest), "tsm.provider");
    assert_eq!(refused(echo("arm_cca_guest"), Provider::TdxGuest), "tsm.provider");
    let provider = |name| {
        let (_dir, roots) = tree();
        Machine::with_kernel(roots, Box::new(echo(name))).provider()
    };
    assert_eq!(provider("sev_guest").unwrap(), Provider::SevGuest);
    assert_eq!(provider("tdx_guest").unwrap(), Provider::TdxGuest);
    assert_eq!(provider("tdx_guest2").unwrap_err().code(), "tsm.provider");
}

#[test]
fn an_svsm_is_recognised_and_its_services_are_asked_with_every_write_counted() {
    let svsm = FakeKernel {
        svsm: true,
        ..echo("sev_guest")
    };
    let plain = Request::new(Provider::SevGuest, &ASKED);
    let report = ask(svsm.clone(), &plain).unwrap();
    assert_eq!((report.svsm, report.manifestblob), (true, None));
    for guid in [None, Some("c476f1eb-0123-45a5-9641-b4e7dde5bfe3")] {
        let request = plain.of_service(SvsmService {
            guid,
            manifest_version: 0,
        });
        let report = ask(svsm.clone(), &request).unwrap();
        assert_eq!(report.manifestblob.as_deref(), Some(&b"manifest"[..]));
        let error = ask(echo("sev_guest"), &request).unwrap_err();
        assert_eq!(error.code(), "tsm.absent", "a guest without SVSM");
    }
}

#[test]
fn attributes_that_are_missing_empty_or_of_another_format_are_refused() {
    let lacks = |attribute| FakeKernel {
        lacks: vec![attribute],
        ..echo("sev_guest")
    };
    let code = |kernel| refused(kernel, Provider::SevGuest);
    for attribute in ["provider", "generation", "inblob", "outblob"] {
        // `inblob` cannot be written where it does not exist; the others cannot be read.
        assert_eq!(code(lacks(attribute)), "tsm.absent", "{attribute}");
    }
    let report = ask(lacks("auxblob"), &Request::new(Provider::SevGuest, &ASKED)).unwrap();
    assert_eq!(report.auxblob, None, "a host that gives no certificates");
    for generation in ["", "x\n", "-1\n", "1 2\n"] {
        let kernel = FakeKernel {
            generation,
            ..echo("sev_guest")
        };
        assert_eq!(code(kernel), "tsm.malformed", "{generation:?}");
    }
    let answers = |bytes: usize| FakeKernel {
        answer: Arc::new(move |_| Ok((vec![1; bytes], Vec::new()))),
        ..echo("sev_guest")
    };
    assert_eq!(code(answers(0)), "tsm.malformed");
    assert_eq!(code(answers(64 * 1024 + 1)), "tsm.malformed");
    ask(answers(64 * 1024), &Request::new(Provider::SevGuest, &ASKED)).unwrap();
}

#[test]
fn a_machine_without_the_interface_and_a_user_without_the_right_are_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = Machine::at(Roots::under(dir.path()));
    let error = nowhere.provider().unwrap_err();
    assert_eq!(error.code(), "tsm.absent");
    assert!(error.to_string().contains("CONFIG_TSM_REPORTS"), "{error}");

    let driverless = FakeKernel {
        no_driver: true,
        ..echo("tdx_guest")
    };
    assert_eq!(refused(driverless, Provider::TdxGuest), "tsm.absent");

    let refuses = |file, kind| FakeKernel {
        refuses: vec![(file, kind)],
        ..echo("tdx_guest")
    };
    let code = |file, kind| refused(refuses(file, kind), Provider::TdxGuest);
    for file in ["report", "provider", "inblob", "outblob"] {
        assert_eq!(code(file, ErrorKind::PermissionDenied), "tsm.denied", "{file}");
    }
    assert_eq!(code("inblob", ErrorKind::Other), "tsm.io");
    // What a TD sees when its host runs no quoting service.
    assert_eq!(code("outblob", ErrorKind::TimedOut), "tsm.no_report");
    assert_eq!(code("outblob", ErrorKind::ResourceBusy), "tsm.conflict");
}

#[test]
fn the_real_file_system_denies_a_user_without_the_right() {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, roots) = tree();
    let reports = roots.sys.join("kernel/config/tsm/report");
    fs::set_permissions(&reports, fs::Permissions::from_mode(0o500)).unwrap();
    let outcome = Machine::at(roots).provider().unwrap_err();
    if outcome.code() == "tsm.absent" {
        // Root may write anywhere; the plain directory then lacks `provider`.
        let _ = writeln!(
            std::io::stderr(),
            "PERMISSION DENIED was not provoked: these tests run as root"
        );
        return;
    }
    assert_eq!(outcome.code(), "tsm.denied");
}
