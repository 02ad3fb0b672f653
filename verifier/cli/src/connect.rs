//! `hanzo-verify connect`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hanzo_client::connect::{self, ConnectOptions};
use hanzo_client::{AttestedClient, Client, RequestSigner, SealedClient, StateDir};
use serde_json::json;

use crate::args::ConnectArgs;
use crate::error::CliError;
use crate::output::{Output, one_line, shown, to_stdout};
use crate::{render, runtime, trust};

fn signer(args: &ConnectArgs) -> Result<Option<Arc<RequestSigner>>, CliError> {
    let read = args.request_key_file.as_deref().map(connect::read_request_key);
    Ok(read.transpose()?.map(Arc::new))
}

/// The file, once there is a token in it: a mistake shows at the start.
fn access_token_file(args: &ConnectArgs) -> Result<Option<PathBuf>, CliError> {
    let file = args.access_token_file.as_deref();
    file.map(connect::read_access_token).transpose()?;
    Ok(file.map(Path::to_owned))
}

/// How long answers under way may take to end after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &ConnectArgs, as_json: bool) -> Result<Output, CliError> {
    let options = ConnectOptions {
        hosts: args.hosts.clone(),
        request_signer: signer(args)?,
        api_key: args.api_key_file.as_deref().map(connect::read_api_key).transpose()?,
        access_token_file: access_token_file(args)?,
        token: args.token_file.as_deref().map(connect::read_token).transpose()?,
        ..ConnectOptions::default()
    };
    options.check(args.listen)?;
    let client = client(args)?;
    runtime()?.block_on(async move {
        // The port first: a verdict for an endpoint that cannot be served helps nobody.
        let listener = connect::listen(args.listen).await?;
        let pinned = client.verdict().await?;
        let view = pinned.result().view();
        let address = listener.local_addr().unwrap_or(args.listen);
        if as_json {
            let greeting = json!({
                "listening": format!("http://{address}/v1"),
                "status": format!("http://{address}/"),
                "verdict": view,
            });
            to_stdout(&one_line(&greeting));
        } else {
            let way = match client.way() {
                "sealed" => "sealed messages (OHTTP, X-Wing) to a key of this keyset".to_owned(),
                _ => format!("{} proven", view.transport),
            };
            let verdict = shown(&render::verdict(&view, &way));
            to_stdout(&format!(
                "{verdict}\nOpenAI endpoint: http://{address}/v1   (status: http://{address}/ ; Ctrl-C stops)"
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

/// A client, whichever way it goes.
fn client(args: &ConnectArgs) -> Result<Client, CliError> {
    let state_dir = Some(state_path(args.state.as_deref())?);
    if args.sealed {
        let mut config = trust::sealed_config(&args.to, args.relay.as_deref(), &args.trust)?;
        config.state_dir = state_dir;
        config.padding = args.padding;
        return Ok(SealedClient::new(config)?.into());
    }
    let mut config = trust::client_config(&args.to, &args.trust)?;
    config.state_dir = state_dir;
    config.padding = args.padding;
    Ok(AttestedClient::new(config)?.into())
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
