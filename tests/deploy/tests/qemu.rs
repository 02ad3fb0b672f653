//! QEMU's own configuration files against QEMU, and against the definitions for libvirt.

use std::collections::BTreeMap;
use std::fs;

use hanzo_image::run::MACHINE;
use hanzo_tests_deploy::files::{deploy, ending, text};
use hanzo_tests_deploy::tools::{output, said, say_missing, system};

/// `[group "id"]`, and what stands under it.
type Section = (String, Vec<(String, String)>);

fn sections(text: &str) -> Vec<Section> {
    let mut found: Vec<Section> = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        if let Some(head) = line.strip_prefix('[') {
            found.push((head.trim_end_matches(']').to_owned(), Vec::new()));
            continue;
        }
        let (key, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        let value = value.unwrap_or_else(|| panic!("{line}")).to_owned();
        found.last_mut().unwrap().1.push((key.to_owned(), value));
    }
    found
}

fn written(sections: &[Section]) -> String {
    let lines = sections.iter().map(|(head, pairs)| {
        let pairs: String = pairs.iter().map(|(k, v)| format!("  {k} = \"{v}\"\n")).collect();
        format!("[{head}]\n{pairs}")
    });
    lines.collect()
}

fn value<'a>(sections: &'a [Section], head: &str, key: &str) -> Option<&'a str> {
    let (_, pairs) = sections.iter().find(|(h, _)| h == head)?;
    pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}

/// The properties that QEMU says this kind of thing has; `None` if it has no such thing.
fn properties(option: &str, of: &str) -> Option<String> {
    let mut qemu = system("qemu-system-x86_64")?;
    let help = qemu.args([option, &format!("{of},help")]).output().unwrap();
    help.status.success().then(|| said(&help))
}

fn has(help: &str, property: &str) -> bool {
    help.lines()
        .any(|l| l.trim_start().starts_with(&format!("{property}=")))
}

#[test]
fn both_are_the_machine_that_is_predicted() {
    let files = ending(&deploy("qemu"), ".cfg");
    assert_eq!(files.len(), 2);
    for file in files {
        let (name, sections) = (file.display(), sections(&text(&file)));
        for (key, wanted) in [
            ("type", MACHINE),
            ("accel", "kvm"),
            ("smm", "off"),
            ("confidential-guest-support", "tee"),
            ("kernel", "@IMAGE@/kernel"),
            ("initrd", "@IMAGE@/initrd.cpio.zst"),
            ("append", "@CMDLINE@"),
        ] {
            assert_eq!(value(&sections, "machine", key), Some(wanted), "{name}: {key}");
        }
        assert_eq!(value(&sections, "device \"gpu\"", "rombar"), Some("0"), "{name}");
        assert_eq!(value(&sections, "device \"nic\"", "romfile"), Some(""), "{name}");
        for (head, pairs) in &sections {
            let driver = pairs.iter().find(|(k, _)| k == "driver").map_or("", |(_, v)| v);
            if driver.starts_with("virtio") || driver.starts_with("vhost") {
                assert_eq!(value(&sections, head, "iommu_platform"), Some("on"), "{name}: {head}");
            }
        }
    }
}

#[test]
fn libvirt_and_qemu_are_told_the_same() {
    for (name, policy) in [("snp", Some("0x30000")), ("tdx", None)] {
        let sections = sections(&text(&deploy(&format!("qemu/{name}.cfg"))));
        let xml = text(&deploy(&format!("libvirt/{name}.xml")));
        let told = |what: &str| assert!(xml.contains(what), "{name}.xml: {what}");
        told(&format!("machine='{}'", value(&sections, "machine", "type").unwrap()));
        told(&format!(
            ">{}</loader>",
            value(&sections, "machine", "firmware").unwrap()
        ));
        told(&format!(">{}</vcpu>", value(&sections, "smp-opts", "cpus").unwrap()));
        let memory = value(&sections, "object \"ram\"", "size")
            .unwrap()
            .trim_end_matches('G');
        told(&format!("<memory unit='GiB'>{memory}</memory>"));
        told(&format!(
            "address='{}'",
            value(&sections, "device \"vsock\"", "guest-cid").unwrap()
        ));
        assert_eq!(value(&sections, "object \"tee\"", "policy"), policy);
        if let Some(policy) = policy {
            told(&format!("<policy>{policy}</policy>"));
            assert_eq!(value(&sections, "object \"tee\"", "kernel-hashes"), Some("on"));
            // As `hanzo-image run --launch snp` has it.
            assert_eq!(policy, format!("{:#x}", hanzo_image::confidential::SNP_POLICY));
        }
    }
}

