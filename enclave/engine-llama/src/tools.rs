//! Tools for chat templates that know none: explained in words, in the form that the guest reads calls in.

use hanzo_engine_process::{Message, Role};
use serde::Serialize;
use serde_json::{Value as Json, json};

/// Marks around calls that templates write as tokens of their own. Where a request has tools, they are part of the text.
pub(crate) const MARKS: [&str; 4] = ["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>"];

/// Where the explanation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the end of the system message, or in one of its own.
    System,
    /// Before the first message of the user.
    User,
}

/// `messages` for a template that knows text alone.
pub(crate) fn explained(messages: &[Message], tools: &[Json], place: Place) -> Vec<Json> {
    let mut out: Vec<(&'static str, String)> = Vec::with_capacity(messages.len() + 1);
    let mut after_result = false;
    for message in messages {
        if message.role == Role::Tool {
            let result = format!("<tool_response>\n{}\n</tool_response>", message.content);
            match out.last_mut().filter(|_| after_result) {
                // Templates want user and assistant in turn.
                Some((_, before)) => {
                    before.push('\n');
                    before.push_str(&result);
                }
                None => out.push(("user", result)),
            }
            after_result = true;
            continue;
        }
        after_result = false;
        let mut content = message.content.clone();
        for call in &message.tool_calls {
            if !content.is_empty() {
                content.push('\n');
            }
            let name = Json::from(call.function.name.as_str());
            let arguments = &call.function.arguments;
            content.push_str(&format!(
                "<tool_call>\n{{\"name\": {name}, \"arguments\": {arguments}}}\n</tool_call>"
            ));
        }
        out.push((message.role.name(), content));
    }
    if !tools.is_empty() {
        let explanation = explanation(tools);
        let role = match place {
            Place::System => "system",
            Place::User => "user",
        };
        match out.iter_mut().find(|(other, _)| *other == role) {
            Some((_, content)) if place == Place::System => *content = format!("{content}\n\n{explanation}"),
            Some((_, content)) => *content = format!("{explanation}\n\n{content}"),
            None => out.insert(0, (role, explanation)),
        }
    }
    out.into_iter()
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect()
}

/// In the words that Hermes and Qwen models were taught with.
fn explanation(tools: &[Json]) -> String {
    let tools: Vec<String> = tools.iter().filter_map(|tool| written(tool).ok()).collect();
    format!(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{}\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{{\"name\": <function-name>, \"arguments\": <args-json-object>}}\n</tool_call>",
        tools.join("\n")
    )
}

/// JSON with Python's separators.
pub(crate) fn written<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut out = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced))?;
    Ok(String::from_utf8(out).unwrap_or_default())
}

struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_as_python_writes_it() {
        let value = json!({"a": [1, "x<'é", {}], "b": null});
        assert_eq!(written(&value).unwrap(), r#"{"a": [1, "x<'é", {}], "b": null}"#);
    }

    #[test]
    fn results_that_follow_each_other_are_one_message() {
        let result = |text: &str| Message::new(Role::Tool, text);
        let messages = [
            Message::new(Role::User, "q"),
            result("a"),
            result("b"),
            Message::new(Role::User, "c"),
        ];
        let out = explained(&messages, &[], Place::System);
        assert_eq!(out.len(), 3);
        assert_eq!(
            out[1]["content"],
            "<tool_response>\na\n</tool_response>\n<tool_response>\nb\n</tool_response>"
        );
        assert_eq!(out[2], json!({"role": "user", "content": "c"}));
    }

    #[test]
    fn a_system_message_keeps_its_words() {
        let messages = [Message::new(Role::System, "be kind"), Message::new(Role::User, "q")];
        let out = explained(&messages, &[json!({"name": "f"})], Place::System);
        assert_eq!(out.len(), 2);
        assert!(out[0]["content"].as_str().unwrap().starts_with("be kind\n\n# Tools"));
        let out = explained(&messages, &[json!({"name": "f"})], Place::User);
        assert!(out[1]["content"].as_str().unwrap().ends_with("</tool_call>\n\nq"));
    }
}
