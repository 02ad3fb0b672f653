//! C14N 1.1 without comments, of what the reader lets through.
//!
//! The escapes of C14N (section 2.3) have nothing to do here: the reader refuses every character that they are for. Since
//! no prefix is declared twice in one scope, each declaration is written where it stands, and the rules about
//! superfluous ones have nothing to do either.

use super::{Attribute, Declaration, Element, Node};

/// The canonical form of `element` and everything in it except elements for which `omitted` holds.
///
/// `inherited`: the declarations in scope from outside, which C14N writes at the apex of a subset.
pub(in super::super) fn canonical(
    element: &Element<'_>,
    inherited: &[Declaration<'_>],
    omitted: impl Fn(&Element<'_>) -> bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 * 1024);
    write(element, inherited, &omitted, &mut out);
    out
}

fn write(
    element: &Element<'_>,
    inherited: &[Declaration<'_>],
    omitted: &impl Fn(&Element<'_>) -> bool,
    out: &mut Vec<u8>,
) {
    let name = element.name.written.as_bytes();
    let mut declarations: Vec<&Declaration<'_>> = inherited.iter().chain(&element.declarations).collect();
    // The default namespace has the empty prefix and so comes first.
    declarations.sort();
    let mut attributes: Vec<&Attribute<'_>> = element.attributes.iter().collect();
    attributes.sort_by_key(|a| (a.name.namespace, a.name.local));
    out.push(b'<');
    out.extend(name);
    for declaration in declarations {
        out.extend(b" xmlns");
        if !declaration.prefix.is_empty() {
            out.push(b':');
            out.extend(declaration.prefix.as_bytes());
        }
        value(declaration.namespace, out);
    }
    for attribute in attributes {
        out.push(b' ');
        out.extend(attribute.name.written.as_bytes());
        value(attribute.value, out);
    }
    out.push(b'>');
    for child in &element.children {
        match child {
            Node::Element(child) if omitted(child) => {}
            Node::Element(child) => write(child, &[], omitted, out),
            Node::Text(text) => out.extend(text.as_bytes()),
        }
    }
    out.extend(b"</");
    out.extend(name);
    out.push(b'>');
}

fn value(value: &str, out: &mut Vec<u8>) {
    out.extend(b"=\"");
    out.extend(value.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::{Node, parse};
    use super::*;

    fn canonical_text(xml: &str) -> String {
        String::from_utf8(canonical(&parse(xml.as_bytes()).unwrap(), &[], |_| false)).unwrap()
    }

    /// What `xmllint --c14n11` writes for the same input.
    #[test]
    fn declarations_and_attributes_are_sorted_and_empty_elements_are_pairs() {
        let xml = "<?xml version=\"1.0\"?>\n<b:r xmlns:b=\"u:b\" z=\"1\" xmlns=\"u:d\" b:y=\"2\" xmlns:a=\"u:z\"  a:x=\"3\"\n A=\"4\" ><e /> t\n\
                   <a:f></a:f ></b:r>\n";
        assert_eq!(
            canonical_text(xml),
            "<b:r xmlns=\"u:d\" xmlns:a=\"u:z\" xmlns:b=\"u:b\" A=\"4\" z=\"1\" b:y=\"2\" a:x=\"3\"><e></e> t\n<a:f></a:f></b:r>"
        );
    }

    #[test]
    fn a_subset_carries_the_declarations_that_it_inherits() {
        let root = parse(b"<r xmlns=\"u:d\" xmlns:p=\"u:p\"><p:i xmlns:q=\"u:q\"/></r>").unwrap();
        let [Node::Element(inner)] = root.children.as_slice() else {
            panic!("one child");
        };
        assert_eq!(
            canonical(inner, &root.declarations, |_| false),
            b"<p:i xmlns=\"u:d\" xmlns:p=\"u:p\" xmlns:q=\"u:q\"></p:i>"
        );
    }

    #[test]
    fn omitted_elements_leave_the_text_around_them() {
        let root = parse(b"<r>a<s>b</s>\nc</r>").unwrap();
        assert_eq!(canonical(&root, &[], |e| e.is("", "s")), b"<r>a\nc</r>");
    }
}
