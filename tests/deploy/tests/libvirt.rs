//! The domain definitions against libvirt's own schemas.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hanzo_image::run::MACHINE;
use hanzo_tests_deploy::files::{deploy, ending, text};
use hanzo_tests_deploy::tools::{libvirt_schemas, said, say_missing, system};

/// As an operator fills a definition in.
fn filled(file: &Path) -> String {
    let taken = fill(
        file,
        &format!("console=ttyS0 hanzo.profile=core hanzo.config={}", "0f".repeat(32)),
    );
    assert!(taken.status.success(), "{}", said(&taken));
    let text = String::from_utf8(taken.stdout).unwrap();
    let body = text.split_once("-->").map_or("", |(_, body)| body);
    assert!(!body.contains('@'), "{}", file.display());
    text
}

/// `image/deploy/fill` with an image of this command line.
fn fill(file: &Path, command_line: &str) -> Output {
    let image = tempfile::tempdir().unwrap();
    fs::write(image.path().join("cmdline"), command_line).unwrap();
    Command::new(deploy("fill"))
        .arg(file)
        .arg(image.path())
        .output()
        .unwrap()
}

#[test]
fn the_configuration_s_digest_goes_to_the_processor() {
    let snp = filled(&deploy("libvirt/snp.xml"));
    assert!(snp.contains("<hostData>Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8=</hostData>"));
    let tdx = filled(&deploy("libvirt/tdx.xml"));
    let padded = "Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8AAAAAAAAAAAAAAAAAAAAA";
    assert!(tdx.contains(&format!("<mrConfigId>{padded}</mrConfigId>")));
    for (name, word) in [("snp", "host-data = \"Dw8P"), ("tdx", "mrconfigid = \"Dw8P")] {
        let line = format!("hanzo.config={}", "0f".repeat(32));
        let text = said(&fill(&deploy(&format!("qemu/{name}.cfg")), &line));
        assert!(
            text.contains(word) && !text.lines().any(|l| !l.starts_with('#') && l.contains('@')),
            "{text}"
        );
    }
}

#[test]
fn an_image_that_names_no_configuration_fills_nothing() {
    let config = format!("hanzo.config={}", "0f".repeat(32));
    for (line, why) in [
        ("console=ttyS0", "no hanzo.config"),
        ("hanzo.config=0f", "no hanzo.config"),
        (&format!("x{config}"), "no hanzo.config"),
        (&format!("{config} {config}"), "more than one"),
        (&format!("{config} <a/>"), "got another"),
        (&format!("{config} \"; x"), "got another"),
    ] {
        let refused = fill(&deploy("libvirt/snp.xml"), line);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{line}");
        assert!(said(&refused).contains(why), "{line}: {}", said(&refused));
    }
}

fn definitions() -> Vec<PathBuf> {
    let found = ending(&deploy("libvirt"), ".xml");
    let names: Vec<_> = found.iter().filter_map(|f| f.file_name()?.to_str()).collect();
    assert_eq!(names, ["kvm.xml", "snp.xml", "tdx.xml"]);
    found
}

#[test]
fn a_definition_is_the_machine_that_is_predicted() {
    for file in definitions() {
        let (name, xml) = (file.display(), filled(&file));
        assert!(xml.contains(&format!("machine='{MACHINE}'")), "{name}");
        assert!(xml.contains("<smm state='off'/>"), "{name}");
        for part in ["<kernel>", "<initrd>", "<cmdline>", "<loader "] {
            assert_eq!(xml.matches(part).count(), 1, "{name}: {part}");
        }
        // Nothing of the host's runs: no option ROM, no display, no channel into the guest.
        for device in ["interface", "hostdev"] {
            for element in xml.split(&format!("<{device} ")).skip(1) {
                let element = element.split(&format!("</{device}>")).next().unwrap();
                assert!(element.contains("<rom enabled='no'/>"), "{name}: {device}: {element}");
            }
        }
        for absent in [
            "<graphics",
            "<video",
            "<channel",
            "<shmem",
            "<filesystem",
            "<sysinfo",
            "<qemu:",
            "<disk",
        ] {
            assert!(!xml.contains(absent), "{name}: {absent}");
        }
        // A guest that resets is measured anew by whoever starts it.
        assert!(xml.contains("<on_reboot>destroy</on_reboot>"), "{name}");
        assert!(xml.contains("<watchdog model='i6300esb'"), "{name}");
    }
}

