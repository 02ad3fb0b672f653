//! What a boot needs, and where it is.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tiny;

pub const HANZO: &str = env!("CARGO_BIN_EXE_hanzo");

pub fn not_tested(why: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** `hanzo up --vm` NOT (WHOLLY) RUN: {why} ***\n");
}

/// By its variable, or where scripts and CI leave it in the target directory.
fn program(variable: &str, places: &[&str]) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(named.into());
    }
    let target = Path::new(HANZO).parent()?.parent()?;
    places
        .iter()
        .map(|place| target.join(place))
        .find(|path| path.is_file())
}

pub struct Needs {
    pub packages: PathBuf,
    pub guest: PathBuf,
    pub engine: PathBuf,
    /// A prepared model; `None` for the one that `hanzo up` takes.
    model: Option<(tempfile::TempDir, PathBuf)>,
}

impl Needs {
    pub fn find() -> Result<Self, String> {
        let packages = std::env::var_os("HANZO_IMAGE_PACKAGES").map(PathBuf::from);
        let packages = packages.ok_or("HANZO_IMAGE_PACKAGES names no directory with the pinned packages")?;
        if !fs::read_dir(&packages).is_ok_and(|mut files| files.next().is_some()) {
            return Err(format!("{} holds no packages", packages.display()));
        }
        hanzo_image::run::check_tools().map_err(|error| error.to_string())?;
        let curl = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
        curl.map_err(|error| format!("no curl: {error}"))?;
        let guest = ["image/hanzo-guest", "x86_64-unknown-linux-gnu/release/hanzo-guest"];
        let missing = |script: &str| format!("no static program: run {script}");
        let model = match std::env::var("HANZO_VM_MODEL").as_deref() {
            Ok("smollm2") => None,
            Ok(other) => return Err(format!("HANZO_VM_MODEL is {other:?}; known is smollm2")),
            Err(_) => {
                let dir = private_dir();
                let model = tiny::model_dir(dir.path());
                Some((dir, model))
            }
        };
        Ok(Self {
            packages,
            guest: program("HANZO_IMAGE_GUEST", &guest).ok_or_else(|| missing("image/build-guest"))?,
            engine: program("HANZO_IMAGE_ENGINE", &["image/hanzo-engine"])
                .ok_or_else(|| missing("image/build-engine"))?,
            model,
        })
    }

    pub fn command(&self, state: &Path) -> Command {
        let mut command = Command::new(HANZO);
        command.args(["up", "--vm", "--json", "--listen", "127.0.0.1:0"]);
        for (option, path) in [
            ("--vm-guest", self.guest.as_path()),
            ("--vm-engine", &self.engine),
            ("--vm-packages", &self.packages),
            ("--state", state),
        ] {
            command.arg(option).arg(path);
        }
        if let Some(kernel) = std::env::var_os("HANZO_VM_KERNEL") {
            command.arg("--vm-kernel").arg(kernel);
        }
        if let Some((_, model)) = &self.model {
            command.arg("--model").arg(model);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A folder that only this user can enter, whatever the umask.
pub fn private_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let private = fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(private).tempdir().unwrap()
}
