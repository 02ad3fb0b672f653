//! The conceptual message wrapper's CBOR record around a bundle.

use super::BUNDLE_BYTES_MAX;
use super::error::RatlsError;
use crate::channel::BUNDLE_MEDIA_TYPE;

/// RFC 8949 section 3.1.
const BYTE_STRING: u8 = 2;
const TEXT_STRING: u8 = 3;
const ARRAY: u8 = 4;
/// The record's `ind`: bit 2, evidence.
const EVIDENCE: u8 = 4;

/// The extension's value for a bundle.
///
/// # Errors
/// [`RatlsError::BundleTooLarge`].
pub fn wrap(bundle: &[u8]) -> Result<Vec<u8>, RatlsError> {
    if bundle.len() > BUNDLE_BYTES_MAX {
        return Err(RatlsError::BundleTooLarge { got: bundle.len() });
    }
    let mut out = prefix();
    out.extend(head(BYTE_STRING, bundle.len()));
    out.extend_from_slice(bundle);
    out.push(EVIDENCE);
    Ok(out)
}

/// The bundle in an extension's value, as bytes that nobody has looked at. There is one spelling: any other is refused.
///
/// # Errors
/// [`RatlsError::Wrapper`], [`RatlsError::BundleTooLarge`].
pub fn unwrap(value: &[u8]) -> Result<&[u8], RatlsError> {
    let rest = value.strip_prefix(prefix().as_slice()).ok_or(RatlsError::Wrapper(
        "expected a CBOR array of three with the bundle's media type first",
    ))?;
    let length = RatlsError::Wrapper("expected a byte string second, its length in the shortest form");
    let Some((first, _)) = rest.split_first() else {
        return Err(length);
    };
    let bytes = match first & 0x1f {
        24 => 1,
        25 => 2,
        26 => 4,
        direct if direct < 24 => 0,
        _ => return Err(length),
    };
    let Some((encoded, rest)) = rest.split_at_checked(1 + bytes) else {
        return Err(length);
    };
    let stated = match bytes {
        0 => usize::from(first & 0x1f),
        _ => encoded.iter().skip(1).fold(0, |n, byte| n << 8 | usize::from(*byte)),
    };
    if head(BYTE_STRING, stated) != encoded {
        return Err(length);
    }
    if stated > BUNDLE_BYTES_MAX {
        return Err(RatlsError::BundleTooLarge { got: stated });
    }
    match rest.split_at_checked(stated) {
        Some((bundle, [EVIDENCE])) => Ok(bundle),
        Some(_) => Err(RatlsError::Wrapper(
            "expected the number 4 (evidence) third and nothing after it",
        )),
        None => Err(RatlsError::Wrapper("the byte string is longer than the extension")),
    }
}

fn prefix() -> Vec<u8> {
    let mut out = head(ARRAY, 3);
    out.extend(head(TEXT_STRING, BUNDLE_MEDIA_TYPE.len()));
    out.extend_from_slice(BUNDLE_MEDIA_TYPE.as_bytes());
    out
}

/// Major type and argument, in the shortest form. Arguments here are below 2^32.
fn head(major: u8, argument: usize) -> Vec<u8> {
    let major = major << 5;
    let bytes = (argument as u32).to_be_bytes();
    let [_, _, high, low] = bytes;
    match argument {
        0..24 => vec![major | low],
        24..0x100 => vec![major | 24, low],
        0x100..0x1_0000 => vec![major | 25, high, low],
        _ => [&[major | 26], bytes.as_slice()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_has_one_spelling_and_every_other_is_refused() {
        let bundle = vec![b'{'; 300];
        let good = wrap(&bundle).unwrap();
        assert_eq!(good[..3], [0x83, 0x78, 41], "array(3), text(41)");
        assert_eq!(&good[3..44], b"application/vnd.hanzo.attestation.v1+json");
        assert_eq!(good[44..47], [0x59, 1, 44], "bytes(300)");
        assert_eq!(good.last(), Some(&4));
        assert_eq!(unwrap(&good).unwrap(), bundle);
        assert_eq!(unwrap(&wrap(b"").unwrap()).unwrap(), b"");
        for length in [23, 24, 255, 256, BUNDLE_BYTES_MAX] {
            let value = wrap(&vec![1; length]).unwrap();
            assert_eq!(unwrap(&value).unwrap().len(), length);
        }

        let refused = |why: &str, change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = good.clone();
            change(&mut changed);
            let error = unwrap(&changed).unwrap_err();
            assert_eq!(error.code(), "ratls.wrapper", "{why}");
        };
        refused("a tag before it", &|v| v.splice(0..0, [0xd8, 0x64]).for_each(drop));
        refused("an array of two", &|v| v[0] = 0x82);
        refused("an array without end", &|v| v[0] = 0x9f);
        refused("another media type", &|v| v[10] ^= 1);
        refused("a text string", &|v| v[44] = 0x79);
        refused("a longer form of the length", &|v| {
            v.splice(44..47, [0x5a, 0, 0, 1, 44]).for_each(drop)
        });
        refused("a string in pieces", &|v| v[44] = 0x5f);
        refused("a shorter string", &|v| v[46] = 43);
        refused("a longer string", &|v| v[46] = 45);
        refused("a string past the end", &|v| v[45] = 2);
        refused("another kind of message", &|v| *v.last_mut().unwrap() = 8);
        refused("no kind", &|v| v.truncate(v.len() - 1));
        refused("bytes after it", &|v| v.push(0));
        for cut in 0..good.len() {
            assert_eq!(unwrap(&good[..cut]).unwrap_err().code(), "ratls.wrapper", "{cut}");
        }
        let long = vec![0; BUNDLE_BYTES_MAX + 1];
        assert_eq!(wrap(&long).unwrap_err().code(), "ratls.too_large");
        let claims = [&good[..44], &[0x5a, 0xff, 0xff, 0xff, 0xff]].concat();
        assert_eq!(unwrap(&claims).unwrap_err().code(), "ratls.too_large");
    }
}
