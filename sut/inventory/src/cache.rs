//! The read cache for stock: entries live for a while, the oldest make room for new ones, and readers of the same
//! missing entry may share one load.
//!
//! An entry may be as old as its time to live; a change made through this process removes it at once.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use observastack_telemetry::traces;
use tokio::sync::watch;

use crate::settings::CacheSettings;

/// How a value was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheResult {
    /// It was there.
    Hit,
    /// This caller loaded it.
    Miss,
    /// This caller waited for another caller's load.
    Coalesced,
    /// The cache is switched off.
    Disabled,
}

impl CacheResult {
    /// The word for it in metrics and in the answer's `x-cache` header.
    pub fn as_str(self) -> &'static str {
        match self {
            CacheResult::Hit => "hit",
            CacheResult::Miss => "miss",
            CacheResult::Coalesced => "coalesced",
            CacheResult::Disabled => "disabled",
        }
    }
}

/// The error of everybody who waited for a shared load that ended without an outcome: its task panicked.
#[derive(Debug, thiserror::Error)]
#[error("the shared load ended without a result")]
pub struct LoadLost;

/// A cache of `V` by `K` whose loads fail with `E`. Cheap to clone; clones share the entries.
#[derive(Debug)]
pub struct Cache<K: Eq + Hash, V, E> {
    state: Arc<Mutex<State<K, V, E>>>,
}

/// What a load ends with; shared by all who waited for it.
type Outcome<V, E> = Result<V, Arc<E>>;
/// A load under way: `None` until it has ended.
type Flight<V, E> = watch::Receiver<Option<Outcome<V, E>>>;

#[derive(Debug)]
struct State<K: Eq + Hash, V, E> {
    entries: HashMap<K, Entry<V>>,
    /// Keys in the order of insertion, which is also the order in which they get too old. May name entries that were
    /// removed or replaced since: the serial tells.
    order: VecDeque<(K, u64)>,
    /// Shared loads under way, with the serial that tells a load from its successor.
    flights: HashMap<K, (u64, Flight<V, E>)>,
    next_serial: u64,
    evictions: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    inserted: Instant,
    serial: u64,
}

