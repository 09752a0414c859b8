//! Which cgroups belong to a unit, whatever is removed and made anew under it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use observastack_loader::abi::unit::{CGROUP_PLACES, place_of};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::Case;
use crate::{
    agent::{Agent, Protocol},
    cgroups,
    rules::{LOCALHOST, Plan, errno},
    scene::Scene,
    traffic::{Acceptor, outside, send, settled},
};

pub(super) const CASES: &[Case] = &[
    (
        "restarted_is_faulted_from_its_first_connect_and_packet",
        restarted,
    ),
    (
        "that_does_not_exist_yet_is_faulted_when_it_appears",
        not_yet,
    ),
    ("has_the_cgroups_below_it_also_later_ones", below),
    ("is_only_what_lies_right_in_the_slice", elsewhere),
    ("cleared_is_not_faulted_when_it_starts_again", cleared),
    ("with_a_longer_name_is_another_unit", longer_name),
    ("is_faulted_in_a_slice_that_was_made_anew", slice_made_anew),
    (
        "is_faulted_after_its_slice_was_seen_missing",
        slice_seen_missing,
    ),
    (
        "of_a_cgroup_v1_hierarchy_with_the_same_id_is_another",
        cgroup_v1,
    ),
    (
        "is_told_from_another_whose_cgroup_has_the_same_place",
        same_place,
    ),
];

const UNIT: &str = "target.service";

/// Whether a client's very next connect fails with the errno of these tests' rules.
fn is_faulted(client: &mut Agent, server: &Acceptor) -> Result<bool> {
    match client.connect(Protocol::Tcp, server.address, 1)?.as_slice() {
        [errno::EHOSTUNREACH] => Ok(true),
        [errno::OK] => Ok(false),
        other => bail!("the client saw {other:?}"),
    }
}

fn rule() -> observastack_loader::Rule {
    Plan::always().error(errno::EHOSTUNREACH)
}

fn restarted(scene: &mut Scene) -> Result<()> {
    const RESTARTS: u64 = 3;
    let (server, socket) = (Acceptor::start(LOCALHOST)?, outside(LOCALHOST)?);
    let path = scene.make_unit(UNIT)?;
    let errors = scene.arm(UNIT, rule())?;
    let losses = scene.arm(UNIT, Plan::always().loss())?;
    for start in 1..=RESTARTS {
        let mut client = scene.client(&path)?;
        ensure!(
            is_faulted(&mut client, &server)?,
            "start {start}: the first connect works"
        );
        let sink = client.udp_sink(LOCALHOST)?;
        send(&socket, &[sink.address], start - 1..start)?;
        settled(scene, &mut client, sink, &[losses], start)
            .with_context(|| format!("start {start}"))?;
        ensure!(
            client.received(sink)?.is_empty(),
            "start {start}: the first packet arrives"
        );
        drop(client);
        scene.remove(&path)?;
        cgroups::make(&path)?;
    }
    let counts = scene.counts(errors)?;
    ensure!(
        (counts.matched, counts.injected) == (RESTARTS, RESTARTS),
        "{counts:?}"
    );
    Ok(())
}

fn not_yet(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let armed = scene.arm(UNIT, rule())?;
    let mut other = scene.unit("other.service")?;
    ensure!(!is_faulted(&mut other, &server)?, "another unit is faulted");
    let mut client = scene.unit(UNIT)?;
    ensure!(is_faulted(&mut client, &server)?, "the new unit is not");
    ensure!(scene.counts(armed)?.matched == 1, "counted wrongly");
    Ok(())
}

fn below(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let unit = scene.make_unit(UNIT)?;
    let before = unit.join("before");
    cgroups::make(&before)?;
    cgroups::make(&before.join("deep"))?;
    scene.arm(UNIT, rule())?;
    let later = unit.join("later");
    cgroups::make(&later)?;
    cgroups::make(&later.join("deep"))?;
    // Below one that was there, a later one.
    cgroups::make(&before.join("later"))?;
    for path in [
        "before",
        "before/deep",
        "later",
        "later/deep",
        "before/later",
    ] {
        let mut client = scene.client(&unit.join(path))?;
        ensure!(is_faulted(&mut client, &server)?, "{path} is not faulted");
    }
    Ok(())
}

