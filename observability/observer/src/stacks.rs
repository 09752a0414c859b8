//! Stacks of addresses, as stacks of functions.
//!
//! Symbols of programs come from their files, as `/proc/PID/maps` names them; the kernel's from `kallsyms`. What has no symbol is told by
//! the file that it lies in, so that a stripped library is one box and not hundreds of addresses.

use std::{collections::BTreeMap, fs, path::PathBuf};

use blazesym::{
    MaybeDefault, Pid,
    symbolize::{
        Input, Reason, Symbolized, Symbolizer,
        source::{Kernel, Process, Source},
    },
};
use observastack_loader::observer::Stack;
use observastack_spec::profile::{KERNEL_MARK, ProfileOf, StackReport};

use crate::{kallsyms, maps::Maps};

/// What has no name.
const UNKNOWN: &str = "[unknown]";
/// No address could be had: the task had neither a stack of its own nor one in the kernel, or it was not kept.
const NO_STACK: &str = "[no stack]";

/// Stacks with names.
#[derive(Debug)]
pub(crate) struct Named {
    /// Each once, the outermost function first.
    pub(crate) stacks: Vec<StackReport>,
    /// What is missing, in words.
    pub(crate) notes: Vec<String>,
}

/// Finds the names. Takes as long as reading the programs' symbols does: not on the thread that owns the probes, where an odd file
/// would stop everything.
pub(crate) fn named(stacks: &[Stack], of: ProfileOf) -> Named {
    let kallsyms = kallsyms::find();
    let mut names = Names {
        symbolizer: Symbolizer::builder()
            .enable_code_info(true)
            .enable_inlined_fns(true)
            .build(),
        kallsyms: kallsyms.as_ref().ok().cloned(),
        maps: BTreeMap::new(),
        known: BTreeMap::new(),
    };
    let mut found: BTreeMap<Vec<String>, (u64, u64)> = BTreeMap::new();
    let mut gone = 0;
    for stack in stacks {
        let mut frames = names.of(Some(stack.process), &calls(&stack.user));
        if frames.first().is_some_and(|name| name == UNKNOWN) {
            gone += stack.count;
        }
        // In the kernel it is further in than anything of the program's.
        let mut kernel = names.of(None, &calls(&stack.kernel));
        if of == ProfileOf::OffCpu {
            kernel = without_probe(kernel);
        }
        frames.extend(kernel.into_iter().map(|name| name + KERNEL_MARK));
        if frames.is_empty() {
            frames.push(NO_STACK.to_owned());
        }
        let sum = found.entry(frames).or_default();
        sum.0 += stack.count;
        sum.1 += stack.time_ns;
    }
    let mut notes = Vec::new();
    if let Err(reason) = kallsyms {
        notes.push(format!("functions of the kernel have no names: {reason}"));
    }
    if gone > 0 {
        notes.push(format!(
            "{gone} stacks are of processes that had ended, or that are not in the observer's pid namespace"
        ));
    }
    let stacks = found
        .into_iter()
        .map(|(frames, (count, time_ns))| StackReport {
            frames,
            count,
            time_ns,
        })
        .collect();
    Named { stacks, notes }
}

/// Where each function is: of those that have called another one, the stack has where they go on afterwards, which may be the next line,
/// or the next function.
fn calls(addresses: &[u64]) -> Vec<u64> {
    let callers = addresses
        .iter()
        .skip(1)
        .map(|address| address.wrapping_sub(1));
    addresses.iter().take(1).copied().chain(callers).collect()
}

/// A sleep's stack, outermost function first, ends in the probe that has taken it.
fn without_probe(mut names: Vec<String>) -> Vec<String> {
    const PROBE: [&str; 4] = ["bpf_prog_", "bpf_trace_run", "__bpf_trace_", "__traceiter_"];
    let is_probe = |name: &String| PROBE.iter().any(|start| name.starts_with(start));
    while names.last().is_some_and(is_probe) {
        names.pop();
    }
    names
}

struct Names {
    symbolizer: Symbolizer,
    /// The kernel's; `None` where they are not to be had.
    kallsyms: Option<PathBuf>,
    /// The files of each process.
    maps: BTreeMap<u32, Maps>,
    /// Names of an address, outermost first: a function, and those that the compiler has put into it.
    known: BTreeMap<(Option<u32>, u64), Vec<String>>,
}

impl Names {
    /// Names of addresses that are innermost first; the outermost comes first here.
    fn of(&mut self, process: Option<u32>, addresses: &[u64]) -> Vec<String> {
        let unknown: Vec<u64> = addresses
            .iter()
            .copied()
            .filter(|address| !self.known.contains_key(&(process, *address)))
            .collect();
        if !unknown.is_empty() {
            let names = self.look_up(process, &unknown);
            for (address, names) in unknown.into_iter().zip(names) {
                self.known.insert((process, address), names);
            }
        }
        let outermost_first = addresses.iter().rev();
        outermost_first
            .filter_map(|address| self.known.get(&(process, *address)))
            .flatten()
            .cloned()
            .collect()
    }

