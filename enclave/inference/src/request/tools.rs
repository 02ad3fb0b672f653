//! Functions that the model may call.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::fields::{Fields, invalid, wrong};
use super::format::name;
use crate::error::ApiError;
use crate::schema::Schema;

/// Most functions in one request.
const TOOLS_MAX: usize = 128;

/// What the model is to do with its tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// As it likes.
    Any,
    /// One call, of any function.
    Call,
    /// One call of this function.
    This(String),
    /// Nothing: the tools are in the prompt alone.
    Nothing,
}

/// One function.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// OpenAI's tool object, as the template gets it.
    object: Value,
    parameters: Value,
}

/// The functions of one request.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) list: Arc<[Tool]>,
    pub(crate) wanted: Wanted,
    /// Whether one answer may make several calls.
    pub(crate) parallel: bool,
    forced: Option<Arc<Schema>>,
}

impl Tool {
    pub(super) fn new(name: String, description: Option<String>, parameters: Option<Value>) -> Self {
        let parameters = parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
        let mut function = Map::new();
        function.insert("name".into(), name.clone().into());
        if let Some(description) = description {
            function.insert("description".into(), description.into());
        }
        function.insert("parameters".into(), parameters.clone());
        Self {
            object: json!({"type": "function", "function": function}),
            name,
            parameters,
        }
    }
}

impl Tools {
    pub(crate) fn none() -> Self {
        Self {
            list: Arc::new([]),
            wanted: Wanted::Nothing,
            parallel: true,
            forced: None,
        }
    }

    /// Joins what was read. `param` names the member that asks for a call.
    pub(super) fn new(
        list: Vec<Tool>,
        wanted: Option<Wanted>,
        parallel: Option<bool>,
        param: &str,
    ) -> Result<Self, ApiError> {
        if list.is_empty() {
            return match wanted {
                None | Some(Wanted::Nothing | Wanted::Any) => Ok(Self::none()),
                Some(_) => Err(invalid(param, "none or auto where there are no tools", "a call")),
            };
        }
        let wanted = wanted.unwrap_or(Wanted::Any);
        let forced = match &wanted {
            Wanted::Any | Wanted::Nothing => None,
            Wanted::Call => Some(forced(list.iter(), param)?),
            Wanted::This(name) => {
                let known = list.iter().find(|tool| tool.name == *name);
                let known = known.ok_or_else(|| invalid(param, "the name of one of the tools", "another name"))?;
                Some(forced([known].into_iter(), param)?)
            }
        };
        Ok(Self {
            list: list.into(),
            wanted,
            parallel: parallel.unwrap_or(true),
            forced: forced.map(Arc::new),
        })
    }

    /// What the template gets.
    pub(crate) fn objects(&self) -> Vec<&Value> {
        self.list.iter().map(|tool| &tool.object).collect()
    }

    /// What a forced call looks like: `{"name","arguments"}`.
    pub(crate) fn forced_schema(&self) -> Option<&Value> {
        self.forced.as_ref().map(|schema| schema.text())
    }

    pub(crate) fn forced(&self) -> Option<&Schema> {
        self.forced.as_deref()
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.list.iter().any(|tool| tool.name == name)
    }
}

/// The schema of one call of any of `tools`. References stay within the document, so definitions move to its root, and so
/// does a whole that refers to itself.
fn forced<'a>(tools: impl Iterator<Item = &'a Tool>, param: &str) -> Result<Schema, ApiError> {
    let mut definitions = Map::new();
    let mut calls: Vec<Value> = Vec::new();
    for (i, tool) in tools.enumerate() {
        let mut parameters = tool.parameters.clone();
        let mut to_itself = false;
        moved(&mut parameters, i, 0, &mut to_itself);
        if let Value::Object(members) = &mut parameters {
            for place in PLACES {
                if let Some(Value::Object(own)) = members.remove(place) {
                    let own = own.into_iter();
                    definitions.extend(own.map(|(name, definition)| (moved_name(place, i, &name), definition)));
                }
            }
        }
        if to_itself {
            definitions.insert(format!("t{i}"), parameters);
            parameters = json!({"$ref": format!("#/$defs/t{i}")});
        }
        calls.push(json!({
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": parameters},
            "required": ["name", "arguments"],
            "additionalProperties": false,
        }));
    }
    let mut schema = match calls.len() {
        1 => calls.remove(0),
        _ => json!({"anyOf": calls}),
    };
    if let (false, Value::Object(members)) = (definitions.is_empty(), &mut schema) {
        members.insert("$defs".into(), Value::Object(definitions));
    }
    Schema::compile(param, schema)
}

