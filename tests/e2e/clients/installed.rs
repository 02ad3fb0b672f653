//! Clients out of PyPI and npm, installed once under `~/.cache/hanzo-clients` by the ordinary installers. Where they cannot be had,
//! it is said loudly.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What is installed; a change needs another folder.
const PYTHON: [&str; 5] = [
    "openai==3.54.0",
    "anthropic==2.12.0",
    "langchain-openai==1.7.3",
    "llm==0.36",
    "schemathesis==4.32.5",
];
/// In a folder of its own: it asks for another version of `openai`. It loads `mcp` for tools without asking for it.
const APART: [&str; 2] = ["litellm==1.106.2", "mcp==2.3.0"];
const NODE: &str = "openai@7.57.0";
const FOLDER: &str = "hanzo-clients/1";

/// A folder with all of them.
pub struct Clients(PathBuf);

impl Clients {
    /// Installed, or `None` where they cannot be had; says so.
    pub fn installed() -> Option<Self> {
        let dir = cache();
        match install(&dir) {
            Ok(()) => Some(Self(dir)),
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "\n*** CLIENTS MISSING: they were NOT RUN ***\n{why}");
                None
            }
        }
    }

    /// A program of the Python clients'.
    pub fn python(&self, program: &str) -> PathBuf {
        self.0.join("py/bin").join(program)
    }

    /// A Python script, with the clients that it is to use as its last arguments: all of them well, or a panic that says what was not.
    pub fn run_python(&self, name: &str, arguments: &[&str], home: &Path) {
        for (venv, clients) in [
            ("py", &["openai", "anthropic", "langchain", "llm"][..]),
            ("apart", &["litellm"]),
        ] {
            let ran = ran(Command::new(self.0.join(venv).join("bin/python"))
                // What a script imports beside it leaves nothing there.
                .arg("-B")
                .arg(script(name))
                .args(arguments)
                .args(clients)
                .env("HOME", home)
                .env("LLM_USER_PATH", home));
            all_well(&ran.unwrap_or_else(|said| panic!("{said}")), clients);
        }
    }

    /// The same with npm's `openai`, where there is Node; says so where there is none.
    pub fn run_node(&self, name: &str, arguments: &[&str]) {
        let modules = self.0.join("node_modules");
        if !modules.join("openai/package.json").exists() {
            let npm = ["install", "--silent", "--no-audit", "--no-fund", "--prefix"];
            if let Err(why) = ran(Command::new("npm").args(npm).arg(&self.0).arg(NODE)) {
                let _ = writeln!(
                    std::io::stderr(),
                    "\n*** NODE'S CLIENT MISSING: it was NOT RUN ***\n{why}"
                );
                return;
            }
        }
        let node = ran(Command::new("node").arg(script(name)).args(arguments).arg(modules));
        all_well(&node.unwrap_or_else(|said| panic!("{said}")), &["openai"]);
    }

    /// Asks what `document` describes at `url`: requests of `phases` and `mode`, up to `examples` of an operation's drawn ones. Panics at a
    /// 5xx.
    pub fn schemathesis(&self, document: &Value, url: &str, phases: &str, mode: &str, examples: usize) {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("openapi.json");
        fs::write(&file, document.to_string()).unwrap();
        let said = ran(Command::new(self.python("schemathesis"))
            .arg("run")
            .arg(&file)
            .args(["--url", url, "--checks", "not_a_server_error"])
            .args(["--max-examples", &examples.to_string(), "--phases", phases])
            .args(["--mode", mode, "--request-timeout", "300"])
            .args(["--seed", "7", "--no-color", "--suppress-health-check", "all"])
            .current_dir(work.path()));
        let said = said.unwrap_or_else(|said| panic!("{said}"));
        let tested = format!("Tested: {}", document["paths"].as_object().unwrap().len());
        assert!(said.contains(&tested), "{said}");
    }
}

fn cache() -> PathBuf {
    let home = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| Path::new(&h).join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    home.join(FOLDER)
}

fn install(dir: &Path) -> Result<(), String> {
    let whole = dir.join("complete");
    fs::create_dir_all(dir).map_err(|e| e.to_string())?;
    // One test at a time; the kernel frees the lock whatever happens.
    let turn = File::create(dir.join(".lock")).map_err(|e| e.to_string())?;
    turn.lock().map_err(|e| e.to_string())?;
    if whole.exists() {
        return Ok(());
    }
    let pip = ["install", "--quiet", "--disable-pip-version-check"];
    for (venv, packages) in [(dir.join("py"), &PYTHON[..]), (dir.join("apart"), &APART)] {
        ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        ran(Command::new(venv.join("bin/pip")).args(pip).args(packages))?;
    }
    fs::write(whole, "").map_err(|e| e.to_string())
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/e2e/clients")
        .join(name)
}

/// What it printed; else all that it said.
pub fn ran(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    let said = [output.stdout.clone(), output.stderr].concat();
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&said).into_owned()),
    }
}

/// Each client's findings: what it did, or how it failed.
fn all_well(said: &str, clients: &[&str]) {
    let line = said
        .lines()
        .rfind(|l| l.starts_with('{'))
        .unwrap_or_else(|| panic!("{said}"));
    let findings: Value = serde_json::from_str(line).unwrap();
    for client in clients {
        assert_eq!(findings[client], "ok", "{client}: {findings}");
    }
}

/// The guest's own document for a test of it: with the models that are served, because other names end at 404, and with short answers.
pub fn narrowed(document: &mut Value, models: &[&str], tokens_max: Option<u64>) {
    for (name, schema) in document["components"]["schemas"].as_object_mut().unwrap() {
        let Some(properties) = schema["properties"].as_object_mut() else {
            continue;
        };
        if !name.ends_with("Request") || !properties.contains_key("model") {
            continue;
        }
        properties.insert("model".into(), serde_json::json!({"enum": models}));
        let Some(most) = tokens_max else { continue };
        let lengths = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
        let known: Vec<_> = lengths.into_iter().filter(|l| properties.contains_key(*l)).collect();
        for length in &known {
            let short = serde_json::json!({"type": "integer", "minimum": 1, "maximum": most});
            properties.insert((*length).into(), short);
        }
        // One of them must be there: the last, which all but chats have alone.
        if let (Some(length), Some(required)) = (known.last(), schema["required"].as_array_mut())
            && !required.iter().any(|r| r == length)
        {
            required.push((*length).into());
        }
    }
}
