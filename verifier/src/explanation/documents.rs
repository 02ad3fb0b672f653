//! What a bundle carries besides evidence.

use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::keyset::ServedModel;

use super::Node;

pub(super) fn bundle(bundle: &Bundle) -> Vec<Node> {
    let k = &bundle.keyset;
    let keyset_digest = k.digest().map_or_else(|e| e.to_string(), |d| d.to_string());
    let models = k.models.iter().map(|m| Node::stated(m.name.as_str(), roots(m)));
    vec![
        Node::stated("keyset_digest", keyset_digest),
        Node::stated("image", k.image.to_string()),
        Node::stated("config_digest", k.config_digest.to_string()),
        Node::stated("policy_digest", k.policy_digest.to_string()),
        Node::stated("capability_digest", k.capability_digest.to_string()),
        Node::stated("issued_at, not_after", format!("{}, {}", k.issued_at, k.not_after)),
        Node::stated("tls_spki_sha256", k.tls_spki_sha256.to_string()),
        Node::stated("models", k.models.len().to_string()).with(models),
        Node::stated("nonce", bundle.nonce.to_string()),
        Node::stated("devices", bundle.devices.len().to_string()),
    ]
}

fn roots(model: &ServedModel) -> String {
    match &model.base_root {
        None => format!("weights root {}", model.weights_root),
        Some(base) => format!("weights root {}, an adapter on {base}", model.weights_root),
    }
}
