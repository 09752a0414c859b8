//! `packet-loss` under TCP: a loss like a wire's, which the peer repairs by sending again.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::Case;
use crate::{
    netstat,
    rules::{LOCALHOST, Plan, binomial_99},
    scene::{Scene, figure},
    traffic::{MESSAGE_LEN, message},
};

pub(super) const CASES: &[Case] = &[
    (
        "of_what_arrives_is_repaired_by_as_many_retransmissions",
        |scene| as_many_retransmissions(scene, Plan::of(0.2, 77)),
    ),
    // A drop at a cgroup's egress, or one that the interface's queue reports, is a local error: hardly any retransmission.
    (
        "of_what_leaves_is_repaired_by_as_many_retransmissions",
        |scene| as_many_retransmissions(scene, Plan::of(0.2, 78).outward()),
    ),
];

const CONNECTIONS: u64 = 100;
/// Requests of one connection, each one packet, sent when the one before has its answer.
const REQUESTS: u64 = 50;

/// 5,000 requests complete under 20 % loss, and the host's retransmissions are about the drops.
///
/// A drop of a pure acknowledgement needs no retransmission; about every tenth packet is one. A request that is dropped
/// carried the acknowledgement of the answer before, so at times the server sends that one again too: twice the drops
/// is the most. A drop that TCP takes for a local error, as at a cgroup's egress, gives hardly any (1 for 12 drops).
fn as_many_retransmissions(scene: &mut Scene, plan: Plan) -> Result<()> {
    let mut server = scene.unit("target.service")?;
    let address = server.tcp_echo(LOCALHOST)?;
    let armed = scene.arm("target.service", plan.port(address.port()).loss())?;
    let before = netstat::counter("Tcp", "RetransSegs")?;

    let deadline = scene.deadline();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            thread::Builder::new()
                .stack_size(128 << 10)
                .spawn(move || requests(address, deadline))
        })
        .collect::<Result<_, _>>()?;
    let mut open = Vec::new();
    for client in clients {
        let stream = client
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))?;
        open.push(stream?);
    }
    // Before the connections end, so that their last packets don't count.
    let retransmitted = netstat::counter("Tcp", "RetransSegs")? - before;
    let counts = scene.counts(armed)?;
    drop(open);

    let (low, high) = binomial_99(counts.matched, plan.probability);
    ensure!(
        (low..=high).contains(&(counts.injected as f64)),
        "{} dropped of {}, outside {low:.0} to {high:.0}",
        counts.injected,
        counts.matched
    );
    let ratio = retransmitted as f64 / counts.injected as f64;
    let account = format!(
        "{retransmitted} retransmissions for {} drops of {} packets: ratio {ratio:.2}",
        counts.injected, counts.matched
    );
    figure(&account);
    ensure!((0.75..=2.0).contains(&ratio), "{account}");
    Ok(())
}

/// One connection's requests; a refused send or a missing answer is an error.
fn requests(server: SocketAddr, deadline: Duration) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).context("cannot connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(deadline))?;
    let mut answer = [0; MESSAGE_LEN];
    for n in 0..REQUESTS {
        let request = message(n, 0);
        stream
            .write_all(&request)
            .context("a send is refused locally")?;
        stream
            .read_exact(&mut answer)
            .with_context(|| format!("request {n} has no answer"))?;
        ensure!(answer == request, "request {n} has another's answer");
    }
    Ok(stream)
}
