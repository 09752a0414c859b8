//! What the running kernel can do: asked of the kernel itself, never guessed from its version.

use std::{fs, path::Path, sync::OnceLock};

use aya::{
    maps::MapType,
    programs::{LsmAttachType, ProgramError, ProgramType},
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};

use crate::{FaultKind, memory, offsets};

/// One of three answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel can do it.
    Yes,
    /// The kernel can't.
    No,
    /// It could not be found out.
    Unknown,
}

/// Something that a kernel can do or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name, for people and tests.
    pub name: &'static str,
    /// Whether the kernel can do it.
    pub answer: Answer,
    /// Why, and where it can't, how to get it.
    pub reason: String,
}

/// Names of capabilities, as [`probe`] gives them.
pub mod names {
    /// A kernel from 6.1.
    pub const KERNEL: &str = "kernel-6.1";
    /// The kernel's own BTF with the structures that are read.
    pub const BTF: &str = "btf";
    /// The unified cgroup hierarchy.
    pub const CGROUP_V2: &str = "cgroup-v2";
    /// `cgroup_skb` programs that can tell a socket's cgroup.
    pub const CGROUP_SKB: &str = "cgroup-skb";
    /// `cgroup_sock_addr` programs that can choose the errno.
    pub const CGROUP_SOCK_ADDR: &str = "cgroup-sock-addr";
    /// `sched_cls` programs at an interface's egress.
    pub const SCHED_CLS: &str = "sched-cls";
    /// The `fq` queueing discipline, which lets packets wait for their departure times.
    pub const FQ: &str = "fq";
    /// Raw tracepoints.
    pub const RAW_TRACEPOINT: &str = "raw-tracepoint";
    /// The ring buffer, for logs and events.
    pub const RING_BUFFER: &str = "ring-buffer";
    /// BPF LSM, for syscall faults.
    pub const BPF_LSM: &str = "bpf-lsm";
    /// `fentry` and its kin.
    pub const TRACING: &str = "tracing";
    /// kprobes.
    pub const KPROBE: &str = "kprobe";
}

/// What a fault needs, by [`names`].
pub fn needs(kind: FaultKind) -> Vec<&'static str> {
    let mut needs = vec![
        names::KERNEL,
        names::BTF,
        names::CGROUP_V2,
        names::RAW_TRACEPOINT,
        names::RING_BUFFER,
    ];
    let own: &[&str] = match kind {
        FaultKind::PacketLoss | FaultKind::MtuBlackhole => &[names::CGROUP_SKB, names::SCHED_CLS],
        FaultKind::Latency | FaultKind::Bandwidth => &[names::CGROUP_SKB, names::FQ],
        FaultKind::SlowReceiver => &[names::SCHED_CLS],
        FaultKind::ConnectError | FaultKind::BindError => &[names::CGROUP_SOCK_ADDR],
        FaultKind::SyscallError => &[names::BPF_LSM],
        FaultKind::Signal => &[],
    };
    needs.extend(own);
    needs
}

/// Asks the kernel about everything. Loads and attaches trial programs, which are gone again when it returns.
///
/// Needs `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN`: without them most answers are [`Answer::Unknown`].
pub fn probe(cgroup_root: &Path) -> Vec<Capability> {
    let probed = vec![
        kernel(&rustix::system::uname().release().to_string_lossy()),
        btf(),
        cgroup_v2(cgroup_root),
        program(
            names::CGROUP_SKB,
            ProgramType::CgroupSkb,
            Some(BpfHelper::BPF_FUNC_skb_cgroup_id),
        ),
        program(
            names::CGROUP_SOCK_ADDR,
            ProgramType::CgroupSockAddr,
            Some(BpfHelper::BPF_FUNC_set_retval),
        ),
        program(
            names::SCHED_CLS,
            ProgramType::SchedClassifier,
            Some(BpfHelper::BPF_FUNC_skb_cgroup_id),
        ),
        fq(),
        program(
            names::RAW_TRACEPOINT,
            ProgramType::RawTracePoint,
            Some(BpfHelper::BPF_FUNC_probe_read_kernel),
        ),
        ring_buffer(),
        bpf_lsm(),
        program(names::TRACING, ProgramType::Tracing, None),
        kprobe(Path::new(KPROBE_PMU)),
    ];
    memory::give_back();
    probed
}

