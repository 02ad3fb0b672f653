//! Sealed messages both ways, and each of their nearest forgeries by the code it is refused with.

use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::{MessageKem, MessageKey};
use hanzo_sealed::chunked::{self, PART_BYTES_MAX, RequestOpener, RequestSealer};
use hanzo_sealed::config::{KeyConfig, Protocol, encode_list, parse_list};
use hanzo_sealed::ohttp::{self, Header};
use hanzo_sealed::{SealedError, ehbp};

const BOTH: [Gcm; 2] = [Gcm::Aes128, Gcm::Aes256];

fn key(kem: MessageKem, id: u8) -> (MessageKey, KeyConfig) {
    let key = MessageKey::from_seed(kem, &[id; 32]).unwrap();
    let config = KeyConfig::new(id, key.public_key().clone(), &BOTH);
    (key, config)
}

#[test]
fn key_configurations_are_the_same_on_the_wire_and_in_the_keyset() {
    for kem in MessageKem::ALL {
        let (_, config) = key(kem, 9);
        let bytes = config.encode();
        assert_eq!(KeyConfig::parse(&bytes).unwrap(), config);
        assert_eq!(
            KeyConfig::from_keyset(&config.to_keyset(Protocol::Ohttp)).unwrap(),
            config
        );
        for len in 0..bytes.len() {
            assert!(KeyConfig::parse(&bytes[..len]).is_err(), "{len}");
        }
        let code = |bytes: &[u8]| KeyConfig::parse(bytes).unwrap_err().code();
        assert_eq!(code(&[bytes.as_slice(), &[0]].concat()), "sealed.config");
        let mut other_kem = bytes.clone();
        other_kem[1..3].copy_from_slice(&0x0010_u16.to_be_bytes());
        assert_eq!(code(&other_kem), "sealed.suite");
        let mut low = bytes.clone();
        let at = 3 + kem.public_key_len();
        low[at - 32..at].fill(0);
        assert_eq!(code(&low), "sealed.config");
        // ChaCha20-Poly1305 alone leaves nothing to use; beside another suite it is passed over.
        let mut chacha = bytes.clone();
        let end = chacha.len();
        chacha[end - 1] = 3;
        assert_eq!(KeyConfig::parse(&chacha).unwrap().aeads(), [Gcm::Aes128]);
        chacha[end - 5] = 3;
        assert_eq!(code(&chacha), "sealed.config");

        let changes: [fn(&mut hanzo_attestation::keyset::OhttpKey); 5] = [
            |k| k.kem = "kyber".into(),
            |k| k.aeads = vec![],
            |k| k.aeads.push("chacha20-poly1305".into()),
            |k| k.aeads = vec!["aes-128-gcm".into(); 2],
            |k| k.public_key = k.public_key.to_uppercase(),
        ];
        for change in changes {
            let mut changed = config.to_keyset(Protocol::Ohttp);
            change(&mut changed);
            assert_eq!(KeyConfig::from_keyset(&changed).unwrap_err().code(), "sealed.config");
        }
    }
    let list = [key(MessageKem::Xwing, 1).1, key(MessageKem::X25519, 2).1];
    let bytes = encode_list(&list);
    assert_eq!(parse_list(&bytes).unwrap(), list);
    assert_eq!(
        parse_list(&bytes[..bytes.len() - 1]).unwrap_err().code(),
        "sealed.config"
    );
    let foreign = [&[0, 3, 1, 0, 0x10][..], &bytes].concat();
    assert_eq!(
        parse_list(&foreign).unwrap(),
        list,
        "a configuration of another KEM is passed over"
    );
    assert_eq!(parse_list(&vec![0; 20_000]).unwrap_err().code(), "sealed.too_long");
}

