//! The bill of materials of an image: CycloneDX 1.6 in canonical JSON, a function of the image's manifest and the lock file.
//!
//! Crates come from the lock file, with its checksums: all that it lets the guest, and the engine if there is one, reach.
//! That is more than what is linked, and never less. Debian packages, programs and files come from the manifest; the source
//! package of our own kernel comes from its pins. There is no
//! time in it, and its serial number follows from its content.
//!
//! # Spec
//! CycloneDX 1.6 (ECMA-424), package URLs (purl-spec).

mod lock;

use std::collections::{BTreeMap, BTreeSet};

use hanzo_attestation::jcs;
use hanzo_attestation::{Digest256, Digest384};
use serde_json::{Value, json};

use crate::assemble::KERNEL;
use crate::error::ImageError;
use crate::inputs::Package;
use crate::kernel::{self, Pins};
use crate::manifest::{Manifest, Measured};
use lock::{Crate, Lock};

/// The guest's and the engine's crates.
const GUEST: &str = "hanzo-guest";
const ENGINE: &str = "hanzo-engine";
/// The node of the chain: its program, and its crate in a lock file of its own.
const NODE: (&str, &str) = ("hanzo-validator", "hanzo-chain-node");
/// What the image itself is called in the bill.
const IMAGE: &str = "image";

/// A bill of materials.
#[derive(Debug, Clone)]
pub struct Bill {
    /// Canonical JSON.
    pub bytes: Vec<u8>,
    /// SHA-384 of it: what a release manifest names.
    pub sha384: Digest384,
    /// How many components it lists.
    pub components: usize,
}

/// The bill of an image whose programs were built with this lock file, and with `node`'s if it is a node of the chain.
///
/// # Does not establish
/// That they were: the programs are inputs by digest, and building them again is `verify`'s part.
///
/// # Errors
/// [`ImageError::Lock`], [`ImageError::Inputs`].
pub fn of_image(manifest: &Manifest, lock: &str, node: Option<&str>) -> Result<Bill, ImageError> {
    let wrong = |what: &str| Err(ImageError::Lock { what: what.to_owned() });
    let node = match (&manifest.inputs.node, node) {
        (None, None) => None,
        (Some(measured), Some(text)) => Some((measured, Lock::parse(text)?)),
        (Some(_), None) => return wrong("--validator-lock: the image is a node of the chain, and none was given"),
        (None, Some(_)) => return wrong("--validator-lock: the image is no node of the chain, and one was given"),
    };
    let lock = Lock::parse(lock)?;
    let roots: Vec<_> = match manifest.inputs.engine {
        Some(_) => vec![GUEST, ENGINE],
        None => vec![GUEST],
    };
    let crates = lock.reachable(&roots)?;
    let mut parts = Parts::default();
    for package in manifest.inputs.packages.values() {
        parts.add(debian(package), []);
    }
    for (name, measured) in programs(manifest) {
        parts.add(
            file(&format!("program/{name}"), name, measured),
            lock.root(name).map(purl),
        );
    }
    if let Some((measured, lock)) = &node {
        let (program, root) = NODE;
        let on = lock.root(root).map(purl);
        parts.add(file(&format!("program/{program}"), program, measured), on);
    }
    for (name, measured) in &manifest.outputs {
        parts.add(file(&format!("file/{name}"), name, measured), []);
    }
    let pins = Pins::parse(kernel::COMMITTED)?;
    // Of any other kernel it is not known what it was built from.
    if manifest.inputs.own_kernel.as_ref() == Some(&pins.kernel) {
        let source = debian(&pins.source);
        let needed = parts.depends.entry(format!("file/{KERNEL}")).or_default();
        needed.insert(source.0.clone());
        parts.add(source, []);
    }
    let top: Vec<String> = parts.refs();
    for known in &crates {
        parts.add(of_crate(known), lock.dependencies(known).into_iter().map(purl));
    }
    if let Some((_, lock)) = &node {
        for known in &lock.reachable(&[NODE.1])? {
            parts.add(of_crate(known), lock.dependencies(known).into_iter().map(purl));
        }
    }
    parts.depends.insert(IMAGE.to_owned(), top.into_iter().collect());

    let manifest_bytes = manifest.to_bytes()?;
    let mut bill = json!({
        "bomFormat": "CycloneDX",
        "components": parts.components.values().collect::<Vec<_>>(),
        "dependencies": parts
            .depends
            .iter()
            .map(|(of, on)| json!({"ref": of, "dependsOn": on}))
            .collect::<Vec<_>>(),
        "metadata": {"component": {
            "bom-ref": IMAGE,
            "hashes": hashes(&Digest256::of(&manifest_bytes), Some(&Digest384::of(&manifest_bytes))),
            "name": "hanzo-image",
            "type": "operating-system",
            "version": manifest.recipe.profile.to_string(),
        }},
        "specVersion": "1.6",
        "version": 1,
    });
    let content = Digest256::of(&jcs::to_vec("bill of materials", &bill)?);
    if let Some(members) = bill.as_object_mut() {
        members.insert("serialNumber".into(), json!(serial(&content)));
    }
    let bytes = jcs::to_vec("bill of materials", &bill)?;
    Ok(Bill {
        sha384: Digest384::of(&bytes),
        components: parts.components.len(),
        bytes,
    })
}

