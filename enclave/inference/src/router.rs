//! The routes.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};

use crate::state::ServingState;
use crate::{aci, callers_table, endpoints, leftover, log, openapi, orders, routes};

/// All routes of the API. Serve it inside the attested channel alone, with Nagle's algorithm off: frames are handed over one
/// by one.
pub fn router(state: ServingState) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(endpoints::chat))
        .route("/v1/completions", post(endpoints::completions))
        .route("/v1/embeddings", post(endpoints::embeddings))
        .route("/v1/messages", post(endpoints::messages))
        .route("/v1/messages/count_tokens", post(endpoints::count_tokens))
        .route("/v1/responses", post(endpoints::responses))
        .route("/v1/callers", put(callers_table::take))
        .route("/v1/orders", post(orders::take))
        .route("/v1/usage", get(callers_table::usage))
        .route("/v1/models", get(routes::models))
        .route("/v1/models/{name}", get(routes::model))
        .route("/v1/receipts/{id}", get(routes::receipt))
        .route("/v1/aci/attestation", get(aci::attestation))
        .route("/v1/aci/receipts/{id}", get(aci::receipt))
        .route("/v1/signature/{chat_id}", get(aci::signature))
        .route("/log/checkpoint", get(log::checkpoint))
        .route("/log/tile/{*path}", get(log::tile))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/openapi.json", get(openapi::document))
        .route("/health", get(routes::health))
        .route("/metrics", get(routes::metrics))
        .fallback(routes::no_route)
        .method_not_allowed_fallback(routes::wrong_method)
        // Bodies are bounded where they are read, by the measured configuration.
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            routes::name_response,
        ))
        .layer(axum::middleware::from_fn(leftover::discard))
        .with_state(state)
}
