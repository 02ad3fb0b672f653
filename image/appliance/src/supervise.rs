//! Each role is this same executable in a process of its own. Children die with their parent, log to a file each, and
//! say on standard output when they are ready.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::error::ApplianceError;

/// First word of the line by which a role says where it listens.
pub(crate) const READY: &str = "hanzo-ready";
/// The very file that runs and was measured, even if another was put in its place meanwhile.
pub(crate) const THIS_EXECUTABLE: &str = "/proc/self/exe";
/// Lines of a log that an error shows.
const LAST_LINES: usize = 15;

/// A running role.
pub(crate) struct Role {
    name: &'static str,
    child: Child,
    ready: Option<oneshot::Receiver<String>>,
    last: Arc<Mutex<VecDeque<String>>>,
    log: PathBuf,
}

impl Role {
    /// Starts `hanzo role NAME ARGS…`.
    pub(crate) fn start(name: &'static str, args: Vec<OsString>, logs: &Path) -> Result<Self, ApplianceError> {
        let log = logs.join(format!("{name}.log"));
        let mut child = Command::new(THIS_EXECUTABLE)
            .arg0("hanzo")
            .arg("role")
            .arg(name)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal reaches the parent alone; it stops the children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(ApplianceError::io("cannot start", THIS_EXECUTABLE))?;
        let last = Arc::new(Mutex::new(VecDeque::new()));
        let (tell, ready) = oneshot::channel();
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            tokio::spawn(collect(out, log.clone(), last.clone(), Some(tell)));
            tokio::spawn(collect(err, log.clone(), last.clone(), None));
        }
        Ok(Self {
            name,
            child,
            ready: Some(ready),
            last,
            log,
        })
    }

    /// Waits for the ready line; returns what follows the word.
    pub(crate) async fn ready(&mut self, limit: Duration) -> Result<String, ApplianceError> {
        let Some(ready) = self.ready.take() else {
            return Ok(String::new());
        };
        let said = tokio::select! {
            said = ready => said.ok(),
            () = tokio::time::sleep(limit) => {
                return Err(ApplianceError::NotReady {
                    name: self.name, seconds: limit.as_secs(), log: self.last_lines(), path: self.log.clone(),
                });
            }
        };
        match said {
            Some(at) => Ok(at),
            // Its output ended without the line: it is stopping.
            None => Err(self.stopped().await),
        }
    }

    /// Resolves when the role ends, which it should not.
    pub(crate) async fn stopped(&mut self) -> ApplianceError {
        let status = self.child.wait().await;
        // Let the readers take in the last lines.
        tokio::time::sleep(Duration::from_millis(100)).await;
        ApplianceError::ChildStopped {
            name: self.name,
            status: status.map_or_else(|e| e.to_string(), describe),
            log: self.last_lines(),
            path: self.log.clone(),
        }
    }

    /// SIGTERM, then SIGKILL when it takes too long.
    pub(crate) async fn stop(mut self, limit: Duration) {
        if let Some(pid) = self
            .child
            .id()
            .and_then(|p| i32::try_from(p).ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(limit, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    fn last_lines(&self) -> String {
        let lines = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|l| format!("  {}: {l}\n", self.name)).collect()
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

async fn collect(
    pipe: impl tokio::io::AsyncRead + Unpin,
    log: PathBuf,
    last: Arc<Mutex<VecDeque<String>>>,
    mut ready: Option<oneshot::Sender<String>>,
) {
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log)
        .await
        .ok();
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(at) = line.strip_prefix(READY) {
            if let Some(tell) = ready.take() {
                // The parent may have given up.
                let _ = tell.send(at.trim().to_owned());
            }
            continue;
        }
        if let Some(file) = &mut file {
            // A full disk must not stop the appliance; the last lines are in memory as well.
            let _ = file.write_all(format!("{line}\n").as_bytes()).await;
            let _ = file.flush().await;
        }
        let mut kept = last.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(line.chars().take(500).collect());
        if kept.len() > LAST_LINES {
            kept.pop_front();
        }
    }
}
