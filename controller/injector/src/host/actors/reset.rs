//! Destroys established TCP connections of a unit, once or again and again.
//!
//! User space, so not timed by the kernel: a connection that is made and closed between two rounds is not seen.

use std::{collections::BTreeSet, io, net::IpAddr, os::unix::fs::MetadataExt, path::PathBuf};

use tracing::debug;

use super::{Choice, Pace, Run, with_descendants};
use observastack_loader::sock_diag::{Connection, SockDiag};

/// Destroys connections.
#[derive(Clone, Debug)]
pub struct Reset {
    /// The unit's cgroups: a socket belongs to the one that made it.
    pub cgroups: Vec<PathBuf>,
    /// Only connections with this port, here or there.
    pub port: Option<u16>,
    /// Only connections with peers in this network.
    pub peers: Option<Network>,
    /// How often.
    pub pace: Pace,
    /// Which share of the connections of each round.
    pub choice: Choice,
}

/// A network: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// An address in it.
    pub address: IpAddr,
    /// 0 to 32, or 128.
    pub prefix: u8,
}

impl Network {
    /// Whether an address is in the network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let (own, other, width) = match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let ignored = width - u32::from(self.prefix).min(width);
        // A shift by all 128 bits leaves nothing to compare.
        own.checked_shr(ignored).unwrap_or(0) == other.checked_shr(ignored).unwrap_or(0)
    }
}

impl Reset {
    pub(super) fn run(&self, run: &Run) {
        let mut diag = match SockDiag::open() {
            Ok(diag) => diag,
            Err(error) => {
                run.failed(&error, "cannot list connections");
                return;
            }
        };
        let mut n = 0;
        loop {
            if let Err(error) = self.round(run, &mut diag, &mut n) {
                run.failed(&error, "cannot destroy connections");
            }
            if !run.next(self.pace) {
                return;
            }
        }
    }

    /// Destroys what there is now. What the kernel still lists afterwards was not injected, whatever it answered.
    fn round(&self, run: &Run, diag: &mut SockDiag, n: &mut u64) -> io::Result<()> {
        let found = self.matching(diag)?;
        let mut chosen = BTreeSet::new();
        let mut failure = None;
        for connection in &found {
            let takes = self.choice.takes(*n);
            *n += 1;
            if !takes {
                continue;
            }
            chosen.insert(connection.cookie());
            if let Err(error) = diag.destroy(connection) {
                failure = failure.or(Some(error));
            }
        }
        let left = self.matching(diag)?;
        let survived = left
            .iter()
            .filter(|one| chosen.contains(&one.cookie()))
            .count() as u64;
        let (found, chosen) = (found.len() as u64, chosen.len() as u64);
        run.counts.add(found, chosen - survived, survived);
        debug!(
            fault = run.id,
            found,
            destroyed = chosen - survived,
            survived,
            "connections destroyed"
        );
        failure.map_or(Ok(()), Err)
    }

    fn matching(&self, diag: &mut SockDiag) -> io::Result<Vec<Connection>> {
        // A unit's cgroup is made anew by a restart, and has another id then.
        let ids: BTreeSet<u64> = with_descendants(&self.cgroups)
            .iter()
            .filter_map(|cgroup| Some(cgroup.metadata().ok()?.ino()))
            .collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = diag.established(&ids)?;
        found.retain(|connection| self.matches(connection));
        Ok(found)
    }

    fn matches(&self, connection: &Connection) -> bool {
        self.port
            .is_none_or(|port| connection.local_port == port || connection.peer_port == port)
            && self
                .peers
                .is_none_or(|peers| peers.contains(connection.peer))
    }
}
