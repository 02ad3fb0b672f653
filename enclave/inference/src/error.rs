//! Errors in OpenAI's shape: `{"error":{"message","type","param","code"}}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hanzo_receipts::{ORDERS_MAX, PASSING_ORDERS_MAX};
use hanzo_verifier::callers::{CallersError, RequestError, TokenError};
use hanzo_verifier::order::OrderError;
use serde_json::{Value, json};

use crate::aci::AciReportError;
use crate::engine::EngineError;

/// What a caller did wrong, or what failed here. No text quotes a prompt, an answer or the engine.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is not `application/json`.
    #[error(
        "content-type: expected application/json, got something else; send the header content-type: application/json"
    )]
    ContentType,
    /// The body is not JSON.
    #[error("request body: not valid JSON: {0}")]
    Json(String),
    /// The body is longer than the limit.
    #[error("request body: at most {limit} bytes are accepted; shorten the messages")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The body did not come in time, or broke off.
    #[error("request body: it did not arrive whole; send it again")]
    BodyBroken,
    /// A member is missing or of the wrong kind.
    #[error("{param}: expected {expected}, got {got}")]
    Invalid {
        /// Which member.
        param: String,
        /// What is accepted.
        expected: &'static str,
        /// What came: a kind or a number, never text of the caller.
        got: String,
    },
    /// A member that OpenAI knows and this guest does not do.
    #[error("{param}: not supported by this guest; leave it out{hint}")]
    Unsupported {
        /// Which member.
        param: String,
        /// More to say.
        hint: &'static str,
    },
    /// A member that nobody knows.
    #[error("{param}: unknown member; check its spelling")]
    Unknown {
        /// Which member.
        param: String,
    },
    /// More of something than this guest takes at a time.
    #[error("{param}: at most {most} in one request, got {got}; send several requests")]
    TooMany {
        /// Which member.
        param: String,
        /// How many are taken.
        most: u64,
        /// How many came.
        got: u64,
    },
    /// A schema that the guest cannot check, or the engine cannot enforce.
    #[error("{param}: {what}")]
    Schema {
        /// Where in the request.
        param: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The model's engine does not have what the route needs.
    #[error("model: the engine of {model} has no {what}; ask another model")]
    ModelLacks {
        /// The model's name.
        model: String,
        /// What.
        what: &'static str,
    },
    /// The model answered, but not in the form that was asked for.
    #[error("{what}; ask again, with another seed or a simpler form")]
    Unmet {
        /// How it differs.
        what: &'static str,
    },
    /// No such model for this caller, whether or not there is one for others.
    #[error(
        "model: this guest serves you no model of that name; GET /v1/models lists those it does, for your API key if it asks for one"
    )]
    Model,
    /// A model that an administrator put out.
    #[error("model: an administrator of this guest put this model out {}; GET /v1/models lists what it serves meanwhile", for_how_long(*.retry_after_s))]
    PutOut {
        /// When it is back; `None` if nobody said.
        retry_after_s: Option<u64>,
    },
    /// Prompt and answer do not fit.
    #[error(
        "{param}: the prompt takes {prompt} tokens and max_tokens asks for {max_tokens}, this model's context holds {context}; shorten the prompt or lower max_tokens"
    )]
    Context {
        /// The member that the prompt came in.
        param: &'static str,
        /// Tokens of the prompt.
        prompt: u64,
        /// Tokens asked for.
        max_tokens: u64,
        /// Tokens there are.
        context: u64,
    },
    /// The engine cannot take that prompt.
    #[error("{param}: {error}")]
    Prompt {
        /// The member that it came in.
        param: &'static str,
        /// Why.
        error: EngineError,
    },
    /// No such route, receipt or model page.
    #[error("no such resource: {0}")]
    NotFound(&'static str),
    /// Another method is served here.
    #[error("method not allowed here; use {0}")]
    Method(&'static str),
    /// No API key came, and this guest wants one.
    #[error(
        "authorization: expected `Bearer` and an API key of this guest's operator or a token of its identity provider, or the same in x-api-key, or a signed request; got none; pass it as your client's api_key"
    )]
    KeyMissing,
    /// Whatever is wrong with the key.
    #[error(
        "authorization: this API key is unknown, mistyped, revoked or expired; compare it with the one that you were given, or ask the operator for another"
    )]
    Key,
    /// A token of an identity provider.
    #[error("authorization: this token does not count: {0}")]
    Token(TokenError),
    /// A signed request.
    #[error(transparent)]
    Signed(RequestError),
    /// No table of callers is in force.
    #[error("this guest has no table of callers in force, so it lets nobody in; tell the operator")]
    NoCallers,
    /// The key is not for guests like this one.
    #[error(
        "authorization: this API key is for guests of tier {least} or more, this one is of tier {got}; ask another guest"
    )]
    TierScope {
        /// What the key asks for.
        least: u8,
        /// What the guest is.
        got: u8,
    },
    /// A limit per minute.
    #[error("this API key's {of} per minute are used up; try again in {retry_after_s} s")]
    Rate {
        /// Of what.
        of: &'static str,
        /// When there is enough again.
        retry_after_s: u64,
    },
    /// More than a limit per minute ever has.
    #[error(
        "this request may take more {of} than this API key has in a minute; ask for fewer with max_tokens, or shorten it"
    )]
    RateNever {
        /// Of what.
        of: &'static str,
    },
    /// The budget.
    #[error(
        "this API key's budget has {left} tokens left, and this request may take more; ask for fewer with max_tokens, or ask the operator for more"
    )]
    Quota {
        /// What is left.
        left: u64,
    },
    /// A table of callers was refused.
    #[error(transparent)]
    Callers(CallersError),
    /// A table of callers that is not newer.
    #[error(
        "table of callers: version {got} is not newer than what this guest has seen or its configuration asks for; sign it with a higher one"
    )]
    CallersVersion {
        /// What came.
        got: u64,
    },
    /// An order was refused.
    #[error(transparent)]
    Order(OrderError),
    /// An order about what this guest does not have.
    #[error("order: {field}: expected {expected}, got {got}")]
    OrderSubject {
        /// The member at fault.
        field: &'static str,
        /// What is accepted.
        expected: String,
        /// What came.
        got: String,
    },
    /// An order whose time is over.
    #[error(
        "order: action.put_out.until: expected 0 or a time after {now}, the guest's, got {until}: sign it for a later one"
    )]
    OrderExpired {
        /// What came.
        until: u64,
        /// The guest's time.
        now: u64,
    },
    /// An order that is not the next.
    #[error(
        "order: sequence {got}: expected more than {newest}, that of the last order before; sign it with a higher one"
    )]
    OrderSequence {
        /// What came.
        got: u64,
        /// The highest so far.
        newest: u64,
    },
    /// The store has no place for this order.
    #[error("order: {}", full(*held))]
    OrdersFull {
        /// How many orders the store holds.
        held: usize,
    },
    /// As many requests as configured are running, and as many wait.
    #[error("the guest works on as many requests as its configuration allows; try again shortly")]
    Busy,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The answer took longer than configured.
    #[error("the answer took longer than this guest's request_timeout_s; ask for fewer tokens")]
    Timeout,
    /// The receipt could not be made durable, so nothing leaves.
    #[error("the receipt could not be stored ({code}), so the answer is withheld; tell the operator")]
    Receipt {
        /// Code of the store's or log's error.
        code: &'static str,
    },
    /// The log could not be read.
    #[error("the log of receipts could not be read ({code}); tell the operator")]
    Log {
        /// Code of the store's or log's error.
        code: &'static str,
    },
    /// The fence holds no head of the log yet.
    #[error("the log shows no head yet: its head is on its way to the key broker; ask again in a few seconds")]
    LogNotShown,
    /// There is no ACI report now.
    #[error("aci: {0}")]
    AciReport(AciReportError),
    /// The random source failed.
    #[error("the guest's random source failed; tell the operator")]
    Random,
}

