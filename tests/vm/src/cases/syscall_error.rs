//! `syscall-error`: each call fails with the chosen errno, for the unit and the objects that were chosen.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Result, ensure};
use observastack_loader::abi::syscall_error::{SyscallErrorRule, call, family, kind};

use super::Case;
use crate::{
    agent::{Agent, Calls},
    rules::{Plan, errno},
    scene::Scene,
    tool::Background,
    wait,
};

pub(super) const CASES: &[Case] = &[
    ("fails_every_call_until_it_is_cleared", every_call),
    ("gives_every_chosen_errno", every_errno),
    ("looks_the_same_to_strace", strace),
    ("fails_exactly_the_predicted_calls", predicted),
    ("with_a_path_leaves_other_paths_alone", path),
    ("with_a_file_leaves_other_files_alone", one_file),
    ("with_a_file_system_leaves_others_alone", file_system),
    ("with_kinds_of_files_leaves_others_alone", kinds),
    ("with_a_family_leaves_other_sockets_alone", families),
];

const UNIT: &str = "target.service";
const TIMES: u32 = 4;

/// The magic numbers of `statfs(2)`.
const TMPFS: u64 = 0x0102_1994;
const PROC: u64 = 0x9fa0;

/// The client's calls, and what the rules call them.
const CALLS: [(&str, u32); 16] = [
    ("open", call::OPEN),
    ("read", call::READ),
    ("write", call::WRITE),
    ("mmap", call::MMAP),
    ("socket", call::SOCKET),
    ("connect", call::CONNECT),
    ("accept", call::ACCEPT),
    ("listen", call::LISTEN),
    ("send", call::SEND),
    ("receive", call::RECEIVE),
    ("clone", call::CLONE),
    ("exec", call::EXEC),
    ("unlink", call::UNLINK),
    ("rename", call::RENAME),
    ("mkdir", call::MKDIR),
    ("stat", call::STAT),
];

/// A rule for calls. What a client and its test say to each other goes through pipes, so reading and writing is always
/// about regular files.
fn calls(calls: u32) -> SyscallErrorRule {
    SyscallErrorRule {
        calls,
        data_kinds: kind::REGULAR,
        ..SyscallErrorRule::default()
    }
}

/// What a client sees of a call, every time alike.
fn sees(client: &mut Agent, objects: Calls, name: &str, errno: i32) -> Result<()> {
    let seen = client.call(objects, name, TIMES)?;
    ensure!(
        seen == [errno; TIMES as usize],
        "{name}: expected {errno}, seen {seen:?}"
    );
    Ok(())
}

fn every_call(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let objects = target.prepare_calls(&folder.path().join("target"))?;
    let others = bystander.prepare_calls(&folder.path().join("bystander"))?;
    let mut findings = Vec::new();
    for (name, bit) in CALLS {
        let found = one_call(
            scene,
            &mut target,
            objects,
            &mut bystander,
            others,
            (name, bit),
        );
        findings.extend(found.err().map(|error| format!("{name}: {error:#}")));
    }
    ensure!(findings.is_empty(), "{}", findings.join("; "));
    Ok(())
}

fn one_call(
    scene: &mut Scene,
    target: &mut Agent,
    objects: Calls,
    bystander: &mut Agent,
    others: Calls,
    (name, bit): (&str, u32),
) -> Result<()> {
    sees(target, objects, name, errno::OK)?;
    let armed = scene.arm(UNIT, Plan::always().syscall(errno::EIO, calls(bit)))?;
    let seen = sees(target, objects, name, errno::EIO);
    let besides = sees(bystander, others, name, errno::OK);
    let counts = scene.disarm(armed)?;
    seen?;
    besides?;
    let expected = u64::from(TIMES);
    ensure!(
        (counts.matched, counts.injected) == (expected, expected),
        "{expected} failed, the kernel counts {counts:?}"
    );
    sees(target, objects, name, errno::OK)
}

