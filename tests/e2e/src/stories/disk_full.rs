//! A full disk while a configuration is written.

use std::{fs, io::Write};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    command,
    http::curl,
    lab::{self, API_2},
    story::test,
    systemd,
};

const STATE: &str = "/var/lib/observastack/api-2";

pub(super) fn tests() -> Vec<Trial> {
    vec![test(
        "config::a_full_disk_refuses_a_change_and_leaves_the_old_one_whole",
        disk_full,
    )]
}

fn disk_full() -> Result<()> {
    // The state directory becomes a file system of its own, of 64 KiB; the repair unmounts it.
    systemd::stop(API_2)?;
    let owner = command::output(&["stat", "--format=uid=%u,gid=%g,mode=%a", STATE])?;
    let options = format!("size=64k,nodev,nosuid,noexec,{}", owner.trim());
    command::output(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs", STATE])?;
    systemd::start(API_2)?;
    let before = lab::configure("api@2", &["limits.max_page=33"])?;
    let file = format!("{STATE}/config.json");
    let on_disk = fs::read_to_string(&file)?;

    let mut filler = fs::File::create(format!("{STATE}/filler"))?;
    while filler.write_all(&[0; 1024]).is_ok() {}
    let refused = lab::ctl_ran(&["config", "set", "api@2", "limits.max_page=44"])?;
    refused.expect(1)?;
    refused.says(&["no space left to write", STATE])?;
    let raw = curl(&[
        "--unix-socket",
        "/run/observastack/api-2/admin.sock",
        "--request",
        "PATCH",
        "--data",
        r#"{"limits":{"max_page":44}}"#,
        "--header",
        "content-type: application/merge-patch+json",
        "http://localhost/config",
    ])?;
    raw.expect(507)?;

    ensure!(
        lab::config("api@2")? == before,
        "a refused change took effect"
    );
    curl(&["http://127.0.0.1:8102/products?limit=33"])?.expect(200)?;
    curl(&["http://127.0.0.1:8102/products?limit=34"])?.expect(422)?;
    ensure!(
        fs::read_to_string(&file)? == on_disk,
        "the file on the disk has changed"
    );
    let mut left: Vec<_> = fs::read_dir(STATE)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    left.sort();
    ensure!(left == ["config.json", "filler"], "left behind: {left:?}");

    // It comes back with the old one after a crash on the full disk, and takes changes again when there is room.
    let killed = systemd::kill_9(API_2)?;
    systemd::wait_restarted(API_2, killed)?;
    ensure!(
        lab::config("api@2")?["config"] == before["config"],
        "the configuration is lost"
    );
    drop(filler);
    fs::remove_file(format!("{STATE}/filler"))?;
    let changed = lab::configure("api@2", &["limits.max_page=44"])?;
    ensure!(
        changed["version"].as_u64() == before["version"].as_u64().map(|version| version + 1),
        "{changed}"
    );
    Ok(())
}
