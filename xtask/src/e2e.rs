//! The end-to-end lane: the playbook makes a lab out of a fresh Debian machine, the test program uses and breaks it from inside, and the
//! uninstallation has to leave the machine as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::machine::{Name, State, nspawn};
use crate::results::Totals;
use crate::{interop, package, paths, playbook, up};

pub(crate) const PROGRAM: &str = "observastack-e2e";
const REMOTE: &str = "/root/end-to-end-tests";

/// Makes the machine, runs everything, takes it down.
pub(crate) fn run(filter: Option<&str>, keep: bool) -> Result<Totals> {
    nspawn::host_packages()?;
    let name = Name::Test;
    in_machine(name, "e2e", &[PROGRAM], keep, |deb, totals| {
        tests(name, &nspawn::start(name)?, deb, filter, totals)
    })
}

/// Does a lane's work in a fresh machine, which the work has to start, and takes that down whatever came of it.
pub(crate) fn in_machine(
    name: Name,
    lane: &str,
    programs: &[&str],
    keep: bool,
    work: impl FnOnce(&Path, &mut Totals) -> Result<()>,
) -> Result<Totals> {
    let _lock = name.lock()?;
    let deb = package::build()?;
    if !programs.is_empty() {
        package::build_programs(programs.iter().copied(), "build the end-to-end tests")?;
    }
    up::take_down(name).context("removing an old test machine")?;
    let mut totals = Totals::default();
    let done = work(&deb, &mut totals);
    if let Err(error) = &done {
        totals.fail(&format!("lane {lane}"), &format!("{error:#}"));
    }
    let state = State::load(name)?;
    if totals.failed > 0
        && let Some(state) = &state
    {
        show_logs(name, state);
    }
    if keep {
        let ssh = state.map_or_else(String::new, |state| {
            let key = name.state_dir().join("key");
            format!(
                ": ssh -i {} -p {} root@{}",
                key.display(),
                state.port,
                state.address
            )
        });
        eprintln!("    the machine stays (cargo xtask down removes it){ssh}");
    } else {
        up::take_down(name)?;
    }
    Ok(totals)
}

fn tests(
    name: Name,
    state: &State,
    deb: &Path,
    filter: Option<&str>,
    totals: &mut Totals,
) -> Result<()> {
    // Something of the machine's owner's, next to the lab and as close to it as can be.
    state
        .ssh(name, "pg_createcluster 17 main --start && runuser -u postgres -- psql -qc 'create table theirs as select 42 as answer'")
        .limit_s(60)
        .output()
        .context("making a database of the machine's owner")?;
    let before = snapshot(name, state)?;

    let mut check = Check { totals, filter };
    refusals(name, state, deb, &before, &mut check);
    // Nothing else can be tried without it.
    // With a learner who has to find out: as root, every test may do the same as ever.
    let assessed = ["observastack_mode=assessed"];
    playbook::install_with(name, state, deb, &assessed, "playbook install.yml")
        .context("playbook_installs_the_lab")?;
    check.always("playbook_installs_the_lab", Ok(()));
    // How learners work stays, too.
    check.named("second_run_of_the_playbook_changes_nothing", || {
        playbook::install_with(name, state, deb, &[], "playbook install.yml, second run")?
            .nothing_changed()
    });
    check.named("playbook_refuses_a_volume_over_a_cluster_that_is_there", || {
        // As if the kernel could: what refuses it must be the cluster alone.
        let variables =
            r#"{"observastack_data_volume": "loop", "preflight_device_nodes": ["/dev/null"]}"#;
        let said = playbook::install_refused(name, state, deb, Some(variables))?;
        let reason = "the lab has its data in /var/lib/observastack/postgresql already, and a volume would hide it";
        if said.contains(reason) && !said.contains("missing:") {
            Ok(())
        } else {
            bail!("the refusal does not say {reason:?} alone:\n{said}")
        }
    });
    check.named("units_pass_systemds_own_check", || {
        let units = "systemd-analyze verify --man=no /usr/lib/systemd/system/observastack*";
        let said = state
            .ssh(name, &format!("{units} 2>&1"))
            .limit_s(60)
            .status()?;
        if said.status.success() && said.stdout.is_empty() {
            Ok(())
        } else {
            bail!("systemd-analyze verify: {}", said.stdout)
        }
    });

    check.named(
        "every_endpoint_is_openmetrics_to_prometheuss_own_parser",
        || open_metrics(name, state),
    );
    *check.totals += programs(name, state, "nspawn", filter)?;
    *check.totals += systemd_tests(name, state, filter)?;

    check.named("uninstallation_leaves_the_machine_as_it_was", || {
        playbook::uninstall(name, state)?;
        unchanged(name, state, &before)
    });
    Ok(())
}

