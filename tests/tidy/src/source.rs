//! Rust source, cut into code and string literals.

/// One file's code and strings, comments and `#[cfg(test)]` blocks left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The code; each string literal stands as `""`.
    pub code: String,
    /// What stands in the string literals, escapes as written.
    pub literals: Vec<String>,
}

impl Source {
    /// Cuts a file.
    pub fn of(text: &str) -> Self {
        let mut source = Source::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if rest.starts_with("//") {
                rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            } else if rest.starts_with("/*") {
                rest = rest.split_once("*/").map_or("", |(_, after)| after);
            } else if let Some((literal, after)) = raw_string(rest, source.code.chars().last()) {
                source.literal(literal);
                rest = after;
            } else if c == '"' {
                let end = quoted_end(&rest[1..], '"');
                source.literal(&rest[1..1 + end]);
                rest = rest.get(end + 2..).unwrap_or("");
            } else if let Some(len) = char_literal(rest) {
                source.code.push_str("' '");
                rest = &rest[len..];
            } else {
                source.code.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        source
    }

    /// Cuts a file after taking out its `#[cfg(test)]` items.
    pub fn without_tests(text: &str) -> Self {
        let mut kept = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim() != "#[cfg(test)]" {
                kept.push_str(line);
                kept.push('\n');
                continue;
            }
            // To the end of the item: the brace at the same indent, or the semicolon of a one-liner.
            let indent = line.len() - line.trim_start().len();
            for line in lines.by_ref() {
                let code = line.trim();
                let at_indent = line.len() - line.trim_start().len() == indent;
                if at_indent && (code.ends_with(';') || code == "}" || code.ends_with("{}")) {
                    break;
                }
            }
        }
        Self::of(&kept)
    }

    /// Whether `word` stands in the code as a whole word.
    pub fn has_word(&self, word: &str) -> bool {
        self.code
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|w| w == word)
    }

    fn literal(&mut self, text: &str) {
        self.code.push_str("\"\"");
        self.literals.push(text.to_owned());
    }
}

/// `r"…"`, `r#"…"#` and their byte forms: the content and what follows.
fn raw_string(text: &str, before: Option<char>) -> Option<(&str, &str)> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let after_r = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let content = after_r[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    content.split_once(close.as_str())
}

/// Offset of the closing quote, escapes passed over.
fn quoted_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at,
            _ => {}
        }
    }
    text.len()
}

/// Length of a character literal; `None` for a lifetime.
fn char_literal(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let mut chars = body.chars();
    let first = chars.next()?;
    if first == '\\' {
        return Some(quoted_end(body, '\'') + 2);
    }
    (chars.next()? == '\'').then(|| first.len_utf8() + 2)
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn strings_comments_and_characters_are_told_apart() {
        let source = Source::of(
            "let a = \"x\\\"y\"; // \"no\"\nlet q = '\"'; let b: &'static str = r#\"z\"w\"#; /* \"no\" */ b\"v\"",
        );
        assert_eq!(source.literals, ["x\\\"y", "z\"w", "v"]);
        assert!(!source.code.contains("no") && source.has_word("static") && !source.has_word("stat"));
    }

    #[test]
    fn test_items_are_left_out_and_what_follows_them_is_not() {
        let text = "a();\n#[cfg(test)]\nmod t {\n    \"t\";\n}\n#[cfg(test)]\nmod u;\nb(\"b\");\n";
        let source = Source::without_tests(text);
        assert_eq!(source.literals, ["b"]);
        assert!(source.has_word("a") && source.has_word("b") && !source.has_word("u"));
    }
}
