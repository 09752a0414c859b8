//! Values as users write them: each is a type of its own that reads (`FromStr`) and prints (`Display`) the same text, and
//! is that text in JSON.

/// JSON as text for a type with `FromStr` and `Display`.
macro_rules! text_in_json {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(|error: $crate::ValueError| {
                    serde::de::Error::custom(format!("`{text}` is not allowed; {error}"))
                })
            }
        }
    };
}

mod burst;
mod bytes;
mod choice;
mod cidr;
mod errno;
mod file_system;
mod human_duration;
mod percent;
mod rate;
mod signal_name;
mod syscall_name;
mod syscalls;

pub use burst::Burst;
pub use bytes::Bytes;
pub use choice::{Call, Direction, Distribution, FileKind, Protocol, SocketFamily, UnitAction};
pub use cidr::Cidr;
pub use errno::Errno;
pub use file_system::FileSystem;
pub use human_duration::HumanDuration;
pub use percent::Percent;
pub use rate::Rate;
pub use signal_name::Signal;
pub use syscall_name::SyscallName;
