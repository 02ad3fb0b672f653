//! The broker as its operator runs it: TLS, reload, an orderly end, logs without secrets, the unit file.

#[path = "support/harness.rs"]
mod harness;
#[path = "support/process.rs"]
mod process;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::admin::{self, ADMIN_PATH};
use hanzo_kbs::config::TlsConfig;
use hanzo_kbs::{KbsIdentity, StoreMode};
use hanzo_kbs_protocol::AUTH_PATH;
use hanzo_pqc::Dek;
use hanzo_pqc::sign::SigningKeys;
use hanzo_vault::KeyPolicy;
use harness::{Broker, DEK, Guest, block_on, http, policy};
use process::Process;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

const KEY: &str = "hanzo/dek/smollm2";

/// An authority, and leaf certificates of it.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key, PEM.
    fn leaf(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        (leaf.pem(), key.serialize_pem())
    }
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// One request over TLS; the group that was agreed on and the whole answer.
fn https(
    address: SocketAddr,
    ca: &str,
    client: Option<&(String, String)>,
    request: &str,
) -> std::io::Result<(NamedGroup, String)> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = StreamOwned::new(connection, tcp);
    stream.write_all(request.as_bytes())?;
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Err(e) if text.is_empty() => return Err(e),
        _ => {}
    }
    let group = stream.conn.negotiated_key_exchange_group().unwrap().name();
    Ok((group, String::from_utf8_lossy(&text).into_owned()))
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn tls_is_hybrid_its_cookies_secure_and_admins_show_a_certificate() {
    let (ca, admins, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let broker = Broker::start(StoreMode::Simulated, true, |c| {
        let dir = c.store.parent().unwrap().to_owned();
        let file = |name: &str| dir.join(name);
        let (certificate, key) = ca.leaf();
        fs::write(file("tls.crt"), certificate).unwrap();
        write_private(&file("tls.key"), &key);
        fs::write(file("admins.crt"), admins.pem()).unwrap();
        c.plain_http = None;
        c.tls = Some(TlsConfig {
            certificate_file: file("tls.crt"),
            key_file: file("tls.key"),
            admin_client_ca: Some(file("admins.crt")),
        });
    });
    let at = broker.address;
    let body = String::from_utf8(Guest::new().session.auth_body()).unwrap();
    let (group, reply) = https(at, &ca.pem(), None, &post(AUTH_PATH, &body)).unwrap();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert!(
        reply.starts_with("HTTP/1.1 200 ") && reply.contains("; Secure\r\n"),
        "{reply}"
    );
    // Signatures do not replace the certificate, nor it them.
    let (_, reply) = https(at, &ca.pem(), None, &post(ADMIN_PATH, "{}")).unwrap();
    assert!(
        reply.starts_with("HTTP/1.1 401 ") && reply.contains("kbs.admin.certificate"),
        "{reply}"
    );
    let (_, reply) = https(at, &ca.pem(), Some(&admins.leaf()), &post(ADMIN_PATH, "{}")).unwrap();
    assert!(reply.contains("kbs.admin.malformed"), "{reply}");
    assert!(https(at, &ca.pem(), Some(&strangers.leaf()), &post(ADMIN_PATH, "{}")).is_err());
    // What admins read lies under the paths of guests, who show none.
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    for path in ["resource-policy", "reference-value", "reference-value/svn"] {
        let request = get(&format!("/kbs/v0/{path}"));
        let (_, reply) = https(at, &ca.pem(), None, &request).unwrap();
        assert!(reply.contains("kbs.admin.certificate"), "{path}: {reply}");
        let (_, reply) = https(at, &ca.pem(), Some(&admins.leaf()), &request).unwrap();
        assert!(!reply.contains("kbs.admin.certificate"), "{path}: {reply}");
    }
    let (_, reply) = https(at, &ca.pem(), None, &get("/kbs/v0/resource/a/b/c")).unwrap();
    assert!(reply.contains("kbs.session.unknown"), "{reply}");
    // No plain HTTP on this port.
    let mut plain = TcpStream::connect(at).unwrap();
    plain.write_all(post(AUTH_PATH, &body).as_bytes()).unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
}

#[test]
fn a_tls_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut broker = Broker::simulated();
    let dir = broker.config.store.parent().unwrap().to_owned();
    let (certificate, key) = Authority::new().leaf();
    fs::write(dir.join("tls.crt"), certificate).unwrap();
    write_private(&dir.join("tls.key"), &key);
    broker.config.plain_http = None;
    broker.config.tls = Some(TlsConfig {
        certificate_file: dir.join("tls.crt"),
        key_file: dir.join("tls.key"),
        admin_client_ca: None,
    });
    broker.restart().unwrap();
    fs::set_permissions(dir.join("tls.key"), fs::Permissions::from_mode(0o640)).unwrap();
    let refused = broker.restart().unwrap_err();
    assert_eq!(refused.code(), "kbs.file");
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
    write_private(&dir.join("tls.key"), &Authority::new().leaf().1);
    assert_eq!(
        broker.restart().unwrap_err().code(),
        "kbs.file",
        "another certificate's key"
    );
}

