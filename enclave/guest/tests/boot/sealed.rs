//! Sealed messages to a booted guest: answered by the same API, once, and by the right guest alone.

use bytes::Bytes;
use hanzo_attestation::channel::ATTESTATION_PATH;
use hanzo_attestation::keyset::Keyset;
use hanzo_guest::ListenAddress;
use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::MessageKem;
use hanzo_sealed::bhttp::{
    Field, INDETERMINATE_END, RequestHead, ResponseHead, Whole, content_piece, decode, encode_request, request_start,
};
use hanzo_sealed::chunked::{self, RequestSealer};
use hanzo_sealed::config::{KeyConfig, parse_list};
use hanzo_sealed::{ehbp, ohttp};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::client::connect;
use crate::world::{Running, World};

const CHAT: &str = "/v1/chat/completions";

/// A guest that takes sealed messages without TLS, and opens the classical ways if asked.
pub async fn guest(classical: bool) -> (World, Running) {
    let mut world = World::new().await;
    world.options.sealed = Some("127.0.0.1:0".parse().unwrap());
    if classical {
        let config = format!("{}[sealed]\nohttp_x25519 = true\nehbp = true\n", world.config);
        world.configure(config);
    }
    let running = world.boot().await;
    (world, running)
}

pub fn clear_address(guest: &Running) -> std::net::SocketAddr {
    match guest.ready.sealed_address {
        Some(ListenAddress::Tcp(address)) => address,
        _ => panic!("no listener for sealed messages"),
    }
}

pub fn key_of(keyset: &Keyset, protocol: &str, kem: MessageKem) -> KeyConfig {
    let mut keys = keyset.ohttp_keys.iter();
    let key = keys.find(|k| k.protocol == protocol && k.kem == kem.name()).unwrap();
    KeyConfig::from_keyset(key).unwrap()
}

pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub async fn send(guest: &Running, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answered {
    let stream = TcpStream::connect(clear_address(guest)).await.unwrap();
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(driver);
    let mut request = Request::builder().method(method).uri(path).header("host", "relay");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sender
        .send_request(request.body(Full::new(Bytes::from(body))).unwrap())
        .await
        .unwrap();
    let (head, body) = answer.into_parts();
    Answered {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

pub async fn gateway(guest: &Running, media_type: &str, body: Vec<u8>) -> Answered {
    send(
        guest,
        "POST",
        ohttp::GATEWAY_PATH,
        &[("content-type", media_type)],
        body,
    )
    .await
}

pub fn head() -> RequestHead {
    RequestHead {
        method: "POST".into(),
        scheme: "https".into(),
        authority: "guest".into(),
        path: CHAT.into(),
        fields: vec![
            Field::new("content-type", "application/json"),
            Field::new("hanzo-owner", "4f".repeat(32)),
        ],
    }
}

fn question(is_stream: bool) -> String {
    format!(r#"{{"model":"tiny","stream":{is_stream},"messages":[{{"role":"user","content":"Capital of France?"}}]}}"#)
}

/// Seals a question in parts, answers it, and opens the answer.
async fn ask_in_parts(guest: &Running, config: &KeyConfig, aead: Gcm, is_stream: bool) -> (Whole<ResponseHead>, usize) {
    let (mut sealed, mut sealer, mut answer) = RequestSealer::begin(config, aead).unwrap();
    sealed.extend(sealer.part(&request_start(&head())).unwrap());
    for piece in question(is_stream).as_bytes().chunks(20) {
        sealed.extend(sealer.part(&content_piece(piece)).unwrap());
    }
    sealed.extend(sealer.last(&INDETERMINATE_END).unwrap());
    let answered = gateway(guest, chunked::REQUEST_MEDIA_TYPE, sealed).await;
    let text = String::from_utf8_lossy(&answered.body).into_owned();
    assert_eq!(answered.status, StatusCode::OK, "{text}");
    assert_eq!(answered.headers["content-type"], chunked::RESPONSE_MEDIA_TYPE);
    assert!(
        !text.contains("Paris") && !text.contains("hanzo-receipt"),
        "nothing of it in clear"
    );
    answer.push(&answered.body).unwrap();
    let (mut message, mut parts) = (Vec::new(), 1);
    while let Some(part) = answer.next_part().unwrap() {
        parts += 1;
        message.extend_from_slice(&part.bytes);
    }
    message.extend_from_slice(&answer.end().unwrap().bytes);
    (decode(&message).unwrap(), parts)
}

pub fn key_problem(answered: &Answered) {
    let body: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{body}");
    assert_eq!(answered.headers["content-type"], "application/problem+json");
    assert_eq!(body["type"], ohttp::KEY_PROBLEM);
    assert_eq!(body["code"], "sealed.key");
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_questions_are_answered_whole_and_streamed_with_receipts_that_name_the_way() {
    let (_world, guest) = guest(true).await;
    let keyset = guest.ready.keyset.clone();
    let served = send(&guest, "GET", ohttp::GATEWAY_PATH, &[], vec![]).await;
    assert_eq!(served.headers["content-type"], "application/ohttp-keys");
    let served = parse_list(&served.body).unwrap();
    for (kem, transport) in [
        (MessageKem::Xwing, "ohttp+x-wing"),
        (MessageKem::X25519, "ohttp+x25519"),
    ] {
        let config = key_of(&keyset, "ohttp", kem);
        assert!(served.contains(&config), "the wire's keys are the keyset's");
        for aead in [Gcm::Aes128, Gcm::Aes256] {
            let (answer, _) = ask_in_parts(&guest, &config, aead, false).await;
            let text = String::from_utf8(answer.content).unwrap();
            assert_eq!(answer.head.status, 200, "{text}");
            assert!(text.contains("Paris"), "{text}");
        }
        let (answer, parts) = ask_in_parts(&guest, &config, Gcm::Aes128, true).await;
        let text = String::from_utf8(answer.content).unwrap();
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        assert!(text.contains(&format!(r#""transport":"{transport}""#)), "{text}");
        assert!(parts > 4, "{parts} parts: it streams");

        let sealed = encode_request(&head(), question(false).as_bytes());
        let (sealed, opener) = ohttp::seal_request(&config, Gcm::Aes256, &sealed).unwrap();
        let answered = gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, sealed).await;
        assert_eq!(answered.headers["content-type"], ohttp::RESPONSE_MEDIA_TYPE);
        let answer: Whole<ResponseHead> = decode(&opener.open(&answered.body).unwrap()).unwrap();
        assert!(String::from_utf8(answer.content).unwrap().contains("Paris"));
    }
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_message_counts_once_and_every_key_failure_looks_alike() {
    let (_world, guest) = guest(false).await;
    let config = key_of(&guest.ready.keyset, "ohttp", MessageKem::Xwing);
    let message = encode_request(&head(), question(false).as_bytes());
    let (sealed, _) = ohttp::seal_request(&config, Gcm::Aes128, &message).unwrap();
    // Two at a time, then once more.
    let (a, b) = tokio::join!(
        gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, sealed.clone()),
        gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, sealed.clone()),
    );
    let (good, replay) = if a.status == StatusCode::OK { (a, b) } else { (b, a) };
    assert_eq!(good.status, StatusCode::OK);
    key_problem(&replay);
    let later = gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, sealed.clone()).await;

    let (parts, mut sealer, _) = RequestSealer::begin(&config, Gcm::Aes128).unwrap();
    let in_parts = [
        parts,
        sealer.part(&request_start(&head())).unwrap(),
        sealer.last(&INDETERMINATE_END).unwrap(),
    ]
    .concat();
    let once = gateway(&guest, chunked::REQUEST_MEDIA_TYPE, in_parts.clone()).await;
    assert_eq!(once.status, StatusCode::OK);
    let parts_again = gateway(&guest, chunked::REQUEST_MEDIA_TYPE, in_parts).await;

    let (fresh, _) = ohttp::seal_request(&config, Gcm::Aes128, &message).unwrap();
    let flipped = |at: usize| {
        let mut changed = fresh.clone();
        changed[at] ^= 1;
        changed
    };
    let stranger = hanzo_pqc::hpke::message::MessageKey::from_seed(MessageKem::Xwing, &[1; 32]).unwrap();
    let foreign = KeyConfig::new(config.key_id(), stranger.public_key().clone(), &[Gcm::Aes128]);
    let (for_another, _) = ohttp::seal_request(&foreign, Gcm::Aes128, &message).unwrap();
    let classical = hanzo_pqc::hpke::message::MessageKey::from_seed(MessageKem::X25519, &[1; 32]).unwrap();
    let closed = KeyConfig::new(config.key_id(), classical.public_key().clone(), &[Gcm::Aes128]);
    let (closed, _) = ohttp::seal_request(&closed, Gcm::Aes128, &message).unwrap();
    let mut failures = vec![replay, later, parts_again];
    for sealed in [
        flipped(0),               // key identifier
        flipped(1),               // KEM
        flipped(6),               // AEAD
        flipped(7),               // ML-KEM half of enc
        flipped(7 + 1119),        // X25519 half of enc
        flipped(fresh.len() - 1), // tag
        fresh[..20].to_vec(),
        vec![],
        for_another,
        closed,
    ] {
        failures.push(gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, sealed.clone()).await);
        failures.push(gateway(&guest, chunked::REQUEST_MEDIA_TYPE, sealed).await);
    }
    for failure in &failures {
        key_problem(failure);
        assert_eq!(failure.body, failures[0].body);
        let names = |a: &Answered| a.headers.keys().map(|k| k.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(failure), names(&failures[0]));
    }
    // None of them used up what they failed to open.
    assert_eq!(
        gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, fresh).await.status,
        StatusCode::OK
    );
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_inside_is_said_inside_and_a_cut_request_asks_nothing() {
    let (_world, guest) = guest(false).await;
    let config = key_of(&guest.ready.keyset, "ohttp", MessageKem::Xwing);
    let mut bad = head();
    bad.fields.push(Field::new("transfer-encoding", "chunked"));
    let mut nowhere = head();
    nowhere.path = "/.well-known/hanzo/attestation".into();
    for (message, status, code) in [
        (encode_request(&bad, b"{}"), 400, "sealed.bhttp"),
        (b"\x01no request".to_vec(), 400, "sealed.bhttp"),
        (encode_request(&nowhere, b""), 404, "not_found"),
        (encode_request(&head(), b"{"), 400, "invalid_json"),
        (encode_request(&head(), &vec![b' '; 70_000]), 413, "body_too_large"),
    ] {
        let (sealed, opener) = ohttp::seal_request(&config, Gcm::Aes128, &message).unwrap();
        let answered = gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, sealed).await;
        assert_eq!(
            answered.status,
            StatusCode::OK,
            "outside it is an answer like any other"
        );
        let answer: Whole<ResponseHead> = decode(&opener.open(&answered.body).unwrap()).unwrap();
        let text = String::from_utf8(answer.content).unwrap();
        assert!(
            answer.head.status == status && text.contains(code),
            "{} {text}",
            answer.head.status
        );
    }
    // A host that cuts the request between two parts: the question never reaches the engine.
    let (mut sealed, mut sealer, mut answer) = RequestSealer::begin(&config, Gcm::Aes128).unwrap();
    sealed.extend(sealer.part(&request_start(&head())).unwrap());
    sealed.extend(sealer.part(&content_piece(question(false).as_bytes())).unwrap());
    let answered = gateway(&guest, chunked::REQUEST_MEDIA_TYPE, sealed).await;
    answer.push(&answered.body).unwrap();
    let mut message = Vec::new();
    while let Some(part) = answer.next_part().unwrap() {
        message.extend_from_slice(&part.bytes);
    }
    message.extend_from_slice(&answer.end().unwrap().bytes);
    let answer: Whole<ResponseHead> = decode(&message).unwrap();
    assert_eq!(answer.head.status, 408);
    assert!(String::from_utf8(answer.content).unwrap().contains("body_incomplete"));
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_clear_nothing_is_served_but_what_proves_or_protects_itself() {
    let (_world, guest) = guest(false).await;
    let refused = send(
        &guest,
        "POST",
        CHAT,
        &[("content-type", "application/json")],
        question(false).into(),
    )
    .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(String::from_utf8_lossy(&refused.body).contains("sealed.required"));
    for path in ["/v1/models", "/health", "/metrics"] {
        assert_eq!(
            send(&guest, "GET", path, &[], vec![]).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    let proof = send(
        &guest,
        "POST",
        hanzo_attestation::channel::PROOF_PATH,
        &[],
        b"{}".to_vec(),
    )
    .await;
    assert_eq!(proof.status, StatusCode::FORBIDDEN);
    assert_eq!(
        send(&guest, "GET", ATTESTATION_PATH, &[], vec![]).await.status,
        StatusCode::OK
    );
    let other = gateway(&guest, "application/json", question(false).into()).await;
    assert_eq!(other.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // Inside the attested channel the gateway answers too, and the API as ever.
    let mut connection = connect(&guest.ready.address).await;
    let (status, keys) = connection.get(ohttp::GATEWAY_PATH).await;
    assert_eq!((status, parse_list(&keys).unwrap().len()), (StatusCode::OK, 1));
    assert_eq!(connection.get("/v1/models").await.0, StatusCode::OK);
    assert_eq!(
        connection.get(ehbp::KEYS_PATH).await.0,
        StatusCode::NOT_FOUND,
        "closed by the configuration"
    );
    drop(connection);
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ehbp_bodies_are_opened_once_and_answered_sealed() {
    let (_world, guest) = guest(true).await;
    let config = key_of(&guest.ready.keyset, "ehbp", MessageKem::X25519);
    let served = send(&guest, "GET", ehbp::KEYS_PATH, &[], vec![]).await;
    assert_eq!(parse_list(&served.body).unwrap(), [config.clone()]);
    for is_stream in [false, true] {
        let (enc, mut sealer, pending) = ehbp::RequestSealer::begin(config.public_key()).unwrap();
        let text = question(is_stream);
        let (a, b) = text.as_bytes().split_at(30);
        let body = [sealer.chunk(a).unwrap(), sealer.chunk(b).unwrap()].concat();
        let headers = [
            ("content-type", "application/json"),
            (ehbp::ENCAPSULATED_KEY_HEADER, enc.as_str()),
        ];
        let answered = send(&guest, "POST", CHAT, &headers, body.clone()).await;
        assert_eq!(answered.status, StatusCode::OK);
        let nonce = answered.headers[ehbp::RESPONSE_NONCE_HEADER].to_str().unwrap();
        let mut opener = pending.begin(nonce, 1 << 20).unwrap();
        opener.push(&answered.body);
        let mut text = Vec::new();
        while let Some(chunk) = opener.next_chunk().unwrap() {
            text.extend_from_slice(&chunk);
        }
        opener.end().unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("Paris") || text.contains("[DONE]"), "{text}");
        if is_stream {
            assert!(text.contains(r#""transport":"ehbp+x25519""#), "{text}");
        }

        let again = send(&guest, "POST", CHAT, &headers, body.clone()).await;
        let mut changed = body;
        changed[10] ^= 1;
        let (fresh, _, _) = ehbp::RequestSealer::begin(config.public_key()).unwrap();
        let fresh = [headers[0], (ehbp::ENCAPSULATED_KEY_HEADER, fresh.as_str())];
        let forged = send(&guest, "POST", CHAT, &fresh, changed).await;
        for refused in [&again, &forged] {
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert!(String::from_utf8_lossy(&refused.body).contains(ehbp::KEY_PROBLEM));
        }
        assert_eq!(again.body, forged.body);
    }
    let upper = [(ehbp::ENCAPSULATED_KEY_HEADER, "AB")];
    assert_eq!(
        send(&guest, "POST", CHAT, &upper, vec![]).await.status,
        StatusCode::BAD_REQUEST
    );
    let owner = [
        (ehbp::ENCAPSULATED_KEY_HEADER, &*"00".repeat(32)),
        ("hanzo-owner", &*"4f".repeat(32)),
    ];
    let refused = send(&guest, "POST", CHAT, &owner, vec![]).await;
    assert!(String::from_utf8_lossy(&refused.body).contains("sealed.owner_in_clear"));
    guest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_nothing_holds_no_place_and_who_stops_loses_it() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (_world, guest) = guest(true).await;
    let open = |head: String| {
        let at = clear_address(&guest);
        async move {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        }
    };
    let whole = format!(
        "POST {} HTTP/1.1\r\nhost: g\r\ncontent-type: {}\r\ncontent-length: 5000\r\n\r\n",
        ohttp::GATEWAY_PATH,
        ohttp::REQUEST_MEDIA_TYPE
    );
    let body = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: g\r\n{}: {}\r\ncontent-length: 5000\r\n\r\n",
        ehbp::ENCAPSULATED_KEY_HEADER,
        format_args!("09{}", "00".repeat(31))
    );
    // Two requests at work and four more: as many places. Heads alone take none of them.
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(open(whole.clone()).await);
        idle.push(open(body.clone()).await);
    }
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let config = key_of(&guest.ready.keyset, "ohttp", MessageKem::Xwing);
    let ask = || async {
        let message = encode_request(&head(), question(false).as_bytes());
        let (sealed, _) = ohttp::seal_request(&config, Gcm::Aes128, &message).unwrap();
        gateway(&guest, ohttp::REQUEST_MEDIA_TYPE, sealed).await.status
    };
    assert_eq!(ask().await, StatusCode::OK);
    // First bytes do, until no more come.
    for stream in idle.iter_mut().take(12) {
        stream.write_all(b"x").await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(ask().await, StatusCode::TOO_MANY_REQUESTS);
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(ask().await, StatusCode::OK);
    let mut told = Vec::new();
    for stream in idle.iter_mut().take(12) {
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        told.push(String::from_utf8(answer).unwrap());
    }
    let count = |status: &str| told.iter().filter(|t| t.ends_with(status)).count();
    assert_eq!((count(" 408"), count(" 429")), (6, 6), "{told:?}");
    drop(idle);
    guest.stop().await.unwrap();
}
