//! What the other tests believe: each tool is there, works on this kernel, and sees what it is believed for.

use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::Case;
use crate::{
    rules::LOCALHOST,
    scene::{Scene, figure},
    tool::{self, Background, Disk, Finally, ran, run},
};

pub(super) const CASES: &[Case] = &[
    ("tc_sets_fq_and_clsact_and_takes_them_away", qdiscs),
    ("ping_sees_what_netem_delays", netem),
    ("ping_reaches_the_peer_and_the_peer_us", peer),
    ("ss_shows_and_destroys_connections", sockets),
    ("nstat_and_strace_count", counting),
    ("iperf3_comes_through_to_the_peer", throughput),
    ("dmsetup_delays_a_disk", delay),
    ("dmsetup_breaks_a_disk", flakey),
    ("ext4_is_made_and_mounted", file_system),
    ("cgroups_of_units_have_their_controllers", controllers),
];

fn qdiscs(_: &mut Scene) -> Result<()> {
    run("tc qdisc replace dev lo root fq flow_limit 1000")?;
    let shown = run("tc qdisc show dev lo")?;
    let removed = run("tc qdisc del dev lo root")?;
    ensure!(
        shown.contains("qdisc fq ") && shown.contains("flow_limit 1000p"),
        "{shown}{removed}"
    );
    run("tc qdisc add dev lo clsact")?;
    let shown = run("tc qdisc show dev lo")?;
    run("tc qdisc del dev lo clsact")?;
    ensure!(shown.contains("qdisc clsact "), "{shown}");
    let left = run("tc qdisc show dev lo")?;
    ensure!(left.contains("qdisc noqueue "), "left on lo: {left}");
    Ok(())
}

/// The shortest round trip in milliseconds.
fn shortest_ms(said: &str) -> Result<f64> {
    let figures = said.split("min/avg/max").nth(1).context("no round trips")?;
    let shortest = figures
        .split(" = ")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    Ok(shortest
        .with_context(|| format!("no figure: {said}"))?
        .parse()?)
}

fn netem(_: &mut Scene) -> Result<()> {
    run("tc qdisc replace dev lo root netem delay 100ms")?;
    let delayed = {
        let _removal = Finally::run("tc qdisc del dev lo root");
        shortest_ms(&run("ping -c 3 -i 0.2 127.0.0.1")?)?
    };
    let free = shortest_ms(&run("ping -c 3 -i 0.2 127.0.0.1")?)?;
    figure(&format!(
        "ping takes {free} ms, and {delayed} ms with a delay of 100 ms on both ways"
    ));
    ensure!((200.0..400.0).contains(&delayed), "{delayed} ms");
    ensure!(free < 100.0, "{free} ms without a delay");
    // A distribution is read from a file of its own.
    run("tc qdisc replace dev lo root netem delay 10ms 2ms distribution normal")?;
    run("tc qdisc del dev lo root").map(drop)
}

fn peer(_: &mut Scene) -> Result<()> {
    for line in [
        "ping -c 1 -W 20 10.99.0.2",
        "ping -c 1 -W 20 fd99::2",
        "ip netns exec peer ping -c 1 -W 20 10.99.0.1",
        "ip netns exec peer ping -c 1 -W 20 fd99::1",
    ] {
        run(line)?;
    }
    // A peer beyond the wire, not another address of this machine's.
    let route = run("ip route get 10.99.0.2")?;
    ensure!(route.contains("dev veth0"), "{route}");
    let unreachable = ran("ping -c 1 -W 1 10.99.0.3")?;
    ensure!(!unreachable.success, "somebody answers: {unreachable:?}");
    Ok(())
}

