//! From token bytes to text: UTF-8 across token borders, and stop strings across them too.

/// Turns the bytes of one token after another into text.
///
/// A character may span tokens: its bytes wait until it is whole. Bytes that can never become a character turn into
/// U+FFFD at once. Text that may be the beginning of a stop string waits as well.
pub struct Assembler {
    bytes: Vec<u8>,
    held: String,
    stops: Vec<String>,
}

/// What one token gave.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Text that is certain.
    pub text: String,
    /// The stop string that was reached; it and everything after it are left out.
    pub stop: Option<String>,
}

impl Assembler {
    /// With the stop strings of one request.
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            bytes: Vec::new(),
            held: String::new(),
            stops,
        }
    }

    /// Takes the bytes of the next token; with `last`, nothing is held back.
    pub fn push(&mut self, token: &[u8], last: bool) -> Piece {
        self.bytes.extend_from_slice(token);
        self.decode(last);
        let reached = self
            .stops
            .iter()
            .filter_map(|stop| Some((self.held.find(stop.as_str())?, stop)));
        if let Some((at, stop)) = reached.min_by_key(|(at, _)| *at) {
            let stop = Some(stop.clone());
            self.held.truncate(at);
            return Piece {
                text: std::mem::take(&mut self.held),
                stop,
            };
        }
        let keep = if last { 0 } else { self.undecided() };
        let text = self.held.drain(..self.held.len() - keep).collect();
        Piece { text, stop: None }
    }

    fn decode(&mut self, last: bool) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.held.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            // An unfinished character at the very end may still be completed by the next token.
            if chunks.peek().is_none() && !last && is_unfinished(invalid) {
                self.bytes = invalid.to_vec();
            } else {
                self.held.push('\u{fffd}');
            }
        }
    }

    /// Length of the longest end of the held text that begins some stop string.
    fn undecided(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        (from..self.held.len())
            .filter(|at| self.held.is_char_boundary(*at))
            .find(|at| {
                self.held
                    .get(*at..)
                    .is_some_and(|end| self.stops.iter().any(|stop| stop.starts_with(end)))
            })
            .map_or(0, |at| self.held.len() - at)
    }
}

fn is_unfinished(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], tokens: &[&[u8]]) -> (Vec<String>, bool) {
        let mut assembler = Assembler::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut out = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            let piece = assembler.push(token, index + 1 == tokens.len());
            out.push(piece.text);
            if let Some(stop) = piece.stop {
                assert!(stops.contains(&stop.as_str()));
                return (out, true);
            }
        }
        (out, false)
    }

    #[test]
    fn a_character_across_tokens() {
        let euro = "€".as_bytes();
        assert_eq!(
            run(&[], &[&euro[..1], &euro[1..2], &euro[2..], b"!"]).0,
            ["", "", "€", "!"]
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_not_lost() {
        assert_eq!(run(&[], &[b"\xff", b"a", b"\xe2\x82"]).0, ["\u{fffd}", "a", "\u{fffd}"]);
        assert_eq!(run(&[], &[b"\xe2", b"a"]).0, ["", "\u{fffd}a"]);
    }

    #[test]
    fn a_stop_string_across_tokens_never_shows() {
        assert_eq!(
            run(&["END"], &[b"one E", b"N", b"D two", b"x"]),
            (vec!["one ".into(), String::new(), String::new()], true)
        );
        // The nearest text that is not a stop string is given back.
        assert_eq!(run(&["END"], &[b"one E", b"N", b"d two"]).0, ["one ", "", "ENd two"]);
        assert_eq!(run(&["€€"], &[b"a", "€".as_bytes(), b"b"]).0, ["a", "", "€b"]);
    }

    #[test]
    fn the_end_holds_nothing_back() {
        assert_eq!(run(&["END"], &[b"EN"]).0, ["EN"]);
    }
}
