//! What only a virtual machine with Debian's stock kernel can show. Emulated, everything takes 10 to 20 times as long: these tests ask what
//! happens, not how fast.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    command, http,
    lab::{self, POSTGRESQL, UNITS},
    story::test,
    systemd,
};

/// The unit that makes and mounts the data volume.
pub(super) const VOLUME: &str = "observastack-data-volume.service";
/// What the playbook's `observastack_data_volume=loop` promises: faults of the disk find it by these two.
const DEVICE: &str = "/dev/mapper/observastack-data";
pub(super) const PLACE: &str = "/var/lib/observastack/postgresql";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("vm_lab_is_healthy", healthy),
        test("vm_doctor_says_yes_to_everything", doctor),
        test("vm_data_volume_is_a_device_mapper_device", data_volume),
        test("vm_data_volume_comes_before_postgresql", order),
    ]
}

/// Every unit runs, and an order goes all the way to the database.
fn healthy() -> Result<()> {
    for unit in UNITS {
        ensure!(systemd::is_active(unit)?, "{unit} is not active");
    }
    let failed = command::output(&[
        "systemctl",
        "list-units",
        "--failed",
        "--no-legend",
        "observastack*",
    ])?;
    ensure!(failed.is_empty(), "failed: {failed}");
    let orders = || -> Result<u64> { Ok(lab::sql("select count(*) from shop.orders")?.parse()?) };
    let before = orders()?;
    http::post(&format!("{}/orders", lab::SHOP), &lab::order("P00001", 1))?.expect(201)?;
    let after = orders()?;
    ensure!(after == before + 1, "{before} orders before, {after} after");
    Ok(())
}

fn doctor() -> Result<()> {
    let report = lab::ctl(&["doctor"])?;
    for list in ["capabilities", "faults"] {
        let entries = report[list]
            .as_array()
            .with_context(|| format!("no {list}: {report}"))?;
        ensure!(!entries.is_empty(), "no {list} at all");
        let refused: Vec<&Value> = entries
            .iter()
            .filter(|entry| entry["answer"] != "yes")
            .collect();
        ensure!(refused.is_empty(), "{list}: {refused:?}");
    }
    Ok(())
}

/// A field of what `findmnt` knows about the place of the cluster.
fn mounted(field: &str) -> Result<String> {
    let words = ["findmnt", "--noheadings", "--output", field, PLACE];
    Ok(command::output(&words)?.trim().to_owned())
}

fn data_volume() -> Result<()> {
    let (source, kind) = (mounted("SOURCE")?, mounted("FSTYPE")?);
    ensure!(
        source == DEVICE && kind == "ext4",
        "{source}, {kind} at {PLACE}"
    );
    let table = command::output(&["dmsetup", "table", "observastack-data"])?;
    let words: Vec<&str> = table.split_whitespace().collect();
    ensure!(
        words.len() == 5 && (words[0], words[2], words[4]) == ("0", "linear", "0"),
        "{table}"
    );
    // By number, as the table has it: the loop device whose file is ours, and all of it.
    let loops = command::output(&["losetup", "--noheadings", "--output", "MAJ:MIN,BACK-FILE"])?;
    let file = "/var/lib/observastack-volume/data.img";
    ensure!(
        loops.split_whitespace().collect::<Vec<_>>() == [words[3], file],
        "the table is {table}, the loop devices are {loops}"
    );
    let sectors: u64 = words[1].parse()?;
    let size = fs::metadata(file)?.len();
    ensure!(sectors * 512 == size, "{sectors} sectors of {size} bytes");

    // The server's own files are on it, and its writes go there.
    let asked = lab::sql("show data_directory")?;
    let on = command::output(&[
        "findmnt",
        "--noheadings",
        "--output",
        "SOURCE",
        "--target",
        &asked,
    ])?;
    ensure!(on.trim() == DEVICE, "{asked} is on {on}");
    let before = sectors_written()?;
    lab::sql("create table public.vm_volume as select generate_series(1, 10000) as n")?;
    lab::sql("checkpoint")?;
    lab::sql("drop table public.vm_volume")?;
    let written = sectors_written()? - before;
    ensure!(written > 0, "nothing was written to {DEVICE}");
    Ok(())
}

/// What the kernel has counted for the device, in sectors of 512 bytes.
fn sectors_written() -> Result<u64> {
    let node = fs::canonicalize(DEVICE)?;
    let name = node.file_name().context("no name")?.to_string_lossy();
    let counts = fs::read_to_string(format!("/sys/block/{name}/stat"))?;
    let written = counts.split_whitespace().nth(6);
    Ok(written
        .with_context(|| format!("no count: {counts}"))?
        .parse()?)
}

/// Without its volume, PostgreSQL must not start: it would make a cluster in the wrong place.
fn order() -> Result<()> {
    systemd::stop(VOLUME)?;
    ensure!(
        !systemd::is_active(POSTGRESQL)?,
        "PostgreSQL runs without its volume"
    );
    ensure!(
        !fs::exists(DEVICE)? && command::run(&["mountpoint", "-q", PLACE])?.code != 0,
        "still mapped or mounted"
    );
    let below = fs::read_dir(PLACE)?.count();
    ensure!(below == 0, "{below} entries below the volume");
    systemd::start(POSTGRESQL)?;
    ensure!(
        systemd::is_active(VOLUME)? && mounted("SOURCE")? == DEVICE,
        "PostgreSQL runs, and its volume does not"
    );
    ensure!(
        lab::sql("select count(*) > 0 from stock.items")? == "t",
        "the data is another"
    );
    Ok(())
}
