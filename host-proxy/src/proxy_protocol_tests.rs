use super::*;

fn code(bytes: &[u8]) -> &'static str {
    read(bytes).unwrap_err().code()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Version 2 with this command, family and block.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend([command, family]);
    out.extend((block.len() as u16).to_be_bytes());
    out.extend(block);
    out
}

#[test]
fn both_versions_are_read_and_what_follows_is_left() {
    let four = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";
    let header = read(&[four.as_slice(), b"rest"].concat()).unwrap().unwrap();
    assert_eq!(
        (header.length, header.source),
        (four.len(), Some(at("192.0.2.1:56324")))
    );
    let six = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n";
    assert_eq!(read(six).unwrap().unwrap().source, Some(at("[2001:db8::1]:1")));
    assert_eq!(read(b"PROXY UNKNOWN\r\n").unwrap().unwrap().source, None);
    assert_eq!(
        read(b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n").unwrap().unwrap().source,
        None
    );

    let block = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 4, 1, 187];
    let header = read(&[binary(0x21, 0x11, &block), b"rest".to_vec()].concat())
        .unwrap()
        .unwrap();
    assert_eq!((header.length, header.source), (28, Some(at("192.0.2.1:56324"))));
    let with_tlv = [block.as_slice(), &[4, 0, 1, 0]].concat();
    assert_eq!(read(&binary(0x21, 0x11, &with_tlv)).unwrap().unwrap().length, 32);
    assert_eq!(read(&binary(0x20, 0, &[])).unwrap().unwrap().source, None, "LOCAL");
    assert_eq!(read(&binary(0x21, 0, &[])).unwrap().unwrap().source, None, "UNSPEC");
}

#[test]
fn every_shorter_start_asks_for_more() {
    for header in [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n".to_vec(),
        binary(0x21, 0x11, &[1; 12]),
        binary(0x21, 0x21, &[1; 40]),
    ] {
        for n in 0..header.len() {
            assert_eq!(read(&header[..n]).unwrap(), None, "{n} of {header:?}");
        }
        assert!(read(&header).unwrap().is_some());
    }
}

#[test]
fn a_connection_that_starts_with_anything_else_is_refused() {
    assert_eq!(code(b"GET / HTTP/1.1\r\n"), "proxy.header.missing");
    assert_eq!(code(&[22, 3, 1]), "proxy.header.missing");
    assert_eq!(code(b"PROXX"), "proxy.header.missing");
    assert_eq!(code(b"proxy TCP4"), "proxy.header.missing");
    assert_eq!(code(b"\r\n\r\n\0\r\nQUIS"), "proxy.header.missing");
}

#[test]
fn lines_that_the_specification_does_not_spell_so_are_refused() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n",
        "PROXY TCP4 ::1 ::2 56324 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 056324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 443\n \r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(code(line.as_bytes()), "proxy.header.line", "{line:?}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 16));
    assert_eq!(longest.len(), LINE_BYTES_MAX);
    assert!(read(longest.as_bytes()).unwrap().is_some());
    assert_eq!(
        code(format!("PROXY UNKNOWN x{}", &longest[14..]).as_bytes()),
        "proxy.header.line"
    );
}

#[test]
fn binary_fields_that_are_not_defined_and_lengths_that_cannot_be_are_refused() {
    assert_eq!(code(&binary(0x11, 0x11, &[1; 12])), "proxy.header.field", "version 1");
    assert_eq!(code(&binary(0x22, 0x11, &[1; 12])), "proxy.header.field", "command 2");
    assert_eq!(code(&binary(0x21, 0x12, &[1; 12])), "proxy.header.field", "UDP");
    assert_eq!(
        code(&binary(0x21, 0x31, &[1; 216])),
        "proxy.header.field",
        "a Unix socket"
    );
    assert_eq!(code(&binary(0x21, 0x11, &[1; 11])), "proxy.header.length");
    assert_eq!(code(&binary(0x21, 0x21, &[1; 35])), "proxy.header.length");
    assert!(read(&binary(0x21, 0x21, &[1; 1024])).unwrap().is_some());
    assert_eq!(code(&binary(0x21, 0x21, &[1; 1025])), "proxy.header.length");
}

#[test]
fn what_is_written_is_read_back() {
    for (source, destination, expected) in [
        ("192.0.2.1:1", "198.51.100.2:443", "192.0.2.1:1"),
        ("[2001:db8::1]:1", "[2001:db8::2]:443", "[2001:db8::1]:1"),
    ] {
        for version in [Version::One, Version::Two] {
            let header = write(version, Some(at(source)), Some(at(destination)));
            let back = read(&header).unwrap().unwrap();
            assert_eq!((back.length, back.source), (header.len(), Some(at(expected))));
        }
    }
    assert_eq!(write(Version::One, None, None), b"PROXY UNKNOWN\r\n");
    assert_eq!(read(&write(Version::Two, None, None)).unwrap().unwrap().source, None);
    let mixed = write(Version::One, Some(at("192.0.2.1:1")), Some(at("[2001:db8::2]:443")));
    assert_eq!(mixed, b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 443\r\n");
}
