//! What a host can say to a machine beside its measured inputs, said to a real boot: firmware configuration items, SMBIOS
//! strings, systemd's credentials in both, DHCP options, a real-time clock years ahead. The guest behaves as if nothing was
//! said.
//!
//! Needs QEMU, the static `hanzo-guest` in this target directory, and `HANZO_IMAGE_PACKAGES`, as `boot.rs` does. No TPM is
//! attached: the agent of each boot ends at the same place, for the same reason.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hanzo_image::assemble::{COMMAND_LINE, INITRD, KERNEL, Parts};
use hanzo_image::fetch::{MIRROR, Source};
use hanzo_image::inputs::COMMITTED;
use hanzo_image::run::MACHINE;
use hanzo_image::{Inputs, Recipe, build};
use hanzo_init::{Dhcp, Network, NetworkPlan, Profile};

const BOOT_MAX: Duration = Duration::from_secs(280);

/// Every channel of QEMU's that some guest somewhere reads its configuration from.
const HOSTILE: &[&str] = &[
    "-fw_cfg",
    "name=opt/hanzo/config,string=version = 2",
    "-fw_cfg",
    "name=opt/hanzo/init,string=profile = debug",
    "-fw_cfg",
    "name=opt/io.systemd.credentials/hanzo.config,string=evil",
    "-fw_cfg",
    "name=opt/org.flatcar-linux/config,string={}",
    "-smbios",
    "type=11,value=io.systemd.credential:hanzo.config=evil",
    "-smbios",
    "type=11,value=hanzo.profile=debug",
    "-smbios",
    "type=1,serial=ds=nocloud;s=http://10.0.2.2/",
    "-rtc",
    "base=2031-01-01T00:00:00",
    "-netdev",
    "user,id=net,restrict=on,hostname=evil,domainname=evil.example,dnssearch=evil.example,bootfile=/evil,tftp-server-name=10.0.2.9",
];
const PLAIN: &[&str] = &["-netdev", "user,id=net,restrict=on"];

fn not_tested(why: &str) {
    let _ = writeln!(std::io::stderr(), "NO IMAGE WAS BOOTED: {why}");
}

fn static_guest() -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    let guest = here
        .ancestors()
        .nth(3)?
        .join("x86_64-unknown-linux-gnu/release/hanzo-guest");
    guest.exists().then_some(guest)
}

fn recipe(network: NetworkPlan) -> Recipe {
    let (ml_dsa, ed25519, root) = ("00".repeat(1952), "00".repeat(32), "11".repeat(32));
    let config = format!(
        "version = 1\noperator = \"o\"\nimage = \"dev\"\nrequired_tier = 1\nkeyset_lifetime_s = 3600\nauth = \"none\"\n\
         [kbs]\ngrant_lifetime_s = 60\n[kbs.signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{ml_dsa}\"\n\
         ed25519 = \"{ed25519}\"\n[store]\nid = \"s\"\nkey_id = \"t/store/s\"\n[[models]]\nname = \"m\"\n\
         weights_root = \"{root}\"\nkey_id = \"t/model/m\"\ncontext_tokens = 512\n[limits]\n\
         body_bytes_max = 65536\nconcurrent_requests = 2\nrequest_timeout_s = 60\n"
    );
    let (listen, kbs) = ("0.0.0.0:8443", "10.0.2.2:8080");
    Recipe::new(
        Profile::Core,
        config,
        listen.parse().unwrap(),
        kbs.parse().unwrap(),
        network,
    )
    .unwrap()
}

