//! A sandbox that cannot be made is an engine that does not start, with a code.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::{Place, is_root, not_run, run, text};

const LANDLOCK_CREATE_RULESET: i64 = 444;
const SECCOMP: i64 = 317;
const UNSHARE: i64 = 272;

fn refused(output: &Output, code: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("engine-sandbox: ") && last.ends_with(&format!("[{code}]")),
        "{said}"
    );
}

fn with(words: Vec<String>, engine: &str) -> Vec<String> {
    words.into_iter().chain([engine.to_owned()]).collect()
}

/// Started again by the tests below: runs what follows `--` on a kernel that lacks one call.
#[test]
fn on_a_kernel_without() {
    let mut words = std::env::args().skip_while(|word| word != "lacking");
    let (Some(_), Some(call)) = (words.next(), words.next()) else {
        return;
    };
    let rules: BTreeMap<_, _> = [(call.parse().unwrap(), vec![])].into();
    let absent = SeccompAction::Errno(38);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, absent, TargetArch::x86_64).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
    let words: Vec<_> = words.collect();
    panic!("{}", Command::new(&words[0]).args(&words[1..]).exec());
}

fn lacking(call: i64, words: Vec<String>) -> Output {
    let own = std::env::current_exe().unwrap().display().to_string();
    let arguments = ["--exact", "typed::on_a_kernel_without", "--nocapture", "--", "lacking"];
    let mut all: Vec<_> = std::iter::once(own).chain(arguments.map(str::to_owned)).collect();
    all.push(call.to_string());
    all.extend(words);
    run(&all)
}

#[test]
fn a_kernel_without_landlock_or_seccomp_gets_no_engine() {
    let place = Place::new();
    let words = with(place.launcher(false), "/bin/true");
    refused(&lacking(LANDLOCK_CREATE_RULESET, words.clone()), "sandbox.landlock");
    refused(&lacking(SECCOMP, words.clone()), "sandbox.seccomp");
    // The nearest kernel that has both.
    assert!(lacking(9999, words).status.success());
}

#[test]
fn what_the_whole_sandbox_lacks_is_refused_and_otherwise_said() {
    let place = Place::new();
    let mut words = with(place.launcher(false), "/bin/true");
    let said = text(&run(&words).stderr);
    assert!(said.starts_with("engine-sandbox: NOT APPLIED: own user"), "{said}");
    words.insert(2, "--whole".into());
    refused(&run(&words), "sandbox.no_identity");

    if !is_root() {
        return not_run("only root can give an engine a user of its own");
    }
    let words = with(place.launcher(true), "/bin/true");
    let whole = run(&words);
    assert!(
        whole.status.success() && whole.stderr.is_empty(),
        "{}",
        text(&whole.stderr)
    );
    refused(&lacking(UNSHARE, words.clone()), "sandbox.namespace");
    let possible: Vec<_> = words.into_iter().filter(|word| word != "--whole").collect();
    let output = lacking(UNSHARE, possible);
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("NOT APPLIED"), "{}", text(&output.stderr));
}

#[test]
fn a_program_or_a_model_that_is_not_there_is_named() {
    let place = Place::new();
    refused(&run(&with(place.launcher(false), "/nonexistent")), "sandbox.path");
    // Not a program: Landlock allows it, the kernel does not.
    let weights = place.at("model/weights").display().to_string();
    refused(&run(&with(place.launcher(false), &weights)), "sandbox.exec");
    std::fs::remove_dir_all(place.at("model")).unwrap();
    refused(&run(&with(place.launcher(false), "/bin/true")), "sandbox.path");
    let usage = run(&[env!("CARGO_BIN_EXE_hanzo-guest").to_owned(), "engine-sandbox".into()]);
    assert_eq!(usage.status.code(), Some(78));
}
