//! The life of the first process.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use crate::cmdline::{measured_plan, read};
use crate::dhcp::Lease;
use crate::disks::link_packs;
use crate::error::InitError;
use crate::lockdown::lock_down;
use crate::modules::load_modules;
use crate::mounts::{self, mount_configfs, mount_early};
use crate::network::bring_up;
use crate::node::{NODE_CONFIG_BYTES_MAX, NodeConfig, NodeRole};
use crate::plan::{InitPlan, Profile, Role};
use crate::{
    CONFIG_PATH, ENGINE_PATH, GENESIS_PATH, LLAMA_ENGINE_PATH, MODULES_DIR, NODE_PATH, PLAN_PATH, SHELL_PATH,
    registers, watchdog,
};

/// How the kernel calls the image's program.
const OWN_PATH: &str = "/init";
const PACKS: &str = "/run/packs";
const STORE: &str = "/run/store/guest.db";
/// What a node of the chain keeps, in memory as everything is: it ends with the machine.
const NODE_STATE: &str = "/run/chain";
/// Where the node's root is put together.
const NODE_ROOT: &str = "/run/chain-root";
/// The node's user and group; engines have those from 61000 on.
const NODE_UID: &str = "60900";
/// The first argument that makes the image's program the node's launcher.
pub const NODE_SANDBOX: &str = "node-sandbox";

/// True if this process is the first of a machine and was started as `/init` by its kernel. A container's first process
/// is started under another name, and is none.
pub fn is_init() -> bool {
    std::process::id() == 1 && std::env::args_os().next().is_some_and(|name| name == OWN_PATH)
}

/// Runs the machine until the agent or the node ends, says why on the console, and switches the machine off. It returns only if the
/// kernel refuses that; the caller then ends, which the kernel answers with a panic.
pub fn become_init() -> ExitCode {
    match life() {
        Ok(what) => say(&format!("the {what} has stopped; switching off")),
        Err(error) => say_why(&error),
    }
    let refused = hanzo_device::machine::power_off();
    say(&format!("power off: {refused}"));
    ExitCode::FAILURE
}

/// The end of a machine that runs already.
fn switch_off(error: &InitError) {
    say_why(error);
    let refused = hanzo_device::machine::power_off();
    say(&format!("power off: {refused}"));
}

fn say_why(error: &InitError) {
    say(&format!("{error} [{}]; switching off", error.code()));
}

/// Mixes RDSEED into the kernel's source before anything draws from it. Without RDSEED no machine comes up.
fn seed_randomness(source: &Path) -> Result<(), InitError> {
    let seed = hanzo_device::entropy::mixed_seed::<64>()?;
    OpenOptions::new()
        .write(true)
        .open(source)
        .and_then(|mut file| file.write_all(seed.as_slice()))
        .map_err(|error| InitError::File {
            path: source.to_owned(),
            source: error,
        })
}

/// What has ended, if it ended well.
fn life() -> Result<&'static str, InitError> {
    mount_early()?;
    hanzo_device::harden_process()?;
    seed_randomness(Path::new("/dev/urandom"))?;
    let plan = measured_plan(Path::new("/proc/cmdline"), Path::new(CONFIG_PATH), Path::new(PLAN_PATH))?;
    load_modules(Path::new(MODULES_DIR), &plan.modules)?;
    // A module of the plan, or built in: either makes the place to mount it.
    if Path::new(mounts::CONFIGFS_AT).exists() {
        mount_configfs()?;
    }
    let leased = bring_up(&plan.network)?;
    lock_down(Path::new("/"))?;
    if let Some(leased) = leased {
        let Lease { address, prefix, .. } = leased.lease;
        say(&format!("address {address}/{prefix} leased"));
        std::thread::spawn(move || switch_off(&leased.keep()));
    }
    let shown = registers::lines(Path::new("/sys/class/tpm/tpm0"));
    let log = registers::log_lines(Path::new("/sys/kernel/security/tpm0/binary_bios_measurements"));
    for line in shown.into_iter().chain(log) {
        say(&line);
    }
    let watched = watchdog::keep(Path::new("/dev/watchdog"));
    say(&format!(
        "profile {}, {} modules, network up, locked down, {}{}",
        plan.profile,
        plan.modules.len(),
        if watched { "watchdog kept" } else { "no watchdog" },
        match (plan.role, plan.engine) {
            (Role::Node, _) => ", a node of the chain alone",
            (Role::Agent, true) => "",
            (Role::Agent, false) => ", NO ENGINE in this image",
        },
    ));
    let shell = match plan.profile {
        Profile::Core | Profile::Connected => None,
        Profile::Debug => Some(start_shell()?),
    };
    let (what, child) = match plan.role {
        Role::Agent => {
            make_dir(Path::new(PACKS))?;
            let (config, packs) = (Path::new(CONFIG_PATH), Path::new(PACKS));
            let linked = link_packs(config, Path::new("/sys/block"), Path::new("/dev"), packs)?;
            say(&format!("packs on disks: {linked}"));
            ("agent", start_agent(&plan)?)
        }
        Role::Node => ("node", start_node()?),
    };
    let how = reap_until(what, &child)?;
    if let Some(shell) = shell {
        say(&format!(
            "the {what} ended with {how}; this image is for debugging: its shell stays"
        ));
        reap_until("shell", &shell)?;
    }
    match how.as_str() {
        "exit code 0" => Ok(what),
        _ => Err(InitError::Ended { what, how }),
    }
}

