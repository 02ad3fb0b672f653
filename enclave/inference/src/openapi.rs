//! The API's own description, OpenAPI 3.1, as it is written in `enclave/inference/openapi.json`. Tests hold it against the
//! routes and the members that the code takes.

use axum::http::header;
use axum::response::IntoResponse;

/// The document.
pub(crate) const DOCUMENT: &str = include_str!("../openapi.json");

/// `GET /openapi.json`.
pub(crate) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::error::ApiError;
    use crate::request::{ChatRequest, CompletionsRequest, EmbeddingsRequest, MessagesRequest, ResponsesRequest, seen};

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    #[test]
    fn every_route_is_in_the_document_and_back() {
        let router = include_str!("router.rs");
        let routes: BTreeSet<(String, String)> = router
            .lines()
            .filter_map(|line| line.trim().strip_prefix(".route(\""))
            .map(|rest| {
                let (path, rest) = rest.split_once("\", ").unwrap();
                // What takes the rest of a path is a parameter to the document.
                (path.replace("{*", "{"), rest.split_once('(').unwrap().0.to_owned())
            })
            .collect();
        assert!(routes.len() > 10, "{routes:?}");
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let written: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, methods)| {
                methods
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(move |m| (path.clone(), m.clone()))
            })
            .collect();
        assert_eq!(routes, written);
    }

    #[test]
    fn every_security_scheme_is_there_and_asked_for() {
        let document = document();
        let written = document["components"]["securitySchemes"].as_object().unwrap();
        let asked: BTreeSet<&String> = document["security"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|together| together.as_object().unwrap().keys())
            .collect();
        assert_eq!(asked, written.keys().collect());
        let read = concat!(include_str!("access/credential.rs"), include_str!("access/asking.rs"));
        for (name, scheme) in written {
            let is_known = match scheme["type"].as_str() {
                Some("http") => scheme["scheme"] == "bearer",
                Some("apiKey") => {
                    let header = scheme["name"].as_str().unwrap();
                    scheme["in"] == "header" && read.contains(&format!("\"{header}\""))
                }
                _ => false,
            };
            assert!(is_known, "{name}: {scheme}");
        }
    }

    /// Paths of all properties; objects that name none are the caller's own.
    fn properties(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
        for list in ["oneOf", "anyOf"] {
            for one in schema[list].as_array().into_iter().flatten() {
                properties(one, at, found);
            }
        }
        if schema["items"].is_object() {
            properties(&schema["items"], &format!("{at}[]"), found);
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            properties(inner, &path, found);
            found.insert(path);
        }
    }

    fn compare<T>(schema: &str, bodies: &[&str], parse: impl Fn(&[u8]) -> Result<T, ApiError>) {
        let mut written = BTreeSet::new();
        properties(&document()["components"]["schemas"][schema], "", &mut written);
        seen::drain();
        for body in bodies {
            let _ = parse(body.as_bytes());
        }
        assert_eq!(seen::drain(), written, "{schema}");
    }

    const SCHEMA: &str = r#""type":"json_schema","name":"x","description":"d","strict":true,"schema":{}"#;

    #[test]
    fn every_member_of_every_request_is_in_the_document_and_back() {
        let part = |kind: &str| format!(r#"[{{"type":"{kind}","text":"a"}}]"#);
        let chat = |more: &str| format!(r#"{{"model":"m",{more}}}"#);
        compare(
            "ChatRequest",
            &[
                &chat(&format!(
                    r#""messages":[{{"role":"user","content":{}}},{{"role":"assistant","tool_calls":[
                    {{"id":"c","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}},{{"role":"tool","tool_call_id":"c","content":"5"}}],
                    "tools":[{{"type":"function","function":{{"name":"f"}}}}],"tool_choice":{{"type":"function","name":"f"}},
                    "stream":true,"stream_options":{{}},"response_format":{{"type":"json_schema","json_schema":{{}}}}"#,
                    part("text")
                )),
                &chat(&format!(
                    r#""messages":[{{"role":"user","content":"a"}}],"tools":[{{"type":"function","function":{{"name":"f"}}}}],
                    "tool_choice":{{"type":"function","function":{{"name":"f"}}}},"response_format":{{"type":"json_schema","json_schema":{{{}}}}}"#,
                    SCHEMA.replacen(r#""type":"json_schema","#, "", 1)
                )),
                &chat(r#""messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}]"#),
            ],
            ChatRequest::parse,
        );
        compare(
            "CompletionsRequest",
            &[r#"{"model":"m","prompt":"a","stream":true,"stream_options":{}}"#],
            CompletionsRequest::parse,
        );
        compare(
            "EmbeddingsRequest",
            &[r#"{"model":"m","input":"a"}"#],
            EmbeddingsRequest::parse,
        );
        compare(
            "ResponsesRequest",
            &[
                &chat(&format!(
                    r#""input":[{{"role":"user","content":{0}}},{{"type":"function_call","call_id":"c","name":"f","arguments":""}},
                    {{"type":"function_call_output","call_id":"c","output":{0}}}],"tools":[{{"type":"function","name":"f"}}],
                    "tool_choice":{{"type":"function","name":"f"}},"stream_options":{{}},"text":{{"format":{{{SCHEMA}}}}}"#,
                    part("input_text")
                )),
                &chat(
                    r#""input":"a","tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","function":{"name":"f"}}"#,
                ),
                &chat(r#""input":[{"role":"user","content":[{"type":"input_image","image_url":"data:"}]}]"#),
                &chat(
                    r#""input":[{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"data:"}]}]"#,
                ),
            ],
            ResponsesRequest::parse,
        );
        let conversation = [
            format!(
                r#"{{"model":"m","max_tokens":5,"system":{0},"messages":[{{"role":"user","content":{0}}},
                {{"role":"assistant","content":[{{"type":"tool_use","id":"t","name":"f","input":{{}}}}]}},
                {{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t","content":{0}}}]}}],
                "tools":[{{"name":"f"}}],"tool_choice":{{"type":"tool","name":"f"}},"output_config":{{"format":{{{SCHEMA}}}}}}}"#,
                part("text")
            ),
            r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64"}}]}]}"#.to_owned(),
        ];
        let bodies: Vec<&str> = conversation.iter().map(String::as_str).collect();
        compare("MessagesRequest", &bodies, MessagesRequest::parse);
        let bodies: Vec<String> = conversation
            .iter()
            .map(|b| b.replace(r#""max_tokens":5,"#, ""))
            .collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        compare("CountTokensRequest", &bodies, MessagesRequest::parse_to_count);
    }
}