impl<K, V, E> Cache<K, V, E>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
    E: From<LoadLost> + Send + Sync + 'static,
{
    /// The value for `key`: from the cache, from somebody else's load under way (with `single_flight`), or from `load`.
    ///
    /// A shared load runs as a task of its own, so it goes on for the others when its first caller goes away. Errors
    /// are handed to everybody who waited and are not kept.
    pub async fn get<F>(
        &self,
        key: K,
        settings: &CacheSettings,
        load: F,
    ) -> (Outcome<V, E>, CacheResult)
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        if !settings.enabled {
            return (load.await.map_err(Arc::new), CacheResult::Disabled);
        }
        if let Some(value) = self.fresh(&key, settings.ttl()) {
            return (Ok(value), CacheResult::Hit);
        }
        if !settings.single_flight {
            let outcome = load.await;
            if let Ok(value) = &outcome {
                self.lock().insert(key, value.clone(), settings.max_entries);
            }
            return (outcome.map_err(Arc::new), CacheResult::Miss);
        }
        let (mut flight, result) = self.join_or_start(key, settings.max_entries, load);
        let outcome = match flight.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_sender_gone) => None,
        };
        (
            outcome.unwrap_or_else(|| Err(Arc::new(E::from(LoadLost)))),
            result,
        )
    }

    /// Forgets `key`: the next reader loads it.
    pub fn invalidate(&self, key: &K) {
        let mut state = self.lock();
        state.entries.remove(key);
        // A shared load that began before the change may carry the old value: readers from now on start their own.
        state.flights.remove(key);
    }

    /// Number of entries, the too old ones included that nobody asked for since.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that had to go for others, since the start.
    pub fn evictions(&self) -> u64 {
        self.lock().evictions
    }

    fn fresh(&self, key: &K, ttl: Duration) -> Option<V> {
        let state = self.lock();
        let entry = state.entries.get(key)?;
        (entry.inserted.elapsed() < ttl).then(|| entry.value.clone())
    }

    fn join_or_start<F>(&self, key: K, max_entries: usize, load: F) -> (Flight<V, E>, CacheResult)
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let mut state = self.lock();
        if let Some((_, flight)) = state.flights.get(&key) {
            return (flight.clone(), CacheResult::Coalesced);
        }
        let serial = state.take_serial();
        let (sender, receiver) = watch::channel(None);
        state
            .flights
            .insert(key.clone(), (serial, receiver.clone()));
        drop(state);

        let landing = Landing {
            cache: self.clone(),
            key,
            serial,
        };
        // It goes on without whoever asked first, but in that one's trace.
        tokio::spawn(traces::current().around(async move {
            let outcome = load.await.map_err(Arc::new);
            landing.land(outcome.as_ref().ok(), max_entries);
            sender.send_replace(Some(outcome));
        }));
        (receiver, CacheResult::Miss)
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V, E> State<K, V, E> {
    fn insert(&mut self, key: K, value: V, max_entries: usize) {
        let serial = self.take_serial();
        self.entries.insert(
            key.clone(),
            Entry {
                value,
                inserted: Instant::now(),
                serial,
            },
        );
        self.order.push_back((key, serial));
        while self.entries.len() > max_entries {
            let Some((oldest, serial)) = self.order.pop_front() else {
                break;
            };
            if self.is_current(&oldest, serial) {
                self.entries.remove(&oldest);
                self.evictions += 1;
            }
        }
        // Replaced and invalidated entries leave their old places behind: drop those before they outnumber the rest.
        if self.order.len() > 2 * self.entries.len().max(16) {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|(key, serial)| self.is_current(key, *serial));
            self.order = order;
        }
    }

    fn is_current(&self, key: &K, serial: u64) -> bool {
        self.entries
            .get(key)
            .is_some_and(|entry| entry.serial == serial)
    }

    fn take_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }
}

/// Takes a shared load off the list of flights however it ends.
struct Landing<K: Clone + Eq + Hash, V, E> {
    cache: Cache<K, V, E>,
    key: K,
    serial: u64,
}

impl<K: Clone + Eq + Hash, V: Clone, E> Landing<K, V, E> {
    /// Keeps the value, unless the key was invalidated meanwhile.
    fn land(self, value: Option<&V>, max_entries: usize) {
        let mut state = self
            .cache
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let ours = state
            .flights
            .get(&self.key)
            .is_some_and(|(serial, _)| *serial == self.serial);
        if let (true, Some(value)) = (ours, value) {
            state.insert(self.key.clone(), value.clone(), max_entries);
        }
    }
}

impl<K: Clone + Eq + Hash, V, E> Drop for Landing<K, V, E> {
    fn drop(&mut self) {
        let mut state = self
            .cache
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if state
            .flights
            .get(&self.key)
            .is_some_and(|(serial, _)| *serial == self.serial)
        {
            state.flights.remove(&self.key);
        }
    }
}

impl<K: Eq + Hash, V, E> Clone for Cache<K, V, E> {
    fn clone(&self) -> Self {
        Cache {
            state: Arc::clone(&self.state),
        }
    }
}

