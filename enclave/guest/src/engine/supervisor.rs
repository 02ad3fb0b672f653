//! Watching engines: a dead one is started again a few times, then it is given up. The others go on; with the last one the guest
//! stops. One whose model an administrator unloads ends for good; one that is put out ends and starts again when its time is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hanzo_inference::EngineOrder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::health::until_ready;
use super::process::EngineProcess;
use super::sandbox::{EXIT_REFUSED, EngineSandbox, limits::measured_memory};
use super::wanted::{Wanted, unwanted, wanted_again};
use super::{EngineError, EngineJob};
use crate::options::OperatingLimits;
use crate::stop::{Stop, StopSignal, stop_signal};

/// Why the engines as a whole can serve no more.
pub type EngineStopped = EngineError;

/// How a watcher ended.
enum Ended {
    GivenUp(EngineError),
    Unloaded,
}

/// How long an engine that was put out waits for memory before it looks again.
const MEMORY_AGAIN: Duration = Duration::from_secs(5);

/// Ends engines one by one, by their models' names, and lets them start again.
#[derive(Clone)]
pub struct EngineDoor(Arc<HashMap<String, watch::Sender<Wanted>>>);

impl EngineDoor {
    /// An engine that may not run ends at once, with what it computes. Nothing happens for a model that has none, or had it unloaded.
    pub fn order(&self, model: &str, order: EngineOrder) {
        if let Some(wanted) = self.0.get(model) {
            wanted.send_modify(|wanted| *wanted = wanted.after(order));
        }
    }
}

/// The engines of one boot. Dropping it kills them all.
pub struct Engines {
    stop: StopSignal,
    door: EngineDoor,
    ended: mpsc::Receiver<Ended>,
    /// Engines that are neither given up nor unloaded.
    alive: usize,
    watchers: JoinSet<()>,
}

impl Engines {
    /// Starts one engine per job and waits until each is ready. `on_demand` models more have theirs when somebody asks.
    ///
    /// # Errors
    /// The first [`EngineError`]; engines already started are killed.
    pub async fn start(
        sandbox: &EngineSandbox,
        jobs: Vec<EngineJob>,
        on_demand: usize,
        limits: &OperatingLimits,
    ) -> Result<Self, EngineError> {
        let (stop, stopping) = stop_signal();
        let (report, ended) = mpsc::channel(jobs.len().max(1));
        // Those that may come yet keep the guest up as well.
        let alive = jobs.len().saturating_add(on_demand);
        let mut watchers = JoinSet::new();
        let mut doors = HashMap::new();
        for job in jobs {
            let engine = start_ready(sandbox, &job, limits).await?;
            tracing::info!(model = job.model, pid = engine.id(), "engine ready");
            let watcher = Watcher {
                sandbox: sandbox.clone(),
                job,
                limits: *limits,
                report: report.clone(),
            };
            let (order, wanted) = watch::channel(Wanted::Run);
            doors.insert(watcher.job.model.clone(), order);
            watchers.spawn(watcher.watch(engine, stopping.clone(), wanted));
        }
        Ok(Self {
            stop,
            door: EngineDoor(Arc::new(doors)),
            ended,
            alive,
            watchers,
        })
    }

    /// What orders about single engines come through.
    pub fn door(&self) -> EngineDoor {
        self.door.clone()
    }

    /// Waits until the last engine is given up. Requests for the model of one that was before are refused; its neighbours answer. A guest
    /// whose last model was unloaded goes on: it is asked for receipts.
    pub async fn failed(&mut self) -> EngineStopped {
        while let Some(ended) = self.ended.recv().await {
            self.alive = self.alive.saturating_sub(1);
            match ended {
                Ended::GivenUp(error) if self.alive == 0 => return error,
                Ended::GivenUp(error) => {
                    tracing::error!(alive = self.alive, %error, "ENGINE GIVEN UP: its model is no longer served");
                }
                Ended::Unloaded => tracing::warn!(alive = self.alive, "model unloaded by an administrator"),
            }
        }
        // Every watcher ended without a report: only at shutdown.
        std::future::pending().await
    }

