//! `hanzo-image release …`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hanzo_attestation::UnixTime;
use hanzo_attestation::name::Name;
use hanzo_log::Origin;
use hanzo_policy::AppraisalPolicy;
use hanzo_policy::release::{BUNDLE_BYTES_MAX, ReferenceMatrix, ReleaseBundle, ReleaseManifest, VerifiedRelease};
use serde_json::{Value, json};

use super::draft::{Draft, references};
use super::log::ReleaseLog;
use super::sign::SignedRelease;
use super::{ReleaseToolError, keys, now, read, sign, write};
use crate::ImageError;

const DAY_S: u64 = 86_400;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Draw a release key, or with --log the key of a release log; the secret is written with mode 0600
    #[command(
        after_help = "Examples:\n  hanzo-image release keygen ada.key --name ada\n  hanzo-image release keygen log.key --log releases.example/log\n\nThe public part is written beside it, with .pub at the end."
    )]
    Keygen {
        /// Where the secret is written; nothing is replaced
        file: PathBuf,
        /// Whose release key it is
        #[arg(long, value_parser = name, required_unless_present = "log")]
        name: Option<Name>,
        /// The log's origin
        #[arg(long, value_parser = origin, conflicts_with = "name")]
        log: Option<Origin>,
    },
    /// Put a manifest together that nobody has signed yet
    Draft(Box<DraftArgs>),
    /// Sign a manifest with one holder's key, offline
    #[command(after_help = "Example:\n  hanzo-image release sign manifest.json --key ada.key --output ada.sig")]
    Sign {
        /// The manifest
        manifest: PathBuf,
        /// The holder's key
        #[arg(long)]
        key: PathBuf,
        /// Where the signature is written
        #[arg(long)]
        output: PathBuf,
    },
    /// Put a quorum of signatures under a manifest
    #[command(
        after_help = "Example:\n  hanzo-image release assemble manifest.json --public ada.key.pub --public bob.key.pub --public cyd.key.pub \\\n      --signature ada.sig --signature cyd.sig --output signed.json"
    )]
    Assemble {
        /// The manifest
        manifest: PathBuf,
        /// Public part of a release key. Repeated: all that readers pin
        #[arg(long, required = true)]
        public: Vec<PathBuf>,
        /// How many of them must sign
        #[arg(long, default_value_t = 2)]
        threshold: u8,
        /// A signature. Repeated
        #[arg(long, required = true)]
        signature: Vec<PathBuf>,
        /// Where the signed release is written
        #[arg(long)]
        output: PathBuf,
    },
    /// Write a signed release into the log, and its bundle
    #[command(
        after_help = "Example:\n  hanzo-image release append signed.json --log releases --log-key log.key --output release.json"
    )]
    Append {
        /// The signed release
        signed: PathBuf,
        #[command(flatten)]
        /// The log
        log: LogArgs,
        /// The bundle of the release before: rotations come from there
        #[arg(long)]
        after: Option<PathBuf>,
    },
    /// Prove a bundle under a head that the log signs now
    #[command(
        after_help = "Example:\n  hanzo-image release refresh release.json --log releases --log-key log.key --output release.json"
    )]
    Refresh {
        /// The bundle
        bundle: PathBuf,
        #[command(flatten)]
        /// The log
        log: LogArgs,
    },
    /// Check a bundle as a reader with this policy does
    #[command(after_help = "Example:\n  hanzo-image release verify release.json --policy policy.toml")]
    Verify {
        /// The bundle
        bundle: PathBuf,
        /// An appraisal policy with a table [release]
        #[arg(long)]
        policy: PathBuf,
        /// As of this time, Unix seconds; now by default
        #[arg(long)]
        at: Option<u64>,
    },
}

/// The log.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// The log's directory
    #[arg(long)]
    log: PathBuf,
    /// The log's key
    #[arg(long)]
    log_key: PathBuf,
    /// Where the bundle is written
    #[arg(long)]
    output: PathBuf,
}

