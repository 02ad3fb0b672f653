//! What a node of the chain can still do once its launcher has confined it: an observer, and a validator that makes evidence.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{is_root, not_run, outcomes, run, text};

const UID: &str = "60900";

/// Programs without shared libraries, as nodes in images are. `None`, loudly, where they cannot be made.
fn compiled(compiler: &str, options: &[&str], source: &Path, text_of_it: &str) -> Option<PathBuf> {
    std::fs::write(source, text_of_it).unwrap();
    let program = source.with_extension("");
    let made = Command::new(compiler)
        .args(options)
        .arg("-o")
        .args([&program, source])
        .output();
    match made {
        Ok(made) if made.status.success() => Some(program),
        Ok(made) => {
            not_run(&format!(
                "no static program can be compiled here: {}",
                text(&made.stderr)
            ));
            None
        }
        Err(error) => {
            not_run(&format!("{compiler}: {error}"));
            None
        }
    }
}

fn probe(dir: &Path) -> Option<PathBuf> {
    let options = ["--edition", "2024", "-C", "target-feature=+crt-static"];
    compiled("rustc", &options, &dir.join("probe.rs"), include_str!("node/probe.rs"))
}

struct Node {
    dir: tempfile::TempDir,
    program: PathBuf,
    /// Of four servers: two whose ports the node takes at another address, the peer's, and another's.
    servers: [TcpListener; 4],
}

