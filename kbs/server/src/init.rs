//! Making a broker, and looking at one that does not run.

mod unfinished;

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hanzo_attestation::config::PinnedSigner;
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{SignatureSuite, kdf};
use hanzo_root::{RootConfig, Surroundings};
use hanzo_store::{KeyFile, StoreError, StoreMode};
use hanzo_vault::RootPurpose;
use zeroize::Zeroizing;

use crate::admin::AdminKey;
use crate::audit::{self, Exported};
use crate::broker::Broker;
use crate::config::{Limits, PlainHttp};
use crate::identity::pinned;
use crate::{KbsConfig, KbsError, KbsIdentity, database};
use unfinished::Unfinished;

/// What kind of broker to make.
#[derive(Debug)]
pub struct InitOptions {
    /// An empty or missing directory.
    pub dir: PathBuf,
    /// Where it will listen.
    pub listen: SocketAddr,
    /// Production, or the simulated appliance.
    pub mode: StoreMode,
    /// ARK certificates (DER) of simulators to accept as simulated.
    pub simulator_roots: Vec<Vec<u8>>,
}

/// A broker that was made.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// An init was interrupted here before; what it had left is gone.
    pub interrupted: bool,
    /// Its configuration file.
    pub config_path: PathBuf,
    /// Its public identity, for guests and key owners.
    pub identity_path: PathBuf,
    /// The first admin key. Move it to the machine of whoever owns the data keys.
    pub admin_key_path: PathBuf,
    /// What the identity file says.
    pub identity: KbsIdentity,
    /// The public half of the admin key, as the configuration pins it.
    pub admin: PinnedSigner,
}

/// Makes configuration, key file, store, identity and a first admin key in `options.dir`.
///
/// The configuration gets its name last: without it there is no broker, and an init that was killed before is begun anew by
/// the next one, which removes what it left.
///
/// # Errors
/// [`KbsError::Exists`] if one of the files is there already; nothing is ever replaced. [`KbsError::Initialising`] while
/// another process makes a broker there. After any other error nothing is left.
pub fn init(options: &InitOptions) -> Result<Initialised, KbsError> {
    let root = RootConfig::KeyFile { path: "kbs.key".into() };
    init_with(options, root, None)
}

/// As [`init`] with a root of another kind than a key file (relative paths in it start at `options.dir`), or with the store in
/// the empty PostgreSQL database at `url`. A store that an interrupted init left there is marked as such, and replaced.
///
/// # Errors
/// As [`init`], those of the root's provider and of the database. What a provider made (shares, a token's key) stays after an
/// error.
pub fn init_with(options: &InitOptions, root: RootConfig, url: Option<&str>) -> Result<Initialised, KbsError> {
    let place = Unfinished::begin(&options.dir, options.simulator_roots.len())?;
    match make(options, &place, root, url) {
        Ok(made) => Ok(made),
        Err(e) => {
            // None of its files was there before. Half a broker would only stand in the way of the next try.
            place.abandon();
            Err(e)
        }
    }
}

