//! `hanzo up`: gets a model, seals it, starts every role, verifies, serves.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hanzo_attestation::{Anchors, Collateral, Digest256};
use hanzo_client::connect::{self, ConnectOptions};
use hanzo_client::{AttestedClient, ClientConfig, ClientError, Endpoint, Pinned, StateDir};
use hanzo_pqc::Dek;
use hanzo_verifier::VerifierContext;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::broker::{Broker, RunningBroker};
use crate::error::ApplianceError;
use crate::model::{self, Model};
use crate::paths::{self, Layout, private_dir};
use crate::plan::{self, Plan};
use crate::platform;
use crate::progress::Progress;
use crate::supervise::Role;

/// Time for a role that only opens files and ports.
const QUICK: Duration = Duration::from_secs(60);
/// Time for the guest: it opens its pack and loads its model.
const GUEST: Duration = Duration::from_secs(900);
/// Time to stop after SIGTERM.
const STOP: Duration = Duration::from_secs(10);
/// Tokens of prompt and answer together.
pub(crate) const CONTEXT_TOKENS: u32 = 2048;

/// Options of `hanzo up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Ask one question, print answer, receipt and verdict, and stop
    #[arg(long, value_name = "QUESTION")]
    ask: Option<String>,
    /// A GGUF file or a safetensors directory instead of SmolLM2-135M-Instruct
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Where to serve the OpenAI endpoint
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Where to keep state [default: $XDG_STATE_HOME/hanzo or ~/.local/state/hanzo]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where to keep models [default: $XDG_CACHE_HOME/hanzo or ~/.cache/hanzo]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: UpArgs) -> ExitCode {
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
    let as_json = args.json;
    match runtime.block_on(up(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stopped::Signal) => ExitCode::SUCCESS,
        Err(Stopped::Failed(error)) => {
            if as_json {
                println!("{}", json!({"error": {"message": error.to_string()}}));
            }
            eprintln!("hanzo: {error}");
            ExitCode::FAILURE
        }
        Err(Stopped::Refused(error)) => {
            if as_json {
                println!(
                    "{}",
                    json!({"error": {"message": error.to_string(), "code": error.code()}})
                );
            }
            eprintln!("hanzo: {error} [{}]", error.code());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Why `up` ended before its end.
enum Stopped {
    Signal,
    Failed(ApplianceError),
    Refused(ClientError),
}

impl From<ApplianceError> for Stopped {
    fn from(error: ApplianceError) -> Self {
        Self::Failed(error)
    }
}

/// Ctrl-C and SIGTERM, from the first moment on.
struct Interrupt(tokio::sync::watch::Receiver<bool>);

impl Interrupt {
    fn listen() -> Self {
        let (tell, told) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
                return std::future::pending().await;
            };
            tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
            // Nobody listens any more only when the program ends anyway.
            let _ = tell.send(true);
            tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
            std::process::exit(130);
        });
        Self(told)
    }

    async fn came(&self) {
        let mut told = self.0.clone();
        if told.wait_for(|t| *t).await.is_err() {
            std::future::pending().await
        }
    }
}

async fn up(args: UpArgs) -> Result<(), Stopped> {
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
    let mut parts = tokio::select! {
        parts = start(args.model.clone(), &layout, &cache) => parts?,
        () = interrupt.came() => return Err(Stopped::Signal),
    };
    let reach = parts.reach.clone();
    let outcome = tokio::select! {
        outcome = serve(&args, &layout, &reach, listener, &interrupt) => outcome,
        error = parts.any_stopped() => Err(Stopped::Failed(error)),
        () = interrupt.came() => Err(Stopped::Signal),
    };
    parts.stop().await;
    drop(lock);
    outcome
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

/// Everything that runs.
pub(crate) struct Parts {
    pub(crate) reach: Reach,
    kbs: Role,
    guest: Role,
    proxy: Role,
}

/// What the client side needs of it.
#[derive(Clone)]
pub(crate) struct Reach {
    /// Name for clients.
    pub(crate) model: String,
    /// The prepared model.
    pub(crate) model_dir: PathBuf,
    /// Where the proxy is.
    pub(crate) proxy_at: SocketAddr,
    /// What the client trusts and asks for.
    pub(crate) context: VerifierContext,
}

impl Reach {
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
            error = self.kbs.stopped() => error,
            error = self.guest.stopped() => error,
            error = self.proxy.stopped() => error,
        }
    }

    /// From the outside in, so that nothing is cut while it answers.
    pub(crate) async fn stop(self) {
        self.proxy.stop(STOP).await;
        self.guest.stop(STOP).await;
        self.kbs.stop(STOP).await;
    }
}

