//! npm's node-llama-cpp, installed once into `~/.cache/hanzo/node-llama-cpp` (or `HANZO_NODE_LLAMA`) with the ordinary client.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

const VERSION: &str = "3.22.1";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/llama/peer.mjs");

/// An installed peer.
pub struct Node {
    module: PathBuf,
}

impl Node {
    /// The peer, or a loud line.
    pub fn find() -> Option<Self> {
        let found = Self::installed();
        if let Err(reason) = &found {
            let _ = writeln!(
                std::io::stderr(),
                "PEER MISSING: node-llama-cpp {VERSION}: {reason}: llama.cpp as others ship it was NOT compared with"
            );
        }
        found.ok()
    }

    fn installed() -> Result<Self, String> {
        let dir = match (std::env::var_os("HANZO_NODE_LLAMA"), std::env::var_os("HOME")) {
            (Some(dir), _) => PathBuf::from(dir),
            (None, Some(home)) => PathBuf::from(home).join(".cache/hanzo/node-llama-cpp"),
            (None, None) => return Err("no HOME".into()),
        };
        let module = dir.join("node_modules/node-llama-cpp/dist/index.js");
        if !module.is_file() {
            std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
            let status = Command::new("npm")
                .args([
                    "install",
                    "--silent",
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts",
                    "--omit=optional",
                ])
                .arg("--prefix")
                .arg(&dir)
                .arg(format!("node-llama-cpp@{VERSION}"))
                .arg(format!("@node-llama-cpp/linux-x64@{VERSION}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()
                .map_err(|error| format!("npm: {error}"))?;
            if !status.success() || !module.is_file() {
                return Err(format!("npm install: {status}"));
            }
        }
        Ok(Self { module })
    }

    /// The same release with the kernels that this workspace is built for (AVX2) and no others: wider ones add in another
    /// order. A tree of hard links beside the whole one, with the other kernels left out.
    pub fn alike() -> Option<Self> {
        let whole = Self::find()?;
        let root = whole.module.ancestors().nth(4)?;
        let name = root.file_name()?.to_str()?;
        let alike = root.with_file_name(format!("{name}-avx2"));
        if !alike.is_dir() {
            let staging = root.with_file_name(format!("{name}-avx2.{}", std::process::id()));
            let copied = Command::new("cp").arg("-al").arg(root).arg(&staging).status();
            assert!(copied.is_ok_and(|status| status.success()), "cp -al {}", root.display());
            let kernels = staging.join("node_modules/@node-llama-cpp/linux-x64/bins/linux-x64");
            for entry in std::fs::read_dir(kernels).unwrap().flatten() {
                let name = entry.file_name().into_string().unwrap();
                if name.starts_with("libggml-cpu-") && name != "libggml-cpu-haswell.so" {
                    std::fs::remove_file(entry.path()).unwrap();
                }
            }
            // Another test may have been faster.
            if std::fs::rename(&staging, &alike).is_err() {
                std::fs::remove_dir_all(&staging).unwrap();
            }
        }
        Some(Self {
            module: alike.join("node_modules/node-llama-cpp/dist/index.js"),
        })
    }

    /// Runs one task of `peer.mjs`.
    pub fn run(&self, task: &Value) -> Value {
        let mut child = Command::new("node")
            .arg(SCRIPT)
            .arg(&self.module)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(task.to_string().as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "node: {}", output.status);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
