//! `hanzo-verify log --receipts --cosign`: brings a head that was gone through to witnesses, and their signatures back.

use hanzo_collateral::{HttpConfig, Witness, WitnessAnswer};
use hanzo_log::{SignedCheckpoint, WitnessKey};

use super::source::LogSource;
use crate::error::CliError;
use crate::runtime;

/// Asks every witness; the head with the signatures that came, and why others did not.
pub(super) fn cosign(
    urls: &[String],
    keys: &[WitnessKey],
    source: &LogSource,
    head: SignedCheckpoint,
) -> Result<(SignedCheckpoint, Vec<CliError>), CliError> {
    let runtime = runtime()?;
    let (mut head, mut failed) = (head, Vec::new());
    for url in urls {
        let witness = Witness::new(url, HttpConfig::default())?;
        match one(&runtime, &witness, keys, source, &head) {
            Ok(cosigned) => head = cosigned,
            Err(error) => failed.push(error),
        }
    }
    Ok((head, failed))
}

fn one(
    runtime: &tokio::runtime::Runtime,
    witness: &Witness,
    keys: &[WitnessKey],
    source: &LogSource,
    head: &SignedCheckpoint,
) -> Result<SignedCheckpoint, CliError> {
    let size = head.claimed().size;
    let refused = |what: String, is_split| CliError::Cosign {
        url: witness.url(),
        what,
        is_split,
    };
    // A witness that has seen this log says where its proof has to begin.
    let mut old = 0;
    for _ in 0..2 {
        let proof = source.consistency(old, size)?.unwrap_or_default();
        let proof: Vec<[u8; 32]> = proof.iter().map(|hash| hash.0).collect();
        match runtime.block_on(witness.add_checkpoint(old, &proof, &head.to_text()))? {
            WitnessAnswer::Cosigned(lines) => {
                let mut last = None;
                for key in keys {
                    match head.clone().cosigned_by(key, &lines) {
                        Ok(cosigned) => return Ok(cosigned),
                        Err(e) => last = Some(e),
                    }
                }
                let why = last.map_or_else(String::new, |e| format!(": {e}"));
                return Err(refused(
                    format!("what it signed with is none of the keys that --witness names{why}"),
                    false,
                ));
            }
            WitnessAnswer::Saw(seen) if seen > size => {
                return Err(refused(
                    format!(
                        "it saw this log with {seen} leaves, and here it has {size}: it went back, or it shows others another one"
                    ),
                    true,
                ));
            }
            WitnessAnswer::Saw(seen) if seen != old => old = seen,
            WitnessAnswer::Refused(422) => {
                return Err(refused(
                    format!(
                        "the {old} leaves that it saw of this log are not the first {old} here: a split view, and both heads are signed"
                    ),
                    true,
                ));
            }
            WitnessAnswer::Refused(404) => return Err(refused("it does not watch this log".into(), false)),
            WitnessAnswer::Refused(403) => return Err(refused("it does not know this log's key".into(), false)),
            WitnessAnswer::Refused(status) => return Err(refused(format!("HTTP status {status}"), false)),
            WitnessAnswer::Saw(seen) => {
                return Err(refused(
                    format!("it does not take a proof from {seen} leaves, which it asks for"),
                    false,
                ));
            }
        }
    }
    Err(refused("its log grows while it is asked: try again".into(), false))
}
