//! The endpoints as strangers and old clients see them.

#[path = "support/harness.rs"]
mod harness;

use hanzo_kbs_protocol::{ATTEST_PATH, AUTH_PATH};
use harness::{Broker, Guest, http, policy, vectors};

#[test]
fn strangers_get_errors_that_stock_clients_can_read() {
    let broker = Broker::simulated();
    let at = broker.address;
    let auth = |body: &str| http(at, "POST", AUTH_PATH, "", body.as_bytes());
    let old = auth(r#"{"version":"0.1.0","tee":"tdx","extra-params":"foo"}"#);
    assert!(
        old.text().contains("KBS Client Protocol Version Mismatch"),
        "{}",
        old.text()
    );
    assert_eq!(old.error(), (401, "kbs.protocol.version".into()));
    let sgx = auth(r#"{"version":"0.4.0","tee":"sgx","extra-params":""}"#);
    assert_eq!(sgx.error(), (400, "kbs.tee.unsupported".into()));
    assert_eq!(auth("{").error(), (400, "kbs.body.malformed".into()));
    assert_eq!(auth(&" ".repeat(5000)).error(), (413, "kbs.body.too_large".into()));
    let attest = http(at, "POST", ATTEST_PATH, "", &vec![b' '; 1100 * 1024]);
    assert_eq!(attest.error(), (413, "kbs.body.too_large".into()));
    // The stock client asks for its key first and takes the 401 as the signal to attest.
    assert_eq!(
        Guest::new().ask(at, "a/b/c").error(),
        (401, "kbs.session.unknown".into())
    );
    assert_eq!(
        http(at, "GET", "/nowhere", "", b"").error(),
        (404, "kbs.path.unknown".into())
    );
    assert_eq!(http(at, "PUT", AUTH_PATH, "", b"").error(), (405, "kbs.method".into()));
    assert_eq!(http(at, "GET", "/healthz", "", b"").text(), "ok\n");
    let attested = Guest::new().attested(at);
    let escape = http(at, "GET", "/kbs/v0/resource/a/..%2f..%2fb/c", &attested.cookie, b"");
    assert_eq!(escape.error(), (404, "kbs.key.unknown".into()));
    let metrics = http(at, "GET", "/metrics", "", b"").text();
    assert!(metrics.contains("hanzo_kbs_challenges_total 1\n"), "{metrics}");
}

#[test]
fn classical_wrapping_keys_are_refused_by_name() {
    let broker = Broker::simulated();
    let guest = Guest::new().challenged(broker.address);
    let mut body: serde_json::Value = serde_json::from_slice(&guest.attest).unwrap();
    body["runtime-data"]["tee-pubkey"] =
        serde_json::json!({"kty": "EC", "crv": "P-256", "alg": "ECDH-ES+A256KW", "x": "AA", "y": "AA"});
    let reply = http(
        broker.address,
        "POST",
        ATTEST_PATH,
        &guest.cookie,
        body.to_string().as_bytes(),
    );
    assert_eq!(reply.error(), (400, "kbs.wrap.jwk".into()));
}

#[test]
fn captured_bodies_of_the_stock_client_get_clear_answers() {
    let Some(vectors) = vectors() else { return };
    let broker = Broker::simulated();
    let read = |name: &str| std::fs::read(vectors.join(name)).unwrap();
    let send = |path: &str, cookie: &str, name: &str| http(broker.address, "POST", path, cookie, &read(name)).error();
    assert_eq!(
        send(AUTH_PATH, "", "rcar_0.4.0_auth.json"),
        (400, "kbs.tee.sample".into())
    );
    assert_eq!(
        send(AUTH_PATH, "", "old_auth_0.1.0.json"),
        (401, "kbs.protocol.version".into())
    );
    let cookie = Guest::new().challenged(broker.address).cookie;
    assert_eq!(
        send(ATTEST_PATH, &cookie, "rcar_0.4.0_attest_sample.json"),
        (400, "kbs.session.tee".into())
    );
    let cookie = Guest::new().challenged(broker.address).cookie;
    assert_eq!(
        send(ATTEST_PATH, &cookie, "old_attest.json"),
        (400, "kbs.body.malformed".into())
    );
}

#[test]
fn the_token_is_an_es256_jwt_that_says_simulated() {
    use base64::Engine as _;
    let broker = Broker::simulated();
    broker.put("hanzo/b/c", 1, &policy()).unwrap();
    let guest = Guest::new().challenged(broker.address);
    let token = guest.send_attest(broker.address).json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let parts: Vec<_> = token.split('.').collect();
    let decode = |part: &str| -> serde_json::Value {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    assert_eq!(decode(parts[0])["alg"], "ES256");
    let claims = decode(parts[1]);
    let cpu = &claims["submods"]["cpu0"];
    assert_eq!(cpu["ear.veraison.annotated-evidence"]["simulated"], true);
    assert_eq!(cpu["ear.status"], "contraindicated", "nothing simulated is affirmed");
    assert!(claims["exp"].as_u64().unwrap() > claims["iat"].as_u64().unwrap());
}
