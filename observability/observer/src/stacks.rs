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
/// No address could be had: the task had neither a stack of its own nor one in the kernel.
const NO_STACK: &str = "[no stack]";
/// A part of the stack found no room in the kernel's table.
const LOST_STACK: &str = "[lost stack]";
/// Characters of a name; what a program calls its functions has no bound of its own.
const NAME: usize = 512;

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
    let (mut gone, mut lost) = (0, 0);
    for stack in stacks {
        let mut frames = Vec::new();
        if stack.is_lost {
            frames.push(LOST_STACK.to_owned());
            lost += stack.count;
        }
        frames.extend(names.of(Some(stack.process), &calls(&stack.user)));
        if !stack.user.is_empty() && names.is_gone(stack.process) {
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
            "{gone} times it was a process that has ended since, or that is not in the observer's pid namespace: no names"
        ));
    }
    if lost > 0 {
        notes.push(format!(
            "{lost} times a part of the stack found no room in the kernel's table ({LOST_STACK})"
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
    /// The files of each process; nothing of one that cannot be looked at.
    maps: BTreeMap<u32, Option<Maps>>,
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

    /// Whether a process cannot be looked at any more.
    fn is_gone(&self, process: u32) -> bool {
        !matches!(self.maps.get(&process), Some(Some(_)))
    }

    fn look_up(&mut self, process: Option<u32>, addresses: &[u64]) -> Vec<Vec<String>> {
        match process {
            None => self.kernels(addresses),
            Some(process) => self.programs(process, addresses),
        }
    }

    fn kernels(&self, addresses: &[u64]) -> Vec<Vec<String>> {
        let unknown = || vec![vec![UNKNOWN.to_owned()]; addresses.len()];
        let Some(kallsyms) = &self.kallsyms else {
            return unknown();
        };
        let source = Source::Kernel(Kernel {
            kallsyms: MaybeDefault::Some(kallsyms.clone()),
            // Where there is one, reading it takes longer than the profile did.
            vmlinux: MaybeDefault::None,
            ..Kernel::default()
        });
        match self
            .symbolizer
            .symbolize(&source, Input::AbsAddr(addresses))
        {
            Ok(found) => found.iter().map(|found| names(found, None)).collect(),
            Err(error) => {
                tracing::debug!(%error, "no symbols of the kernel");
                unknown()
            }
        }
    }

    fn programs(&mut self, process: u32, addresses: &[u64]) -> Vec<Vec<String>> {
        let maps = self.maps.entry(process).or_insert_with(|| {
            // Not in this pid namespace.
            if process == 0 {
                return None;
            }
            let text = fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
            Some(Maps::of(&text))
        });
        let Some(maps) = maps else {
            return vec![vec![UNKNOWN.to_owned()]; addresses.len()];
        };
        let mut source = Process::new(Pid::from(process));
        // `map_files` needs CAP_SYS_ADMIN.
        source.map_files = false;
        // A file that the process itself has written.
        source.perf_map = false;
        let source = Source::Process(source);
        // What the stack of a function without a frame pointer holds may be anything, and lie in what is no program.
        let no_program = |address: &u64| !maps.is_readable(*address);
        let readable: Vec<u64> = addresses
            .iter()
            .copied()
            .filter(|address| !no_program(address))
            .collect();
        let told = |address: u64, found: &Symbolized<'_>| names(found, maps.at(address));
        let unnamed = |address: u64| told(address, &Symbolized::Unknown(Reason::Unsupported));
        let all = self
            .symbolizer
            .symbolize(&source, Input::AbsAddr(&readable));
        let found: BTreeMap<u64, Vec<String>> = match &all {
            Ok(found) => readable
                .iter()
                .zip(found)
                .map(|(address, found)| (*address, told(*address, found)))
                .collect(),
            // One file that cannot be read must not take the other files' names away.
            Err(error) => {
                tracing::debug!(process, %error, "symbols are looked up one by one");
                let one = |address: u64| {
                    let input = Input::AbsAddr(address);
                    match self.symbolizer.symbolize_single(&source, input) {
                        Ok(found) => told(address, &found),
                        Err(_) => unnamed(address),
                    }
                };
                readable
                    .iter()
                    .map(|address| (*address, one(*address)))
                    .collect()
            }
        };
        addresses
            .iter()
            .map(|address| match found.get(address) {
                Some(names) => names.clone(),
                None => unnamed(*address),
            })
            .collect()
    }
}

/// The function at an address, and those that the compiler has put into it; or the file that it is in.
fn names(found: &Symbolized<'_>, file: Option<&str>) -> Vec<String> {
    match (found, file) {
        (Symbolized::Sym(symbol), _) => {
            let inlined = symbol.inlined.iter().map(|inlined| cut(&inlined.name));
            std::iter::once(cut(&symbol.name)).chain(inlined).collect()
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

fn cut(name: &str) -> String {
    name.chars().take(NAME).collect()
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

    #[test]
    fn an_address_that_is_in_no_program_takes_no_other_names_away() {
        let address = a_function_with_a_name_of_its_own as *const () as u64 + 1;
        // The heap, and nothing at all.
        let heap = Box::new(7_u64);
        let odd = &raw const *heap as u64;
        let stack = Stack {
            process: std::process::id(),
            kernel: Vec::new(),
            user: vec![address, odd, 1],
            count: 1,
            time_ns: 10,
            is_lost: true,
        };
        let found = named(&[stack], ProfileOf::Cpu);
        let frames = &found.stacks[0].frames;
        assert!(
            frames.last().unwrap().contains("a_function_with_a_name"),
            "{frames:?}"
        );
        assert_eq!(frames[0], LOST_STACK);
        assert!(found.notes.iter().any(|note| note.contains("no room")));
        assert!(!found.notes.iter().any(|note| note.contains("ended")));
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
            is_lost: false,
        };
        let mine = std::process::id();
        let found = named(
            &[stack(mine, 2), stack(mine, 3), stack(0, 1)],
            ProfileOf::Cpu,
        );
        assert!(found.notes.iter().any(|note| note.starts_with("1 times")));
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