impl<K: Eq + Hash, V, E> Default for Cache<K, V, E> {
    fn default() -> Self {
        let state = State {
            entries: HashMap::new(),
            order: VecDeque::new(),
            flights: HashMap::new(),
            next_serial: 0,
            evictions: 0,
        };
        Cache {
            state: Arc::new(Mutex::new(state)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[derive(Debug, thiserror::Error, PartialEq)]
    #[error("{0}")]
    struct Failure(&'static str);

    impl From<LoadLost> for Failure {
        fn from(_: LoadLost) -> Self {
            Failure("lost")
        }
    }

    type TestCache = Cache<u32, u64, Failure>;

    fn settings() -> CacheSettings {
        CacheSettings {
            enabled: true,
            ttl_ms: 60_000,
            max_entries: 100,
            single_flight: true,
        }
    }

    /// A load that counts itself and waits for the gate to open.
    fn gated(
        gate: &Arc<Semaphore>,
        loads: &Arc<AtomicUsize>,
        outcome: Result<u64, Failure>,
    ) -> impl Future<Output = Result<u64, Failure>> + Send + 'static {
        let (gate, loads) = (Arc::clone(gate), Arc::clone(loads));
        async move {
            loads.fetch_add(1, Ordering::SeqCst);
            let _permit = gate.acquire().await.unwrap();
            outcome
        }
    }

    async fn until(condition: impl Fn() -> bool) {
        tokio::time::timeout(Duration::from_secs(10), async {
            while !condition() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the condition did not come true");
    }

    /// 200 tasks ask for one missing key while its load is held; gives how often it was loaded and each task's result.
    async fn stampede(
        settings: CacheSettings,
        outcome: fn() -> Result<u64, Failure>,
    ) -> (usize, Vec<(Outcome<u64, Failure>, CacheResult)>) {
        const TASKS: usize = 200;
        let cache = TestCache::default();
        let gate = Arc::new(Semaphore::new(0));
        let loads = Arc::new(AtomicUsize::new(0));
        let asked = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (cache, settings, asked) =
                    (cache.clone(), settings.clone(), Arc::clone(&asked));
                let load = gated(&gate, &loads, outcome());
                tokio::spawn(async move {
                    let get = cache.get(7, &settings, load);
                    let mut get = std::pin::pin!(get);
                    // Polled once it has joined or started the load: only then does it count as having asked.
                    let joined = std::future::poll_fn(|context| {
                        std::task::Poll::Ready(get.as_mut().poll(context).is_pending())
                    });
                    assert!(joined.await, "the gate is shut");
                    asked.fetch_add(1, Ordering::SeqCst);
                    get.await
                })
            })
            .collect();
        until(|| asked.load(Ordering::SeqCst) == TASKS).await;
        gate.add_permits(TASKS);
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        (loads.load(Ordering::SeqCst), results)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_readers_of_a_missing_key_share_one_load() {
        let (loads, results) = stampede(settings(), || Ok(42)).await;
        assert_eq!(loads, 1);
        assert!(results.iter().all(|(outcome, _)| matches!(outcome, Ok(42))));
        assert_eq!(
            results
                .iter()
                .filter(|(_, result)| *result == CacheResult::Miss)
                .count(),
            1
        );
        assert_eq!(
            results
                .iter()
                .filter(|(_, result)| *result == CacheResult::Coalesced)
                .count(),
            199
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn without_single_flight_every_reader_loads() {
        let (loads, results) = stampede(
            CacheSettings {
                single_flight: false,
                ..settings()
            },
            || Ok(42),
        )
        .await;
        assert_eq!(loads, 200);
        assert!(
            results
                .iter()
                .all(|(_, result)| *result == CacheResult::Miss)
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_failed_load_fails_all_who_waited_and_is_not_kept() {
        let (loads, results) = stampede(settings(), || Err(Failure("down"))).await;
        assert_eq!(loads, 1);
        assert!(
            results
                .iter()
                .all(|(outcome, _)| *outcome.as_ref().unwrap_err().as_ref() == Failure("down"))
        );

        let cache = TestCache::default();
        let (failed, _) = cache
            .get(1, &settings(), async { Err(Failure("down")) })
            .await;
        assert!(failed.is_err());
        let (value, result) = cache.get(1, &settings(), async { Ok(1) }).await;
        assert_eq!((value.unwrap(), result), (1, CacheResult::Miss));
    }

    #[tokio::test]
    async fn a_load_goes_on_for_the_others_when_its_first_caller_goes_away() {
        let cache = TestCache::default();
        let gate = Arc::new(Semaphore::new(0));
        let loads = Arc::new(AtomicUsize::new(0));
        let first = tokio::spawn({
            let (cache, load) = (cache.clone(), gated(&gate, &loads, Ok(5)));
            async move { cache.get(1, &settings(), load).await }
        });
        until(|| loads.load(Ordering::SeqCst) == 1).await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let settings = settings();
        let second = cache.get(1, &settings, async { unreachable!("a load is under way") });
        gate.add_permits(1);
        let (value, result) = second.await;
        assert_eq!((value.unwrap(), result), (5, CacheResult::Coalesced));
    }

    #[tokio::test]
    async fn a_load_that_panics_fails_its_waiters_and_the_next_one_starts_anew() {
        let cache = TestCache::default();
        let (lost, _) = cache
            .get(1, &settings(), async { panic!("on purpose") })
            .await;
        assert_eq!(*lost.unwrap_err(), Failure("lost"));
        let (value, _) = cache.get(1, &settings(), async { Ok(3) }).await;
        assert_eq!(value.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_value_loaded_before_an_invalidation_is_not_kept() {
        let cache = TestCache::default();
        let gate = Arc::new(Semaphore::new(0));
        let loads = Arc::new(AtomicUsize::new(0));
        let stale = tokio::spawn({
            let (cache, load) = (cache.clone(), gated(&gate, &loads, Ok(1)));
            async move { cache.get(9, &settings(), load).await }
        });
        until(|| loads.load(Ordering::SeqCst) == 1).await;
        cache.invalidate(&9);
        gate.add_permits(1);
        assert_eq!(stale.await.unwrap().0.unwrap(), 1);
        let (value, result) = cache.get(9, &settings(), async { Ok(2) }).await;
        assert_eq!((value.unwrap(), result), (2, CacheResult::Miss));
        let (value, result) = cache
            .get(9, &settings(), async { unreachable!("cached") })
            .await;
        assert_eq!((value.unwrap(), result), (2, CacheResult::Hit));
    }

    #[tokio::test]
    async fn entries_expire_after_their_time_to_live() {
        let cache = TestCache::default();
        let short = CacheSettings {
            ttl_ms: 1,
            ..settings()
        };
        cache.get(1, &short, async { Ok(1) }).await.0.unwrap();
        until(|| cache.fresh(&1, short.ttl()).is_none()).await;
        let (value, result) = cache.get(1, &short, async { Ok(2) }).await;
        assert_eq!((value.unwrap(), result), (2, CacheResult::Miss));
    }

    #[tokio::test]
    async fn disabled_cache_loads_each_time_and_keeps_nothing() {
        let cache = TestCache::default();
        let off = CacheSettings {
            enabled: false,
            ..settings()
        };
        for n in 0..3 {
            let (value, result) = cache.get(1, &off, async move { Ok(n) }).await;
            assert_eq!((value.unwrap(), result), (n, CacheResult::Disabled));
        }
        assert!(cache.is_empty());
    }

    proptest::proptest! {
        /// Whatever is asked for and invalidated: never more entries than allowed, and the newest is there.
        #[test]
        fn size_is_bounded_and_the_newest_entry_stays(
            steps in proptest::collection::vec((0_u32..40, proptest::bool::weighted(0.2)), 1..300),
            max_entries in 1_usize..20,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let cache = TestCache::default();
                let bounded = CacheSettings { max_entries, ..settings() };
                for (key, invalidate) in steps {
                    if invalidate {
                        cache.invalidate(&key);
                        assert!(cache.fresh(&key, bounded.ttl()).is_none());
                    } else {
                        let (value, _) = cache.get(key, &bounded, async move { Ok(u64::from(key) * 2) }).await;
                        assert_eq!(value.unwrap(), u64::from(key) * 2);
                        assert_eq!(cache.fresh(&key, bounded.ttl()), Some(u64::from(key) * 2));
                    }
                    assert!(cache.len() <= max_entries);
                    assert!(cache.lock().order.len() <= 2 * max_entries.max(16) + 1);
                }
            });
        }
    }
}
