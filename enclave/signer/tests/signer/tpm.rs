//! Freshness from a TPM: a real software TPM, everything that a host can do to it and to the disk, and two signers at once.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanzo_attestation::Digest256;
use hanzo_device::tpm::NvFence;
use hanzo_signer::freshness::{NvExtend, TpmNv};
use hanzo_signer::{FileStorage, FreshnessSource as _, Head, Role, Signer, SignerError};

use crate::doubles::{NETWORK, Released, key, notarize};

const INDEX: u32 = 0x0180_4e56;

/// A software TPM on a Unix socket, ended with this value.
struct Swtpm(Child);

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Swtpm {
    /// None, said loudly, where it is not installed.
    fn start(state: &Path, socket: &Path) -> Option<Self> {
        fs::create_dir_all(state).unwrap();
        let _ = fs::remove_file(socket);
        let child = Command::new("swtpm")
            .args([
                "socket",
                "--tpm2",
                "--flags",
                "not-need-init,startup-clear",
                "--tpmstate",
            ])
            .arg(format!("dir={}", state.display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", state.join("control").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            let _ = writeln!(
                std::io::stderr(),
                "NOT TESTED: swtpm is absent: freshness from a TPM was not run (apt-get install swtpm)"
            );
            return None;
        };
        let this = Self(child);
        for _ in 0..500 {
            if UnixStream::connect(socket).is_ok() {
                return Some(this);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("swtpm does not listen");
    }
}

/// The driver as the signer asks for it.
struct Nv(NvFence);

impl NvExtend for Nv {
    fn value(&mut self) -> Result<Option<[u8; 32]>, String> {
        self.0.value().map_err(|e| format!("{}: {e}", e.code()))
    }

    fn extend(&mut self, data: &[u8; 32]) -> Result<(), String> {
        self.0.extend(data).map_err(|e| format!("{}: {e}", e.code()))
    }
}

fn secret(n: u8) -> zeroize::Zeroizing<[u8; 32]> {
    zeroize::Zeroizing::new([n; 32])
}

type OnTpm = Signer<FileStorage, TpmNv<Nv>>;

/// A machine: a disk with journal and note, and a TPM.
struct Machine {
    folder: tempfile::TempDir,
    tpm: Option<Swtpm>,
}

impl Machine {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut this = Self { folder, tpm: None };
        this.power_on().then_some(this)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn power_on(&mut self) -> bool {
        self.tpm = Swtpm::start(&self.at("state"), &self.at("socket"));
        self.tpm.is_some()
    }

    fn power_off(&mut self) {
        self.tpm = None;
    }

    fn enrol(&self, n: u8) -> Result<OnTpm, SignerError> {
        self.enrol_by(&self.at("socket"), n)
    }

    fn enrol_by(&self, socket: &Path, n: u8) -> Result<OnTpm, SignerError> {
        let source = TpmNv::enrol(&self.at("note"), key(n).public(), |first| {
            let defined = NvFence::define(socket, INDEX, secret(7), first);
            defined.map(Nv).map_err(|e| format!("{}: {e}", e.code()))
        })?;
        let storage = FileStorage::create(&self.at("journal"))?;
        Signer::create(Role::Consensus, NETWORK, key(n), storage, source)
    }

    fn open(&self) -> Result<OnTpm, SignerError> {
        self.open_by(&self.at("socket"), 7)
    }

    fn open_by(&self, socket: &Path, n: u8) -> Result<OnTpm, SignerError> {
        let fence = NvFence::open(socket, INDEX, secret(n)).unwrap();
        let source = TpmNv::resume(Nv(fence), &self.at("note"), key(1).public());
        let storage = FileStorage::open(&self.at("journal"))?;
        Signer::open(Role::Consensus, NETWORK, key(1), storage, source)
    }

    /// The disk, or the TPM's state, as they are now.
    fn copy(&self, names: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
        let paths = names.iter().map(|name| self.at(name));
        paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// One command with the empty password, as the host could send it; its response code.
    fn host_command(&self, code: u32, handles: &[u32], parameters: &[u8]) -> u32 {
        let mut body: Vec<u8> = handles.iter().flat_map(|h| h.to_be_bytes()).collect();
        body.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        body.extend_from_slice(parameters);
        let mut bytes = vec![0x80, 0x02];
        bytes.extend((10 + body.len() as u32).to_be_bytes());
        bytes.extend(code.to_be_bytes());
        bytes.extend(body);
        let mut stream = UnixStream::connect(self.at("socket")).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut answer = [0; 4096];
        assert!(stream.read(&mut answer).unwrap() >= 10);
        u32::from_be_bytes(answer[6..10].try_into().unwrap())
    }
}

fn put(copy: &[(PathBuf, Vec<u8>)]) {
    copy.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}

fn code(result: Result<OnTpm, SignerError>) -> &'static str {
    result.err().unwrap().code()
}

#[test]
fn a_signer_under_a_tpm_signs_once_through_restarts_rollbacks_and_another_tpm() {
    let Some(mut machine) = Machine::new() else { return };
    let mut released = Released::default();
    let mut signer = machine.enrol(1).unwrap();
    released.take(&mut signer, &notarize(1, 1)).unwrap();
    drop(signer);
    let (old_disk, old_note) = (machine.copy(&["journal"]), machine.copy(&["note"]));
    machine.power_off();
    let old_tpm = machine.copy(&["state/tpm2-00.permall"]);

    // A restart keeps: the index is where it was.
    assert!(machine.power_on());
    let mut signer = machine.open().unwrap();
    released.take(&mut signer, &notarize(1, 1)).unwrap();
    assert_eq!(signer.sign(&notarize(1, 2)).unwrap_err().code(), "signer.conflict");
    released.take(&mut signer, &notarize(2, 1)).unwrap();
    signer.compact().unwrap();
    released.take(&mut signer, &notarize(3, 1)).unwrap();
    drop(signer);
    let newest = machine.copy(&["journal", "note"]);

    // The TPM is ahead: the journal was put back, then its note as well.
    put(&old_disk);
    assert_eq!(code(machine.open()), "signer.journal.older");
    put(&old_note);
    assert_eq!(code(machine.open()), "signer.freshness.unexplained");
    put(&newest);
    drop(machine.open().unwrap());
    let newest = machine.copy(&["journal", "note"]);

    // The TPM is behind: its state was put back, which a TPM of the host's own lets happen.
    machine.power_off();
    let newest_tpm = machine.copy(&["state/tpm2-00.permall"]);
    put(&old_tpm);
    assert!(machine.power_on());
    assert_eq!(code(machine.open()), "signer.freshness.unexplained");
    // Another TPM: there is no such index.
    machine.power_off();
    fs::remove_dir_all(machine.at("state")).unwrap();
    assert!(machine.power_on());
    assert_eq!(code(machine.open()), "signer.freshness.missing");
    machine.power_off();
    put(&newest_tpm);
    assert!(machine.power_on());
    let mut signer = machine.open().unwrap();
    for view in 1..=3 {
        released.take(&mut signer, &notarize(view, 1)).unwrap();
        assert_eq!(signer.sign(&notarize(view, 2)).unwrap_err().code(), "signer.conflict");
    }

    // The TPM goes while the signer runs: nothing leaves, and nothing does afterwards either.
    machine.power_off();
    let refused = released.take(&mut signer, &notarize(4, 1)).unwrap_err();
    assert_eq!(refused.code(), "signer.freshness.unreachable");
    assert_eq!(signer.sign(&notarize(5, 1)).unwrap_err().code(), "signer.halted");
    drop(signer);
    assert!(NvFence::open(&machine.at("socket"), INDEX, secret(7)).is_err());
    assert!(machine.power_on());
    let mut signer = machine.open().unwrap();
    assert_eq!(signer.sign(&notarize(4, 2)).unwrap_err().code(), "signer.conflict");
    released.take(&mut signer, &notarize(4, 1)).unwrap();
    drop(signer);

    // Without its note nobody knows what the index says.
    fs::remove_file(machine.at("note")).unwrap();
    assert_eq!(code(machine.open()), "signer.freshness.unreachable");
    put(&newest[1..]);
    assert_eq!(code(machine.open()), "signer.freshness.unexplained");
}

#[test]
fn an_index_is_enrolled_once_and_moves_for_its_secret_alone() {
    let Some(machine) = Machine::new() else { return };
    let mut released = Released::default();
    let mut signer = machine.enrol(1).unwrap();
    released.take(&mut signer, &notarize(1, 1)).unwrap();
    drop(signer);
    // Neither with the note there, nor with the index there.
    assert_eq!(code(machine.enrol(2)), "signer.freshness.setup");
    let kept = machine.copy(&["note"]);
    fs::remove_file(machine.at("note")).unwrap();
    let refused = machine.enrol(2).err().unwrap();
    assert_eq!(refused.code(), "signer.freshness.unreachable");
    assert!(refused.to_string().contains("vtpm.defined"), "{refused}");
    put(&kept);

    // Another secret; the host with the empty password, as user of the index and as owner; a command that reads it so.
    let refused = machine.open_by(&machine.at("socket"), 8).err().unwrap();
    assert!(refused.to_string().contains("vtpm.refused"), "{refused}");
    let data = [&[0, 32][..], &[1; 32]].concat();
    assert_ne!(machine.host_command(0x136, &[INDEX, INDEX], &data), 0);
    assert_ne!(machine.host_command(0x136, &[0x4000_0001, INDEX], &data), 0);
    assert_ne!(machine.host_command(0x14e, &[0x4000_0001, INDEX], &[0, 32, 0, 0]), 0);
    let mut signer = machine.open().unwrap();
    released.take(&mut signer, &notarize(2, 1)).unwrap();
    drop(signer);

    // The owner can take the index away, which ends the signer; and one of the owner's own in its place says nothing.
    assert_eq!(machine.host_command(0x122, &[0x4000_0001, INDEX], &[]), 0);
    assert_eq!(code(machine.open()), "signer.freshness.missing");
    let mut public = vec![0, 0];
    public.extend([0, 14]);
    public.extend(INDEX.to_be_bytes());
    public.extend([0, 0x0b]);
    public.extend((1_u32 << 2 | 4 << 4 | 1 << 18 | 1 << 25).to_be_bytes());
    public.extend([0, 0, 0, 32]);
    assert_eq!(machine.host_command(0x12a, &[0x4000_0001], &public), 0);
    assert_eq!(machine.host_command(0x136, &[INDEX, INDEX], &data), 0);
    assert_eq!(code(machine.open()), "signer.freshness.unreachable");
}

/// Stands between the signer and the TPM: 0 passes everything on, 1 gives the first answer to a read again, 2 changes a byte of it.
fn between(machine: &Machine, mode: &Arc<AtomicU8>) -> PathBuf {
    let (path, tpm) = (machine.at("between"), machine.at("socket"));
    let listener = UnixListener::bind(&path).unwrap();
    let mode = Arc::clone(mode);
    std::thread::spawn(move || {
        let mut first: Option<Vec<u8>> = None;
        for client in listener.incoming() {
            let (Ok(mut client), Ok(mut tpm)) = (client, UnixStream::connect(&tpm)) else {
                return;
            };
            let mut buffer = [0; 4096];
            while let Ok(got @ 1..) = client.read(&mut buffer) {
                let is_read = buffer[6..10] == [0, 0, 1, 0x4e];
                tpm.write_all(&buffer[..got]).unwrap();
                let Ok(got @ 1..) = tpm.read(&mut buffer) else { return };
                let mut answer = buffer[..got].to_vec();
                if is_read && answer[6..10] == [0; 4] {
                    let kept = first.get_or_insert_with(|| answer.clone());
                    match mode.load(Ordering::SeqCst) {
                        1 => answer.clone_from(kept),
                        2 => answer[20] ^= 1,
                        _ => {}
                    }
                }
                if client.write_all(&answer).is_err() {
                    break;
                }
            }
        }
    });
    path
}

#[test]
fn an_answer_that_the_tpm_did_not_give_to_this_question_is_refused() {
    let Some(machine) = Machine::new() else { return };
    let mut released = Released::default();
    let mut signer = machine.enrol(1).unwrap();
    released.take(&mut signer, &notarize(1, 1)).unwrap();
    drop(signer);
    let mode = Arc::new(AtomicU8::new(0));
    let socket = between(&machine, &mode);
    let (old, mut signer) = (machine.copy(&["journal", "note"]), machine.open_by(&socket, 7).unwrap());
    released.take(&mut signer, &notarize(2, 1)).unwrap();
    drop(signer);
    let newest = machine.copy(&["journal", "note"]);
    // The disk is put back, and the bus gives the answer that went with it.
    put(&old);
    for lie in [1, 2] {
        mode.store(lie, Ordering::SeqCst);
        let refused = machine.open_by(&socket, 7).err().unwrap();
        assert_eq!(refused.code(), "signer.freshness.unreachable");
        assert!(refused.to_string().contains("vtpm.unauthenticated"), "{refused}");
    }
    mode.store(0, Ordering::SeqCst);
    assert_eq!(
        machine.open_by(&socket, 7).err().unwrap().code(),
        "signer.freshness.unexplained"
    );
    put(&newest);
    let mut signer = machine.open_by(&socket, 7).unwrap();
    assert_eq!(signer.sign(&notarize(2, 2)).unwrap_err().code(), "signer.conflict");
    released.take(&mut signer, &notarize(2, 1)).unwrap();
}

/// Commands by their codes, each with a response code that is given in the TPM's place, and how often.
type Refusals = Arc<Mutex<Vec<(u32, u32, usize)>>>;

const DEFINE: u32 = 0x12a;
const UNDEFINE: u32 = 0x122;
const EXTEND: u32 = 0x136;
/// TPM_RC_NV_RATE, TPM_RC_BAD_AUTH of a session, TPM_RC_LOCKOUT.
const NV_RATE: u32 = 0x920;
const BAD_AUTH: u32 = 0x9a2;
const LOCKOUT: u32 = 0x921;

/// Stands before the TPM and refuses what it is told to.
fn refusing(machine: &Machine, refusals: &Refusals) -> PathBuf {
    let (path, tpm) = (machine.at("refusing"), machine.at("socket"));
    let listener = UnixListener::bind(&path).unwrap();
    let refusals = Arc::clone(refusals);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(mut client), Ok(mut tpm)) = (client, UnixStream::connect(&tpm)) else {
                return;
            };
            let mut buffer = [0; 4096];
            while let Ok(got @ 1..) = client.read(&mut buffer) {
                let code = u32::from_be_bytes(buffer[6..10].try_into().unwrap());
                let refused = {
                    let mut all = refusals.lock().unwrap();
                    let one = all.iter_mut().find(|(of, _, left)| *of == code && *left > 0);
                    one.map(|(_, rc, left)| {
                        *left -= 1;
                        *rc
                    })
                };
                let answer = match refused {
                    Some(rc) => [&[0x80, 0x01, 0, 0, 0, 10][..], &rc.to_be_bytes()].concat(),
                    None => {
                        tpm.write_all(&buffer[..got]).unwrap();
                        let Ok(got @ 1..) = tpm.read(&mut buffer) else { return };
                        buffer[..got].to_vec()
                    }
                };
                if client.write_all(&answer).is_err() {
                    break;
                }
            }
        }
    });
    path
}

