//! What a boot needs, and where it is.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use candle_core::quantized::GgmlDType;

use crate::tiny;

/// What the delta is served as, to the first caller alone.
pub const ADAPTER: &str = "tuned";
pub const CALLERS: [&str; 2] = ["acme", "beta"];

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
    /// A prepared model and a delta for it; `None` for the model that `hanzo up` takes.
    model: Option<(tempfile::TempDir, PathBuf, PathBuf)>,
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
                let source = dir.path().join("tiny.gguf");
                // A delta goes on plain numbers.
                tiny::Spec::new(GgmlDType::F32).write(&source);
                let model = dir.path().join("model");
                hanzo_engine::convert::prepare(&source, &model, &mut |_| {}).unwrap();
                let delta = delta(dir.path(), &model);
                Some((dir, model, delta))
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
        if let Some((_, model, delta)) = &self.model {
            command.arg("--model").arg(model);
            let adapter = format!("{ADAPTER}={}@{}", delta.display(), CALLERS[0]);
            command.args(["--adapter", &adapter, "--caller", CALLERS[1]]);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// The delta to a model of the same shape with other numbers.
fn delta(root: &Path, model: &Path) -> PathBuf {
    let fine = root.join("fine");
    fs::create_dir(&fine).unwrap();
    for entry in fs::read_dir(model).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), fine.join(entry.file_name())).unwrap();
    }
    for place in hanzo_model::tensors(&fine)
        .unwrap()
        .iter()
        .filter(|place| place.rank == 2)
    {
        let file = fs::File::options().read(true).write(true).open(&place.file).unwrap();
        let mut bytes = vec![0; place.elements as usize * 4];
        file.read_exact_at(&mut bytes, place.offset).unwrap();
        for (at, number) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let changed = f32::from_le_bytes(*number) + if at % 3 == 0 { 0.5 } else { -0.25 };
            *number = changed.to_le_bytes();
        }
        file.write_all_at(&bytes, place.offset).unwrap();
    }
    let delta = root.join("delta");
    let made = Command::new(HANZO)
        .args(["model", "delta", "make"])
        .args([model, &fine])
        .arg("--output")
        .arg(&delta)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    delta
}

/// A folder that only this user can enter, whatever the umask.
pub fn private_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let private = fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(private).tempdir().unwrap()
}
