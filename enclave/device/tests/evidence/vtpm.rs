//! The vTPM: against a real software TPM, and against a scripted one that lies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use hanzo_attestation::bundle::{CpuEvidence, TpmEvidence};
use hanzo_attestation::tpm::AkOrigin;
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, RawEvidence, UnixTime};
use hanzo_device::tpm::{AkSource, AzureVtpm, HCL_INDEX, HclKind, PcrSelection, Tpm, Vtpm};
use hanzo_device::{Attester, DeviceError, Endorsements, Surroundings, detect};
use hanzo_simulated_tee::LogBuilder;
use tdx_attest_rs::{HostKernel, Roots};

use super::fake_kernel::tree;
use super::scripted_tpm::{authorised, response, serve, sized};
use super::{request, say};

/// A software TPM on Unix sockets, gone with this value.
struct Swtpm(Child);

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Swtpm {
    fn start(socket: &Path, state: &Path) -> Option<Self> {
        let control = state.join("control");
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", state.display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", control.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            say("SWTPM MISSING: quotes of a real TPM were NOT checked (apt-get install swtpm)");
            return None;
        };
        let running = Self(child);
        for _ in 0..500 {
            // The socket is there before anybody listens at it.
            if std::os::unix::net::UnixStream::connect(socket).is_ok() {
                return Some(running);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("swtpm does not listen");
    }

    /// A command of a test's own: the harness, not the code under test, defines indexes and extends registers.
    fn command(socket: &Path, bytes: &[u8]) {
        use std::io::{Read as _, Write as _};
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = [0; 4096];
        let got = stream.read(&mut answer).unwrap();
        assert_eq!(answer[6..10], [0; 4], "{:02x?}", &answer[..got]);
    }
}

/// An authorised command with the empty password.
fn owner_command(code: u32, handles: &[u32], parameters: &[u8]) -> Vec<u8> {
    let mut body: Vec<u8> = handles.iter().flat_map(|h| h.to_be_bytes()).collect();
    body.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    body.extend_from_slice(parameters);
    let mut out = vec![0x80, 0x02];
    out.extend((10 + body.len() as u32).to_be_bytes());
    out.extend(code.to_be_bytes());
    out.extend(body);
    out
}

/// Defines an NV index that owner and everybody may read, and fills it.
fn put_nv(socket: &Path, index: u32, bytes: &[u8]) {
    let attributes: u32 = 1 << 1 | 1 << 2 | 1 << 17 | 1 << 18 | 1 << 25; // OWNERWRITE, AUTHWRITE, OWNERREAD, AUTHREAD, NO_DA
    let mut public = index.to_be_bytes().to_vec();
    public.extend([0, 0x0b]);
    public.extend(attributes.to_be_bytes());
    public.extend([0, 0]);
    public.extend((bytes.len() as u16).to_be_bytes());
    let parameters = [sized(&[]), sized(&public)].concat();
    Swtpm::command(socket, &owner_command(0x12a, &[0x4000_0001], &parameters));
    for (at, chunk) in bytes.chunks(512).enumerate() {
        let parameters = [sized(chunk), ((at * 512) as u16).to_be_bytes().to_vec()].concat();
        Swtpm::command(socket, &owner_command(0x137, &[0x4000_0001, index], &parameters));
    }
}

fn guest() -> (tempfile::TempDir, Roots, PathBuf) {
    let (dir, roots) = tree();
    let socket = roots.dev.join("tpmrm0");
    (dir, roots, socket)
}

fn found(roots: &Roots, endorsements: Endorsements) -> Result<Box<dyn Attester>, DeviceError> {
    fs::remove_dir(roots.sys.join("kernel/config/tsm/report")).unwrap();
    detect(Surroundings {
        roots: roots.clone(),
        kernel: Box::new(HostKernel),
        nvml: "/nonexistent".into(),
        endorsements,
    })
}

fn quote(attester: &dyn Attester) -> TpmEvidence {
    match attester.evidence(&request()).unwrap() {
        CpuEvidence::Tpm(evidence) => evidence,
        other => panic!("{}", other.kind()),
    }
}

/// The signature in TPMT_SIGNATURE as X.509 writes it.
fn ecdsa_der(signature: &[u8]) -> Vec<u8> {
    assert_eq!(signature[..4], [0, 0x18, 0, 0x0b], "ECDSA with SHA-256");
    let r_len = usize::from(u16::from_be_bytes([signature[4], signature[5]]));
    let (r, s) = (&signature[6..6 + r_len], &signature[8 + r_len..]);
    let integer = |value: &[u8]| {
        let digits: Vec<u8> = value.iter().copied().skip_while(|b| *b == 0).collect();
        let mut out = vec![2, 0];
        out.extend((digits[0] >= 0x80).then_some(0));
        out.extend(digits);
        out[1] = out.len() as u8 - 2;
        out
    };
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, body.len() as u8], body].concat()
}

