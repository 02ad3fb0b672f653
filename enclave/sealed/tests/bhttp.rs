//! Binary HTTP: the figures of RFC 9292 both ways, the published example texts, and everything that is no message.

use hanzo_sealed::SealedError;
use hanzo_sealed::bhttp::{
    Decoder, Event, Field, INDETERMINATE_END, RequestHead, ResponseHead, Whole, content_piece, decode, encode_request,
    encode_response, request_start, response_start,
};

/// Figure 8: a request of known length.
const FIGURE_8: &str = "0003474554056874747073000a2f68656c6c6f2e747874406c0a757365722d6167656e74346375726c2f372e31362e33206c69626375726c2f372e31362e33204f70656e53534c2f302e392e376c207a6c69622f312e322e3304686f73740f7777772e6578616d706c652e636f6d0f6163636570742d6c616e677561676506656e2c206d690000";
/// Figure 9: the same of indeterminate length, with ten bytes of padding.
const FIGURE_9: &str = "0203474554056874747073000a2f68656c6c6f2e7478740a757365722d6167656e74346375726c2f372e31362e33206c69626375726c2f372e31362e33204f70656e53534c2f302e392e376c207a6c69622f312e322e3304686f73740f7777772e6578616d706c652e636f6d0f6163636570742d6c616e677561676506656e2c206d6900000000000000000000000000";
/// Figure 11: an answer of indeterminate length after two informational ones.
const FIGURE_11: &str = "0340660772756e6e696e670a22736c65657020313522004067046c696e6b233c2f7374796c652e6373733e3b2072656c3d7072656c6f61643b2061733d7374796c65046c696e6b243c2f7363726970742e6a733e3b2072656c3d7072656c6f61643b2061733d7363726970740040c804646174651d4d6f6e2c203237204a756c20323030392031323a32383a353320474d5406736572766572064170616368650d6c6173742d6d6f6469666965641d5765642c203232204a756c20323030392031393a31353a353620474d5404657461671422333461613338372d642d3135363865623030220d6163636570742d72616e6765730562797465730e636f6e74656e742d6c656e67746802353104766172790f4163636570742d456e636f64696e670c636f6e74656e742d747970650a746578742f706c61696e003348656c6c6f20576f726c6421204d7920636f6e74656e7420696e636c75646573206120747261696c696e672043524c462e0d0a0000";
/// Figure 13: an answer of known length with a trailer.
const FIGURE_13: &str =
    "0140c8001d5468697320636f6e74656e7420636f6e7461696e732043524c462e0d0a0d07747261696c65720474657874";

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn hello() -> RequestHead {
    RequestHead {
        method: "GET".into(),
        scheme: "https".into(),
        authority: String::new(),
        path: "/hello.txt".into(),
        fields: vec![
            Field::new("user-agent", "curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3"),
            Field::new("host", "www.example.com"),
            Field::new("accept-language", "en, mi"),
        ],
    }
}

fn request(bytes: &[u8]) -> Result<Whole<RequestHead>, SealedError> {
    decode(bytes)
}

fn response(bytes: &[u8]) -> Result<Whole<ResponseHead>, SealedError> {
    decode(bytes)
}

/// Byte by byte, as the slowest peer would send it.
fn dripped(bytes: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::<ResponseHead>::default();
    let mut content = Vec::new();
    for byte in bytes {
        decoder.push(&[*byte]);
        while let Some(event) = decoder.next_event().unwrap() {
            if let Event::Content(piece) = event {
                content.extend(piece);
            }
        }
    }
    while decoder.end().unwrap().is_some() {}
    content
}