fn yes(name: &'static str, reason: impl Into<String>) -> Capability {
    Capability {
        name,
        answer: Answer::Yes,
        reason: reason.into(),
    }
}

fn no(name: &'static str, reason: impl Into<String>) -> Capability {
    Capability {
        name,
        answer: Answer::No,
        reason: reason.into(),
    }
}

fn unknown(name: &'static str, reason: impl Into<String>) -> Capability {
    Capability {
        name,
        answer: Answer::Unknown,
        reason: reason.into(),
    }
}

fn kernel(release: &str) -> Capability {
    match version(release) {
        Some(version) if version >= (6, 1) => yes(names::KERNEL, format!("this is {release}")),
        Some(_) => no(
            names::KERNEL,
            format!("this is {release}; install a kernel from 6.1 (Ubuntu 22.04: the HWE kernel)"),
        ),
        None => unknown(
            names::KERNEL,
            format!("cannot read the version in `{release}`"),
        ),
    }
}

/// The first two numbers of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn btf() -> Capability {
    match offsets::read(Path::new(offsets::KERNEL_BTF)) {
        Ok(_) => yes(
            names::BTF,
            format!("{} has the structures that are read", offsets::KERNEL_BTF),
        ),
        Err(error) => no(names::BTF, error.to_string()),
    }
}

fn cgroup_v2(root: &Path) -> Capability {
    // Only the unified hierarchy's root has this file.
    if root.join("cgroup.controllers").exists() {
        yes(names::CGROUP_V2, format!("mounted at {}", root.display()))
    } else {
        no(
            names::CGROUP_V2,
            format!(
                "no unified hierarchy at {}; boot with systemd.unified_cgroup_hierarchy=1",
                root.display()
            ),
        )
    }
}

fn program(name: &'static str, kind: ProgramType, helper: Option<BpfHelper>) -> Capability {
    match is_program_supported(kind) {
        Ok(true) => {}
        Ok(false) => {
            return no(
                name,
                "the kernel doesn't know this type of program, or cannot attach it",
            );
        }
        Err(error) => return refused(name, &error),
    }
    let Some(helper) = helper else {
        return yes(name, "a trial program loaded");
    };
    match is_helper_supported(kind, helper) {
        Ok(true) => yes(name, format!("a trial program loaded, with {helper:?}")),
        Ok(false) => no(
            name,
            format!("this kernel has no {helper:?} for this type of program"),
        ),
        Err(error) => refused(name, &error),
    }
}

/// A trial that failed: EPERM for root is the kernel's own no (it is built or locked down that way).
fn refused(name: &'static str, error: &ProgramError) -> Capability {
    let mut text = error.to_string();
    let mut errno = None;
    if let ProgramError::SyscallError(syscall) = error {
        errno = syscall.io_error.raw_os_error();
        text = format!("{text}: {}", syscall.io_error);
    }
    let is_root = rustix::process::geteuid().is_root();
    if errno == Some(rustix::io::Errno::PERM.raw_os_error()) && is_root {
        no(
            name,
            format!("the kernel refuses a trial program of root ({text})"),
        )
    } else {
        unknown(name, text)
    }
}

fn ring_buffer() -> Capability {
    match is_map_supported(MapType::RingBuf) {
        Ok(true) => yes(names::RING_BUFFER, "a trial map was made"),
        Ok(false) => no(
            names::RING_BUFFER,
            "the kernel doesn't know this type of map",
        ),
        Err(error) => unknown(names::RING_BUFFER, error.to_string()),
    }
}

/// BPF LSM programs load on many kernels whose boot line leaves `bpf` out of the active modules, and then never run.
fn bpf_lsm() -> Capability {
    const ACTIVE: &str = "/sys/kernel/security/lsm";
    let loaded = program(names::BPF_LSM, ProgramType::Lsm(LsmAttachType::Mac), None);
    if loaded.answer != Answer::Yes {
        return loaded;
    }
    match fs::read_to_string(ACTIVE) {
        Ok(active) if active.trim().split(',').any(|module| module == "bpf") => yes(
            names::BPF_LSM,
            format!("a trial program loaded; active: {}", active.trim()),
        ),
        Ok(active) => no(
            names::BPF_LSM,
            format!(
                "`bpf` is not active; add lsm={},bpf to the kernel's command line and reboot",
                active.trim()
            ),
        ),
        Err(error) => unknown(
            names::BPF_LSM,
            format!("a trial program loaded, but {ACTIVE} is unreadable: {error}"),
        ),
    }
}