#[test]
fn a_real_tpm_quotes_what_was_asked_with_a_key_of_its_own() {
    let (dir, roots, socket) = guest();
    let Some(_swtpm) = Swtpm::start(&socket, dir.path()) else {
        return;
    };
    // PCR_Extend of PCR 4 with one SHA-256 digest, so that not every register is zero.
    let digest = [&[0, 0, 0, 1, 0, 0x0b][..], &[7; 32]].concat();
    Swtpm::command(&socket, &owner_command(0x182, &[4], &digest));
    let attester = found(&roots, Endorsements::default()).unwrap();
    let evidence = quote(attester.as_ref());

    let message = &evidence.quote.message.0;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, spki_point(&evidence.ak_public.0));
    let signature = ecdsa_der(&evidence.quote.signature.0);
    key.verify(message, &signature).unwrap();
    let mut changed = message.clone();
    *changed.last_mut().unwrap() ^= 1;
    key.verify(&changed, &signature).unwrap_err();

    let indexes: Vec<u8> = evidence.quote.pcrs.iter().map(|p| p.index).collect();
    assert_eq!(indexes, PcrSelection::boot().indexes().collect::<Vec<_>>());
    let of_four = [[0; 32], [7; 32]].concat();
    assert_eq!(evidence.quote.pcrs[4].value, Digest256::of(&of_four));
    let sha384: Vec<u8> = evidence.quote.pcrs_sha384.iter().map(|p| p.index).collect();
    assert_eq!(sha384, indexes, "swtpm keeps both banks, and one quote covers them");
    assert_eq!(evidence.quote.pcrs_sha384[4].value, Digest384([0; 48]));
    assert!(message.windows(32).any(|w| w == request().qualifying_data()));
    assert!(evidence.ak_certificates.is_empty() && evidence.event_log.is_none());

    assert_eq!(judged(&evidence, true), AkOrigin::Pinned);
    assert_eq!(judged(&evidence, false), AkOrigin::Unknown, "anybody's software TPM");

    // The same key on each call (verifiers may pin it), no key left loaded after many.
    for _ in 0..4 {
        assert_eq!(quote(attester.as_ref()).ak_public, evidence.ak_public);
    }
    let log = roots.sys.join("kernel/security/tpm0");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("binary_bios_measurements"), b"log").unwrap();
    let with_noise = quote(attester.as_ref());
    assert_eq!(with_noise.event_log.unwrap().0, b"log");
    assert!(with_noise.quote.pcrs_sha384.is_empty());
    // Firmware that tells one bank; then one that tells both.
    for (told, both) in [(LogBuilder::tcg(), false), (LogBuilder::tcg_both(), true)] {
        fs::write(log.join("binary_bios_measurements"), told.boot("quiet").bytes()).unwrap();
        let evidence = quote(attester.as_ref());
        assert_eq!(!evidence.quote.pcrs_sha384.is_empty(), both);
        assert_eq!(evidence.quote.pcrs.len(), 14);
    }
}

/// What the verifier's own code says of the key, with and without pinning it.
fn judged(evidence: &TpmEvidence, pin: bool) -> AkOrigin {
    let anchors = match pin {
        true => Anchors::vendor().with_tpm_ak(Digest256::of(&evidence.ak_public.0)),
        false => Anchors::vendor(),
    };
    let parsed = RawEvidence::Tpm(evidence.clone()).parse().unwrap();
    let authentic = parsed.authenticate(&anchors, &Collateral::default(), UnixTime(1_780_000_000));
    let authentic = authentic.unwrap();
    let claims = authentic.claims().tpm().unwrap();
    assert_eq!(claims.qualifying_data, request().qualifying_data());
    assert_eq!(claims.pcrs.len(), evidence.quote.pcrs.len());
    assert_eq!(claims.pcrs_sha384.len(), evidence.quote.pcrs_sha384.len());
    claims.ak_origin.clone()
}

/// The uncompressed point at the end of a P-256 SubjectPublicKeyInfo.
fn spki_point(spki: &[u8]) -> Vec<u8> {
    assert_eq!(spki.len(), 91, "RFC 5480, P-256");
    spki[26..].to_vec()
}

