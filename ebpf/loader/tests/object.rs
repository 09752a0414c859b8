//! The instructions of the compiled eBPF object, looked at without a kernel.
//!
//! With `target-cpu=v3` LLVM 22 compiles a relaxed `atomic_xadd` into an addition that doesn't fetch and takes the
//! addend for its result. No kernel refuses that: every event would have the same number, and so the same fate.
#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers: clippy only excuses the test functions"
)]

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use object::{Object, ObjectSection, ObjectSymbol, SectionFlags};

/// `BPF_STX | BPF_ATOMIC` with 64 and with 32 bits (`include/uapi/linux/bpf.h`).
const ATOMIC_64: u8 = 0xdb;
const ATOMIC_32: u8 = 0xc3;
/// The operation of an atomic instruction, in its immediate value.
const ADD: i32 = 0x00;
const ADD_FETCH: i32 = 0x01;
/// The one instruction that has two slots of eight bytes.
const LOAD_IMM_64: u8 = 0x18;

/// The instructions of every function: symbol to (opcode, immediate value).
fn instructions() -> BTreeMap<String, Vec<(u8, i32)>> {
    let path = env::var_os("OBSERVASTACK_BPF_OBJECT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/bpf/observastack.bpf.o"),
        PathBuf::from,
    );
    let bytes = fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "cannot read {}: {error}; run cargo xtask build-ebpf",
            path.display()
        )
    });
    let file = object::File::parse(&*bytes).unwrap();
    let mut functions = BTreeMap::new();
    for symbol in file.symbols() {
        let Some(index) = symbol.section_index().filter(|_| symbol.size() > 0) else {
            continue;
        };
        let section = file.section_by_index(index).unwrap();
        let SectionFlags::Elf { sh_flags } = section.flags() else {
            panic!("{} is not ELF", path.display());
        };
        if sh_flags & u64::from(object::elf::SHF_EXECINSTR) == 0 {
            continue;
        }
        let range = symbol.address() as usize..(symbol.address() + symbol.size()) as usize;
        let code = decode(&section.data().unwrap()[range]);
        functions.insert(symbol.name().unwrap().to_owned(), code);
    }
    functions
}

fn decode(data: &[u8]) -> Vec<(u8, i32)> {
    let mut code = Vec::new();
    let mut slots = data.chunks_exact(8);
    assert!(slots.remainder().is_empty());
    while let Some(slot) = slots.next() {
        code.push((slot[0], i32::from_le_bytes(slot[4..8].try_into().unwrap())));
        if slot[0] == LOAD_IMM_64 {
            slots.next().unwrap();
        }
    }
    code
}

/// The operations of a program's atomic instructions.
fn atomics(code: &[(u8, i32)]) -> Vec<i32> {
    code.iter()
        .filter(|(opcode, _)| [ATOMIC_64, ATOMIC_32].contains(opcode))
        .map(|(_, operation)| *operation)
        .collect()
}

#[test]
fn every_atomic_addition_fetches() {
    let functions = instructions();
    assert!(functions.len() > 30, "only {:?}", functions.keys());
    for (function, code) in functions {
        for operation in atomics(&code) {
            assert_ne!(operation, ADD, "{function} has an addition without fetch");
            assert_eq!(operation, ADD_FETCH, "{function}: operation {operation:#x}");
        }
    }
}

#[test]
fn every_fault_numbers_its_events_atomically() {
    // Where the compiler has put the decision of each fault: a function of its module, or the hook that it is inlined into.
    const PLACES: [(&str, &[&str]); 9] = [
        ("packet-loss", &["packet_loss", "packet_in", "packet_out"]),
        (
            "mtu-blackhole",
            &["mtu_blackhole", "packet_in", "packet_out"],
        ),
        ("latency", &["latency", "packet_time_out", "packet_time_in"]),
        (
            "bandwidth",
            &["bandwidth", "packet_time_out", "packet_time_in"],
        ),
        ("slow-receiver", &["slow_receiver", "packet_out"]),
        ("connect-error", &["connect_error", "connect4", "connect6"]),
        ("bind-error", &["bind_error", "bind4", "bind6"]),
        ("syscall-error", &["syscall_error", "file_open"]),
        ("signal", &["signal", "sys_enter"]),
    ];
    let functions = instructions();
    for (fault, places) in PLACES {
        let most = functions
            .iter()
            .filter(|(function, _)| places.iter().any(|place| function.contains(place)))
            .map(|(_, code)| atomics(code).len())
            .max();
        // matched, injected, skipped and granted.
        assert!(
            most.unwrap_or(0) >= 4,
            "{fault} has {most:?} atomic instructions"
        );
    }
}
