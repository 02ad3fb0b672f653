//! Asks CUDA for the GPUs, in a process of its own, and holds its answer against NVML's and the evidence.
//!
//! The guest does not load CUDA: it starts itself as `hanzo-guest gpu-survey` ([`survey_here`]), which has no key and no descriptor of the
//! guest's, and at boot a user of its own. Before it loads the library it confines itself as engines are, but for what the library needs
//! (`engine::sandbox::gpus`): no network, no file written, no other program. It answers with one line of JSON. What it says can only keep the guest
//! from serving.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use hanzo_device::GpuSource as _;
use hanzo_device::cuda::{self, CudaError, CudaSurvey};
use hanzo_device::nvml::{NVML_LIBRARY, NvmlGpus, NvmlSurvey};
use hanzo_device::probe::{ProbeError, agree};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::engine::sandbox::gpus::{Confining, confine};

/// The first argument that makes this program the one that asks CUDA.
pub const SUBCOMMAND: &str = "gpu-survey";
/// The first argument with which people ask.
pub const COMMAND: &str = "gpu-probe";
/// Exit status where GPUs are there and not what they should be.
pub const EXIT_REFUSED: u8 = 40;
const OWN_USER: &str = "--own-user";
const CONFINED: &str = "--confined";
const MEMORY: &str = "--memory-bytes";
/// The one before the first engine's.
const USER: u32 = 60_999;
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const LONGEST: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Most memory of the process: private by its own limit, all that it touched by its parent's watch. The library takes some hundred MiB
/// and more for each GPU.
const MEMORY_BYTES_MAX: u64 = 8 << 30;
/// x86-64's.
const PAGE_BYTES: u64 = 4096;
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// What the process answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Answer {
    Survey(CudaSurvey),
    Refused(CudaError),
}

/// For whom CUDA is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// For a booting guest: with an empty environment, as another user where this one is root.
    Guest,
    /// For a person: as that person, whose loader may be told where the library is.
    Person,
}

/// This very program, as the one that asks.
pub fn own_program() -> Vec<String> {
    ["/proc/self/exe", SUBCOMMAND].map(str::to_owned).to_vec()
}

/// Confines this process, asks CUDA and prints the answer. `words` are the arguments after [`SUBCOMMAND`].
pub fn survey_here(words: impl IntoIterator<Item = String>) -> ExitCode {
    let words: Vec<_> = words.into_iter().collect();
    let asked = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Some((Confining::Person, MEMORY_BYTES_MAX)),
        [MEMORY, bytes] => bytes.parse().ok().map(|bytes| (Confining::Person, bytes)),
        [CONFINED] => Some((Confining::Guest { user: None }, MEMORY_BYTES_MAX)),
        [OWN_USER] => Some((Confining::Guest { user: Some(USER) }, MEMORY_BYTES_MAX)),
        _ => None,
    };
    let asked =
        asked.ok_or_else(|| format!("expected nothing, {MEMORY} N, {CONFINED} or {OWN_USER} after {SUBCOMMAND}"));
    let alone = asked.and_then(|(confining, memory_bytes)| {
        let lacking = confine(confining, memory_bytes, &told_libraries()).map_err(|e| format!("{e} [{}]", e.code()))?;
        if let Some(lacking) = lacking {
            let _ = writeln!(
                std::io::stderr(),
                "NOT CONFINED to its files, the process that asks CUDA: {lacking}"
            );
        }
        hanzo_device::harden_process().map_err(|e| format!("{e} [{}]", e.code()))
    });
    let found = match alone {
        Ok(()) => cuda::survey(),
        Err(why) => Err(CudaError::Process { why }),
    };
    let (answer, code) = match found {
        Ok(survey) => (Answer::Survey(survey), ExitCode::SUCCESS),
        Err(error) => (Answer::Refused(error), ExitCode::FAILURE),
    };
    let line = serde_json::to_string(&answer).unwrap_or_default();
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Directories that whoever started this process told the loader to look into.
fn told_libraries() -> Vec<PathBuf> {
    let told = std::env::var_os(LIBRARY_PATH).unwrap_or_default();
    std::env::split_paths(&told).filter(|path| path.is_absolute()).collect()
}

