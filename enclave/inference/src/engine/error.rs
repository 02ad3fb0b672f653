//! What can be wrong with the engine.

use axum::http::StatusCode;

/// What the engine did. No text quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens on its socket.
    #[error("the engine is not running; try again shortly, and tell the operator if it lasts")]
    Unavailable,
    /// It loads its model.
    #[error("the engine is still loading its model; try again shortly")]
    Loading,
    /// There is no memory to start it in.
    #[error(
        "there is no memory for an engine of this model now: others are in use; try again shortly, ask another model, or tell the operator, who may give the machine more"
    )]
    Room,
    /// It works on as much as it can.
    #[error("the engine is busy; try again shortly")]
    Busy,
    /// It says that the prompt does not fit.
    #[error("the prompt does not fit into the model's context; shorten it")]
    Context,
    /// It does not do a parameter that only engines can refuse.
    #[error("seed: not supported by this guest's engine; leave it out")]
    Parameter,
    /// It does not do a member that only some engines do.
    #[error("{member}: this model's engine does not do it; leave it out")]
    Lacks {
        /// Which member of the engine protocol.
        member: &'static str,
    },
    /// It cannot keep an answer to this schema.
    #[error("this model's engine cannot keep an answer to that schema; simplify it")]
    Schema,
    /// It does not have that route.
    #[error("this model's engine does not do that")]
    Absent,
    /// The model's chat template cannot render these messages.
    #[error("this model's chat template refuses the messages' order or roles; start with system or user and alternate")]
    Template,
    /// It refused the request for another reason.
    #[error("the engine refused the request")]
    Refused,
    /// It broke off.
    #[error("the engine failed before the answer was complete; try again")]
    Failed,
    /// It broke its protocol: hostile or defective.
    #[error("the engine broke its protocol ({what}); the answer was stopped")]
    Protocol {
        /// Where.
        what: &'static str,
    },
}

impl EngineError {
    /// The HTTP status it gets.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unavailable | Self::Loading | Self::Room => StatusCode::SERVICE_UNAVAILABLE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Context
            | Self::Parameter
            | Self::Lacks { .. }
            | Self::Schema
            | Self::Absent
            | Self::Template
            | Self::Refused => StatusCode::BAD_REQUEST,
            Self::Failed | Self::Protocol { .. } => StatusCode::BAD_GATEWAY,
        }
    }

    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unavailable => "engine_unavailable",
            Self::Loading => "engine_loading",
            Self::Room => "engine_memory",
            Self::Busy => "rate_limit_exceeded",
            Self::Context => "context_length_exceeded",
            Self::Parameter | Self::Lacks { .. } => "unsupported_parameter",
            Self::Schema => "invalid_schema",
            Self::Absent => "unsupported_by_model",
            Self::Template => "template_refused",
            Self::Refused => "engine_refused",
            Self::Failed => "engine_failed",
            Self::Protocol { .. } => "engine_protocol",
        }
    }
}
