//! Which programs are attached where, and for how many rules.

use std::{collections::BTreeMap, fs, io, path::Path};

use aya::Ebpf;

use crate::{
    cgroup::Slice,
    hook::{Link, Place, Program, Target},
};

/// What a link is attached to, as text: a cgroup's path and id, an interface's name and index, or nothing.
type Where = String;

/// The links, and how many rules want each program.
#[derive(Default)]
pub(crate) struct Attachments {
    links: BTreeMap<(&'static str, Where), Link>,
    wanted: BTreeMap<&'static str, (&'static Program, usize)>,
}

/// Why a program could not be attached.
#[derive(Debug, thiserror::Error)]
#[error("cannot attach `{program}` to {target}: {reason}")]
pub(crate) struct AttachError {
    pub(crate) program: &'static str,
    pub(crate) target: String,
    pub(crate) reason: String,
}

/// Where programs can be attached now.
pub(crate) struct Machine<'a> {
    pub(crate) slices: &'a [Slice],
    pub(crate) root: &'a Path,
    pub(crate) interfaces: &'a [(String, u32)],
}

impl Attachments {
    /// One rule more that needs these programs: they are attached, all or none.
    pub(crate) fn want(
        &mut self,
        ebpf: &mut Ebpf,
        programs: &[&'static Program],
        machine: &Machine<'_>,
    ) -> Result<(), AttachError> {
        for program in programs {
            self.wanted.entry(program.name).or_insert((program, 0)).1 += 1;
        }
        let attached = programs
            .iter()
            .try_for_each(|program| self.attach(ebpf, program, machine));
        if attached.is_err() {
            self.release(programs);
            self.detach_idle();
        }
        attached
    }

    /// Whether a rule wants a program at a place.
    pub(crate) fn wants(&self, place: Place) -> bool {
        self.wanted
            .values()
            .any(|(program, rules)| *rules > 0 && program.place == place)
    }

    /// One rule less. The programs stay attached until [`Self::detach_idle`].
    pub(crate) fn release(&mut self, programs: &[&'static Program]) {
        for program in programs {
            if let Some((_, rules)) = self.wanted.get_mut(program.name) {
                *rules = rules.saturating_sub(1);
            }
        }
    }

    /// Detaches programs that no rule wants; their names.
    pub(crate) fn detach_idle(&mut self) -> Vec<&'static str> {
        self.wanted.retain(|_, (_, rules)| *rules > 0);
        let idle: Vec<&'static str> = self
            .links
            .keys()
            .map(|(name, _)| *name)
            .filter(|name| !self.wanted.contains_key(name))
            .collect();
        self.links
            .retain(|(name, _), _| self.wanted.contains_key(name));
        let mut names = idle;
        names.dedup();
        names
    }

    /// Attaches every program that rules want to what is new, and lets go of what is gone. What could not be attached comes
    /// back as the first error; the others are done.
    pub(crate) fn follow(
        &mut self,
        ebpf: &mut Ebpf,
        machine: &Machine<'_>,
    ) -> Result<(), AttachError> {
        let wanted: Vec<&'static Program> = self
            .wanted
            .values()
            .filter(|(_, rules)| *rules > 0)
            .map(|(program, _)| *program)
            .collect();
        let mut targets = Vec::new();
        for program in &wanted {
            targets.extend(
                machine
                    .targets(program.place)
                    .into_iter()
                    .map(|(place, _)| (program.name, place)),
            );
        }
        // Programs that nobody wants any more go with `detach_idle`.
        self.links.retain(|key, _| {
            !wanted.iter().any(|program| program.name == key.0) || targets.contains(key)
        });
        let mut first = Ok(());
        for program in wanted {
            let attached = self.attach(ebpf, program, machine);
            first = first.and(attached);
        }
        first
    }

    fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        program: &'static Program,
        machine: &Machine<'_>,
    ) -> Result<(), AttachError> {
        for (place, spot) in machine.targets(program.place) {
            if self.links.contains_key(&(program.name, place.clone())) {
                continue;
            }
            let attached = match &spot {
                Spot::Cgroup(path) => fs::File::open(path)
                    .map_err(|error| error.to_string())
                    .and_then(|cgroup| {
                        program
                            .attach(ebpf, &Target::Cgroup(&cgroup))
                            .map_err(|error| crate::chain(&error))
                    }),
                Spot::Interface(name) => program
                    .attach(ebpf, &Target::Interface(name))
                    .map_err(|error| crate::chain(&error)),
                Spot::Everywhere => program
                    .attach(ebpf, &Target::Everywhere)
                    .map_err(|error| crate::chain(&error)),
            };
            match attached {
                Ok(link) => {
                    self.links.insert((program.name, place), link);
                }
                Err(reason) => {
                    return Err(AttachError {
                        program: program.name,
                        target: place,
                        reason,
                    });
                }
            }
        }
        Ok(())
    }
}

enum Spot {
    Cgroup(std::path::PathBuf),
    Interface(String),
    Everywhere,
}

impl Machine<'_> {
    /// What there is to attach to, each with a text that differs when it is made anew.
    fn targets(&self, place: Place) -> Vec<(Where, Spot)> {
        match place {
            Place::SliceIngress | Place::SliceEgress | Place::SliceAddress => self
                .slices
                .iter()
                .filter_map(|slice| {
                    let text = format!("{} ({})", slice.path.display(), slice.id?);
                    Some((text, Spot::Cgroup(slice.path.clone())))
                })
                .collect(),
            Place::RootEgress => vec![(
                self.root.display().to_string(),
                Spot::Cgroup(self.root.to_owned()),
            )],
            Place::InterfaceEgress => self
                .interfaces
                .iter()
                .map(|(name, index)| (format!("{name} ({index})"), Spot::Interface(name.clone())))
                .collect(),
            Place::Security | Place::Tracepoint => {
                vec![("every process".to_owned(), Spot::Everywhere)]
            }
        }
    }
}

/// Names and indices of this network namespace's interfaces that are up.
pub fn interfaces() -> io::Result<Vec<(String, u32)>> {
    const UP: u32 = 1;
    let read = |name: &str, file: &str| -> io::Result<String> {
        Ok(fs::read_to_string(format!("/sys/class/net/{name}/{file}"))?
            .trim()
            .to_owned())
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/class/net")?.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // It may be gone already; files such as bonding_masters are no interfaces.
        let (Ok(index), Ok(flags)) = (read(&name, "ifindex"), read(&name, "flags")) else {
            continue;
        };
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
        if let Ok(index) = index.parse()
            && flags & UP != 0
        {
            found.push((name, index));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_an_interface() {
        let found = interfaces().unwrap();
        assert!(found.iter().any(|(name, _)| name == "lo"), "{found:?}");
    }

    #[test]
    fn a_slice_without_a_cgroup_is_no_target() {
        let interfaces = [("lo".to_owned(), 1), ("eth0".to_owned(), 2)];
        fn machine<'a>(slices: &'a [Slice], interfaces: &'a [(String, u32)]) -> Machine<'a> {
            Machine {
                slices,
                root: Path::new("/sys/fs/cgroup"),
                interfaces,
            }
        }
        let mut slices = [Slice::new(Path::new("/sys/fs/cgroup"), "gone.slice")];
        let targets = |slices: &[Slice], place| machine(slices, &interfaces).targets(place).len();
        assert_eq!(targets(&slices, Place::SliceIngress), 0);
        slices[0].id = Some(7);
        assert_eq!(targets(&slices, Place::SliceIngress), 1);
        assert_eq!(targets(&slices, Place::InterfaceEgress), 2);
        assert_eq!(targets(&slices, Place::Security), 1);
    }
}