#[test]
fn whole_messages_open_with_their_key_and_suite_alone() {
    for kem in MessageKem::ALL {
        for aead in BOTH {
            let (ours, config) = key(kem, 3);
            let (sealed, answer) = ohttp::seal_request(&config, aead, b"question").unwrap();
            let (opened, back) = ohttp::open_request(&config, &ours, &sealed).unwrap();
            assert_eq!(opened.as_slice(), b"question");
            let sealed_answer = back.seal(b"answer").unwrap();
            assert_eq!(answer.open(&sealed_answer).unwrap().as_slice(), b"answer");

            let code = |config: &KeyConfig, key: &MessageKey, sealed: &[u8]| {
                ohttp::open_request(config, key, sealed).err().unwrap().code()
            };
            let (other, other_config) = key(kem, 4);
            assert_eq!(code(&other_config, &other, &sealed), "sealed.key_id");
            let same_id = KeyConfig::new(3, other.public_key().clone(), &BOTH);
            assert_eq!(
                code(&same_id, &other, &sealed),
                "sealed.open",
                "another guest with that key id"
            );
            let narrow = KeyConfig::new(3, ours.public_key().clone(), &[BOTH[usize::from(aead == BOTH[0])]]);
            assert_eq!(code(&narrow, &ours, &sealed), "sealed.suite");
            // A suite that was written over: it is in `info`.
            let mut relabeled = sealed.clone();
            relabeled[6] ^= 3;
            assert_eq!(code(&config, &ours, &relabeled), "sealed.open");
            for (at, kdf) in [(4, 2), (6, 3)] {
                let mut changed = sealed.clone();
                changed[at] = kdf;
                assert_eq!(code(&config, &ours, &changed), "sealed.suite");
            }
            for len in [0, 6, 7, 7 + kem.enc_len() - 1] {
                assert_eq!(code(&config, &ours, &sealed[..len]), "sealed.truncated");
            }
            assert_eq!(code(&config, &ours, &sealed[..sealed.len() - 1]), "sealed.open");
            // The chunked protocol has labels of its own.
            let (header, enc, rest) = ohttp::split_request(&sealed).unwrap();
            let (mut parts, _) = RequestOpener::begin(&config, &ours, header, enc).unwrap();
            parts.push(&[&[0], rest].concat());
            assert_eq!(parts.end().err().unwrap().code(), "sealed.open");

            let (_, answer) = ohttp::seal_request(&config, aead, b"question").unwrap();
            assert_eq!(
                answer.open(&sealed_answer).unwrap_err().code(),
                "sealed.open",
                "another request's answer"
            );
            let (_, answer) = ohttp::seal_request(&config, aead, b"question").unwrap();
            assert_eq!(answer.open(&[0; 15]).unwrap_err().code(), "sealed.truncated");
        }
    }
}

struct Exchange {
    config: KeyConfig,
    key: MessageKey,
    request: Vec<Vec<u8>>,
    answer: chunked::ResponseOpener,
}

fn exchange(kem: MessageKem, aead: Gcm) -> Exchange {
    let (key, config) = key(kem, 5);
    let (start, mut sealer, answer) = RequestSealer::begin(&config, aead).unwrap();
    let mut request = vec![start];
    for part in [b"one".as_slice(), b"", b"three"] {
        request.push(sealer.part(part).unwrap());
    }
    request.push(sealer.last(b"end").unwrap());
    Exchange {
        config,
        key,
        request,
        answer,
    }
}

fn open(
    config: &KeyConfig,
    key: &MessageKey,
    stream: &[u8],
) -> Result<(Vec<u8>, chunked::ResponseSealer), SealedError> {
    let header = Header::parse(stream[..7].try_into().unwrap())?;
    let (enc, rest) = stream[7..].split_at(header.kem.enc_len());
    let (mut opener, sealer) = RequestOpener::begin(config, key, header, enc)?;
    let mut out = Vec::new();
    for byte in rest {
        opener.push(&[*byte]);
        while let Some(part) = opener.next_part()? {
            assert!(!part.is_last);
            out.extend_from_slice(&part.bytes);
        }
    }
    let last = opener.end()?;
    assert!(last.is_last);
    out.extend_from_slice(&last.bytes);
    Ok((out, sealer))
}

#[test]
fn parts_come_in_order_whole_and_once_or_not_at_all() {
    for (kem, aead) in [(MessageKem::Xwing, Gcm::Aes128), (MessageKem::X25519, Gcm::Aes256)] {
        let Exchange {
            config,
            key,
            request,
            mut answer,
        } = exchange(kem, aead);
        let (opened, sealer) = open(&config, &key, &request.concat()).unwrap();
        assert_eq!(opened, b"onethreeend");
        let refused = |order: &[usize], code: &str, why: &str| {
            let stream: Vec<u8> = order.iter().flat_map(|i| request[*i].clone()).collect();
            assert_eq!(open(&config, &key, &stream).err().unwrap().code(), code, "{why}");
        };
        refused(&[0, 1, 2, 3], "sealed.truncated", "cut between two parts");
        refused(&[0], "sealed.truncated", "cut before the first part");
        refused(&[0, 2, 1, 3, 4], "sealed.open", "moved");
        refused(&[0, 1, 3, 4], "sealed.open", "left out");
        refused(&[0, 1, 1, 2, 3, 4], "sealed.open", "twice");
        refused(&[0, 4], "sealed.open", "the end, too early");
        let whole = request.concat();
        assert_eq!(
            open(&config, &key, &whole[..whole.len() - 1]).err().unwrap().code(),
            "sealed.open"
        );
        // A part that is not the last, offered as the last: its `aad` was another.
        let mut as_last = request[..3].concat();
        as_last.push(0);
        as_last.extend_from_slice(&request[3][1..]);
        assert_eq!(open(&config, &key, &as_last).err().unwrap().code(), "sealed.open");
        // And the reverse.
        let mut as_middle = request[..4].concat();
        as_middle.push(u8::try_from(request[4].len() - 1).unwrap());
        as_middle.extend_from_slice(&request[4][1..]);
        assert_eq!(open(&config, &key, &as_middle).err().unwrap().code(), "sealed.open");

        let (start, mut parts) = sealer.begin().unwrap();
        let sealed = [
            start,
            parts.part(b"a").unwrap(),
            parts.part(b"b").unwrap(),
            parts.last(b"").unwrap(),
        ];
        let mut got = Vec::new();
        for byte in sealed.concat() {
            answer.push(&[byte]).unwrap();
            while let Some(part) = answer.next_part().unwrap() {
                got.extend_from_slice(&part.bytes);
            }
        }
        assert!(answer.end().unwrap().is_last);
        assert_eq!(got, b"ab");
        assert_eq!(answer.end().err().unwrap().code(), "sealed.truncated", "it ends once");
    }
}

