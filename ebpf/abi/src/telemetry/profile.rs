//! Where tasks of chosen units are on their CPUs, or sleep: stacks of the kernel and of the program.

/// How many different stacks are kept at once.
pub const MAX_STACKS: u32 = 16384;

/// How many different samples, and sleeps, are counted at once.
pub const MAX_SAMPLES: u32 = 16384;

/// No stack: the task was not in the kernel, or the stack could not be walked or kept.
pub const NO_STACK: i32 = -1;

/// A stack that there was no room for: another one has its place.
pub const LOST_STACK: i32 = -2;

/// What is told apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// The unit.
    pub unit: u32,
    /// The process, as the observer's own pid namespace has it; 0 where it is not in it.
    pub process: u32,
    /// The stack's key in the table of stacks, or negative.
    pub kernel_stack: i32,
    /// The same, of the program.
    pub user_stack: i32,
}

const _: () = assert!(size_of::<Sample>() == 16);

/// How often tasks slept at the same place.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slept {
    /// How often.
    pub count: u64,
    /// How long, all together.
    pub time_ns: u64,
}

const _: () = assert!(size_of::<Slept>() == 16);

/// The observer's own pid namespace: device and inode number of `/proc/self/ns/pid`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidNamespace {
    /// Its device.
    pub device: u64,
    /// Its inode number.
    pub inode: u64,
}

const _: () = assert!(size_of::<PidNamespace>() == 16);
