//! Work that must come to its end although nobody waits for it any more: placing an order whose client went away, giving
//! back a reservation. The stop waits for it.

use observastack_telemetry::traces;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Instrument;

/// Starts such work and knows how much is under way. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Background(watch::Sender<usize>);

impl Default for Background {
    fn default() -> Self {
        Background(watch::Sender::new(0))
    }
}

impl Background {
    /// Starts `work`, in the trace that it is started in; dropping the handle does not end it.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.send_modify(|running| *running += 1);
        let running = Running(self.0.clone());
        let work = async move {
            let _running = running;
            work.await
        };
        tokio::spawn(traces::current().around(work).in_current_span())
    }

    /// Waits until nothing is under way. Work that starts other work before it ends is waited for with it.
    pub async fn drained(&self) {
        // Fails when the sender is gone only, and we hold one.
        let _ = self.0.subscribe().wait_for(|running| *running == 0).await;
    }

    /// How much is under way.
    pub fn running(&self) -> usize {
        *self.0.borrow()
    }
}

struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_drain_waits_for_work_and_for_what_the_work_started() {
        let background = Background::default();
        let (finish_outer, outer_may_finish) = oneshot::channel::<()>();
        let (finish_inner, inner_may_finish) = oneshot::channel::<()>();
        let outer = background.spawn({
            let background = background.clone();
            async move {
                outer_may_finish.await.unwrap();
                background.spawn(async move { inner_may_finish.await.unwrap() });
            }
        });
        let mut drained = std::pin::pin!(background.drained());
        let is_pending = async |drained: &mut std::pin::Pin<&mut _>| {
            tokio::select! {
                biased;
                () = drained => false,
                () = tokio::task::yield_now() => true,
            }
        };
        assert!(is_pending(&mut drained).await);
        finish_outer.send(()).unwrap();
        outer.await.unwrap();
        assert!(is_pending(&mut drained).await);
        assert_eq!(background.running(), 1);
        finish_inner.send(()).unwrap();
        drained.await;
        assert_eq!(background.running(), 0);
    }

    #[tokio::test]
    async fn work_that_panics_or_is_aborted_does_not_hold_up_the_drain() {
        let background = Background::default();
        assert!(
            background
                .spawn(async { panic!("on purpose") })
                .await
                .is_err()
        );
        let endless = background.spawn(std::future::pending::<()>());
        endless.abort();
        assert!(endless.await.is_err());
        background.drained().await;
    }
}
