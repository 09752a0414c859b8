//! The upstreams: which there are, which are healthy, and which one a request goes to next.
//!
//! A change of the list or of the algorithm builds a new [`Pool`] and swaps it in. Requests in flight do not hold the pool,
//! only the address they were given, so nothing of theirs is dropped. Health belongs to the registry and is kept by address,
//! so an upstream that stays in the list keeps its health.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use pingora::{
    lb::{
        Backend, Backends, HealthRegistry, LoadBalancer,
        discovery::Static,
        selection::{BackendIter, BackendSelection, Consistent, Random, RoundRobin},
    },
    protocols::l4::socket::SocketAddr as PingoraAddr,
};

use crate::config::{Algorithm, GatewayConfig, UpstreamConfig};

/// Steps of pingora's selection for each upstream, before one is chosen at random.
const STEPS_PER_UPSTREAM: usize = 16;

/// One upstream and what the gateway has seen of it itself.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    /// The address as text, made once for metrics and logs.
    pub name: String,
    avoid_until_ms: AtomicU64,
}

impl Upstream {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            name: address.to_string(),
            avoid_until_ms: AtomicU64::new(0),
        }
    }

    /// Prefers other upstreams until `until_ms` (on [`crate::clock`]).
    pub fn avoid_until(&self, until_ms: u64) {
        self.avoid_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    fn is_avoided(&self, now_ms: u64) -> bool {
        self.avoid_until_ms.load(Ordering::Relaxed) > now_ms
    }
}

/// The current pool and the health registry that outlives it.
pub struct Upstreams {
    registry: Arc<HealthRegistry>,
    pool: ArcSwap<Pool>,
}

impl Upstreams {
    /// Builds the first pool. `registry` must have been made by [`health_registry`].
    pub async fn new(
        registry: Arc<HealthRegistry>,
        config: &GatewayConfig,
    ) -> pingora::Result<Self> {
        let pool = Pool::build(&registry, config, &HashMap::new()).await?;
        Ok(Self {
            registry,
            pool: ArcSwap::from_pointee(pool),
        })
    }

    /// Brings the pool in line with `config`, if it differs; returns the addresses that are gone.
    pub async fn apply(&self, config: &GatewayConfig) -> pingora::Result<Vec<SocketAddr>> {
        let old = self.pool.load_full();
        if old.is_built_from(config) {
            return Ok(Vec::new());
        }
        let new = Pool::build(&self.registry, config, &old.upstreams).await?;
        let gone = old
            .upstreams
            .keys()
            .filter(|address| !new.upstreams.contains_key(address))
            .copied()
            .collect();
        self.pool.store(Arc::new(new));
        Ok(gone)
    }

    /// The pool to choose from now.
    pub fn pool(&self) -> Arc<Pool> {
        self.pool.load_full()
    }
}

/// A registry that keeps health by address alone: a changed weight does not make an upstream a new one.
pub fn health_registry() -> Arc<HealthRegistry> {
    Arc::new(HealthRegistry::with_equivalence(|backend: &Backend| {
        let mut hasher = DefaultHasher::new();
        backend.addr.hash(&mut hasher);
        hasher.finish()
    }))
}

/// A fixed set of upstreams with a way to choose from them.
pub struct Pool {
    balancer: Balancer,
    upstreams: HashMap<SocketAddr, Arc<Upstream>>,
    built_from: (Vec<UpstreamConfig>, Algorithm, bool),
}

enum Balancer {
    RoundRobin(LoadBalancer<RoundRobin>),
    Random(LoadBalancer<Random>),
    ConsistentHash(LoadBalancer<Consistent>),
}

