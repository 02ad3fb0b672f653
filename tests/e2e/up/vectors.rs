//! `hanzo up --model bert.gguf`: an encoder makes vectors through the API, the engine's own to the last bit, and answers no chat.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_engine_llama::{Engine, EngineOptions, Llama, Prompt};
use serde_json::{Value, json};

use crate::http::ask;
use crate::{Up, encoder, private_dir, turn};

const TEXTS: [&str; 3] = ["the heat of the day", "warmer", "Ünïcödé 漢字"];

#[test]
fn a_bert_file_serves_the_engines_vectors_as_numbers_and_as_bytes_and_refuses_chats() {
    let _turn = turn();
    let work = private_dir();
    let file = work.path().join("bert.gguf");
    let cache = work.path().join("cache");
    fs::write(&file, encoder::bert(1).bytes()).unwrap();
    let options = [
        "--model".as_ref(),
        file.as_os_str(),
        "--cache".as_ref(),
        cache.as_os_str(),
    ];
    let up = Up::start_with(&options).unwrap();
    assert_eq!(up.text("model"), "bert");

    let prepared = fs::read_dir(cache.join("models"))
        .unwrap()
        .flatten()
        .find(|e| e.path().is_dir())
        .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let direct = runtime.block_on(async {
        let options = EngineOptions {
            context_tokens: Some(128),
            ..EngineOptions::new(&prepared.path(), "")
        };
        let engine = Llama::load(&options).await.unwrap();
        let inputs = TEXTS.map(|text| Prompt::Text(text.into()));
        Engine::embed(&engine, &inputs).await.unwrap().0
    });

    let embed = |more: Value| {
        let mut asked = json!({"model": "bert", "input": TEXTS});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = ask(up.text("listening"), None, "/v1/embeddings", Some(asked));
        assert_eq!(reply.status, 200, "{}", reply.body);
        let data = reply.body["data"].as_array().unwrap().clone();
        data.iter().map(|one| one["embedding"].clone()).collect::<Vec<_>>()
    };
    let floats = embed(json!({})).into_iter().map(|vector| {
        let numbers = vector.as_array().unwrap().iter();
        numbers.map(|n| n.as_f64().unwrap() as f32).collect::<Vec<f32>>()
    });
    assert_eq!(floats.collect::<Vec<_>>(), direct);
    let bytes = embed(json!({"encoding_format": "base64"}));
    let expected: Vec<_> = direct
        .iter()
        .map(|vector| Value::from(STANDARD.encode(vector.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>())))
        .collect();
    assert_eq!(bytes, expected);
    assert_ne!(direct[0], direct[1]);

    let chat = json!({"model": "bert", "messages": [{"role": "user", "content": "Hi"}]});
    let refused = ask(up.text("listening"), None, "/v1/chat/completions", Some(chat));
    assert_eq!(
        (refused.status, &refused.body["error"]["type"]),
        (400, &"invalid_request_error".into())
    );
    assert_eq!(
        refused.body["error"]["code"], "unsupported_by_model",
        "{}",
        refused.body
    );
    assert_eq!(refused.body["error"]["param"], "model");
    let raw = json!({"model": "bert", "prompt": "Hi"});
    let refused = ask(up.text("listening"), None, "/v1/completions", Some(raw));
    assert_eq!(refused.refusal().1, "unsupported_by_model", "{}", refused.body);
}
