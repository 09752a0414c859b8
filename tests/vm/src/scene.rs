//! Where one test happens: a slice of its own, units in it, and a loader that follows that slice.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use observastack_loader::{
    Armed, Loader, Place, Rule,
    abi::counts::RuleCounts,
    has_tcx,
    observer::{Observer, Probe},
};
use rustix::process::{WaitOptions, wait};

use crate::{
    agent::Agent,
    cgroups,
    expect::Kernel,
    qdisc::Qdisc,
    rules::{LONG, after},
};

/// What all tests share.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    pub(crate) object: PathBuf,
    pub(crate) kernel: Kernel,
    pub(crate) cgroup_root: PathBuf,
}

impl Lab {
    /// Runs one test in a scene of its own, and then makes sure that nothing of it is left.
    pub(crate) fn run(&self, test: fn(&mut Scene) -> Result<()>) -> Result<()> {
        let mut scene = Scene::set(self)?;
        let result = test(&mut scene);
        let cleared = scene.strike().and_then(|()| nothing_is_left());
        // What a failed test leaves behind is not its finding.
        result.and(cleared.context("the test left something behind"))
    }
}

/// One test's slice, units and loader.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    pub(crate) loader: Loader,
    slice: PathBuf,
    slice_name: String,
    /// Slices that were made for this scene, outermost first.
    made: Vec<PathBuf>,
    /// Queueing disciplines that were made for this scene.
    clsact: Option<Qdisc>,
    fq: Option<Qdisc>,
}

impl Scene {
    fn set(lab: &Lab) -> Result<Self> {
        // As systemd places slices: a-b.slice lies in a.slice. The number keeps two runs on one machine apart.
        let slice_name = format!("observastack-kerneltest{}.slice", std::process::id());
        let outer = lab.cgroup_root.join("observastack.slice");
        let slice = outer.join(&slice_name);
        let mut made = Vec::new();
        for path in [&outer, &slice] {
            if !path.exists() {
                cgroups::make(path)?;
                made.push(path.clone());
                cgroups::pass_controllers_on(path)?;
            }
        }
        let loaded = load(&lab.object, &lab.cgroup_root, &slice_name);
        if loaded.is_err() {
            made.iter()
                .rev()
                .for_each(|path| drop(fs::remove_dir(path)));
        }
        let mut loader = loaded?;
        // Nobody renews it: tests that aren't about the lease have one that holds.
        loader.set_lease(after(LONG))?;
        Ok(Self {
            lab: lab.clone(),
            loader,
            slice,
            slice_name,
            made,
            clsact: None,
            fq: None,
        })
    }

    /// The slice's cgroup.
    pub(crate) fn slice(&self) -> &Path {
        &self.slice
    }

    /// The slice's name, as the loader takes it.
    pub(crate) fn slice_name(&self) -> &str {
        &self.slice_name
    }

    /// How long to wait for something that must happen.
    pub(crate) fn deadline(&self) -> Duration {
        self.lab.kernel.deadline()
    }

    /// Makes a unit's cgroup.
    pub(crate) fn make_unit(&self, name: &str) -> Result<PathBuf> {
        let path = self.slice.join(name);
        cgroups::make(&path)?;
        Ok(path)
    }

    /// Removes a cgroup with all below it.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        cgroups::remove(path, self.deadline())
    }

    /// Starts a client in a cgroup.
    pub(crate) fn client(&self, cgroup: &Path) -> Result<Agent> {
        Agent::start(cgroup, self.deadline())
    }

    /// Makes a unit and starts a client in it.
    pub(crate) fn unit(&self, name: &str) -> Result<Agent> {
        self.client(&self.make_unit(name)?)
    }

    /// Loads the probes for this scene's slice, with these ones on.
    pub(crate) fn observe(&self, probes: &[Probe]) -> Result<Observer> {
        let slices = [self.slice_name.clone()];
        // Both objects are made together and lie together.
        let object = self.lab.object.with_file_name("observer.bpf.o");
        let mut observer = Observer::load(&object, &self.lab.cgroup_root, &slices)?;
        for probe in probes {
            observer.switch_on(*probe)?;
        }
        Ok(observer)
    }

    /// Makes what programs at the interface need, where the kernel has no tcx.
    pub(crate) fn prepare_interface(&mut self) -> Result<()> {
        if self.clsact.is_none() && !has_tcx() {
            self.clsact = Some(Qdisc::clsact()?);
        }
        Ok(())
    }

    /// Gives the interface the queue that lets packets wait.
    pub(crate) fn prepare_fq(&mut self) -> Result<()> {
        if self.fq.is_none() {
            self.fq = Some(Qdisc::fq()?);
        }
        Ok(())
    }

    /// Arms a rule, which must work, where the interface has what its programs need.
    pub(crate) fn arm(&mut self, unit: &str, rule: Rule) -> Result<Armed> {
        if rule
            .programs()
            .iter()
            .any(|program| program.place == Place::InterfaceEgress)
        {
            self.prepare_interface()?;
        }
        let fault = rule.kind().name();
        self.loader
            .arm(unit, &rule)
            .with_context(|| format!("cannot arm {fault} for {unit}"))
    }

    /// Ends a rule and gives its counts.
    pub(crate) fn disarm(&mut self, armed: Armed) -> Result<RuleCounts> {
        Ok(self.loader.disarm(armed)?)
    }

    /// A rule's counts.
    pub(crate) fn counts(&self, armed: Armed) -> Result<RuleCounts> {
        Ok(self.loader.counts(armed)?)
    }

    /// Ends the loader and removes the cgroups.
    fn strike(self) -> Result<()> {
        let deadline = self.deadline();
        drop(self.loader);
        drop((self.clsact, self.fq));
        for path in self.made.iter().rev() {
            if *path == self.slice {
                cgroups::remove(path, deadline)?;
            } else {
                // Others may have moved in.
                let _ = fs::remove_dir(path);
            }
        }
        ensure!(
            !self.slice.exists(),
            "{} is still there",
            self.slice.display()
        );
        Ok(())
    }
}

/// Prints a figure that a test has measured, on a line of its own below the test's name.
pub(crate) fn figure(text: &str) {
    println!("\n    {text}");
}

/// Loads the object for one slice.
pub(crate) fn load(object: &Path, cgroup_root: &Path, slice: &str) -> Result<Loader> {
    Ok(Loader::load_lazily(
        object,
        cgroup_root,
        &[slice.to_owned()],
    )?)
}

/// Nothing is pinned, so what this process and its children hold is all that there can be.
fn nothing_is_left() -> Result<()> {
    match wait(WaitOptions::NOHANG) {
        Err(rustix::io::Errno::CHILD) => {}
        other => bail!("a child process is still there: {other:?}"),
    }
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        let path = entry?.path();
        // The descriptor of this very directory is gone when it is looked at.
        let Ok(info) = fs::read_to_string(&path) else {
            continue;
        };
        for kind in ["prog_id:", "link_id:", "map_id:"] {
            ensure!(
                !info.contains(kind),
                "{} is still open: {}",
                path.display(),
                info.replace('\n', ", ")
            );
        }
    }
    Ok(())
}