fn full(held: usize) -> String {
    let fresh = "start the guest with a new store: what orders took for good belongs into its configuration and its table of callers first";
    match held < ORDERS_MAX {
        true => format!(
            "the store holds {held} orders, and its last {} places are for those that revoke or lower a caller or unload a model, which are still taken; to put models out and load them again, {fresh}",
            ORDERS_MAX - PASSING_ORDERS_MAX
        ),
        false => {
            format!("the store holds {held} orders, which is all that it takes; all of them stay in force; {fresh}")
        }
    }
}

fn for_how_long(seconds: Option<u64>) -> String {
    match seconds {
        Some(seconds) => format!("for another {seconds} s; come again then"),
        None => "until further notice; ask its operator".into(),
    }
}

impl ApiError {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyBroken => StatusCode::REQUEST_TIMEOUT,
            Self::Json(_)
            | Self::Invalid { .. }
            | Self::Unsupported { .. }
            | Self::Unknown { .. }
            | Self::TooMany { .. }
            | Self::Schema { .. }
            | Self::ModelLacks { .. }
            | Self::Context { .. } => StatusCode::BAD_REQUEST,
            // Not the client's fault and no failure either; 5xx and 409 would make clients ask again by themselves.
            Self::Unmet { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Model | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::KeyMissing | Self::Key | Self::Token(_) | Self::Signed(_) => StatusCode::UNAUTHORIZED,
            Self::TierScope { .. } => StatusCode::FORBIDDEN,
            Self::Busy | Self::Rate { .. } | Self::RateNever { .. } | Self::Quota { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::NoCallers | Self::PutOut { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Callers(_) | Self::Order(_) | Self::OrderSubject { .. } | Self::OrderExpired { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::CallersVersion { .. } | Self::OrderSequence { .. } | Self::OrdersFull { .. } => StatusCode::CONFLICT,
            Self::Engine(e) | Self::Prompt { error: e, .. } => e.status(),
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::LogNotShown | Self::AciReport(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Receipt { .. } | Self::Log { .. } | Self::Random => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Stable code, the `code` member.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ContentType => "unsupported_media_type",
            Self::Json(_) => "invalid_json",
            Self::TooLarge { .. } => "body_too_large",
            Self::BodyBroken => "body_incomplete",
            Self::Invalid { .. } | Self::TooMany { .. } => "invalid_value",
            Self::Schema { .. } => "invalid_schema",
            Self::ModelLacks { .. } => "unsupported_by_model",
            Self::Unmet { .. } => "answer_not_as_asked",
            Self::Unsupported { .. } => "unsupported_parameter",
            Self::Unknown { .. } => "unknown_parameter",
            Self::Model => "model_not_found",
            Self::PutOut { .. } => "model_put_out",
            Self::Context { .. } => "context_length_exceeded",
            Self::NotFound(_) => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::KeyMissing | Self::Key => "invalid_api_key",
            Self::Token(_) => "invalid_token",
            Self::Signed(e) => e.code(),
            Self::NoCallers => "callers_unavailable",
            Self::TierScope { .. } => "tier_not_allowed",
            Self::Busy | Self::Rate { .. } | Self::RateNever { .. } => "rate_limit_exceeded",
            Self::Quota { .. } => "insufficient_quota",
            Self::Callers(e) => e.code(),
            Self::CallersVersion { .. } => "callers.version",
            Self::Order(e) => e.code(),
            Self::OrderSubject { .. } => "order.subject",
            Self::OrderExpired { .. } => "order.expired",
            Self::OrderSequence { .. } => "order.sequence",
            Self::OrdersFull { .. } => "order.full",
            Self::Engine(e) | Self::Prompt { error: e, .. } => e.code(),
            Self::Timeout => "timeout",
            Self::Receipt { .. } => "receipt_not_durable",
            Self::Log { .. } => "log_unreadable",
            Self::LogNotShown => "log_not_shown",
            Self::AciReport(AciReportError::Busy) => "evidence.busy",
            Self::AciReport(AciReportError::Evidence { code }) => code,
            Self::Random => "random_failed",
        }
    }

    fn kind(&self) -> &'static str {
        match self.status() {
            _ if matches!(self, Self::Quota { .. }) => "insufficient_quota",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::FORBIDDEN => "permission_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn param(&self) -> Value {
        match self {
            Self::Invalid { param, .. }
            | Self::Unsupported { param, .. }
            | Self::Unknown { param }
            | Self::TooMany { param, .. }
            | Self::Schema { param, .. } => Value::from(param.as_str()),
            Self::Model | Self::PutOut { .. } | Self::ModelLacks { .. } => "model".into(),
            Self::Engine(EngineError::Lacks { member }) => Value::from(*member),
            Self::Context { param, .. } | Self::Prompt { param, .. } => Value::from(*param),
            Self::Engine(EngineError::Parameter) => "seed".into(),
            _ => Value::Null,
        }
    }

    /// The error in Anthropic's shape.
    pub(crate) fn anthropic_body(&self) -> Value {
        let kind = match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            StatusCode::GATEWAY_TIMEOUT => "timeout_error",
            status if status.is_server_error() => "api_error",
            _ => "invalid_request_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": self.to_string(), "code": self.code(), "param": self.param()}})
    }