fn make(
    options: &InitOptions,
    place: &Unfinished,
    root: RootConfig,
    url: Option<&str>,
) -> Result<Initialised, KbsError> {
    let dir = &options.dir;
    let config_path = dir.join(unfinished::CONFIG);
    let identity_path = dir.join("identity.json");
    let admin_key_path = dir.join("admin.key");
    KeyFile::create(&admin_key_path)?;
    let admin = pinned(load_admin_key(&admin_key_path)?.verifying_keys());
    let first_admin = AdminKey::first(admin.clone()).map_err(|_| KbsError::Stored {
        what: "an admin's name",
    })?;
    let mut simulator_roots = Vec::new();
    for (n, der) in options.simulator_roots.iter().enumerate() {
        let name = unfinished::simulator_root(n);
        write_new(&dir.join(&name), der)?;
        simulator_roots.push(PathBuf::from(name));
    }
    let config = KbsConfig {
        version: 1,
        listen: options.listen,
        store: url.unwrap_or("kbs.db").into(),
        head_file: "kbs.head".into(),
        fences: Vec::new(),
        session_ttl_s: 60,
        sessions_max: 4096,
        plain_http: Some(match options.listen.ip().is_loopback() {
            true => PlainHttp::Loopback,
            false => PlainHttp::BehindATlsFront,
        }),
        crl_files: Vec::new(),
        collateral_dir: None,
        simulator_roots,
        simulator_tdx_roots: Vec::new(),
        tpm_roots: Vec::new(),
        tpm_keys: Vec::new(),
        simulator_gpu_roots: Vec::new(),
        simulator_rim_roots: Vec::new(),
        root,
        tls: None,
        limits: Limits::default(),
        coco: crate::CocoConfig::default(),
        four_eyes: false,
        admin_keys: vec![first_admin],
        source: None,
    };
    let text = toml::to_string(&config).map_err(|e| KbsError::Config {
        path: config_path.clone(),
        detail: e.to_string(),
    })?;
    place.write(format!("{CONFIG_HEAD}{text}").as_bytes())?;
    let config = KbsConfig::load(place.path())?;
    let root = config.root.provider(&Surroundings::of_process()).create()?;
    let key = root.derive(RootPurpose::Store)?;
    database::make(&config, &key, options.mode)?;
    let finish = || {
        let broker = Broker::rooted(&config, options.mode, root)?;
        let identity = broker.identity.public(broker.simulated());
        write_new(&identity_path, &identity.canonical()?)?;
        place.finish(&config_path)?;
        database::finish(&config, &broker.db)?;
        Ok(identity)
    };
    let identity = finish().inspect_err(|_: &KbsError| database::unmake(&config, &key, options.mode))?;
    Ok(Initialised {
        interrupted: place.interrupted(),
        config_path,
        identity_path,
        admin_key_path,
        identity,
        admin,
    })
}

const CONFIG_HEAD: &str = "\
# Key broker. Relative paths start at this file's directory.
# head_file remembers the newest decision outside the store: put it on another disk (or a TPM-backed volume) than the store.
# four_eyes = false: one admin widens policies alone. Pin a second admin key, then remove that line.
# plain_http or [tls]: one of them. On any address but loopback the first says that a TLS front stands before the broker.
# crl_files: ARK-signed revocation lists from AMD's KDS, refreshed by you; a changed file counts from the next decision on.
";

/// Opens a store that no broker is serving, replays its audit chain and hands every line to `line`.
///
/// # Errors
/// [`KbsError`], as `serve` would give it.
pub fn check(config: &KbsConfig, mode: StoreMode, mut line: impl FnMut(&str)) -> Result<KbsIdentity, KbsError> {
    let broker = Broker::open(config, mode)?;
    broker
        .db
        .read(|tx| audit::each_line(tx, |_, text| Ok::<_, StoreError>(line(text))))?;
    Ok(broker.identity.public(broker.simulated()))
}

/// Accepts the store as it is: notes that in its audit chain, and writes its newest decision to every fence.
///
/// # Errors
/// [`KbsError`]; the audit chain itself must hold.
pub fn accept_head(config: &KbsConfig, mode: StoreMode) -> Result<(), KbsError> {
    Broker::open_without_head(config, mode)?.accept()
}

/// Writes the audit log of a broker that does not run into `dir`, which must be empty or missing: JSON Lines, the newest
/// signed head, and tiles. `progress` is told how many entries are written, and of how many.
///
/// # Errors
/// [`KbsError`], as `serve` would give it; [`KbsError::Exists`] if something is in `dir`.
pub fn export_audit(
    config: &KbsConfig,
    mode: StoreMode,
    dir: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<Exported, KbsError> {
    Broker::open(config, mode)?.export(dir, progress)
}

/// Reads an admin key: a key file, from which both signing keys are derived.
///
/// # Errors
/// [`StoreError`] of the key file.
pub fn load_admin_key(path: &Path) -> Result<SigningKeys, KbsError> {
    let key = KeyFile::load(path)?;
    let mut seed = Zeroizing::new([0; 64]);
    kdf::hkdf_sha256(b"", key.expose(), b"hanzo/kbs-admin-key/v1", seed.as_mut())?;
    Ok(SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &seed)?)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KbsError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|e| StoreError::io("write", path, e).into())
}