fn sockets(scene: &mut Scene) -> Result<()> {
    let listener = TcpListener::bind((LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_read_timeout(Some(scene.deadline()))?;
    server.set_read_timeout(Some(scene.deadline()))?;

    let filter = format!("dst {LOCALHOST} dport = :{port}");
    let shown = run(&format!("ss -Htnp {filter}"))?;
    ensure!(
        shown.lines().count() == 1 && shown.contains(&format!("pid={}", std::process::id())),
        "{shown}"
    );
    run(&format!("ss -Htn -K {filter}"))?;
    let local = client
        .read(&mut [0])
        .err()
        .and_then(|error| error.raw_os_error());
    let remote = server
        .read(&mut [0])
        .err()
        .and_then(|error| error.raw_os_error());
    let expected = [rustix::io::Errno::CONNABORTED, rustix::io::Errno::CONNRESET];
    ensure!(
        [local, remote] == expected.map(|errno| Some(errno.raw_os_error())),
        "the destroyed end sees {local:?}, the other {remote:?}"
    );
    ensure!(run(&format!("ss -Htn {filter}"))?.is_empty(), "still there");
    let udp = std::net::UdpSocket::bind((LOCALHOST, 0))?;
    let port = udp.local_addr()?.port();
    let shown = run(&format!("ss -Hlun sport = :{port}"))?;
    ensure!(shown.lines().count() == 1, "{shown}");
    Ok(())
}

fn counting(_: &mut Scene) -> Result<()> {
    let echoes = || -> Result<u64> {
        let said = run("nstat -asz IcmpInEchos")?;
        let words: Vec<&str> = said
            .lines()
            .find_map(|line| line.strip_prefix("IcmpInEchos"))
            .with_context(|| format!("no count: {said}"))?
            .split_whitespace()
            .collect();
        Ok(words.first().context("no figure")?.parse()?)
    };
    let before = echoes()?;
    run("ping -c 3 -i 0.2 127.0.0.1")?;
    let seen = echoes()? - before;
    ensure!(seen == 3, "nstat counts {seen} of 3");

    let traced = ran("strace -e trace=openat cat /proc/version")?;
    ensure!(
        traced.success && traced.stderr.contains("\"/proc/version\", O_RDONLY"),
        "{traced:?}"
    );
    // What a fault of the kernel's looks like from outside.
    let missing = ran("strace -e inject=openat:error=EIO cat /proc/version")?;
    ensure!(
        !missing.success && missing.stderr.contains("EIO"),
        "{missing:?}"
    );
    Ok(())
}

fn throughput(scene: &mut Scene) -> Result<()> {
    let _server = Background::start("ip netns exec peer iperf3 -s")?;
    let mut said = String::new();
    crate::wait::until(scene.deadline(), "iperf3 comes through to the peer", || {
        let ran = ran("iperf3 -c 10.99.0.2 -n 1M --json")?;
        said = ran.stdout;
        Ok(ran.success)
    })?;
    let sent = said.split("\"sum_sent\"").nth(1).context("no sum")?;
    ensure!(sent.contains("\"bytes\":\t1048576"), "{sent}");
    Ok(())
}

const SECOND: Duration = Duration::from_secs(1);

/// Reads one block past the page cache.
fn read_block(path: &str) -> Result<tool::Ran> {
    ran(&format!(
        "dd if={path} of=/dev/null bs=4096 count=1 iflag=direct"
    ))
}

fn delay(_: &mut Scene) -> Result<()> {
    let disk = Disk::new(16)?;
    let mapped = disk.map("slow", "delay", "1000")?;
    let read = read_block(&mapped.path)?;
    figure(&format!(
        "a read that is delayed by 1 s takes {:?}",
        read.took
    ));
    ensure!(read.success && read.took >= SECOND, "{read:?}");
    ensure!(run("dmsetup table slow")?.contains(" delay "), "no delay");
    // Another table under an open device is how a fault comes and goes.
    let linear = format!("0 {} linear {} 0", disk.sectors, disk.device);
    fs::write("/tmp/linear", linear)?;
    run("dmsetup load slow /tmp/linear")?;
    run("dmsetup resume slow")?;
    let read = read_block(&mapped.path)?;
    ensure!(read.success, "{read:?}");
    ensure!(
        run("dmsetup table slow")?.contains(" linear "),
        "still delayed"
    );
    fs::remove_file("/tmp/linear")?;
    Ok(())
}

fn flakey(_: &mut Scene) -> Result<()> {
    let disk = Disk::new(16)?;
    let broken = {
        let mapped = disk.map("broken", "flakey", "0 100")?;
        read_block(&mapped.path)?
    };
    ensure!(
        !broken.success && broken.stderr.contains("Input/output error"),
        "{broken:?}"
    );
    let whole = read_block(&disk.device)?;
    ensure!(whole.success, "{whole:?}");
    ensure!(
        run("dmsetup ls")?.contains("No devices found"),
        "the device is still there"
    );
    Ok(())
}

fn file_system(_: &mut Scene) -> Result<()> {
    let disk = Disk::new(64)?;
    let mapped = disk.map("data", "linear", "")?;
    run(&format!("mkfs.ext4 -q {}", mapped.path))?;
    let place = "/tmp/mounted";
    fs::create_dir(place)?;
    run(&format!("mount -t ext4 {} {place}", mapped.path))?;
    let written = fs::write(format!("{place}/file"), "kept");
    run(&format!("umount {place}"))?;
    written?;
    run(&format!("e2fsck -f -n {}", mapped.path))?;
    run(&format!("mount -t ext4 {} {place}", mapped.path))?;
    let read = fs::read_to_string(format!("{place}/file"));
    run(&format!("umount {place}"))?;
    fs::remove_dir(place)?;
    ensure!(read? == "kept", "the file is another");
    Ok(())
}

fn controllers(scene: &mut Scene) -> Result<()> {
    let unit = scene.make_unit("limited.service")?;
    for (file, limit) in [
        ("cpu.max", "20000 100000"),
        ("memory.max", "67108864"),
        ("pids.max", "8"),
    ] {
        let path = unit.join(file);
        fs::write(&path, limit).with_context(|| path.display().to_string())?;
        let kept = fs::read_to_string(&path)?;
        ensure!(kept.trim() == limit, "{file} is {kept}");
    }
    ensure!(unit.join("io.stat").is_file(), "no io.stat");
    scene.remove(&unit)
}