    /// The error object.
    pub fn body(&self) -> Value {
        json!({"error": {
            "message": self.to_string(),
            "type": self.kind(),
            "param": self.param(),
            "code": self.code(),
        }})
    }
}

/// Tells the clients of OpenAI and Anthropic whether to ask again by themselves.
const SHOULD_RETRY: &str = "x-should-retry";

impl ApiError {
    /// As a response, in OpenAI's shape.
    pub(crate) fn openai(&self) -> Response {
        self.response(self.body())
    }

    /// As a response, in Anthropic's shape.
    pub(crate) fn anthropic(&self) -> Response {
        self.response(self.anthropic_body())
    }

    fn response(&self, body: Value) -> Response {
        let mut response = (self.status(), Json(body)).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Busy | Self::Engine(EngineError::Busy) | Self::AciReport(AciReportError::Busy) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Engine(EngineError::Loading | EngineError::Unavailable) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            Self::Engine(EngineError::Room) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("15"));
            }
            Self::Rate { retry_after_s, .. } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_s));
            }
            // By themselves, clients would ask again a few times at once and give up.
            Self::PutOut { retry_after_s } => {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
                if let Some(seconds) = retry_after_s {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
                }
            }
            Self::RateNever { .. } | Self::Quota { .. } => {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
            Self::Key | Self::KeyMissing => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // RFC 6750 section 3.1.
            Self::Token(_) => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.openai()
    }
}
