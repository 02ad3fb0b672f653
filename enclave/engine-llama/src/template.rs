//! The model's chat template, rendered as its publisher's tokenizer would.

use std::path::Path;

use hanzo_engine_process::{GenerateError, Message};
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::{Map, Value as Json, json};

use crate::error::LlamaError;
use crate::tools;

const NAME: &str = "chat";
/// Longest prompt a template may make, in bytes: a loop in a template must not fill the memory.
const PROMPT_BYTES_MAX: usize = 16 << 20;

/// A compiled template.
pub(crate) struct Template {
    environment: Environment<'static>,
    bos: String,
    eos: String,
    /// It writes tools into the prompt, and calls and results with them.
    knows_tools: bool,
}

impl Template {
    /// Compiles `text`, which came from `file`; `bos` and `eos` are the texts of these tokens.
    ///
    /// # Errors
    /// [`LlamaError::Template`].
    pub(crate) fn compile(text: String, file: &Path, bos: String, eos: String) -> Result<Self, LlamaError> {
        let mut environment = Environment::new();
        // As `transformers` sets Jinja up.
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", |_: String| -> Result<Value, Error> {
            // Its words may quote a message.
            Err(Error::new(ErrorKind::InvalidOperation, "the template refused"))
        });
        environment
            .add_template_owned(NAME, text)
            .map_err(|error| LlamaError::Template {
                path: file.into(),
                what: format!("line {}: {:?}", error.line().unwrap_or(0), error.kind()),
            })?;
        let mut template = Self {
            environment,
            bos,
            eos,
            knows_tools: false,
        };
        template.knows_tools = template.shows_a_tool();
        Ok(template)
    }

    /// Whether a tool that the template is given is in what it makes.
    fn shows_a_tool(&self) -> bool {
        const PROBE: &str = "hanzo_probe";
        let parameters = json!({"type": "object", "properties": {}});
        let tool =
            json!({"type": "function", "function": {"name": PROBE, "description": "", "parameters": parameters}});
        let messages = vec![json!({"role": "user", "content": "x"})];
        self.make(messages, &[tool]).is_ok_and(|text| text.contains(PROBE))
    }

    /// The prompt for `messages`, ending where the assistant speaks. Where the template knows no tools, they are explained in
    /// the system message, and what was called and given back is written into the messages.
    ///
    /// # Errors
    /// [`GenerateError::Template`].
    pub(crate) fn render(&self, messages: &[Message], tools: &[Json]) -> Result<String, GenerateError> {
        if tools.is_empty() && !messages.iter().any(Message::uses_tools) {
            return self.make(messages.iter().map(plain).collect(), tools);
        }
        if self.knows_tools {
            // Most templates want arguments as objects, some join them as text.
            let with = |objects| messages.iter().map(|message| with_calls(message, objects)).collect();
            return self.make(with(true), tools).or_else(|_| self.make(with(false), tools));
        }
        let explained = tools::explained(messages, tools, tools::Place::System);
        self.make(explained, &[]).or_else(|error| {
            // Some templates have no system message.
            match tools.is_empty() {
                true => Err(error),
                false => self.make(tools::explained(messages, tools, tools::Place::User), &[]),
            }
        })
    }

    fn make(&self, messages: Vec<Json>, tools: &[Json]) -> Result<String, GenerateError> {
        let mut context = Map::new();
        context.insert("messages".into(), messages.into());
        context.insert("add_generation_prompt".into(), true.into());
        context.insert("bos_token".into(), self.bos.as_str().into());
        context.insert("eos_token".into(), self.eos.as_str().into());
        if !tools.is_empty() {
            context.insert("tools".into(), tools.to_vec().into());
        }
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|_| GenerateError::Template)?;
        let prompt = template.render(context).map_err(|_| GenerateError::Template)?;
        if prompt.len() > PROMPT_BYTES_MAX {
            return Err(GenerateError::Template);
        }
        Ok(prompt)
    }
}

fn plain(message: &Message) -> Json {
    json!({"role": message.role.name(), "content": message.content})
}

fn with_calls(message: &Message, objects: bool) -> Json {
    let mut out = plain(message);
    if let Some(id) = &message.tool_call_id {
        out["tool_call_id"] = id.as_str().into();
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            let text = || Json::from(call.function.arguments.as_str());
            let arguments = match objects {
                true => serde_json::from_str(&call.function.arguments).unwrap_or_else(|_| text()),
                false => text(),
            };
            json!({"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}})
        });
        out["tool_calls"] = calls.collect();
    }
    out
}

