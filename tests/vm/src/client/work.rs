//! Work of a known amount, for the probes to see.

use std::{
    fs::{self, File, OpenOptions},
    hint::black_box,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::Socket;

use crate::traffic::{MESSAGE_LEN, message};

/// `O_DIRECT` of x86 and most others.
const O_DIRECT: i32 = 0o40000;
/// What a device is read and written by: aligned to, and as long as this.
const BLOCK: usize = 4096;

/// Computes for so long on one CPU; how long it waited for that CPU meanwhile, as the kernel has it (`/proc/PID/schedstat`).
pub(super) fn burn(cpu: usize, length: Duration) -> Result<u64> {
    stay_on(cpu)?;
    let before = run_delay_ns()?;
    let end = Instant::now() + length;
    let mut n = 0u64;
    while Instant::now() < end {
        n = black_box(n.wrapping_mul(3) + 1);
    }
    Ok(run_delay_ns()? - before)
}

/// Runs on this CPU only.
pub(super) fn stay_on(cpu: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu);
    Ok(sched_setaffinity(None, &one)?)
}

fn run_delay_ns() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let delay = text.split_whitespace().nth(1).context("no run delay")?;
    Ok(delay.parse()?)
}

/// Writes into so many pages that were not there before; how many page faults the kernel has counted for it (`/proc/PID/stat`).
pub(super) fn touch(pages: usize) -> Result<u64> {
    let before = minor_faults()?;
    let mut memory = vec![0u8; pages * BLOCK];
    for page in memory.chunks_mut(BLOCK) {
        page[0] = black_box(1);
    }
    black_box(&memory);
    Ok(minor_faults()? - before)
}

fn minor_faults() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = text.rsplit_once(')').context("no name")?;
    let faults = rest.split_whitespace().nth(7).context("no minflt")?;
    Ok(faults.parse()?)
}

/// Allocates and fills memory until it has so much of it, or somebody ends this process.
pub(super) fn eat(bytes: usize) -> String {
    let mut memory = Vec::new();
    while memory.len() * BLOCK < bytes {
        memory.push([black_box(7u8); BLOCK]);
    }
    black_box(&memory).len().to_string()
}

/// Opens so many connections and ends each with a reset.
pub(super) fn resets(address: SocketAddr, times: u32) -> Result<()> {
    for _ in 0..times {
        let socket = Socket::from(TcpStream::connect(address)?);
        socket.set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// So many requests on one connection, each answered before the next.
pub(super) fn requests(address: SocketAddr, times: u64) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answer = [0; MESSAGE_LEN];
    for n in 0..times {
        stream.write_all(&message(n, 0))?;
        stream.read_exact(&mut answer)?;
    }
    Ok(())
}

/// Reads and writes a device directly, and has it write what it keeps in its cache: each so many times.
pub(super) fn direct_io(path: &Path, reads: u32, writes: u32, flushes: u32) -> Result<()> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_DIRECT)
        .open(path)?;
    let mut memory = vec![0u8; 2 * BLOCK];
    let start = memory.as_ptr().align_offset(BLOCK);
    let block = &mut memory[start..start + BLOCK];
    for n in 0..reads {
        device.read_exact_at(block, u64::from(n) * BLOCK as u64)?;
    }
    for n in 0..writes {
        device.write_all_at(block, u64::from(n) * BLOCK as u64)?;
    }
    for _ in 0..flushes {
        device.sync_data()?;
    }
    Ok(())
}

/// Opens a file that is not there.
pub(super) fn open_missing(times: u32) {
    for _ in 0..times {
        drop(black_box(File::open("/nonexistent/file")));
    }
}