#[test]
fn keys_and_certificates_that_a_provider_put_there_are_found() {
    let (dir, roots, socket) = guest();
    let Some(_swtpm) = Swtpm::start(&socket, dir.path()) else {
        return;
    };
    let mut tpm = Tpm::open(&socket).unwrap();
    assert_eq!(tpm.nv(0x01c1_0000).unwrap(), None);
    drop(tpm);
    // Google's way: a certificate (padded) and the template of a restricted RSA key.
    let certificate = [&[0x30, 0x82, 0, 3, 1, 2, 3][..], &[0; 600]].concat();
    let attributes: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 16 | 1 << 18;
    let mut template = vec![0, 0x01, 0, 0x0b];
    template.extend(attributes.to_be_bytes());
    template.extend([0, 0, 0, 0x10, 0, 0x14, 0, 0x0b, 8, 0, 0, 0, 0, 0, 0, 0]);
    put_nv(&socket, 0x01c1_0000, &certificate);
    put_nv(&socket, 0x01c1_0001, &template);
    let above = Endorsements {
        ak: vec![b"above".to_vec()],
        ..Endorsements::default()
    };
    let attester = Vtpm::detect(roots, above).unwrap();
    assert!(matches!(attester.ak_source(), AkSource::Template { .. }));
    let evidence = quote(&attester);
    let chain: Vec<_> = evidence.ak_certificates.iter().map(|c| c.0.clone()).collect();
    assert_eq!(chain, [vec![0x30, 0x82, 0, 3, 1, 2, 3], b"above".to_vec()]);
    assert_eq!(evidence.ak_public.0.len(), 294, "RSA 2048 with exponent 65537");
    assert_eq!(evidence.quote.signature.0[..6], [0, 0x14, 0, 0x0b, 1, 0]);
    let key = UnparsedPublicKey::new(
        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
        &evidence.ak_public.0[24..],
    );
    key.verify(&evidence.quote.message.0, &evidence.quote.signature.0[6..])
        .unwrap();
}

fn hcl(kind: u8, variable: usize, whole: usize) -> Vec<u8> {
    let mut report = vec![0; whole];
    report[..4].copy_from_slice(b"HCLA");
    report[1224] = kind;
    report[1232..1236].copy_from_slice(&(variable as u32).to_le_bytes());
    report
}

#[test]
fn a_paravisor_is_recognised_and_its_tdx_guests_are_told_why_not() {
    let (dir, roots, socket) = guest();
    let Some(_swtpm) = Swtpm::start(&socket, dir.path()) else {
        return;
    };
    put_nv(&socket, HCL_INDEX, &hcl(2, 700, 2000));
    let own = AzureVtpm::new(roots.clone(), Endorsements::default());
    assert_eq!(own.detect().unwrap(), Some(HclKind::Snp));
    let attester = found(&roots, Endorsements::default()).unwrap();
    let error = attester.evidence(&request()).unwrap_err();
    assert_eq!(error.code(), "vtpm.no_handle", "no AK at 0x81000003: {error}");
    assert!(error.to_string().contains("0x81000003"), "{error}");
}

/// The structures that a TPM with one P-256 key gives, for scripts that change one of them.
#[derive(Clone)]
struct Answers {
    attributes: u32,
    extra: Vec<u8>,
    magic: u32,
    registers: [u8; 32],
    quoted_registers: [u8; 32],
    selection: [u8; 3],
    hcl: Vec<u8>,
    tag: u16,
    trailing: bool,
    stated_more: u32,
    /// TPML_PCR_SELECTION of the banks that it keeps.
    banks: Vec<u8>,
}

impl Answers {
    fn healthy() -> Self {
        Self {
            attributes: 0x0005_0072,
            extra: request().qualifying_data().to_vec(),
            magic: 0xff54_4347,
            registers: [5; 32],
            quoted_registers: [5; 32],
            selection: [0x10, 0, 0],
            hcl: hcl(2, 10, 1300),
            tag: 0x8002,
            trailing: false,
            stated_more: 0,
            banks: vec![0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff],
        }
    }

    fn public(&self) -> Vec<u8> {
        let mut out = vec![0, 0x23, 0, 0x0b];
        out.extend(self.attributes.to_be_bytes());
        out.extend([0, 0, 0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10]);
        // x lost its leading zero.
        [out, sized(&[9; 31]), sized(&[8; 32])].concat()
    }

