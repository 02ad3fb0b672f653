//! The key broker of a run: made, started, and given keys over its own admin protocol.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::{InitOptions, Initialised, KbsConfig, StoreMode, admin};
use hanzo_pqc::Dek;
use hanzo_pqc::sign::SigningKeys;
use hanzo_vault::KeyPolicy;

use crate::error::ApplianceError;
use crate::paths::Layout;
use crate::platform::write_private;

/// From challenge to last key, for a guest whose processor is emulated.
const EMULATED_SESSION_S: u64 = 600;

fn coded(error: hanzo_kbs::KbsError) -> ApplianceError {
    ApplianceError::Coded {
        text: error.to_string(),
        code: error.code(),
    }
}

/// A broker that was made and does not run yet.
pub(crate) struct Broker {
    made: Initialised,
}

impl Broker {
    /// Makes one that accepts this installation's simulator, as simulated.
    pub(crate) fn create(layout: &Layout, simulator_ark: &[u8]) -> Result<Self, ApplianceError> {
        let made = hanzo_kbs::init(&InitOptions {
            dir: layout.kbs(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            mode: StoreMode::Simulated,
            simulator_roots: vec![simulator_ark.to_vec()],
        })
        .map_err(coded)?;
        Ok(Self { made })
    }

    /// Makes one for production that accepts quotes of this one TPM.
    pub(crate) fn create_for_tpm(layout: &Layout, ak: Digest256) -> Result<Self, ApplianceError> {
        let made = hanzo_kbs::init(&InitOptions {
            dir: layout.kbs(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            mode: StoreMode::Production,
            simulator_roots: Vec::new(),
        })
        .map_err(coded)?;
        let mut config = KbsConfig::load(&made.config_path).map_err(coded)?;
        config.tpm_keys = vec![ak];
        config.session_ttl_s = EMULATED_SESSION_S;
        let text = toml::to_string(&config).map_err(|e| ApplianceError::Part(e.to_string()))?;
        write_private(&made.config_path, text.as_bytes())?;
        Ok(Self { made })
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> &Path {
        &self.made.config_path
    }

    /// Takes it as running at `at`.
    pub(crate) fn running(self, at: SocketAddr) -> Result<RunningBroker, ApplianceError> {
        let key: PathBuf = self.made.admin_key_path.clone();
        let admin = hanzo_kbs::load_admin_key(&key).map_err(coded)?;
        Ok(RunningBroker {
            made: self.made,
            at,
            admin,
        })
    }
}

/// A broker that answers.
pub(crate) struct RunningBroker {
    made: Initialised,
    at: SocketAddr,
    admin: SigningKeys,
}

impl RunningBroker {
    /// Who signs its grants.
    pub(crate) fn signer(&self) -> PinnedSigner {
        self.made.identity.signer.clone()
    }

    /// Hands over the first version of a key. When this returns, it is on the broker's disk.
    pub(crate) async fn put(&self, key: &KeyId, dek: &Dek, policy: &KeyPolicy) -> Result<(), ApplianceError> {
        admin::put_key(self.at, &self.made.identity, &self.admin, key, 1, dek, policy)
            .await
            .map(drop)
            .map_err(|e| ApplianceError::Part(format!("{e} [{}]", e.code())))
    }
}