/// Where a schema keeps its definitions.
const PLACES: [&str; 2] = ["$defs", "definitions"];

fn moved_name(place: &str, tool: usize, name: &str) -> String {
    match place {
        "$defs" => format!("t{tool}_{name}"),
        _ => format!("t{tool}d_{name}"),
    }
}

/// Points references to where the definitions went; says whether one leads to the whole. Only schemas are looked into: what
/// `const`, `enum` or `default` hold is a value. The parser bounds the depth.
fn moved(schema: &mut Value, tool: usize, depth: usize, to_itself: &mut bool) {
    let (Value::Object(members), true) = (schema, depth < 128) else {
        return;
    };
    for (keyword, rule) in members {
        match (keyword.as_str(), rule) {
            ("$ref", rule) => {
                let Some(text) = rule.as_str() else { continue };
                let place = PLACES.into_iter().find_map(|place| {
                    let name = text.strip_prefix("#/")?.strip_prefix(place)?.strip_prefix('/')?;
                    Some(moved_name(place, tool, name))
                });
                match (place, text) {
                    (Some(name), _) => *rule = format!("#/$defs/{name}").into(),
                    (None, "#") => {
                        *to_itself = true;
                        *rule = format!("#/$defs/t{tool}").into();
                    }
                    // It leads nowhere, and `compile` says so.
                    (None, _) => {}
                }
            }
            ("properties" | "$defs" | "definitions", Value::Object(schemas)) => schemas
                .iter_mut()
                .for_each(|(_, inner)| moved(inner, tool, depth + 1, to_itself)),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(schemas)) => schemas
                .iter_mut()
                .for_each(|inner| moved(inner, tool, depth + 1, to_itself)),
            ("items" | "additionalProperties", inner) => moved(inner, tool, depth + 1, to_itself),
            _ => {}
        }
    }
}

/// Reads a list of tools, each by `one`.
pub(super) fn list(fields: &mut Fields, one: impl Fn(Fields) -> Result<Tool, ApiError>) -> Result<Vec<Tool>, ApiError> {
    let given = fields.list("tools")?.unwrap_or_default();
    if given.len() > TOOLS_MAX {
        return Err(invalid("tools", "at most 128 tools", given.len().to_string()));
    }
    let mut tools: Vec<Tool> = Vec::new();
    for (i, value) in given.into_iter().enumerate() {
        let tool = one(Fields::of(format!("tools[{i}]"), value, "an object")?)?;
        if tools.iter().any(|before| before.name == tool.name) {
            return Err(invalid(
                format!("tools[{i}]"),
                "a name that no other tool has",
                "the same name",
            ));
        }
        tools.push(tool);
    }
    Ok(tools)
}

/// `name`, `description`, `parameters` and `strict` of one function; `parameters` may have another name.
pub(super) fn function(fields: &mut Fields, parameters: &str) -> Result<Tool, ApiError> {
    let given = fields.required_text("name")?;
    let given = name(fields.path("name"), given)?;
    let description = fields.text("description")?;
    fields.boolean("strict")?;
    let schema = match fields.take(parameters) {
        None => None,
        Some(schema @ Value::Object(_)) => Some(schema),
        Some(other) => return Err(wrong(fields.path(parameters), "a JSON schema", Some(&other))),
    };
    Ok(Tool::new(given, description, schema))
}

/// OpenAI's chat form: `{"type":"function","function":{…}}`.
pub(super) fn of_chat(mut fields: Fields) -> Result<Tool, ApiError> {
    only_functions(&mut fields)?;
    let missing = wrong(fields.path("function"), "an object", None);
    let mut inner = fields.object("function")?.ok_or(missing)?;
    let tool = function(&mut inner, "parameters")?;
    inner.refuse_the_rest()?;
    fields.refuse_the_rest()?;
    Ok(tool)
}

pub(super) fn only_functions(fields: &mut Fields) -> Result<(), ApiError> {
    match fields.required_text("type")?.as_str() {
        "function" => Ok(()),
        _ => Err(ApiError::Unsupported {
            param: fields.path("type"),
            hint: ": tools are functions of the caller's own",
        }),
    }
}

