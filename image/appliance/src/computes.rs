//! What computes a run's models: an engine by name, or a server of the user's own behind `hanzo-engine-upstream`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use hanzo_attestation::config::{EngineKind, UpstreamApi, UpstreamServer};

use crate::error::ApplianceError;

/// What llama-server needs to be told: one answer at a time, with the whole context for it.
const LLAMA_SERVER: [&str; 8] = [
    "--model",
    "{model_dir}/model.gguf",
    "--host",
    "{socket}",
    "--ctx-size",
    "{context_tokens}",
    "--parallel",
    "1",
];

/// Options of `hanzo up` about the engine.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EngineChoice {
    /// What computes: llama.cpp, mistral.rs or upstream (with --server); GGUF on llama.cpp and all else on mistral.rs when absent
    #[arg(long, value_name = "ENGINE", value_parser = engine_kind)]
    engine: Option<EngineKind>,
    /// Serve through this server, a llama-server unless told otherwise: started in the engine's sandbox; token counts are its word, and receipts say so
    #[arg(long, value_name = "PROGRAM", conflicts_with = "vm")]
    server: Option<PathBuf>,
    /// The server's arguments, one each, instead of llama-server's; {model_dir}, {socket} and {context_tokens} are replaced
    #[arg(long, value_name = "WORD", requires = "server", allow_hyphen_values = true)]
    server_arg: Vec<String>,
    /// A file or folder that the server reads or runs; libraries beside its program are found without
    #[arg(long, value_name = "PATH", requires = "server")]
    server_file: Vec<PathBuf>,
    /// Whose API it has beside OpenAI's: llama-server or vllm
    #[arg(long, value_name = "API", requires = "server", default_value = "llama-server", value_parser = api)]
    server_speaks: Option<UpstreamApi>,
}

/// The choice, as a configuration writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Computes {
    /// By name, if somebody chose.
    pub(crate) engine: Option<EngineKind>,
    /// The server behind `upstream`.
    pub(crate) upstream: Option<UpstreamServer>,
    /// Whether it is in an image: of engines, images carry mistral.rs alone.
    pub(crate) in_image: bool,
}

impl Computes {
    /// An engine of this program.
    pub(crate) fn by(engine: EngineKind) -> Self {
        Self {
            engine: Some(engine),
            ..Self::default()
        }
    }

    /// The same, or in an image.
    pub(crate) fn in_image(self, in_image: bool) -> Self {
        Self { in_image, ..self }
    }
}

impl EngineChoice {
    /// Finds the server's files.
    pub(crate) fn computes(&self) -> Result<Computes, ApplianceError> {
        let wrong = |text: &str| Err(ApplianceError::Part(text.into()));
        let program = match (&self.server, self.engine) {
            (None, Some(EngineKind::Upstream)) => {
                return wrong("--engine upstream needs --server PROGRAM, e.g. --server ./llama-server");
            }
            (None, engine) => {
                return Ok(Computes {
                    engine,
                    ..Computes::default()
                });
            }
            (Some(program), None | Some(EngineKind::Upstream)) => program,
            (Some(_), Some(_)) => return wrong("--server goes with --engine upstream alone: leave --engine out"),
        };
        let real = |path: &Path| fs::canonicalize(path).map_err(ApplianceError::io("cannot find the server's", path));
        let program = real(program)?;
        let mut files = self
            .server_file
            .iter()
            .map(|path| real(path))
            .collect::<Result<Vec<_>, _>>()?;
        files.extend(program.parent().filter(|dir| holds_libraries(dir)).map(Path::to_owned));
        let command = match self.server_arg.is_empty() {
            true => LLAMA_SERVER.map(str::to_owned).to_vec(),
            false => self.server_arg.clone(),
        };
        let text = |path: &Path| match path.to_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(ApplianceError::Part(format!(
                "{}: expected a path in UTF-8",
                path.display()
            ))),
        };
        Ok(Computes {
            in_image: false,
            engine: Some(EngineKind::Upstream),
            upstream: Some(UpstreamServer {
                speaks: self.server_speaks.unwrap_or(UpstreamApi::LlamaServer),
                command: std::iter::once(text(&program)?).chain(command).collect(),
                files: files.iter().map(|path| text(path)).collect::<Result<_, _>>()?,
            }),
        })
    }
}

/// Releases of llama.cpp lie in one folder, libraries and all.
fn holds_libraries(dir: &Path) -> bool {
    let is_library = |name: &str| name.starts_with("lib") && (name.ends_with(".so") || name.contains(".so."));
    let system = ["/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin"].map(Path::new);
    !system.contains(&dir)
        && fs::read_dir(dir)
            .is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(|e| e.file_name().to_str().is_some_and(is_library))))
}

fn engine_kind(text: &str) -> Result<EngineKind, String> {
    [EngineKind::LlamaCpp, EngineKind::MistralRs, EngineKind::Upstream]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| "expected llama.cpp, mistral.rs or upstream".into())
}

fn api(text: &str) -> Result<UpstreamApi, String> {
    [UpstreamApi::LlamaServer, UpstreamApi::Vllm]
        .into_iter()
        .find(|api| api.as_str() == text)
        .ok_or_else(|| "expected llama-server or vllm".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(server: Option<&Path>, engine: Option<EngineKind>) -> EngineChoice {
        EngineChoice {
            engine,
            server: server.map(Path::to_owned),
            ..EngineChoice::default()
        }
    }

    #[test]
    fn a_server_is_found_with_its_libraries_and_told_what_llama_server_needs() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let program = real.join("llama-server");
        fs::write(&program, b"").unwrap();
        let served = |choice: EngineChoice| choice.computes().unwrap().upstream.unwrap();
        let alone = served(choice(Some(&program), None));
        assert!(alone.files.is_empty());
        assert_eq!(alone.command.first().map(String::as_str), program.to_str());
        assert!(alone.command.iter().any(|word| word == "{socket}"));
        fs::write(real.join("libggml.so.0"), b"").unwrap();
        let beside = served(choice(Some(&program), Some(EngineKind::Upstream)));
        assert_eq!(beside.files, [real.to_str().unwrap()]);
        let told = EngineChoice {
            server_arg: vec!["--uds={socket}".into()],
            ..choice(Some(&program), None)
        };
        assert_eq!(served(told).command.get(1..), Some(&["--uds={socket}".to_owned()][..]));
    }

    #[test]
    fn a_server_and_another_engine_exclude_each_other() {
        let refused = |server: Option<&str>, engine| {
            choice(server.map(Path::new), engine)
                .computes()
                .unwrap_err()
                .to_string()
        };
        assert!(refused(None, Some(EngineKind::Upstream)).contains("needs --server"));
        assert!(refused(Some("/bin/true"), Some(EngineKind::LlamaCpp)).contains("leave --engine out"));
        assert!(refused(Some("/nowhere/llama-server"), None).contains("/nowhere/llama-server"));
        assert_eq!(
            choice(None, Some(EngineKind::LlamaCpp)).computes().unwrap(),
            Computes::by(EngineKind::LlamaCpp)
        );
    }
}
