//! What anybody may send to a guest before it knows them: sealed messages, and what is inside once one is open.

use std::sync::LazyLock;

use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::{MessageKem, MessageKey};
use hanzo_sealed::bhttp::{
    self, Decoder, Field, Head, INDETERMINATE_END, RequestHead, ResponseHead, content_piece, encode_request,
    encode_response, request_start,
};
use hanzo_sealed::chunked::{PartReader, RequestOpener, RequestSealer};
use hanzo_sealed::config::{KeyConfig, encode_list, parse_list};
use hanzo_sealed::ehbp::ChunkReader;
use hanzo_sealed::ohttp::{self as message, Header};

static KEY: LazyLock<(MessageKey, KeyConfig)> = LazyLock::new(|| {
    let key = MessageKey::from_seed(MessageKem::X25519, &[7; 32]).expect("a key");
    let config = KeyConfig::new(7, key.public_key().clone(), &Gcm::ALL);
    (key, config)
});

/// Byte by byte, a message means what it means whole.
fn both_ways<H: Head + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let whole = bhttp::decode::<H>(data);
    let mut decoder = Decoder::<H>::default();
    let mut content = Vec::new();
    let dripped = data.iter().try_for_each(|byte| {
        decoder.push(&[*byte]);
        while let Some(event) = decoder.next_event()? {
            if let bhttp::Event::Content(piece) = event {
                content.extend(piece);
            }
        }
        Ok::<_, hanzo_sealed::SealedError>(())
    });
    if let Ok(whole) = whole {
        dripped.expect("what is one message at once is one piece by piece");
        assert_eq!(whole.content, content);
    }
}

/// A binary HTTP message of either kind.
pub fn bhttp(data: &[u8]) {
    both_ways::<RequestHead>(data);
    both_ways::<ResponseHead>(data);
    // What was read is written and read again as the same.
    if let Ok(whole) = bhttp::decode::<RequestHead>(data) {
        let again = bhttp::decode::<RequestHead>(&encode_request(&whole.head, &whole.content)).expect("our own");
        assert_eq!((again.head, again.content), (whole.head, whole.content));
    }
}

/// A sealed request: whole, and in parts.
pub fn ohttp(data: &[u8]) {
    let (key, config) = &*KEY;
    let _ = message::open_request(config, key, data);
    let Ok((header, enc, rest)) = message::split_request(data) else { return };
    if let Ok((mut opener, _)) = RequestOpener::begin(config, key, header, enc) {
        opener.push(rest);
        while let Ok(Some(part)) = opener.next_part() {
            bhttp(&part.bytes);
        }
        let _ = opener.end();
    }
}

/// A list of key configurations.
pub fn ohttp_keys(data: &[u8]) {
    if let Ok(configs) = parse_list(data) {
        assert_eq!(parse_list(&encode_list(&configs)).expect("our own"), configs);
    }
    if let Some(header) = data.first_chunk::<7>()
        && let Ok(read) = Header::parse(header)
    {
        assert_eq!(&read.encode(), header);
    }
}

/// The parts of a stream, in both framings.
pub fn sealed_parts(data: &[u8]) {
    let mut reader = PartReader::default();
    for piece in data.chunks(7) {
        reader.push(piece);
        while let Ok(Some(part)) = reader.next_sealed() {
            assert!((16..=16_400).contains(&part.len()));
        }
    }
    let _ = reader.last_sealed();
    let mut reader = ChunkReader::new(4096);
    for piece in data.chunks(7) {
        reader.push(piece);
        while let Ok(Some(chunk)) = reader.next_sealed() {
            assert!((16..=4112).contains(&chunk.len()));
        }
    }
    let _ = reader.end();
}

/// One of each.
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let head = RequestHead {
        method: "POST".into(),
        scheme: "https".into(),
        authority: "guest".into(),
        path: "/v1/chat/completions".into(),
        fields: vec![Field::new("content-type", "application/json")],
    };
    let answer = ResponseHead {
        status: 200,
        fields: vec![Field::new("content-length", "2")],
    };
    let open = [request_start(&head), content_piece(b"{}"), INDETERMINATE_END.to_vec()].concat();
    let (_, config) = &*KEY;
    let (whole, _) = message::seal_request(config, Gcm::Aes128, &open).expect("sealed");
    let (mut parts, mut sealer, _) = RequestSealer::begin(config, Gcm::Aes128).expect("sealed");
    parts.extend(sealer.part(&open).expect("sealed"));
    parts.extend(sealer.last(b"").expect("sealed"));
    vec![
        ("bhttp", "known", encode_request(&head, b"{}")),
        ("bhttp", "open", open),
        ("bhttp", "answer", encode_response(&answer, b"{}")),
        ("sealed_parts", "parts", parts.split_off(39)),
        ("ohttp", "whole", whole),
        ("ohttp", "parts", parts),
        ("ohttp_keys", "one", encode_list(std::slice::from_ref(config))),
    ]
}
