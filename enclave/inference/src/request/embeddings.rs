//! `POST /v1/embeddings`.

use super::fields::{invalid, wrong};
use super::{Prompt, input, members};
use crate::error::ApiError;

/// Most inputs in one request.
const INPUTS_MAX: usize = 2048;

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// A list of numbers.
    Float,
    /// Little-endian 32-bit floats in base64.
    Base64,
}

/// What to embed.
pub(crate) struct EmbeddingsRequest {
    pub(crate) model: String,
    pub(crate) inputs: Vec<Prompt>,
    pub(crate) encoding: Encoding,
}

impl EmbeddingsRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = members(body)?;
        fields.drop_all(&["user"]);
        fields.refuse("dimensions", ": vectors come in the model's own length")?;
        let model = fields.required_text("model")?;
        let inputs = input::parse(&mut fields, "input", INPUTS_MAX)?;
        let word = fields.take("encoding_format");
        let encoding = match word.as_ref().map(|w| w.as_str()) {
            None | Some(Some("float")) => Encoding::Float,
            Some(Some("base64")) => Encoding::Base64,
            Some(Some(_)) => return Err(invalid("encoding_format", "float or base64", "another word")),
            Some(None) => return Err(wrong("encoding_format", "float or base64", word.as_ref())),
        };
        fields.refuse_the_rest()?;
        Ok(Self {
            model,
            inputs,
            encoding,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_are_taken_and_other_words_and_lengths_refused() {
        let parse = |extra: &str| {
            let body = format!(r#"{{"model":"m","input":["a"]{extra}}}"#);
            EmbeddingsRequest::parse(body.as_bytes()).map_err(|e| (e.body()["error"]["param"].clone(), e.code()))
        };
        assert_eq!(parse("").map(|r| r.encoding).ok(), Some(Encoding::Float));
        let base64 = parse(r#","encoding_format":"base64","user":"u""#);
        assert_eq!(base64.map(|r| r.encoding).ok(), Some(Encoding::Base64));
        for (extra, param, code) in [
            (r#","encoding_format":"hex""#, "encoding_format", "invalid_value"),
            (r#","encoding_format":5"#, "encoding_format", "invalid_value"),
            (r#","dimensions":256"#, "dimensions", "unsupported_parameter"),
            (r#","inputs":"a""#, "inputs", "unknown_parameter"),
        ] {
            assert_eq!(parse(extra).err(), Some((param.into(), code)), "{extra}");
        }
    }
}