    fn attest(&self) -> Vec<u8> {
        let mut out = self.magic.to_be_bytes().to_vec();
        out.extend([0x80, 0x18]);
        out.extend([sized(b"name"), sized(&self.extra), vec![0; 17 + 8]].concat());
        out.extend([0, 0, 0, 1, 0, 0x0b, 3]);
        out.extend(self.selection);
        out.extend(sized(&Digest256::of(&self.quoted_registers).0));
        out.extend(self.trailing.then_some(0));
        out
    }

    fn answer(&self, code: u32, body: &[u8]) -> Vec<u8> {
        match code {
            0x17a => response(0x8001, 0, &[&[0, 0, 0, 0, 5], self.banks.as_slice()].concat()),
            0x173 => response(0x8001, 0, &[sized(&self.public()), sized(b"n"), sized(b"q")].concat()),
            0x158 => {
                let mut out = authorised(None, &[sized(&self.attest()), b"signature".to_vec()].concat());
                out[..2].copy_from_slice(&self.tag.to_be_bytes());
                let size = u32::from_be_bytes(out[2..6].try_into().unwrap()) + self.stated_more;
                out[2..6].copy_from_slice(&size.to_be_bytes());
                out
            }
            0x17e => {
                let mut out = vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0x0b, 3, 0x10, 0, 0, 0, 0, 0, 1];
                out.extend(sized(&self.registers));
                response(0x8001, 0, &out)
            }
            0x169 if body == HCL_INDEX.to_be_bytes() => {
                let mut public = HCL_INDEX.to_be_bytes().to_vec();
                public.extend([0, 0x0b, 0, 4, 0, 0, 0, 0]);
                public.extend((self.hcl.len() as u16).to_be_bytes());
                response(0x8001, 0, &[sized(&public), sized(b"n")].concat())
            }
            0x14e => {
                let (len, at) = (&body[21..23], &body[23..25]);
                let number = |b: &[u8]| usize::from(u16::from_be_bytes([b[0], b[1]]));
                authorised(None, &sized(&self.hcl[number(at)..number(at) + number(len)]))
            }
            _ => response(0x8001, 0x18b, &[]),
        }
    }

    fn ask(self) -> Result<CpuEvidence, DeviceError> {
        let (_dir, roots, socket) = guest();
        serve(&socket, Box::new(move |code, body| self.answer(code, body)));
        let ak = AkSource::Persistent {
            handle: 0x8100_0003,
            certificate: None,
        };
        Vtpm::new(roots, ak, PcrSelection::of(&[4]), Endorsements::default()).evidence(&request())
    }
}

#[test]
fn a_tpm_that_answers_otherwise_is_refused_by_name() {
    Answers::healthy().ask().unwrap();
    let code = |change: fn(&mut Answers)| {
        let mut answers = Answers::healthy();
        change(&mut answers);
        answers.ask().unwrap_err().code()
    };
    // Keys that would sign anything, or decrypt as well, or can leave their TPM.
    assert_eq!(code(|a| a.attributes &= !(1 << 16)), "vtpm.key");
    assert_eq!(code(|a| a.attributes |= 1 << 17), "vtpm.key");
    assert_eq!(code(|a| a.attributes &= !(1 << 1)), "vtpm.key");
    assert_eq!(code(|a| a.extra[0] ^= 1), "vtpm.qualifying_data");
    assert_eq!(code(|a| a.extra.push(0)), "vtpm.qualifying_data");
    assert_eq!(code(|a| a.extra.truncate(31)), "vtpm.qualifying_data");
    assert_eq!(code(|a| a.magic ^= 1), "vtpm.malformed");
    assert_eq!(code(|a| a.selection = [0x11, 0, 0]), "vtpm.malformed");
    assert_eq!(code(|a| a.selection = [0, 0, 0]), "vtpm.malformed");
    assert_eq!(code(|a| a.trailing = true), "vtpm.malformed");
    assert_eq!(code(|a| a.tag = 0x8001), "vtpm.malformed");
    assert_eq!(code(|a| a.stated_more = 1 << 16), "vtpm.malformed");
    assert_eq!(code(|a| a.registers[31] ^= 1), "vtpm.unstable");
}

