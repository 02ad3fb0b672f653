//! Resource policies and reference values put by CoCo's client: for one tenant each, never for all.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hanzo_attestation::foreign::json_without_duplicates;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest384, Nonce};
use hanzo_pqc::random;
use hanzo_store::{StoreError, Tx};
use hanzo_vault::{ReferenceError, check_reference};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::bearer::{Admin, BearerRefusal};
use crate::KbsError;
use crate::admin::{self, Action, AdminRefusal, AdminRequest, Change};
use crate::audit::{self, Line};
use crate::broker::{Broker, now};
use crate::tenant::{self, Document};

/// The one version of RVPS messages.
const MESSAGE_VERSION: &str = "0.1.0";

/// Why a tenant's document was not changed or shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentRefusal {
    #[error(transparent)]
    Bearer(#[from] BearerRefusal),
    #[error(
        "tenant: this admin's role covers every tenant, and the call is about one: name it, as in /kbs/v0/resource-policy?tenant=acme (the first part of its resources' names); or use the token of an admin of that tenant"
    )]
    Unnamed,
    #[error("tenant: expected a repository's name, [a-z0-9._-]{{1,64}}")]
    TenantName,
    #[error("query: expected nothing but tenant=<repository>, once")]
    Query,
    #[error("{what}: expected {expected}")]
    Shape { what: &'static str, expected: &'static str },
    #[error("version: expected 0.1.0, got {got}: messages of other versions are not read")]
    Version { got: String },
    #[error(
        "type: expected sample (the payload is base64 of a JSON object of names and values), got {got}: extract the values and send them so"
    )]
    Type { got: String },
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Admin(#[from] AdminRefusal),
    #[error(
        "nothing has changed yet: this change may let through what is refused now, so a second admin must approve it within 24 h: `hanzo-kbs approve` with proposal {id}"
    )]
    Waits { id: Digest384 },
    #[error("there is none of this tenant: {what}")]
    None { what: String },
    #[error(transparent)]
    Broker(#[from] KbsError),
}

impl From<StoreError> for DocumentRefusal {
    fn from(e: StoreError) -> Self {
        Self::Broker(e.into())
    }
}

impl DocumentRefusal {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Bearer(e) => e.code(),
            Self::Unnamed => "kbs.tenant.unnamed",
            Self::TenantName => "kbs.tenant.name",
            Self::Query => "kbs.query",
            Self::Shape { .. } => "kbs.body.malformed",
            Self::Version { .. } => "kbs.reference.version",
            Self::Type { .. } => "kbs.reference.type",
            Self::Reference(e) => e.code(),
            Self::Admin(e) => e.code(),
            Self::Waits { .. } => "kbs.proposal.waits",
            Self::None { .. } => "kbs.document.unknown",
            Self::Broker(_) => "kbs.internal",
        }
    }
}

/// The tenant that a request is about: the one that its query names, or the one tenant that the admin has.
///
/// # Errors
/// [`DocumentRefusal`]: more than one, none, or another's.
pub(crate) fn tenant_of(admin: &Admin<'_>, query: Option<&str>) -> Result<Name, DocumentRefusal> {
    let named = match query.filter(|q| !q.is_empty()) {
        None => None,
        Some(query) => {
            let name = query.strip_prefix("tenant=").ok_or(DocumentRefusal::Query)?;
            if name.contains('&') {
                return Err(DocumentRefusal::Query);
            }
            Some(Name::new(name).map_err(|_| DocumentRefusal::TenantName)?)
        }
    };
    let tenant = named.or_else(|| admin.pinned.tenant.clone());
    let tenant = tenant.ok_or(DocumentRefusal::Unnamed)?;
    admin.may_change(&tenant)?;
    Ok(tenant)
}

/// Reads `{"policy": <the module, base64url without padding>}`.
///
/// # Errors
/// [`DocumentRefusal::Shape`]. Whether it is Rego is asked when it is stored.
pub(crate) fn read_policy(body: &[u8]) -> Result<String, DocumentRefusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        policy: String,
    }
    let body: Body = read(body, "an object with the member `policy` alone")?;
    let wrong = DocumentRefusal::Shape {
        what: "policy",
        expected: "a Rego module (UTF-8) in base64url without padding",
    };
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(&body.policy) else {
        return Err(wrong);
    };
    String::from_utf8(bytes).map_err(|_| wrong)
}

/// Reads an RVPS message.
///
/// # Errors
/// [`DocumentRefusal`]: another version or type by its name.
pub(crate) fn read_values(body: &[u8]) -> Result<Map<String, Value>, DocumentRefusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Message {
        version: String,
        payload: String,
        r#type: String,
    }
    let message: Message = read(body, "an object with the members `version`, `type` and `payload`")?;
    if message.version != MESSAGE_VERSION {
        return Err(DocumentRefusal::Version {
            got: short(&message.version),
        });
    }
    if message.r#type != "sample" {
        return Err(DocumentRefusal::Type {
            got: short(&message.r#type),
        });
    }
    let payload = STANDARD.decode(&message.payload).map_err(|_| DocumentRefusal::Shape {
        what: "payload",
        expected: "standard base64 with padding",
    })?;
    Ok(check_reference(&payload)?.0)
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8], expected: &'static str) -> Result<T, DocumentRefusal> {
    let wrong = || DocumentRefusal::Shape { what: "body", expected };
    let value = json_without_duplicates(body).map_err(|_| wrong())?;
    serde_json::from_value(value).map_err(|_| wrong())
}

