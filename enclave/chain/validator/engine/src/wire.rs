//! What validators say to each other about blocks. Bounded before anything is read.

use hanzo_attestation::Digest256;
use hanzo_ledger::{BLOCK_BYTES_MAX, Block, Canonical, DecodeError};

/// Longest message in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1 + BLOCK_BYTES_MAX;

const BLOCK: u8 = 0;
const REQUEST: u8 = 1;

/// One message.
///
/// # Layout
/// 0 and a block; or 1, the id of a block (32) and its height (8; 0: not known). Big endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Here is a block.
    Block(Box<Block>),
    /// Who has this one?
    Request(Wanted),
}

/// Which block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) id: Digest256,
    pub(crate) height: u64,
}

impl Message {
    pub(crate) fn of_block(block: &Block) -> Vec<u8> {
        let mut out = vec![BLOCK];
        block.write(&mut out);
        out
    }

    pub(crate) fn of_request(wanted: &Wanted) -> Vec<u8> {
        let mut out = vec![REQUEST];
        wanted.id.write(&mut out);
        wanted.height.write(&mut out);
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let too_long = bytes.len() > MESSAGE_BYTES_MAX;
        match bytes.split_first() {
            _ if too_long => Err(DecodeError::TooLong {
                what: "message",
                max: MESSAGE_BYTES_MAX,
                got: bytes.len(),
            }),
            Some((&BLOCK, rest)) => Ok(Self::Block(Box::new(Block::parse(rest)?))),
            Some((&REQUEST, rest)) => {
                let (id, height) = rest.split_at_checked(32).ok_or(DecodeError::Truncated {
                    what: "request",
                    expected: 40,
                    got: rest.len(),
                })?;
                Ok(Self::Request(Wanted {
                    id: Digest256::from_bytes("request.id", id, 32)?,
                    height: u64::from_bytes("request.height", height, 8)?,
                }))
            }
            Some((&got, _)) => Err(DecodeError::Tag {
                what: "message",
                expected: "0 (block) or 1 (request)",
                got,
            }),
            None => Err(DecodeError::Truncated {
                what: "message",
                expected: 1,
                got: 0,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_in_one_spelling_and_others_are_refused() {
        let wanted = Wanted {
            id: Digest256([7; 32]),
            height: 9,
        };
        let bytes = Message::of_request(&wanted);
        assert_eq!(Message::parse(&bytes), Ok(Message::Request(wanted)));
        let code = |bytes: &[u8]| Message::parse(bytes).map_err(|e| e.code());
        for len in 0..bytes.len() {
            assert_eq!(code(&bytes[..len]), Err("ledger.decode.truncated"), "{len}");
        }
        assert_eq!(code(&[&bytes[..], &[0]].concat()), Err("ledger.decode.too_long"));
        assert_eq!(code(&[2]), Err("ledger.decode.tag"));
        assert_eq!(code(&[0, 9]), Err("ledger.decode.tag"));
        assert_eq!(code(&vec![0; MESSAGE_BYTES_MAX + 1]), Err("ledger.decode.too_long"));
    }
}
