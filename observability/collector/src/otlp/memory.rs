//! How much memory all requests that are being read take together. A slow sender holds what it has sent, no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Memory {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// One request's part of it, free again when dropped.
#[derive(Debug)]
pub struct Share {
    of: Memory,
    bytes: usize,
}

impl Memory {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            used: Arc::default(),
            limit,
        }
    }

    /// Nothing yet.
    #[must_use]
    pub fn share(&self) -> Share {
        Share {
            of: self.clone(),
            bytes: 0,
        }
    }
}

impl Share {
    /// Takes more; `false` where the budget does not allow it.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let before = self.of.used.fetch_add(bytes, Ordering::AcqRel);
        self.bytes += bytes;
        before + bytes <= self.of.limit
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