/// As `transformers` writes JSON into prompts: Python's separators, nothing escaped for HTML.
fn to_json(value: &Value, arguments: Kwargs) -> Result<Value, Error> {
    let failed = |_| Error::new(ErrorKind::InvalidOperation, "not JSON");
    let indent: Option<usize> = arguments.get("indent")?;
    let text = match indent {
        None => tools::written(value).map_err(failed)?,
        Some(indent) => {
            let mut out = Vec::new();
            let spaces = " ".repeat(indent.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
            serde::Serialize::serialize(value, &mut serializer).map_err(failed)?;
            String::from_utf8(out).unwrap_or_default()
        }
    };
    Ok(Value::from_safe_string(text))
}

#[cfg(test)]
mod tests {
    use hanzo_engine_process::{CalledFunction, Role, ToolCall};

    use super::*;

    fn compile(text: &str) -> Result<Template, LlamaError> {
        Template::compile(text.into(), Path::new("t"), "<s>".into(), "</s>".into())
    }

    fn message(role: Role, content: &str) -> Message {
        Message::new(role, content)
    }

    fn weather() -> Json {
        json!({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}})
    }

    /// A question, a call, and what came back.
    fn called() -> Vec<Message> {
        let mut call = message(Role::Assistant, "");
        call.tool_calls.push(ToolCall {
            id: "c1".into(),
            r#type: "function".into(),
            function: CalledFunction {
                name: "weather".into(),
                arguments: r#"{"city":"Köln"}"#.into(),
            },
        });
        let mut result = message(Role::Tool, "sunny");
        result.tool_call_id = Some("c1".into());
        vec![message(Role::User, "hi"), call, result]
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_known() {
        let template = compile(
            "{{ bos_token }}{% for m in messages %}\n    {% if m.role == 'user' %}\n[{{ m.content.strip() }}]\n    {% endif %}\n{% endfor %}{{ eos_token }}",
        );
        let prompt = template.unwrap().render(&[message(Role::User, " hi ")], &[]).unwrap();
        assert_eq!(prompt, "<s>[hi]\n</s>");
    }

    #[test]
    fn a_refusal_of_the_template_says_nothing_of_the_message() {
        let template =
            compile("{% if messages[0].role != 'user' %}{{ raise_exception(messages[0].content) }}{% endif %}x");
        let template = template.unwrap();
        assert!(template.render(&[message(Role::User, "a")], &[]).is_ok());
        let refused = template.render(&[message(Role::System, "canary")], &[]);
        assert_eq!(refused, Err(GenerateError::Template));
        assert!(!GenerateError::Template.to_string().contains("canary"));
    }

    #[test]
    fn what_does_not_compile_is_named_with_its_line() {
        let error = compile("a\n{% if %}").err().unwrap();
        assert_eq!(error.code(), "engine.template");
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn a_template_that_knows_tools_gets_them_as_they_are() {
        let text = "{% if tools %}{{ tools | tojson }}|{% endif %}{% for m in messages %}{{ m.role }}:{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls[0].function.arguments | tojson }}{% endif %};{% endfor %}";
        let template = compile(text).unwrap();
        let prompt = template.render(&called(), &[weather()]).unwrap();
        let (tools, rest) = prompt.split_once('|').unwrap();
        assert_eq!(serde_json::from_str::<Json>(tools).unwrap(), json!([weather()]));
        assert!(tools.contains("\": "), "{tools}");
        assert_eq!(rest, "user:hi;assistant:{\"city\": \"Köln\"};tool:sunny;");
        // One that joins arguments as text gets them as text.
        let joins = compile(&text.replace(".arguments | tojson", ".arguments + '!'")).unwrap();
        let prompt = joins.render(&called(), &[weather()]).unwrap();
        assert!(
            prompt.ends_with("assistant:{\"city\":\"Köln\"}!;tool:sunny;"),
            "{prompt}"
        );
    }

    #[test]
    fn to_a_template_that_knows_none_they_are_explained() {
        let text = "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}";
        let prompt = compile(text).unwrap().render(&called(), &[weather()]).unwrap();
        assert!(prompt.starts_with("[system]# Tools"), "{prompt}");
        assert!(prompt.contains("\"name\": \"weather\""), "{prompt}");
        let call = "[assistant]<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\":\"Köln\"}}\n</tool_call>";
        assert!(prompt.contains(call), "{prompt}");
        assert!(
            prompt.ends_with("[user]<tool_response>\nsunny\n</tool_response>"),
            "{prompt}"
        );
        // Without a system message either.
        let neither = text.replace("'tool'", "'system'");
        let prompt = compile(&neither).unwrap().render(&called(), &[weather()]).unwrap();
        assert!(prompt.starts_with("[user]# Tools"), "{prompt}");
        // And a template that takes neither refuses.
        let nobody = compile("{{ raise_exception('no') }}").unwrap();
        assert_eq!(nobody.render(&called(), &[weather()]), Err(GenerateError::Template));
    }
}
