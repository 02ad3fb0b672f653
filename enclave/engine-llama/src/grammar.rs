//! Answers kept to a JSON schema, token by token.
//!
//! llguidance compiles the schema into a grammar over the vocabulary and says before each token which may follow. Its limits
//! bound what one schema costs: a fifth of a second to compile, some milliseconds a token.

use std::sync::Arc;

use hanzo_engine_process::GenerateError;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::vocab::LlamaVocab;
use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value as Json, json};
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

/// White space where JSON allows it: as much as people indent by, so that a model cannot go on with it for ever.
const SPACE: &str = r"[\x20\x0A\x0D\x09]{1,32}";
/// Formats of texts that are kept; `format` with another word says nothing, as JSON Schema has it.
const FORMATS: [&str; 10] = [
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
];
/// Deepest schema.
const DEPTH_MAX: usize = 100;

/// Compiles schemas for one vocabulary.
pub(crate) struct Grammars(ParserFactory);

/// One answer's grammar, as far as the answer has come.
pub(crate) struct Grammar(Matcher);

impl Grammars {
    /// For a vocabulary: each token's bytes are looked at, which takes some 10 ms for 50,000 tokens.
    pub(crate) fn of(vocab: &LlamaVocab<'_>) -> Option<Self> {
        let count = u32::try_from(vocab.n_tokens()).ok()?;
        let mut words = Vec::with_capacity(count as usize);
        let mut ends = Vec::new();
        for id in 0..vocab.n_tokens() {
            let token = LlamaToken(id);
            if vocab.is_eog(token) {
                ends.push(u32::try_from(id).ok()?);
            }
            let mut word = vocab.token_to_piece(token, false, None);
            if word.is_empty() {
                // A token that is no text.
                word.push(TokTrie::SPECIAL_TOKEN_MARKER);
                word.extend(vocab.token_to_piece(token, true, None));
            }
            words.push(word);
        }
        let info = TokRxInfo::new(count, *ends.first()?);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&env).ok()?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.initial_lexer_fuel = 1_000_000;
        limits.step_lexer_fuel = 100_000;
        limits.step_max_items = 50_000;
        limits.max_lexer_states = 50_000;
        limits.max_grammar_size = 200_000;
        // Neither schema nor answer in an error's text.
        limits.verbose_errors = false;
        Some(Self(factory))
    }

    /// # Errors
    /// [`GenerateError::Schema`]: a keyword that cannot be kept, a schema that allows nothing, or one that costs too much.
    pub(crate) fn compile(&self, schema: &Json) -> Result<Grammar, GenerateError> {
        let mut schema = match schema {
            Json::Bool(true) => json!({}),
            Json::Object(_) => schema.clone(),
            _ => return Err(GenerateError::Schema),
        };
        tidy(&mut schema, 0)?;
        if is_plain(&mut schema, 0) {
            close(&mut schema, 0);
        }
        // Of several that match exactly one is meant: the guest counts, the grammar allows each.
        schema["x-guidance"] = json!({"whitespace_pattern": SPACE, "coerce_one_of": true});
        let parser = self.0.create_parser(TopLevelGrammar::from_json_schema(schema));
        let mut matcher = Matcher::new(parser);
        // What cannot even begin is found here.
        match matcher.compute_mask() {
            Ok(mask) if !mask.is_zero() => Ok(Grammar(matcher)),
            _ => Err(GenerateError::Schema),
        }
    }
}

/// Takes out `format`s that say nothing here, and the library's own settings.
fn tidy(schema: &mut Json, depth: usize) -> Result<(), GenerateError> {
    if depth > DEPTH_MAX {
        return Err(GenerateError::Schema);
    }
    match schema {
        Json::Object(members) => {
            members.remove("x-guidance");
            if let Some(Json::String(format)) = members.get("format")
                && !FORMATS.contains(&format.as_str())
            {
                members.remove("format");
            }
            for (key, inner) in members.iter_mut() {
                match (key.as_str(), inner) {
                    // These hold documents, not schemas.
                    ("enum" | "const" | "default" | "examples", _) => (),
                    // And these schemas under names that are the caller's.
                    ("properties" | "patternProperties" | "$defs" | "definitions", Json::Object(named)) => {
                        for inner in named.values_mut() {
                            tidy(inner, depth + 1)?;
                        }
                    }
                    (_, inner) => tidy(inner, depth + 1)?,
                }
            }
        }
        Json::Array(list) => {
            for inner in list {
                tidy(inner, depth + 1)?;
            }
        }
        _ => (),
    }
    Ok(())
}

/// The schemas directly below one.
fn below(schema: &mut Json) -> Vec<&mut Json> {
    let mut found = Vec::new();
    for (key, inner) in schema.as_object_mut().into_iter().flatten() {
        match (key.as_str(), inner) {
            ("properties" | "$defs" | "definitions", Json::Object(named)) => found.extend(named.values_mut()),
            ("anyOf" | "oneOf" | "prefixItems", Json::Array(list)) => found.extend(list),
            ("items" | "additionalProperties", inner @ Json::Object(_)) => found.push(inner),
            _ => (),
        }
    }
    found
}