#[test]
fn an_enrolment_that_failed_leaves_nothing_behind_or_says_what_and_a_tpm_that_spares_its_memory_is_asked_again() {
    let Some(machine) = Machine::new() else { return };
    let refusals = Refusals::default();
    let socket = refusing(&machine, &refusals);
    let refuse = |all: &[(u32, u32, usize)]| *refusals.lock().unwrap() = all.to_vec();
    let fails = |all: &[(u32, u32, usize)], what: &[&str]| {
        refuse(all);
        let refused = machine.enrol_by(&socket, 1).err().unwrap();
        assert_eq!(refused.code(), "signer.freshness.unreachable");
        let text = refused.to_string();
        assert!(what.iter().all(|what| text.contains(what)), "{text}");
        assert!(!machine.at("note").exists(), "{text}");
    };
    // There is no index yet; it is there and was not extended, then or after all that it was asked again.
    fails(&[(DEFINE, BAD_AUTH, 1)], &["vtpm.refused", "0x9a2"]);
    fails(&[(EXTEND, LOCKOUT, 1)], &["vtpm.refused", "0x921"]);
    fails(&[(EXTEND, NV_RATE, 9)], &["vtpm.refused", "0x920"]);
    assert_eq!(refusals.lock().unwrap()[0].2, 0, "asked nine times");
    // It could not be taken away either: whoever enrols is told which it is.
    let both = [(EXTEND, LOCKOUT, 1), (UNDEFINE, LOCKOUT, 1)];
    fails(&both, &["vtpm.left_defined", "0x1804e56", "tpm2_nvundefine"]);
    fails(&[], &["vtpm.defined"]);
    assert_eq!(machine.host_command(UNDEFINE, &[0x4000_0001, INDEX], &[]), 0);

    // Writes that come too fast wait, and nothing of it shows: neither when it is enrolled nor when it signs.
    refuse(&[(DEFINE, NV_RATE, 1), (EXTEND, NV_RATE, 2)]);
    let mut released = Released::default();
    let mut signer = machine.enrol_by(&socket, 1).unwrap();
    released.take(&mut signer, &notarize(1, 1)).unwrap();
    refuse(&[(EXTEND, NV_RATE, 3)]);
    released.take(&mut signer, &notarize(2, 1)).unwrap();
    released.take(&mut signer, &notarize(3, 1)).unwrap();
    assert_eq!(refusals.lock().unwrap()[0].2, 0);
    // A refusal that is none of these halts it, as before.
    refuse(&[(EXTEND, LOCKOUT, 1)]);
    let refused = released.take(&mut signer, &notarize(4, 1)).unwrap_err();
    assert_eq!(refused.code(), "signer.freshness.unreachable");
    assert_eq!(signer.sign(&notarize(5, 1)).unwrap_err().code(), "signer.halted");
    drop(signer);
    let mut signer = machine.open().unwrap();
    assert_eq!(signer.sign(&notarize(4, 2)).unwrap_err().code(), "signer.conflict");
    released.take(&mut signer, &notarize(4, 1)).unwrap();
}

