//! `hanzo chain run`: the validators of a folder as processes of this one, from the first candidate to Ctrl-C.

use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hanzo_chain_types::faults;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{RunArgs, StatusArgs};
use crate::node::NodeArgs;
use crate::output::{Output, out};
use crate::{ChainError, NodeClient, files, genesis, show, spread};

const PROGRAM: &str = "hanzo-validator-simulated";
/// What it leaves in its folder when it is told to stop.
const KEPT: &str = "stopped.key";
const POLL: Duration = Duration::from_millis(200);
/// After SIGTERM.
const STOP: Duration = Duration::from_secs(10);
/// A validator that ended is started again, but not at once again and again.
const AGAIN: Duration = Duration::from_secs(5);

struct Validator {
    which: usize,
    folder: PathBuf,
    child: Child,
    started: Instant,
}

impl Validator {
    fn log(folder: &Path) -> PathBuf {
        folder.join("validator.log")
    }

    fn start(program: &Path, which: usize, folder: PathBuf) -> Result<Self, ChainError> {
        // What an earlier process said of itself.
        let _ = std::fs::remove_file(folder.join("ready.json"));
        let log = Self::log(&folder);
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(&log);
        let file = file.map_err(ChainError::io("cannot write", &log))?;
        let errors = file.try_clone().map_err(ChainError::io("cannot write", &log))?;
        let child = Command::new(program)
            .arg("--dir")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            // Ctrl-C in the terminal reaches this program alone; it stops the validators.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(ChainError::io("cannot start", program))?;
        Ok(Self {
            which,
            folder,
            child,
            started: Instant::now(),
        })
    }

    fn ended(&self, what: String) -> ChainError {
        ChainError::Validator {
            which: self.which,
            what,
            log: Self::log(&self.folder),
        }
    }