/// Every `/metrics`, read by a parser that we did not write. Prometheus itself scrapes them in a story.
fn open_metrics(name: Name, state: &State) -> Result<()> {
    for port in [8001, 8101, 8102, 8200, 8300, 8301, 8304, 8305, 8306] {
        let scrape = format!(
            "curl --silent --fail --header 'accept: application/openmetrics-text; version=1.0.0' http://127.0.0.1:{port}/metrics"
        );
        let mut text = state.ssh(name, &scrape).limit_s(30).output()?;
        // The end of the text has an end of line, which our own runner takes off.
        text.push('\n');
        let read = interop::read_open_metrics(text).with_context(|| format!("port {port}"))?;
        println!("    port {port}: {read}");
    }
    Ok(())
}

/// A machine that cannot run the lab is refused with the reason, before anything is changed.
fn refusals(
    name: Name,
    state: &State,
    deb: &Path,
    before: &BTreeSet<String>,
    check: &mut Check<'_>,
) {
    let refused = |variable: Option<&str>, reason: &str| {
        let said = playbook::install_refused(name, state, deb, variable)?;
        for words in ["ObservaStack cannot be installed on", reason] {
            if !said.contains(words) {
                bail!("the refusal does not say {words:?}:\n{said}");
            }
        }
        Ok(())
    };
    check.named("playbook_refuses_an_old_kernel_and_changes_nothing", || {
        refused(
            Some("preflight_kernel=5.10.0"),
            "kernel: 5.10.0; needed: 6.1 or newer",
        )?;
        unchanged(name, state, before)
    });
    check.named(
        "playbook_refuses_a_kernel_without_type_information_and_changes_nothing",
        || {
            refused(
                Some("preflight_btf=/sys/kernel/btf/missing"),
                "kernel type information: /sys/kernel/btf/missing is missing; needed: a kernel built with CONFIG_DEBUG_INFO_BTF",
            )?;
            unchanged(name, state, before)
        },
    );
    check.named(
        "playbook_refuses_a_data_volume_without_device_mapper_and_changes_nothing",
        || {
            refused(
                Some("observastack_data_volume=loop"),
                "missing: /dev/mapper/control, /dev/loop-control; needed: a kernel with dm_mod and loop",
            )?;
            unchanged(name, state, before)
        },
    );
    check.named("playbook_refuses_a_taken_port_and_changes_nothing", || {
        let listen = "systemd-run --quiet --collect --unit their-listener python3 -m http.server --bind 127.0.0.1 8101";
        let wait = "timeout 20 sh -c 'until ss -Hltn sport = :8101 | grep -q .; do sleep 0.1; done'";
        let taken = state
            .ssh(name, &format!("{listen} && {wait}"))
            .limit_s(30)
            .output()
            .context("taking a port");
        let result =
            taken.and_then(|_| refused(None, "taken: 127.0.0.1:8101 by python3 (pid "));
        let given_back = state
            .ssh(name, "systemctl stop their-listener")
            .limit_s(30)
            .output()
            .context("giving the port back");
        result?;
        given_back?;
        unchanged(name, state, before)
    });
}

/// Fails with everything that came to the machine or went from it.
pub(crate) fn unchanged(name: Name, state: &State, before: &BTreeSet<String>) -> Result<()> {
    let after = snapshot(name, state)?;
    let left: Vec<&String> = after.difference(before).collect();
    let lost: Vec<&String> = before.difference(&after).collect();
    if left.is_empty() && lost.is_empty() {
        Ok(())
    } else {
        bail!("left behind: {left:#?}\nno longer there: {lost:#?}")
    }
}

/// Counts what xtask itself checks, in the same words as a test program.
pub(crate) struct Check<'a> {
    pub(crate) totals: &'a mut Totals,
    pub(crate) filter: Option<&'a str>,
}

impl Check<'_> {
    pub(crate) fn named(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        if self.filter.is_none_or(|filter| name.contains(filter)) {
            self.always(name, work());
        }
    }

    pub(crate) fn always(&mut self, name: &str, result: Result<()>) {
        self.totals.check(name, result);
    }
}

