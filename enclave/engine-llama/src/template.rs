//! The model's chat template, rendered as its publisher's tokenizer would.

use std::path::Path;

use hanzo_engine_process::{GenerateError, Message};
use minijinja::{Environment, Error, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::error::LlamaError;

const NAME: &str = "chat";
/// Longest prompt a template may make, in bytes: a loop in a template must not fill the memory.
const PROMPT_BYTES_MAX: usize = 16 << 20;

/// A compiled template.
pub(crate) struct Template {
    environment: Environment<'static>,
    bos: String,
    eos: String,
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
        Ok(Self { environment, bos, eos })
    }

    /// The prompt for `messages`, ending where the assistant speaks.
    ///
    /// # Errors
    /// [`GenerateError::Template`].
    pub(crate) fn render(&self, messages: &[Message]) -> Result<String, GenerateError> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role.name(), content => message.content })
            .collect();
        let context = context! {
            messages,
            add_generation_prompt => true,
            bos_token => self.bos,
            eos_token => self.eos,
        };
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

#[cfg(test)]
mod tests {
    use hanzo_engine_process::Role;

    use super::*;

    fn compile(text: &str) -> Result<Template, LlamaError> {
        Template::compile(text.into(), Path::new("t"), "<s>".into(), "</s>".into())
    }

    fn message(role: Role, content: &str) -> Message {
        Message {
            role,
            content: content.into(),
        }
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_known() {
        let template = compile(
            "{{ bos_token }}{% for m in messages %}\n    {% if m.role == 'user' %}\n[{{ m.content.strip() }}]\n    {% endif %}\n{% endfor %}{{ eos_token }}",
        );
        let prompt = template.unwrap().render(&[message(Role::User, " hi ")]).unwrap();
        assert_eq!(prompt, "<s>[hi]\n</s>");
    }

    #[test]
    fn a_refusal_of_the_template_says_nothing_of_the_message() {
        let template =
            compile("{% if messages[0].role != 'user' %}{{ raise_exception(messages[0].content) }}{% endif %}x");
        let template = template.unwrap();
        assert!(template.render(&[message(Role::User, "a")]).is_ok());
        let refused = template.render(&[message(Role::System, "canary")]);
        assert_eq!(refused, Err(GenerateError::Template));
        assert!(!GenerateError::Template.to_string().contains("canary"));
    }

    #[test]
    fn what_does_not_compile_is_named_with_its_line() {
        let error = compile("a\n{% if %}").err().unwrap();
        assert_eq!(error.code(), "engine.template");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
