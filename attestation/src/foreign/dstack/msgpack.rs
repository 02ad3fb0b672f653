//! MessagePack, as far as serde writes it: maps with text keys, lists, text, bytes, integers, nil and booleans.
//!
//! Lengths are bounded by what is left before anything is allocated; a key that comes twice, floats, extensions and
//! trailing bytes are refused. A list of small numbers is how serde writes bytes, so it is kept as bytes.

use std::collections::BTreeMap;

const DEPTH_MAX: usize = 16;

pub(super) enum Node {
    Int(u64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
    Other,
}

impl Node {
    /// One whole value.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut at = Reader(bytes);
        let node = at.node(DEPTH_MAX)?;
        at.0.is_empty().then_some(node)
    }

    pub(super) fn into_int(self) -> Option<u64> {
        match self {
            Self::Int(n) => Some(n),
            _ => None,
        }
    }

    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn into_list(self) -> Option<Vec<Node>> {
        match self {
            Self::List(list) => Some(list),
            Self::Bytes(bytes) if bytes.is_empty() => Some(Vec::new()),
            _ => None,
        }
    }

    pub(super) fn into_map(self) -> Option<BTreeMap<String, Node>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    /// A big-endian number of `width` bytes.
    fn number(&mut self, width: usize) -> Option<u64> {
        Some(self.take(width)?.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// A length, at most what is left: every element takes at least one byte.
    fn length(&mut self, width: usize) -> Option<usize> {
        let length = usize::try_from(self.number(width)?).ok()?;
        (length <= self.0.len()).then_some(length)
    }

    fn node(&mut self, depth: usize) -> Option<Node> {
        let inner = depth.checked_sub(1)?;
        let tag = self.number(1)? as u8;
        let short = |mask: u8| usize::from(tag & mask);
        match tag {
            0x00..=0x7f => Some(Node::Int(u64::from(tag))),
            0x80..=0x8f => self.map(short(0x0f), inner),
            0x90..=0x9f => self.list(short(0x0f), inner),
            0xa0..=0xbf => self.text(short(0x1f)),
            0xc0 | 0xc2 | 0xc3 => Some(Node::Other),
            0xc4..=0xc6 => {
                let length = self.length(1 << (tag - 0xc4))?;
                Some(Node::Bytes(self.take(length)?.to_vec()))
            }
            0xcc..=0xcf => Some(Node::Int(self.number(1 << (tag - 0xcc))?)),
            0xd0..=0xd3 => {
                self.take(1 << (tag - 0xd0))?;
                Some(Node::Other)
            }
            0xd9..=0xdb => {
                let length = self.length(1 << (tag - 0xd9))?;
                self.text(length)
            }
            0xdc | 0xdd => {
                let length = self.length(2 << (tag - 0xdc))?;
                self.list(length, inner)
            }
            0xde | 0xdf => {
                let length = self.length(2 << (tag - 0xde))?;
                self.map(length, inner)
            }
            _ => None,
        }
    }

    fn text(&mut self, length: usize) -> Option<Node> {
        String::from_utf8(self.take(length)?.to_vec()).ok().map(Node::Text)
    }

    fn list(&mut self, length: usize, depth: usize) -> Option<Node> {
        let mut bytes = Vec::new();
        let mut nodes = Vec::new();
        for _ in 0..length {
            match self.node(depth)? {
                Node::Int(n @ 0..=255) if nodes.is_empty() => bytes.push(n as u8),
                other => {
                    nodes.extend(bytes.drain(..).map(|b| Node::Int(u64::from(b))));
                    nodes.push(other);
                }
            }
        }
        Some(if nodes.is_empty() {
            Node::Bytes(bytes)
        } else {
            Node::List(nodes)
        })
    }

    fn map(&mut self, length: usize, depth: usize) -> Option<Node> {
        let mut out = BTreeMap::new();
        for _ in 0..length {
            let key = self.node(depth)?.into_text()?;
            let value = self.node(depth)?;
            if out.insert(key, value).is_some() {
                return None;
            }
        }
        Some(Node::Map(out))
    }
}
