//! From a name to an item that proved itself: out of the cache, or from the vendor and into the cache.

use std::sync::Arc;

use hanzo_attestation::bundle::TdxCollateral;
use hanzo_attestation::snp::{self, Product, SigningKey, TcbVersion, roots};
use hanzo_attestation::{Anchors, AttestationError, UnixTime, jcs};

use crate::clock::{Clock, SystemClock};
use crate::error::{CollateralError, Unfit};
use crate::http::{Http, HttpConfig};
use crate::key::{Key, PckCa, is_rim_id};
use crate::sources::Sources;
use crate::store::Store;
use crate::{amd, check, intel, nvidia};

/// Where an item came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The vendor's service, now.
    Fetched,
    /// The cache.
    Cache,
    /// Compiled into this program.
    BuiltIn,
    /// The bundle had it already.
    Kept,
}

impl Origin {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Cache => "cache",
            Self::BuiltIn => "built in",
            Self::Kept => "kept",
        }
    }
}

/// An item that proved itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its bytes: DER, XML, or for Intel's collateral JCS of [`TdxCollateral`].
    pub bytes: Vec<u8>,
    /// Where it came from.
    pub origin: Origin,
    /// Last second of its life by the vendor's signature; `None` for what never changes.
    pub next_update: Option<UnixTime>,
}

/// What a fetcher is doing, for progress displays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A vendor is asked for this.
    Asking(&'a str),
    /// It came and proved itself, or it failed.
    Done(&'a str),
}

/// Sees what a fetcher does.
pub type Watcher = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Cache first, then the vendors.
    #[default]
    Online,
    /// The cache alone.
    Offline,
}

/// How a fetcher is made.
#[derive(Clone, Default)]
pub struct FetcherConfig {
    /// Whom to ask.
    pub sources: Sources,
    /// How.
    pub http: HttpConfig,
    /// Whether to ask at all.
    pub mode: Mode,
    /// Roots beside the vendors', for simulated evidence.
    pub anchors: Anchors,
    /// An item of the cache whose life ends within this many seconds is fetched anew; if that fails, it is used while it
    /// lives.
    pub refresh_ahead_s: u64,
    /// Sees what is done.
    pub watcher: Option<Watcher>,
}

/// Fetches, checks, keeps.
pub struct Fetcher {
    config: FetcherConfig,
    http: Http,
    store: Option<Store>,
}

/// Ways to judge an item: the end of its life, or why it is not what it should be.
type Judge<'a> = &'a (dyn Fn(&[u8]) -> Result<Option<UnixTime>, Unfit> + Sync);

impl Fetcher {
    /// A fetcher with the machine's clock. Without `store` nothing is kept.
    pub fn new(config: FetcherConfig, store: Option<Store>) -> Self {
        Self::with_clock(config, store, Arc::new(SystemClock::default()))
    }