pub(crate) async fn start(own_model: Option<PathBuf>, layout: &Layout, cache: &Path) -> Result<Parts, ApplianceError> {
    let model = {
        let cache = cache.to_path_buf();
        off_thread(move || match own_model {
            Some(path) => model::own_model(&cache, &path),
            None => model::default_model(&cache),
        })
        .await?
    };
    fresh_run(layout)?;
    let (processor, image) = {
        let material = layout.simulator();
        off_thread(move || Ok((platform::processor(&material)?, platform::image_digest()?))).await?
    };
    platform::write_private(&layout.simulator_root(), processor.ark_der())?;

    // The model, sealed under a fresh key that goes to the broker and nowhere else.
    let dek = Dek::generate().map_err(|e| ApplianceError::Part(e.to_string()))?;
    let (dek, weights_root) = seal(&model, dek, layout).await?;
    let plan = Plan::new(&model.name, weights_root, CONTEXT_TOKENS)?;

    let broker = Broker::create(layout, processor.ark_der())?;
    let mut kbs = Role::start(
        "kbs",
        args_of([("--config", broker.config().as_os_str().into())]),
        &layout.logs(),
    )?;
    let kbs_at: SocketAddr = parse_ready("kbs", kbs.ready(QUICK).await?)?;
    let broker: RunningBroker = broker.running(kbs_at)?;

    let config = plan.config(broker.signer())?;
    let config_digest = Digest256::of(config.as_bytes());
    platform::write_private(&layout.config(), config.as_bytes())?;
    let policy = plan::appraisal(&image, config_digest)?;
    let text = policy.to_toml().map_err(|e| ApplianceError::Part(e.to_string()))?;
    platform::write_private(&layout.policy(), text.as_bytes())?;
    broker
        .put(
            &plan.model_key,
            &dek,
            &plan::key_policy(&policy, &plan.weights_root.to_string())?,
        )
        .await?;
    drop(dek);
    let store_dek = Dek::generate().map_err(|e| ApplianceError::Part(e.to_string()))?;
    broker
        .put(
            &plan.store_key,
            &store_dek,
            &plan::key_policy(&policy, plan.store.as_str())?,
        )
        .await?;
    drop(store_dek);

    let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0).to_string();
    let runtime_dir = runtime_dir(layout)?;
    let mut guest = Role::start(
        "guest",
        args_of([
            ("--simulator", layout.simulator().into()),
            ("--image-digest", image.to_string().into()),
            ("--config-digest", config_digest.to_string().into()),
            ("--config", layout.config().into()),
            ("--listen", loopback.clone().into()),
            ("--kbs", kbs_at.to_string().into()),
            ("--packs", layout.packs().into()),
            ("--store", layout.store().into()),
            ("--runtime-dir", runtime_dir.into()),
        ]),
        &layout.logs(),
    )?;
    let guest_at = {
        let _bar = Progress::spinner("the guest attests, opens its model and loads it".into());
        tokio::select! {
            at = guest.ready(GUEST) => at?,
            error = kbs.stopped() => return Err(error),
        }
    };
    let guest_at: SocketAddr = parse_ready("guest", guest_at)?;
    let mut proxy = Role::start(
        "proxy",
        args_of([("--listen", loopback.into()), ("--guest", guest_at.to_string().into())]),
        &layout.logs(),
    )?;
    let proxy_at = parse_ready("proxy", proxy.ready(QUICK).await?)?;
    let context = VerifierContext {
        anchors: Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec()),
        collateral: Collateral::default(),
        policy,
    };
    Ok(Parts {
        reach: Reach {
            model: model.name,
            model_dir: model.dir,
            proxy_at,
            context,
        },
        kbs,
        guest,
        proxy,
    })
}

/// A run starts from nothing: its broker, keys, packs and logs are its own.
fn fresh_run(layout: &Layout) -> Result<(), ApplianceError> {
    let run = layout.run();
    if run.exists() {
        fs::remove_dir_all(&run).map_err(ApplianceError::io("cannot remove", &run))?;
    }
    for dir in [&run, &layout.logs(), &layout.packs(), &layout.kbs()] {
        private_dir(dir)?;
    }
    Ok(())
}

/// In memory where the machine has `/dev/shm`, else beside the state.
fn runtime_dir(layout: &Layout) -> Result<PathBuf, ApplianceError> {
    let own = format!("hanzo-{}", std::process::id());
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() {
        shm.join(own)
    } else {
        layout.run().join("runtime")
    };
    private_dir(&dir)?;
    Ok(dir)
}