#[test]
fn an_answer_cut_at_any_byte_is_not_whole() {
    let (key, config) = key(MessageKem::X25519, 5);
    let mut whole = false;
    for cut in 0.. {
        let (start, sealer, mut answer) = RequestSealer::begin(&config, Gcm::Aes128).unwrap();
        let stream = [start, sealer.last(b"question").unwrap()].concat();
        let (_, back) = open(&config, &key, &stream).unwrap();
        let (nonce, mut parts) = back.begin().unwrap();
        let sealed = [nonce, parts.part(b"data: [DONE]").unwrap(), parts.last(b"").unwrap()].concat();
        answer.push(&sealed[..cut]).unwrap();
        while answer.next_part().unwrap().is_some() {}
        let end = answer.end();
        if cut == sealed.len() {
            whole = end.unwrap().is_last;
            break;
        }
        assert_eq!(
            end.err().unwrap().code(),
            "sealed.truncated",
            "{cut} of {}",
            sealed.len()
        );
    }
    assert!(whole);
}

#[test]
fn parts_are_bounded_before_they_are_waited_for() {
    let mut reader = chunked::PartReader::default();
    reader.push(&[0x80, 0, 0x40, 0x11]); // 16 KiB, a tag, and one byte
    assert_eq!(reader.next_sealed().unwrap_err().code(), "sealed.too_long");
    let mut reader = chunked::PartReader::default();
    reader.push(&[15]);
    assert_eq!(reader.next_sealed().unwrap_err().code(), "sealed.truncated");
    let mut reader = chunked::PartReader::default();
    reader.push(&vec![0; PART_BYTES_MAX + 18]);
    assert_eq!(
        reader.next_sealed().unwrap_err().code(),
        "sealed.too_long",
        "an endless last part"
    );
    let (_, config) = key(MessageKem::X25519, 5);
    let (_, mut sealer, _) = RequestSealer::begin(&config, Gcm::Aes128).unwrap();
    sealer.part(&vec![0; PART_BYTES_MAX]).unwrap();
    assert_eq!(
        sealer.part(&vec![0; PART_BYTES_MAX + 1]).unwrap_err().code(),
        "sealed.too_long"
    );
    let mut chunks = ehbp::ChunkReader::new(1024);
    chunks.push(&1041_u32.to_be_bytes());
    assert_eq!(chunks.next_sealed().unwrap_err().code(), "sealed.too_long");
    let mut chunks = ehbp::ChunkReader::new(1024);
    chunks.push(&[0, 0, 0, 15]);
    assert_eq!(chunks.next_sealed().unwrap_err().code(), "sealed.truncated");
}