    /// Kills all engines and waits until they are gone.
    pub async fn stop(mut self) {
        self.stop.give();
        while self.watchers.join_next().await.is_some() {}
    }
}

struct Watcher {
    sandbox: EngineSandbox,
    job: EngineJob,
    limits: OperatingLimits,
    report: mpsc::Sender<Ended>,
}

impl Watcher {
    async fn watch(self, mut engine: EngineProcess, mut stopping: Stop, mut wanted: watch::Receiver<Wanted>) {
        let mut times: u32 = 0;
        loop {
            let ended = tokio::select! {
                status = engine.wait() => Some(status),
                () = stopping.given() => return engine.kill().await,
                () = unwanted(&mut wanted) => {
                    engine.kill().await;
                    None
                }
            };
            match ended {
                None => tracing::warn!(model = self.job.model, "engine ended by an administrator's order"),
                Some(status) => {
                    times = times.saturating_add(1);
                    tracing::error!(
                        model = self.job.model,
                        status,
                        times,
                        "engine ended; its requests in flight failed"
                    );
                    if times > self.limits.engine_restarts_max {
                        let error = EngineError::GaveUp {
                            model: self.job.model.clone(),
                            times,
                            status,
                        };
                        let _ = self.report.send(Ended::GivenUp(error)).await;
                        return;
                    }
                }
            }
            let started = tokio::select! {
                started = self.start_when_wanted(&mut wanted) => started,
                () = stopping.given() => return,
            };
            match started {
                Ok(Some(started)) => engine = started,
                Ok(None) => {
                    let _ = self.report.send(Ended::Unloaded).await;
                    return;
                }
                Err(error) => {
                    let _ = self.report.send(Ended::GivenUp(error)).await;
                    return;
                }
            }
            tracing::info!(model = self.job.model, pid = engine.id(), "engine ready again");
        }
    }

    /// `None` once it never may again. An engine that was put out may find its memory taken; it waits then.
    async fn start_when_wanted(
        &self,
        wanted: &mut watch::Receiver<Wanted>,
    ) -> Result<Option<EngineProcess>, EngineError> {
        let mut was_out = false;
        loop {
            was_out |= !wanted.borrow().runs();
            if !wanted_again(wanted).await {
                return Ok(None);
            }
            let started = tokio::select! {
                started = start_ready(&self.sandbox, &self.job, &self.limits) => started,
                () = unwanted(wanted) => continue,
            };
            match started {
                Err(EngineError::Memory { needed, available, .. }) if was_out => {
                    tracing::warn!(
                        model = self.job.model,
                        needed,
                        available,
                        "no memory for an engine that was put out"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(MEMORY_AGAIN) => {}
                        () = unwanted(wanted) => {}
                    }
                }
                started => return started.map(Some),
            }
        }
    }
}

pub(super) async fn start_ready(
    sandbox: &EngineSandbox,
    job: &EngineJob,
    limits: &OperatingLimits,
) -> Result<EngineProcess, EngineError> {
    let limit_ms = limits.engine_start_timeout_ms;
    // Measured again at each start: an engine that ended has given its memory back.
    let memory_bytes = match limits.engine_memory_bytes_max {
        Some(bytes) => bytes,
        None => measured_memory().map_err(|error| EngineError::Sandbox {
            model: job.model.clone(),
            reason: format!("{error} [{}]", error.code()),
        })?,
    };
    if memory_bytes < job.least_memory_bytes {
        return Err(EngineError::Memory {
            model: job.model.clone(),
            needed: job.least_memory_bytes,
            available: memory_bytes,
        });
    }
    let mut engine = EngineProcess::start(sandbox, memory_bytes, job)?;
    let ended = tokio::select! {
        () = until_ready(&job.socket) => {
            if let Some(what) = engine.not_applied() {
                tracing::warn!(model = job.model, what, "THE ENGINE'S SANDBOX IS NOT WHOLE: development only");
            }
            engine.forget_lines();
            return Ok(engine);
        }
        status = engine.wait() => Some(status),
        () = tokio::time::sleep(Duration::from_millis(limit_ms)) => None,
    };
    // The reader of its stderr may still be a moment behind.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let last_lines = engine.last_lines();
    let model = job.model.clone();
    let refused = format!("exit status: {EXIT_REFUSED}");
    Err(match (ended, engine.refusal()) {
        (Some(status), Some(reason)) if status == refused => EngineError::Sandbox { model, reason },
        (ended, _) => not_started(model, ended, limit_ms, last_lines, &mut engine).await,
    })
}