/// The name alone doesn't make it: a cgroup of that name in another unit, or beside the slice, is somebody else's.
fn elsewhere(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    scene.arm(UNIT, rule())?;
    let nested = scene.make_unit("other.service")?.join(UNIT);
    cgroups::make(&nested)?;
    let beside = scene.slice().with_file_name(format!(
        "observastack-kerneltest{}-{UNIT}",
        std::process::id()
    ));
    cgroups::make(&beside)?;
    let beside_unit = beside.join(UNIT);
    let seen = cgroups::make(&beside_unit).and_then(|()| {
        let mut inside_other = scene.client(&nested)?;
        let mut outside_slice = scene.client(&beside_unit)?;
        Ok((
            is_faulted(&mut inside_other, &server)?,
            is_faulted(&mut outside_slice, &server)?,
        ))
    });
    scene.remove(&beside)?;
    let (inside_other, outside_slice) = seen?;
    ensure!(!inside_other, "a cgroup inside another unit is faulted");
    ensure!(!outside_slice, "a cgroup beside the slice is faulted");
    let mut target = scene.unit(UNIT)?;
    ensure!(is_faulted(&mut target, &server)?, "the unit itself is not");
    Ok(())
}

fn cleared(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let path = scene.make_unit(UNIT)?;
    let armed = scene.arm(UNIT, rule())?;
    // Others keep the programs attached.
    scene.arm("other.service", rule())?;
    scene.disarm(armed)?;
    let mut client = scene.client(&path)?;
    ensure!(!is_faulted(&mut client, &server)?, "still faulted");
    drop(client);
    scene.remove(&path)?;
    cgroups::make(&path)?;
    let mut client = scene.client(&path)?;
    ensure!(
        !is_faulted(&mut client, &server)?,
        "faulted by its new start"
    );
    Ok(())
}

/// The longest name that fits, and one that begins with all of it.
fn longer_name(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let longest = "x".repeat(63);
    scene.arm(&longest, rule())?;
    let mut other = scene.unit(&format!("{longest}y"))?;
    let mut target = scene.unit(&longest)?;
    ensure!(
        is_faulted(&mut target, &server)?,
        "a name of 63 bytes is not known"
    );
    ensure!(
        !is_faulted(&mut other, &server)?,
        "a name of 64 bytes is taken for one of 63"
    );
    Ok(())
}

/// As when systemd stops and starts the slice between two looks.
fn slice_made_anew(scene: &mut Scene) -> Result<()> {
    remake_slice(scene, false)
}

/// As when systemd stops the slice, and starts it after somebody has looked.
fn slice_seen_missing(scene: &mut Scene) -> Result<()> {
    remake_slice(scene, true)
}

fn remake_slice(scene: &mut Scene, look_between: bool) -> Result<()> {
    let (server, socket) = (Acceptor::start(LOCALHOST)?, outside(LOCALHOST)?);
    let path = scene.make_unit(UNIT)?;
    scene.arm(UNIT, rule())?;
    let losses = scene.arm(UNIT, Plan::always().id(2).loss())?;
    ensure!(!scene.loader.follow()?, "the slice has not changed");

    let slice = scene.slice().to_owned();
    scene.remove(&slice)?;
    if look_between {
        ensure!(scene.loader.follow()?, "the slice is gone");
    }
    cgroups::make(&slice)?;
    // One unit before the look, and one after it.
    cgroups::make(&path)?;
    ensure!(scene.loader.follow()?, "the slice is a new one");
    let mut client = scene.client(&path)?;
    ensure!(
        is_faulted(&mut client, &server)?,
        "the unit in the new slice is not faulted"
    );
    let sink = client.udp_sink(LOCALHOST)?;
    send(&socket, &[sink.address], 0..1)?;
    settled(scene, &mut client, sink, &[losses], 1)?;
    ensure!(
        client.received(sink)?.is_empty(),
        "a packet arrives in the new slice"
    );
    drop(client);
    scene.remove(&path)?;
    cgroups::make(&path)?;
    let mut client = scene.client(&path)?;
    ensure!(
        is_faulted(&mut client, &server)?,
        "the unit that came after the look is not faulted"
    );
    Ok(())
}