impl Process {
    fn metric(&self, line: &str) -> bool {
        http(self.address, "GET", "/metrics", "", b"").text().contains(line)
    }

    /// Waits for a line of the metrics.
    fn until(&self, line: &str) {
        for _ in 0..100 {
            if self.metric(line) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{line} did not come");
    }
}

fn put(at: SocketAddr, identity: &KbsIdentity, admin: &SigningKeys, key: &str, policy: &KeyPolicy) -> &'static str {
    let (dek, key) = (Dek::generate().unwrap(), KeyId::new(key).unwrap());
    block_on(admin::put_key(at, identity, admin, &key, 1, &dek, policy)).map_or_else(
        |e| match e.code() {
            "kbs.admin.not_pinned" => "kbs.admin.not_pinned",
            _ => "another error",
        },
        |_| "done",
    )
}

#[test]
fn a_reload_takes_all_of_a_new_configuration_or_none() {
    use rustix::process::Signal;
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    broker.stop();
    let mut real = policy();
    real.allow_simulated = false;
    let path = &broker.made.config_path;
    let whole = fs::read_to_string(path).unwrap();
    let process = Process::serve(path);
    let put = |key: &str| put(process.address, &broker.made.identity, &broker.admin(), key, &real);
    assert_eq!(put("hanzo/b/c"), "done");

    // No admin any more.
    let (without, _) = whole.split_once("[[admin_keys]]").unwrap();
    fs::write(path, without).unwrap();
    process.signal(Signal::HUP);
    process.until("hanzo_kbs_reloads_total 1\n");
    assert_eq!(put("hanzo/b/d"), "kbs.admin.not_pinned");

    // Each of these would give the admin back, and is refused for something else in it.
    let missing = whole.replacen("crl_files = []", "crl_files = [\"none.der\"]", 1);
    assert_ne!(missing, whole);
    let texts = [
        whole.replacen("version = 1", "version = 1\nunknown = 1", 1),
        whole.replacen("session_ttl_s = 60", "session_ttl_s = 61", 1),
        missing,
        "version = ".to_owned(),
    ];
    for (n, text) in texts.iter().enumerate() {
        fs::write(path, text).unwrap();
        process.signal(Signal::HUP);
        process.until(&format!("hanzo_kbs_reloads_refused_total {}\n", n + 1));
        assert_eq!(put("hanzo/b/d"), "kbs.admin.not_pinned", "{text}");
    }
    fs::write(path, &whole).unwrap();
    process.signal(Signal::HUP);
    process.until("hanzo_kbs_reloads_total 2\n");
    assert_eq!(put("hanzo/b/d"), "done");
}