/// What a release is made of.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hanzo-image sbom out --output sbom.json\n  hanzo-image release draft --line appliance --version 7 --image core=out --prediction core-q35=prediction.json \\\n      --sbom sbom.json --capability chat.completions --capability receipts --days 90 --output manifest.json"
)]
pub struct DraftArgs {
    /// The line of releases
    #[arg(long, value_parser = name)]
    line: Name,
    /// Its version: higher than all before
    #[arg(long)]
    version: u64,
    /// The lowest version that it may follow on
    #[arg(long, default_value_t = 0)]
    minimum_previous_version: u64,
    /// First second, Unix seconds; now by default
    #[arg(long)]
    issued_at: Option<u64>,
    /// How many days it counts
    #[arg(long, default_value_t = 90)]
    days: u64,
    /// An image: NAME=DIRECTORY. Repeated
    #[arg(long, required = true, value_parser = named)]
    image: Vec<(Name, PathBuf)>,
    /// A prediction of PCRs for one of the images: NAME=FILE. Repeated
    #[arg(long, value_parser = named)]
    prediction: Vec<(Name, PathBuf)>,
    /// Further reference values: TOML with [[snp]], [[tdx]], [[tpm]]
    #[arg(long)]
    references: Option<PathBuf>,
    /// The bill of materials
    #[arg(long)]
    sbom: PathBuf,
    /// What an image may be able to do, as its keyset states it. Repeated
    #[arg(long, value_parser = name)]
    capability: Vec<Name>,
    /// Public part of a key that signs the releases after this one. Repeated
    #[arg(long)]
    next_public: Vec<PathBuf>,
    /// How many of them must
    #[arg(long, default_value_t = 2)]
    next_threshold: u8,
    /// Where the manifest is written
    #[arg(long)]
    output: PathBuf,
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

fn origin(text: &str) -> Result<Origin, String> {
    Origin::new(text).map_err(|e| e.to_string())
}

fn named(text: &str) -> Result<(Name, PathBuf), String> {
    let (left, right) = text.split_once('=').ok_or("expected NAME=PATH")?;
    Ok((name(left)?, PathBuf::from(right)))
}

/// Does it; what to say, for people and for programs.
///
/// # Errors
/// [`ImageError`].
pub fn run(command: ReleaseCommand) -> Result<(String, Value), ImageError> {
    match command {
        ReleaseCommand::Keygen { file, name, log } => keygen(&file, name, log),
        ReleaseCommand::Draft(args) => draft(*args),
        ReleaseCommand::Sign { manifest, key, output } => {
            let (manifest, holder) = (sign::manifest(&manifest)?, keys::release_key(&key)?);
            sign::store(&output, "signature", &sign::sign(&manifest, &holder)?)?;
            let head = about(&manifest)?;
            Ok((
                format!("{}: {} signed {head}\n", output.display(), holder.public.name),
                json!({"signature": output, "key": holder.public.id(), "release": head}),
            ))
        }
        ReleaseCommand::Assemble {
            manifest,
            public,
            threshold,
            signature,
            output,
        } => {
            let set = keys::key_set(&public, threshold)?;
            let signatures = signature
                .iter()
                .map(|path| sign::signature(path))
                .collect::<Result<_, _>>()?;
            let signed = sign::assemble(sign::manifest(&manifest)?, signatures, &set)?;
            sign::store(&output, "signed release", &signed)?;
            let head = about(&signed.manifest)?;
            Ok((
                format!("{}: {head}, signed by a quorum of {threshold}\n", output.display()),
                json!({"signed": output, "release": head, "signatures": signed.signatures.len()}),
            ))
        }
        ReleaseCommand::Append { signed, log, after } => {
            let signed = SignedRelease::load(&signed)?;
            let before = after.as_deref().map(bundle).transpose()?;
            let holder = keys::log_key(&log.log_key)?;
            let made = ReleaseLog::open(&log.log, &holder)?.append(signed, before)?;
            published(&made, &log.output)
        }
        ReleaseCommand::Refresh { bundle: path, log } => {
            let holder = keys::log_key(&log.log_key)?;
            let made = ReleaseLog::open(&log.log, &holder)?.refresh(bundle(&path)?)?;
            published(&made, &log.output)
        }
        ReleaseCommand::Verify {
            bundle: path,
            policy,
            at,
        } => {
            let release = verify(&bundle(&path)?, &policy, at.map_or_else(now, UnixTime))?;
            Ok((told(&release)?, shown(&release)))
        }
    }
}

fn keygen(file: &Path, name: Option<Name>, log: Option<Origin>) -> Result<(String, Value), ImageError> {
    let mut public = file.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let (what, whose) = match (name, log) {
        (_, Some(origin)) => {
            sign::store(&public, "log key", &keys::make_log_key(&origin, file)?)?;
            ("log key", origin.to_string())
        }
        (Some(name), None) => {
            sign::store(&public, "release key", &keys::make_release_key(&name, file)?)?;
            ("release key", name.to_string())
        }
        (None, None) => {
            return Err(ReleaseToolError::Usage {
                option: "--name",
                expected: "whose key it is, or --log",
                got: "neither".into(),
            }
            .into());
        }
    };
    let text = format!(
        "{}: {what} of {whose}; keep it offline and copy it to nobody\n{}: what readers pin\n",
        file.display(),
        public.display()
    );
    Ok((text, json!({"secret": file, "public": public})))
}

fn draft(args: DraftArgs) -> Result<(String, Value), ImageError> {
    let issued_at = args.issued_at.unwrap_or_else(|| now().0);
    let next_keys = match args.next_public.is_empty() {
        true => None,
        false => Some(keys::key_set(&args.next_public, args.next_threshold)?),
    };
    let manifest = Draft {
        name: args.line,
        version: args.version,
        minimum_previous_version: args.minimum_previous_version,
        life: (issued_at, issued_at.saturating_add(args.days.saturating_mul(DAY_S))),
        images: args.image,
        predictions: args.prediction,
        references: match &args.references {
            Some(path) => references(path)?,
            None => ReferenceMatrix::default(),
        },
        sbom: args.sbom,
        capabilities: args.capability,
        next_keys,
    }
    .manifest()?;
    write(&args.output, &manifest.canonical().map_err(ReleaseToolError::from)?)?;
    let head = about(&manifest)?;
    let mut text = format!("{}: {head}, not signed yet\n", args.output.display());
    for image in &manifest.images {
        text += &format!(
            "  image {:10} manifest sha384 {}\n",
            image.name.as_str(),
            image.manifest_sha384
        );
    }
    for name in manifest.references.names() {
        text += &format!("  reference {name}\n");
    }
    if manifest.references.is_empty() {
        text += "  no reference values: no guest will be accepted under it\n";
    }
    Ok((text, json!({"manifest": args.output, "release": head})))
}

fn bundle(path: &Path) -> Result<ReleaseBundle, ImageError> {
    let bytes = read(path, BUNDLE_BYTES_MAX as u64)?;
    Ok(ReleaseBundle::parse(&bytes).map_err(ReleaseToolError::from)?)
}

fn published(bundle: &ReleaseBundle, output: &Path) -> Result<(String, Value), ImageError> {
    write(output, &bundle.canonical().map_err(ReleaseToolError::from)?)?;
    let (head, index) = (about(&bundle.release.manifest)?, bundle.release.index);
    Ok((
        format!("{}: {head}, entry {index} of the log\n", output.display()),
        json!({"bundle": output, "release": head, "index": index}),
    ))
}

fn verify(bundle: &ReleaseBundle, policy: &Path, at: UnixTime) -> Result<VerifiedRelease, ImageError> {
    let bytes = read(policy, hanzo_policy::POLICY_BYTES_MAX as u64)?;
    let asked = AppraisalPolicy::from_toml(&bytes).map_err(|source| ReleaseToolError::Policy {
        path: policy.to_owned(),
        source,
    })?;
    let table = asked.release.as_ref().ok_or_else(|| ReleaseToolError::File {
        path: policy.to_owned(),
        expected: "a policy with a table [release]",
        got: "one without".into(),
    })?;
    let release = bundle.verify(table).map_err(ReleaseToolError::from)?;
    release.check_time(at).map_err(ReleaseToolError::from)?;
    Ok(release)
}

fn about(manifest: &ReleaseManifest) -> Result<String, ImageError> {
    let digest = manifest.digest().map_err(ReleaseToolError::from)?;
    Ok(format!(
        "{} version {} (sha384 {digest})",
        manifest.name, manifest.version
    ))
}

fn told(release: &VerifiedRelease) -> Result<String, ImageError> {
    let signers: Vec<_> = release.signers().iter().map(Name::as_str).collect();
    Ok(format!(
        "ACCEPTED: {}\n  signed by   {} ({} of {} must)\n  log         {}, {} entries, head of {}\n  witnesses   {}: whether others were shown the same log was not checked\n  until       {}\n",
        about(release.manifest())?,
        signers.join(", "),
        release.keys().threshold,
        release.keys().keys.len(),
        release.head().checkpoint().checkpoint().origin,
        release.head().checkpoint().size(),
        release.head().time().0,
        release.witnesses(),
        release.valid_until().0,
    ))
}

fn shown(release: &VerifiedRelease) -> Value {
    json!({
        "accepted": true,
        "name": release.manifest().name,
        "version": release.manifest().version,
        "manifest_sha384": release.digest(),
        "signers": release.signers(),
        "witnesses": release.witnesses(),
        "valid_until": release.valid_until().0,
    })
}
