//! `hanzo up`: gets a model, seals it, starts every role, verifies, serves.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hanzo_attestation::Digest256;
use hanzo_attestation::config::Aci;
use hanzo_attestation::name::Name;
use hanzo_client::connect::{self, ConnectOptions};
use hanzo_client::{
    AttestedClient, CHAT_PATH, ChannelRequest, ClientConfig, ClientError, Endpoint, Pinned, ReceiptStatus, StateDir,
};
use hanzo_verifier::VerifierContext;
use serde_json::json;

use crate::adapters::AdapterArg;
use crate::callers::{self, Callers};
use crate::computes::EngineChoice;
use crate::error::ApplianceError;
use crate::interrupt::{Interrupt, SIGNALLED};
use crate::model::Model;
use crate::models::{self, Sealed, Wanted};
use crate::paths::{self, Layout, private_dir};
use crate::progress::Progress;
use crate::runtime::RuntimeFolder;
use crate::say;
use crate::start::{Asked, start};
use crate::supervise::Role;
use crate::vm::{self, VmArgs};

/// Time for a role that only opens files and ports.
pub(crate) const QUICK: Duration = Duration::from_secs(60);
/// Time for the guest: it opens its pack and loads its model.
pub(crate) const GUEST: Duration = Duration::from_secs(900);
/// Time to stop after SIGTERM.
const STOP: Duration = Duration::from_secs(10);
/// Time for answers under way to end after a signal.
const DRAIN: Duration = Duration::from_secs(3);
/// Time for threads that wait for other programs to stop those.
const WORKERS: Duration = Duration::from_secs(1);
const ADAPTERS: &str = "Adapters and callers";
const EXAMPLES: &str = "\
Examples:
  hanzo up
  hanzo up --ask \"What is the capital of France?\"
  hanzo up --model ./my-model.gguf --listen 127.0.0.1:9000
  hanzo up --models ./models --idle-s 300
  hanzo up --model ./base.gguf --adapter support=./support-lora.gguf
  hanzo up --model ./base.gguf --adapter support=./lora.gguf:0.5@acme --adapter legal=./delta@beta,gamma
  hanzo up --models ./models --adapter smollm2/support=./support-lora.gguf
  hanzo up --caller acme --caller beta
  hanzo up --aci
  hanzo up --server ./llama.cpp/llama-server --model ./my-model.gguf
  hanzo up --vm --ask \"What is the capital of France?\"

Adapters: LoRA files as llama.cpp's convert_lora_to_gguf.py makes them of PEFT directories, and deltas of
`hanzo model delta make`. Clients ask an adapter by its NAME, as they ask a model. BASE/ is needed where
several models are served. An adapter without @CALLER is every caller's. Images (--vm) take deltas alone.

Callers: where one is named, every request needs a key (`Authorization: Bearer …`), which is in
STATE/up/callers/CALLER.key.";

/// Options of `hanzo up`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpArgs {
    /// Ask one question, print answer, receipt and verdict, and stop
    #[arg(long, value_name = "QUESTION")]
    ask: Option<String>,
    /// A GGUF file or a safetensors directory instead of SmolLM2-135M-Instruct
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Serve every GGUF file and model directory of this folder, each by its name
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    models: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Engine")]
    engine: EngineChoice,
    /// Serve every answer's receipt in the format of ACI gateways (aci/1) too: weaker, and for programs that speak nothing else
    #[arg(long, conflicts_with = "vm")]
    aci: bool,
    /// Serve a LoRA file or a BitDelta delta on a model as NAME, sealed apart and in a process of its own, to its callers alone; repeated
    #[arg(long, value_name = "[BASE/]NAME=FILE[:SCALE][@CALLER,…]", help_heading = ADAPTERS)]
    adapter: Vec<AdapterArg>,
    /// Serve only whoever shows an API key, of this caller; repeated. Keys are drawn once and kept in the state folder
    #[arg(long, value_name = "CALLER", value_parser = caller, help_heading = ADAPTERS)]
    caller: Vec<Name>,
    /// Start engines at the first question, and end each after N idle seconds
    #[arg(long, value_name = "N", conflicts_with = "ask", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle_s: Option<u64>,
    /// Where to serve the OpenAI endpoint
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Where to keep state [default: $XDG_STATE_HOME/hanzo or ~/.local/state/hanzo]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where to keep models [default: $XDG_CACHE_HOME/hanzo or ~/.cache/hanzo]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Longest answer to --ask, in tokens
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    max_tokens: u32,
    #[command(flatten, next_help_heading = "In a measured machine")]
    vm: VmArgs,
}

