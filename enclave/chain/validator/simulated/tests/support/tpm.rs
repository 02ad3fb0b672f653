//! A software TPM on a socket, where a machine has its device.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use hanzo_attestation::Digest256;
use hanzo_device::Endorsements;
use hanzo_device::detect::Surroundings;
use hanzo_device::tpm::Vtpm;

/// What was measured into register 4: in place of an image.
const MEASURED: [u8; 32] = [7; 32];

/// Gone with this value.
pub struct SoftwareTpm {
    child: Child,
    /// In place of `/dev`; `/sys` is `sys` in it.
    pub dev: PathBuf,
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl SoftwareTpm {
    /// None on a machine without swtpm, which is said.
    pub fn start(dev: &Path) -> Option<Self> {
        fs::create_dir_all(dev.join("sys")).unwrap();
        let socket = dev.join("tpmrm0");
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", dev.display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", dev.join("control").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            eprintln!("SWTPM MISSING: a validator with a TPM's evidence was NOT tried (apt-get install swtpm)");
            return None;
        };
        let running = Self {
            child,
            dev: dev.to_owned(),
        };
        for _ in 0..500 {
            if let Ok(stream) = UnixStream::connect(&socket) {
                running.extend(stream);
                return Some(running);
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("swtpm does not listen");
    }

    /// TPM2_PCR_Extend of register 4 with one SHA-256 digest, by the empty password.
    fn extend(&self, mut stream: UnixStream) {
        let mut body = 4_u32.to_be_bytes().to_vec();
        body.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        body.extend([0, 0, 0, 1, 0, 0x0b]);
        body.extend(MEASURED);
        let mut command = vec![0x80, 0x02];
        command.extend((10 + body.len() as u32).to_be_bytes());
        command.extend(0x182_u32.to_be_bytes());
        command.extend(body);
        stream.write_all(&command).unwrap();
        let mut answer = [0; 4096];
        let got = stream.read(&mut answer).unwrap();
        assert_eq!(answer[6..10], [0; 4], "{:02x?}", &answer[..got]);
    }

    /// Register 4.
    pub fn register() -> Digest256 {
        Digest256::of(&[[0; 32], MEASURED].concat())
    }

    /// The attestation key: SHA-256 of its SubjectPublicKeyInfo.
    pub fn key(&self) -> Digest256 {
        let found = surroundings(&self.dev, Endorsements::default());
        let tpm = Vtpm::detect(found.roots, Endorsements::default()).unwrap();
        Digest256::of(tpm.ak_public().unwrap().spki_der())
    }
}

/// A machine that has nothing but the TPM of this folder.
pub fn surroundings(dev: &Path, endorsements: Endorsements) -> Surroundings {
    let mut surroundings = Surroundings::host(endorsements);
    surroundings.roots.dev = dev.to_owned();
    surroundings.roots.sys = dev.join("sys");
    surroundings
}
