//! An NV index that can only be extended: what it holds commits to everything that it was ever told, in order.
//!
//! Each command is authorised in an HMAC session under the index's own secret, and so is each answer: whoever sits between this guest
//! and the TPM and does not know the secret can withhold answers, and neither make one up nor give an old one again.
//!
//! # Does not establish
//! That there is a TPM. The secret crosses the bus once, when the index is defined: whoever reads it there can play the TPM from then
//! on, and whoever keeps a software TPM's state can put an older one back.
//!
//! # Spec
//! TCG TPM 2.0 Library, revision 1.59: Part 1, 19.6 (sessions, cpHash, rpHash) and 37.2.6 (extend indexes); Part 3, 11.1
//! (TPM2_StartAuthSession), 31.3 (TPM2_NV_DefineSpace), 31.4 (TPM2_NV_UndefineSpace), 31.9 (TPM2_NV_Extend), 31.13 (TPM2_NV_Read).

use std::path::Path;

use aws_lc_rs::{digest, hmac, rand};
use zeroize::Zeroizing;

use super::TpmError;
use super::client::{RH_OWNER, Tpm};
use super::connection::{Answer, Command};
use super::wire::{Reader, Writer};

/// Bytes of an index, of what it is extended with, and of its secret.
pub const FENCE_BYTES: usize = 32;

const RH_NULL: u32 = 0x4000_0007;
const ALG_NULL: u16 = 0x0010;
const ALG_SHA256: u16 = 0x000b;
const SE_HMAC: u8 = 0;
/// TPMA_SESSION continueSession.
const CONTINUE: u8 = 1;
/// TPMA_NV: AUTHWRITE, TPM_NT_EXTEND, AUTHREAD, NO_DA. Neither owner nor platform reads or writes it.
const ATTRIBUTES: u32 = 1 << 2 | 4 << 4 | 1 << 18 | 1 << 25;
/// TPMA_NV_WRITTEN.
const WRITTEN: u32 = 1 << 29;
/// TPM_RC_NV_DEFINED.
const RC_DEFINED: u32 = 0x14c;

const DEFINE: (&str, u32) = ("TPM2_NV_DefineSpace", 0x12a);
const UNDEFINE: (&str, u32) = ("TPM2_NV_UndefineSpace", 0x122);
const START: (&str, u32) = ("TPM2_StartAuthSession", 0x176);
const EXTEND: (&str, u32) = ("TPM2_NV_Extend", 0x136);
const READ: (&str, u32) = ("TPM2_NV_Read", 0x14e);

/// One extend index, and a session under its secret.
pub struct NvFence {
    tpm: Tpm,
    index: u32,
    secret: Zeroizing<[u8; FENCE_BYTES]>,
    session: Option<Session>,
}

struct Session {
    handle: u32,
    nonce_tpm: Vec<u8>,
}

/// TPMS_NV_PUBLIC of such an index.
fn public(index: u32, attributes: u32) -> Vec<u8> {
    Writer::default()
        .u32(index)
        .u16(ALG_SHA256)
        .u32(attributes)
        .u16(0) // authPolicy
        .u16(FENCE_BYTES as u16)
        .done()
}

/// What the TPM calls the index: it changes with each attribute, so a command for this name reaches no index of another sort.
fn name(index: u32, attributes: u32) -> Vec<u8> {
    let hash = digest::digest(&digest::SHA256, &public(index, attributes));
    Writer::default().u16(ALG_SHA256).bytes(hash.as_ref()).done()
}

fn sha256(parts: &[&[u8]]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish()
}

fn left(index: u32, source: TpmError) -> TpmError {
    TpmError::LeftDefined {
        index,
        source: Box::new(source),
    }
}

fn nonce() -> Result<[u8; 32], TpmError> {
    let mut nonce = [0; 32];
    rand::fill(&mut nonce).map_err(|_| TpmError::Random)?;
    Ok(nonce)
}

impl NvFence {
    /// Defines the index and extends it by `first`; where that fails the index is taken away again. Owner authorisation must be empty.
    ///
    /// `index` is one of the owner's, 0x0180_0000 to 0x01bf_ffff; `secret` is drawn for this index and kept where the key is that it
    /// fences.
    ///
    /// # Errors
    /// [`TpmError::Defined`]; [`TpmError::LeftDefined`] if there is an index now that nobody can use; [`TpmError`]: then there is none.
    pub fn define(
        path: &Path,
        index: u32,
        secret: Zeroizing<[u8; FENCE_BYTES]>,
        first: &[u8; FENCE_BYTES],
    ) -> Result<Self, TpmError> {
        let mut this = Self::open(path, index, secret)?;
        let parameters = Zeroizing::new(
            Writer::default()
                .sized(this.secret.as_slice())
                .sized(&public(index, ATTRIBUTES))
                .done(),
        );
        match this
            .tpm
            .authorised(DEFINE.0, DEFINE.1, &[RH_OWNER], parameters.to_vec())
        {
            Err(TpmError::Refused { rc: RC_DEFINED, .. }) => return Err(TpmError::Defined { index }),
            Err(refused @ (TpmError::Refused { .. } | TpmError::NoHandle { .. })) => return Err(refused),
            // It may have been defined: whose it is that stands there now, nobody can say.
            Err(lost) => return Err(left(index, lost)),
            Ok(_) => {}
        }
        match this.run(EXTEND, ATTRIBUTES, Writer::default().sized(first).done()) {
            Ok(_) => Ok(this),
            // Whoever lost an answer would take it for that of the next command.
            Err(lost @ (TpmError::Io { .. } | TpmError::Malformed { .. })) => Err(left(index, lost)),
            Err(error) => {
                let handles = [RH_OWNER, index];
                match this.tpm.authorised(UNDEFINE.0, UNDEFINE.1, &handles, Vec::new()) {
                    Ok(_) => Err(error),
                    Err(_) => Err(left(index, error)),
                }
            }
        }
    }

