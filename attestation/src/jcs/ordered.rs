//! Writing what stands in canonical order already: most of our types name their members in that order, and writing them
//! so costs a fraction of sorting them.

use std::cell::Cell;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

/// Largest integer that every reader keeps exactly, and that is written with its digits alone.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The canonical form of `value`; `None` if it is not certain that this is it: members in another order, or of names that
/// are not plain ASCII, fractions, large numbers.
pub(super) fn write<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    let canonical = Cell::new(true);
    let mut out = Vec::with_capacity(512);
    let watch = Watch {
        canonical: &canonical,
        in_key: false,
        key: Vec::new(),
        last_keys: Vec::new(),
        objects: Vec::new(),
    };
    value.serialize(&mut Serializer::with_formatter(&mut out, watch)).ok()?;
    canonical.get().then_some(out)
}

/// Writes compact JSON and watches whether it is canonical.
struct Watch<'a> {
    canonical: &'a Cell<bool>,
    in_key: bool,
    key: Vec<u8>,
    /// The last key of every open object, one after the other.
    last_keys: Vec<u8>,
    /// For every open object where its last key starts, once it has one.
    objects: Vec<(usize, bool)>,
}

impl Watch<'_> {
    fn doubt(&self) {
        self.canonical.set(false);
    }

    fn integer(&self, magnitude: u64) {
        if magnitude > INTEGER_MAX {
            self.doubt();
        }
    }
}

impl Formatter for Watch<'_> {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.objects.push((self.last_keys.len(), false));
        CompactFormatter.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if let Some((start, _)) = self.objects.pop() {
            self.last_keys.truncate(start);
        }
        CompactFormatter.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.in_key = true;
        self.key.clear();
        CompactFormatter.begin_object_key(writer, first)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.in_key = false;
        match self.objects.last_mut() {
            Some((start, has_key)) => {
                let last = self.last_keys.get(*start..).unwrap_or_default();
                // Of ASCII the order of bytes is that of UTF-16 code units. Equal keys are a repetition.
                if (*has_key && last >= self.key.as_slice()) || !self.key.is_ascii() {
                    self.canonical.set(false);
                }
                *has_key = true;
                self.last_keys.truncate(*start);
                self.last_keys.extend_from_slice(&self.key);
            }
            None => self.doubt(),
        }
        CompactFormatter.end_object_key(writer)
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if self.in_key {
            self.key.extend_from_slice(fragment.as_bytes());
        }
        writer.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        // In strings serde_json escapes exactly what RFC 8785 section 3.2.2.2 wants escaped, and in the same way.
        if self.in_key {
            self.doubt();
        }
        CompactFormatter.write_char_escape(writer, escape)
    }

    fn write_u64<W: ?Sized + Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        self.integer(value);
        CompactFormatter.write_u64(writer, value)
    }

    fn write_i64<W: ?Sized + Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        self.integer(value.unsigned_abs());
        CompactFormatter.write_i64(writer, value)
    }

    fn write_u128<W: ?Sized + Write>(&mut self, writer: &mut W, value: u128) -> io::Result<()> {
        self.doubt();
        CompactFormatter.write_u128(writer, value)
    }

    fn write_i128<W: ?Sized + Write>(&mut self, writer: &mut W, value: i128) -> io::Result<()> {
        self.doubt();
        CompactFormatter.write_i128(writer, value)
    }

    fn write_f32<W: ?Sized + Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        self.doubt();
        CompactFormatter.write_f32(writer, value)
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        self.doubt();
        CompactFormatter.write_f64(writer, value)
    }

    fn write_number_str<W: ?Sized + Write>(&mut self, writer: &mut W, value: &str) -> io::Result<()> {
        self.doubt();
        CompactFormatter.write_number_str(writer, value)
    }

    fn write_raw_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        self.doubt();
        CompactFormatter.write_raw_fragment(writer, fragment)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is written is what the canonicaliser writes, or nothing.
    fn agrees(value: &Value) -> bool {
        match write(value) {
            Some(written) => {
                let expected = serde_json_canonicalizer::to_vec(value).unwrap();
                assert_eq!(String::from_utf8(written), String::from_utf8(expected));
                true
            }
            None => false,
        }
    }

    #[test]
    fn members_in_order_are_written_as_they_stand_and_all_else_is_left_to_the_canonicaliser() {
        for in_order in [
            json!({"a": 1, "aa": {"b": [], "c": [{}, {"z": null}, {"a": true}]}, "b": "x"}),
            json!({"": -1, "A": i64::MIN >> 11, "a": INTEGER_MAX, "a/b": "é \u{1f600} / \u{7f} \" \\ \n \u{1}"}),
            json!([{"b": 1}, {"a": 1}, -0]),
        ] {
            assert!(agrees(&in_order), "{in_order}");
        }
        for other in [
            json!({"b": 1, "a": 1}),
            json!({"a": {"b": 1, "a": 1}}),
            json!({"a": {"z": 1}, "b": {"c": 1}, "aa": 1}),
            json!({"é": 1}),
            json!({"\n": 1}),
            json!(1.0),
            json!(INTEGER_MAX + 1),
        ] {
            assert!(!agrees(&other), "{other}");
        }
    }

    fn draw(state: &mut u64, n: u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % n
    }

    fn text(state: &mut u64) -> &'static str {
        let all = [
            "",
            "a",
            "b",
            "ab",
            "A",
            "\u{e9}",
            "\u{ff41}",
            "\u{1f600}",
            "\"",
            "a\u{1f}",
            "~",
        ];
        all[draw(state, 11) as usize]
    }

    fn drawn(state: &mut u64, depth: u32) -> Value {
        match (draw(state, 8), depth) {
            (0 | 1, 1..) => (0..draw(state, 4)).map(|_| drawn(state, depth - 1)).collect(),
            (2..=4, 1..) => {
                let members = (0..draw(state, 4)).map(|_| (text(state).to_owned(), drawn(state, depth - 1)));
                Value::Object(members.collect())
            }
            (5, _) => json!(draw(state, 1 << 30) as i64 - (1 << 29)),
            (6, _) => json!(draw(state, 1 << 30) << draw(state, 34)),
            _ => json!(text(state)),
        }
    }

    #[test]
    fn drawn_documents_are_written_as_the_canonicaliser_writes_them() {
        let written = (0..4000).filter(|seed| agrees(&drawn(&mut { *seed }, 4))).count();
        assert!(written > 500, "{written} were in order");
    }
}