impl Pool {
    async fn build(
        registry: &Arc<HealthRegistry>,
        config: &GatewayConfig,
        known: &HashMap<SocketAddr, Arc<Upstream>>,
    ) -> pingora::Result<Self> {
        let backends = config
            .upstreams
            .iter()
            .map(|upstream| Backend {
                addr: PingoraAddr::Inet(upstream.address),
                weight: upstream.weight,
                ext: http::Extensions::new(),
            })
            .collect();
        let view = Backends::new_with_health_registry(Static::new(backends), Arc::clone(registry));
        let balancer = match config.balancing.algorithm {
            Algorithm::RoundRobin => Balancer::RoundRobin(filled(view).await?),
            Algorithm::Random => Balancer::Random(filled(view).await?),
            Algorithm::ConsistentHash => Balancer::ConsistentHash(filled(view).await?),
        };
        let upstreams = config
            .upstreams
            .iter()
            .map(|upstream| {
                let address = upstream.address;
                let known = known.get(&address).cloned();
                (
                    address,
                    known.unwrap_or_else(|| Arc::new(Upstream::new(address))),
                )
            })
            .collect();
        Ok(Self {
            balancer,
            upstreams,
            built_from: (
                config.upstreams.clone(),
                config.balancing.algorithm,
                config.health_check.enabled,
            ),
        })
    }

    fn is_built_from(&self, config: &GatewayConfig) -> bool {
        let (upstreams, algorithm, checked) = &self.built_from;
        *upstreams == config.upstreams
            && *algorithm == config.balancing.algorithm
            && *checked == config.health_check.enabled
    }

    /// The next upstream for a request: healthy ones only; rather one that was not `tried` and is not avoided at `now_ms`.
    /// `None` when none is healthy.
    pub fn pick(
        &self,
        hash_key: &[u8],
        tried: &[SocketAddr],
        now_ms: u64,
    ) -> Option<Arc<Upstream>> {
        let fresh = |upstream: &Upstream| !tried.contains(&upstream.address);
        let at_ease = |upstream: &Upstream| fresh(upstream) && !upstream.is_avoided(now_ms);
        if tried.is_empty() || matches!(self.balancer, Balancer::ConsistentHash(_)) {
            self.in_turn(hash_key, at_ease)
                .or_else(|| self.in_turn(hash_key, fresh))
                .or_else(|| self.at_random(|_| true))
        } else {
            // A retry takes no turn of the round: of two upstreams the bad one would get every request's first attempt.
            self.at_random(at_ease)
                .or_else(|| self.at_random(fresh))
                .or_else(|| self.at_random(|_| true))
        }
    }

    /// By the configured algorithm.
    fn in_turn(
        &self,
        hash_key: &[u8],
        wanted: impl Fn(&Upstream) -> bool,
    ) -> Option<Arc<Upstream>> {
        let accept = |backend: &Backend, healthy: bool| self.accepts(backend, healthy, &wanted);
        let steps = self.upstreams.len() * STEPS_PER_UPSTREAM;
        let selected = match &self.balancer {
            Balancer::RoundRobin(balancer) => balancer.select_with(hash_key, steps, accept),
            Balancer::Random(balancer) => balancer.select_with(hash_key, steps, accept),
            Balancer::ConsistentHash(balancer) => balancer.select_with(hash_key, steps, accept),
        };
        match selected {
            Some(backend) => self.upstream(&backend).cloned(),
            // Pingora's walks are bounded and may miss one.
            None => self.at_random(wanted),
        }
    }

    /// At random, by weight.
    fn at_random(&self, wanted: impl Fn(&Upstream) -> bool) -> Option<Arc<Upstream>> {
        let backends = self.backends();
        let members = backends.get_backend();
        let accepted = || {
            let accepts =
                |backend: &&Backend| self.accepts(backend, backends.ready(backend), &wanted);
            members.iter().filter(accepts)
        };
        let total: usize = accepted().map(|backend| backend.weight).sum();
        // Health may change between the two walks: then the last one that is accepted has to do.
        let mut ticket = rand::random_range(0..total.max(1));
        let mut chosen = None;
        for backend in accepted() {
            chosen = Some(backend);
            match ticket.checked_sub(backend.weight) {
                Some(rest) => ticket = rest,
                None => break,
            }
        }
        self.upstream(chosen?).cloned()
    }

