//! `hanzo up --vm` as a stranger walks it: a question answered from inside the measured image, and what is refused.
//!
//! Needs QEMU 10, swtpm, the model, `HANZO_IMAGE_PACKAGES` (a directory with the pinned packages), and the image's two
//! static programs: `HANZO_IMAGE_GUEST` and `HANZO_IMAGE_ENGINE`, or `image/hanzo-guest` and `image/hanzo-engine` in the
//! target directory. Says loudly what is missing. The image boots once; with `HANZO_IMAGE_REFUSALS` set, twice more.

use std::fs;
use std::io::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hanzo_image::assemble::{Parts, build_with};
use hanzo_image::fetch::Source;
use hanzo_image::frames::Frames;
use hanzo_image::inputs::{COMMITTED, Inputs};
use hanzo_image::run::{Accelerator, Machine, Report, Word};
use hanzo_image::{Manifest, Profile, Recipe};
use serde_json::Value;

const HANZO: &str = env!("CARGO_BIN_EXE_hanzo");

fn not_tested(why: &str) {
    let _ = writeln!(
        std::io::stderr(),
        "\n*** NO MACHINE WAS BOOTED, `hanzo up --vm` NOT RUN: {why} ***\n"
    );
}

fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let built = Path::new(HANZO).parent()?.parent()?.join("image").join(name);
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.or(Some(built)).filter(|path| path.is_file())
}

struct Needs {
    packages: PathBuf,
    guest: PathBuf,
    engine: PathBuf,
}

impl Needs {
    fn find() -> Result<Self, String> {
        let packages = std::env::var_os("HANZO_IMAGE_PACKAGES").map(PathBuf::from);
        let packages = packages.ok_or("HANZO_IMAGE_PACKAGES names no directory with the pinned packages")?;
        if !fs::read_dir(&packages).is_ok_and(|mut files| files.next().is_some()) {
            return Err(format!("{} holds no packages", packages.display()));
        }
        hanzo_image::run::check_tools().map_err(|error| error.to_string())?;
        let missing = |script: &str| format!("no static program: run {script}");
        Ok(Self {
            packages,
            guest: program("HANZO_IMAGE_GUEST", "hanzo-guest").ok_or_else(|| missing("image/build-guest"))?,
            engine: program("HANZO_IMAGE_ENGINE", "hanzo-engine").ok_or_else(|| missing("image/build-engine"))?,
        })
    }