fn make_dir(dir: &Path) -> Result<(), InitError> {
    fs::create_dir_all(dir).map_err(|source| InitError::File {
        path: dir.into(),
        source,
    })
}

/// The same program, as the launcher that gives up everything but the node's files and ports and then becomes the node. Before that, it
/// asks the broker of a validator's configuration for the key of its account.
fn start_node() -> Result<Child, InitError> {
    let config = NodeConfig::parse(&read(Path::new(CONFIG_PATH), NODE_CONFIG_BYTES_MAX)?)?;
    for dir in [NODE_STATE, NODE_ROOT] {
        make_dir(Path::new(dir))?;
    }
    Command::new(OWN_PATH)
        .args(node_arguments(&config))
        .env_clear()
        .stdin(Stdio::null())
        .spawn()
        .map_err(|source| InitError::Spawn { what: "node", source })
}

/// What the launcher is told. The broker of a validator is the launcher's alone: the node itself calls its peers, or those that it follows.
fn node_arguments(config: &NodeConfig) -> Vec<String> {
    let (bind, connect, mode): (_, Vec<u16>, _) = match &config.role {
        NodeRole::Observer(follow) => {
            let ports = follow.iter().map(|followed| followed.address.port());
            (vec![config.rpc.port()], ports.collect(), "--observe")
        }
        NodeRole::Validator(it) => {
            let ports = it.peers.iter().map(|peer| peer.address.port());
            (vec![config.rpc.port(), it.listen.port()], ports.collect(), "--vote")
        }
    };
    let mut words = vec![NODE_SANDBOX.to_owned()];
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    for (name, value) in [("--uid", NODE_UID), ("--root", NODE_ROOT), ("--state", NODE_STATE)] {
        option(name, value.to_owned());
    }
    for path in [CONFIG_PATH, GENESIS_PATH] {
        option("--read", path.to_owned());
    }
    bind.iter().for_each(|port| option("--bind", port.to_string()));
    connect.iter().for_each(|port| option("--connect", port.to_string()));
    if mode == "--vote" {
        option("--vote", CONFIG_PATH.to_owned());
    }
    let node = [
        "--",
        NODE_PATH,
        "--dir",
        NODE_STATE,
        mode,
        CONFIG_PATH,
        "--genesis",
        GENESIS_PATH,
    ];
    words.extend(node.map(str::to_owned));
    words
}

/// The same program under another process id is the agent.
fn start_agent(plan: &InitPlan) -> Result<Child, InitError> {
    for dir in [PACKS, "/run/store"] {
        make_dir(Path::new(dir))?;
    }
    // A plan of this role has one.
    let kbs = plan.kbs.map(|at| ["--kbs".to_owned(), at.to_string()]);
    let vsock = plan
        .vsock_port
        .map(|port| ["--vsock".to_owned(), format!("vsock:{port}")]);
    let sealed = plan.sealed.map(|at| ["--sealed".to_owned(), at.to_string()]);
    // The archive is measured, and with it whether this file is there.
    let llama = Path::new(LLAMA_ENGINE_PATH)
        .exists()
        .then_some(["--llama-engine", LLAMA_ENGINE_PATH]);
    let egress = plan.egress.clone().map(|at| ["--egress".to_owned(), at]);
    Command::new(OWN_PATH)
        .args(llama.into_iter().flatten())
        .args(egress.into_iter().flatten())
        .args(vsock.into_iter().flatten())
        .args(sealed.into_iter().flatten())
        .args(kbs.into_iter().flatten())
        .args(["--listen", &plan.listen.to_string()])
        .args(["--config", CONFIG_PATH, "--packs", PACKS, "--store", STORE])
        .args(["--runtime-dir", "/run/hanzo", "--", ENGINE_PATH, "serve"])
        .env_clear()
        .stdin(Stdio::null())
        .spawn()
        .map_err(|source| InitError::Spawn { what: "agent", source })
}

/// A shell that owns the console.
fn start_shell() -> Result<Child, InitError> {
    Command::new(SHELL_PATH)
        .args(["setsid", "-c", SHELL_PATH, "sh"])
        .env_clear()
        .spawn()
        .map_err(|source| InitError::Spawn { what: "shell", source })
}

/// Waits for every child that there is, orphans included, until this one has ended; says how.
fn reap_until(what: &'static str, child: &Child) -> Result<String, InitError> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if is(pid, child) => return Ok(describe(status)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                let source = error.into();
                return Err(InitError::Spawn { what, source });
            }
        }
    }
}

fn is(pid: Pid, child: &Child) -> bool {
    u32::try_from(pid.as_raw_nonzero().get()) == Ok(child.id())
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".into(),
    }
}

/// One line on the console, with the machine's uptime.
fn say(line: &str) {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime.split(' ').next().unwrap_or_default();
    let line = format!("hanzo-init: [{uptime}] {line}\n");
    // Before /dev is mounted, standard error is what the kernel opened.
    match OpenOptions::new().write(true).open("/dev/console") {
        Ok(mut console) => drop(console.write_all(line.as_bytes())),
        Err(_) => drop(std::io::stderr().write_all(line.as_bytes())),
    }
}