/// Starts `program` and reads its answer. Blocks, for 60 s at most.
pub(crate) fn ask(program: &[String], asking: Asking) -> Result<CudaSurvey, CudaError> {
    let failed = |why: String| CudaError::Process { why };
    let (first, rest) = program
        .split_first()
        .ok_or_else(|| failed("no program is named".into()))?;
    let mut command = Command::new(first);
    command.args(rest).env_clear();
    match asking {
        Asking::Guest if rustix::process::geteuid().is_root() => {
            command.arg(OWN_USER);
        }
        Asking::Guest => {
            command.arg(CONFINED);
        }
        Asking::Person => {
            let told = [LIBRARY_PATH, "CUDA_VISIBLE_DEVICES"];
            command.envs(told.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        }
    }
    let command = command
        // It may write none.
        .env("CUDA_CACHE_DISABLE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(match asking {
            Asking::Guest => Stdio::null(),
            Asking::Person => Stdio::inherit(),
        });
    let mut child = command.spawn().map_err(|e| failed(format!("{first}: {e}")))?;
    let Some(stdout) = child.stdout.take() else {
        return Err(failed("no standard output".into()));
    };
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes)
    });
    let ended = end_of(&mut child, LONGEST, MEMORY_BYTES_MAX);
    let status = ended.map_err(failed)?;
    let bytes = reading
        .join()
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| failed("its answer was not read".into()))?;
    match serde_json::from_slice(&bytes) {
        Ok(Answer::Survey(survey)) if status.success() => Ok(survey),
        Ok(Answer::Refused(error)) => Err(error),
        _ => Err(failed(format!(
            "{status}, without a whole answer: the library or the driver ended it; look into the kernel's log"
        ))),
    }
}

/// Waits for its end; kills it by its id where that does not come within `longest`, or where it holds more than `most` bytes of memory.
fn end_of(child: &mut Child, longest: Duration, most: u64) -> Result<std::process::ExitStatus, String> {
    let began = Instant::now();
    loop {
        let wrong = match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if began.elapsed() >= longest => {
                format!("no answer after {} s: the driver hangs", longest.as_secs())
            }
            Ok(None) if resident(child.id()).is_some_and(|bytes| bytes > most) => {
                format!("it holds more than {most} bytes of memory: the library or the driver runs away")
            }
            Ok(None) => {
                thread::sleep(LOOK_AGAIN);
                continue;
            }
            Err(error) => error.to_string(),
        };
        let _ = child.kill();
        let _ = child.wait();
        return Err(wrong);
    }
}

/// Bytes of a process that are in memory, shared ones too (proc_pid_statm(5)); `None` once it has ended.
fn resident(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(PAGE_BYTES))
}

const EXAMPLES: &str = "\
Examples:
  hanzo-guest gpu-probe
  hanzo-guest gpu-probe --json
  LD_LIBRARY_PATH=/usr/local/nvidia/lib64 hanzo-guest gpu-probe

Exit codes: 0 NVML and CUDA show the same GPUs; 1 they could not be asked, with one reason and its code on stderr; 2 usage; 40 they
disagree, or a GPU does not keep what is copied to it.";

