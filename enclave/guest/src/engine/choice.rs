//! Which engine runs a model: the one its configuration names, else the one its format asks for.

use std::path::Path;

use hanzo_attestation::config::{EngineKind, ModelConfig};

use super::{EngineError, EngineServer};
use crate::options::GuestOptions;

/// What a model in GGUF is called in a pack.
const GGUF: &str = "model.gguf";

/// What runs a model.
pub(crate) struct Chosen {
    /// Which engine.
    pub(crate) kind: EngineKind,
    /// Its program and first arguments.
    pub(crate) command: Vec<String>,
    /// The server that it starts.
    pub(crate) server: Option<EngineServer>,
}

/// The engine for `model`, whose opened files lie in `dir`, with its program and first arguments.
///
/// GGUF goes to llama.cpp where the image holds it, all else to the engine that every image holds. All of it is measured or
/// signed: the configuration, the pack's root, the manifest, the programs.
///
/// # Errors
/// [`EngineError::Absent`], [`EngineError::Format`], [`EngineError::NoServer`], [`EngineError::ServerFile`]: a named engine is never replaced by another.
pub(crate) fn choose(
    options: &GuestOptions,
    model: &ModelConfig,
    named: Option<EngineKind>,
    dir: &Path,
) -> Result<Chosen, EngineError> {
    let is_gguf = dir.join(GGUF).is_file();
    let name = || model.name.to_string();
    let absent = |kind: EngineKind| EngineError::Absent {
        model: name(),
        engine: kind.as_str(),
    };
    let alone = |kind, command: &Vec<String>| Chosen {
        kind,
        command: command.clone(),
        server: None,
    };
    match (named, &options.llama_command) {
        (Some(EngineKind::LlamaCpp), _) if !is_gguf => Err(EngineError::Format {
            model: name(),
            engine: EngineKind::LlamaCpp.as_str(),
        }),
        (Some(EngineKind::LlamaCpp), None) => Err(absent(EngineKind::LlamaCpp)),
        (Some(EngineKind::LlamaCpp), Some(llama)) => Ok(alone(EngineKind::LlamaCpp, llama)),
        (None, Some(llama)) if is_gguf => Ok(alone(EngineKind::LlamaCpp, llama)),
        (None | Some(EngineKind::MistralRs), _) => Ok(alone(EngineKind::MistralRs, &options.engine_command)),
        (Some(EngineKind::Upstream), _) => {
            let server = model.upstream.as_ref();
            let server = server.ok_or_else(|| EngineError::NoServer { model: name() })?;
            let client = options.upstream_command.as_ref();
            let client = client.ok_or_else(|| absent(EngineKind::Upstream))?;
            // The sandbox shows real paths: a link would lead nowhere there.
            let real = |path: &String| {
                std::fs::canonicalize(path).map_err(|source| EngineError::ServerFile {
                    model: name(),
                    path: path.into(),
                    source,
                })
            };
            let (program, arguments) = server
                .command
                .split_first()
                .ok_or_else(|| EngineError::NoServer { model: name() })?;
            let shown = EngineServer {
                program: real(program)?,
                files: server.files.iter().map(real).collect::<Result<_, _>>()?,
            };
            let program = shown.program.display().to_string();
            let words = std::iter::once(&program).chain(arguments);
            let words: Vec<String> = words.map(|word| format!("--upstream-arg={word}")).collect();
            let speaks = format!("--speaks={}", server.speaks.as_str());
            Ok(Chosen {
                kind: EngineKind::Upstream,
                command: client.iter().cloned().chain([speaks]).chain(words).collect(),
                server: Some(shown),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use hanzo_attestation::config::{UpstreamApi, UpstreamServer};
    use hanzo_attestation::digest::Digest256;
    use hanzo_attestation::name::{KeyId, Name};

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
            upstream_command: llama.map(|_| vec!["client".into(), "serve".into()]),
            sandbox: EngineSandbox::own_program(),
            devices: DeviceTrust::default(),
            limits: OperatingLimits::default(),
        }
    }

    fn chosen_for(
        llama: Option<&str>,
        named: Option<EngineKind>,
        upstream: Option<UpstreamServer>,
        dir: &tempfile::TempDir,
    ) -> Result<String, &'static str> {
        let model = ModelConfig {
            name: Name::new("m").unwrap(),
            weights_root: Digest256::of(b""),
            key_id: KeyId::new("hanzo/dek/m").unwrap(),
            context_tokens: 64,
            engine: named,
            upstream,
            base: None,
            callers: None,
            on_demand: None,
        };
        choose(&options(llama), &model, named, dir.path())
            .map(|chosen| chosen.command.join(" "))
            .map_err(|error| error.code())
    }

    #[test]
    fn a_server_is_started_by_its_client_and_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let named = Some(EngineKind::Upstream);
        let program = dir.path().canonicalize().unwrap().join("s");
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(&program, b"").unwrap();
        std::os::unix::fs::symlink("s", dir.path().join("link")).unwrap();
        let server = UpstreamServer {
            speaks: UpstreamApi::LlamaServer,
            command: vec![path("link"), "--host={socket}".into()],
            files: vec![],
        };
        assert_eq!(
            chosen_for(Some("llama"), named, Some(server.clone()), &dir),
            Ok(format!(
                "client serve --speaks=llama-server --upstream-arg={} --upstream-arg=--host={{socket}}",
                program.display()
            ))
        );
        let lacking = |change: fn(&mut UpstreamServer)| {
            let mut server = server.clone();
            change(&mut server);
            chosen_for(Some("llama"), named, Some(server), &dir)
        };
        assert_eq!(lacking(|s| s.command[0].push('x')), Err("engine.server_file"));
        assert_eq!(
            lacking(|s| s.files.push("/nowhere/lib".into())),
            Err("engine.server_file")
        );
        assert_eq!(chosen_for(None, named, Some(server), &dir), Err("engine.absent"));
        assert_eq!(chosen_for(Some("llama"), named, None, &dir), Err("engine.no_server"));
    }

    #[test]
    fn the_name_decides_then_the_format_and_no_engine_stands_in_for_a_named_one() {
        let gguf = tempfile::tempdir().unwrap();
        std::fs::write(gguf.path().join(GGUF), b"").unwrap();
        let other = tempfile::tempdir().unwrap();
        let chosen = |llama, named, dir: &tempfile::TempDir| chosen_for(llama, named, None, dir);
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
