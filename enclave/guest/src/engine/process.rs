//! One engine process.

use std::collections::VecDeque;
use std::fs;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use hanzo_model::LORA_FILE;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::sandbox::{EngineSandbox, MARK, NOT_APPLIED};
use super::{EngineError, EngineJob};

/// Of a server behind an engine (`enclave/engine-upstream/SPEC.md`).
const SERVER_SOCKET: &str = "upstream.sock";
const LINES_KEPT: usize = 12;
const LINE_BYTES_MAX: usize = 400;

/// A running engine; killed when dropped.
pub(super) struct EngineProcess {
    child: Child,
    /// Of an engine that starts a server, which outlives it otherwise.
    group: Option<Pid>,
    lines: Lines,
}

impl EngineProcess {
    /// Starts the engine of `job` in its sandbox, in a process group of its own so that a terminal's Ctrl-C reaches only us.
    pub(super) fn start(sandbox: &EngineSandbox, memory_bytes: u64, job: &EngineJob) -> Result<Self, EngineError> {
        if job.command.is_empty() {
            return Err(EngineError::NoCommand);
        }
        // A socket that an earlier engine left would make the next one fail to bind.
        let _ = fs::remove_file(&job.socket);
        let _ = fs::remove_file(job.socket.with_file_name(SERVER_SOCKET));
        let launcher = sandbox.command(job, memory_bytes);
        let adapter = job.adapter.iter().flat_map(|adapter| {
            let file = adapter.dir.join(LORA_FILE).display().to_string();
            let scale = adapter.scale_micros.to_string();
            ["--adapter".to_owned(), file, "--adapter-scale-micros".to_owned(), scale]
        });
        let (program, arguments) = launcher.split_first().ok_or(EngineError::NoCommand)?;
        let mut child = Command::new(program)
            .args(arguments)
            .args(&job.command)
            .arg("--model-dir")
            .arg(&job.model_dir)
            .arg("--socket")
            .arg(&job.socket)
            .args(["--context-tokens", &job.context_tokens.to_string()])
            .args(adapter)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| EngineError::Spawn {
                model: job.model.clone(),
                program: program.clone(),
                source,
            })?;
        let lines = Lines::default();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(lines.clone().follow(stderr));
        }
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = leader.filter(|_| job.server.is_some());
        Ok(Self { child, group, lines })
    }

    /// Waits for its end; says how it ended.
    pub(super) async fn wait(&mut self) -> String {
        let status = self.child.wait().await;
        self.end_group();
        match status {
            Ok(status) => status.to_string(),
            Err(e) => e.to_string(),
        }
    }

    /// From here on its lines are no longer kept.
    pub(super) fn forget_lines(&self) {
        self.lines.close();
    }

    pub(super) fn last_lines(&self) -> String {
        self.lines.text()
    }

    /// What the launcher said last, if it is all that was said: then no engine ever ran.
    pub(super) fn refusal(&self) -> Option<String> {
        self.lines.last_with(MARK)
    }

    /// What of the sandbox was left out, in the launcher's words.
    pub(super) fn not_applied(&self) -> Option<String> {
        self.lines.first_with(NOT_APPLIED)
    }

    /// Kills it by its process id and waits until it is gone.
    pub(super) async fn kill(&mut self) {
        // ESRCH means that it is gone already.
        self.end_group();
        let _ = self.child.kill().await;
    }

    /// Ends what the engine started. A group's number is free only once its last process is reaped, and the guest alone starts groups:
    /// called at once after that, it meets no other.
    fn end_group(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        self.end_group();
    }
}

/// The last lines of stderr, until they are closed.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    closed: bool,
    lines: VecDeque<String>,
}

impl Lines {
    async fn follow(self, stderr: impl AsyncRead + Unpin) {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            // A line without end is taken in pieces, so that no engine can fill our memory.
            match (&mut reader).take(4096).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.push(&line),
            }
        }
    }

    fn push(&self, line: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if kept.closed {
            return;
        }
        if kept.lines.len() == LINES_KEPT {
            kept.lines.pop_front();
        }
        let text: String = line
            .iter()
            .take(LINE_BYTES_MAX)
            .filter(|b| matches!(b, b' '..=b'~'))
            .map(|b| char::from(*b))
            .collect();
        if !text.trim().is_empty() {
            kept.lines.push_back(text);
        }
    }

    fn close(&self) {
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        kept.closed = true;
        kept.lines.clear();
    }

    fn last_with(&self, mark: &str) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        kept.lines.back()?.strip_prefix(mark).map(str::to_owned)
    }

    fn first_with(&self, mark: &str) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        kept.lines.front()?.strip_prefix(mark).map(str::to_owned)
    }

    fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if kept.lines.is_empty() {
            return "none".into();
        }
        let lines: Vec<_> = kept.lines.iter().map(String::as_str).collect();
        lines.join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_bounded_printable_and_gone_once_the_engine_serves() {
        let lines = Lines::default();
        let mut noise = Vec::new();
        for i in 0..40 {
            noise.extend_from_slice(format!("line {i} \x1b[31m{}\n", "x".repeat(9000)).as_bytes());
        }
        noise.extend_from_slice("letzte Zeile: größer\n".as_bytes());
        lines.clone().follow(&noise[..]).await;
        let text = lines.text();
        assert!(text.ends_with("letzte Zeile: grer"), "{text}");
        assert!(text.len() <= LINES_KEPT * (LINE_BYTES_MAX + 3) && !text.contains('\x1b'));
        lines.close();
        lines.push(b"a prompt");
        assert_eq!(lines.text(), "none");
    }
}
