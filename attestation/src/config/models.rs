//! What `[[models]]` may say together.

use super::{Auth, Config, ConfigError, EngineKind, ModelConfig, upstream};
use crate::name::Name;
use serde::{Deserialize, Serialize};

/// Most models of one guest.
const MODELS_MAX: usize = 64;
/// Most callers of one model.
const CALLERS_MAX: usize = 64;

/// A model whose engine is started when somebody asks it, and ended when nobody did for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OnDemand {
    /// How long its engine idles before it ends, in seconds: 1 to 86,400.
    pub idle_s: u64,
}

/// Numbers, names, and what adapters go on.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let models = &config.models;
    let value = |ok: bool, field, expected, got: String| match ok {
        true => Ok(()),
        false => Err(ConfigError::Value { field, expected, got }),
    };
    value(
        (1..=MODELS_MAX).contains(&models.len()),
        "models",
        "1 to 64 models",
        models.len().to_string(),
    )?;
    let mut names: Vec<_> = models.iter().map(|m| &m.name).collect();
    names.sort();
    names.dedup();
    value(
        names.len() == models.len(),
        "models.name",
        "each name once",
        "a repeated name".into(),
    )?;
    for model in models {
        value(
            (64..=1 << 20).contains(&model.context_tokens),
            "models.context_tokens",
            "64 to 1048576",
            model.context_tokens.to_string(),
        )?;
        if let Some(OnDemand { idle_s }) = model.on_demand {
            value(
                (1..=86_400).contains(&idle_s),
                "models.on_demand.idle_s",
                "1 to 86400",
                idle_s.to_string(),
            )?;
        }
        upstream::check(model)?;
        check_base(config, model)?;
        check_callers(config, model)?;
    }
    Ok(())
}

/// An adapter goes on a model that is none, and is somebody's where callers are told apart.
fn check_base(config: &Config, model: &ModelConfig) -> Result<(), ConfigError> {
    let Some(name) = &model.base else { return Ok(()) };
    let wrong = |got: String| ConfigError::Value {
        field: "models.base",
        expected: "the name of a model of this configuration that is no adapter and whose engine is not upstream",
        got,
    };
    let base = config.models.iter().find(|other| other.name == *name);
    let base = base.ok_or_else(|| wrong(format!("{name}, which is not there")))?;
    if base.base.is_some() {
        return Err(wrong(format!("{name}, which is an adapter")));
    }
    if [base.engine, model.engine].contains(&Some(EngineKind::Upstream)) {
        return Err(wrong(format!("{name} for {}, with engine upstream", model.name)));
    }
    match (config.auth, &model.callers) {
        (Auth::Required, None) => Err(ConfigError::Value {
            field: "models.callers",
            expected: "the callers whose adapter it is, beside base where auth is required",
            got: format!("none for {}", model.name),
        }),
        _ => Ok(()),
    }
}

fn check_callers(config: &Config, model: &ModelConfig) -> Result<(), ConfigError> {
    let Some(callers) = &model.callers else { return Ok(()) };
    let is_ascending = callers.is_sorted_by(|a: &Name, b: &Name| a < b);
    match (config.auth, is_ascending && (1..=CALLERS_MAX).contains(&callers.len())) {
        (Auth::Required, true) => Ok(()),
        (Auth::None, _) => Err(ConfigError::Value {
            field: "models.callers",
            expected: "auth = \"required\" beside it: nobody is told from another otherwise",
            got: "auth = \"none\"".into(),
        }),
        (Auth::Required, false) => Err(ConfigError::Value {
            field: "models.callers",
            expected: "1 to 64 names, ascending, each once",
            got: format!("{} names of {}, or another order", callers.len(), model.name),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{access, example};
    use super::*;

    /// The example with an adapter on its model, of which `more` says more.
    fn with_adapter(text: &str, more: &str) -> Result<Config, ConfigError> {
        let root = "11".repeat(32);
        let entry = format!(
            "2048\n[[models]]\nname = \"tuned\"\nweights_root = \"{root}\"\nkey_id = \"hanzo/dek/tuned\"\ncontext_tokens = 512\n{more}"
        );
        Config::parse(text.replace("2048", &entry).as_bytes())
    }

    fn field(outcome: Result<Config, ConfigError>) -> &'static str {
        match outcome {
            Err(ConfigError::Value { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_adapter_goes_on_a_model_of_this_configuration_that_is_none() {
        let good = with_adapter(&example(), "base = \"smollm2\"").unwrap();
        assert_eq!(good.models[1].base, Name::new("smollm2").ok());
        for more in [
            "base = \"nobody\"",
            "base = \"tuned\"",
            "base = \"smollm2\"\nengine = \"upstream\"\nupstream = { speaks = \"vllm\", command = [\"/s\"] }",
        ] {
            assert_eq!(field(with_adapter(&example(), more)), "models.base", "{more}");
        }
    }

    #[test]
    fn a_model_on_demand_says_how_long_it_idles() {
        let with = |more: &str| Config::parse(example().replace("2048", &format!("2048\n{more}")).as_bytes());
        let good = with("on_demand = { idle_s = 1 }").unwrap();
        assert_eq!(good.models[0].on_demand, Some(OnDemand { idle_s: 1 }));
        for idle_s in [0, 86_401] {
            let got = with(&format!("on_demand = {{ idle_s = {idle_s} }}"));
            assert_eq!(field(got), "models.on_demand.idle_s");
        }
        assert_eq!(with("on_demand = {}").unwrap_err().code(), "config.malformed");
    }

    #[test]
    fn an_adapter_has_callers_where_callers_are_told_apart_and_nowhere_else() {
        let required = example().replace("auth = \"none\"", "auth = \"required\"") + &access();
        let good = with_adapter(&required, "base = \"smollm2\"\ncallers = [\"acme\", \"beta\"]").unwrap();
        assert_eq!(good.models[1].callers.as_ref().map(Vec::len), Some(2));
        for more in [
            "",
            "\ncallers = []",
            "\ncallers = [\"beta\", \"acme\"]",
            "\ncallers = [\"a\", \"a\"]",
        ] {
            let got = field(with_adapter(&required, &format!("base = \"smollm2\"{more}")));
            assert_eq!(got, "models.callers", "{more}");
        }
        assert_eq!(
            field(with_adapter(&example(), "callers = [\"acme\"]")),
            "models.callers"
        );
    }
}
