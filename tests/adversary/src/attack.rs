//! What an attack is, and the one runner of all of them.
//!
//! An attack is a script with one hostile step. The same script without that step is its honest twin, and is run first: what
//! fails honestly was not refused but broken from the start.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

use hanzo_client::ClientError;
use serde_json::json;

use crate::results;

/// Whether the hostile step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Carries.
    Honest,
    /// Attacks.
    Hostile,
}

impl Host {
    /// True if it attacks.
    pub fn attacks(self) -> bool {
        self == Self::Hostile
    }
}

/// What the client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saw {
    /// An answer that it takes for the guest's and for whole.
    Whole(String),
    /// An error.
    Refused {
        /// Its code, or the status where there is none.
        code: String,
        /// In words.
        text: String,
    },
}

impl Saw {
    /// A refusal.
    pub fn refused(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Refused {
            code: code.into(),
            text: text.into(),
        }
    }

    /// `answered`, or the code.
    pub fn code(&self) -> &str {
        match self {
            Self::Whole(_) => "answered",
            Self::Refused { code, .. } => code,
        }
    }

    /// In words.
    pub fn text(&self) -> &str {
        match self {
            Self::Whole(text) | Self::Refused { text, .. } => text,
        }
    }
}

impl From<ClientError> for Saw {
    fn from(error: ClientError) -> Self {
        Self::refused(error.code(), error.to_string())
    }
}

impl From<hanzo_sealed::SealedError> for Saw {
    fn from(error: hanzo_sealed::SealedError) -> Self {
        Self::refused(error.code(), error.to_string())
    }
}

/// A script at work.
pub type Running<'a> = Pin<Box<dyn Future<Output = Saw> + Send + 'a>>;

/// One attack on a field `F`.
pub struct Attack<F> {
    /// Unique in the catalogue.
    pub name: &'static str,
    /// What the host does.
    pub host: &'static str,
    /// Where it comes from: a line of the list of attacks, a CVE, somebody's report.
    pub after: &'static str,
    /// What the client must see, one of these. `answered` is none of them, ever.
    pub expect: &'static [&'static str],
    /// The script.
    pub run: for<'a> fn(&'a F, Host) -> Running<'a>,
}

/// A row of the catalogue.
pub struct Row {
    /// See [`Attack::name`].
    pub name: &'static str,
    /// See [`Attack::host`].
    pub host: &'static str,
    /// See [`Attack::after`].
    pub after: &'static str,
    /// See [`Attack::expect`].
    pub expect: &'static [&'static str],
    /// The test that runs it.
    pub test: &'static str,
}

impl<F> Attack<F> {
    /// Its row.
    pub fn row(&self, test: &'static str) -> Row {
        Row {
            name: self.name,
            host: self.host,
            after: self.after,
            expect: self.expect,
            test,
        }
    }
}

/// Where attacks take place.
pub trait Field {
    /// True for the answer that the honest twin must give.
    fn is_right(&self, answer: &str) -> bool;

    /// Where on the host a prompt or an answer lies readable. Must be empty.
    fn leaks(&self) -> Vec<String>;
}

/// Runs all attacks of a class, writes down what came of them, and fails if one succeeded, was seen otherwise than expected
/// or has a twin that fails.
pub async fn run_all<F: Field>(class: &str, field: &F, attacks: &[Attack<F>], results: &Path) {
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    let only = std::env::var("HANZO_ATTACK").unwrap_or_default();
    for attack in attacks.iter().filter(|a| a.name.contains(&only)) {
        let start = Instant::now();
        let twin = (attack.run)(field, Host::Honest).await;
        let twin_is_right = matches!(&twin, Saw::Whole(answer) if field.is_right(answer));
        if !twin_is_right {
            wrong.push(format!("{}: its honest twin failed: {twin:?}", attack.name));
        }
        let saw = (attack.run)(field, Host::Hostile).await;
        let is_held = saw.code() != "answered" && attack.expect.contains(&saw.code());
        if !is_held {
            wrong.push(format!(
                "{}: the client saw {saw:?}, expected {:?}",
                attack.name, attack.expect
            ));
        }
        println!(
            "attack: {}: the client saw [{}] {}",
            attack.name,
            saw.code(),
            saw.text()
        );
        lines.push(json!({
            "class": class,
            "attack": attack.name,
            "host": attack.host,
            "after": attack.after,
            "expected": attack.expect,
            "saw": saw.code(),
            "text": saw.text(),
            "twin": if twin_is_right { "answered" } else { twin.code() },
            "held": is_held && twin_is_right,
            "ms": start.elapsed().as_millis() as u64,
        }));
    }
    let leaks = field.leaks();
    for leak in &leaks {
        wrong.push(format!("readable on the host: {leak}"));
    }
    results::write(results, class, &lines, &leaks);
    assert!(wrong.is_empty(), "{class}:\n{}", wrong.join("\n"));
}
