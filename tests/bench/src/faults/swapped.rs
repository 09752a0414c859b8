//! The object with its empty programs under the names of the real ones: the loader then attaches those, at the very places
//! where the real ones are, of the same type and in the same way.

use anyhow::{Context, Result};
use object::{
    Object, ObjectSymbol,
    elf::{FileHeader64, Sym64},
    endian::Endianness,
    read::elf::{ElfFile, SectionHeader},
};

/// What an empty program's name begins with; the rest is the name of the one that it stands for.
const EMPTY: &str = "empty_";

/// Bytes of a symbol's name, its first field: an offset into the table of names.
const NAME_LEN: usize = 4;

/// Swaps the names of each program and its empty one.
pub(crate) fn swapped(object: &[u8]) -> Result<Vec<u8>> {
    let file = ElfFile::<FileHeader64<Endianness>>::parse(object)?;
    let endian = file.endian();
    let table = file
        .elf_section_table()
        .section(file.elf_symbol_table().section())?;
    let table_at = usize::try_from(table.sh_offset(endian))?;
    let name_at = |name: &str| {
        file.symbols()
            .find(|symbol| symbol.name() == Ok(name))
            .map(|symbol| table_at + symbol.index().0 * size_of::<Sym64<Endianness>>())
    };
    let empty: Vec<&str> = file
        .symbols()
        .filter_map(|symbol| symbol.name().ok()?.strip_prefix(EMPTY))
        .collect();
    let mut bytes = object.to_vec();
    for name in empty {
        let real =
            name_at(name).with_context(|| format!("the object has {EMPTY}{name} but no {name}"))?;
        let empty = name_at(&format!("{EMPTY}{name}")).context("a symbol that was just there")?;
        for byte in 0..NAME_LEN {
            bytes.swap(real + byte, empty + byte);
        }
    }
    Ok(bytes)
}