async fn not_started(
    model: String,
    ended: Option<String>,
    limit_ms: u64,
    last_lines: String,
    engine: &mut EngineProcess,
) -> EngineError {
    match ended {
        Some(status) => EngineError::EndedEarly {
            model,
            status,
            last_lines,
        },
        None => {
            engine.kill().await;
            EngineError::NotReady {
                model,
                limit_ms,
                last_lines,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sandbox::Isolation;

    fn job(dir: &std::path::Path, command: &[&str]) -> EngineJob {
        EngineJob {
            model: "m".into(),
            command: command.iter().map(|s| (*s).to_owned()).collect(),
            server: None,
            model_dir: dir.to_owned(),
            adapter: None,
            socket: dir.join("s"),
            root: dir.join("root"),
            index: 0,
            group: 0,
            context_tokens: 64,
            least_memory_bytes: 0,
        }
    }

    /// The launcher of these tests: this program, started again.
    #[test]
    fn launcher() {
        let mut arguments = std::env::args().skip_while(|argument| argument != "--");
        if arguments.next().is_some() {
            let refused = super::super::sandbox::launch(arguments);
            assert_ne!(refused, std::process::ExitCode::SUCCESS);
            std::process::exit(EXIT_REFUSED.into());
        }
    }

    fn sandbox() -> EngineSandbox {
        let program = std::env::current_exe().unwrap().display().to_string();
        let arguments = ["--exact", "engine::supervisor::tests::launcher", "--nocapture", "--"];
        EngineSandbox {
            launcher: std::iter::once(program).chain(arguments.map(str::to_owned)).collect(),
            isolation: Isolation::AsFarAsPossible,
        }
    }

    async fn error_of(command: &[&str], limit_ms: u64) -> EngineError {
        let dir = tempfile::tempdir().unwrap();
        let job = job(dir.path(), command);
        std::fs::create_dir(&job.root).unwrap();
        let limits = OperatingLimits {
            engine_start_timeout_ms: limit_ms,
            ..Default::default()
        };
        Engines::start(&sandbox(), vec![job], 0, &limits).await.err().unwrap()
    }

    #[tokio::test]
    async fn an_engine_that_does_not_start_is_reported_with_its_reason() {
        assert_eq!(error_of(&[], 1000).await.code(), "engine.no_command");
        let absent = error_of(&["/nonexistent/engine"], 5000).await;
        assert_eq!(absent.code(), "engine.sandbox");
        assert!(absent.to_string().ends_with("[sandbox.path]"), "{absent}");
        let early = error_of(&["/bin/sh", "-c", "echo no such model >&2; exit 3"], 5000).await;
        assert_eq!(early.code(), "engine.ended_early");
        assert!(early.to_string().contains("exit status: 3"), "{early}");
        assert!(early.to_string().contains("no such model"), "{early}");
        // Stopped, not sleeping: a sandboxed shell becomes no other program.
        let late = error_of(&["/bin/sh", "-c", "echo loading >&2; kill -STOP $$"], 2000).await;
        assert_eq!(late.code(), "engine.not_ready");
        assert!(late.to_string().contains("loading"), "{late}");
    }
}
