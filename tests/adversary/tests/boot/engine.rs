//! The stand-in engine is this very test program, started again by the guest: the test acts only when there is a
//! `--socket` among the arguments.

use std::path::PathBuf;

/// How the guest starts it. What follows `--` is for the engine, not for the test harness.
pub fn command() -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    let arguments = ["--exact", "engine::stand_in_engine", "--nocapture", "--"];
    std::iter::once(program).chain(arguments.map(str::to_owned)).collect()
}

fn argument(name: &str) -> Option<PathBuf> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.nth(1).map(PathBuf::from)
}

#[test]
fn stand_in_engine() {
    let (Some(socket), Some(model)) = (argument("--socket"), argument("--model-dir")) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(hanzo_tests_adversary::engine::serve(&socket, &model))
        .unwrap();
}
