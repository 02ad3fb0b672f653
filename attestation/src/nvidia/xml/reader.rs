//! Bytes to tree. Each byte of the input is looked at by exactly one rule.

use std::collections::BTreeSet;

use super::{
    ATTRIBUTES_MAX, Attribute, DEPTH_MAX, Declaration, ELEMENTS_MAX, Element, Name, Node, XML_BYTES_MAX, XmlError,
};

/// The declarations that may stand before the root element. C14N leaves them out.
const XML_DECLARATIONS: [&str; 4] = [
    r#"<?xml version="1.0"?>"#,
    r#"<?xml version="1.0" encoding="UTF-8"?>"#,
    r#"<?xml version="1.0" encoding="utf-8"?>"#,
    r#"<?xml version="1.0" encoding="UTF-8" standalone="no"?>"#,
];

/// Reads a document: its root element.
pub(in super::super) fn parse(bytes: &[u8]) -> Result<Element<'_>, XmlError> {
    if bytes.len() > XML_BYTES_MAX {
        return Err(XmlError::Bounds {
            what: "bytes",
            most: XML_BYTES_MAX,
        });
    }
    if let Some(offset) = bytes.iter().position(|b| !matches!(b, b' '..=b'~' | b'\n')) {
        return Err(XmlError::Forbidden {
            offset,
            what: "a byte that is neither printable ASCII nor a line feed",
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| XmlError::Syntax {
        offset: e.valid_up_to(),
        detail: "no text",
    })?;
    let body = XML_DECLARATIONS
        .iter()
        .find_map(|d| text.strip_prefix(d))
        .unwrap_or(text);
    let mut reader = Reader {
        length: text.len(),
        rest: body,
        elements: 0,
        scope: Vec::new(),
    };
    reader.skip_line_feeds();
    let root = reader.element(1)?;
    reader.skip_line_feeds();
    if reader.rest.is_empty() {
        Ok(root)
    } else {
        Err(reader.unexpected("nothing after the root element"))
    }
}

struct Reader<'a> {
    length: usize,
    rest: &'a str,
    elements: usize,
    /// Declarations in scope, outermost first.
    scope: Vec<Declaration<'a>>,
}

impl<'a> Reader<'a> {
    fn offset(&self) -> usize {
        self.length.saturating_sub(self.rest.len())
    }

    fn syntax(&self, detail: &'static str) -> XmlError {
        XmlError::Syntax {
            offset: self.offset(),
            detail,
        }
    }

