//! Which engine runs a model: the one its configuration names, else the one its format asks for.

use std::path::Path;

use hanzo_attestation::config::EngineKind;

use super::EngineError;
use crate::options::GuestOptions;

/// What a model in GGUF is called in a pack.
const GGUF: &str = "model.gguf";

/// The engine for `model`, whose opened files lie in `dir`, with its program and first arguments.
///
/// GGUF goes to llama.cpp where the image holds it, all else to the engine that every image holds. All of it is measured or
/// signed: the configuration, the pack's root, the manifest, the programs.
///
/// # Errors
/// [`EngineError::Absent`], [`EngineError::Format`]: a named engine is never replaced by another.
pub(crate) fn choose<'a>(
    options: &'a GuestOptions,
    model: &str,
    named: Option<EngineKind>,
    dir: &Path,
) -> Result<(EngineKind, &'a [String]), EngineError> {
    let is_gguf = dir.join(GGUF).is_file();
    match (named, &options.llama_command) {
        (Some(EngineKind::LlamaCpp), _) if !is_gguf => Err(EngineError::Format {
            model: model.to_owned(),
            engine: EngineKind::LlamaCpp.as_str(),
        }),
        (Some(EngineKind::LlamaCpp), None) => Err(EngineError::Absent {
            model: model.to_owned(),
            engine: EngineKind::LlamaCpp.as_str(),
        }),
        (Some(EngineKind::LlamaCpp), Some(llama)) => Ok((EngineKind::LlamaCpp, llama)),
        (None, Some(llama)) if is_gguf => Ok((EngineKind::LlamaCpp, llama)),
        (None | Some(EngineKind::MistralRs), _) => Ok((EngineKind::MistralRs, &options.engine_command)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sandbox::EngineSandbox;
    use crate::options::{DeviceTrust, OperatingLimits, PlaintextStorage};

    fn options(llama: Option<&str>) -> GuestOptions {
        GuestOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            vsock: None,
            sealed: None,
            kbs_addr: String::new(),
            egress: None,
            config_path: "".into(),
            packs: "".into(),
            store_path: "".into(),
            runtime_dir: "".into(),
            plaintext: PlaintextStorage::MemoryOnly,
            engine_command: vec!["every".into()],
            llama_command: llama.map(|program| vec![program.into()]),
            sandbox: EngineSandbox::own_program(),
            devices: DeviceTrust::default(),
            limits: OperatingLimits::default(),
        }
    }

    #[test]
    fn the_name_decides_then_the_format_and_no_engine_stands_in_for_a_named_one() {
        let gguf = tempfile::tempdir().unwrap();
        std::fs::write(gguf.path().join(GGUF), b"").unwrap();
        let other = tempfile::tempdir().unwrap();
        let chosen = |llama, named, dir: &tempfile::TempDir| {
            let options = options(llama);
            choose(&options, "m", named, dir.path())
                .map(|(_, command)| command.join(" "))
                .map_err(|error| error.code())
        };
        let (llama, mistral) = (Some(EngineKind::LlamaCpp), Some(EngineKind::MistralRs));
        assert_eq!(chosen(Some("llama"), None, &gguf), Ok("llama".into()));
        assert_eq!(chosen(Some("llama"), None, &other), Ok("every".into()));
        assert_eq!(chosen(None, None, &gguf), Ok("every".into()));
        assert_eq!(chosen(Some("llama"), mistral, &gguf), Ok("every".into()));
        assert_eq!(chosen(Some("llama"), llama, &gguf), Ok("llama".into()));
        assert_eq!(chosen(None, llama, &gguf), Err("engine.absent"));
        assert_eq!(chosen(Some("llama"), llama, &other), Err("engine.format"));
    }
}
