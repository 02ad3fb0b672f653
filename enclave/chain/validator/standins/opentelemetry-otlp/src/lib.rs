//! Stands in for crate opentelemetry-otlp: commonware-runtime links it, always, to send traces over HTTP. An enclave has no network
//! client, so here every exporter is refused when it is built, and none can exist.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;

/// No exporter can be built.
#[derive(Debug)]
pub struct ExporterBuildError;

impl fmt::Display for ExporterBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("traces: no exporter is built into this program: configure none")
    }
}

impl std::error::Error for ExporterBuildError {}

/// Has no values.
#[derive(Debug)]
pub enum SpanExporter {}

impl SpanExporter {
    /// Begins.
    pub fn builder() -> Builder {
        Builder
    }
}

impl opentelemetry_sdk::trace::SpanExporter for SpanExporter {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        match *self {}
    }
}

/// Ends in [`ExporterBuildError`].
#[derive(Debug)]
pub struct Builder;

impl Builder {
    /// Over HTTP.
    #[must_use]
    pub fn with_http(self) -> Self {
        self
    }

    /// Always refuses.
    ///
    /// # Errors
    /// [`ExporterBuildError`].
    pub fn build(self) -> Result<SpanExporter, ExporterBuildError> {
        Err(ExporterBuildError)
    }
}

/// What is asked for and never used.
pub trait WithExportConfig: Sized {
    /// Where to.
    #[must_use]
    fn with_endpoint(self, endpoint: impl Into<String>) -> Self;

    /// How long.
    #[must_use]
    fn with_timeout(self, timeout: Duration) -> Self;
}

impl WithExportConfig for Builder {
    fn with_endpoint(self, _endpoint: impl Into<String>) -> Self {
        self
    }

    fn with_timeout(self, _timeout: Duration) -> Self {
        self
    }
}
