//! What an engine can still do once the launcher that ships has confined it. The engine is hostile: `hostile.py`.

mod memory;
mod node;
mod refused;
mod typed;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Bound of the tests' engines: 256 MiB.
pub(crate) const BOUND: u64 = 256 << 20;
pub(crate) const UID: u32 = 61_000;
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// What the guest makes for one engine.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for name in ["model", "engine", "root"] {
            std::fs::create_dir(place.at(name)).unwrap();
        }
        std::fs::write(place.at("model/weights"), b"bytes").unwrap();
        place
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.at("engine/sock")
    }

    /// The launcher, up to the `--` before the engine.
    pub(crate) fn launcher(&self, whole: bool) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut words = vec![
            env!("CARGO_BIN_EXE_hanzo-guest").to_owned(),
            "engine-sandbox".into(),
            "--model-dir".into(),
            text(&self.at("model")),
            "--socket".into(),
            text(&self.socket()),
            "--memory-bytes".into(),
            BOUND.to_string(),
        ];
        if whole {
            words.extend(["--whole", "--uid"].map(str::to_owned));
            words.extend([UID.to_string(), "--root".into(), text(&self.at("root"))]);
        }
        words.push("--".into());
        words
    }

    /// Runs a script as the engine.
    pub(crate) fn python(&self, mut words: Vec<String>, script: &str) -> Output {
        words.extend([PYTHON, "-I", "-S", "-c", script].map(str::to_owned));
        words.extend([self.at("model"), self.socket()].map(|path| path.display().to_string()));
        words.push(BOUND.to_string());
        run(&words)
    }
}

pub(crate) fn run(words: &[String]) -> Output {
    Command::new(&words[0]).args(&words[1..]).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `name outcome` lines.
pub(crate) fn outcomes(output: &Output) -> BTreeMap<String, String> {
    let lines = text(&output.stdout);
    lines
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, outcome)| (name.to_owned(), outcome.to_owned()))
        .collect()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn not_run(why: &str) {
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}

pub(crate) fn python_is_here() -> bool {
    let here = Path::new(PYTHON).exists();
    if !here {
        not_run("no /usr/bin/python3, which the hostile engine is written in");
    }
    here
}
