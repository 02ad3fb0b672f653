//! CBOR (RFC 8949), the strict part that is needed: definite lengths in their shortest form, integers, bytes, text, lists,
//! maps whose keys are distinct, tags, and the simple values. Everything else is refused, and so are trailing bytes.

const DEPTH_MAX: usize = 16;
/// Most members of one map: finding a repeated key takes the square of their number.
const MEMBERS_MAX: usize = 256;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Int(u64),
    /// -1 - n
    Negative(u64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Item>),
    Map(Vec<(Item, Item)>),
    Tagged(u64, Box<Item>),
    Simple(u8),
}

impl Item {
    /// One whole item.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut at = Reader(bytes);
        let item = at.item(DEPTH_MAX)?;
        at.0.is_empty().then_some(item)
    }

    pub(super) fn tagged(&self, tag: u64) -> Option<&Item> {
        match self {
            Self::Tagged(t, inner) if *t == tag => Some(inner),
            _ => None,
        }
    }

    pub(super) fn member(&self, key: u64) -> Option<&Item> {
        match self {
            Self::Map(members) => members.iter().find(|(k, _)| *k == Self::Int(key)).map(|(_, v)| v),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Item]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    /// The argument of a head, in its shortest form.
    fn argument(&mut self, low: u8) -> Option<u64> {
        let (width, least) = match low {
            0..=23 => return Some(u64::from(low)),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return None,
        };
        let value = self.take(width)?.iter().fold(0, |n, b| n << 8 | u64::from(*b));
        (value >= least).then_some(value)
    }

    /// A length: every element takes at least one byte, so it cannot exceed what is left.
    fn length(&mut self, low: u8) -> Option<usize> {
        let length = usize::try_from(self.argument(low)?).ok()?;
        (length <= self.0.len()).then_some(length)
    }

    fn item(&mut self, depth: usize) -> Option<Item> {
        let depth = depth.checked_sub(1)?;
        let [head] = *self.take(1)?.first_chunk::<1>()?;
        let (major, low) = (head >> 5, head & 0x1f);
        Some(match major {
            0 => Item::Int(self.argument(low)?),
            1 => Item::Negative(self.argument(low)?),
            2 => {
                let length = self.length(low)?;
                Item::Bytes(self.take(length)?.to_vec())
            }
            3 => {
                let length = self.length(low)?;
                Item::Text(String::from_utf8(self.take(length)?.to_vec()).ok()?)
            }
            4 => {
                let length = self.length(low)?;
                Item::List((0..length).map(|_| self.item(depth)).collect::<Option<_>>()?)
            }
            5 => {
                let mut members: Vec<(Item, Item)> = Vec::new();
                let length = self.length(low).filter(|length| *length <= MEMBERS_MAX)?;
                for _ in 0..length {
                    let key = self.item(depth)?;
                    if members.iter().any(|(k, _)| *k == key) {
                        return None;
                    }
                    members.push((key, self.item(depth)?));
                }
                Item::Map(members)
            }
            6 => Item::Tagged(self.argument(low)?, Box::new(self.item(depth)?)),
            // false, true, null, undefined; floats are refused
            _ if (20..=23).contains(&low) => Item::Simple(low),
            _ => return None,
        })
    }
}
