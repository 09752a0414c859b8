//! Memory that was needed for a moment only.

/// Gives free memory back to the kernel.
///
/// The kernel's BTF is some megabytes in the file and many times that when parsed, by the BTF crate and by aya; malloc
/// keeps what both have freed, and the injector would hold 70 MiB for its whole life.
pub fn give_back() {
    // SAFETY: malloc_trim(3) has no preconditions and is thread-safe (glibc from 2.8 trims every arena).
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
