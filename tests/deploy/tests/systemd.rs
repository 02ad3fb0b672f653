//! The units: every option exists, systemd takes every key, and what each may do is bounded.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use clap::{FromArgMatches as _, Parser};
use hanzo_proxy::ProxyArgs;
use hanzo_tests_deploy::files::{deploy, root, text};
use hanzo_tests_deploy::tools::{said, say_missing, system, with_programs};
use hanzo_tests_deploy::unit::{command, values};

/// The file, the name it is started by, and the most exposure (in tenths) that `systemd-analyze security` may find. It calls 2.0
/// and below OK; these are the values that were measured, so that nothing gets looser unnoticed.
fn units() -> [(PathBuf, &'static str, u32); 5] {
    [
        (deploy("systemd/hanzo-proxy.service"), "hanzo-proxy.service", 13),
        (deploy("systemd/hanzo-egress.service"), "hanzo-egress.service", 13),
        (deploy("systemd/hanzo-relay.service"), "hanzo-relay.service", 13),
        (deploy("systemd/hanzo-vm@.service"), "hanzo-vm@main.service", 18),
        (
            root().join("kbs/server/systemd/hanzo-kbs.service"),
            "hanzo-kbs.service",
            20,
        ),
    ]
}

#[derive(Parser)]
struct Proxy {
    #[command(subcommand)]
    command: ProxyCommand,
}

#[derive(clap::Subcommand)]
enum ProxyCommand {
    Run(ProxyArgs),
}

#[test]
fn the_proxy_s_unit_gives_options_that_it_has() {
    let unit = text(&deploy("systemd/hanzo-proxy.service"));
    let words = command(&unit, "");
    let ProxyCommand::Run(args) = Proxy::try_parse_from(&words).unwrap_or_else(|e| panic!("{e}")).command;
    assert!(args.metrics.is_some() && args.connections_max > 0);
    // The drain ends before systemd kills, and two sockets a connection fit.
    let stop: u64 = values(&unit, "TimeoutStopSec")[0].parse().unwrap();
    assert!(stop > args.drain_s);
    let files: usize = values(&unit, "LimitNOFILE")[0].parse().unwrap();
    assert!(files > 2 * args.connections_max);

    let broken = unit.replace("--drain-s", "--drain-for-s");
    assert!(Proxy::try_parse_from(command(&broken, "")).is_err());
    let broken = unit.replace("GUEST=127.0.0.1:9443", "GUEST=guest.example:9443");
    let refused = Proxy::try_parse_from(command(&broken, "")).err().unwrap().to_string();
    assert!(refused.contains("guest"), "{refused}");
}

#[test]
fn the_guest_s_unit_gives_options_that_hanzo_image_has() {
    let unit = text(&deploy("systemd/hanzo-vm@.service"));
    let words = command(&unit, "main");
    if let Err(error) = hanzo_image::cli::Cli::try_parse_from(&words) {
        panic!("{error}");
    }
    assert_eq!(words.last().map(String::as_str), Some("/var/lib/hanzo/images/main"));
    // As the file and README.md say for confidential hosts.
    let snp = unit.replace("LAUNCH=kvm", "LAUNCH=snp");
    let snp = snp.replace("MORE=\n", "MORE=--firmware /var/lib/hanzo/amdsev.fd --cpu EPYC-Genoa\n");
    let snp = command(&snp, "main");
    assert_eq!(snp.len(), words.len() + 4);
    if let Err(error) = hanzo_image::cli::Cli::try_parse_from(&snp) {
        panic!("{error}");
    }
    let unknown = snp.iter().map(|w| w.replace("EPYC-Genoa", "EPYC-Unknown"));
    assert!(hanzo_image::cli::Cli::try_parse_from(unknown).is_err());
    let broken = unit.replace("LAUNCH=kvm", "LAUNCH=none");
    assert!(hanzo_image::cli::Cli::try_parse_from(command(&broken, "main")).is_err());
}

/// Drains end before systemd kills, sockets fit, and the units start what takes their files.
#[test]
fn the_files_beside_the_units_are_taken_by_their_programs() {
    let unit_of = |name: &str| text(&deploy(&format!("systemd/{name}.service")));
    let number = |unit: &str, key: &str| values(unit, key)[0].parse::<usize>().unwrap();
    let edited = |name: &str, from: &str, to: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let given = text(&deploy(&format!("systemd/{name}.toml")));
        let changed = given.replace(from, to);
        assert_ne!(given, changed);
        fs::write(file.path(), changed).unwrap();
        file
    };

    let config = hanzo_egress::config::Config::load(&deploy("systemd/hanzo-egress.toml")).unwrap();
    let unit = unit_of("hanzo-egress");
    assert!(number(&unit, "TimeoutStopSec") as u64 > config.drain.as_secs());
    assert!(number(&unit, "LimitNOFILE") > 2 * config.limits.connections_max);
    let words = command(&unit, "");
    assert_eq!(words, ["/usr/bin/hanzo-egress", "run", "/etc/hanzo-egress.toml"]);
    let bad = edited("hanzo-egress", "kbs.example.com", "*.example.com");
    let refused = hanzo_egress::config::Config::load(bad.path()).err().unwrap();
    assert_eq!(refused.code(), "egress.config.value");

    let config = hanzo_relay::config::Config::load(&deploy("systemd/hanzo-relay.toml")).unwrap();
    let unit = unit_of("hanzo-relay");
    assert!(number(&unit, "TimeoutStopSec") as u64 > config.drain.as_secs());
    assert!(number(&unit, "LimitNOFILE") > 2 * config.limits.connections_max);
    let words = command(&unit, "");
    assert_eq!(words, ["/usr/bin/hanzo-relay", "run", "/etc/hanzo-relay.toml"]);
    let bad = edited("hanzo-relay", "key = ", "secret = ");
    let refused = hanzo_relay::config::Config::load(bad.path()).err().unwrap();
    assert_eq!(refused.code(), "relay.config.syntax");
}

