//! ClientHellos, good and bad.

/// With this server name.
pub fn with_name(name: &str) -> Vec<u8> {
    with_names(&[name])
}

/// More than one name is a lie about which is meant.
pub fn with_names(names: &[&str]) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names {
        list.push(0);
        list.extend((name.len() as u16).to_be_bytes());
        list.extend(name.as_bytes());
    }
    let mut extension = (list.len() as u16).to_be_bytes().to_vec();
    extension.extend(list);
    let mut extensions = vec![0, 0];
    extensions.extend((extension.len() as u16).to_be_bytes());
    extensions.extend(extension);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut out = vec![22, 3, 1];
    out.extend((body.len() as u16 + 4).to_be_bytes());
    out.extend([1, 0]);
    out.extend((body.len() as u16).to_be_bytes());
    out.extend(body);
    out
}