#[test]
fn what_a_tpm_says_of_its_banks_decides_what_is_asked_and_is_held_against_it() {
    let with = |kept: [u8; 3]| {
        let mut answers = Answers::healthy();
        answers.banks = [&[0, 0, 0, 2, 0, 0x0b, 3, 0xff, 0xff, 0xff, 0, 0x0c, 3][..], &kept].concat();
        answers
    };
    // A SHA-384 bank that keeps another register, or none.
    with([0x20, 0, 0]).ask().unwrap();
    with([0, 0, 0]).ask().unwrap();
    // It keeps PCR 4 there, and quotes the other bank alone.
    assert_eq!(with([0x10, 0, 0]).ask().unwrap_err().code(), "vtpm.malformed");
    let code = |change: fn(&mut Vec<u8>)| {
        let mut answers = Answers::healthy();
        change(&mut answers.banks);
        answers.ask().unwrap_err().code()
    };
    assert_eq!(code(|banks| banks[3] = 9), "vtpm.malformed");
    assert_eq!(code(|banks| banks[3] = 2), "vtpm.malformed");
    assert_eq!(code(|banks| banks.push(0)), "vtpm.malformed");
    assert_eq!(code(|banks| banks[6] = 0xff), "vtpm.malformed");
}

#[test]
fn registers_that_change_once_are_read_again() {
    let (_dir, roots, socket) = guest();
    let reads = Arc::new(Mutex::new(0));
    let seen = reads.clone();
    serve(
        &socket,
        Box::new(move |code, body| {
            let mut answers = Answers::healthy();
            if code == 0x17e {
                let mut reads = seen.lock().unwrap();
                *reads += 1;
                answers.registers[0] ^= u8::from(*reads < 3);
            }
            // Busy once in a while, as TPMs are.
            if code == 0x173 && *seen.lock().unwrap() == 0 {
                *seen.lock().unwrap() = 1;
                return response(0x8001, 0x922, &[]);
            }
            answers.answer(code, body)
        }),
    );
    let ak = AkSource::Persistent {
        handle: 0x8100_0003,
        certificate: None,
    };
    let attester = Vtpm::new(roots, ak, PcrSelection::of(&[4]), Endorsements::default());
    let evidence = quote(&attester);
    assert_eq!(*reads.lock().unwrap(), 3);
    assert_eq!(evidence.ak_public.0[26..28], [4, 0], "the leading zero is back");
}

#[test]
fn a_paravisors_guest_quotes_with_the_key_that_the_report_names() {
    let ask = |change: fn(&mut Answers), vek: Option<&[u8]>| {
        let (_dir, roots, socket) = guest();
        let mut answers = Answers::healthy();
        // All registers of the boot selection are one value here.
        answers.selection = [0xff, 0x7b, 0];
        change(&mut answers);
        serve(
            &socket,
            Box::new(move |code, body| match code {
                0x17e => {
                    let mut out = vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0x0b, 3];
                    let asked = &body[7..10];
                    out.extend(asked);
                    let count: u32 = asked.iter().map(|b| b.count_ones()).sum();
                    out.extend(count.to_be_bytes());
                    (0..count).for_each(|_| out.extend(sized(&[5; 32])));
                    response(0x8001, 0, &out)
                }
                0x158 => {
                    let plain = Answers::attest(&answers);
                    let head = plain.len() - 32;
                    let digest = Digest256::of(&[5; 32 * 14]).0;
                    let attest = [&plain[..head], &digest].concat();
                    authorised(None, &[sized(&attest), b"signature".to_vec()].concat())
                }
                _ => answers.answer(code, body),
            }),
        );
        let endorsements = Endorsements {
            vek: vek.map(<[u8]>::to_vec),
            ..Endorsements::default()
        };
        found(&roots, endorsements).and_then(|attester| attester.evidence(&request()))
    };
    let Ok(CpuEvidence::AzSnpVtpm(evidence)) = ask(|_| (), Some(b"vcek")) else {
        panic!("no evidence")
    };
    assert_eq!(evidence.hcl_report.0.len(), 1236 + 10, "the index is longer");
    assert_eq!((evidence.vek.0, evidence.quote.pcrs.len()), (b"vcek".to_vec(), 14));
    let code = |change, vek| ask(change, vek).unwrap_err().code();
    assert_eq!(code(|_| (), None), "device.no_certificate");
    assert_eq!(code(|a| a.hcl[1224] = 4, Some(b"v")), "device.paravisor_quote");
    assert_eq!(code(|a| a.hcl[1224] = 3, Some(b"v")), "vtpm.malformed");
    assert_eq!(code(|a| a.hcl[0] = b'X', Some(b"v")), "vtpm.malformed");
    assert_eq!(code(|a| a.hcl[1235] = 0xff, Some(b"v")), "vtpm.malformed");
    assert_eq!(code(|a| a.hcl[1232] = 65, Some(b"v")), "vtpm.malformed");
}
