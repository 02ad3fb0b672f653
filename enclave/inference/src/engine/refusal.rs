//! What an engine's refusal means. Its text is the engine's and goes nowhere.

use hyper::Response;
use hyper::body::Incoming;
use serde::Deserialize;

use super::{ERROR_BYTES_MAX, EngineError, whole};

#[derive(Deserialize)]
struct Refusal {
    error: Detail,
}

#[derive(Deserialize, Default)]
struct Detail {
    #[serde(default)]
    code: Option<serde_json::Value>,
    #[serde(default)]
    param: Option<serde_json::Value>,
}

/// Reads a refusal of a request that used `extras`, members that an engine may lack.
pub(super) async fn read(response: Response<Incoming>, extras: &[&'static str]) -> EngineError {
    let status = response.status().as_u16();
    match whole(response, ERROR_BYTES_MAX).await {
        Ok(body) => meaning(status, &body, extras),
        Err(e) => e,
    }
}

fn meaning(status: u16, body: &[u8], extras: &[&'static str]) -> EngineError {
    let detail = serde_json::from_slice::<Refusal>(body)
        .map(|r| r.error)
        .unwrap_or_default();
    let word = |value: &Option<serde_json::Value>| value.as_ref().and_then(|v| v.as_str().map(str::to_owned));
    let (code, param) = (word(&detail.code), word(&detail.param));
    let named = param.and_then(|p| {
        let p = if p == "top_logprobs" { "logprobs".to_owned() } else { p };
        extras.iter().find(|extra| **extra == p).copied()
    });
    let lacking = named.or(extras.first().copied());
    match (status, code.as_deref(), lacking) {
        (400..=499, Some("context_length" | "context_length_exceeded"), _) => EngineError::Context,
        (400..=499, Some("template" | "empty_prompt"), _) => EngineError::Template,
        (400..=499, Some("invalid_schema"), _) => EngineError::Schema,
        (503, Some("busy"), _) => EngineError::Busy,
        (404, ..) | (400..=499, Some("unsupported"), _) => EngineError::Absent,
        (400..=499, Some("unsupported_parameter" | "invalid_request"), Some(member)) => EngineError::Lacks { member },
        (400..=499, Some("unsupported_parameter"), None) => EngineError::Parameter,
        (429, ..) => EngineError::Busy,
        (503, ..) => EngineError::Loading,
        (400..=499, ..) => EngineError::Refused,
        _ => EngineError::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_an_engine_lacks_is_named_and_only_if_it_was_sent() {
        let says = |status, code: &str, param: &str, extras: &[&'static str]| {
            let body = format!(r#"{{"error":{{"message":"x","code":"{code}","param":"{param}"}}}}"#);
            meaning(status, body.as_bytes(), extras)
        };
        let both = ["tools", "json_schema"];
        let lacks = |member| EngineError::Lacks { member };
        assert_eq!(
            says(400, "unsupported_parameter", "json_schema", &both),
            lacks("json_schema")
        );
        assert_eq!(says(400, "invalid_request", "", &both), lacks("tools"));
        assert_eq!(
            says(400, "unsupported_parameter", "top_logprobs", &["logprobs"]),
            lacks("logprobs")
        );
        assert_eq!(
            says(400, "unsupported_parameter", "json_schema", &[]),
            EngineError::Parameter
        );
        assert_eq!(says(400, "invalid_request", "", &[]), EngineError::Refused);
        assert_eq!(says(400, "invalid_schema", "", &both), EngineError::Schema);
        assert_eq!(says(404, "not_found", "", &[]), EngineError::Absent);
        assert_eq!(meaning(404, b"<html>", &[]), EngineError::Absent);
        assert_eq!(meaning(400, br#"{"error":{"code":5}}"#, &[]), EngineError::Refused);
    }
}
