use super::*;

/// A ClientHello with these extensions in records of at most `record` bytes.
fn hello(extensions: &[(u16, Vec<u8>)], record: usize) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    let mut all = Vec::new();
    for (kind, data) in extensions {
        all.extend(kind.to_be_bytes());
        all.extend((data.len() as u16).to_be_bytes());
        all.extend(data);
    }
    body.extend((all.len() as u16).to_be_bytes());
    body.extend(all);
    records(&message(1, &body), record)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend(body);
    out
}

fn records(message: &[u8], record: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in message.chunks(record) {
        out.extend([22, 3, 1]);
        out.extend((part.len() as u16).to_be_bytes());
        out.extend(part);
    }
    out
}

fn name(name: &str) -> (u16, Vec<u8>) {
    let mut data = ((name.len() + 3) as u16).to_be_bytes().to_vec();
    data.push(0);
    data.extend((name.len() as u16).to_be_bytes());
    data.extend(name.as_bytes());
    (0, data)
}

fn key_share() -> (u16, Vec<u8>) {
    (51, vec![9; 1216])
}

fn code(bytes: &[u8]) -> &'static str {
    read(bytes).unwrap_err().code()
}

#[test]
fn the_name_is_read_from_one_record_and_from_many() {
    let expected = Hello::Named("api.example".to_owned());
    for record in [16_384, 500, 64, 1] {
        let bytes = hello(&[key_share(), name("API.example")], record);
        assert_eq!(read(&bytes).unwrap(), expected, "records of {record}");
    }
    assert_eq!(read(&hello(&[key_share()], 500)).unwrap(), Hello::Nameless);
}

#[test]
fn every_shorter_start_asks_for_more_and_bytes_after_it_are_nobody_s_business() {
    let mut bytes = hello(&[name("a.example"), key_share()], 300);
    for n in 0..bytes.len() {
        assert_eq!(read(&bytes[..n]).unwrap(), Hello::Incomplete, "{n} bytes");
    }
    bytes.extend([1, 2, 3]);
    assert_eq!(read(&bytes).unwrap(), Hello::Named("a.example".to_owned()));
}

#[test]
fn an_extension_for_encrypted_hellos_leaves_the_outer_name() {
    let ech = (0xfe0d, vec![0; 200]);
    let bytes = hello(&[ech.clone(), name("cover.example")], 16_384);
    assert_eq!(read(&bytes).unwrap(), Hello::Named("cover.example".to_owned()));
    assert_eq!(read(&hello(&[ech], 16_384)).unwrap(), Hello::Nameless);
}

#[test]
fn what_is_no_hello_is_refused_by_its_first_wrong_byte() {
    assert_eq!(code(b"GET / HTTP/1.1\r\n"), "proxy.hello.not_handshake");
    assert_eq!(code(b"G"), "proxy.hello.not_handshake");
    assert_eq!(code(&[22, 2]), "proxy.hello.version");
    assert_eq!(code(&[22, 3, 1, 0, 0]), "proxy.hello.record_length");
    assert_eq!(code(&[22, 3, 1, 0x40, 1]), "proxy.hello.record_length");
    assert_eq!(read(&[22, 3, 1, 0x40, 0]).unwrap(), Hello::Incomplete);
    assert_eq!(
        code(&records(&message(2, &[0; 40]), 64)),
        "proxy.hello.not_client_hello"
    );
    let mut second = hello(&[key_share()], 700);
    second[705] = 23;
    assert_eq!(code(&second), "proxy.hello.not_handshake", "the second record");
}

#[test]
fn a_hello_over_the_limit_is_refused_before_it_arrives() {
    assert_eq!(code(&[22, 3, 1, 0x40, 0, 1, 0, 0x40, 1]), "proxy.hello.too_long");
    assert_eq!(read(&[22, 3, 1, 0x40, 0, 1, 0, 0x40, 0]).unwrap(), Hello::Incomplete);
}

#[test]
fn fields_that_do_not_fit_and_extensions_that_repeat_are_refused() {
    let good = hello(&[name("a.example")], 16_384);
    // Of the session id, the suites, the compression methods, the extensions, the name's list.
    for (at, what) in [(43, 33), (45, 3), (48, 0), (51, 19), (51, 17), (57, 1)] {
        let mut bytes = good.clone();
        bytes[at] = what;
        assert_eq!(code(&bytes), "proxy.hello.malformed", "byte {at} = {what}");
    }
    assert_eq!(
        code(&hello(&[name("a.b"), name("a.b")], 16_384)),
        "proxy.hello.duplicate"
    );
    let many: Vec<_> = (100..164).map(|kind| (kind, vec![])).collect();
    assert_eq!(read(&hello(&many, 16_384)).unwrap(), Hello::Nameless);
    let more: Vec<_> = (100..165).map(|kind| (kind, vec![])).collect();
    assert_eq!(code(&hello(&more, 16_384)), "proxy.hello.malformed");
}

#[test]
fn only_names_of_hosts_are_names() {
    let longest = format!(
        "{}.{}.{}.{}",
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61)
    );
    for good in ["a", "xn--bcher-kva.example", "_x.example", longest.as_str()] {
        assert_eq!(
            read(&hello(&[name(good)], 16_384)).unwrap(),
            Hello::Named(good.to_owned())
        );
    }
    let too_long = format!("{longest}e");
    let label = "a".repeat(64);
    for bad in [
        "",
        ".",
        "a..b",
        "a.",
        "a b",
        "a\0b",
        "é.example",
        "[::1]",
        too_long.as_str(),
        label.as_str(),
    ] {
        assert_eq!(code(&hello(&[name(bad)], 16_384)), "proxy.hello.name", "{bad:?}");
    }
    let mut other_kind = name("a.example");
    other_kind.1[2] = 1;
    assert_eq!(code(&hello(&[other_kind], 16_384)), "proxy.hello.name");
}

#[test]
fn no_bytes_make_it_panic_or_read_without_end() {
    let good = hello(&[name("a.example"), key_share()], 200);
    let mut seed = 1_u64;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            seed = crate::admission::mixed(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
            let at = seed as usize % bytes.len();
            bytes[at] = (seed >> 40) as u8;
        }
        let _ = read(&bytes);
    }
}