    fn accepts(
        &self,
        backend: &Backend,
        healthy: bool,
        wanted: impl Fn(&Upstream) -> bool,
    ) -> bool {
        let (_, _, checked) = self.built_from;
        (healthy || !checked)
            && self
                .upstream(backend)
                .is_some_and(|upstream| wanted(upstream))
    }

    /// Every upstream and whether it is healthy, in the order of their addresses.
    pub fn health(&self) -> Vec<(Arc<Upstream>, bool)> {
        let (_, _, checked) = self.built_from;
        let backends = self.backends();
        let health = |backend: &Backend| {
            Some((
                self.upstream(backend)?.clone(),
                backends.ready(backend) || !checked,
            ))
        };
        backends.get_backend().iter().filter_map(health).collect()
    }

    /// Healthy upstreams and all upstreams.
    pub fn healthy_of(&self) -> (usize, usize) {
        let health = self.health();
        (
            health.iter().filter(|(_, healthy)| *healthy).count(),
            health.len(),
        )
    }

    fn backends(&self) -> &Backends {
        match &self.balancer {
            Balancer::RoundRobin(balancer) => balancer.backends(),
            Balancer::Random(balancer) => balancer.backends(),
            Balancer::ConsistentHash(balancer) => balancer.backends(),
        }
    }

    fn upstream(&self, backend: &Backend) -> Option<&Arc<Upstream>> {
        self.upstreams.get(backend.addr.as_inet()?)
    }
}

