//! What of a SWID tag is read, and how strictly.
//!
//! Elements must be exactly NVIDIA's, in NVIDIA's order. Attributes of `SoftwareIdentity`, `Entity` and `Meta` that are not
//! read may be any, since they are signed and decide nothing; those of `Resource` are a closed list.

use crate::nvidia::rim::{INDEXES, RimError};
use crate::nvidia::xml::{Attribute, Element};

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
pub(super) const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
/// Most alternatives of one measurement; NVIDIA's have up to 4.
const ALTERNATIVES_MAX: usize = 32;

/// A tag as it came, nothing verified.
pub(super) struct Tag<'a> {
    pub(super) product: &'a str,
    pub(super) version: &'a str,
    pub(super) resources: Vec<Resource>,
    pub(super) signature: &'a Element<'a>,
}

/// One reference measurement.
pub(super) struct Resource {
    pub(super) index: u8,
    pub(super) active: bool,
    pub(super) alternatives: Vec<[u8; 48]>,
}

/// Reads a tag.
pub(super) fn read<'a>(root: &'a Element<'a>) -> Result<Tag<'a>, RimError> {
    let structure = |detail| RimError::Structure { detail };
    if !root.is(SWID, "SoftwareIdentity") {
        return Err(structure("expected SoftwareIdentity of SWID 2015 as the root element"));
    }
    let signatures = root.count(DSIG, "Signature");
    if signatures != 1 {
        return Err(RimError::SignaturePlace { got: signatures });
    }
    let children = root
        .elements()
        .ok_or(structure("SoftwareIdentity: text between elements"))?;
    let [entity, meta, payload, signature] = children.as_slice() else {
        return Err(structure(
            "SoftwareIdentity: expected Entity, Meta, Payload and Signature, and nothing else",
        ));
    };
    if !signature.is(DSIG, "Signature") {
        return Err(RimError::SignaturePlace { got: signatures });
    }
    let empty = |e: &Element<'_>, local| e.is(SWID, local) && e.children.is_empty();
    if !empty(entity, "Entity") || !empty(meta, "Meta") || !payload.is(SWID, "Payload") {
        return Err(structure(
            "SoftwareIdentity: expected an empty Entity, an empty Meta and a Payload before Signature",
        ));
    }
    let resources = resources(payload)?;
    Ok(Tag {
        product: word(meta, "product", "Meta/@product")?,
        version: word(meta, "colloquialVersion", "Meta/@colloquialVersion")?,
        resources,
        signature,
    })
}

/// An attribute that must be there and be one word.
fn word<'a>(element: &Element<'a>, name: &str, field: &'static str) -> Result<&'a str, RimError> {
    element
        .attribute(name)
        .filter(|v| !v.is_empty() && v.len() <= 64 && v.bytes().all(|b| b.is_ascii_graphic()))
        .ok_or(RimError::Content {
            field,
            detail: "expected one word of at most 64 characters",
        })
}

fn resources(payload: &Element<'_>) -> Result<Vec<Resource>, RimError> {
    let children = payload.elements().ok_or(RimError::Structure {
        detail: "Payload: text between elements",
    })?;
    if children.is_empty() || children.len() > usize::from(INDEXES) {
        return Err(RimError::Structure {
            detail: "Payload: expected 1 to 64 Resource elements",
        });
    }
    let mut out: Vec<Resource> = Vec::with_capacity(children.len());
    for child in children {
        if !child.is(SWID, "Resource") || !child.children.is_empty() || !child.declarations.is_empty() {
            return Err(RimError::Structure {
                detail: "Payload: expected empty Resource elements and nothing else",
            });
        }
        let resource = Resource::read(child)?;
        if out.iter().any(|other| other.index == resource.index) {
            return Err(RimError::DuplicateIndex { index: resource.index });
        }
        out.push(resource);
    }
    Ok(out)
}

impl Resource {
    fn read(element: &Element<'_>) -> Result<Self, RimError> {
        let wrong = |field, detail| RimError::Content { field, detail };
        if element.attribute("type") != Some("Measurement") {
            return Err(wrong("Resource/@type", "expected Measurement"));
        }
        let index = number(element, "index").filter(|i| *i < usize::from(INDEXES));
        let index = index
            .and_then(|i| u8::try_from(i).ok())
            .ok_or(wrong("Resource/@index", "expected 0 to 63"))?;
        let active = match element.attribute("active") {
            Some("True") => true,
            Some("False") => false,
            _ => return Err(wrong("Resource/@active", "expected True or False")),
        };
        let count = number(element, "alternatives")
            .filter(|n| (1..=ALTERNATIVES_MAX).contains(n))
            .ok_or(wrong("Resource/@alternatives", "expected 1 to 32"))?;
        if element.attribute("size") != Some("48") {
            return Err(wrong("Resource/@size", "expected 48, the length of SHA-384"));
        }
        word(element, "name", "Resource/@name")?;
        let alternatives = (0..count)
            .map(|i| {
                hash(element, i).ok_or(wrong(
                    "Resource/@Hash",
                    "expected Hash0 and on, 96 hexadecimal digits each",
                ))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let known = |a: &Attribute<'_>| match a.name.namespace {
            "" => ["type", "index", "active", "alternatives", "name", "size"].contains(&a.name.local),
            // As many as `alternatives` says were found by name; no name occurs twice.
            SHA384 => a.name.local.starts_with("Hash"),
            _ => false,
        };
        if !element.attributes.iter().all(known) || element.attributes.len() != count.saturating_add(6) {
            return Err(wrong(
                "Resource",
                "expected type, index, active, alternatives, name, size and as many hashes as alternatives",
            ));
        }
        Ok(Self {
            index,
            active,
            alternatives,
        })
    }
}

/// A decimal number without sign or leading zeros.
fn number(element: &Element<'_>, name: &str) -> Option<usize> {
    let text = element.attribute(name)?;
    let canonical =
        text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok())?
}

fn hash(element: &Element<'_>, i: usize) -> Option<[u8; 48]> {
    let name = format!("Hash{i}");
    let mut all = element.attributes.iter();
    let found = all.find(|a| a.name.namespace == SHA384 && a.name.local == name)?;
    let mut out = [0; 48];
    hex::decode_to_slice(found.value, &mut out).ok()?;
    Some(out)
}
