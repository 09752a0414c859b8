//! The instructions of the compiled eBPF object, looked at without a kernel.
//!
//! With `target-cpu=v3` LLVM 22 compiles a relaxed `atomic_xadd` into an addition that doesn't fetch and takes the
//! addend for its result. No kernel refuses that: every event would have the same number, and so the same fate.
#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers: clippy only excuses the test functions"
)]

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use object::{Object, ObjectSection, SectionFlags};

/// `BPF_STX | BPF_ATOMIC` with 64 and with 32 bits (`include/uapi/linux/bpf.h`).
const ATOMIC_64: u8 = 0xdb;
const ATOMIC_32: u8 = 0xc3;
/// The operation of an atomic instruction, in its immediate value.
const ADD: i32 = 0x00;
const ADD_FETCH: i32 = 0x01;
/// The one instruction that has two slots of eight bytes.
const LOAD_IMM_64: u8 = 0x18;

/// The instructions of every program: section name to (opcode, immediate value).
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
    let mut programs = BTreeMap::new();
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else {
            panic!("{} is not ELF", path.display());
        };
        let data = section.data().unwrap();
        if sh_flags & u64::from(object::elf::SHF_EXECINSTR) == 0 || data.is_empty() {
            continue;
        }
        let mut code = Vec::new();
        let mut slots = data.chunks_exact(8);
        assert!(slots.remainder().is_empty());
        while let Some(slot) = slots.next() {
            code.push((slot[0], i32::from_le_bytes(slot[4..8].try_into().unwrap())));
            if slot[0] == LOAD_IMM_64 {
                slots.next().unwrap();
            }
        }
        programs.insert(section.name().unwrap().to_owned(), code);
    }
    programs
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
    for (program, code) in instructions() {
        for operation in atomics(&code) {
            assert_ne!(operation, ADD, "{program} has an addition without fetch");
            assert_eq!(operation, ADD_FETCH, "{program}: operation {operation:#x}");
        }
    }
}

#[test]
fn every_fault_program_numbers_its_events_atomically() {
    let programs = instructions();
    for program in ["cgroup/connect4", "cgroup/connect6", "cgroup/skb"] {
        let code = programs
            .get(program)
            .unwrap_or_else(|| panic!("no {program} among {:?}", programs.keys()));
        // matched, injected and skipped.
        assert!(
            atomics(code).len() >= 3,
            "{program} has {} atomic instructions",
            atomics(code).len()
        );
    }
}