async fn filled<S>(view: Backends) -> pingora::Result<LoadBalancer<S>>
where
    S: BackendSelection + 'static,
    S::Iter: BackendIter,
{
    let balancer = LoadBalancer::from_backends(view);
    balancer.update().await?;
    Ok(balancer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(algorithm: Algorithm, upstreams: &[(u16, usize)]) -> GatewayConfig {
        let mut config = GatewayConfig::default();
        config.balancing.algorithm = algorithm;
        config.upstreams = upstreams
            .iter()
            .map(|&(port, weight)| UpstreamConfig {
                address: SocketAddr::from(([127, 0, 0, 1], port)),
                weight,
            })
            .collect();
        config
    }

    async fn upstreams(config: &GatewayConfig) -> Upstreams {
        Upstreams::new(health_registry(), config).await.unwrap()
    }

    fn picks(pool: &Pool, count: usize) -> HashMap<u16, usize> {
        let mut picks = HashMap::new();
        for number in 0..count {
            let picked = pool.pick(number.to_string().as_bytes(), &[], 0).unwrap();
            *picks.entry(picked.address.port()).or_default() += 1;
        }
        picks
    }

    #[tokio::test]
    async fn round_robin_follows_the_weights_exactly() {
        let pool = upstreams(&config(Algorithm::RoundRobin, &[(1, 1), (2, 3)]))
            .await
            .pool();
        assert_eq!(picks(&pool, 400), HashMap::from([(1, 100), (2, 300)]));
    }

    #[tokio::test]
    async fn random_and_consistent_hash_follow_the_weights_roughly() {
        for algorithm in [Algorithm::Random, Algorithm::ConsistentHash] {
            let pool = upstreams(&config(algorithm, &[(1, 1), (2, 3)]))
                .await
                .pool();
            let picks = picks(&pool, 4_000);
            // 1000 expected; the hash's ring is uneven by nature.
            assert!(
                (600..1_500).contains(&picks[&1]),
                "{algorithm:?}: {picks:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_consistent_hash_keeps_most_keys_in_place_when_an_upstream_is_added() {
        let before = upstreams(&config(
            Algorithm::ConsistentHash,
            &[(1, 1), (2, 1), (3, 1)],
        ))
        .await
        .pool();
        let after = upstreams(&config(
            Algorithm::ConsistentHash,
            &[(1, 1), (2, 1), (3, 1), (4, 1)],
        ))
        .await
        .pool();
        let keys: Vec<_> = (0..1_000)
            .map(|number| format!("/products/{number}"))
            .collect();
        let moved = keys.iter().filter(|key| {
            let pick = |pool: &Pool| pool.pick(key.as_bytes(), &[], 0).unwrap().address;
            pick(&before) != pick(&before) || pick(&before) != pick(&after)
        });
        let moved = moved.count();
        assert!(
            (100..450).contains(&moved),
            "{moved} of 1000 keys moved to one new upstream of four"
        );
    }

    #[tokio::test]
    async fn what_was_tried_or_is_avoided_comes_last_but_is_not_lost() {
        for algorithm in [
            Algorithm::RoundRobin,
            Algorithm::Random,
            Algorithm::ConsistentHash,
        ] {
            let pool = upstreams(&config(algorithm, &[(1, 1), (2, 100), (3, 1)]))
                .await
                .pool();
            let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
            let port = |tried: &[SocketAddr], now_ms| {
                pool.pick(b"k", tried, now_ms).unwrap().address.port()
            };
            for _ in 0..50 {
                assert_eq!(port(&[address(1), address(2)], 0), 3);
            }
            pool.upstreams[&address(2)].avoid_until(10);
            for _ in 0..50 {
                assert_ne!(port(&[], 9), 2, "{algorithm:?}");
                assert_eq!(
                    port(&[address(1), address(3)], 9),
                    2,
                    "an avoided upstream is better than a tried one"
                );
            }
            assert!((0..500).any(|_| port(&[], 10) == 2) || algorithm == Algorithm::ConsistentHash);
            assert!(
                pool.pick(b"k", &[address(1), address(2), address(3)], 0)
                    .is_some()
            );
        }
    }

    #[tokio::test]
    async fn retries_do_not_disturb_the_round() {
        let pool = upstreams(&config(Algorithm::RoundRobin, &[(1, 1), (2, 1)]))
            .await
            .pool();
        let mut first_attempts = HashMap::<u16, usize>::new();
        for _ in 0..100 {
            let first = pool.pick(b"", &[], 0).unwrap().address;
            *first_attempts.entry(first.port()).or_default() += 1;
            if first.port() == 1 {
                assert_eq!(pool.pick(b"", &[first], 0).unwrap().address.port(), 2);
            }
        }
        assert_eq!(first_attempts, HashMap::from([(1, 50), (2, 50)]));
    }

    #[tokio::test]
    async fn retries_follow_the_weights_roughly() {
        let pool = upstreams(&config(Algorithm::RoundRobin, &[(1, 1), (2, 1), (3, 9)]))
            .await
            .pool();
        let tried = [SocketAddr::from(([127, 0, 0, 1], 1))];
        let heavy = (0..1_000)
            .filter(|_| pool.pick(b"", &tried, 0).unwrap().address.port() == 3)
            .count();
        // 900 expected, 9.5 the standard deviation.
        assert!((840..960).contains(&heavy), "{heavy}");
    }

    #[tokio::test]
    async fn a_change_keeps_what_is_known_of_the_upstreams_that_stay() {
        let first = config(Algorithm::RoundRobin, &[(1, 1), (2, 1)]);
        let upstreams = upstreams(&first).await;
        let old = upstreams.pool();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(upstreams.apply(&first).await.unwrap(), []);
        assert!(
            Arc::ptr_eq(&old, &upstreams.pool()),
            "an equal list must not make a new pool"
        );

        let gone = upstreams
            .apply(&config(Algorithm::Random, &[(2, 5), (3, 1)]))
            .await
            .unwrap();
        assert_eq!(gone, [address(1)]);
        let new = upstreams.pool();
        assert!(Arc::ptr_eq(
            &old.upstreams[&address(2)],
            &new.upstreams[&address(2)]
        ));
        assert_eq!(new.healthy_of(), (2, 2));
    }
}
