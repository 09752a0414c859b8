//! Block I/O: by unit, device and operation.

/// A bio on its way. Found by its address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// When it was submitted.
    pub at_ns: u64,
    /// What it belongs to.
    pub series: Series,
    /// Explicit padding.
    pub _reserved: u32,
}

/// What is told apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The unit that submitted it, or that the kernel charges for it where a thread of the kernel did.
    pub unit: u32,
    /// The device as the kernel has it: major number << 20 | minor number.
    pub device: u32,
    /// One of [`operation`].
    pub operation: u32,
}

const _: () = assert!(size_of::<Submitted>() == 24);
const _: () = assert!(size_of::<Series>() == 12);

/// What is asked of a device.
pub mod operation {
    /// Read.
    pub const READ: u32 = 0;
    /// Write.
    pub const WRITE: u32 = 1;
    /// Write what the device has in its cache, as `fsync(2)` asks for.
    pub const FLUSH: u32 = 2;
    /// Forget.
    pub const DISCARD: u32 = 3;
    /// Anything else.
    pub const OTHER: u32 = 4;
    /// Their names, by number.
    pub const NAMES: [&str; 5] = ["read", "write", "flush", "discard", "other"];
}

/// The operation of a bio's `bi_opf` (`enum req_op`, `include/linux/blk_types.h`): the low eight bits, and a write of no sectors with
/// `REQ_PREFLUSH`, which is how a flush is submitted.
#[inline(always)]
pub const fn operation_of(flags: u32, preflush_bit: u32, bytes: u32) -> u32 {
    match flags & 0xff {
        0 => operation::READ,
        1 if bytes == 0 && preflush_bit < 32 && flags >> preflush_bit & 1 == 1 => operation::FLUSH,
        1 => operation::WRITE,
        2 => operation::FLUSH,
        3 | 5 => operation::DISCARD,
        _ => operation::OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_is_an_empty_write() {
        let preflush = 1 | 1 << 18;
        assert_eq!(operation_of(preflush, 18, 0), operation::FLUSH);
        assert_eq!(operation_of(preflush, 18, 4096), operation::WRITE);
        assert_eq!(operation_of(1, 18, 0), operation::WRITE);
        assert_eq!(operation_of(preflush, u32::MAX, 0), operation::WRITE);
        assert_eq!(operation_of(1 << 18, 18, 512), operation::READ);
        assert_eq!(operation_of(3, 18, 512), operation::DISCARD);
        assert_eq!(operation_of(35, 18, 0), operation::OTHER);
    }
}
