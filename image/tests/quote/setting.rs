//! What every boot here starts from: pinned packages, the static guest, one TPM, one broker.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_attestation::name::Name;
use hanzo_image::assemble::Parts;
use hanzo_image::fetch::{MIRROR, Source};
use hanzo_image::inputs::COMMITTED;
use hanzo_image::reference::{Release, appraisal, key_policy};
use hanzo_image::run::{Accelerator, Machine};
use hanzo_image::{ImageError, Inputs, Recipe, build, tpm};
use hanzo_init::{Network, Profile};
use hanzo_measured_boot::prediction::Prediction;
use hanzo_vault::KeyPolicy;

use crate::broker::Broker;
use crate::relay::{Seen, relay};

pub const STORE_KEY: &str = "hanzo/store/s";
pub const MODEL_KEY: &str = "hanzo/model/m";
const ROOT: &str = "11";

pub struct Setting {
    pub dir: tempfile::TempDir,
    pub parts: Parts,
    pub ak: Digest256,
    pub broker: Broker,
    /// What the guest sent.
    pub seen: Seen,
    /// Where the guest finds the broker.
    host: SocketAddr,
}

pub fn not_tested(why: &str) {
    let _ = writeln!(std::io::stderr(), "NO IMAGE WAS BOOTED: {why}");
}

/// The static guest: `HANZO_IMAGE_GUEST`, or the one in this target directory.
fn static_guest() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("HANZO_IMAGE_GUEST") {
        return Some(given.into());
    }
    let here = std::env::current_exe().ok()?;
    let guest = here
        .ancestors()
        .nth(3)?
        .join("x86_64-unknown-linux-gnu/release/hanzo-guest");
    guest.exists().then_some(guest)
}

impl Setting {
    /// `None`, loudly, if this machine cannot boot an image.
    pub fn new(profile: Profile) -> Option<Self> {
        match Self::gather(profile) {
            Ok(setting) => Some(setting),
            Err(why) => {
                not_tested(&why);
                None
            }
        }
    }

    fn gather(profile: Profile) -> Result<Self, String> {
        let packages = std::env::var_os("HANZO_IMAGE_PACKAGES")
            .ok_or("HANZO_IMAGE_PACKAGES names no directory for the pinned packages")?;
        let guest = static_guest()
            .ok_or("no static hanzo-guest: cargo build --release --target x86_64-unknown-linux-gnu with crt-static")?;
        let source = Source::Archive {
            kept: std::path::absolute(packages).unwrap(),
            mirror: MIRROR.into(),
        };
        // Debian keeps old versions for a limited time; a package with other bytes is never a reason to pass.
        let absent = |error: ImageError| match (error.code(), error.to_string()) {
            ("image.package.gone", why) => why,
            ("image.tool", why) if why.contains("; install ") => why,
            (code, why) => panic!("{why} [{code}]"),
        };
        let inputs = Inputs::parse(COMMITTED).unwrap();
        let parts = Parts::gather(inputs, &source, profile, &guest, None, &|_| ()).map_err(absent)?;
        let dir = tempfile::tempdir().unwrap();
        let ak = tpm::make(&dir.path().join("tpm")).map_err(absent)?;
        let broker = Broker::start(dir.path(), vec![ak]);
        let (host, seen) = relay(broker.address);
        Ok(Self {
            dir,
            parts,
            ak,
            broker,
            seen,
            host,
        })
    }

    /// The recipe of a guest that asks this broker for [`STORE_KEY`], then for [`MODEL_KEY`].
    pub fn recipe(&self, profile: Profile, operator: &str) -> Recipe {
        let signer = &self.broker.made.identity.signer;
        let (suite, ml_dsa, ed25519) = (&signer.suite, &signer.ml_dsa, &signer.ed25519);
        let root = ROOT.repeat(32);
        let config = format!(
            "version = 1\noperator = \"{operator}\"\nimage = \"dev\"\nrequired_tier = 1\nkeyset_lifetime_s = 3600\nauth = \"none\"\n\
             [kbs]\ngrant_lifetime_s = 60\n[kbs.signer]\nsuite = \"{suite}\"\nml_dsa = \"{ml_dsa}\"\n\
             ed25519 = \"{ed25519}\"\n[store]\nid = \"s\"\nkey_id = \"{STORE_KEY}\"\n[[models]]\nname = \"m\"\n\
             weights_root = \"{root}\"\nkey_id = \"{MODEL_KEY}\"\ncontext_tokens = 512\n[limits]\n\
             body_bytes_max = 65536\nconcurrent_requests = 2\nrequest_timeout_s = 60\n"
        );
        let network = Network {
            interface: "eth0".into(),
            address: "10.0.2.15".parse().unwrap(),
            prefix: 24,
            gateway: Some("10.0.2.2".parse().unwrap()),
        };
        // QEMU's user network reaches this machine's own address there.
        let kbs = format!("10.0.2.2:{}", self.host.port()).parse().unwrap();
        Recipe::new(profile, config, "0.0.0.0:8443".parse().unwrap(), kbs, network).unwrap()
    }

    /// Makes an image.
    pub fn image(&self, name: &str, recipe: &Recipe) -> PathBuf {
        let image = self.dir.path().join(name);
        build(&self.parts, recipe, &image, &|_| ()).unwrap();
        image
    }

    /// The machine of every boot here: this setting's TPM, and a port that is free as far as that can be known.
    pub fn machine(&self, image: &Path) -> Machine {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let mut console = image.file_name().map(OsStr::to_owned).unwrap();
        console.push(".console");
        Machine {
            image: image.to_owned(),
            console: self.dir.path().join(console),
            port: port.unwrap().port(),
            links: None,
            memory_mib: 512,
            processors: 1,
            accelerator: Accelerator::Tcg,
            tpm: Some(self.dir.path().join("tpm")),
            packs: Vec::new(),
        }
    }

    /// A key's policy that demands exactly `prediction`, which is one of `image`.
    pub fn policy(&self, image: &Path, prediction: &Prediction, name: &str, subject: &str) -> KeyPolicy {
        let asked = appraisal(image, prediction, name, vec![self.ak]).unwrap();
        let release = Release {
            tenant: Name::new("hanzo").unwrap(),
            subject: Name::new(subject).unwrap(),
            image_version: 1,
            max_uses: 100,
            not_after: (1 << 53) - 1,
        };
        key_policy(asked, release).unwrap()
    }

    /// What the store's key is for.
    pub fn store_subject() -> &'static str {
        "s"
    }

    /// What the model's key is for.
    pub fn model_subject() -> String {
        ROOT.repeat(32)
    }
}
