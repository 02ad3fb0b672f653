//! What an attack is, and the one runner of all of them.
//!
//! An attack is a script with one hostile step. The same script without that step is its honest twin, and is run first: what
//! fails honestly was not refused but broken from the start.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

use hanzo_client::ClientError;
use serde_json::{Value, json};

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

/// Runs all attacks of these classes, writes down what came of them, and fails if one succeeded, was seen otherwise than expected
/// or has a twin that fails, or if anything readable lies on the host afterwards.
pub async fn run_all<F: Field>(field: &F, classes: &[(&str, &[Attack<F>])], results: &Path) {
    let mut wrong = Vec::new();
    for (class, attacks) in classes {
        let lines = run_class(field, class, attacks, &mut wrong).await;
        results::write(results, class, &lines);
    }
    let leaks = field.leaks();
    wrong.extend(leaks.iter().map(|leak| format!("readable on the host: {leak}")));
    if let Some((class, _)) = classes.first() {
        results::leaks(results, class, &leaks);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn run_class<F: Field>(field: &F, class: &str, attacks: &[Attack<F>], wrong: &mut Vec<String>) -> Vec<Value> {
    let mut lines = Vec::new();
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
            let (name, expect) = (attack.name, attack.expect);
            wrong.push(format!("{class}: {name}: the client saw {saw:?}, expected {expect:?}"));
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
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Field(&'static str);

    impl super::Field for Field {
        fn is_right(&self, answer: &str) -> bool {
            answer == "right"
        }

        fn leaks(&self) -> Vec<String> {
            self.0.split_whitespace().map(str::to_owned).collect()
        }
    }

    fn attack(run: for<'a> fn(&'a Field, Host) -> Running<'a>) -> Attack<Field> {
        Attack {
            name: "one",
            host: "attacks",
            after: "nobody",
            expect: &["held"],
            run,
        }
    }

    fn whole(text: &str) -> Saw {
        Saw::Whole(text.to_owned())
    }

    /// What the runner says of this attack; nothing if all is well.
    async fn told(field: Field, attack: Attack<Field>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let run = tokio::spawn(async move { run_all(&field, &[("class", &[attack])], dir.path()).await });
        match run.await {
            Ok(()) => String::new(),
            Err(error) => *error.into_panic().downcast::<String>().unwrap(),
        }
    }

    #[tokio::test]
    async fn an_attack_that_succeeds_a_twin_that_fails_another_code_and_a_leak_are_told() {
        let held = || {
            attack(|_, h| {
                Box::pin(async move {
                    if h.attacks() {
                        Saw::refused("held", "")
                    } else {
                        whole("right")
                    }
                })
            })
        };
        assert_eq!(told(Field(""), held()).await, "");
        assert!(told(Field("leak"), held()).await.contains("readable on the host: leak"));
        let succeeds = attack(|_, _| Box::pin(async { whole("right") }));
        assert!(told(Field(""), succeeds).await.contains("the client saw Whole"));
        let broken = attack(|_, _| Box::pin(async { Saw::refused("held", "") }));
        assert!(told(Field(""), broken).await.contains("its honest twin failed"));
        let wrong = attack(|_, h| {
            Box::pin(async move {
                if h.attacks() {
                    Saw::refused("held", "")
                } else {
                    whole("wrong")
                }
            })
        });
        assert!(told(Field(""), wrong).await.contains("its honest twin failed"));
        let other = attack(|_, h| {
            Box::pin(async move {
                if h.attacks() {
                    Saw::refused("other", "")
                } else {
                    whole("right")
                }
            })
        });
        assert!(told(Field(""), other).await.contains("expected [\"held\"]"));
    }
}