    /// The error for what stands here: the name of the attack if it is one, else what was expected.
    fn unexpected(&self, expected: &'static str) -> XmlError {
        let what = [
            ("<!DOCTYPE", "a document type declaration"),
            ("<!ENTITY", "an entity declaration"),
            ("<![CDATA[", "a CDATA section"),
            ("<!", "a comment or declaration"),
            ("<?", "a processing instruction"),
            ("&", "an entity or character reference"),
        ];
        match what.into_iter().find(|(start, _)| self.rest.starts_with(start)) {
            Some((_, what)) => XmlError::Forbidden {
                offset: self.offset(),
                what,
            },
            None => self.syntax(expected),
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str, expected: &'static str) -> Result<(), XmlError> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    /// The longest prefix whose bytes all satisfy `accepted`.
    fn take(&mut self, accepted: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(|b| !accepted(b)).unwrap_or(self.rest.len());
        let (head, tail) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = tail;
        head
    }

    fn skip_line_feeds(&mut self) {
        self.take(|b| b == b'\n');
    }

    fn skip_white(&mut self) -> bool {
        !self.take(|b| matches!(b, b' ' | b'\n')).is_empty()
    }

    /// A qualified name: its prefix (empty if none), its local part and the whole.
    fn name(&mut self) -> Result<(&'a str, &'a str, &'a str), XmlError> {
        let start = |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let before = self.unexpected("expected a name");
        let written = self.take(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'));
        let (prefix, local) = match written.split_once(':') {
            Some((prefix, local)) if start(prefix) && !local.contains(':') => (prefix, local),
            None => ("", written),
            Some(_) => return Err(before),
        };
        if start(local) {
            Ok((prefix, local, written))
        } else {
            Err(before)
        }
    }

    fn element(&mut self, depth: usize) -> Result<Element<'a>, XmlError> {
        self.elements = self.elements.saturating_add(1);
        for (what, got, most) in [("levels", depth, DEPTH_MAX), ("elements", self.elements, ELEMENTS_MAX)] {
            if got > most {
                return Err(XmlError::Bounds { what, most });
            }
        }
        if self.rest.starts_with("<!") || self.rest.starts_with("<?") {
            return Err(self.unexpected("expected an element"));
        }
        self.expect("<", "expected an element")?;
        let outer_scope = self.scope.len();
        let (prefix, local, written) = self.name()?;
        let (declarations, raw) = self.attributes()?;
        let attributes = raw
            .into_iter()
            .map(|(prefix, local, written, value)| {
                // An attribute without prefix is in no namespace, whatever the default is.
                let namespace = if prefix.is_empty() { "" } else { self.resolve(prefix)? };
                let name = Name {
                    written,
                    namespace,
                    local,
                };
                Ok(Attribute { name, value })
            })
            .collect::<Result<Vec<_>, XmlError>>()?;
        let expanded: BTreeSet<_> = attributes.iter().map(|a| (a.name.namespace, a.name.local)).collect();
        if expanded.len() != attributes.len() {
            return Err(self.syntax("an attribute occurs twice"));
        }
        let namespace = self.resolve(prefix)?;
        let children = if self.eat("/>") {
            Vec::new()
        } else {
            self.expect(">", "expected the end of a tag")?;
            self.content(depth, written)?
        };
        self.scope.truncate(outer_scope);
        Ok(Element {
            name: Name {
                written,
                namespace,
                local,
            },
            declarations,
            attributes,
            children,
        })
    }

    /// Attributes and declarations up to the end of the tag. The latter are in scope from here on.
    #[allow(clippy::type_complexity, reason = "read once, one call above")]
    fn attributes(&mut self) -> Result<(Vec<Declaration<'a>>, Vec<(&'a str, &'a str, &'a str, &'a str)>), XmlError> {
        let (mut declarations, mut raw) = (Vec::new(), Vec::new());
        while self.skip_white() {
            if self.rest.starts_with('>') || self.rest.starts_with("/>") {
                break;
            }
            if declarations.len().saturating_add(raw.len()) >= ATTRIBUTES_MAX {
                return Err(XmlError::Bounds {
                    what: "attributes of one element",
                    most: ATTRIBUTES_MAX,
                });
            }
            let (prefix, local, written) = self.name()?;
            self.expect("=\"", "expected =\" after an attribute's name")?;
            let value = self.take(|b| !matches!(b, b'"' | b'<' | b'&' | b'\n'));
            self.expect("\"", "expected the end of an attribute's value")?;
            let declared = match (prefix, local) {
                ("", "xmlns") => Some(""),
                ("xmlns", declared) => Some(declared),
                ("xml", _) => return Err(self.syntax("attributes of the xml namespace are not accepted")),
                _ => None,
            };
            match declared {
                Some(prefix) => {
                    let declaration = self.declare(prefix, value)?;
                    declarations.push(declaration);
                }
                None => raw.push((prefix, local, written, value)),
            }
        }
        Ok((declarations, raw))
    }

    fn declare(&mut self, prefix: &'a str, namespace: &'a str) -> Result<Declaration<'a>, XmlError> {
        if namespace.is_empty() || prefix.to_ascii_lowercase().starts_with("xml") {
            return Err(self.syntax("a namespace declaration that undeclares, or declares a reserved prefix"));
        }
        if self.scope.iter().any(|d| d.prefix == prefix) {
            return Err(self.syntax("a prefix is declared again inside its own scope"));
        }
        let declaration = Declaration { prefix, namespace };
        self.scope.push(declaration);
        Ok(declaration)
    }

    fn resolve(&self, prefix: &str) -> Result<&'a str, XmlError> {
        match self.scope.iter().find(|d| d.prefix == prefix) {
            Some(declaration) => Ok(declaration.namespace),
            None if prefix.is_empty() => Ok(""),
            None => Err(self.syntax("a prefix that is not declared")),
        }
    }

