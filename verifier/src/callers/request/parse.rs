//! The dictionaries of RFC 9421 (Structured Fields, RFC 8941), as far as the one form needs them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{COMPONENTS, RequestAlgorithm, RequestError, TAG};

/// Most signatures of one request.
const SIGNATURES_MAX: usize = 2;
/// Characters of a nonce.
const NONCE_LEN: std::ops::RangeInclusive<usize> = 16..=64;
/// Longest quoted text.
const TEXT_LEN: usize = 64;
/// RFC 8941's integers.
const DIGITS_MAX: usize = 15;

/// One member of `signature-input`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub(super) label: String,
    /// As it came: the last line of the signature base.
    pub(super) params: String,
    pub(super) created: u64,
    pub(super) nonce: String,
    pub(super) keyid: String,
    pub(super) algorithm: RequestAlgorithm,
}

const fn form(what: &'static str) -> RequestError {
    RequestError::Form { what }
}

/// Reads from the front of a header's value.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn of(value: &'a [u8]) -> Result<Self, RequestError> {
        let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii());
        text.map(Self).ok_or(form("ASCII"))
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, text: &'static str, what: &'static str) -> Result<(), RequestError> {
        match self.eat(text) {
            true => Ok(()),
            false => Err(form(what)),
        }
    }

    /// The longest beginning of such characters.
    fn run(&mut self, of: impl Fn(u8) -> bool) -> &'a str {
        let len = self.0.bytes().take_while(|b| of(*b)).count();
        let (run, rest) = self.0.split_at_checked(len).unwrap_or((self.0, ""));
        self.0 = rest;
        run
    }

    fn key(&mut self) -> Result<&'a str, RequestError> {
        let key = self.run(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b));
        match (1..=TEXT_LEN).contains(&key.len()) && key.starts_with(|c: char| c.is_ascii_lowercase() || c == '*') {
            true => Ok(key),
            false => Err(form("labels and parameters of 1 to 64 lower-case characters")),
        }
    }

    fn quoted(&mut self) -> Result<&'a str, RequestError> {
        const WHAT: &str = "quoted texts of 1 to 64 letters, digits and . _ - = + /";
        self.expect("\"", WHAT)?;
        let text = self.run(|b| b.is_ascii_alphanumeric() || b"._-=+/".contains(&b));
        self.expect("\"", WHAT)?;
        match (1..=TEXT_LEN).contains(&text.len()) {
            true => Ok(text),
            false => Err(form(WHAT)),
        }
    }

    /// Between members; false at the end.
    fn next(&mut self) -> Result<bool, RequestError> {
        let space = |b: u8| b == b' ' || b == b'\t';
        self.run(space);
        if self.0.is_empty() {
            return Ok(false);
        }
        self.expect(",", "members with commas between")?;
        self.run(space);
        match self.0.is_empty() {
            true => Err(form("a member after each comma")),
            false => Ok(true),
        }
    }
}

/// The members of `signature-input`: one or two, of one request.
pub(super) fn inputs(value: &[u8]) -> Result<Vec<Input>, RequestError> {
    let mut at = Cursor::of(value)?;
    let mut all: Vec<Input> = Vec::new();
    loop {
        let input = input(&mut at)?;
        let is_same = |other: &Input| {
            (&other.nonce, &other.keyid, other.created) == (&input.nonce, &input.keyid, input.created)
                && other.label != input.label
                && other.algorithm != input.algorithm
        };
        if !all.iter().all(is_same) {
            return Err(form(
                "signatures of two algorithms with a label each and the same created, nonce and keyid",
            ));
        }
        all.push(input);
        match at.next()? {
            false => return Ok(all),
            true if all.len() == SIGNATURES_MAX => return Err(form("at most two signatures")),
            true => {}
        }
    }
}

fn input(at: &mut Cursor<'_>) -> Result<Input, RequestError> {
    let label = at.key()?.to_owned();
    at.expect("=", "a label, = and the components")?;
    let whole = at.0;
    at.expect(
        COMPONENTS,
        "the components \"@method\" \"@path\" \"@query\" \"content-digest\" \"hanzo-keyset\", in this order",
    )?;
    let (mut created, mut nonce, mut keyid, mut alg, mut tag) = (None, None, None, None, None);
    while at.eat(";") {
        let name = at.key()?;
        at.expect("=", "parameters with values")?;
        let is_new = match name {
            "created" => {
                let digits = at.run(|b| b.is_ascii_digit());
                let number = Some(digits)
                    .filter(|d| d.len() <= DIGITS_MAX)
                    .and_then(|d| d.parse::<u64>().ok());
                created
                    .replace(number.ok_or(form("created: whole seconds since 1970"))?)
                    .is_none()
            }
            "nonce" => nonce.replace(at.quoted()?).is_none(),
            "keyid" => keyid.replace(at.quoted()?).is_none(),
            "alg" => alg.replace(at.quoted()?).is_none(),
            "tag" => tag.replace(at.quoted()?).is_none(),
            _ => false,
        };
        if !is_new {
            return Err(form("the parameters created, nonce, keyid, alg and tag, each once"));
        }
    }
    let (Some(created), Some(nonce), Some(keyid), Some(alg), Some(TAG)) = (created, nonce, keyid, alg, tag) else {
        return Err(form(
            "the parameters created, nonce, keyid, alg and tag, which is \"hanzo-request\"",
        ));
    };
    if !NONCE_LEN.contains(&nonce.len()) {
        return Err(form("a nonce of 16 to 64 characters"));
    }
    let params = whole.get(..whole.len() - at.0.len()).unwrap_or_default().to_owned();
    Ok(Input {
        label,
        params,
        created,
        nonce: nonce.to_owned(),
        keyid: keyid.to_owned(),
        algorithm: RequestAlgorithm::from_name(alg).ok_or(form("alg ed25519 or ml-dsa-65"))?,
    })
}

/// The members of `signature`: a label and bytes each.
pub(super) fn signatures(value: &[u8]) -> Result<Vec<(String, Vec<u8>)>, RequestError> {
    const WHAT: &str = "signatures in base64 between colons";
    let mut at = Cursor::of(value)?;
    let mut all = Vec::new();
    loop {
        let label = at.key()?.to_owned();
        at.expect("=:", WHAT)?;
        let text = at.run(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        let bytes = STANDARD.decode(text).map_err(|_| form(WHAT))?;
        at.expect(":", WHAT)?;
        all.push((label, bytes));
        match at.next()? {
            false => return Ok(all),
            true if all.len() == SIGNATURES_MAX => return Err(form("at most two signatures")),
            true => {}
        }
    }
}