/// Whether each object stands for itself in a schema: nothing is put together out of parts, which [`close`] could make
/// contradict each other.
fn is_plain(schema: &mut Json, depth: usize) -> bool {
    const WORDS: [&str; 11] = [
        "$ref",
        "anyOf",
        "oneOf",
        "$defs",
        "definitions",
        "title",
        "description",
        "default",
        "examples",
        "$schema",
        "$id",
    ];
    let Some(members) = schema.as_object() else {
        return true;
    };
    let choices = ["$ref", "anyOf", "oneOf"].into_iter();
    let choices = choices.filter(|word| members.contains_key(*word)).count();
    let is_alone = match choices {
        0 => ![
            "allOf",
            "not",
            "if",
            "dependentSchemas",
            "patternProperties",
            "propertyNames",
        ]
        .iter()
        .any(|word| members.contains_key(*word)),
        1 => members.keys().all(|word| WORDS.contains(&word.as_str())),
        _ => false,
    };
    is_alone && depth <= DEPTH_MAX && below(schema).into_iter().all(|inner| is_plain(inner, depth + 1))
}

/// Objects that name members and say nothing of others get no others: JSON Schema allows any, and a small model would go on
/// inventing them until its answer is cut. What follows is allowed by the schema as it was.
fn close(schema: &mut Json, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    if let Some(members) = schema.as_object_mut()
        && let Some(named) = members.get("properties").and_then(Json::as_object)
        && !named.is_empty()
        && !members.contains_key("additionalProperties")
    {
        let required = members.get("required").and_then(Json::as_array).into_iter().flatten();
        let are_named = required.filter_map(Json::as_str).all(|name| named.contains_key(name));
        let least = members.get("minProperties").and_then(Json::as_u64).unwrap_or(0);
        if are_named && least <= named.len() as u64 {
            members.insert("additionalProperties".into(), false.into());
        }
    }
    below(schema).into_iter().for_each(|inner| close(inner, depth + 1));
}

impl Grammar {
    /// Leaves only logits of tokens that may follow.
    ///
    /// # Errors
    /// [`GenerateError::Schema`] where a step costs too much.
    pub(crate) fn mask(&mut self, logits: &mut [f32]) -> Result<(), GenerateError> {
        let mask = self.0.compute_mask_or_eos().map_err(|_| GenerateError::Schema)?;
        for (id, logit) in logits.iter_mut().enumerate() {
            if id >= mask.len() || !mask.get(id) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    /// Takes the token that was chosen. True when the document is whole and nothing more may follow.
    ///
    /// # Errors
    /// [`GenerateError::Schema`] where it costs too much.
    pub(crate) fn take(&mut self, id: u32) -> Result<bool, GenerateError> {
        if !self.0.is_stopped() {
            self.0.consume_token(id).map_err(|_| GenerateError::Schema)?;
        }
        Ok(self.0.is_stopped())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_name_their_members_get_no_others_unless_they_say_so_or_are_put_together() {
        let closed = |mut schema: Json| {
            let is_plain = is_plain(&mut schema, 0);
            if is_plain {
                close(&mut schema, 0);
            }
            (
                is_plain,
                schema.to_string().matches("\"additionalProperties\":false").count(),
            )
        };
        let named = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
        assert_eq!(closed(named.clone()), (true, 1));
        // As pydantic writes what is in another, or may be left out.
        let nested = json!({"$defs": {"N": named}, "type": "object", "properties": {
            "n": {"$ref": "#/$defs/N", "description": "d"}, "m": {"anyOf": [named, {"type": "null"}], "default": null},
            "l": {"type": "array", "items": named}, "const": {"const": named}}});
        assert_eq!(closed(nested), (true, 4));
        // What is open, says so.
        for (key, value) in [
            ("additionalProperties", json!(true)),
            ("additionalProperties", json!({"type": "string"})),
            ("required", json!(["b"])),
            ("minProperties", json!(2)),
            ("properties", json!({})),
        ] {
            let mut open = named.clone();
            open[key] = value;
            assert_eq!(closed(open.clone()), (true, 0), "{open}");
        }
        // Parts that are one object together.
        for together in [
            json!({"allOf": [named, {"properties": {"b": {}}}]}),
            json!({"properties": {"b": {}}, "anyOf": [named, {"required": ["b"]}]}),
            json!({"$defs": {"N": named}, "$ref": "#/$defs/N", "properties": {"b": {}}}),
            json!({"items": {"allOf": [named]}}),
        ] {
            assert!(!closed(together.clone()).0, "{together}");
        }
    }

    #[test]
    fn only_formats_that_are_unknown_go_and_documents_stay() {
        let mut schema = json!({"properties": {"format": {"type": "string", "format": "email"}, "const": {"format": "x"},
            "b": {"format": "password", "const": {"format": "password"}}}, "x-guidance": {"lenient": true}});
        tidy(&mut schema, 0).unwrap();
        let kept = json!({"properties": {"format": {"type": "string", "format": "email"}, "const": {},
            "b": {"const": {"format": "password"}}}});
        assert_eq!(schema, kept);
        let mut deep = json!({});
        for _ in 0..=DEPTH_MAX {
            deep = json!({"items": deep});
        }
        assert_eq!(tidy(&mut deep, 0), Err(GenerateError::Schema));
    }
}