/// Runs it.
pub(crate) fn run(args: UpArgs, as_json: bool) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_max_level(tracing::Level::WARN)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hanzo: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(up(args, as_json));
    // Work that a signal made needless is hardly waited for; it writes to staging files, which the next start removes.
    runtime.shutdown_timeout(WORKERS);
    let (message, code, exit) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Stopped::Signal) => return ExitCode::from(SIGNALLED),
        Err(Stopped::Failed(error)) => (error.to_string(), error.code(), 1),
        Err(Stopped::Refused(error)) => (
            format!("{error} [{}]", error.code()),
            Some(error.code()),
            error.exit_code(),
        ),
        Err(Stopped::Receipt { code, text }) => (format!("{text} [{code}]"), Some(code), 30),
    };
    if as_json {
        say::out(&format!("{}\n", json!({"error": {"message": message, "code": code}})));
    }
    eprintln!("hanzo: {}", hanzo_verify::shown(&message));
    ExitCode::from(exit)
}

/// Why `up` ended before its end.
enum Stopped {
    Signal,
    Failed(ApplianceError),
    Refused(ClientError),
    /// The answer came, and its receipt is wrong or missing.
    Receipt {
        code: &'static str,
        text: String,
    },
}

impl From<ApplianceError> for Stopped {
    fn from(error: ApplianceError) -> Self {
        Self::Failed(error)
    }
}

async fn up(args: UpArgs, as_json: bool) -> Result<(), Stopped> {
    let interrupt = Interrupt::listen();
    let cache = args.cache.clone().map_or_else(paths::default_cache, Ok)?;
    let state = args.state.clone().map_or_else(paths::default_state, Ok)?;
    // Asked now, because the client would refuse a folder that others can read only after everything was started.
    StateDir::open(&state).map_err(|e| ApplianceError::Coded {
        text: e.to_string(),
        code: e.code(),
    })?;
    private_dir(&state.join("up"))?;
    let layout = Layout { state };
    let lock = lock(&layout)?;
    // The port first: nothing should be fetched or loaded for an endpoint that cannot be served.
    let listener = match &args.ask {
        Some(_) => None,
        None => Some(connect::listen(args.listen).await.map_err(|e| ApplianceError::Coded {
            text: e.to_string(),
            code: e.code(),
        })?),
    };
    if listener.is_some() {
        ConnectOptions::default()
            .check(args.listen)
            .map_err(|_| ApplianceError::Exposed { address: args.listen })?;
    }
    let mut parts = Parts::default();
    let outcome = start_and_serve(&args, as_json, &layout, &cache, listener, &interrupt, &mut parts).await;
    parts.stop().await;
    drop(lock);
    outcome
}

async fn start_and_serve(
    args: &UpArgs,
    as_json: bool,
    layout: &Layout,
    cache: &Path,
    listener: Option<tokio::net::TcpListener>,
    interrupt: &Interrupt,
    parts: &mut Parts,
) -> Result<(), Stopped> {
    let reach = tokio::select! {
        reach = start_either(args, layout, cache, parts) => reach?,
        () = interrupt.came() => return Err(Stopped::Signal),
    };
    let view = View {
        args,
        as_json,
        layout,
        cache,
    };
    tokio::select! {
        outcome = serve(&view, &reach, listener, interrupt) => outcome,
        error = parts.any_stopped() => Err(Stopped::Failed(error)),
    }
}