    /// Goes on with an index that is there; nothing is asked yet.
    ///
    /// # Errors
    /// [`TpmError::Open`].
    pub fn open(path: &Path, index: u32, secret: Zeroizing<[u8; FENCE_BYTES]>) -> Result<Self, TpmError> {
        Ok(Self {
            tpm: Tpm::open(path)?,
            index,
            secret,
            session: None,
        })
    }

    /// What the index holds; `None` if there is no such index.
    ///
    /// # Establishes
    /// Whoever knows the secret answered this very question.
    ///
    /// # Errors
    /// [`TpmError::Unauthenticated`]; [`TpmError`].
    pub fn value(&mut self) -> Result<Option<[u8; FENCE_BYTES]>, TpmError> {
        let parameters = Writer::default().u16(FENCE_BYTES as u16).u16(0).done();
        let answer = match self.run(READ, ATTRIBUTES | WRITTEN, parameters) {
            Err(TpmError::NoHandle { .. }) => return Ok(None),
            answer => answer?,
        };
        let mut r = Reader::new(READ.0, &answer);
        let value = r.sized("data")?.try_into();
        let value = value.map_err(|_| r.bad("data", "32 bytes"))?;
        r.end("data")?;
        Ok(Some(value))
    }

    /// Makes the index hold `SHA-256(what it holds || data)`.
    ///
    /// # Errors
    /// [`TpmError::NoHandle`] without the index; [`TpmError`]: then it may or may not have been extended.
    pub fn extend(&mut self, data: &[u8; FENCE_BYTES]) -> Result<(), TpmError> {
        self.run(EXTEND, ATTRIBUTES | WRITTEN, Writer::default().sized(data).done())
            .map(drop)
    }

    /// A command on the index whose answer is authenticated; its parameters. A session that failed is not used again.
    fn run(&mut self, command: (&'static str, u32), attributes: u32, parameters: Vec<u8>) -> Result<Vec<u8>, TpmError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.start()?,
        };
        match self.run_in(&mut session, command, attributes, parameters) {
            Ok(answer) => {
                self.session = Some(session);
                Ok(answer)
            }
            Err(error) => {
                // It makes room in the TPM if it is still there to hear of it.
                let _ = self.tpm.flush(session.handle);
                Err(error)
            }
        }
    }

    fn run_in(
        &mut self,
        session: &mut Session,
        (command, code): (&'static str, u32),
        attributes: u32,
        parameters: Vec<u8>,
    ) -> Result<Vec<u8>, TpmError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_slice());
        let name = name(self.index, attributes);
        let asked = sha256(&[&code.to_be_bytes(), &name, &name, &parameters]);
        let nonce = nonce()?;
        let tag = [asked.as_ref(), &nonce, &session.nonce_tpm, &[CONTINUE]].concat();
        let authorised = Writer::default()
            .u32(session.handle)
            .sized(&nonce)
            .u8(CONTINUE)
            .sized(hmac::sign(&key, &tag).as_ref())
            .done();
        let Answer {
            parameters,
            session: told,
            ..
        } = self.tpm.0.run(Command {
            name: command,
            code,
            handles: &[self.index, self.index],
            authorised: Some(&authorised),
            parameters,
            makes_handle: false,
        })?;
        let mut r = Reader::new(command, &told);
        let nonce_tpm = r.sized("nonceTPM")?;
        let flags = r.u8("sessionAttributes")?;
        let mac = r.sized("hmac")?;
        // The response code, which is success, stands before the command's.
        let answered = sha256(&[&[0; 4], &code.to_be_bytes(), &parameters]);
        let tag = [answered.as_ref(), nonce_tpm, &nonce, &[flags]].concat();
        hmac::verify(&key, &tag, mac).map_err(|_| TpmError::Unauthenticated { command })?;
        r.end("authorisation")?;
        session.nonce_tpm = nonce_tpm.to_vec();
        Ok(parameters)
    }

    /// An HMAC session, neither bound nor salted: the secret has 256 bits, which nobody guesses from what it authenticates.
    fn start(&mut self) -> Result<Session, TpmError> {
        let parameters = Writer::default()
            .sized(&nonce()?)
            .u16(0) // encryptedSalt
            .u8(SE_HMAC)
            .u16(ALG_NULL) // symmetric
            .u16(ALG_SHA256)
            .done();
        let answer = self.tpm.0.run(Command {
            name: START.0,
            code: START.1,
            handles: &[RH_NULL, RH_NULL],
            authorised: None,
            parameters,
            makes_handle: true,
        })?;
        let mut r = Reader::new(START.0, &answer.parameters);
        let nonce_tpm = r.sized("nonceTPM")?.to_vec();
        if !(16..=32).contains(&nonce_tpm.len()) {
            return Err(r.bad("nonceTPM", "16 to 32 bytes"));
        }
        r.end("nonceTPM")?;
        Ok(Session {
            handle: answer.handle.unwrap_or_default(),
            nonce_tpm,
        })
    }
}

impl Drop for NvFence {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // A TPM without a resource manager keeps it otherwise; one that is gone does not hear it.
            let _ = self.tpm.flush(session.handle);
        }
    }
}
