//! Calls that the Linux security modules are asked about: BPF LSM (5.7), active only where `bpf` is among the modules.
//!
//! One program a hook, each attached only while a rule asks for its call. The last argument of every hook is what the
//! programs before have decided: a refusal stays.
//!
//! Not with aya's macro: that returns 32 bits, and the verifier of 6.12 wants to see a negative errno in all 64.

use core::{ffi::c_void, hint::black_box};

use aya_ebpf::programs::LsmContext;
use observastack_abi::{
    rule::{MAX_ERRNO, fault},
    syscall_error::call,
};

use crate::{
    rule::caller,
    syscall_error::{self, Object},
};

/// `MAY_WRITE` and `MAY_READ` (`include/linux/fs.h`).
const MAY_WRITE: i32 = 2;
const MAY_READ: i32 = 4;

/// Asks the rules of the caller's unit, unless another program has refused already.
#[inline(always)]
fn ask(before: i32, call: u32, object: Object) -> i32 {
    if before != 0 {
        return before;
    }
    match caller(1 << fault::SYSCALL_ERROR) {
        Some((unit, active)) => syscall_error::retval(unit, active, call, object),
        None => 0,
    }
}

/// An errno as the verifier takes it: masked and moved, its range is -4095 to 0 whatever the compiler knows of the value.
#[inline(always)]
fn answer(retval: i32) -> i64 {
    const MASK: u64 = MAX_ERRNO as u64;
    let moved = black_box((retval as i64 + MAX_ERRNO as i64) as u64);
    (moved & MASK) as i64 - MAX_ERRNO as i64
}

macro_rules! hooks {
    ($($(#[$doc:meta])* $name:ident($section:literal) = $decide:expr;)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(link_section = $section)]
        pub extern "C" fn $name(ctx: *mut c_void) -> i64 {
            let decide: fn(&LsmContext) -> i32 = $decide;
            answer(decide(&LsmContext::new(ctx)))
        }
    )*};
}

hooks! {
    /// `open(2)`.
    file_open("lsm/file_open") = |ctx| ask(ctx.arg(1), call::OPEN, Object::file(ctx.arg(0)));
    /// `read(2)` and `write(2)`, on an open file of any kind; reading a directory too.
    file_permission("lsm/file_permission") = |ctx| {
            let mask: i32 = ctx.arg(1);
            let call = match mask & (MAY_READ | MAY_WRITE) {
                MAY_READ => call::READ,
                MAY_WRITE => call::WRITE,
                _ => return ctx.arg(2),
            };
            ask(ctx.arg(2), call, Object::file(ctx.arg(0)))
        };
    /// `mmap(2)`; memory without a file has no kind and no path.
    mmap_file("lsm/mmap_file") = |ctx| ask(ctx.arg(4), call::MMAP, Object::file(ctx.arg(0)));
    /// `socket(2)`; sockets of the kernel's own are no system calls.
    socket_create("lsm/socket_create") = |ctx| {
            if ctx.arg::<i32>(3) != 0 {
                return ctx.arg(4);
            }
            ask(ctx.arg(4), call::SOCKET, Object::family(ctx.arg::<i32>(0) as u16))
        };
    /// `connect(2)`.
    socket_connect("lsm/socket_connect") = |ctx| ask(ctx.arg(3), call::CONNECT, Object::socket(ctx.arg(0)));
    /// `accept(2)`: the connection stays in the queue.
    socket_accept("lsm/socket_accept") = |ctx| ask(ctx.arg(2), call::ACCEPT, Object::socket(ctx.arg(0)));
    /// `listen(2)`.
    socket_listen("lsm/socket_listen") = |ctx| ask(ctx.arg(2), call::LISTEN, Object::socket(ctx.arg(0)));
    /// `send(2)`, and `write(2)` to a socket.
    socket_sendmsg("lsm/socket_sendmsg") = |ctx| ask(ctx.arg(3), call::SEND, Object::socket(ctx.arg(0)));
    /// `recv(2)`, and `read(2)` from a socket.
    socket_recvmsg("lsm/socket_recvmsg") = |ctx| ask(ctx.arg(4), call::RECEIVE, Object::socket(ctx.arg(0)));
    /// `clone(2)` and `fork(2)`, of processes and threads.
    task_alloc("lsm/task_alloc") = |ctx| ask(ctx.arg(2), call::CLONE, Object::nothing());
    /// `execve(2)`.
    bprm_check_security("lsm/bprm_check_security") = |ctx| ask(ctx.arg(1), call::EXEC, Object::program(ctx.arg(0)));
    /// `unlink(2)`.
    inode_unlink("lsm/inode_unlink") = |ctx| ask(ctx.arg(2), call::UNLINK, Object::entry(ctx.arg(1)));
    /// `rename(2)`: the old name counts.
    inode_rename("lsm/inode_rename") = |ctx| ask(ctx.arg(4), call::RENAME, Object::entry(ctx.arg(1)));
    /// `mkdir(2)`.
    inode_mkdir("lsm/inode_mkdir") = |ctx| ask(ctx.arg(3), call::MKDIR, Object::entry(ctx.arg(1)));
    /// `stat(2)`.
    inode_getattr("lsm/inode_getattr") = |ctx| ask(ctx.arg(1), call::STAT, Object::path(ctx.arg(0)));
}
