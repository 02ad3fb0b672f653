//! Programs and schemas that check the files, if they are here.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What `tests/deploy/fetch-tools` filled.
fn fetched() -> Option<PathBuf> {
    let default = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/hanzo-deploy-tools"));
    std::env::var_os("HANZO_DEPLOY_TOOLS")
        .map(PathBuf::from)
        .or_else(default)
        .filter(|dir| dir.is_dir())
}

/// Says that a check did not run, past the test harness's capture.
pub fn say_missing(tool: &str, what: &str) {
    let _ = writeln!(
        std::io::stderr(),
        "{tool} MISSING: {what}: not run (tests/deploy/fetch-tools DIR gets the tools of registries)"
    );
}

/// A program of the system, if it is there.
pub fn system(program: &str) -> Option<Command> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|f| f.is_file());
    found.map(Command::new)
}

/// Python with a fetched module, if it can be imported.
pub fn python(module: &str) -> Option<Command> {
    let python = || {
        let mut command = Command::new("python3");
        command
            .env("PYTHONPATH", fetched()?)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Some(command)
    };
    let tried = python()?
        .args(["-c", &format!("import {module}")])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success()).then(python).flatten()
}

/// A fetched program, if it is there.
pub fn fetched_program(name: &str) -> Option<Command> {
    let program = fetched()?.join("bin").join(name);
    program.is_file().then(|| Command::new(program))
}

/// Directories with libvirt's schemas, the fetched ones first.
pub fn libvirt_schemas() -> Vec<PathBuf> {
    let fetched = fetched().map(|dir| dir.join("libvirt-schemas"));
    let installed = Some(PathBuf::from("/usr/share/libvirt/schemas"));
    let dirs = [fetched, installed].into_iter().flatten();
    dirs.filter(|dir| dir.join("domain.rng").is_file()).collect()
}

/// Runs a command with `input` on its standard input.
pub fn output(command: &mut Command, input: &[u8]) -> Output {
    let shown = format!("{command:?}");
    let failed = |e: std::io::Error| -> Output { panic!("{shown}: {e}") };
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match piped.spawn() {
        Ok(child) => child,
        Err(e) => return failed(e),
    };
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // A program that refuses before it has read everything has said why: that the pipe is closed then is no error.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output().unwrap_or_else(failed)
    })
}

/// What a program said, both streams.
pub fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

/// An empty directory with executable files of these paths in it.
pub fn with_programs(root: &Path, programs: &[&str]) {
    use std::os::unix::fs::PermissionsExt as _;
    for program in programs {
        let path = root.join(program.trim_start_matches('/'));
        let made = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, "#!/bin/true\n"))
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)));
        made.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
