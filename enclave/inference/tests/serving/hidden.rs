//! A model that only others may ask is, to everybody else, a model that does not exist: on every route, in every byte but the name asked.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hanzo_attestation::UnixTime;
use hanzo_inference::{AccessOptions, EngineEndpoint, ServingOptions, ServingState, router};
use hanzo_receipts::Accounts;
use hanzo_verifier::callers::Models;
use hanzo_verifier::order::Action;
use tower::ServiceExt as _;

use crate::access::{Office, caller, key, name, pinned_access};
use crate::double::{Script, last};
use crate::fixture::{Guest, NOW, limits, text};
use crate::orders::{bring_order, pinned};

const SERVED: &str = "smollm2";
/// As long, and nobody's.
const ABSENT: &str = "smollm3";

/// An engine that says what it was asked, counting of prompts too.
fn telling() -> Script {
    Script::Reusing(vec![last("x", "stop", 5, 1)])
}

/// The guest's next boot over the same store, with a model that is for `callers` alone.
fn reserved(guest: &Guest, callers: &[&str]) -> axum::Router {
    let state = ServingState::new(ServingOptions {
        receipts: guest.log.clone(),
        aci: guest.aci.clone(),
        engines: vec![EngineEndpoint {
            model: name(SERVED),
            socket: guest.engine.socket.clone(),
            context_tokens: 64,
            callers: Some(callers.iter().map(|id| name(id)).collect()),
            on_demand: false,
        }],
        open: crate::fixture::opened(guest.engine.socket.clone(), guest.opens.clone()),
        limits: limits(),
        queue: None,
        access: AccessOptions::Callers {
            access: Some(pinned_access()),
            operator: name("example"),
            accounts: Accounts::new(guest.db.clone()),
        },
        administrators: vec![pinned()],
        operator: name("example"),
        order_engines: Arc::new(|_, _| ()),
        uptime: Arc::new(|| Duration::ZERO),
        clock: Arc::new(|| UnixTime(NOW)),
        random: Arc::new(|out| {
            out.fill(7);
            true
        }),
    });
    router(state.unwrap())
}

/// Every request that names a model: route and body; no body for a GET.
fn requests(model: &str) -> Vec<(String, Option<String>)> {
    let post = |path: &str, body: &str| (path.to_owned(), Some(format!(r#"{{"model":"{model}",{body}}}"#)));
    let said = r#""messages":[{"role":"user","content":"Hi"}]"#;
    vec![
        post("/v1/chat/completions", said),
        post("/v1/chat/completions", &format!(r#"{said},"stream":true"#)),
        post("/v1/completions", r#""prompt":"Hi""#),
        post("/v1/completions", r#""prompt":"Hi","stream":true"#),
        post("/v1/responses", r#""input":"Hi""#),
        post("/v1/responses", r#""input":"Hi","stream":true"#),
        post("/v1/embeddings", r#""input":"Hi""#),
        post("/v1/messages", &format!(r#"{said},"max_tokens":8"#)),
        post("/v1/messages", &format!(r#"{said},"max_tokens":8,"stream":true"#)),
        post("/v1/messages/count_tokens", said),
        (format!("/v1/models/{model}"), None),
        ("/v1/models".to_owned(), None),
    ]
}

/// Status, all headers but the request's own id, and the body.
async fn whole(app: &axum::Router, who: u8, path: &str, body: Option<&str>) -> (u16, Vec<(String, String)>, String) {
    let request = match body {
        Some(_) => Request::post(path).header("content-type", "application/json"),
        None => Request::get(path),
    };
    let request = request
        .header("authorization", format!("Bearer {}", key(who).text().as_str()))
        .body(Body::from(body.unwrap_or_default().to_owned()))
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let mut headers: Vec<_> = response
        .headers()
        .iter()
        .filter(|(name, _)| !name.as_str().ends_with("request-id"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (response.status().as_u16(), headers, text(response).await)
}

/// Two callers of the same limits, one of whom asks for what is served to others and one for what is not there, are answered the same.
async fn hidden_as_absent(guest: &Guest, app: &axum::Router, asks_served: u8, asks_absent: u8) {
    for ((path, body), (other_path, other_body)) in requests(SERVED).into_iter().zip(requests(ABSENT)) {
        let hidden = whole(app, asks_served, &path, body.as_deref()).await;
        let absent = whole(app, asks_absent, &other_path, other_body.as_deref()).await;
        assert_eq!(hidden, absent, "{path}");
        let expected = if path == "/v1/models" { 200 } else { 404 };
        assert_eq!(hidden.0, expected, "{path}: {}", hidden.2);
        assert!(!hidden.2.contains(SERVED), "{path}: {}", hidden.2);
        if expected == 404 {
            assert!(hidden.2.contains(r#""code":"model_not_found""#), "{path}: {}", hidden.2);
        }
    }
    // No engine was asked, none was started, and nothing has a receipt.
    assert!(guest.engine.asked.lock().unwrap().is_empty());
    assert!(guest.opens.lock().unwrap().is_empty());
    assert!(guest.receipts().is_empty());
}

#[tokio::test]
async fn a_model_of_other_callers_is_answered_for_as_one_that_does_not_exist() {
    let callers = vec![caller("acme", 1), caller("beta", 2), caller("gamma", 3)];
    let office = Office::with(telling(), callers).await;
    let app = reserved(&office.guest, &["acme"]);
    hidden_as_absent(&office.guest, &app, 2, 3).await;
    // The twin: for the caller whose it is, each of these routes has it.
    for (path, body) in requests(SERVED) {
        let (status, _, said) = whole(&app, 1, &path, body.as_deref()).await;
        assert_ne!(status, 404, "{path}: {said}");
        assert!(!said.contains("model_not_found"), "{path}: {said}");
    }
}

#[tokio::test]
async fn a_model_that_a_key_is_not_for_is_answered_for_as_one_that_does_not_exist() {
    let scoped = |id: &str, byte: u8| {
        let mut caller = caller(id, byte);
        caller.models = Models::Named(vec![name("large")]);
        // Nobody would be told of the engine of one's own that it would start.
        caller.isolation = hanzo_verifier::callers::Isolation::Own;
        caller
    };
    let office = Office::with(telling(), vec![scoped("beta", 2), scoped("gamma", 3)]).await;
    hidden_as_absent(&office.guest, &office.guest.app, 2, 3).await;
}

#[tokio::test]
async fn what_orders_do_to_a_model_of_others_shows_to_its_callers_alone() {
    let callers = vec![caller("acme", 1), caller("beta", 2), caller("gamma", 3)];
    let office = Office::with(telling(), callers).await;
    let out = Action::PutOut {
        model: name(SERVED),
        until: NOW + 60,
    };
    bring_order(&office.guest, 1, out).await;
    let app = reserved(&office.guest, &["acme"]);
    let (path, body) = requests(SERVED).remove(0);
    let (status, _, said) = whole(&app, 1, &path, body.as_deref()).await;
    assert!(status == 503 && said.contains("model_put_out"), "{said}");
    hidden_as_absent(&office.guest, &app, 2, 3).await;
}