    async fn stop(mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Signals that ask this program to stop.
struct Stopping(Vec<Signal>);

impl Stopping {
    fn listen() -> Result<Self, ChainError> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let all = kinds.into_iter().map(signal).collect::<Result<_, _>>();
        Ok(Self(all.map_err(ChainError::io("cannot listen for", "signals"))?))
    }

    async fn came(&mut self) {
        let [int, term, hup] = &mut self.0[..] else {
            return std::future::pending().await;
        };
        tokio::select! { _ = int.recv() => {}, _ = term.recv() => {}, _ = hup.recv() => {} }
    }
}

fn program(args: &RunArgs) -> Result<PathBuf, ChainError> {
    let beside = || {
        let own = std::env::current_exe().unwrap_or_default();
        own.with_file_name(PROGRAM)
    };
    let path = args.validator_program.clone().unwrap_or_else(beside);
    match path.is_file() {
        true => Ok(path),
        false => Err(ChainError::NoProgram { path }),
    }
}

pub(crate) async fn run(args: &RunArgs, as_json: bool) -> Result<Output, ChainError> {
    let program = program(args)?;
    // Says what is wrong with the folder before anything starts.
    genesis::plan(&args.dir)?;
    let mut stopping = Stopping::listen()?;
    let mut all = Vec::new();
    let outcome = tokio::select! {
        outcome = begin(args, &program, as_json, &mut all) => outcome,
        () = stopping.came() => Ok(false),
    };
    let watched = match outcome {
        Ok(true) => tokio::select! {
            error = watch(&program, &mut all) => Err(error),
            () = stopping.came() => Ok(()),
        },
        other => other.map(|_| ()),
    };
    if std::io::stderr().is_terminal() {
        eprintln!("hanzo chain: stopping the validators");
    }
    let stopped: Vec<_> = all
        .into_iter()
        .map(|validator| tokio::spawn(validator.stop()))
        .collect();
    for one in stopped {
        let _ = one.await;
    }
    watched.map(|()| Output::new("stopped\n", json!({"stopped": true})))
}

/// Whether enough validators of a chain that began left their keys when they were stopped.
fn keys_are_kept(folders: &[PathBuf]) -> Result<(), ChainError> {
    let (all, faults) = (folders.len(), faults(folders.len()));
    let gone = folders.iter().filter(|folder| !folder.join(KEPT).is_file()).count();
    match gone > faults {
        true => Err(ChainError::KeysGone { gone, all, faults }),
        false => Ok(()),
    }
}

/// Whether the chain began: then every folder has its genesis.
fn begun(dir: &Path, folders: &[PathBuf]) -> Result<bool, ChainError> {
    let Some(found) = spread::found(dir)? else {
        return Ok(false);
    };
    let given_to_all = dir.join(spread::FILE).is_file();
    match keys_are_kept(folders) {
        Ok(()) => {}
        Err(gone) if given_to_all => return Err(gone),
        // Whoever gave it to the validators ended in between, and their processes too.
        Err(_) => return spread::set_aside(dir, &found).map(|()| false),
    }
    if !given_to_all {
        let mut accounts = Vec::new();
        for path in folders.iter().map(|folder| folder.join("candidate.json")) {
            if path.is_file() {
                accounts.push((path.clone(), genesis::candidate(&path)?.keys.validator));
            }
        }
        found.is_of_accounts(&accounts)?;
    }
    spread::spread(dir, &found.bytes).map(|()| true)
}

/// True once the first block is final.
async fn begin(args: &RunArgs, program: &Path, as_json: bool, all: &mut Vec<Validator>) -> Result<bool, ChainError> {
    let folders = files::validators(&args.dir);
    let end = Instant::now() + Duration::from_secs(args.within);
    let begun = begun(&args.dir, &folders)?;
    for (which, folder) in folders.iter().enumerate() {
        if !begun {
            // Keys of an earlier process, which are gone.
            let _ = std::fs::remove_file(folder.join("candidate.json"));
        }
        all.push(Validator::start(program, which, folder.clone())?);
    }
    if !begun {
        until(all, end, "wrote no candidate.json", |v| {
            v.folder.join("candidate.json").is_file()
        })
        .await?;
        genesis::begin(&args.dir)?;
    }
    until(all, end, "did not say where it answers", |v| {
        files::ready(&v.folder).is_some()
    })
    .await?;
    let first = folders
        .iter()
        .find_map(|folder| files::ready(folder))
        .unwrap_or_default();
    let node = NodeClient::new(&first)?;
    let was = match begun {
        true => node
            .ask(&hanzo_chain_rpc::calls::Status::default())
            .await
            .map_or(0, |s| s.height),
        false => 0,
    };
    loop {
        alive(all)?;
        let status = node.ask(&hanzo_chain_rpc::calls::Status::default()).await;
        if status.is_ok_and(|status| status.height > was) {
            break;
        }
        if Instant::now() >= end {
            let what = format!("no block is final after {} s", args.within);
            return Err(all.first().map_or(
                ChainError::Unreachable {
                    at: first,
                    what: what.clone(),
                },
                |v| v.ended(what),
            ));
        }
        tokio::time::sleep(POLL).await;
    }
    let shown = StatusArgs {
        node: NodeArgs {
            node: None,
            dir: args.dir.clone(),
            genesis: None,
        },
    };
    let status = show::status(&shown).await?;
    match as_json {
        true => out(&format!(
            "{}\n",
            json!({"ready": status.json, "explorer": format!("http://{first}/")})
        )),
        false => out(&format!(
            "{}explorer  http://{first}/   (Ctrl-C stops the validators)\n",
            status.text
        )),
    }
    Ok(true)
}

fn alive(all: &mut [Validator]) -> Result<(), ChainError> {
    for validator in all {
        if let Ok(Some(status)) = validator.child.try_wait() {
            return Err(validator.ended(described(status)));
        }
    }
    Ok(())
}

async fn until(
    all: &mut [Validator],
    end: Instant,
    what: &str,
    done: impl Fn(&Validator) -> bool,
) -> Result<(), ChainError> {
    loop {
        if all.iter().all(&done) {
            return Ok(());
        }
        alive(all)?;
        if Instant::now() >= end {
            let late = all.iter().find(|validator| !done(validator));
            return late.map_or(Ok(()), |validator| Err(validator.ended(format!("{what} in time"))));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Starts again whoever ends; comes back only if that is not possible.
async fn watch(program: &Path, all: &mut [Validator]) -> ChainError {
    loop {
        for validator in all.iter_mut() {
            let Ok(Some(status)) = validator.child.try_wait() else {
                continue;
            };
            if validator.started.elapsed() < AGAIN {
                return validator.ended(format!("{} soon after its start", described(status)));
            }
            let which = validator.which;
            eprintln!(
                "hanzo chain: validator {which} {}; starting it again",
                described(status)
            );
            match Validator::start(program, which, validator.folder.clone()) {
                Ok(again) => *validator = again,
                Err(error) => return error,
            }
        }
        tokio::time::sleep(POLL).await;
    }
}
