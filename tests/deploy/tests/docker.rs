//! The Dockerfiles: what they start from, build with and leave in the image. No image was built by these tests.

use std::path::{Path, PathBuf};

use hanzo_tests_deploy::files::{deploy, ending, root, text};
use hanzo_tests_deploy::tools::{fetched_program, output, said, say_missing};

/// An instruction and its arguments, continued lines joined, comments left out.
type Instruction = (String, String);

fn instructions(dockerfile: &str) -> Vec<Instruction> {
    let code: Vec<_> = dockerfile
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty())
        .collect();
    let joined = code.join("\n").replace("\\\n", "");
    let split = joined
        .lines()
        .map(|l| l.split_once(' ').unwrap_or_else(|| panic!("{l}")));
    split
        .map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()))
        .collect()
}

fn files() -> Vec<PathBuf> {
    let found = ending(&deploy("docker"), ".Dockerfile");
    assert_eq!(found.len(), 4);
    found
}

fn wrong(dockerfile: &str) -> Vec<String> {
    let all = instructions(dockerfile);
    let of = |name: &str| {
        all.iter()
            .filter(|(n, _)| n == name)
            .map(|(_, rest)| rest.as_str())
            .collect::<Vec<_>>()
    };
    let mut wrong = Vec::new();
    for base in of("FROM") {
        let base = base.split(' ').next().unwrap();
        let argument = base.strip_prefix("${").and_then(|b| b.strip_suffix('}'));
        // An argument without a default that is looked at before anything runs, or nothing at all.
        let guarded = argument.is_some_and(|name| {
            of("ARG").contains(&name) && dockerfile.contains(&format!("case \"${{{name}}}\" in *@sha256:*) ;; *)"))
        });
        if base != "scratch" && !guarded {
            wrong.push(format!("FROM {base}"));
        }
    }
    if of("ARG").iter().any(|argument| argument.contains('=')) {
        wrong.push("ARG with a default".into());
    }
    if !of("ADD").is_empty() {
        wrong.push("ADD".into());
    }
    if of("RUN")
        .iter()
        .any(|run| run.contains("cargo build") && !run.contains("--locked"))
    {
        wrong.push("cargo build without --locked".into());
    }
    if of("RUN")
        .iter()
        .any(|run| ["curl ", "wget ", "git clone", "| sh"].iter().any(|w| run.contains(w)))
    {
        wrong.push("a download that nothing pins".into());
    }
    let last = all.iter().rposition(|(name, _)| name == "FROM").unwrap_or_default();
    let at_end = |name: &str| {
        all[last..]
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, rest)| rest.as_str())
    };
    if at_end("USER") != Some("65532:65532") {
        wrong.push("USER".into());
    }
    // A list: no shell between the program and its signals.
    if !at_end("ENTRYPOINT").is_some_and(|e| e.starts_with("[\"/usr/bin/hanzo-")) {
        wrong.push("ENTRYPOINT".into());
    }
    wrong
}

#[test]
fn bases_are_digests_builds_are_locked_and_programs_are_nobody_s() {
    for file in files() {
        assert_eq!(wrong(&text(&file)), [""; 0], "{}", file.display());
    }
    let good = text(&deploy("docker/proxy.Dockerfile"));
    for (from, to, named) in [
        (
            "FROM ${RUST_IMAGE}",
            "FROM docker.io/library/rust:latest",
            "FROM docker.io/library/rust:latest",
        ),
        ("in *@sha256:*)", "in *)", "FROM ${RUST_IMAGE}"),
        (
            "ARG RUST_IMAGE\nFROM",
            "ARG RUST_IMAGE=rust\nFROM",
            "ARG with a default",
        ),
        ("COPY . .", "ADD . .", "ADD"),
        ("--locked ", "", "cargo build without --locked"),
        ("USER 65532:65532\n", "", "USER"),
        ("[\"/usr/bin/hanzo-proxy\"]", "/usr/bin/hanzo-proxy", "ENTRYPOINT"),
    ] {
        let broken = good.replace(from, to);
        assert_ne!(broken, good, "{from}");
        assert!(
            wrong(&broken).iter().any(|w| w == named),
            "{named}: {:?}",
            wrong(&broken)
        );
    }
}

#[test]
fn what_needs_no_shell_has_none() {
    for name in ["proxy", "verify", "kbs"] {
        let all = instructions(&text(&deploy(&format!("docker/{name}.Dockerfile"))));
        let (_, last) = all.iter().rfind(|(n, _)| n == "FROM").unwrap();
        assert_eq!(last, "scratch", "{name}");
    }
}

#[test]
fn they_build_packages_of_this_workspace_from_its_root() {
    for file in files() {
        let dockerfile = text(&file);
        let package = dockerfile
            .split(" -p ")
            .nth(1)
            .and_then(|p| p.split_whitespace().next())
            .unwrap();
        let folder = match package {
            "hanzo-proxy" => "host-proxy",
            "hanzo-kbs" => "kbs/server",
            "hanzo-verify" => "verifier/cli",
            "hanzo-image" => "image",
            other => panic!("{other}"),
        };
        let manifest = text(&root().join(folder).join("Cargo.toml"));
        assert!(manifest.contains(&format!("name = \"{package}\"")), "{package}");
        // Neither history nor build outputs go to the builder.
        let ignored = text(Path::new(&format!("{}.dockerignore", file.display())));
        assert!(ignored.lines().any(|l| l == ".git") && ignored.lines().any(|l| l == "target"));
    }
}

#[test]
fn hadolint_finds_nothing() {
    let lint = |dockerfile: &str| {
        let mut hadolint = fetched_program("hadolint")?;
        hadolint.args(["--no-color", "--failure-threshold", "style", "-"]);
        Some(output(&mut hadolint, dockerfile.as_bytes()))
    };
    for file in files() {
        let dockerfile = text(&file);
        let Some(found) = lint(&dockerfile) else {
            return say_missing("HADOLINT", "the Dockerfiles were not linted");
        };
        assert!(found.status.success(), "{}: {}", file.display(), said(&found));
        let refused = lint(&dockerfile.replace("COPY . .", "ADD . .")).unwrap();
        assert!(
            !refused.status.success() && said(&refused).contains("DL3020"),
            "{}",
            said(&refused)
        );
    }
}