fn every_errno(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut target = scene.unit(UNIT)?;
    let objects = target.prepare_calls(folder.path())?;
    // EPERM, ENOENT, EMFILE, ENOSPC, EDQUOT.
    for errno in [1, 2, 24, 28, 122] {
        let armed = scene.arm(UNIT, Plan::always().syscall(errno, calls(call::OPEN)))?;
        sees(&mut target, objects, "open", errno)?;
        scene.disarm(armed)?;
    }
    Ok(())
}

/// What the client says that it saw, seen by somebody else.
fn strace(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let said = folder.path().join("strace");
    let mut target = scene.unit(UNIT)?;
    let objects = target.prepare_calls(&folder.path().join("target"))?;
    let armed = scene.arm(UNIT, Plan::always().syscall(errno::EIO, calls(call::MKDIR)))?;
    let pid = target.pid();
    let tracing = Background::start(&format!(
        "strace -f -e trace=mkdir,mkdirat -o {} -p {pid}",
        said.display()
    ))?;
    wait::until(scene.deadline(), "strace has attached itself", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let tracer = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"));
        Ok(tracer.is_some_and(|tracer| tracer.trim() != "0"))
    })?;
    sees(&mut target, objects, "mkdir", errno::EIO)?;
    let counts = scene.disarm(armed)?;
    sees(&mut target, objects, "mkdir", errno::OK)?;
    let mut text = String::new();
    wait::until(scene.deadline(), "strace has written", || {
        text = fs::read_to_string(&said)?;
        Ok(text.lines().count() >= 2 * TIMES as usize)
    })?;
    drop(tracing);
    let (failed, made): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.contains("= -1 EIO"));
    ensure!(
        failed.len() as u64 == counts.injected
            && failed.len() == TIMES as usize
            && made.len() == TIMES as usize
            && made.iter().all(|line| line.ends_with("= 0")),
        "{text}, the kernel counts {counts:?}"
    );
    Ok(())
}

fn predicted(scene: &mut Scene) -> Result<()> {
    const MANY: u32 = 300;
    let folder = tempfile::tempdir()?;
    let plan = Plan::of(0.3, 1234).after_events(10);
    let mut target = scene.unit(UNIT)?;
    let objects = target.prepare_calls(folder.path())?;
    let armed = scene.arm(
        UNIT,
        plan.syscall(errno::EIO, calls(call::READ | call::WRITE)),
    )?;
    let mut seen = target.call(objects, "read", MANY / 2)?;
    seen.extend(target.call(objects, "write", MANY / 2)?);
    let expected: Vec<i32> = (0..u64::from(MANY))
        .map(|n| {
            if plan.faults(n) {
                errno::EIO
            } else {
                errno::OK
            }
        })
        .collect();
    ensure!(seen == expected, "expected {expected:?}, seen {seen:?}");
    let counts = scene.counts(armed)?;
    ensure!(
        (counts.matched, counts.injected) == (u64::from(MANY), plan.faulted_of(MANY.into())),
        "{counts:?}"
    );
    Ok(())
}

/// What of some objects fails under a rule, each with a call's name, and that the kernel counts those and no others.
fn fails_where(
    scene: &mut Scene,
    client: &mut Agent,
    rule: SyscallErrorRule,
    tries: &[(Calls, &str, bool)],
) -> Result<()> {
    let armed = scene.arm(UNIT, Plan::always().syscall(errno::EIO, rule))?;
    let mut findings = Vec::new();
    for (number, (objects, name, fails)) in tries.iter().enumerate() {
        let errno = if *fails { errno::EIO } else { errno::OK };
        let found = sees(client, *objects, name, errno);
        findings.extend(found.err().map(|error| format!("{number}: {error:#}")));
    }
    let counts = scene.disarm(armed)?;
    ensure!(findings.is_empty(), "{rule:?}: {}", findings.join("; "));
    let failed = tries.iter().filter(|(_, _, fails)| *fails).count() as u64 * u64::from(TIMES);
    ensure!(
        failed > 0 && (counts.matched, counts.injected) == (failed, failed),
        "{rule:?}: {failed} failed, the kernel counts {counts:?}"
    );
    Ok(())
}