async fn start_either(
    args: &UpArgs,
    layout: &Layout,
    cache: &Path,
    parts: &mut Parts,
) -> Result<Reach, ApplianceError> {
    let wanted = Wanted::of(args.model.clone(), args.models.clone());
    let computes = args.engine.computes()?;
    let asked = Asked {
        aci: if args.aci { Aci::On } else { Aci::Off },
        adapters: args.adapter.clone(),
        callers: args.caller.clone(),
        idle_s: args.idle_s,
        ..Asked::plain(wanted, computes.in_image(args.vm.vm))
    };
    match args.vm.vm {
        true => vm::start(args.vm.clone(), asked, layout, cache, parts).await,
        false => start(asked, layout, cache, parts).await,
    }
}

fn caller(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

/// Held for the life of the process; the kernel frees it whatever happens.
fn lock(layout: &Layout) -> Result<fs::File, ApplianceError> {
    use std::io::{Read as _, Write as _};
    let path = layout.lock();
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(ApplianceError::io("cannot open", &path))?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        // Only for the message.
        let _ = file.read_to_string(&mut pid);
        return Err(ApplianceError::Running {
            pid: pid.trim().to_owned(),
            path: layout.state.clone(),
        });
    }
    file.set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(ApplianceError::io("cannot write", &path))?;
    Ok(file)
}

/// Everything that runs. Whatever was started is stopped, however far the start came.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) kbs: Option<Role>,
    pub(crate) guest: Option<Role>,
    pub(crate) proxy: Option<Role>,
    pub(crate) folder: Option<RuntimeFolder>,
}

/// What the client side needs of it.
pub(crate) struct Reach {
    /// Name for clients.
    pub(crate) model: String,
    /// Names of all models, this one's among them.
    pub(crate) models: Vec<String>,
    /// The prepared model.
    pub(crate) model_dir: PathBuf,
    /// Where the proxy is.
    pub(crate) proxy_at: SocketAddr,
    /// What the client trusts and asks for.
    pub(crate) context: VerifierContext,
    /// The software TPM's key, if the guest has one.
    pub(crate) tpm_key: Option<Digest256>,
    /// What `--adapter` added, by name.
    pub(crate) adapters: Vec<ReachAdapter>,
    /// Who may ask, where callers are told apart.
    pub(crate) callers: Option<Callers>,
}

/// An adapter that is served.
pub(crate) struct ReachAdapter {
    /// Name for clients.
    pub(crate) name: String,
    /// The model that it goes on.
    pub(crate) base: String,
    /// Whose it is; everybody's where that is empty.
    pub(crate) callers: Vec<Name>,
}

impl Reach {
    /// The key file of a caller who may ask [`Self::model`].
    pub(crate) fn key_file(&self) -> Option<&Path> {
        let callers = self.callers.as_ref()?;
        let adapter = self.adapters.iter().find(|adapter| adapter.name == self.model);
        match adapter.and_then(|adapter| adapter.callers.first()) {
            Some(name) => callers.file(name),
            None => callers.files.first().map(|(_, file)| file.as_path()),
        }
    }

    /// The proxy, for a client.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, ApplianceError> {
        let parsed = self.proxy_at.to_string().parse();
        parsed.map_err(|e: ClientError| ApplianceError::Coded {
            text: e.to_string(),
            code: e.code(),
        })
    }
}

impl Parts {
    async fn any_stopped(&mut self) -> ApplianceError {
        tokio::select! {
            error = ended(&mut self.kbs) => error,
            error = ended(&mut self.guest) => error,
            error = ended(&mut self.proxy) => error,
        }
    }