    fn command(&self, state: &Path) -> Command {
        let mut command = Command::new(HANZO);
        command.args(["up", "--vm", "--json", "--listen", "127.0.0.1:0", "--max-tokens", "8"]);
        command
            .arg("--vm-guest")
            .arg(&self.guest)
            .arg("--vm-engine")
            .arg(&self.engine);
        command
            .arg("--vm-packages")
            .arg(&self.packages)
            .arg("--state")
            .arg(state);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn private_dir() -> tempfile::TempDir {
    let private = fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(private).tempdir().unwrap()
}

/// A running appliance.
struct Up {
    child: Child,
    state: tempfile::TempDir,
    greeting: Value,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Up {
    fn start(needs: &Needs) -> Option<Self> {
        let state = private_dir();
        let mut child = needs.command(state.path()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let greeting: Value = serde_json::from_str(&line).unwrap_or_default();
        if greeting.get("listening").is_none() {
            let mut rest = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut rest).unwrap();
            let _ = child.wait();
            let console = fs::read_to_string(state.path().join("up/run/logs/console.log")).unwrap_or_default();
            assert!(
                rest.contains("cannot fetch the default model"),
                "{line}{rest}\n{console}"
            );
            not_tested(&rest);
            return None;
        }
        Some(Self { child, state, greeting })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.state.path().join("up/run").join(path)
    }

    /// Process ids of the programs that have `word` among their arguments and belong to this appliance.
    fn processes(&self, program: &str) -> Vec<i32> {
        let state = self.state.path().display().to_string();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.split('\0').next().is_some_and(|name| name.ends_with(program)) && line.contains(&state)
        })
        .collect()
    }

    fn chat(&self) -> (u16, Value) {
        let request = format!(
            "{{\"model\":\"{}\",\"temperature\":0,\"max_tokens\":4,\"messages\":[{{\"role\":\"user\",\"content\":\"Hi\"}}]}}",
            self.greeting["model"].as_str().unwrap()
        );
        let url = format!("{}/chat/completions", self.greeting["listening"].as_str().unwrap());
        let done = Command::new("curl")
            .args([
                "-sS",
                "-m",
                "3600",
                "-w",
                "\n%{http_code}",
                "-H",
                "content-type: application/json",
                "-d",
            ])
            .args([&request, &url])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or_default();
        (
            status.parse().unwrap_or_default(),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }

    /// The same machine over other files, beside the running one and in front of the same broker.
    fn boot(&self, image: &Path, pack: &Path, console: &Path) -> Report {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let machine = Machine {
            image: image.to_owned(),
            console: console.to_owned(),
            port,
            memory_mib: 2048,
            processors: 2,
            accelerator: Accelerator::Tcg,
            packs: vec![pack.to_owned()],
            tpm: Some(self.at("tpm")),
        };
        hanzo_image::run::run(&machine, None, true, &|_| ()).unwrap()
    }
}

fn refusal(report: &Report) -> &str {
    match &report.word {
        Word::Refused { reason } => reason,
        Word::Serving => panic!("it serves"),
    }
}

#[test]
fn a_measured_image_answers_and_everything_else_is_refused() {
    let needs = match Needs::find() {
        Ok(needs) => needs,
        Err(why) => return not_tested(&why),
    };
    let Some(mut up) = Up::start(&needs) else { return };

    let verdict = &up.greeting["verdict"];
    assert_eq!(verdict["tier"], 1, "{verdict}");
    assert_eq!(verdict["simulated"], false, "{verdict}");
    assert_eq!(up.greeting["tpm_ak"].as_str().map(str::len), Some(64));
    // The prediction was there before the machine had written a byte.
    let time = |path: &str| fs::metadata(up.at(path)).unwrap().modified().unwrap();
    assert!(time("prediction.json") < time("logs/console.log"));
    let (status, answer) = up.chat();
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer["choices"][0]["message"]["content"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{answer}"
    );
    let receipts = fs::read_dir(up.state.path().join("receipts")).unwrap().count();
    assert!(receipts >= 1, "the answer has a receipt that verified");

    if std::env::var_os("HANZO_IMAGE_REFUSALS").is_some() {
        refusals(&needs, &up);
    } else {
        not_tested("the boots that are refused: HANZO_IMAGE_REFUSALS is not set");
    }

    // Its machine is killed: the client is told, and nothing is left running.
    let machines = up.processes("qemu-system-x86_64");
    assert_eq!(machines.len(), 1, "{machines:?}");
    let pid = rustix::process::Pid::from_raw(machines[0]).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let status = up.child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    let mut rest = String::new();
    up.child.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
    let error: Value = serde_json::from_str(rest.trim()).unwrap();
    assert_eq!(error["error"]["code"], "up.part_stopped", "{error}");
    assert!(
        error["error"]["message"].as_str().unwrap().contains("vm stopped"),
        "{error}"
    );
    for program in ["qemu-system-x86_64", "swtpm", "hanzo"] {
        assert!(up.processes(program).is_empty(), "{program} was left behind");
    }
}

fn refusals(needs: &Needs, up: &Up) {
    let dir = tempfile::tempdir().unwrap();
    let console = dir.path().join("console.log");
    let (image, packs) = (up.at("image"), up.at("packs"));
    let pack = fs::read_dir(packs).unwrap().next().unwrap().unwrap().path();

    // One bit of the model's weights on its disk: the guest has its key, and stops.
    let flipped = dir.path().join("flipped.pack");
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&flipped, &bytes).unwrap();
    let report = up.boot(&image, &flipped, &console);
    assert!(
        refusal(&report).ends_with("[pack.chunk.not_authentic]"),
        "{}",
        refusal(&report)
    );

    // The debug profile of the same configuration, programs and machine: the broker gives it nothing.
    let debug = dir.path().join("debug");
    let made = Manifest::read(&image).unwrap().recipe;
    let recipe = Recipe::new(Profile::Debug, made.config, made.listen, made.kbs, made.network).unwrap();
    let (inputs, source) = (
        Inputs::parse(COMMITTED).unwrap(),
        Source::Directory(needs.packages.clone()),
    );
    let engine = Some(needs.engine.as_path());
    let parts = Parts::gather(inputs, &source, Profile::Debug, &needs.guest, engine, &|_| ()).unwrap();
    build_with(&parts, &recipe, &debug, &Frames::default(), &|_| ()).unwrap();
    let report = up.boot(&debug, &pack, &console);
    let reason = refusal(&report);
    assert!(reason.starts_with("hanzo-guest: "), "{reason}");
    assert!(
        reason.contains("tpm.reference") || reason.contains("policy"),
        "{reason}"
    );
}