#[test]
fn the_figures_of_rfc_9292_are_read_and_written_byte_for_byte() {
    assert_eq!(hex::encode(encode_request(&hello(), b"")), FIGURE_8);
    let mut open = request_start(&hello());
    open.extend(INDETERMINATE_END);
    open.extend([0; 10]);
    assert_eq!(hex::encode(open), FIGURE_9);
    for figure in [FIGURE_8, FIGURE_9] {
        let read = request(&unhex(figure)).unwrap();
        assert_eq!((read.head, read.content, read.trailers), (hello(), vec![], vec![]));
    }
    let read = response(&unhex(FIGURE_11)).unwrap();
    assert_eq!((read.head.status, read.head.fields.len()), (200, 8));
    assert_eq!(read.content, b"Hello World! My content includes a trailing CRLF.\r\n");
    let read = response(&unhex(FIGURE_13)).unwrap();
    assert_eq!(read.content, b"This content contains CRLF.\r\n");
    assert_eq!(read.trailers, [Field::new("trailer", "text")]);
    for figure in [FIGURE_11, FIGURE_13] {
        let bytes = unhex(figure);
        assert_eq!(dripped(&bytes), response(&bytes).unwrap().content);
    }
    let minimal = ResponseHead {
        status: 200,
        fields: vec![],
    };
    assert_eq!(hex::encode(encode_response(&minimal, b"")), "0140c8000000");
    assert_eq!(response(&unhex("0140c8")).unwrap().head, minimal);
}

/// The published texts of the examples, read by the plainest parser there is, against our reading of the figures.
#[test]
fn the_example_texts_are_what_the_figures_say() {
    let text = |name: &str| {
        let path = format!(
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/pqc/ohttp/{}"),
            name
        );
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(text.replace("\r\n", "\n")),
            Err(error) => {
                eprintln!("VECTORS MISSING {path} ({error}): not run");
                None
            }
        }
    };
    let fields = |lines: &str| -> Vec<Field> {
        let line = |l: &str| l.split_once(": ").map(|(n, v)| Field::new(n.to_ascii_lowercase(), v));
        lines.lines().skip(1).filter_map(line).collect()
    };
    let Some(text_request) = text("request.txt") else {
        return;
    };
    let read = request(&unhex(FIGURE_8)).unwrap();
    assert!(text_request.starts_with(&format!("{} {} HTTP/1.1\n", read.head.method, read.head.path)));
    assert_eq!(fields(&text_request), read.head.fields);

    let Some(text_response) = text("response.txt") else {
        return;
    };
    let parts: Vec<&str> = text_response.split("\n\n").collect();
    assert!(parts[0].starts_with("HTTP/1.1 102") && parts[1].starts_with("HTTP/1.1 103"));
    let read = response(&unhex(FIGURE_11)).unwrap();
    assert_eq!(fields(parts[2]), read.head.fields);
    assert_eq!(parts[3].trim_end(), String::from_utf8(read.content).unwrap().trim_end());

    let Some(chunked) = text("chunked.txt") else { return };
    let read = response(&unhex(FIGURE_13)).unwrap();
    let content: String = chunked
        .lines()
        .skip(3)
        .scan(false, |is_data, line| {
            let was = std::mem::replace(is_data, !*is_data);
            Some(if was { line } else { "" })
        })
        .take(6)
        .collect();
    assert_eq!(content, String::from_utf8(read.content).unwrap().trim_end());
    assert!(chunked.trim_end().ends_with("Trailer: text"));
}

#[test]
fn empty_sections_may_be_left_out_and_nothing_else_may() {
    let whole = unhex(FIGURE_8);
    for cut in 1..=2 {
        assert_eq!(request(&whole[..whole.len() - cut]).unwrap().head, hello());
    }
    let padded = unhex(FIGURE_9);
    for cut in 1..=12 {
        assert_eq!(request(&padded[..padded.len() - cut]).unwrap().head, hello(), "{cut}");
    }
    // One byte more is the end of the header section.
    assert_eq!(
        request(&padded[..padded.len() - 13]).unwrap_err().code(),
        "sealed.truncated"
    );
    for len in (0..whole.len() - 2).filter(|len| *len != 23) {
        let error = request(&whole[..len]).unwrap_err();
        assert_eq!(error.code(), "sealed.truncated", "{len}");
    }
    // Byte 23 is where the header section would begin: a request without fields.
    assert!(request(&whole[..23]).unwrap().head.fields.is_empty());

    // A piece of content without the end of the content is no whole message.
    let mut open = response_start(&ResponseHead {
        status: 200,
        fields: vec![],
    });
    open.extend(content_piece(b"abc"));
    assert_eq!(response(&open).unwrap_err().code(), "sealed.truncated");
    open.push(0);
    assert_eq!(response(&open).unwrap().content, b"abc");
    assert_eq!(content_piece(b""), b"", "an empty piece would be the end");
}