    /// Children up to and with the end tag.
    fn content(&mut self, depth: usize, name: &str) -> Result<Vec<Node<'a>>, XmlError> {
        let mut children = Vec::new();
        loop {
            let text = self.take(|b| !matches!(b, b'<' | b'&' | b'>'));
            if !text.is_empty() {
                children.push(Node::Text(text));
            }
            if self.eat("</") {
                self.expect(name, "expected the end tag of the element that is open")?;
                self.skip_white();
                self.expect(">", "expected the end tag of the element that is open")?;
                return Ok(children);
            }
            if !self.rest.starts_with('<') {
                return Err(self.unexpected("expected text, an element or an end tag"));
            }
            children.push(Node::Element(self.element(depth.saturating_add(1))?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signatures_are_attacked_with_is_refused_by_name() {
        for (xml, code) in [
            ("<!DOCTYPE r []><r/>", "nvidia.xml.forbidden"),
            ("<!DOCTYPE r [<!ENTITY e \"x\">]><r>&e;</r>", "nvidia.xml.forbidden"),
            ("<r>&amp;</r>", "nvidia.xml.forbidden"),
            ("<r a=\"&#x41;\"/>", "nvidia.xml.forbidden"),
            ("<r><!-- c --></r>", "nvidia.xml.forbidden"),
            ("<r><![CDATA[x]]></r>", "nvidia.xml.forbidden"),
            ("<r><?p i?></r>", "nvidia.xml.forbidden"),
            ("<?xml-stylesheet href=\"x\"?><r/>", "nvidia.xml.forbidden"),
            ("<r/><!-- c -->", "nvidia.xml.forbidden"),
            ("<?xml version=\"1.1\"?><r/>", "nvidia.xml.forbidden"),
            ("<r>\r\n</r>", "nvidia.xml.forbidden"),
            ("<r>\t</r>", "nvidia.xml.forbidden"),
            ("<r>\u{e9}</r>", "nvidia.xml.forbidden"),
            ("\u{feff}<r/>", "nvidia.xml.forbidden"),
            ("<r>\0</r>", "nvidia.xml.forbidden"),
        ] {
            assert_eq!(parse(xml.as_bytes()).unwrap_err().code(), code, "{xml:?}");
        }
    }

    #[test]
    fn what_is_not_well_formed_or_spelled_otherwise_is_refused() {
        for xml in [
            "",
            "\n",
            " <r/>",
            "r",
            "<r",
            "<r>",
            "<r/><r/>",
            "<r/>x",
            "<r></s>",
            "<r><s></r></s>",
            "<rs></r>",
            "<r></rs>",
            "<r a=\"1\" a=\"2\"/>",
            "<r xmlns:a=\"u\" xmlns:b=\"u\" a:x=\"1\" b:x=\"2\"/>",
            "<r a='1'/>",
            "<r a=1/>",
            "<r a=\"1\"b=\"2\"/>",
            "<r a = \"1\"/>",
            "<r a=\"<\"/>",
            "<r a=\"1\n2\"/>",
            "<r>a > b</r>",
            "<p:r/>",
            "<r p:a=\"1\"/>",
            "<r xmlns=\"\"/>",
            "<r xmlns:p=\"\"/>",
            "<r xmlns:xml=\"u\"/>",
            "<r xmlns:xmlns=\"u\"/>",
            "<r xml:lang=\"en\"/>",
            "<r xmlns=\"u\" xmlns=\"v\"/>",
            "<r xmlns=\"u\"><s xmlns=\"v\"/></r>",
            "<r xmlns:p=\"u\"><s xmlns:p=\"u\"/></r>",
            "<a:b:c xmlns:a=\"u\"/>",
            "<:r/>",
            "<1/>",
            "<r/ >",
            "< r/>",
        ] {
            assert_eq!(
                parse(xml.as_bytes()).unwrap_err().code(),
                "nvidia.xml.syntax",
                "{xml:?}"
            );
        }
        // A prefix ends with its scope and may be declared anew beside it.
        parse(b"<r><s xmlns:p=\"u\"/><s xmlns:p=\"v\"><p:t/></s></r>").unwrap();
    }

    #[test]
    fn every_bound_holds_and_is_reachable() {
        let nested = |n: usize| format!("{}{}", "<r>".repeat(n), "</r>".repeat(n));
        parse(nested(DEPTH_MAX).as_bytes()).unwrap();
        let attributes = |n: usize| {
            let all: String = (0..n).map(|i| format!(" a{i}=\"\"")).collect();
            format!("<r{all}/>")
        };
        parse(attributes(ATTRIBUTES_MAX).as_bytes()).unwrap();
        let flat = |n: usize| format!("<r>{}</r>", "<s/>".repeat(n));
        parse(flat(ELEMENTS_MAX - 1).as_bytes()).unwrap();
        let long = |n: usize| format!("<r>{}</r>", " ".repeat(n - 7));
        parse(long(XML_BYTES_MAX).as_bytes()).unwrap();
        for xml in [
            nested(DEPTH_MAX + 1),
            nested(30_000),
            attributes(ATTRIBUTES_MAX + 1),
            flat(ELEMENTS_MAX),
            long(XML_BYTES_MAX + 1),
        ] {
            assert_eq!(parse(xml.as_bytes()).unwrap_err().code(), "nvidia.xml.bounds");
        }
    }
}
