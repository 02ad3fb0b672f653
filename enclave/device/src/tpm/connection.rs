//! One exchange: a command in one write, its response as long as its header says.
//!
//! # Layout
//! Command: tag u16 (0x8001, or 0x8002 with authorisation), size u32, code u32. Response: tag, size, response code.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::TpmError;
use super::wire::{Reader, Writer};

const HEADER_BYTES: usize = 10;
/// MAX_RESPONSE_SIZE of every TPM there is.
const RESPONSE_BYTES_MAX: usize = 4096;
const TAG_NO_SESSIONS: u16 = 0x8001;
const TAG_SESSIONS: u16 = 0x8002;
/// TPM_RC_RETRY, TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_NV_RATE (it spares its NV memory): nothing was done, ask again.
const ASK_AGAIN: [u32; 4] = [0x922, 0x908, 0x90a, 0x920];
/// Before each further try, in milliseconds: 2.9 s in all, then it is a refusal.
const PAUSES_MS: [u64; 8] = [20, 40, 80, 160, 320, 640, 640, 1_000];
/// Longest that a socket's other end may take; creating an RSA key is the slowest that is asked for.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(30);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// An open TPM.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
}

/// What a response held: the handle if the command makes one, the parameters, and what the session says of them.
pub(super) struct Answer {
    pub(super) handle: Option<u32>,
    pub(super) parameters: Vec<u8>,
    pub(super) session: Vec<u8>,
}

/// TPMS_AUTH_COMMAND of the empty password: TPM_RS_PW, no nonce, no attributes, no password.
pub(super) const EMPTY_PASSWORD: [u8; 9] = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];

/// What a command consists of.
pub(super) struct Command<'a> {
    pub(super) name: &'static str,
    pub(super) code: u32,
    pub(super) handles: &'a [u32],
    /// How the first handle is authorised: TPMS_AUTH_COMMAND.
    pub(super) authorised: Option<&'a [u8]>,
    pub(super) parameters: Vec<u8>,
    pub(super) makes_handle: bool,
}

impl Connection {
    /// Opens a character device, or a Unix socket that speaks the same (a software TPM).
    pub(super) fn open(path: &Path) -> Result<Self, TpmError> {
        let failed = |source| TpmError::Open {
            path: path.to_owned(),
            source,
        };
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        let stream: Box<dyn Stream> = if kind.is_socket() {
            let socket = UnixStream::connect(path).map_err(failed)?;
            socket.set_read_timeout(Some(SOCKET_TIMEOUT)).map_err(failed)?;
            socket.set_write_timeout(Some(SOCKET_TIMEOUT)).map_err(failed)?;
            Box::new(socket)
        } else {
            let device = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
            Box::new(device)
        };
        Ok(Self { stream })
    }

    pub(super) fn run(&mut self, command: Command<'_>) -> Result<Answer, TpmError> {
        let bytes = marshal(&command);
        let mut pauses = PAUSES_MS.into_iter();
        loop {
            let response = self.exchange(command.name, &bytes)?;
            let mut reader = Reader::new(command.name, &response);
            let tag = reader.u16("tag")?;
            reader.u32("responseSize")?;
            let rc = reader.u32("responseCode")?;
            if ASK_AGAIN.contains(&rc)
                && let Some(pause) = pauses.next()
            {
                std::thread::sleep(Duration::from_millis(pause));
                continue;
            }
            if rc != 0 {
                return Err(refusal(&command, rc));
            }
            let expected_tag = if command.authorised.is_some() {
                TAG_SESSIONS
            } else {
                TAG_NO_SESSIONS
            };
            if tag != expected_tag {
                return Err(reader.bad("tag", "the command's own"));
            }
            let handle = match command.makes_handle {
                true => Some(reader.u32("handle")?),
                false => None,
            };
            let parameters = if command.authorised.is_some() {
                let len = reader.u32("parameterSize")?;
                reader.take("parameters", len as usize)?
            } else {
                reader.rest()
            };
            return Ok(Answer {
                handle,
                parameters: parameters.to_vec(),
                session: reader.rest().to_vec(),
            });
        }
    }

    fn exchange(&mut self, command: &'static str, bytes: &[u8]) -> Result<Vec<u8>, TpmError> {
        let failed = |source| TpmError::Io { command, source };
        self.stream.write_all(bytes).map_err(failed)?;
        self.stream.flush().map_err(failed)?;
        let mut response = Vec::new();
        let mut buffer = [0; RESPONSE_BYTES_MAX];
        loop {
            let got = match self.stream.read(&mut buffer) {
                Ok(0) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed(e)),
            };
            response.extend(buffer.iter().take(got));
            if response.len() < HEADER_BYTES {
                continue;
            }
            let mut header = Reader::new(command, &response);
            header.u16("tag")?;
            let stated = header.u32("responseSize")? as usize;
            if !(HEADER_BYTES..=RESPONSE_BYTES_MAX).contains(&stated) || response.len() > stated {
                return Err(header.bad("responseSize", "10 to 4096 bytes, and no more than that many sent"));
            }
            if response.len() == stated {
                return Ok(response);
            }
        }
    }
}

fn marshal(command: &Command<'_>) -> Vec<u8> {
    let mut body = Writer::default();
    for handle in command.handles {
        body = body.u32(*handle);
    }
    if let Some(session) = command.authorised {
        body = body.u32(session.len() as u32).bytes(session);
    }
    let body = body.bytes(&command.parameters).done();
    let tag = if command.authorised.is_some() {
        TAG_SESSIONS
    } else {
        TAG_NO_SESSIONS
    };
    Writer::default()
        .u16(tag)
        .u32((HEADER_BYTES + body.len()) as u32)
        .u32(command.code)
        .bytes(&body)
        .done()
}

/// TPM_RC_HANDLE or TPM_RC_VALUE of the first or second handle (an index or object that does not exist), or a refusal.
fn refusal(command: &Command<'_>, rc: u32) -> TpmError {
    let nothing_there = match rc {
        0x18b | 0x184 => command.handles.first(),
        0x28b | 0x284 => command.handles.get(1),
        _ => None,
    };
    match nothing_there {
        Some(handle) => TpmError::NoHandle {
            command: command.name,
            handle: *handle,
        },
        None => TpmError::Refused {
            command: command.name,
            rc,
        },
    }
}
