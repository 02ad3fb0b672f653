//! A running `hanzo up --vm`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::SystemTime;

use hanzo_image::Manifest;
use hanzo_image::run::{Accelerator, Machine, Report};
use serde_json::Value;

use crate::client::post;
use crate::needs::{Needs, not_tested, private_dir};

pub struct Up {
    child: Child,
    pub state: tempfile::TempDir,
    pub greeting: Value,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Up {
    /// `None`, loudly, without the model.
    pub fn start(needs: &Needs) -> Option<Self> {
        let state = private_dir();
        let mut child = needs.command(state.path()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let greeting: Value = serde_json::from_str(&line).unwrap_or_default();
        if greeting.get("listening").is_none() {
            let mut rest = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut rest).unwrap();
            let _ = child.wait();
            let console = fs::read_to_string(state.path().join("up/run/logs/console.log")).unwrap_or_default();
            assert!(
                rest.contains("cannot fetch the default model"),
                "{line}{rest}\n{console}"
            );
            not_tested(&rest);
            return None;
        }
        let served = SystemTime::now();
        let up = Self { child, state, greeting };
        let manifest = Manifest::read(&up.at("image")).unwrap();
        let kernel = manifest.inputs.own_kernel.map_or("Debian's", |_| "our own");
        let _ = writeln!(std::io::stderr(), "kernel of the image: {kernel}");
        let _ = writeln!(
            std::io::stderr(),
            "guest uptime at the first served request: {:.1} s",
            up.first_served_s(served)
        );
        Some(up)
    }

    /// The guest's uptime when it had served its first request, the client's for its evidence, in seconds.
    fn first_served_s(&self, served: SystemTime) -> f64 {
        let log = self.at("logs/vm.log");
        let word = fs::metadata(&log).unwrap().modified().unwrap();
        let text = fs::read_to_string(log).unwrap();
        let (_, rest) = text.split_once("guest uptime at its word: ").unwrap();
        let uptime: f64 = rest.split_once(' ').unwrap().0.parse().unwrap();
        uptime + served.duration_since(word).unwrap().as_secs_f64()
    }

    /// A file of this run.
    pub fn at(&self, path: &str) -> PathBuf {
        self.state.path().join("up/run").join(path)
    }

    pub fn model(&self) -> &str {
        self.greeting["model"].as_str().unwrap()
    }

    pub fn model_key(&self) -> String {
        format!("hanzo/dek/{}", self.model())
    }

    /// In the order of the configuration: the model, and what goes on it.
    pub fn packs(&self) -> Vec<PathBuf> {
        let adapters = self.greeting["adapters"].as_array().into_iter().flatten();
        let on: Vec<_> = adapters.map(|adapter| adapter["name"].as_str().unwrap()).collect();
        let base = self.base();
        let names = std::iter::once(base).chain(on);
        names
            .map(|name| self.at("packs").join(format!("{name}.pack")))
            .collect()
    }

    /// The model under everything.
    pub fn base(&self) -> &str {
        let adapter = &self.greeting["adapters"][0];
        adapter["base"].as_str().unwrap_or_else(|| self.model())
    }

    /// The API key of a caller, where callers are told apart.
    pub fn key(&self, who: usize) -> Option<String> {
        let file = self.greeting["callers"][who]["key_file"].as_str()?;
        Some(fs::read_to_string(file).unwrap().trim().to_owned())
    }

    /// Process ids of the programs that are called so and belong to this appliance.
    pub fn processes(&self, program: &str) -> Vec<i32> {
        let state = self.state.path().display().to_string();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.split('\0').next().is_some_and(|name| name.ends_with(program)) && line.contains(&state)
        })
        .collect()
    }

    /// A short question to its own endpoint.
    pub fn chat(&self) -> (u16, Value) {
        self.ask(0, self.model())
    }

    /// The same of one of its models, by one of its callers.
    pub fn ask(&self, who: usize, model: &str) -> (u16, Value) {
        post(
            self.greeting["listening"].as_str().unwrap(),
            model,
            4,
            self.key(who).as_deref(),
        )
    }

    /// The same machine over other files, beside the running one and in front of the same broker.
    pub fn boot(&self, image: &Path, packs: &[PathBuf]) -> Report {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let machine = Machine {
            image: image.to_owned(),
            console: self.at("logs/second.log"),
            port,
            links: None,
            memory_mib: 2048,
            processors: 2,
            accelerator: Accelerator::Tcg,
            packs: packs.to_vec(),
            tpm: Some(self.at("tpm")),
        };
        hanzo_image::run::run(&machine, None, true, &|_| ()).unwrap()
    }

    /// Waits for its end, which must be a failure; what it said last.
    pub fn ended(&mut self) -> Value {
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(1));
        let mut rest = String::new();
        self.child.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
        serde_json::from_str(rest.trim()).unwrap()
    }
}
