//! Which content type a body must say it is of: what the stock client sends, and nothing else.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};

use super::reply::Problem;

/// What a route reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/json`.
    Json,
    /// `application/octet-stream`: a resource.
    Bytes,
}

impl Media {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Bytes => "application/octet-stream",
        }
    }
}

/// The body, if it is of the route's type.
pub(super) fn body(headers: &HeaderMap, body: Result<Bytes, BytesRejection>, media: Media) -> Result<Bytes, Problem> {
    if !is(headers, media) {
        let problem = Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "kbs.body.type",
        );
        return Err(problem.with_detail(format!("content-type: expected {}, once", media.name())));
    }
    body.map_err(|e| Problem::body(&e))
}

/// One header that names the type; parameters (`charset=utf-8`) change nothing about bytes that are parsed as UTF-8 anyway.
fn is(headers: &HeaderMap, media: Media) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let name = value.to_str().ok().and_then(|text| text.split(';').next());
    name.is_some_and(|name| name.trim().eq_ignore_ascii_case(media.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_type_is_taken_and_nothing_else() {
        let said = |values: &[&str], media| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, value.parse().unwrap());
            }
            is(&headers, media)
        };
        let json = "application/json";
        assert!(said(&[json], Media::Json));
        assert!(said(&["Application/JSON; charset=utf-8"], Media::Json));
        assert!(said(&["application/octet-stream"], Media::Bytes));
        for other in [
            &[][..],
            &["text/plain"],
            &["application/jsonp"],
            &["application/octet-stream"],
            &[json, json],
        ] {
            assert!(!said(other, Media::Json), "{other:?}");
        }
        assert!(!said(&[json], Media::Bytes));
    }
}
