//! When memory runs out the engine dies, and nobody else: shown in a control group of our own, which only root can make.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{PYTHON, Place, is_root, not_run, python_is_here};

const GROUP_BYTES: u64 = 128 << 20;
/// The neighbour is bigger than the engine ever gets: without the score the kernel would choose it.
const NEIGHBOUR: &str = "data = bytearray(80 << 20)\nprint('here', flush=True)\nimport time\ntime.sleep(60)";
const GREEDY: &str = "held = []\nwhile True: held.append(bytearray(1 << 20))";

struct Group(PathBuf);

impl Group {
    /// Version 1 or 2 of control groups, as the machine has it.
    fn new() -> Option<Self> {
        let name = format!("hanzo-test-{}", std::process::id());
        let candidates = [
            (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
            (Path::new("/sys/fs/cgroup"), "memory.max"),
        ];
        for (root, limit) in candidates {
            let dir = root.join(&name);
            if root.join("cgroup.procs").exists() && fs::create_dir(&dir).is_ok() {
                let group = Self(dir);
                if fs::write(group.0.join(limit), GROUP_BYTES.to_string()).is_ok() {
                    return Some(group);
                }
            }
        }
        None
    }

    /// Runs `words` inside.
    fn command(&self, words: &[String]) -> Command {
        let join = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.0.display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &join, "sh"]).args(words);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn out_of_memory_ends_the_engine_alone() {
    if !python_is_here() {
        return;
    }
    let Some(group) = is_root().then(Group::new).flatten() else {
        return not_run("a control group with a bound on memory needs root and the memory controller");
    };
    let words = [PYTHON, "-I", "-S", "-c", NEIGHBOUR].map(str::to_owned);
    let mut neighbour = group.command(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(neighbour.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "here\n");

    let place = Place::new();
    let mut words = place.launcher(true);
    words.extend([PYTHON, "-I", "-S", "-c", GREEDY].map(str::to_owned));
    let status = group.command(&words).status().unwrap();
    let lives = neighbour.try_wait().unwrap().is_none();
    neighbour.kill().unwrap();
    neighbour.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    assert!(lives, "the neighbour died with it");
}
