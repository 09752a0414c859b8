//! `cargo xtask vm`: the kernel tests, on Debian's stock kernels, in a guest that is nothing but a kernel, busybox, the test program and
//! tools that it believes.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::debian::Rootfs;
use crate::initramfs::Initramfs;
use crate::kernels::{self, Series};
use crate::qemu::{self, Accelerator, Guest};
use crate::results::Totals;
use crate::{build_ebpf, guest_tools, package, paths};

const PACKAGE: &str = "observastack-vm-tests";

/// Which tests to run, where.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel: 6.12 (Debian 13), 6.1 (Debian 12), or all
    #[arg(long, default_value = "all", value_parser = ["6.12", "6.1", "all"])]
    kernel: String,
    /// Stop a guest after this many seconds
    #[arg(long, default_value_t = 2000)]
    limit: u64,
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Measure instead
    #[arg(skip)]
    measures: bool,
}

impl Args {
    /// All kernels, with a filter.
    pub(crate) fn all(filter: Option<String>) -> Self {
        Self {
            kernel: "all".into(),
            limit: 2000,
            filter,
            measures: false,
        }
    }

    /// The measurements that need a guest, on one kernel.
    pub(crate) fn measurements() -> Self {
        Self {
            kernel: Series::ALL[0].name().to_owned(),
            measures: true,
            ..Self::all(None)
        }
    }
}

/// Builds what is needed, then boots each kernel and collects its tests.
pub(crate) fn run(args: &Args) -> Result<Totals> {
    let object = build_ebpf::build()?;
    package::build_programs([PACKAGE], "build the kernel tests")?;
    let tools = kernels::tools()?;
    let mut guests = Vec::new();
    for series in Series::ALL
        .into_iter()
        .filter(|series| args.kernel == "all" || args.kernel == series.name())
    {
        let kernel = kernels::get(series, &tools)?;
        let initramfs = pack(series, &kernel, &tools, &object, args)?;
        let accelerator = qemu::accelerator(&tools, &kernel)?;
        guests.push(Prepared {
            series,
            kernel,
            initramfs,
            accelerator,
        });
    }
    // Together: an emulated guest keeps little more than one processor busy, and waits a lot.
    thread::scope(|scope| {
        let booted: Vec<_> = guests
            .iter()
            .map(|guest| scope.spawn(|| guest.boot(&tools, args)))
            .collect();
        let mut totals = Totals::default();
        for (guest, booted) in guests.iter().zip(booted) {
            match booted.join() {
                Ok(of_guest) => totals += of_guest,
                Err(_) => bail!("kernel {}: its thread panicked", guest.series.name()),
            }
        }
        Ok(totals)
    })
}

/// A guest that can be booted.
struct Prepared {
    series: Series,
    kernel: kernels::Kernel,
    initramfs: PathBuf,
    accelerator: Accelerator,
}

impl Prepared {
    fn boot(&self, tools: &Rootfs, args: &Args) -> Totals {
        let started = Instant::now();
        let Self {
            series,
            kernel,
            initramfs,
            accelerator,
        } = self;
        eprintln!("==> kernel {} under {}", series.name(), accelerator.name());
        // Only emergencies on the console, so that the tests' lines stay whole: a panic is one. The rest is in the log that a failure prints.
        let guest = Guest {
            tools,
            kernel,
            initramfs,
            append: "loglevel=1",
            accelerator: *accelerator,
            cpus: 2,
            memory_mib: 1024,
            limit_s: args.limit,
        };

        let mut totals = Totals::default();
        let mut verdict = None;
        let mut panicked = false;
        let ended = guest.boot(|line| {
            let line = &plain(line);
            println!("[{}] {line}", series.name());
            totals.read(line);
            panicked |= line.contains("Kernel panic");
            if let Some(word) = line.trim().strip_prefix("init: ") {
                verdict = Some(word == "success");
            }
        });
        if let Err(error) = &ended {
            println!("[{}] {error:#}", series.name());
        }
        // A guest that died on the way has said nothing about the tests that it did not reach.
        let reason = match verdict {
            _ if panicked => Some("the kernel panicked"),
            None => Some("the guest ended without a verdict"),
            Some(false) if totals.failed == 0 => {
                Some("the guest reports a failure outside the tests")
            }
            Some(true) if totals.is_empty() && args.filter.is_none() => Some("no test ran"),
            Some(_) => None,
        };
        if let Some(reason) = reason {
            totals.fail(&format!("kernel {}", series.name()), reason);
        }
        eprintln!(
            "    kernel {}: {totals} in {:.0} s",
            series.name(),
            started.elapsed().as_secs_f64()
        );
        totals
    }
}

/// The guest's whole file system.
fn pack(
    series: Series,
    kernel: &kernels::Kernel,
    tools: &Rootfs,
    object: &Path,
    args: &Args,
) -> Result<PathBuf> {
    let filter = args.filter.as_deref();
    let sources = paths::root().join("tests/vm");
    let mut archive = Initramfs::default();
    for folder in ["/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/etc"] {
        archive.folder(folder);
    }
    archive.copy(&sources.join("init.sh"), "/init", true)?;
    archive.copy(&tools.path.join("usr/bin/busybox"), "/bin/busybox", true)?;
    archive.program(
        &paths::release_dir().join(PACKAGE),
        &format!("/bin/{PACKAGE}"),
    )?;
    archive.copy(object, "/observastack.bpf.o", false)?;
    archive.copy(&paths::bpf_observer(), "/observer.bpf.o", false)?;
    guest_tools::pack(tools, &mut archive)?;

    let list = sources.join("modules.txt");
    let list =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let names: Vec<&str> = list
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim())
        .filter(|name| !name.is_empty())
        .collect();
    for (number, module) in kernel.modules(&names)?.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.copy(module, &format!("/modules/{number:02}-{name}"), false)?;
    }
    if filter.is_some_and(|filter| filter.contains('\'')) {
        bail!("a test filter cannot contain a quote");
    }
    let filter = filter
        .map(|filter| format!(" '{filter}'"))
        .unwrap_or_default();
    let command = format!(
        "exec /bin/{PACKAGE} --object /observastack.bpf.o --kernel {} --test-threads 1{}{filter}\n",
        series.name(),
        if args.measures { " --measure" } else { "" }
    );
    archive.file("/run-tests", command.as_bytes(), true);

    let dir = paths::target().join("vm").join(series.name());
    fs::create_dir_all(&dir)?;
    let file = dir.join("initramfs.cpio");
    fs::write(&file, archive.finish())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The line without the terminal control sequences that firmware writes.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c != '\x1b' {
            plain.push(c);
        } else if chars.next() == Some('[') {
            // A control sequence ends with its first letter.
            chars.by_ref().find(char::is_ascii_alphabetic);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn control_sequences_of_the_firmware_do_not_hide_a_line() {
        assert_eq!(
            plain("\x1bc\x1b[?7l\x1b[2Jinit: success\x1b[0m"),
            "init: success"
        );
    }
}
