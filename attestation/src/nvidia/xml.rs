//! The XML that NVIDIA's RIM files are written in, and nothing else of XML.
//!
//! A verifier of XML signatures that reads all of XML has to defend itself against all of XML: entities, DTDs, character
//! references, comments that split text, default attributes, prefixes that change their meaning. This reader refuses
//! each of them, and what is left has one canonical form that is a plain copy: C14N 1.1 (W3C, 2 May 2008) without
//! comments comes down to sorting attributes and namespace declarations and writing empty elements as a pair of tags.
//! Values are read from the very tree that is canonicalised, so nothing can be read that was not digested.
//!
//! # Accepted
//! An optional XML declaration in one of four spellings, then one element and line feeds. Elements with attributes in
//! double quotes, text of printable ASCII and line feeds. Every prefix is declared before use and never again inside
//! its scope.
//!
//! # Refused
//! `&`, `<!` (comments, CDATA, DTDs), `<?`, `>` in text, carriage returns, tabs, bytes outside ASCII, single quotes round
//! a value, `xml:` attributes, `xmlns=""`, repeated attributes, more than 256 KiB, 16 levels, 64 attributes or 4096 elements.
//!
//! No crate is used for this: parsers that give a tree lose the prefixes that C14N needs, those that keep them leave
//! well-formedness to the caller, and what is accepted here is less than either.

mod canonical;
mod reader;

pub(super) use canonical::canonical;
pub(super) use reader::parse;

/// Longest document in bytes; NVIDIA's are 20 to 26 KiB.
pub const XML_BYTES_MAX: usize = 256 << 10;
/// Deepest nesting; NVIDIA's is 6.
const DEPTH_MAX: usize = 16;
/// Most attributes and declarations of one element; NVIDIA's have at most 14.
const ATTRIBUTES_MAX: usize = 64;
/// Most elements; NVIDIA's have about 90.
const ELEMENTS_MAX: usize = 4096;

/// Why a document was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Not well-formed, or a spelling that NVIDIA does not use.
    #[error("XML, byte {offset}: {detail}")]
    Syntax {
        /// Where.
        offset: usize,
        /// What is wrong.
        detail: &'static str,
    },
    /// A feature of XML that signatures are attacked with.
    #[error("XML, byte {offset}: {what} is not accepted in a signed reference measurement")]
    Forbidden {
        /// Where.
        offset: usize,
        /// Which feature.
        what: &'static str,
    },
    /// Larger than any RIM.
    #[error("XML: {what}: expected at most {most}")]
    Bounds {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        most: usize,
    },
}

impl XmlError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "nvidia.xml.syntax",
            Self::Forbidden { .. } => "nvidia.xml.forbidden",
            Self::Bounds { .. } => "nvidia.xml.bounds",
        }
    }
}

/// A qualified name, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<'a> {
    /// As written, prefix included.
    pub(super) written: &'a str,
    /// Namespace; empty for an attribute without prefix and an element without any.
    pub(super) namespace: &'a str,
    /// Without the prefix.
    pub(super) local: &'a str,
}

/// A prefix (empty: the default namespace) and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Declaration<'a> {
    pub(super) prefix: &'a str,
    pub(super) namespace: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub(super) name: Name<'a>,
    pub(super) value: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) name: Name<'a>,
    pub(super) declarations: Vec<Declaration<'a>>,
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) children: Vec<Node<'a>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node<'a> {
    Element(Element<'a>),
    Text(&'a str),
}

impl<'a> Element<'a> {
    pub(super) fn is(&self, namespace: &str, local: &str) -> bool {
        self.name.namespace == namespace && self.name.local == local
    }

    /// The attribute of that name in no namespace.
    pub(super) fn attribute(&self, local: &str) -> Option<&'a str> {
        let mut all = self.attributes.iter();
        all.find(|a| a.name.namespace.is_empty() && a.name.local == local)
            .map(|a| a.value)
    }

    /// The child elements; `None` if there is text between them that is more than white space.
    pub(super) fn elements(&self) -> Option<Vec<&Element<'a>>> {
        let mut out = Vec::with_capacity(self.children.len());
        for child in &self.children {
            match child {
                Node::Element(element) => out.push(element),
                Node::Text(text) if text.bytes().all(|b| matches!(b, b' ' | b'\n')) => {}
                Node::Text(_) => return None,
            }
        }
        Some(out)
    }

    /// The text; `None` if there are child elements.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.children.as_slice() {
            [] => Some(""),
            [Node::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// How many elements in this tree, itself included, have that name.
    pub(super) fn count(&self, namespace: &str, local: &str) -> usize {
        let below = self.children.iter().map(|child| match child {
            Node::Element(element) => element.count(namespace, local),
            Node::Text(_) => 0,
        });
        usize::from(self.is(namespace, local)).saturating_add(below.sum())
    }
}
