//! List, then watch: the API's way to hold a copy of some objects (Kubernetes API concepts, "Efficient detection of changes").

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::api::{Api, ApiServer, answer};
use crate::error::DiscoverError;
use crate::publish::Known;
use crate::slices::{EndpointSlice, List, Meta, Port, Slices};

/// The server ends a watch after this long and it is begun anew where it was; so a dead connection is not believed for longer.
const WATCH_S: u64 = 60;
/// How much later the end may come.
const LATE: Duration = Duration::from_secs(15);
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// One service.
#[derive(Debug, Clone)]
pub struct Service {
    namespace: String,
    name: String,
    port: Port,
}

impl Service {
    /// Names are DNS labels, as the API demands: they become parts of a path.
    ///
    /// # Errors
    /// [`DiscoverError::Option`].
    pub fn new(namespace: &str, name: &str, port: Port) -> Result<Self, DiscoverError> {
        for (field, value) in [("namespace", namespace), ("service", name)] {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if !(1..=63).contains(&value.len()) || !value.bytes().all(plain) {
                return Err(DiscoverError::Option {
                    field,
                    expected: "1 to 63 characters of a-z 0-9 -",
                    got: value.chars().take(80).collect(),
                });
            }
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            port,
        })
    }

    fn path(&self) -> String {
        format!(
            "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{}",
            self.namespace, self.name
        )
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct OnlyMeta {
    metadata: Meta,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

/// Keeps `known` to what the API server says, until dropped. While it says nothing, nothing is known.
pub async fn follow(server: &ApiServer, service: &Service, known: &watch::Sender<Known>) {
    let mut pause = PAUSE_MIN;
    loop {
        let began = std::time::Instant::now();
        let ended = session(server, service, known).await;
        if began.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        match ended {
            // What was listed stays true until it is listed anew, at once.
            Err(DiscoverError::Gone) => info!("the version read last is gone; listing again"),
            Err(error) => {
                warn!(%error, code = error.code(), "endpoints are not known");
                known.send_replace(None);
            }
            Ok(never) => match never {},
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn session(
    server: &ApiServer,
    service: &Service,
    known: &watch::Sender<Known>,
) -> Result<std::convert::Infallible, DiscoverError> {
    let mut api = Api::connect(server).await?;
    let listed = api.get("list", &service.path()).await?;
    let list: List = serde_json::from_slice(&listed).map_err(|e| answer("list", &e))?;
    if list.metadata.rest.is_some_and(|r| !r.is_empty()) {
        return Err(answer("list", &"a part where the whole was asked for"));
    }
    let mut slices = Slices::default();
    for slice in list.items {
        slices.put(slice, &service.port)?;
    }
    let mut version = list.metadata.resource_version;
    tell(known, &slices);
    loop {
        watch(&mut api, service, &mut version, &mut slices, known).await?;
    }
}

/// One watch, to its orderly end.
async fn watch(
    api: &mut Api,
    service: &Service,
    version: &mut String,
    slices: &mut Slices,
    known: &watch::Sender<Known>,
) -> Result<(), DiscoverError> {
    const WHAT: &str = "watch";
    let is_plain = |v: &str| (1..=64).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_plain(version) {
        return Err(answer(WHAT, &"a resource version that cannot be asked for"));
    }
    let path = format!(
        "{}&watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_S}&resourceVersion={version}",
        service.path()
    );
    let limit = Duration::from_secs(WATCH_S) + LATE;
    let mut lines = api.lines(WHAT, &path).await?;
    while let Some(line) = lines.next(limit).await? {
        let malformed = |e: serde_json::Error| answer(WHAT, &e);
        let event: Event<'_> = serde_json::from_slice(&line).map_err(malformed)?;
        let object = event.object.get();
        match event.r#type.as_str() {
            "ADDED" | "MODIFIED" => {
                let slice: EndpointSlice = serde_json::from_str(object).map_err(malformed)?;
                version.clone_from(&slice.metadata.resource_version);
                slices.put(slice, &service.port)?;
                tell(known, slices);
            }
            "DELETED" => {
                let gone: OnlyMeta = serde_json::from_str(object).map_err(malformed)?;
                slices.remove(&gone.metadata.name);
                *version = gone.metadata.resource_version;
                tell(known, slices);
            }
            "BOOKMARK" => {
                let mark: OnlyMeta = serde_json::from_str(object).map_err(malformed)?;
                *version = mark.metadata.resource_version;
            }
            "ERROR" => {
                let status: Status = serde_json::from_str(object).map_err(malformed)?;
                return Err(match status.code {
                    410 => DiscoverError::Gone,
                    status => DiscoverError::Status { what: WHAT, status },
                });
            }
            other => return Err(answer(WHAT, &format!("an event of type {other:?}"))),
        }
    }
    Ok(())
}

fn tell(known: &watch::Sender<Known>, slices: &Slices) {
    let guests = slices.guests();
    known.send_if_modified(|before| {
        let is_new = before.as_ref() != Some(&guests);
        if is_new {
            info!(ready = guests.len(), "endpoints changed");
            *before = Some(guests);
        }
        is_new
    });
}