/// An index in memory, which two signers reach at once; `before` runs ahead of the next extension.
#[derive(Clone, Default)]
struct Shared {
    value: Arc<Mutex<[u8; 32]>>,
    before: Arc<Mutex<Option<[u8; 32]>>>,
    loses_reply: bool,
}

impl NvExtend for Shared {
    fn value(&mut self) -> Result<Option<[u8; 32]>, String> {
        Ok(Some(*self.value.lock().unwrap()))
    }

    fn extend(&mut self, data: &[u8; 32]) -> Result<(), String> {
        let mut value = self.value.lock().unwrap();
        let theirs = self.before.lock().unwrap().take();
        for one in theirs.iter().chain([data]) {
            *value = Digest256::of(&[&value[..], one].concat()).0;
        }
        match self.loses_reply {
            true => Err("connection reset".into()),
            false => Ok(()),
        }
    }
}

#[test]
fn of_two_signers_that_move_one_index_at_once_none_is_told_that_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let (note, copy) = (folder.path().join("note"), folder.path().join("copy"));
    let shared = Shared::default();
    let define = |first: &[u8; 32]| {
        let mut shared = shared.clone();
        shared.extend(first).map(|()| shared)
    };
    let public = key(1).public().clone();
    let mut source = TpmNv::enrol(&note, &public, define).unwrap();
    assert_eq!(source.newest().unwrap(), Head::EMPTY);
    let head = |count, n| Head { count, hash: [n; 32] };
    source.advance(Head::EMPTY, head(1, 1)).unwrap();
    assert_eq!(source.newest().unwrap(), head(1, 1));
    fs::copy(&note, &copy).unwrap();

    // One after the other: the clone is told that the index moved without it.
    let mut clone = TpmNv::resume(shared.clone(), &copy, &public);
    assert_eq!(clone.newest().unwrap(), head(1, 1));
    source.advance(head(1, 1), head(2, 2)).unwrap();
    let refused = clone.advance(head(1, 1), head(2, 3)).unwrap_err();
    assert_eq!(refused.code(), "signer.freshness.unexplained");
    assert_eq!(source.newest().unwrap(), head(2, 2));
    assert_eq!(
        source.advance(head(1, 1), head(3, 3)).unwrap_err().code(),
        "signer.freshness.moved"
    );
    assert_eq!(
        source.advance(head(2, 2), head(2, 9)).unwrap_err().code(),
        "signer.freshness.moved"
    );

    // The reply to an extension is lost: the note knows both heads, the index says which.
    let lossy = Shared {
        loses_reply: true,
        ..shared.clone()
    };
    let mut lossy = TpmNv::resume(lossy, &note, &public);
    let lost = lossy.advance(head(2, 2), head(4, 4)).unwrap_err();
    assert_eq!(lost.code(), "signer.freshness.unreachable");
    assert_eq!(source.newest().unwrap(), head(4, 4));
    // Another key's index explains nothing.
    let mut other = TpmNv::resume(shared.clone(), &note, key(2).public());
    assert_eq!(other.newest().unwrap_err().code(), "signer.freshness.unexplained");

    // Both between reading and extending: neither reads what it expects, so neither signature leaves.
    *shared.before.lock().unwrap() = Some([9; 32]);
    let refused = source.advance(head(4, 4), head(5, 5)).unwrap_err();
    assert_eq!(refused.code(), "signer.freshness.unexplained");
    assert_eq!(source.newest().unwrap_err().code(), "signer.freshness.unexplained");
}