#[test]
fn the_confidential_ones_cannot_be_debugged_and_measure_their_kernel() {
    let snp = filled(&deploy("libvirt/snp.xml"));
    assert!(snp.contains("<launchSecurity type='sev-snp' kernelHashes='yes'>"));
    let policy = |xml: &str| {
        let hex = xml
            .split("<policy>0x")
            .nth(1)
            .and_then(|p| p.split('<').next())
            .unwrap()
            .to_owned();
        u64::from_str_radix(&hex, 16).unwrap()
    };
    // SNP ABI, guest policy: bit 17 is one, 18 is migration agents, 19 is debugging.
    assert_eq!(policy(&snp) & 0b111 << 17, 1 << 17);
    let tdx = filled(&deploy("libvirt/tdx.xml"));
    assert!(tdx.contains("<launchSecurity type='tdx'>"));
    // TD attributes: bit 0 is debugging, 28 SEPT_VE_DISABLE, 29 migration.
    assert_eq!(policy(&tdx), 1 << 28);
    for xml in [&snp, &tdx] {
        assert!(xml.contains("<driver name='vfio'/>") && xml.contains("<source type='memfd'/>"));
        assert!(xml.contains("stateless='yes'"));
        // Devices of virtio see what the guest shares, and nothing else.
        assert_eq!(xml.matches("<driver iommu='on'/>").count(), 2);
    }
    assert!(filled(&deploy("libvirt/kvm.xml")).contains("<tpm model='tpm-crb'>"));
}

fn validate(schemas: &Path, xml: &str) -> Option<Output> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("domain.xml");
    fs::write(&file, xml).unwrap();
    let mut xmllint = system("xmllint")?;
    let schema = schemas.join("domain.rng");
    Some(
        xmllint
            .args(["--noout", "--nonet", "--relaxng"])
            .arg(schema)
            .arg(&file)
            .output()
            .unwrap(),
    )
}

#[test]
fn libvirt_s_schema_takes_the_definitions_and_refuses_their_neighbours() {
    let all = libvirt_schemas();
    let Some(schemas) = all.first() else {
        return say_missing("LIBVIRT SCHEMAS", "the domain definitions were not validated");
    };
    let knows_tdx = text(&schemas.join("domaincommon.rng")).contains("<value>tdx</value>");
    for file in definitions() {
        let xml = filled(&file);
        if xml.contains("type='tdx'") && !knows_tdx {
            say_missing("LIBVIRT SCHEMAS WITH TDX", "tdx.xml was not validated");
            continue;
        }
        let Some(taken) = validate(schemas, &xml) else {
            return say_missing("XMLLINT", "the domain definitions were not validated");
        };
        assert!(taken.status.success(), "{}: {}", file.display(), said(&taken));
        for (good, bad) in [
            ("<watchdog model='i6300esb'", "<watchdog model='i6301esb'"),
            ("kernelHashes='yes'", "kernelHash='yes'"),
            ("launchSecurity type='tdx'", "launchSecurity type='tdx2'"),
            ("<rom enabled='no'/>", "<rom enabled='never'/>"),
        ] {
            let broken = xml.replace(good, bad);
            if broken != xml {
                let refused = validate(schemas, &broken).unwrap();
                assert!(!refused.status.success(), "{}: {bad} was taken", file.display());
                assert!(said(&refused).contains("fails to validate"), "{}", said(&refused));
            }
        }
    }
}