async fn seal(model: &Model, dek: Dek, layout: &Layout) -> Result<(Dek, Digest256), ApplianceError> {
    let (source, pack) = (model.dir.clone(), layout.packs().join(format!("{}.pack", model.name)));
    off_thread(move || {
        let bar = Progress::bytes("sealing the model");
        let sealed = hanzo_pack::seal(&source, &dek, &pack, &|at: hanzo_pack::Progress| {
            bar.at(at.done_bytes, at.total_bytes)
        })
        .map_err(|e| ApplianceError::Coded {
            text: e.to_string(),
            code: e.code(),
        })?;
        Ok((dek, sealed.weights_root))
    })
    .await
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApplianceError> + Send + 'static,
) -> Result<T, ApplianceError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| ApplianceError::Part(format!("a worker ended: {e}")))?
}

fn args_of<const N: usize>(pairs: [(&str, OsString); N]) -> Vec<OsString> {
    pairs
        .into_iter()
        .flat_map(|(flag, value)| [OsString::from(flag), value])
        .collect()
}

fn parse_ready(name: &'static str, said: String) -> Result<SocketAddr, ApplianceError> {
    said.parse()
        .map_err(|_| ApplianceError::Part(format!("{name} said that it listens on something that is no address")))
}

async fn serve(
    args: &UpArgs,
    layout: &Layout,
    reach: &Reach,
    listener: Option<tokio::net::TcpListener>,
    interrupt: &Interrupt,
) -> Result<(), Stopped> {
    let mut config = ClientConfig::new(reach.endpoint()?, reach.context.clone());
    config.state_dir = Some(layout.client());
    let client = AttestedClient::new(config).map_err(Stopped::Refused)?;
    let pinned = client.verdict().await.map_err(Stopped::Refused)?;
    let Some(listener) = listener else {
        let question = args.ask.as_deref().unwrap_or_default();
        return ask(args, layout, reach, &client, &pinned, question).await;
    };
    let at = listener
        .local_addr()
        .map_err(ApplianceError::io("cannot read the address of", "the endpoint"))?;
    greet(args, layout, reach, &pinned, at);
    let stop = {
        let told = Interrupt(interrupt.0.clone());
        async move { told.came().await }
    };
    connect::serve(listener, client, ConnectOptions::default(), stop)
        .await
        .map_err(|e| {
            Stopped::Failed(ApplianceError::Coded {
                text: e.to_string(),
                code: e.code(),
            })
        })
}

async fn ask(
    args: &UpArgs,
    layout: &Layout,
    reach: &Reach,
    client: &AttestedClient,
    pinned: &Arc<Pinned>,
    question: &str,
) -> Result<(), Stopped> {
    let request = json!({
        "model": reach.model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 256,
    });
    let answer = {
        let _bar = Progress::spinner("asking".into());
        client.chat_once(&request).await.map_err(Stopped::Refused)?
    };
    let id = answer.receipt_id.clone().unwrap_or_else(|| "none".into());
    let view = pinned.result().view();
    if args.json {
        println!(
            "{}",
            json!({"answer": answer.content, "receipt_id": id, "verdict": view})
        );
        return Ok(());
    }
    println!("{}\n", hanzo_verify::shown(&answer.content));
    print!(
        "{}",
        hanzo_verify::shown(&hanzo_verify::render_verdict(&view, &channel(&view.transport)))
    );
    println!("\nreceipt   {id}");
    println!("check it  hanzo-verify receipt {id}{}", state_flag(args, layout));
    Ok(())
}

fn channel(transport: &impl std::fmt::Display) -> String {
    format!("{transport} proven")
}

fn state_flag(args: &UpArgs, layout: &Layout) -> String {
    args.state
        .as_ref()
        .map_or_else(String::new, |_| format!(" --state {}", layout.state.display()))
}

fn greet(args: &UpArgs, layout: &Layout, reach: &Reach, pinned: &Arc<Pinned>, at: SocketAddr) {
    let view = pinned.result().view();
    let base = format!("http://{at}/v1");
    if args.json {
        println!(
            "{}",
            json!({"listening": base, "model": reach.model, "proxy": reach.proxy_at.to_string(), "verdict": view})
        );
        return;
    }
    print!(
        "{}",
        hanzo_verify::shown(&hanzo_verify::render_verdict(&view, &channel(&view.transport)))
    );
    let model = &reach.model;
    println!(
        r#"
OpenAI endpoint  {base}   (model {model}; Ctrl-C stops everything)

curl -sN {base}/chat/completions -H 'content-type: application/json' -d '{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"What is the capital of France?"}}]}}'

pip install openai
python3 - <<'EOF'
from openai import OpenAI
client = OpenAI(base_url="{base}", api_key="unused")
answer = client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "What is the capital of France?"}}])
print(answer.choices[0].message.content)
EOF

through the proxy at {proxy}, with the policy in {policy}:
hanzo-verify verify https://{proxy} --policy {policy} --simulator-root {root}"#,
        proxy = reach.proxy_at,
        policy = layout.policy().display(),
        root = layout.simulator_root().display(),
    );
}
