//! Parts of messages that are no text. The guest fetches nothing: media come as `data:` URLs or not at all, and models that
//! read text alone refuse those too.

use super::fields::{Fields, invalid};
use crate::error::ApiError;

/// Why media that came the right way are refused.
const TEXT_ALONE: &str = ": this model reads text alone";

/// Refuses a part that carries or names media; the error says which of the two is wrong with it.
pub(super) fn refuse(fields: &mut Fields, path: &str, word: &str) -> ApiError {
    let named = match word {
        "image_url" => url_of(fields, "image_url"),
        "input_image" => fields.text("image_url").map(|url| url.map(|url| (url, "image_url"))),
        _ => Ok(None),
    };
    match named {
        Err(e) => e,
        Ok(Some((url, _))) if is_data(&url) => ApiError::Unsupported {
            param: format!("{path}.type"),
            hint: TEXT_ALONE,
        },
        Ok(Some((_, member))) => invalid(
            format!("{path}.{member}"),
            "a data: URL (data:image/png;base64,…): this guest fetches nothing",
            "another text",
        ),
        Ok(None) => ApiError::Unsupported {
            param: format!("{path}.type"),
            hint: TEXT_ALONE,
        },
    }
}

fn url_of(fields: &mut Fields, name: &'static str) -> Result<Option<(String, &'static str)>, ApiError> {
    let Some(mut image) = fields.object(name)? else {
        return Ok(None);
    };
    Ok(Some((image.required_text("url")?, "image_url.url")))
}

/// `data:type/subtype;base64,…` in the alphabet of RFC 4648.
fn is_data(url: &str) -> bool {
    let Some((head, data)) = url.strip_prefix("data:").and_then(|rest| rest.split_once(',')) else {
        return false;
    };
    let named = head.strip_suffix(";base64").is_some_and(|kind| {
        kind.split_once('/').is_some_and(|(a, b)| {
            let word = |w: &str| !w.is_empty() && w.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
            word(a) && word(b)
        })
    });
    named && !data.is_empty() && data.bytes().all(|c| c.is_ascii_alphanumeric() || b"+/=".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_urls_are_told_from_those_that_would_be_fetched() {
        assert!(is_data("data:image/png;base64,iVBORw0KGgo="));
        for other in [
            "https://example.com/cat.png",
            "file:///etc/passwd",
            "/etc/passwd",
            "data:image/png,raw",
            "data:;base64,AAAA",
            "data:image/png;base64,",
            "data:image/png;base64,\u{0}",
        ] {
            assert!(!is_data(other), "{other}");
        }
    }
}