/// `tool_choice` of chats and responses: a word, or an object that names a function.
pub(super) fn choice(fields: &mut Fields) -> Result<Option<Wanted>, ApiError> {
    const WORDS: &str = "none, auto, required or one function";
    match fields.take("tool_choice") {
        None => Ok(None),
        Some(Value::String(word)) => match word.as_str() {
            "none" => Ok(Some(Wanted::Nothing)),
            "auto" => Ok(Some(Wanted::Any)),
            "required" => Ok(Some(Wanted::Call)),
            _ => Err(invalid("tool_choice", WORDS, "another word")),
        },
        Some(object @ Value::Object(_)) => {
            let mut object = Fields::of("tool_choice", object, WORDS)?;
            only_functions(&mut object)?;
            // Chats wrap the name, responses do not.
            let name = match object.object("function")? {
                Some(mut function) => {
                    let name = function.required_text("name")?;
                    function.refuse_the_rest()?;
                    name
                }
                None => object.required_text("name")?,
            };
            object.refuse_the_rest()?;
            Ok(Some(Wanted::This(name)))
        }
        Some(other) => Err(wrong("tool_choice", WORDS, Some(&other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_call_is_a_document_of_its_own_with_the_definitions_at_its_root() {
        let of = |name: &str| {
            let parameters = json!({"$defs": {"P": {"type": "integer"}}, "type": "object",
                "properties": {"x": {"$ref": "#/$defs/P"}}, "required": ["x"]});
            Tool::new(name.into(), None, Some(parameters))
        };
        let tools = Tools::new(vec![of("a"), of("b")], Some(Wanted::Call), None, "tool_choice")
            .ok()
            .unwrap();
        let schema = tools.forced().unwrap();
        assert!(schema.accepts(&json!({"name": "b", "arguments": {"x": 5}})));
        for bad in [
            json!({"name": "c", "arguments": {"x": 5}}),
            json!({"name": "a", "arguments": {"x": "5"}}),
            json!({"name": "a"}),
        ] {
            assert!(!schema.accepts(&bad), "{bad}");
        }
        let one = Tools::new(
            vec![of("a"), of("b")],
            Some(Wanted::This("a".into())),
            None,
            "tool_choice",
        );
        let one = one.ok().unwrap();
        assert!(
            !one.forced()
                .unwrap()
                .accepts(&json!({"name": "b", "arguments": {"x": 5}}))
        );
        let none = Tools::new(vec![of("a")], Some(Wanted::This("z".into())), None, "tool_choice");
        assert_eq!(none.err().unwrap().code(), "invalid_value");
    }

    #[test]
    fn references_lead_where_they_led_and_values_stay() {
        let list = json!({
            "$defs": {"a": {"type": "integer"}}, "definitions": {"a": {"type": "string"}},
            "type": "object", "required": ["n"], "additionalProperties": false,
            "properties": {
                "n": {"$ref": "#/$defs/a"}, "s": {"$ref": "#/definitions/a"}, "next": {"$ref": "#"},
                "$ref": {"const": {"$ref": "#/$defs/a"}}
            }
        });
        let tool = Tool::new("f".into(), None, Some(list));
        let tools = Tools::new(vec![tool], Some(Wanted::Call), None, "tool_choice");
        let tools = tools.ok().unwrap();
        let schema = tools.forced().unwrap();
        let call = |arguments: Value| schema.accepts(&json!({"name": "f", "arguments": arguments}));
        assert!(call(json!({"n": 1, "s": "x", "next": {"n": 2, "next": {"n": 3}}})));
        assert!(call(json!({"n": 1, "$ref": {"$ref": "#/$defs/a"}})));
        for bad in [
            json!({"n": "1"}),
            json!({"n": 1, "s": 1}),
            json!({"n": 1, "next": {"s": "x"}}),
            json!({"n": 1, "$ref": {"$ref": "#/$defs/t0_a"}}),
        ] {
            assert!(!call(bad.clone()), "{bad}");
        }
        let nowhere = Tool::new("f".into(), None, Some(json!({"$ref": "#/properties/x"})));
        let refused = Tools::new(vec![nowhere], Some(Wanted::Call), None, "tool_choice");
        assert_eq!(refused.err().unwrap().code(), "invalid_schema");
    }
}