    /// From the outside in, so that nothing is cut while it answers.
    pub(crate) async fn stop(self) {
        for role in [self.proxy, self.guest, self.kbs].into_iter().flatten() {
            role.stop(STOP).await;
        }
        drop(self.folder);
    }
}

async fn ended(role: &mut Option<Role>) -> ApplianceError {
    match role {
        Some(role) => role.stopped().await,
        None => std::future::pending().await,
    }
}

/// Any free port of it.
pub(crate) fn loopback() -> String {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0).to_string()
}

/// The models that were asked for.
pub(crate) async fn get_models(wanted: Wanted, cache: &Path) -> Result<Vec<Model>, ApplianceError> {
    let cache = cache.to_path_buf();
    off_thread(move || models::get(&wanted, &cache)).await
}

/// The one that examples name.
pub(crate) fn first(models: Vec<Model>) -> Result<Model, ApplianceError> {
    let first = models.into_iter().next();
    first.ok_or_else(|| ApplianceError::Part("no model".into()))
}

/// A run starts from nothing: its broker, keys, packs and logs are its own.
pub(crate) fn fresh_run(layout: &Layout) -> Result<(), ApplianceError> {
    let run = layout.run();
    if run.exists() {
        fs::remove_dir_all(&run).map_err(ApplianceError::io("cannot remove", &run))?;
    }
    for dir in [&run, &layout.logs(), &layout.packs(), &layout.kbs()] {
        private_dir(dir)?;
    }
    Ok(())
}

/// Seals them; they and what came of each, in one order.
pub(crate) async fn seal(models: Vec<Model>, layout: &Layout) -> Result<(Vec<Model>, Vec<Sealed>), ApplianceError> {
    let layout = Layout {
        state: layout.state.clone(),
    };
    off_thread(move || models::seal(&models, &layout).map(|sealed| (models, sealed))).await
}

pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApplianceError> + Send + 'static,
) -> Result<T, ApplianceError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| ApplianceError::Part(format!("a worker ended: {e}")))?
}

pub(crate) fn args_of<const N: usize>(pairs: [(&str, OsString); N]) -> Vec<OsString> {
    pairs
        .into_iter()
        .flat_map(|(flag, value)| [OsString::from(flag), value])
        .collect()
}

pub(crate) fn parse_ready(name: &'static str, said: String) -> Result<SocketAddr, ApplianceError> {
    said.parse()
        .map_err(|_| ApplianceError::Part(format!("{name} said that it listens on something that is no address")))
}

/// What is asked for and where things are.
struct View<'a> {
    args: &'a UpArgs,
    as_json: bool,
    layout: &'a Layout,
    cache: &'a Path,
}

async fn serve(
    view: &View<'_>,
    reach: &Reach,
    listener: Option<tokio::net::TcpListener>,
    interrupt: &Interrupt,
) -> Result<(), Stopped> {
    let mut config = ClientConfig::new(reach.endpoint()?, reach.context.clone());
    config.state_dir = Some(view.layout.client());
    if reach.tpm_key.is_some() {
        vm::be_patient(&mut config);
    }
    let client = AttestedClient::new(config).map_err(Stopped::Refused)?;
    let pinned = tokio::select! {
        pinned = client.verdict() => pinned.map_err(Stopped::Refused)?,
        () = interrupt.came() => return Err(Stopped::Signal),
    };
    if let Some(callers) = &reach.callers {
        tokio::select! {
            handed = hand_over(&client, callers) => handed?,
            () = interrupt.came() => return Err(Stopped::Signal),
        }
    }
    let Some(listener) = listener else {
        let question = view.args.ask.as_deref().unwrap_or_default();
        return tokio::select! {
            asked = ask(view, reach, &client, &pinned, question) => asked,
            () = interrupt.came() => Err(Stopped::Signal),
        };
    };
    let at = listener
        .local_addr()
        .map_err(ApplianceError::io("cannot read the address of", "the endpoint"))?;
    greet(view, reach, &pinned, at);
    let told = interrupt.clone();
    let stop = async move { told.came().await };
    let cut = async {
        interrupt.came().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = connect::serve(listener, client, ConnectOptions::default(), stop) => served.map_err(|e| {
            Stopped::Failed(ApplianceError::Coded {
                text: e.to_string(),
                code: e.code(),
            })
        }),
        () = cut => Ok(()),
    }
}