/// Components and what each rests on, by reference.
#[derive(Default)]
struct Parts {
    components: BTreeMap<String, Value>,
    depends: BTreeMap<String, BTreeSet<String>>,
}

impl Parts {
    fn add(&mut self, (of, component): (String, Value), on: impl IntoIterator<Item = String>) {
        self.depends.entry(of.clone()).or_default().extend(on);
        self.components.insert(of, component);
    }

    fn refs(&self) -> Vec<String> {
        self.components.keys().cloned().collect()
    }
}

fn programs(manifest: &Manifest) -> impl Iterator<Item = (&'static str, &Measured)> {
    let engine = manifest.inputs.engine.as_ref().map(|engine| (ENGINE, engine));
    [(GUEST, &manifest.inputs.guest)].into_iter().chain(engine)
}

fn debian(package: &Package) -> (String, Value) {
    let purl = format!(
        "pkg:deb/debian/{}@{}?distro={}",
        encoded(&package.package),
        encoded(&package.release),
        encoded(&package.suite)
    );
    let component = json!({
        "bom-ref": purl,
        "hashes": hashes(&package.sha256, None),
        "name": package.package,
        "purl": purl,
        "type": "application",
        "version": package.release,
    });
    (purl, component)
}

fn file(reference: &str, name: &str, measured: &Measured) -> (String, Value) {
    let component = json!({
        "bom-ref": reference,
        "hashes": hashes(&measured.sha256, Some(&measured.sha384)),
        "name": name,
        "type": "file",
    });
    (reference.to_owned(), component)
}

fn of_crate(known: &Crate) -> (String, Value) {
    let purl = purl(known);
    let mut component = json!({
        "bom-ref": purl,
        "name": known.name,
        "purl": purl,
        "type": "library",
        "version": known.version,
    });
    if let (Some(sha256), Some(members)) = (&known.checksum, component.as_object_mut()) {
        members.insert("hashes".into(), hashes(sha256, None));
    }
    (purl, component)
}

fn purl(known: &Crate) -> String {
    format!("pkg:cargo/{}@{}", encoded(&known.name), encoded(&known.version))
}

fn hashes(sha256: &Digest256, sha384: Option<&Digest384>) -> Value {
    let mut out = vec![json!({"alg": "SHA-256", "content": sha256.to_string()})];
    out.extend(sha384.map(|digest| json!({"alg": "SHA-384", "content": digest.to_string()})));
    json!(out)
}

/// A name or version inside a package URL: all but letters, digits and `. - _ ~ :` by percent.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_~:".contains(&b);
    text.bytes()
        .map(|b| match plain(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        })
        .collect()
}

/// A UUID of version 8 (RFC 9562: what its bits mean is ours) out of the content's digest.
fn serial(content: &Digest256) -> String {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(content.0) {
        *to = from;
    }
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    let text = hex::encode(bytes);
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    format!(
        "urn:uuid:{}-{}-{}-{}-{}",
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32)
    )
}
