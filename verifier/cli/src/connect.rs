//! `hanzo-verify connect`.

use std::time::Duration;

use hanzo_client::connect::{self, ConnectOptions};
use hanzo_client::{AttestedClient, StateDir};
use serde_json::json;

use crate::args::ConnectArgs;
use crate::error::CliError;
use crate::output::{Output, one_line, shown, to_stdout};
use crate::{render, runtime, trust};

/// How long answers under way may take to end after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &ConnectArgs, as_json: bool) -> Result<Output, CliError> {
    let options = ConnectOptions {
        hosts: args.hosts.clone(),
        token: args.token_file.as_deref().map(connect::read_token).transpose()?,
        ..ConnectOptions::default()
    };
    options.check(args.listen)?;
    let mut config = trust::client_config(&args.to, &args.trust)?;
    config.state_dir = Some(state_path(args.state.as_deref())?);
    let client = AttestedClient::new(config)?;
    runtime()?.block_on(async move {
        // The port first: a verdict for an endpoint that cannot be served helps nobody.
        let listener = connect::listen(args.listen).await?;
        let pinned = client.verdict().await?;
        let view = pinned.result().view();
        let address = listener.local_addr().unwrap_or(args.listen);
        if as_json {
            let greeting = json!({ "listening": format!("http://{address}/v1"), "verdict": view });
            to_stdout(&one_line(&greeting));
        } else {
            let verdict = shown(&render::verdict(&view, &format!("{} proven", view.transport)));
            to_stdout(&format!(
                "{verdict}\nOpenAI endpoint: http://{address}/v1   (status: http://{address}/hanzo/status; Ctrl-C stops)"
            ));
        }
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let serving = connect::serve(listener, client, options, async {
            let _ = told.await;
        });
        let stopping = async {
            interrupted().await;
            let _ = tell.send(());
            // Answers under way may end; a second signal or the deadline cuts them.
            let _ = tokio::time::timeout(DRAIN, interrupted()).await;
        };
        tokio::select! {
            served = serving => served?,
            () = stopping => {}
        }
        Ok(Output::text("stopped".into()))
    })
}

pub(crate) fn state_path(given: Option<&std::path::Path>) -> Result<std::path::PathBuf, CliError> {
    given
        .map(Into::into)
        .or_else(StateDir::default_path)
        .ok_or(CliError::NoState)
}

/// Resolves on Ctrl-C or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