/// The guest lets nobody in before it has the table of callers.
async fn hand_over(client: &AttestedClient, callers: &Callers) -> Result<(), Stopped> {
    let request = ChannelRequest::new(hyper::Method::PUT, "/v1/callers", callers.table.clone().into())
        .with_content_type(hyper::header::HeaderValue::from_static("application/json"));
    let answer = client.exchange(request).await.map_err(Stopped::Refused)?;
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(Stopped::Failed(ApplianceError::Part(format!(
            "the guest did not take the table of callers: {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        )))),
    }
}

async fn ask(
    view: &View<'_>,
    reach: &Reach,
    client: &AttestedClient,
    pinned: &Arc<Pinned>,
    question: &str,
) -> Result<(), Stopped> {
    let request = json!({
        "model": reach.model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": view.args.max_tokens,
    });
    let mut request = ChannelRequest::post_json(CHAT_PATH, request.to_string().into());
    if let Some(file) = reach.key_file() {
        request = request.with_api_key(&callers::read(file)?);
    }
    let answer = {
        let _bar = Progress::spinner("asking".into());
        client.chat(request).await.map_err(Stopped::Refused)?
    };
    let id = match answer.receipt {
        ReceiptStatus::Verified { id, .. } => id.to_string(),
        ReceiptStatus::Mismatch { code, text } => return Err(Stopped::Receipt { code, text }),
        ReceiptStatus::Missing { text } => {
            return Err(Stopped::Receipt {
                code: "receipt.missing",
                text: format!("the answer is withheld, because it has no receipt: {text}"),
            });
        }
    };
    let verdict = pinned.result().view();
    if view.as_json {
        let document = json!({"answer": answer.content, "model": reach.model, "receipt_id": id, "verdict": verdict});
        say::out(&format!("{document}\n"));
        return Ok(());
    }
    let state = view.args.state.as_ref().map(|_| view.layout.state.as_path());
    say::out(&format!(
        "{}\n\n{}{}\nreceipt   {id} (verified)\ncheck it  {}\n",
        hanzo_verify::shown(&answer.content),
        say::verdict(&verdict),
        caution(reach),
        say::check_receipt(&id, state)
    ));
    Ok(())
}

fn greet(view: &View<'_>, reach: &Reach, pinned: &Arc<Pinned>, at: SocketAddr) {
    let verdict = pinned.result().view();
    let base = format!("http://{at}/v1");
    if view.as_json {
        let document = json!({
            "listening": base,
            "model": reach.model,
            "models": reach.models,
            "adapters": reach.adapters.iter().map(|adapter| {
                json!({"name": adapter.name, "base": adapter.base, "callers": adapter.callers})
            }).collect::<Vec<_>>(),
            "callers": reach.callers.as_ref().map(|callers| {
                callers.files.iter().map(|(name, file)| json!({"name": name, "key_file": file})).collect::<Vec<_>>()
            }),
            "proxy": reach.proxy_at.to_string(),
            "policy": view.layout.policy(),
            "simulator_root": reach.tpm_key.is_none().then(|| view.layout.simulator_root()),
            "tpm_ak": reach.tpm_key,
            "verdict": verdict,
        });
        say::out(&format!("{document}\n"));
        return;
    }
    let how = say::how_to(&base, reach, view.layout, view.cache);
    say::out(&format!("{}{}{how}", say::verdict(&verdict), caution(reach)));
}

fn caution(reach: &Reach) -> String {
    reach.tpm_key.as_ref().map(vm::caution).unwrap_or_default()
}