    /// A fetcher that waits by another clock.
    pub fn with_clock(config: FetcherConfig, store: Option<Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            http: Http::new(config.http.clone(), clock),
            config,
            store,
        }
    }

    pub(crate) fn anchors(&self) -> &Anchors {
        &self.config.anchors
    }

    /// The VCEK certificate of one chip at one TCB, DER, and the ASK certificate that signed it.
    ///
    /// # Errors
    /// [`CollateralError`]; [`CollateralError::NotFetchable`] for a report that hides its chip id.
    pub async fn vcek(
        &self,
        product: Product,
        chip_id: &[u8; 64],
        tcb: TcbVersion,
        now: UnixTime,
    ) -> Result<(Item, Item), CollateralError> {
        let (named, _) = chip_id.split_at_checked(product.hwid_bytes()).unwrap_or_default();
        if named.iter().all(|b| *b == 0) {
            return Err(CollateralError::NotFetchable {
                what: "VCEK certificate",
                detail: "the report hides its chip id (MASK_CHIP_ID), and AMD's service asks for it",
            });
        }
        let key = Key::Vcek {
            product,
            chip_id: named.to_vec(),
            tcb: tcb.to_bytes(product),
        };
        let check = |ask: &[u8], vek: &[u8]| {
            snp::check_vcek(vek, ask, product, (chip_id, tcb), &self.config.anchors, now)
                .map_err(AttestationError::from)
        };
        let mut asks = vec![Item {
            bytes: roots::intermediate(product, SigningKey::Vcek).to_vec(),
            origin: Origin::BuiltIn,
            next_update: None,
        }];
        // A new ASK of AMD's, or a simulator's.
        asks.extend(self.cached_intermediate(product, now)?);
        let any = |asks: &[Item], vek: &[u8]| {
            let mut outcomes = asks.iter().map(|ask| check(&ask.bytes, vek));
            let last = outcomes
                .find(Result::is_ok)
                .or_else(|| asks.last().map(|ask| check(&ask.bytes, vek)));
            last.unwrap_or(Ok(())).map(|()| None).map_err(Unfit::from)
        };
        let vek = match self.obtain(&key, &|vek| any(&asks, vek)).await {
            Err(e) if e.asks_for_another_intermediate() => {
                asks.push(self.intermediate(product, SigningKey::Vcek, now).await?);
                self.obtain(&key, &|vek| any(&asks, vek)).await?
            }
            other => other?,
        };
        let ask = asks.into_iter().find(|ask| check(&ask.bytes, &vek.bytes).is_ok());
        let ask = ask.ok_or(CollateralError::NotFetchable {
            what: "ASK certificate",
            detail: "none holds for the VCEK certificate",
        })?;
        Ok((vek, ask))
    }

    /// The ASK or ASVK certificate of a product, DER.
    ///
    /// # Errors
    /// [`CollateralError`].
    pub async fn intermediate(
        &self,
        product: Product,
        key: SigningKey,
        now: UnixTime,
    ) -> Result<Item, CollateralError> {
        let judge = |der: &[u8]| self.judge_intermediate(der, product, key, now);
        self.obtain(&Key::Intermediate { product, key }, &judge).await
    }

    fn judge_intermediate(
        &self,
        der: &[u8],
        product: Product,
        key: SigningKey,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, Unfit> {
        let checked = snp::check_intermediate(der, product, key, &self.config.anchors, now);
        checked.map(|_| None).map_err(|e| AttestationError::from(e).into())
    }

    /// The ASK that was fetched for a product before, if it still holds.
    fn cached_intermediate(&self, product: Product, now: UnixTime) -> Result<Option<Item>, CollateralError> {
        let key = SigningKey::Vcek;
        let Some(store) = &self.store else { return Ok(None) };
        let kept = store.get(&Key::Intermediate { product, key })?;
        Ok(kept
            .filter(|der| self.judge_intermediate(der, product, key, now).is_ok())
            .map(|bytes| Item {
                bytes,
                origin: Origin::Cache,
                next_update: None,
            }))
    }

    /// AMD's revocation list for a product, DER, alive at `now`.
    ///
    /// # Errors
    /// [`CollateralError`].
    pub async fn crl(&self, product: Product, now: UnixTime) -> Result<Item, CollateralError> {
        let judge = |der: &[u8]| self.judge_crl(der, product, now);
        self.obtain_ahead(&Key::Crl { product }, now, &judge).await
    }

    fn judge_crl(&self, der: &[u8], product: Product, now: UnixTime) -> Result<Option<UnixTime>, Unfit> {
        let checked = snp::check_product_crl(der, product, &self.config.anchors, now);
        checked
            .map(|c| Some(c.next_update))
            .map_err(|e| AttestationError::from(e).into())
    }

    /// Intel's collateral for one platform type, alive at `now`.
    ///
    /// # Errors
    /// [`CollateralError`].
    pub async fn tdx(
        &self,
        fmspc: [u8; 6],
        ca: PckCa,
        now: UnixTime,
    ) -> Result<(TdxCollateral, Item), CollateralError> {
        let judge = |bytes: &[u8]| check::tdx_document(bytes, fmspc, ca, &self.config.anchors, now).map(Some);
        let item = self.obtain_ahead(&Key::Tdx { fmspc, ca }, now, &judge).await?;
        let collateral = jcs::from_slice("TDX collateral", &item.bytes, check::TDX_BYTES_MAX)?;
        Ok((collateral, item))
    }

    /// A reference manifest, XML.
    ///
    /// # Errors
    /// [`CollateralError`]; [`CollateralError::NotFetchable`] for an id that is none.
    pub async fn rim(&self, id: &str, now: UnixTime) -> Result<Item, CollateralError> {
        if !is_rim_id(id) {
            return Err(CollateralError::NotFetchable {
                what: "NVIDIA RIM",
                detail: "its id has characters that no RIM's has",
            });
        }
        let judge = |xml: &[u8]| check::rim(xml, id, &self.config.anchors, now).map(Some);
        self.obtain_ahead(&Key::Rim { id: id.to_owned() }, now, &judge).await
    }

    /// What NVIDIA's responder says of `certificate`, which `issuer` signed: an OCSP answer, DER, alive at `now`. Revoked
    /// certificates have answers too.
    ///
    /// # Errors
    /// [`CollateralError`].
    pub async fn ocsp(&self, certificate: &[u8], issuer: &[u8], now: UnixTime) -> Result<Item, CollateralError> {
        let cert_id = nvidia::cert_id(certificate, issuer).ok_or(CollateralError::NotFetchable {
            what: "NVIDIA OCSP answer",
            detail: "the certificate or its issuer is no X.509 certificate",
        })?;
        let judge = |der: &[u8]| check::ocsp(der, certificate, issuer, now);
        self.obtain_ahead(&Key::Ocsp { cert_id }, now, &judge).await
    }

    /// Fetches every item of the cache anew whose life ends within `horizon_s`. Returns what was tried and how it went.
    ///
    /// VCEK, ASK and ASVK certificates are not among them: they are asked for by name and never go stale while they count.
    /// OCSP answers neither: they are about certificates that the cache does not hold.
    ///
    /// # Errors
    /// [`CollateralError::Cache`].
    pub async fn prefetch(
        &self,
        horizon_s: u64,
        now: UnixTime,
    ) -> Result<Vec<(Key, Result<Item, CollateralError>)>, CollateralError> {
        let Some(store) = &self.store else {
            return Ok(Vec::new());
        };
        let mut outcomes = Vec::new();
        for key in store.keys()? {
            let anchors = &self.config.anchors;
            let judge = |bytes: &[u8]| match &key {
                Key::Crl { product } => self.judge_crl(bytes, *product, now),
                Key::Tdx { fmspc, ca } => check::tdx_document(bytes, *fmspc, *ca, anchors, now).map(Some),
                Key::Rim { id } => check::rim(bytes, id, anchors, now).map(Some),
                Key::Vcek { .. } | Key::Intermediate { .. } | Key::Ocsp { .. } => Ok(None),
            };
            if !matches!(key, Key::Crl { .. } | Key::Tdx { .. } | Key::Rim { .. }) {
                continue;
            }
            let lives = store.get(&key)?.and_then(|bytes| judge(&bytes).ok().flatten());
            if lives.is_none_or(|end| end.0 <= now.0.saturating_add(horizon_s)) {
                let outcome = self.fetch(&key, &judge).await;
                outcomes.push((key, outcome));
            }
        }
        Ok(outcomes)
    }

    /// As [`Self::obtain`]; an item that is near its end is fetched anew if that can be done.
    async fn obtain_ahead(&self, key: &Key, now: UnixTime, judge: Judge<'_>) -> Result<Item, CollateralError> {
        let item = self.obtain(key, judge).await?;
        let near = |end: UnixTime| end.0 <= now.0.saturating_add(self.config.refresh_ahead_s);
        if item.origin != Origin::Cache || self.config.mode == Mode::Offline || !item.next_update.is_some_and(near) {
            return Ok(item);
        }
        match self.fetch(key, judge).await {
            Ok(newer) => Ok(newer),
            Err(e) => {
                tracing::warn!(
                    "{}: near its end and not to be had anew ({e}): the copy in the cache is used",
                    key.describe()
                );
                Ok(item)
            }
        }
    }

    /// From the cache if what is there holds, else from the vendor.
    async fn obtain(&self, key: &Key, judge: Judge<'_>) -> Result<Item, CollateralError> {
        let kept = self.store.as_ref().map(|s| s.get(key)).transpose()?.flatten();
        let mut unusable = None;
        if let Some(bytes) = kept {
            match judge(&bytes) {
                Ok(next_update) => {
                    return Ok(Item {
                        bytes,
                        origin: Origin::Cache,
                        next_update,
                    });
                }
                Err(e) => {
                    tracing::info!("{}: the copy in the cache is not used: {e}", key.describe());
                    unusable = Some(e);
                }
            }
        }
        if self.config.mode == Mode::Offline {
            let what = key.describe();
            return Err(match unusable {
                None => CollateralError::Offline { what },
                Some(unfit) => CollateralError::OfflineUnusable { what, unfit },
            });
        }
        self.fetch(key, judge).await
    }

    /// From the vendor and, once it proved itself, into the cache.
    async fn fetch(&self, key: &Key, judge: Judge<'_>) -> Result<Item, CollateralError> {
        let what = key.describe();
        let tell = |event| {
            if let Some(watcher) = &self.config.watcher {
                watcher(event);
            }
        };
        tell(Event::Asking(&what));
        let fetched = self.download(key).await;
        tell(Event::Done(&what));
        let bytes = fetched?;
        let next_update = judge(&bytes).map_err(|unfit| unfit.of(what, self.origin_of(key)))?;
        if let Some(store) = &self.store {
            store.put(key, &bytes)?;
        }
        Ok(Item {
            bytes,
            origin: Origin::Fetched,
            next_update,
        })
    }

    fn origin_of(&self, key: &Key) -> String {
        let sources = &self.config.sources;
        match key {
            Key::Vcek { .. } | Key::Intermediate { .. } | Key::Crl { .. } => sources.kds.to_string(),
            Key::Tdx { .. } => match &sources.intel {
                crate::IntelSource::Pcs { api, .. } => api.to_string(),
                crate::IntelSource::Pccs(base) => base.to_string(),
            },
            Key::Rim { .. } => sources.rim.to_string(),
            Key::Ocsp { .. } => sources.ocsp.to_string(),
        }
    }

    async fn download(&self, key: &Key) -> Result<Vec<u8>, CollateralError> {
        let (http, sources) = (&self.http, &self.config.sources);
        match key {
            Key::Vcek { product, chip_id, tcb } => amd::vcek(http, &sources.kds, key, *product, chip_id, *tcb).await,
            Key::Intermediate { product, key: signing } => {
                amd::intermediate(http, &sources.kds, key, *product, *signing).await
            }
            Key::Crl { product } => amd::crl(http, &sources.kds, key, *product).await,
            Key::Tdx { fmspc, ca } => {
                let collateral = intel::tdx(http, &sources.intel, key, *fmspc, *ca).await?;
                Ok(jcs::to_vec("TDX collateral", &collateral)?)
            }
            Key::Rim { id } => nvidia::rim(http, &sources.rim, key, id).await,
            Key::Ocsp { cert_id } => nvidia::ocsp(http, &sources.ocsp, key, cert_id).await,
        }
    }
}
