//! The configuration, read again while the broker runs: whole or not at all.

use crate::broker::Broker;
use crate::live::Live;
use crate::metrics::count;
use crate::tls::{self, Tls};
use crate::{KbsConfig, KbsError};

/// Takes admin keys, roots, collateral and TLS certificate from the file that `running` came from. What else changed in it
/// is refused by name, because it takes a restart; then, as after any other error, the old state stays in force.
pub(crate) fn reload(running: &KbsConfig, broker: &Broker, tls: Option<&Tls>) {
    match take(running, broker, tls) {
        Ok(()) => {
            count(&broker.metrics.reloads);
            tracing::info!(target: "hanzo_kbs", "configuration loaded again");
        }
        Err(e) => {
            count(&broker.metrics.reloads_refused);
            tracing::error!(target: "hanzo_kbs", code = e.code(), why = %e, "configuration not loaded again: the old one stays");
        }
    }
}

fn take(running: &KbsConfig, broker: &Broker, tls: Option<&Tls>) -> Result<(), KbsError> {
    let path = running.source.clone().ok_or_else(|| KbsError::Config {
        path: "(given)".into(),
        detail: "it came from no file".into(),
    })?;
    let newer = KbsConfig::load(&path)?;
    if let Some(name) = fixed(running, &newer) {
        return Err(KbsError::Config {
            path,
            detail: format!("{name}: changed, and takes a restart"),
        });
    }
    // Everything that can fail comes before the first change.
    let live = Live::load(&newer)?;
    let certificate = newer.tls.as_ref().map(tls::load).transpose()?;
    broker.lives.replace(live);
    if let (Some(tls), Some(certificate)) = (tls, certificate) {
        tls.replace(certificate);
    }
    Ok(())
}

/// The first member that changed and may not.
fn fixed(running: &KbsConfig, newer: &KbsConfig) -> Option<&'static str> {
    let admin_ca = |c: &KbsConfig| c.tls.as_ref().map(|tls| tls.admin_client_ca.is_some());
    let members = [
        ("listen", running.listen == newer.listen),
        ("store", running.store == newer.store),
        ("root", running.root == newer.root),
        ("fences", running.fences == newer.fences),
        ("head_file", running.head_file == newer.head_file),
        ("session_ttl_s", running.session_ttl_s == newer.session_ttl_s),
        ("sessions_max", running.sessions_max == newer.sessions_max),
        ("plain_http", running.plain_http == newer.plain_http),
        ("tls", admin_ca(running) == admin_ca(newer)),
        ("limits", running.limits == newer.limits),
        ("coco", running.coco == newer.coco),
    ];
    members.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
}