/// A name out of a request, for a text.
fn short(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic()).take(32).collect()
}

/// Stores a resource policy as the tenant's next. It is on the disk when this returns.
///
/// # Errors
/// [`DocumentRefusal`]; [`DocumentRefusal::Waits`] if a second admin must approve it.
pub(crate) fn put_policy(broker: &Broker, admin: &Admin<'_>, tenant: &Name, text: &str) -> Result<(), DocumentRefusal> {
    put(
        broker,
        admin,
        tenant,
        &Document::ResourcePolicy,
        |_| Ok(text.to_owned()),
    )
}

/// Sets reference values by name and leaves the tenant's others as they are. It is on the disk when this returns.
///
/// # Errors
/// As [`put_policy`].
pub(crate) fn put_values(
    broker: &Broker,
    admin: &Admin<'_>,
    tenant: &Name,
    values: Map<String, Value>,
) -> Result<(), DocumentRefusal> {
    put(broker, admin, tenant, &Document::ReferenceValues, |before| {
        let mut all = match before {
            Some(text) => check_reference(text.as_bytes())?.0,
            None => Map::new(),
        };
        all.extend(values);
        let all = Value::Object(all).to_string();
        Ok(check_reference(all.as_bytes())?.1)
    })
}

/// The newest text of a document, if the tenant has one.
pub(crate) fn get(
    broker: &Broker,
    tenant: &Name,
    document: &Document,
) -> Result<Option<tenant::Stored>, DocumentRefusal> {
    Ok(broker.db.read(|tx| tenant::newest(tx, tenant, document))?)
}

fn put(
    broker: &Broker,
    admin: &Admin<'_>,
    tenant: &Name,
    document: &Document,
    next: impl FnOnce(Option<&str>) -> Result<String, DocumentRefusal>,
) -> Result<(), DocumentRefusal> {
    let four_eyes = broker.lives.now().admins.four_eyes;
    let (waits, head, line) = broker.db.write(|tx| {
        let before = tenant::newest(tx, tenant, document)?;
        let text = next(before.as_ref().map(|stored| stored.text.as_str()))?;
        let version = before.map_or(1, |stored| stored.version.saturating_add(1));
        let request = request(broker, admin, tenant, document, version, text)?;
        carry_out(tx, broker, &request, four_eyes)
    })?;
    broker.record(head, &line)?;
    match waits {
        Some(id) => Err(DocumentRefusal::Waits { id }),
        None => Ok(()),
    }
}

type Carried = (Option<Digest384>, crate::head::Head, String);

/// The change, or the proposal of it, with its line in the same transaction.
fn carry_out(
    tx: &Tx<'_>,
    broker: &Broker,
    request: &AdminRequest,
    four_eyes: bool,
) -> Result<Carried, DocumentRefusal> {
    let change = Change::of(broker, tx, request)?;
    let mut line = Line::of(request.action.name(), request.admin, request.issued_at);
    if let Some((key_id, version)) = request.action.changes() {
        (line.key_id, line.key_version) = (key_id.to_string(), version);
    }
    line.policy = request.action.digest().map_err(KbsError::from)?;
    let waits = match change.widens(request)? {
        Some(base) if four_eyes => {
            let id = admin::propose(tx, request, &base, request.issued_at)?;
            line.action = "propose".into();
            line.about = Some(id.to_string());
            Some(id)
        }
        _ => {
            change.carry_out(broker, tx, request)?;
            None
        }
    };
    let (head, text) = audit::append(tx, line)?;
    Ok((waits, head, text))
}

/// The change in the words of a signed request, so that it waits, is shown and is approved as any other. It is the broker's
/// own word that the pinned bearer key asked for it; nobody can send one: it has no signature.
fn request(
    broker: &Broker,
    admin: &Admin<'_>,
    tenant: &Name,
    document: &Document,
    version: u64,
    text: String,
) -> Result<AdminRequest, DocumentRefusal> {
    let mut nonce = Nonce([0; 32]);
    random::fill(&mut nonce.0).map_err(KbsError::from)?;
    let import_key = broker.identity.public(broker.simulated()).import_key;
    Ok(AdminRequest {
        action: Action::SetDocument {
            key_id: document.of_tenant(tenant).map_err(|_| DocumentRefusal::TenantName)?,
            key_version: version,
            text,
        },
        admin: admin.party,
        issued_at: now().0,
        kbs: admin::kbs_digest(&import_key).map_err(KbsError::from)?,
        nonce,
        purpose: admin::ADMIN_PURPOSE.to_owned(),
    })
}