/// The test program runs inside, as root: it looks at units, cgroups and sockets there.
pub(crate) fn programs(
    name: Name,
    state: &State,
    lane: &str,
    filter: Option<&str>,
) -> Result<Totals> {
    let program = paths::release_dir().join(PROGRAM);
    inside(name, state, &program, &format!("--lane {lane}"), filter)
}

/// The injector's own tests of what systemd changes need a machine where it is pid 1.
fn systemd_tests(name: Name, state: &State, filter: Option<&str>) -> Result<Totals> {
    let program = package::build_test("observastack-injector", "systemd")?;
    inside(name, state, &program, "", filter)
}

/// Runs a test program inside, as root.
fn inside(
    name: Name,
    state: &State,
    program: &Path,
    arguments: &str,
    filter: Option<&str>,
) -> Result<Totals> {
    let label = program.file_name().unwrap_or_default().to_string_lossy();
    let content = fs::read(program).with_context(|| format!("{label} is not built"))?;
    state
        .ssh(name, &format!("cat > {REMOTE} && chmod 755 {REMOTE}"))
        .input(content)
        .limit_s(60)
        .output()?;
    let filter = filter
        .map(|filter| format!(" '{}'", filter.replace('\'', "")))
        .unwrap_or_default();
    let mut totals = Totals::default();
    let mut has_result = false;
    let ended = state
        .ssh(
            name,
            &format!("{REMOTE} {arguments} --test-threads 1{filter} 2>&1"),
        )
        .limit_s(1800)
        .stream(|line| {
            println!("{line}");
            has_result |= line.contains("test result: ");
            totals.read(line);
        });
    match ended {
        Err(error) => {
            totals.fail(&label, &format!("{error:#}"));
        }
        Ok(ended) if !has_result || (!ended.status.success() && totals.failed == 0) => {
            let reason = format!("it ended without a result ({})", ended.status);
            totals.fail(&label, &reason);
        }
        Ok(_) => {}
    }
    state.ssh(name, &format!("rm -f {REMOTE}")).output()?;
    Ok(totals)
}

/// The machine as its owner knows it, one fact a line: packages, users, configuration, units, and a database that never stopped. What others
/// remember of us and let go of by themselves is left out: the journal, and man's cache of pages that somebody has read.
pub(crate) fn snapshot(name: Name, state: &State) -> Result<BTreeSet<String>> {
    let script = r#"
        dpkg-query -W -f 'package ${Package} ${db:Status-Status}\n' | grep -v ' config-files$' ; dpkg-query -W -f 'package ${Package} ${db:Status-Status}\n' | grep ' config-files$'
        apt-mark showmanual | sed 's/^/asked for /'
        getent passwd | sed 's/^/user /'; getent group | sed 's/^/group /'
        find /etc -xdev ! -name '*-' ! -name '.pwd.lock' ! -name 'ld.so.cache' ! -name '.updated' -type f -exec sha256sum {} + | sed 's/^/file /'
        find /etc -xdev -type d -o -xdev -type l | sed 's/^/entry /'
        find / -xdev -path /proc -prune -o -iname '*observastack*' -print | grep -vE '^/var/(log/journal|cache/man)/' | sed 's/^/named after us /'
        find /run /sys/fs/cgroup /tmp /var/tmp -iname '*observastack*' 2>/dev/null | sed 's/^/named after us /'
        systemctl list-units --all --plain --no-legend 'observastack*' 'postgresql@*' | awk '{print "unit", $1, $2, $3}'
        ss -Hltn | awk '{print "listens on", $4}'
        losetup --noheadings --list --output NAME,BACK-FILE | sed 's/^/loop device /'; ls /dev/mapper 2>/dev/null | sed 's/^/mapped device /'
        findmnt --noheadings --list --output TARGET --types ext4 | sed 's/^/mounted /'
        [ ! -d /etc/postgresql/17/main ] || runuser -u postgres -- psql -qAt -c 'select pg_postmaster_start_time(), answer from theirs' | sed 's/^/their database /'
    "#;
    let facts = state.ssh(name, script).limit_s(120).output()?;
    Ok(facts.lines().map(str::to_owned).collect())
}

pub(crate) fn show_logs(name: Name, state: &State) {
    println!("---- the machine's journal and the kernel's log");
    let command = "systemctl --no-pager --failed; journalctl --no-pager --lines 300 --unit 'observastack*'; dmesg --since @$(stat -c %Y /proc/1) | tail -n 50";
    match state.ssh(name, command).limit_s(60).status() {
        Ok(ended) => println!("{}", ended.lines.join("\n")),
        Err(error) => println!("{error:#}"),
    }
    println!("---- end of the logs");
}