fn raw(method: &str, path: &str, fields: &[(&str, &str)], tail: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    let text = |value: &str, out: &mut Vec<u8>| {
        out.push(u8::try_from(value.len()).unwrap());
        out.extend_from_slice(value.as_bytes());
    };
    for part in [method, "https", "a.example", path] {
        text(part, &mut out);
    }
    let mut section = Vec::new();
    for (name, value) in fields {
        text(name, &mut section);
        text(value, &mut section);
    }
    out.push(u8::try_from(section.len()).unwrap());
    out.extend(section);
    out.extend_from_slice(tail);
    out
}

#[test]
fn what_two_readers_could_take_differently_is_refused() {
    let good = raw(
        "POST",
        "/v1?x=%20",
        &[("content-length", "2"), ("host", "a.example")],
        b"\x02ab\x00",
    );
    assert_eq!(request(&good).unwrap().content, b"ab");
    for (bad, why) in [
        (raw("GE T", "/", &[], b""), "method"),
        (raw("GET", "", &[], b""), "no path"),
        (raw("GET", "v1", &[], b""), "path"),
        (raw("GET", "/a b", &[], b""), "space in a path"),
        (raw("GET", "/a#b", &[], b""), "fragment"),
        (raw("GET", "/", &[("Accept", "x")], b""), "upper case"),
        (raw("GET", "/", &[(":path", "/other")], b""), "pseudo-field"),
        (raw("GET", "/", &[("", "x")], b""), "no name"),
        (raw("GET", "/", &[("a b", "x")], b""), "space in a name"),
        (raw("GET", "/", &[("x", "a\r\nhost: b")], b""), "line break"),
        (raw("GET", "/", &[("x", "a\0")], b""), "zero byte"),
        (raw("GET", "/", &[("x", " a")], b""), "white space"),
        (
            raw("GET", "/", &[("transfer-encoding", "chunked")], b""),
            "of a connection",
        ),
        (raw("GET", "/", &[("connection", "close")], b""), "of a connection"),
        (
            raw("GET", "/", &[("host", "a.example"), ("host", "a.example")], b""),
            "twice",
        ),
        (raw("GET", "/", &[("host", "b.example")], b""), "another host"),
        (raw("POST", "/", &[("content-length", "1")], b"\x02ab\x00"), "longer"),
        (raw("POST", "/", &[("content-length", "3")], b"\x02ab\x00"), "shorter"),
        (raw("POST", "/", &[("content-length", "+2")], b"\x02ab\x00"), "sign"),
        (raw("POST", "/", &[("content-length", "3")], b""), "left out"),
        (unhex("01"), "an answer"),
        (unhex("04"), "no framing"),
    ] {
        assert_eq!(request(&bad).unwrap_err().code(), "sealed.bhttp", "{why}");
    }
    for status in ["0140", "014063", "014065", "0142ff"] {
        let code = response(&unhex(status)).unwrap_err().code();
        assert!(["sealed.bhttp", "sealed.truncated"].contains(&code), "{status}: {code}");
    }
    assert_eq!(response(&unhex("014065")).unwrap_err().code(), "sealed.bhttp", "101");
    let dirty = raw("GET", "/", &[], b"\x00\x00\x00\x01");
    assert_eq!(request(&dirty).unwrap_err().code(), "sealed.trailing");
}

#[test]
fn lengths_are_bounded_before_anything_is_held() {
    let long = |tail: &str| request(&unhex(tail)).unwrap_err().code();
    // A method of 2^62 - 1 bytes; a section of 64 KiB.
    assert_eq!(long("00ffffffffffffffff"), "sealed.too_long");
    assert_eq!(long("000347455405687474707300012f80010000"), "sealed.too_long");
    let many: Vec<_> = (0..65).map(|_| Field::new("x", "")).collect();
    for fields in [many[..64].to_vec(), many] {
        let head = RequestHead {
            fields: fields.clone(),
            ..hello()
        };
        for bytes in [
            encode_request(&head, b""),
            [request_start(&head), INDETERMINATE_END.to_vec()].concat(),
        ] {
            match request(&bytes) {
                Ok(_) => assert_eq!(fields.len(), 64),
                Err(e) => assert_eq!((e.code(), fields.len()), ("sealed.too_long", 65)),
            }
        }
    }
}