#[test]
fn no_unit_s_command_line_or_environment_carries_a_secret() {
    for (file, _, _) in units() {
        let unit = text(&file);
        let spelt = [values(&unit, "ExecStart"), values(&unit, "Environment")]
            .concat()
            .join(" ");
        for word in ["password", "secret", "token", "passphrase"] {
            assert!(!spelt.to_lowercase().contains(word), "{}: {word}", file.display());
        }
    }
}

/// `systemd-analyze verify` in a tree of its own that holds the units and the programs they start.
fn verify(name: &str, unit: &str, programs: &[&str]) -> Option<Output> {
    let mut analyze = system("systemd-analyze")?;
    let root = tempfile::tempdir().unwrap();
    with_programs(root.path(), programs);
    let dir = root.path().join("etc/systemd/system");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), unit).unwrap();
    let root = format!("--root={}", root.path().display());
    Some(
        analyze
            .args(["verify", &root, "--man=no", "--recursive-errors=no", name])
            .output()
            .unwrap(),
    )
}

const PROGRAMS: &[&str] = &[
    "/usr/bin/hanzo-proxy",
    "/usr/bin/hanzo-egress",
    "/usr/bin/hanzo-relay",
    "/usr/bin/hanzo-image",
    "/usr/bin/hanzo-kbs",
    "/bin/kill",
];

#[test]
fn systemd_takes_every_line_of_the_units() {
    for (file, name, _) in units() {
        let unit = text(&file);
        let Some(verified) = verify(name, &unit, PROGRAMS) else {
            return say_missing("SYSTEMD-ANALYZE", "the units were not verified");
        };
        assert!(
            verified.status.success() && !said(&verified).contains(name),
            "{}",
            said(&verified)
        );

        // The nearest that is refused: the program elsewhere, a key misspelt.
        let elsewhere = verify(name, &unit, &["/bin/kill"]).unwrap();
        assert!(
            !elsewhere.status.success() && said(&elsewhere).contains("not executable"),
            "{}",
            said(&elsewhere)
        );
        let misspelt = unit.replace("ProtectSystem=strict", "ProtectSytem=strict");
        let misspelt = verify(name, &misspelt, PROGRAMS).unwrap();
        assert!(said(&misspelt).contains("Unknown key"), "{}", said(&misspelt));
    }
}

#[test]
fn what_a_unit_may_do_is_bounded() {
    for (file, name, tenths) in units() {
        let dir = tempfile::tempdir().unwrap();
        let judged = |unit: &str| {
            let path = dir.path().join(name);
            fs::write(&path, unit).unwrap();
            let threshold = format!("--threshold={tenths}");
            let analyze = system("systemd-analyze");
            analyze.map(|mut a| {
                a.args(["security", "--offline=true", "--no-pager", &threshold])
                    .arg(&path)
                    .output()
                    .unwrap()
            })
        };
        let unit = text(&file);
        let Some(as_it_is) = judged(&unit) else {
            return say_missing("SYSTEMD-ANALYZE", "what the units may do was not judged");
        };
        assert!(as_it_is.status.success(), "{name}: {}", said(&as_it_is));
        let looser = unit
            .replace("ProtectSystem=strict\n", "")
            .replace("CapabilityBoundingSet=\n", "");
        assert_ne!(unit, looser, "{name}");
        let looser = judged(&looser).unwrap();
        assert!(!looser.status.success(), "{name}: {}", said(&looser));
    }
}

/// Clap's derive needs the trait in scope for `ProxyArgs`, and a parser of its own must agree with the program's.
#[test]
fn the_proxy_s_options_have_defaults_that_serve() {
    let command = <ProxyArgs as clap::Args>::augment_args(clap::Command::new("run"));
    let matches = command.try_get_matches_from(["run", "--guest", "127.0.0.1:1"]).unwrap();
    assert_eq!(ProxyArgs::from_arg_matches(&matches).unwrap().connections_max, 4096);
}