#[test]
fn an_answer_under_way_leaves_before_the_end() {
    let mut broker = Broker::simulated();
    let body = Guest::new().session.auth_body();
    let mut stream = TcpStream::connect(broker.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST {AUTH_PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let (first, last) = body.split_at(body.len() - 1);
    stream.write_all(first).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let address = broker.address;
    let ending = std::thread::spawn(move || broker.stop());
    std::thread::sleep(Duration::from_millis(200));
    assert!(TcpStream::connect(address).is_err(), "nobody new");
    stream.write_all(last).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    ending.join().unwrap();
}

/// A revocation list put in place of an older one counts for the next key, of a guest that attested before.
#[test]
fn a_new_revocation_list_counts_for_sessions_that_attested_before_it() {
    let processor = hanzo_simulated_tee::SimulatedProcessor::for_tests();
    let at = harness::now();
    let mut path = std::path::PathBuf::new();
    let broker = Broker::start(StoreMode::Simulated, true, |c| {
        path = c.store.with_file_name("genoa.crl");
        fs::write(&path, processor.crl_der(at)).unwrap();
        c.crl_files = vec![path.clone()];
    });
    broker.put(KEY, 1, &policy()).unwrap();
    broker.put("hanzo/dek/other", 1, &policy()).unwrap();
    let guest = Guest::new().attested(broker.address);
    assert_eq!(guest.ask(broker.address, KEY).status, 200);
    // The ASK of Genoa has this number.
    let newer = path.with_extension("new");
    fs::write(&newer, processor.crl_naming(at, &[&[1, 0, 3]])).unwrap();
    fs::rename(&newer, &path).unwrap();
    let other = guest.ask(broker.address, "hanzo/dek/other");
    assert_eq!(other.error(), (403, "snp.crl.revoked".into()));
    // Gone: the last one that could be read stays in force, and health says so.
    fs::remove_file(&path).unwrap();
    let other = guest.ask(broker.address, "hanzo/dek/other");
    assert_eq!(other.error(), (403, "snp.crl.revoked".into()));
    let health = http(broker.address, "GET", "/health", "", b"").json();
    assert_eq!(health, serde_json::json!({ "status": "degraded" }));
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_of_a_whole_run_is_json_and_holds_no_key() {
    let log = Captured::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .try_init()
        .unwrap();
    let broker = Broker::simulated();
    broker.put(KEY, 1, &policy()).unwrap();
    let guest = Guest::new().attested(broker.address);
    let reply = guest.ask(broker.address, KEY);
    assert_eq!(guest.open(&reply.body, &broker, KEY).unwrap().dek.expose(), &DEK);
    assert_eq!(guest.ask(broker.address, KEY).status, 403);
    drop(guest);
    let secrets = [
        DEK.to_vec(),
        fs::read(broker.made.config_path.with_file_name("kbs.key")).unwrap(),
        fs::read(&broker.made.admin_key_path).unwrap(),
    ];
    drop(broker);
    let log = log.0.lock().unwrap().clone();
    let text = String::from_utf8(log.clone()).unwrap();
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    }
    assert!(
        text.contains("\\\"action\\\":\\\"grant\\\"") || text.contains("\"action\":\"grant\""),
        "{text}"
    );
    for secret in secrets {
        let spellings = [
            secret.clone(),
            hex::encode(&secret).into_bytes(),
            hex::encode_upper(&secret).into_bytes(),
            base64::engine::general_purpose::STANDARD_NO_PAD
                .encode(&secret)
                .into_bytes(),
            base64::engine::general_purpose::URL_SAFE_NO_PAD
                .encode(&secret)
                .into_bytes(),
            format!("{secret:?}").into_bytes(),
        ];
        for spelling in spellings {
            assert!(
                !log.windows(spelling.len()).any(|w| w == spelling),
                "a secret is in the log"
            );
        }
    }
}

#[test]
fn the_unit_file_is_hardened() {
    let unit = include_str!("../systemd/hanzo-kbs.service");
    for line in [
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "MemoryDenyWriteExecute=yes",
        "LimitCORE=0",
        "CapabilityBoundingSet=",
        "SystemCallFilter=@system-service",
    ] {
        assert!(unit.lines().any(|l| l == line), "{line}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hanzo-kbs.service");
    // The program need not be installed where the tests run.
    fs::write(&path, unit.replace("/usr/bin/hanzo-kbs", "/bin/true")).unwrap();
    let analyze = |args: &[&str]| Command::new("systemd-analyze").args(args).arg(&path).output();
    let Ok(verified) = analyze(&["verify"]) else {
        let _ = writeln!(
            std::io::stderr(),
            "SYSTEMD-ANALYZE MISSING: the unit file was not verified"
        );
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(
        verified.status.success() && !said.contains("hanzo-kbs.service:"),
        "{said}"
    );
    // Exposure in tenths; systemd calls 2.0 and below OK to SAFE.
    let judged = analyze(&["security", "--offline=true", "--threshold=20"]).unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}
