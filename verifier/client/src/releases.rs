//! The newest release that this client took, so as never to go back to an older one.

use hanzo_attestation::{Digest256, jcs};
use hanzo_policy::ReleasePolicy;
use hanzo_policy::release::{LastSeen, VerifiedRelease};
use hanzo_verifier::VerifyError;

use crate::error::ClientError;
use crate::state::{StateDir, StateError};

/// Longest record in bytes.
const RECORD_BYTES_MAX: usize = 1024;

/// A line is told from others of its name by the log that it stands in.
fn id(asked: &ReleasePolicy) -> Result<Digest256, StateError> {
    let log = jcs::to_vec("release line", &(&asked.name, &asked.log)).map_err(|_| StateError::Derive)?;
    Ok(Digest256::of(&log))
}

/// Refuses a release that is older than one that was taken before, or another of the same version.
///
/// # Errors
/// [`VerifyError::Release`]; [`StateError::Content`] for a record that is none: nothing is forgotten by damaging it.
pub(crate) fn check(state: &StateDir, asked: &ReleasePolicy, release: &VerifiedRelease) -> Result<(), ClientError> {
    let Some((path, bytes)) = state.load_release(&id(asked)?)? else {
        return Ok(());
    };
    let last: LastSeen =
        jcs::from_slice("last release", &bytes, RECORD_BYTES_MAX).map_err(|_| StateError::Content {
            path,
            expected: "the newest release that was taken",
        })?;
    release.may_follow(&last).map_err(VerifyError::from)?;
    Ok(())
}

/// Remembers it.
pub(crate) fn keep(state: &StateDir, asked: &ReleasePolicy, release: &VerifiedRelease) -> Result<(), ClientError> {
    let record = jcs::to_vec("last release", &release.last_seen()).map_err(|_| StateError::Derive)?;
    Ok(state.save_release(&id(asked)?, &record)?)
}

#[cfg(test)]
#[path = "../../../policy/tests/support/line.rs"]
mod line;

#[cfg(test)]
mod tests {
    use hanzo_attestation::{Digest256, Digest384};
    use hanzo_policy::release::ReleaseBundle;

    use super::*;

    #[test]
    fn a_client_never_goes_back_to_an_older_release_and_damage_makes_it_forget_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let (holders, mut log) = (line::holders(["ada", "bob", "cyd"], 0x10), line::Log::new());
        let asked = line::asked(&holders, &log);
        let mut of = |version| {
            let manifest = line::manifest(
                version,
                line::snp(Digest384([9; 48]), Digest256([8; 32])),
                1_790_000_000,
            );
            let signers = vec![&holders[0], &holders[1]];
            let made: ReleaseBundle = line::bundle(&mut log, vec![(manifest, signers)], 1_790_000_000);
            made.verify(&asked).unwrap()
        };
        let (three, four) = (of(3), of(4));
        let code = |release: &VerifiedRelease| check(&state, &asked, release).map_or_else(|e| e.code(), |()| "ok");
        assert_eq!(code(&three), "ok");
        keep(&state, &asked, &four).unwrap();
        assert_eq!((code(&four), code(&three)), ("ok", "release.version.rolled_back"));
        // Another line of that name is another line.
        let mut other = asked.clone();
        other.log.origin = hanzo_log::Origin::new("releases.example/other").unwrap();
        check(&state, &other, &three).unwrap();
        let records = std::fs::read_dir(dir.path().join("state/releases")).unwrap();
        for record in records {
            std::fs::write(record.unwrap().path(), b"").unwrap();
        }
        assert_eq!(code(&four), "state.content");
    }
}