impl Node {
    fn new() -> Option<Self> {
        if !is_root() {
            not_run("a node's launcher needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for name in ["state", "root"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["shown", "hidden"] {
            std::fs::write(dir.path().join(name), b"text").unwrap();
        }
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
        Some(Self {
            program: probe(dir.path())?,
            servers: [listener(), listener(), listener(), listener()],
            dir,
        })
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The ports: own ones, then the peer's and the other's.
    fn ports(&self) -> [String; 4] {
        [0, 1, 2, 3].map(|n: usize| self.servers[n].local_addr().unwrap().port().to_string())
    }

    fn arguments(&self, place: &str) -> Vec<String> {
        let mut words = vec![place.to_owned(), self.at("state"), self.at("shown"), self.at("hidden")];
        words.extend(self.ports());
        words
    }

    /// What it says within the sandbox, `None`, loudly, without Landlock; `more` are options of the launcher.
    fn confined(&self, more: &[&str]) -> Option<BTreeMap<String, String>> {
        self.launched(more, &self.program, self.arguments("inside"))
    }

    fn launched(&self, more: &[&str], program: &Path, arguments: Vec<String>) -> Option<BTreeMap<String, String>> {
        let [own, _, peer, _] = self.ports();
        let mut words = vec![env!("CARGO_BIN_EXE_hanzo-guest").to_owned(), "node-sandbox".into()];
        let (root, state, shown) = (self.at("root"), self.at("state"), self.at("shown"));
        for (name, value) in [
            ("--uid", UID),
            ("--root", &root),
            ("--state", &state),
            ("--read", &shown),
            ("--bind", &own),
            ("--connect", &peer),
        ] {
            words.extend([name.to_owned(), value.to_owned()]);
        }
        words.extend(more.iter().map(|word| (*word).to_owned()));
        words.extend(["--".to_owned(), program.display().to_string()]);
        words.extend(arguments);
        let output = run(&words);
        let said = text(&output.stderr);
        if said.contains("[sandbox.landlock]") {
            not_run(&said);
            return None;
        }
        assert!(output.status.success(), "{said}");
        for name in ["file", "dir"] {
            let path = self.dir.path().join("state").join(name);
            let _ = std::fs::remove_dir(&path).or_else(|_| std::fs::remove_file(&path));
        }
        Some(outcomes(&output))
    }
}

const REFUSED: &str = "PermissionDenied";
const ABSENT: &str = "NotFound";

/// What no node gets, whatever it votes.
fn nothing_else(told: &BTreeMap<String, String>) {
    for (name, outcome) in [
        ("bind_own", "done"),
        ("bind_other", REFUSED),
        ("bind_any", REFUSED),
        ("call_peer", "done"),
        ("call_other", REFUSED),
        ("udp", REFUSED),
        ("read_shown", "done"),
        ("read_hidden", ABSENT),
        ("read_shadow", ABSENT),
        ("read_version", REFUSED),
        ("read_init", REFUSED),
        ("read_memory", ABSENT),
        ("read_tpm", ABSENT),
        ("write_state", "done"),
        ("write_root", REFUSED),
        ("dir_root", REFUSED),
        ("run_own", REFUSED),
        ("NoNewPrivs", "1"),
        ("Uid", "60900,60900,60900,60900"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(outcome), "{name}: {told:?}");
    }
    // By the file's owner, or by its mount.
    let written = told.get("write_shown").map(String::as_str);
    assert!(matches!(written, Some(REFUSED | "ReadOnlyFilesystem")), "{told:?}");
}

fn capabilities(told: &BTreeMap<String, String>, expected: u64) {
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"] {
        let got = u64::from_str_radix(&told[set], 16).unwrap();
        assert_eq!(got, expected, "{set}: {told:?}");
    }
}

#[test]
fn an_observer_speaks_on_its_port_and_to_those_it_follows_and_sees_its_files() {
    let Some(node) = Node::new() else { return };
    // The same program outside: what is refused below is possible here.
    let free = run(&[vec![node.program.display().to_string()], node.arguments("outside")].concat());
    let free = outcomes(&free);
    for name in [
        "bind_second",
        "bind_any",
        "call_other",
        "udp",
        "write_shown",
        "read_hidden",
        "dir_state",
        "run_own",
    ] {
        assert_eq!(free.get(name).map(String::as_str), Some("done"), "{name}: {free:?}");
    }
    let state = node.dir.path().join("state");
    std::fs::remove_dir(state.join("dir")).unwrap();
    std::fs::remove_file(state.join("file")).unwrap();

    let Some(told) = node.confined(&[]) else { return };
    nothing_else(&told);
    for name in ["bind_second", "dir_state", "read_command_line"] {
        assert_eq!(told.get(name).map(String::as_str), Some(REFUSED), "{name}: {told:?}");
    }
    capabilities(&told, 0);
}

/// Landlock's rules about ports hold for TCP that binds and connects; the rest is refused before.
#[test]
fn a_node_speaks_no_other_protocol_and_opens_no_connection_with_data() {
    let Some(node) = Node::new() else { return };
    let source = node.dir.path().join("sockets.c");
    let Some(program) = compiled("cc", &["-static", "-O1"], &source, include_str!("node/sockets.c")) else {
        return;
    };
    let [.., other] = node.ports();
    let free = outcomes(&run(&[program.display().to_string(), other.clone()]));
    // A kernel may know no MPTCP, and let nobody open a connection with data.
    for name in ["plain", "raw"] {
        assert_eq!(free.get(name).map(String::as_str), Some("done"), "{free:?}");
    }
    let Some(told) = node.launched(&[], &program, vec![other]) else {
        return;
    };
    assert_eq!(told.get("plain").map(String::as_str), Some("done"), "{told:?}");
    for name in ["mptcp", "raw", "fast_open"] {
        assert_eq!(told.get(name).map(String::as_str), Some("EPERM"), "{name}: {told:?}");
    }
}

#[test]
fn a_validator_takes_links_and_makes_evidence_besides_and_gets_nothing_else() {
    let Some(node) = Node::new() else { return };
    let [_, second, ..] = node.ports();
    // SEV-SNP and TDX: CAP_DAC_OVERRIDE (1) opens no file that the list lacks. A TPM takes none.
    for (evidence, kept) in [("tsm", 1 << 1), ("tpm", 0)] {
        let Some(told) = node.confined(&["--bind", &second, "--evidence", evidence]) else {
            return;
        };
        nothing_else(&told);
        for name in ["bind_second", "dir_state", "read_command_line"] {
            assert_eq!(told.get(name).map(String::as_str), Some("done"), "{name}: {told:?}");
        }
        capabilities(&told, kept);
    }
}

#[test]
fn a_node_without_a_port_of_its_own_or_with_two_words_about_evidence_is_refused() {
    let launch = |more: &[&str]| {
        let mut words = vec![env!("CARGO_BIN_EXE_hanzo-guest"), "node-sandbox", "--uid", UID];
        words.extend(["--root", "/nonexistent", "--state", "/nonexistent"]);
        words.extend(more);
        words.extend(["--", "/bin/true"]);
        let output = run(&words.into_iter().map(str::to_owned).collect::<Vec<_>>());
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = launch(&[]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.starts_with("hanzo-validator: node-sandbox: "), "{said}");
    let (code, said) = launch(&["--bind", "1", "--vote", "/nonexistent", "--evidence", "tpm"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("cannot be used with"), "{said}");
}
