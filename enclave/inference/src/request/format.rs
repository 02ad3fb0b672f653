//! What form an answer must have: `response_format` of chats, `text.format` of responses, `output_config.format` of messages.

use serde_json::{Value, json};

use super::fields::{Fields, invalid};
use crate::error::ApiError;
use crate::schema::Schema;

/// A form that the engine keeps the answer to, and that the guest checks again.
pub(crate) struct Format {
    pub(crate) schema: Schema,
    /// The caller's name for it.
    pub(crate) param: &'static str,
}

const NAMES: &str = "letters, digits, _ and -, 1 to 64 of them";
const KINDS: &str = "text, json_object or json_schema";

/// A name of a function or a schema.
pub(super) fn name(path: String, name: String) -> Result<String, ApiError> {
    let good = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match good {
        true => Ok(name),
        false => Err(invalid(path, NAMES, "another text")),
    }
}

/// `response_format` of a chat: the schema lies in `json_schema`.
pub(super) fn of_chat(fields: &mut Fields) -> Result<Option<Format>, ApiError> {
    let Some(mut format) = fields.object("response_format")? else {
        return Ok(None);
    };
    let kind = format.required_text("type")?;
    let read = match kind.as_str() {
        "text" => None,
        "json_object" => Some(any_object("response_format")?),
        "json_schema" => {
            let missing = invalid("response_format.json_schema", "an object", "nothing");
            Some(named(format.object("json_schema")?.ok_or(missing)?, "response_format")?)
        }
        _ => return Err(invalid("response_format.type", KINDS, "another word")),
    };
    format.refuse_the_rest()?;
    Ok(read)
}

/// `format` of responses and messages: the schema lies beside its `type`.
pub(super) fn flat(fields: &mut Fields, param: &'static str) -> Result<Option<Format>, ApiError> {
    let Some(mut format) = fields.object("format")? else {
        return Ok(None);
    };
    let kind = format.required_text("type")?;
    match kind.as_str() {
        "text" => format.refuse_the_rest().map(|()| None),
        "json_object" => {
            format.refuse_the_rest()?;
            any_object(param).map(Some)
        }
        "json_schema" => named(format, param).map(Some),
        _ => Err(invalid(format.path("type"), KINDS, "another word")),
    }
}

fn any_object(param: &'static str) -> Result<Format, ApiError> {
    let schema = Schema::compile(param, json!({"type": "object"}))?;
    Ok(Format { schema, param })
}

fn named(mut fields: Fields, param: &'static str) -> Result<Format, ApiError> {
    if let Some(given) = fields.text("name")? {
        name(fields.path("name"), given)?;
    }
    fields.text("description")?;
    // The answer is kept to the schema either way.
    fields.boolean("strict")?;
    let path = fields.path("schema");
    let text = fields
        .take("schema")
        .unwrap_or_else(|| Value::Object(Default::default()));
    fields.refuse_the_rest()?;
    Ok(Format {
        schema: Schema::compile(&path, text)?,
        param,
    })
}
