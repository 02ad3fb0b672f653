//! The server as a process: started before this one is confined, in the sandbox that both share.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use hanzo_engine_process::{EngineOptions, isolation, run_beside};

use crate::dialect::Dialect;
use crate::engine::{Upstream, UpstreamOptions};
use crate::error::UpstreamError;
use crate::http::Bounds;

/// Exit status when the server ended (EX_UNAVAILABLE).
pub const EXIT_UPSTREAM: i32 = 69;
/// Exit status of a start that came to nothing (EX_CONFIG).
const EXIT_NOT_STARTED: u8 = 78;
/// Beside the engine's own socket.
const SOCKET: &str = "upstream.sock";
/// Longest path of a Unix socket (unix(7)).
const PATH_BYTES_MAX: usize = 107;
const STREAMS: usize = 16;

/// Runs the engine until SIGTERM, SIGINT or the server's end. `start` is this program's own arguments that lead to
/// [`become_server`]; `command` is the server's program and arguments, in which `{model_dir}`, `{socket}` and `{context_tokens}` are replaced.
///
/// # Errors
/// [`UpstreamError`]; the process should exit with a non-zero status then. A server that ends later ends the process with
/// [`EXIT_UPSTREAM`]. Whoever started this process ends its process group, and with it the server.
pub fn run(
    options: &EngineOptions,
    dialect: Dialect,
    start: &[String],
    command: &[String],
) -> Result<(), UpstreamError> {
    let context_tokens = options.context_tokens.ok_or(UpstreamError::NoContext)?;
    let socket = options.socket.with_file_name(SOCKET);
    let got = socket.as_os_str().len();
    if got > PATH_BYTES_MAX {
        return Err(UpstreamError::SocketPath { path: socket, got });
    }
    let command = filled(command, options, &socket, context_tokens)?;
    let known = UpstreamOptions {
        socket,
        dialect,
        context_tokens,
        streams: options.streams.unwrap_or(STREAMS),
        queue: options.queue,
        bounds: Bounds::default(),
    };
    let start = start.to_vec();
    run_beside(
        options,
        move || {
            Command::new("/proc/self/exe")
                .args(&start)
                .arg("--")
                .args(&command)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .map_err(UpstreamError::Start)
        },
        move |server| async move {
            watch(server)?;
            Ok(Upstream::ready(known).await)
        },
    )
}

/// Ends this process when the server ends.
fn watch(mut server: Child) -> Result<(), UpstreamError> {
    let watching = move || {
        let status = match server.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let error = UpstreamError::Died { status };
        eprintln!("{}: {error}", error.code());
        std::process::exit(EXIT_UPSTREAM);
    };
    std::thread::Builder::new()
        .name("server".into())
        .spawn(watching)
        .map(drop)
        .map_err(UpstreamError::Start)
}

/// Gives up what a server needs not (other processes, calling anybody) and becomes `command`. Returns only on failure, after one
/// line on stderr.
pub(crate) fn become_server(command: &[String]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("{}: {}", UpstreamError::NoCommand.code(), UpstreamError::NoCommand);
        return ExitCode::from(EXIT_NOT_STARTED);
    };
    let (code, text) = match isolation::one_process() {
        Err(error) => (error.code(), error.to_string()),
        Ok(()) => {
            let error = UpstreamError::Start(Command::new(program).args(arguments).exec());
            (error.code(), error.to_string())
        }
    };
    eprintln!("{code}: {text}");
    ExitCode::from(EXIT_NOT_STARTED)
}

fn filled(
    command: &[String],
    options: &EngineOptions,
    socket: &Path,
    context_tokens: usize,
) -> Result<Vec<String>, UpstreamError> {
    if command.first().is_none_or(String::is_empty) {
        return Err(UpstreamError::NoCommand);
    }
    let marks = [
        ("{model_dir}", options.model_dir.display().to_string()),
        ("{socket}", socket.display().to_string()),
        ("{context_tokens}", context_tokens.to_string()),
    ];
    let fill = |(index, argument): (usize, &String)| {
        let bare = marks
            .iter()
            .fold(argument.clone(), |text, (mark, _)| text.replace(mark, ""));
        if bare.contains(['{', '}']) {
            return Err(UpstreamError::Mark { index });
        }
        Ok(marks
            .iter()
            .fold(argument.clone(), |text, (mark, value)| text.replace(mark, value)))
    };
    command.iter().enumerate().map(fill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_replaced_and_others_refused() {
        let options = EngineOptions::new("/m", "/s/engine.sock");
        let fill = |command: &[&str]| {
            let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            filled(&command, &options, Path::new("/s/upstream.sock"), 64).map_err(|error| error.code())
        };
        assert_eq!(
            fill(&["p", "{model_dir}/model.gguf", "--host={socket}", "{context_tokens}"]).unwrap(),
            ["p", "/m/model.gguf", "--host=/s/upstream.sock", "64"]
        );
        assert_eq!(fill(&["p", "{models}"]), Err("engine.upstream_mark"));
        assert_eq!(fill(&["p", "socket}"]), Err("engine.upstream_mark"));
        assert_eq!(fill(&[]), Err("engine.upstream_command"));
        assert_eq!(fill(&[""]), Err("engine.upstream_command"));
    }
}