#[test]
fn qemu_has_every_property() {
    if system("qemu-system-x86_64").is_none() {
        return say_missing("QEMU", "its configuration files were not compared with it");
    }
    let Some(machine) = properties("-machine", MACHINE) else {
        return say_missing("QEMU 10", "its configuration files were not compared with it");
    };
    // What is no property: these are options of the accelerator, and of every device.
    let elsewhere = ["type", "accel", "kernel-irqchip", "bus"];
    let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
    for name in ["snp", "tdx"] {
        for (head, pairs) in sections(&text(&deploy(&format!("qemu/{name}.cfg")))) {
            let kind = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
            let (help, own) = match head.split(' ').next().unwrap() {
                "machine" => (Some(machine.clone()), "type"),
                "object" => {
                    let of = kind("qom-type").unwrap();
                    let help = known.entry(of.clone()).or_insert_with(|| properties("-object", &of));
                    if help.is_none() {
                        say_missing("A NEWER QEMU", &format!("{of} in {name}.cfg was not compared with it"));
                        continue;
                    }
                    (help.clone(), "qom-type")
                }
                "device" => {
                    let of = kind("driver").unwrap();
                    let help = known.entry(of.clone()).or_insert_with(|| properties("-device", &of));
                    assert!(help.is_some(), "{name}.cfg: QEMU has no device {of}");
                    (help.clone(), "driver")
                }
                _ => continue,
            };
            let help = help.unwrap();
            for (key, _) in pairs
                .iter()
                .filter(|(k, _)| k != own && !elsewhere.contains(&k.as_str()))
            {
                assert!(has(&help, key), "{name}.cfg: {head} has no property {key}");
            }
        }
    }
    assert!(!has(&machine, "vmpoort"));
}

/// What this machine lacks taken out: the TEE, the GPU, the kernel's vsock, and the image.
#[test]
fn qemu_makes_the_rest_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let start = |sections: &[Section]| {
        let file = dir.path().join("machine.cfg");
        fs::write(&file, written(sections)).unwrap();
        let mut qemu = system("qemu-system-x86_64")?;
        qemu.args("-no-user-config -nodefaults -no-reboot -display none -cpu max -S -qmp stdio -readconfig".split(' '));
        let quit = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"quit\"}\n";
        Some(output(qemu.arg(&file), quit))
    };
    if properties("-machine", MACHINE).is_none() {
        return say_missing("QEMU 10", "it was not started with its configuration files");
    }
    for name in ["snp", "tdx"] {
        let mut machine = sections(&text(&deploy(&format!("qemu/{name}.cfg"))));
        machine.retain(|(head, _)| !["\"tee\"", "\"gpu\"", "\"vsock\""].iter().any(|id| head.contains(id)));
        for (head, pairs) in &mut machine {
            let absent = [
                "confidential-guest-support",
                "firmware",
                "kernel",
                "initrd",
                "append",
                "kernel-irqchip",
            ];
            pairs.retain(|(k, _)| !absent.contains(&k.as_str()));
            for (key, value) in pairs {
                match (head.as_str(), key.as_str()) {
                    (_, "accel") => *value = "tcg".into(),
                    (_, "size") => *value = "256M".into(),
                    // Any free port.
                    (_, "hostfwd") => *value = "tcp:127.0.0.1:0-:8443".into(),
                    ("chardev \"console\"", "path") => *value = dir.path().join("console").display().to_string(),
                    _ => {}
                }
            }
        }
        let Some(started) = start(&machine) else {
            return say_missing("QEMU", "it was not started with its configuration files");
        };
        assert!(
            started.status.success() && started.stderr.is_empty(),
            "{name}: {}",
            said(&started)
        );
        machine[0].1.push(("vmpoort".into(), "off".into()));
        let refused = start(&machine).unwrap();
        assert!(
            !refused.status.success() && said(&refused).contains("vmpoort"),
            "{}",
            said(&refused)
        );
    }
}