#[test]
fn bodies_alone_go_both_ways_over_ehbp() {
    let key = MessageKey::from_seed(ehbp::KEM, &[8; 32]).unwrap();
    let (header, mut sealer, pending) = ehbp::RequestSealer::begin(key.public_key()).unwrap();
    let body = [
        sealer.chunk(b"que").unwrap(),
        vec![0; 4],
        sealer.chunk(b"stion").unwrap(),
    ]
    .concat();
    let enc = ehbp::parse_enc(&header).unwrap();
    let (mut opener, back) = ehbp::RequestOpener::begin(&key, &enc, 64).unwrap();
    let mut got = Vec::new();
    for byte in &body {
        opener.push(&[*byte]);
        while let Some(chunk) = opener.next_chunk().unwrap() {
            got.extend_from_slice(&chunk);
        }
    }
    opener.end().unwrap();
    assert_eq!(got, b"question");

    let token = pending.to_token();
    let (nonce, mut answer) = back.begin().unwrap();
    let sealed = [answer.chunk(b"an").unwrap(), answer.chunk(b"swer").unwrap()].concat();
    for pending in [pending, ehbp::PendingAnswer::from_token(token.as_bytes()).unwrap()] {
        let mut opener = pending.begin(&nonce, 64).unwrap();
        opener.push(&sealed);
        let (one, two) = (
            opener.next_chunk().unwrap().unwrap(),
            opener.next_chunk().unwrap().unwrap(),
        );
        assert_eq!([one.as_slice(), two.as_slice()].concat(), b"answer");
        opener.end().unwrap();
    }

    let wrong = |order: [usize; 2], enc: &[u8; 32]| {
        let lens = [4 + 3 + 16, 4];
        let pieces = [&body[..lens[0]], &body[lens[0] + lens[1]..]];
        let (mut opener, _) = ehbp::RequestOpener::begin(&key, enc, 64)?;
        opener.push(&[pieces[order[0]], pieces[order[1]]].concat());
        while opener.next_chunk()?.is_some() {}
        opener.end()
    };
    wrong([0, 1], &enc).unwrap();
    assert_eq!(wrong([1, 0], &enc).unwrap_err().code(), "sealed.open");
    assert_eq!(wrong([0, 0], &enc).unwrap_err().code(), "sealed.open");
    let mut other = enc;
    other[0] ^= 1;
    assert_eq!(wrong([0, 1], &other).unwrap_err().code(), "sealed.open");
    assert_eq!(
        wrong([0, 1], &[0; 32]).unwrap_err().code(),
        "sealed.open",
        "a point of small order"
    );
    let (mut opener, _) = ehbp::RequestOpener::begin(&key, &enc, 64).unwrap();
    opener.push(&body[..10]);
    assert!(opener.next_chunk().unwrap().is_none());
    assert_eq!(opener.end().unwrap_err().code(), "sealed.truncated");
    for bad in [
        header.to_uppercase(),
        header[2..].to_owned(),
        format!("0x{}", &header[2..]),
        String::new(),
    ] {
        let upper_is_same = bad == header;
        assert!(
            upper_is_same || ehbp::parse_enc(&bad).unwrap_err().code() == "sealed.header",
            "{bad}"
        );
    }
    let xwing = MessageKey::from_seed(MessageKem::Xwing, &[8; 32]).unwrap();
    assert_eq!(
        ehbp::RequestSealer::begin(xwing.public_key()).err().unwrap().code(),
        "sealed.suite"
    );
}

#[test]
fn ehbp_vectors() {
    let read = |name: &str| {
        let path = format!(
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/peers/ehbp/{}"),
            name
        );
        match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                eprintln!("VECTORS MISSING {path} ({error}): not run");
                None
            }
        }
    };
    let Some(file) = read("response-decryption.json") else {
        return;
    };
    let vector: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let text = |name: &str| vector[name].as_str().unwrap().to_owned();
    let token = format!(
        r#"{{"exportedSecret":"{}","requestEnc":"{}"}}"#,
        text("exportedSecret"),
        text("requestEnc")
    );
    let open = |token: &str, sealed: &[u8]| {
        let mut opener = ehbp::PendingAnswer::from_token(token.as_bytes())?.begin(&text("responseNonce"), 1024)?;
        opener.push(sealed);
        let chunk = opener.next_chunk()?;
        opener.end()?;
        Ok::<_, SealedError>(hex::encode(chunk.unwrap().as_slice()))
    };
    let mut sealed = hex::decode(text("encryptedResponse")).unwrap();
    assert_eq!(open(&token, &sealed).unwrap(), text("plaintext"));
    let swapped = token.replacen("00", "01", 1);
    assert_eq!(open(&swapped, &sealed).unwrap_err().code(), "sealed.open");
    let last = sealed.len() - 1;
    sealed[last] ^= 1;
    assert_eq!(open(&token, &sealed).unwrap_err().code(), "sealed.open");

    let Some(file) = read("session-recovery-token.json") else {
        return;
    };
    let token = ehbp::PendingAnswer::from_token(&file).unwrap().to_token();
    let (ours, theirs): (serde_json::Value, serde_json::Value) = (
        serde_json::from_str(&token).unwrap(),
        serde_json::from_slice(&file).unwrap(),
    );
    assert_eq!(ours, theirs);
    let longer = String::from_utf8(file).unwrap().replacen('{', r#"{"more":1,"#, 1);
    let refused = ehbp::PendingAnswer::from_token(longer.as_bytes()).err().unwrap();
    assert_eq!(refused.code(), "sealed.config");
}
