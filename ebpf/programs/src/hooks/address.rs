//! Calls that name an address: `cgroup/connect4`, `connect6`, `bind4` and `bind6` at a target slice.
//!
//! Needs `bpf_set_retval` for them (5.18).

use aya_ebpf::{helpers::bpf_set_retval, macros::cgroup_sock_addr, programs::SockAddrContext};
use observastack_abi::{
    packet::{Address, Packet},
    rule::fault,
};

use crate::{bind_error, connect_error, rule::caller};

const ALLOW: i32 = 1;
const REFUSE: i32 = 0;

/// Decides on one `connect` of an `AF_INET` socket below the slice.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    connect(&ctx, ipv4(&ctx))
}

/// Decides on one `connect` of an `AF_INET6` socket below the slice.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    connect(&ctx, ipv6(&ctx))
}

/// Decides on one `bind` of an `AF_INET` socket below the slice.
#[cgroup_sock_addr(bind4)]
pub fn bind4(ctx: SockAddrContext) -> i32 {
    bind(&ctx, ipv4(&ctx))
}

/// Decides on one `bind` of an `AF_INET6` socket below the slice.
#[cgroup_sock_addr(bind6)]
pub fn bind6(ctx: SockAddrContext) -> i32 {
    bind(&ctx, ipv6(&ctx))
}

#[inline(always)]
fn connect(ctx: &SockAddrContext, address: Address) -> i32 {
    match caller(1 << fault::CONNECT_ERROR) {
        Some((unit, active)) => answer(connect_error::retval(unit, active, &wanted(ctx, address))),
        None => ALLOW,
    }
}

#[inline(always)]
fn bind(ctx: &SockAddrContext, address: Address) -> i32 {
    match caller(1 << fault::BIND_ERROR) {
        Some((unit, active)) => answer(bind_error::retval(unit, active, &wanted(ctx, address))),
        None => ALLOW,
    }
}

#[inline(always)]
fn answer(retval: i32) -> i32 {
    if retval == 0 {
        return ALLOW;
    }
    // SAFETY: the helper only stores the value for the hook's caller.
    unsafe { bpf_set_retval(retval) };
    REFUSE
}

/// The call as the rules see it: a packet to the address that it names.
#[inline(always)]
fn wanted(ctx: &SockAddrContext, address: Address) -> Packet {
    // SAFETY: the context is the program's own; `user_port` holds the port in network order, in its low half.
    let (port, protocol) = unsafe { ((*ctx.sock_addr).user_port, (*ctx.sock_addr).protocol) };
    Packet {
        remote: address,
        protocol: protocol as u8,
        destination_port: u16::from_be(port as u16),
        ..Packet::default()
    }
}

#[inline(always)]
fn ipv4(ctx: &SockAddrContext) -> Address {
    // SAFETY: the context is the program's own; the address is in network order.
    Address::v4(u32::from_be(unsafe { (*ctx.sock_addr).user_ip4 }))
}

#[inline(always)]
fn ipv6(ctx: &SockAddrContext) -> Address {
    // SAFETY: as above. The kernel wants each word read by itself.
    let word = |index: usize| {
        u64::from(u32::from_be(unsafe {
            (&raw const (*ctx.sock_addr).user_ip6[index]).read_volatile()
        }))
    };
    Address {
        high: word(0) << 32 | word(1),
        low: word(2) << 32 | word(3),
    }
}