/// Every hierarchy numbers its cgroups by itself. Here one of cgroup v1 gets the very number of the unit's, and goes.
fn cgroup_v1(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let mount_point = tempfile::tempdir()?;
    let name = format!("none,name=observastack-kerneltest{}", std::process::id());
    let options = std::ffi::CString::new(name)?;
    mount(
        "none",
        mount_point.path(),
        "cgroup",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .context("cannot mount a cgroup v1 hierarchy")?;
    let result = same_id(scene, mount_point.path(), &server);
    // A failed test may leave it, and a hierarchy with cgroups outlives its mount.
    let _ = fs::remove_dir(mount_point.path().join(UNIT));
    unmount(mount_point.path(), UnmountFlags::empty())?;
    result
}

fn same_id(scene: &mut Scene, v1: &Path, server: &Acceptor) -> Result<()> {
    scene.arm(UNIT, rule())?;
    let twin = v1.join(UNIT);
    let path = scene.make_unit(UNIT)?;
    // Numbers only grow. The other hierarchy's come in small steps from 1, the unit's in larger ones.
    for round in 0..1000 {
        let id = fs::metadata(&path)?.ino();
        let mut twin_id = 0;
        while twin_id < id {
            cgroups::make(&twin)?;
            twin_id = fs::metadata(&twin)?.ino();
            if twin_id == id {
                let mut client = scene.client(&path)?;
                ensure!(
                    is_faulted(&mut client, server)?,
                    "not faulted beside its twin"
                );
                fs::remove_dir(&twin)?;
                ensure!(
                    is_faulted(&mut client, server)?,
                    "not faulted since a v1 cgroup with its number went"
                );
                return Ok(());
            }
            fs::remove_dir(&twin)?;
        }
        // Where the larger step is a multiple of the small one, they would miss each other for ever: a cgroup without controllers is a
        // step of another size.
        if round % 2 == 0 {
            cgroups::make(&path.join("below"))?;
        }
        scene.remove(&path)?;
        cgroups::make(&path)?;
    }
    bail!("no v1 cgroup got the unit's number")
}

/// Two units with cgroups that the table in front of the kernel's table has one place for. Cgroups below a unit's own count as it.
fn same_place(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let (one, other) = (scene.make_unit(UNIT)?, scene.make_unit("other.service")?);
    let (path, other_path) = sharing_a_place(&one, &other)?;
    let (mut client, mut bystander) = (scene.client(&path)?, scene.client(&other_path)?);
    let mut expect = |what: &str, expected: (bool, bool)| -> Result<()> {
        let seen = (
            is_faulted(&mut client, &server)?,
            is_faulted(&mut bystander, &server)?,
        );
        ensure!(seen == expected, "{what}: {seen:?} instead of {expected:?}");
        Ok(())
    };
    let armed = scene.arm(UNIT, rule())?;
    expect("one has a rule", (true, false))?;
    let second = scene.arm("other.service", rule())?;
    expect("both have one", (true, true))?;
    let counts = scene.disarm(second)?;
    ensure!((counts.matched, counts.injected) == (1, 1), "{counts:?}");
    expect("the other's is cleared", (true, false))?;
    scene.arm("other.service", rule())?;
    let counts = scene.disarm(armed)?;
    ensure!((counts.matched, counts.injected) == (3, 3), "{counts:?}");
    expect("only the other has one", (false, true))?;
    scene.arm(UNIT, rule())?;
    drop(bystander);
    scene.remove(&other_path)?;
    ensure!(
        is_faulted(&mut client, &server)?,
        "not faulted since a cgroup with its place is gone"
    );
    Ok(())
}

/// Makes a cgroup in each that share a place.
///
/// Each cgroup moves the kernel's count by the same number, so after some thousands of them the count comes by the same place again,
/// unless something else on this machine moved it meanwhile.
fn sharing_a_place(one: &Path, other: &Path) -> Result<(PathBuf, PathBuf)> {
    let place = |path: &Path| -> Result<u32> { Ok(place_of(fs::metadata(path)?.ino())) };
    for attempt in 0..5 {
        let path = one.join(attempt.to_string());
        cgroups::make(&path)?;
        let wanted = place(&path)?;
        let other_path = other.join("below");
        for _ in 0..=CGROUP_PLACES {
            cgroups::make(&other_path)?;
            if place(&other_path)? == wanted {
                return Ok((path, other_path));
            }
            fs::remove_dir(&other_path)?;
        }
    }
    bail!("no two cgroups share a place")
}
