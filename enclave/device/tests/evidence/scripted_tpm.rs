//! A TPM that answers from a script, at the very place where the device would be.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Answers each command, given its code and its bytes after the header, with raw response bytes.
pub type Script = Box<dyn FnMut(u32, &[u8]) -> Vec<u8> + Send>;

/// Serves on a Unix socket at `path` until the test process ends; one client at a time, as a device.
pub fn serve(path: &Path, mut script: Script) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut header = [0; 10];
            while stream.read_exact(&mut header).is_ok() {
                let size = u32::from_be_bytes(header[2..6].try_into().unwrap()) as usize;
                let code = u32::from_be_bytes(header[6..10].try_into().unwrap());
                let mut body = vec![0; size - 10];
                stream.read_exact(&mut body).unwrap();
                if stream.write_all(&script(code, &body)).is_err() {
                    break;
                }
            }
        }
    });
}

/// A response with this tag and code.
pub fn response(tag: u16, rc: u32, body: &[u8]) -> Vec<u8> {
    let mut out = tag.to_be_bytes().to_vec();
    out.extend_from_slice(&(10 + body.len() as u32).to_be_bytes());
    out.extend_from_slice(&rc.to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// A response to an authorised command: handle if there is one, parameters, the session's acknowledgement.
pub fn authorised(handle: Option<u32>, parameters: &[u8]) -> Vec<u8> {
    let mut body: Vec<u8> = handle.into_iter().flat_map(u32::to_be_bytes).collect();
    body.extend_from_slice(&(parameters.len() as u32).to_be_bytes());
    body.extend_from_slice(parameters);
    body.extend_from_slice(&[0, 0, 1, 0, 0]);
    response(0x8002, 0, &body)
}

/// TPM2B.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}
