//! `hanzo-verify staple` from outside, against a server on loopback that serves what the simulator makes.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use hanzo_attestation::bundle::{CpuEvidence, SnpEvidence};
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, RawEvidence, UnixTime, jcs};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use serde_json::Value;

/// Answers GET by path; everything else is 404. Returns its address and the paths it was asked for.
fn serve(answers: HashMap<String, Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let log = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            let _ = reader.read_line(&mut line);
            let mut header = String::from("x");
            while header.trim() != "" {
                header.clear();
                let _ = reader.read_line(&mut header);
            }
            // An absolute target is what a proxy is asked for.
            let target = line.split(' ').nth(1).unwrap_or_default();
            let path = target.strip_prefix("http://kds.invalid").unwrap_or(target).to_owned();
            log.lock().unwrap().push(target.to_owned());
            let (status, body) = match answers.get(&path) {
                Some(body) => ("200 OK", body.clone()),
                None => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let mut stream = reader.into_inner();
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    (address, seen)
}

struct Rig {
    dir: tempfile::TempDir,
    evidence: SnpEvidence,
    ark: Vec<u8>,
    now: UnixTime,
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    fn new(edit: impl FnOnce(&mut HashMap<String, Vec<u8>>)) -> Self {
        let now = UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        let processor = SimulatedProcessor::for_tests();
        let spec = LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]));
        let chip = hex::encode(spec.chip);
        let evidence = processor.launch(spec).evidence(&[7; 64]);
        let pem = |der: &[u8]| {
            let der = hanzo_attestation::bundle::Base64(der.to_vec());
            let base64 = serde_json::to_string(&der).unwrap();
            let body = base64.trim_matches('"').as_bytes().chunks(64);
            let lines: Vec<_> = body.map(|l| String::from_utf8_lossy(l).into_owned()).collect();
            format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                lines.join("\n")
            )
        };
        let mut answers = HashMap::from([
            (
                format!("/vcek/v1/Genoa/{chip}?blSPL=10&teeSPL=00&snpSPL=23&ucodeSPL=84"),
                evidence.vek.0.clone(),
            ),
            ("/vcek/v1/Genoa/crl".to_owned(), processor.crl_der(now)),
            (
                "/vcek/v1/Genoa/cert_chain".to_owned(),
                (pem(processor.ask_der()) + &pem(processor.ark_der())).into_bytes(),
            ),
        ]);
        edit(&mut answers);
        let (address, seen) = serve(answers);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("report.bin"), &evidence.report.0).unwrap();
        std::fs::write(dir.path().join("ark.der"), processor.ark_der()).unwrap();
        Self {
            dir,
            evidence,
            ark: processor.ark_der().to_vec(),
            now,
            address,
            seen,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hanzo-verify"));
        command
            .arg("staple")
            .arg(self.path("report.bin"))
            .args(["--simulator-root"])
            .arg(self.path("ark.der"))
            .arg("--cache")
            .arg(self.path("cache"))
            .args(arguments)
            .env_remove("HANZO_LOG");
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The written document verifies with nothing but the root.
    fn verify(&self, path: &Path) -> SnpEvidence {
        let cpu: CpuEvidence = jcs::from_slice("evidence", &std::fs::read(path).unwrap(), 1 << 21).unwrap();
        let anchors = Anchors::vendor().with_simulator_ark(self.ark.clone());
        let raw = RawEvidence::from(cpu.clone()).parse().unwrap();
        raw.authenticate(&anchors, &Collateral::default(), self.now).unwrap();
        match cpu {
            CpuEvidence::Snp(evidence) => evidence,
            other => panic!("{other:?}"),
        }
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_report_is_stapled_once_online_and_then_from_the_cache() {
    let rig = Rig::new(|_| {});
    let out = rig.run(&["--kds", &rig.address]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let text = stdout(&out);
    for part in ["stapled: ", "cpu.vek", "cpu.ask", "cpu.crl", "fetched", "until 20"] {
        assert!(text.contains(part), "{text}");
    }
    let written = rig.verify(&rig.path("report.stapled.json"));
    assert_eq!(
        (written.report, written.vek),
        (rig.evidence.report.clone(), rig.evidence.vek.clone())
    );

    let requests = rig.seen.lock().unwrap().len();
    let elsewhere = rig.path("elsewhere.json");
    let out = rig.run(&["--offline", "--json", "--out", elsewhere.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let json: Value = serde_json::from_str(&stdout(&out)).unwrap();
    assert_eq!(json["complete"], true);
    assert_eq!(json["carries"][0]["part"], "cpu.vek");
    assert_eq!(json["carries"][0]["origin"], "cache");
    assert_eq!(json["carries"].as_array().unwrap().len(), 3);
    assert_eq!(rig.seen.lock().unwrap().len(), requests, "offline asks nobody");
    assert_eq!(
        std::fs::read(elsewhere).unwrap(),
        std::fs::read(rig.path("report.stapled.json")).unwrap()
    );
}

#[test]
fn what_was_stapled_is_verified_without_a_network_and_one_changed_byte_is_not() {
    let rig = Rig::new(|_| {});
    assert_eq!(rig.run(&["--kds", &rig.address]).status.code(), Some(0));
    let policy = rig.path("open.toml");
    let made = Command::new(env!("CARGO_BIN_EXE_hanzo-verify"))
        .args(["policy", "init", "--for", "open", "--out", policy.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let verify = |file: &Path| {
        Command::new(env!("CARGO_BIN_EXE_hanzo-verify"))
            .args(["verify", file.to_str().unwrap(), "--policy", policy.to_str().unwrap()])
            .args(["--report-data", &"07".repeat(64)])
            .arg("--simulator-root")
            .arg(rig.path("ark.der"))
            .output()
            .unwrap()
    };
    let stapled = rig.path("report.stapled.json");
    let out = verify(&stapled);
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    let mut changed: CpuEvidence = jcs::from_slice("evidence", &std::fs::read(&stapled).unwrap(), 1 << 21).unwrap();
    let CpuEvidence::Snp(evidence) = &mut changed else {
        panic!()
    };
    evidence.report.0[0x90] ^= 1;
    let path = rig.path("changed.json");
    std::fs::write(&path, jcs::to_vec("evidence", &changed).unwrap()).unwrap();
    let out = verify(&path);
    assert_eq!(out.status.code(), Some(20), "{}{}", stdout(&out), stderr(&out));
}

#[test]
fn what_is_missing_is_an_error_unless_a_part_is_enough() {
    let rig = Rig::new(|answers| drop(answers.remove("/vcek/v1/Genoa/crl")));
    let out = rig.run(&["--kds", &rig.address]);
    assert_eq!(out.status.code(), Some(1));
    let text = stderr(&out);
    assert!(
        text.contains("collateral.not_found") && text.contains("AMD revocation list for Genoa"),
        "{text}"
    );
    assert!(!rig.path("report.stapled.json").exists());
    let out = rig.run(&["--kds", &rig.address, "--partial", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let json: Value = serde_json::from_str(&stdout(&out)).unwrap();
    assert_eq!(
        (&json["complete"], &json["missing"][0]["code"]),
        (&false.into(), &"collateral.not_found".into())
    );
    assert_eq!(rig.verify(&rig.path("report.stapled.json")).crl, None);
}

#[test]
fn exit_codes_tell_whose_fault_it_is() {
    // The service serves another vendor's list.
    let forged = SimulatedProcessor::for_tests().with_swapped_keys();
    let rig = Rig::new(|answers| {
        let now = UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        answers.insert("/vcek/v1/Genoa/crl".into(), forged.crl_der(now));
    });
    let out = rig.run(&["--kds", &rig.address]);
    assert_eq!(out.status.code(), Some(20), "{}", stderr(&out));
    assert!(
        stderr(&out).starts_with("REFUSED: snp.crl.signature"),
        "{}",
        stderr(&out)
    );

    // The report is not the one that the certificate signed.
    let mut report = rig.evidence.report.0.clone();
    report[0x90] ^= 1;
    std::fs::write(rig.path("report.bin"), &report).unwrap();
    let rig_ok = Rig::new(|_| {});
    let out = rig.run(&["--kds", &rig_ok.address]);
    assert_eq!(out.status.code(), Some(20), "{}", stderr(&out));
    assert!(stderr(&out).contains("snp.signature.invalid"), "{}", stderr(&out));

    std::fs::write(rig.path("report.bin"), "no evidence").unwrap();
    let out = rig.run(&["--offline"]);
    assert_eq!(out.status.code(), Some(10), "{}", stderr(&out));

    let out = rig_ok.run(&["--offline"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("collateral.offline"), "{}", stderr(&out));
    let out = rig_ok.run(&["--kds", "ftp://kds.invalid"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("collateral.url"), "{}", stderr(&out));
}

#[test]
fn the_environments_proxy_and_its_exceptions_are_respected() {
    let rig = Rig::new(|_| {});
    let through = |no_proxy: &str| {
        let mut command = rig.command(&["--kds", "http://kds.invalid"]);
        command.env("HTTP_PROXY", &rig.address).env("NO_PROXY", no_proxy);
        command
    };
    let out = through("").output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let seen = rig.seen.lock().unwrap().clone();
    assert!(
        seen.iter().all(|t| t.starts_with("http://kds.invalid/vcek/v1/Genoa/")),
        "{seen:?}"
    );
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let out = Command::new(env!("CARGO_BIN_EXE_hanzo-verify"))
        .args(["staple", "--help"])
        .output()
        .unwrap();
    let text = stdout(&out);
    for part in [
        "Examples:",
        "--pccs https://pccs.lan:8081",
        "--offline",
        "Exit codes:",
        "HTTPS_PROXY",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
