//! Asks a witness of logs to cosign a head.
//!
//! # Spec
//! C2SP tlog-witness: `POST <witness>/add-checkpoint` with the size that the witness saw last, the proof that the head extends it,
//! and the head. 200: its signature lines; 409: another size, in the body; 404: a log that it does not watch; 403: no signature
//! that it knows; 422: a proof that does not hold.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clock::SystemClock;
use crate::error::CollateralError;
use crate::http::{Http, HttpConfig, Request};
use crate::sources::BaseUrl;

/// Longest answer: signature lines, of which one witness has few.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// A witness's service. What it answers proves nothing until its signature was verified.
pub struct Witness {
    url: BaseUrl,
    http: Http,
}

/// What a witness said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// Signature lines of a note.
    Cosigned(String),
    /// It saw a head of that size last: the proof must begin there.
    Saw(u64),
    /// It signs nothing; why, by its HTTP status.
    Refused(u16),
}

impl Witness {
    /// The witness at `url`.
    ///
    /// # Errors
    /// [`CollateralError::BaseUrl`].
    pub fn new(url: &str, config: HttpConfig) -> Result<Self, CollateralError> {
        Ok(Self {
            url: BaseUrl::new("witness", url)?,
            http: Http::new(config, Arc::new(SystemClock::default())),
        })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// Asks for its signature under `note`, which extends what it saw at `old` leaves by `proof`.
    ///
    /// # Errors
    /// Nobody answers; an answer of another form.
    pub async fn add_checkpoint(
        &self,
        old: u64,
        proof: &[[u8; 32]],
        note: &str,
    ) -> Result<WitnessAnswer, CollateralError> {
        let mut body = format!("old {old}\n");
        for hash in proof {
            let _ = writeln!(body, "{}", STANDARD.encode(hash));
        }
        body.push('\n');
        body.push_str(note);
        let request = Request {
            what: "cosignature".into(),
            url: self.url.join("/add-checkpoint"),
            post: Some(("text/plain; charset=utf-8", body.into_bytes())),
            accept: "text/plain",
            bytes_max: ANSWER_BYTES_MAX,
        };
        let (status, answer) = self.http.ask(&request).await?;
        let wrong = || CollateralError::Status {
            url: request.url.clone(),
            status,
            attempts: 1,
        };
        let answer = String::from_utf8(answer).map_err(|_| wrong())?;
        match status {
            200 => Ok(WitnessAnswer::Cosigned(answer)),
            409 => answer
                .trim_end_matches('\n')
                .parse()
                .map(WitnessAnswer::Saw)
                .map_err(|_| wrong()),
            400..500 => Ok(WitnessAnswer::Refused(status)),
            _ => Err(wrong()),
        }
    }
}
