//! Several answers, log probabilities, calls and documents of a chat.

use hanzo_receipts::{Endpoint, Outcome, Work};
use serde_json::{Value, json};

use crate::double::{PROMPT_TOKENS, Script, frame, honest, last, raw, says};
use crate::fixture::{Guest, chat, json as read, split, text};

const TOOLS: &str = r#","tools":[{"type":"function","function":{"name":"weather","description":"d",
    "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}]"#;

fn seen(guest: &Guest) -> Value {
    serde_json::from_str(&guest.engine.seen.lock().unwrap()).unwrap()
}

fn chunks(stream: &str) -> Vec<Value> {
    let frames = stream
        .split_terminator("\n\n")
        .filter(|f| !f.starts_with(':') && *f != "data: [DONE]");
    frames
        .map(|f| serde_json::from_str(f.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn several_answers_have_their_own_seeds_and_one_receipt() {
    let guest = Guest::new(honest());
    let body = read(guest.ask(&chat(r#","n":2,"seed":7,"max_tokens":3"#)).await).await;
    let choices = body["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 2);
    assert_eq!(
        (&choices[1]["index"], &choices[1]["message"]["content"]),
        (&json!(1), &json!("Paris."))
    );
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11})
    );
    assert_eq!(seen(&guest)["seed"], 8, "the second answer's");
    let receipts = guest.receipts();
    let receipt = receipts[0].receipt();
    assert_eq!(
        (
            receipt.completion_tokens,
            receipt.sampling.max_tokens,
            receipt.sampling.seed
        ),
        (6, 3, Some(7))
    );
    let work = Work {
        answers: 2,
        endpoint: Endpoint::Chat,
    };
    assert_eq!(receipt.work, Some(work));

    let stream = text(guest.ask(&chat(r#","n":2,"stream":true"#)).await).await;
    let (committed, receipt, after) = split(&stream);
    assert_eq!(
        (after, receipt.receipt.outcome),
        ("data: [DONE]\n\n", Outcome::Complete)
    );
    let order: Vec<_> = chunks(committed)
        .iter()
        .map(|c| c["choices"][0]["index"].as_u64().unwrap())
        .collect();
    assert_eq!(order, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    // One answer says nothing of its kind, as before.
    guest.ask(&chat("")).await;
    assert_eq!(guest.receipts()[2].receipt().work, None);
}

#[tokio::test]
async fn log_probabilities_are_written_anew() {
    let frame = |text: &str, more: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":{{\"content\":[{{\"token\":\"{text}\",\"logprob\":-0.25,\"bytes\":[65],\"top_logprobs\":[{{\"token\":\"B\",\"logprob\":-3}}],\"extra\":\"CANARY\"}}]}}{more}}}]}}\n\n"
        )
    };
    let script = raw(&[frame("A", ""), frame("A", ""), last("", "stop", PROMPT_TOKENS, 2)]);
    let guest = Guest::new(script);
    let asked = chat(r#","logprobs":true,"top_logprobs":1"#);
    let body = read(guest.ask(&asked).await).await;
    let content = &body["choices"][0]["logprobs"]["content"];
    assert_eq!(content.as_array().unwrap().len(), 2);
    let top = json!([{"token": "B", "logprob": -3.0, "bytes": null}]);
    assert_eq!(
        content[0],
        json!({"token": "A", "logprob": -0.25, "bytes": [65], "top_logprobs": top})
    );
    assert_eq!(
        (&seen(&guest)["logprobs"], &seen(&guest)["top_logprobs"]),
        (&json!(true), &json!(1))
    );
    let stream = text(
        guest
            .ask(&chat(r#","logprobs":true,"top_logprobs":1,"stream":true"#))
            .await,
    )
    .await;
    assert_eq!(
        chunks(&stream)[1]["choices"][0]["logprobs"]["content"][0]["logprob"],
        -0.25
    );
    // The nearest twin: nobody asked, so nothing is shown.
    assert!(read(guest.ask(&chat("")).await).await["choices"][0]["logprobs"].is_null());
    // More than was asked for is a breach.
    let more = guest.ask(&chat(r#","logprobs":true"#)).await;
    assert_eq!(more.status(), 502);
    assert_eq!(read(more).await["error"]["code"], "engine_protocol");
}

#[tokio::test]
async fn calls_are_read_out_of_the_models_text() {
    let call = [
        "<tool",
        "_call>\\n{\"name\": \"weather\", ",
        "\"arguments\": {\"city\": \"Paris\"}}",
        "\\n</tool_call>",
    ];
    let call = call.map(|t| t.replace("\\n", "\n"));
    let guest = Guest::new(says(&call.each_ref().map(String::as_str), "stop"));
    let body = read(guest.ask(&chat(TOOLS)).await).await;
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert!(choice["message"]["content"].is_null());
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(
        call["function"],
        json!({"name": "weather", "arguments": "{\"city\":\"Paris\"}"})
    );
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(seen(&guest)["tools"][0]["function"]["name"], "weather");

    let stream = text(guest.ask(&chat(&format!(r#"{TOOLS},"stream":true"#))).await).await;
    let (committed, receipt, _) = split(&stream);
    let chunks = chunks(committed);
    let delta = &chunks[1]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(
        (&delta["index"], &delta["function"]["name"]),
        (&json!(0), &json!("weather"))
    );
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "tool_calls");
    let verified = guest.receipts().pop().unwrap();
    verified
        .check_response(&receipt.salts.response, committed.as_bytes())
        .unwrap();

    // The nearest twins: without tools, and with another tool's name, it is text.
    let body = read(guest.ask(&chat("")).await).await;
    assert!(
        body["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .starts_with("<tool_call>")
    );
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let other = read(guest.ask(&chat(&TOOLS.replace("weather", "whether"))).await).await;
    assert_eq!(other["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_forced_call_is_enforced_by_the_engine_and_checked_again() {
    let forced = format!(r#"{TOOLS},"tool_choice":"required""#);
    let guest = Guest::new(says(
        &[r#"{"name":"weather","#, r#""arguments":{"city":"Paris"}}"#],
        "stop",
    ));
    let body = read(guest.ask(&chat(&forced)).await).await;
    assert_eq!(
        body["choices"][0]["message"]["tool_calls"][0]["function"]["name"],
        "weather"
    );
    let schema = &seen(&guest)["json_schema"];
    assert_eq!(schema["properties"]["name"], json!({"const": "weather"}));
    for bad in [r#"{"name":"weather","arguments":{"city":5}}"#, "I would rather talk"] {
        let guest = Guest::new(says(&[bad], "stop"));
        let refused = guest.ask(&chat(&forced)).await;
        assert_eq!(refused.status(), 422);
        assert_eq!(read(refused).await["error"]["code"], "answer_not_as_asked");
        assert_eq!(guest.receipts()[0].receipt().outcome, Outcome::Failed);
    }
}

#[tokio::test]
async fn a_document_is_what_the_schema_allows_or_an_error() {
    let asked = r#","response_format":{"type":"json_schema","json_schema":{"name":"answer","strict":true,
        "schema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}}}"#;
    let guest = Guest::new(says(&["{\"n\"", ":", "5}"], "stop"));
    let body = read(guest.ask(&chat(asked)).await).await;
    assert_eq!(body["choices"][0]["message"]["content"], "{\"n\":5}");
    assert_eq!(seen(&guest)["json_schema"]["required"], json!(["n"]));

    let guest = Guest::new(says(&["{\"n\":", "\"CANARY\"}"], "stop"));
    let refused = guest.ask(&chat(asked)).await;
    assert_eq!(refused.status(), 422);
    let error = text(refused).await;
    assert!(
        error.contains("answer_not_as_asked") && !error.contains("CANARY"),
        "{error}"
    );
    let stream = text(guest.ask(&chat(&format!(r#"{asked},"stream":true"#))).await).await;
    let (committed, receipt, after) = split(&stream);
    assert_eq!((receipt.receipt.outcome, after), (Outcome::Failed, ""));
    assert!(committed.contains("answer_not_as_asked"), "{committed}");

    // Tokens that ran out are no breach; tokens that an engine says ran out are one.
    let guest = Guest::new(says(&["{\"n\":"], "length"));
    let short = format!(r#"{asked},"max_completion_tokens":1"#);
    let body = read(guest.ask(&chat(&short)).await).await;
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    let refused = guest.ask(&chat(asked)).await;
    assert_eq!(refused.status(), 502);
    let error = text(refused).await;
    assert!(error.contains("engine_protocol"), "{error}");
}

#[tokio::test]
async fn what_an_engine_lacks_is_named_in_the_callers_words() {
    let document = r#","response_format":{"type":"json_object"}"#;
    let forced = format!(r#"{TOOLS},"tool_choice":"required""#);
    let unknown = r#"{"error":{"message":"CANARY","code":"invalid_request"}}"#;
    let lacks = |param: &'static str| match param {
        "tools" => r#"{"error":{"message":"CANARY","code":"unsupported_parameter","param":"tools"}}"#,
        "json_schema" => r#"{"error":{"message":"CANARY","code":"unsupported_parameter","param":"json_schema"}}"#,
        _ => r#"{"error":{"message":"CANARY","code":"invalid_schema"}}"#,
    };
    for (script, extra, code, param) in [
        (
            Script::Refuse(400, unknown),
            document,
            "unsupported_parameter",
            "response_format",
        ),
        (
            Script::Refuse(400, lacks("json_schema")),
            &forced,
            "unsupported_parameter",
            "tool_choice",
        ),
        (
            Script::RefuseAll(400, lacks("tools")),
            TOOLS,
            "unsupported_parameter",
            "tools",
        ),
        (
            Script::Refuse(400, lacks("schema")),
            document,
            "invalid_schema",
            "response_format",
        ),
        (
            Script::Refuse(400, unknown),
            r#","logprobs":true"#,
            "unsupported_parameter",
            "logprobs",
        ),
        (Script::Refuse(400, unknown), "", "engine_refused", ""),
    ] {
        let guest = Guest::new(script);
        let refused = guest.ask(&chat(extra)).await;
        assert_eq!(refused.status(), 400, "{extra}");
        let error = read(refused).await["error"].clone();
        assert_eq!(
            (error["code"].as_str(), error["param"].as_str().unwrap_or("")),
            (Some(code), param),
            "{extra}"
        );
        assert!(!error.to_string().contains("CANARY") && guest.receipts().is_empty());
    }
}

#[tokio::test]
async fn an_engine_that_fails_between_two_answers_leaves_one_failed_receipt() {
    let guest = Guest::new(raw(&[frame("a"), frame("b")]));
    let refused = guest.ask(&chat(r#","n":3"#)).await;
    assert_eq!(refused.status(), 502);
    assert_eq!(guest.receipts().len(), 1);
    assert_eq!(guest.receipts()[0].receipt().outcome, Outcome::Failed);
}

#[tokio::test]
async fn a_caller_reads_its_request_id_and_its_own_share() {
    let guest = Guest::new(honest());
    for body in [chat(""), chat(r#","n":0"#)] {
        let response = guest.ask(&body).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert!(header("x-request-id").starts_with("req-"));
        assert_eq!(header("request-id"), header("x-request-id"));
        assert_eq!(header("x-ratelimit-limit-requests"), "2");
        assert_eq!(header("x-ratelimit-remaining-requests"), "1");
    }
}