/// The rule, about a path: what is there, and all below it.
fn at_path(rule: SyscallErrorRule, path: &Path) -> Result<SyscallErrorRule> {
    let there = path.metadata()?;
    let (major, minor) = (
        rustix::fs::major(there.dev()),
        rustix::fs::minor(there.dev()),
    );
    Ok(SyscallErrorRule {
        path_inode: there.ino(),
        path_device: major << 20 | minor,
        ..rule
    })
}

/// Files that were opened before the fault count as well: each client has opened its own when it was told to prepare.
fn path(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut target = scene.unit(UNIT)?;
    let mut prepare = |name: &str| target.prepare_calls(&folder.path().join(name));
    let covered = prepare("covered")?;
    let below = prepare("covered/a/b/c/d")?;
    let other = prepare("covered-not")?;
    for (name, bit) in [
        ("open", call::OPEN),
        ("read", call::READ),
        ("write", call::WRITE),
        ("unlink", call::UNLINK),
        ("rename", call::RENAME),
        ("mkdir", call::MKDIR),
        ("stat", call::STAT),
    ] {
        let rule = at_path(calls(bit), &folder.path().join("covered"))?;
        let tries = [
            (covered, name, true),
            (below, name, true),
            (other, name, false),
        ];
        fails_where(scene, &mut target, rule, &tries)?;
    }
    Ok(())
}

fn one_file(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut target = scene.unit(UNIT)?;
    let objects = target.prepare_calls(&folder.path().join("one"))?;
    let other = target.prepare_calls(&folder.path().join("two"))?;
    let all = call::OPEN | call::READ | call::STAT;
    let rule = at_path(calls(all), &folder.path().join("one/file"))?;
    let tries = [
        (objects, "open", true),
        (objects, "read", true),
        (objects, "stat", true),
        (objects, "open-folder", false),
        (other, "open", false),
        (other, "read", false),
        (other, "stat", false),
    ];
    fails_where(scene, &mut target, rule, &tries)
}

fn file_system(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut target = scene.unit(UNIT)?;
    let objects = target.prepare_calls(folder.path())?;
    for (magic, on_tmpfs) in [(TMPFS, true), (PROC, false)] {
        let rule = SyscallErrorRule {
            magic,
            ..calls(call::READ)
        };
        let tries = [
            (objects, "read", on_tmpfs),
            (objects, "read-proc", !on_tmpfs),
        ];
        fails_where(scene, &mut target, rule, &tries)?;
    }
    Ok(())
}

fn kinds(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut target = scene.unit(UNIT)?;
    let objects = target.prepare_calls(folder.path())?;
    // Reads: what isn't a regular file is left alone, the pipes that this test speaks through among them.
    let tries = [
        (objects, "read", true),
        (objects, "read-pipe", false),
        (objects, "receive", false),
        (objects, "receive-unix", false),
    ];
    fails_where(scene, &mut target, calls(call::READ), &tries)?;
    for (kinds, folders) in [(kind::REGULAR, false), (kind::DIRECTORY, true)] {
        let rule = SyscallErrorRule {
            kinds,
            ..calls(call::OPEN)
        };
        let tries = [
            (objects, "open", !folders),
            (objects, "open-folder", folders),
        ];
        fails_where(scene, &mut target, rule, &tries)?;
    }
    Ok(())
}

fn families(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut target = scene.unit(UNIT)?;
    let objects = target.prepare_calls(folder.path())?;
    for (bits, name, other) in [
        (call::SOCKET, "socket", "socket-unix"),
        (call::SEND, "send", "send-unix"),
        (call::RECEIVE, "receive", "receive-unix"),
    ] {
        for (families, unix) in [(family::INET, false), (family::UNIX, true)] {
            let rule = SyscallErrorRule {
                families,
                ..calls(bits)
            };
            let tries = [(objects, name, !unix), (objects, other, unix)];
            fails_where(scene, &mut target, rule, &tries)?;
        }
    }
    Ok(())
}
