//! Pingora's callbacks, each handed to its phase.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use observastack_kit::config::ConfigStore;
use pingora::{
    Error,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};
use tokio::sync::watch;

use crate::{
    access_log::AccessLog,
    config::GatewayConfig,
    context::{Identity, RequestContext},
    metrics::GatewayMetrics,
    phases::{admit, answer, failed, finish, forward, select},
    rate_limit::{ClientBuckets, TokenBucket},
    retry_budget::RetryBudget,
    upstreams::Upstreams,
};

/// What all requests share.
pub struct Gateway {
    /// The live configuration.
    pub store: ConfigStore<GatewayConfig>,
    /// The upstreams and their health.
    pub upstreams: Arc<Upstreams>,
    /// What is counted.
    pub metrics: GatewayMetrics,
    /// Where finished requests are recorded.
    pub access_log: AccessLog,
    /// How many more attempts may be made.
    pub retry_budget: RetryBudget,
    /// `rate_limit.global`.
    pub global_bucket: TokenBucket,
    /// `rate_limit.per_client`.
    pub client_buckets: ClientBuckets,
    /// Requests in flight.
    pub in_flight: Arc<AtomicUsize>,
    /// Turns true when the service begins to stop.
    pub stop: watch::Receiver<bool>,
}

impl Gateway {
    /// A gateway with fresh limits and an empty retry budget.
    pub fn new(
        store: ConfigStore<GatewayConfig>,
        upstreams: Arc<Upstreams>,
        metrics: GatewayMetrics,
        access_log: AccessLog,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            store,
            upstreams,
            metrics,
            access_log,
            retry_budget: RetryBudget::default(),
            global_bucket: TokenBucket::default(),
            client_buckets: ClientBuckets::default(),
            in_flight: Arc::default(),
            stop,
        }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = RequestContext;

    fn new_ctx(&self) -> Self::CTX {
        RequestContext::new(self.store.current())
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // None: answers pass as they are, without pingora's compression.
    }

    async fn early_request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        ctx.identity = Identity::of(session);
        if session.get_keepalive().is_some() {
            // Zero means "for ever" to pingora, and "not at all" in our configuration.
            let idle_s = ctx.config.config.keepalive.downstream_idle_s;
            session.set_keepalive((idle_s > 0).then_some(idle_s));
        }
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<bool> {
        admit::run(self, session, ctx).await
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        select::run(self, session, ctx)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        self.metrics.connected(ctx.upstream_name(), reused);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        forward::head(head, ctx)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        forward::body(body.as_ref().map_or(0, Bytes::len), ctx)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        answer::from_upstream(self, session, head, ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        answer::to_client(self, session, head, ctx)
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        answer::body(end_of_stream, ctx).map(|()| None)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        failed::no_connection(self, session, ctx, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Self::CTX,
        _reused: bool,
    ) -> Box<Error> {
        failed::broken_exchange(self, session, ctx, error)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        failed::for_good(session, ctx, error).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        finish::run(self, session, error, ctx);
    }

    // The access log and the metrics say it all, without a blocking write on the request's way.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Self::CTX, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Self::CTX,
        _error: &Error,
        _about: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
