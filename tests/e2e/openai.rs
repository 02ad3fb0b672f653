//! What `openai_client.py` found, held against what the default engine promises.

use serde_json::Value;

/// `got` is what the script printed of a model named `model`.
pub fn check(got: &Value, model: &str) {
    assert!(got["models"].as_array().unwrap().contains(&model.into()), "{got}");
    let chat = got["chat"].as_str().unwrap();
    assert_eq!(
        got["stream"].as_str().unwrap(),
        chat,
        "greedy decoding answers the same, streamed or not"
    );
    assert!(got["stream_chunks"].as_u64().unwrap() > 4, "{got}");
    assert_eq!(got["stream_tokens"], got["chat_tokens"]);
    assert_eq!(got["errors"]["unknown_model"], "model_not_found");
    assert_eq!(got["errors"]["no_messages"], "messages");
    assert_eq!(got["receipt_id"].as_str().map(str::len), Some(32), "{got}");

    // Tools: a call of the one that there is, with arguments that its schema allows; and its result is read.
    let (call, city) = (&got["call"], &got["call"][1]["city"]);
    assert_eq!((&call[0], &call[2]), (&"weather".into(), &"tool_calls".into()), "{got}");
    assert!(city.as_str().is_some_and(|city| city.chars().count() <= 20), "{got}");
    assert!(got["after_call"].is_string(), "{got}");

    // Documents, streamed or not.
    let document = &got["document"];
    assert!(
        document["capital"].is_string() && document["population"].is_u64(),
        "{got}"
    );
    assert_eq!(got["document_streamed"], *document);
    assert_eq!(got["errors"]["unkept_schema"], "invalid_schema");

    // Log probabilities: the tokens are the text, and greedy takes the likeliest of three.
    assert_eq!(got["logprobs_text"], chat);
    for token in got["logprobs"].as_array().unwrap() {
        let numbers: Vec<f64> = token.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
        assert_eq!(numbers.len(), 4, "{got}");
        assert!(numbers[0] <= 0.0 && numbers[0] >= numbers[1] - 1e-6, "{got}");
    }

    // Raw prompts; and a model of chats embeds nothing.
    let completion = got["completion"].as_str().unwrap();
    assert!(!completion.is_empty(), "{got}");
    let tokens = got["completion_tokens"].as_array().unwrap().iter();
    assert_eq!(tokens.map(|t| t.as_str().unwrap()).collect::<String>(), completion);
    assert_eq!(got["errors"]["no_embeddings"], "unsupported_by_model");
}