/// Show this machine's GPUs as NVML and CUDA show them, and copy a megabyte to each and back
#[derive(Parser)]
#[command(name = "hanzo-guest gpu-probe", after_help = EXAMPLES)]
struct ProbeArguments {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// [`show`], with the arguments after [`COMMAND`].
pub fn command(words: impl IntoIterator<Item = String>) -> ExitCode {
    let arguments = ProbeArguments::parse_from(std::iter::once(COMMAND.to_owned()).chain(words));
    show(arguments.json)
}

/// Shows the GPUs of this machine, the state of confidential computing, and whether CUDA and NVML agree. Returns the exit status: 0, 1
/// where they could not be asked, [`EXIT_REFUSED`] where they disagree.
pub fn show(json: bool) -> ExitCode {
    let sys = Path::new("/sys");
    let asked = NvmlGpus::load(NVML_LIBRARY.as_ref(), sys).and_then(|nvml| Ok((nvml.survey()?, gate(&nvml))));
    let (nvml, gate) = match asked {
        Ok(asked) => asked,
        Err(error) => return refuse(json, json!({}), error.code(), &error.to_string(), 1),
    };
    let cuda = ask(&own_program(), Asking::Person);
    let verdict = match &cuda {
        Ok(cuda) => agree(&nvml, cuda),
        Err(error) => Err(ProbeError::Cuda(error.clone())),
    };
    let found = json!({
        "bus": NvmlGpus::on_the_bus(sys),
        "confidential_computing": gate,
        "cuda": cuda.as_ref().ok(),
        "nvml": nvml,
    });
    match (verdict, cuda) {
        (Ok(()), Ok(cuda)) => {
            let mut agreed = found;
            agreed["agree"] = true.into();
            print(&if json {
                format!("{agreed}\n")
            } else {
                text(&nvml, &cuda, &agreed["confidential_computing"])
            });
            ExitCode::SUCCESS
        }
        (Err(error), _) => {
            let status = match error {
                ProbeError::Cuda(CudaError::Copy { .. }) => EXIT_REFUSED,
                ProbeError::Cuda(_) | ProbeError::None => 1,
                _ => EXIT_REFUSED,
            };
            refuse(json, found, error.code(), &error.to_string(), status)
        }
        (Ok(()), Err(error)) => refuse(json, found, error.code(), &error.to_string(), 1),
    }
}

fn gate(nvml: &NvmlGpus) -> Value {
    match nvml.cc_state() {
        Ok(state) => json!({
            "enabled": state.enabled,
            "environment": state.environment,
            "devtools": state.devtools,
            "ready": state.ready,
        }),
        Err(error) => json!({"code": error.code(), "message": error.to_string()}),
    }
}

fn refuse(json: bool, mut found: Value, code: &str, message: &str, status: u8) -> ExitCode {
    if json {
        found["agree"] = false.into();
        found["error"] = json!({"code": code, "message": message});
        print(&format!("{found}\n"));
    }
    let _ = writeln!(std::io::stderr(), "GPU: {message} [{code}]");
    ExitCode::from(status)
}

fn text(nvml: &NvmlSurvey, cuda: &CudaSurvey, gate: &Value) -> String {
    let api = |version: u32| format!("{}.{}", version / 1000, version % 1000 / 10);
    let mut text = format!(
        "driver                  {}, CUDA {} (compiled for {})\n",
        nvml.driver_version,
        api(cuda.driver_api),
        api(cuda::CUDA_API)
    );
    let on = |name: &str, yes: &str, no: &str| {
        if gate[name] == true {
            yes.to_owned()
        } else {
            no.to_owned()
        }
    };
    text += &match gate["message"].as_str() {
        Some(why) => format!("confidential computing  not said: {why}\n"),
        None => format!(
            "confidential computing  {}, environment {} (2 is production), {}, {}\n",
            on("enabled", "on", "off"),
            gate["environment"],
            on("devtools", "DEVTOOLS", "not devtools"),
            on("ready", "ready for work", "not ready for work"),
        ),
    };
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / (1u64 << 30) as f64);
    for gpu in &cuda.gpus {
        let [major, minor] = gpu.compute_capability;
        text += &format!(
            "{}\n  {} at {}, compute capability {major}.{minor}, {} of {} GiB free; {} bytes from pinned memory and back, unchanged\n",
            gpu.uuid,
            gpu.name,
            gpu.pci,
            gib(gpu.memory_free_bytes),
            gib(gpu.memory_bytes),
            gpu.copied_bytes
        );
    }
    text + "CUDA and NVML show the same GPUs. Nothing here is evidence: verifiers read the GPUs' reports.\n"
}

/// A reader that went away is no reason to stop.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeping() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn a_process_that_takes_too_long_or_too_much_is_ended() {
        let most = MEMORY_BYTES_MAX;
        let late = end_of(&mut sleeping(), Duration::from_millis(30), most).unwrap_err();
        assert!(late.contains("the driver hangs"), "{late}");
        let large = end_of(&mut sleeping(), LONGEST, 1).unwrap_err();
        assert!(large.contains("runs away"), "{large}");
        // The twin ends by itself.
        let mut quick = Command::new("true").spawn().unwrap();
        assert!(end_of(&mut quick, LONGEST, most).unwrap().success());
    }
}
