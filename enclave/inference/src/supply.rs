//! Engines that are started when somebody asks: of models that the configuration has on demand, and for callers who share with nobody.
//!
//! Who starts and ends processes is the guest; here is what it is asked, and what a request holds while it is answered.

use std::any::Any;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use hanzo_attestation::name::Name;

use crate::engine::{EngineClient, EngineError};
use crate::state::Serving;

/// Callers that share an engine's process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineClass {
    /// Whoever may ask the model.
    Shared,
    /// One caller, and nobody else ever.
    Own(Name),
}

/// A process that answers. It is not ended for idling while this lives.
pub struct EngineUse {
    /// Where it listens.
    pub socket: PathBuf,
    /// Dropped when the request ends.
    pub hold: Box<dyn Any + Send + Sync>,
}

/// Why no process answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// It loads; whoever comes again finds it further.
    Loading,
    /// There is no memory for it now.
    Room,
    /// It does not start.
    Failed,
}

/// The answer to [`OpenEngine`].
pub type Opening = Pin<Box<dyn Future<Output = Result<EngineUse, OpenError>> + Send>>;

/// Opens the way to a model's engine for a class, and starts one where none runs; waits for it, but not for long.
pub type OpenEngine = Arc<dyn Fn(&Name, &EngineClass) -> Opening + Send + Sync>;

impl From<OpenError> for EngineError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Loading => Self::Loading,
            OpenError::Room => Self::Room,
            OpenError::Failed => Self::Unavailable,
        }
    }
}

impl Serving {
    /// The same with the engine of `class`, which is kept for as long as what this gives.
    pub(crate) async fn supplied(&self, open: &OpenEngine, class: &EngineClass) -> Result<Self, EngineError> {
        if *class == EngineClass::Shared && !self.on_demand {
            return Ok(self.clone());
        }
        let EngineUse { socket, hold } = open(&self.model.name, class).await?;
        Ok(Self {
            engine: Arc::new(EngineClient::new(socket)),
            _hold: Some(Arc::from(hold)),
            ..self.clone()
        })
    }
}