/// `fq` is seen loaded, or in the configuration that the kernel was built with; both are only files, so the last word has the
/// first fault. The modules' own files say more, but a sandboxed service does not see them.
fn fq() -> Capability {
    if Path::new("/sys/module/sch_fq").exists() {
        return yes(names::FQ, "sch_fq is loaded");
    }
    match kernel_config() {
        Some(text)
            if text
                .lines()
                .any(|line| line.starts_with("CONFIG_NET_SCH_FQ=")) =>
        {
            yes(names::FQ, "the kernel was built with CONFIG_NET_SCH_FQ")
        }
        Some(_) => no(
            names::FQ,
            "this kernel is built without CONFIG_NET_SCH_FQ; Debian's and Ubuntu's own kernels have it",
        ),
        None => unknown(
            names::FQ,
            "sch_fq is not loaded, and the kernel's configuration cannot be read: modprobe sch_fq",
        ),
    }
}

/// The configuration that the running kernel was built with, where the distribution (`/boot/config-RELEASE`) or the kernel
/// itself (`/proc/config.gz`) shows it. Read once: it stays the same while the kernel runs.
pub fn kernel_config() -> Option<&'static str> {
    static CONFIG: OnceLock<Option<String>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let release = rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned();
            fs::read_to_string(format!("/boot/config-{release}"))
                .ok()
                .or_else(|| unpacked(Path::new("/proc/config.gz")))
        })
        .as_deref()
}

/// A compressed file's text.
fn unpacked(file: &Path) -> Option<String> {
    let zcat = std::process::Command::new("zcat").arg(file).output().ok()?;
    zcat.status
        .success()
        .then(|| String::from_utf8_lossy(&zcat.stdout).into_owned())
}

/// What attaches kprobes; only a kernel with `CONFIG_KPROBES` has it.
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe";

/// Programs of this type load on kernels without kprobes too, for uprobes, and then cannot be attached to any function.
fn kprobe(pmu: &Path) -> Capability {
    if pmu.exists() {
        program(names::KPROBE, ProgramType::KProbe, None)
    } else {
        no(
            names::KPROBE,
            format!(
                "there is no {}; the kernel needs CONFIG_KPROBES=y",
                pmu.display()
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_all_distributions_are_understood() {
        assert_eq!(version("6.1.0-35-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("6.12.38+deb13-amd64"), Some((6, 12)));
        assert_eq!(version("5.15.0-119-generic"), Some((5, 15)));
        assert_eq!(version("unreadable"), None);
    }

    #[test]
    fn an_old_kernel_is_refused_with_its_cure() {
        let old = kernel("5.15.0-119-generic");
        assert_eq!(old.answer, Answer::No);
        assert!(old.reason.contains("HWE"), "{}", old.reason);
        assert_eq!(kernel("6.1.0").answer, Answer::Yes);
        assert_eq!(kernel("?").answer, Answer::Unknown);
    }

    #[test]
    fn a_directory_that_is_no_cgroup_mount_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(cgroup_v2(directory.path()).answer, Answer::No);
    }

    #[test]
    fn a_kernel_without_kprobes_is_told_by_their_missing_device() {
        let answer = kprobe(Path::new("/nonexistent/kprobe"));
        assert_eq!(answer.answer, Answer::No);
        assert!(
            answer.reason.contains("/nonexistent/kprobe"),
            "{}",
            answer.reason
        );
    }

    #[test]
    fn every_need_is_probed() {
        let probed: Vec<_> = probe(Path::new("/sys/fs/cgroup"))
            .into_iter()
            .map(|capability| capability.name)
            .collect();
        for kind in FaultKind::ALL {
            for need in needs(kind) {
                assert!(
                    probed.contains(&need),
                    "{need} of {} is never probed",
                    kind.name()
                );
            }
        }
    }
}