    fn look_up(&mut self, process: Option<u32>, addresses: &[u64]) -> Vec<Vec<String>> {
        let unknown = || vec![vec![UNKNOWN.to_owned()]; addresses.len()];
        let no_files = Maps::default();
        let files = process.map_or(&no_files, |process| {
            self.maps.entry(process).or_insert_with(|| {
                let file = format!("/proc/{process}/maps");
                Maps::of(&fs::read_to_string(file).unwrap_or_default())
            })
        });
        let source = match process {
            None => {
                let Some(kallsyms) = &self.kallsyms else {
                    return unknown();
                };
                Source::Kernel(Kernel {
                    kallsyms: MaybeDefault::Some(kallsyms.clone()),
                    // Where there is one, reading it takes longer than the profile did.
                    vmlinux: MaybeDefault::None,
                    ..Kernel::default()
                })
            }
            // Not in this pid namespace.
            Some(0) => return unknown(),
            Some(process) => {
                let mut source = Process::new(Pid::from(process));
                // `map_files` needs CAP_SYS_ADMIN.
                source.map_files = false;
                // A file that the process itself has written.
                source.perf_map = false;
                Source::Process(source)
            }
        };
        match self
            .symbolizer
            .symbolize(&source, Input::AbsAddr(addresses))
        {
            Ok(found) => addresses
                .iter()
                .zip(&found)
                .map(|(address, found)| names(found, files.at(*address)))
                .collect(),
            // It has ended, or may not be looked at.
            Err(error) => {
                tracing::debug!(?process, %error, "no symbols");
                unknown()
            }
        }
    }
}

/// The function at an address, and those that the compiler has put into it; or the file that it is in.
fn names(found: &Symbolized<'_>, file: Option<&str>) -> Vec<String> {
    match (found, file) {
        (Symbolized::Sym(symbol), _) => {
            let inlined = symbol
                .inlined
                .iter()
                .map(|inlined| inlined.name.to_string());
            std::iter::once(symbol.name.to_string())
                .chain(inlined)
                .collect()
        }
        (Symbolized::Unknown(_), Some("")) => vec!["[memory without a file]".to_owned()],
        (Symbolized::Unknown(_), Some(file)) => {
            vec![format!("[{}]", file.trim_matches(['[', ']']))]
        }
        // What the stack held was no address: a function without a frame pointer was on it.
        (Symbolized::Unknown(Reason::Unmapped), None) => vec!["[unmapped]".to_owned()],
        (Symbolized::Unknown(_), None) => vec!["[no name]".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_where_it_called() {
        assert_eq!(calls(&[10, 20, 30]), [10, 19, 29]);
        assert_eq!(calls(&[]), [0; 0]);
        // No stack has this, but nothing may come of it.
        assert_eq!(calls(&[1, 0]), [1, u64::MAX]);
    }

    #[test]
    fn the_probe_is_not_part_of_what_it_sees() {
        let names = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        for stack in [
            "do_syscall_64 schedule __schedule",
            "do_syscall_64 schedule __schedule __traceiter_sched_switch bpf_trace_run4 bpf_prog_a8_sched_switch",
        ] {
            assert_eq!(
                without_probe(names(stack)),
                names("do_syscall_64 schedule __schedule")
            );
        }
    }

    #[inline(never)]
    fn a_function_with_a_name_of_its_own() -> u64 {
        std::hint::black_box(7)
    }

    #[test]
    fn this_programs_own_functions_have_their_names() {
        a_function_with_a_name_of_its_own();
        let address = a_function_with_a_name_of_its_own as *const () as u64 + 1;
        let stack = |process, count| Stack {
            process,
            kernel: Vec::new(),
            user: vec![address, 1],
            count,
            time_ns: count * 10,
        };
        let mine = std::process::id();
        let found = named(
            &[stack(mine, 2), stack(mine, 3), stack(0, 1)],
            ProfileOf::Cpu,
        );
        assert!(found.notes.iter().any(|note| note.starts_with("1 stacks")));
        let found = found.stacks;
        assert_eq!(found.len(), 2, "{found:?}");
        let own = found.iter().find(|stack| stack.count == 5).unwrap();
        assert!(
            own.frames
                .last()
                .unwrap()
                .contains("a_function_with_a_name_of_its_own"),
            "{own:?}"
        );
        assert!(own.frames[0].starts_with('['), "{own:?}");
        let other = found.iter().find(|stack| stack.count == 1).unwrap();
        assert_eq!((other.frames[0].as_str(), other.time_ns), (UNKNOWN, 10));
    }
}