/// Killed when dropped.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots until the guest switches itself off; what it said, without the times.
fn boot(image: &Path, channels: &[&str], console: &Path) -> Option<Vec<String>> {
    let path = |name: &str| image.join(name).display().to_string();
    let line = std::fs::read_to_string(image.join(COMMAND_LINE)).unwrap();
    let spawned = Command::new("setsid")
        .args(["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args([
            "-machine",
            &format!("{MACHINE},smm=off,accel=tcg"),
            "-cpu",
            "max",
            "-m",
            "512",
        ])
        .args(["-no-user-config", "-nodefaults", "-no-reboot", "-display", "none"])
        .args([
            "-kernel",
            &path(KERNEL),
            "-initrd",
            &path(INITRD),
            "-append",
            line.trim_end(),
        ])
        .args(["-device", "virtio-net-pci,netdev=net,addr=1,romfile="])
        .args(["-serial", &format!("file:{}", console.display())])
        .args(channels)
        .stdin(Stdio::null())
        .spawn();
    let mut qemu = match spawned {
        Ok(child) => Qemu(child),
        Err(error) => {
            not_tested(&format!("qemu-system-x86_64: {error}"));
            return None;
        }
    };
    let start = Instant::now();
    let ended = loop {
        if let Some(status) = qemu.0.try_wait().unwrap() {
            break status;
        }
        assert!(
            start.elapsed() < BOOT_MAX,
            "still running: {}",
            said(console).join("\n")
        );
        std::thread::sleep(Duration::from_millis(200));
    };
    let said = said(console);
    assert!(ended.success(), "{ended}: {}", said.join("\n"));
    Some(said)
}

fn said(console: &Path) -> Vec<String> {
    let text = String::from_utf8_lossy(&std::fs::read(console).unwrap_or_default()).into_owned();
    text.lines()
        .filter_map(|line| line.find("hanzo-").map(|at| line[at..].trim_end().to_owned()))
        .map(|line| match (line.find('['), line.find("] ")) {
            (Some(from), Some(to)) if line.starts_with("hanzo-init: [") => {
                format!("{}{}", &line[..from], &line[to + 2..])
            }
            _ => line,
        })
        .collect()
}

#[test]
fn what_the_host_says_beside_the_measured_inputs_changes_nothing() {
    let Some(packages) = std::env::var_os("HANZO_IMAGE_PACKAGES").map(PathBuf::from) else {
        return not_tested("HANZO_IMAGE_PACKAGES names no directory for the pinned packages");
    };
    let Some(guest) = static_guest() else {
        return not_tested("no static hanzo-guest: .ci/run says how it is built");
    };
    let source = Source::Archive {
        kept: std::path::absolute(packages).unwrap(),
        mirror: MIRROR.into(),
    };
    let inputs = Inputs::parse(COMMITTED).unwrap();
    let parts = match Parts::gather(inputs, &source, Profile::Core, &guest, None, &|_| ()) {
        Err(error) if error.code() == "image.package.gone" => return not_tested(&error.to_string()),
        parts => parts.unwrap(),
    };
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let interface = "eth0".to_owned();
    let fixed = NetworkPlan::Static(Network {
        interface: interface.clone(),
        address: "10.0.2.15".parse().unwrap(),
        prefix: 24,
        gateway: Some("10.0.2.2".parse().unwrap()),
    });
    build(&parts, &recipe(fixed), &at("fixed"), &|_| ()).unwrap();
    let leased = NetworkPlan::Dhcp(Dhcp { interface, dhcp: true });
    build(&parts, &recipe(leased), &at("leased"), &|_| ()).unwrap();

    let Some(plain) = boot(&at("fixed"), PLAIN, &at("plain.log")) else {
        return;
    };
    let Some(hostile) = boot(&at("leased"), HOSTILE, &at("hostile.log")) else {
        return;
    };
    let _ = writeln!(std::io::stderr(), "{}", hostile.join("\n"));
    let (leases, rest): (Vec<_>, Vec<_>) = hostile.into_iter().partition(|line| line.contains("leased"));
    assert_eq!(leases, ["hanzo-init: address 10.0.2.15/24 leased"]);
    assert_eq!(rest, plain);
    assert!(
        plain
            .iter()
            .any(|line| line.contains("profile core") && line.contains("locked down")),
        "{plain:?}"
    );
    assert!(plain.iter().any(|line| line.ends_with("[device.absent]")), "{plain:?}");
    assert!(
        plain.last().unwrap().ends_with("[init.agent.ended]; switching off"),
        "{plain:?}"
    );
    assert!(!plain.iter().chain(&rest).any(|line| line.contains("evil")), "{rest:?}");
}
