//! `POST /v1/orders`: administrators narrow what the guest does, for good or for a while. Whoever brings an order proves nothing: its signatures do. It is in
//! the log, durable, before it is in force.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use hanzo_attestation::Digest384;
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::name::Name;
use hanzo_receipts::{OrderOutcome, PublicLog};
use hanzo_verifier::order::{Action, ORDER_BYTES_MAX, SignedOrder};
use serde_json::{Value, json};

use crate::access::Access;
use crate::body;
use crate::callers_table::blocking;
use crate::error::ApiError;
use crate::narrowed::{Narrowed, Standing};
use crate::state::{Clock, EngineOrder, OrderEngines, ServingState};

/// What orders are held against, and act on.
pub(crate) struct Administration {
    pub(crate) administrators: Vec<PinnedSigner>,
    pub(crate) operator: Name,
    /// Of the keyset.
    pub(crate) models: Vec<Name>,
    pub(crate) engines: OrderEngines,
    pub(crate) clock: Clock,
    pub(crate) log: Arc<PublicLog>,
}

/// Orders in force.
pub(crate) struct Orders {
    here: Administration,
    narrowed: RwLock<Narrowed>,
    /// Orders are taken one after the other.
    taking: Mutex<()>,
}

impl Orders {
    /// What the log says. Blocks on the disk.
    pub(crate) fn open(here: Administration) -> Result<Self, &'static str> {
        let orders = here.log.orders().map_err(|e| e.code())?;
        let narrowed = Narrowed::by(&orders);
        let now = (here.clock)();
        for model in &here.models {
            match narrowed.standing(model, now) {
                Standing::Served => {}
                Standing::Unloaded => (here.engines)(model, EngineOrder::Unload),
                Standing::PutOut(left) => (here.engines)(model, put_out(left)),
            }
        }
        Ok(Self {
            here,
            narrowed: RwLock::new(narrowed),
            taking: Mutex::default(),
        })
    }

    pub(crate) fn narrowed(&self) -> Narrowed {
        self.narrowed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn standing(&self, model: &Name) -> Standing {
        let narrowed = self.narrowed.read().unwrap_or_else(PoisonError::into_inner);
        narrowed.standing(model, (self.here.clock)())
    }

    fn take(&self, document: &[u8], keyset: &Digest384, access: &Access) -> Result<u64, ApiError> {
        if self.here.administrators.is_empty() {
            return Err(ApiError::NotFound("this guest's configuration names no admin_keys"));
        }
        let signed = SignedOrder::parse(document).map_err(ApiError::Order)?;
        let order = signed.verify(&self.here.administrators, &self.here.operator, keyset);
        let order = order.map_err(ApiError::Order)?;
        self.subject(&order.order().action, access)?;
        let sequence = order.order().sequence;
        let _one = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let appended = self.here.log.append_order(&order);
        match appended.map_err(|e| ApiError::Receipt { code: e.code() })? {
            OrderOutcome::Appended => {}
            OrderOutcome::NotNext { newest } => return Err(ApiError::OrderSequence { got: sequence, newest }),
            OrderOutcome::Full { held } => return Err(ApiError::OrdersFull { held }),
        }
        let narrowed = {
            let mut narrowed = self.narrowed.write().unwrap_or_else(PoisonError::into_inner);
            narrowed.narrow(order.order());
            narrowed.clone()
        };
        match &order.order().action {
            Action::UnloadModel { model } => (self.here.engines)(model, EngineOrder::Unload),
            Action::PutOut { model, .. } => {
                if let Standing::PutOut(left) = self.standing(model) {
                    (self.here.engines)(model, put_out(left));
                }
            }
            Action::Load { model } => (self.here.engines)(model, EngineOrder::Load),
            Action::RevokeCaller { .. } | Action::LowerCaller { .. } => {}
        }
        access.narrow(narrowed)?;
        tracing::info!(sequence, "order of an administrator taken");
        Ok(sequence)
    }

    /// That there is something to narrow: a typing error must not look like success.
    fn subject(&self, action: &Action, access: &Access) -> Result<(), ApiError> {
        let now = (self.here.clock)();
        match action {
            Action::UnloadModel { model } | Action::PutOut { model, .. } | Action::Load { model }
                if !self.here.models.contains(model) =>
            {
                Err(ApiError::OrderSubject {
                field: "action.*.model",
                expected: format!(
                    "a model of this guest ({})",
                    self.here.models.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
                ),
                got: model.to_string(),
            })
            }
            Action::PutOut { model, .. } | Action::Load { model } if self.standing(model) == Standing::Unloaded => {
                Err(ApiError::OrderSubject {
                    field: "action.*.model",
                    expected: "a model that no order unloaded: that is for good, and another configuration serves it again".into(),
                    got: model.to_string(),
                })
            }
            Action::PutOut { until, .. } if *until != 0 && *until <= now.0 => Err(ApiError::OrderExpired {
                until: *until,
                now: now.0,
            }),
            Action::RevokeCaller { id } | Action::LowerCaller { id, .. } if !access.knows_callers() => {
                Err(ApiError::OrderSubject {
                    field: "action",
                    expected: "an order about a model: this guest's configuration says auth = \"none\", so that no caller is told from another".into(),
                    got: format!("an order about the caller {id}"),
                })
            }
            _ => Ok(()),
        }
    }
}

fn put_out(left_s: Option<u64>) -> EngineOrder {
    EngineOrder::PutOut {
        back_in: left_s.map(Duration::from_secs),
    }
}

/// Takes an order.
pub(crate) async fn take(
    State(state): State<ServingState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let document = body::read(&headers, body, ORDER_BYTES_MAX as u64 + 1, &state.body_room).await?;
    let sequence = blocking(move || {
        let keyset = state.receipts.keyset_digest();
        state.orders.take(&document.bytes, &keyset, &state.access)
    })
    .await?;
    Ok(Json(json!({"object": "order", "sequence": sequence})))
}
